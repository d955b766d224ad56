package engine

import (
	"fmt"
	"slices"
	"time"
)

// retryHeld is how long a failed protection waits before its step is tried again.
const retryHeld = time.Minute

// maxUnknown is how often a step whose outcome nobody knows is sent again before it counts as failed.
const maxUnknown = 5

// plan renders what a transition to a mode will do now; t is nil for a directive only.
func (d *decision) plan(t *Transition, to Mode) Plan {
	into, _ := d.p.Mode(to)
	// What is in force now, whether a change is under way or not: a plan people have approved must not come to read otherwise
	// because that change is done meanwhile.
	plan := Plan{Into: into, Back: ModeRule{Name: d.s.Target, Flags: d.s.Directive.Flags, Unavailable: d.s.Directive.Unavailable, Pause: names(d.s.Lasting())}}
	if t == nil {
		plan.Into.Pause = nil // a directive alone, by hand or from above, is neither approved nor planned: see earns
	} else {
		plan.Steps, plan.PublishLast, plan.OnFailure = t.Playbook.Steps, t.Playbook.PublishLast, t.Playbook.OnFailure
		if i, ok := t.Playbook.Verify.Index(); ok {
			plan.Verify = d.p.Conditions[i].Name
		}
		if i, ok := t.Until.Index(); ok {
			plan.Until = d.p.Conditions[i].Name
		}
		plan.Rollout = d.rollout(t)
	}
	return plan
}

func (d *decision) retry(t *Transition) RetryRules {
	if t == nil {
		return RetryRules{}
	}
	after := t.RetryAfter
	if after == 0 {
		after = DefaultRetryAfter
	}
	return RetryRules{Condition: d.p.Conditions[t.When].Name, Digest: t.Digest, After: after}
}

// start moves the scope to a mode, by a transition or (t is nil) by a directive only; p is the proposal people approved.
func (d *decision) start(to Mode, t *Transition, why Reason, evidence []Reading, p *Proposal) {
	d.begin(to, t, why, evidence, p, false)
}

// begin is start; forced says that a person went around a gate.
func (d *decision) begin(to Mode, t *Transition, why Reason, evidence []Reading, p *Proposal, forced bool) {
	if asked, held := d.asks(); held {
		d.withdraw(asked, CodeOvertaken, fmt.Sprintf("%s is overtaken", asked.Change))
	}
	from := d.s.Target
	c := ChangeStarted{Change: ChangeID(d.next()), From: from, To: to, Plan: d.plan(t, to), Retry: d.retry(t), Forced: forced, Instances: d.in.Instances.Known}
	if !earns(t, why, p) {
		c.Plan.Into.Pause = nil
	}
	if why.Code == CodeRequest {
		c.Plan.Back.Pause = nil // who leaves by hand ends the pause: else going to and fro would stretch it
	}
	if t != nil {
		c.Transition, c.Position, c.Severity = t.Name, t.Position, t.Severity
		if last := len(d.s.Past) - 1; t.UndoEntry && last >= 0 && len(d.s.Past[last].Did) > 0 && d.s.Past[last].To == from {
			c.Undo = d.s.Past[len(d.s.Past)-1].ID
		}
	}
	if p != nil {
		c.Proposal = p.ID
	}
	if d.s.Change != nil {
		c.Overtakes = d.s.Change.ID
	}
	// People are told of what automation does; what a person does they know.
	speak := t != nil && loud(t) && why.Code != CodeRequest
	c.Inform = d.informs(t, why.Code)
	inc, told := Incident{}, false
	if speak {
		if inc, told = d.joined(t, t.Severity); !told { // or the mode was being left, and is entered again
			inc, told = d.s.entering(t)
		}
		if told {
			c.Incident = inc.ID
		}
	}
	d.emit(c, why.Code, why.Text, evidence)
	if c.Overtakes != "" {
		d.emit(ChangeOvertaken{Change: c.Overtakes, By: c.Change}, CodeOvertaken, "", nil)
	}
	d.advance()
	if speak && (!told || inc.Kind == IncidentWithheld) { // what was told of an entry before, that nobody has left altogether
		for _, i := range d.s.Incidents {
			if i.Kind == IncidentTransition && i.Subject == t.Name && i.Mode == to && i.ID != inc.ID {
				d.resolve(i, CodeStarted, "it is told anew", nil)
			}
		}
	}
	switch {
	case !speak:
	case !told:
		d.open(Incident{Kind: IncidentTransition, Subject: t.Name, Severity: t.Severity, Mode: to}, d.move(from, to, t.Name), t.Name, why, evidence)
	case !slices.ContainsFunc(d.events, func(e Event) bool {
		return e.Kind() == "IncidentOpened" && identity(e.Stream, e.Version) == string(inc.ID)
	}):
		d.emit(IncidentUpdated{Incident: inc.ID, Severity: inc.Severity, Note: d.move(from, to, t.Name)}, why.Code, why.Text, nil)
	}
}

// loud reports whether people hear of t.
func loud(t *Transition) bool { return t.Severity == SeverityPage || t.Severity == SeverityTicket }

// overtakes reports whether t need not wait for the change under way: it does no harm and protects more. Nothing overtakes
// an undo, nor a change a person has to look at.
func (d *decision) overtakes(t *Transition) bool {
	c := d.s.Change
	if c.Undoing || c.Stuck || t.Gate != nil || !d.p.moreRestrictive(c.To, t.To) {
		return false
	}
	return !slices.ContainsFunc(t.Playbook.Steps, func(s Step) bool { return s.Destructive })
}

// underWay says why something has to wait for the change under way; the zero Reason when there is none.
func (d *decision) underWay() Reason {
	switch c := d.s.Change; {
	case c == nil:
		return Reason{}
	case c.Stuck:
		return Reason{CodeUnderWay, fmt.Sprintf("%s is stuck", c.ID)}
	case c.Undoing:
		return Reason{CodeUnderWay, fmt.Sprintf("%s is being undone", c.ID)}
	default:
		return Reason{CodeUnderWay, fmt.Sprintf("%s is under way", c.ID)}
	}
}

// advance carries the change under way as far as it goes without anybody's answer.
func (d *decision) advance() {
	for d.s.Change != nil && d.step() {
	}
}

// step does the next thing of the change under way, and reports whether there may be another.
func (d *decision) step() bool {
	c := d.s.Change
	switch {
	case c.Stuck, d.in.Deposed != "":
		return false
	case !c.Undoing && !c.Published && !c.Plan.PublishLast:
		d.publish(c.ID, c.Plan.Into) // at once, also while an overtaken step still runs
	case !c.Undoing && c.Published && !c.Rolled:
		return d.roll()
	case c.Running != nil:
		return false
	case c.Undoing && len(c.Did) > 0:
		d.takeBack(c.Did[len(c.Did)-1])
	case c.Undoing:
		d.goBack()
	case len(c.Entry) > 0:
		d.takeBack(c.Entry[len(c.Entry)-1])
	case c.Asks:
		return false // until people have said yes again
	case c.Next < len(c.Plan.Steps):
		if !c.Held.IsZero() {
			return false
		}
		d.run(Running{Change: c.ID, Step: c.Plan.Steps[c.Next], Attempt: 1}, CodeStarted)
	case !c.Published:
		d.publish(c.ID, c.Plan.Into)
	case c.Plan.Verify != "":
		if c.Verify == "" {
			d.emit(VerificationStarted{Change: c.ID, Condition: c.Plan.Verify}, CodeVerify, d.conditionText(c.Plan.Verify), nil)
		}
		return false
	default:
		code, text := CodeStarted, ""
		if c.Applied != nil {
			code, text = CodeApplied, fmt.Sprintf("%d of %d", c.Applied.Done, c.Applied.Of)
		}
		if c.Acted {
			code, text = CodeDone, ""
		}
		d.finish(code, text)
	}
	return true
}

// finish settles the mode.
func (d *decision) finish(code Code, text string) {
	d.emit(ChangeDone{Change: d.s.Change.ID}, code, text, nil)
	for _, i := range d.s.Incidents {
		if i.Kind == IncidentChange {
			d.resolve(i, CodeDone, "the change is done", nil)
		}
	}
}

// goBack ends an undo: the mode before is published again and settled.
func (d *decision) goBack() {
	c := d.s.Change
	back := c.Plan.Back
	if d.s.Target != back.Name {
		d.publish(c.ID, back)
	}
	code := CodeUndone
	switch c.Why {
	case CodeUntil, CodeSettled:
		code = c.Why
	}
	d.emit(ChangeUndone{Change: c.ID}, code, fmt.Sprintf("%s is in force again", back.Name), nil)
}

// run begins an attempt.
func (d *decision) run(r Running, code Code) {
	d.emit(StepStarted{Change: r.Change, Step: r.Step, Undo: r.Undo, Attempt: r.Attempt, Facts: d.facts(r.Change), Targets: r.Targets}, code, "", nil)
}

// takeBack begins the undo of a step, on what that step acted on.
func (d *decision) takeBack(did Done) {
	d.run(Running{Change: did.Change, Step: did.Step, Undo: true, Attempt: 1, Targets: did.Targets}, CodeUndo)
}

// facts are what a step of c may say of the change under way.
func (d *decision) facts(c ChangeID) Facts {
	now := d.s.Change
	return Facts{Scope: d.p.Scope, Change: c, Transition: now.Transition, From: now.From, To: now.To, Reason: now.Reason}
}

// next is the attempt after r.
func (r Running) next() Running {
	r.Attempt++
	return r
}

// report takes the outcome of an attempt. One that nothing waits for has been told before.
func (d *decision) report(r *StepReported) {
	c := d.s.Change
	if c == nil || c.Running == nil {
		return
	}
	run := *c.Running
	if run.Finding || r.Step != run.Step.Name || r.Undo != run.Undo || r.Change != "" && r.Change != run.Change || r.Attempt != 0 && r.Attempt != run.Attempt {
		return
	}
	// What was overtaken is not tried again: its outcome only says what an undo has to take back.
	overtaken := run.Change != c.ID && !run.Undo
	outcome, detail := r.Outcome, r.Detail
	if outcome == OutcomeFailed && c.Doubt && run.Step.Destructive && !r.Asked {
		outcome, detail = OutcomeUnknown, detail+"; an attempt before this one may have happened"
	}
	switch outcome {
	case OutcomeDone:
		d.emit(StepDone{run.Change, run.Step.Name, run.Attempt, run.Undo, r.Detail}, CodeDone, r.Detail, nil)
	case OutcomeFailed:
		d.emit(StepFailed{run.Change, run.Step.Name, run.Attempt, run.Undo, detail}, CodeFailed, detail, nil)
		if !overtaken && (!c.Undoing || run.Undo) { // else it has done nothing, and nobody needs it any more
			d.again(run, detail)
		}
	case OutcomeUnknown:
		d.emit(StepUnknown{run.Change, run.Step.Name, run.Attempt, run.Undo, detail}, CodeUnknown, detail, nil)
		switch {
		case run.Step.Destructive && !run.Step.Keyed:
			d.stuck(run, detail)
		case run.Attempt-c.Spared < max(run.Step.Attempts, maxUnknown):
			d.run(run.next(), CodeRetry)
		default:
			d.stuck(run, detail)
		}
	default:
		panic(fmt.Sprintf("engine: a step cannot come to %q", r.Outcome))
	}
	d.advance()
}

// again tries a step once more that has not happened, or gives it up.
func (d *decision) again(run Running, detail string) {
	if run.Attempt-d.s.Change.Spared < run.Step.Attempts {
		d.run(run.next(), CodeRetry)
		return
	}
	d.failed(run, detail)
}

// failed decides what becomes of a change one of whose steps has failed for good.
func (d *decision) failed(run Running, detail string) {
	c := d.s.Change
	text := run.Step.Name + ": " + detail
	switch {
	case run.Undo:
		d.stuck(run, detail)
	case d.holds(c):
		d.emit(ChangeHeld{Change: c.ID, Step: run.Step.Name, Until: d.in.At.Add(retryHeld)}, CodeFailed, text, nil)
		d.trouble("is held: "+text, Reason{CodeFailed, text})
	default:
		d.fail(run.Step.Name, Reason{CodeFailed, text}, text)
	}
}

// holds reports whether a failed change keeps what it has applied: protection is not taken back because one part of it
// failed. What people approved they approved whole.
func (d *decision) holds(c *Change) bool {
	switch c.Plan.OnFailure {
	case OnFailureHold:
		return true
	case OnFailureUndo:
		return false
	}
	return !c.Gated && d.p.moreRestrictive(c.From, c.To)
}

// fail gives a change up and takes it back.
func (d *decision) fail(step string, why Reason, text string) {
	c := d.s.Change
	f := ChangeFailed{Change: c.ID, Step: step}
	if !c.Rolled {
		f.Wave = c.Wave
	}
	d.emit(f, why.Code, why.Text, nil)
	d.trouble("failed and is undone: "+text, why)
	d.emit(UndoStarted{Change: c.ID}, why.Code, why.Text, nil)
}

// stuck stops everything until a person has looked.
func (d *decision) stuck(run Running, detail string) {
	c := d.s.Change
	text, code := run.Step.Name+": "+detail, CodeUnknown
	if run.Undo {
		text, code = "undo of "+text, CodeFailed
	}
	d.emit(ChangeStuck{Change: c.ID, Step: run.Step.Name, Undo: run.Undo}, code, text, nil)
	d.trouble("is stuck: "+text+"; settle it as done or undone", Reason{CodeStuck, text})
}

// trouble pages about the change under way, once; what comes after is said in the same place.
func (d *decision) trouble(text string, why Reason) {
	c := d.s.Change
	subject := d.subject()
	summary := d.move(c.From, c.To, c.Transition) + " " + text
	if i, open := d.s.Incident(IncidentChange, subject); open {
		d.emit(IncidentUpdated{Incident: i.ID, Severity: i.Severity, Note: summary}, why.Code, why.Text, nil)
		return
	}
	d.open(Incident{Kind: IncidentChange, Subject: subject, Severity: SeverityPage}, summary, c.Transition, why, nil)
}

// subject is what people know the change under way by.
func (d *decision) subject() string {
	if c := d.s.Change; c.Transition == "" {
		return string(c.ID)
	}
	return d.s.Change.Transition
}

// goOn looks at the change under way with new eyes: a wave, a step that is held, a verification.
func (d *decision) goOn(o *Observed) {
	if d.s.Change == nil || d.in.Deposed != "" {
		return
	}
	d.advance() // its instances may have answered, a pause may be over, and this server may lead again
	c := d.s.Change
	if c == nil {
		return
	}
	if c.Published && c.waves() && !c.Rolled && !c.Undoing && !c.Stuck {
		d.verifyWave(o)
		return
	}
	if !c.Held.IsZero() && !d.in.At.Before(c.Held) && c.Running == nil && !c.Asks && !c.Undoing && !c.Stuck {
		d.run(Running{Change: c.ID, Step: c.Plan.Steps[c.Next], Attempt: c.Attempts + 1, Targets: c.Found}, CodeRetry)
	}
	if c.Verify != "" && !c.Undoing {
		d.verify(o)
	}
}

// verify judges the condition a change has to make true. Only true lets it pass and only false undoes it; unknown holds it
// and, after blind_after, pages.
func (d *decision) verify(o *Observed) {
	c := d.s.Change
	seen, text := d.seen(o, c.Verify), d.conditionText(c.Verify)
	if !seen.Asked {
		return
	}
	switch seen.Truth {
	case True:
		d.finish(CodeVerify, text+" is true")
	case False:
		if d.holds(c) {
			if _, told := d.s.Incident(IncidentChange, c.Transition); !told {
				d.trouble("does not help yet: "+text+" is false; it holds", Reason{CodeVerify, text + " is false"})
			}
			return
		}
		d.fail("", Reason{CodeVerify, text + " is false"}, text+" is false")
		d.advance()
	case Unknown:
		if c.Unverified.IsZero() {
			d.emit(VerificationHeld{Change: c.ID, Since: o.Instant}, CodeUnknown, text+" is unknown", seen.Readings)
			return
		}
		if since := o.Instant.Sub(c.Unverified); since >= d.p.BlindAfter {
			if _, told := d.s.Incident(IncidentChange, c.Transition); !told {
				d.trouble(fmt.Sprintf("cannot be verified for %v", since),
					Reason{CodeUnknown, fmt.Sprintf("%s is unknown since %s", text, c.Unverified.UTC().Format(time.RFC3339))})
			}
		}
	}
}

// seen is how the condition called name stands. One the rules have lost since is unknown.
func (d *decision) seen(o *Observed, name string) Observation {
	for i := range d.p.Conditions {
		if d.p.Conditions[i].Name == name {
			return o.Conditions[i]
		}
	}
	return Observation{Asked: true}
}

// conditionText is a condition as written; its name when the rules have lost it.
func (d *decision) conditionText(name string) string {
	for i := range d.p.Conditions {
		if d.p.Conditions[i].Name == name {
			return d.p.Conditions[i].Text
		}
	}
	return name
}

// until takes the last change back when its time is over, as long as its mode is the one in force and nobody pinned it.
func (d *decision) until(o *Observed) {
	if d.s.Change != nil || len(d.s.Past) == 0 || d.in.Deposed != "" {
		return
	}
	last := &d.s.Past[len(d.s.Past)-1]
	if last.Until == "" || last.To != d.s.Target || d.beneath(last.Back.Name).Code != "" {
		return
	}
	for i := range d.p.Conditions {
		if d.p.Conditions[i].Name == last.Until && o.Conditions[i].Truth == True {
			if d.s.Pin != nil {
				d.outlast(CodePinned, d.p.Conditions[i].Text+" is true, and the mode is pinned")
				return
			}
			if why := d.flapsBack(); why.Code != "" {
				d.outlast(why.Code, d.p.Conditions[i].Text+" is true, and the scope flaps")
				d.flapping(why, last.Transition)
				return
			}
			undo := UndoStarted{Change: last.ID}
			if last.Retry.Condition != "" {
				undo.Over = d.seen(o, last.Retry.Condition).Truth == False
			}
			if undo.Inform = d.informs(d.p.transition(last.Transition), CodeUntil); undo.Inform != nil {
				undo.Back = last.From
			}
			d.emit(undo, CodeUntil, d.p.Conditions[i].Text+" is true", o.Conditions[i].Readings)
			d.advance()
			return
		}
	}
}

// cancel takes back a change under way, or a proposal.
func (d *decision) cancel(r *CancelRequested) {
	if why := needReason(r.Reason); why.Code != "" {
		d.refuse(why)
		return
	}
	for _, p := range d.s.Proposals {
		if p.ID == r.Change && p.Change == "" {
			d.withdraw(p, CodeRequest, r.Reason)
			return
		}
	}
	asked, held := d.asks()
	if held && asked.ID == r.Change {
		r = &CancelRequested{Change: asked.Change, Reason: r.Reason} // without its step the change is not what people approved
	}
	switch c := d.s.Change; {
	case d.in.Deposed != "":
		d.refuse(d.deposed())
	case c == nil || c.ID != r.Change:
		d.refuse(Reason{CodeNoChange, fmt.Sprintf("%s is not under way in %s; a change that is done is taken back with undo", r.Change, d.p.Scope)})
	case c.Imposed != "":
		d.refuse(Reason{CodeImposed, fmt.Sprintf("%s asks for it: set %s to another mode, or pin %s before", c.Imposed, c.Imposed, d.p.Scope)})
	case c.Undoing:
		d.refuse(Reason{CodeUnderWay, fmt.Sprintf("%s is being undone already", c.ID)})
	case c.Stuck:
		d.refuse(Reason{CodeStuck, fmt.Sprintf("%s is stuck: settle it as done or undone", c.ID)})
	default:
		if held {
			d.withdraw(asked, CodeRequest, r.Reason)
		}
		d.emit(UndoStarted{Change: c.ID, Person: d.in.By.String()}, CodeRequest, r.Reason, nil)
		d.advance()
	}
}

// undo takes back the last change that is done.
func (d *decision) undo(r *UndoRequested) {
	why := needReason(r.Reason)
	if why.Code == "" {
		why = d.deposed()
	}
	if why.Code == "" {
		why = d.underWay()
	}
	if why.Code == "" {
		i := slices.IndexFunc(d.s.Past, func(p Past) bool { return p.ID == r.Change })
		switch {
		case i < 0:
			why = Reason{CodeNoChange, fmt.Sprintf("%s has no change %s that could be taken back", d.p.Scope, r.Change)}
		case i < len(d.s.Past)-1:
			why = Reason{CodeNotLast, fmt.Sprintf("%s came after it; undo that first", d.s.Past[len(d.s.Past)-1].ID)}
		default:
			if why = d.beneath(d.s.Past[i].Back.Name); why.Code != "" {
				why.Text += ", which asks for more than it goes back to"
			}
		}
	}
	if why.Code != "" {
		d.refuse(why)
		return
	}
	d.emit(UndoStarted{Change: r.Change, Person: d.in.By.String()}, CodeRequest, r.Reason, nil)
	d.advance()
}

// settle takes a person's word for what a stuck change has come to.
func (d *decision) settle(r *SettleRequested) {
	c := d.s.Change
	switch why := needReason(r.Reason); {
	case why.Code != "":
		d.refuse(why)
		return
	case d.in.Deposed != "":
		d.refuse(d.deposed())
		return
	case c == nil || c.ID != r.Change:
		d.refuse(Reason{CodeNoChange, fmt.Sprintf("%s is not under way in %s", r.Change, d.p.Scope)})
		return
	case !c.Stuck:
		d.refuse(Reason{CodeNotStuck, fmt.Sprintf("%s is under way; cancel it, or wait", c.ID)})
		return
	case r.As != SettledDone && r.As != SettledUndone:
		d.refuse(Reason{CodeNotStuck, fmt.Sprintf("a change is settled as %s or %s, not as %q", SettledDone, SettledUndone, r.As)})
		return
	}
	person := d.in.By.String()
	d.emit(ChangeSettled{Change: c.ID, As: r.As, Person: person}, CodeRequest, r.Reason, nil)
	if r.As == SettledDone {
		if !c.Published {
			d.publish(c.ID, c.Plan.Into)
		}
		d.emit(ChangeDone{Change: c.ID}, CodeSettled, "", nil)
	} else {
		d.goBack()
	}
	for _, i := range d.s.Incidents {
		if i.Kind == IncidentChange {
			d.resolve(i, CodeSettled, fmt.Sprintf("%s settled it as %s", person, r.As), nil)
		}
	}
}
