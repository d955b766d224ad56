package api

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

// The shapes of proposals and of answers to them.

// The verdicts of a review.
const (
	VerdictYes = "yes"
	VerdictNo  = "no"
)

// ReviewRequest is one person's answer to a proposal. That it has a reason and a digest of what is proposed now is the
// core's to check, so that a refusal stands in the log.
type ReviewRequest struct {
	Verdict string        `json:"verdict" enum:"yes,no"`
	Digest  engine.Digest `json:"digest" maxLength:"64" doc:"of what was looked at: all of it, or at least its first 8 characters"`
	Reason  string        `json:"reason" maxLength:"2000" doc:"why; it is kept in the log"`
	Blind   bool          `json:"blind,omitempty" doc:"yes also to starting while its condition cannot be seen; while it can be the yes counts as any other (plain in ApprovalGranted), and once it is seen again it takes another one"`
}

// Approvals is a list of proposals that wait.
type Approvals struct {
	Approvals []ApprovalSummary `json:"approvals" nullable:"false"`
}

// ApprovalSummary is a proposal in a list.
type ApprovalSummary struct {
	ID         engine.ChangeID `json:"id"`
	Scope      engine.Scope    `json:"scope"`
	Transition string          `json:"transition"`
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	Digest     engine.Digest   `json:"digest" doc:"what an answer is bound to"`
	Requester  string          `json:"requester,omitempty" doc:"who asked for it; empty: automation proposes"`
	Until      time.Time       `json:"until" doc:"at this instant its time is over"`
	Left       Duration        `json:"left" doc:"until then"`
	Escalated  bool            `json:"escalated" doc:"its time was over once: further people are asked, or somebody was woken"`
	Groups     []engine.Group  `json:"groups" nullable:"false" doc:"all have to be satisfied"`
	Missing    []engine.Group  `json:"missing" nullable:"false" doc:"who still has to say yes; none: it starts as soon as nothing keeps it"`
	Instead    []engine.Group  `json:"instead,omitempty" doc:"since the gate escalated: these do in place of the missing ones"`
	Withheld   string          `json:"withheld,omitempty" doc:"what keeps it from starting though people said yes"`
	Change     engine.ChangeID `json:"change,omitempty" doc:"it has started, and one of its steps is held: it found more targets than were approved"`
}

// Approval is a proposal with all that has to be known to answer it.
type Approval struct {
	ApprovalSummary
	Owner        string           `json:"owner,omitempty"`
	Runbook      string           `json:"runbook,omitempty"`
	Position     string           `json:"position,omitempty" doc:"of the transition: file:line:column"`
	Condition    string           `json:"condition,omitempty" doc:"as the rule file has it"`
	For          Duration         `json:"for,omitzero" doc:"how long that has to be true"`
	Flags        engine.Flags     `json:"flags,omitempty" doc:"what instances would be told with the mode"`
	Proposed     time.Time        `json:"proposed"`
	Reason       string           `json:"reason,omitempty" doc:"why it is proposed"`
	Votes        []ApprovalVote   `json:"votes" nullable:"false" doc:"that count"`
	Voided       int              `json:"voided,omitempty" doc:"votes that do not count, because what would be done changed after them"`
	BlindBy      string           `json:"blind_by,omitempty" doc:"who said yes to starting without sight"`
	First        []ApprovalStep   `json:"first" nullable:"false" doc:"what is taken back before the steps: what the change into the present mode did"`
	Steps        []ApprovalStep   `json:"steps" nullable:"false" doc:"in order"`
	Destructive  bool             `json:"destructive" doc:"some step can do harm"`
	Irreversible bool             `json:"irreversible" doc:"some step cannot be taken back"`
	PublishLast  bool             `json:"publish_last,omitempty" doc:"instances are told after the steps; else before"`
	OnFailure    string           `json:"on_failure" doc:"what happens then, in words"`
	Verify       string           `json:"verify,omitempty" doc:"has to be true at the end"`
	TakenBack    string           `json:"until_condition,omitempty" doc:"once true, it is taken back by itself"`
	Pauses       []string         `json:"pauses,omitempty" doc:"the SLOs that the mode pauses: their tiers are quiet and their budgets leave the time out"`
	Suppress     *engine.Suppress `json:"suppress,omitempty" doc:"the incidents that the mode keeps quiet"`
	Evidence     []engine.Reading `json:"evidence" nullable:"false" doc:"the readings it was proposed on"`
	Observed     time.Time        `json:"observed,omitzero" doc:"the instant of the last evaluation"`
	Truth        engine.Truth     `json:"truth" enum:"true,false,unknown" doc:"of the condition at that instant"`
	Readings     []engine.Reading `json:"readings" nullable:"false" doc:"behind that truth"`
	Blind        bool             `json:"blind" doc:"the condition cannot be seen now: it starts only with a yes given blind"`
	Budgets      []ApprovalBudget `json:"budgets" nullable:"false" doc:"how long the error budgets last at the present burn"`
	Ended        *ApprovalEnd     `json:"ended,omitempty" doc:"absent: it waits"`
}

// ApprovalVote is one person's yes.
type ApprovalVote struct {
	Person string    `json:"person"`
	Role   string    `json:"role" doc:"the group it counts for"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Blind  bool      `json:"blind,omitempty"`
}

// ApprovalStep is what one step would do. Where the change's identity stands, which it gets when it starts, the text says
// CHANGE; where the people who approved it stand, APPROVERS.
type ApprovalStep struct {
	Name         string          `json:"name"`
	Kind         string          `json:"kind,omitempty" doc:"of action: webhook, exec, …"`
	Destructive  bool            `json:"destructive,omitempty"`
	Irreversible bool            `json:"irreversible,omitempty" doc:"it is destructive and has no undo"`
	Undoes       engine.ChangeID `json:"undoes,omitempty" doc:"it takes back this step of that change"`
	Held         bool            `json:"held,omitempty" doc:"it found more targets than were approved: it is what people are asked about"`
	Targets      *StepTargets    `json:"targets,omitempty" doc:"what it would act on; absent: its description names it"`
	Does         string          `json:"does,omitempty" doc:"in full, with its targets; without secrets"`
	Undo         string          `json:"undo,omitempty" doc:"what taking it back would do; absent: it has no undo"`
	Problem      string          `json:"problem,omitempty" doc:"why it cannot be described"`
}

// StepTargets are what a step would act on if it began now. It finds them anew when it does. Where they stand in a description
// and cannot be told, the text says TARGETS.
type StepTargets struct {
	Selector string   `json:"selector" doc:"how they are found, in words"`
	Max      int      `json:"max" doc:"how many people say yes to; more ask again"`
	Found    int      `json:"found" doc:"how many there are now"`
	Names    []string `json:"names" nullable:"false" doc:"of the first of them"`
	Unknown  string   `json:"unknown,omitempty" doc:"why it cannot be told what there is; found means nothing then"`
}

// ApprovalBudget is how the error budget of one SLO stands.
type ApprovalBudget struct {
	SLO       string   `json:"slo"`
	Remaining float64  `json:"remaining" doc:"share of the period's budget, at most 1; negative when overspent"`
	Burn      float64  `json:"burn" doc:"the present burn rate; 1 spends the budget exactly on time"`
	Lasts     Duration `json:"lasts,omitzero" doc:"until nothing is left, at the present burn; absent when it is spent already, or is not being spent"`
	Unknown   string   `json:"unknown,omitempty" doc:"why the numbers cannot be told; they mean nothing then"`
}

// ApprovalEnd is how a proposal ended.
type ApprovalEnd struct {
	How    approval.How    `json:"how" enum:"started,denied,expired,withdrawn"`
	At     time.Time       `json:"at"`
	By     string          `json:"by,omitempty" doc:"who denied or withdrew it, or gave the last yes"`
	Reason string          `json:"reason,omitempty"`
	Change engine.ChangeID `json:"change,omitempty" doc:"the one it became"`
	State  string          `json:"state,omitempty" doc:"of that change: under way, being undone, stuck, done; absent: something came after it"`
}

func summaryOf(p *approval.Approval) ApprovalSummary {
	out := ApprovalSummary{
		ID: p.ID, Scope: p.Scope, Transition: p.Transition, From: p.From, To: p.To, Digest: p.Digest, Until: p.Until,
		Left: Duration(p.Left.Truncate(time.Millisecond)), Escalated: p.Escalated, Groups: list(p.Groups), Missing: list(p.Missing),
		Instead: p.Instead, Withheld: p.Withheld, Change: p.Change,
	}
	if p.Requester != nil {
		out.Requester = p.Requester.String()
	}
	return out
}

func showApproval(p *approval.Approval) Approval {
	out := Approval{
		ApprovalSummary: summaryOf(p), Owner: p.Owner, Runbook: p.Runbook, Position: p.Position, Condition: p.Condition,
		For: Duration(p.For), Flags: p.Flags, Proposed: p.Proposed, Reason: p.Reason, Voided: p.Voided, BlindBy: p.BlindBy,
		Destructive: p.Destructive(), Irreversible: p.Irreversible(), PublishLast: p.PublishLast, OnFailure: p.OnFailure, Verify: p.Verify, TakenBack: p.TakenBack,
		Pauses: p.Pauses, Suppress: p.Suppress,
		Evidence: list(p.Evidence), Observed: p.Observed, Truth: p.Truth, Readings: list(p.Readings), Blind: p.Blind,
		Votes: []ApprovalVote{}, First: []ApprovalStep{}, Steps: []ApprovalStep{}, Budgets: []ApprovalBudget{},
	}
	for _, v := range p.Votes {
		out.Votes = append(out.Votes, ApprovalVote(v))
	}
	for _, s := range p.First {
		out.First = append(out.First, showStep(s))
	}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, showStep(s))
	}
	for _, b := range p.Budgets {
		out.Budgets = append(out.Budgets, ApprovalBudget{b.SLO, b.Remaining, b.Burn, Duration(b.Lasts.Truncate(time.Millisecond)), b.Unknown})
	}
	if p.Ended != nil {
		end := ApprovalEnd(*p.Ended)
		out.Ended = &end
	}
	return out
}

func showStep(s approval.Step) ApprovalStep {
	return ApprovalStep{
		Name: s.Name, Kind: s.Kind, Destructive: s.Destructive, Irreversible: s.Irreversible, Undoes: s.Undoes, Held: s.Held,
		Targets: showTargets(s.Targets), Does: s.Does, Undo: s.Undo, Problem: s.Problem,
	}
}

func showTargets(t *approval.Targets) *StepTargets {
	if t == nil {
		return nil
	}
	return &StepTargets{Selector: t.Selector, Max: t.Max, Found: t.Found, Names: list(t.Names), Unknown: t.Unknown}
}
