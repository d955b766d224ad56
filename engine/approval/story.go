package approval

import (
	"context"
	"fmt"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// page is how many events of a stream are read at once.
const page = 500

// story is what the log says of one proposal.
type story struct {
	first    engine.Event    // ChangeProposed
	proposal engine.Proposal // as it was last
	plan     engine.Plan     // what it would do
	votes    []Vote          // that count
	voided   int
	started  *Ended // how it had ended before a step was held
	ended    *Ended // nil: not by the end of what was read
	over     bool   // nothing that comes after can change that
}

// story reads a proposal's events: from its first to its last, or to what the view of its scope knows while it waits there.
func (d *Desk) story(ctx context.Context, v engine.View, id engine.ChangeID, version engine.Version) (*story, error) {
	waits := false
	for _, p := range v.State.Proposals {
		waits = waits || p.ID == id
	}
	s := &story{}
	for after := version - 1; ; {
		events, err := d.opts.Log.Read(ctx, v.State.Scope, after, page)
		if err != nil {
			return nil, fmt.Errorf("read the story of %s: %w", id, err)
		}
		for _, e := range events {
			if s.first.Version == 0 && !s.begin(e, id) {
				return nil, notFound(id)
			}
			if waits && e.Version > v.State.Version {
				return s, nil // newer than the view: the next reader's
			}
			if s.take(e, id); s.over {
				return s, nil
			}
			after = e.Version
		}
		switch {
		case len(events) > 0:
		case s.first.Version == 0:
			return nil, notFound(id) // it lies ahead, or was archived
		default:
			return s, nil
		}
	}
}

// begin takes a proposal's first event, and reports whether e is that.
func (s *story) begin(e engine.Event, id engine.ChangeID) bool {
	f, proposes := e.Fact.(engine.ChangeProposed)
	if !proposes || f.Proposal.ID != id {
		return false
	}
	s.first, s.proposal, s.plan = e, f.Proposal, f.Plan
	return true
}

// take folds one event into the story. Those of other proposals change nothing.
func (s *story) take(e engine.Event, id engine.ChangeID) {
	p := &s.proposal
	end := func(how How, by string) *Ended {
		return &Ended{How: how, At: e.At, By: by, Reason: e.Reason.Text}
	}
	switch f := e.Fact.(type) {
	case engine.ProposalRenewed:
		if f.Proposal == id {
			p.Digest, p.Gate, p.From, p.To, p.Votes, p.BlindBy = f.Digest, f.Gate, f.From, f.To, nil, ""
			s.plan, s.voided, s.votes = f.Plan, s.voided+len(s.votes), nil
			if f.Change != "" { // a step of it is held
				s.started, s.ended, p.Until, p.Escalated, p.Change = s.ended, nil, f.Until, false, f.Change
			}
		}
	case engine.ApprovalGranted:
		if f.Proposal == id {
			s.vote(f, e)
		}
	case engine.GateEscalated:
		if f.Proposal == id {
			p.Escalated, p.Until = true, f.Until
		}
	case engine.DeadlineMoved:
		if f.Proposal == id {
			p.Until = f.Until
		}
	case engine.ProposalDenied:
		if f.Proposal == id {
			s.ended = end(Denied, f.Person)
		}
	case engine.ProposalExpired:
		if f.Proposal == id {
			s.ended = end(Expired, "")
		}
	case engine.ProposalWithdrawn:
		if f.Proposal == id {
			s.ended = end(Withdrawn, "")
			if e.Cause.Principal != "" {
				s.ended.By = e.Cause.String()
			}
		}
	case engine.ChangeStarted:
		if f.Proposal == id {
			s.ended = end(Started, "")
			s.ended.Change = f.Change
			if len(s.votes) > 0 {
				s.ended.By = s.votes[len(s.votes)-1].Person
			}
			// One of its steps may ask again, as long as it is under way.
			s.over = !slices.ContainsFunc(s.plan.Steps, func(st engine.Step) bool { return st.Targets.Max > 0 })
		}
	case engine.StepStarted:
		if s.ended == nil && p.Change != "" && f.Change == p.Change && !f.Undo { // people said yes again
			p.Change, s.ended = "", s.started
		}
	case engine.ChangeDone:
		s.over = s.over || s.ended != nil && s.ended.Change == f.Change
	case engine.ChangeUndone:
		s.over = s.over || s.ended != nil && s.ended.Change == f.Change
	}
	s.over = s.over || s.ended != nil && s.ended.How != Started
}

// vote takes a yes. A second one of the same person only says that it may start without sight.
func (s *story) vote(f engine.ApprovalGranted, e engine.Event) {
	for i := range s.votes {
		if s.votes[i].Person == f.Person {
			s.votes[i].Blind = s.votes[i].Blind || f.Blind
			return
		}
	}
	s.votes = append(s.votes, Vote{Person: f.Person, Role: f.Role, At: e.At, Reason: e.Reason.Text, Blind: f.Blind})
	s.proposal.Votes = append(s.proposal.Votes[:len(s.proposal.Votes):len(s.proposal.Votes)], engine.Vote{Person: f.Person, Role: f.Role})
}
