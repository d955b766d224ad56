package flags

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/modeshift/modeshift/engine"
)

// definition is one flag as flagd has it. Its state stays ENABLED: a DISABLED flag is an error to older clients, and what
// moves with the mode is which variant holds.
type definition struct {
	State    string         `json:"state"`
	Variants map[string]any `json:"variants"`
	// DefaultVariant is null where the default in the client's code holds, and in a roll-out, in which Targeting says it all.
	DefaultVariant *string        `json:"defaultVariant"`
	Targeting      any            `json:"targeting,omitempty"`
	Metadata       map[string]any `json:"metadata,omitempty"`
}

// document is a whole flag configuration.
type document struct {
	Schema     string                `json:"$schema"`
	Metadata   map[string]any        `json:"metadata"`
	Evaluators map[string]any        `json:"$evaluators,omitempty"`
	Flags      map[string]definition `json:"flags"`
}

// flagdConfig is a document as it is sent. It is made when it is first asked for.
type flagdConfig struct {
	once    sync.Once // makes what follows
	text    string
	tag     string // of the text
	problem error
}

const flagdSchema = "https://flagd.dev/schema/v0/flags.json"

// configured writes the scope's flags as flagd has them, and the tag of that.
func (s *sheet) configured() (text, tag string, err error) {
	f := s.flagd
	f.once.Do(func() {
		f.problem = errUnmade
		text, err := encode(s.document())
		f.text, f.tag, f.problem = string(text), digest(text), err
	})
	return f.text, f.tag, f.problem
}

func (s *sheet) document() document {
	newest := s.newest()
	d := document{
		Schema: flagdSchema,
		// OpenTelemetry's conventions know these two: spans and logs that tell of an evaluation name the directive by them.
		Metadata: map[string]any{"flagSetId": string(s.scope), "version": fmt.Sprintf("%d.%d", newest.Term, newest.Revision)},
		Flags:    map[string]definition{},
	}
	for i, g := range s.groups[1:] {
		if d.Evaluators == nil {
			d.Evaluators = map[string]any{}
		}
		d.Evaluators[evaluator(i)] = members(g.names)
	}
	for _, key := range s.keys() {
		if def, there := s.define(key); there {
			d.Flags[key] = def
		}
	}
	return d
}

// evaluator names the condition that an instance is in the i-th of a wave's groups.
func evaluator(i int) string {
	if i == 0 {
		return "wave"
	}
	return "wave" + strconv.Itoa(i+1)
}

// members is that condition. An instance names itself by the key instance, or else by OpenFeature's own, targetingKey.
func members(names []string) any {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = name
	}
	return op("in", op("if", variable("instance"), variable("instance"), variable("targetingKey")), list)
}

func op(name string, args ...any) map[string]any { return map[string]any{name: args} }

func variable(name string) map[string]any { return map[string]any{"var": name} }

// define is one flag with all its variants; false when it has none, and flagd could not have it.
func (s *sheet) define(key string) (definition, bool) {
	def := definition{State: "ENABLED", Variants: s.variants(key), Metadata: s.life(key)}
	if len(def.Variants) == 0 {
		return def, false
	}
	if key == ModeFlag {
		// As in OFREP, only this flag says which directive it comes from, or each would seem to change with every directive.
		def.Metadata = merged(def.Metadata, map[string]any{"scope": string(s.scope), "revision": uint64(s.groups[0].told.Revision), "term": s.groups[0].told.Term})
	}
	if !s.split(key) {
		def.DefaultVariant = s.variant(s.groups[0], key, def.Variants)
		return def, true
	}
	// What the rest is told has to be a part of the targeting: null means the default variant, and if that were the rest's, a
	// member of the wave whose mode does not set the flag could not be sent to the default in its code.
	var branches []any
	for i, g := range s.groups[1:] {
		branches = append(branches, map[string]any{"$ref": evaluator(i)}, s.variant(g, key, def.Variants))
	}
	def.Targeting = op("if", append(branches, s.variant(s.groups[0], key, def.Variants))...)
	return def, true
}

// variants are the values of a flag. Each is named after the mode that gives it, so that names stay what they are while
// modes come and go; the flag mode has one of each declared mode. They are of one type, as flagd demands: that of what is
// told now, or else of the first mode that sets the flag.
func (s *sheet) variants(key string) map[string]any {
	variants := map[string]any{}
	var kind string
	add := func(name string, value any) {
		if k := kindOf(value); k != "" && (kind == "" || k == kind) {
			kind, variants[name] = k, value
		}
	}
	for _, g := range s.groups {
		if value := g.value(key); value != nil {
			add(g.name(key, variants), value)
		}
	}
	if s.policy == nil {
		return variants
	}
	for _, m := range s.policy.Modes {
		value, set := m.Flags[key]
		if key == ModeFlag {
			value, set = string(m.Name), true
		}
		if _, told := variants[string(m.Name)]; set && !told { // a directive may be older than the rules: it counts
			add(string(m.Name), value)
		}
	}
	return variants
}

// name is the variant a group's value of a flag goes by: its mode, unless others are told another value in the same mode,
// because the rules changed in between.
func (g *group) name(key string, variants map[string]any) string {
	name := string(g.told.Mode)
	if other, there := variants[name]; there && !reflect.DeepEqual(other, g.value(key)) {
		return name + "@" + strconv.FormatUint(uint64(g.told.Revision), 10)
	}
	return name
}

// variant is the one a group is told; nil where the default in the code holds.
func (s *sheet) variant(g *group, key string, variants map[string]any) *string {
	value := g.value(key)
	if value == nil {
		return nil
	}
	name := g.name(key, variants)
	if _, there := variants[name]; !there {
		return nil
	}
	return &name
}

// kindOf is a value's type among those flagd knows; empty: none of them.
func kindOf(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64, float32, int, int64, uint64, json.Number:
		return "number"
	case map[string]any, engine.Flags:
		return "object"
	}
	return ""
}
