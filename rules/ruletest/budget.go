package ruletest

import (
	"context"
	"log/slog"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// book keeps the error budgets that conditions ask for, by the keeper of a server. That asks at times of its own, between the ticks:
// each bucket once it is over and what comes late has come, and what nobody answered again. So nothing is known sooner than a
// server could, however often a test looks.
type book struct {
	keeper *ledger.Keeper
	away   *series.Away // asked by the keeper alone, since it has to be told the keeper's time
	next   time.Time    // when the keeper has something to do
	now    time.Time    // the keeper's
}

// budgets are the SLOs whose budget a test asks for: in a condition of its rules, or in a reading.
func (t *Test) budgets() map[*rules.SLO]engine.Scope {
	asked := map[*rules.SLO]engine.Scope{}
	for _, s := range t.file.set.Services {
		for _, list := range [][]*rules.Condition{s.Conditions, t.expressions[s.Policy.Scope]} {
			for _, c := range list {
				for _, signal := range c.Signals() {
					if slo := s.SLO(signal.Name); signal.Kind == rules.SignalBudget && slo != nil {
						asked[slo] = s.Policy.Scope
					}
				}
			}
		}
	}
	return asked
}

// newBook opens the ledgers of the budgets that a test asks for; nil when it asks for none.
func (t *Test) newBook() *book {
	keys := map[ledger.Key]bool{}
	for slo, scope := range t.budgets() {
		keys[prom.LedgerKey(scope, slo)] = true
	}
	if len(keys) == 0 {
		return nil
	}
	// The server of a test has been running: what Prometheus shows of the time before 0s it has read.
	b := &book{next: t.file.start.Add(-1)}
	b.away = series.NewAway(t.drawing().store.API(), t.drawing().away...)
	history := prom.NewHistory(t.file.set, t.file.sources(b.away), prom.HistoryOptions{Timeout: patience, Parallel: 1})
	var followed []ledger.Followed
	for _, f := range history.Followed() {
		if keys[f.Key] {
			followed = append(followed, f)
		}
	}
	b.keeper = ledger.NewKeeper(unkept{}, ledger.Options{Now: func() time.Time { return b.now }, Logger: slog.New(slog.DiscardHandler), Timeout: patience})
	b.keeper.Follow(history, followed)
	return b
}

// until lets the keeper do what it had done by an instant.
func (b *book) until(ctx context.Context, at time.Time) {
	if b == nil {
		return
	}
	for !b.next.After(at) && ctx.Err() == nil {
		b.now = b.next
		b.away.Now(b.now)
		b.next = b.now.Add(b.keeper.Step(ctx))
	}
}

// remaining is what is left of an SLO's budget, for conditions. What a mode paused is left out; nobody corrects a budget in a test.
func (r *run) remaining(scope engine.Scope, slo *rules.SLO, at time.Time) engine.Reading {
	q := ledger.Question{Period: prom.LedgerPeriod(slo), Budget: slo.Budget, At: at}
	if r.rehearsal != nil { // else it begins
		v, _ := r.rehearsal.View(scope)
		q.Excluded = ledger.Paused(v.State.Pauses, slo.Name, at)
	}
	return prom.Left(r.book.keeper.Budget(prom.LedgerKey(scope, slo), q), at)
}

// unkept is the store of ledgers that end with their test.
type unkept struct{}

// SaveLedgers implements ledger.Store.
func (unkept) SaveLedgers(context.Context, ...ledger.Save) error { return nil }

// LoadLedger implements ledger.Store.
func (unkept) LoadLedger(context.Context, ledger.Key) ([]ledger.Page, error) { return nil, nil }

// DropLedgers implements ledger.Store.
func (unkept) DropLedgers(context.Context, time.Time, ...ledger.Key) error { return nil }
