package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Event is one fact in the log, with all that is needed to say later why it came about.
type Event struct {
	Stream   Scope
	Version  Version
	At       time.Time // the input's time, UTC
	Rules    Digest    // of the rules in force when it was decided
	Cause    Cause
	Reason   Reason
	Evidence []Reading // the readings it was decided on; shared, not to be changed
	Fact     Fact
}

// Cause says who or what brought an event about.
type Cause struct {
	Input string `json:"input"` // the kind of input: "observed", "set requested", …
	Actor
	Instant time.Time `json:"instant,omitzero"` // for an observation: the queries' instant, and the one before it
	Prev    time.Time `json:"prev,omitzero"`
	Given   *Given    `json:"given,omitempty"` // the rest of the input; in the first event of each decision, and there only
}

// Code is the typed part of a reason. Programs branch on it.
type Code string

// The codes of reasons, as events carry them.
const (
	CodeCondition    Code = "condition"        // a transition's condition was true for long enough
	CodeRequest      Code = "request"          // a person asked for it
	CodeRules        Code = "rules"            // the rules changed
	CodeTruth        Code = "truth"            // a condition turned
	CodeGap          Code = "gap"              // nobody evaluated for more than two intervals
	CodeBurning      Code = "burning"          // an SLO's tier fires
	CodeRecovered    Code = "recovered"        // what the incident was about is over
	CodeLeft         Code = "left"             // the mode the incident was about was left
	CodeExpired      Code = "expired"          // its time is over
	CodeBlind        Code = "blind"            // what has to be seen could not be seen for blind_after
	CodeSight        Code = "sight"            // sight was lost or came back
	CodePinned       Code = "pinned"           // a person's choice of mode holds
	CodeFrozen       Code = "frozen"           // automation is frozen
	CodeMinDuration  Code = "min_duration"     // the mode has to last longer first
	CodeNotReady     Code = "not ready"        // the condition does not hold any more
	CodeStarted      Code = "started"          // the transition started after all
	CodeTooLong      Code = "too long"         // the mode lasts longer than max_duration
	CodeWithheld     Code = "withheld"         // protection is withheld
	CodeCheckpoint   Code = "checkpoint"       // streams moved on
	CodeLogFault     Code = "log fault"        // the log could not be written
	CodeNoReason     Code = "no reason given"  // a request without a reason
	CodeNoMode       Code = "no such mode"     // a request for a mode that is not declared
	CodeNoTransition Code = "no transition"    // none is declared from here to there
	CodeDeclared     Code = "declared"         // a directive only, where a transition is declared
	CodeManyRoutes   Code = "several ways"     // several transitions lead there
	CodeTooLongPin   Code = "pin too long"     // a pin may last at most MaxPin
	CodeNothingToDo  Code = "nothing to do"    // no pin to end, no freeze to release
	CodeRetired      Code = "retired"          // no rule file declares the scope any more
	CodeApproved     Code = "approved"         // people said yes
	CodeRejected     Code = "rejected"         // somebody said no
	CodeProposed     Code = "proposed"         // it waits at a gate
	CodeGate         Code = "gate"             // people have to say yes first
	CodeUnknown      Code = "unknown"          // it cannot be seen
	CodeRetryAfter   Code = "retry_after"      // it came to nothing a while ago
	CodeUnderWay     Code = "under way"        // one change at a time
	CodeDone         Code = "done"             // it has happened
	CodeFailed       Code = "failed"           // it has not happened
	CodeRetry        Code = "retry"            // once more
	CodeUndo         Code = "undo"             // it is taken back
	CodeUndone       Code = "undone"           // it was taken back
	CodeUntil        Code = "until"            // the transition's until is true
	CodeVerify       Code = "verify"           // a verification
	CodeStuck        Code = "stuck"            // a person has to look
	CodeSettled      Code = "settled"          // a person has looked
	CodeOvertaken    Code = "overtaken"        // something safer did not wait
	CodeDigest       Code = "digest"           // what would be done is something else now
	CodeRole         Code = "role"             // the role is not one of those asked
	CodeOwnRequest   Code = "own request"      // whoever asks does not approve
	CodeSamePerson   Code = "same person"      // one person counts once
	CodeOver         Code = "over"             // the proposal has ended
	CodeWhich        Code = "which"            // several wait
	CodeNoProposal   Code = "no such proposal" // none waits
	CodeNoChange     Code = "no such change"   // none is under way by that name
	CodeNotStuck     Code = "not stuck"        // only what is stuck can be settled
	CodeNotLast      Code = "not the last"     // something came after it
	CodeTargets      Code = "targets"          // what a step acts on was found
	CodeApplied      Code = "applied"          // enough instances have it
	CodeInstances    Code = "instances"        // instances report that they could not
	CodePause        Code = "pause"            // a wave has lasted long enough
	CodeResumed      Code = "resumed"          // what was held goes on
	CodeDivergence   Code = "divergence"       // instances do not follow
	CodeTerm         Code = "term"             // somebody else has led since
	CodeFlapping     Code = "flapping"         // too many changes in a while
	CodeSuggest      Code = "suggest"          // automation only says what it would do
	CodeOff          Code = "off"              // automation is off
	CodeEscalated    Code = "escalated"        // it has burned on for too long
	CodePaused       Code = "paused"           // a mode pauses an SLO
	CodeSuppressed   Code = "suppressed"       // a mode keeps it quiet
	CodeStuckMode    Code = "stuck mode"       // the mode could be left for long, and is not
)

// Reason is why, for programs and for people.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text,omitempty"`
}

// Fact is what an event says: one of the types below. Its kind is the type's name.
type Fact interface{ fact() }

// The facts of a scope's life.
type (
	// ScopeAdded is the first event of a stream. Without modes (SLO alerts only) Mode is empty.
	ScopeAdded struct {
		Mode Mode `json:"mode,omitempty"`
	}
	// RulesChanged says that other rules are in force from here on. Clocks names the conditions whose sums are dropped
	// because their meaning changed.
	RulesChanged struct {
		From   Digest   `json:"from"`
		To     Digest   `json:"to"`
		Clocks []string `json:"clocks,omitempty"`
	}
	// ScopeRetired says that no rule file declares the scope any more. Its instances keep their last directive.
	ScopeRetired struct{}
	// TimeLost is a span nobody evaluated: the server was down or the clock jumped. It counts toward nothing.
	TimeLost struct {
		From time.Time `json:"from"`
		To   time.Time `json:"to"`
	}
	// ConditionTurned says that the truth of a condition with a `for` changed, and how much of its `for` is done. A run of
	// true evaluations goes on adding until the condition turns again.
	ConditionTurned struct {
		Clock Clock `json:"clock"`
	}
)

// The facts of changes.
type (
	// ChangeStarted is the plan of a change, stored before anything is done. Its identity is the change's.
	ChangeStarted struct {
		Change     ChangeID   `json:"change"`
		Transition string     `json:"transition,omitempty"` // empty: a directive only
		Position   string     `json:"position,omitempty"`   // of the transition in its file
		From       Mode       `json:"from"`
		To         Mode       `json:"to"`
		Severity   Severity   `json:"severity,omitempty"`
		Incident   IncidentID `json:"incident,omitempty"` // the one it joined
		Proposal   ChangeID   `json:"proposal,omitempty"` // the one people approved
		Forced     bool       `json:"forced,omitempty"`   // somebody went around its gate
		Plan       Plan       `json:"plan,omitzero"`
		Instances  int        `json:"instances,omitempty"` // there are
		Undo       ChangeID   `json:"undo,omitempty"`      // the change whose steps it takes back first
		Overtakes  ChangeID   `json:"overtakes,omitempty"` // the change under way that it does not wait for
		Imposed    Scope      `json:"imposed,omitempty"`   // the scope above that asks for it
		Returns    bool       `json:"returns,omitempty"`   // it leaves what was asked for from above
		Retry      RetryRules `json:"retry,omitzero"`
		Inform     *Details   `json:"inform,omitempty"` // for those who are told of informational changes; nil: they are not
	}
	// DirectivePublished is what instances are told from here on.
	DirectivePublished struct {
		Change    ChangeID  `json:"change,omitempty"`
		Directive Directive `json:"directive"`
	}
	// ChangeDone settles the mode.
	ChangeDone struct {
		Change ChangeID `json:"change"`
	}
	// TransitionWithheld says that a transition is ready and what keeps it from starting. It is recorded once for each
	// reason.
	TransitionWithheld struct {
		Transition string     `json:"transition"`
		To         Mode       `json:"to"`
		Incident   IncidentID `json:"incident,omitempty"` // the one it was said in
	}
	// WithholdingEnded says that nothing keeps the transition from starting any more, or that it is not ready any more.
	WithholdingEnded struct {
		Transition string `json:"transition"`
	}
)

// The facts of people.
type (
	// ModePinned holds automation off until Until.
	ModePinned struct {
		Mode  Mode      `json:"mode"`
		Until time.Time `json:"until"`
	}
	// ModeUnpinned gives the scope back to automation.
	ModeUnpinned struct{}
	// AutomationFrozen stops starts until Until, or until released when that is zero.
	AutomationFrozen struct {
		Until time.Time `json:"until,omitzero"`
	}
	// AutomationReleased ends a freeze.
	AutomationReleased struct{}
	// RequestRefused answers a request that cannot be done; the reason says why and how to mend it.
	RequestRefused struct{}
)

// The facts of incidents.
type (
	// IncidentOpened notifies people. It holds all that a page or ticket needs.
	IncidentOpened struct {
		Incident Incident `json:"incident"`
		Summary  string   `json:"summary"`
		Details  Details  `json:"details"`
	}
	// IncidentUpdated adds a note to an open incident.
	IncidentUpdated struct {
		Incident IncidentID `json:"incident"`
		Severity Severity   `json:"severity"`
		Note     string     `json:"note"`
		Proposal ChangeID   `json:"proposal,omitempty"` // the note says that it waits for people
	}
	// IncidentEscalated tells an open incident to somebody further, who hears of its end too.
	IncidentEscalated struct {
		Incident IncidentID `json:"incident"`
		From     Severity   `json:"from"` // the incident's own
		To       Severity   `json:"to"`
		Nobody   bool       `json:"nobody,omitempty"` // no receiver is configured for To: only those who have it are told
		Summary  string     `json:"summary"`
		Details  Details    `json:"details"`
	}
	// IncidentResolved ends an incident.
	IncidentResolved struct {
		Incident IncidentID `json:"incident"`
		Severity Severity   `json:"severity"`
		Subject  string     `json:"subject"`

		Escalated Severity `json:"escalated,omitempty"` // it was told to further
	}
	// SightLost says that a condition, or in the fleet's stream a source, cannot be seen since an instant.
	SightLost struct {
		Subject string    `json:"subject"`
		Since   time.Time `json:"since"`
	}
	// SightRegained ends it.
	SightRegained struct {
		Subject string `json:"subject"`
	}
)

// The facts of the fleet.
type (
	// CheckpointMade names the heads of the streams that moved since the checkpoint before, so that a stream cut short or
	// rolled back is noticed.
	CheckpointMade struct {
		Heads []Head `json:"heads"`
	}
	// LogRecovered records afterwards that the log could not be written.
	LogRecovered struct {
		From   time.Time `json:"from"`
		To     time.Time `json:"to"`
		Detail string    `json:"detail"`
	}
)

// Head is the last event of a stream: its version and the hash of the chain up to it.
type Head struct {
	Stream  Scope   `json:"stream"`
	Version Version `json:"version"`
	Hash    string  `json:"hash"` // hex SHA-256
}

// Details are the facts a page carries for the person who gets it.
type Details struct {
	Scope      Scope             `json:"scope"`
	Mode       Mode              `json:"mode,omitempty"`
	Owner      string            `json:"owner,omitempty"`
	Runbook    string            `json:"runbook,omitempty"`
	Transition string            `json:"transition,omitempty"` // what automation does about it
	Proposal   ChangeID          `json:"proposal,omitempty"`   // of it, which waits for people
	Checkpoint string            `json:"checkpoint,omitempty"` // of a page: the log's latest, so that a witness stands outside of it
	Labels     map[string]string `json:"labels,omitempty"`
	Notes      map[string]string `json:"annotations,omitempty"`
}

// Unrecognised is a fact of a kind this program does not know: written by a newer one. It changes only the position.
type Unrecognised struct {
	Kind string
	Raw  json.RawMessage
}

func (ScopeAdded) fact()         {}
func (RulesChanged) fact()       {}
func (ScopeRetired) fact()       {}
func (TimeLost) fact()           {}
func (ConditionTurned) fact()    {}
func (ChangeStarted) fact()      {}
func (DirectivePublished) fact() {}
func (ChangeDone) fact()         {}
func (TransitionWithheld) fact() {}
func (WithholdingEnded) fact()   {}
func (ModePinned) fact()         {}
func (ModeUnpinned) fact()       {}
func (AutomationFrozen) fact()   {}
func (AutomationReleased) fact() {}
func (RequestRefused) fact()     {}
func (IncidentOpened) fact()     {}
func (IncidentUpdated) fact()    {}
func (IncidentEscalated) fact()  {}
func (IncidentResolved) fact()   {}
func (SightLost) fact()          {}
func (SightRegained) fact()      {}
func (CheckpointMade) fact()     {}
func (LogRecovered) fact()       {}
func (Unrecognised) fact()       {}

// kinds finds a fact's type by its name, to decode it.
var kinds = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, f := range []Fact{
		ScopeAdded{}, RulesChanged{}, ScopeRetired{}, TimeLost{}, ConditionTurned{}, ChangeStarted{}, DirectivePublished{},
		ChangeDone{}, TransitionWithheld{}, WithholdingEnded{}, ModePinned{}, ModeUnpinned{}, AutomationFrozen{},
		AutomationReleased{}, RequestRefused{}, IncidentOpened{}, IncidentUpdated{}, IncidentResolved{}, SightLost{},
		SightRegained{}, CheckpointMade{}, LogRecovered{}, BrakePermitted{}, ModeImposed{}, ImpositionEnded{}, ModeKept{},
		IncidentEscalated{}, SuggestionsTold{},
		ChangeProposed{}, ProposalRenewed{}, ApprovalGranted{}, ApprovalRefused{}, GateEscalated{}, DeadlineMoved{},
		ProposalDenied{}, ProposalExpired{}, ProposalWithdrawn{}, GlassBroken{}, StepStarted{}, TargetsFound{}, StepHeld{}, StepDone{}, StepFailed{},
		StepUnknown{}, VerificationStarted{}, VerificationHeld{}, ChangeHeld{}, ChangeFailed{}, UndoStarted{}, ChangeUndone{},
		ChangeStuck{}, ChangeSettled{}, ChangeOvertaken{},
		BudgetCorrected{}, BudgetCorrectionWithdrawn{},
		WavePublished{}, WaveHeld{}, WaveResumed{}, DirectiveApplied{}, RolloutDone{}, DivergenceFound{}, DivergenceEnded{},
		TermExceeded{}, TermRecovered{},
		PauseEnded{}, IncidentSuppressed{}, SuppressionEnded{}, WindowMissed{},
	} {
		m[reflect.TypeOf(f).Name()] = reflect.TypeOf(f)
	}
	return m
}()

// Kind is the fact's name, past tense: ChangeStarted.
func (e Event) Kind() string {
	if u, ok := e.Fact.(Unrecognised); ok {
		return u.Kind
	}
	return reflect.TypeOf(e.Fact).Name()
}

// wire is the canonical form of an event: JSON with its members in this order, map keys sorted, no spaces, times in UTC
// with nanoseconds. The hash chain is over these bytes, so this type may grow members that are omitted when empty, and
// nothing else.
type wire struct {
	Stream   Scope           `json:"stream"`
	Version  Version         `json:"version"`
	At       time.Time       `json:"at"`
	Rules    Digest          `json:"rules,omitempty"`
	Kind     string          `json:"kind"`
	Cause    Cause           `json:"cause"`
	Reason   Reason          `json:"reason"`
	Evidence []Reading       `json:"evidence,omitempty"`
	Fact     json.RawMessage `json:"fact"`
}

// Encode returns the canonical form of e. Decoding it and encoding that again gives the same bytes.
func (e Event) Encode() ([]byte, error) {
	var raw json.RawMessage
	if u, ok := e.Fact.(Unrecognised); ok {
		raw = u.Raw
	} else {
		b, err := marshal(e.Fact)
		if err != nil {
			return nil, fmt.Errorf("encode %s of %s/%d: %w", e.Kind(), e.Stream, e.Version, err)
		}
		raw = b
	}
	b, err := marshal(wire{e.Stream, e.Version, e.At.UTC(), e.Rules, e.Kind(), e.Cause, e.Reason, e.Evidence, raw})
	if err != nil {
		return nil, fmt.Errorf("encode %s of %s/%d: %w", e.Kind(), e.Stream, e.Version, err)
	}
	return b, nil
}

// MarshalJSON writes the canonical form.
func (e Event) MarshalJSON() ([]byte, error) { return e.Encode() }

// UnmarshalJSON reads the canonical form.
func (e *Event) UnmarshalJSON(b []byte) error {
	d, err := Decode(b)
	*e = d
	return err
}

// Decode reads an event's canonical form. An event of a kind unknown here decodes to Unrecognised, which is no error.
func Decode(b []byte) (Event, error) {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	e := Event{Stream: w.Stream, Version: w.Version, At: w.At.UTC(), Rules: w.Rules, Cause: w.Cause, Reason: w.Reason, Evidence: w.Evidence}
	t, known := kinds[w.Kind]
	if !known {
		e.Fact = Unrecognised{Kind: w.Kind, Raw: w.Fact}
		return e, nil
	}
	v := reflect.New(t)
	if err := json.Unmarshal(w.Fact, v.Interface()); err != nil {
		return Event{}, fmt.Errorf("decode %s of %s/%d: %w", w.Kind, w.Stream, w.Version, err)
	}
	e.Fact = v.Elem().Interface().(Fact)
	return e, nil
}

// marshal is json.Marshal without the escaping of <, > and &, which would make conditions unreadable in the log.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}
