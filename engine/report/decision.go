package report

import (
	"cmp"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// decision answers whether it was correct and timely.
func (m *maker) decision() Answer {
	a := Answer{Question: askDecision, Ask: "Was it the right thing to do for the users, and was it early enough? Would less have been enough, or would it have passed by itself?"}
	x, c := m.x, m.asked()
	chosen := m.past.events[m.chosen(x)]
	for _, s := range m.sign {
		a.say("", fmt.Sprintf("Before it, at %s: %s", stamp(s.at), s.text), s.ref)
	}
	since, sign := m.r.Began, "the first sign"
	if at, ref := m.turned(chosen); !at.IsZero() {
		since, sign = at, "its condition had turned true"
		a.say("", fmt.Sprintf("Its condition was true from %s on: %s", stamp(at), cmp.Or(x.Rule.Condition, "of "+x.Transition)), ref)
	}
	after := ""
	if d := chosen.At.Sub(since); d > 0 {
		after = ", " + explain.Lasted(d) + " after " + sign
	}
	switch {
	case byHand(x) && x.Transition == "":
		a.say(Unclear, fmt.Sprintf("%s chose it at %s%s, and by no declared transition (a directive only): %s", x.By, stamp(chosen.At), after, m.r.Why), c.Event)
	case byHand(x):
		a.say(Unclear, fmt.Sprintf("%s chose it at %s%s: %s", x.By, stamp(chosen.At), after, m.r.Why), c.Event)
	default:
		a.say("", fmt.Sprintf("Automation decided at %s%s: %s", stamp(chosen.At), after, m.r.Why), c.Event)
	}
	replay := x.Replay
	switch {
	case replay.Difference != nil:
		a.say(Bad, "Decided again it comes out otherwise: "+replay.String(), Ref(fmt.Sprintf("%s/%d", x.Scope, replay.Difference.Version)))
	case replay.Decisions == 0:
		a.say(Unclear, "It could not be decided again: "+replay.Why, c.Event)
	case replay.NotKept > 0:
		a.say(Unclear, replay.String(), c.Event)
	default:
		a.say(Good, fmt.Sprintf("By the rules of that time it comes out the same when it is decided again (%s)", plural(replay.Decisions, "decision")), c.Event)
	}
	m.withheld(&a)
	if x.Forced {
		a.say(Unclear, "Somebody went around the gate (break-glass): whether that was called for is for people to say", m.kind("GlassBroken")...)
	}
	if !c.Proposed.IsZero() {
		switch {
		case !c.Started.IsZero():
			a.say("", fmt.Sprintf("It waited %s for people", explain.Lasted(c.Waited.Duration())), c.Event)
		case !c.Ended.IsZero():
			a.say(Bad, fmt.Sprintf("Nothing was done: it was %s after %s", c.Outcome, between(c.Proposed, c.Ended)), m.last(x))
		default:
			a.say(Unclear, fmt.Sprintf("It has waited for people for %s by now", between(c.Proposed, m.r.Made)), c.Event)
		}
	}
	switch {
	case !c.Applied.IsZero():
		a.say(Good, fmt.Sprintf("%d instances had it %s after it started, %s after the first sign", c.Acked, between(c.Started, c.Applied), between(m.r.Began, c.Applied)), m.kindOf(x, "DirectiveApplied")...)
	case !c.Published.IsZero() && c.Instances == 0:
		a.say("", "No instance was connected when it started: nobody was waited for, and when it took effect is not known", m.kindOf(x, "DirectivePublished")...)
	case len(c.Waves) > 0:
		w := c.Waves[len(c.Waves)-1]
		a.say(Unclear, fmt.Sprintf("It had reached %d of %d instances, in wave %d, as far as the log goes", w.Instances, c.Instances, w.Number), m.kindOf(x, "WavePublished")...)
	case !c.Published.IsZero():
		a.say(Bad, fmt.Sprintf("It was never in force at enough of the %d instances, as far as the log goes", c.Instances), m.kindOf(x, "DirectivePublished")...)
	}
	for _, o := range m.r.Changes {
		y := m.told[o.ID]
		switch o.Outcome {
		case explain.Undone:
			u := m.undone(y)
			by := ""
			if u.by != "" {
				by = " by " + u.by
			}
			a.say(u.mark(), fmt.Sprintf("%s (%s → %s) was taken back%s: %s", o.ID, o.From, o.To, by, u.why), m.kindOf(y, "UndoStarted", "ChangeUndone")...)
		case explain.Overtaken:
			a.say("", fmt.Sprintf("%s (%s → %s) was overtaken by something safer", o.ID, o.From, o.To), m.kindOf(y, "ChangeOvertaken")...)
		}
	}
	for _, i := range m.r.Incidents {
		if i.Resolved.IsZero() {
			a.say(Unclear, fmt.Sprintf("%s (%s) was not over as far as the log goes: %s", i.ID, i.Severity, i.Summary), i.Event)
		}
	}
	back := m.undone(x)
	switch {
	case replay.Difference != nil:
		a.Verdict, a.Short = No, "What the log says does not follow from the rules it names."
	case byHand(x):
		a.Verdict, a.Short = CannotTell, "A person chose; no rule says whether that was right."
	case replay.Decisions == 0:
		a.Verdict, a.Short = CannotTell, "It could not be decided again, so nothing shows that it follows from the rules."
	case back.mark() == Bad:
		a.Verdict, a.Short = InPart, "It follows from the rules and from what was seen, and came to nothing: "+back.why+"."
	case x.Change == "" && !m.r.Ended.IsZero():
		a.Verdict, a.Short = InPart, fmt.Sprintf("Asking follows from the rules and from what was seen; it was %s, and nothing was done.", c.Outcome)
	case c.Started.IsZero():
		a.Verdict, a.Short = InPart, "Asking follows from the rules and from what was seen; people have not answered yet."
	default:
		a.Verdict, a.Short = Yes, fmt.Sprintf("It follows from the rules and from what was seen, and started %s after %s.", between(since, c.Started), sign)
		if back.mark() == Unclear {
			a.Short += fmt.Sprintf(" It was taken back later, by %s: %s.", back.by, back.why)
		}
	}
	return a
}

// turned is when the condition of the change that was asked for turned true, where that is in the story and what began the story is
// another change: of a recovery the first sign is not that of the trouble.
func (m *maker) turned(chosen engine.Event) (at time.Time, ref Ref) {
	condition := ""
	switch f := chosen.Fact.(type) {
	case engine.ChangeProposed:
		condition = f.Proposal.Retry.Condition
	case engine.ChangeStarted:
		condition = f.Retry.Condition
	}
	if _, first := m.entry(); condition == "" || condition == first {
		return at, ref
	}
	for _, e := range m.story() {
		if e.Version >= chosen.Version {
			break
		}
		if f, ok := e.Fact.(engine.ConditionTurned); ok && f.Clock.Condition == condition {
			at, ref = time.Time{}, ""
			if f.Clock.Truth == engine.True {
				at, ref = e.At, m.ref(e)
			}
		}
	}
	return at, ref
}
