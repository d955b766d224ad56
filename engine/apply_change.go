package engine

import (
	"fmt"
	"slices"
	"time"
)

// applyProposal folds the facts of gates.
func applyProposal(s State, e Event) State {
	switch f := e.Fact.(type) {
	case ChangeProposed:
		s.Proposals = with(s.Proposals, f.Proposal)
		if f.Clock != nil {
			s.Clocks = turn(s.Clocks, *f.Clock)
			s.Proposals = sighted(s.Proposals, *f.Clock)
		}
		s.Resting = without(s.Resting, func(r Rest) bool { return r.Transition == f.Proposal.Transition })
	case ProposalRenewed:
		if f.Change != "" {
			return s.asksAgain(f)
		}
		return s.onProposal(f.Proposal, func(p *Proposal) {
			p.Digest, p.Gate, p.From, p.To, p.Votes, p.BlindBy = f.Digest, f.Gate, f.From, f.To, nil, ""
			if f.Retry != (RetryRules{}) {
				p.Retry = f.Retry
			}
		})
	case ApprovalGranted:
		return s.onProposal(f.Proposal, func(p *Proposal) {
			if !p.voted(f.Person) {
				p.Votes = with(p.Votes, Vote{f.Person, f.Role})
			}
			if f.Blind {
				p.BlindBy = f.Person
			}
		})
	case GateEscalated:
		return s.onProposal(f.Proposal, func(p *Proposal) { p.Escalated, p.Until = true, f.Until })
	case DeadlineMoved:
		return s.onProposal(f.Proposal, func(p *Proposal) { p.Until = f.Until })
	case ProposalDenied:
		return s.endProposal(f.Proposal, "was denied by "+f.Person, e)
	case ProposalExpired:
		return s.endProposal(f.Proposal, "expired", e)
	case ProposalWithdrawn:
		return s.endProposal(f.Proposal, "was withdrawn", e)
	}
	return s
}

// onProposal changes one proposal.
func (s State) onProposal(id ChangeID, change func(*Proposal)) State {
	i := slices.IndexFunc(s.Proposals, func(p Proposal) bool { return p.ID == id })
	if i < 0 {
		panic(fmt.Sprintf("engine: %s/%d is about proposal %s, which does not wait", s.Scope, s.Version, id))
	}
	s.Proposals = slices.Clone(s.Proposals)
	change(&s.Proposals[i])
	return s
}

// endProposal remembers how a proposal ended, so that its transition rests and late votes are answered truly.
func (s State) endProposal(id ChangeID, how string, e Event) State {
	i := slices.IndexFunc(s.Proposals, func(p Proposal) bool { return p.ID == id })
	if i < 0 {
		panic(fmt.Sprintf("engine: %s/%d ends proposal %s, which does not wait", s.Scope, s.Version, id))
	}
	p := s.Proposals[i]
	s.Proposals = without(s.Proposals, func(o Proposal) bool { return o.ID == id })
	// A condition that is false now is another occasion when it is true again; and who asked by hand may ask again.
	over := s.clock(p.Retry.Condition).Truth == False || p.Requester != nil
	r := Rest{Transition: p.Transition, ID: p.ID, Since: e.At, Retry: p.Retry, Digest: p.Digest, End: how, Over: over}
	if p.Change != "" { // it rests by what its change comes to
		r.Held, r.Over = true, false
	}
	s.Resting = rest(s.Resting, r)
	return s
}

// rest puts r in place of what its transition rested for before.
func rest(resting []Rest, r Rest) []Rest {
	return with(without(resting, func(o Rest) bool { return o.Transition == r.Transition }), r)
}

// published is a copy of c whose directive is out. Instances in no wave yet are told the one before.
func (c *Change) published(before Directive) *Change {
	next := *c
	next.Published = true
	next.Before = nil
	if c.waves() && !c.Undoing {
		next.Before = &before
	}
	return &next
}

// applyChange folds the facts of changes and their steps.
func applyChange(s State, e Event) State {
	if f, ok := e.Fact.(ChangeStarted); ok {
		return s.begin(f, e.Reason.Text)
	}
	if f, ok := e.Fact.(UndoStarted); ok {
		s = s.takeBack(e.Reason.Code)
		s.Change.Over = f.Over // it is its own: takeBack has made it
		return s
	}
	if s.Change == nil {
		return s
	}
	c := *s.Change
	switch f := e.Fact.(type) {
	case StepStarted:
		if c.Asks {
			s, c = s.answered(c, f)
		}
		c.Running = &Running{Change: f.Change, Step: f.Step, Undo: f.Undo, Attempt: f.Attempt, Finding: f.Finds(), Targets: f.Targets}
	case TargetsFound:
		c.Running = &Running{Change: f.Change, Step: f.Step, Attempt: f.Attempt, Targets: f.Targets}
	case StepHeld:
		c.Running, c.Attempts, c.Asks = nil, f.Attempt, true
		c.Spared++
	case StepDone:
		c = c.did(f)
		if f.Undo {
			s = s.forget(f)
		}
	case StepFailed:
		c = c.attempted(f.Attempt, false)
	case StepUnknown:
		c = c.attempted(f.Attempt, true)
	case ChangeHeld:
		c.Held = f.Until
	case VerificationStarted:
		c.Verify = f.Condition
	case VerificationHeld:
		c.Unverified = f.Since
	case ChangeStuck:
		c.Stuck, c.Running = true, nil
	case ChangeSettled:
		if c.Why == CodeUntil {
			c.Plan.Until = "" // which has been, and is not tried again when a person says that the change stands
		}
		c.Stuck, c.Why = false, CodeSettled
	case ChangeDone:
		s = s.unasked(c)
		s.Mode, s.Change = s.Target, nil
		if c.Overtook == nil && (c.Imposed != "" || c.Returns) {
			return s // what is undone is the scope's own doing
		}
		past := c.past()
		if c.Overtook != nil { // whoever undoes the entry undoes what the overtaken change did as well
			past.Did = slices.Concat(c.Overtook.Did, c.Did)
		}
		return s.remember(past)
	case ChangeUndone:
		s = s.unasked(c)
		s.Mode, s.Change = s.Target, nil
		if c.Overtook != nil {
			s = s.remember(*c.Overtook)
		}
		s.Own = c.Own
		if c.Imposed != "" || c.Returns {
			s.Own = "" // else it would be tried again at every turn
		}
		if c.Transition != "" {
			r := Rest{Transition: c.Transition, ID: c.ID, Since: e.At, Retry: c.Retry, End: "was undone", Over: c.Over}
			if last, rests := s.rest(c.Transition); rests && last.Held {
				r.Last = &last
			}
			s.Resting = rest(s.Resting, r)
		}
		return s
	default:
		next, rolls := c.applyRollout(e)
		if !rolls {
			return s
		}
		c = next
	}
	s.Change = &c
	return s
}

// begin makes a started change the one under way. What it overtakes leaves it its undo stack and the step that runs.
func (s State) begin(f ChangeStarted, why string) State {
	c := Change{ID: f.Change, Transition: f.Transition, From: f.From, To: f.To, Plan: f.Plan, Gated: f.Forced || s.gated(f.Proposal), Retry: f.Retry, Reason: why,
		Instances: f.Instances, Rolled: f.Instances == 0, Imposed: f.Imposed, Returns: f.Returns, Own: s.Own}
	s.Own = s.owns(f)
	if f.Undo != "" && len(s.Past) > 0 {
		c.Entry = s.Past[len(s.Past)-1].Did
	}
	if s.Change != nil {
		past := s.Change.past()
		if s.Change.Overtook != nil {
			past.Did = slices.Concat(s.Change.Overtook.Did, past.Did)
		}
		c.Overtook, c.Running, c.Doubt = &past, s.Change.Running, s.Change.Doubt
	}
	if i := slices.IndexFunc(s.Proposals, func(p Proposal) bool { return p.ID == f.Proposal }); i >= 0 && f.Plan.selects() {
		c.Approved = &s.Proposals[i]
	}
	s.Change = &c
	s.Incidents = turnIncident(s.Incidents, f)
	s.Proposals = without(s.Proposals, func(p Proposal) bool { return p.ID == f.Proposal })
	s.Resting = without(s.Resting, func(r Rest) bool { return r.Transition == f.Transition })
	return s
}

// gated reports whether people were asked because the transition has a gate. What only the brake withheld fails as it would have by
// itself.
func (s State) gated(proposal ChangeID) bool {
	i := slices.IndexFunc(s.Proposals, func(p Proposal) bool { return p.ID == proposal })
	return proposal != "" && (i < 0 || !s.Proposals[i].Braked)
}

// unasked drops the clock that ran on because people might have had to be asked again.
func (s State) unasked(c Change) State {
	if c.Approved != nil {
		s.Clocks = without(s.Clocks, func(k Clock) bool { return k.Condition == c.Retry.Condition })
	}
	return s
}

// past is what is remembered of a change that is done, or was overtaken.
func (c *Change) past() Past {
	return Past{ID: c.ID, Transition: c.Transition, From: c.Plan.Back.Name, To: c.To, Back: c.Plan.Back, Did: c.Did, Until: c.Plan.Until, Retry: c.Retry, Own: c.Own}
}

// remember puts a change on top of those that are done.
func (s State) remember(p Past) State {
	s.Past = with(s.Past, p)
	s.Past = s.Past[max(0, len(s.Past)-keepPast):]
	return s
}

// takeBack begins an undo: of the change under way, or of the last one that is done.
func (s State) takeBack(why Code) State {
	if s.Change != nil {
		c := *s.Change
		c.Undoing, c.Why, c.Verify, c.Asks, c.Spared, c.Stopped = true, why, "", false, 0, nil
		s.Change = &c
		return s
	}
	last := s.Past[len(s.Past)-1]
	s.Past = s.Past[: len(s.Past)-1 : len(s.Past)-1]
	s.Change = &Change{
		ID: last.ID, Transition: last.Transition, From: last.From, To: last.To, Did: last.Did, Published: true, Rolled: true, Undoing: true, Why: why,
		Plan: Plan{Back: last.Back, Into: ModeRule{Name: last.To, Flags: s.Directive.Flags}, Until: last.Until}, Retry: last.Retry, Own: last.Own,
	}
	return s
}

// takesBack reports whether f is the undo of a step.
func (f StepDone) takesBack(d Done) bool {
	return f.Undo && d.Change == f.Change && d.Step.Name == f.Step
}

// forget drops a step that was taken back from the changes that are done: should whatever took it back be cancelled or fail,
// nobody takes it back a second time.
func (s State) forget(f StepDone) State {
	for i, p := range s.Past {
		if did := without(p.Did, f.takesBack); len(did) < len(p.Did) {
			s.Past = slices.Clone(s.Past)
			s.Past[i].Did = did
		}
	}
	return s
}

// attempted notes that an attempt has not happened, or that nobody knows whether it has.
func (c Change) attempted(attempt int, unknown bool) Change {
	if run := c.Running; run != nil && !run.Undo && run.Change == c.ID {
		c.Found = run.Targets
	}
	c.Running, c.Attempts, c.Doubt = nil, attempt, unknown
	return c
}

// done is what an undo takes back of a step that ran.
func (r *Running) done() Done { return Done{Change: r.Change, Step: r.Step, Targets: r.Targets} }

// selects reports whether some step finds its targets when it begins.
func (p Plan) selects() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Targets.Max > 0 })
}

// did notes that a step has happened, or has been taken back.
func (c Change) did(f StepDone) Change {
	run := c.Running
	c.Running, c.Attempts, c.Spared, c.Doubt, c.Found, c.Held = nil, 0, 0, false, nil, time.Time{}
	switch {
	case run == nil:
	case run.Finding: // there was nothing to act on
		c.Next++
	case f.Undo: // of a step of its own, of the entry, or of the entry that an overtaken change was taking back
		c.Did, c.Entry = without(c.Did, f.takesBack), without(c.Entry, f.takesBack)
	case run.Change != c.ID: // a step of the overtaken change
		if run.Step.Undo {
			over := *c.Overtook
			over.Did = with(over.Did, run.done())
			c.Overtook = &over
		}
	default:
		if run.Step.Undo {
			c.Did = with(c.Did, run.done())
		}
		c.Next++
	}
	c.Acted = true
	return c
}
