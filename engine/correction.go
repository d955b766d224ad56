package engine

import (
	"fmt"
	"strings"
	"time"
)

// CorrectionID is the identity of the event that recorded the correction: stream-version.
type CorrectionID string

// Correction takes time out of the error budget of an SLO because a person said so: a load test that looked like an outage,
// a maintenance everybody knew of. It changes no measurement, no burn rate and no decision but those on what is left of the
// budget; and it can be withdrawn.
type Correction struct {
	ID   CorrectionID `json:"id"`
	SLO  string       `json:"slo"`
	From time.Time    `json:"from"`
	To   time.Time    `json:"to"`
	// With Cron, what is taken out between From and To are windows of this duration that open by it; else all of the time.
	Cron     string        `json:"cron,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
	Timezone string        `json:"timezone,omitempty"` // of Cron; empty: UTC
	By       Actor         `json:"by"`
	Reason   string        `json:"reason"`
	Recorded time.Time     `json:"recorded"`
}

// The facts of corrections.
type (
	// BudgetCorrected takes time out of the error budget of an SLO. Its identity is the correction's.
	BudgetCorrected struct {
		Correction CorrectionID  `json:"correction"`
		SLO        string        `json:"slo"`
		From       time.Time     `json:"from"`
		To         time.Time     `json:"to"`
		Cron       string        `json:"cron,omitempty"`
		Duration   time.Duration `json:"duration,omitempty"`
		Timezone   string        `json:"timezone,omitempty"`
	}
	// BudgetCorrectionWithdrawn ends a correction. What was said while it held stays said.
	BudgetCorrectionWithdrawn struct {
		Correction CorrectionID `json:"correction"`
		SLO        string       `json:"slo"`
	}
)

func (BudgetCorrected) fact()           {}
func (BudgetCorrectionWithdrawn) fact() {}

// CorrectionRequested asks for time to be taken out of an error budget. Whether there is such an SLO, and whether its Cron can
// be read, whoever sends it has checked.
type CorrectionRequested struct {
	SLO      string        `json:"slo"`
	From     time.Time     `json:"from,omitzero"` // zero: now
	To       time.Time     `json:"to"`
	Cron     string        `json:"cron,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
	Timezone string        `json:"timezone,omitempty"`
	Reason   string        `json:"reason,omitempty"`
}

// WithdrawalRequested asks for a correction to hold no longer.
type WithdrawalRequested struct {
	Correction CorrectionID `json:"correction"`
	Reason     string       `json:"reason,omitempty"`
}

func (*CorrectionRequested) name() string { return "correction requested" }
func (*WithdrawalRequested) name() string { return "withdrawal requested" }

// The codes of requests for corrections that cannot be done.
const (
	CodeBadSpan      Code = "bad span"           // it ends before it begins, or is too long
	CodeTooMany      Code = "too many"           // there is no room for another
	CodeNoCorrection Code = "no such correction" // none holds by that name
)

const (
	// MaxCorrection is how long a correction may be, and how far back what is over is remembered: the longest period of a
	// budget, and a year with its last day.
	MaxCorrection = 400 * 24 * time.Hour
	// MaxCorrections is how many may hold in a scope at once.
	MaxCorrections = 200
)

func (d *decision) correct(r *CorrectionRequested) {
	from := r.From
	if from.IsZero() {
		from = d.in.At
	}
	why := needReason(r.Reason)
	switch {
	case why.Code != "":
	case strings.TrimSpace(r.SLO) == "":
		why = Reason{CodeBadSpan, "say whose budget it is about"}
	case !from.Before(r.To):
		why = Reason{CodeBadSpan, "it has to begin before it ends"}
	case r.To.Sub(from) > MaxCorrection:
		why = Reason{CodeBadSpan, fmt.Sprintf("it may last at most %d days", MaxCorrection/(24*time.Hour))}
	case r.To.Sub(d.in.At) > MaxCorrection:
		why = Reason{CodeBadSpan, fmt.Sprintf("it has to end within %d days", MaxCorrection/(24*time.Hour))}
	case d.in.At.Sub(r.To) >= MaxCorrection:
		why = Reason{CodeBadSpan, "it is over for so long that no budget reaches back to it"}
	case r.Cron != "" && r.Duration <= 0 || r.Cron == "" && (r.Duration != 0 || r.Timezone != ""):
		why = Reason{CodeBadSpan, "a recurrence has both a cron and a duration"}
	case len(current(d.s.Corrections, d.in.At)) >= MaxCorrections:
		why = Reason{CodeTooMany, fmt.Sprintf("%d corrections hold in %s: withdraw one, or give a recurrence", MaxCorrections, d.p.Scope)}
	}
	if why.Code != "" {
		d.refuse(why)
		return
	}
	d.emit(BudgetCorrected{Correction: CorrectionID(d.next()), SLO: r.SLO, From: from.UTC(), To: r.To.UTC(), Cron: r.Cron, Duration: r.Duration,
		Timezone: r.Timezone}, CodeRequest, r.Reason, nil)
}

func (d *decision) withdrawCorrection(r *WithdrawalRequested) {
	why := needReason(r.Reason)
	slo := ""
	for _, c := range d.s.Corrections {
		if c.ID == r.Correction {
			slo = c.SLO
		}
	}
	if why.Code == "" && slo == "" {
		why = Reason{CodeNoCorrection, fmt.Sprintf("%s has no correction %s that holds", d.p.Scope, r.Correction)}
	}
	if why.Code != "" {
		d.refuse(why)
		return
	}
	d.emit(BudgetCorrectionWithdrawn{Correction: r.Correction, SLO: slo}, CodeRequest, r.Reason, nil)
}

// current leaves out the corrections that no budget reaches back to any more.
func current(list []Correction, at time.Time) []Correction {
	return without(list, func(c Correction) bool { return at.Sub(c.To) >= MaxCorrection })
}

// applyCorrection folds what people said about budgets.
func applyCorrection(s State, e Event) State {
	switch f := e.Fact.(type) {
	case BudgetCorrected:
		s.Corrections = with(current(s.Corrections, e.At), Correction{ID: f.Correction, SLO: f.SLO, From: f.From, To: f.To, Cron: f.Cron,
			Duration: f.Duration, Timezone: f.Timezone, By: e.Cause.Actor, Reason: e.Reason.Text, Recorded: e.At})
	case BudgetCorrectionWithdrawn:
		s.Corrections = without(s.Corrections, func(c Correction) bool { return c.ID == f.Correction })
	}
	return s
}
