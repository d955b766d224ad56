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
	reasonStatic   = "STATIC"
	reasonDisabled = "DISABLED"
)

// evaluation is one flag's successful answer. Value is absent where the default in the client's code is to be used.
type evaluation struct {
	Key      string    `json:"key"`
	Value    any       `json:"value,omitempty"`
	Reason   string    `json:"reason"`
	Variant  string    `json:"variant,omitempty"`
	Metadata *metadata `json:"metadata,omitempty"`
}

// metadata says which directive an answer comes from.
type metadata struct {
	Scope    engine.Scope   `json:"scope"`
	Revision engine.Version `json:"revision"`
	Term     uint64         `json:"term"`
}

// bulk is the answer with all flags.
type bulk struct {
	Flags    []evaluation `json:"flags"`
	Metadata metadata     `json:"metadata"`
}

func metadataOf(v engine.View) metadata {
	return metadata{v.State.Scope, v.State.Directive.Revision, v.State.Directive.Term}
}

// told reports whether instances of the scope were ever told a mode. A scope with SLO alerts alone has none.
func told(v engine.View) bool { return v.State.Directive.Revision > 0 && v.State.Directive.Mode != "" }

// evaluate answers one flag; false when the service has none of that name.
func evaluate(v engine.View, key string) (evaluation, bool) {
	if !told(v) {
		return evaluation{}, false
	}
	d := v.State.Directive
	if key == ModeFlag {
		return evaluation{Key: key, Value: string(d.Mode), Reason: reasonStatic, Variant: string(d.Mode)}, true
	}
	if value, set := d.Flags[key]; set && value != nil {
		return evaluation{Key: key, Value: value, Reason: reasonStatic, Variant: string(d.Mode)}, true
	}
	if _, set := d.Flags[key]; set || declared(v.Policy, key) {
		return evaluation{Key: key, Reason: reasonDisabled}, true
	}
	return evaluation{}, false
}

func declared(p *engine.Policy, key string) bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.Modes, func(m engine.ModeRule) bool {
		_, there := m.Flags[key]
		return there
	})
}

// evaluateAll answers every flag of the service: mode first, then the others by name. The flag mode alone carries the
// directive's metadata, and the answer as a whole: on every flag it would tell clients that all flags changed with each
// directive. A disabled flag has no variant for the same reason.
func evaluateAll(v engine.View) bulk {
	out := bulk{Flags: []evaluation{}, Metadata: metadataOf(v)}
	if !told(v) {
		return out
	}
	keys := map[string]bool{}
	for key := range v.State.Directive.Flags {
		keys[key] = true
	}
	if v.Policy != nil {
		for _, m := range v.Policy.Modes {
			for key := range m.Flags {
				keys[key] = true
			}
		}
	}
	delete(keys, ModeFlag)
	for _, key := range slices.Concat([]string{ModeFlag}, slices.Sorted(maps.Keys(keys))) {
		e, there := evaluate(v, key)
		if !there {
			continue
		}
		if key == ModeFlag {
			e.Metadata = &out.Metadata
		}
		out.Flags = append(out.Flags, e)
	}
	return out
}
