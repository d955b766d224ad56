package rules

import (
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// reference is the mention of another scope in a condition.
type reference struct {
	scope engine.Scope
	mode  string // the mode it is compared with; empty for the mention itself
	node  *node  // the condition's text
	at    int    // in it
}

// references refuses what refers to a scope that does not load, until nothing new is refused.
func (l *loader) references() {
	known := map[engine.Scope]*draft{}
	var names []string
	for _, d := range l.drafts {
		if d.name() != "" {
			known[d.name()] = d
			names = append(names, string(d.name()))
		}
	}
	l.circles(known)
	told := map[reference]bool{}
	suggested := 0 // each costs a look at all names
	choose := func(d *draft, name string) string {
		if suggested++; suggested > maxDiagnostics {
			return ""
		}
		return d.r.choose(name, names, "")
	}
	refer := func(d *draft) {
		for _, ref := range d.service.references {
			other := known[ref.scope]
			whole := other != nil && (other == d || !other.bad) && other.modes != nil
			if told[ref] || d.circled && ref.node == d.parent || whole != (ref.mode != "") || ref.mode != "" && other.modeNames[ref.mode] != nil {
				continue
			}
			told[ref], d.bad = true, true
			say := func(code Code, hint, format string, args ...any) {
				d.r.as(code).within(ref.node, ref.at, hint, format, args...)
			}
			switch {
			case ref.mode != "":
				say(CodeUnknownName, d.r.choose(ref.mode, keys(other.modeNames), ""), "service %q has no mode %q", ref.scope, clip(ref.mode))
			case other == nil && len(l.unread) > 0:
				say(CodeBadReference, "mend the files that cannot be read first", "no file that can be read declares a service %q", ref.scope)
			case other == nil:
				say(CodeUnknownName, choose(d, string(ref.scope)), "no file declares a service %q", ref.scope)
			case other.bad:
				say(CodeBadReference, "mend that one first: what refers to a service loads together with it", "service %q does not load (%s)", ref.scope, other.service.File)
			default:
				say(CodeUnknownName, "", "service %q has no modes", ref.scope)
			}
		}
		if !d.bad && d.parent != nil {
			l.above(d, known)
		}
	}
	referring := map[*draft][]*draft{} // who refers to it
	for _, d := range l.drafts {
		for _, ref := range d.service.references {
			if other := known[ref.scope]; other != nil && other != d {
				referring[other] = append(referring[other], d)
			}
		}
	}
	for todo := slices.Clone(l.drafts); len(todo) > 0; {
		var next []*draft
		for _, d := range todo {
			was := d.bad
			d.survive(func() { refer(d) })
			if d.bad && !was {
				next = append(next, referring[d]...)
			}
		}
		todo = next
	}
}
