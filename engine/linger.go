package engine

import (
	"cmp"
	"fmt"
	"time"
)

// DefaultStuckAfter is how long a way out of a mode may stand open, beyond its `for`, before somebody is told.
const DefaultStuckAfter = 30 * time.Minute

// exit reports whether t takes protection away from the mode in force: it leads to a less restrictive one, or back from beside the
// others. What leads to more protection has its own page when it is withheld, of two modes beside the others nobody can say that
// either is the way out, and what a scope above asks for keeps many scopes at once: that is for the scope above to end.
func (d *decision) exit(t *Transition) bool {
	from, to := d.p.rank(d.s.Target), d.p.rank(t.To)
	return t.leaves(d.s.Target) && to >= 0 && (from < 0 || to < from) && d.beneath(t.To).Code == ""
}

// linger tells people of a mode that is not left although it could be for long: a degraded service that nobody needs degraded any
// more. Since when is the clock of the way out's condition, which outlasts restarts and which an unknown holds.
func (d *decision) linger(o *Observed) {
	if d.left != "" {
		return // what was observed was asked in another mode
	}
	m, _ := d.p.Mode(d.s.Target)
	after := cmp.Or(m.StuckAfter, d.p.StuckAfter, DefaultStuckAfter)
	var way *Transition
	open := false // some way out is, or may be
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if !d.exit(t) {
			continue
		}
		if t.For == 0 {
			d.clockExit(o, t)
		}
		seen := &o.Conditions[t.When]
		open = open || !seen.Asked || seen.Truth != False
		if held := d.s.clock(d.p.Conditions[t.When].Name).Held(o.Instant); way == nil && seen.Truth == True && held >= t.For+after {
			way = t
		}
	}
	switch i, told := d.s.Incident(IncidentStuckMode, string(m.Name)); {
	case told && !open:
		d.resolve(i, CodeNotReady, "no way out is open any more", nil)
	case told || way == nil || d.s.Change != nil:
	default:
		cond := &d.p.Conditions[way.When]
		held := d.s.clock(cond.Name).Held(o.Instant)
		why := d.keeps(way)
		d.open(Incident{Kind: IncidentStuckMode, Subject: string(m.Name), Severity: SeverityTicket},
			fmt.Sprintf("%s: in %s, though %s could lead to %s for %v: %s", d.p.Scope, m.Name, way.Name, way.To, held, why), way.Name,
			Reason{CodeStuckMode, fmt.Sprintf("%s is true for %v; %s", cond.Text, held, why)}, o.Conditions[way.When].Readings)
	}
}

// clockExit runs the clock of a way out that has no `for`: how long it has stood open is counted only while it does not start.
func (d *decision) clockExit(o *Observed, t *Transition) {
	cond, seen := &d.p.Conditions[t.When], &o.Conditions[t.When]
	if !seen.Asked {
		return
	}
	next, news := d.s.clock(cond.Name).tick(seen.Truth, o.Instant, o.Prev, &d.p)
	if news {
		next.Digest = cond.Digest
		d.emit(ConditionTurned{Clock: next}, CodeTruth, fmt.Sprintf("%s is %s", cond.Text, seen.Truth), seen.Readings)
	}
}

// keeps says what keeps a way out from being taken.
func (d *decision) keeps(t *Transition) string {
	if p, waits := d.s.proposal(t.Name); waits && len(p.missing()) > 0 {
		return fmt.Sprintf("%s waits for %s", p.ID, p.lack())
	} else if w, held := d.s.withheld(t.Name); waits && held {
		return w.Reason.Text
	}
	why := d.obstacle(t)
	if r, rests := d.s.rest(t.Name); why.Code == CodeRetryAfter && rests {
		return fmt.Sprintf("%s %s", r.ID, r.End)
	}
	return cmp.Or(why.Text, "it does not start")
}
