package prom

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// What makes a fused query equal to the single ones it stands for.
//
// Let e(v) be an expression in which each selector has L="v", and F(e) what the fuser makes of it, in which each selector
// has L=~"v|w|…". The claim, for each part of an expression and at each instant it is evaluated for:
//
//	Every element of F(e) bears the label L, with one of the values v, w, …. Those that bear L="v" are e(v), element by
//	element, with equal values; where e is *lost*, they bear L="v" on top of e(v)'s labels.
//
// e is *kept* if every element of every e(v) bears L="v", and *lost* if none bears L at all. An expression of which neither
// can be said is refused. What follows is the induction; each case has its own tests, with the expressions that would be
// unequal if the case were relaxed. fuse_random_test.go looks for what the argument may have overlooked.
//
// The claim is about answers without an error and without a warning. PromQL raises either for a group, a match or a series,
// never for having many of them, so that F(e) has one if some e(v) has; that it may be the fault of one v, or of the size of
// the whole, is why a fused query that fails is asked again in halves.
//
// Sums are of the same numbers in the same order: series come in the order in which a block has them, and picking one
// service's out of many does not change it.

// fate is what became of the label in the answer of a single query.
type fate int

const (
	scalar fate = iota // a scalar, the same for every value
	kept
	lost
)

// fuser rewrites an expression of one value of label into that of many, in place.
type fuser struct{ label string }

func refuse(format string, args ...any) (fate, error) { return 0, fmt.Errorf(format, args...) }

// expr rewrites e and says what became of the label.
func (f *fuser) expr(e parser.Expr) (fate, error) {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return scalar, nil

	case *parser.VectorSelector:
		// The union of the services' series; that the matcher is there and the only one on the label, candidates saw to. An
		// offset or @ moves the instant of all of them alike. An instant on which a scrape of one service is missing is its
		// own: an element is there or not by its series alone.
		if e.Anchored || e.Smoothed {
			return refuse("a modifier of its range is experimental")
		}
		return kept, nil

	case *parser.MatrixSelector:
		return f.expr(e.VectorSelector)

	case *parser.SubqueryExpr:
		// The claim holds at each of its steps, which are the same for all. Elements are made series by their labels, and
		// those of different services differ in L.
		return f.expr(e.Expr)

	case *parser.ParenExpr:
		return f.expr(e.Expr)

	case *parser.UnaryExpr:
		return f.expr(e.Expr) // of each element by itself

	case *parser.Call:
		return f.call(e)

	case *parser.AggregateExpr:
		return f.aggregate(e)

	case *parser.BinaryExpr:
		return f.binary(e)
	}
	return refuse("%s is not known to be the same for many services at once", clipTo(e.String(), 60))
}

// elementwise are the functions that make of each series one element or none, by its own samples and labels and nothing
// else, and give it the series' labels but for the name of the metric. So they commute with taking a union and keep the
// label's fate. Two elements that only the name told apart are an error of the single query too.
var elementwise = map[string]bool{
	// of a range
	"avg_over_time": true, "changes": true, "count_over_time": true, "delta": true, "deriv": true, "idelta": true,
	"increase": true, "irate": true, "last_over_time": true, "max_over_time": true, "min_over_time": true,
	"predict_linear": true, "present_over_time": true, "quantile_over_time": true, "rate": true, "resets": true,
	"stddev_over_time": true, "stdvar_over_time": true, "sum_over_time": true,
	// of an instant
	"abs": true, "ceil": true, "clamp": true, "clamp_max": true, "clamp_min": true, "exp": true, "floor": true, "ln": true,
	"log10": true, "log2": true, "round": true, "sgn": true, "sqrt": true, "timestamp": true, "deg": true, "rad": true,
	"acos": true, "acosh": true, "asin": true, "asinh": true, "atan": true, "atanh": true, "cos": true, "cosh": true,
	"sin": true, "sinh": true, "tan": true, "tanh": true,
	"day_of_month": true, "day_of_week": true, "day_of_year": true, "days_in_month": true, "hour": true, "minute": true,
	"month": true, "year": true,
	"histogram_avg": true, "histogram_count": true, "histogram_stddev": true, "histogram_stdvar": true, "histogram_sum": true,
}

// because says of functions why they are asked for one service at a time.
var because = map[string]string{
	"absent":           "absent() makes labels up from the matcher's value",
	"absent_over_time": "absent_over_time() makes labels up from the matcher's value",
	"scalar":           "scalar() of many services at once is NaN",
	"vector":           "vector() is one element however many services there are",
	"label_join":       "label_join() is not known to leave the label alone",
	"sort":             "the order of an answer is of the whole of it",
	"sort_desc":        "the order of an answer is of the whole of it",
}

func (f *fuser) call(e *parser.Call) (fate, error) {
	name := e.Func.Name
	switch {
	case name == "time" || name == "pi":
		return scalar, nil

	case elementwise[name]:

	case name == "histogram_quantile" || name == "histogram_fraction":
		// Buckets belong together whose labels but le are equal. In F(e) those labels include L, so that the buckets of two
		// services never meet; by le it would be one bucket of each. A native histogram is an element by itself.
		if f.label == "le" {
			return refuse("%s() needs the buckets of all values of le at once", name)
		}

	case name == "label_replace":
		// Of each element by itself, by a label that F(e) has as e(v) has it, into another such.
		for _, i := range []int{1, 3} {
			if s, ok := bare(e.Args[i]).(*parser.StringLiteral); !ok || s.Val == f.label {
				return refuse("label_replace() reads or writes the label %s itself", f.label)
			}
		}

	case because[name] != "":
		return refuse("%s", because[name])

	default:
		return refuse("%s() is not known to be the same for many services at once", name)
	}

	// One argument is what the function is of. The others are numbers that are the same for all services.
	is := scalar
	for _, arg := range e.Args {
		switch fate, err := f.expr(arg); {
		case err != nil:
			return 0, err
		case fate != scalar && is != scalar:
			return refuse("%s() has more than one argument with series", name)
		case fate != scalar:
			is = fate
		}
	}
	if is == scalar { // such as hour(), which is an element without labels
		return refuse("%s() of no series is one element however many services there are", name)
	}
	return is, nil
}

// aggregate adds L to the labels of the groups, so that each group of F(e) is the group of one e(v).
func (f *fuser) aggregate(e *parser.AggregateExpr) (fate, error) {
	switch e.Op {
	case parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR:
	case parser.QUANTILE:
		if is, err := f.expr(e.Param); err != nil || is != scalar {
			return refuse("the quantile differs from service to service")
		}
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return refuse("%s picks from all series there are", e.Op)
	default:
		return refuse("%s is not known to be the same for many services at once", e.Op)
	}
	is, err := f.expr(e.Expr)
	if err != nil {
		return 0, err
	}
	named := slices.Contains(e.Grouping, f.label)
	switch {
	case !e.Without && named:
		return is, nil // where e(v) has lost it, its groups have no L either
	case !e.Without:
		e.Grouping = append(e.Grouping, f.label)
		return lost, nil
	case named:
		e.Grouping = without(e.Grouping, f.label)
		return lost, nil
	default:
		return is, nil
	}
}

func without(labels []string, label string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return l == label })
}

// binary sees to it that elements match if and only if they match in the single query, and are of the same service.
func (f *fuser) binary(e *parser.BinaryExpr) (fate, error) {
	switch e.Op {
	case parser.ADD, parser.SUB, parser.MUL, parser.DIV, parser.MOD, parser.POW, parser.ATAN2,
		parser.EQLC, parser.NEQ, parser.LSS, parser.LTE, parser.GTR, parser.GTE,
		parser.LAND, parser.LOR, parser.LUNLESS:
	default:
		return refuse("the operator %s is not known to be the same for many services at once", e.Op)
	}
	left, err := f.expr(e.LHS)
	if err != nil {
		return 0, err
	}
	right, err := f.expr(e.RHS)
	if err != nil {
		return 0, err
	}
	if left == scalar || right == scalar {
		return max(left, right), nil // of each element by itself
	}
	m := e.VectorMatching
	if m.FillValues.LHS != nil || m.FillValues.RHS != nil {
		return refuse("fill is experimental")
	}
	if slices.Contains(m.Include, f.label) {
		return refuse("the label %s is copied from one side to the other", f.label)
	}

	// Elements match whose keys are equal. In F(e) the key has to include L, so that services do not meet.
	matched := m.On == slices.Contains(m.MatchingLabels, f.label)
	switch {
	case matched && left != right:
		// One side of e(v) has L="v" and the other has none: their keys differ and nothing ever matches. In F(e) both have it.
		return refuse("one side of %s has lost the label %s by which the sides are matched", e.Op, f.label)
	case matched:
		// The key includes L already, and it is in e(v) the same on both sides: v, or none. So it decides nothing there.
	case m.On:
		m.MatchingLabels = append(m.MatchingLabels, f.label)
	default:
		m.MatchingLabels = without(m.MatchingLabels, f.label)
	}

	switch {
	case e.Op == parser.LAND || e.Op == parser.LUNLESS:
		return left, nil // elements of the left side, as they were
	case e.Op == parser.LOR && left != right:
		return refuse("one side of %s has lost the label %s and the other has not", e.Op, f.label)
	case e.Op == parser.LOR:
		return left, nil
	case m.Card == parser.CardManyToOne:
		return left, nil // the labels of the side of which there are many
	case m.Card == parser.CardOneToMany:
		return right, nil
	case matched:
		return left, nil
	default:
		return lost, nil // one to one, the answer has the labels of the key
	}
}
