package rehearse_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
)

// BenchmarkSteadyTick measures what a scope costs at a tick at which nothing happens, without what its conditions cost.
func BenchmarkSteadyTick(b *testing.B) {
	const scopes = 100
	var policies []engine.Policy
	seen := map[engine.Scope][]engine.Observation{}
	for i := range scopes {
		p := shop()
		p.Scope = engine.Scope(fmt.Sprintf("service-%03d", i))
		policies = append(policies, p)
		seen[p.Scope] = []engine.Observation{{Asked: true, Truth: engine.False}, {}, {}}
	}
	r, err := rehearse.New(b.Context(), rehearse.Options{Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Start: began,
		Rules: loop.Rules{Digest: "rules", Policies: policies, Whole: true, Evaluate: func(context.Context, loop.Tick) loop.Answer {
			return loop.Answer{Observations: seen, Sources: []engine.Sight{{Source: "main", Asked: true}}}
		}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Until(b.Context(), r.Now().Add(15*time.Second)); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Printf("BENCH rehearse_tick_us %.2f us\n", float64(b.Elapsed().Microseconds())/float64(b.N)/scopes)
}
