package examples_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// night is the example of planned windows in one night: its real rules, judged by the real core each minute, with error ratios in
// place of a Prometheus.
type night struct {
	t       *testing.T
	service *rules.Service
	state   engine.State
	events  []engine.Event
	ratio   func(slo string, at time.Time) float64
	last    time.Time
}

func nightOf(t *testing.T, ratio func(slo string, at time.Time) float64) *night {
	t.Helper()
	if _, err := server.LoadConfig(filepath.Join("windows", "modeshift.yaml")); err != nil {
		t.Fatal(err)
	}
	files, err := rules.ReadFiles(filepath.Join("windows", "rules"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(files, rules.Options{Interval: time.Minute})
	if err != nil || len(set.Warnings) > 0 {
		t.Fatalf("%v, %v", err, set.Warnings)
	}
	return &night{t: t, service: set.Services[0], ratio: ratio}
}

// lookup answers a signal at an instant.
func (n *night) lookup(at time.Time) rules.Lookup {
	return func(s rules.Signal) (v rules.Value, known bool) {
		switch s.Kind {
		case rules.SignalSchedule:
			if n.service.Schedule(s.Name).Active(at) {
				v.Reading.Value = 1
			}
		case rules.SignalSLO:
			v.Reading.Value = n.ratio(s.Name, s.At(at))
			v.Errors, v.Total = 1000*v.Reading.Value, 1000
		default:
			n.t.Fatalf("the example asks for %v", s)
		}
		return v, true
	}
}

// run judges every minute from one instant to another, and writes when which mode was entered.
func (n *night) run(from, to string) string {
	n.t.Helper()
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		n.t.Fatal(err)
	}
	end, err := time.Parse(time.RFC3339, to)
	if err != nil {
		n.t.Fatal(err)
	}
	for ; !at.After(end); at = at.Add(time.Minute) {
		o := &engine.Observed{Instant: at, Prev: n.last, Conditions: make([]engine.Observation, len(n.service.Conditions))}
		for i, c := range n.service.Conditions {
			o.Conditions[i] = engine.Observation{Asked: true, Truth: c.Eval(n.lookup(at)).Truth}
		}
		for _, e := range engine.Decide(n.service.Policy, n.state, engine.Input{At: at, What: o}) {
			n.state = engine.Apply(n.state, e)
			n.events = append(n.events, e)
		}
		n.last = at
	}
	var modes []string
	for _, e := range n.events {
		if f, ok := e.Fact.(engine.DirectivePublished); ok {
			modes = append(modes, fmt.Sprintf("%s %s", e.At.Format("15:04"), f.Directive.Mode))
		}
	}
	return strings.Join(modes, ", ")
}

// told is what people hear.
func (n *night) told() (list []string) {
	for _, e := range n.events {
		for _, f := range engine.Effects(e) {
			if f.Notice != nil && f.Notice.Action == engine.NoticeTrigger {
				list = append(list, fmt.Sprintf("%s %s: %s", e.At.Format("15:04"), f.Notice.Severity, f.Notice.Summary))
			}
		}
	}
	return list
}

func quiet(string, time.Time) float64 { return 0 }

// In the night in which the clock goes forward there is no 2:00: the rebuild begins at the gap's end. In the one in which it goes back
// there are two: it begins at the first. Both last two hours, and the night eight.
func TestPlannedWindowsKeepToTheClockThroughBothChanges(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"an ordinary night", "2026-06-06T18:00:00Z", "2026-06-07T06:00:00Z", "18:00 normal, 20:00 cost, 00:00 maintenance, 02:00 cost, 04:00 normal"},
		{"forward", "2026-03-28T18:00:00Z", "2026-03-29T07:00:00Z", "18:00 normal, 21:00 cost, 01:00 maintenance, 03:00 cost, 05:00 normal"},
		{"back", "2026-10-24T18:00:00Z", "2026-10-25T07:00:00Z", "18:00 normal, 20:00 cost, 00:00 maintenance, 02:00 cost, 04:00 normal"},
		{"not a Sunday", "2026-06-08T18:00:00Z", "2026-06-09T06:00:00Z", "18:00 normal, 20:00 cost, 04:00 normal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := nightOf(t, quiet)
			if got := n.run(c.from, c.to); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if told := n.told(); len(told) > 0 {
				t.Errorf("people were told %q", told)
			}
		})
	}
}

// An emergency at night goes ahead of the cost window and of the rebuild, and neither window's end takes anybody out of it.
func TestAnEmergencyGoesAheadOfWhatIsPlanned(t *testing.T) {
	during := func(from, to time.Time) func(string, time.Time) float64 {
		return func(slo string, at time.Time) float64 {
			if slo == "availability" && !at.Before(from) && at.Before(to) {
				return 0.5
			}
			return 0
		}
	}
	sunday := time.Date(2026, 6, 7, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		from, to time.Duration
		want     string
	}{
		{"in the cost window", -2 * time.Hour, -time.Hour, "18:00 normal, 20:00 cost, 22:00 degraded, 23:10 normal, 23:11 cost, 00:00 maintenance, 02:00 cost, 04:00 normal"},
		{"in the rebuild, and beyond both windows", time.Hour, 5 * time.Hour, "18:00 normal, 20:00 cost, 00:00 maintenance, 01:00 degraded, 05:10 normal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := nightOf(t, during(sunday.Add(c.from), sunday.Add(c.to)))
			if got := n.run("2026-06-06T18:00:00Z", "2026-06-07T06:00:00Z"); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if told := n.told(); len(told) == 0 || !strings.Contains(told[0], "page: search: SLO availability burns its error budget too fast; ") ||
				!strings.Contains(told[0], " → degraded (shed)") {
				t.Errorf("people were told %q", told)
			}
		})
	}
}

// What everybody knows of wakes nobody: the index is late while it is rebuilt, and some requests fail. What is still so at the end is told.
func TestARebuildIsPausedAndKeptQuietAndThenTold(t *testing.T) {
	sunday := time.Date(2026, 6, 7, 0, 0, 0, 0, time.UTC)
	n := nightOf(t, func(slo string, at time.Time) float64 {
		switch {
		case slo == "freshness" && !at.Before(sunday.Add(time.Minute)) && at.Before(sunday.Add(2*time.Hour)):
			return 1
		case slo == "availability" && !at.Before(sunday.Add(30*time.Minute)) && at.Before(sunday.Add(3*time.Hour)):
			return 0.004 // four times the budget: a ticket, and no page
		}
		return 0
	})
	n.run("2026-06-06T18:00:00Z", "2026-06-07T06:00:00Z")
	told := n.told()
	if len(told) != 1 || !strings.HasPrefix(told[0], "02:00 ticket: search: SLO availability burns its error budget too fast; maintenance kept it quiet for 1h30m") {
		t.Errorf("people were told %q", told)
	}
	if !slices.ContainsFunc(n.events, func(e engine.Event) bool {
		return e.Kind() == "IncidentSuppressed" && e.At.Equal(sunday.Add(30*time.Minute))
	}) {
		t.Error("the log does not say that it was kept quiet")
	}
	if p := n.state.Pauses; len(p) != 1 || p[0].SLO != "freshness" || !p[0].From.Equal(sunday) || !p[0].To.Equal(sunday.Add(2*time.Hour)) {
		t.Errorf("paused: %+v", p)
	}
}
