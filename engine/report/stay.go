package report

import (
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// sameStory is how far back a stay that encloses another one, or an incident, may have begun to be told with it. What began
// earlier is a story of its own, and is mentioned.
const sameStory = 24 * time.Hour

// visit is the time from leaving a mode until it is settled again.
type visit struct {
	home     engine.Mode
	from, to int // indexes of events; to is -1 while it lasts
}

// settled notes where a scope was.
type settled struct {
	at     time.Time
	mode   engine.Mode
	change engine.ChangeID // that published it
}

// past is a stream, gone through once.
type past struct {
	events []engine.Event
	visits []visit // in the order in which they began, so that one comes before those inside it
	modes  []settled
	cut    bool
}

// walk goes through a stream and notes which mode was left when, and when it was settled again. A recovery that was taken back ends
// nothing; a move to a further mode is inside the stay in the first. Where the beginning is cut off, the rules say whether the first
// change that is seen leads back: then the stay that it ends began before.
func walk(events []engine.Event, policies explain.Policies) *past {
	p := &past{events: events}
	f := explain.Begin(events)
	p.cut = f.Cut
	type level struct {
		mode  engine.Mode
		visit int // in p.visits, -1 for the lowest
	}
	var stack []level
	push := func(m engine.Mode, i int) {
		if len(stack) == 0 {
			stack = append(stack, level{m, -1})
			return
		}
		p.visits = append(p.visits, visit{home: stack[len(stack)-1].mode, from: i, to: -1})
		stack = append(stack, level{m, len(p.visits) - 1})
	}
	find := func(m engine.Mode) int { return slices.IndexFunc(stack, func(l level) bool { return l.mode == m }) }
	for i, e := range events {
		before := f.State.Target
		f.Apply(e)
		s := &f.State
		switch fact := e.Fact.(type) {
		case engine.ChangeStarted:
			if len(stack) == 0 {
				push(fact.From, i)
				p.modes = append(p.modes, settled{at: events[0].At, mode: fact.From})
			}
			if p.cut && len(stack) == 1 && stack[0].mode == fact.From && leadsBack(policies, e, fact) {
				stack = nil
				push(fact.To, 0)
				push(fact.From, 0)
			}
			if find(fact.To) < 0 {
				push(fact.To, i)
			}
		case engine.DirectivePublished:
			if s.Target != before {
				p.modes = append(p.modes, settled{e.At, s.Target, fact.Change})
				before = s.Target
			}
		case engine.ScopeRetired:
			for _, l := range stack {
				if l.visit >= 0 {
					p.visits[l.visit].to = i
				}
			}
			stack = nil
			continue
		}
		if s.Target != before {
			p.modes = append(p.modes, settled{at: e.At, mode: s.Target})
		}
		if s.Change != nil || s.Target == "" || s.Retired {
			continue
		}
		k := find(s.Target)
		if k < 0 {
			push(s.Target, i)
			continue
		}
		for _, l := range stack[k+1:] {
			p.visits[l.visit].to = i
		}
		stack = stack[:k+1]
	}
	return p
}

// leadsBack reports whether a change takes protection away, by the rules of its time.
func leadsBack(policies explain.Policies, e engine.Event, f engine.ChangeStarted) bool {
	texts := policies(e.Stream, e.Rules)
	if len(texts) == 0 {
		return false
	}
	rank := func(m engine.Mode) int {
		return slices.IndexFunc(texts[0].Modes, func(r engine.ModeRule) bool { return r.Name == m && !r.Beside })
	}
	from, to := rank(f.From), rank(f.To)
	return from >= 0 && to >= 0 && to < from
}

// around are the visits that event i belongs to, the innermost first.
func (p *past) around(i int) []visit {
	var list []visit
	for _, v := range slices.Backward(p.visits) {
		if v.from <= i && (v.to < 0 || v.to >= i) {
			list = append(list, v)
		}
	}
	return list
}

// index finds an event by its version; what is not there is -1.
func (p *past) index(v engine.Version) int {
	if len(p.events) == 0 || v < p.events[0].Version || v > p.events[len(p.events)-1].Version {
		return -1
	}
	return int(v - p.events[0].Version)
}

// decisionEnd is the index of the last event that was decided with event i.
func (p *past) decisionEnd(i int) int {
	for i+1 < len(p.events) && p.events[i+1].Cause.Given == nil && p.events[i+1].At.Equal(p.events[i].At) {
		i++
	}
	return i
}

// decisionBegin is the index of the first event that was decided with event i.
func (p *past) decisionBegin(i int) int {
	for i > 0 && p.events[i].Cause.Given == nil && p.events[i-1].At.Equal(p.events[i].At) {
		i--
	}
	return i
}

// bands are the modes between two instants.
func (p *past) bands(from, to time.Time) []Band {
	bands := []Band{}
	for i, m := range p.modes {
		b := Band{Mode: m.mode, From: m.at, To: to, Change: m.change}
		if i+1 < len(p.modes) {
			b.To = p.modes[i+1].at
		}
		if b.From.Before(from) {
			b.From = from
		}
		if b.To.After(to) {
			b.To = to
		}
		if b.From.Before(b.To) {
			bands = append(bands, b)
		}
	}
	return bands
}
