package server

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
)

// What a mode paused is left out of a budget by the state of the scope alone, and so by its log: the fold of the stored events
// leaves out the same time, whatever became of the ledger.
func TestPausedTimeIsLeftOutByTheLog(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	policy := engine.Policy{
		Scope: "checkout", Digest: "rules", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes:       []engine.ModeRule{{Name: "normal"}, {Name: "maintenance", Pause: []string{"availability"}}},
		Conditions:  []engine.Condition{{Name: "window"}, {Name: "over"}},
		Transitions: []engine.Transition{{Name: "migrate", From: []engine.Mode{"normal"}, To: "maintenance", When: 0, Until: 2}},
	}
	var live, folded engine.State
	var prev time.Time
	observe := func(after time.Duration, window engine.Truth) {
		t.Helper()
		at := start.Add(after)
		over := map[engine.Truth]engine.Truth{engine.True: engine.False, engine.False: engine.True}[window]
		for _, e := range engine.Decide(policy, live, engine.Input{At: at, What: &engine.Observed{Instant: at, Prev: prev,
			Conditions: []engine.Observation{{Asked: true, Truth: window}, {Asked: true, Truth: over}}}}) {
			b, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			stored, err := engine.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			live, folded = engine.Apply(live, e), engine.Apply(folded, stored)
		}
		prev = at
	}
	book := &budgetBook{}
	excluded := func(s engine.State, after time.Duration, slo string) []ledger.Span {
		q := book.question(&rules.SLO{Name: slo, Period: 30 * 24 * time.Hour}, start.Add(after), s, start.Add(after))
		return q.Excluded
	}
	hour := time.Hour
	observe(2*hour, engine.False)
	observe(2*hour+15*time.Second, engine.True)
	observe(3*hour, engine.True) // the server was away in between; the mode was in force
	first := ledger.Span{From: start.Add(2*hour + 15*time.Second), To: start.Add(3 * hour)}
	if got := excluded(folded, 3*hour, "availability"); !reflect.DeepEqual(got, []ledger.Span{first}) {
		t.Errorf("while it lasts: %v", got)
	}
	observe(4*hour, engine.False)
	first.To = start.Add(4 * hour)
	observe(26*hour, engine.True)
	observe(28*hour, engine.False)
	second := ledger.Span{From: start.Add(26 * hour), To: start.Add(28 * hour)}
	for name, s := range map[string]engine.State{"live": live, "folded": folded} {
		if got := excluded(s, 40*hour, "availability"); !reflect.DeepEqual(got, []ledger.Span{first, second}) {
			t.Errorf("%s: %v", name, got)
		}
		if got := excluded(s, 40*hour, "latency"); len(got) != 0 {
			t.Errorf("%s: another SLO: %v", name, got)
		}
	}
}

func TestMetricsShowWhatIsQuiet(t *testing.T) {
	v := engine.View{
		Policy: &engine.Policy{Alerts: []engine.Alert{{SLO: "a", Severity: engine.SeverityPage}, {SLO: "a", Severity: engine.SeverityTicket}, {SLO: "b"}}},
		State: engine.State{
			Scope:      "checkout",
			Pauses:     []engine.Pause{{SLO: "b", To: time.Unix(1, 0)}, {SLO: "a"}},
			Suppressed: []engine.Suppressed{{Subject: "slo/b/page", Severity: engine.SeverityPage}},
		},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collected(func(ch chan<- prometheus.Metric) { collectQuiet(ch, v) }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += " " + l.GetValue()
			}
			got = append(got, fmt.Sprintf("%v%s", m.GetGauge().GetValue(), labels))
		}
	}
	slices.Sort(got)
	if want := []string{"0 checkout b", "0 checkout ticket", "1 checkout a", "1 checkout page"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// collected is a collector that is nothing but what it collects.
type collected func(ch chan<- prometheus.Metric)

func (collected) Describe(chan<- *prometheus.Desc)      {}
func (c collected) Collect(ch chan<- prometheus.Metric) { c(ch) }
