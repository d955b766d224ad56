package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

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
