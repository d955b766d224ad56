package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// Review sums up what has happened in a while, over scopes.
type Review struct {
	Made        time.Time      `json:"made"`
	Since       time.Time      `json:"since"`
	Modes       []ModeUse      `json:"modes" nullable:"false"`
	Flags       []StaleFlag    `json:"flags" nullable:"false"` // past their date, or not tested for long
	Automations []Automation   `json:"automations" nullable:"false"`
	Approvals   []ApprovalTime `json:"approvals" nullable:"false"`
	SLOs        []SLOUse       `json:"slos" nullable:"false"`
	LeftOut     []string       `json:"left_out" nullable:"false"` // what was not read, and why
}

// Standing says how much a mode is used.
type Standing string

// How much modes are used.
const (
	Present  Standing = "in force"   // now
	Used     Standing = "used"       // entered in the time under review
	Stale    Standing = "stale"      // entered before it, and not in it
	Never    Standing = "never used" // not once, as far back as was read
	Unheard  Standing = "not seen"   // not as far back as was read, which is not the beginning
	Vanished Standing = "not declared any more"
)

// ModeUse is how a mode of a scope was used.
type ModeUse struct {
	Scope    engine.Scope `json:"scope"`
	Mode     engine.Mode  `json:"mode"`
	Standing Standing     `json:"standing"`
	Entered  int          `json:"entered"`      // how often, in the time under review
	Time     Seconds      `json:"time_seconds"` // in it, of that time
	Share    float64      `json:"share"`        // of the time of the scope that is known
	Last     time.Time    `json:"last,omitzero"`
}

// StaleFlag is a declared flag that nobody looks after.
type StaleFlag struct {
	Scope    engine.Scope `json:"scope"`
	Flag     string       `json:"flag"`
	Owner    string       `json:"owner,omitempty"`
	Expires  string       `json:"expires,omitempty"`
	Tested   string       `json:"tested,omitempty"`
	Expired  bool         `json:"expired"`
	Untested bool         `json:"untested"`
}

// Automation is what became of a transition. Started is the sum of ByItself, Approved, ByHand and Forced; changes that are under way
// are in it and have no outcome yet, and one that was done and taken back later counts as both.
type Automation struct {
	Scope      engine.Scope  `json:"scope"`
	Transition string        `json:"transition"` // in parentheses: what no transition declares
	From       []engine.Mode `json:"from,omitempty"`
	To         engine.Mode   `json:"to,omitempty"`
	Declared   bool          `json:"declared"`

	Started  int `json:"started"`
	ByItself int `json:"by_itself"`
	Approved int `json:"approved"` // people said yes to what automation proposed
	ByHand   int `json:"by_hand"`
	Forced   int `json:"forced"` // around a gate

	Done      int           `json:"done"`
	Undone    int           `json:"undone"`
	Held      int           `json:"held"`  // it or a wave of it was, for a while
	Stuck     int           `json:"stuck"` // a person had to look
	Overtaken int           `json:"overtaken"`
	Withheld  []WithheldFor `json:"withheld" nullable:"false"` // by reason, the most frequent first
}

// WithheldFor counts how often a transition that was ready was kept from starting.
type WithheldFor struct {
	Reason engine.Code `json:"reason"`
	Times  int         `json:"times"`
}

// ApprovalTime is how long people took for the proposals of a scope.
type ApprovalTime struct {
	Scope     engine.Scope `json:"scope"`
	Proposed  int          `json:"proposed"` // that ended in the time under review, or wait
	Approved  int          `json:"approved"`
	Denied    int          `json:"denied"`
	Expired   int          `json:"expired"`
	Withdrawn int          `json:"withdrawn"` // nobody needed it any more
	Waiting   int          `json:"waiting"`
	Median    Seconds      `json:"median_seconds"` // until people had said yes or no
	P90       Seconds      `json:"p90_seconds"`
	Longest   Seconds      `json:"longest_seconds"`
}

// SLOUse is how often a tier of an SLO fired.
type SLOUse struct {
	Scope    engine.Scope    `json:"scope"`
	SLO      string          `json:"slo"`
	Severity engine.Severity `json:"severity"`
	Fired    int             `json:"fired"`        // how often it began to, in the time under review
	Open     bool            `json:"open"`         // now
	Time     Seconds         `json:"time_seconds"` // it fired, of the time under review
	Share    float64         `json:"share"`        // of the time of the scope that is known
	Verdict  string          `json:"verdict,omitempty"`
}

// What there is to say of a tier.
const (
	NeverFired  = "never fired"
	AlwaysFires = "always fires"
)

// alwaysFires is the share of the time from which on a tier tells nobody anything new.
const alwaysFires = 0.9

// Log is what was read of a scope.
type Log struct {
	Scope  engine.Scope
	Policy *engine.Policy // in force; nil where none is
	State  engine.State   // now
	Events []engine.Event // oldest first; they end with the stream, and need not begin with it
}

// NewReview begins a review of the time since an instant. What nobody looks after of flags is in it.
func NewReview(flags []StaleFlag, since, now time.Time) Review {
	r := Review{Made: now.UTC(), Since: since.UTC(), Modes: []ModeUse{}, Flags: []StaleFlag{}, Automations: []Automation{}, Approvals: []ApprovalTime{}, SLOs: []SLOUse{}, LeftOut: []string{}}
	for _, f := range flags {
		if f.Expired || f.Untested {
			r.Flags = append(r.Flags, f)
		}
	}
	return r
}

// Look adds a scope.
func (r *Review) Look(l Log) {
	v := newLooker(l, r.Since, r.Made)
	for _, e := range l.Events {
		v.take(e)
	}
	v.end()
	r.Modes = append(r.Modes, v.modes()...)
	r.Automations = append(r.Automations, v.automations()...)
	if a := v.approvals(); a.Proposed > 0 {
		r.Approvals = append(r.Approvals, a)
	}
	r.SLOs = append(r.SLOs, v.slos()...)
	if v.fold.Cut && v.began.After(r.Since) {
		r.LeftOut = append(r.LeftOut, fmt.Sprintf("of %s what was before %s: it is archived or too much to read", l.Scope, stamp(v.began)))
	}
}

// looker goes through the log of one scope.
type looker struct {
	Log
	since, now time.Time
	fold       explain.Fold
	began      time.Time // from when on the scope is known, of the time under review

	use     map[engine.Mode]*ModeUse
	entered time.Time // the present target was

	runs  map[string]*Automation
	order []string
	held  map[engine.ChangeID]bool
	via   map[engine.ChangeID]string // the transition of a change

	asked map[engine.ChangeID]time.Time // proposals that wait
	times []time.Duration
	gate  ApprovalTime

	tiers map[string]*SLOUse
	open  map[engine.IncidentID]firing
}

// firing is a tier of an SLO that fires.
type firing struct {
	subject string
	since   time.Time
}

func newLooker(l Log, since, now time.Time) *looker {
	v := &looker{Log: l, since: since, now: now, fold: explain.Begin(l.Events), began: since,
		use: map[engine.Mode]*ModeUse{}, runs: map[string]*Automation{}, held: map[engine.ChangeID]bool{}, via: map[engine.ChangeID]string{},
		asked: map[engine.ChangeID]time.Time{}, gate: ApprovalTime{Scope: l.Scope}, tiers: map[string]*SLOUse{}, open: map[engine.IncidentID]firing{}}
	if len(l.Events) > 0 && l.Events[0].At.After(since) {
		v.began = l.Events[0].At
	}
	if l.Policy == nil {
		return v
	}
	for i := range l.Policy.Transitions {
		t := &l.Policy.Transitions[i]
		a := v.run(t.Name)
		a.From, a.To, a.Declared = t.From, t.To, true
	}
	return v
}

// What is carried out by no declared transition. No transition has such a name: names have no parentheses.
const (
	directivesOnly = "(directive only)"
	fromAbove      = "(from a scope above)"
)

func unnamed(f engine.ChangeStarted) string {
	if f.Imposed != "" || f.Returns {
		return fromAbove
	}
	return directivesOnly
}

// run is what became of a transition so far.
func (v *looker) run(transition string) *Automation {
	a := v.runs[transition]
	if a == nil {
		a = &Automation{Scope: v.Scope, Transition: transition, Withheld: []WithheldFor{}}
		v.runs[transition] = a
		v.order = append(v.order, transition)
	}
	return a
}

func (v *looker) mode(m engine.Mode) *ModeUse {
	u := v.use[m]
	if u == nil {
		u = &ModeUse{Scope: v.Scope, Mode: m}
		v.use[m] = u
	}
	return u
}

// within is how much of a span is under review.
func (v *looker) within(from, to time.Time) Seconds {
	if from.Before(v.began) {
		from = v.began
	}
	if to.After(v.now) {
		to = v.now
	}
	return Seconds(max(0, to.Sub(from)).Seconds())
}

func (v *looker) take(e engine.Event) {
	before := v.fold.State.Target
	v.fold.Apply(e)
	counts := !e.At.Before(v.since)
	if target := v.fold.State.Target; target != before && target != "" {
		if before != "" {
			v.mode(before).Time += v.within(v.entered, e.At)
		}
		u := v.mode(target)
		u.Last, v.entered = e.At, e.At
		if counts {
			u.Entered++
		}
	}
	v.takeChange(e, counts)
	v.takeProposal(e, counts)
	switch f := e.Fact.(type) {
	case engine.IncidentOpened:
		if f.Incident.Kind == engine.IncidentSLO {
			v.open[f.Incident.ID] = firing{f.Incident.Subject, e.At}
			if counts {
				v.tier(f.Incident.Subject).Fired++
			}
		}
	case engine.IncidentResolved:
		switch i, is := v.open[f.Incident]; {
		case is:
			v.tier(i.subject).Time += v.within(i.since, e.At)
			delete(v.open, f.Incident)
		case v.fold.Cut && strings.HasPrefix(f.Subject, "slo/"): // it began before what was read
			v.tier(f.Subject).Time += v.within(v.began, e.At)
		}
	}
}

// end adds what is so now and began before what was read.
func (v *looker) end() {
	if v.entered.IsZero() && v.State.Target != "" {
		v.entered = v.State.Entered
		v.mode(v.State.Target).Last = v.State.Entered
	}
	for _, i := range v.State.Incidents {
		if _, is := v.open[i.ID]; !is && i.Kind == engine.IncidentSLO {
			v.open[i.ID] = firing{i.Subject, i.Opened}
		}
	}
	for _, p := range v.State.Proposals {
		if _, is := v.asked[p.ID]; !is && p.Change == "" {
			v.asked[p.ID] = v.began
		}
	}
}

// takeChange counts what became of changes.
func (v *looker) takeChange(e engine.Event, counts bool) {
	ended := func(id engine.ChangeID, count func(*Automation)) {
		if name, known := v.via[id]; known && counts {
			count(v.run(name))
		}
	}
	hold := func(id engine.ChangeID) {
		if !v.held[id] {
			ended(id, func(a *Automation) { a.Held++ })
			v.held[id] = true
		}
	}
	switch f := e.Fact.(type) {
	case engine.ChangeStarted:
		name := f.Transition
		if name == "" {
			name = unnamed(f)
		}
		v.via[f.Change] = name
		if !counts {
			return
		}
		a := v.run(name)
		a.Started++
		switch {
		case f.Forced:
			a.Forced++
		case f.Proposal != "":
			a.Approved++
		case e.Cause.Actor != (engine.Actor{}):
			a.ByHand++
		default:
			a.ByItself++
		}
	case engine.ChangeDone:
		ended(f.Change, func(a *Automation) { a.Done++ })
	case engine.ChangeUndone:
		ended(f.Change, func(a *Automation) { a.Undone++ })
	case engine.ChangeStuck:
		ended(f.Change, func(a *Automation) { a.Stuck++ })
	case engine.ChangeOvertaken:
		ended(f.Change, func(a *Automation) { a.Overtaken++ })
	case engine.ChangeHeld:
		hold(f.Change)
	case engine.WaveHeld:
		hold(f.Change)
	case engine.StepHeld:
		hold(f.Change)
	case engine.TransitionWithheld:
		if !counts {
			return
		}
		a := v.run(f.Transition)
		i := slices.IndexFunc(a.Withheld, func(w WithheldFor) bool { return w.Reason == e.Reason.Code })
		if i < 0 {
			i = len(a.Withheld)
			a.Withheld = append(a.Withheld, WithheldFor{Reason: e.Reason.Code})
		}
		a.Withheld[i].Times++
	}
}

// takeProposal counts how people answered. A proposal that was renewed because a step is held is not asked about anew here: its first
// answer is the one that is measured.
func (v *looker) takeProposal(e engine.Event, counts bool) {
	answered := func(id engine.ChangeID, n *int, measured bool) {
		at, waits := v.asked[id]
		delete(v.asked, id)
		if !waits || !counts {
			return
		}
		*n++
		if measured {
			v.times = append(v.times, e.At.Sub(at))
		}
	}
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		v.asked[f.Proposal.ID] = e.At
	case engine.ApprovalGranted:
		if len(f.Missing) == 0 {
			answered(f.Proposal, &v.gate.Approved, true)
		}
	case engine.ProposalDenied:
		answered(f.Proposal, &v.gate.Denied, true)
	case engine.ProposalExpired:
		answered(f.Proposal, &v.gate.Expired, false)
	case engine.ProposalWithdrawn:
		answered(f.Proposal, &v.gate.Withdrawn, false)
	}
}

// modes are those that are declared, in their order, and then those that were used and are not declared any more.
func (v *looker) modes() []ModeUse {
	target := v.State.Target
	if target != "" && !v.State.Retired {
		v.mode(target).Time += v.within(v.entered, v.now)
	}
	known := v.now.Sub(v.began).Seconds()
	var list []ModeUse
	add := func(m engine.Mode, declared bool) {
		u := *v.mode(m)
		if known > 0 {
			u.Share = min(1, float64(u.Time)/known)
		}
		switch {
		case m == target && !v.State.Retired:
			u.Standing = Present
		case !declared:
			u.Standing = Vanished
		case u.Entered > 0 || u.Time > 0:
			u.Standing = Used
		case !u.Last.IsZero():
			u.Standing = Stale
		case v.fold.Cut:
			u.Standing = Unheard
		default:
			u.Standing = Never
		}
		list = append(list, u)
		delete(v.use, m)
	}
	if v.Policy != nil {
		for _, m := range v.Policy.Modes {
			add(m.Name, true)
		}
	}
	var rest []engine.Mode
	for m := range v.use {
		rest = append(rest, m)
	}
	slices.Sort(rest)
	for _, m := range rest {
		add(m, false)
	}
	return list
}

// automations are the transitions that are declared, and what was done by others.
func (v *looker) automations() []Automation {
	list := make([]Automation, 0, len(v.order))
	for _, name := range v.order {
		a := *v.runs[name]
		slices.SortStableFunc(a.Withheld, func(x, y WithheldFor) int {
			return cmp.Or(cmp.Compare(y.Times, x.Times), cmp.Compare(x.Reason, y.Reason))
		})
		list = append(list, a)
	}
	return list
}

func (v *looker) approvals() ApprovalTime {
	a := v.gate
	a.Waiting = len(v.asked)
	a.Proposed = a.Approved + a.Denied + a.Expired + a.Withdrawn + a.Waiting
	slices.Sort(v.times)
	a.Median, a.P90, a.Longest = quantile(v.times, 0.5), quantile(v.times, 0.9), quantile(v.times, 1)
	return a
}

// quantile is the smallest of sorted values that a share of all do not exceed.
func quantile(sorted []time.Duration, share float64) Seconds {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(share*float64(len(sorted)))) - 1
	return Seconds(sorted[max(0, i)].Seconds())
}

func (v *looker) tier(subject string) *SLOUse {
	t := v.tiers[subject]
	if t == nil {
		t = &SLOUse{Scope: v.Scope}
		v.tiers[subject] = t
	}
	return t
}

// slos are the tiers that are declared.
func (v *looker) slos() []SLOUse {
	for _, i := range v.open {
		t := v.tier(i.subject)
		t.Time += v.within(i.since, v.now)
		t.Open = true
	}
	if v.Policy == nil {
		return nil
	}
	known := v.now.Sub(v.began).Seconds()
	var list []SLOUse
	for i := range v.Policy.Alerts {
		a := &v.Policy.Alerts[i]
		t := *v.tier("slo/" + a.SLO + "/" + string(a.Severity))
		t.SLO, t.Severity = a.SLO, a.Severity
		if known > 0 {
			t.Share = min(1, float64(t.Time)/known)
		}
		switch {
		case t.Fired == 0 && t.Time == 0:
			t.Verdict = NeverFired
		case t.Share >= alwaysFires:
			t.Verdict = AlwaysFires
		}
		list = append(list, t)
	}
	return list
}
