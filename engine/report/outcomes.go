package report

import (
	"cmp"
	"fmt"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

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
