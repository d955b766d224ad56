package loop

import (
	"maps"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// show publishes a scope as it is now, for whoever reads beside the loop.
func (l *Loop) show(name engine.Scope) {
	sc := l.scopes[name]
	if name == engine.Fleet {
		l.recovered.Store(sc.state.Term)
	}
	v := engine.View{Policy: sc.policy, State: sc.state, Observed: sc.seen, RulesProblem: sc.problem}
	l.mu.Lock()
	defer l.mu.Unlock()
	moved := l.views[name].State.Version != sc.state.Version
	l.views[name] = v
	if moved {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// Views returns every scope, sorted by name, without the fleet's stream.
func (l *Loop) Views() []engine.View {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]engine.View, 0, len(l.views))
	for _, name := range slices.Sorted(maps.Keys(l.views)) {
		if name != engine.Fleet && l.views[name].State.Version > 0 {
			list = append(list, l.views[name])
		}
	}
	return list
}

// View returns one scope; engine.Fleet too.
func (l *Loop) View(name engine.Scope) (engine.View, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v, ok := l.views[name]
	return v, ok && v.State.Version > 0
}

// Changed returns a channel that is closed at the next commit. Whoever waits takes it first and looks then.
func (l *Loop) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// Health returns how the loop does.
func (l *Loop) Health() Health {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.health
}
