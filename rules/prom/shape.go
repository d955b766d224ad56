package prom

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// shape is a query with the value of one equality matcher left open, and how it is asked for many values at once. Queries of
// one shape differ in that value only. Why the answers are equal is argued in algebra.go.
type shape struct {
	label string
	fused []string   // the query of many, in pieces: between them goes the quoted alternation of the values
	lost  bool       // the single query's answer does not bear the label
	rest  *constants // what the single query's answer has where the expression has none; nil: nothing
}

// constants is `or vector(value)` at the top of an expression, with how its elements match.
type constants struct {
	value    float64
	matching *parser.VectorMatching
}

// hole stands for the value of the label while a shape is made. Queries that contain it are not fused.
const hole = "modeshift:the values"

// candidate is what became of a query and one of the labels it might be fused by.
type candidate struct {
	label, value string
	shape        *shape // nil if the query cannot be fused by this label
	why          error  // then says why
}

// shapes are those already made, so that equal ones are one, and each is argued about once and not once for each service.
type shapes map[[2]string]formed // by label and the query with a hole for its value

type formed struct {
	shape *shape
	why   error
}

// candidates returns a candidate for each label that has the same value in every selector of a query, in the order of labels.
// If there are none, the error says why in words that go after "it is asked alone: ".
func (known shapes) candidates(text string) ([]candidate, error) {
	root, err := promQL.ParseExpr(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it cannot be read") // by us; the server may know better
	case root.Type() != parser.ValueTypeVector:
		return nil, fmt.Errorf("it gives a %s, which bears no labels", root.Type())
	case strings.Contains(text, hole):
		return nil, fmt.Errorf("it contains %q", hole)
	}
	var common map[string]string
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			equal := equalities(s)
			if common == nil {
				common = equal
			}
			maps.DeleteFunc(common, func(label, value string) bool { return equal[label] != value })
		}
		return nil
	})
	if common == nil {
		return nil, fmt.Errorf("it reads no series")
	}
	if len(common) == 0 {
		return nil, fmt.Errorf("no label has one and the same value in each of its selectors")
	}
	var out []candidate
	for _, label := range slices.Sorted(maps.Keys(common)) {
		open(root, label, labels.MatchEqual, hole)
		k := [2]string{label, root.String()}
		open(root, label, labels.MatchEqual, common[label])
		f, ok := known[k]
		if !ok {
			f.shape, f.why = shapeOf(text, label)
			known[k] = f
		}
		out = append(out, candidate{label, common[label], f.shape, f.why})
	}
	return out, nil
}

// open puts a matcher in the place of that of a label, in every selector.
func open(root parser.Expr, label string, how labels.MatchType, value string) {
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for i, m := range s.LabelMatchers {
				if m.Name == label {
					s.LabelMatchers[i] = labels.MustNewMatcher(how, label, value)
				}
			}
		}
		return nil
	})
}

// equalities are the labels of which a selector says by one equality matcher, and by nothing else, that they have a value. An
// empty value is none: it selects the series without the label. The name of the metric is part of what is measured.
func equalities(s *parser.VectorSelector) map[string]string {
	equal, matchers := map[string]string{}, map[string]int{}
	for _, m := range s.LabelMatchers {
		matchers[m.Name]++
		// A value that is no text could not be told from others in an answer, which is JSON.
		if m.Type == labels.MatchEqual && m.Value != "" && m.Name != model.MetricNameLabel && utf8.ValidString(m.Value) {
			equal[m.Name] = m.Value
		}
	}
	maps.DeleteFunc(equal, func(label, _ string) bool { return matchers[label] > 1 })
	return equal
}

// shapeOf makes the shape of a query for a label that has one value in all its selectors, or says why it is asked alone.
func shapeOf(text, label string) (*shape, error) {
	root, err := promQL.ParseExpr(text) // anew, because the tree is rewritten
	if err != nil {
		return nil, err
	}
	open(root, label, labels.MatchRegexp, hole)
	s := &shape{label: label}
	root, s.rest = withoutConstants(root)
	is, err := (&fuser{label}).expr(root)
	if err != nil {
		return nil, err
	}
	s.lost = is == lost
	s.fused = strings.Split(root.String(), strconv.Quote(hole))
	return s, nil
}

// withoutConstants takes `or vector(c)`, with a number for c, off the top of an expression. Where many services share an
// answer, vector(c) would give one element for all of them; each gets its own in constants.add.
func withoutConstants(root parser.Expr) (parser.Expr, *constants) {
	b, ok := bare(root).(*parser.BinaryExpr)
	if !ok || b.Op != parser.LOR {
		return root, nil
	}
	call, ok := bare(b.RHS).(*parser.Call)
	if !ok || call.Func.Name != "vector" {
		return root, nil
	}
	c, ok := number(call.Args[0])
	if !ok {
		return root, nil
	}
	return b.LHS, &constants{c, b.VectorMatching}
}

// bare is an expression without the parentheses around it.
func bare(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// number is the value of an expression that is a number as it stands.
func number(e parser.Expr) (float64, bool) {
	switch e := bare(e).(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.UnaryExpr:
		x, ok := number(e.Expr)
		if e.Op == parser.SUB {
			x = -x
		}
		return x, ok
	}
	return math.NaN(), false
}

// add gives the answer of one value what `or vector(c)` gives it: the constant, which has no labels, unless an element is
// there that matches it because the labels by which it is matched are all empty.
func (c *constants) add(v model.Vector, at model.Time) model.Vector {
	for _, sample := range v {
		matches := true
		for name, value := range sample.Metric {
			counts := name != model.MetricNameLabel
			if c.matching.On || counts {
				counts = slices.Contains(c.matching.MatchingLabels, string(name)) == c.matching.On
			}
			if counts && value != "" {
				matches = false
			}
		}
		if matches {
			return v
		}
	}
	return append(slices.Clip(v), &model.Sample{Metric: model.Metric{}, Value: model.SampleValue(c.value), Timestamp: at})
}
