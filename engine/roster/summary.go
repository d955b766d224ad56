package roster

import (
	"cmp"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// counts reports whether a change waits for the instance: it is connected, or has been gone for less than the grace time.
func (m *member) counts(rules engine.InstanceRules, now time.Time) bool {
	return m.Connected() || now.Sub(m.Left) < cmp.Or(rules.Grace, engine.DefaultGrace)
}

// Summary says how the instances of a scope follow at an instant, in the state the core is going to decide in. That state may be
// ahead of what was followed.
func (r *Roster) Summary(s engine.State, at time.Time) engine.Instances {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[s.Scope]
	if c == nil || len(c.members) == 0 {
		return engine.Instances{}
	}
	return c.summary(s, at)
}

func (c *crew) summary(s engine.State, at time.Time) engine.Instances {
	in := engine.Instances{Revision: s.Directive.Revision}
	waves := s.Change != nil && s.Change.Before != nil
	if s.Change != nil {
		in.Wave = s.Change.Wave
	}
	if waves && (c.change != s.Change.ID || c.ranks == nil) {
		in.Revision = 0 // nobody is told before it is known who: there is nothing to be said of this directive yet
	}
	grace := cmp.Or(c.rules.Grace, engine.DefaultGrace)
	newest := s.Directive.Position()
	for name, m := range c.members {
		counts := m.counts(c.rules, at)
		stale := !m.Behind.IsZero() && at.Sub(m.Behind) >= grace && (m.Connected() || m.Silent)
		if !counts && !stale {
			continue
		}
		in.Known++
		told := in.Revision > 0
		if told && waves {
			rank, known := c.ranks[name]
			told = known && rank < s.Change.Waved
		}
		if counts && told {
			in.Told++
			switch {
			case m.Report.Position != newest:
			case m.Report.Outcome == engine.OutcomeDone:
				in.Applied++
			case m.Report.Outcome == engine.OutcomeFailed:
				in.Failed++
			}
		}
		if stale {
			in.Behind++
			if in.Since.IsZero() || m.Behind.Before(in.Since) {
				in.Since = m.Behind
			}
		}
	}
	if in.Known == 0 {
		return engine.Instances{}
	}
	return in
}

// awaited reports whether the core waits for what the instances have come to: enough of them have applied a directive, or cannot,
// or do not diverge any more. What is only a matter of time it sees at its next tick.
func (c *crew) awaited(now time.Time) bool {
	in := c.summary(c.state, now)
	if _, open := c.state.Incident(engine.IncidentDivergence, string(c.state.Scope)); open && !c.rules.Diverges(in.Behind, in.Known) {
		return true
	}
	ch := c.state.Change
	if ch == nil || !ch.Published || ch.Rolled || ch.Undoing || ch.Applied != nil {
		return false
	}
	need := c.rules.Need(in.Told)
	return in.Known == 0 || in.Told == 0 || in.Applied >= need || in.Told-in.Failed < need
}
