package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/explain"
)

// times answers how long each transition took.
func (m *maker) times() Answer {
	a := Answer{Question: askTimes}
	for _, c := range m.r.Changes {
		x := m.told[c.ID]
		var parts []string
		add := func(text string, d time.Duration) { parts = append(parts, text+" "+explain.Lasted(d)) }
		if !c.Proposed.IsZero() {
			add("waited for people", cmp.Or(c.Started, c.Ended, m.r.Made).Sub(c.Proposed))
		}
		switch d := c.Published.Sub(c.Started); {
		case c.Published.IsZero():
		case d == 0:
			parts = append(parts, "told instances at once")
		default:
			add("told instances after", d)
		}
		if !c.Applied.IsZero() {
			add(fmt.Sprintf("in force at %d instances after", c.Acked), c.Applied.Sub(c.Started))
		}
		if n := len(c.Waves); n > 0 {
			held := Seconds(0)
			for _, w := range c.Waves {
				held += w.Held
			}
			text := plural(n, "wave")
			if held > 0 {
				text += ", held for " + explain.Lasted(held.Duration())
			}
			parts = append(parts, text)
		}
		for _, s := range x.Steps {
			name := s.Step
			if s.Undo {
				name = "undo of " + name
			}
			add(name, s.Took.Duration())
		}
		if !c.Started.IsZero() {
			switch {
			case !c.Ended.IsZero():
				add(string(c.Outcome)+" after", c.Ended.Sub(c.Started))
			default:
				parts = append(parts, fmt.Sprintf("%s, %s after its start", c.Outcome, between(c.Started, m.r.Made)))
			}
		}
		a.say("", fmt.Sprintf("%s (%s → %s): %s", c.ID, c.From, c.To, strings.Join(parts, "; ")), c.Event)
	}
	c := m.asked()
	switch {
	case !c.Started.IsZero() && !c.Ended.IsZero():
		a.Short = fmt.Sprintf("%s from its start until it was %s", between(c.Started, c.Ended), c.Outcome)
	case !c.Started.IsZero():
		a.Short = fmt.Sprintf("It is %s, %s after its start", c.Outcome, between(c.Started, m.r.Made))
	default:
		a.Short = "It did not start"
	}
	if !m.r.Left.IsZero() {
		if m.r.Open {
			a.Short += fmt.Sprintf("; %s has been out of %s for %s", m.r.Scope, m.r.Home, between(m.r.Left, m.r.Made))
		} else {
			a.Short += fmt.Sprintf("; %s was out of %s for %s", m.r.Scope, m.r.Home, between(m.r.Left, m.r.Ended))
		}
	}
	a.Short += "."
	return a
}
