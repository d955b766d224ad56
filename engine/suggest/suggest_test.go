package suggest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/suggest"
)

var start = time.Date(2026, 11, 16, 9, 0, 0, 0, time.UTC) // a Monday

// story is a scope's life as the core decides it.
type story struct {
	t      *testing.T
	policy engine.Policy
	state  engine.State
	events []engine.Event
	prev   time.Time
}

// The conditions of shop, by index: what the truths of observe stand for.
const (
	burning = iota // the page tier
	warm           // shed, before the tier fires
	cool           // recover
	dead           // fail-over, which asks people
)

func newStory(t *testing.T) *story {
	names := []string{"slo/availability/page", "shed.when", "recover.when", "fail-over.when"}
	p := engine.Policy{
		Digest: "rules-1", Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Automation: engine.AutomationSuggest,
		Modes:  []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "failover", Beside: true}},
		Alerts: []engine.Alert{{SLO: "availability", Severity: engine.SeverityPage, Condition: burning}},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: warm, Severity: engine.SeverityInfo, Digest: "t1"},
			{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: cool, Digest: "t2"},
			{Name: "fail-over", From: []engine.Mode{"normal", "degraded"}, To: "failover", When: dead, Digest: "t3",
				Gate: &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}}, Within: 15 * time.Minute}},
		},
	}
	for _, n := range names {
		p.Conditions = append(p.Conditions, engine.Condition{Name: n, Text: n, Digest: engine.Digest(n)})
	}
	return &story{t: t, policy: p}
}

func (s *story) decide(at time.Duration, by string, what engine.Happening) {
	s.t.Helper()
	for _, e := range engine.Decide(s.policy, s.state, engine.Input{At: start.Add(at), Term: 1, By: engine.Actor{Principal: by}, What: what}) {
		s.state = engine.Apply(s.state, e)
		s.events = append(s.events, e)
	}
}

// observe is an evaluation at which the conditions named are true, and the others false.
func (s *story) observe(at time.Duration, holds ...int) {
	s.t.Helper()
	o := &engine.Observed{Instant: start.Add(at), Prev: s.prev}
	for i := range s.policy.Conditions {
		o.Conditions = append(o.Conditions, engine.Observation{Asked: true, Truth: engine.TruthOf(slices.Contains(holds, i))})
	}
	s.decide(at, "", o)
	s.prev = o.Instant
}

// every observes at each interval from one instant to another, both included.
func (s *story) every(from, to time.Duration, holds ...int) {
	for at := from; at <= to; at += s.policy.Interval {
		s.observe(at, holds...)
	}
}

func (s *story) report(from, to time.Duration) suggest.Report {
	s.t.Helper()
	r, err := suggest.Of(s.t.Context(), func(_ context.Context, _ engine.Scope, after engine.Version, limit int) ([]engine.Event, error) {
		rest := s.events[after:]
		return rest[:min(limit, len(rest))], nil
	}, engine.View{Policy: &s.policy, State: s.state}, start.Add(from), start.Add(to))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestASuggestionLastsFromWhenItIsReadyToWhenItIsNotAnyMore(t *testing.T) {
	s := newStory(t)
	s.every(0, time.Minute)
	s.every(75*time.Second, 3*time.Minute, warm)
	s.every(3*time.Minute+15*time.Second, 5*time.Minute)
	s.every(5*time.Minute+15*time.Second, 6*time.Minute, warm)
	r := s.report(0, 6*time.Minute)
	if len(r.Suggestions) != 2 || r.Automation != engine.AutomationSuggest {
		t.Fatalf("%+v", r)
	}
	first, second := r.Suggestions[0], r.Suggestions[1]
	if first.Transition != "shed" || first.From != "normal" || first.To != "degraded" || !first.Since.Equal(start.Add(75*time.Second)) ||
		!first.Until.Equal(start.Add(195*time.Second)) || first.Ready != 120 || first.Why.Code != engine.CodeNotReady || first.Asks {
		t.Errorf("%+v", first)
	}
	for _, v := range []engine.Version{first.Began, first.Ended} {
		if e := s.events[v-1]; e.Version != v || !e.At.Equal(first.Since) && !e.At.Equal(first.Until) {
			t.Errorf("%d is %s at %v", v, e.Kind(), e.At)
		}
	}
	if !second.Until.IsZero() || second.Ended != 0 || second.Ready != 45 {
		t.Errorf("%+v", second)
	}
	if want := "would have moved twice: normal → degraded (shed) twice (ready for 2m45s in all, and still)"; r.Text != want {
		t.Errorf("%s, want %s", r.Text, want)
	}
}

func TestAPageThatCameLaterThanASuggestionWouldHaveBeenPreceded(t *testing.T) {
	for _, c := range []struct {
		name            string
		warm, burns     time.Duration
		pages, preceded int
	}{
		{"one evaluation later", time.Minute, 75 * time.Second, 1, 1},
		{"at the same evaluation it would have come with the page, not before it", time.Minute, time.Minute, 1, 0},
		{"one evaluation before it is nothing that would have helped", 75 * time.Second, time.Minute, 1, 0},
	} {
		s := newStory(t)
		for at := time.Duration(0); at <= 3*time.Minute; at += s.policy.Interval {
			var holds []int
			if at >= c.warm {
				holds = append(holds, warm)
			}
			if at >= c.burns {
				holds = append(holds, burning)
			}
			s.observe(at, holds...)
		}
		if r := s.report(0, 4*time.Minute); r.Pages != c.pages || r.Preceded != c.preceded || r.Transitions[0].Preceded != c.preceded || len(r.Suggestions[0].Preceded) != c.preceded {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	// A suggestion that is over when the page comes has not helped either.
	s := newStory(t)
	s.observe(0, warm)
	s.every(15*time.Second, time.Minute)
	s.observe(75*time.Second, burning)
	if r := s.report(0, 2*time.Minute); r.Pages != 1 || r.Preceded != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAGateWouldHaveAskedPeople(t *testing.T) {
	s := newStory(t)
	s.every(0, time.Minute, dead, warm)
	r := s.report(0, time.Hour)
	if want := "would have moved once and asked people once: normal → degraded (shed) once (ready for 1h, and still); normal → failover (fail-over) once (ready for 1h, and still)"; r.Text != want {
		t.Errorf("%s\nwant\n%s", r.Text, want)
	}
	if len(s.state.Proposals) != 0 {
		t.Errorf("somebody was asked: %+v", s.state.Proposals)
	}
}

func TestASuggestionEndsWithWhateverEndsIt(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *story)
		code engine.Code
		from engine.Mode // of the next suggestion of recover, if there is one
	}{
		{"a person moves", func(s *story) {
			s.decide(65*time.Second, "ann", &engine.SetRequested{Mode: "degraded", Reason: "as suggested", Via: "shed"})
			s.observe(75*time.Second, cool)
		}, engine.CodeLeft, "degraded"},
		{"automation is turned on while it is frozen", func(s *story) {
			s.decide(65*time.Second, "ann", &engine.FreezeRequested{Reason: "game day"})
			s.policy.Automation, s.policy.Digest = engine.AutomationOn, "rules-2"
			s.observe(75*time.Second, warm)
		}, engine.CodeFrozen, ""},
		{"automation is turned on", func(s *story) {
			s.policy.Automation, s.policy.Digest = engine.AutomationOn, "rules-2"
			s.observe(75*time.Second, warm)
		}, engine.CodeStarted, ""},
		{"the scope is retired", func(s *story) { s.decide(75*time.Second, "", &engine.ScopeRemoved{}) }, engine.CodeRetired, ""},
	} {
		s := newStory(t)
		s.every(0, time.Minute, warm)
		c.end(s)
		r := s.report(0, time.Hour)
		if len(r.Suggestions) == 0 || r.Suggestions[0].Why.Code != c.code || r.Suggestions[0].Until.IsZero() {
			t.Errorf("%s: %+v", c.name, r.Suggestions)
			continue
		}
		if c.from == "" != (len(r.Suggestions) == 1) || c.from != "" && r.Suggestions[1].From != c.from {
			t.Errorf("%s: then %+v", c.name, r.Suggestions[1:])
		}
	}
}

func TestTimeNobodyEvaluatedIsNotTimeItWasReady(t *testing.T) {
	s := newStory(t)
	s.every(0, time.Minute, warm)
	s.observe(11*time.Minute, warm)
	s.observe(11*time.Minute+15*time.Second, 0)
	if got := s.report(0, time.Hour).Suggestions[0].Ready; got != 75 {
		t.Errorf("ready for %v s, want the minute before and the interval after the gap", got)
	}
}

// What is told again because the incident in which it was said is over is still one suggestion.
func TestASuggestionThatIsToldAgainIsOne(t *testing.T) {
	s := newStory(t)
	s.policy.Transitions[0].Severity, s.policy.Transitions[0].Alerts = engine.SeverityPage, []int{0}
	s.every(0, time.Minute, warm, burning)
	s.every(75*time.Second, 2*time.Minute, warm)
	told := 0
	for _, e := range s.events {
		if e.Kind() == "TransitionWithheld" {
			told++
		}
	}
	if r := s.report(0, time.Hour); told != 2 || len(r.Suggestions) != 1 {
		t.Errorf("told %d times: %+v", told, r.Suggestions)
	}
}

func TestAReportHoldsWhatWasReadyInItsTime(t *testing.T) {
	s := newStory(t)
	s.every(0, time.Minute, warm)                             // ready from 0 to 1m15s
	s.every(75*time.Second, 10*time.Minute)                   //
	s.every(10*time.Minute+15*time.Second, 12*time.Minute, 1) // and from 10m15s to 12m15s
	s.every(12*time.Minute+15*time.Second, 15*time.Minute)    //
	for _, c := range []struct {
		from, to time.Duration
		want     string
	}{
		{0, 15 * time.Minute, "[0s-1m15s 10m15s-12m15s]"},
		{75 * time.Second, 15 * time.Minute, "[10m15s-12m15s]"},          // the first was over at its beginning
		{74 * time.Second, 15 * time.Minute, "[0s-1m15s 10m15s-12m15s]"}, // and was not
		{0, 10*time.Minute + 15*time.Second, "[0s-1m15s]"},               // the second began at its end
		{0, 11 * time.Minute, "[0s-1m15s 10m15s-still]"},                 // what ends after it was still ready
		{5 * time.Minute, 6 * time.Minute, "[]"},
	} {
		var got []string
		for _, g := range s.report(c.from, c.to).Suggestions {
			until := "still"
			if !g.Until.IsZero() {
				until = g.Until.Sub(start).String()
			}
			got = append(got, g.Since.Sub(start).String()+"-"+until)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("from %v to %v: %v, want %s", c.from, c.to, got, c.want)
		}
	}
	if r := s.report(5*time.Minute, 6*time.Minute); r.Text != "would have done nothing" || r.Suggestions == nil || r.Transitions == nil {
		t.Errorf("%+v", r)
	}
}

func TestALongStreamIsReadToItsEnd(t *testing.T) {
	s := newStory(t)
	for i := range 1500 {
		at := time.Duration(i) * 30 * time.Second
		s.observe(at, warm)
		s.observe(at + 15*time.Second)
	}
	if len(s.events) < 3000 {
		t.Fatalf("%d events fit one page", len(s.events))
	}
	if r := s.report(0, 24*time.Hour); len(r.Suggestions) != 1500 || r.Transitions[0].Times != 1500 {
		t.Errorf("%d suggestions", len(r.Suggestions))
	}
}
