package rules

import (
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// flagType is what a flag's values are, and where that was first seen.
type flagType struct {
	name      string
	key, node *node
}

func (d *draft) mode(n *node) {
	r := d.r
	var m engine.ModeRule
	var least, most *node
	r.mapping(n, "a mode",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of a mode"); ok && r.unique(d.modeNames, n, "mode", name) {
				m.Name = engine.Mode(name)
			}
		}),
		may("beside", func(k *node) {
			if m.Beside, _ = r.boolean(k, "beside"); m.Beside && d.modes.items[0] == n {
				r.errorf(k, "remove it, or let another mode be the first: the first is where a scope starts, and the least restrictive",
					"the first mode cannot stand beside the others")
			}
		}),
		may("flags", func(n *node) { m.Flags = d.flags(n) }),
		may("min_duration", func(n *node) { least = n; m.MinDuration, _ = r.duration(n, "min_duration") }),
		may("max_duration", func(n *node) { most = n; m.MaxDuration, _ = r.duration(n, "max_duration") }),
		may("on_expiry", func(n *node) { d.onExpiry(n) }),
		may("unavailable", func(n *node) { m.Unavailable = d.unavailable(n) }))
	if most == nil && n.get("on_expiry") != nil {
		r.errorf(n.keyNode("on_expiry"), "give max_duration too", "on_expiry says what happens after max_duration, and there is none")
	}
	if least != nil && most != nil && m.MaxDuration > 0 && m.MinDuration >= m.MaxDuration {
		r.errorf(least, "", "min_duration must be shorter than max_duration")
	}
	if m.Name != "" {
		d.service.Policy.Modes = append(d.service.Policy.Modes, m)
	}
}

func (d *draft) onExpiry(n *node) {
	switch {
	case n.kind == yaml.ScalarNode && n.value == "page":
	case n.kind == yaml.MappingNode && n.get("propose") != nil, n.kind == yaml.ScalarNode && len(n.value) >= 7 && n.value[:7] == "propose":
		d.r.errorf(n, "write `page`", "on_expiry: propose is not supported yet")
	default:
		d.r.errorf(n, "write `page`", "on_expiry cannot be %s", n.is())
	}
}

func (d *draft) flags(n *node) engine.Flags {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `flags: {recommendations: false}`", "flags must be a mapping, not %s", n.is())
		return nil
	}
	flags := make(engine.Flags, len(n.keys))
	for i, k := range n.keys {
		if !r.flagName(k) {
			continue
		}
		v, kind, ok := r.json(n.items[i], "flag "+k.value)
		if !ok {
			continue
		}
		if kind == "list" {
			r.errorf(n.items[i], "put it into an object: {items: […]}", "flag %s cannot be a list: OpenFeature knows booleans, numbers, strings and objects", k.value)
			continue
		}
		if first, seen := d.flagTypes[k.value]; !seen {
			d.flagTypes[k.value] = flagType{kind, k, n.items[i]}
		} else if first.name != kind {
			r.errorf(n.items[i], "give it one type in all modes, or clients fail to read it when the mode shifts",
				"flag %s is %s here and %s on line %d", k.value, article(kind), article(first.name), first.node.line)
			continue
		}
		flags[k.value] = v
	}
	return flags
}

// json reads a value as JSON has it: bool, float64, string, []any or map[string]any.
func (r *reader) json(n *node, what string) (value any, kind string, ok bool) {
	switch n.kind {
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.items))
		for _, item := range n.items {
			v, _, ok := r.json(item, what)
			if !ok {
				return nil, "", false
			}
			list = append(list, v)
		}
		return list, "list", true
	case yaml.MappingNode:
		m := make(map[string]any, len(n.keys))
		for i, k := range n.keys {
			v, _, ok := r.json(n.items[i], what+"."+k.value)
			if !ok {
				return nil, "", false
			}
			m[k.value] = v
		}
		return m, "object", true
	}
	switch n.tag {
	case "!!bool":
		v, ok := r.boolean(n, what)
		return v, "boolean", ok
	case "!!int", "!!float":
		v, ok := r.number(n, what)
		return v, "number", ok
	case "!!str", "!!timestamp":
		return n.value, "string", true
	}
	r.errorf(n, "write a boolean, number, string or object", "%s is %s", what, n.is())
	return nil, "", false
}
