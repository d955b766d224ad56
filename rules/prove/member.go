package prove

import (
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// member is a scope of the group that is searched.
type member struct {
	service *rules.Service
	scope   engine.Scope
	place   int           // in the group
	policy  engine.Policy // as in force, less what decides nothing: see bare
	trees   []*tree       // by condition; nil of those that no transition asks
	dwells  []dwell       // comparisons of how long the mode has lasted, each once
	by      map[string]*engine.Transition
	when    map[string]*engine.Transition // by the name of its condition
	bits    map[string]int                // by transition, no two alike in the group; of those beyond the 64 there are it has none
	undoes  bool                          // some transition takes back what the entry did
	waves   bool                          // some transition goes by waves
}

// dwell is a comparison of how long the mode has lasted, and the conditions in which it stands.
type dwell struct {
	leaf       *leaf
	conditions []int
}

// endless is longer than anything lasts.
const endless = time.Duration(1) << 61

// bare is a policy less what changes neither modes nor gates nor actions: whom incidents are told, and how loudly; the flags; what is in
// an action beyond its name and what it may do. A transition is judged as if automation were on and nothing flapped: both only
// withhold, and what is proved is of the rules, not of a switch.
func bare(p engine.Policy) engine.Policy {
	p.Automation, p.Flap, p.Brake, p.Informs, p.Alerts, p.StuckAfter = engine.AutomationOn, engine.Flap{}, engine.BrakeRule{}, false, nil, endless
	p.Modes = slices.Clone(p.Modes)
	for i := range p.Modes {
		m := &p.Modes[i]
		m.Flags, m.Suppress, m.Unavailable, m.StuckAfter = nil, nil, nil, 0
	}
	p.Transitions = slices.Clone(p.Transitions)
	for i := range p.Transitions {
		t := &p.Transitions[i]
		t.Severity, t.Alerts = "", nil
		t.Playbook.Steps = slices.Clone(t.Playbook.Steps)
		for k := range t.Playbook.Steps {
			t.Playbook.Steps[k].Spec, t.Playbook.Steps[k].UndoSpec = "", ""
		}
	}
	return p
}

// newMember makes a member of a group whose members before it have so many transitions.
func newMember(s *rules.Service, before int) *member {
	m := &member{service: s, scope: s.Policy.Scope, policy: bare(s.Policy), by: map[string]*engine.Transition{}, when: map[string]*engine.Transition{}, bits: map[string]int{}}
	for i := range m.policy.Transitions {
		t := &m.policy.Transitions[i]
		m.by[t.Name], m.when[m.policy.Conditions[t.When].Name] = t, t
		if before+i < 64 {
			m.bits[t.Name] = before + i
		}
		m.undoes = m.undoes || t.UndoEntry
		m.waves = m.waves || t.Rollout != nil
	}
	return m
}

// plant makes the trees of the conditions that transitions ask.
func (m *member) plant(p *planter) {
	m.trees = make([]*tree, len(m.policy.Conditions))
	asked := func(i int) {
		none := func(rules.Signal) (rules.Value, bool) { return rules.Value{}, false }
		m.trees[i] = p.plant(m.service, m.service.Conditions[i].Parts(none))
	}
	for i := range m.policy.Transitions {
		t := &m.policy.Transitions[i]
		asked(t.When)
		refs := []engine.ConditionRef{t.Until, t.Playbook.Verify}
		if t.Rollout != nil {
			refs = append(refs, t.Rollout.Verify)
		}
		for _, ref := range refs {
			if k, ok := ref.Index(); ok {
				asked(k)
			}
		}
	}
	for _, key := range sortedKeys(p.leaves) {
		l := p.leaves[key]
		if l.inside == nil || l.source != string(m.scope)+": dwell" {
			continue
		}
		d := dwell{leaf: l}
		for i, t := range m.trees {
			if t != nil && strings.Contains(t.text, l.name()) {
				d.conditions = append(d.conditions, i)
			}
		}
		m.dwells = append(m.dwells, d)
	}
}

func (m *member) first() engine.Mode { return m.policy.Modes[0].Name }

// leaves reports whether t starts from a mode.
func leaves(t *engine.Transition, from engine.Mode) bool { return slices.Contains(t.From, from) }

// gives reports whether some transition out of a mode gives no more protection: min_duration holds it back.
func (m *member) gives(from engine.Mode) bool {
	return slices.ContainsFunc(m.policy.Transitions, func(t engine.Transition) bool {
		return leaves(&t, from) && !m.policy.MoreRestrictive(from, t.To)
	})
}

// timer is an instant from which on the core may judge otherwise, for nothing but the time.
type timer struct {
	kind timerKind
	of   string    // the transition or comparison it belongs to
	at   time.Time // the first instant of the grid that is not before it
}

type timerKind byte

const (
	timerMin timerKind = 'a' + iota
	timerMax
	timerDwell
	timerFor   // of a condition that is true
	timerBlind // of one that was, and is unknown
	timerFalse // of one that people are asked about
	timerGate
	timerRest
	timerHeld
	timerPause
	timerPin
)

// timers are all that a state knows of. One that has passed stays in the list for as long as the state holds what it belongs to.
func (m *member) timers(s *engine.State, list []timer) []timer {
	add := func(kind timerKind, of string, at time.Time) { list = append(list, timer{kind, of, m.ceil(at)}) }
	rule, _ := m.policy.Mode(s.Target)
	entered := s.Entered.Add(s.Lost)
	if rule.MinDuration > 0 && m.gives(s.Target) {
		add(timerMin, "", entered.Add(rule.MinDuration))
	}
	if rule.MaxDuration > 0 {
		t := m.by[rule.OnExpiry]
		if t != nil && t.Gate != nil && leaves(t, s.Target) || len(s.Lasting()) > 0 {
			add(timerMax, "", entered.Add(rule.MaxDuration))
		}
	}
	for i := range m.dwells {
		if d := &m.dwells[i]; m.matters(s, d) {
			add(timerDwell, d.leaf.text, entered.Add(time.Duration(d.leaf.inside.Number*float64(time.Second))+1))
		}
	}
	for i := range s.Clocks {
		c := &s.Clocks[i]
		t, counts := m.counts(s, c)
		if !counts {
			continue
		}
		_, waits := proposal(s, t.Name)
		switch lasts := t.For > 0 && leaves(t, s.Target); {
		case c.Truth == engine.True && lasts:
			add(timerFor, t.Name, c.Since.Add(t.For-c.Sum))
		case c.Truth == engine.Unknown && !c.LastTrue.IsZero() && lasts:
			add(timerBlind, t.Name, c.LastTrue.Add(m.policy.BlindAfter+1))
		case c.Truth == engine.False && waits:
			add(timerFalse, t.Name, c.Since.Add(2*m.policy.Interval))
		}
	}
	for i := range s.Proposals {
		add(timerGate, s.Proposals[i].Transition, s.Proposals[i].Until)
	}
	for i := range s.Resting {
		if r := &s.Resting[i]; rests(s, r) && !m.elsewhere(s, r) {
			add(timerRest, r.Transition, r.Since.Add(r.Retry.After))
		}
	}
	if c := s.Change; c != nil {
		if !c.Held.IsZero() {
			add(timerHeld, "", c.Held)
		}
		if r := c.Plan.Rollout; r != nil && c.Applied != nil && !c.Rolled {
			add(timerPause, "", c.Applied.At.Add(r.Pause))
		}
	}
	if s.Pin != nil {
		add(timerPin, "", s.Pin.Until)
	}
	return list
}

// matters reports whether a condition with the comparison may decide something in a state.
func (m *member) matters(s *engine.State, d *dwell) bool {
	return slices.ContainsFunc(d.conditions, func(i int) bool {
		t := m.when[m.policy.Conditions[i].Name]
		return t == nil || leaves(t, s.Target) || s.Own != "" && leaves(t, s.Own) || s.Change != nil && s.Change.Transition == t.Name
	})
}

// counts reports whether a clock can matter to what the core decides, beyond what it tells people, and to which transition.
func (m *member) counts(s *engine.State, c *engine.Clock) (*engine.Transition, bool) {
	t := m.when[c.Condition]
	if t == nil {
		return nil, false
	}
	if t.For > 0 && leaves(t, s.Target) {
		return t, true
	}
	if _, waits := proposal(s, t.Name); waits {
		return t, true
	}
	now := s.Change
	return t, now != nil && now.Approved != nil && now.Transition == t.Name && !now.Undoing
}

// rests reports whether r may still keep its transition from starting. What people said in an earlier stay in the mode does not.
func rests(s *engine.State, r *engine.Rest) bool {
	return !r.Over && (r.Digest == "" || r.Held || r.Since.After(s.Entered))
}

// elsewhere reports whether r is of a transition that leads out of another mode than the one in force. While it rests the scope can do less,
// and nothing that it could not do otherwise: it is as if the condition were not true. It ends with the time.
func (m *member) elsewhere(s *engine.State, r *engine.Rest) bool {
	t := m.by[r.Transition]
	if _, has := m.bits[r.Transition]; !has {
		return false // it is told apart as what rests here is
	}
	return t != nil && !leaves(t, s.Target) && (s.Own == "" || !leaves(t, s.Own)) && (s.Change == nil || s.Change.Transition != t.Name)
}

func proposal(s *engine.State, transition string) (*engine.Proposal, bool) {
	for i := range s.Proposals {
		if s.Proposals[i].Transition == transition {
			return &s.Proposals[i], true
		}
	}
	return nil, false
}

// epoch is when searches begin: a Monday.
var epoch = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// ceil is the first instant of an evaluation that is not before at.
func (m *member) ceil(at time.Time) time.Time {
	since := at.Sub(epoch)
	n := since / m.policy.Interval
	if since%m.policy.Interval > 0 {
		n++
	}
	return epoch.Add(n * m.policy.Interval)
}
