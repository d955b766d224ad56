package rules

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// escalation says when the incident of a tier is told to the next severity.
type escalation struct {
	node     *node // nil: nobody wrote it
	severity engine.Severity
	factor   *big.Rat
	text     string        // the factor as it is written
	window   time.Duration // over which it burns; 0: the shortest of the tier
	lasts    time.Duration
}

// escalations are what a file or an SLO says of them; without a word the file's hold, and without one there the usual ones.
type escalations struct {
	said bool
	list []escalation
}

// usualEscalation holds where nobody says otherwise and the server has a receiver for it: a page that has burned eight times too
// fast for half an hour has cost more than half a percent of a month's budget since, and whoever has it was not enough.
var usualEscalation = escalation{severity: engine.SeverityExec, factor: big.NewRat(8, 1), text: "8.0", lasts: 30 * time.Minute}

// quieter is the severity whose incidents are told to another.
var quieter = map[engine.Severity]engine.Severity{engine.SeverityExec: engine.SeverityPage, engine.SeverityPage: engine.SeverityTicket}

// escalation reads `escalation:` of a file or an SLO.
func (d *draft) escalation(into *escalations) func(*node) {
	return func(n *node) {
		into.said = true
		if n.kind != yaml.SequenceNode {
			d.r.errorf(n, "write `escalation: [{severity: exec, burn_rate: 8, for: 30m}]`, or `[]` for none", "escalation must be a list, not %s", n.is())
			return
		}
		d.r.list(n, "escalation", func(n *node) { d.escalationEntry(n, into) })
	}
}

func (d *draft) escalationEntry(n *node, into *escalations) {
	r := d.r
	e := escalation{node: n}
	before := r.faults
	r.mapping(n, "an escalation",
		need("severity", func(n *node) {
			v, ok := r.oneOf(n, "severity", string(engine.SeverityExec), string(engine.SeverityPage))
			if e.severity = engine.Severity(v); ok && slices.ContainsFunc(into.list, func(o escalation) bool { return o.severity == e.severity }) {
				r.errorf(n, "keep one of the two: an incident is told further once", "%s is there twice", v)
			}
		}),
		need("burn_rate", func(n *node) {
			f, ok := r.decimal(n, "burn_rate", "14.4")
			if ok && f.Sign() == 0 {
				r.errorf(n, "write a burn rate such as 8", "burn_rate must be above zero")
			}
			if e.factor, e.text = f, n.value; !strings.Contains(e.text, ".") {
				e.text += ".0" // a condition compares numbers with a decimal point
			}
		}),
		need("for", r.setDuration(&e.lasts, "for")),
		may("window", r.setDuration(&e.window, "window")))
	if r.faults == before && n.kind == yaml.MappingNode {
		into.list = append(into.list, e)
	}
}

// escalate compiles what tells the incidents of a tier further, now that all of the file was read, and adds it to the alert.
func (d *draft) escalate(s *SLO, tier *Tier, alert *engine.Alert) {
	e, own := d.escalationOf(s, tier.Severity)
	if e == nil {
		return
	}
	at := e.node
	if at == nil {
		at = d.scope.or(d.node)
	}
	window := e.window
	if window == 0 {
		window = tier.Windows[0].Short
		for _, w := range tier.Windows[1:] {
			window = min(window, w.Short)
		}
	}
	switch reached := new(big.Rat).Mul(e.factor, s.Objective.budget()); {
	case window > s.Period:
		d.r.errorf(at.get("window").or(at), "", "the window %s of SLO %s is longer than its period (%s)", model.Duration(window), s.Name, model.Duration(s.Period))
		return
	case reached.Cmp(big.NewRat(1, 1)) < 0:
	case own:
		d.r.as(CodeUnreachableFactor).warnf(at.get("burn_rate").or(at), "write a smaller one", "with an objective of %s %% a burn rate of %s cannot be reached: it would take more than all events failing",
			s.Objective, strings.TrimSuffix(e.text, ".0"))
	default:
		return // it is said of all SLOs, and cannot come about here
	}
	n := &node{kind: yaml.ScalarNode, tag: "!!str", value: fmt.Sprintf("burn_rate(%q, %q) > %s", s.Name, model.Duration(window), e.text), line: at.line, column: at.column}
	c, ok := d.compile(n, "escalation", "slo/"+s.Name+"/"+string(tier.Severity)+"/"+string(e.severity), false)
	if !ok {
		return
	}
	known := d.opts.Receivers
	nobody := known != nil && !known[e.severity]
	if nobody {
		d.r.as(CodeNoReceiver).warnf(at, fmt.Sprintf("give modeshift.yaml `receivers: {%s: …}`", e.severity), "nobody is told: the server has no receiver for %s", e.severity)
	}
	alert.Escalation = &engine.Escalation{Severity: e.severity, Condition: len(d.service.Policy.Conditions), For: e.lasts, Nobody: nobody}
	d.add(c, 0)
}

// escalationOf finds what tells the incidents of a tier further, and whether the SLO says so itself; nil when nothing does.
func (d *draft) escalationOf(s *SLO, tier engine.Severity) (e *escalation, own bool) {
	of := s.escalations
	if !of.said {
		of = d.escalations
	}
	if !of.said && d.opts.Receivers[engine.SeverityExec] {
		of.list = []escalation{usualEscalation}
	}
	for i := range of.list {
		if quieter[of.list[i].severity] == tier {
			return &of.list[i], s.escalations.said
		}
	}
	return nil, false
}

// untiered refuses what tells of a tier that the SLO does not have: nobody would ever hear of it.
func (d *draft) untiered(s *SLO) {
	for _, e := range s.escalations.list {
		if tier := quieter[e.severity]; s.Tier(tier) == nil {
			d.r.errorf(e.node.get("severity").or(e.node), fmt.Sprintf("enable it under `alerting:`, or remove this: what is told to %s are incidents of that tier", e.severity),
				"SLO %s has no %s tier", s.Name, tier)
		}
	}
}

// meaningEscalation is what of an escalation its condition's digest does not say; nil without one.
func meaningEscalation(e *engine.Escalation) []any {
	if e == nil {
		return nil
	}
	return []any{e.Severity, e.Condition, e.For, e.Nobody}
}
