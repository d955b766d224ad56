package rules

import (
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

const (
	// maxWithin bounds how long a gate waits: who says yes has to know what the service is like when it starts.
	maxWithin = 24 * time.Hour
	// maxCount bounds the people of a group: a gate nobody can satisfy protects nothing.
	maxCount = 20
)

// gate reads who has to say yes.
func (d *draft) gate(n *node) *engine.Gate {
	r := d.r
	g := engine.Gate{Otherwise: engine.OtherwiseDeny}
	before := r.faults
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `approval: {groups: [{role: oncall, count: 1}], within: 15m}`", "an approval must be a mapping, not %s", n.is())
		return nil
	}
	r.mapping(n, "an approval",
		may("groups", func(n *node) { g.Groups = d.groups(n, "groups") }),
		may("within", func(n *node) {
			var ok bool
			if g.Within, ok = r.duration(n, "within"); ok && g.Within > maxWithin {
				r.errorf(n, "a proposal that is still wanted is made again", "within is %s, and may be at most %s", model.Duration(g.Within), model.Duration(maxWithin))
			}
		}),
		may("otherwise", func(n *node) {
			v, ok := r.text(n, "otherwise")
			switch g.Otherwise = engine.Otherwise(v); {
			case !ok, g.Otherwise == engine.OtherwiseDeny, g.Otherwise == engine.OtherwisePage, g.Otherwise == engine.OtherwiseEscalate:
			default:
				hint := r.didYouMean(v, []string{string(engine.OtherwiseDeny), string(engine.OtherwisePage), string(engine.OtherwiseEscalate)})
				if hint == "" {
					hint = "write deny, page or escalate: a gate never says yes by itself"
				}
				r.errorf(n, hint, "otherwise cannot be %q", clip(v))
			}
		}),
		may("to", func(n *node) { g.To = d.groups(n, "to") }))
	if n.get("groups") == nil {
		r.as(CodeMissingKey).errorf(n, "say who: `groups: [{role: oncall, count: 1}]`", "an approval needs %q", "groups")
	}
	if n.get("within") == nil {
		r.as(CodeMissingKey).errorf(n, "say how long they have: `within: 15m`", "an approval needs %q", "within")
	}
	to, escalates := n.keyNode("to"), g.Otherwise == engine.OtherwiseEscalate
	switch {
	case escalates && to == nil:
		r.as(CodeMissingKey).errorf(n.get("otherwise"), "say whom: `to: [{role: incident-commander, count: 1}]`", "otherwise: escalate needs %q", "to")
	case !escalates && to != nil && r.faults == before:
		r.errorf(to, "write `otherwise: escalate`, or remove it", "to says whom to escalate to, and otherwise is %s", g.Otherwise)
	case escalates && r.faults == before && !further(g):
		// With such a list those who said yes before would be enough once the time is over, and silence would be a yes.
		r.errorf(n.get("to"), "name a role that is not asked yet, or more people of one that is", "`to` asks nobody who is not asked already")
	}
	if r.faults > before {
		return nil
	}
	return &g
}

// further reports whether escalating asks for somebody more than the groups did.
func further(g engine.Gate) bool {
	asked := map[string]int{}
	for _, group := range g.Groups {
		asked[group.Role] = group.Count
	}
	for _, group := range g.To {
		if group.Count > asked[group.Role] {
			return true
		}
	}
	return false
}

// groups reads a list of groups, each of another role.
func (d *draft) groups(n *node, what string) []engine.Group {
	r := d.r
	var out []engine.Group
	seen := map[string]*node{}
	r.list(n, what, func(n *node) {
		g := engine.Group{Count: 1}
		if n.kind != yaml.MappingNode {
			r.errorf(n, "write `{role: oncall, count: 1}`", "a group must be a mapping, not %s", n.is())
			return
		}
		r.mapping(n, "a group",
			need("role", func(n *node) {
				name, ok := r.name(n, "a role")
				switch first := seen[name]; {
				case !ok:
				case first != nil:
					r.as(CodeDuplicateName).errorf(n, "name each role once, and give the number of people as its count", "role %q is in %s on line %d already", name, what, first.line)
				default:
					seen[name], g.Role = n, name
				}
			}),
			may("count", func(n *node) { g.Count = r.integer(n, "count", 1, maxCount) }))
		out = append(out, g)
	})
	if n.kind == yaml.SequenceNode && len(n.items) == 0 {
		r.errorf(n, "write `[{role: oncall, count: 1}]`", "%s is empty", what)
	}
	return out
}
