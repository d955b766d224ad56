package notice_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

func TestAKeyOf255BytesStaysAndOneOf256IsShortened(t *testing.T) {
	id := func(length int) engine.IncidentID {
		const tail = "-17"
		return engine.IncidentID(strings.Repeat("s", length-len("modeshift/")-len(tail)) + tail)
	}
	if got := notice.Key("", id(255)); got != "modeshift/"+string(id(255)) {
		t.Errorf("a key of 255 bytes became %q", got)
	}
	got := notice.Key("", id(256))
	if len(got) != 255 || !strings.HasPrefix(got, "modeshift/sss") || !strings.Contains(got, "~") {
		t.Errorf("a key of 256 bytes became %q (%d bytes)", got, len(got))
	}
	if got := notice.Key("", "checkout-17"); got != "modeshift/checkout-17" {
		t.Errorf("Key = %q", got)
	}
	if got := notice.Key("1f00", id(255-len("1f00/"))); len(got) != 255 || strings.Contains(got, "~") {
		t.Errorf("a key of 255 bytes with an identity became %q", got)
	}
	if got := notice.Key("1f00", id(256-len("1f00/"))); len(got) != 255 || !strings.Contains(got, "~") {
		t.Errorf("a key of 256 bytes with an identity became %q", got)
	}
}

// A new log counts from one again, and its first page must not look like one of the old log's that is still open.
func TestTheSameIncidentOfAnotherLogHasAnotherKey(t *testing.T) {
	for _, c := range []struct {
		log  string
		id   engine.IncidentID
		want string
	}{
		{"1f00", "checkout-17", "modeshift/1f00/checkout-17"},
		{"2e11", "checkout-17", "modeshift/2e11/checkout-17"},
		{"1f00", notice.LogIncident, "modeshift/log"},
		{"2e11", notice.LogIncident, "modeshift/log"},
		{"1f00", "log-1", "modeshift/1f00/log-1"},
	} {
		if got := notice.Key(c.log, c.id); got != c.want {
			t.Errorf("Key(%q, %q) = %q, want %q", c.log, c.id, got, c.want)
		}
	}
}

func TestKeysOfDifferentIncidentsDifferAndFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Long names with a long common beginning are the ones that shortening could confuse.
		base := strings.Repeat(rapid.SampledFrom([]string{"s", "ü", "日", "~"}).Draw(t, "rune"), rapid.IntRange(1, 300).Draw(t, "length"))
		name := rapid.StringMatching(`[a-z~-]{0,3}`)
		a := engine.IncidentID(fmt.Sprintf("%s%s-%d", base, name.Draw(t, "a"), rapid.Uint64().Draw(t, "version a")))
		b := engine.IncidentID(fmt.Sprintf("%s%s-%d", base, name.Draw(t, "b"), rapid.Uint64().Draw(t, "version b")))
		log := rapid.SampledFrom([]string{"", "0123456789abcdef"}).Draw(t, "log")
		ka, kb := notice.Key(log, a), notice.Key(log, b)
		if len(ka) > 255 || !utf8.ValidString(ka) {
			t.Fatalf("key %q has %d bytes", ka, len(ka))
		}
		if (a == b) != (ka == kb) {
			t.Fatalf("%q and %q have keys %q and %q", a, b, ka, kb)
		}
	})
}

func TestALineIsCutAtARuneBoundaryWithAnEllipsis(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"what fits exactly stays", "0123456789", "0123456789"},
		{"one byte more is cut", "0123456789a", "0123456…"},
		{"a rune is not broken", "012345ü789a", "012345…"},
		{"control characters become spaces", "a\nb\tc\x00", "a b c"},
		{"bytes that are no text are replaced", "a\xffb", "a\uFFFDb"},
	} {
		got := notice.Line(c.in, 10)
		if got != c.want {
			t.Errorf("%s: Line = %q, want %q", c.name, got, c.want)
		}
		if len(got) > 10 || !utf8.ValidString(got) {
			t.Errorf("%s: %q has %d bytes", c.name, got, len(got))
		}
	}
}

func TestEvidenceSaysTheValueOrWhyThereIsNone(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	got, err := json.Marshal(notice.Evidence([]engine.Reading{
		{Signal: `burn_rate("availability", "5m")`, Value: 0, Sample: at, Query: "sum(x)", Source: "main"},
		{Signal: `sli("p99")`, Value: 3, Why: engine.Why("stale"), Detail: "last sample 10m ago"},
		{Signal: `mode("shop")`, Text: "degraded"},
		{Signal: "a", Value: math.NaN()},
		{Signal: "b", Value: math.Inf(1)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"signal":"burn_rate(\"availability\", \"5m\")","value":0,"sample":"2026-03-01T12:00:00Z","query":"sum(x)","source":"main"},` +
		`{"signal":"sli(\"p99\")","unknown":"stale","detail":"last sample 10m ago"},` +
		`{"signal":"mode(\"shop\")","value":"degraded"},` +
		`{"signal":"a","value":"NaN"},{"signal":"b","value":"+Inf"}]`
	if string(got) != want {
		t.Errorf("evidence is\n%s\nwant\n%s", got, want)
	}
}

func TestANoticeLeadsToWhereItIsAnswered(t *testing.T) {
	const list = "https://modeshift.example/approvals"
	for _, c := range []struct {
		n    engine.Notice
		want string
	}{
		{engine.Notice{Action: engine.NoticeUpdate, Severity: engine.SeverityPage, Details: engine.Details{Proposal: "checkout-18"}}, list + "/checkout-18"},
		{engine.Notice{Action: engine.NoticeTrigger, Severity: engine.SeverityTicket, Details: engine.Details{Proposal: "a/b?c-1"}}, list + "/a%2Fb%3Fc-1"},
		{engine.Notice{Action: engine.NoticeTrigger, Severity: engine.SeverityPage}, list},
		{engine.Notice{Action: engine.NoticeTrigger, Severity: engine.SeverityTicket}, ""},
		{engine.Notice{Action: engine.NoticeResolve, Severity: engine.SeverityPage, Details: engine.Details{Proposal: "checkout-18"}}, ""},
	} {
		if got := notice.AnswerAt(list, &c.n); got != c.want {
			t.Errorf("%+v leads to %q, want %q", c.n, got, c.want)
		}
		if got := notice.AnswerAt("", &c.n); got != "" {
			t.Errorf("to where nobody knows leads %q", got)
		}
	}
}
