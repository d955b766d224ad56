package prom

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
)

// remaining is what is left of an SLO's budget. It comes from the ledger, and so costs no query; while the ledger does not
// know, it is unknown.
func (t *tick) remaining(service *rules.Service, s rules.Signal) rules.Value {
	r := engine.Reading{Why: engine.WhyFailed, Detail: "not declared"} // loading has refused it
	if slo := service.SLO(s.Name); slo != nil {
		r = t.left(service, slo, t.Instant)
	}
	r.Signal = s.String()
	return rules.Value{Reading: r}
}

// left asks the ledger what is left of an SLO's budget.
func (e *Evaluator) left(service *rules.Service, slo *rules.SLO, at time.Time) engine.Reading {
	if e.opts.Remaining == nil {
		return engine.Reading{Why: engine.WhyLittleKnown, Detail: "no ledger is kept"}
	}
	return e.opts.Remaining(service.Policy.Scope, slo, at)
}

// Left is what is left of a budget at an instant, as conditions read it. Its sample is as old as what the ledger can know by then.
func Left(b ledger.Budget, at time.Time) engine.Reading {
	r := engine.Reading{Source: "ledger", Why: b.Unknown, Detail: b.Detail}
	if r.Why == "" {
		r.Value, r.Sample = b.Remaining, ledger.Due(at)
	}
	return r
}
