package prom

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// QueryCost is what one query of a service costs its source.
type QueryCost struct {
	Scope   engine.Scope  `json:"service"`
	Signal  string        `json:"signal"` // what it is asked for, as a condition writes it
	Query   string        `json:"query"`
	Samples int64         `json:"samples"` // that the source reads for it
	Took    time.Duration `json:"-"`
	Seconds float64       `json:"seconds"`
	Problem string        `json:"problem,omitempty"` // why it has no answer
}

// Costs asks a source each query that the conditions of a set may need, once and one after the other, and tells how much the source
// reads for it; the most expensive first. One that fails says so. A server asks far less: what no longer decides it leaves out, and what
// differs in one label only it asks together. The error is the context's.
func Costs(ctx context.Context, source Source, set *rules.Set, now time.Time) ([]QueryCost, error) {
	out := []QueryCost{}
	for _, service := range set.Services {
		asked := map[string]bool{}
		for _, c := range service.Conditions {
			for _, s := range c.Signals() {
				for _, q := range queriesOf(service, s, source.Name) {
					if q == "" || asked[q] {
						continue
					}
					asked[q] = true
					began := time.Now()
					a := send(ctx, source.Replicas[0], q, now, time.Minute)
					if err := ctx.Err(); err != nil {
						return nil, fmt.Errorf("after %d queries: %w", len(out), err)
					}
					cost := QueryCost{Scope: service.Policy.Scope, Signal: s.String(), Query: q, Samples: a.samples, Took: time.Since(began)}
					cost.Seconds = cost.Took.Seconds()
					if cost.Problem = string(a.why); a.detail != "" {
						cost.Problem += ": " + a.detail
					}
					out = append(out, cost)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b QueryCost) int { return cmp.Compare(b.Samples, a.Samples) })
	return out, nil
}

// queriesOf are what a source is asked for a signal, of all instances; none where it is another source's, or no query at all.
func queriesOf(service *rules.Service, s rules.Signal, source string) []string {
	elsewhere := func(name string) bool { name = cmp.Or(name, service.Source); return name != "" && name != source }
	switch s.Kind {
	case rules.SignalSLO:
		slo := service.SLO(s.Name)
		if elsewhere(slo.Source) {
			return nil
		}
		if q, ok := service.RecordedQuery(slo, s.Window); ok {
			return []string{q}
		}
		errors, total := slo.Queries(s.Window)
		return []string{errors, total}
	case rules.SignalSLI:
		if sli := service.SLI(s.Name); !elsewhere(sli.Source) {
			return []string{sli.Query}
		}
	}
	return nil
}
