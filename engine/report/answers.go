package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// The questions. Their order is that of the answers.
const (
	askDecision  = "Was the decision correct and timely?"
	askTelemetry = "Did telemetry support it?"
	askRunbooks  = "Were runbooks followed?"
	askTimes     = "How long did each transition take?"
	askOutcomes  = "What automation succeeded or failed?"
)

// say adds a finding.
func (a *Answer) say(mark Mark, text string, events ...Ref) {
	a.Says = append(a.Says, Finding{mark, text, append([]Ref{}, events...)})
}

// has reports whether some finding bears a mark.
func (a *Answer) has(mark Mark) bool {
	return slices.ContainsFunc(a.Says, func(f Finding) bool { return f.Mark == mark })
}

func (m *maker) answers() []Answer {
	return []Answer{m.decision(), m.telemetry(), m.runbooks(), m.times(), m.outcomes()}
}

// asked is the change the report is about.
func (m *maker) asked() *Change {
	i := slices.IndexFunc(m.r.Changes, func(c Change) bool { return c.Asked })
	return &m.r.Changes[i]
}

// byHand reports whether a person chose, and not a condition.
func byHand(x explain.Explanation) bool { return x.By != (engine.Actor{}) }

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

// telemetry answers whether what was measured bears the decision.
func (m *maker) telemetry() Answer {
	a := Answer{Question: askTelemetry}
	x, c := m.x, m.asked()
	version := m.past.events[m.chosen(x)].Version
	found := false
	for _, s := range x.Seen {
		if s.Version != version {
			continue
		}
		found = true
		unknown, oldest := []string{}, time.Duration(0)
		words := []string{}
		for _, r := range s.Readings {
			if r.Why != "" {
				unknown = append(unknown, fmt.Sprintf("%s (%s)", r.Signal, r.Why))
				continue
			}
			words = append(words, fmt.Sprintf("%s was %s", r.Signal, cmp.Or(r.Text, number(r.Value))))
			if !r.Sample.IsZero() {
				oldest = max(oldest, s.At.Sub(r.Sample))
			}
		}
		if len(words) > 0 {
			text := list(words)
			if oldest > 0 {
				text += fmt.Sprintf("; the oldest sample behind it was %s old", explain.Lasted(oldest))
			}
			a.say(Good, text, c.Event)
		}
		if len(unknown) > 0 {
			a.say(Bad, "Not known when it was decided: "+list(unknown), c.Event)
		}
	}
	if !found {
		switch {
		case byHand(x):
			a.say(Unclear, "A person chose: nothing that was measured is kept with it", c.Event)
		default:
			a.say("", "The decision needed no reading: it rests on time, a schedule or what people said", c.Event)
		}
	}
	for _, e := range m.story() {
		if f, ok := e.Fact.(engine.ApprovalGranted); ok && f.Blind {
			a.say(Bad, f.Person+" said yes to starting without sight", m.ref(e))
		}
	}
	m.blind(&a)
	unread := m.unread()
	if unread {
		a.say(Unclear, "Whether every source could be seen in all of this time was not read: the fleet has too many events")
	}
	for _, o := range m.r.Changes {
		if refs := m.kindOf(m.told[o.ID], "VerificationHeld"); len(refs) > 0 {
			a.say(Bad, fmt.Sprintf("%s could not be verified for a while", o.ID), refs...)
		}
	}
	switch {
	case byHand(x) && !found:
		a.Verdict, a.Short = CannotTell, "A person chose, and what that rested on is not in the log."
		a.Ask = "What did whoever chose it look at?"
	case a.has(Bad):
		a.Verdict, a.Short = InPart, "Some of what should have been seen was not."
	case unread:
		a.Verdict, a.Short = Yes, "Nothing that decided it was unknown. Whether all of the story was in sight was not read."
	case !found:
		a.Verdict, a.Short = Yes, "It needed no reading, and nothing was out of sight."
	default:
		a.Verdict, a.Short = Yes, "Everything that decided it was known, and nothing was out of sight in the story."
	}
	return a
}

// blind tells what could not be seen in the story, and when nobody evaluated.
func (m *maker) blind(a *Answer) {
	until := cmp.Or(m.r.Ended, m.r.Made)
	lost := map[string]engine.Event{}
	var order []string
	name := func(e engine.Event, subject string) string { return string(e.Stream) + " " + subject }
	told := append(m.fleet(), m.story()...)
	slices.SortStableFunc(told, func(a, b engine.Event) int { return a.At.Compare(b.At) })
	end := func(key string, at time.Time, by ...Ref) {
		e := lost[key]
		f := e.Fact.(engine.SightLost)
		what := f.Subject
		if e.Stream == engine.Fleet {
			what = "The source " + f.Subject
		}
		from := f.Since
		if from.Before(m.r.Began) {
			from = m.r.Began
		}
		a.say(Bad, fmt.Sprintf("%s could not be seen for %s of it: %s", what, between(from, at), explain.Why(e.Reason)), append([]Ref{m.ref(e)}, by...)...)
		delete(lost, key)
		order = slices.DeleteFunc(order, func(o string) bool { return o == key })
	}
	for _, e := range told {
		switch f := e.Fact.(type) {
		case engine.SightLost:
			key := name(e, f.Subject)
			if _, is := lost[key]; !is {
				lost[key], order = e, append(order, key)
			}
		case engine.SightRegained:
			if key := name(e, f.Subject); slices.Contains(order, key) {
				end(key, e.At, m.ref(e))
			}
		case engine.TimeLost:
			a.say(Bad, fmt.Sprintf("Nobody evaluated for %s: the server was down, or the clock jumped", between(f.From, f.To)), m.ref(e))
		case engine.LogRecovered:
			a.say(Bad, fmt.Sprintf("The log could not be written for %s", between(f.From, f.To)), m.ref(e))
		}
	}
	for _, key := range slices.Clone(order) {
		end(key, until)
	}
}

// runbooks answers whether what was laid down was done.
func (m *maker) runbooks() Answer {
	a := Answer{Question: askRunbooks, Ask: "What did people do outside of modeshift, and was the runbook of use?"}
	broken := false
	for _, c := range m.r.Changes {
		x := m.told[c.ID]
		m.playbook(&a, c, x)
		switch {
		case x.Forced:
			broken = true
			a.say(Bad, fmt.Sprintf("%s: its gate was gone around: %s", c.ID, c.By), m.kindOf(x, "GlassBroken", "ChangeStarted")...)
		case c.Transition == "" && !c.Above && !c.Started.IsZero():
			broken = true
			a.say(Bad, fmt.Sprintf("%s went by no declared transition: a directive only, by %s", c.ID, c.By), c.Event)
		case len(x.Rule.Gate) > 0 || x.Proposal != "":
			m.gate(&a, c, x)
		}
	}
	if m.r.Runbook != "" {
		a.say("", "People were pointed to "+m.r.Runbook, m.kind("IncidentOpened")...)
	} else {
		a.say(Unclear, "No runbook is named in what people were told")
	}
	for _, e := range m.story() {
		switch f := e.Fact.(type) {
		case engine.ApprovalRefused:
			a.say("", fmt.Sprintf("An answer of %s did not count: %s", f.Person, explain.Why(e.Reason)), m.ref(e))
		case engine.RequestRefused:
			a.say("", fmt.Sprintf("%s was refused, to %s: %s", e.Cause.Input, e.Cause.Actor, explain.Why(e.Reason)), m.ref(e))
		case engine.ChangeSettled:
			a.say(Unclear, fmt.Sprintf("%s looked, and settled %s as %s: %s", f.Person, f.Change, f.As, e.Reason.Text), m.ref(e))
		case engine.ModePinned:
			a.say("", fmt.Sprintf("%s kept automation off until %s: %s", e.Cause.Actor, stamp(f.Until), e.Reason.Text), m.ref(e))
		case engine.AutomationFrozen:
			a.say("", fmt.Sprintf("%s froze automation: %s", e.Cause.Actor, e.Reason.Text), m.ref(e))
		}
	}
	switch {
	case broken:
		a.Verdict, a.Short = No, "Not by what the rules lay down."
	case a.has(Bad):
		a.Verdict, a.Short = InPart, "What modeshift carries out went by the rules; not all of it came to its end."
	default:
		a.Verdict, a.Short = Yes, "What modeshift carries out went by the rules. What people did beside it is not in the log."
	}
	return a
}

// playbook tells how far the steps of a change were carried out.
func (m *maker) playbook(a *Answer, c Change, x explain.Explanation) {
	plan := x.Rule.Steps
	if len(plan) == 0 || c.Started.IsZero() {
		return
	}
	var done, missing []string
	for _, s := range plan {
		if slices.ContainsFunc(x.Steps, func(t explain.Step) bool {
			return t.Step == s.Name && t.Change == x.Change && !t.Undo && len(t.Attempts) > 0 && t.Attempts[len(t.Attempts)-1].Outcome == engine.OutcomeDone
		}) {
			done = append(done, s.Name)
		} else {
			missing = append(missing, s.Name)
		}
	}
	refs := m.kindOf(x, "StepDone", "StepFailed", "StepUnknown", "StepHeld")
	if len(missing) == 0 {
		a.say(Good, fmt.Sprintf("%s: all steps of its playbook were carried out, in order: %s", c.ID, list(done)), refs...)
		return
	}
	a.say(Bad, fmt.Sprintf("%s: its playbook was carried out in part, %d of %d steps; not done: %s", c.ID, len(done), len(plan), list(missing)), refs...)
}

// gate tells who was asked, and who answered.
func (m *maker) gate(a *Answer, c Change, x explain.Explanation) {
	var yes []string
	for _, v := range x.People {
		if strings.HasPrefix(v.Said, "yes") {
			yes = append(yes, fmt.Sprintf("%s for %s", v.Person, v.Role))
		}
	}
	refs := m.kindOf(x, "ApprovalGranted", "ProposalDenied", "ProposalExpired", "ProposalWithdrawn")
	if escalated := m.kindOf(x, "GateEscalated"); len(escalated) > 0 {
		a.say(Bad, fmt.Sprintf("%s: nobody answered its gate in time, and it was escalated", c.ID), escalated...)
	}
	if renewed := m.kindOf(x, "ProposalRenewed"); len(renewed) > 0 {
		a.say("", fmt.Sprintf("%s: what would be done changed meanwhile, and people were asked anew", c.ID), renewed...)
	}
	switch c.Outcome {
	case explain.Denied, explain.Expired, explain.Withdrawn:
		mark := Mark("")
		if c.Outcome == explain.Expired {
			mark = Bad
		}
		a.say(mark, fmt.Sprintf("%s was %s, and nothing of it was done", c.ID, c.Outcome), refs...)
	case explain.Waiting:
		a.say(Unclear, fmt.Sprintf("%s waits for people", c.ID), c.Event)
	default:
		if len(yes) > 0 {
			a.say(Good, fmt.Sprintf("%s: everybody its gate asks for said yes before it started: %s", c.ID, list(yes)), refs...)
		}
	}
}

// times answers how long each transition took.
func (m *maker) times() Answer {
	a := Answer{Question: askTimes}
	for _, c := range m.r.Changes {
		x := m.told[c.ID]
		var parts []string
		add := func(text string, d time.Duration) { parts = append(parts, text+" "+explain.Lasted(d)) }
		if !c.Proposed.IsZero() {
			add("waited for people", cmp.Or(c.Started, c.Ended, m.r.Made).Sub(c.Proposed))
		}
		switch d := c.Published.Sub(c.Started); {
		case c.Published.IsZero():
		case d == 0:
			parts = append(parts, "told instances at once")
		default:
			add("told instances after", d)
		}
		if !c.Applied.IsZero() {
			add(fmt.Sprintf("in force at %d instances after", c.Acked), c.Applied.Sub(c.Started))
		}
		if n := len(c.Waves); n > 0 {
			held := Seconds(0)
			for _, w := range c.Waves {
				held += w.Held
			}
			text := plural(n, "wave")
			if held > 0 {
				text += ", held for " + explain.Lasted(held.Duration())
			}
			parts = append(parts, text)
		}
		for _, s := range x.Steps {
			name := s.Step
			if s.Undo {
				name = "undo of " + name
			}
			add(name, s.Took.Duration())
		}
		if !c.Started.IsZero() {
			switch {
			case !c.Ended.IsZero():
				add(string(c.Outcome)+" after", c.Ended.Sub(c.Started))
			default:
				parts = append(parts, fmt.Sprintf("%s, %s after its start", c.Outcome, between(c.Started, m.r.Made)))
			}
		}
		a.say("", fmt.Sprintf("%s (%s → %s): %s", c.ID, c.From, c.To, strings.Join(parts, "; ")), c.Event)
	}
	c := m.asked()
	switch {
	case !c.Started.IsZero() && !c.Ended.IsZero():
		a.Short = fmt.Sprintf("%s from its start until it was %s", between(c.Started, c.Ended), c.Outcome)
	case !c.Started.IsZero():
		a.Short = fmt.Sprintf("It is %s, %s after its start", c.Outcome, between(c.Started, m.r.Made))
	default:
		a.Short = "It did not start"
	}
	if !m.r.Left.IsZero() {
		if m.r.Open {
			a.Short += fmt.Sprintf("; %s has been out of %s for %s", m.r.Scope, m.r.Home, between(m.r.Left, m.r.Made))
		} else {
			a.Short += fmt.Sprintf("; %s was out of %s for %s", m.r.Scope, m.r.Home, between(m.r.Left, m.r.Ended))
		}
	}
	a.Short += "."
	return a
}

// outcomes answers what automation did and did not bring about.
func (m *maker) outcomes() Answer {
	a := Answer{Question: askOutcomes}
	count := map[explain.Outcome]int{}
	var order []explain.Outcome
	for _, c := range m.r.Changes {
		x := m.told[c.ID]
		if count[c.Outcome]++; count[c.Outcome] == 1 {
			order = append(order, c.Outcome)
		}
		mark := Mark("")
		switch c.Outcome {
		case explain.Done:
			mark = Good
		case explain.Stuck, explain.Expired:
			mark = Bad
		case explain.Undone, explain.Undoing:
			if mark = m.undone(x).mark(); mark == Unclear {
				mark = "" // it was carried out as asked
			}
		case explain.UnderWay, explain.Waiting, explain.Retired:
			mark = Unclear
		}
		a.say(mark, fmt.Sprintf("%s, %s → %s (%s): %s, decided by %s", c.ID, c.From, c.To, cmp.Or(c.Transition, c.Via), c.Outcome, c.By), m.kindOf(x, "ChangeStarted", "ChangeDone", "ChangeUndone", "ChangeFailed", "ChangeStuck", "ChangeOvertaken", "ProposalDenied", "ProposalExpired", "ProposalWithdrawn")...)
		m.work(&a, c, x)
	}
	if refs := m.kind("DivergenceFound"); len(refs) > 0 {
		a.say(Bad, "Instances did not follow for longer than they may", append(refs, m.kind("DivergenceEnded")...)...)
	}
	for _, i := range m.r.Incidents {
		text := fmt.Sprintf("People were told by a %s: %s", i.Severity, i.Summary)
		if !i.Resolved.IsZero() {
			text += "; over after " + between(i.Opened, i.Resolved)
		}
		a.say("", text, i.Event)
	}
	var words []string
	for _, o := range order {
		words = append(words, fmt.Sprintf("%d %s", count[o], o))
	}
	a.Short = fmt.Sprintf("Of %s: %s.", plural(len(m.r.Changes), "change or proposal"), list(words))
	if len(m.r.Changes) > 1 {
		a.Short = fmt.Sprintf("Of %d changes and proposals: %s.", len(m.r.Changes), list(words))
	}
	return a
}

// work tells of steps, waves and verifications that were not smooth, and of steps that were.
func (m *maker) work(a *Answer, c Change, x explain.Explanation) {
	for _, s := range x.Steps {
		name := s.Step
		if s.Undo {
			name = "the undo of " + name
		}
		if len(s.Attempts) == 0 {
			continue
		}
		final := s.Attempts[len(s.Attempts)-1]
		text := fmt.Sprintf("%s: %s: %s", c.ID, name, cmp.Or(string(final.Outcome), "its answer is awaited"))
		if n := len(s.Attempts); n > 1 {
			text += fmt.Sprintf(" at attempt %d", final.Number)
		}
		if final.Answer != "" {
			text += ": " + final.Answer
		}
		mark := Bad
		switch final.Outcome {
		case engine.OutcomeDone:
			mark = Good
		case "":
			mark = Unclear
		}
		a.say(mark, text, m.stepRefs(x, s)...)
	}
	for _, w := range c.Waves {
		if w.Held > 0 || w.Why != "" {
			a.say(Bad, fmt.Sprintf("%s: wave %d was held for %s: %s", c.ID, w.Number, explain.Lasted(w.Held.Duration()), w.Why), m.kindOf(x, "WaveHeld", "WaveResumed")...)
		}
	}
	if refs := m.kindOf(x, "ChangeHeld"); len(refs) > 0 {
		a.say(Bad, fmt.Sprintf("%s held what it had done, and tried again", c.ID), refs...)
	}
	for _, moment := range x.Timeline {
		if moment.Event == "ChangeFailed" {
			a.say(Bad, fmt.Sprintf("%s failed: %s", c.ID, moment.Why), Ref(fmt.Sprintf("%s/%d", x.Scope, moment.Version)))
		}
	}
}

// stepRefs names the events in which the attempts of a step ended.
func (m *maker) stepRefs(x explain.Explanation, s explain.Step) []Ref {
	refs := []Ref{}
	for _, moment := range x.Timeline {
		i := m.past.index(moment.Version)
		if i < 0 {
			continue
		}
		name, undo := "", false
		switch f := m.past.events[i].Fact.(type) {
		case engine.StepStarted:
			if s.Attempts[len(s.Attempts)-1].Outcome == "" { // awaited: what began it is all there is
				name, undo = f.Step.Name, f.Undo
			}
		case engine.StepDone:
			name, undo = f.Step, f.Undo
		case engine.StepFailed:
			name, undo = f.Step, f.Undo
		case engine.StepUnknown:
			name, undo = f.Step, f.Undo
		case engine.StepHeld:
			name = f.Step
		}
		if name == s.Step && undo == s.Undo {
			refs = append(refs, m.ref(m.past.events[i]))
		}
	}
	return refs
}

// weighed adds to the answers what the ledger says.
func (r *Report) weighed() {
	telemetry := slices.IndexFunc(r.Answers, func(a Answer) bool { return a.Question == askTelemetry })
	for i := range r.Budgets {
		b := &r.Budgets[i]
		if !r.Charted(b) {
			continue
		}
		known, all := 0.0, 0.0
		for _, p := range b.Burn {
			all += p.To.Sub(p.From).Seconds()
			known += p.Known * p.To.Sub(p.From).Seconds()
		}
		a := &r.Answers[telemetry]
		switch {
		case all == 0 || known == 0:
			a.say(Unclear, fmt.Sprintf("The ledger knows nothing of %s in this time, or not yet: the chart has only what decisions were made on", b.SLO))
		case known < 0.999*all:
			a.say(Unclear, fmt.Sprintf("The ledger knows %s of this time of %s", percent(known/all), b.SLO))
		default:
			a.say(Good, fmt.Sprintf("The ledger knows all of this time of %s", b.SLO))
		}
		switch {
		case !b.Before.Known || !b.After.Known:
		case b.Renewed:
			r.Answers[0].say("", fmt.Sprintf("A new period of the budget of %s began in between: %s was left before, and %s of the new one after", b.SLO, percent(b.Before.Remaining), percent(b.After.Remaining)))
		case b.After.At.Before(r.Began) || !b.After.At.After(b.Before.At):
			a.say(Unclear, fmt.Sprintf("What it cost of the budget of %s is not in the ledger yet: that goes up to %s", b.SLO, stamp(b.After.At)))
		default:
			r.Answers[0].say("", fmt.Sprintf("Of the budget of %s %s was left before, and %s after", b.SLO, percent(b.Before.Remaining), percent(b.After.Remaining)))
		}
	}
}
