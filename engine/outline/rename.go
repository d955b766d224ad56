package outline

import (
	"cmp"
	"slices"
	"strings"
)

// renames are transitions that have another name now, old name to new name. A transition that leads to the same mode, from one it
// started from, under a condition of the same form, is the same one, whatever it is called: else a name would be enough to get rid
// of all that was said of it, and nobody would read what became of its gate, its waves and its undo.
type renames map[string]string

// succession finds the transitions that have another name. Where several may be meant, the one whose condition has the same numbers
// too, and of these the one that stands first.
func succession(before, after *Service) renames {
	out := renames{}
	var gone, come []*Entry
	for _, t := range before.of(KindTransition) {
		if after.Entry(KindTransition, t.Name) == nil {
			gone = append(gone, t)
		}
	}
	for _, t := range after.of(KindTransition) {
		if before.Entry(KindTransition, t.Name) == nil {
			come = append(come, t)
		}
	}
	alike := func(was, is *Entry) bool {
		a, b := was.Field("when"), is.Field("when")
		return a != nil && b != nil && a.Condition != nil && b.Condition != nil && a.Condition.Shape == b.Condition.Shape
	}
	equal := func(was, is *Entry) bool { return alike(was, is) && same(was.Field("when"), is.Field("when")) }
	for _, fits := range []func(was, is *Entry) bool{equal, alike} {
		come = slices.DeleteFunc(come, func(is *Entry) bool {
			i := slices.IndexFunc(gone, func(was *Entry) bool { return sameWay(was, is) && fits(was, is) })
			if i >= 0 {
				out[gone[i].Name] = is.Name
				gone = slices.Delete(gone, i, i+1)
			}
			return i >= 0
		})
	}
	return out
}

// sameWay reports whether two transitions lead to one mode, from one at least that both start from.
func sameWay(a, b *Entry) bool {
	return a.Text("to") == b.Text("to") && len(common(a.List("from"), b.List("from"))) > 0
}

// is is the name that an old entry has in the new rules, if it is there at all; was is the way back.
func (r renames) is(old *Entry) string {
	return r.in(old, func(name string) string { return cmp.Or(r[name], name) })
}

func (r renames) was(entry *Entry) string {
	return r.in(entry, func(name string) string {
		for old, is := range r {
			if is == name {
				return old
			}
		}
		return name
	})
}

// transition finds what a new transition was before; nil when it was not there.
func (r renames) transition(before *Service, name string) *Entry {
	return before.Entry(KindTransition, r.was(&Entry{Kind: KindTransition, Name: name}))
}

// in finds the name of a transition in that of an entry.
func (renames) in(e *Entry, other func(string) string) string {
	switch e.Kind {
	case KindTransition:
		return other(e.Name)
	case KindAction:
		transition, step, _ := strings.Cut(e.Name, "/")
		return other(transition) + "/" + step
	}
	return e.Name
}

// field is an old field as it reads with the new names.
func (r renames) field(f *Field) *Field {
	if f == nil || len(r) == 0 {
		return f
	}
	out := *f
	switch f.Key {
	case "transitions":
		out.List = slices.Clone(f.List)
		for i, name := range f.List {
			out.List[i] = cmp.Or(r[name], name)
		}
	case "on_expiry":
		if name, proposes := strings.CutPrefix(f.Text, "propose "); proposes {
			out.Text = "propose " + cmp.Or(r[name], name)
		}
	}
	return &out
}
