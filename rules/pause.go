package rules

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// What a mode takes out of the night: it pauses SLOs, so that their tiers are quiet and their budgets leave the time out, or keeps
// incidents of SLOs quiet until it ends. Who may enter a mode that pauses, and that either ends, is checked when all of the document
// has been read.

// pausing is a mode that pauses SLOs, and where it says so.
type pausing struct {
	mode engine.Mode
	node *node
	slos []*node
}

// pauses reads `slos: {availability: {pause: true}}` of a mode.
func (d *draft) pauses(n *node) *pausing {
	const shape = "write `slos: {availability: {pause: true}}`"
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, shape, "slos of a mode must be a mapping, not %s", n.is())
		return nil
	}
	p := &pausing{node: n}
	for i, k := range n.keys {
		if n.items[i].kind != yaml.MappingNode {
			r.errorf(n.items[i], shape, "%s of slos must be a mapping, not %s", clip(k.value), n.items[i].is())
			continue
		}
		r.mapping(n.items[i], "an SLO of a mode", need("pause", func(n *node) {
			if yes, ok := r.boolean(n, "pause"); ok && yes {
				p.slos = append(p.slos, k)
			}
		}))
	}
	return p
}

// hushing is a mode that keeps incidents quiet, and where it says so.
type hushing struct {
	mode       engine.Mode
	node       *node
	slos       []*node
	severities []engine.Severity
}

// suppress reads `suppress: {slos: [availability], severities: [page]}` of a mode.
func (d *draft) suppress(n *node) *hushing {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `suppress: {slos: [availability], severities: [page]}`", "suppress must be a mapping, not %s", n.is())
		return nil
	}
	h := &hushing{node: n}
	if k := n.keyNode("transitions"); k != nil {
		r.errorf(k, "leave `severity` of the transition out: it tells nobody then",
			"a mode cannot keep transitions quiet: one into it gives more protection, and one out of it ends the quiet")
		n = n.without("transitions")
	}
	r.mapping(n, "suppress",
		need("slos", func(n *node) {
			r.list(n, "slos", func(n *node) {
				if _, ok := r.text(n, "an SLO"); ok {
					h.slos = append(h.slos, n)
				}
			})
			if n.kind == yaml.SequenceNode && len(n.items) == 0 {
				r.errorf(n, "name the SLOs whose incidents are kept quiet", "slos is empty")
			}
		}),
		need("severities", func(n *node) {
			r.list(n, "severities", func(n *node) {
				if v, ok := r.oneOf(n, "a severity", string(engine.SeverityPage), string(engine.SeverityTicket)); ok && !slices.Contains(h.severities, engine.Severity(v)) {
					h.severities = append(h.severities, engine.Severity(v))
				}
			})
			if n.kind == yaml.SequenceNode && len(n.items) == 0 {
				r.errorf(n, "write [page], [ticket] or both", "severities is empty")
			}
		}))
	return h
}

// hush checks the modes that keep incidents quiet: the SLOs are declared, and it ends.
func (d *draft) hush() {
	for _, h := range d.hushings {
		i := slices.IndexFunc(d.service.Policy.Modes, func(m engine.ModeRule) bool { return m.Name == h.mode })
		if i < 0 {
			continue
		}
		m := &d.service.Policy.Modes[i]
		var slos []string
		for _, n := range h.slos {
			switch {
			case d.sloNames[n.value] == nil:
				d.r.as(CodeUnknownName).errorf(n, d.r.choose(n.value, keys(d.sloNames), "declare `slos:`"), "there is no SLO %q", clip(n.value))
			case slices.Contains(m.Pause, n.value):
				d.r.errorf(n, "remove it here: the tiers of a paused SLO open nothing", "%s is paused by the same mode", n.value)
			case !slices.Contains(slos, n.value):
				slos = append(slos, n.value)
			}
		}
		if len(slos) == 0 || len(h.severities) == 0 {
			continue
		}
		slices.Sort(slos)
		slices.Sort(h.severities)
		m.Suppress = &engine.Suppress{SLOs: slos, Severities: h.severities}
		if i == 0 {
			d.r.errorf(h.node, "say it of a mode that is entered and left", "%s is where a scope starts: nobody would ever be told", m.Name)
			continue
		}
		d.endless(m, h.node, "keeps incidents of "+strings.Join(slos, " and ")+" quiet")
	}
}

// govern checks the modes that pause SLOs: the SLOs are declared, whoever enters was asked or keeps to a schedule, and it ends.
func (d *draft) govern() {
	for _, p := range d.pausings {
		var slos []string
		for _, n := range p.slos {
			if d.sloNames[n.value] == nil {
				d.r.as(CodeUnknownName).errorf(n, d.r.choose(n.value, keys(d.sloNames), "declare `slos:`"), "there is no SLO %q", clip(n.value))
				continue
			}
			slos = append(slos, n.value)
		}
		i := slices.IndexFunc(d.service.Policy.Modes, func(m engine.ModeRule) bool { return m.Name == p.mode })
		if len(slos) == 0 || i < 0 {
			continue
		}
		slices.Sort(slos)
		m := &d.service.Policy.Modes[i]
		m.Pause = slos
		what := "pauses " + strings.Join(slos, " and ")
		if i == 0 {
			d.r.errorf(p.node, "pause it in a mode that is entered and left", "%s is where a scope starts: there it would be paused for good", m.Name)
			continue
		}
		if !slices.ContainsFunc(d.transitions, func(t transitionDraft) bool { return t.leadsTo(m.Name) }) {
			d.r.as(CodeNeverEntered).warnf(p.node, "declare a transition into it, with an `approval` or by a schedule alone",
				"no transition leads to %s, so it never pauses anything: set by hand it does not", m.Name)
		}
		d.unasked(m.Name, what)
		d.endless(m, p.node, what)
	}
}

// unasked refuses what leads to a mode that pauses SLOs without anybody's yes and by more than a schedule: whatever is true of the
// service then would mend its budget.
func (d *draft) unasked(m engine.Mode, what string) {
	for i := range d.transitions {
		t := &d.transitions[i]
		if _, planned := t.scheduled(); !t.leadsTo(m) || planned || t.node.get("approval") != nil || t.cond == nil {
			continue
		}
		d.r.as(CodeUnplanned).errorf(t.when, "give the transition an `approval`, or let `when` be a schedule alone: `when: schedule(\"migration\")`",
			"%s %s, and %s is entered here though nobody approved or planned it", m, what, m)
	}
}

// endless refuses a mode that does something that has to end, and may be in force for ever.
func (d *draft) endless(m *engine.ModeRule, at *node, what string) {
	if m.MaxDuration > 0 {
		return
	}
	for i := range d.transitions {
		t := &d.transitions[i]
		if !t.leadsTo(m.Name) || t.cond == nil {
			continue
		}
		if s, planned := t.scheduled(); !planned || !t.ends(s) {
			until := "`until: '!schedule(\"migration\")'`"
			if planned {
				until = fmt.Sprintf("`until: '!schedule(%q)'`", s)
			}
			d.r.as(CodeEndless).errorf(at, "give the mode `max_duration`, or let each transition into it keep to a schedule and end with it: "+until,
				"%s %s, and may be in force for ever: nothing ends %s", m.Name, what, t.rule.Name)
			return
		}
	}
}

// leadsTo reports whether t is a transition into m.
func (t *transitionDraft) leadsTo(m engine.Mode) bool { return t.to != nil && t.to.value == string(m) }

// scheduled is the schedule that alone makes t want to happen, if it is one.
func (t *transitionDraft) scheduled() (string, bool) {
	if t.cond == nil {
		return "", false
	}
	s, ok := t.cond.root.(switchExpr)
	return s.signal.Name, ok && s.signal.Kind == SignalSchedule
}

// ends reports whether t is taken back when a schedule is over.
func (t *transitionDraft) ends(schedule string) bool {
	if t.over == nil {
		return false
	}
	not, ok := t.over.root.(notExpr)
	if !ok {
		return false
	}
	s, ok := not.of.(switchExpr)
	return ok && s.signal.Kind == SignalSchedule && s.signal.Name == schedule
}
