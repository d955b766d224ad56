package outline

import (
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// What became of an entry.
type What string

// The things that may become of an entry.
const (
	Added   What = "added"
	Changed What = "changed"
	Removed What = "removed"
)

// Mark says that a difference loosens something.
type Mark struct {
	Code string `json:"code"`
	Why  string `json:"why"`
}

// Difference is one thing that the new rules say otherwise.
type Difference struct {
	Scope    engine.Scope `json:"scope"`
	What     What         `json:"what"`
	Kind     Kind         `json:"kind"`
	Name     string       `json:"name"`
	Field    string       `json:"field,omitempty"` // empty: all of it
	Old      string       `json:"old,omitempty"`
	New      string       `json:"new,omitempty"`
	Position string       `json:"position,omitempty"` // in the new file; of what was removed, in the old one
	Loosens  []Mark       `json:"loosens,omitempty"`
}

// Compare says how the new rules of a scope differ from the old ones; nil stands for no rules. Equal digests, of what decides and
// of remarks, mean that nothing does.
func Compare(before, after *Service) []Difference {
	switch {
	case before == nil && after == nil, before != nil && after != nil && before.Digest == after.Digest && before.Remarks == after.Remarks:
		return nil
	case before == nil:
		e := after.Entry(KindService, string(after.Scope))
		d := Difference{Scope: after.Scope, What: Added, Kind: KindService, Name: string(after.Scope), New: sum(after)}
		if e != nil {
			d.Position = e.Position
		}
		return []Difference{d}
	case after == nil:
		e := before.Entry(KindService, string(before.Scope))
		d := Difference{Scope: before.Scope, What: Removed, Kind: KindService, Name: string(before.Scope), Old: sum(before)}
		if e != nil {
			d.Position = e.Position
		}
		d.Loosens = marks(&change{before: before, old: e, kind: KindService})
		return []Difference{d}
	}
	var out []Difference
	now := succession(before, after)
	none := change{before: before, after: after, renamed: now} // what all changes have in common
	add := func(c change, what What, e *Entry, field string, old, new_, position string) {
		out = append(out, Difference{Scope: after.Scope, What: what, Kind: e.Kind, Name: e.Name, Field: field, Old: old, New: new_, Position: position, Loosens: marks(&c)})
	}
	for i := range after.Entries {
		c := none
		is := &after.Entries[i]
		was := before.Entry(is.Kind, now.was(is))
		c.old, c.new, c.kind = was, is, is.Kind
		if was == nil {
			add(c, Added, is, "", "", is.Words(), is.Position)
			continue
		}
		if is.Kind == KindTransition && was.Name != is.Name {
			c := c
			c.key = "name"
			add(c, Changed, is, c.key, was.Name, is.Name, is.Position)
		}
		for _, key := range keys(was, is) {
			c := c
			c.was, c.is, c.key = now.field(was.Field(key)), is.Field(key), key
			if same(c.was, c.is) {
				continue
			}
			old, text, position := "", "", is.Position
			if c.was != nil {
				old = was.Field(key).Text
			}
			if c.is != nil {
				text = c.is.Text
				if c.is.Position != "" {
					position = c.is.Position
				}
			}
			add(c, Changed, is, key, old, text, position)
		}
	}
	for i := range before.Entries {
		c := none
		was := &before.Entries[i]
		if after.Entry(was.Kind, now.is(was)) == nil {
			c.old, c.kind = was, was.Kind
			add(c, Removed, was, "", was.Words(), "", was.Position)
		}
	}
	if len(out) == 0 {
		// The digests differ, so something does, and to stay silent would say that nothing did.
		out = append(out, Difference{Scope: after.Scope, What: Changed, Kind: KindService, Name: string(after.Scope), Field: "rules",
			Old: before.Digest.Short(), New: after.Digest.Short(), Loosens: []Mark{{"unnamed", "what differs has no name here, so that nobody can tell whether it is looser"}}})
	}
	return out
}

// Same reports whether two entries, of which either may be nil, decide the same: remarks may differ.
func Same(was, is *Entry) bool {
	if was == nil || is == nil {
		return was == is
	}
	return !slices.ContainsFunc(keys(was, is), func(key string) bool { return !remark(is.Kind, key) && !same(was.Field(key), is.Field(key)) })
}

// remark reports whether a field is among those that Service.Remarks covers.
func remark(kind Kind, key string) bool {
	switch kind {
	case KindService:
		return strings.HasPrefix(key, "flags.") || strings.HasPrefix(key, "allow.")
	case KindSLO:
		return key == "description"
	case KindMode:
		return key == "drill_every"
	}
	return false
}

// SameFlags reports whether two modes, of which either may be nil, tell instances the same.
func SameFlags(was, is *Entry) bool {
	tells := func(e *Entry) (out []string) {
		for i := range e.fields() {
			if f := &e.Fields[i]; strings.HasPrefix(f.Key, "flags.") || f.Key == "unavailable" {
				out = append(out, f.Key+" "+f.Text)
			}
		}
		return out
	}
	return slices.Equal(tells(was), tells(is))
}

// keys are those of two entries, in the order of the new one, and then what only the old one has.
func keys(was, is *Entry) (out []string) {
	for _, e := range []*Entry{is, was} {
		for i := range e.Fields {
			if !slices.Contains(out, e.Fields[i].Key) {
				out = append(out, e.Fields[i].Key)
			}
		}
	}
	return out
}

// same reports whether two fields mean the same.
func same(was, is *Field) bool {
	switch {
	case was == nil || is == nil:
		return was == is || is == nil && was.Order || was == nil && is.Order
	case is.Order:
		return slices.Equal(common(was.List, is.List), common(is.List, was.List))
	case is.Condition != nil && was.Condition != nil:
		return is.Condition.Shape == was.Condition.Shape && slices.EqualFunc(is.Condition.Numbers, was.Condition.Numbers,
			func(a, b Constant) bool { return a.Value == b.Value })
	case is.Number != nil && was.Number != nil && *is.Number == *was.Number:
		return true
	}
	return is.Text == was.Text || is.Meaning != "" && is.Meaning == was.Meaning
}

// common is what of a list is in the other too.
func common(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !slices.Contains(other, s) })
}

// sum says how much a service declares.
func sum(s *Service) string {
	var words []string
	for _, k := range []Kind{KindSLO, KindMode, KindTransition, KindAction} {
		var names []string
		for _, e := range s.of(k) {
			names = append(names, e.Name)
		}
		if len(names) > 0 {
			words = append(words, string(k)+"s "+strings.Join(names, ", "))
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, "; ")
}
