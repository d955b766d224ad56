package rules

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// flagType is what a flag's values are, and where that was first seen.
type flagType struct {
	name string
	node *node
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
		may("flags", func(n *node) { m.Flags = d.flags(n) }),
		may("min_duration", func(n *node) { least = n; m.MinDuration, _ = r.duration(n, "min_duration") }),
		may("max_duration", func(n *node) { most = n; m.MaxDuration, _ = r.duration(n, "max_duration") }),
		may("on_expiry", func(n *node) { d.onExpiry(n) }))
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
		if k.value == "mode" {
			r.errorf(k, "choose another name", "no flag may be called `mode`: clients read the mode itself under that name")
			continue
		}
		if !nameShape.MatchString(k.value) || len(k.value) > maxName {
			r.errorf(k, "use letters, digits, '-', '_' and '.'", "%q cannot be the name of a flag", clip(k.value))
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
			d.flagTypes[k.value] = flagType{kind, n.items[i]}
		} else if first.name != kind {
			r.errorf(n.items[i], "give it one type in all modes, or clients fail to read it when the mode shifts",
				"flag %s is a %s here and a %s on line %d", k.value, kind, first.name, first.node.line)
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

// transitionDraft is a transition whose names are looked up when all of the document has been read.
type transitionDraft struct {
	rule engine.Transition
	node *node
	from []*node
	to   *node
	when *node
}

func (d *draft) transition(n *node) {
	r := d.r
	t := transitionDraft{node: n, rule: engine.Transition{Severity: engine.SeverityInfo, Position: r.position(n)}}
	r.mapping(n, "a transition",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of a transition"); ok && r.unique(d.transitionNames, n, "transition", name) {
				t.rule.Name = name
			}
		}),
		need("from", func(n *node) {
			if n.kind == yaml.ScalarNode {
				r.errorf(n, fmt.Sprintf("write `from: [%s]`", clip(n.value)), "from must be a list of modes, not %s", n.is())
				return
			}
			r.list(n, "from", func(n *node) { t.from = append(t.from, n) })
			if len(n.items) == 0 {
				r.errorf(n, "name the modes it starts from", "from is empty")
			}
		}),
		need("to", func(n *node) { t.to = n }),
		need("when", func(n *node) { t.when = n }),
		may("for", func(n *node) {
			if n.kind == yaml.ScalarNode && (n.value == "0" || n.value == "0s") {
				return
			}
			t.rule.For, _ = r.duration(n, "for")
		}),
		may("severity", func(n *node) {
			v, ok := r.text(n, "severity")
			switch t.rule.Severity = engine.Severity(v); {
			case !ok:
			case !slices.Contains([]engine.Severity{engine.SeverityInfo, engine.SeverityTicket, engine.SeverityPage}, t.rule.Severity):
				r.errorf(n, r.choose(v, []string{"info", "ticket", "page"}, ""), "severity cannot be %q", clip(v))
			}
		}))
	if n.kind == yaml.MappingNode {
		d.transitions = append(d.transitions, t)
	}
}

// conditions compiles what the SLOs' tiers and the transitions ask for, now that everything they can name is known.
func (d *draft) conditions() {
	p := &d.service.Policy
	for i := range d.service.SLOs {
		s := &d.service.SLOs[i]
		for k := range s.Tiers {
			tier := &s.Tiers[k]
			c := alertCondition(s, tier)
			p.Alerts = append(p.Alerts, engine.Alert{SLO: s.Name, Severity: tier.Severity, Name: tier.Name, Condition: len(p.Conditions),
				Labels: tier.Labels, Notes: tier.Annotations})
			d.add(c, cadence(tier, d.opts.Interval))
		}
	}
	for i := range d.transitions {
		t := &d.transitions[i]
		for _, n := range t.from {
			if m, ok := d.modeOf(n); ok {
				if slices.Contains(t.rule.From, m) {
					d.r.errorf(n, "", "mode %q is in `from` twice", m)
					continue
				}
				t.rule.From = append(t.rule.From, m)
			}
		}
		if t.to != nil {
			if m, ok := d.modeOf(t.to); ok {
				t.rule.To = m
				if k := slices.Index(t.rule.From, m); k >= 0 {
					d.r.errorf(t.to, "remove it from `from`", "the transition leads from %q to itself", m)
				}
			}
		}
		if t.when == nil {
			continue
		}
		c, ok := d.compile(t.when, t.rule.Name+".when")
		if !ok || t.rule.Name == "" {
			continue
		}
		t.rule.When = len(p.Conditions)
		for k := range p.Alerts {
			if slices.Contains(c.burning, burningRef{p.Alerts[k].SLO, p.Alerts[k].Severity}) {
				t.rule.Alerts = append(t.rule.Alerts, k)
			}
		}
		d.service.references = append(d.service.references, c.references...)
		d.add(c, 0)
		p.Transitions = append(p.Transitions, t.rule)
	}
}

func (d *draft) add(c *Condition, every time.Duration) {
	p := &d.service.Policy
	p.Conditions = append(p.Conditions, engine.Condition{Name: c.Name, Text: c.Text, Every: every})
	d.service.Conditions = append(d.service.Conditions, c)
	for _, s := range c.signals {
		if s.Kind == SignalAlert && !slices.Contains(d.service.Alerts, s.Name) {
			d.service.Alerts = append(d.service.Alerts, s.Name)
		}
	}
	slices.Sort(d.service.Alerts)
}

// modeOf reads the name of a declared mode.
func (d *draft) modeOf(n *node) (engine.Mode, bool) {
	name, ok := d.r.text(n, "a mode")
	if !ok {
		return "", false
	}
	if d.modeNames[name] == nil {
		d.r.errorf(n, d.r.choose(name, keys(d.modeNames), "declare `modes:`, from the least to the most restrictive"), "there is no mode %q", clip(name))
		return "", false
	}
	return engine.Mode(name), true
}

func keys(m map[string]*node) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// cadence is how often a tier is decided: a page at every tick, a ticket every sixtieth of its shortest short window, at a
// multiple of the interval; 0 is every tick.
func cadence(t *Tier, interval time.Duration) time.Duration {
	if t.Severity == engine.SeverityPage || len(t.Windows) == 0 {
		return 0
	}
	short := t.Windows[0].Short
	for _, w := range t.Windows {
		short = min(short, w.Short)
	}
	every := (short / 60).Truncate(interval)
	if every <= interval {
		return 0
	}
	return every
}
