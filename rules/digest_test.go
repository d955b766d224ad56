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
