package flags

import (
	"slices"
	"sync"

	"github.com/modeshift/modeshift/engine"
)

// Source is what the package knows of the scopes. What it returns is shared: nobody changes it, neither side.
type Source interface {
	// View returns a scope as it is now; false when nobody ever declared it. Of its policy, which may be nil, the modes and
	// their flags matter, of its state the directive does not: Told says what is told. engine.Fleet is not asked for.
	View(engine.Scope) (engine.View, bool)
	// Told is what an instance is told now; no revision: nothing yet. A name that is no instance's, and the empty one, get
	// the directive meant for the rest.
	Told(scope engine.Scope, instance string) engine.Told
	// Wave names the instances that are told something else than the rest, while a roll-out goes on; none at other times. The
	// slice is another one whenever its names, or what those are told, are others: where it is the same, nobody looks again.
	Wave(engine.Scope) []string
	// Changed returns a channel that is closed when any of the above may have changed. What is taken after the channel was
	// is good until it is closed.
	Changed() <-chan struct{}
}

// Latest is the Source of a program that is told directives and has no rules, such as an agent on an instance's own
// machine: everybody who asks it gets the last one. The zero value knows no scope. It is safe for concurrent use.
type Latest struct {
	mu      sync.Mutex // guards what follows
	scopes  map[engine.Scope]engine.View
	changed chan struct{}
}

// maxModes bounds how many modes are remembered of a scope. Scopes have a handful.
const maxModes = 64

// Tell makes a directive the present one of its scope. The modes told so far stand in for the rules: a flag of one of them
// that the present mode does not set is known, and left to the code's default.
func (l *Latest) Tell(told engine.Told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.scopes[told.Scope]
	policy := &engine.Policy{Scope: told.Scope}
	if before.Policy != nil {
		policy.Modes = before.Policy.Modes
	}
	policy.Modes = slices.DeleteFunc(slices.Clone(policy.Modes), func(m engine.ModeRule) bool { return m.Name == told.Mode })
	if len(policy.Modes) >= maxModes {
		policy.Modes = policy.Modes[1:]
	}
	if told.Mode != "" {
		policy.Modes = append(policy.Modes, engine.ModeRule{Name: told.Mode, Flags: told.Flags})
	}
	if l.scopes == nil {
		l.scopes = map[engine.Scope]engine.View{}
	}
	l.scopes[told.Scope] = engine.View{Policy: policy, State: engine.State{Scope: told.Scope, Target: told.Mode, Directive: told.Directive}}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// View implements Source.
func (l *Latest) View(scope engine.Scope) (engine.View, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.scopes[scope]
	return v, ok
}

// Told implements Source: it is the same for all.
func (l *Latest) Told(scope engine.Scope, _ string) engine.Told {
	v, _ := l.View(scope)
	return engine.Told{Scope: scope, Directive: v.State.Directive}
}

// Wave implements Source: there is none, one instance is no crowd.
func (l *Latest) Wave(engine.Scope) []string { return nil }

// Changed implements Source.
func (l *Latest) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
