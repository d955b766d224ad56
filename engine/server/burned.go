package server

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules/prom"
)

// Burned implements api.BurnHistory, from memory alone. Corrected time is in the series: it burned all the same, and only does not
// count in what is left. The steps are the ledger's own buckets or whole multiples of them, and begin and end with one: what is not due
// yet is not known.
func (b *budgetBook) Burned(scope engine.Scope, q api.BurnQuestion) []api.Burned {
	service := b.set.Load().Service(scope)
	if service == nil || q.Steps < 1 || !q.From.Before(q.To) {
		return nil
	}
	now := time.Now()
	width := ledger.Fine
	if q.From.Before(now.Add(-ledger.FineFor)) {
		width = ledger.Coarse // what is older has no finer buckets any more
	}
	step := stepOf(q.To.Sub(q.From), width, q.Steps)
	from, to := q.From.UTC().Truncate(step), q.To.UTC().Truncate(step)
	if to.Before(q.To) {
		to = to.Add(step)
	}
	v, _ := b.view(scope) // a scope without events has no corrections
	list := make([]api.Burned, len(service.SLOs))
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		key := prom.LedgerKey(scope, slo)
		stood := func(at time.Time) api.Budget {
			budget := shown(scope, slo, b.keeper.Budget(key, b.question(slo, at, v.State, now)), at)
			if due := ledger.Due(at); due.Before(budget.To) {
				budget.To = due
			}
			return budget
		}
		list[i] = api.Burned{Before: stood(q.Before), After: stood(q.After)}
		list[i].After.Step = api.Duration(step)
		for _, p := range b.keeper.Series(key, slo.Budget, from, to, step, nil) {
			list[i].After.Series = append(list[i].After.Series, api.Burnt{At: p.At, Known: p.Known, Burn: p.Burn})
		}
	}
	return list
}
