package sim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// minDigest is how much of a digest a review has to give.
const minDigest = 8

// said is a review that somebody sent, whatever came of it.
type said struct {
	who      person
	proposal engine.ChangeID
	digest   engine.Digest
	yes      bool
	blind    bool
}

// proposal is the account of one gate.
type proposal struct {
	started   engine.ChangeProposed
	digest    engine.Digest
	gate      engine.Gate
	plan      engine.Plan
	from      engine.Mode
	enteredBy engine.Version
	votes     []engine.Vote
	blind     int // how much had been shown when somebody last said yes to starting unseen; -1: nobody has
	until     time.Time
	escalated bool
	ended     string
	targets   int // of the step that is held
}

// ending is how a transition's last proposal came to nothing.
type ending struct {
	at     time.Time
	digest engine.Digest
	free   bool // it may be proposed again: its condition was false, or a person asked
	shown  int  // how much had been shown by then
}

// says is told of a review before it is sent.
func (c *check) says(scope engine.Scope, s said) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[scope].said = append(c.streams[scope].said, s)
}

func (c *check) proposed(s *stream, before engine.State, e engine.Event, f engine.ChangeProposed, p *engine.Policy, where string) {
	t := find(p, f.Proposal.Transition)
	if braked := e.Reason.Code == engine.CodeBrake && c.limit() > 0; t == nil || t.Gate == nil && !braked {
		c.breaks("%s: the rules have no gate for %s", where, f.Proposal.Transition)
		return
	}
	for _, pr := range s.proposals {
		if pr.ended == "" && pr.started.Proposal.Transition == t.Name {
			c.breaks("%s: %s waits already", where, pr.started.Proposal.ID)
		}
	}
	name := p.Conditions[t.When].Name
	if f.Proposal.Requester == nil {
		c.needs(s, e, name, engine.True, where)
		c.lasted(s, before, e, p, t, where)
		if s.pinned || s.frozen || c.streams[engine.Fleet].frozen {
			c.breaks("%s: automation is frozen or the mode pinned", where)
		}
		after := t.RetryAfter
		if after == 0 {
			after = engine.DefaultRetryAfter
		}
		if end := s.ended[t.Name]; end != nil && end.digest == f.Proposal.Digest && e.At.Sub(end.at) < after && !end.free && !s.wasFalse(name, end.shown) {
			c.breaks("%s: %s came to nothing %v ago and its condition was not false since", where, t.Name, e.At.Sub(end.at))
		}
	}
	s.proposals[f.Proposal.ID] = &proposal{
		started: f, digest: f.Proposal.Digest, gate: f.Proposal.Gate, plan: f.Plan, from: f.Proposal.From,
		enteredBy: before.EnteredBy, until: f.Proposal.Until, blind: -1,
	}
}

// wasFalse reports whether a condition was shown, or stored, to be false since.
func (s *stream) wasFalse(condition string, since int) bool {
	return s.falses[condition] > since || slices.ContainsFunc(s.shown[since:], func(o shown) bool {
		t, asked := o.truths[condition]
		return asked && t == engine.False
	})
}

func (c *check) renewed(s *stream, before engine.State, f engine.ProposalRenewed, where string) {
	pr := s.proposals[f.Proposal]
	if f.Change != "" {
		if ch := s.changes[f.Change]; ch == nil || ch.held != f.Step || ch.started.Proposal != f.Proposal || pr.ended != "started" {
			c.breaks("%s: no step of its change is held", where)
		}
		pr.ended, pr.until, pr.escalated, pr.targets = "", f.Until, false, f.Targets
	}
	if pr == nil || pr.ended != "" {
		c.breaks("%s: it does not wait", where)
		return
	}
	if pr.digest == f.Digest {
		c.breaks("%s: nothing has changed", where)
	}
	pr.digest, pr.gate, pr.plan, pr.from, pr.votes, pr.blind, pr.enteredBy = f.Digest, f.Gate, f.Plan, f.From, nil, -1, before.EnteredBy
}

func (c *check) granted(s *stream, e engine.Event, f engine.ApprovalGranted, where string) {
	pr := s.proposals[f.Proposal]
	switch {
	case pr == nil || pr.ended != "":
		c.breaks("%s: it does not wait", where)
		return
	case !e.At.Before(pr.until):
		c.breaks("%s: its time was over at %s", where, pr.until)
	case f.Digest != pr.digest:
		c.breaks("%s: what was approved is not what waits", where)
	case pr.started.Proposal.Requester != nil && pr.started.Proposal.Requester.Person == f.Person:
		c.breaks("%s: %s asked for it", where, f.Person)
	}
	if !slices.ContainsFunc(s.said, func(r said) bool {
		return r.yes && r.who.Person == f.Person && slices.Contains(r.who.roles, f.Role) && (r.proposal == f.Proposal || r.proposal == "") &&
			len(r.digest) >= minDigest && strings.HasPrefix(string(pr.digest), string(r.digest)) && (r.blind || !f.Blind)
	}) {
		c.breaks("%s: %s never said yes to %s as %s", where, f.Person, pr.digest.Short(), f.Role)
	}
	if !slices.ContainsFunc(pr.votes, func(v engine.Vote) bool { return v.Person == f.Person }) {
		pr.votes = append(pr.votes, engine.Vote{Person: f.Person, Role: f.Role})
	}
	if f.Blind {
		if name := pr.started.Proposal.Retry.Condition; pr.started.Proposal.Requester != nil || !slices.Contains(s.sight(name), engine.Unknown) {
			c.breaks("%s: it counts as blind, and %s can be seen", where, name)
		}
		pr.blind = len(s.shown)
	}
}

// sight is what may be taken for the truth of a condition now: what was shown last, and, as long as nobody has judged that,
// what was shown before. What was known before time was lost, or before other rules, may be known no more.
func (s *stream) sight(condition string) []engine.Truth {
	var truths []engine.Truth
	for i, o := range slices.Backward(s.shown) {
		if i == s.doubt-1 {
			truths = append(truths, engine.Unknown)
		}
		truth, asked := o.truths[condition]
		if o.lost {
			continue
		}
		truths = append(truths, truth) // of what is asked for now and then only, nothing is known in between
		if asked && o.judged {
			return truths
		}
	}
	return append(truths, engine.Unknown)
}

// unseen demands that what cannot be seen does not act, but by a yes to just that, given since it was last seen.
func (c *check) unseen(s *stream, pr *proposal, where string) {
	name := pr.started.Proposal.Retry.Condition
	if pr.started.Proposal.Requester != nil || slices.ContainsFunc(s.sight(name), func(t engine.Truth) bool { return t != engine.Unknown }) {
		return
	}
	fresh := pr.blind >= 0 && !slices.ContainsFunc(s.shown[max(pr.blind, 0):], func(o shown) bool {
		truth, asked := o.truths[name]
		return asked && o.judged && truth != engine.Unknown
	})
	if !fresh {
		c.breaks("%s: %s cannot be seen, and nobody said yes to that since", where, name)
	}
}

func (c *check) denied(s *stream, e engine.Event, f engine.ProposalDenied, where string) {
	if !slices.ContainsFunc(s.said, func(r said) bool { return !r.yes && r.who.Person == f.Person && slices.Contains(r.who.roles, f.Role) }) {
		c.breaks("%s: %s never said no as %s", where, f.Person, f.Role)
	}
}

func (c *check) ends(s *stream, before engine.State, e engine.Event, id engine.ChangeID, how, where string) {
	pr := s.proposals[id]
	if pr == nil || pr.ended != "" {
		c.breaks("%s: it does not wait", where)
		return
	}
	pr.ended = how
	name := pr.started.Proposal.Retry.Condition
	free := pr.started.Proposal.Requester != nil
	for _, o := range slices.Backward(s.shown) {
		// A true that is shown at the very tick at which its time is over comes after that.
		if t, asked := o.truths[name]; asked && t != engine.Unknown && (t == engine.False || !o.instant.Equal(e.Cause.Instant)) {
			free = free || t == engine.False
			break
		}
	}
	s.ended[pr.started.Proposal.Transition] = &ending{at: e.At, digest: pr.digest, free: free, shown: len(s.shown)}
}

// approved judges a change that starts because people said yes.
func (c *check) approved(s *stream, before engine.State, e engine.Event, pr *proposal, f engine.ChangeStarted, where string) {
	if pr.ended != "" {
		c.breaks("%s: %s was %s", where, f.Proposal, pr.ended)
	}
	pr.ended = "started"
	if pr.from != f.From || before.EnteredBy != pr.enteredBy {
		c.breaks("%s: people said yes to leaving %s as entered by %d, and it leaves %s, entered by %d", where, pr.from, pr.enteredBy, f.From, before.EnteredBy)
	}
	want, err1 := json.Marshal(pr.plan)
	got, err2 := json.Marshal(f.Plan)
	if err1 != nil || err2 != nil || string(want) != string(got) {
		c.breaks("%s: people said yes to %s, and it does %s", where, want, got)
	}
	groups := satisfied(pr.gate.Groups, pr.votes)
	if pr.escalated && len(pr.gate.To) > 0 {
		groups = groups || satisfied(pr.gate.To, pr.votes)
	}
	if !groups {
		c.breaks("%s: %v asks for %v", where, pr.votes, pr.gate.Groups)
	}
	c.unseen(s, pr, where)
	name := pr.started.Proposal.Retry.Condition
	if pr.started.Proposal.Requester == nil && !slices.ContainsFunc(s.sight(name), func(t engine.Truth) bool { return t != engine.False }) {
		c.breaks("%s: %s is false", where, name)
	}
}

func satisfied(groups []engine.Group, votes []engine.Vote) bool {
	for _, g := range groups {
		persons := map[string]bool{}
		for _, v := range votes {
			if v.Role == g.Role {
				persons[v.Person] = true
			}
		}
		if len(persons) < g.Count {
			return false
		}
	}
	return true
}
