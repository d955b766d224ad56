package rules

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Digests are kept in logs, and approvals are bound to them: they are of the JSON that encoding/json writes, whoever writes it.
func TestDigestsAreOfWhatEncodingJSONWrites(t *testing.T) {
	texts := []string{"", "sum(rate(a{b=\"c\"}[5m]))", "é", "\u2028", "\xff", "a\xc3", strings.Repeat("long ", 1000)}
	for c := range 0x100 {
		texts = append(texts, "a"+string([]byte{byte(c)})+"b", "a"+string(rune(c)))
	}
	values := []any{nil, true, false, 0, -7, math.MaxInt, time.Duration(math.MinInt64), 5 * time.Minute, 14.4, 1e21, 1e-7, 0.0, math.Copysign(0, -1), 1e-6, -1e-6, 9.99e-7, 999999999999999934464.0, -0.001, 1.0 / 3, math.MaxFloat64,
		[]string{}, []string(nil), []any{}, []any(nil), engine.Gate{}, (*engine.Gate)(nil), []engine.Mode{"normal"}}
	for _, s := range texts {
		values = append(values, s, engine.Digest(s), engine.Severity(s), SignalKind(s), NoTraffic(s), engine.Scope(s), []string{s, s},
			map[string]string{s: s, "a": "b"}, []any{s, []any{s, 1}})
	}
	values = append(values, values) // all of them in a list
	for _, v := range values {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendJSON(nil, v); string(got) != string(want) {
			t.Fatalf("%#v:\n%s\nencoding/json:\n%s", v, got, want)
		}
		if got, want := appendJSON(nil, []any{inJSON(want), 1}), "["+string(want)+",1]"; string(got) != want {
			t.Fatalf("%s in a list:\n%s", strconv.Quote(want), got)
		}
	}
}

// Where an alert is asked for is the service's source: a proposal that rests on it is another one when that is another.
func TestAnAlertOfAnotherSourceIsAnotherCondition(t *testing.T) {
	text := func(source string) string {
		return "version: modeshift/v1\nservice: shop\n" + source + `modes: [{name: normal}, {name: degraded}]
transitions: [{name: shed, from: [normal], to: degraded, when: 'alert("Down")'}]
`
	}
	opts := Options{Sources: map[string]int{"main": 1, "west": 1}}
	none, main, west := mustLoad(t, opts, text("")).Services[0], mustLoad(t, opts, text("source: main\n")).Services[0], mustLoad(t, opts, text("source: west\n")).Services[0]
	if main.Digest == west.Digest || main.Policy.Transitions[0].Digest == west.Policy.Transitions[0].Digest || none.Digest == west.Digest {
		t.Errorf("%s, %s and %s", none.Digest, main.Digest, west.Digest)
	}
	named(t, opts, text("source: main\n"), "source: main", "source: west")
}

// What decides nothing has a digest of its own, and leaves the other as it is.
func TestWhatIsSaidForPeopleHasADigestOfItsOwn(t *testing.T) {
	was := mustLoad(t, Options{}, serviceText).Services[0]
	if was.Remarks != "" {
		t.Errorf("there is nothing of the kind: %s", was.Remarks)
	}
	seen := map[engine.Digest]string{"": "nothing"}
	for _, edit := range [][2]string{
		{"    objective: 99.9\n", "    objective: 99.9\n    description: what users see\n"},
		{"    min_duration: 5m\n", "    min_duration: 5m\n    drill_every: 30d\n"},
		{"slis:\n", "allow: [{code: no-runbook, why: there is none}]\nslis:\n"},
		{"slis:\n", "allow: [{code: no-runbook, why: it is being written}]\nslis:\n"},
		{"slis:\n", "flags: {recommendations: {owner: ann}}\nslis:\n"},
		{"slis:\n", "flags: {recommendations: {owner: ann, tested: 2026-03-01}}\nslis:\n"},
	} {
		is := mustLoad(t, Options{}, strings.Replace(serviceText, edit[0], edit[1], 1)).Services[0]
		if other, known := seen[is.Remarks]; known || is.Digest != was.Digest {
			t.Errorf("%q: the remarks are those of %q, or the digest is another: %s", edit[1], other, is.Digest)
		}
		seen[is.Remarks] = edit[1]
	}
	if moved := mustLoad(t, Options{}, "# moved\n"+strings.Replace(serviceText, "slis:\n", "flags: {recommendations: {owner: ann}}\nslis:\n", 1)).Services[0]; seen[moved.Remarks] == "" {
		t.Error("a flag that moved to another line is another one")
	}
}
