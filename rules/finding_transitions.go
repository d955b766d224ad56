package rules

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// lookAtTransitions finds transitions that undo each other or compete, and steps that cannot be taken back.
func (d *draft) lookAtTransitions() {
	p := &d.service.Policy
	for i := range d.transitions {
		t := &d.transitions[i]
		for k := range t.actions {
			if a := &t.actions[k]; a.step.Irreversible {
				d.r.as(CodeIrreversible).notef(a.at, "an undo, if there can be one, makes a wrong yes cheaper", "action %q cannot be taken back: a mistake stays", a.step.Name)
			}
		}
		if t.over != nil && t.rule.Gate == nil {
			d.together(t, t, t.over, t.until)
		}
		for k := i + 1; k < len(d.transitions); k++ {
			u := &d.transitions[k]
			if t.rule.Gate != nil || u.rule.Gate != nil {
				continue // a proposal waits for people, who see both
			}
			if slices.Contains(t.rule.From, u.rule.To) && slices.Contains(u.rule.From, t.rule.To) {
				d.together(t, u, u.cond, u.when)
			}
			if from := shared(t.rule.From, u.rule.From); from != "" && d.unordered(p, &t.rule, &u.rule) {
				d.competing(t, u, from)
			}
		}
	}
}

// together finds that what leads into a mode and what leads back can be true at once.
func (d *draft) together(in, out *transitionDraft, back *Condition, at *node) {
	if in.cond.sketch == nil || back.sketch == nil {
		return
	}
	c := both(in.cond.sketch.claim.apart("in "+fromOf(in, out), d.name()), back.sketch.claim.apart("in "+string(in.rule.To), d.name()))
	if values, possible, _ := witness(c, d.bounds()); possible {
		what := fmt.Sprintf("%s and %s", in.rule.Name, out.rule.Name)
		if in == out {
			what = fmt.Sprintf("when and until of %s", in.rule.Name)
		}
		d.r.as(CodeTogether).warnf(at, "say here what is not so while "+in.rule.Name+" wants in, such as !(…)",
			"%s can be true together, and the scope would go to and fro between %s and %s: %s", what, fromOf(in, out), in.rule.To, such(values))
	}
}

// fromOf is the mode that in leaves and out leads back to.
func fromOf(in, out *transitionDraft) string {
	if in == out {
		return string(in.rule.From[0])
	}
	return string(out.rule.To)
}

// such lists values.
func such(values []string) string {
	if len(values) == 0 {
		return "always"
	}
	return "with " + strings.Join(values, ", ")
}

// unordered reports whether nothing but their place in the file says which of two ready transitions starts: the most restrictive
// target wins, so that theirs has to be the same, or to have no rank.
func (d *draft) unordered(p *engine.Policy, t, u *engine.Transition) bool {
	if t.To != u.To {
		a, _ := p.Mode(t.To)
		b, _ := p.Mode(u.To)
		return a.Beside && b.Beside
	}
	_, ends := t.Until.Index()
	_, alsoEnds := u.Until.Index()
	return ends != alsoEnds || t.UndoEntry != u.UndoEntry || !sameSteps(&t.Playbook, &u.Playbook) || !sameWaves(t.Rollout, u.Rollout)
}

func sameSteps(a, b *engine.Playbook) bool {
	return a.PublishLast == b.PublishLast && a.OnFailure == b.OnFailure && reflect.DeepEqual(a.Steps, b.Steps)
}

func sameWaves(a, b *engine.Rollout) bool {
	return (a == nil) == (b == nil) && (a == nil || slices.Equal(a.Waves, b.Waves) && a.Pause == b.Pause)
}

// competing finds that two transitions which do different things can be ready at once.
func (d *draft) competing(t, u *transitionDraft, from engine.Mode) {
	if t.cond.sketch == nil || u.cond.sketch == nil {
		return
	}
	c := both(t.cond.sketch.claim, u.cond.sketch.claim)
	values, possible, _ := witness(c, d.bounds())
	if !possible {
		return
	}
	does := fmt.Sprintf("%s leads to %s and %s to %s, which both have no rank", t.rule.Name, t.rule.To, u.rule.Name, u.rule.To)
	if t.rule.To == u.rule.To {
		does = fmt.Sprintf("%s and %s lead to %s in different ways", t.rule.Name, u.rule.Name, u.rule.To)
	}
	d.r.as(CodeCompeting).warnf(u.when, "let one of them rule the other out, or let both do the same",
		"%s, and in %s both can be ready: the first in the file wins, %s", does, from, such(values))
}

// shared is a mode that is in both lists.
func shared(a, b []engine.Mode) engine.Mode {
	for _, m := range a {
		if slices.Contains(b, m) {
			return m
		}
	}
	return ""
}

// bounds are what values the quantities of the document's conditions can have.
func (d *draft) bounds() map[string]bounds {
	if d.ranges != nil {
		return d.ranges
	}
	d.ranges = map[string]bounds{"divergence()": {0, 1}}
	for _, c := range d.service.Conditions {
		if c.sketch == nil {
			continue // of a tier: nobody compares it with another
		}
		for _, s := range c.signals {
			switch s.Kind {
			case SignalSLO:
				d.ranges[rateName(s.Name, s.Window)] = bounds{0, round(1 / d.service.SLO(s.Name).Budget)}
			case SignalBudget:
				d.ranges[s.String()] = bounds{math.Inf(-1), 1}
			}
		}
	}
	for i := range d.service.Policy.Modes {
		d.ranges["dwell() in "+string(d.service.Policy.Modes[i].Name)] = bounds{0, math.Inf(1)}
	}
	d.ranges["dwell()"] = bounds{0, math.Inf(1)}
	return d.ranges
}
