package report

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// Report is the draft of a post-mortem.
type Report struct {
	Scope      engine.Scope    `json:"scope"`
	Change     engine.ChangeID `json:"change"` // that was asked for; a proposal, where none came of it
	Made       time.Time       `json:"made"`
	Transition string          `json:"transition,omitempty"`
	Via        string          `json:"via,omitempty"` // where no transition is declared: directive only, or a scope above
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	Outcome    explain.Outcome `json:"outcome"`
	Why        string          `json:"why"`
	Decided    string          `json:"decided"` // by whom: automation, or people
	Owner      string          `json:"owner,omitempty"`
	Runbook    string          `json:"runbook,omitempty"`

	Began time.Time `json:"began"`         // the first sign of it
	Left  time.Time `json:"left,omitzero"` // the scope left Home; zero: it did not
	Ended time.Time `json:"ended,omitzero"`
	// Open says that it is not over: something is under way or waits, or the scope is not back in Home.
	Open bool        `json:"open"`
	Home engine.Mode `json:"home,omitempty"` // the mode that the stay left

	Modes     []Band     `json:"modes"`
	Changes   []Change   `json:"changes"` // of the stay, oldest first; proposals that came to nothing too
	Incidents []Incident `json:"incidents"`
	Timeline  []Moment   `json:"timeline"`
	People    []Deed     `json:"people"`
	Budgets   []Budget   `json:"budgets"`
	Answers   []Answer   `json:"answers"`
	LeftOut   []string   `json:"left_out"` // what was not read or is not shown, and why

	readings []reading // in the evidence, for Weigh
}

// Seconds is a length of time, written as a number of seconds.
type Seconds = explain.Seconds

// Ref names an event: its stream and version.
type Ref string

// Band is a time in one mode.
type Band struct {
	Mode   engine.Mode     `json:"mode"`
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Change engine.ChangeID `json:"change,omitempty"` // that led to it; empty: it was in force before
}

// Change is one change of the stay, with how long each part of it took. What did not happen has a zero time.
type Change struct {
	ID         engine.ChangeID `json:"id"`              // of a proposal that came to nothing, the proposal's
	Asked      bool            `json:"asked,omitempty"` // it is the one the report is about
	Transition string          `json:"transition,omitempty"`
	Via        string          `json:"via,omitempty"`   // where no transition is declared
	Above      bool            `json:"above,omitempty"` // a scope above asked for it, or does not any more
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	Outcome    explain.Outcome `json:"outcome"`
	Why        string          `json:"why"`
	By         string          `json:"by"` // who decided
	Position   string          `json:"position,omitempty"`
	Condition  string          `json:"condition,omitempty"`

	Proposed  time.Time `json:"proposed,omitzero"`
	Started   time.Time `json:"started,omitzero"`
	Published time.Time `json:"published,omitzero"` // instances were told, or the first wave of them
	Applied   time.Time `json:"applied,omitzero"`   // enough of all had it
	Ended     time.Time `json:"ended,omitzero"`
	Acked     int       `json:"acked,omitempty"`
	Instances int       `json:"instances,omitempty"` // there were when it started

	Waited Seconds        `json:"waited_seconds"` // for people
	Took   Seconds        `json:"took_seconds"`   // from its start to its end
	Waves  []Wave         `json:"waves,omitempty"`
	Steps  []explain.Step `json:"steps,omitempty"`
	Replay string         `json:"replay"` // what it came to when its decisions were made again
	Event  Ref            `json:"event"`  // in which it was chosen
}

// Wave is one wave of a roll-out.
type Wave struct {
	Number    int            `json:"number"`
	Share     engine.Percent `json:"share"`
	Instances int            `json:"instances"`
	At        time.Time      `json:"at"`
	Applied   time.Time      `json:"applied,omitzero"`
	Held      Seconds        `json:"held_seconds,omitempty"` // in sum
	Why       string         `json:"why,omitempty"`          // it was held last
}

// Incident is what people were told of.
type Incident struct {
	ID       engine.IncidentID `json:"id"`
	Severity engine.Severity   `json:"severity"`
	Summary  string            `json:"summary"`
	Opened   time.Time         `json:"opened"`
	Resolved time.Time         `json:"resolved,omitzero"`
	Event    Ref               `json:"event"`
}

// Moment is an event of the story.
type Moment struct {
	Event Ref       `json:"event"`
	At    time.Time `json:"at"`
	After Seconds   `json:"after_seconds"` // since the first sign
	Kind  string    `json:"kind"`
	What  string    `json:"what"`
	Why   string    `json:"why,omitempty"`
	By    string    `json:"by,omitempty"` // empty: automation
}

// Deed is what a person did.
type Deed struct {
	At    time.Time `json:"at"`
	Who   string    `json:"who"`
	Did   string    `json:"did"`
	Why   string    `json:"why,omitempty"`
	Event Ref       `json:"event"`
}

// Verdict is the short form of an answer.
type Verdict string

// The verdicts. An answer that is a number or a list has none.
const (
	Yes        Verdict = "yes"
	InPart     Verdict = "in part"
	No         Verdict = "no"
	CannotTell Verdict = "the log cannot tell"
)

// Answer is one of the five questions of a post-mortem, answered as far as the log can.
type Answer struct {
	Question string    `json:"question"`
	Verdict  Verdict   `json:"verdict,omitempty"`
	Short    string    `json:"short"`
	Says     []Finding `json:"says"`
	// Ask is what no log can tell: a person has to write it.
	Ask string `json:"ask,omitempty"`
}

// Mark says how a finding bears on its question.
type Mark string

// The marks. A finding that is neither good nor bad has none.
const (
	Good    Mark = "good"
	Bad     Mark = "bad"
	Unclear Mark = "unclear"
)

// Finding is one thing the log says, with the events it rests on.
type Finding struct {
	Mark   Mark   `json:"mark,omitempty"`
	Text   string `json:"text"`
	Events []Ref  `json:"events"`
}

// Budget is the error budget of an SLO before the story and after it, and how it burned.
type Budget struct {
	SLO       string  `json:"slo"`
	Objective string  `json:"objective"` // in percent, as the rules have it
	Period    string  `json:"period"`
	Before    Left    `json:"before"`
	After     Left    `json:"after"`
	Renewed   bool    `json:"renewed,omitempty"`      // a new period began in between
	Step      Seconds `json:"step_seconds,omitempty"` // of Burn
	Burn      []Burn  `json:"burn"`                   // from the ledger, in order of time
	Seen      []Seen  `json:"seen"`                   // readings that decisions were made on, in order of time
}

// Left is what was left of a budget.
type Left struct {
	At        time.Time `json:"at"` // up to which the ledger counts
	Known     bool      `json:"known"`
	Unknown   string    `json:"unknown,omitempty"`
	Remaining float64   `json:"remaining"` // share, negative once it is overspent
}

// Burn is the burn rate over a piece of time.
type Burn struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Known float64   `json:"known"` // share of the time that is known; 0: Rate says nothing
	Rate  float64   `json:"rate"`
}

// Seen is a burn rate that was read for a decision.
type Seen struct {
	At      time.Time `json:"at"`
	Window  string    `json:"window"`
	Rate    float64   `json:"rate"`
	Unknown string    `json:"unknown,omitempty"` // why it was; then Rate says nothing
	Event   Ref       `json:"event"`
}
