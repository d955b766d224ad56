package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// A step with a selector does not know what it acts on until it begins:
//
//	StepStarted ──find──▶ TargetsReported ──▶ TargetsFound ──do──▶ StepReported
//	     ▲                       │ more than people said yes to
//	     └── yes ── asked ◀── StepHeld
//
// What was found is stored before anything is done with it, and is the same for every attempt from then on: the target knows
// the step by its key, and under one key there is one request. So is its undo's.

// maxNamed is how many targets are named where there are more of them than a step may have.
const maxNamed = 20

// Finds reports whether no more is owed than to find the step's targets.
func (f StepStarted) Finds() bool { return !f.Undo && f.Step.Targets.Max > 0 && len(f.Targets) == 0 }

// targets takes what the selector of the running step has found. What nothing waits for has been told before.
func (d *decision) targets(r *TargetsReported) {
	c := d.s.Change
	if c == nil || c.Running == nil || !c.Running.Finding {
		return
	}
	run := *c.Running
	if r.Step != run.Step.Name || r.Change != "" && r.Change != run.Change || r.Attempt != 0 && r.Attempt != run.Attempt {
		return
	}
	most := run.Step.Targets.Max
	problem := r.Problem
	if problem == "" && (r.Count < 0 || r.Count <= most && len(r.Names) != r.Count) {
		problem = fmt.Sprintf("%d were found, and %d named", r.Count, len(r.Names))
	}
	many := fmt.Sprintf("%d are more than the %d that were approved", r.Count, most)
	failed := func(detail string) {
		d.emit(StepFailed{run.Change, run.Step.Name, run.Attempt, false, detail}, CodeFailed, detail, nil)
	}
	switch {
	case run.Change != c.ID || c.Undoing:
		failed("nothing was done: nobody needs it any more")
	case problem != "":
		detail := "its targets are not known: " + problem
		failed(detail)
		d.again(run, detail)
	case r.Count == 0:
		const nothing = "it has no targets: nothing was done"
		d.emit(StepDone{run.Change, run.Step.Name, run.Attempt, false, nothing}, CodeDone, nothing, nil)
	case r.Count <= most:
		names := slices.Clone(r.Names)
		slices.Sort(names)
		d.emit(TargetsFound{run.Change, run.Step, run.Attempt, names, d.facts(run.Change)}, CodeTargets, fmt.Sprintf("%d of at most %d", r.Count, most), nil)
	case c.Approved == nil: // nobody was asked who could be asked again, and to look once more at once would find as many
		detail := fmt.Sprintf("nothing was done: %d targets are more than the %d it may have", r.Count, most)
		failed(detail)
		d.failed(run, detail)
	default:
		d.hold(run, r, many)
	}
	d.advance()
}

// hold stops a step before it has done anything, and asks people again.
func (d *decision) hold(run Running, r *TargetsReported, text string) {
	c := d.s.Change
	names := slices.Clone(r.Names[:min(len(r.Names), maxNamed)])
	slices.Sort(names)
	d.emit(StepHeld{c.ID, run.Step.Name, run.Attempt, r.Count, run.Step.Targets.Max, names}, CodeTargets, text, nil)
	p := c.Approved
	plan := c.Plan
	plan.Steps = slices.Clone(plan.Steps)
	plan.Steps[c.Next].Targets.Max = r.Count
	d.emit(ProposalRenewed{
		Proposal: p.ID, Transition: c.Transition, From: c.From, To: c.To, Digest: digestOfHeld(d.p.Scope, c.ID, run, plan), Gate: p.Gate,
		Voided: len(p.Votes), Plan: plan, Change: c.ID, Step: run.Step.Name, Targets: r.Count, Until: d.in.At.Add(p.Gate.Within),
	}, CodeTargets, text, nil)
}

// digestOfHeld is what a proposal is bound to once its change is under way: that change, the attempt that was held, and the plan
// with as many targets as were found. No two of them are equal: a yes counts for one step, once.
func digestOfHeld(scope Scope, change ChangeID, run Running, plan Plan) Digest {
	b, err := marshal(struct {
		Scope   Scope
		Change  ChangeID
		Step    string
		Attempt int
		Plan    Plan
	}{scope, change, run.Step.Name, run.Attempt, plan})
	if err != nil {
		panic("engine: digest of a plan: " + err.Error()) // plain data
	}
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}

// truth is what is known of the condition of a proposal. Rules that have lost it since know nothing of it.
func (d *decision) truth(p *Proposal) Truth {
	t := d.p.transition(p.Transition)
	if t == nil {
		return Unknown
	}
	return d.s.clock(d.p.Conditions[t.When].Name).Truth
}

// moot reports whether the condition of p says whether it is needed: once its mode is published, a false may be its own doing,
// and the change goes on by its plan.
func (d *decision) moot(p *Proposal) bool {
	t := d.p.transition(p.Transition)
	return p.Change != "" && (t == nil || !t.leaves(d.s.Target))
}

// resume begins a held step that people have said yes to again, and reports whether it did. A freeze or a pin keeps changes
// from starting, and not steps; that its condition cannot be seen keeps it, unless somebody said yes to that too.
func (d *decision) resume(p Proposal) bool {
	if why := d.deposed(); why.Code != "" { // as any step: it begins when this server leads again
		d.keep(&p, why)
		return false
	}
	truth := d.truth(&p)
	if p.Requester == nil && truth == False && !d.moot(&p) {
		return false // it begins when it is true again, or is withdrawn
	}
	if p.Requester == nil && truth == Unknown && p.BlindBy == "" {
		d.keep(&p, d.unseenReason(&p))
		return false
	}
	if w, held := d.s.withheld(p.Transition); held {
		d.emit(WithholdingEnded{Transition: w.Transition}, CodeStarted, "", nil)
	}
	c := d.s.Change
	step := c.Plan.Steps[c.Next]
	step.Targets.Max = p.Targets
	d.emit(StepStarted{Change: c.ID, Step: step, Attempt: c.Attempts + 1, Facts: d.facts(c.ID)}, CodeApproved, p.voices(), nil)
	return true
}

// asks is the proposal that waits for people because a step of the change under way is held.
func (d *decision) asks() (Proposal, bool) {
	for _, p := range d.s.Proposals {
		if p.Change != "" && d.s.Change != nil && p.Change == d.s.Change.ID {
			return p, true
		}
	}
	return Proposal{}, false
}

// abandon ends the change of a held step to which people did not say yes again: it is taken back, since without the step it is
// not what they approved. With `on_failure: hold` what was applied stays and a person has to settle it, because there is
// nothing that could be tried again.
func (d *decision) abandon(p Proposal, why Reason, person string) {
	c := d.s.Change
	switch {
	case c.Plan.OnFailure == OnFailureHold:
		text := p.Step + ": " + why.Text
		d.emit(ChangeStuck{Change: c.ID, Step: p.Step}, why.Code, text, nil)
		d.trouble("is stuck: "+text+"; settle it as done or undone", Reason{CodeStuck, text})
	case person != "" || why.Code == CodeNotReady: // somebody knows of it, or nobody needs it any more
		d.emit(UndoStarted{Change: c.ID, Person: person}, why.Code, why.Text, nil)
	default:
		d.fail(p.Step, why, p.Step+": "+why.Text)
	}
	d.advance()
}

// asksAgain puts a proposal back among those that wait, since a step of its change is held.
func (s State) asksAgain(f ProposalRenewed) State {
	p := *s.Change.Approved
	p.Digest, p.Gate, p.From, p.To, p.Votes, p.BlindBy, p.Until = f.Digest, f.Gate, f.From, f.To, nil, "", f.Until
	p.Escalated, p.Pin, p.Change, p.Step, p.Targets = false, 0, f.Change, f.Step, f.Targets
	s.Proposals = with(s.Proposals, p)
	return s
}

// answered takes the proposal of a held step from those that wait: people said yes again.
func (s State) answered(c Change, f StepStarted) (State, Change) {
	for _, p := range s.Proposals {
		if p.Change == c.ID {
			c.Approved = &p
		}
	}
	s.Proposals = without(s.Proposals, func(p Proposal) bool { return p.Change == c.ID })
	c.Plan.Steps = slices.Clone(c.Plan.Steps)
	c.Plan.Steps[c.Next], c.Asks = f.Step, false
	return s, c
}
