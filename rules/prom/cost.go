package prom

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
)

// QueryCost is what one query of a service costs its source.
type QueryCost struct {
	Scope   engine.Scope  `json:"service"`
	Signal  string        `json:"signal"` // what it is asked for, as a condition writes it, or the step whose targets it finds
	Query   string        `json:"query"`
	Samples int64         `json:"samples"` // that the source reads for it
	Took    time.Duration `json:"-"`
	Seconds float64       `json:"seconds"`
	Problem string        `json:"problem,omitempty"` // why it has no answer
}

// Costs asks a source each query that a server may ask it for a set, once and one after the other, and tells how much the source
// reads for it; the most expensive first: what the conditions need, what shows that it is of now, that a source sees anything, and that
// what is absent has been there; the buckets and burn rates of budgets; the targets of steps. One that fails says so. A server asks far
// less: what no longer decides it leaves out, and what differs in one label only it asks together. What it asks for the instances of a
// wave is asked for all of them, and what is asked of a whole period, while there is no ledger of it yet, is left out: to ask that is
// the costliest of all, and it is rare. The error is the context's.
func Costs(ctx context.Context, source Source, set *rules.Set, now time.Time) ([]QueryCost, error) {
	out := []QueryCost{}
	for _, service := range set.Services {
		asked := map[string]bool{}
		for _, q := range costly(service, source.Name) {
			if q.text == "" || asked[q.text] {
				continue
			}
			asked[q.text] = true
			began := time.Now()
			a := send(ctx, source.Replicas[0], q.text, now, time.Minute)
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("after %d queries: %w", len(out), err)
			}
			cost := QueryCost{Scope: service.Policy.Scope, Signal: q.signal, Query: q.text, Samples: a.samples, Took: time.Since(began)}
			cost.Seconds = cost.Took.Seconds()
			if cost.Problem = string(a.why); a.detail != "" {
				cost.Problem += ": " + a.detail
			}
			out = append(out, cost)
		}
	}
	slices.SortStableFunc(out, func(a, b QueryCost) int { return cmp.Compare(b.Samples, a.Samples) })
	return out, nil
}

// costing is a query, and what it is asked for.
type costing struct{ signal, text string }

// costly are the queries a source may be asked for a service. Those of another source are not among them.
func costly(service *rules.Service, source string) (out []costing) {
	elsewhere := func(name string) bool { name = cmp.Or(name, service.Source); return name != "" && name != source }
	measure := func(s rules.Signal) {
		narrowed := s.Narrowed
		s.Narrowed = false
		name, agree, one := measuring(key{service, s}, nil)
		if one == nil || elsewhere(name) {
			return
		}
		if slo := service.SLO(s.Name); narrowed && s.Kind == rules.SignalSLO { // no rule records a wave
			one = func(q query, alone bool) part { return rawPart(slo, s.Window, slo.Queries, q, alone) }
		}
		p := one(query{}, agree < 2)
		for _, w := range slices.Concat(p.queries, p.proofs) {
			out = append(out, costing{s.String(), w.text})
		}
	}
	for _, c := range service.Conditions {
		for _, s := range c.Signals() {
			measure(s)
		}
	}
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		if elsewhere(slo.Source) {
			continue
		}
		measure(rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: BurnWindow(slo)})
		errors, total := slo.Queries(ledger.Fine)
		budget := rules.Signal{Kind: rules.SignalBudget, Name: slo.Name}.String()
		out = append(out, costing{budget, errors}, costing{budget, total})
	}
	for i := range service.Policy.Transitions {
		t := &service.Policy.Transitions[i]
		for k := range t.Playbook.Steps {
			step := &t.Playbook.Steps[k]
			var s rules.Selector
			if step.Targets.Selector == "" || json.Unmarshal([]byte(step.Targets.Selector), &s) != nil || elsewhere(s.Source) {
				continue
			}
			what := "targets of " + t.Name + "/" + step.Name
			out = append(out, costing{what, s.Query}, costing{what, alive})
		}
	}
	return out
}
