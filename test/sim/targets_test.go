package sim

import (
	"fmt"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// stepKey is what a target knows a step by.
func stepKey(change engine.ChangeID, step string, undo bool) string {
	key := fmt.Sprintf("%s/%s", change, step)
	if undo {
		key += "/undo"
	}
	return key
}

// found is told of what a selector found.
func (c *check) found(scope engine.Scope, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[scope]
	s.found = append(s.found, names)
}

// targets judges what a step acts on from here on: found as it is, no more than people said yes to, and once.
func (c *check) targets(s *stream, f engine.TargetsFound, where string) {
	ch := s.changes[f.Change]
	if ch == nil || ch.held != "" || ch.gated && !ch.allowed {
		c.breaks("%s: nobody said yes to it", where)
		return
	}
	if ch.targets[f.Step.Name] != nil {
		c.breaks("%s: it has targets already", where)
	}
	if len(f.Targets) > ch.most[f.Step.Name] {
		c.breaks("%s: %d targets, and it may have %d", where, len(f.Targets), ch.most[f.Step.Name])
	}
	if !slices.ContainsFunc(s.found, func(names []string) bool { return slices.Equal(names, f.Targets) }) || len(f.Targets) == 0 {
		c.breaks("%s: nothing like that was found: %v", where, f.Targets)
	}
	ch.targets[f.Step.Name] = f.Targets
}

// held judges a step that is held: from here on nobody has said yes to it.
func (c *check) held(s *stream, f engine.StepHeld, where string) {
	ch := s.changes[f.Change]
	if ch == nil || f.Targets <= ch.most[f.Step] || ch.started.Proposal == "" {
		c.breaks("%s: %d targets hold it", where, f.Targets)
		return
	}
	ch.held, ch.allowed = f.Step, false
}

// resumed judges a held step that begins after all.
func (c *check) resumed(s *stream, ch *change, e engine.Event, f engine.StepStarted, where string) {
	pr := s.proposals[ch.started.Proposal]
	if pr.ended != "" || f.Step.Name != ch.held {
		c.breaks("%s: %s is held and was %s", where, ch.held, pr.ended)
	}
	groups := satisfied(pr.gate.Groups, pr.votes)
	if pr.escalated && len(pr.gate.To) > 0 {
		groups = groups || satisfied(pr.gate.To, pr.votes)
	}
	if !groups {
		c.breaks("%s: %v asks for %v", where, pr.votes, pr.gate.Groups)
	}
	c.unseen(s, pr, where)
	ch.most[ch.held], ch.held, ch.allowed, pr.ended = pr.targets, "", true, "started"
}
