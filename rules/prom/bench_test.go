package prom

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// memory answers at once and remembers nothing.
type memory struct {
	v1.API
	errors plain
}

func (m memory) Query(ctx context.Context, q string, at time.Time, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	v, w, err := m.errors.query(ctx, q, at)
	return v, w, nil, err
}

// BenchmarkEvaluate is a tick of 1,000 services with a page tier and two transitions each, against a source that takes no
// time: what the evaluator itself costs.
func BenchmarkEvaluate(b *testing.B) {
	var files []string
	for i := range 1000 {
		name := fmt.Sprintf("service-%03d", i)
		files = append(files, name+".yaml", tiers(name, fmt.Sprintf("requests_%d_total", i)))
	}
	set := load(b, files...)
	for _, c := range []struct {
		name   string
		errors plain
	}{{"quiet", 0}, {"burning", 1}} {
		b.Run(c.name, func(b *testing.B) {
			e := New(set, only(memory{errors: c.errors}), Options{})
			tick := everything(set, noon)
			b.ReportAllocs()
			var a Answer
			for b.Loop() {
				a = e.Evaluate(b.Context(), tick)
			}
			b.ReportMetric(float64(a.Stats.Queries), "queries/op")
		})
	}
}
