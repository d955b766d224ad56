package engine

import (
	"fmt"
	"time"
)

// SuggestionsDue says what automation would have done up to an instant of the schedule by which people are told. Whoever asks
// may ask as often as they like: the log knows what was told.
type SuggestionsDue struct {
	From     time.Time `json:"from"`
	Instant  time.Time `json:"instant"` // of the schedule
	Severity Severity  `json:"severity"`
	Text     string    `json:"text"` // what it would have done
}

func (*SuggestionsDue) name() string { return "suggestions due" }

// SuggestionsTold tells people what automation would have done, once for each instant of the schedule.
type SuggestionsTold struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"` // the instant of the schedule
	Severity Severity  `json:"severity"`
	Summary  string    `json:"summary"`
	Details  Details   `json:"details"`
}

func (SuggestionsTold) fact() {}

// suggestions tells what automation would have done, if that was not told yet. An instant before the last one that was told has
// passed: a clock that was set back does not tell it again.
func (d *decision) suggestions(w *SuggestionsDue) {
	if !w.Instant.After(d.s.SuggestionsTold) {
		return
	}
	now := "automation only suggests"
	if d.p.Automation != AutomationSuggest {
		now = "automation does not only suggest any more"
	}
	d.emit(SuggestionsTold{
		From: w.From, To: w.Instant, Severity: w.Severity,
		Summary: fmt.Sprintf("%s: %s; since %s it %s", d.p.Scope, now, w.From.UTC().Format("2006-01-02"), w.Text),
		Details: Details{Scope: d.p.Scope, Mode: d.s.Target, Owner: d.p.Owner, Runbook: d.p.Runbook},
	}, CodeSuggest, "modeshift suggestions "+string(d.p.Scope)+" says when", nil)
}
