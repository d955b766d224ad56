package scenario

import (
	"fmt"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// BenchmarkThreeDays is a scenario over three days at ticks of 15 s: drawing it, and what the evaluator and the core take. A hundred of
// them, run as rule tests run them, are in test/bench.
func BenchmarkThreeDays(b *testing.B) {
	set := shop(b, `burn_rate("availability", "5m") < 1.0`, "10m")
	service := set.Services[0]
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
		l := life{policy: service.Policy}
		for i := range 3 * 24 * 240 {
			at := noon.Add(-time.Hour + time.Duration(i)*15*time.Second)
			l.decide(at, e.Evaluate(b.Context(), l.tick(at)))
		}
	}
	fmt.Printf("BENCH scenario_three_days_ms %.0f ms\n", float64(b.Elapsed().Milliseconds())/float64(b.N))
}
