package explain

import (
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// concerns reports whether an event belongs to the life that is told. before is the state it was decided in, decision the
// events that came with it.
func (l *life) concerns(before engine.State, decision []engine.Event, e engine.Event) bool {
	x := &l.x
	under := x.Change != "" && before.Change != nil && before.Change.ID == x.Change
	waits := x.Proposal != "" && slices.ContainsFunc(before.Proposals, func(p engine.Proposal) bool { return p.ID == x.Proposal })
	change := func(id engine.ChangeID) bool { return id != "" && id == x.Change }
	proposal := func(id engine.ChangeID) bool { return id != "" && id == x.Proposal }
	starts := slices.ContainsFunc(decision, func(e engine.Event) bool { return e.Version == l.started })
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		return proposal(f.Proposal.ID)
	case engine.ProposalRenewed:
		return proposal(f.Proposal)
	case engine.ApprovalGranted:
		return proposal(f.Proposal)
	case engine.ApprovalRefused:
		return proposal(f.Proposal)
	case engine.GateEscalated:
		return proposal(f.Proposal)
	case engine.DeadlineMoved:
		return proposal(f.Proposal)
	case engine.ProposalDenied:
		return proposal(f.Proposal)
	case engine.ProposalExpired:
		return proposal(f.Proposal)
	case engine.ProposalWithdrawn:
		return proposal(f.Proposal)
	case engine.GlassBroken, engine.ModePinned:
		return starts
	case engine.ChangeStarted:
		return change(f.Change) || change(f.Undo) || change(f.Overtakes)
	case engine.DirectivePublished:
		return change(f.Change)
	case engine.ChangeDone:
		return change(f.Change)
	case engine.StepStarted:
		return change(f.Change) || under
	case engine.TargetsFound:
		return change(f.Change) || under
	case engine.StepHeld:
		return change(f.Change) || under
	case engine.StepDone:
		return change(f.Change) || under
	case engine.StepFailed:
		return change(f.Change) || under
	case engine.StepUnknown:
		return change(f.Change) || under
	case engine.VerificationStarted:
		return change(f.Change)
	case engine.VerificationHeld:
		return change(f.Change)
	case engine.ChangeHeld:
		return change(f.Change)
	case engine.ChangeFailed:
		return change(f.Change)
	case engine.UndoStarted:
		return change(f.Change)
	case engine.ChangeUndone:
		return change(f.Change)
	case engine.ChangeStuck:
		return change(f.Change)
	case engine.ChangeSettled:
		return change(f.Change)
	case engine.WavePublished:
		return change(f.Change)
	case engine.WaveHeld:
		return change(f.Change)
	case engine.WaveResumed:
		return change(f.Change)
	case engine.DirectiveApplied:
		return change(f.Change)
	case engine.RolloutDone:
		return change(f.Change)
	case engine.DivergenceFound, engine.DivergenceEnded:
		return under
	case engine.ChangeOvertaken:
		return change(f.Change) || change(f.By)
	case engine.TransitionWithheld:
		return e.Version == l.withheld || waits && f.Transition == x.Transition
	case engine.WithholdingEnded:
		return f.Transition == x.Transition && (starts || waits || e.Version > l.withheld && l.withheld > 0 && e.Version < l.chosen)
	case engine.IncidentOpened:
		i := f.Incident
		own := i.Kind != engine.IncidentSLO && i.Subject != "" && (i.Subject == x.Transition || i.Subject == string(x.Change)) && (under || waits || starts)
		if own {
			l.incidents[i.ID] = true
		}
		return own || l.incidents[i.ID]
	case engine.IncidentUpdated:
		return l.incidents[f.Incident] && (under || waits || starts)
	case engine.IncidentEscalated:
		return l.incidents[f.Incident]
	case engine.IncidentResolved:
		return l.incidents[f.Incident]
	case engine.RequestRefused:
		g := e.Cause.Given
		return g != nil && (g.Cancel != nil && (change(g.Cancel.Change) || proposal(g.Cancel.Change)) ||
			g.Undo != nil && change(g.Undo.Change) || g.Settle != nil && change(g.Settle.Change))
	case engine.TimeLost, engine.ScopeRetired:
		return under || waits
	}
	return false
}

// tell adds an event to the explanation.
func (l *life) tell(e engine.Event) {
	x := &l.x
	if len(e.Evidence) > 0 {
		x.Seen = append(x.Seen, Seen{e.Version, e.At, e.Kind(), e.Evidence})
	}
	x.Timeline = append(x.Timeline, Moment{e.Version, e.At, seconds(e.At.Sub(x.Began)), e.Kind(), What(e), Why(e.Reason), e.Cause.Actor})
	voice := func(person, role, said string) {
		x.People = append(x.People, Voice{e.At, person, role, said, e.Reason.Text})
	}
	end := func(o Outcome) { x.Outcome, x.Ended = o, e.At }
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		if f.Proposal.Requester != nil {
			voice(f.Proposal.Requester.String(), "", "asked for it")
		}
	case engine.ApprovalGranted:
		said := "yes"
		if f.Blind {
			said = "yes, without sight"
		}
		voice(f.Person, f.Role, said)
	case engine.ApprovalRefused:
		voice(f.Person, f.Role, "said something that does not count")
	case engine.ProposalDenied:
		voice(f.Person, f.Role, "no")
		end(Denied)
	case engine.ProposalExpired:
		end(Expired)
	case engine.ProposalWithdrawn:
		end(Withdrawn)
	case engine.GlassBroken:
		voice(f.Person, engine.RoleBreakGlass, "went around the gate")
	case engine.ChangeStarted:
		if f.Change == x.Change && f.Proposal == "" && e.Cause.Actor != (engine.Actor{}) && !f.Forced {
			voice(e.Cause.String(), "", "asked for it")
		}
	case engine.UndoStarted:
		x.Outcome = Undoing
		if f.Person != "" {
			voice(f.Person, "", "asked to take it back")
		}
	case engine.ChangeSettled:
		voice(f.Person, "", "settled it as "+string(f.As))
	case engine.RequestRefused:
		voice(e.Cause.String(), "", "asked for something that was refused")
	case engine.ChangeDone:
		end(Done)
	case engine.ChangeUndone:
		end(Undone)
	case engine.ChangeStuck:
		x.Outcome = Stuck
	case engine.ChangeOvertaken:
		if f.Change == x.Change {
			end(Overtaken)
		}
	case engine.ScopeRetired:
		end(Retired)
	case engine.StepStarted:
		l.attempt(e, f)
	case engine.TargetsFound:
		l.found(f)
	case engine.StepHeld:
		l.answer(e, f.Change, f.Step, false, f.Attempt, Held, Why(e.Reason))
	case engine.StepDone:
		l.answer(e, f.Change, f.Step, f.Undo, f.Attempt, engine.OutcomeDone, f.Detail)
	case engine.StepFailed:
		l.answer(e, f.Change, f.Step, f.Undo, f.Attempt, engine.OutcomeFailed, f.Detail)
	case engine.StepUnknown:
		l.answer(e, f.Change, f.Step, f.Undo, f.Attempt, engine.OutcomeUnknown, f.Detail)
	}
}

// attempt begins an attempt, of the step that came last or of a new one.
func (l *life) attempt(e engine.Event, f engine.StepStarted) {
	steps := l.x.Steps
	if n := len(steps); n == 0 || f.Attempt == 1 || steps[n-1].Change != f.Change || steps[n-1].Step != f.Step.Name || steps[n-1].Undo != f.Undo {
		steps = append(steps, Step{Change: f.Change, Step: f.Step.Name, Kind: f.Step.Kind, Undo: f.Undo})
	}
	s := &steps[len(steps)-1]
	s.Attempts = append(s.Attempts, Attempt{Number: f.Attempt, Started: e.At, Targets: f.Targets})
	l.x.Steps = steps
}

// found adds its targets to the attempt under way.
func (l *life) found(f engine.TargetsFound) {
	for _, s := range slices.Backward(l.x.Steps) {
		if n := len(s.Attempts); n > 0 && s.Change == f.Change && s.Step == f.Step.Name && !s.Undo {
			s.Attempts[n-1].Targets = f.Targets
			return
		}
	}
}

// answer ends the attempt it is about: the last of its step that has no answer yet.
func (l *life) answer(e engine.Event, change engine.ChangeID, step string, undo bool, attempt int, o engine.Outcome, detail string) {
	for i := len(l.x.Steps) - 1; i >= 0; i-- {
		s := &l.x.Steps[i]
		if s.Change != change || s.Step != step || s.Undo != undo {
			continue
		}
		for k := range s.Attempts {
			if a := &s.Attempts[k]; a.Number == attempt && a.Outcome == "" {
				a.Ended, a.Outcome, a.Answer, a.Took = e.At, o, detail, seconds(e.At.Sub(a.Started))
				s.Took = seconds(e.At.Sub(s.Attempts[0].Started))
				return
			}
		}
	}
	// It was begun by the change that this one overtook.
	l.x.Steps = append(l.x.Steps, Step{Change: change, Step: step, Undo: undo, Attempts: []Attempt{
		{Number: attempt, Started: e.At, Ended: e.At, Outcome: o, Answer: detail}}})
}
