package engine

import "time"

// The facts of gates.
type (
	// ChangeProposed asks people for their yes to a transition. Its identity is the proposal's.
	ChangeProposed struct {
		Proposal Proposal   `json:"proposal"`
		Plan     Plan       `json:"plan,omitzero"` // what they say yes to
		Severity Severity   `json:"severity,omitempty"`
		Incident IncidentID `json:"incident,omitempty"` // the one it is told in
		Clock    *Clock     `json:"clock,omitempty"`    // of its condition, which matters from here on
	}
	// ProposalRenewed says that what would be done has changed: votes before it do not count.
	ProposalRenewed struct {
		Proposal   ChangeID `json:"proposal"`
		Transition string   `json:"transition"`
		From       Mode     `json:"from"`
		To         Mode     `json:"to"`
		Digest     Digest   `json:"digest"`
		Gate       Gate     `json:"gate"`
		Voided     int      `json:"voided,omitempty"` // votes
		Plan       Plan     `json:"plan,omitzero"`

		// By which it rests from here on; zero in what was stored before renewals said so, and of a held step.
		Retry RetryRules `json:"retry,omitzero"`

		// Of a proposal whose change is under way, and one of whose steps is held:
		Change  ChangeID  `json:"change,omitempty"`
		Step    string    `json:"step,omitempty"`
		Targets int       `json:"targets,omitempty"` // that step may act on, once people say yes again
		Until   time.Time `json:"until,omitzero"`
	}
	// ApprovalGranted is one person's yes that counts.
	ApprovalGranted struct {
		Proposal ChangeID `json:"proposal"`
		Person   string   `json:"person"`
		Role     string   `json:"role"` // the group it counts for
		Digest   Digest   `json:"digest"`
		Missing  []Group  `json:"missing,omitempty"` // that still have to say yes
		Blind    bool     `json:"blind,omitempty"`   // also to starting while the condition cannot be seen, as it could not then
		Plain    bool     `json:"plain,omitempty"`   // it was given blind, where nothing was out of sight: it counts as any other
		Asked    []Group  `json:"asked,omitempty"`   // when nothing is missing: those who need not answer any more
	}
	// ApprovalRefused is a review that does not count; the reason says why.
	ApprovalRefused struct {
		Proposal ChangeID `json:"proposal,omitempty"`
		Person   string   `json:"person"`
		Role     string   `json:"role,omitempty"`
	}
	// GateEscalated says that a gate's time was over and that it goes on once more, until Until.
	GateEscalated struct {
		Proposal ChangeID  `json:"proposal"`
		Groups   []Group   `json:"groups,omitempty"` // that are asked now too
		Until    time.Time `json:"until"`
		Summary  string    `json:"summary"`
	}
	// DeadlineMoved gives people the time back in which nobody could answer.
	DeadlineMoved struct {
		Proposal ChangeID  `json:"proposal"`
		Until    time.Time `json:"until"`
	}
	// ProposalDenied ends a proposal by somebody's no: nothing follows from it any more.
	ProposalDenied struct {
		Proposal ChangeID `json:"proposal"`
		Person   string   `json:"person"`
		Role     string   `json:"role"`
		Asked    []Group  `json:"asked,omitempty"`
		Summary  string   `json:"summary"`
	}
	// ProposalExpired ends a proposal whose time is over.
	ProposalExpired struct {
		Proposal ChangeID `json:"proposal"`
		Asked    []Group  `json:"asked,omitempty"`
		Summary  string   `json:"summary"`
	}
	// ProposalWithdrawn ends a proposal that nobody needs any more, or that somebody took back.
	ProposalWithdrawn struct {
		Proposal ChangeID `json:"proposal"`
		Asked    []Group  `json:"asked,omitempty"`
		Summary  string   `json:"summary"`
	}
	// GlassBroken marks for ever that somebody went around a gate.
	GlassBroken struct {
		Person     string  `json:"person"`
		Transition string  `json:"transition"`
		Groups     []Group `json:"groups"`
	}
)

// The facts of steps, and of what becomes of a change.
type (
	// StepStarted owes the world one attempt of a step, or of its undo. Every attempt goes out under the same key, and so with
	// the same targets. A step that has a selector and no targets yet owes no more than to find them.
	StepStarted struct {
		Change  ChangeID `json:"change"`
		Step    Step     `json:"step"`
		Attempt int      `json:"attempt"`
		Undo    bool     `json:"undo,omitempty"`
		Facts   Facts    `json:"facts,omitzero"`
		Targets []string `json:"targets,omitempty"`
	}
	// TargetsFound says what the attempt acts on from here on, and owes the world that attempt.
	TargetsFound struct {
		Change  ChangeID `json:"change"`
		Step    Step     `json:"step"`
		Attempt int      `json:"attempt"`
		Targets []string `json:"targets"` // sorted
		Facts   Facts    `json:"facts,omitzero"`
	}
	// StepHeld says that a step has more targets than people said yes to: it has done nothing, and they are asked again.
	StepHeld struct {
		Change  ChangeID `json:"change"`
		Step    string   `json:"step"`
		Attempt int      `json:"attempt"`
		Targets int      `json:"targets"`
		Max     int      `json:"max"`             // that were approved
		Names   []string `json:"names,omitempty"` // of the first of them
	}
	// StepDone says that it has happened.
	StepDone struct {
		Change  ChangeID `json:"change"`
		Step    string   `json:"step"`
		Attempt int      `json:"attempt"`
		Undo    bool     `json:"undo,omitempty"`
		Detail  string   `json:"detail,omitempty"` // what the target answered
	}
	// StepFailed says that it has not happened.
	StepFailed struct {
		Change  ChangeID `json:"change"`
		Step    string   `json:"step"`
		Attempt int      `json:"attempt"`
		Undo    bool     `json:"undo,omitempty"`
		Detail  string   `json:"detail,omitempty"`
	}
	// StepUnknown says that nobody knows whether it has happened.
	StepUnknown struct {
		Change  ChangeID `json:"change"`
		Step    string   `json:"step"`
		Attempt int      `json:"attempt"`
		Undo    bool     `json:"undo,omitempty"`
		Detail  string   `json:"detail,omitempty"`
	}
	// VerificationStarted waits for a condition to be true before the mode is settled.
	VerificationStarted struct {
		Change    ChangeID `json:"change"`
		Condition string   `json:"condition"`
	}
	// VerificationHeld says that the condition has been unknown since.
	VerificationHeld struct {
		Change ChangeID  `json:"change"`
		Since  time.Time `json:"since"`
	}
	// ChangeHeld keeps what a failed protection has applied; the step is tried again from Until on.
	ChangeHeld struct {
		Change ChangeID  `json:"change"`
		Step   string    `json:"step"`
		Until  time.Time `json:"until"`
	}
	// ChangeFailed says that a change will not be done; it is undone from here on.
	ChangeFailed struct {
		Change ChangeID `json:"change"`
		Step   string   `json:"step,omitempty"`
		Wave   int      `json:"wave,omitempty"`
	}
	// UndoStarted takes a change back, the last step first.
	UndoStarted struct {
		Change ChangeID `json:"change"`
		Person string   `json:"person,omitempty"`
		Inform *Details `json:"inform,omitempty"` // of an `until`, for those who are told of informational changes
		Back   Mode     `json:"back,omitempty"`   // with Inform: the mode it goes back to
		// Over says that the condition of its transition is false by now: what it was for is over, and need not be waited for.
		Over bool `json:"over,omitempty"`
	}
	// ChangeUndone settles the mode the change had left.
	ChangeUndone struct {
		Change ChangeID `json:"change"`
	}
	// ChangeStuck says that nobody knows what the world is like. Everything waits for a person.
	ChangeStuck struct {
		Change ChangeID `json:"change"`
		Step   string   `json:"step"`
		Undo   bool     `json:"undo,omitempty"`
	}
	// ChangeSettled is what a person found.
	ChangeSettled struct {
		Change ChangeID  `json:"change"`
		As     SettledAs `json:"as"`
		Person string    `json:"person"`
	}
	// ChangeOvertaken says that something safer did not wait.
	ChangeOvertaken struct {
		Change ChangeID `json:"change"`
		By     ChangeID `json:"by"`
	}
)

// SettledAs is what a person found of a stuck change.
type SettledAs string

// What a person may find.
const (
	SettledDone   SettledAs = "done"
	SettledUndone SettledAs = "undone"
)

func (ChangeProposed) fact()      {}
func (ProposalRenewed) fact()     {}
func (ApprovalGranted) fact()     {}
func (ApprovalRefused) fact()     {}
func (GateEscalated) fact()       {}
func (DeadlineMoved) fact()       {}
func (ProposalDenied) fact()      {}
func (ProposalExpired) fact()     {}
func (ProposalWithdrawn) fact()   {}
func (GlassBroken) fact()         {}
func (StepStarted) fact()         {}
func (TargetsFound) fact()        {}
func (StepHeld) fact()            {}
func (StepDone) fact()            {}
func (StepFailed) fact()          {}
func (StepUnknown) fact()         {}
func (VerificationStarted) fact() {}
func (VerificationHeld) fact()    {}
func (ChangeHeld) fact()          {}
func (ChangeFailed) fact()        {}
func (UndoStarted) fact()         {}
func (ChangeUndone) fact()        {}
func (ChangeStuck) fact()         {}
func (ChangeSettled) fact()       {}
func (ChangeOvertaken) fact()     {}
