package rules

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// targetsKey is where an action says what it acts on.
const targetsKey = "targets"

// maxTargets bounds how many targets a step may have: all of them stand in the log, and whoever approves should know them.
const maxTargets = 1000

// Selector is how the targets of a step are found: the values of a label in the answer of a query. It is what
// engine.Targets.Selector holds, as JSON. A kind of action that finds its targets elsewhere will have a form of its own.
type Selector struct {
	Query  string `json:"query"` // PromQL, in canonical form
	Label  string `json:"label"`
	Source string `json:"source,omitempty"` // the Prometheus to ask; empty: the first there is
}

// String says it in words.
func (s Selector) String() string {
	if s.Source != "" {
		return fmt.Sprintf("the values of %s in %s of %s", s.Label, s.Query, s.Source)
	}
	return fmt.Sprintf("the values of %s in %s", s.Label, s.Query)
}

// targets reads what an action acts on; the zero value when that is faulty.
func (d *draft) targets(n *node) (out engine.Targets) {
	r := d.r
	const shape = "write `targets: {query: …, label: instance, max: 10}`"
	if n.kind != yaml.MappingNode {
		r.errorf(n, shape, "targets must be a mapping, not %s", n.is())
		return out
	}
	var q *query
	var at *node                                               // of the query
	s := Selector{Label: "instance", Source: d.service.Source} // which stands before what mentions it
	r.mapping(n, "targets",
		need("query", func(n *node) { at, q = n, r.query(n, "query") }),
		may("label", func(n *node) {
			name, ok := r.text(n, "label")
			if s.Label = name; ok && !isLabel(name) {
				r.errorf(n, "such as instance", "%q cannot be the name of a label", clip(name))
			}
		}),
		may("source", func(n *node) { s.Source = d.source(n) }),
		need("max", func(n *node) { out.Max = r.integer(n, "max", 1, maxTargets) }),
	)
	if q == nil {
		return engine.Targets{}
	}
	if q.expr.Type() != parser.ValueTypeVector {
		r.as(CodeBadQuery).errorf(at, "name the series whose label says what the targets are", "query gives a %s, and targets are series with labels", q.expr.Type())
		return engine.Targets{}
	}
	if by, lost := aggregatedAway(q.expr, s.Label); lost {
		r.as(CodeBadQuery).errorf(at, "write `"+by+" by ("+s.Label+")`, or leave the aggregation out", "what query gives has no label %s", clip(s.Label))
		return engine.Targets{}
	}
	s.Query = q.expr.String()
	out.Selector = encode(s)
	return out
}

// aggregatedAway reports whether the answer of e is sure to lack a label, and the aggregation that drops it.
func aggregatedAway(e parser.Expr, label string) (string, bool) {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return aggregatedAway(e.Expr, label)
	case *parser.StepInvariantExpr:
		return aggregatedAway(e.Expr, label)
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO: // these keep the labels of what they choose
			return aggregatedAway(e.Expr, label)
		case parser.COUNT_VALUES:
			return "", false
		}
		if slices.Contains(e.Grouping, label) == e.Without {
			return e.Op.String(), true
		}
		return aggregatedAway(e.Expr, label)
	case *parser.BinaryExpr:
		if _, number := e.RHS.(*parser.NumberLiteral); number {
			return aggregatedAway(e.LHS, label)
		}
	}
	return "", false
}

// isLabel reports whether s can be the name of a label. Source: the Prometheus data model.
func isLabel(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// fitTargets sees that an action that finds targets acts on them, and that one that acts on them finds some.
func (d *draft) fitTargets(a *actionDraft, n, at *node, parts [2]part) {
	asks := parts[0].traits.Targets || parts[1].traits.Targets
	switch {
	case at == nil && asks:
		d.r.as(CodeMissingKey).errorf(n.get(a.step.Kind).or(n), "add `targets: {query: …, label: instance, max: 10}`", "action %q has {{.targets}}, and nothing says what its targets are", clip(a.step.Name))
	case at != nil && !parts[0].traits.Targets:
		d.r.errorf(at, fmt.Sprintf("write {{.targets}} where %s is told what to act on, or remove it", a.step.Kind),
			"action %q finds targets, and its %s does not ask for them", clip(a.step.Name), a.step.Kind)
	}
}
