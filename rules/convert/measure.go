package convert

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/rules"
)

// Dialect is how the queries of OpenSLO are meant. The specification leaves that to the tools, and each reads them in its own
// way.
type Dialect string

// The dialects.
const (
	DialectSloth   Dialect = "sloth"   // the query says its window as {{.window}}
	DialectOsko    Dialect = "osko"    // the query is a selector; the tool adds the window, rate and sum
	DialectNobl9   Dialect = "nobl9"   // the query is a series that the tool polls each minute
	DialectLiteral Dialect = "literal" // as nobl9, whatever the key is called
)

// polled is the step at which a series without a window is looked at.
const polled = "1m"

// measurement is how an SLI of OpenSLO is measured: a ratio of two counts, a ratio that is made already, or how often a value
// is good.
type measurement struct {
	bad, good, total string // counts with {{.window}}
	ratio            string // of errors, with {{.window}}
	timed            bool   // the ratio is one of time already
	dialect          Dialect
}

// measure reads an SLI.
func (o *open) measure(sli, objective rules.Node, s *slo) (m measurement, ok bool) {
	im := o.im
	known := []string{"description", "thresholdMetric", "ratioMetric"}
	unknown, ok := sli.Mapping("an SLI", known...)
	if !ok {
		return m, false
	}
	im.unknown(unknown, "an SLI", s, known...)
	im.dropped(sli, "an SLI", s, "an SLO has the one description", "description")
	threshold, ratio := sli.Get("thresholdMetric"), sli.Get("ratioMetric")
	switch {
	case threshold.Exists() && ratio.Exists():
		sli.Key("ratioMetric").Errorf("keep one of the two", "an SLI has both thresholdMetric and ratioMetric")
		return m, false
	case threshold.Exists():
		return o.threshold(threshold, objective, s)
	case !ratio.Exists():
		sli.Errorf("write `ratioMetric: {counter: true, good: …, total: …}` or `thresholdMetric: …`", "an SLI needs ratioMetric or thresholdMetric")
		return m, false
	}
	known = []string{"counter", "good", "bad", "total", "raw", "rawType"}
	if unknown, ok = ratio.Mapping("ratioMetric", known...); !ok {
		return m, false
	}
	im.unknown(unknown, "ratioMetric", s, known...)
	for _, key := range []string{"op", "value"} {
		if objective.Get(key).Exists() {
			im.differ(Dropped, "key", objective.Key(key), s, "", "%q of an objective says nothing of a ratio", key)
		}
	}
	if raw := ratio.Get("raw"); raw.Exists() {
		return o.raw(ratio, raw, s)
	}
	counter := ratio.Get("counter")
	counts := false
	if counter.Exists() {
		counts, _ = counter.Bool("counter")
	}
	good, bad := ratio.Get("good"), ratio.Get("bad")
	if good.Exists() == bad.Exists() {
		ratio.Errorf("write one of `good` and `bad`, and `total`", "a ratio needs either good or bad")
		return m, false
	}
	if _, ok := ratio.Need("total", "ratioMetric", ""); !ok {
		return m, false
	}
	part := "good"
	if bad.Exists() {
		part = "bad"
	}
	one, d1, ok1 := o.count(ratio, part, counts, counter.Exists(), s)
	total, d2, ok2 := o.count(ratio, "total", counts, counter.Exists(), s)
	if !ok1 || !ok2 {
		return m, false
	}
	if d1 != d2 {
		ratio.Get("total").Errorf("write both in one way", "%s reads as %s, and total as %s", part, d1, d2)
		return m, false
	}
	if one == total {
		ratio.Get("total").Errorf("", "total is the same as %s", part)
		return m, false
	}
	m.total, m.dialect = total, d1
	if part == "bad" {
		m.bad = one
	} else {
		m.good = one
	}
	return m, true
}

// promTypes are the types of a source that speak PromQL.
var promTypes = []string{"prometheus", "mimir", "cortex", "victoriametrics", "thanos"}

// source finds a metric's query, and sees that Prometheus can answer it.
func (o *open) source(metric rules.Node, what string, s *slo) (query rules.Node, ok bool) {
	im := o.im
	if unknown, ok := metric.Mapping(what, "metricSource"); ok {
		im.unknown(unknown, what, s, "metricSource")
	} else {
		return query, false
	}
	n, ok := metric.Need("metricSource", what, "write `metricSource: {type: Prometheus, spec: {query: …}}`")
	if !ok {
		return query, false
	}
	known := []string{"metricSourceRef", "type", "spec"}
	unknown, ok := n.Mapping("metricSource", known...)
	if !ok {
		return query, false
	}
	im.unknown(unknown, "metricSource", s, known...)
	kind := n.Get("type")
	if ref := n.Get("metricSourceRef"); ref.Exists() {
		if x := o.objects["DataSource/"+ref.Raw()]; x != nil {
			x.used = true
			if !kind.Exists() {
				kind = x.spec.Get("type")
			}
		}
		if !slices.ContainsFunc(s.notes, func(n note) bool { return strings.Contains(n.text, "DataSource "+ref.Raw()+" ") }) {
			im.differ(Decide, "source", ref, s, "name it in modeshift.yaml, and if it is not the first there, write `source: NAME` in the rule file",
				"the DataSource %s is a Prometheus that modeshift.yaml has to know", ref.Raw())
		}
	}
	if kind.Exists() && !slices.Contains(promTypes, strings.ToLower(kind.Raw())) {
		kind.Errorf("there is: "+strings.Join(promTypes, ", "), "the metric is measured by %s, and modeshift asks Prometheus", kind.Raw())
		return query, false
	}
	spec, ok := n.Need("spec", "metricSource", "write `spec: {query: …}`")
	if !ok {
		return query, false
	}
	if unknown, ok = spec.Mapping("spec of a metricSource", "query", "promql"); !ok {
		return query, false
	}
	im.unknown(unknown, "spec of a metricSource", s, "query", "promql")
	plain, promql := spec.Get("query"), spec.Get("promql")
	switch {
	case plain.Exists() && promql.Exists():
		spec.Key("promql").Errorf("keep one of the two", "a metric has both query and promql")
		return query, false
	case plain.Exists():
		return plain, true
	case promql.Exists():
		return promql, true
	}
	spec.Errorf("write `query: …`", "a metric needs its query")
	return query, false
}

// dialect finds out how a query is meant: as the command line says, or as its shape leaves no doubt.
func (o *open) dialect(q rules.Node, promql bool) (Dialect, bool) {
	switch {
	case o.im.opts.Dialect != "":
		return o.im.opts.Dialect, true
	case windowPlace.MatchString(q.Raw()):
		return DialectSloth, true
	case promql:
		return DialectNobl9, true
	}
	_, expr, ok := q.Query("the query", false)
	if !ok {
		return "", false
	}
	if _, bare := expr.(*parser.VectorSelector); bare {
		return DialectOsko, true
	}
	hint := "write the window as [{{.window}}], or say how its tool reads it: --openslo-dialect nobl9 or literal (a series that is polled each minute)"
	if agg, is := expr.(*parser.AggregateExpr); is && agg.Op == parser.SUM {
		if v, is := agg.Expr.(*parser.VectorSelector); is {
			fixed := *agg
			fixed.Expr = &parser.StringLiteral{Val: "@"}
			text := strings.Replace(fixed.String(), `"@"`, "rate("+v.String()+"[{{.window}}])", 1)
			hint = "write `" + text + "`, or say how its tool reads it: --openslo-dialect nobl9 or literal (a series that is polled each minute)"
		}
	}
	q.Errorf(hint, "the query does not say its window, and OpenSLO's tools read that in different ways")
	return "", false
}

// count reads a part of a ratio: a count over {{.window}}.
func (o *open) count(ratio rules.Node, part string, counter, said bool, s *slo) (text string, d Dialect, ok bool) {
	im := o.im
	q, ok := o.source(ratio.Get(part), part, s)
	if !ok {
		return "", "", false
	}
	if d, ok = o.dialect(q, ratio.Get(part).Get("metricSource").Get("spec").Get("promql").Exists()); !ok {
		return "", "", false
	}
	text, expr, ok := q.Query("the query", d == DialectSloth)
	if !ok {
		return "", "", false
	}
	lone := single(expr)
	switch d {
	case DialectSloth:
	case DialectOsko:
		v, is := expr.(*parser.VectorSelector)
		if !is {
			q.Errorf("write a selector such as http_requests_total{code=\"200\"}: osko adds the window, rate and sum itself", "in osko's dialect a query is a selector, and this is more")
			return "", "", false
		}
		if !o.osko { // nobody said so but its shape
			im.differ(Changed, "dialect", q, s, "say what its tool does, if it is another one: --openslo-dialect nobl9 or literal",
				"a query that is a selector and nothing more is read as osko reads it: the window, its rate or average and the sum are added")
		}
		if counter {
			return "sum(" + rate(v) + ")", d, true
		}
		if !said && looksLikeCounter(v.Name) {
			im.differ(Decide, "counter", q, s, "write `counter: true` if it is one: then it is sum(rate(…))",
				"%s looks like a counter, and is not said to be one: its average is taken, as osko does", v.Name)
		}
		return "sum(avg_over_time(" + v.String() + "[{{.window}}]))", d, true
	case DialectNobl9, DialectLiteral:
		switch {
		case counter && ranged(expr):
			im.differ(Decide, "counter", q, s, "write `counter: false`, or the counter itself as the query",
				"the query of %s makes a rate of a counter already, so that it is added up, though `counter` is true", part)
			text = "sum_over_time((" + closed(text) + ")[{{.window}}:" + polled + "])"
		case counter:
			text = "increase((" + closed(text) + ")[{{.window}}:" + polled + "])"
			im.differ(Changed, "poll", q, s, "sum(rate(…[{{.window}}])) of the counter itself knows its resets, and costs less",
				"the series of %s is looked at each minute by a subquery, as its tool polls it", part)
		default:
			text = "sum_over_time((" + closed(text) + ")[{{.window}}:" + polled + "])"
			im.differ(Changed, "poll", q, s, "", "the series of %s is looked at each minute by a subquery, as its tool polls it", part)
		}
	}
	if !lone {
		im.addUp(q, part, s)
		text = "sum(" + closed(text) + ")"
	}
	return text, d, true
}

// addUp notes that groups are counted together.
func (im *importer) addUp(q rules.Node, part string, s *slo) {
	im.differ(Changed, "groups", q, s, "write an SLO for each group that matters, with a matcher for its label",
		"%s may count each of several groups apart: here they are added up, so that a small one hides behind the others", part)
}

func looksLikeCounter(name string) bool {
	return strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_sum")
}

// ranged reports whether an expression looks at a range already.
func ranged(e parser.Expr) bool {
	found := false
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n.(type) {
		case *parser.MatrixSelector, *parser.SubqueryExpr:
			found = true
		}
		return nil
	})
	return found
}

// raw reads a ratio that is made already.
func (o *open) raw(ratio, raw rules.Node, s *slo) (m measurement, ok bool) {
	for _, key := range []string{"good", "bad", "total"} {
		if ratio.Get(key).Exists() {
			ratio.Key(key).Errorf("keep one of the two", "a ratio has both raw and %s", key)
			return m, false
		}
	}
	kind, ok := ratio.Need("rawType", "ratioMetric", "write `rawType: success` or `rawType: failure`")
	if !ok {
		return m, false
	}
	if kind.Raw() != "success" && kind.Raw() != "failure" {
		kind.Errorf("write success or failure", "there is no rawType %q", kind.Raw())
		return m, false
	}
	q, ok := o.source(raw, "raw", s)
	if !ok {
		return m, false
	}
	d := DialectLiteral // a ratio at an instant means the same to all tools
	if windowPlace.MatchString(q.Raw()) || o.im.opts.Dialect == DialectSloth {
		d = DialectSloth
	}
	text, expr, ok := q.Query("the query", d == DialectSloth)
	if !ok {
		return m, false
	}
	o.im.alone(expr, q, s)
	if d != DialectSloth {
		text = "avg_over_time((" + closed(text) + ")[{{.window}}:" + polled + "])"
	}
	m.dialect = d
	if m.ratio = text; kind.Raw() == "success" {
		m.ratio = "1 - (" + closed(text) + ")"
	}
	return m, true
}

// alone notes that a ratio may have several series.
func (im *importer) alone(expr parser.Expr, q rules.Node, s *slo) {
	if !single(expr) {
		im.differ(Decide, "groups", q, s, "aggregate it to one series, or write an SLO for each group",
			"the query may have a series for each of several labels, and an SLO with more than one is unknown")
	}
}

// ops are the comparisons of OpenSLO.
var ops = map[string]string{"lte": "<=", "lt": "<", "gte": ">=", "gt": ">"}

// threshold reads an SLI that is good while a value is: its error ratio is the share of time in which it is not.
func (o *open) threshold(n, objective rules.Node, s *slo) (m measurement, ok bool) {
	im := o.im
	q, ok := o.source(n, "thresholdMetric", s)
	if !ok {
		return m, false
	}
	if windowPlace.MatchString(q.Raw()) {
		q.Errorf("write the range itself, such as [5m]", "the value of a thresholdMetric is one at an instant, and has no {{.window}}")
		return m, false
	}
	text, expr, ok := q.Query("the query", false)
	if !ok {
		return m, false
	}
	op, ok1 := objective.Need("op", "an objective of a thresholdMetric", "write which values are good: `op: lte`")
	value, ok2 := objective.Need("value", "an objective of a thresholdMetric", "write which values are good: `value: 0.5`")
	if !ok1 || !ok2 {
		return m, false
	}
	sign, known := ops[op.Raw()]
	if !known {
		op.Errorf("write lte, lt, gte or gt", "there is no op %q", op.Raw())
		return m, false
	}
	number := value.Raw()
	if f, err := strconv.ParseFloat(number, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		value.Errorf("write a number such as 0.5", "the value must be a number, not %s", value.Is())
		return m, false
	}
	im.alone(expr, q, s)
	im.differ(Changed, "poll", q, s, "", "the value is looked at each minute by a subquery; the error ratio is the share of those at which it is not %s %s", sign, number)
	m.timed = true
	m.ratio = fmt.Sprintf("1 - avg_over_time(((%s) %s bool %s)[{{.window}}:%s])", closed(text), sign, number, polled)
	return m, true
}

// measured makes queries of a measurement, by the way in which the budget is counted.
func (im *importer) measured(m measurement, objective, method rules.Node, s *slo) {
	slices := method.Raw() == "Timeslices" || method.Raw() == "RatioTimeslices"
	switch {
	case !slices:
		for _, key := range []string{"timeSliceTarget", "timeSliceWindow"} {
			if objective.Get(key).Exists() {
				im.differ(Dropped, "key", objective.Key(key), s, "", "%q says nothing of a budget of occurrences", key)
			}
		}
	case m.timed && !objective.Get("timeSliceTarget").Exists():
		if w := objective.Get("timeSliceWindow"); w.Exists() {
			im.differ(Changed, "slices", objective.Key("timeSliceWindow"), s, "",
				"there are no slices of %s: without a timeSliceTarget each look at the value counts by itself", w.Raw())
		}
	default:
		im.slices(m, objective, method, s)
		return
	}
	// Each of them stands in front of something else here.
	good, bad, total := closed(m.good), closed(m.bad), closed(m.total)
	whole := func(template string) func(time.Duration) string {
		return func(w time.Duration) string { return windowed(template, w) }
	}
	switch {
	case m.total == "":
		s.errors, s.was.ratio = m.ratio, whole(m.ratio)
	case m.bad != "":
		s.errors, s.total = m.bad, m.total
		s.was.ratio = whole("(" + bad + ") / (" + total + ")")
	default:
		s.errors, s.total = total+" - "+good, m.total
		if compound(m.good) || compound(m.total) {
			s.errors = "(" + total + ") - (" + good + ")"
		}
		s.was.ratio = whole("1 - (" + good + ") / (" + total + ")")
		if m.dialect == DialectOsko {
			s.was.ratio = whole("1 - clamp_max((" + good + ") / (" + total + "), 1)")
		}
	}
}

// compound reports whether a query needs parentheses to be a part of another.
func compound(template string) bool {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(windowed(template, time.Hour))
	if err != nil {
		return true
	}
	switch e.(type) {
	case *parser.AggregateExpr, *parser.Call:
		return strings.ContainsAny(template, "\n#")
	}
	return true
}

// slices makes a ratio of slices of time: each is good or bad as a whole, or counts with its own ratio.
func (im *importer) slices(m measurement, objective, method rules.Node, s *slo) {
	w, ok := objective.Need("timeSliceWindow", "an objective with "+method.Raw(), "write `timeSliceWindow: 1m`")
	if !ok {
		return
	}
	length, ok := openDuration(w, "timeSliceWindow")
	if !ok {
		return
	}
	good := "1 - (" + closed(m.ratio) + ")"
	switch {
	case m.bad != "":
		good = "1 - (" + closed(m.bad) + ") / ((" + closed(m.total) + ") > 0)"
	case m.good != "":
		good = "(" + closed(m.good) + ") / ((" + closed(m.total) + ") > 0)"
	}
	if m.dialect != DialectSloth && length < 5*time.Minute { // a rise needs two looks at the series, and more to be true
		good = strings.ReplaceAll(good, "[{{.window}}:"+polled+"]", "[{{.window}}:15s]")
	}
	good = windowed(good, length)
	if method.Raw() == "RatioTimeslices" {
		im.dropped(objective, "an objective", s, "a slice of RatioTimeslices counts with its own ratio", "timeSliceTarget")
	}
	if method.Raw() == "Timeslices" {
		t, ok := objective.Need("timeSliceTarget", "an objective with Timeslices", "write the share of good events that makes a slice good: `timeSliceTarget: 0.95`")
		if !ok {
			return
		}
		least, ok := t.Decimal("timeSliceTarget")
		if !ok {
			return
		}
		if least.Sign() == 0 || least.Cmp(big.NewRat(1, 1)) > 0 {
			t.Errorf("write a share such as 0.95", "timeSliceTarget must be above 0 and at most 1, and it is %s", t.Raw())
			return
		}
		text, _ := decimal(least)
		good = "(" + good + ") >= bool " + text
	}
	// Of a slice that is longer than a window there has to be something to look at too.
	step := model.Duration(min(length, 5*time.Minute)).String()
	if length > 5*time.Minute {
		im.differ(Changed, "slices", objective.Get("timeSliceWindow"), s, "", "slices of %s overlap, one every %s: a window of 5m would hold none otherwise", span(length), step)
	}
	s.errors, s.total = "1 - avg_over_time(("+good+")[{{.window}}:"+step+"])", ""
	template := s.errors
	s.was.ratio = func(w time.Duration) string { return windowed(template, w) }
	im.differ(Changed, "slices", method, s, "Occurrences costs far less, and weighs what users felt",
		"slices of %s are counted by a subquery, aligned to the clock; one without traffic counts neither as good nor as bad", span(length))
}
