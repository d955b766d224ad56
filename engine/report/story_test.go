package report_test

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

var nine = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// The conditions of checkout, at their indexes.
const (
	page = iota
	stopWhen
	failOverWhen
	recovered
	verified
)

// checkout sheds load by itself, recovers in waves, and fails over when people say yes.
var checkout = engine.Policy{
	Digest: "0123456789abcdef", Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Owner: "team-payments", Runbook: "https://runbooks.example.com/checkout",
	Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded", Flags: engine.Flags{"recommendations": false}}, {Name: "read-only"}, {Name: "failover", Beside: true}},
	Conditions: []engine.Condition{
		{Name: "slo/availability/page", Text: `burning("availability", "page")`}, {Name: "stop.when", Text: `sli("p99") > 2.0`},
		{Name: "fail-over.when", Text: `burn_rate("availability", "5m") > 14.4`}, {Name: "recover.when", Text: `burn_rate("availability", "5m") < 1.0`},
		{Name: "fail-over.verify", Text: `sli("p99") < 0.5`},
	},
	Alerts: []engine.Alert{{SLO: "availability", Severity: engine.SeverityPage, Name: "CheckoutAvailability", Condition: page}},
	Transitions: []engine.Transition{
		{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: page, Severity: engine.SeverityPage, Alerts: []int{0}, Digest: "t1", Position: "checkout.yaml:30:5"},
		{Name: "stop", From: []engine.Mode{"normal", "degraded"}, To: "read-only", When: stopWhen, Digest: "t2", Position: "checkout.yaml:40:5"},
		{Name: "fail-over", From: []engine.Mode{"normal", "degraded"}, To: "failover", When: failOverWhen, Digest: "t3", Position: "checkout.yaml:50:5", Severity: engine.SeverityPage,
			Gate: &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}, Within: 15 * time.Minute},
			Playbook: engine.Playbook{Verify: verified + 1, Steps: []engine.Step{
				{Name: "drain", Kind: "webhook", Undo: true, Keyed: true, Attempts: 3}, {Name: "repoint", Kind: "webhook", Destructive: true, Undo: true, Keyed: true}}}},
		{Name: "recover", From: []engine.Mode{"degraded", "read-only"}, To: "normal", When: recovered, For: time.Minute, Digest: "t4", Position: "checkout.yaml:60:5",
			Rollout: &engine.Rollout{Waves: []engine.Percent{10, 100}, Pause: 30 * time.Second, Verify: recovered + 1}},
	},
}

// story is a stream being written, by the core.
type story struct {
	t         *testing.T
	policy    engine.Policy
	state     engine.State
	events    []engine.Event
	prev      time.Time
	instances int     // that are there, and have what they are told
	burn      float64 // that readings show
	above     []engine.Above
}

func newStory(t *testing.T) *story {
	s := &story{t: t, policy: checkout, burn: 40}
	s.decide(0, "", &engine.TimePassed{})
	return s
}

func (s *story) decide(at time.Duration, by string, what engine.Happening) []engine.Event {
	s.t.Helper()
	var sum engine.Instances
	if n := s.instances; n > 0 {
		told := n
		if c := s.state.Change; c != nil && c.Wave > 0 && !c.Rolled {
			told = c.Waved
			sum.Wave = c.Wave
		}
		sum.Known, sum.Revision, sum.Told, sum.Applied = n, s.state.Directive.Revision, told, told
	}
	events := engine.Decide(s.policy, s.state, engine.Input{At: nine.Add(at), Term: 3, By: engine.Actor{Principal: by, Person: by}, Instances: sum, Above: s.above, What: what})
	for _, e := range events {
		s.state = engine.Apply(s.state, e)
	}
	s.events = append(s.events, events...)
	return events
}

// see observes the conditions, given as letters: true, false, unknown for want of traffic, blind, not asked.
func (s *story) see(at time.Duration, letters string) []engine.Event {
	s.t.Helper()
	o := &engine.Observed{Instant: nine.Add(at), Prev: s.prev}
	for i, c := range letters {
		seen := engine.Observation{Asked: c != '-', Truth: map[rune]engine.Truth{'t': engine.True, 'f': engine.False}[c], Blind: c == 'b'}
		signals := []string{`sli("p99")`}
		if i == page || i == failOverWhen || i == recovered {
			signals = []string{`burn_rate("availability", "5m")`, `error_ratio("availability", "1h")`}
		}
		for k, signal := range signals {
			r := engine.Reading{Signal: signal, Value: s.burn, Query: "q", Source: "main", Sample: nine.Add(at - 2*time.Second)}
			if k == 1 {
				r.Value = s.burn * 0.001 / 2
			}
			if c == 'b' || c == 'u' {
				r = engine.Reading{Signal: signal, Why: map[rune]engine.Why{'b': engine.WhyTimeout, 'u': engine.WhyNoTraffic}[c], Query: "q", Source: "main"}
			}
			if seen.Asked {
				seen.Readings = append(seen.Readings, r)
			}
		}
		o.Conditions = append(o.Conditions, seen)
	}
	s.prev = o.Instant
	return s.decide(at, "", o)
}

func (s *story) review(at time.Duration, who, role string, yes bool) {
	s.t.Helper()
	s.decide(at, who, &engine.ReviewGiven{Digest: s.state.Proposals[0].Digest, Yes: yes, Roles: []string{role}, Reason: "the gateway | is *dead*"})
}

func (s *story) step(at time.Duration, name string, outcome engine.Outcome, detail string) {
	s.t.Helper()
	s.decide(at, "", &engine.StepReported{Step: name, Undo: s.state.Change.Undoing, Outcome: outcome, Detail: detail})
}

// last finds the name of the last change or proposal of a transition.
func (s *story) last(kind, transition string) engine.ChangeID {
	s.t.Helper()
	for i := len(s.events) - 1; i >= 0; i-- {
		switch f := s.events[i].Fact.(type) {
		case engine.ChangeStarted:
			if kind == "change" && f.Transition == transition {
				return f.Change
			}
		case engine.ChangeProposed:
			if kind == "proposal" && f.Proposal.Transition == transition {
				return f.Proposal.ID
			}
		}
	}
	s.t.Fatalf("there is no %s of %s", kind, transition)
	return ""
}

func kept(ps ...engine.Policy) explain.Policies {
	return func(scope engine.Scope, digest engine.Digest) (list []engine.Policy) {
		for _, p := range ps {
			if p.Scope == scope && p.Digest == digest {
				list = append(list, p)
			}
		}
		return list
	}
}

// night is a whole one: the budget burns, the load is shed, the fail-over that people approved fails at its second step and is taken
// back, a recovery relapses in its first wave, and a later one goes through.
func night(t *testing.T) *story {
	s := newStory(t)
	s.instances = 20
	s.see(15*time.Second, "fffff")
	s.see(30*time.Second, "tf-f-") // the page, and shed
	s.decide(31*time.Second, "", &engine.InstancesReported{})
	s.see(45*time.Second, "tftf-") // fail-over is proposed
	s.review(70*time.Second, "bob", "nobody", true)
	s.review(80*time.Second, "bob", "oncall", true)
	s.review(90*time.Second, "carol", "lead", true)
	s.decide(91*time.Second, "", &engine.InstancesReported{})
	s.step(92*time.Second, "drain", engine.OutcomeFailed, "503 Service Unavailable")
	s.step(95*time.Second, "drain", engine.OutcomeDone, "204 No Content")
	s.step(99*time.Second, "repoint", engine.OutcomeFailed, "409 Conflict")
	s.step(102*time.Second, "drain", engine.OutcomeDone, "204 No Content")
	s.burn = 0.2
	at := 105 * time.Second
	for ; s.state.Change == nil; at += 15 * time.Second {
		s.see(at, "ffft-")
	}
	s.decide(at, "", &engine.InstancesReported{})
	s.burn = 9
	for ; s.state.Change != nil; at += 15 * time.Second { // the wave does not hold
		s.see(at, "ff-f-")
	}
	s.see(at, "ff-f-") // its condition is false: it may be tried again
	s.burn, at = 0.1, at+15*time.Second
	for ; s.state.Mode != "normal"; at += 15 * time.Second {
		s.see(at, "ffft-")
		s.decide(at+time.Second, "", &engine.InstancesReported{})
		if at > time.Hour {
			t.Fatalf("it does not end: %+v", s.state)
		}
	}
	return s
}
