package report

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// The most that a report shows. What is beyond is counted in LeftOut.
const (
	maxMoments = 500
	maxChanges = 20
)

// Input is what a report is made of.
type Input struct {
	Change engine.ChangeID // or a proposal
	Events []engine.Event  // of its scope's stream, oldest first and without holes; they need not begin or end with it
	More   bool            // the stream goes on behind them, and was not read further
	Fleet  []engine.Event  // of the fleet's stream about that time, without holes
	// FleetMore says that the fleet's stream goes on behind them.
	FleetMore bool
	Policies  explain.Policies
	Now       time.Time
	LeftOut   []string // what the caller did not read
}

// Unknown says that there is no such change, and which one was perhaps meant.
type Unknown struct {
	Scope  engine.Scope
	Change engine.ChangeID
	Near   engine.ChangeID // empty: there is none
	Why    string          // it is near
}

func (e *Unknown) Error() string {
	text := fmt.Sprintf("%s has had no change or proposal %q", e.Scope, e.Change)
	if e.Near != "" {
		return fmt.Sprintf("%s; did you mean %s? (%s)", text, e.Near, e.Why)
	}
	return text + "; its history names those there were"
}

func (e *Unknown) Unwrap() error { return explain.ErrUnknown }

// maker is a report under way.
type maker struct {
	in     Input
	past   *past
	x      explain.Explanation
	r      Report
	lo, hi int   // the indexes of the story's first and last event, without what follows
	also   []int // of further events: signs before lo, ends behind hi
	told   map[engine.ChangeID]explain.Explanation
	sign   []sign
}

// sign is something that showed before the decision what was the matter.
type sign struct {
	at   time.Time
	text string
	ref  Ref
}

// Make drafts a report. Weigh adds the error budgets.
func Make(in Input) (Report, error) {
	if in.Policies == nil {
		in.Policies = func(engine.Scope, engine.Digest) []engine.Policy { return nil }
	}
	x, err := explain.Change(in.Events, in.Change, in.Policies)
	if errors.Is(err, explain.ErrUnknown) {
		return Report{}, near(in)
	}
	if err != nil {
		return Report{}, err
	}
	m := &maker{in: in, past: walk(in.Events, in.Policies), x: x, told: map[engine.ChangeID]explain.Explanation{}}
	m.r = Report{
		Scope: x.Scope, Change: cmp.Or(x.Change, x.Proposal), Made: in.Now.UTC(), Transition: x.Transition, From: x.From, To: x.To,
		Outcome: x.Outcome, Why: explain.Why(x.Why), Decided: decidedBy(x),
		Modes: []Band{}, Changes: []Change{}, Incidents: []Incident{}, Timeline: []Moment{}, People: []Deed{}, Budgets: []Budget{},
		LeftOut: append([]string{}, in.LeftOut...),
	}
	m.extent()
	m.signs()
	m.owner()
	m.changes()
	m.incidents()
	m.timeline()
	m.people()
	m.readings()
	m.r.Modes = m.past.bands(m.r.Span())
	m.r.Answers = m.answers()
	return m.r, nil
}

// near finds the change that somebody may have meant: the one that an event of that number came after, else the first.
func near(in Input) error {
	scope, number, _ := explain.Number(in.Change)
	e := &Unknown{Scope: scope, Change: in.Change}
	if e.Scope == "" && len(in.Events) > 0 {
		e.Scope = in.Events[0].Stream
	}
	for _, event := range in.Events {
		if event.Version > number && e.Near != "" {
			break
		}
		switch f := event.Fact.(type) {
		case engine.ChangeStarted:
			e.Near, e.Why = f.Change, fmt.Sprintf("%s → %s, at %s", f.From, f.To, stamp(event.At))
		case engine.ChangeProposed:
			e.Near, e.Why = f.Proposal.ID, fmt.Sprintf("%s → %s, proposed at %s", f.Proposal.From, f.Proposal.To, stamp(event.At))
		}
	}
	return e
}

func (m *maker) ref(e engine.Event) Ref { return Ref(fmt.Sprintf("%s/%d", e.Stream, e.Version)) }

// chosen is the index of the event in which x was chosen.
func (m *maker) chosen(x explain.Explanation) int {
	if len(x.Timeline) == 0 {
		return -1
	}
	id := cmp.Or(x.Proposal, x.Change)
	if _, v, ok := explain.Number(id); ok {
		if i := m.past.index(v); i >= 0 {
			return i
		}
	}
	return m.past.index(x.Timeline[0].Version) // its proposal was not read
}

// extent finds from where to where the story goes.
func (m *maker) extent() {
	r, p := &m.r, m.past
	chosen := m.chosen(m.x)
	start := chosen
	if _, v, ok := explain.Number(m.x.Change); ok {
		start = p.index(v)
	}
	m.lo, m.hi = chosen, chosen
	visits := p.around(start)
	began := p.events[chosen].At
	for i, v := range visits {
		if i > 0 && began.Sub(p.events[v.from].At) > sameStory {
			r.LeftOut = append(r.LeftOut, fmt.Sprintf("%s had left %s at %s already: that stay began more than a day before, and is a story of its own (%s)",
				r.Scope, v.home, stamp(p.events[v.from].At), m.ref(p.events[v.from])))
			break
		}
		r.Home, r.Left = v.home, p.events[v.from].At
		m.lo = min(m.lo, v.from)
		m.hi, r.Open, r.Ended = len(p.events)-1, v.to < 0, time.Time{}
		if v.to >= 0 {
			m.hi = p.decisionEnd(v.to)
			r.Ended = p.events[v.to].At
		}
	}
	if len(visits) == 0 { // a proposal that came to nothing, or a change that moved nothing
		r.Home, r.Left = m.x.From, time.Time{}
		r.Ended, r.Open = m.x.Ended, m.x.Ended.IsZero()
		last := m.x.Timeline[len(m.x.Timeline)-1].Version
		m.hi = len(p.events) - 1
		if !r.Open {
			m.hi = p.decisionEnd(p.index(last))
		}
	}
	// The change that left home may have been proposed before.
	if f, ok := p.events[m.lo].Fact.(engine.ChangeStarted); ok && f.Proposal != "" {
		if _, v, ok := explain.Number(f.Proposal); ok && p.index(v) >= 0 {
			m.lo = p.index(v)
		}
	}
	m.lo = p.decisionBegin(m.lo)
	if m.in.More && m.hi == len(p.events)-1 {
		r.LeftOut = append(r.LeftOut, fmt.Sprintf("the story may go on behind %s: what came later was not read", m.ref(p.events[m.hi])))
	}
	if p.cut && m.lo == 0 {
		r.LeftOut = append(r.LeftOut, fmt.Sprintf("the story may begin before %s: what came earlier is archived or was not read", m.ref(p.events[0])))
	}
}

// signs finds what showed before the decision what was the matter: incidents that were open, a condition that was true and had to stay
// so for a while, a transition that was ready and withheld.
func (m *maker) signs() {
	p, r := m.past, &m.r
	first := p.events[m.lo].At
	open := map[engine.IncidentID]int{}
	clocks, withheld := map[string]int{}, map[string]int{}
	for i := range p.events[:m.lo] {
		e := p.events[i]
		switch f := e.Fact.(type) {
		case engine.IncidentOpened:
			if f.Incident.Kind == engine.IncidentSLO {
				open[f.Incident.ID] = i
			}
		case engine.IncidentResolved:
			delete(open, f.Incident)
		case engine.ConditionTurned:
			delete(clocks, f.Clock.Condition)
			if f.Clock.Truth == engine.True {
				clocks[f.Clock.Condition] = i
			}
		case engine.TransitionWithheld:
			if _, before := withheld[f.Transition]; !before {
				withheld[f.Transition] = i
			}
		case engine.WithholdingEnded:
			delete(withheld, f.Transition)
		case engine.DirectivePublished: // the clocks of a mode end with it
			clocks = map[string]int{}
		}
	}
	for _, i := range open {
		m.also = append(m.also, i)
	}
	name, condition := m.entry()
	if i, ok := clocks[condition]; ok && condition != "" {
		m.also = append(m.also, i)
	}
	if i, ok := withheld[name]; ok && name != "" {
		m.also = append(m.also, i)
	}
	slices.Sort(m.also)
	m.also = slices.DeleteFunc(m.also, func(i int) bool {
		old := first.Sub(p.events[i].At) > sameStory
		if old {
			r.LeftOut = append(r.LeftOut, fmt.Sprintf("%s, at %s, more than a day before: %s", m.ref(p.events[i]), stamp(p.events[i].At), explain.What(p.events[i])))
		}
		return old
	})
	for _, i := range m.also {
		m.sign = append(m.sign, sign{p.events[i].At, explain.What(p.events[i]), m.ref(p.events[i])})
	}
	r.Began = first
	if len(m.sign) > 0 {
		r.Began = m.sign[0].at
	}
}

// entry is the transition that began the story, and the name of its condition.
func (m *maker) entry() (transition, condition string) {
	for _, e := range m.past.events[m.lo : m.hi+1] {
		switch f := e.Fact.(type) {
		case engine.ChangeProposed:
			return f.Proposal.Transition, f.Proposal.Retry.Condition
		case engine.ChangeStarted:
			return f.Transition, f.Retry.Condition
		}
	}
	return "", ""
}

// owner finds whose it is and which runbook people were given: in what they were told, else in the rules.
func (m *maker) owner() {
	for _, e := range m.story() {
		if f, ok := e.Fact.(engine.IncidentOpened); ok {
			m.r.Owner, m.r.Runbook = cmp.Or(f.Details.Owner, m.r.Owner), cmp.Or(f.Details.Runbook, m.r.Runbook)
		}
	}
	if m.r.Owner != "" && m.r.Runbook != "" {
		return
	}
	if texts := m.in.Policies(m.x.Scope, m.x.Rule.Digest); len(texts) > 0 {
		m.r.Owner, m.r.Runbook = cmp.Or(m.r.Owner, texts[0].Owner), cmp.Or(m.r.Runbook, texts[0].Runbook)
	}
}

// story are its events in order: the signs before it, itself, and how what it opened ended.
func (m *maker) story() []engine.Event {
	list := make([]engine.Event, 0, len(m.also)+m.hi-m.lo+1)
	after := []int{}
	for _, i := range m.also {
		if i < m.lo {
			list = append(list, m.past.events[i])
		} else {
			after = append(after, i)
		}
	}
	list = append(list, m.past.events[m.lo:m.hi+1]...)
	for _, i := range after {
		list = append(list, m.past.events[i])
	}
	return list
}

// changes tells each change of the stay, and each proposal that none came of.
func (m *maker) changes() {
	seen := map[engine.ChangeID]bool{}
	var ids []engine.ChangeID
	for _, e := range m.past.events[m.lo : m.hi+1] {
		switch f := e.Fact.(type) {
		case engine.ChangeProposed:
			ids = append(ids, f.Proposal.ID)
		case engine.ChangeStarted:
			ids = append(ids, f.Change)
			seen[f.Proposal] = true // told with its change
		}
	}
	ids = slices.DeleteFunc(ids, func(id engine.ChangeID) bool { return seen[id] })
	if len(ids) > maxChanges {
		rest := ids[maxChanges:]
		ids = slices.Clone(ids[:maxChanges])
		left := len(rest)
		if slices.Contains(rest, m.r.Change) {
			ids, left = append(ids, m.r.Change), left-1
		}
		if left > 0 {
			m.r.LeftOut = append(m.r.LeftOut, fmt.Sprintf("%d further changes and proposals of the same stay are in the timeline only", left))
		}
	}
	for _, id := range ids {
		x := m.x
		if id != m.r.Change {
			var err error
			if x, err = explain.Change(m.past.events, id, m.in.Policies); err != nil {
				continue // it is one of these events: nothing says otherwise
			}
		}
		m.told[id] = x
		m.rest(x)
		c := m.change(x, id == m.r.Change)
		m.r.Changes = append(m.r.Changes, c)
		if c.Asked {
			m.r.Via = c.Via
		}
	}
}

// rest adds what of a change's life is outside of the story: what withheld it before, or the end of a proposal after the scope was back.
func (m *maker) rest(x explain.Explanation) {
	for _, moment := range x.Timeline {
		if i := m.past.index(moment.Version); i >= 0 && (i < m.lo || i > m.hi) && !slices.Contains(m.also, i) {
			m.also = append(m.also, i)
		}
	}
	slices.Sort(m.also)
}

// change is x with how long its parts took.
func (m *maker) change(x explain.Explanation, asked bool) Change {
	c := Change{
		ID: cmp.Or(x.Change, x.Proposal), Asked: asked, Transition: x.Transition, From: x.From, To: x.To, Outcome: x.Outcome,
		Why: explain.Why(x.Why), By: decidedBy(x), Position: x.Rule.Position, Condition: x.Rule.Condition,
		Started: x.Started, Ended: x.Ended, Waited: x.Waited, Took: x.Took, Steps: x.Steps, Replay: x.Replay.String(),
	}
	if i := m.chosen(x); i >= 0 {
		c.Event = m.ref(m.past.events[i])
	}
	if x.Proposal != "" {
		c.Proposed = x.Began
	}
	undoing, all := false, false // all: every instance has been told
	var held time.Time
	for _, moment := range x.Timeline {
		i := m.past.index(moment.Version)
		if i < 0 {
			continue
		}
		e := m.past.events[i]
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			if f.Change == x.Change {
				if f.Transition == "" {
					c.Via, c.Above = explain.Via(f), f.Imposed != "" || f.Returns
				}
				c.Instances, all = f.Instances, f.Plan.Rollout == nil || f.Instances == 0
			}
		case engine.UndoStarted:
			undoing = true
		case engine.DirectivePublished:
			if !undoing && c.Published.IsZero() {
				c.Published = e.At
			}
		case engine.WavePublished:
			c.Waves = append(c.Waves, Wave{Number: f.Wave, Share: f.Share, Instances: f.Instances, At: e.At})
			all = f.Share >= 100
		case engine.WaveHeld:
			held = e.At
			if n := len(c.Waves); n > 0 {
				c.Waves[n-1].Why = explain.Why(e.Reason)
			}
		case engine.WaveResumed:
			if n := len(c.Waves); n > 0 && !held.IsZero() {
				c.Waves[n-1].Held += Seconds(e.At.Sub(held).Seconds())
			}
		case engine.DirectiveApplied:
			if undoing {
				continue
			}
			if n := len(c.Waves); n > 0 {
				c.Waves[n-1].Applied = e.At
			}
			if all && c.Applied.IsZero() {
				c.Applied, c.Acked = e.At, f.Acked
			}
		}
	}
	return c
}

// decidedBy says who decided.
func decidedBy(x explain.Explanation) string {
	var yes []string
	for _, v := range x.People {
		if strings.HasPrefix(v.Said, "yes") && !slices.Contains(yes, v.Person) {
			yes = append(yes, v.Person)
		}
	}
	who := "automation"
	if x.By != (engine.Actor{}) {
		who = x.By.String() + ", by hand"
	}
	switch {
	case x.Forced:
		who += ", around the gate"
	case len(yes) > 0 && x.Change != "":
		who += ", after the yes of " + strings.Join(yes, " and ")
	}
	return who
}

// incidents are what people were told of, and are over behind the story, where they are.
func (m *maker) incidents() {
	at := map[engine.IncidentID]int{} // in r.Incidents
	for _, e := range m.story() {
		if f, ok := e.Fact.(engine.IncidentOpened); ok {
			at[f.Incident.ID] = len(m.r.Incidents)
			m.r.Incidents = append(m.r.Incidents, Incident{ID: f.Incident.ID, Severity: f.Incident.Severity, Summary: f.Summary, Opened: e.At, Event: m.ref(e)})
		}
	}
	for i := 0; i < len(m.past.events) && len(at) > 0; i++ {
		e := m.past.events[i]
		if f, ok := e.Fact.(engine.IncidentResolved); ok {
			if k, ours := at[f.Incident]; ours {
				m.r.Incidents[k].Resolved = e.At
				delete(at, f.Incident)
				if (i < m.lo || i > m.hi) && !slices.Contains(m.also, i) {
					m.also = append(m.also, i)
				}
			}
		}
	}
	slices.Sort(m.also)
}

// timeline tells what happened, one event after the other. Of too many it keeps those of the change that was asked for, then those that
// move something, then the earliest.
func (m *maker) timeline() {
	events := append(m.story(), m.fleet()...)
	slices.SortStableFunc(events, func(a, b engine.Event) int { return a.At.Compare(b.At) })
	if over := len(events) - maxMoments; over > 0 {
		own := map[engine.Version]bool{}
		for _, moment := range m.x.Timeline {
			own[moment.Version] = true
		}
		weight := func(e engine.Event) int {
			switch e.Fact.(type) {
			case engine.ChangeStarted, engine.ChangeProposed, engine.ChangeDone, engine.ChangeUndone, engine.ChangeFailed, engine.ChangeStuck,
				engine.IncidentOpened, engine.IncidentResolved, engine.GlassBroken:
				return 1
			}
			if own[e.Version] && e.Stream == m.r.Scope {
				return 0
			}
			return 2
		}
		ranked := slices.Clone(events)
		slices.SortStableFunc(ranked, func(a, b engine.Event) int { return cmp.Compare(weight(a), weight(b)) })
		keep := map[Ref]bool{}
		for _, e := range ranked[:maxMoments] {
			keep[m.ref(e)] = true
		}
		events = slices.DeleteFunc(events, func(e engine.Event) bool { return !keep[m.ref(e)] })
		m.r.LeftOut = append(m.r.LeftOut, fmt.Sprintf("%d further events between %s and %s are not in the timeline: modeshift history %s shows them",
			over, stamp(events[0].At), stamp(events[len(events)-1].At), m.r.Scope))
	}
	for _, e := range events {
		moment := Moment{Event: m.ref(e), At: e.At, After: Seconds(e.At.Sub(m.r.Began).Seconds()), Kind: e.Kind(), What: explain.What(e), Why: explain.Why(e.Reason)}
		if e.Cause.Actor != (engine.Actor{}) {
			moment.By = e.Cause.String()
		}
		m.r.Timeline = append(m.r.Timeline, moment)
	}
}

// unread reports whether the fleet's events of some of the story were not read.
func (m *maker) unread() bool {
	n := len(m.in.Fleet)
	if n == 0 {
		return m.in.FleetMore
	}
	return m.in.Fleet[0].Version > 1 && m.in.Fleet[0].At.After(m.r.Began) || m.in.FleetMore && m.in.Fleet[n-1].At.Before(cmp.Or(m.r.Ended, m.r.Made))
}

// fleet are the events of the fleet that bear on the story: what was frozen, and which sources could not be seen.
func (m *maker) fleet() (list []engine.Event) {
	to := m.r.Ended
	if to.IsZero() {
		to = m.r.Made
	}
	var lost []engine.Event // before the story, and not over when it began
	var frozen *engine.Event
	for i, e := range m.in.Fleet {
		inside := !e.At.Before(m.r.Began) && !e.At.After(to)
		switch f := e.Fact.(type) {
		case engine.SightLost:
			if e.At.Before(m.r.Began) {
				lost = append(lost, e)
			}
		case engine.SightRegained:
			if e.At.Before(m.r.Began) {
				lost = slices.DeleteFunc(lost, func(o engine.Event) bool { return o.Fact.(engine.SightLost).Subject == f.Subject })
			}
		case engine.AutomationFrozen:
			if e.At.Before(m.r.Began) {
				frozen = &m.in.Fleet[i]
			}
		case engine.AutomationReleased:
			if e.At.Before(m.r.Began) {
				frozen = nil
			}
		case engine.BrakePermitted:
			if f.Scope != m.r.Scope {
				continue
			}
		case engine.LogRecovered, engine.TermExceeded, engine.TermRecovered:
		default:
			continue
		}
		if inside {
			list = append(list, e)
		}
	}
	if frozen != nil {
		lost = append(lost, *frozen)
	}
	return append(lost, list...)
}

// people are those who did something: a request and all that it led to at once is one deed.
func (m *maker) people() {
	last := Ref("")
	for _, e := range m.story() {
		if e.Cause.Actor == (engine.Actor{}) {
			continue
		}
		i := m.past.index(e.Version)
		first := m.ref(m.past.events[m.past.decisionBegin(i)])
		var deed bool
		switch f := e.Fact.(type) {
		case engine.ApprovalGranted, engine.ApprovalRefused, engine.ProposalDenied, engine.ModePinned, engine.ModeUnpinned, engine.AutomationFrozen,
			engine.AutomationReleased, engine.UndoStarted, engine.ChangeSettled, engine.RequestRefused, engine.BudgetCorrected,
			engine.BudgetCorrectionWithdrawn, engine.ChangeProposed, engine.ProposalWithdrawn:
			deed = true
		case engine.ChangeStarted:
			deed = f.Proposal == ""
		case engine.GlassBroken:
			deed = true
		}
		if !deed {
			continue
		}
		if n := len(m.r.People); n > 0 && last == first {
			m.r.People[n-1].Did += "; " + explain.What(e)
			continue
		}
		last = first
		m.r.People = append(m.r.People, Deed{At: e.At, Who: e.Cause.String(), Did: explain.What(e), Why: e.Reason.Text, Event: m.ref(e)})
	}
}

// stamp is an instant as a line of text shows it, in UTC: who reads a report may sit anywhere.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
