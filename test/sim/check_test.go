package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// check is a second account of what may happen, kept from the rules, from what the world showed and from what people said.
type check struct {
	mu       sync.Mutex // guards what follows
	policies map[engine.Digest]*engine.Policy
	streams  map[engine.Scope]*stream
	broken   []string // rules that were broken, in the order in which it was seen
	log      []engine.Event
	busy     map[engine.Scope]string // the job at the target
	tries    map[string]int          // arrivals of each job
	effects  map[string]int          // by key
	vouched  map[engine.ChangeID]bool
	marked   time.Time // the last instant of which all is stored
	crews    map[engine.Scope]*crewCheck
	brake    engine.BrakeRule
	dark     time.Time                       // since when the source shows nothing
	braked   []braked                        // moves that use it
	declared map[engine.Scope]*engine.Policy // the rules as the files are now
}

// stream is the account of one scope.
type stream struct {
	state     engine.State // folded beside the loop's
	bodies    [][]byte
	change    engine.ChangeID // under way
	changes   map[engine.ChangeID]*change
	proposals map[engine.ChangeID]*proposal
	ended     map[string]*ending // by transition
	shown     []shown
	pinned    bool
	frozen    bool
	said      []said
	found     [][]string     // what selectors found, whenever
	pausing   bool           // the mode was entered so that it may pause SLOs, and the pause was not ended since
	own       engine.Mode    // it was in before it was moved from above
	owes      int            // ticks since it should have gone back there
	moved     []time.Time    // its published mode
	before    engine.State   // before what was stored last
	unheard   bool           // that it was stored, whoever stored it may not know
	falses    map[string]int // how much had been shown when a condition was last stored to be false
	doubt     int            // how much had been shown when what was known was last given up: time was lost, or the rules changed
}

// change is what must be known of a change to judge its steps.
type change struct {
	started    engine.ChangeStarted
	at         time.Time
	gated      bool
	allowed    bool            // people said yes, or broke the glass
	did        map[string]bool // steps with an undo that have happened and were not taken back
	held       string          // the step people have to say yes to again
	most       map[string]int  // targets that a step may have
	targets    map[string][]string
	settled    bool
	overtaken  bool
	transition *engine.Transition
	pauses     bool // it may pause SLOs where it leads
	back       bool // SLOs were paused where it comes from
	undoing    bool
	byHand     bool        // a person takes it back, or says that it is
	own        engine.Mode // the scope's own before it, while it was held in another from above
}

// shown is what the world showed of a scope's conditions at an instant.
type shown struct {
	instant time.Time
	truths  map[string]engine.Truth
	lost    bool // nobody judged it, or what followed from it was not stored
	judged  bool // somebody has, and what follows from it is stored
	// unstored says that somebody has judged it, and that not all that followed from it could be stored: whether a false was
	// known on depends on which.
	unstored bool
}

func newCheck(scopes []member, brake engine.BrakeRule) *check {
	brake.Scopes = len(scopes)
	c := &check{brake: brake, declared: map[engine.Scope]*engine.Policy{}, policies: map[engine.Digest]*engine.Policy{}, streams: map[engine.Scope]*stream{}, busy: map[engine.Scope]string{}, tries: map[string]int{}, effects: map[string]int{}, vouched: map[engine.ChangeID]bool{}, crews: map[engine.Scope]*crewCheck{}}
	c.streams[engine.Fleet] = newStream()
	for _, m := range scopes {
		c.streams[m.scope] = newStream()
	}
	return c
}

func newStream() *stream {
	return &stream{changes: map[engine.ChangeID]*change{}, proposals: map[engine.ChangeID]*proposal{}, ended: map[string]*ending{}, falses: map[string]int{}}
}

// fault notes that a rule was broken.
func (c *check) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaks(format, args...)
}

func (c *check) breaks(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

// showed is told what the world shows at an instant.
func (c *check) showed(scope engine.Scope, instant time.Time, truths map[string]engine.Truth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[scope]
	s.shown = append(s.shown, shown{instant: instant, truths: truths})
}

// judged is told whether anything follows from what was shown last.
func (c *check) judged(scope engine.Scope, instant, now time.Time, judged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[scope]; len(s.shown) > 0 && s.shown[len(s.shown)-1].instant.Equal(instant) {
		last := &s.shown[len(s.shown)-1]
		last.lost, last.judged, last.unstored = !judged, judged && c.marked.Equal(instant), judged && !c.marked.Equal(instant)
		// Of an instant that is asked for twice, by a slow clock, nobody can tell whether what followed the second time is stored.
		if n := len(s.shown); last.judged && (n == 1 || !s.shown[n-2].instant.Equal(instant)) {
			c.watched(scope, s, last, now)
		}
	}
}

// marks is told that all that follows from what was shown at an instant is stored.
func (c *check) marks(instant time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marked = instant
}

// died is told that the process died: what was shown last and not followed by an event may be forgotten.
func (c *check) died() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if n := len(s.shown); n > 0 {
			last := &s.shown[n-1]
			last.truths = maps.Clone(last.truths)
			maps.DeleteFunc(last.truths, func(name string, t engine.Truth) bool {
				return t != engine.True && (t != engine.False || s.falses[name] < n) // a false that was stored is known on
			})
		}
	}
	clear(c.busy)
}

// stored judges events as they become durable.
func (c *check) stored(appends []engine.Append) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := len(c.braked)
	for _, a := range appends {
		s := c.streams[a.Stream]
		before := s.state
		s.before, s.unheard = before, false
		for _, e := range a.Events {
			c.event(e, a.Events)
			c.log = append(c.log, e)
		}
		if s := s.state; s.Scope != engine.Fleet && s.Directive.Mode != s.Target {
			c.breaks("%s/%d: the target is %s and %s is published", s.Scope, s.Version, s.Target, s.Directive.Mode)
		}
		c.stands(s, before, a.Events)
	}
	c.together(appends, first)
}

// unheard is told that whoever stored something may not know that it is.
func (c *check) unheard(appends []engine.Append) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range appends {
		c.streams[a.Stream].unheard = true
	}
}

// heard is told that a stream was read.
func (c *check) heard(stream engine.Scope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[stream]; s != nil {
		s.unheard = false
	}
}

func (c *check) event(e engine.Event, together []engine.Event) {
	s := c.streams[e.Stream]
	where := fmt.Sprintf("%s/%d %s", e.Stream, e.Version, e.Kind())
	if e.Version != s.state.Version+1 {
		c.breaks("%s follows version %d", where, s.state.Version)
		return
	}
	if e.At.Before(s.state.At) {
		c.breaks("%s: time ran backwards from %s to %s", where, s.state.At, e.At)
	}
	before := s.state
	body, err := e.Encode()
	if err != nil {
		c.breaks("%s cannot be written: %v", where, err)
		return
	}
	decoded, err := engine.Decode(body)
	if err != nil {
		c.breaks("%s cannot be read: %v", where, err)
		return
	}
	s.bodies = append(s.bodies, body)
	c.judge(s, before, decoded, where, together)
	s.state = engine.Apply(s.state, decoded)
	if before.Target != "" && s.state.Target != before.Target {
		s.moved = append(s.moved, e.At)
	}
}

// judge holds one event against the rules.
func (c *check) judge(s *stream, before engine.State, e engine.Event, where string, together []engine.Event) {
	p := c.policies[e.Rules]
	if p == nil && e.Stream != engine.Fleet {
		c.breaks("%s: the rules %s were never in force", where, e.Rules.Short())
		return
	}
	c.rolls(s, before, e, where)
	switch f := e.Fact.(type) {
	case engine.DirectivePublished:
		if d := before.Directive; f.Directive.Revision != d.Revision+1 || f.Directive.Term < d.Term {
			c.breaks("%s: revision %d of term %d follows %d of %d", where, f.Directive.Revision, f.Directive.Term, d.Revision, d.Term)
		}
		if f.Directive.Mode != before.Target {
			s.pausing = s.enters(f)
		}
	case engine.TimeLost, engine.RulesChanged:
		s.doubt = len(s.shown)
		if e.Stream == engine.Fleet {
			c.dark = time.Time{}
		}
	case engine.ConditionTurned:
		if f.Clock.Truth != engine.Unknown {
			c.needs(s, e, f.Clock.Condition, f.Clock.Truth, where)
		}
		if f.Clock.Truth == engine.False {
			s.falses[f.Clock.Condition] = len(s.shown)
		}
	case engine.PauseEnded:
		s.pausing = false
	case engine.ModeImposed, engine.ImpositionEnded:
		c.hears(e, where)
	case engine.ModeKept:
		s.own = ""
	case engine.ModePinned:
		s.pinned = true
	case engine.ModeUnpinned:
		s.pinned = false
	case engine.AutomationFrozen:
		s.frozen = true
	case engine.AutomationReleased:
		s.frozen = false
	case engine.IncidentSuppressed:
		c.suppresses(s, f.Suppressed, p, where)
	case engine.IncidentResolved:
		if e.Reason.Code == engine.CodePaused && !s.pausing {
			c.breaks("%s: nothing is paused", where)
		}
		if e.Reason.Code == engine.CodeRecovered {
			c.needs(s, e, "burns", engine.False, where)
		}
	case engine.IncidentEscalated:
		c.needs(s, e, "burns.on", engine.True, where)
	case engine.ChangeProposed:
		c.proposed(s, before, e, f, p, where)
	case engine.ProposalRenewed:
		c.renewed(s, before, f, where)
	case engine.ApprovalGranted:
		c.granted(s, e, f, where)
	case engine.GateEscalated:
		pr := s.proposals[f.Proposal]
		if e.At.Before(pr.until) {
			c.breaks("%s: it had time until %s", where, pr.until)
		}
		pr.until, pr.escalated = f.Until, true
	case engine.DeadlineMoved:
		if pr := s.proposals[f.Proposal]; f.Until.After(pr.until) {
			pr.until = f.Until
		} else {
			c.breaks("%s: the deadline moved from %s to %s", where, pr.until, f.Until)
		}
	case engine.ProposalDenied:
		c.denied(s, e, f, where)
		c.ends(s, before, e, f.Proposal, "denied", where)
	case engine.ProposalExpired:
		if pr := s.proposals[f.Proposal]; e.At.Before(pr.until) {
			c.breaks("%s: it had time until %s", where, pr.until)
		}
		c.ends(s, before, e, f.Proposal, "expired", where)
	case engine.ProposalWithdrawn:
		if e.Reason.Code == engine.CodeNotReady {
			c.needs(s, e, s.proposals[f.Proposal].started.Proposal.Retry.Condition, engine.False, where)
		}
		c.ends(s, before, e, f.Proposal, "withdrawn", where)
	case engine.ChangeStarted:
		c.starts(s, before, e, f, p, where, together)
	case engine.UndoStarted:
		c.takesBack(s, before, e, f, p, where)
	case engine.StepStarted:
		c.step(s, e, f, where)
	case engine.TargetsFound:
		c.targets(s, f, where)
	case engine.StepHeld:
		c.held(s, f, where)
	case engine.StepFailed:
		if r := before.Change.Running; r.Step.Destructive && c.effects[stepKey(f.Change, f.Step, f.Undo)] > 0 {
			c.breaks("%s: %s is said not to have happened, and it has", where, f.Step)
		}
	case engine.StepDone:
		c.happened(before, f, where)
		c.stepDone(s, f, where)
	case engine.ChangeSettled:
		s.changes[f.Change].settled, s.changes[f.Change].byHand = true, true
		// A person looked and says what stands, also of what the change took back: what is asked for after that is asked for anew.
		for id := range s.changes {
			c.vouched[id] = true
			maps.DeleteFunc(c.tries, func(attempt string, _ int) bool { return strings.HasPrefix(attempt, string(id)+"/") })
		}
	case engine.ChangeStuck:
		if !slices.ContainsFunc(together, pages) && !slices.ContainsFunc(before.Incidents, func(i engine.Incident) bool { return i.Kind == engine.IncidentChange }) {
			c.breaks("%s: nobody was paged", where)
		}
	case engine.ChangeFailed:
		if e.Reason.Code == engine.CodeVerify {
			verify := before.Change.Plan.Verify
			if before.Change.Published && !before.Change.Rolled {
				verify = before.Change.Plan.Rollout.Verify
			}
			c.needs(s, e, verify, engine.False, where)
		}
	case engine.ChangeDone:
		c.done(s, before, e, f, where)
	case engine.ChangeUndone:
		c.undone(s, before, f, where)
	}
}

// pages reports whether e opens the incident of a change.
func pages(e engine.Event) bool {
	f, ok := e.Fact.(engine.IncidentOpened)
	return ok && f.Incident.Kind == engine.IncidentChange && f.Incident.Severity == engine.SeverityPage
}

// needs demands that a condition was shown as it was taken for, at the instant behind e.
func (c *check) needs(s *stream, e engine.Event, condition string, want engine.Truth, where string) {
	for _, o := range slices.Backward(s.shown) {
		if o.instant.Equal(e.Cause.Instant) {
			if got, asked := o.truths[condition]; !asked || got != want {
				c.breaks("%s: %s was taken for %s at %s and was %s (asked: %v)", where, condition, want, e.Cause.Instant.Format(time.TimeOnly), got, asked)
			}
			return
		}
	}
	c.breaks("%s: nothing was shown at %s", where, e.Cause.Instant)
}

// starts judges the beginning of a change.
func (c *check) starts(s *stream, before engine.State, e engine.Event, f engine.ChangeStarted, p *engine.Policy, where string, together []engine.Event) {
	if s.change != "" && f.Overtakes != s.change {
		c.breaks("%s: %s is under way", where, s.change)
	}
	ch := &change{started: f, at: e.At, own: s.own, did: map[string]bool{}, most: map[string]int{}, targets: map[string][]string{}, transition: find(p, f.Transition)}
	for _, st := range f.Plan.Steps {
		ch.most[st.Name] = st.Targets.Max
	}
	if s.change != "" {
		old := s.changes[s.change]
		old.overtaken = true
		// Whoever breaks the glass goes around the gate; what destroys waits for them too.
		if ch.transition != nil && (ch.transition.Gate != nil && !f.Forced || slices.ContainsFunc(f.Plan.Steps, func(st engine.Step) bool { return st.Destructive })) {
			c.breaks("%s: what is gated or destroys does not overtake", where)
		}
	}
	s.changes[f.Change], s.change = ch, f.Change
	if f.Transition != "" && ch.transition == nil {
		c.breaks("%s: the rules have no transition %s", where, f.Transition)
		return
	}
	ch.gated = ch.transition != nil && ch.transition.Gate != nil
	c.pauses(s, ch, e, p, where)
	if c.laid(s, before, e, f, p, where) {
		return
	}
	c.directiveOnly(before, e, f, p, where, together)
	frozen := s.frozen || c.streams[engine.Fleet].frozen
	switch {
	case e.Reason.Code == engine.CodeCondition:
		if ch.gated {
			c.breaks("%s: a gated transition started by itself", where)
		}
		if frozen || s.pinned {
			c.breaks("%s: automation is frozen or the mode pinned", where)
		}
		c.needs(s, e, p.Conditions[ch.transition.When].Name, engine.True, where)
		c.lasted(s, before, e, p, ch.transition, where)
		c.longEnough(before, e, p, ch.transition, where)
		c.moves(s, before, e, f, p, ch.transition, where)
	case f.Proposal != "":
		pr := s.proposals[f.Proposal]
		if pr == nil {
			c.breaks("%s: there was no proposal %s", where, f.Proposal)
			return
		}
		if pr.started.Proposal.Requester == nil && (frozen || s.pinned) {
			c.breaks("%s: automation is frozen or the mode pinned", where)
		}
		c.approved(s, before, e, pr, f, where)
		ch.allowed = true
	case f.Forced:
		ch.allowed = slices.ContainsFunc(together, func(o engine.Event) bool {
			g, ok := o.Fact.(engine.GlassBroken)
			return ok && (f.Transition == "" || g.Transition == f.Transition)
		})
		beneath := rank(p, f.To) >= 0 && rank(p, f.To) < floor(p, before) // which is what they went around, where there is no gate
		if !ch.allowed && (ch.gated || !beneath) {
			c.breaks("%s: nothing marks that a gate was gone around", where)
		}
		if who := e.Cause.Principal; who != "root" {
			c.breaks("%s: %s may not break the glass", where, who)
		}
	case e.Reason.Code != engine.CodeRequest:
		c.breaks("%s: nobody asked for it", where)
	case ch.gated:
		c.breaks("%s: the gate was not asked", where)
	}
}

// directiveOnly demands that a change without a transition goes around none that is declared, but by the hand of somebody who may,
// and with a mark for every gate.
func (c *check) directiveOnly(before engine.State, e engine.Event, f engine.ChangeStarted, p *engine.Policy, where string, together []engine.Event) {
	for _, t := range p.Transitions {
		if f.Transition != "" || t.To != f.To || !slices.Contains(t.From, before.Target) {
			continue
		}
		if e.Cause.Principal != "root" {
			c.breaks("%s: %s went around %s with a directive only", where, e.Cause.Principal, t.Name)
		}
		if t.Gate != nil && !slices.ContainsFunc(together, func(o engine.Event) bool {
			g, ok := o.Fact.(engine.GlassBroken)
			return ok && g.Transition == t.Name
		}) {
			c.breaks("%s: the gate of %s was gone around and nothing marks it", where, t.Name)
		}
	}
}

func find(p *engine.Policy, name string) *engine.Transition {
	for i := range p.Transitions {
		if p.Transitions[i].Name == name {
			return &p.Transitions[i]
		}
	}
	return nil
}

// lasted demands that the condition of t was true for as long as t says: at least the sum of the spans between consecutive
// true evaluations no more than two intervals apart, since the mode was entered and the last false.
func (c *check) lasted(s *stream, before engine.State, e engine.Event, p *engine.Policy, t *engine.Transition, where string) {
	if t.For == 0 {
		return
	}
	for _, o := range s.shown {
		if o.instant.After(e.Cause.Instant) {
			return // the clock was turned back: until it is again where it was, nobody can tell how long something lasted
		}
	}
	name := p.Conditions[t.When].Name
	var sum time.Duration
	var last time.Time // the last true evaluation
	for _, o := range s.shown {
		truth, asked := o.truths[name]
		switch {
		case o.lost || !asked || o.unstored && truth == engine.False:
		case truth == engine.False:
			sum, last = 0, time.Time{}
		case truth == engine.True:
			if span := o.instant.Sub(last); !last.IsZero() && span > 0 && span <= 2*interval {
				sum += span
			}
			last = o.instant
		}
	}
	if sum < t.For {
		c.breaks("%s: %s was true for %v and has to be for %v", where, name, sum, t.For)
	}
}

// longEnough demands that a mode lasts as long as it has to before protection is taken away.
func (c *check) longEnough(before engine.State, e engine.Event, p *engine.Policy, t *engine.Transition, where string) {
	rank := func(m engine.Mode) int {
		return slices.IndexFunc(p.Modes, func(r engine.ModeRule) bool { return r.Name == m && !r.Beside })
	}
	from, to := rank(before.Target), rank(t.To)
	if from >= 0 && to > from {
		return
	}
	m, _ := p.Mode(before.Target)
	if dwell := e.At.Sub(before.Entered); dwell < m.MinDuration {
		c.breaks("%s: %s lasted %v and has to last %v", where, m.Name, dwell, m.MinDuration)
	}
}

// takesBack judges the beginning of an undo.
func (c *check) takesBack(s *stream, before engine.State, e engine.Event, f engine.UndoStarted, p *engine.Policy, where string) {
	if s.change != "" && s.change != f.Change {
		c.breaks("%s: %s is under way", where, s.change)
	}
	if s.changes[f.Change] == nil {
		c.breaks("%s: there was no such change", where)
		return
	}
	s.change = f.Change
	s.changes[f.Change].undoing, s.changes[f.Change].byHand = true, e.Reason.Code == engine.CodeRequest
	if e.Reason.Code == engine.CodeUntil {
		c.needs(s, e, before.Past[len(before.Past)-1].Until, engine.True, where)
		if s.pinned {
			c.breaks("%s: the mode is pinned", where)
		}
		last := before.Past[len(before.Past)-1]
		planned := slices.ContainsFunc(p.Conditions, func(n engine.Condition) bool { return n.Name == last.Until && n.Scheduled })
		if !planned && s.stays(p, before.Target, last.Back.Name, e.At) {
			c.breaks("%s: it takes protection away after %d moves in %v", where, s.movedSince(e.At.Add(-p.Flap.Within)), p.Flap.Within)
		}
	}
}

// step judges a step that is owed from here on.
func (c *check) step(s *stream, e engine.Event, f engine.StepStarted, where string) {
	ch := s.changes[f.Change]
	if ch != nil && ch.held != "" && !f.Undo {
		c.resumed(s, ch, e, f, where)
	}
	switch {
	case ch == nil:
		c.breaks("%s: there was no change %s", where, f.Change)
	case !f.Undo && f.Step.Destructive && !ch.allowed:
		c.breaks("%s: %s destroys and nobody said yes", where, f.Step.Name)
	case !f.Undo && ch.gated && !ch.allowed:
		c.breaks("%s: %s is a step of a gated transition and nobody said yes", where, f.Step.Name)
	case !slices.Equal(f.Targets, ch.targets[f.Step.Name]):
		c.breaks("%s: %s has %v, and went out with %v", where, f.Step.Name, f.Targets, ch.targets[f.Step.Name])
	case !f.Undo && !slices.ContainsFunc(ch.started.Plan.Steps, func(st engine.Step) bool {
		if st.Targets.Max > 0 {
			st.Targets.Max = ch.most[st.Name]
		}
		return st == f.Step
	}):
		c.breaks("%s: %s is not in the plan", where, f.Step.Name)
	case f.Undo && !ch.did[f.Step.Name]:
		c.breaks("%s: %s has not happened and is taken back", where, f.Step.Name)
	}
}

// happened demands of a step that is said to be done that its target has done it: once, where twice would be worse.
func (c *check) happened(before engine.State, f engine.StepDone, where string) {
	r := before.Change.Running
	if r == nil || r.Finding || c.vouched[f.Change] { // there was nothing to do, or a person has said what stands
		return
	}
	n := c.effects[stepKey(f.Change, f.Step, f.Undo)]
	if n == 0 || n > 1 && (r.Step.Keyed || r.Step.Destructive) {
		c.breaks("%s: %s is said to have happened once, and it has %d times", where, f.Step, n)
	}
}

func (c *check) stepDone(s *stream, f engine.StepDone, where string) {
	ch := s.changes[f.Change]
	if f.Undo {
		delete(ch.did, f.Step)
		return
	}
	i := slices.IndexFunc(ch.started.Plan.Steps, func(st engine.Step) bool { return st.Name == f.Step })
	if i < 0 {
		c.breaks("%s: %s is not in the plan", where, f.Step)
		return
	}
	if ch.started.Plan.Steps[i].Targets.Max > 0 && ch.targets[f.Step] == nil {
		if !slices.ContainsFunc(s.found, func(names []string) bool { return len(names) == 0 }) {
			c.breaks("%s: %s was done to nothing, and there never was nothing", where, f.Step)
		}
		return
	}
	// By the true rules, not by the plan: what the rules say can be taken back is taken back.
	ch.did[f.Step] = true
	if t := ch.transition; t != nil {
		for _, st := range t.Playbook.Steps {
			if st.Name == f.Step && !st.Undo {
				delete(ch.did, f.Step)
			}
		}
	}
}

// done judges the end of a change.
func (c *check) done(s *stream, before engine.State, e engine.Event, f engine.ChangeDone, where string) {
	if s.change != f.Change {
		c.breaks("%s: it is not under way", where)
	}
	ch := s.changes[f.Change]
	s.change = ""
	if ch == nil || ch.settled {
		return
	}
	if e.Reason.Code == engine.CodeVerify {
		c.needs(s, e, ch.started.Plan.Verify, engine.True, where)
	} else if ch.started.Plan.Verify != "" {
		c.breaks("%s: %s was not verified", where, ch.started.Plan.Verify)
	}
	if before.Target != ch.started.To {
		c.breaks("%s: the target is %s and not %s", where, before.Target, ch.started.To)
	}
	if ch.started.Undo != "" {
		if old := s.changes[ch.started.Undo]; len(old.did) > 0 {
			c.breaks("%s: %s of the entry was not taken back", where, strings.Join(slices.Sorted(maps.Keys(old.did)), ", "))
		}
	}
}

// undone judges the end of an undo: all that can be taken back was.
func (c *check) undone(s *stream, before engine.State, f engine.ChangeUndone, where string) {
	if s.change != f.Change {
		c.breaks("%s: it is not under way", where)
	}
	s.change = ""
	ch := s.changes[f.Change]
	s.own = "" // what follows from above is not tried again at every turn
	if u := before.Change; ch != nil && u.Imposed == "" && !u.Returns {
		s.own = ch.own
	}
	if ch == nil || ch.settled {
		return
	}
	if len(ch.did) > 0 {
		c.breaks("%s: %s was not taken back", where, strings.Join(slices.Sorted(maps.Keys(ch.did)), ", "))
	}
}

// arrives is told of an attempt that reaches a target.
func (c *check) arrives(id string, job engine.StepJob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[job.Scope]
	if !awaited(s.state, job) {
		c.breaks("%s arrives, for which nobody waits", id)
	}
	if other := c.busy[job.Scope]; other != "" {
		c.breaks("%s arrives while %s is under way", id, other)
	}
	if own := stepKey(job.Change, job.Step.Name, job.Undo); job.Key != own {
		c.breaks("%s arrives under the key %s", own, job.Key)
	}
	c.busy[job.Scope] = id
	c.tries[id]++
	if job.Step.Destructive && !job.Step.Keyed && job.Step.Kind != askable && c.tries[id] > 1 {
		c.breaks("%s destroys, its target knows no key, and it is attempted %d times", id, c.tries[id])
	}
	ch := s.changes[job.Change]
	if job.Step.Destructive && !job.Undo && (ch == nil || !ch.allowed) {
		c.breaks("%s destroys and nobody said yes", id)
	}
	if job.Find || ch != nil && !slices.Equal(job.Targets, ch.targets[job.Step.Name]) || job.Step.Targets.Max > 0 && len(job.Targets) == 0 {
		c.breaks("%s arrives for %v", id, job.Targets)
	}
}

func (c *check) leaves(id string, job engine.StepJob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[job.Scope] == id {
		delete(c.busy, job.Scope)
	}
}

// acted is told of an effect. It is counted for the step, whatever key it went out under: under a second key a target that knows
// keys does it again.
func (c *check) acted(job engine.StepJob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := stepKey(job.Change, job.Step.Name, job.Undo)
	if c.effects[own]++; c.effects[own] > 1 && (job.Step.Keyed || job.Step.Destructive) && !c.vouched[job.Change] {
		c.breaks("%s has happened %d times", own, c.effects[own])
	}
}

// answered is told of a request that came back with success: what it returned has to be stored.
func (c *check) answered(events []engine.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		s := c.streams[e.Stream]
		body, err := e.Encode()
		if err != nil || int(e.Version) > len(s.bodies) || !bytes.Equal(body, s.bodies[e.Version-1]) {
			c.breaks("%s/%d %s was given for an answer and is not stored", e.Stream, e.Version, e.Kind())
		}
	}
}
