package readiness

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Tells reports whether an event says something of how modes are entered and left. The others need not be kept for Records.
func Tells(e engine.Event) bool {
	switch e.Fact.(type) {
	case engine.ScopeAdded, engine.ChangeStarted, engine.DirectivePublished, engine.ChangeDone, engine.UndoStarted, engine.ChangeUndone, engine.ChangeSettled:
		return true
	}
	return false
}

// Records says of each mode of a policy but the first how it was left last, out of a scope's events, the oldest first. They may begin
// anywhere: a stay whose beginning is not among them has no Entered.
func Records(p *engine.Policy, events []engine.Event) []Record {
	records := []Record{}
	at := map[engine.Mode]int{}
	for i := 1; i < len(p.Modes); i++ {
		at[p.Modes[i].Name] = len(records)
		records = append(records, Record{Mode: p.Modes[i].Name})
	}
	var f fold
	for _, e := range events {
		mode, over := f.apply(e)
		i, declared := at[mode]
		if over == nil || !declared {
			continue
		}
		records[i].Last = over
		if over.drill(p, mode) {
			records[i].Drill = over
		}
	}
	return records
}

// drill reports whether a stay ended by the mode's own way back: what was used is what automation would use. To go on to what
// protects more is no way back.
func (s *Stay) drill(p *engine.Policy, mode engine.Mode) bool {
	return (s.Ended == EndedDone || s.Ended == EndedUntil) && !p.MoreRestrictive(mode, s.To)
}

// fold follows the settled mode of a scope.
type fold struct {
	mode    engine.Mode // empty: not known yet
	entered time.Time
	in      string

	published engine.Mode
	change    *underWay
}

// underWay is the change under way, or the undo of one that was done.
type underWay struct {
	id      engine.ChangeID
	from    engine.Mode
	out     string // the transition; empty: a directive only
	back    Ended  // how it ends when it is undone; empty: it had not settled, so that nothing was left
	above   bool   // it comes of a scope above
	settled bool
}

// apply folds an event, and returns the stay that ended with it, if one did.
func (s *fold) apply(e engine.Event) (engine.Mode, *Stay) {
	switch f := e.Fact.(type) {
	case engine.ScopeAdded:
		s.mode, s.published, s.entered = f.Mode, f.Mode, e.At
	case engine.ChangeStarted:
		s.change = &underWay{id: f.Change, from: f.From, out: f.Transition, above: f.Imposed != "" || f.Returns}
	case engine.DirectivePublished:
		s.published = f.Directive.Mode
	case engine.UndoStarted:
		if s.change == nil || s.change.id != f.Change { // it is the last one that is done
			s.change = &underWay{id: f.Change, back: EndedUndone}
			if e.Reason.Code == engine.CodeUntil {
				s.change.back = EndedUntil
			}
		}
	case engine.ChangeSettled:
		if s.change != nil {
			s.change.settled = true
		}
	case engine.ChangeDone:
		return s.settle(e, EndedDone)
	case engine.ChangeUndone:
		return s.settle(e, EndedUndone)
	}
	return "", nil
}

// settle ends the change under way at the mode that is published.
func (s *fold) settle(e engine.Event, ended Ended) (left engine.Mode, over *Stay) {
	c := s.change
	if c == nil { // it began before the first event
		c = &underWay{}
		ended = EndedSettled
	}
	s.change = nil
	if s.published == "" { // so did what it published
		return "", nil
	}
	out := c.out
	switch {
	case c.settled:
		ended = EndedSettled
	case ended == EndedDone && c.above:
		ended = EndedAbove
	case ended == EndedDone && out == "" && c.id != "":
		ended = EndedDirective
	case ended == EndedUndone && c.back != "":
		ended, out = c.back, s.in
	}
	if s.mode == "" {
		s.mode = c.from
	}
	if left = s.mode; left != s.published {
		over = &Stay{Entered: s.entered, Left: e.At, To: s.published, In: s.in, Out: out, Ended: ended}
		s.mode, s.entered, s.in = s.published, e.At, c.out
	}
	return left, over
}
