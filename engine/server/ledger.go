package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// budgetBook knows how error budgets stand: by the ledgers, by the rules that are evaluated, and by what people corrected.
type budgetBook struct {
	keeper  *ledger.Keeper
	view    func(engine.Scope) (engine.View, bool)
	read    func(ctx context.Context, stream engine.Scope, after engine.Version, limit int) ([]engine.Event, error)
	set     atomic.Pointer[rules.Set] // that is followed; nil before the first tick
	unsaved prometheus.Counter

	recurrences sync.Map // recurrence to *rules.Schedule: corrections are asked for at each tick
}

// recurrence names a schedule that a correction gives.
type recurrence struct {
	cron, timezone string
	duration       time.Duration
}

// schedule reads a recurrence, once.
func (b *budgetBook) schedule(c engine.Correction) (*rules.Schedule, error) {
	key := recurrence{c.Cron, c.Timezone, c.Duration}
	if s, known := b.recurrences.Load(key); known {
		return s.(*rules.Schedule), nil
	}
	s, err := rules.NewRecurrence(c.Cron, c.Duration, c.Timezone)
	if err == nil {
		b.recurrences.Store(key, s)
	}
	return s, err
}

func (s *Server) openBudgets() {
	b := &budgetBook{
		view: func(scope engine.Scope) (engine.View, bool) { return s.loop.View(scope) },
		read: s.store.Read,
		unsaved: prometheus.NewCounter(prometheus.CounterOpts{Name: "modeshift_ledger_unsaved_total",
			Help: "Times that ledgers could not be stored. Budgets go on from memory."}),
	}
	b.keeper = ledger.NewKeeper(s.store, ledger.Options{Logger: s.log, OnUnwritten: func(error) { b.unsaved.Inc() }})
	s.metrics.registry.MustRegister(b, b.unsaved)
	s.ledger = b
}

// follow keeps the ledgers of the SLOs of a set from here on.
func (b *budgetBook) follow(set *rules.Set, history *prom.History) {
	b.set.Store(set)
	b.keeper.Follow(history, history.Followed())
}

// remaining is what is left of an SLO's budget, for conditions.
func (b *budgetBook) remaining(scope engine.Scope, slo *rules.SLO, at time.Time) engine.Reading {
	v, _ := b.view(scope) // a scope without events has no corrections
	return prom.Left(b.keeper.Budget(prom.LedgerKey(scope, slo), b.question(slo, at, v.State, at)), at)
}

// question asks how the budget of an SLO stands at an instant, without what people took out and without the time in which a mode
// paused it, both by the state of its scope: a ledger that is lost and read anew gives the same answer.
func (b *budgetBook) question(slo *rules.SLO, at time.Time, s engine.State, asOf time.Time) ledger.Question {
	q := ledger.Question{Period: prom.LedgerPeriod(slo), Budget: slo.Budget, At: at, Window: prom.BurnWindow(slo)}
	if len(s.Corrections)+len(s.Pauses) == 0 {
		return q
	}
	from, to := q.Period.At(at)
	from = from.Add(-q.Window - time.Hour)
	spans := slices.Concat(ledger.Excluded(b.corrections(s.Corrections), slo.Name, asOf, from, to), ledger.Paused(s.Pauses, slo.Name, at))
	q.Excluded = ledger.Merge(spans, from, to)
	return q
}

// corrections are those of the log as the ledger wants them. One whose recurrence cannot be read any more, because a newer
// program wrote it, takes nothing out.
func (b *budgetBook) corrections(list []engine.Correction) []ledger.Correction {
	out := make([]ledger.Correction, 0, len(list))
	for _, c := range list {
		l := ledger.Correction{ID: string(c.ID), SLO: c.SLO, Recorded: c.Recorded, Spans: ledger.Once(c.From, c.To)}
		if c.Cron != "" {
			schedule, err := b.schedule(c)
			if err != nil {
				continue
			}
			l.Spans = func(from, to time.Time) []ledger.Span { return windows(schedule, c, from, to) }
		}
		out = append(out, l)
	}
	return out
}

// windows are those of a recurrence in a span, as far as the correction lasts.
func windows(schedule *rules.Schedule, c engine.Correction, from, to time.Time) (spans []ledger.Span) {
	if c.From.After(from) {
		from = c.From
	}
	if c.To.Before(to) {
		to = c.To
	}
	if !from.Before(to) {
		return nil
	}
	schedule.Windows(from, to, func(opens, closes time.Time) bool {
		spans = append(spans, ledger.Span{From: opens, To: closes})
		return true
	})
	return ledger.Merge(spans, from, to)
}

// Budgets implements api.Budgets.
func (b *budgetBook) Budgets(ctx context.Context, scope engine.Scope, at time.Time, steps int) ([]api.Budget, error) {
	service := b.set.Load().Service(scope)
	if service == nil {
		return nil, nil
	}
	v, _ := b.view(scope)
	state := v.State
	if at.Before(state.At) { // what was known then is what the log had then
		var err error
		if state, err = b.asOf(ctx, scope, at); err != nil {
			return nil, err
		}
	}
	list := make([]api.Budget, len(service.SLOs))
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		key := prom.LedgerKey(scope, slo)
		q := b.question(slo, at, state, at)
		list[i] = shown(scope, slo, b.keeper.Budget(key, q), at)
		if p, paused := state.Paused(slo.Name); paused {
			list[i].Paused = &api.Paused{Since: p.From, Mode: p.Mode, Change: p.Change}
		}
		if why, detail := b.keeper.Trouble(key); why != "" && !list[i].Known {
			list[i].Unknown += fmt.Sprintf("; the last question to the source: %s: %s", why, detail)
		}
		if steps > 0 {
			b.chart(&list[i], key, slo, q, steps)
		}
	}
	return list, nil
}

// asOf is the state of a scope at an instant.
func (b *budgetBook) asOf(ctx context.Context, scope engine.Scope, at time.Time) (engine.State, error) {
	events, err := b.read(ctx, scope, 0, 0)
	if err != nil {
		return engine.State{}, fmt.Errorf("read what was corrected and paused: %w", err)
	}
	var state engine.State
	for _, e := range events {
		if e.At.After(at) {
			break
		}
		state = engine.Apply(state, e)
	}
	return state, nil
}

// chart adds the series. Its steps are multiples of the ledger's width, so that no bucket is split.
func (b *budgetBook) chart(shown *api.Budget, key ledger.Key, slo *rules.SLO, q ledger.Question, steps int) {
	until := shown.To
	if due := ledger.Due(q.At); due.Before(until) {
		until = due
	}
	width := ledger.Coarse
	if until.Sub(shown.From) <= ledger.FineFor {
		width = ledger.Fine
	}
	step := stepOf(until.Sub(shown.From), width, steps)
	from := until.Add(-step * ((until.Sub(shown.From) + step - 1) / step))
	shown.Step = api.Duration(step)
	for _, p := range b.keeper.Series(key, slo.Budget, from, until, step, q.Excluded) {
		shown.Series = append(shown.Series, api.Burnt{At: p.At, Known: p.Known, Burn: p.Burn})
	}
}

// stepOf is the multiple of a width by which so many steps reach over a span.
func stepOf(span, width time.Duration, steps int) time.Duration {
	return max(width, (span/time.Duration(steps)+width-1)/width*width)
}

// shown is a budget as the API has it.
func shown(scope engine.Scope, slo *rules.SLO, b ledger.Budget, at time.Time) api.Budget {
	out := api.Budget{
		Scope: scope, SLO: slo.Name, Objective: slo.Objective.String(), Period: periodText(slo), From: b.From.UTC(), To: b.To.UTC(),
		Known: b.Unknown == "", Errors: b.Errors, Total: b.Total, Counted: slo.EventsPerUnit(time.Hour) > 0, Coverage: b.Coverage,
		Excluded: api.Duration(b.Excluded), BurnKnown: b.BurnKnown, Burn: b.Burn, Window: api.Duration(b.Window),
	}
	if !out.Known {
		out.Unknown = string(b.Unknown) + ": " + b.Detail
		return out
	}
	out.Remaining = b.Remaining
	if b.Remaining > 0 {
		out.Time = api.Duration((time.Duration(b.Remaining * slo.Budget * float64(b.Length))).Round(time.Second))
	}
	if past := b.Coverage * b.Elapsed.Seconds(); out.Counted && past > 0 {
		out.Events = b.Remaining * slo.Budget * b.Total * b.Length.Seconds() / past
	}
	switch {
	case !b.BurnKnown:
	case b.Lasts == ledger.Forever:
		out.Endless = true
	default:
		out.Lasts, out.Until = api.Duration(b.Lasts.Round(time.Second)), at.Add(b.Lasts).UTC().Truncate(time.Second)
	}
	return out
}

func periodText(slo *rules.SLO) string {
	if slo.Calendar != "" {
		return fmt.Sprintf("%s in %s", slo.Calendar, slo.Timezone)
	}
	return api.Duration(slo.Period).String()
}

// Correctable implements api.Budgets.
func (b *budgetBook) Correctable(scope engine.Scope, slo, cron string, duration time.Duration, timezone string) error {
	service := b.set.Load().Service(scope)
	if service == nil {
		return nil // the core says what is wrong
	}
	if service.SLO(slo) == nil {
		names := make([]string, len(service.SLOs))
		for i := range service.SLOs {
			names[i] = service.SLOs[i].Name
		}
		return fmt.Errorf("%s has no SLO %q; there are %v", scope, slo, names)
	}
	if cron == "" {
		return nil
	}
	_, err := rules.NewRecurrence(cron, duration, timezone)
	return err
}

var (
	descRemaining   = prometheus.NewDesc("modeshift_budget_remaining", "Share of the error budget that is left, negative once it is overspent; absent while unknown.", []string{"scope", "slo"}, nil)
	descCoverage    = prometheus.NewDesc("modeshift_budget_coverage", "Known share of what is past of the budget's period.", []string{"scope", "slo"}, nil)
	descLedgerLag   = prometheus.NewDesc("modeshift_ledger_lag_seconds", "Since the end of the newest bucket that is known, of the SLO that is furthest behind.", nil, nil)
	descLedgerAsked = prometheus.NewDesc("modeshift_ledger_asked_ratio", "Share of the buckets that were asked for: below 1 the past is still being read.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b *budgetBook) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRemaining, descCoverage, descLedgerLag, descLedgerAsked} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *budgetBook) Collect(ch chan<- prometheus.Metric) {
	set := b.set.Load()
	if set == nil {
		return
	}
	now := time.Now()
	p := b.keeper.Progress(now)
	ch <- prometheus.MustNewConstMetric(descLedgerLag, prometheus.GaugeValue, p.Lag.Seconds())
	ch <- prometheus.MustNewConstMetric(descLedgerAsked, prometheus.GaugeValue, p.Asked)
	for _, service := range set.Services {
		scope := service.Policy.Scope
		v, _ := b.view(scope)
		for i := range service.SLOs {
			slo := &service.SLOs[i]
			budget := b.keeper.Budget(prom.LedgerKey(scope, slo), b.question(slo, now, v.State, now))
			if budget.Unknown == "" {
				ch <- prometheus.MustNewConstMetric(descRemaining, prometheus.GaugeValue, budget.Remaining, string(scope), slo.Name)
			}
			ch <- prometheus.MustNewConstMetric(descCoverage, prometheus.GaugeValue, budget.Coverage, string(scope), slo.Name)
		}
	}
}
