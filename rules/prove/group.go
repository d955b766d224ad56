package prove

import (
	"fmt"
	"slices"
	"sync"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// group is scopes that wait for one another, directly or around some corners: their states are searched together. Of any other scope they
// look at, each mode may be in force at any time.
type group struct {
	members    []*member
	at         map[engine.Scope]int
	outside    map[engine.Scope]*engine.Policy // whose modes conditions ask for, or that stand above
	valuations []valuation
	decide     func(engine.Policy, engine.State, engine.Input) []engine.Event

	mu      sync.Mutex // guards choices
	choices map[string][]choice
}

// looks are the scopes whose mode decides something in a service: its conditions ask for it, or it stands above.
func looks(set *rules.Set, s *rules.Service) []engine.Scope {
	var list []engine.Scope
	add := func(scope engine.Scope) {
		if scope != s.Policy.Scope && !slices.Contains(list, scope) && set.Service(scope) != nil {
			list = append(list, scope)
		}
	}
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		conditions := []int{t.When}
		refs := []engine.ConditionRef{t.Until, t.Playbook.Verify}
		if t.Rollout != nil {
			refs = append(refs, t.Rollout.Verify)
		}
		for _, ref := range refs {
			if k, ok := ref.Index(); ok {
				conditions = append(conditions, k)
			}
		}
		for _, k := range conditions {
			for _, sig := range s.Conditions[k].Signals() {
				if sig.Kind == rules.SignalMode {
					add(engine.Scope(sig.Name))
				}
			}
		}
	}
	for up := set.Service(s.Policy.Parent); up != nil && up != s; up = set.Service(up.Policy.Parent) {
		if slices.ContainsFunc(up.Policy.Modes, func(m engine.ModeRule) bool { return m.Imposes != "" }) {
			add(up.Policy.Scope)
		}
	}
	return list
}

// groups puts services that look at one another together, and each other one alone. Those without modes have nothing to prove.
func groups(set *rules.Set) [][]*rules.Service {
	reach := map[engine.Scope]map[engine.Scope]bool{}
	for _, s := range set.Services {
		seen := map[engine.Scope]bool{}
		queue := []*rules.Service{s}
		for len(queue) > 0 {
			for _, scope := range looks(set, queue[0]) {
				if !seen[scope] {
					seen[scope] = true
					queue = append(queue, set.Service(scope))
				}
			}
			queue = queue[1:]
		}
		reach[s.Policy.Scope] = seen
	}
	var list [][]*rules.Service
	placed := map[engine.Scope]bool{}
	for _, s := range set.Services {
		if len(s.Policy.Modes) == 0 || placed[s.Policy.Scope] {
			continue
		}
		var together []*rules.Service
		for _, o := range set.Services {
			if o == s || reach[s.Policy.Scope][o.Policy.Scope] && reach[o.Policy.Scope][s.Policy.Scope] {
				placed[o.Policy.Scope] = true
				together = append(together, o)
			}
		}
		list = append(list, together)
	}
	return list
}

// maxValuations bounds what is kept of what may be measured.
const maxValuations = 20_000

func newGroup(set *rules.Set, services []*rules.Service) (*group, error) {
	g := &group{at: map[engine.Scope]int{}, outside: map[engine.Scope]*engine.Policy{}, decide: engine.Decide, choices: map[string][]choice{}}
	p := &planter{inside: map[engine.Scope]bool{}, leaves: map[string]*leaf{}, by: map[string][]*leaf{}}
	for i, s := range services {
		g.members = append(g.members, newMember(s))
		g.members[i].place = i
		g.at[s.Policy.Scope] = i
		p.inside[s.Policy.Scope] = true
	}
	modes := map[engine.Scope][]engine.Mode{}
	for _, s := range services {
		for _, scope := range looks(set, s) {
			if !p.inside[scope] {
				o := set.Service(scope)
				g.outside[scope] = &o.Policy
				modes[scope] = nil
				for i := range o.Policy.Modes {
					modes[scope] = append(modes[scope], o.Policy.Modes[i].Name)
				}
			}
		}
	}
	trees := make([][]*tree, len(g.members))
	for i, m := range g.members {
		m.plant(p)
		trees[i] = m.trees
	}
	if g.valuations = p.valuations(trees, modes, maxValuations); g.valuations == nil {
		return nil, fmt.Errorf("the conditions can come to more than %d different things", maxValuations)
	}
	return g, nil
}

// bitset is a set of valuations.
type bitset []uint64

func (b bitset) add(i int) { b[i/64] |= 1 << (i % 64) }

// meet is what is in both sets, and its first member; -1 when there is none.
func (b bitset) meet(o bitset) (bitset, int) {
	both, first := make(bitset, len(b)), -1
	for i := range b {
		both[i] = b[i] & o[i]
		if first < 0 && both[i] != 0 {
			first = i * 64
			for both[i]>>(first%64)&1 == 0 {
				first++
			}
		}
	}
	return both, first
}

func (b bitset) join(o bitset) {
	for i := range b {
		b[i] |= o[i]
	}
}

// choice is one thing that an evaluation may find: how the conditions stand that are asked for.
type choice struct {
	valuation int // the first of those that come to it
	seen      [][]engine.Observation
	modes     map[engine.Scope]engine.Mode // of scopes outside
	of        bitset
}

// doubt takes what is unknown in one of the valuations for what is found. It is the truth of which it is proved that it moves nothing.
func (c *choice) doubt(seen [][]engine.Observation) {
	for i := range seen {
		for k := range seen[i] {
			if seen[i][k].Truth == engine.Unknown {
				c.seen[i][k].Truth = engine.Unknown
			}
		}
	}
}

// regard is how closely it is looked at what a condition comes to: truths that the core takes for the same, in that state, are one.
type regard byte

const (
	regardNot   regard = iota // it is not asked, as in a server
	regardTrue                // only that it is true makes a difference
	regardFalse               // only that it is false does
	regardAll
)

// seen is a truth as it is regarded: of truths that are the same the unknown one stands for all.
func (r regard) seen(t engine.Truth) engine.Truth {
	if r == regardTrue && t != engine.True || r == regardFalse && t != engine.False {
		return engine.Unknown
	}
	return t
}

// regards says for what a condition is asked in a state.
func (m *member) regards(s *engine.State, k int) regard {
	if m.trees[k] == nil || !m.policy.Relevant(*s, k) {
		return regardNot
	}
	name := m.policy.Conditions[k].Name
	t := m.when[name]
	if t == nil { // a verification, or an until
		if c := s.Change; c != nil && (c.Verify == name || c.Plan.Rollout != nil && c.Plan.Rollout.Verify == name) {
			return regardAll
		}
		return regardTrue
	}
	if s.Own != "" || s.Change != nil && s.Change.Transition == t.Name {
		return regardAll
	}
	if _, waits := proposal(s, t.Name); waits {
		return regardAll
	}
	ends := len(s.Past) > 0 && s.Past[len(s.Past)-1].Retry.Condition == name
	rested := slices.ContainsFunc(s.Resting, func(r engine.Rest) bool { return r.Transition == t.Name && !r.Over })
	switch leads := leaves(t, s.Target); {
	case leads && (t.For > 0 || ends || rested):
		return regardAll
	case leads:
		return regardTrue
	case rested || ends && s.Past[len(s.Past)-1].Until != "":
		return regardFalse
	}
	return regardNot
}

// find are the choices of an evaluation of a world at an instant. What decides nothing there does not tell choices apart.
func (g *group) find(w *world, at int64) []choice {
	var env []byte
	regards := make([][]regard, len(g.members))
	for i, m := range g.members {
		s := &w.states[i]
		regards[i] = make([]regard, len(m.trees))
		for k := range m.trees {
			regards[i][k] = m.regards(s, k)
			env = append(env, '0'+byte(regards[i][k]))
		}
		env = append(append(env, ' '), s.Mode...)
		for k := range m.dwells {
			if d := &m.dwells[k]; m.matters(s, d) {
				env = append(env, ' ', bit(m.lasts(s, d.leaf, at)))
			}
		}
		env = append(env, ';')
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if list, had := g.choices[string(env)]; had {
		return list
	}
	truth := g.truths(w, at)
	var list []choice
	index := map[string]int{}
	var name []byte
	for v := range g.valuations {
		of := &g.valuations[v]
		name = name[:0]
		seen := make([][]engine.Observation, len(g.members))
		for i := range g.members {
			seen[i] = make([]engine.Observation, len(of.trees[i]))
			for k, t := range of.trees[i] {
				if r := regards[i][k]; r != regardNot {
					seen[i][k] = engine.Observation{Asked: true, Truth: t.with(truth).truth}
					name = append(name, byte(r.seen(seen[i][k].Truth)))
				}
			}
		}
		for _, scope := range sortedScopes(of.modes) {
			name = append(append(append(name, ' '), of.modes[scope]...), 0)
		}
		i, had := index[string(name)]
		if !had {
			i = len(list)
			index[string(name)] = i
			list = append(list, choice{valuation: v, seen: seen, modes: of.modes, of: make(bitset, (len(g.valuations)+63)/64)})
		}
		list[i].of.add(v)
		list[i].doubt(seen)
	}
	g.choices[string(env)] = list
	return list
}

// truths are those of the leaves that the states know.
func (g *group) truths(w *world, at int64) func(*leaf) (engine.Truth, bool) {
	return func(l *leaf) (engine.Truth, bool) {
		if c := l.inside; c.Signal.Kind == rules.SignalMode {
			return engine.TruthOf(holds(c, 0, string(w.states[g.at[engine.Scope(c.Signal.Name)]].Mode))), true
		}
		for i, m := range g.members {
			if slices.ContainsFunc(m.dwells, func(d dwell) bool { return d.leaf == l }) {
				return engine.TruthOf(m.lasts(&w.states[i], l, at)), true
			}
		}
		panic("prove: nobody knows " + l.text)
	}
}

// exact is what an evaluation finds where a valuation holds: truths that the core takes for the same are told apart.
func (g *group) exact(w *world, at int64, valuation int) [][]engine.Observation {
	truth := g.truths(w, at)
	seen := make([][]engine.Observation, len(g.members))
	for i, m := range g.members {
		seen[i] = make([]engine.Observation, len(m.trees))
		for k, t := range g.valuations[valuation].trees[i] {
			if m.regards(&w.states[i], k) != regardNot {
				seen[i][k] = engine.Observation{Asked: true, Truth: t.with(truth).truth}
			}
		}
	}
	return seen
}

// agreeing are the valuations in which an evaluation finds what is given; nil when there are none.
func (g *group) agreeing(w *world, at int64, seen [][]engine.Observation, modes map[engine.Scope]engine.Mode) bitset {
	of := make(bitset, (len(g.valuations)+63)/64)
	none := true
	for _, c := range g.find(w, at) {
		same := true
		for i, m := range g.members {
			for k := range m.trees {
				r := m.regards(&w.states[i], k)
				same = same && (r == regardNot || r.seen(c.seen[i][k].Truth) == r.seen(seen[i][k].Truth))
			}
		}
		for scope, mode := range modes {
			same = same && c.modes[scope] == mode
		}
		if same {
			of.join(c.of)
			none = false
		}
	}
	if none {
		return nil
	}
	return of
}

func bit(v bool) byte {
	if v {
		return '1'
	}
	return '0'
}

// lasts reports the truth of a comparison of how long the mode has lasted.
func (m *member) lasts(s *engine.State, l *leaf, at int64) bool {
	return holds(l.inside, s.Dwell(instant(at)).Seconds(), "")
}
