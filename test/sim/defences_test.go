package sim

import (
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// What the checks know of the tree of scopes, of the brake, and of who was told what.

// rank is the place of a mode among those that have one, or -1.
func rank(p *engine.Policy, m engine.Mode) int {
	return slices.IndexFunc(p.Modes, func(r engine.ModeRule) bool { return r.Name == m && !r.Beside })
}

// asked reports whether some scope above name asks for a mode at least as restrictive as m, by its last event, by the rules that are being taken
// into force, or by the event that nobody knew of for a while, because the answer of the store was lost.
func (c *check) asked(name, parent engine.Scope, m engine.Mode) bool {
	for _, a := range c.asks(name) {
		if (parent == "" || a.Parent == parent) && a.Mode == m {
			return true
		}
	}
	return false
}

// asks lists all that the scopes above name may be taken to ask for.
func (c *check) asks(name engine.Scope) (list []engine.Imposition) {
	for above := c.parent(name); above != ""; above = c.parent(above) {
		s := c.streams[above]
		states := []engine.State{s.state}
		if s.unheard {
			states = append(states, s.before)
		}
		for _, state := range states {
			for _, p := range []*engine.Policy{c.policies[state.Rules], c.declared[above]} {
				for _, in := range []engine.Mode{state.Target, state.Mode} {
					if p == nil {
						continue
					}
					rule, _ := p.Mode(in)
					list = append(list, engine.Imposition{Parent: above, In: in, Mode: rule.Imposes})
				}
			}
		}
	}
	return list
}

func (c *check) parent(name engine.Scope) engine.Scope {
	if p := c.declared[name]; p != nil {
		return p.Parent
	}
	return ""
}

// floor is the rank of the most restrictive that is asked from above, as the scope has heard of it; -1: nothing is.
func floor(p *engine.Policy, s engine.State) int {
	r := -1
	for _, i := range s.Imposed {
		r = max(r, rank(p, i.Mode))
	}
	return r
}

// hears judges what a scope says it was asked from above.
func (c *check) hears(e engine.Event, where string) {
	switch f := e.Fact.(type) {
	case engine.ModeImposed:
		if !c.asked(e.Stream, f.Parent, f.Mode) {
			c.breaks("%s: %s does not ask for %s", where, f.Parent, f.Mode)
		}
	case engine.ImpositionEnded:
		if p := c.rules(e); !slices.ContainsFunc(c.asks(e.Stream), func(i engine.Imposition) bool {
			return i.Parent == f.Parent && (i.Mode == "" || rank(p, i.Mode) < 0)
		}) {
			c.breaks("%s: %s still asks for it", where, f.Parent)
		}
	}
}

// rules are those an event was decided under.
func (c *check) rules(e engine.Event) *engine.Policy { return c.policies[e.Rules] }

// laid judges a move that was asked for from above, or that ends one, and reports whether it is such a move.
func (c *check) laid(s *stream, before engine.State, e engine.Event, f engine.ChangeStarted, p *engine.Policy, where string) bool {
	switch {
	case f.Imposed != "":
		if !slices.ContainsFunc(before.Imposed, func(i engine.Imposition) bool { return i.Parent == f.Imposed && i.Mode == f.To }) {
			c.breaks("%s: %s does not ask for %s", where, f.Imposed, f.To)
		}
		if rank(p, f.To) != floor(p, before) {
			c.breaks("%s: more than %s is asked for", where, f.To)
		}
		if s.pinned {
			c.breaks("%s: the mode is pinned", where)
		}
		if s.own == "" {
			s.own = before.Target
		}
		return true
	case f.Returns:
		c.returns(s, before, e, f, p, where)
		s.own = ""
		return true
	}
	s.own = ""
	return false
}

// returns judges how a scope leaves what was asked for from above: for its own mode, or for one its own rules lead to from there.
func (c *check) returns(s *stream, before engine.State, e engine.Event, f engine.ChangeStarted, p *engine.Policy, where string) {
	switch {
	case s.own == "":
		c.breaks("%s: nothing had moved it from above", where)
	case s.pinned:
		c.breaks("%s: the mode is pinned", where)
	case rank(p, f.To) < floor(p, before):
		c.breaks("%s: more than %s is asked for from above", where, f.To)
	case f.To == s.own:
	case automation(p) != engine.AutomationOn || !slices.ContainsFunc(p.Transitions, func(t engine.Transition) bool {
		return t.Gate == nil && t.To == f.To && slices.Contains(t.From, s.own) && c.stood(s, e, p.Conditions[t.When].Name) == engine.True
	}):
		c.breaks("%s: its own mode is %s", where, s.own)
	}
}

// stood is how a condition was shown at the instant behind e.
func (c *check) stood(s *stream, e engine.Event, condition string) engine.Truth {
	for _, o := range slices.Backward(s.shown) {
		if o.instant.Equal(e.Cause.Instant) {
			return o.truths[condition]
		}
	}
	return engine.Unknown
}

func automation(p *engine.Policy) engine.Automation {
	if p.Automation == "" {
		return engine.AutomationOn
	}
	return p.Automation
}

// moves judges a move that automation makes by itself: as far as it may go here, not back and forth, and not everywhere at once.
func (c *check) moves(s *stream, before engine.State, e engine.Event, f engine.ChangeStarted, p *engine.Policy, t *engine.Transition, where string) {
	if a := automation(p); a != engine.AutomationOn {
		c.breaks("%s: it starts by itself, and automation is %s", where, a)
	}
	from, to := rank(p, before.Target), rank(p, t.To)
	if s.stays(p, before.Target, t.To, e.At) {
		c.breaks("%s: it takes protection away after %d moves in %v", where, s.movedSince(e.At.Add(-p.Flap.Within)), p.Flap.Within)
	}
	if to >= 0 && to < floor(p, before) {
		c.breaks("%s: more than %s is asked for from above", where, t.To)
	}
	if c.limit() == 0 || p.Conditions[t.When].Scheduled || to >= 0 && (to <= from || to == 0) {
		return
	}
	c.braked = append(c.braked, braked{e.Stream, f.Change, e.At})
	others := map[engine.Scope]bool{}
	for _, b := range c.braked {
		if e.At.Sub(b.at) < c.brake.Within {
			others[b.scope] = true
		}
	}
	if len(others) > c.limit() {
		c.breaks("%s: %d scopes moved by themselves within %v, and %d may", where, len(others), c.brake.Within, c.limit())
	}
}

// braked is a move that uses the brake.
type braked struct {
	scope  engine.Scope
	change engine.ChangeID
	at     time.Time
}

// limit is how many scopes may move by themselves in the brake's window; 0: any number.
func (c *check) limit() int {
	if c.brake.Within == 0 {
		return 0
	}
	return max(c.brake.Max, int(c.brake.Share*float64(c.brake.Scopes)+1e-9), 1)
}

// movedSince is how often the published mode has changed after an instant.
func (s *stream) movedSince(at time.Time) int {
	n := 0
	for _, m := range s.moved {
		if m.After(at) {
			n++
		}
	}
	return n
}

// together judges what was stored at one stroke: a move that uses the brake and its permit are there both, or neither.
func (c *check) together(appends []engine.Append, first int) {
	permits := map[engine.ChangeID]engine.Scope{}
	for _, a := range appends {
		for _, e := range a.Events {
			if f, ok := e.Fact.(engine.BrakePermitted); ok {
				permits[f.Change] = f.Scope
				if f.Used > f.Of || f.Of != c.limit() {
					c.breaks("%s/%d: %d of %d are permitted, and %d may be", e.Stream, e.Version, f.Used, f.Of, c.limit())
				}
			}
		}
	}
	for _, b := range c.braked[first:] {
		if permits[b.change] != b.scope {
			c.breaks("%s moved by itself, and nothing permits it", b.change)
		}
		delete(permits, b.change)
	}
	for change := range permits {
		c.breaks("%s is permitted, and does not move", change)
	}
}

// stands judges where a scope stands after all that was stored at one stroke.
func (c *check) stands(s *stream, before engine.State, events []engine.Event) {
	p, now := c.policies[s.state.Rules], s.state
	where := func() string { return string(now.Scope) + " after " + events[len(events)-1].Kind() }
	if p == nil || now.Retired {
		return
	}
	low := floor(p, now)
	beneath := rank(p, now.Target) >= 0 && rank(p, now.Target) < low
	if beneath && !s.pinned && now.Change == nil {
		c.breaks("%s: it is settled in %s, and more is asked for from above", where(), now.Target)
	}
	if beneath && before.Target != now.Target && floor(p, before) == low && !s.pinned {
		c.breaks("%s: it moved to %s, and more is asked for from above", where(), now.Target)
	}
	if beneath && s.pinned {
		c.tells(before, now, events, engine.IncidentImposed, string(now.Scope), engine.SeverityPage, where)
	}
	for _, e := range events {
		c.people(now, e, events, p, before)
	}
}

// people demands that people are told of e where they have to be.
func (c *check) people(now engine.State, e engine.Event, events []engine.Event, p *engine.Policy, before engine.State) {
	where := func() string { return string(e.Stream) + " " + e.Kind() }
	id := func(i engine.IncidentID) bool {
		return slices.ContainsFunc(now.Incidents, func(o engine.Incident) bool { return o.ID == i && o.Severity == engine.SeverityPage }) ||
			slices.ContainsFunc(before.Incidents, func(o engine.Incident) bool { return o.ID == i && o.Severity == engine.SeverityPage })
	}
	subject := func(change engine.ChangeID) string {
		if ch := c.streams[e.Stream].changes[change]; ch != nil && ch.started.Transition != "" {
			return ch.started.Transition
		}
		return string(change)
	}
	switch f := e.Fact.(type) {
	case engine.GlassBroken:
		what := f.Transition
		if what == "" { // no transition leads where somebody went, and it pauses SLOs
			what = string(now.Target)
		}
		c.tells(before, now, events, engine.IncidentGlass, what, engine.SeverityPage, where)
	case engine.ChangeFailed:
		c.tells(before, now, events, engine.IncidentChange, subject(f.Change), engine.SeverityPage, where)
	case engine.ChangeHeld:
		c.tells(before, now, events, engine.IncidentChange, subject(f.Change), engine.SeverityPage, where)
	case engine.ChangeStuck:
		c.tells(before, now, events, engine.IncidentChange, subject(f.Change), engine.SeverityPage, where)
	case engine.ChangeStarted:
		if f.Severity == engine.SeverityPage && (e.Reason.Code == engine.CodeCondition || e.Reason.Code == engine.CodeApproved) && !id(f.Incident) {
			c.tells(before, now, events, engine.IncidentTransition, f.Transition, engine.SeverityPage, where)
		}
	case engine.TransitionWithheld:
		if now.Target != before.Target {
			return // it was left meanwhile, and with it what was withheld there
		}
		waits := slices.ContainsFunc(now.Proposals, func(o engine.Proposal) bool { return o.Transition == f.Transition })
		gives := rank(p, before.Target) >= 0 && rank(p, f.To) > rank(p, before.Target)
		switch e.Reason.Code {
		case engine.CodeFlapping:
			c.tells(before, now, events, engine.IncidentFlapping, string(e.Stream), engine.SeverityTicket, where)
		case engine.CodeBrake:
			if !waits {
				c.breaks("%s: nobody is asked whether %s may go after all", where(), f.Transition)
			}
			gives = true
		case engine.CodePinned, engine.CodeFrozen:
			t := find(p, f.Transition)
			planned := t.Severity != engine.SeverityPage && p.Conditions[t.When].Scheduled // which is no emergency
			gives = gives && !waits && !planned                                            // where it waits people have been asked, and have said yes
		default:
			gives = false
		}
		if gives && !id(f.Incident) {
			c.tells(before, now, events, engine.IncidentWithheld, f.Transition, engine.SeverityPage, where)
		}
	}
}

// tells demands that an incident is open, or was opened or told of among events.
func (c *check) tells(before, now engine.State, events []engine.Event, kind engine.IncidentKind, subject string, severity engine.Severity, where func() string) {
	for _, s := range []engine.State{before, now} {
		if i, open := s.Incident(kind, subject); open && i.Severity == severity {
			return
		}
	}
	if !slices.ContainsFunc(events, func(e engine.Event) bool {
		f, opens := e.Fact.(engine.IncidentOpened)
		return opens && f.Incident.Kind == kind && f.Incident.Subject == subject && f.Incident.Severity == severity
	}) {
		c.breaks("%s: nobody is told, by a %s, of %s %s", where(), severity, kind, subject)
	}
}

// watched judges a scope after a tick was judged and all that followed was stored: a pin whose time is over is gone, an SLO that burns
// is told, and what was asked for from above is left once it is not asked for any more.
func (c *check) watched(scope engine.Scope, s *stream, o *shown, now time.Time) {
	p := c.policies[s.state.Rules]
	if p == nil || s.state.Retired {
		return
	}
	at := o.instant
	if now.Before(at) {
		at = now
	}
	if pin := s.state.Pin; pin != nil && !at.Before(pin.Until) {
		c.breaks("%s: the pin had time until %s, and is there at %s", scope, pin.Until.Format(time.TimeOnly), at.Format(time.TimeOnly))
	}
	for _, a := range p.Alerts {
		_, open := s.state.Incident(engine.IncidentSLO, "slo/"+a.SLO+"/"+string(a.Severity))
		if o.truths[p.Conditions[a.Condition].Name] == engine.True && !open && !s.quiet(p, a, o, at) {
			c.breaks("%s: %s burns at %s and nobody is told", scope, a.SLO, o.instant.Format(time.TimeOnly))
		}
	}
	c.lasts(scope, s, p, o, at)
	own := rank(p, s.own)
	unsure := slices.ContainsFunc(p.Transitions, func(t engine.Transition) bool {
		truth, asked := o.truths[p.Conditions[t.When].Name]
		return t.Gate == nil && slices.Contains(t.From, s.own) && (!asked || truth != engine.False)
	})
	if s.own == "" || s.pinned || s.state.Change != nil || own < floor(p, s.state) || rank(p, s.state.Target) <= own || unsure {
		s.owes = 0
		return
	}
	if s.owes++; s.owes > 2 {
		c.breaks("%s: nobody asks for %s any more, and it does not go back to %s", scope, s.state.Target, s.own)
	}
}

// sights judges what a tick showed of the source, once all that followed is stored: a source nobody has seen for long is told of.
func (c *check) sights(instant time.Time, sources []engine.Sight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	blind := slices.ContainsFunc(sources, func(s engine.Sight) bool { return s.Blind })
	switch {
	case !blind || !c.marked.Equal(instant) || instant.Before(c.dark):
		c.dark = time.Time{}
	case c.dark.IsZero():
		c.dark = instant
	case instant.Sub(c.dark) >= blindAfter+interval:
		if _, open := c.streams[engine.Fleet].state.Incident(engine.IncidentBlind, "main"); !open {
			c.breaks("nothing can be seen since %s and nobody is told at %s", c.dark.Format(time.TimeOnly), instant.Format(time.TimeOnly))
		}
	}
}

// stays reports whether a scope has moved so often by an instant that nothing takes protection away from it by itself.
func (s *stream) stays(p *engine.Policy, from, to engine.Mode, at time.Time) bool {
	if f, t := rank(p, from), rank(p, to); f >= 0 && t > f {
		return false
	}
	return p.Flap.Changes > 0 && s.movedSince(at.Add(-p.Flap.Within)) >= p.Flap.Changes
}

// release ends, once all is calm, whatever is asked for from above, and demands that every scope that was moved by it goes back.
func (r *run) release() {
	own := map[engine.Scope]engine.Mode{}
	imposed := false
	for _, m := range r.scopes {
		v, ok := r.proc.loop.View(m.scope)
		if !ok || v.Policy == nil {
			continue
		}
		r.check.mu.Lock()
		p, s := r.check.declared[m.scope], r.check.streams[m.scope]
		low, sunk := "", false
		for _, i := range r.check.asks(m.scope) {
			if to := rank(p, i.Mode); to > rank(p, engine.Mode(low)) {
				low = string(i.Mode)
			}
		}
		at := rank(p, s.state.Target)
		sunk = at >= 0 && at < rank(p, engine.Mode(low)) && !s.pinned
		if s.own != "" && !s.pinned && rank(p, s.own) < at {
			own[m.scope] = s.own
		}
		r.check.mu.Unlock()
		if sunk {
			r.check.fault("in the end %s is in %s, and %s is asked for from above", m.scope, s.state.Target, low)
		}
		imposed = imposed || low != ""
	}
	if !imposed {
		return
	}
	for _, m := range r.scopes {
		v, _ := r.proc.loop.View(m.scope)
		if slices.ContainsFunc(m.rules[r.rules[m.scope]].Modes, func(rule engine.ModeRule) bool {
			return rule.Imposes != "" && (rule.Name == v.State.Target || rule.Name == own[m.scope])
		}) {
			delete(own, m.scope)
			for range 20 { // it may be on the way to its own mode, and has to get there first
				r.ask(thing{kind: "bypass", scope: m.scope, who: len(people) - 1, what: "normal", span: time.Minute})
				time.Sleep(time.Second)
				if v, _ := r.proc.loop.View(m.scope); v.State.Target == "normal" {
					break
				}
				time.Sleep(interval)
			}
		}
	}
	r.settle()
	for _, m := range r.scopes {
		v, _ := r.proc.loop.View(m.scope)
		if len(v.State.Imposed) > 0 || own[m.scope] != "" && v.State.Mode != own[m.scope] {
			r.check.fault("in the end nothing is asked for from above any more, and %s is in %s; its own mode is %q", m.scope, v.State.Mode, own[m.scope])
		}
	}
}
