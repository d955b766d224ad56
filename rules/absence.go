package rules

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Absence says what it means that the query for the errors of an SLO gives nothing at an instant for which the total gives
// something.
//
// A counter with labels comes into being at its first error, so that a service that never failed has no series with
// code="500", and nothing means no errors. That holds only for a query that adds up one kind of events, and only if it is
// not a metric that never was: with a name that is misspelt, or a bucket le="0.3" that the histogram does not have, nothing
// would mean a perfect service for ever.
type Absence struct {
	// Zero: the query adds up events, so that no series means no events, provided they are the right series.
	Zero bool
	// Unproved are the selectors of the query that the total does not prove to be right, because it does not select them too.
	// That they existed once has to be seen before nothing is taken for no errors.
	Unproved []string
}

// absenceOf finds out what it means that errors gives nothing while total gives something.
func absenceOf(errors, total parser.Expr) Absence {
	counted, ok := addends(errors)
	if !ok {
		return Absence{}
	}
	a := Absence{Zero: true}
	var all []*parser.VectorSelector
	parser.Inspect(total, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			all = append(all, s)
		}
		return nil
	})
	for _, s := range counted {
		if slices.ContainsFunc(all, func(t *parser.VectorSelector) bool { return selects(t, s) }) {
			continue
		}
		bare := (&parser.VectorSelector{Name: s.Name, LabelMatchers: s.LabelMatchers}).String()
		if !slices.Contains(a.Unproved, bare) {
			a.Unproved = append(a.Unproved, bare)
		}
	}
	return a
}

// addends are the selectors of an expression that gives nothing exactly if it has no events to count; false for any other.
// `a + b` is one of those: it gives nothing as soon as b has no series, however many errors a counts. So is `total - good`:
// nothing would mean that nothing was good, if anything.
func addends(e parser.Expr) ([]*parser.VectorSelector, bool) {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return []*parser.VectorSelector{e}, true
	case *parser.MatrixSelector:
		return addends(e.VectorSelector)
	case *parser.SubqueryExpr:
		return addends(e.Expr)
	case *parser.ParenExpr:
		return addends(e.Expr)
	case *parser.StepInvariantExpr:
		return addends(e.Expr)
	case *parser.AggregateExpr:
		if e.Op == parser.SUM || e.Op == parser.COUNT {
			return addends(e.Expr)
		}
	case *parser.Call:
		switch e.Func.Name {
		case "rate", "irate", "increase", "count_over_time", "sum_over_time", "histogram_count", "label_replace", "label_join", "ceil", "floor", "round", "clamp_min":
			return addends(e.Args[0])
		}
	case *parser.BinaryExpr:
		switch e.Op {
		case parser.LOR:
			left, ok := addends(e.LHS)
			if zero(e.RHS) {
				return left, ok
			}
			right, also := addends(e.RHS)
			return append(left, right...), ok && also
		case parser.MUL, parser.DIV:
			if e.RHS.Type() == parser.ValueTypeScalar {
				return addends(e.LHS)
			}
			if e.LHS.Type() == parser.ValueTypeScalar && e.Op == parser.MUL {
				return addends(e.RHS)
			}
		}
	}
	return nil, false
}

// selects reports whether all selects every series that part does.
func selects(all, part *parser.VectorSelector) bool {
	return !slices.ContainsFunc(all.LabelMatchers, func(m *labels.Matcher) bool {
		return !slices.ContainsFunc(part.LabelMatchers, func(p *labels.Matcher) bool {
			return p.Name == m.Name && p.Type == m.Type && p.Value == m.Value
		})
	})
}
