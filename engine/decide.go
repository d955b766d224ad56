package engine

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Decide returns the events that in causes in s under p; nil when nothing changes. Time comes with in.At (UTC), which must
// not lie before s.At. Equal arguments always give equal events, in the same order. The caller stores all of them at version
// s.Version, or none.
func Decide(p Policy, s State, in Input) []Event {
	d := decision{p: p, s: s, in: in}
	if _, removed := in.What.(*ScopeRemoved); removed {
		d.retire()
		return d.events
	}
	d.adopt()
	switch w := in.What.(type) {
	case *Observed:
		d.gap(w.Instant, w.Prev)
		d.missWindows(w.Missed)
	case *SourcesObserved:
		d.gap(w.Instant, w.Prev)
	case *TimePassed:
		d.gap(in.At, w.Prev)
		d.missWindows(w.Missed)
	case *AncestorMoved:
		d.gap(in.At, w.Prev)
		d.missWindows(w.Missed)
	}
	d.expire()
	d.above()
	switch w := in.What.(type) {
	case *Observed:
		d.observe(w)
	case *SourcesObserved:
		d.observeSources(w)
	case *SetRequested:
		d.set(w)
	case *UnpinRequested:
		d.unpin(w)
	case *FreezeRequested:
		d.freeze(w)
	case *UnfreezeRequested:
		d.unfreeze(w)
	case *HeadsObserved:
		if len(w.Heads) > 0 {
			d.emit(CheckpointMade{Heads: w.Heads}, CodeCheckpoint, "", nil)
		}
	case *LogFaulted:
		d.emit(LogRecovered{From: w.From, To: in.At, Detail: w.Detail}, CodeLogFault, "the log could not be written", nil)
	case *ReviewGiven:
		d.review(w)
	case *StepReported:
		d.report(w)
	case *TargetsReported:
		d.targets(w)
	case *CancelRequested:
		d.cancel(w)
	case *UndoRequested:
		d.undo(w)
	case *SettleRequested:
		d.settle(w)
	case *CorrectionRequested:
		d.correct(w)
	case *WithdrawalRequested:
		d.withdrawCorrection(w)
	case *InstancesReported:
		d.advance()
	case *TermHeard:
		d.heard(w)
	case *RecoverRequested:
		d.recoverTerm(w)
	case *PermitRequested:
		d.permit(w)
	case *SuggestionsDue:
		d.suggestions(w)
	}
	d.impose()
	d.leave()
	if len(d.events) > 0 || d.s.Directive.Mode != d.s.Target || d.outranked() { // a server that was led past could not publish it
		d.refresh()
	}
	d.diverge()
	return d.events
}

// decision is one Decide under way: the state as it will be once the events so far are stored.
type decision struct {
	p      Policy
	s      State
	in     Input
	events []Event
	left   Mode // the target before this decision, when it moved
	// floored is why what is asked from above has changed; zero when it has not.
	floored Reason
}

// emit appends an event and folds it into the state the rest of the decision sees.
func (d *decision) emit(f Fact, code Code, text string, evidence []Reading) {
	e := Event{
		Stream: d.p.Scope, Version: d.s.Version + 1, At: d.in.At, Rules: d.p.Digest,
		Cause:  Cause{Input: d.in.What.name(), Actor: d.in.By},
		Reason: Reason{Code: code, Text: text}, Evidence: evidence, Fact: f,
	}
	switch w := d.in.What.(type) {
	case *Observed:
		e.Cause.Instant, e.Cause.Prev = w.Instant, w.Prev
	case *SourcesObserved:
		e.Cause.Instant, e.Cause.Prev = w.Instant, w.Prev
	case *TimePassed:
		e.Cause.Prev = w.Prev
	case *AncestorMoved:
		e.Cause.Prev = w.Prev
	}
	if len(d.events) == 0 {
		e.Cause.Given = given(d.in)
	}
	before := d.s.Target
	d.s = Apply(d.s, e)
	d.events = append(d.events, e)
	if d.left == "" && before != d.s.Target {
		d.left = before
	}
}

// next is the identity of the event that comes next.
func (d *decision) next() string { return identity(d.p.Scope, d.s.Version+1) }

// adopt takes note of a scope that is new or back, or of other rules, before anything is decided under them.
func (d *decision) adopt() {
	if d.s.Version > 0 && d.s.Rules == d.p.Digest && !d.s.Retired {
		return
	}
	_, declared := d.p.Mode(d.s.Target)
	switch {
	case d.s.Version > 0 && !d.s.Retired && (declared || d.s.Target == "" && len(d.p.Modes) == 0):
		d.emit(RulesChanged{From: d.s.Rules, To: d.p.Digest, Clocks: d.staleClocks()}, CodeRules, "", nil)
	case len(d.p.Modes) == 0 && d.s.Target == "":
		d.emit(ScopeAdded{}, CodeRules, "", nil)
	case declared:
		d.emit(ScopeAdded{Mode: d.s.Target}, CodeRules, "the scope is declared again and keeps its mode", nil)
	case d.s.Target == "":
		d.emit(ScopeAdded{Mode: d.p.Modes[0].Name}, CodeRules, "", nil)
	default:
		// Whoever loads rules refuses those that drop the mode in force: there is no right answer to it here.
		panic(fmt.Sprintf("engine: %s is in mode %q, which the rules %s do not declare", d.p.Scope, d.s.Target, d.p.Digest.Short()))
	}
	d.refresh()
	for _, i := range d.s.Incidents {
		if i.Kind == IncidentSLO && !slices.ContainsFunc(d.p.Alerts, func(a Alert) bool { return a.subject() == i.Subject }) {
			d.resolve(i, CodeRules, "the rules do not watch it any more", nil)
		}
	}
	for _, q := range d.s.Suppressed {
		if !slices.ContainsFunc(d.p.Alerts, func(a Alert) bool { return a.subject() == q.Subject }) {
			d.unsuppress(q, CodeRules, "the rules do not watch it any more", nil)
		}
	}
	for _, w := range d.s.Withheld {
		if d.p.transition(w.Transition) == nil {
			d.endWithholding(w, CodeRules, "the transition is not declared any more")
		}
	}
	for _, b := range d.s.Blind {
		if d.p.Scope != Fleet && !slices.ContainsFunc(d.p.Conditions, func(c Condition) bool { return c.Name == b.Subject }) {
			d.regain(b.Subject, "the condition is not declared any more")
		}
	}
	d.endPauses()
	d.renew(CodeRules)
}

// staleClocks names the conditions with a clock whose meaning the new rules change: what was counted for another question
// does not count for this one.
func (d *decision) staleClocks() []string {
	var stale []string
	for _, c := range d.s.Clocks {
		i := slices.IndexFunc(d.p.Conditions, func(n Condition) bool { return n.Name == c.Condition })
		if i < 0 || d.p.Conditions[i].Digest != c.Digest || !d.timed(i) {
			stale = append(stale, c.Condition)
		}
	}
	return stale
}

// timed reports whether how long condition i held matters to some transition or open incident now. The clock of any other stands unwatched:
// what became of its condition meanwhile would be taken for true.
func (d *decision) timed(i int) bool {
	if d.p.escalating(d.s, i) {
		return true
	}
	return slices.ContainsFunc(d.p.Transitions, func(t Transition) bool {
		_, waits := d.s.proposal(t.Name)
		return t.When == i && ((t.For > 0 || d.exit(&t)) && t.leaves(d.s.Target) || waits || d.s.resting(t.Name) || d.s.mayAsk(t.Name))
	})
}

// expire ends what people asked for when its time is over. At its last instant it is over.
func (d *decision) expire() {
	if p := d.s.Pin; p != nil && !d.in.At.Before(p.Until) {
		d.emit(ModeUnpinned{}, CodeExpired, "the pin's time is over", nil)
	}
	if f := d.s.Freeze; f != nil && !f.Until.IsZero() && !d.in.At.Before(f.Until) {
		d.emit(AutomationReleased{}, CodeExpired, "the freeze's time is over", nil)
	}
	for _, p := range d.s.Proposals {
		if !d.in.At.Before(p.Until) {
			d.timeOver(p)
		}
	}
}

func (d *decision) retire() {
	if d.s.Version == 0 || d.s.Retired {
		return
	}
	for _, p := range d.s.Proposals {
		d.withdraw(p, CodeRetired, "no rule file declares the scope any more")
	}
	for _, i := range d.s.Incidents {
		d.resolve(i, CodeRetired, "no rule file declares the scope any more", nil)
	}
	d.emit(ScopeRetired{}, CodeRetired, "no rule file declares the scope any more", nil)
}

// refresh publishes the flags the rules give the present mode. A change under way finishes by the plan it was stored with;
// after it, the rules hold.
func (d *decision) refresh() {
	if d.s.Retired || d.in.Deposed != "" {
		return
	}
	if d.outranked() {
		d.publishAgain()
	}
	m, ok := d.p.Mode(d.s.Target)
	m = d.laid(m)
	if now := d.s.Directive; ok && d.s.Change == nil && (now.Mode != m.Name || !sameFlags(now.Flags, m.Flags) || !reflect.DeepEqual(now.Unavailable, m.Unavailable)) {
		why := Reason{CodeRules, "the mode's flags changed"}
		switch {
		case now.Revision == 0:
			why.Text = "the scope's first mode"
		case m.Beside && d.floored.Code != "":
			why = d.floored
		}
		d.emit(DirectivePublished{Directive: d.directive(m)}, why.Code, why.Text, nil)
	}
}

// outranked reports whether instances may have a later directive than the one in force, from before this server was restored. In
// the middle of waves it is left to the next of them.
func (d *decision) outranked() bool {
	now := d.s.Directive
	return now.Revision > 0 && now.Term < d.in.Recovered && d.in.Deposed == "" && (d.s.Change == nil || !d.s.Change.waves())
}

// publishAgain tells instances in the server's new term what they were told before.
func (d *decision) publishAgain() {
	next := d.s.Directive
	next.Term, next.Revision = max(d.in.Term, d.in.Recovered), next.Revision+1
	d.emit(DirectivePublished{Directive: next}, CodeTerm, fmt.Sprintf("this server has term %d now", next.Term), nil)
}

// directive is the next one, for m.
func (d *decision) directive(m ModeRule) Directive {
	m = d.laid(m)
	return Directive{Term: max(d.in.Term, d.s.Directive.Term), Revision: d.s.Directive.Revision + 1, Mode: m.Name, Flags: m.Flags, Unavailable: m.Unavailable}
}

// publish makes m the directive, for a change.
func (d *decision) publish(c ChangeID, m ModeRule) {
	d.emit(DirectivePublished{Change: c, Directive: d.directive(m)}, CodeStarted, "", nil)
	if now := d.s.Change; now.waves() && !now.Undoing && !now.Rolled && now.Why == "" {
		d.wave(CodeStarted, "")
	}
	d.endPauses() // its plan may be older than the rules
}

// sameFlags compares flags as JSON values; absent and empty are the same.
func sameFlags(a, b Flags) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// gap records the time nobody evaluated before instant, if there is any.
func (d *decision) gap(instant, prev time.Time) {
	if !prev.IsZero() && instant.Sub(prev) > 2*d.p.Interval {
		lost := instant.Sub(prev)
		d.emit(TimeLost{From: prev, To: instant}, CodeGap, fmt.Sprintf("nobody evaluated for %v", lost), nil)
		for _, p := range d.s.Proposals {
			d.emit(DeadlineMoved{Proposal: p.ID, Until: p.Until.Add(lost)}, CodeGap, fmt.Sprintf("nobody could answer for %v", lost), nil)
		}
	}
}
