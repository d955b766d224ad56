package rules

import (
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// usualModes is how many modes people still tell apart at night.
const usualModes = 6

// lookAtModes finds modes that nothing leads to or out of. imposed are the modes that a scope above may impose here: those are entered
// without a transition, and left the same way.
func (d *draft) lookAtModes(imposed map[string]bool) {
	p := &d.service.Policy
	if len(p.Modes) > usualModes {
		d.r.as(CodeManyModes).warnf(d.modeNames[string(p.Modes[usualModes].Name)], "leave out what is another one with other flags, or make a service of its own of what shifts by itself",
			"%d modes are more than people tell apart at night", len(p.Modes))
	}
	if len(p.Transitions) == 0 {
		return // a service whose modes are set by hand
	}
	reached := map[engine.Mode]bool{p.Modes[0].Name: true}
	for m := range imposed {
		reached[engine.Mode(m)] = true
	}
	for again := true; again; {
		again = false
		for i := range p.Transitions {
			t := &p.Transitions[i]
			if !reached[t.To] && slices.ContainsFunc(t.From, func(m engine.Mode) bool { return reached[m] }) {
				reached[t.To], again = true, true
			}
		}
	}
	for i := 1; i < len(p.Modes); i++ {
		m := &p.Modes[i]
		at := d.modeNames[string(m.Name)]
		if !reached[m.Name] {
			d.r.as(CodeUnreachable).warnf(at, "declare a transition to it, or allow it: `allow: [{code: unreachable-mode, why: it is set by hand}]`",
				"no transitions lead from %s to %s", p.Modes[0].Name, m.Name)
			continue
		}
		stays, left := "", false
		for k := range p.Transitions {
			t := &p.Transitions[k]
			if _, ends := t.Until.Index(); t.To == m.Name && !ends && stays == "" {
				stays = t.Name
			}
			left = left || slices.Contains(t.From, m.Name)
		}
		switch {
		case stays == "" || m.MaxDuration > 0:
		case !left:
			d.r.as(CodeNoWayOut).warnf(at, "declare a transition out of it, or give "+stays+" an `until`, or the mode a `max_duration`",
				"nothing leads out of %s: once %s has entered it, it stays until somebody sets another mode", m.Name, stays)
		case !m.Beside:
			d.r.as(CodeNoMaxDuration).warnf(at, "write `max_duration: 4h`: then it is a page",
				"nobody is told when %s lasts too long: its way out may never come to be true", m.Name)
		}
	}
}
