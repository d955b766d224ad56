package prove

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// waits finds scopes of which each waits for the next one to leave its mode, all the way round. A scope waits for another when, with all modes
// as they are, nothing that could be measured leads out of its mode, and something would if the other were in another one.
func (s *search) waits() (string, *Trace) {
	if len(s.g.members) < 2 {
		return "", nil
	}
	looked := map[int32]bool{}
	for id := range s.nodes {
		n := &s.nodes[id]
		if looked[n.modes] || !n.calm {
			continue
		}
		looked[n.modes] = true
		r := s.targets[n.modes]
		for i := range s.g.members {
			if round := s.g.round(r, i, nil); round != nil {
				words := make([]string, len(round))
				for k, of := range round {
					words[k] = fmt.Sprintf("%s in %s waits for %s", s.g.members[of].scope, r[of], s.g.members[round[(k+1)%len(round)]].scope)
				}
				return strings.Join(words, ", "), s.trace(Wait, s.path(int32(id)))
			}
		}
	}
	return "", nil
}

// waits reports whether with these modes in force some scopes wait for each other.
func (g *group) waits(modes []engine.Mode) bool {
	for i := range g.members {
		if g.round(modes, i, nil) != nil {
			return true
		}
	}
	return false
}

// round follows who waits for whom from a member on; nil when that ends.
func (g *group) round(modes []engine.Mode, i int, path []int) []int {
	if k := slices.Index(path, i); k >= 0 {
		return path[k:]
	}
	for other := range g.members {
		if other != i && g.waitsFor(modes, i, other) {
			if r := g.round(modes, other, append(slices.Clip(path), i)); r != nil {
				return r
			}
		}
	}
	return nil
}

func (g *group) waitsFor(modes []engine.Mode, i, other int) bool {
	if modes[i] == g.members[i].first() || g.leaves(modes, i) {
		return false
	}
	rules := g.members[other].policy.Modes
	return slices.ContainsFunc(rules, func(r engine.ModeRule) bool {
		if r.Name == modes[other] {
			return false
		}
		with := slices.Clone(modes)
		with[other] = r.Name
		return g.leaves(with, i)
	})
}

// leaves reports whether something that may be measured leads a member out of its mode, with these modes in force. How long the mode has lasted
// decides nothing here: it only has to last.
func (g *group) leaves(modes []engine.Mode, i int) bool {
	m := g.members[i]
	for k := range m.policy.Transitions {
		t := &m.policy.Transitions[k]
		if leaves(t, modes[i]) && !g.below(modes, i, t.To) && g.can(m.place, t.When, modes) {
			return true
		}
		if until, is := t.Until.Index(); is && t.To == modes[i] && g.can(m.place, until, modes) {
			return true
		}
	}
	return false
}

// below reports whether a member of the group that stands above asks for more than a mode.
func (g *group) below(modes []engine.Mode, i int, to engine.Mode) bool {
	m := g.members[i]
	w := &world{states: make([]engine.State, len(g.members))}
	for k, mode := range modes {
		w.states[k] = engine.State{Version: 1, Mode: mode, Target: mode}
	}
	return slices.ContainsFunc(g.above(i, w, nil), func(a engine.Above) bool { return a.Imposes != "" && m.policy.MoreRestrictive(to, a.Imposes) })
}

// can reports whether a condition can be true with these modes in force.
func (g *group) can(member, condition int, modes []engine.Mode) bool {
	for _, lasts := range []engine.Truth{engine.True, engine.False} {
		truth := func(l *leaf) (engine.Truth, bool) { //nolint:unparam // whoever takes it knows no truth of some leaves
			if l.inside.Signal.Kind == rules.SignalMode {
				return engine.TruthOf(holds(l.inside, 0, string(modes[g.at[engine.Scope(l.inside.Signal.Name)]]))), true
			}
			return lasts, true
		}
		for _, b := range g.blocks {
			k := slices.Index(b.conditions, place{member, condition})
			if k >= 0 && slices.ContainsFunc(b.valuations, func(v valuation) bool { return v.trees[k].with(truth).truth == engine.True }) {
				return true
			}
		}
	}
	return false
}
