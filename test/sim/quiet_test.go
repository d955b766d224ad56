package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// What the checks know of who may be quiet about an SLO that burns, and for how long.

// drawQuiet draws which modes keep the pages of an SLO quiet. A mode pauses it only where people or a schedule lead, and where it ends, as
// the rule language has it. One may keep quiet what burns although nothing ends it: then it must not.
func drawQuiet(r *rand.Rand, p *engine.Policy) {
	for i := range p.Modes[1:] {
		if m := &p.Modes[i+1]; r.IntN(3) == 0 {
			m.Suppress = &engine.Suppress{SLOs: []string{"availability"}, Severities: []engine.Severity{engine.SeverityPage}}
		}
	}
	pause, window := r.IntN(2) == 0, r.IntN(2) == 0
	m := &p.Modes[2]
	for i := range p.Transitions {
		if t := &p.Transitions[i]; t.To == m.Name {
			planned := t.Name == "migrate" && p.Conditions[t.When].Scheduled
			pause, window = pause && (planned || t.Gate != nil), window && planned
		}
	}
	if !pause {
		return
	}
	m.Pause, m.Suppress, m.MaxDuration = []string{"availability"}, nil, 0
	if !window { // each way in has an `until` otherwise
		m.MaxDuration = 20 * time.Minute
	}
}

// pauses judges whether a change may pause SLOs, where it leads and where it may go back to.
func (c *check) pauses(s *stream, ch *change, e engine.Event, p *engine.Policy, where string) {
	f := ch.started
	planned := e.Reason.Code == engine.CodeCondition && !f.Forced && ch.transition != nil && p.Conditions[ch.transition.When].Scheduled
	ch.pauses = len(f.Plan.Into.Pause) > 0
	ch.back = s.pausing && e.Reason.Code != engine.CodeRequest
	if ch.pauses && f.Proposal == "" && !planned {
		c.breaks("%s: it pauses %v, and neither people nor a schedule have led there", where, f.Plan.Into.Pause)
	}
	if len(f.Plan.Back.Pause) > 0 && !ch.back {
		c.breaks("%s: going back would pause %v, which nothing has", where, f.Plan.Back.Pause)
	}
}

// enters reports whether the mode that is published may pause SLOs: as the change has earned it that leads there, or, on the way back, the
// one before it. Who goes back by hand has earned nothing.
func (s *stream) enters(f engine.DirectivePublished) bool {
	ch := s.changes[f.Change]
	switch {
	case ch == nil:
		return false
	case !ch.undoing && f.Directive.Mode == ch.started.To:
		return ch.pauses
	}
	return ch.back && !ch.byHand
}

// suppresses demands that a mode keeps quiet what it declares, and is bound to end.
func (c *check) suppresses(s *stream, q engine.Suppressed, p *engine.Policy, where string) {
	m, _ := p.Mode(q.Mode)
	if !covers(m, "availability", q.Severity) || q.Subject != "slo/availability/"+string(q.Severity) {
		c.breaks("%s: %s does not keep %s quiet", where, q.Mode, q.Subject)
	}
	left := s.state.Target != q.Mode || s.until() == "" // else the change that entered it ends it, whatever the rules say by now
	if m.MaxDuration == 0 && left && !slices.ContainsFunc(p.Transitions, func(t engine.Transition) bool { return t.To == q.Mode && t.Until != 0 }) {
		c.breaks("%s: nothing ends %s", where, q.Mode)
	}
}

func covers(m engine.ModeRule, slo string, severity engine.Severity) bool {
	return m.Suppress != nil && slices.Contains(m.Suppress.SLOs, slo) && slices.Contains(m.Suppress.Severities, severity)
}

// quiet reports whether nobody need be told that a tier burns: the mode in force keeps it quiet, and neither its time nor its window is
// over, or the SLO is paused, which is judged by itself.
func (s *stream) quiet(p *engine.Policy, a engine.Alert, o *shown, at time.Time) bool {
	if !s.state.Entered.Before(o.instant) {
		return true // it was moved after it was judged: the next tick tells of it
	}
	if ch := s.state.Change; ch != nil && !s.changes[ch.ID].at.Before(o.instant) {
		return true // so it is where it begins to be left
	}
	if _, paused := s.state.Paused(a.SLO); paused {
		return true
	}
	m, _ := p.Mode(s.state.Target)
	ends := m.MaxDuration > 0 || s.until() != "" && (s.state.Change == nil || !s.state.Change.Undoing)
	return covers(m, a.SLO, a.Severity) && ends && !s.over(p, o, at)
}

// over reports whether the mode in force has had its time, or, where it has none, its window is closed. Lost time does not count.
func (s *stream) over(p *engine.Policy, o *shown, at time.Time) bool {
	if m, _ := p.Mode(s.state.Target); m.MaxDuration > 0 {
		return at.Sub(s.state.Entered)-s.state.Lost >= m.MaxDuration
	}
	return s.closed(p, o)
}

// closed reports whether the window of the mode in force is closed, or nobody looks whether it is. It is a schedule's, and those are asked
// at every tick; another condition has its own cadence.
func (s *stream) closed(p *engine.Policy, o *shown) bool {
	until := s.until()
	if until == "" {
		return false
	}
	truth, asked := o.truths[until]
	scheduled := slices.ContainsFunc(p.Conditions, func(c engine.Condition) bool { return c.Name == until && c.Scheduled })
	return truth == engine.True || scheduled && !asked
}

// until is the condition that closes the window of the mode in force, also while its change is under way or taken back; empty when
// none does.
func (s *stream) until() string {
	if ch := s.state.Change; ch != nil {
		if started := s.changes[ch.ID].started; started.To == s.state.Target {
			return started.Plan.Until
		}
		return ""
	}
	if n := len(s.state.Past); n > 0 && s.state.Past[n-1].To == s.state.Target {
		return s.state.Past[n-1].Until
	}
	return ""
}

// lasts judges the pauses there are after a tick was judged: each was earned, the rules still have it, and its time and its window last.
func (c *check) lasts(scope engine.Scope, s *stream, p *engine.Policy, o *shown, at time.Time) {
	m, _ := p.Mode(s.state.Target)
	for _, q := range s.state.Lasting() {
		if !s.pausing || q.Mode != m.Name || !slices.Contains(m.Pause, q.SLO) {
			c.breaks("%s: %s is paused in %s, and neither people nor a schedule have led there", scope, q.SLO, m.Name)
		}
		if s.state.Entered.Before(o.instant) && (s.closed(p, o) || s.over(p, o, at)) {
			c.breaks("%s: %s is paused in %s since %s, and still at %s", scope, q.SLO, m.Name, q.From.Format(time.TimeOnly), at.Format(time.TimeOnly))
		}
	}
}
