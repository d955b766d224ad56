package prom

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// lookback is how old a sample may be that an instant selector still returns: Prometheus's default for
// --query.lookback-delta. A server with a shorter one makes series absent sooner, which errs on the side of unknown.
const lookback = 5 * time.Minute

// freshness returns the query for the time, in Unix seconds, of the newest sample behind expr; empty when there is no need
// to ask.
//
// An instant query answers with the time it was evaluated at, not with that of any sample: one hour's rate of a target that
// vanished fifty minutes ago looks exactly like a measurement of now. timestamp() of a plain selector is the one place where
// PromQL shows a sample's own time. So the selectors of expr are asked for on their own, without ranges and offsets, and
// shared by all windows of an SLO because the window is not part of them. Filtering inside the query (`expr and on()
// time() - max(timestamp(sel)) < 120`) would save a request, but then stale and absent look the same.
//
// Unless it is to be asked always, there is no need to ask when no selector reaches back further than maxAge: a value is then itself the proof of a sample
// that is young enough. With the default of five minutes this makes the windows of 5 minutes, asked at each tick, free.
// Nor when maxAge is 0 (nothing is ever stale), nor when expr has no selector, such as vector(1).
//
// Of several selectors the newest sample counts: in `new_name or old_name` one side is empty for ever and means nothing. A
// side that is needed and empty makes the value itself absent.
func freshness(expr string, maxAge time.Duration, always bool) string {
	if maxAge <= 0 && !always {
		return ""
	}
	root, err := promQL.ParseExpr(expr)
	if err != nil {
		return "" // the rules' check has refused what no server could read; a newer server may read more than we do
	}
	var selectors []string
	reachesFar := false
	parser.Inspect(root, func(n parser.Node, path []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if reach(s, path) > maxAge {
			reachesFar = true
		}
		bare := (&parser.VectorSelector{Name: s.Name, LabelMatchers: s.LabelMatchers}).String()
		for _, have := range selectors {
			if have == bare {
				return nil
			}
		}
		selectors = append(selectors, bare)
		return nil
	})
	if !reachesFar && !always || len(selectors) == 0 {
		return ""
	}
	each := make([]string, len(selectors))
	for i, s := range selectors {
		each[i] = newest(s, maxAge)
		if i > 0 { // told apart by a label, because `or` keeps only the left one of two equal label sets
			each[i] = fmt.Sprintf(`label_replace(%s, "of", "%d", "", "")`, each[i], i)
		}
	}
	if len(each) == 1 {
		return each[0]
	}
	return "max(" + strings.Join(each, " or ") + ")"
}

// newest is the query for the newest sample's time of one selector, back to at least maxAge. Beyond the lookback it takes a
// subquery: a sample stays visible to an instant selector for the lookback, so that steps of a minute miss none that is older
// than the last step, and the left side of `or` sees that one.
func newest(selector string, maxAge time.Duration) string {
	q := "max(timestamp(" + selector + "))"
	if maxAge > lookback {
		q = fmt.Sprintf("(%s or max(max_over_time(timestamp(%s)[%s:1m])))", q, selector, model.Duration(maxAge))
	}
	return q
}

// reach is how old a sample may be that s contributes to the value at the instant of the query. With an offset or a fixed time
// a value proves nothing about the present, so the reach has no bound.
func reach(s *parser.VectorSelector, path []parser.Node) time.Duration {
	const unbounded = 1<<63 - 1
	if s.OriginalOffset != 0 || s.OriginalOffsetExpr != nil || s.Timestamp != nil || s.StartOrEnd != 0 {
		return unbounded
	}
	r := lookback
	for _, n := range path {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			if n.RangeExpr != nil {
				return unbounded
			}
			r += n.Range - lookback // a range takes no sample from before it
		case *parser.SubqueryExpr:
			if n.OriginalOffset != 0 || n.OriginalOffsetExpr != nil || n.RangeExpr != nil || n.Timestamp != nil || n.StartOrEnd != 0 {
				return unbounded
			}
			r += n.Range
		}
	}
	return r
}

// promQL reads whatever some server may have been told to accept.
var promQL = parser.NewParser(parser.Options{
	EnableExperimentalFunctions:  true,
	ExperimentalDurationExpr:     true,
	EnableExtendedRangeSelectors: true,
	EnableBinopFillModifiers:     true,
})
