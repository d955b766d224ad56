package rules

import (
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// parentName reads the scope above in the tree.
func (d *draft) parentName(n *node) {
	name, ok := d.r.name(n, "the name of a service")
	if !ok {
		return
	}
	if name == string(engine.Fleet) {
		d.r.errorf(n, "name the service that stands above; one above all others is usually called global", "the fleet is no service")
		return
	}
	d.parent, d.service.Policy.Parent = n, engine.Scope(name)
	d.service.references = append(d.service.references, reference{scope: engine.Scope(name), node: n})
}

// imposes reads the least that a mode lets the scopes below be in. Whether they have it is checked with them.
func (d *draft) imposes(n *node) engine.Mode {
	name, _ := d.r.name(n, "the name of a mode")
	return engine.Mode(name)
}

// maxLevels bounds how far down a scope may stand.
const maxLevels = 20

// circles refuses the services that stand below themselves.
func (l *loader) circles(known map[engine.Scope]*draft) {
	for _, d := range l.drafts {
		path := []string{string(d.name())}
		up := d
		for up.parent != nil && len(path) <= maxLevels {
			name := up.service.Policy.Parent
			again := slices.Contains(path, string(name)) // it is a circle; d may stand below it rather than in it
			path = append(path, string(name))
			if up = known[name]; up == nil || again {
				break
			}
		}
		if up == d && len(path) > 1 {
			d.circled = true
			d.refuse(CodeCircle, d.parent, "remove the `parent` of one of them", "the services stand in a circle: %s", strings.Join(path, " → "))
		} else if len(path) > maxLevels && up != nil {
			d.circled = true
			d.refuse(CodeCircle, d.parent, "give it a parent further up: a service stands in a product, and that in one scope above all; or is it a circle?",
				"%q stands below more than %d others", d.name(), maxLevels-1)
		}
	}
}

// above refuses a service that lacks a mode which one above it imposes, and reports whether it did.
func (l *loader) above(d *draft, known map[engine.Scope]*draft) bool {
	p := &d.service.Policy
	for up := known[p.Parent]; up != nil && !up.bad; up = known[up.service.Policy.Parent] { // circles does not let it go on for ever
		for i := range up.service.Policy.Modes {
			m := &up.service.Policy.Modes[i]
			if m.Imposes == "" {
				continue
			}
			switch rule, has := p.Mode(m.Imposes); {
			case !has:
				d.refuse(CodeUnknownName, d.parent, d.r.choose(string(m.Imposes), keys(d.modeNames), "declare it here, or let the other impose one that is"),
					"%q imposes mode %q in %s, and %q has no such mode", up.name(), m.Imposes, m.Name, p.Scope)
				return true
			case rule.Beside:
				d.refuse(CodeInvalidValue, d.parent, "let it impose a mode that has a rank", "%q imposes mode %q in %s, which stands beside the others in %q: it is neither more nor less than another",
					up.name(), m.Imposes, m.Name, p.Scope)
				return true
			}
		}
	}
	return false
}
