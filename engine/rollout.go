package engine

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// The facts of how a directive reaches the instances.
type (
	// WavePublished tells so many instances, by rank, those of the waves before among them. The rank is that of a stable hash of
	// their names, and fixed when the change starts.
	WavePublished struct {
		Change    ChangeID `json:"change"`
		Wave      int      `json:"wave"` // from 1
		Share     Percent  `json:"share"`
		Instances int      `json:"instances"`
	}
	// WaveHeld says that a wave does not go on; the reason says why. Those who were told keep what they have. A roll-out without
	// waves is held with the wave 0.
	WaveHeld struct {
		Change ChangeID `json:"change"`
		Wave   int      `json:"wave,omitempty"`
	}
	// WaveResumed ends that.
	WaveResumed struct {
		Change ChangeID `json:"change"`
		Wave   int      `json:"wave,omitempty"`
	}
	// DirectiveApplied says that enough of those who were told have it.
	DirectiveApplied struct {
		Change    ChangeID `json:"change"`
		Revision  Version  `json:"revision"`
		Acked     int      `json:"acked"`
		Instances int      `json:"instances"` // that were told
	}
	// RolloutDone says that the last wave has passed.
	RolloutDone struct {
		Change ChangeID `json:"change"`
	}
	// DivergenceFound says that more instances than the rules allow do not follow.
	DivergenceFound struct {
		Revision  Version   `json:"revision"`
		Instances int       `json:"instances"`
		Of        int       `json:"of"`
		Since     time.Time `json:"since"`
	}
	// DivergenceEnded ends that.
	DivergenceEnded struct {
		Revision Version `json:"revision"`
	}
)

func (WavePublished) fact()    {}
func (WaveHeld) fact()         {}
func (WaveResumed) fact()      {}
func (DirectiveApplied) fact() {}
func (RolloutDone) fact()      {}
func (DivergenceFound) fact()  {}
func (DivergenceEnded) fact()  {}

// InstancesReported says that the instances have come to something new. What that is stands in Input.Instances, as with every
// input: acknowledgements are a table, and no events.
type InstancesReported struct{}

func (*InstancesReported) name() string { return "instances reported" }

// Need is how many of so many instances have to apply a directive: the share the rules ask for, or all but one.
func (r InstanceRules) Need(told int) int {
	if told <= 1 {
		return told
	}
	share := cmp.Or(r.MinApplied, DefaultMinApplied)
	return min(int(math.Ceil(share*float64(told)-1e-9)), told-1)
}

// Diverges reports whether so many of all are more than may lag behind without anybody being told.
func (r InstanceRules) Diverges(behind, known int) bool {
	return behind > 0 && float64(behind) > cmp.Or(r.PageAbove, DefaultPageAbove)*float64(known)
}

// rollout is how a transition's directive reaches the instances, as its plan has it.
func (d *decision) rollout(t *Transition) *RolloutPlan {
	if t.Rollout == nil {
		return nil
	}
	r := &RolloutPlan{Waves: t.Rollout.Waves, Pause: t.Rollout.Pause}
	if i, ok := t.Rollout.Verify.Index(); ok {
		r.Verify = d.p.Conditions[i].Name
	}
	return r
}

// waves reports whether the change goes wave by wave: with no instances there is nobody a wave could prove anything on.
func (c *Change) waves() bool { return c.Plan.Rollout != nil && c.Instances > 0 }

// wave tells the next part of the instances. The last wave is everybody there is.
func (d *decision) wave(code Code, text string) {
	c := d.s.Change
	share := c.Plan.Rollout.Waves[c.Wave]
	n := share.of(c.Instances)
	if share >= 100 {
		n = max(n, d.in.Instances.Known)
	}
	d.emit(WavePublished{Change: c.ID, Wave: c.Wave + 1, Share: share, Instances: n}, code, text, nil)
}

// roll takes a published directive on to the instances, as far as their answers go, and reports whether something moved.
func (d *decision) roll() bool {
	c := d.s.Change
	in := d.in.Instances
	answers := in.Revision == d.s.Directive.Revision && in.Wave == c.Wave // else they are about those who were told before
	switch {
	case c.Applied != nil && !c.waves():
		return false // only a fold by an older program leaves it so
	case c.Applied != nil:
		return d.passUnverified()
	case in.Known == 0:
		d.emit(RolloutDone{Change: c.ID}, CodeInstances, "none is left", nil)
		return true
	}
	need := d.p.Instances.Need(in.Told)
	switch {
	case !answers:
	case in.Told == 0:
		if why := (Reason{CodeInstances, "none of its instances is left"}); d.stop(why) {
			d.trouble(d.heldAt(why.Text), why)
		}
	case in.Applied >= need:
		if c.Stopped != nil {
			d.goesOn(Reason{CodeApplied, fmt.Sprintf("%d of %d", in.Applied, in.Told)})
		}
		d.emit(DirectiveApplied{Change: c.ID, Revision: in.Revision, Acked: in.Applied, Instances: in.Told}, CodeApplied, "", nil)
		return true
	case in.Told-in.Failed < need:
		return d.refused(Reason{CodeInstances, fmt.Sprintf("%d of %d report failed", in.Failed, in.Told)})
	}
	return false
}

// refused decides what becomes of a directive that too many instances could not apply. Protection is not taken back because
// some refused it; what gives protection up is.
func (d *decision) refused(why Reason) bool {
	c := d.s.Change
	if !d.holds(c) {
		d.fail("", why, why.Text)
		return true
	}
	if d.stop(why) {
		d.trouble(d.heldAt(why.Text), why)
	}
	return false
}

// heldAt says where a roll-out stands still.
func (d *decision) heldAt(why string) string {
	c := d.s.Change
	if c.Waved > 0 {
		return fmt.Sprintf("is held at %d of %d instances: %s", c.Waved, c.Instances, why)
	}
	return "is held: " + why
}

// stop holds the wave, and reports whether that is news.
func (d *decision) stop(why Reason) bool {
	c := d.s.Change
	news := c.Stopped == nil || c.Stopped.Reason.Code != why.Code
	if news {
		d.emit(WaveHeld{Change: c.ID, Wave: c.Wave}, why.Code, why.Text, nil)
	}
	return news
}

// goesOn ends a hold, and what people were told of it.
func (d *decision) goesOn(why Reason) {
	c := d.s.Change
	d.emit(WaveResumed{Change: c.ID, Wave: c.Wave}, why.Code, why.Text, nil)
	if i, told := d.s.Incident(IncidentChange, d.subject()); told {
		d.resolve(i, CodeResumed, why.Text, nil)
	}
}

// passUnverified lets a wave that nothing has to verify go on once it has lasted long enough.
func (d *decision) passUnverified() bool {
	c := d.s.Change
	r := c.Plan.Rollout
	if r.Verify != "" || d.in.At.Sub(c.Applied.At) < r.Pause {
		return false
	}
	text := ""
	if r.Pause > 0 {
		text = fmt.Sprintf("%v are over", r.Pause)
	}
	d.pass(Reason{CodePause, text})
	return true
}

// pass goes on from a wave to the next one, or ends the roll-out.
func (d *decision) pass(why Reason) {
	c := d.s.Change
	if c.Wave < len(c.Plan.Rollout.Waves) {
		d.wave(why.Code, why.Text)
		return
	}
	d.emit(RolloutDone{Change: c.ID}, why.Code, why.Text, nil)
}

// verifyWave judges the condition that has to be true of the instances told so far. Only true lets the next be told; false takes
// back what gives protection up and holds what gives it; unknown holds and, after blind_after, pages.
func (d *decision) verifyWave(o *Observed) {
	c := d.s.Change
	r := c.Plan.Rollout
	if r.Verify == "" || c.Applied == nil || o.Instant.Sub(c.Applied.At) < r.Pause {
		return
	}
	seen, text := d.seen(o, r.Verify), d.conditionText(r.Verify)
	if !seen.Asked {
		return
	}
	switch seen.Truth {
	case True:
		why := Reason{CodeVerify, text + " is true"}
		if c.Stopped != nil {
			d.goesOn(why)
		}
		d.pass(why)
	case False:
		why := Reason{CodeVerify, text + " is false"}
		if !d.holds(c) {
			d.fail("", why, why.Text)
			break
		}
		if d.stop(why) {
			d.trouble(d.heldAt(why.Text), why)
		}
	case Unknown:
		if c.Stopped == nil || c.Stopped.Reason.Code != CodeUnknown {
			d.emit(WaveHeld{Change: c.ID, Wave: c.Wave}, CodeUnknown, text+" cannot be seen", seen.Readings)
			return
		}
		if since := o.Instant.Sub(c.Stopped.Since); since >= d.p.BlindAfter {
			if _, told := d.s.Incident(IncidentChange, d.subject()); !told {
				d.trouble(d.heldAt(fmt.Sprintf("%s cannot be seen for %v", text, since)),
					Reason{CodeUnknown, fmt.Sprintf("%s cannot be seen since %s", text, c.Stopped.Since.UTC().Format(time.RFC3339))})
			}
		}
	}
	d.advance()
}

// diverge tells people when more instances than the rules allow do not follow what they are told, and when they do again.
func (d *decision) diverge() {
	in := d.in.Instances
	if d.p.Scope == Fleet || d.s.Retired || d.s.Version == 0 {
		return
	}
	subject := string(d.p.Scope)
	i, open := d.s.Incident(IncidentDivergence, subject)
	switch diverges := d.p.Instances.Diverges(in.Behind, in.Known); {
	case diverges && !open:
		if c := d.s.Change; c != nil && c.Stopped != nil && c.Stopped.Reason.Code == CodeInstances {
			return // people were told of it as what holds the change
		}
		why := Reason{CodeDivergence, fmt.Sprintf("%d of %d instances for %v", in.Behind, in.Known, d.in.At.Sub(in.Since))}
		d.emit(DivergenceFound{Revision: d.s.Directive.Revision, Instances: in.Behind, Of: in.Known, Since: in.Since}, why.Code, why.Text, nil)
		d.open(Incident{Kind: IncidentDivergence, Subject: subject, Severity: SeverityPage},
			fmt.Sprintf("%s: %d of %d instances do not follow revision %d", d.p.Scope, in.Behind, in.Known, d.s.Directive.Revision), "", why, nil)
	case !diverges && open:
		text := fmt.Sprintf("%d of %d", in.Known-in.Behind, in.Known)
		d.emit(DivergenceEnded{Revision: d.s.Directive.Revision}, CodeApplied, text, nil)
		d.resolve(i, CodeApplied, text, nil)
	}
}

// applyRollout folds the facts of a roll-out into the change under way.
func (c Change) applyRollout(e Event) (Change, bool) {
	switch f := e.Fact.(type) {
	case WavePublished:
		c.Wave, c.Waved, c.Applied, c.Stopped = f.Wave, f.Instances, nil, nil
		if int(f.Share) >= 100 {
			c.Before = nil
		}
	case DirectiveApplied:
		c.Applied = &Applied{At: e.At, Done: f.Acked, Of: f.Instances}
		c.Rolled = !c.waves()
	case RolloutDone:
		c.Rolled, c.Before = true, nil
	case WaveHeld:
		c.Stopped = &Stop{Since: e.At, Reason: e.Reason}
		if e.Cause.Instant.After(c.Stopped.Since) || e.Reason.Code == CodeUnknown && !e.Cause.Instant.IsZero() {
			c.Stopped.Since = e.Cause.Instant
		}
	case WaveResumed:
		c.Stopped = nil
	default:
		return c, false
	}
	return c, true
}
