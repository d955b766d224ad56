package flags

import (
	"maps"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// ModeFlag is the key of the flag that tells the mode. A mode's own flag of that name would be hidden behind it.
const ModeFlag = "mode"

// The reasons an evaluation can have, of those that OFREP lists.
const (
	reasonStatic   = "STATIC"   // the same for every instance
	reasonSplit    = "SPLIT"    // not the same: a roll-out goes on, and whose turn it is was drawn by a hash
	reasonDisabled = "DISABLED" // the present mode does not use the flag
)

// evaluation is one flag's successful answer. Value is absent where the default in the client's code is to be used.
type evaluation struct {
	Key      string         `json:"key"`
	Value    any            `json:"value,omitempty"`
	Reason   string         `json:"reason"`
	Variant  string         `json:"variant,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

// bulk is the answer with all flags.
type bulk struct {
	Flags    []evaluation   `json:"flags"`
	Metadata map[string]any `json:"metadata"`
}

// from says which directive an answer comes from.
func from(told engine.Told) map[string]any {
	return map[string]any{"scope": string(told.Scope), "revision": uint64(told.Revision), "term": told.Term}
}

// life is what is known of a flag besides its value: who owns it, until when it is good. The protocols take texts, numbers
// and truths, nothing else.
func (s *sheet) life(key string) map[string]any {
	if s.meta == nil {
		return nil
	}
	var life map[string]any
	for name, value := range s.meta(s.scope, key) {
		switch value.(type) {
		case string, bool, float64, int, int64:
			if life == nil {
				life = map[string]any{}
			}
			life[name] = value
		}
	}
	return life
}

// evaluate answers one flag for a group; false when the service has none of that name.
func (s *sheet) evaluate(g *group, key string) (evaluation, bool) {
	value := g.value(key)
	if value == nil {
		if !g.ever() || !s.knows(key) {
			return evaluation{}, false
		}
		// Without a variant: with one, clients would be told that the flag changed whenever the mode does.
		return evaluation{Key: key, Reason: reasonDisabled, Metadata: s.life(key)}, true
	}
	e := evaluation{Key: key, Value: value, Reason: reasonStatic, Variant: string(g.told.Mode), Metadata: s.life(key)}
	if s.split(key) {
		e.Reason = reasonSplit
	}
	return e, true
}

// knows reports whether some mode declares a flag, or some instance is told it.
func (s *sheet) knows(key string) bool {
	for _, g := range s.groups {
		if _, there := g.told.Flags[key]; there {
			return true
		}
	}
	return s.policy != nil && slices.ContainsFunc(s.policy.Modes, func(m engine.ModeRule) bool {
		_, there := m.Flags[key]
		return there
	})
}

// keys are all flags of the service: mode first, then the others by name.
func (s *sheet) keys() []string {
	keys := map[string]bool{}
	for _, g := range s.groups {
		for key := range g.told.Flags {
			keys[key] = true
		}
	}
	if s.policy != nil {
		for _, m := range s.policy.Modes {
			for key := range m.Flags {
				keys[key] = true
			}
		}
	}
	delete(keys, ModeFlag)
	return slices.Concat([]string{ModeFlag}, slices.Sorted(maps.Keys(keys)))
}

// evaluateAll answers every flag of the service. The flag mode alone carries the directive's metadata, and the answer as a
// whole: on every flag it would tell clients that all flags changed with each directive.
func (s *sheet) evaluateAll(g *group) bulk {
	out := bulk{Flags: []evaluation{}, Metadata: from(g.told)}
	for _, key := range s.keys() {
		e, there := s.evaluate(g, key)
		if !there {
			continue
		}
		if key == ModeFlag {
			e.Metadata = merged(e.Metadata, out.Metadata)
		}
		out.Flags = append(out.Flags, e)
	}
	return out
}

// merged is both; where they name the same, over wins.
func merged(under, over map[string]any) map[string]any {
	if len(under) == 0 {
		return over
	}
	both := maps.Clone(under)
	maps.Copy(both, over)
	return both
}
