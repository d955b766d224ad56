package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// withheld tells what kept transitions of the story from starting, and for how long.
func (m *maker) withheld(a *Answer) {
	type kept struct {
		since engine.Event
		why   string
	}
	open := map[string]kept{}
	order := []string{}
	end := func(name string, at time.Time, by ...Ref) {
		k := open[name]
		a.say("", fmt.Sprintf("%s was ready and withheld for %s: %s", name, between(k.since.At, at), k.why), append([]Ref{m.ref(k.since)}, by...)...)
		delete(open, name)
		order = slices.DeleteFunc(order, func(o string) bool { return o == name })
	}
	for _, e := range m.story() {
		switch f := e.Fact.(type) {
		case engine.TransitionWithheld:
			if _, is := open[f.Transition]; is {
				end(f.Transition, e.At, m.ref(e))
			}
			open[f.Transition] = kept{e, explain.Why(e.Reason)}
			order = append(order, f.Transition)
		case engine.WithholdingEnded:
			if _, is := open[f.Transition]; is {
				end(f.Transition, e.At, m.ref(e))
			}
		}
	}
	until := cmp.Or(m.r.Ended, m.r.Made)
	for _, name := range slices.Clone(order) {
		end(name, until)
	}
}

// takenBack is how a change was taken back; zero: it was not.
type takenBack struct {
	why   string
	by    string // who asked for it; empty: automation
	until bool   // because the rules say for how long it is meant to last
}

// mark says what it says of the change that it was taken back. That somebody no longer wanted it may mean that it was a mistake, or that
// it had done its work: no log can tell.
func (b takenBack) mark() Mark {
	switch {
	case b == takenBack{} || b.until:
		return ""
	case b.by != "":
		return Unclear
	}
	return Bad
}

// undone says how a change was taken back.
func (m *maker) undone(x explain.Explanation) (b takenBack) {
	for _, moment := range x.Timeline {
		i := m.past.index(moment.Version)
		if i < 0 {
			continue
		}
		e := m.past.events[i]
		if f, ok := e.Fact.(engine.UndoStarted); ok && f.Change == x.Change {
			b = takenBack{explain.Why(e.Reason), f.Person, e.Reason.Code == engine.CodeUntil}
		}
	}
	return b
}

// last names the last event of a change's life.
func (m *maker) last(x explain.Explanation) Ref {
	return Ref(fmt.Sprintf("%s/%d", x.Scope, x.Timeline[len(x.Timeline)-1].Version))
}

// kind names the events of some kinds in the story.
func (m *maker) kind(kinds ...string) []Ref {
	refs := []Ref{}
	for _, e := range m.story() {
		if slices.Contains(kinds, e.Kind()) {
			refs = append(refs, m.ref(e))
		}
	}
	return refs
}

// kindOf names those in the life of a change.
func (m *maker) kindOf(x explain.Explanation, kinds ...string) []Ref {
	refs := []Ref{}
	for _, moment := range x.Timeline {
		if slices.Contains(kinds, moment.Event) {
			refs = append(refs, Ref(fmt.Sprintf("%s/%d", x.Scope, moment.Version)))
		}
	}
	return refs
}
