package approval

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Approval is a proposal as people see it. What Desk.List returns holds what the scope's state says; steps, evidence, votes
// and budgets come with Desk.Get.
type Approval struct {
	ID      engine.ChangeID
	Scope   engine.Scope
	Owner   string
	Runbook string

	Transition string
	Position   string // of the transition: file:line:column; empty when the rules declare it no more
	Condition  string // as the rule file has it
	For        time.Duration
	From, To   engine.Mode
	Flags      engine.Flags // what instances would be told

	Digest    engine.Digest // what an answer is bound to
	Proposed  time.Time
	Requester *engine.Actor // nil: automation proposes
	Reason    string        // why it is proposed
	Until     time.Time     // at this instant its time is over
	Left      time.Duration // until then; 0 when it is over
	Otherwise engine.Otherwise
	Escalated bool

	Groups  []engine.Group // all have to be satisfied
	Further []engine.Group // asked as well since the gate escalated: these suffice too
	Missing []engine.Group // of Groups; none: it starts as soon as nothing keeps it
	Instead []engine.Group // of Further: enough of these do as well
	Votes   []Vote
	Voided  int    // votes that do not count, because what would be done changed after them
	BlindBy string // who said yes to starting without sight

	First       []Step // undos of the change that entered the present mode: they come before the steps
	Steps       []Step
	PublishLast bool             // instances are told after the steps; else before
	OnFailure   string           // in words
	Verify      string           // the condition that has to be true at the end, as the rule file has it
	TakenBack   string           // the condition that ends it again once it is true
	Pauses      []string         // SLOs that the mode pauses once this is approved
	Suppress    *engine.Suppress // incidents that the mode keeps quiet; nil: none
	Withheld    string           // what keeps it from starting though people said yes

	Evidence []engine.Reading // of the event that proposed it
	Observed time.Time        // the instant of the last evaluation
	Truth    engine.Truth     // of the condition at that instant
	Readings []engine.Reading // behind that truth
	Blind    bool             // the condition cannot be seen: it starts only with a yes given blind

	Budgets []Budget
	// Change is under way, and waits since one of its steps is held; empty: it has not started.
	Change engine.ChangeID
	Ended  *Ended // nil: it waits
}

// Destructive reports whether some step can do harm.
func (a *Approval) Destructive() bool { return a.any(func(s Step) bool { return s.Destructive }) }

// Irreversible reports whether some step cannot be taken back.
func (a *Approval) Irreversible() bool { return a.any(func(s Step) bool { return s.Irreversible }) }

func (a *Approval) any(is func(Step) bool) bool {
	for _, s := range a.Steps {
		if is(s) {
			return true
		}
	}
	return false
}

// Voted returns a person's yes, if they gave one that counts.
func (a *Approval) Voted(person string) (Vote, bool) {
	for _, v := range a.Votes {
		if v.Person == person {
			return v, true
		}
	}
	return Vote{}, false
}

// Vote is one person's yes that counts.
type Vote struct {
	Person string
	Role   string
	At     time.Time
	Reason string
	Blind  bool
}

// Step is one action, in the words of its kind.
type Step struct {
	Name         string
	Kind         string
	Destructive  bool
	Irreversible bool
	Undoes       engine.ChangeID // set: it takes back this step of that change
	Held         bool            // it found more targets than were approved: it is what people are asked about
	Targets      *Targets        // nil: its description names what it acts on
	Does         string          // in full; empty when Problem is set
	Undo         string          // what taking it back would do; empty: it has no undo
	Problem      string          // why it cannot be described
}

// MaxNamed is how many targets are named.
const MaxNamed = 20

// Targets are what a step would act on if it began now. It finds them anew when it does.
type Targets struct {
	Selector string // in words
	Max      int    // that people say yes to: more ask again
	Found    int
	Names    []string // of the first MaxNamed
	Unknown  string   // why it cannot be told what there is; Found means nothing then
}

// More is how many targets are found that are not named.
func (t *Targets) More() int { return max(0, t.Found-len(t.Names)) }

// TooMany reports whether a step that began now would be held.
func (t *Targets) TooMany() bool { return t.Unknown == "" && t.Found > t.Max }

// Budget is how the error budget of one SLO stands.
type Budget struct {
	SLO       string
	Remaining float64       // share of the period's budget, at most 1; negative when overspent
	Burn      float64       // the present burn rate; 1 spends the budget exactly on time
	Lasts     time.Duration // until nothing is left, at the present burn; 0: it is spent already, or Burn is 0
	Unknown   string        // why the numbers cannot be told; they mean nothing then
}

// Endless reports whether the budget is not being spent now.
func (b Budget) Endless() bool { return b.Unknown == "" && b.Burn <= 0 && b.Remaining > 0 }

// How says in which way a proposal ended.
type How string

// The ways a proposal ends.
const (
	Started   How = "started" // people said yes; it is, or was, a change
	Denied    How = "denied"
	Expired   How = "expired"
	Withdrawn How = "withdrawn"
)

// Ended is the end of a proposal.
type Ended struct {
	How    How
	At     time.Time
	By     string          // who denied it, or started it by the last yes; empty: nobody in person
	Reason string          // theirs, or the engine's
	Change engine.ChangeID // for Started
	State  string          // of that change: under way, being undone, stuck, done; empty: it is over and something came after it
}
