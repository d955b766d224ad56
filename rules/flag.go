package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// Flag is what a file says of a flag beside the values that its modes give it: whose it is, and when it has to go. A flag that
// nobody looks after is a switch that nobody knows to work when it is needed.
type Flag struct {
	Name        string
	Description string
	Owner       string    // empty: the service's
	Level       int       // 1 is most critical, 5 least; 0: not said
	Expires     time.Time // the day after which it should be gone, at 00:00 UTC; zero: not said
	Tested      time.Time // the last day on which somebody saw it work, at 00:00 UTC; zero: never
	Saves       string    // what switching it saves, for people
	Position    string    // file:line:column
}

// TestedFor is for how long a test of a flag counts.
const TestedFor = 90 * 24 * time.Hour

// Expired reports whether the flag's last day is over. A flag is good for all of that day, everywhere on Earth: the day is over
// at noon UTC of the next one.
func (f *Flag) Expired(now time.Time) bool {
	return !f.Expires.IsZero() && !now.Before(f.Expires.Add(36*time.Hour))
}

// Untested reports whether nobody has seen the flag work for TestedFor.
func (f *Flag) Untested(now time.Time) bool {
	return f.Tested.IsZero() || now.Sub(f.Tested) > TestedFor
}

// Flag finds a declaration by name; nil when there is none.
func (s *Service) Flag(name string) *Flag {
	for i := range s.Flags {
		if s.Flags[i].Name == name {
			return &s.Flags[i]
		}
	}
	return nil
}

const day = "2006-01-02"

// declarations reads what a file says of its flags.
func (d *draft) declarations(n *node) {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `flags: {recommendations: {owner: team-shop, expires: 2027-03-01, tested: 2026-11-01, level: 3}}`",
			"flags must be a mapping, not %s", n.is())
		return
	}
	d.declared = n
	for i, k := range n.keys {
		if !r.flagName(k) {
			continue
		}
		f := Flag{Name: k.value, Position: r.position(k)}
		r.mapping(n.items[i], "the declaration of a flag",
			may("description", r.setText(&f.Description, "the description")),
			may("owner", r.setText(&f.Owner, "the owner")),
			may("level", func(n *node) { f.Level = r.integer(n, "level", 1, 5) }),
			may("expires", func(n *node) { f.Expires = r.day(n, "expires") }),
			may("tested", func(n *node) { f.Tested = r.day(n, "tested") }),
			may("saves", r.setText(&f.Saves, "saves")))
		d.service.Flags = append(d.service.Flags, f)
	}
}

// flagName checks the name of a flag.
func (r *reader) flagName(k *node) bool {
	switch {
	case k.value == "mode":
		r.errorf(k, "choose another name", "no flag may be called `mode`: clients read the mode itself under that name")
	case !nameShape.MatchString(k.value) || len(k.value) > maxName:
		r.errorf(k, "use letters, digits, '-', '_' and '.'", "%q cannot be the name of a flag", clip(k.value))
	default:
		return true
	}
	return false
}

// day reads a date; zero when it is not one.
func (r *reader) day(n *node, what string) time.Time {
	if n.kind == yaml.ScalarNode && (n.tag == "!!timestamp" || n.tag == "!!str") {
		if t, err := time.Parse(day, n.value); err == nil && t.Year() >= 2000 {
			return t
		}
	}
	r.errorf(n, "write year, month and day: 2027-03-01", "%s must be a day, not %s", what, n.is())
	return time.Time{}
}

// flagDoubts warns of flags that nobody looks after. What depends on the day is said only where Options tell it.
func (d *draft) flagDoubts() {
	r, now := d.r, d.opts.Now
	if d.declared == nil || len(d.declared.keys) == 0 {
		return
	}
	set := slices.Sorted(maps.Keys(d.flagTypes))
	declared := make([]string, len(d.service.Flags))
	for i := range d.service.Flags {
		f := &d.service.Flags[i]
		declared[i] = f.Name
		key, at := d.declared.keyNode(f.Name), d.declared.get(f.Name)
		if !slices.Contains(set, f.Name) {
			r.as(CodeFlagUnset).warnf(key, cmp.Or(r.didYouMean(f.Name, set), "set it under `flags:` of a mode, or remove it here"), "no mode sets the flag %s", f.Name)
		}
		if now.IsZero() {
			continue
		}
		owner := cmp.Or(f.Owner, d.service.Policy.Owner, "its owner")
		if f.Expired(now) {
			r.as(CodeFlagExpired).warnf(at.get("expires").or(key), fmt.Sprintf("remove it and what it switches, or let %s set another day", owner), "the flag %s was to be gone after %s", f.Name, f.Expires.Format(day))
		}
		again := fmt.Sprintf("shift to a mode that sets it, see that it works, and write `tested: %s`", now.UTC().Format(day))
		switch {
		case f.Tested.IsZero():
			r.as(CodeFlagUntested).warnf(key, again, "nobody says when the flag %s was tested last", f.Name)
		case f.Tested.Sub(now) > 24*time.Hour: // it may be tomorrow already where they are
			r.as(CodeFlagUntested).warnf(at.get("tested").or(key), "write the day on which somebody saw it work", "the flag %s was tested on %s, and that day has not come", f.Name, f.Tested.Format(day))
		case f.Untested(now):
			r.as(CodeFlagUntested).warnf(at.get("tested").or(key), again, "the flag %s was tested last on %s, %d days ago", f.Name, f.Tested.Format(day), int(now.Sub(f.Tested)/(24*time.Hour)))
		}
	}
	for _, name := range set {
		if !slices.Contains(declared, name) {
			r.as(CodeFlagUndeclared).warnf(d.flagTypes[name].key, cmp.Or(r.didYouMean(name, declared), fmt.Sprintf("write under `flags:` at the top: %s: {owner: …, expires: …, tested: …}", name)),
				"the flag %s is not declared, and others are", name)
		}
	}
}

// flagTypes refuses a file whose flags are of another type than those that are in force. A client asks for a flag of a type that
// is built into it: it would get its own default in place of what the mode says, and nobody would hear of it.
func (l *loader) flagTypes(d *draft) {
	last := l.last.Service(d.name())
	if last == nil {
		return
	}
	before := map[string]string{}
	for i := range last.Policy.Modes {
		for name, value := range last.Policy.Modes[i].Flags {
			before[name] = flagKind(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.flagTypes)) {
		if was, is := before[name], d.flagTypes[name]; was != "" && was != is.name {
			d.refuse(CodeFlagType, is.node, "clients ask for it as what it was: give the new value a name of its own, or load a file without the flag first",
				"flag %s is %s here, and %s in the rules in force", name, article(is.name), article(was))
		}
	}
}

// flagKind is what a flag's value is, in the words of OpenFeature.
func flagKind(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	}
	return "object"
}

func article(kind string) string {
	if kind == "object" || kind == "int" {
		return "an " + kind
	}
	return "a " + kind
}

// FlagKind is what the values of a flag are in a scope's modes: boolean, number, string or object; empty when no mode sets it.
func FlagKind(p *engine.Policy, name string) string {
	for i := range p.Modes {
		if v, ok := p.Modes[i].Flags[name]; ok {
			return flagKind(v)
		}
	}
	return ""
}
