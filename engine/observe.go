package engine

import (
	"fmt"
	"slices"
)

// observe judges one evaluation of a scope's conditions.
func (d *decision) observe(o *Observed) {
	if len(o.Conditions) != len(d.p.Conditions) {
		panic(fmt.Sprintf("engine: %d observations for the %d conditions of %s", len(o.Conditions), len(d.p.Conditions), d.p.Scope))
	}
	d.watch(o)
	d.time(o)
	d.withdrawFalse(o)
	d.goOn(o)
	d.until(o)
	d.giveBack(o)
	if why := d.outlived(o); why.Code != "" {
		d.outlast(why.Code, why.Text)
	}
	chosen := -1
	here := d.left == "" // else this very decision took a change back, and what was asked was asked in the mode before
	if here {
		chosen = d.choose(o)
	}
	d.alerts(o, chosen)
	d.escalate(o)
	d.withhold(o, chosen)
	d.calm(chosen >= 0)
	if here {
		d.proposeReady(o)
	}
	if chosen >= 0 {
		t := &d.p.Transitions[chosen]
		d.released(t)
		d.start(t.To, t, Reason{CodeCondition, d.held(o, t)}, o.Conditions[t.When].Readings, nil)
	}
	d.startApproved()
	d.overstay()
	d.linger(o)
}

// time runs the clocks of the conditions whose duration matters: they have to hold for a while, people are asked about them,
// or a transition rests until they are false.
func (d *decision) time(o *Observed) {
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		r, rests := d.s.rest(t.Name)
		rests = rests && !r.Over
		p, waits := d.s.proposal(t.Name)
		if !rests && !waits && !d.s.mayAsk(t.Name) && (t.For == 0 || !t.leaves(d.s.Target)) {
			continue
		}
		cond := &d.p.Conditions[t.When]
		c := d.s.clock(cond.Name)
		seen := &o.Conditions[t.When]
		next, news := c.tick(seen.Truth, o.Instant, o.Prev, &d.p)
		first := p.Change != "" && c.Since.IsZero()                                                      // other rules dropped its clock: what people see has to be in the log
		lost := (waits || d.s.mayAsk(t.Name)) && seen.Asked && seen.Truth == Unknown && c.Truth == False // people may say yes to that too, from here on
		switch {
		case lost:
			next.LastFalse = c.Since
		case c.Truth == Unknown && seen.Truth == False && !c.LastFalse.IsZero():
			next.Since = c.LastFalse // an unknown in between proves nothing, and does not help
		}
		if news || lost || (rests || first) && seen.Truth == False {
			next.Digest = cond.Digest
			d.emit(ConditionTurned{Clock: next}, CodeTruth, fmt.Sprintf("%s is %s", cond.Text, seen.Truth), seen.Readings)
		}
		if i, open := d.s.Incident(IncidentChange, t.Name); open && rests && seen.Truth == False && d.s.Change == nil {
			d.resolve(i, CodeNotReady, cond.Text+" is false: nothing is left to be tried", nil)
		}
	}
}

// ready reports whether t wants to happen: its condition holds, and has for long enough.
func (d *decision) ready(o *Observed, t *Transition) bool {
	if !t.leaves(d.s.Target) || o.Conditions[t.When].Truth != True || d.p.Automation == AutomationOff {
		return false
	}
	if t.For == 0 {
		return true
	}
	c := d.s.clock(d.p.Conditions[t.When].Name)
	return c.Held(o.Instant) >= t.For
}

// obstacle says what keeps a ready transition from starting by itself; the zero Reason when nothing does.
func (d *decision) obstacle(t *Transition) Reason {
	if why := d.keptOff(); why.Code != "" {
		return why
	}
	if why := d.beneath(t.To); why.Code != "" {
		return why
	}
	if why := d.rests(t); why.Code != "" {
		return why
	}
	if c := d.s.Change; c != nil && c.Transition == t.Name && t.Gate != nil {
		return Reason{Code: CodeUnderWay} // people have said yes to it: they are not asked twice
	}
	// A proposal may be voted on while a change is under way; only its start has to wait.
	if t.Gate == nil && d.s.Change != nil && !d.overtakes(t) {
		return d.underWay()
	}
	// What is safer does not wait: min_duration holds only what would take protection away.
	if m, _ := d.p.Mode(d.s.Target); m.MinDuration > 0 && d.s.Dwell(d.in.At) < m.MinDuration && !d.p.moreRestrictive(d.s.Target, t.To) {
		return Reason{CodeMinDuration, fmt.Sprintf("%s has to last %v first", m.Name, m.MinDuration)}
	}
	if why := d.flaps(t); why.Code != "" {
		return why
	}
	return d.braked(t)
}

// flaps says that a scope has changed too often for something to be taken away from its protection now. What protects does not wait,
// and where a mode has no rank nobody can say what protects more.
func (d *decision) flaps(t *Transition) Reason {
	f := d.p.Flap
	if f.Changes == 0 || d.p.moreRestrictive(d.s.Target, t.To) {
		return Reason{}
	}
	n := 0
	for _, at := range d.s.Moves {
		if d.in.At.Sub(at) < f.Within {
			n++
		}
	}
	if n < f.Changes {
		return Reason{}
	}
	return Reason{CodeFlapping, fmt.Sprintf("%d changes or more in %v", f.Changes, f.Within)}
}

// calm ends what was told of a flapping scope, once nothing is withheld for it, nor could be.
func (d *decision) calm(starts bool) {
	i, open := d.s.Incident(IncidentFlapping, string(d.p.Scope))
	if !open || slices.ContainsFunc(d.s.Withheld, func(w Withheld) bool { return w.Reason.Code == CodeFlapping }) || d.flapsBack().Code != "" {
		return
	}
	code := CodeNotReady
	if starts {
		code = CodeStarted
	}
	d.resolve(i, code, "it does not flap any more", nil)
}

// keptOff says what keeps automation as a whole from starting anything in this scope.
func (d *decision) keptOff() Reason {
	switch {
	case d.in.Deposed != "":
		return Reason{CodeTerm, d.in.Deposed}
	// What would not start anyway is not withheld by a freeze: nobody is woken for it.
	case d.p.Automation == AutomationSuggest:
		return Reason{CodeSuggest, "automation only suggests"}
	case d.p.Automation == AutomationOff:
		return Reason{CodeOff, "automation is off"}
	case d.in.Frozen != "":
		return Reason{CodeFrozen, "all automation is frozen: " + d.in.Frozen}
	case d.s.Freeze != nil:
		return Reason{CodeFrozen, "automation is frozen: " + d.s.Freeze.Reason}
	case d.s.Pin != nil:
		return Reason{CodePinned, fmt.Sprintf("%s pinned %s: %s", d.s.Pin.By, d.s.Pin.Mode, d.s.Pin.Reason)}
	}
	return Reason{}
}

// hindrance says what keeps an approved transition from starting. What a person asked for is not automation's doing.
func (d *decision) hindrance(t *Transition, byPerson bool) Reason {
	if why := d.keptOff(); why.Code != "" && (!byPerson || why.Code == CodeTerm) {
		return why
	}
	if why := d.beneath(t.To); why.Code != "" {
		return why
	}
	if d.s.Change != nil && !d.overtakes(t) {
		return d.underWay()
	}
	return Reason{}
}

// rests says why a transition that came to nothing is not tried again yet. What people said to a proposal is in the log
// already: then the reason has no text, and is not recorded once more.
func (d *decision) rests(t *Transition) Reason {
	r, ok := d.s.rest(t.Name)
	if !ok || r.Over || d.in.At.Sub(r.Since) >= r.Retry.After {
		return Reason{}
	}
	if r.Digest != "" && !r.Held {
		if r.Digest == digestOf(t, d.s, d.plan(t, t.To)) {
			return Reason{Code: CodeRetryAfter}
		}
		return Reason{}
	}
	if r.Retry.Digest != t.Digest {
		return Reason{}
	}
	return Reason{CodeRetryAfter, fmt.Sprintf("%s %s; again after %v, or when its condition was false", r.ID, r.End, r.Retry.After)}
}

// held says for how long the condition of t has been true.
func (d *decision) held(o *Observed, t *Transition) string {
	cond := &d.p.Conditions[t.When]
	if t.For == 0 {
		return cond.Text + " is true"
	}
	return fmt.Sprintf("%s was true for %v", cond.Text, d.s.clock(cond.Name).Held(o.Instant))
}

// choose returns the index of the transition that starts now, or -1: of those ready and free the most restrictive target
// wins, then file order. A target beside the others has no rank and loses to any that has one.
func (d *decision) choose(o *Observed) int {
	best := -1
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if t.Gate != nil || !d.ready(o, t) || d.obstacle(t).Code != "" {
			continue
		}
		if best < 0 || d.p.rank(t.To) > d.p.rank(d.p.Transitions[best].To) {
			best = i
		}
	}
	return best
}

// withhold records what keeps ready transitions from starting, and what does not any more.
func (d *decision) withhold(o *Observed, chosen int) {
	for _, w := range d.s.Withheld { // adopt saw to it that each is still declared
		t := d.p.transition(w.Transition)
		if _, waits := d.s.proposal(t.Name); waits {
			continue // startApproved sees to it
		}
		switch {
		case chosen >= 0 && t == &d.p.Transitions[chosen]:
			d.emit(WithholdingEnded{Transition: w.Transition}, CodeStarted, "", nil) // start sees to its incident
		case !t.leaves(d.s.Target) || o.Conditions[t.When].Truth == False,
			o.Conditions[t.When].Truth == True && !d.ready(o, t):
			d.endWithholding(w, CodeNotReady, "its condition does not hold any more")
		}
	}
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if i == chosen || !d.ready(o, t) {
			continue
		}
		if _, waits := d.s.proposal(t.Name); waits {
			continue
		}
		why := d.obstacle(t)
		was, _ := d.s.withheld(t.Name)
		if why.Code == "" || why.Text == "" || was.Reason == why && !d.over(was.Incident) {
			continue
		}
		if why.Code == CodeBrake { // people are asked first, so that what they are told says so
			d.propose(t, brakeGate(), nil, why, o.Conditions[t.When].Readings)
		}
		d.emit(TransitionWithheld{Transition: t.Name, To: t.To, Incident: d.tell(o, t, why)}, why.Code, why.Text, o.Conditions[t.When].Readings)
	}
}

// tell lets people know that a transition is withheld, in the incident it belongs to: its tier's, or, where protection is
// withheld and nobody was told yet, one of its own. It returns that incident.
func (d *decision) tell(o *Observed, t *Transition, why Reason) IncidentID {
	switch why.Code {
	case CodeMinDuration, CodeRetryAfter, CodeUnderWay, CodeImposed:
		return "" // it is meant to be so: nobody has to do anything
	case CodeTerm:
		return "" // the fleet's page says so, once for all scopes
	case CodeFlapping:
		return d.flapping(why, t.Name)
	}
	note := fmt.Sprintf("%s: %s → %s (%s) is withheld: %s", d.p.Scope, d.s.Target, t.To, t.Name, why.Text)
	volume := SeverityTicket
	if why.Code == CodeBrake || d.p.moreRestrictive(d.s.Target, t.To) {
		volume = SeverityPage
	}
	if why.Code == CodeSuggest { // as loudly as it would be done
		if volume = t.Severity; !loud(t) {
			return ""
		}
	}
	if volume == SeverityPage && t.Severity != SeverityPage && d.p.Conditions[t.When].Scheduled {
		volume = SeverityTicket // what is planned is no emergency, and nobody is woken because it does not happen
		if _, told := d.joined(t, volume); !told {
			return d.open(Incident{Kind: IncidentWithheld, Subject: t.Name, Severity: volume}, note, t.Name, Reason{CodeWithheld, why.Text}, o.Conditions[t.When].Readings)
		}
	}
	inc, open := d.joined(t, volume)
	switch {
	case open:
		asked, _ := d.s.proposal(t.Name) // what the brake withholds can be let through
		d.emit(IncidentUpdated{Incident: inc.ID, Severity: inc.Severity, Note: note, Proposal: asked.ID}, why.Code, why.Text, nil)
		return inc.ID
	case volume == SeverityPage || why.Code == CodeSuggest:
		if quiet, open := d.s.Incident(IncidentWithheld, t.Name); open {
			d.resolve(quiet, CodeWithheld, "it is told anew, louder", nil)
		}
		return d.open(Incident{Kind: IncidentWithheld, Subject: t.Name, Severity: volume}, note, t.Name,
			Reason{CodeWithheld, why.Text}, o.Conditions[t.When].Readings)
	}
	return ""
}

// over reports whether the incident in which something was said is not open any more: then it is to be said again.
func (d *decision) over(i IncidentID) bool {
	return i != "" && !slices.ContainsFunc(d.s.Incidents, func(o Incident) bool { return o.ID == i })
}

func (d *decision) endWithholding(w Withheld, code Code, text string) {
	d.emit(WithholdingEnded{Transition: w.Transition}, code, text, nil)
	if i, open := d.s.Incident(IncidentWithheld, w.Transition); open {
		d.resolve(i, code, "it is not withheld any more", nil)
	}
}

// leave ends what belongs to a mode that this decision has left, and what was told of a move that has ended before its mode
// was reached: a change that publishes last may be taken back without anybody having left anything.
func (d *decision) leave() {
	from, to := d.left, d.s.Target
	moved := from != "" && from != to
	left := ""
	if moved {
		left = fmt.Sprintf("%s was left for %s", from, to)
		for _, w := range d.s.Withheld {
			if t := d.p.transition(w.Transition); !t.leaves(to) {
				d.endWithholding(w, CodeLeft, left)
			}
		}
	}
	c := d.s.Change
	// While a mode is left in waves it is still in force at the others, and may be everywhere again.
	leaving := Mode("")
	if c != nil && c.waves() && !c.Rolled {
		leaving = c.From
	}
	for _, i := range d.s.Incidents {
		over, code, text := false, CodeLeft, left
		switch i.Kind {
		case IncidentTransition, IncidentGlass:
			if over = i.Mode != to && i.Mode != leaving && (c == nil || c.To != i.Mode); over && (!moved || i.Mode != from) {
				code, text = CodeUndone, fmt.Sprintf("nothing leads to %s any more", i.Mode)
				if p := d.s.Past; c == nil && len(p) > 0 && p[len(p)-1].From == i.Mode {
					code, text = CodeLeft, fmt.Sprintf("%s was left for %s", i.Mode, to)
				}
			}
		case IncidentTooLong, IncidentStuckMode:
			if over = i.Subject != string(to) && i.Subject != string(leaving); over && (!moved || i.Subject != string(from)) {
				text = fmt.Sprintf("%s was left for %s", i.Subject, to)
			}
		case IncidentGate: // people were woken because nobody answered
			if p, waits := d.s.proposal(i.Subject); !waits || len(p.missing()) == 0 {
				over, code, text = true, CodeApproved, "people have answered"
			}
		case IncidentWithheld: // of a transition that started after all, and of which people need not hear
			_, still := d.s.withheld(i.Subject)
			_, waits := d.s.proposal(i.Subject)
			if over = !still && !waits; over && !moved {
				code, text = CodeStarted, "it is not withheld any more"
			}
		}
		if over {
			d.resolve(i, code, text, nil)
		}
	}
	d.calm(moved)
	d.quiet()
	if moved {
		d.renew(CodeLeft)
	}
}

// proposeWayOut asks people about the way out of a mode that lasts too long, and reports whether they are asked. Its gate applies as
// ever. What keeps automation off, or that they have said no, makes it a page.
func (d *decision) proposeWayOut(t *Transition, m ModeRule) bool {
	if _, waits := d.s.proposal(t.Name); waits || d.s.Change != nil {
		return true
	}
	if d.keptOff().Code != "" || d.beneath(t.To).Code != "" || d.rests(t).Code != "" {
		return false
	}
	if w, was := d.s.withheld(t.Name); was {
		d.emit(WithholdingEnded{Transition: w.Transition}, CodeProposed, "", nil)
	}
	d.propose(t, t.Gate, nil, Reason{CodeTooLong, fmt.Sprintf("max_duration is %v", m.MaxDuration)}, nil)
	return true
}

// overstay tells people of a mode that lasts longer than it should.
func (d *decision) overstay() {
	m, _ := d.p.Mode(d.s.Target)
	if m.MaxDuration == 0 || d.s.Dwell(d.in.At) < m.MaxDuration {
		return
	}
	if t := d.p.transition(m.OnExpiry); t != nil && t.Gate != nil && t.leaves(d.s.Target) && d.proposeWayOut(t, m) {
		return
	}
	if _, open := d.s.Incident(IncidentTooLong, string(m.Name)); open {
		return
	}
	d.open(Incident{Kind: IncidentTooLong, Subject: string(m.Name), Severity: SeverityPage},
		fmt.Sprintf("%s: in %s for longer than %v", d.p.Scope, m.Name, m.MaxDuration), "",
		Reason{CodeTooLong, fmt.Sprintf("max_duration is %v", m.MaxDuration)}, nil)
}
