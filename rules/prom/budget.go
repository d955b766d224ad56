package prom

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
)

// Budget says how much of an SLO's error budget is left and how long it lasts. It is for people who have to decide
// something now; no condition rests on it.
type Budget struct {
	SLO    string
	Period time.Duration // of the SLO; the budget is that of the Period that ends now

	// Remaining is the share of the error budget that is left over the period, at most 1, negative once it is overspent.
	// It means something only while RemainingKnown.
	Remaining      float64
	RemainingKnown bool
	// Burn is the present burn rate, over Window. It means something only while BurnKnown.
	Burn      float64
	BurnKnown bool
	Window    time.Duration
	// Lasts is how long what remains would last at Burn: 0 when nothing is left, and Forever when nothing burns. More than
	// Period means that the budget is not spent within it. It is 0 while Unknown is set.
	//
	// It is Remaining × Period ÷ Burn, as a burn rate of 1 spends the whole budget in exactly one period. Errors that leave
	// the rolling period meanwhile give back what this does not count: in truth it lasts as long or longer.
	// Source: Google SRE Workbook, ch. 5, "Alerting on Burn Rate", table 5-4.
	Lasts time.Duration

	Unknown engine.Why // why Lasts cannot be told; empty when it can
	Detail  string     // which of the two could not be read, and what the source said
}

// Forever is how long a budget lasts that does not burn.
const Forever = ledger.Forever

// defaultBurnWindow is what the present burn rate is measured over where no page tier says otherwise: the long window of the
// workbook's quickest pair.
const defaultBurnWindow = time.Hour

// budgetKept is for how long what was found over a period is used again. A period of 30 days moves by 0.002 % in a minute,
// and its query reads all of it.
const budgetKept = time.Minute

// periods is what is remembered of the periods of a service's SLOs. Whoever holds the one token in turn owns read.
type periods struct {
	turn chan struct{}
	read map[string]periodRead // by SLO
}

type periodRead struct {
	at    time.Time
	value rules.Value
}

// Budget tells how the error budgets of a scope stand at an instant, in the order of its SLOs; nil when it has none. Each call
// asks for the present burn rates. What is left over the periods comes from the ledger; where that does not know yet, a
// rolling period is asked for, no more than once in a minute, and one of the calendar stays unknown. Several callers of one
// scope take turns, so that a page many people look at does not send its costly queries many times over. It returns within
// Options.Budget: what is not answered by then is unknown.
func (e *Evaluator) Budget(ctx context.Context, scope engine.Scope, at time.Time) []Budget {
	service := e.set.Service(scope)
	if service == nil || len(service.SLOs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Budget)
	defer cancel()
	known := e.periods[service]
	select {
	case <-known.turn:
		defer func() { known.turn <- struct{}{} }()
	case <-ctx.Done():
		late := unknown(engine.WhyTimeout, "others were asking for the same budgets all the time")
		budgets := make([]Budget, len(service.SLOs))
		for i := range service.SLOs {
			budgets[i] = budgetOf(&service.SLOs[i], late, late)
		}
		return budgets
	}

	// People wait for this and it is rare: a query may take all the time there is, where one of a tick may not.
	t := e.tick(Tick{Instant: at}, e.opts.Budget)
	now := view{t, at.Add(-e.opts.QueryOffset)}
	var asked []want
	over := func(slo *rules.SLO, window time.Duration) *probe {
		p := e.compile(key{service, rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: window}})
		asked = append(asked, want{probe: p, at: now.at})
		return p
	}
	burn, period := make([]*probe, len(service.SLOs)), make([]*probe, len(service.SLOs))
	left := make([]engine.Reading, len(service.SLOs))
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		burn[i] = over(slo, BurnWindow(slo))
		if left[i] = e.left(service, slo, at); left[i].Why == "" || slo.Calendar != "" {
			continue
		}
		if age := at.Sub(known.read[slo.Name].at); age < 0 || age >= budgetKept {
			period[i] = over(slo, slo.Period)
		}
	}
	t.fetch(ctx, t.fetcher, asked)

	budgets := make([]Budget, len(service.SLOs))
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		if left[i].Why == "" || slo.Calendar != "" {
			budgets[i] = budgetLeft(slo, left[i], burn[i].read(now), at)
			continue
		}
		over := known.read[slo.Name].value
		if period[i] != nil {
			over = period[i].read(now)
			if !over.Reading.Why.Blind() { // what could not be seen is asked for again
				known.read[slo.Name] = periodRead{at, over}
			}
		}
		budgets[i] = budgetOf(slo, over, burn[i].read(now))
	}
	return budgets
}

// BurnWindow is the window of an SLO's present burn rate: the long one of its quickest pair that pages.
func BurnWindow(slo *rules.SLO) time.Duration {
	var window time.Duration
	if tier := slo.Tier(engine.SeverityPage); tier != nil {
		for _, w := range tier.Windows {
			if window == 0 || w.Long < window {
				window = w.Long
			}
		}
	}
	if window == 0 {
		window = defaultBurnWindow
	}
	return min(window, slo.Period)
}

// budgetOf puts together what was read over the period and over the window.
func budgetOf(slo *rules.SLO, period, now rules.Value) Budget {
	left := period.Reading
	left.Value = 1 - left.Value/slo.Budget
	if left.Why != "" {
		left.Detail = fmt.Sprintf("over %s: %s", model.Duration(slo.Period), left.Detail)
	}
	return budgetLeft(slo, left, now, time.Time{})
}

// budgetLeft puts together the share of the budget that is left and what was read over the window. at is the instant, which
// only the budget of a calendar period goes by.
func budgetLeft(slo *rules.SLO, left engine.Reading, now rules.Value, at time.Time) Budget {
	b := Budget{SLO: slo.Name, Period: slo.Period, Window: BurnWindow(slo)}
	if left.Why == "" {
		b.Remaining, b.RemainingKnown = left.Value, true
	} else {
		b.Unknown, b.Detail = left.Why, clip(left.Detail)
	}
	if r := now.Reading; r.Why == "" {
		b.Burn, b.BurnKnown = r.Value/slo.Budget, true
	} else if b.Unknown == "" {
		b.Unknown, b.Detail = r.Why, clip(fmt.Sprintf("over %s: %s", model.Duration(b.Window), r.Detail))
	}
	if b.Unknown == "" {
		from, to := LedgerPeriod(slo).At(at)
		b.Lasts = ledger.Lasts(b.Remaining, b.Burn, to.Sub(from))
	}
	return b
}
