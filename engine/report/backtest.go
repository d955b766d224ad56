package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Backtest is what rules would have done in a past.
type Backtest struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Step   Seconds   `json:"step_seconds"`   // between two ticks
	Offset Seconds   `json:"offset_seconds"` // by which queries looked behind a tick
	// Versions are one set of rules, or two that were led through the same answers.
	Versions    []BacktestVersion `json:"versions"`
	Differences []Difference      `json:"differences,omitempty"` // between the two
	Notes       []string          `json:"notes"`                 // how far it can be trusted
	Queries     int               `json:"queries"`               // that were sent
	Took        Seconds           `json:"took_seconds"`
}

// BacktestVersion is what one set of rules came to.
type BacktestVersion struct {
	Name     string            `json:"name"` // the files, or a revision
	Digest   engine.Digest     `json:"digest"`
	Services []BacktestService `json:"services"`
	Score    *Score            `json:"score,omitempty"` // nil: no incidents were given
}

// BacktestService is what became of one service.
type BacktestService struct {
	Scope     engine.Scope  `json:"scope"`
	Digest    engine.Digest `json:"digest"`
	Modes     []ModeTime    `json:"modes"`
	Flaps     int           `json:"flaps"` // how often a mode but the first was entered again within FlapWithin of being left
	Stays     []Band        `json:"stays"`
	Moves     []Move        `json:"moves"`
	Proposals []Asked       `json:"proposals"`
	Told      []Told        `json:"told"`
	Withheld  []WithheldFor `json:"withheld"`
	Unknown   UnknownTime   `json:"unknown"`
	Budgets   []BudgetEnd   `json:"budgets"`
}

// FlapWithin is how soon after a mode was left its return says that it was left too early: instances were told twice, and nobody was helped.
const FlapWithin = 30 * time.Minute

// ModeTime is how long instances were told a mode.
type ModeTime struct {
	Mode    engine.Mode `json:"mode"`
	Time    Seconds     `json:"time_seconds"`
	Entered int         `json:"entered"` // how often, the beginning left out
}

// Move is a change of mode that was started.
type Move struct {
	At         time.Time       `json:"at"`
	Change     engine.ChangeID `json:"change"`
	Transition string          `json:"transition,omitempty"`
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	By         string          `json:"by"` // itself, approval, the scope above
	Why        string          `json:"why"`
	Outcome    string          `json:"outcome"` // done, undone, overtaken, held, stuck; under way at the end
	Ended      time.Time       `json:"ended,omitzero"`
}

// Asked is a proposal to people.
type Asked struct {
	At         time.Time       `json:"at"`
	ID         engine.ChangeID `json:"id"`
	Transition string          `json:"transition"`
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	Outcome    string          `json:"outcome"` // approved, denied, expired, withdrawn; waits at the end
	Ended      time.Time       `json:"ended,omitzero"`
}

// Told is an incident that people would have been told of.
type Told struct {
	ID       engine.IncidentID   `json:"id"`
	Scope    engine.Scope        `json:"scope"`
	Kind     engine.IncidentKind `json:"kind"`
	Subject  string              `json:"subject"`
	SLO      string              `json:"slo,omitempty"`
	Severity engine.Severity     `json:"severity"`
	Further  engine.Severity     `json:"further,omitempty"` // it was told to, as it burned on
	Opened   time.Time           `json:"opened"`
	Resolved time.Time           `json:"resolved,omitzero"` // zero: open at the end
	Summary  string              `json:"summary"`

	after *Told // the page that kept it quiet until it was over; nil: none did
}

// ends is when it was over; far away while it is open.
func (t *Told) ends() time.Time {
	if t.Resolved.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return t.Resolved
}

// UnknownTime is how long some condition that mattered could not be decided.
type UnknownTime struct {
	Time  Seconds                `json:"time_seconds"`
	Blind Seconds                `json:"blind_seconds"` // of it, for want of sight, and not of traffic
	Why   map[engine.Why]Seconds `json:"why,omitempty"`
	Spans []UnknownSpan          `json:"spans,omitempty"`
}

// UnknownSpan is a time of it.
type UnknownSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// BudgetEnd is what was left of an error budget at the end, and how it burned.
type BudgetEnd struct {
	SLO       string  `json:"slo"`
	Objective string  `json:"objective"` // percent
	Period    string  `json:"period"`
	Left      Left    `json:"left"`
	Step      Seconds `json:"step_seconds,omitempty"`
	Burn      []Burn  `json:"burn,omitempty"`
}

// Witness watches the rehearsal of a service and says in the end what became of it. Ticks and events come in their order.
type Witness struct {
	policy   *engine.Policy
	from, to time.Time
	step     time.Duration
	out      BacktestService

	stays    []Band
	moves    map[engine.ChangeID]int
	asked    map[engine.ChangeID]int
	told     map[engine.IncidentID]int
	withheld map[engine.Code]int
	unsure   []unsure // of each condition
}

// unsure is what a condition came to when it was asked last.
type unsure struct {
	unknown, blind bool
	at             time.Time
	why            []engine.Why
}

// NewWitness begins to watch a service that is rehearsed from an instant to another, in steps.
func NewWitness(p *engine.Policy, from, to time.Time, step time.Duration) *Witness {
	w := &Witness{policy: p, from: from.UTC(), to: to.UTC(), step: step, moves: map[engine.ChangeID]int{}, asked: map[engine.ChangeID]int{},
		told: map[engine.IncidentID]int{}, withheld: map[engine.Code]int{}, unsure: make([]unsure, len(p.Conditions))}
	w.out = BacktestService{Scope: p.Scope, Digest: p.Digest, Modes: []ModeTime{}, Stays: []Band{}, Moves: []Move{}, Proposals: []Asked{}, Told: []Told{},
		Withheld: []WithheldFor{}, Budgets: []BudgetEnd{}}
	return w
}

// Tick takes how the conditions stood at an instant. What stands at multiples of a cadence counts until the next of them.
func (w *Witness) Tick(at time.Time, seen []engine.Observation) {
	unknown, blind := false, false
	var why []engine.Why
	for i := range seen {
		u := &w.unsure[i]
		switch o := &seen[i]; {
		case !o.Asked:
			if at.Sub(u.at) >= max(w.policy.Conditions[i].Every, w.step) {
				u.unknown = false
			}
		case o.Truth != engine.Unknown:
			u.unknown = false
		default:
			*u = unsure{unknown: true, blind: o.Blind, at: at}
			for k := range o.Readings {
				if y := o.Readings[k].Why; y != "" && !slices.Contains(u.why, y) {
					u.why = append(u.why, y)
				}
			}
		}
		if !u.unknown {
			continue
		}
		unknown, blind = true, blind || u.blind
		for _, y := range u.why {
			if !slices.Contains(why, y) {
				why = append(why, y)
			}
		}
	}
	if !unknown {
		return
	}
	u := &w.out.Unknown
	step := Seconds(w.step.Seconds())
	u.Time += step
	if blind {
		u.Blind += step
	}
	if u.Why == nil {
		u.Why = map[engine.Why]Seconds{}
	}
	for _, y := range why {
		u.Why[y] += step
	}
	if n := len(u.Spans); n > 0 && u.Spans[n-1].To.Equal(at) {
		u.Spans[n-1].To = at.Add(w.step)
		return
	}
	u.Spans = append(u.Spans, UnknownSpan{at.UTC(), at.Add(w.step).UTC()})
}

// Event takes an event of the service's stream.
func (w *Witness) Event(e engine.Event) {
	switch f := e.Fact.(type) {
	case engine.ScopeAdded:
		if f.Mode != "" {
			w.enter(w.from, f.Mode, "")
		}
	case engine.DirectivePublished:
		if n := len(w.stays); n == 0 || w.stays[n-1].Mode != f.Directive.Mode {
			w.enter(e.At, f.Directive.Mode, f.Change)
		}
	case engine.WithholdingEnded:
	case engine.TransitionWithheld:
		w.withheld[e.Reason.Code]++
	default:
		if !w.change(e) && !w.proposal(e) {
			w.incident(e)
		}
	}
}

func (w *Witness) enter(at time.Time, mode engine.Mode, change engine.ChangeID) {
	if n := len(w.stays); n > 0 {
		w.stays[n-1].To = at.UTC()
	}
	w.stays = append(w.stays, Band{Mode: mode, From: at.UTC(), Change: change})
}

// change takes what becomes of changes, and reports whether the event is of that.
func (w *Witness) change(e engine.Event) bool {
	end := func(id engine.ChangeID, outcome string, over bool) bool {
		if i, known := w.moves[id]; known {
			m := &w.out.Moves[i]
			m.Outcome = outcome
			if over {
				m.Ended = e.At.UTC()
			}
		}
		return true
	}
	switch f := e.Fact.(type) {
	case engine.ChangeStarted:
		m := Move{At: e.At.UTC(), Change: f.Change, Transition: f.Transition, From: f.From, To: f.To, By: "itself", Why: e.Reason.Text, Outcome: "under way"}
		switch {
		case f.Proposal != "":
			m.By = "approval"
		case f.Imposed != "", f.Returns:
			m.By = "the scope above"
		}
		m.Why = cmp.Or(m.Why, string(e.Reason.Code))
		w.moves[f.Change] = len(w.out.Moves)
		w.out.Moves = append(w.out.Moves, m)
		return true
	case engine.ChangeDone:
		return end(f.Change, "done", true)
	case engine.ChangeUndone:
		return end(f.Change, "undone", true)
	case engine.ChangeOvertaken:
		return end(f.Change, "overtaken", true)
	case engine.ChangeHeld:
		return end(f.Change, "held", false)
	case engine.ChangeStuck:
		return end(f.Change, "stuck", false)
	}
	return false
}

// proposal takes what becomes of proposals, and reports whether the event is of that.
func (w *Witness) proposal(e engine.Event) bool {
	end := func(id engine.ChangeID, outcome string) bool {
		if i, known := w.asked[id]; known {
			w.out.Proposals[i].Outcome, w.out.Proposals[i].Ended = outcome, e.At.UTC()
		}
		return true
	}
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		w.asked[f.Proposal.ID] = len(w.out.Proposals)
		w.out.Proposals = append(w.out.Proposals, Asked{At: e.At.UTC(), ID: f.Proposal.ID, Transition: f.Proposal.Transition, From: f.Proposal.From, To: f.Proposal.To, Outcome: "waits"})
		return true
	case engine.ApprovalGranted:
		if len(f.Missing) == 0 {
			return end(f.Proposal, "approved")
		}
		return true
	case engine.ProposalDenied:
		return end(f.Proposal, "denied")
	case engine.ProposalExpired:
		return end(f.Proposal, "expired")
	case engine.ProposalWithdrawn:
		return end(f.Proposal, "withdrawn")
	}
	return false
}

// incident takes what people are told.
func (w *Witness) incident(e engine.Event) {
	switch f := e.Fact.(type) {
	case engine.IncidentOpened:
		i := f.Incident
		t := Told{ID: i.ID, Scope: e.Stream, Kind: i.Kind, Subject: i.Subject, Severity: i.Severity, Opened: e.At.UTC(), Summary: f.Summary}
		if i.Kind == engine.IncidentSLO {
			t.SLO = strings.TrimSuffix(strings.TrimPrefix(i.Subject, "slo/"), "/"+string(i.Severity))
		}
		w.told[i.ID] = len(w.out.Told)
		w.out.Told = append(w.out.Told, t)
	case engine.IncidentEscalated:
		if k, known := w.told[f.Incident]; known && !f.Nobody {
			w.out.Told[k].Further = f.To
		}
	case engine.IncidentResolved:
		if k, known := w.told[f.Incident]; known {
			w.out.Told[k].Resolved = e.At.UTC()
		}
	}
}

// Service is what became of it. The witness must not be used afterwards.
func (w *Witness) Service() BacktestService {
	s := w.out
	if n := len(w.stays); n > 0 {
		w.stays[n-1].To = w.to
		s.Stays = w.stays
	}
	for i := range w.policy.Modes {
		s.Modes = append(s.Modes, ModeTime{Mode: w.policy.Modes[i].Name})
	}
	for i, b := range s.Stays {
		k := slices.IndexFunc(s.Modes, func(m ModeTime) bool { return m.Mode == b.Mode })
		if k < 0 { // no policy has a mode that it does not declare
			continue
		}
		s.Modes[k].Time += Seconds(b.To.Sub(b.From).Seconds())
		if i == 0 {
			continue
		}
		s.Modes[k].Entered++
		for j := i - 1; j >= 0 && k > 0; j-- {
			if s.Stays[j].Mode == b.Mode {
				if b.From.Sub(s.Stays[j].To) < FlapWithin {
					s.Flaps++
				}
				break
			}
		}
	}
	for _, code := range slices.Sorted(maps.Keys(w.withheld)) {
		s.Withheld = append(s.Withheld, WithheldFor{code, w.withheld[code]})
	}
	return s
}

// count is how often people would have been told at a severity.
func (s *BacktestService) count(severity engine.Severity) int {
	n := 0
	for i := range s.Told {
		if s.Told[i].Severity == severity {
			n++
		}
	}
	return n
}

// quiet reports whether nothing happened that is worth a line.
func (s *BacktestService) quiet() bool {
	return len(s.Told) == 0 && len(s.Moves) == 0 && len(s.Proposals) == 0
}
