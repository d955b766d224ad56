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
	d.gap(o.Instant, o.Prev)
	d.watch(o)
	d.time(o)
	chosen := d.choose(o)
	d.alerts(o, chosen)
	d.withhold(o, chosen)
	if chosen >= 0 {
		d.startAutomatic(o, chosen)
	}
	d.overstay()
}

// time runs the clocks of the conditions that have to hold for a while.
func (d *decision) time(o *Observed) {
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if t.For == 0 || !t.leaves(d.s.Target) {
			continue
		}
		cond := &d.p.Conditions[t.When]
		c := d.s.clock(cond.Name)
		seen := &o.Conditions[t.When]
		if next, news := c.tick(seen.Truth, o.Instant, o.Prev, &d.p); news {
			next.Digest = cond.Digest
			d.emit(ConditionTurned{Clock: next}, CodeTruth, fmt.Sprintf("%s is %s", cond.Text, seen.Truth), seen.Readings)
		}
	}
}

// ready reports whether t wants to happen: its condition holds, and has for long enough.
func (d *decision) ready(o *Observed, t *Transition) bool {
	if !t.leaves(d.s.Target) || o.Conditions[t.When].Truth != True {
		return false
	}
	if t.For == 0 {
		return true
	}
	c := d.s.clock(d.p.Conditions[t.When].Name)
	return c.Held(o.Instant) >= t.For
}

// obstacle says what keeps a ready transition from starting by itself; the zero Reason when nothing does.
func (d *decision) obstacle(o *Observed, t *Transition) Reason {
	switch {
	case o.Frozen != "":
		return Reason{CodeFrozen, "all automation is frozen: " + o.Frozen}
	case d.s.Freeze != nil:
		return Reason{CodeFrozen, "automation is frozen: " + d.s.Freeze.Reason}
	case d.s.Pin != nil:
		return Reason{CodePinned, fmt.Sprintf("%s pinned %s: %s", d.s.Pin.By, d.s.Pin.Mode, d.s.Pin.Reason)}
	}
	// What is safer does not wait: min_duration holds only what would take protection away.
	if m, _ := d.p.Mode(d.s.Target); m.MinDuration > 0 && d.s.Dwell(d.in.At) < m.MinDuration && !d.p.moreRestrictive(d.s.Target, t.To) {
		return Reason{CodeMinDuration, fmt.Sprintf("%s has to last %v first", m.Name, m.MinDuration)}
	}
	return Reason{}
}

// choose returns the index of the transition that starts now, or -1: of those ready and free the most restrictive target
// wins, then file order. A target beside the others has no rank and loses to any that has one.
func (d *decision) choose(o *Observed) int {
	best := -1
	if d.s.Change != nil {
		return best
	}
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if !d.ready(o, t) || d.obstacle(o, t).Code != "" {
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
		why := d.obstacle(o, t)
		was, _ := d.s.withheld(t.Name)
		if why.Code == "" || was.Reason == why && !d.over(was.Incident) {
			continue
		}
		d.emit(TransitionWithheld{Transition: t.Name, To: t.To, Incident: d.tell(o, t, why)}, why.Code, why.Text, o.Conditions[t.When].Readings)
	}
}

// tell lets people know that a transition is withheld, in the incident it belongs to: its tier's, or, where protection is
// withheld and nobody was told yet, one of its own. It returns that incident.
func (d *decision) tell(o *Observed, t *Transition, why Reason) IncidentID {
	if why.Code == CodeMinDuration {
		return "" // the rules want it so: nobody has to do anything
	}
	note := fmt.Sprintf("%s: %s → %s (%s) is withheld: %s", d.p.Scope, d.s.Target, t.To, t.Name, why.Text)
	loud := SeverityTicket
	if d.p.moreRestrictive(d.s.Target, t.To) {
		loud = SeverityPage
	}
	inc, open := d.joined(t, loud)
	switch {
	case open:
		d.emit(IncidentUpdated{Incident: inc.ID, Severity: inc.Severity, Note: note}, why.Code, why.Text, nil)
		return inc.ID
	case loud == SeverityPage:
		return d.open(Incident{Kind: IncidentWithheld, Subject: t.Name, Severity: SeverityPage}, note, t.Name,
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

// startAutomatic starts the transition that choose found.
func (d *decision) startAutomatic(o *Observed, i int) {
	t := &d.p.Transitions[i]
	cond, seen := &d.p.Conditions[t.When], &o.Conditions[t.When]
	text := cond.Text + " is true"
	if t.For > 0 {
		c := d.s.clock(cond.Name)
		text = fmt.Sprintf("%s was true for %v", cond.Text, c.Held(o.Instant))
	}
	why := Reason{CodeCondition, text}
	d.start(t.To, t, why, seen.Readings)
}

// start moves the scope to a mode, by a transition or (t is nil) by a directive only. Without gates, playbooks and waves
// the change is done once its directive is published.
func (d *decision) start(to Mode, t *Transition, why Reason, evidence []Reading) {
	from := d.s.Target
	m, _ := d.p.Mode(to)
	started := ChangeStarted{Change: ChangeID(d.next()), From: from, To: to}
	var inc Incident
	loud, told := false, false
	if t != nil {
		started.Transition, started.Position, started.Severity = t.Name, t.Position, t.Severity
		loud = why.Code == CodeCondition && (t.Severity == SeverityPage || t.Severity == SeverityTicket)
		if inc, told = d.joined(t, t.Severity); told && loud {
			started.Incident = inc.ID
		}
	}
	d.emit(started, why.Code, why.Text, evidence)
	d.publish(started.Change, m)
	d.emit(ChangeDone{Change: started.Change}, CodeStarted, "", nil)
	move := fmt.Sprintf("%s: %s → %s", d.p.Scope, from, to)
	switch {
	case !loud:
	case !told:
		d.open(Incident{Kind: IncidentTransition, Subject: t.Name, Severity: t.Severity, Mode: to}, move+" ("+t.Name+")", t.Name, why, evidence)
	case !slices.ContainsFunc(d.events, func(e Event) bool {
		return e.Kind() == "IncidentOpened" && identity(e.Stream, e.Version) == string(inc.ID)
	}):
		d.emit(IncidentUpdated{Incident: inc.ID, Severity: inc.Severity, Note: move + " (" + t.Name + ")"}, why.Code, why.Text, nil)
	}
	d.leave(from, to)
}

// leave ends what belongs to a mode that is not the target any more.
func (d *decision) leave(from, to Mode) {
	left := fmt.Sprintf("%s was left for %s", from, to)
	for _, w := range d.s.Withheld {
		if t := d.p.transition(w.Transition); !t.leaves(to) {
			d.endWithholding(w, CodeLeft, left)
		}
	}
	for _, i := range d.s.Incidents {
		over := false
		switch i.Kind {
		case IncidentTransition:
			over = i.Mode == from
		case IncidentTooLong:
			over = i.Subject == string(from)
		case IncidentWithheld: // of a transition that started after all, and of which people need not hear
			_, still := d.s.withheld(i.Subject)
			over = !still
		}
		if over {
			d.resolve(i, CodeLeft, left, nil)
		}
	}
}

// overstay tells people of a mode that lasts longer than it should.
func (d *decision) overstay() {
	m, _ := d.p.Mode(d.s.Target)
	if m.MaxDuration == 0 || d.s.Dwell(d.in.At) < m.MaxDuration {
		return
	}
	if _, open := d.s.Incident(IncidentTooLong, string(m.Name)); open {
		return
	}
	d.open(Incident{Kind: IncidentTooLong, Subject: string(m.Name), Severity: SeverityPage},
		fmt.Sprintf("%s: in %s for longer than %v", d.p.Scope, m.Name, m.MaxDuration), "",
		Reason{CodeTooLong, fmt.Sprintf("max_duration is %v", m.MaxDuration)}, nil)
}
