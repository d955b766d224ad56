package agent

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// State is what is in force at this instance. It is shared: nothing in it may be changed.
type State struct {
	Scope       engine.Scope
	Mode        engine.Mode // empty: none yet
	Flags       engine.Flags
	Unavailable *engine.Unavailable // not nil: the service is not to answer in this mode
	// Position is that of the directive the mode comes from, or that declared it for the end of the lease. It is zero when
	// Origin is OriginColdStart.
	Position engine.Position
	Change   engine.ChangeID // that brought the directive about
	Origin   engine.Origin
	Since    time.Time // when it came into force here
}

// Bool returns a flag, or otherwise where the mode sets none of that name, or one of another type.
func (s *State) Bool(flag string, otherwise bool) bool { return value(s, flag, otherwise) }

// String returns a flag, or otherwise where the mode sets none of that name, or one of another type.
func (s *State) String(flag string, otherwise string) string { return value(s, flag, otherwise) }

// Float returns a flag, or otherwise where the mode sets none of that name, or one of another type.
func (s *State) Float(flag string, otherwise float64) float64 { return value(s, flag, otherwise) }

// Object returns a flag, or otherwise where the mode sets none of that name, or one of another type. It is shared: nothing
// in it may be changed.
func (s *State) Object(flag string, otherwise map[string]any) map[string]any {
	return value(s, flag, otherwise)
}

func value[T any](s *State, flag string, otherwise T) T {
	if v, ok := s.Flags[flag].(T); ok {
		return v
	}
	return otherwise
}

// Mode returns the mode in force; false when there is none yet. It is one atomic load and allocates nothing.
func (a *Agent) Mode() (engine.Mode, bool) {
	s := a.state.Load()
	return s.Mode, s.Mode != ""
}

// Current returns what is in force, all of one moment: who reads several flags reads them from one State. It is one atomic
// load and allocates nothing. It is never nil; before there is a mode, its Mode is empty.
func (a *Agent) Current() *State { return a.state.Load() }

// Bool returns a flag of what is in force, as State.Bool.
func (a *Agent) Bool(flag string, otherwise bool) bool { return a.state.Load().Bool(flag, otherwise) }

// String returns a flag of what is in force, as State.String.
func (a *Agent) String(flag string, otherwise string) string {
	return a.state.Load().String(flag, otherwise)
}

// Float returns a flag of what is in force, as State.Float.
func (a *Agent) Float(flag string, otherwise float64) float64 {
	return a.state.Load().Float(flag, otherwise)
}

// Object returns a flag of what is in force, as State.Object.
func (a *Agent) Object(flag string, otherwise map[string]any) map[string]any {
	return a.state.Load().Object(flag, otherwise)
}

// told reports whether s is what a directive says, and not what was declared for want of one.
func (s *State) told() bool { return s.Origin == engine.OriginServer || s.Origin == engine.OriginDisk }

// same reports whether s and o call for the same: callbacks that were called for one need not be called for the other.
func (s *State) same(o *State) bool {
	return s.Mode == o.Mode && s.Position == o.Position && (s.told() && o.told() || s.Origin == o.Origin)
}

// stateOf is what is in force once t is applied.
func stateOf(t *engine.Told, origin engine.Origin) *State {
	return &State{Scope: t.Scope, Mode: t.Mode, Flags: t.Flags, Unavailable: t.Unavailable, Position: t.Position(), Change: t.Change, Origin: origin}
}

// fallback is what is in force once f is: a mode that was declared for want of a directive that counts.
func fallback(scope engine.Scope, f *engine.Fallback, p engine.Position, origin engine.Origin) *State {
	return &State{Scope: scope, Mode: f.Mode, Flags: f.Flags, Unavailable: f.Unavailable, Position: p, Origin: origin}
}
