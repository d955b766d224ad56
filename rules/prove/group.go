package prove

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// group is scopes that wait for one another, directly or around some corners: their states are searched together. Of any other scope they
// look at, each mode may be in force at any time.
type group struct {
	members []*member
	at      map[engine.Scope]int
	outside map[engine.Scope]*engine.Policy // whose modes conditions ask for, or that stand above
	blocks  []*block
	decide  func(engine.Policy, engine.State, engine.Input) []engine.Event

	mu      sync.Mutex // guards choices and wide
	choices map[string][]choice
	wide    bool // an evaluation could find more than maxChoices things
}

// block is conditions that share what they are measured by, and so depend on one another. What one block comes to says nothing of any other.
type block struct {
	sources    []string
	conditions []place
	trees      []*tree // of the conditions
	valuations []valuation
}

// place is where a condition stands.
type place struct{ member, condition int }

// block puts the conditions that depend on one another together.
func (g *group) block(outside map[engine.Scope][]engine.Mode) {
	join := func(b *block) {
		var apart []*block
		for _, o := range g.blocks {
			if slices.ContainsFunc(o.sources, func(s string) bool { return slices.Contains(b.sources, s) }) {
				for _, s := range b.sources {
					if !slices.Contains(o.sources, s) {
						o.sources = append(o.sources, s)
					}
				}
				o.conditions, o.trees, b = append(o.conditions, b.conditions...), append(o.trees, b.trees...), o
			} else {
				apart = append(apart, o)
			}
		}
		g.blocks = append(apart, b)
	}
	for i, m := range g.members {
		for k, t := range m.trees {
			if t != nil {
				join(&block{sources: t.sources(nil), conditions: []place{{i, k}}, trees: []*tree{t}})
			}
		}
	}
	for _, scope := range sortedScopes(outside) { // what stands above decides something, also where no condition asks for its mode
		join(&block{sources: []string{"mode of " + string(scope)}})
	}
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

// What is kept of what may be measured: of a block, and of one evaluation.
const (
	maxValuations = 20_000
	maxChoices    = 5_000
)

func newGroup(set *rules.Set, services []*rules.Service) (*group, error) {
	g := &group{at: map[engine.Scope]int{}, outside: map[engine.Scope]*engine.Policy{}, decide: engine.Decide, choices: map[string][]choice{}}
	p := &planter{inside: map[engine.Scope]bool{}, leaves: map[string]*leaf{}, by: map[string][]*leaf{}}
	transitions := 0
	for i, s := range services {
		g.members = append(g.members, newMember(s, transitions))
		transitions += len(s.Policy.Transitions)
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
	for _, m := range g.members {
		m.plant(p)
	}
	g.block(modes)
	for _, b := range g.blocks {
		if b.valuations = p.valuations(b, modes, maxValuations); b.valuations == nil {
			return nil, fmt.Errorf("conditions that share signals can come to more than %d different things", maxValuations)
		}
	}
	return g, nil
}

// bitset is a set of a block's valuations.
type bitset []uint64

func (b bitset) add(i int) { b[i/64] |= 1 << (i % 64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }

// first is the least of the set; -1 when it is empty.
func (b bitset) first() int {
	for i, word := range b {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// within is a set of what may be measured: any valuation of each block's set with any of the others.
type within []bitset

// meet is what is in both, and one of it, by block; nil when there is none.
func (w within) meet(o within) (within, []int32) {
	if o == nil {
		return w, w.one()
	}
	both, one := make(within, len(w)), make([]int32, len(w))
	for i := range w {
		both[i] = make(bitset, len(w[i]))
		for k := range w[i] {
			both[i][k] = w[i][k] & o[i][k]
		}
		first := both[i].first()
		if first < 0 {
			return nil, nil
		}
		one[i] = int32(first)
	}
	return both, one
}

// holds reports whether a valuation of all blocks is in the set.
func (w within) holds(valuation []int32) bool {
	for i := range w {
		if !w[i].has(int(valuation[i])) {
			return false
		}
	}
	return true
}

func (w within) one() []int32 {
	one := make([]int32, len(w))
	for i := range w {
		one[i] = int32(w[i].first())
	}
	return one
}

// choice is one thing that an evaluation may find: how the conditions stand that are asked for.
type choice struct {
	valuation []int32 // one of those that come to it, by block
	seen      [][]engine.Observation
	modes     map[engine.Scope]engine.Mode // of scopes outside
	of        within
}

func (g *group) tooWide() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wide
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
			d := &m.dwells[k]
			if slices.ContainsFunc(d.conditions, func(c int) bool { return regards[i][c] != regardNot }) {
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
	list := []choice{{of: within{}}}
	for _, b := range g.blocks {
		found := b.find(regards, truth)
		if len(list)*len(found) > maxChoices {
			g.wide = true
			found = found[:1]
		}
		next := make([]choice, 0, len(list)*len(found))
		for _, c := range list {
			for _, f := range found {
				n := choice{valuation: append(slices.Clip(c.valuation), f.valuation...), of: append(slices.Clip(c.of), f.of...), modes: c.modes}
				if f.modes != nil {
					n.modes = map[engine.Scope]engine.Mode{}
					for _, from := range []map[engine.Scope]engine.Mode{c.modes, f.modes} {
						for scope, mode := range from {
							n.modes[scope] = mode
						}
					}
				}
				next = append(next, n)
				last := &next[len(next)-1]
				last.seen = append(slices.Clip(c.seen), f.seen...)
			}
		}
		list = next
	}
	for i := range list {
		list[i].seen = g.arrange(list[i].seen)
	}
	g.choices[string(env)] = list
	return list
}

// arrange puts what was found block by block where the members look for it.
func (g *group) arrange(found [][]engine.Observation) [][]engine.Observation {
	seen := make([][]engine.Observation, len(g.members))
	for i, m := range g.members {
		seen[i] = make([]engine.Observation, len(m.trees))
	}
	for i, b := range g.blocks {
		for k, at := range b.conditions {
			seen[at.member][at.condition] = found[i][k]
		}
	}
	return seen
}

// find are the choices of one block: seen holds one list, of its conditions.
func (b *block) find(regards [][]regard, truth func(*leaf) (engine.Truth, bool)) []choice {
	var list []choice
	index := map[string]int{}
	var name []byte
	for v := range b.valuations {
		of := &b.valuations[v]
		name = name[:0]
		seen := make([]engine.Observation, len(b.conditions))
		for k, at := range b.conditions {
			if r := regards[at.member][at.condition]; r != regardNot {
				seen[k] = engine.Observation{Asked: true, Truth: of.trees[k].with(truth).truth}
				name = append(name, byte(r.seen(seen[k].Truth)))
			}
		}
		for _, scope := range sortedScopes(of.modes) {
			name = append(append(append(name, ' '), of.modes[scope]...), 0)
		}
		i, had := index[string(name)]
		if !had {
			i = len(list)
			index[string(name)] = i
			list = append(list, choice{valuation: []int32{int32(v)}, seen: [][]engine.Observation{seen}, modes: of.modes,
				of: within{make(bitset, (len(b.valuations)+63)/64)}})
		}
		list[i].of[0].add(v)
		// What is unknown in one of the valuations is taken for unknown: it is the truth of which it is proved that it moves nothing.
		for k := range seen {
			if seen[k].Truth == engine.Unknown {
				list[i].seen[0][k].Truth = engine.Unknown
			}
		}
	}
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
func (g *group) exact(w *world, at int64, valuation []int32) [][]engine.Observation {
	truth := g.truths(w, at)
	seen := make([][]engine.Observation, len(g.members))
	for i, m := range g.members {
		seen[i] = make([]engine.Observation, len(m.trees))
	}
	for i, b := range g.blocks {
		for k, of := range b.conditions {
			if g.members[of.member].regards(&w.states[of.member], of.condition) != regardNot {
				seen[of.member][of.condition] = engine.Observation{Asked: true, Truth: b.valuations[valuation[i]].trees[k].with(truth).truth}
			}
		}
	}
	return seen
}

// agreeing is what may be measured where an evaluation finds what is given; nil when that cannot be.
func (g *group) agreeing(w *world, at int64, seen [][]engine.Observation, modes map[engine.Scope]engine.Mode) within {
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
			return c.of
		}
	}
	return nil
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
