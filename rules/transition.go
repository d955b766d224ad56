package rules

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// transitionDraft is a transition whose names are looked up when all of the document has been read.
type transitionDraft struct {
	rule    engine.Transition
	node    *node
	from    []*node
	to      *node
	when    *node
	until   *node
	verify  *node
	wave    *node      // the verification of each wave
	cond    *Condition // that `when` is; nil when it is faulty
	over    *Condition // that `until` is
	actions []actionDraft
}

func (d *draft) transition(n *node) {
	r := d.r
	t := transitionDraft{node: n, rule: engine.Transition{Severity: engine.SeverityInfo, Position: r.position(n)}}
	r.mapping(n, "a transition",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of a transition"); ok && r.unique(d.transitionNames, n, "transition", name) {
				t.rule.Name = name
			}
		}),
		need("from", func(n *node) {
			if n.kind == yaml.ScalarNode {
				r.errorf(n, fmt.Sprintf("write `from: [%s]`", clip(n.value)), "from must be a list of modes, not %s", n.is())
				return
			}
			r.list(n, "from", func(n *node) { t.from = append(t.from, n) })
			if len(n.items) == 0 {
				r.errorf(n, "name the modes it starts from", "from is empty")
			}
		}),
		need("to", func(n *node) { t.to = n }),
		need("when", func(n *node) { t.when = n }),
		may("for", func(n *node) {
			if n.kind == yaml.ScalarNode && (n.value == "0" || n.value == "0s") {
				return
			}
			t.rule.For, _ = r.duration(n, "for")
		}),
		may("severity", func(n *node) {
			if v, ok := r.oneOf(n, "severity", string(engine.SeverityInfo), string(engine.SeverityTicket), string(engine.SeverityPage)); ok {
				t.rule.Severity = engine.Severity(v)
			}
		}),
		may("approval", func(n *node) { t.rule.Gate = d.gate(n) }),
		may("actions", func(n *node) { t.actions = d.actions(n) }),
		may("publish", func(n *node) {
			v, ok := r.oneOf(n, "publish", "first", "last")
			t.rule.Playbook.PublishLast = v == "last"
			if ok && v == "last" && t.actions == nil {
				r.as(CodePublishOfNothing).warnf(n, "remove it, or declare `actions:`", "publish: last puts the actions first, and there are none")
			}
		}),
		may("rollout", func(n *node) { t.rule.Rollout = d.rollout(n, &t.wave) }),
		may("verify", func(n *node) { t.verify = n }),
		may("on_failure", func(n *node) {
			if v, ok := r.oneOf(n, "on_failure", string(engine.OnFailureHold), string(engine.OnFailureUndo)); ok {
				t.rule.Playbook.OnFailure = engine.OnFailure(v)
			}
		}),
		may("until", func(n *node) { t.until = n }),
		may("undo", func(n *node) { _, t.rule.UndoEntry = r.oneOf(n, "undo", "entry") }),
		may("retry_after", r.setDuration(&t.rule.RetryAfter, "retry_after")))
	if n.kind != yaml.MappingNode {
		return
	}
	if t.until != nil && t.rule.UndoEntry {
		r.errorf(n.keyNode("until"), "declare a transition back in place of `until`, or remove `undo: entry`",
			"until goes back to the mode that was left, and undo: entry has taken back what was done to enter it")
	}
	d.unguarded(&t)
	for i := range t.actions {
		a := &t.actions[i]
		t.rule.Playbook.Steps = append(t.rule.Playbook.Steps, a.step)
		if a.why == "" {
			continue
		}
		if d.service.whys == nil {
			d.service.whys = map[string]string{}
		}
		d.service.whys[t.rule.Name+"/"+a.step.Name] = a.why
	}
	d.transitions = append(d.transitions, t)
}

// unguarded refuses a transition that does harm and asks nobody. A gate that is there and wrong has been refused already.
func (d *draft) unguarded(t *transitionDraft) {
	if t.node.get("approval") != nil {
		return
	}
	for i := range t.actions {
		if a := &t.actions[i]; a.step.Destructive {
			d.r.as(CodeUngatedHarm).errorf(a.at, "add to the transition `approval: {groups: [{role: oncall, count: 1}], within: 15m}`",
				"action %q is destructive, and nobody is asked", clip(a.step.Name))
		}
	}
}

// conditions compiles what the SLOs' tiers and the transitions ask for, now that everything they can name is known.
func (d *draft) conditions() {
	p := &d.service.Policy
	for i := range d.service.SLOs {
		s := &d.service.SLOs[i]
		for k := range s.Tiers {
			tier := &s.Tiers[k]
			c := alertCondition(s, tier)
			p.Alerts = append(p.Alerts, engine.Alert{SLO: s.Name, Severity: tier.Severity, Name: tier.Name, Condition: len(p.Conditions),
				Labels: tier.Labels, Notes: tier.Annotations})
			d.add(c, cadence(tier))
			d.escalate(s, tier, &p.Alerts[len(p.Alerts)-1])
		}
		d.untiered(s)
	}
	for i := range d.transitions {
		t := &d.transitions[i]
		for _, n := range t.from {
			if m, ok := d.modeOf(n); ok {
				if slices.Contains(t.rule.From, m) {
					d.r.errorf(n, "remove one of the two", "mode %q is in `from` twice", m)
					continue
				}
				t.rule.From = append(t.rule.From, m)
			}
		}
		if t.to != nil {
			if m, ok := d.modeOf(t.to); ok {
				t.rule.To = m
				if k := slices.Index(t.rule.From, m); k >= 0 {
					d.r.errorf(t.to, "remove it from `from`", "the transition leads from %q to itself", m)
				}
			}
		}
		c, ok := d.named(t.when, t.rule.Name, "when")
		if t.cond = c; ok {
			t.rule.When = len(p.Conditions) - 1
			for k := range p.Alerts {
				if slices.Contains(c.burning, burningRef{p.Alerts[k].SLO, p.Alerts[k].Severity}) {
					t.rule.Alerts = append(t.rule.Alerts, k)
				}
			}
		}
		if c, ok := d.named(t.until, t.rule.Name, "until"); ok {
			t.over = c
			t.rule.Until = engine.ConditionRef(len(p.Conditions))
		}
		if _, ok := d.named(t.verify, t.rule.Name, "verify"); ok {
			t.rule.Playbook.Verify = engine.ConditionRef(len(p.Conditions))
		}
		if _, ok := d.named(t.wave, t.rule.Name, "rollout"); ok && t.rule.Rollout != nil {
			t.rule.Rollout.Verify = engine.ConditionRef(len(p.Conditions))
		}
		if ok {
			p.Transitions = append(p.Transitions, t.rule)
		}
	}
	d.doubts()
}

// named compiles a transition's condition and adds it to the policy as its last: shed.when; shed.rollout is the verification of
// its waves. It is false when the key is not there, or the condition or the transition's name is wrong.
func (d *draft) named(n *node, transition, key string) (*Condition, bool) {
	if n == nil {
		return nil, false
	}
	what, wave := key, key == "rollout"
	if wave {
		what = "verify"
	}
	c, ok := d.compile(n, what, transition+"."+key, wave)
	if !ok || transition == "" {
		return nil, false
	}
	d.service.references = append(d.service.references, c.references...)
	d.add(c, 0)
	return c, true
}

// doubts warns of what is legal and most likely not what was meant.
func (d *draft) doubts() {
	takesBack := map[engine.Mode]bool{} // the modes that some transition enters with an action that has an undo
	for i := range d.transitions {
		if t := &d.transitions[i]; slices.ContainsFunc(t.actions, func(a actionDraft) bool { return a.step.Undo }) {
			takesBack[t.rule.To] = true
		}
	}
	modes := d.service.Policy.Modes
	for i := range d.transitions {
		t := &d.transitions[i]
		if len(modes) > 0 && t.rule.To == modes[0].Name && t.rule.Severity == engine.SeverityPage {
			d.r.as(CodePageOnTheWayBack).warnf(t.node.get("severity"), "page on the way in, and leave `severity` out on the way back",
				"the page of a transition into the first mode stays open until that mode is left")
		}
		if t.rule.UndoEntry && len(t.rule.From) > 0 && !slices.ContainsFunc(t.rule.From, func(m engine.Mode) bool { return takesBack[m] }) {
			d.r.as(CodeUndoOfNothing).warnf(t.node.get("undo"), "remove it, or give the transitions into the modes of `from` actions with an `undo`",
				"undo: entry takes nothing back: no transition enters %s with an action that has an undo", orList(t.rule.From))
		}
	}
}

// orList writes modes as people do: a, b or c.
func orList(modes []engine.Mode) string {
	text := ""
	for i, m := range modes {
		switch {
		case i == 0:
		case i == len(modes)-1:
			text += " or "
		default:
			text += ", "
		}
		text += string(m)
	}
	return text
}

func (d *draft) add(c *Condition, every time.Duration) {
	p := &d.service.Policy
	p.Conditions = append(p.Conditions, engine.Condition{Name: c.Name, Text: c.Text, Every: every, Scheduled: c.scheduled()})
	d.service.Conditions = append(d.service.Conditions, c)
	for _, s := range c.signals {
		if s.Kind == SignalAlert && !slices.Contains(d.service.Alerts, s.Name) {
			d.service.Alerts = append(d.service.Alerts, s.Name)
		}
	}
	slices.Sort(d.service.Alerts)
}

// modeOf reads the name of a declared mode.
func (d *draft) modeOf(n *node) (engine.Mode, bool) {
	name, ok := d.r.text(n, "a mode")
	if !ok {
		return "", false
	}
	if d.modeNames[name] == nil {
		d.r.as(CodeUnknownName).errorf(n, d.r.choose(name, keys(d.modeNames), "declare `modes:`, from the least to the most restrictive"), "there is no mode %q", clip(name))
		return "", false
	}
	return engine.Mode(name), true
}

func keys(m map[string]*node) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// cadence is how often a tier is asked for: as often as the quickest of its pairs; 0 is every tick.
func cadence(t *Tier) time.Duration {
	every := t.Windows[0].Every
	for _, w := range t.Windows[1:] {
		every = min(every, w.Every)
	}
	return every
}

// everySixtieth is how often a pair is decided: for a page at every tick (0), for a ticket every sixtieth of its short window,
// at a multiple of the interval.
func everySixtieth(severity engine.Severity, short, interval time.Duration) time.Duration {
	if severity == engine.SeverityPage {
		return 0
	}
	if every := (short / 60).Truncate(interval); every > interval {
		return every
	}
	return 0
}
