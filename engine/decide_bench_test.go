package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// typicalPolicy has what a service usually declares: an SLO with both tiers and two transitions with a `for`.
func typicalPolicy(scope engine.Scope) engine.Policy {
	return engine.Policy{
		Digest: "rules", Scope: scope, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes: []engine.ModeRule{
			{Name: "normal"},
			{Name: "degraded", MinDuration: 5 * time.Minute, MaxDuration: 1000 * time.Hour},
			{Name: "read-only"},
		},
		Conditions: []engine.Condition{
			{Name: "slo/availability/page", Text: "burning"}, {Name: "slo/availability/ticket", Text: "smouldering"},
			{Name: "shed.when", Text: "hot"}, {Name: "recover.when", Text: "cool"},
		},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 2, For: time.Minute, Severity: engine.SeverityPage, Alerts: []int{0}},
			{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 3, For: 10 * time.Minute},
		},
		Alerts: []engine.Alert{
			{SLO: "availability", Severity: engine.SeverityPage, Name: "Availability", Condition: 0},
			{SLO: "availability", Severity: engine.SeverityTicket, Name: "Availability", Condition: 1},
		},
	}
}

// steady returns a state in which the typical policy's degraded mode has begun and its recovery is being timed, and an
// observation that changes nothing in it.
func steady(scope engine.Scope) (engine.Policy, engine.State, engine.Input) {
	p, at := typicalPolicy(scope), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var s engine.State
	look := func(hot, cool engine.Truth) engine.Input {
		prev := at
		at = at.Add(p.Interval)
		return engine.Input{At: at, Term: 1, What: &engine.Observed{Instant: at, Prev: prev, Conditions: []engine.Observation{
			{Asked: true, Truth: hot}, {}, {Asked: true, Truth: hot}, {Asked: true, Truth: cool},
		}}}
	}
	for range 6 {
		s = fold(s, engine.Decide(p, s, look(engine.True, engine.False)))
	}
	s = fold(s, engine.Decide(p, s, look(engine.False, engine.True)))
	return p, s, look(engine.False, engine.True)
}

func fold(s engine.State, events []engine.Event) engine.State {
	for _, e := range events {
		s = engine.Apply(s, e)
	}
	return s
}

// BenchmarkDecide measures a tick at which nothing changes, which is nearly every tick.
func BenchmarkDecide(b *testing.B) {
	p, s, in := steady("checkout")
	if s.Target != "degraded" || len(s.Clocks) != 1 {
		b.Fatalf("the state is not the one to measure: %+v", s)
	}
	if events := engine.Decide(p, s, in); events != nil {
		b.Fatalf("something changes: %+v", events)
	}
	b.ReportAllocs()
	for b.Loop() {
		engine.Decide(p, s, in)
	}
	allocs := testing.AllocsPerRun(100, func() { engine.Decide(p, s, in) })
	fmt.Printf("BENCH decide_ns %.0f ns\nBENCH decide_allocs %.0f allocs\n", float64(b.Elapsed().Nanoseconds())/float64(b.N), allocs)
}

// BenchmarkDecideFleet measures one tick of 100,000 scopes on one core.
func BenchmarkDecideFleet(b *testing.B) {
	const n = 100_000
	policies, states, inputs := make([]engine.Policy, n), make([]engine.State, n), make([]engine.Input, n)
	for i := range n {
		policies[i], states[i], inputs[i] = steady(engine.Scope(fmt.Sprintf("service-%d", i)))
	}
	for b.Loop() {
		for i := range n {
			engine.Decide(policies[i], states[i], inputs[i])
		}
	}
	fmt.Printf("BENCH decide_100k_scopes_ms %.1f ms\n", float64(b.Elapsed().Microseconds())/1000/float64(b.N))
}
