package engine

import "time"

// Input is something that happened outside, with the time it is judged at.
type Input struct {
	// At is UTC: the later of the store's clock and the time of the stream's last event.
	At time.Time
	// Term is the term of whoever leads; directives carry it.
	Term uint64
	// Frozen is why all automation is frozen (the fleet's freeze); empty: it is not.
	Frozen string
	// Deposed is why this server publishes nothing: somebody else has led since (the fleet's). Empty: it leads.
	Deposed string
	// Recovered is the term a person gave this server after it had been led past (the fleet's): a directive of a lower term may be
	// older than what instances have. 0: none.
	Recovered uint64
	// Above are the scopes above in the tree, the nearest first, and what they ask for.
	Above []Above
	// Brake says how far the fleet's brake is used up for the scope.
	Brake Brake
	// Checkpoint names the fleet's latest checkpoint; empty: there is none. A page carries it.
	Checkpoint string
	// Instances says how the instances of the scope follow by now.
	Instances Instances
	By        Actor
	What      Happening
}

// Actor is who or what an input came from.
type Actor struct {
	Principal string `json:"principal,omitempty"` // the token's name; empty: the engine itself
	Person    string `json:"person,omitempty"`    // the human behind it; two principals may be one person
}

// Happening is what an Input is about: one of the pointer types below.
type Happening interface{ name() string }

// Observed says how the conditions of a scope stood at an instant.
type Observed struct {
	Instant time.Time // the queries' instant; aligned to the interval
	Prev    time.Time // the instant this scope was evaluated at before; zero: never
	// Conditions stand at the indexes of Policy.Conditions.
	Conditions []Observation
	// SourceBlind says that a source these conditions rest on is blind for everybody, so that the want of sight is the
	// source's incident and not this scope's.
	SourceBlind bool
	// Missed are the windows of schedules that opened and closed since Prev, where that is a gap.
	Missed []Window
}

// SourcesObserved says what the sources showed at an instant. It goes to the fleet's stream.
type SourcesObserved struct {
	Instant time.Time
	Prev    time.Time
	Sources []Sight
}

// ScopeRemoved says that no rule file declares the scope any more.
type ScopeRemoved struct{}

// SetRequested asks for a mode by hand, and pins it.
type SetRequested struct {
	Mode          Mode          `json:"mode"`
	Reason        string        `json:"reason,omitempty"`
	For           time.Duration `json:"for,omitempty"`            // of the pin; 0: DefaultPin
	Via           string        `json:"via,omitempty"`            // the transition to go by, where several lead there
	DirectiveOnly bool          `json:"directive_only,omitempty"` // where no transition is declared from here to there; with Force also where one is
	Force         bool          `json:"force,omitempty"`          // around the gate: break-glass
	Roles         []string      `json:"roles,omitempty"`          // of whoever asks
}

// ReviewGiven is one person's answer to a proposal.
type ReviewGiven struct {
	Proposal ChangeID `json:"proposal,omitempty"` // empty: the only one that waits
	Digest   Digest   `json:"digest,omitempty"`   // of what was looked at
	Yes      bool     `json:"yes,omitempty"`
	Blind    bool     `json:"blind,omitempty"` // a yes to starting although the condition cannot be seen
	Roles    []string `json:"roles,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// StepReported is the outcome of an attempt.
type StepReported struct {
	Change  ChangeID `json:"change,omitempty"` // of the step; empty: whichever runs
	Step    string   `json:"step"`
	Undo    bool     `json:"undo,omitempty"`
	Attempt int      `json:"attempt,omitempty"` // 0: whichever runs
	Outcome Outcome  `json:"outcome"`
	Detail  string   `json:"detail,omitempty"`
	// Asked says that the target was asked before this attempt, and that no attempt before it has happened.
	Asked bool `json:"asked,omitempty"`
}

// TargetsReported is what the selector of a step finds. Nothing has been done by then.
type TargetsReported struct {
	Change  ChangeID `json:"change,omitempty"` // of the step; empty: whichever runs
	Step    string   `json:"step"`
	Attempt int      `json:"attempt,omitempty"` // 0: whichever runs
	Count   int      `json:"count,omitempty"`
	Names   []string `json:"names,omitempty"`   // all of them, sorted, when they are no more than the step may have; else the first
	Problem string   `json:"problem,omitempty"` // why they could not be found; then there is nothing else
}

// Outcome says what came of an attempt.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeDone    Outcome = "done"
	OutcomeFailed  Outcome = "failed"  // it has not happened
	OutcomeUnknown Outcome = "unknown" // nobody knows whether it has
)

// CancelRequested takes back a change under way, or a proposal.
type CancelRequested struct {
	Change ChangeID `json:"change"`
	Reason string   `json:"reason,omitempty"`
}

// UndoRequested takes back the last change that is done.
type UndoRequested struct {
	Change ChangeID `json:"change"`
	Reason string   `json:"reason,omitempty"`
}

// SettleRequested says what a person found of a stuck change.
type SettleRequested struct {
	Change ChangeID  `json:"change"`
	As     SettledAs `json:"as"`
	Reason string    `json:"reason,omitempty"`
}

// TimePassed says nothing but the time. With Prev, the instant of the evaluation before, it also tells how much of it nobody
// could answer in: after a restart or a jump of the clock it comes before anything else.
type TimePassed struct {
	Prev   time.Time
	Missed []Window // as for Observed
}

// UnpinRequested gives the scope back to automation.
type UnpinRequested struct {
	Reason string `json:"reason,omitempty"`
}

// FreezeRequested stops automation from starting changes: in one scope, or everywhere when sent to Fleet.
type FreezeRequested struct {
	Reason string        `json:"reason,omitempty"`
	For    time.Duration `json:"for,omitempty"` // 0: until released
}

// UnfreezeRequested ends a freeze.
type UnfreezeRequested struct {
	Reason string `json:"reason,omitempty"`
}

// HeadsObserved gives the heads of the streams that moved since the last checkpoint. It goes to the fleet's stream.
type HeadsObserved struct{ Heads []Head }

// LogFaulted says that the log could not be written for a while. It goes to the fleet's stream once it can be again.
type LogFaulted struct {
	From   time.Time
	Detail string
}

func (*Observed) name() string          { return "observed" }
func (*SourcesObserved) name() string   { return "sources observed" }
func (*ScopeRemoved) name() string      { return "scope removed" }
func (*SetRequested) name() string      { return "set requested" }
func (*UnpinRequested) name() string    { return "unpin requested" }
func (*FreezeRequested) name() string   { return "freeze requested" }
func (*UnfreezeRequested) name() string { return "unfreeze requested" }
func (*HeadsObserved) name() string     { return "heads observed" }
func (*LogFaulted) name() string        { return "log faulted" }
func (*ReviewGiven) name() string       { return "review given" }
func (*StepReported) name() string      { return "step reported" }
func (*TargetsReported) name() string   { return "targets reported" }
func (*CancelRequested) name() string   { return "cancel requested" }
func (*UndoRequested) name() string     { return "undo requested" }
func (*SettleRequested) name() string   { return "settle requested" }
func (*TimePassed) name() string        { return "time passed" }

// How long a person's choice of mode holds automation off.
const (
	DefaultPin = time.Hour
	MaxPin     = 24 * time.Hour
)
