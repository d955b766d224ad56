package prove

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// world is what is known of the group's scopes at an instant.
type world struct {
	states []engine.State
	now    time.Time
}

// instant is a time as a number, from the epoch on.
func instant(at int64) time.Time { return epoch.Add(time.Duration(at)) }

func number(at time.Time) int64 { return int64(at.Sub(epoch)) }

// kind is what happens in a step.
type kind uint8

const (
	stepObserve kind = iota
	stepYes
	stepBlindYes
	stepNo
	stepLateYes // to a proposal that has ended
	stepOutcome
	stepFound
	stepInstances // what they say of the newest directive
	stepSettle
	stepSet // by hand, around all that is declared
	stepUnpin
	stepUndo // by hand
)

// people reports whether somebody has to do it: nothing that is measured does, nor a target that answers.
func (k kind) people() bool {
	switch k {
	case stepObserve, stepOutcome, stepFound, stepInstances:
		return false
	}
	return true
}

// step is one thing that happens.
type step struct {
	kind   kind
	member int
	at     int64
	// What it is about: a transition and a role, an outcome, a number of targets, a mode.
	word, role string
	count      int
	// valuation is what an evaluation finds; seen and modes say it in full, while the step is carried out.
	valuation []int32
	// before is what the evaluations before it found, where that is something else; nil: the same.
	before []int32
	seen   [][]engine.Observation
	modes  map[engine.Scope]engine.Mode
}

// known is how many instances a scope with waves has: as few as can tell a wave from all.
const known = 2

// apply carries a step out, through the core, and judges what the core makes of it.
func (g *group) apply(w *world, st *step) (*world, [][]engine.Event, []violation) {
	next := &world{states: slices.Clone(w.states), now: instant(st.at)}
	all := make([][]engine.Event, len(g.members))
	var wrong []violation
	for i, m := range g.members {
		if st.kind != stepObserve && i != st.member {
			continue
		}
		in := engine.Input{At: next.now, Term: 1, Above: g.above(i, w, st.modes)}
		in.Instances.Known = m.instances(&w.states[i])
		if !st.happening(m, &w.states[i], &in) {
			continue
		}
		all[i] = g.decide(m.policy, w.states[i], in)
		s, faults := m.judge(w.states[i], &in, all[i])
		next.states[i] = s
		wrong = append(wrong, faults...)
	}
	return next, all, wrong
}

// instances is how many a member has: none, unless something may go by waves now. They may come and go, so any number is one that may be.
func (m *member) instances(s *engine.State) int {
	switch c := s.Change; {
	case !m.waves:
		return 0
	case c != nil && c.Instances > 0 && !c.Rolled:
		return known
	case c != nil:
		return 0
	}
	for i := range m.policy.Transitions {
		if t := &m.policy.Transitions[i]; t.Rollout != nil && leaves(t, s.Target) {
			return known
		}
	}
	return 0
}

// hurried reports whether a step is tried again. It is answered at once: what else may happen while a step runs, happens while its first
// attempt does.
func (g *group) hurried(w *world) bool {
	return slices.ContainsFunc(w.states, func(s engine.State) bool {
		return s.Change != nil && s.Change.Running != nil && !s.Change.Running.Finding && s.Change.Running.Attempt-s.Change.Spared > 1
	})
}

// above is what the scopes above a member ask of it. Of those outside it is what is given, or what they asked for last.
func (g *group) above(i int, w *world, modes map[engine.Scope]engine.Mode) []engine.Above {
	m := g.members[i]
	if m.policy.Parent == "" {
		return nil
	}
	return engine.Ancestry(&m.policy, func(scope engine.Scope) (engine.State, *engine.Policy) {
		if k, inside := g.at[scope]; inside {
			return w.states[k], &g.members[k].policy
		}
		p := g.outside[scope]
		if p == nil { // it asks for nothing, whatever its mode
			return engine.State{}, nil
		}
		mode, given := modes[scope]
		if !given {
			for k := range p.Modes {
				if p.Modes[k].Imposes == "" {
					mode = p.Modes[k].Name
					break
				}
			}
			for _, i := range w.states[i].Imposed {
				if i.Parent == scope {
					mode = i.In
				}
			}
		}
		return engine.State{Scope: scope, Version: 1, Mode: mode, Target: mode}, p
	})
}

// happening fills in what happens to a member; false when there is nothing that it could happen to.
func (st *step) happening(m *member, s *engine.State, in *engine.Input) bool {
	switch st.kind {
	case stepObserve:
		in.What = &engine.Observed{Instant: in.At, Prev: in.At.Add(-m.policy.Interval), Conditions: st.seen[m.place]}
	case stepYes, stepBlindYes, stepNo:
		p, waits := proposal(s, st.word)
		if !waits {
			return false
		}
		n := 1
		for _, v := range p.Votes {
			if v.Role == st.role {
				n++
			}
		}
		in.By.Principal = fmt.Sprintf("%s-%d", st.role, n)
		if st.kind == stepBlindYes && n > 1 {
			in.By.Principal = fmt.Sprintf("%s-%d", st.role, n-1) // whoever said yes already says it to this too
		}
		in.What = &engine.ReviewGiven{Proposal: p.ID, Digest: p.Digest, Yes: st.kind != stepNo, Blind: st.kind == stepBlindYes, Roles: []string{st.role}, Reason: "looked"}
	case stepLateYes:
		i := slices.IndexFunc(s.Resting, func(r engine.Rest) bool { return r.Transition == st.word && r.Digest != "" })
		if i < 0 {
			return false
		}
		in.By.Principal = st.role + "-1"
		in.What = &engine.ReviewGiven{Proposal: s.Resting[i].ID, Digest: s.Resting[i].Digest, Yes: true, Roles: []string{st.role}, Reason: "late"}
	case stepOutcome, stepFound:
		if s.Change == nil || s.Change.Running == nil {
			return false
		}
		r := s.Change.Running
		if st.kind == stepOutcome {
			in.What = &engine.StepReported{Change: r.Change, Step: r.Step.Name, Undo: r.Undo, Attempt: r.Attempt, Outcome: engine.Outcome(st.word)}
			break
		}
		found := &engine.TargetsReported{Change: r.Change, Step: r.Step.Name, Attempt: r.Attempt, Count: st.count}
		for i := range st.count {
			found.Names = append(found.Names, fmt.Sprintf("target-%d", i+1))
		}
		in.What = found
	case stepInstances:
		c := s.Change
		if c == nil || c.Rolled {
			return false
		}
		told := known
		if c.Waved > 0 {
			told = min(c.Waved, known)
		}
		in.Instances = engine.Instances{Known: known, Revision: s.Directive.Revision, Wave: c.Wave, Told: told}
		if st.word == "applied" {
			in.Instances.Applied = told
		} else {
			in.Instances.Failed = told
		}
		in.What = &engine.InstancesReported{}
	case stepSettle:
		if s.Change == nil {
			return false
		}
		in.By.Principal = "somebody"
		in.What = &engine.SettleRequested{Change: s.Change.ID, As: engine.SettledAs(st.word), Reason: "looked"}
	case stepSet:
		in.By.Principal = "somebody"
		in.What = &engine.SetRequested{Mode: engine.Mode(st.word), DirectiveOnly: true, Force: true, Roles: []string{engine.RoleBreakGlass}, Reason: "by hand"}
	case stepUnpin:
		in.By.Principal = "somebody"
		in.What = &engine.UnpinRequested{Reason: "by hand"}
	case stepUndo:
		if len(s.Past) == 0 {
			return false
		}
		in.By.Principal = "somebody"
		in.What = &engine.UndoRequested{Change: s.Past[len(s.Past)-1].ID, Reason: "by hand"}
	}
	return true
}

// possible are the steps that a world lets people, targets and instances take. Time and what is measured come beside them.
func (g *group) possible(w *world) []step {
	var list []step
	hurried := g.hurried(w)
	for i, m := range g.members {
		s := &w.states[i]
		add := func(k kind, word, role string, count int) {
			if hurried && k != stepOutcome {
				return
			}
			list = append(list, step{kind: k, member: i, at: number(w.now), word: word, role: role, count: count})
		}
		for k := range s.Proposals {
			p := &s.Proposals[k]
			for _, role := range lacking(p) {
				add(stepYes, p.Transition, role, 0)
			}
			if m.truth(s, p) == engine.Unknown && p.Requester == nil && p.BlindBy == "" {
				add(stepBlindYes, p.Transition, p.Gate.Groups[0].Role, 0)
			}
			add(stepNo, p.Transition, p.Gate.Groups[0].Role, 0)
		}
		for _, r := range s.Resting {
			if t := m.by[r.Transition]; r.Digest != "" && t != nil && t.Gate != nil {
				add(stepLateYes, r.Transition, t.Gate.Groups[0].Role, 0)
			}
		}
		c := s.Change
		switch {
		case c == nil:
		case c.Stuck:
			add(stepSettle, string(engine.SettledDone), "", 0)
			add(stepSettle, string(engine.SettledUndone), "", 0)
		case c.Running != nil && c.Running.Finding:
			add(stepFound, c.Running.Step.Name, "", 1)
			if t := m.by[c.Transition]; t != nil {
				for _, declared := range t.Playbook.Steps {
					if declared.Name == c.Running.Step.Name {
						add(stepFound, c.Running.Step.Name, "", declared.Targets.Max+1) // more than were approved, until they are
					}
				}
			}
		case c.Running != nil:
			for _, o := range []engine.Outcome{engine.OutcomeDone, engine.OutcomeFailed, engine.OutcomeUnknown} {
				add(stepOutcome, string(o), "", 0)
			}
		}
		if c != nil && m.waves && c.Published && !c.Rolled && c.Applied == nil {
			add(stepInstances, "applied", "", 0)
			add(stepInstances, "failed", "", 0)
		}
	}
	return list
}

// lacking are the roles whose yes comes next: the first that the gate lacks, and the first of those who may answer in their place. In which
// order people say yes makes no difference to a gate, so one order stands for all.
func lacking(p *engine.Proposal) []string {
	if satisfied(&p.Gate, p) {
		return nil
	}
	var list []string
	next := func(groups []engine.Group) {
		for _, g := range groups {
			if voices(p, g.Role) < g.Count {
				if !slices.Contains(list, g.Role) {
					list = append(list, g.Role)
				}
				return
			}
		}
	}
	next(p.Gate.Groups)
	if p.Escalated {
		next(p.Gate.To)
	}
	return list
}

// truth is what is known of the condition of a proposal.
func (m *member) truth(s *engine.State, p *engine.Proposal) engine.Truth {
	t := m.by[p.Transition]
	if t == nil {
		return engine.Unknown
	}
	for i := range s.Clocks {
		if s.Clocks[i].Condition == m.policy.Conditions[t.When].Name {
			return s.Clocks[i].Truth
		}
	}
	return engine.Unknown
}

// voices are how many people said yes in a role. One person counts once.
func voices(p *engine.Proposal, role string) int {
	var people []string
	for _, v := range p.Votes {
		if v.Role == role && !slices.Contains(people, v.Person) {
			people = append(people, v.Person)
		}
	}
	return len(people)
}

// satisfied reports whether all that a gate asks for has been said. It is written anew here, and does not ask the core.
func satisfied(gate *engine.Gate, p *engine.Proposal) bool {
	enough := func(groups []engine.Group) bool {
		return !slices.ContainsFunc(groups, func(g engine.Group) bool { return voices(p, g.Role) < g.Count })
	}
	return enough(gate.Groups) || p.Escalated && len(gate.To) > 0 && enough(gate.To)
}

// begin is the world before anything has happened: each scope in its first mode.
func (g *group) begin() *world {
	w := &world{states: make([]engine.State, len(g.members)), now: epoch}
	for i, m := range g.members {
		for _, e := range g.decide(m.policy, engine.State{}, engine.Input{At: epoch, Term: 1, Above: g.above(i, w, nil), What: &engine.TimePassed{}}) {
			w.states[i] = engine.Apply(w.states[i], e)
		}
	}
	return w
}

// modes are the targets of all members, as people read them.
func (g *group) modes(w *world) string {
	words := make([]string, len(g.members))
	for i, m := range g.members {
		words[i] = string(w.states[i].Target)
		if len(g.members) > 1 {
			words[i] = fmt.Sprintf("%s in %s", m.scope, words[i])
		}
	}
	return strings.Join(words, ", ")
}
