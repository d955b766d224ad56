package engine

import (
	"fmt"
	"strings"
	"time"
)

// Effect is something the world is owed because an event was stored. It becomes a job in the same transaction.
type Effect struct {
	// ID is the idempotency key, made of the event's identity: an effect may be carried out more than once, and its
	// target recognises it by this.
	ID string `json:"id"`
	// Key orders effects: those of one key are carried out strictly one after the other.
	Key string `json:"key"`
	// Exactly one of these is set.
	Notice *Notice  `json:"notice,omitempty"`
	Step   *StepJob `json:"step,omitempty"`
}

// StepJob is one attempt of a step, or of its undo.
type StepJob struct {
	// Key is what the target recognises the step by: the same for every attempt.
	Key     string   `json:"key"`
	Scope   Scope    `json:"scope"`
	Change  ChangeID `json:"change"`
	Step    Step     `json:"step"`
	Undo    bool     `json:"undo,omitempty"`
	Attempt int      `json:"attempt"`
	Facts   Facts    `json:"facts"`
	// Find says that only the step's targets are to be found and reported: nothing is done.
	Find    bool     `json:"find,omitempty"`
	Targets []string `json:"targets,omitempty"` // it acts on, where it has a selector
	// Prompt says that no attempt failed right before this one: there is nothing to be patient for.
	Prompt bool `json:"prompt,omitempty"`
}

// NoticeAction is what a notice does to its incident.
type NoticeAction string

// The actions of a notice, in the order an incident goes through them.
const (
	NoticeTrigger NoticeAction = "trigger"
	NoticeUpdate  NoticeAction = "update"
	NoticeResolve NoticeAction = "resolve"
)

// Notice tells people of an incident: SeverityPage by a page, SeverityTicket by a ticket, SeverityExec those it was escalated to.
// SeverityInfo wakes nobody and has no end: it says that a change has started.
type Notice struct {
	Action   NoticeAction `json:"action"`
	Incident IncidentID   `json:"incident"` // deduplication key
	Severity Severity     `json:"severity"`
	Groups   []Group      `json:"groups,omitempty"` // for SeverityAsk: who is asked
	Summary  string       `json:"summary"`
	Details  Details      `json:"details"`
	Event    Event        `json:"event"` // behind it: time, reason, evidence
}

// Effects returns what the world is owed because e was stored, in the order in which it is owed; nil when nothing is.
func Effects(e Event) []Effect {
	var n Notice
	id := fmt.Sprintf("%s/%d", e.Stream, e.Version)
	ask := func(action NoticeAction, proposal ChangeID, groups []Group, summary string) {
		n = Notice{Action: action, Incident: IncidentID(proposal), Severity: SeverityAsk, Groups: groups, Summary: summary,
			Details: Details{Scope: e.Stream, Proposal: proposal}}
	}
	switch f := e.Fact.(type) {
	case StepStarted:
		return owe(id, StepJob{Scope: e.Stream, Change: f.Change, Step: f.Step, Undo: f.Undo, Attempt: f.Attempt, Facts: f.Facts,
			Find: f.Finds(), Targets: f.Targets, Prompt: e.Reason.Code != CodeRetry})
	case TargetsFound:
		return owe(id, StepJob{Scope: e.Stream, Change: f.Change, Step: f.Step, Attempt: f.Attempt, Facts: f.Facts, Targets: f.Targets, Prompt: true})
	case ChangeProposed:
		p := &f.Proposal
		ask(NoticeTrigger, p.ID, p.Gate.Groups, asking(e.Stream, p.From, p.To, p.Transition, f.Plan))
	case ProposalRenewed:
		text := asking(e.Stream, f.From, f.To, f.Transition, f.Plan)
		if f.Change == "" {
			ask(NoticeUpdate, f.Proposal, f.Gate.Groups, text)
			break
		}
		// They were told that nobody needs to answer any more: this asks them anew.
		ask(NoticeTrigger, f.Proposal, f.Gate.Groups, fmt.Sprintf("%s; %s is held: %s", text, f.Step, e.Reason.Text))
	case GateEscalated:
		if len(f.Groups) == 0 {
			return nil
		}
		ask(NoticeTrigger, f.Proposal, f.Groups, f.Summary)
	case ProposalDenied:
		ask(NoticeResolve, f.Proposal, f.Asked, f.Summary)
	case ProposalExpired:
		ask(NoticeResolve, f.Proposal, f.Asked, f.Summary)
	case ProposalWithdrawn:
		ask(NoticeResolve, f.Proposal, f.Asked, f.Summary)
	case ApprovalGranted:
		if len(f.Missing) > 0 {
			return nil
		}
		ask(NoticeResolve, f.Proposal, f.Asked, fmt.Sprintf("%s was approved", f.Proposal))
	case ChangeStarted:
		if f.Inform != nil {
			n = informed(e, f.From, f.To, f.Inform)
		}
	case UndoStarted:
		if f.Inform != nil {
			n = informed(e, f.Inform.Mode, f.Back, f.Inform)
		}
	case IncidentOpened:
		n = Notice{Action: NoticeTrigger, Incident: f.Incident.ID, Severity: f.Incident.Severity, Summary: f.Summary, Details: f.Details}
	case IncidentUpdated:
		n = Notice{Action: NoticeUpdate, Incident: f.Incident, Severity: f.Severity, Summary: f.Note,
			Details: Details{Scope: e.Stream, Proposal: f.Proposal}}
	case SuggestionsTold:
		n = Notice{Action: NoticeTrigger, Incident: IncidentID(identity(e.Stream, e.Version)), Severity: f.Severity, Summary: f.Summary, Details: f.Details}
	case IncidentEscalated:
		return escalated(id, e, f)
	case IncidentResolved:
		n = Notice{Action: NoticeResolve, Incident: f.Incident, Severity: f.Severity,
			Summary: fmt.Sprintf("%s: %s: %s", e.Stream, f.Subject, e.Reason.Text), Details: Details{Scope: e.Stream}}
	default:
		return nil
	}
	if n.Severity == "" || n.Severity == SeverityInfo && !informs(e.Fact) {
		return nil
	}
	n.Event = e
	effects := []Effect{{ID: id, Key: string(n.Incident), Notice: &n}}
	if f, ended := e.Fact.(IncidentResolved); ended && f.Escalated != "" {
		effects = append(effects, further(id, f.Escalated, n))
	}
	return effects
}

// owe makes the effect of a step's job.
func owe(id string, job StepJob) []Effect {
	job.Key = fmt.Sprintf("%s/%s", job.Change, job.Step.Name)
	if job.Undo {
		job.Key += "/undo"
	}
	return []Effect{{ID: id, Key: "steps/" + string(job.Scope), Step: &job}}
}

// asking is what people are asked, with what cannot be taken back.
func asking(scope Scope, from, to Mode, transition string, plan Plan) string {
	text := fmt.Sprintf("%s: %s → %s (%s)", scope, from, to, transition)
	for _, s := range plan.Steps {
		if s.Irreversible {
			text += "; " + s.Name + " cannot be undone"
		}
	}
	if len(plan.Into.Pause) > 0 {
		text += "; it pauses " + strings.Join(plan.Into.Pause, ", ")
	}
	return text
}

// Append is what is to be added to one stream. Without events it only asks that the stream still be at After.
type Append struct {
	Stream Scope
	After  Version // of the last event the writer saw; 0: none
	Events []Event // versions After+1, After+2, …; times not running backwards
}

// Job is an effect as the store keeps it until it has been carried out.
type Job struct {
	Effect
	Owed     time.Time // when its event was stored
	Attempts int       // finished ones, all without success
	Problem  string    // what the last attempt said; empty before the first
	Begun    bool      // an attempt was begun and nobody said what came of it: its worker died
}

// Traits are what a kind of action says of one step.
type Traits struct {
	Destructive bool // it can do harm that a wrong decision would make worse
	Keyed       bool // its target knows a key, or can say that it did this already: it may be sent again
	Targets     bool // it asks for the targets that its step finds
}

// SpecProblem is a fault of a step's specification.
type SpecProblem struct {
	Path    []string // of keys and indexes in the specification, to what is wrong
	Message string
	Hint    string // what would be right; may be empty
}
