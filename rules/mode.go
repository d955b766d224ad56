package rules

import (
	"slices"

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
	var least, most, expiry, drill *node
	var pauses *pausing
	var hushes *hushing
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
		may("on_expiry", func(n *node) { expiry = d.onExpiry(n) }),
		may("drill_every", func(n *node) { drill = n }),
		may("stuck_after", d.stuckAfter(&m.StuckAfter)),
		may("unavailable", func(n *node) { m.Unavailable = d.unavailable(n) }),
		may("imposes", func(n *node) { m.Imposes = d.imposes(n) }),
		may("slos", func(n *node) { pauses = d.pauses(n) }),
		may("suppress", func(n *node) { hushes = d.suppress(n) }))
	if most == nil && n.get("on_expiry") != nil {
		r.errorf(n.keyNode("on_expiry"), "give max_duration too", "on_expiry says what happens after max_duration, and there is none")
	}
	if least != nil && most != nil && m.MaxDuration > 0 && m.MinDuration >= m.MaxDuration {
		r.errorf(least, "", "min_duration must be shorter than max_duration")
	}
	if drill != nil {
		d.drill(drill, m.Name, d.modes.items[0] == n)
	}
	if m.Name != "" {
		if pauses != nil {
			pauses.mode = m.Name
			d.pausings = append(d.pausings, pauses)
		}
		if hushes != nil {
			hushes.mode = m.Name
			d.hushings = append(d.hushings, hushes)
		}
		if expiry != nil {
			d.expiries = append(d.expiries, wayOut{m.Name, expiry})
		}
		d.service.Policy.Modes = append(d.service.Policy.Modes, m)
	}
}

// onExpiry reads what happens when a mode lasts too long: a page, or `propose: NAME` of a transition.
func (d *draft) onExpiry(n *node) *node {
	const shape = "write `page`, or the gated transition that leads out: `on_expiry: {propose: recover}`"
	switch {
	case n.kind == yaml.ScalarNode && n.value == "page":
	case n.kind == yaml.MappingNode:
		var way *node
		d.r.mapping(n, "on_expiry", need("propose", func(n *node) {
			if _, ok := d.r.text(n, "the transition to propose"); ok {
				way = n
			}
		}))
		return way
	default:
		d.r.errorf(n, shape, "on_expiry cannot be %s", n.is())
	}
	return nil
}

// wayOut is the transition that is proposed when a mode lasts too long.
type wayOut struct {
	mode engine.Mode
	node *node
}

// waysOut checks that what is proposed when a mode lasts too long leads out of it, and asks somebody.
func (d *draft) waysOut() {
	for _, w := range d.expiries {
		i := slices.IndexFunc(d.transitions, func(t transitionDraft) bool { return t.rule.Name == w.node.value })
		switch {
		case d.transitionNames[w.node.value] == nil:
			d.r.as(CodeUnknownName).errorf(w.node, d.r.choose(w.node.value, keys(d.transitionNames), "declare it under `transitions:`"), "there is no transition %q", clip(w.node.value))
		case i < 0: // it is faulty itself
		case !slices.ContainsFunc(d.transitions[i].from, func(n *node) bool { return n.value == string(w.mode) }):
			d.r.errorf(w.node, "name one whose `from` has "+string(w.mode), "%s does not lead out of %s", w.node.value, w.mode)
		case d.transitions[i].rule.Gate == nil:
			d.r.errorf(w.node, "give it an `approval`, or write `on_expiry: page`", "%s asks nobody: it would be taken though its condition does not hold", w.node.value)
		default:
			for m := range d.service.Policy.Modes {
				if d.service.Policy.Modes[m].Name == w.mode {
					d.service.Policy.Modes[m].OnExpiry = w.node.value
				}
			}
		}
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
