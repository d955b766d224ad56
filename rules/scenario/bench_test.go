package scenario

import (
	"fmt"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// BenchmarkThreeDays is a scenario over three days at ticks of 15 s: drawing it, and what the evaluator and the core take. A hundred of
// them, run as rule tests run them, are in test/bench.
func BenchmarkThreeDays(b *testing.B) {
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(`version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli: ` + plain + `
    alerting: {name: A}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")'}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && burn_rate("availability", "5m") < 1.0', for: 10m}
`)}}, rules.Options{})
	if err != nil {
		b.Fatal(err)
	}
	service := set.Services[0]
	p := service.Policy
	b.ReportAllocs()
	for b.Loop() {
		w, err := Draw(&service.SLOs[0], PartialOutage, Params{At: noon, Before: 72 * time.Hour, After: 72 * time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		store, err := series.New(w.Series...)
		if err != nil {
			b.Fatal(err)
		}
		e := prom.New(set, []prom.Source{{Name: "main", Replicas: []v1.API{prom.NewAhead(store.API(), prom.AheadOptions{})}}}, prom.Options{Budget: time.Hour, Repeat: true})
		var state engine.State
		prev := time.Time{}
		for i := range 3 * 24 * 240 {
			at := noon.Add(-time.Hour + time.Duration(i)*15*time.Second)
			q := engine.Question{Scope: p.Scope, Dwell: state.Dwell(at)}
			for i := range p.Conditions {
				if every := p.Conditions[i].Every; (every == 0 || !at.Truncate(every).Equal(prev.Truncate(every))) && p.Relevant(state, i) {
					q.Conditions = append(q.Conditions, i)
				}
			}
			a := e.Evaluate(b.Context(), prom.Tick{Instant: at, Questions: []engine.Question{q}})
			what := &engine.Observed{Instant: at, Prev: prev, Conditions: a.Observations[p.Scope], SourceBlind: a.SourceBlind[p.Scope]}
			for _, event := range engine.Decide(p, state, engine.Input{At: at, Term: 1, What: what}) {
				state = engine.Apply(state, event)
			}
			prev = at
		}
	}
	fmt.Printf("BENCH scenario_three_days_ms %.0f ms\n", float64(b.Elapsed().Milliseconds())/float64(b.N))
}
