package convert

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// slo is an SLO on its way from one file to another.
type slo struct {
	at                 rules.Node // where it is called by its name
	service, name      string
	description        string
	objective          *big.Rat // percent
	period             time.Duration
	calendar, timezone string
	errors, total      string // with {{.window}}; without a total, errors is the ratio
	labels             map[string]string
	alerting           alerting
	windows            []window   // none: the usual ones of the period
	notes              []note     // for whoever reads the rule file
	root               rules.Node // all that their file says of it
	remarks            []remark

	was original
}

// note is something that a person has to decide.
type note struct{ text, hint string }

type alerting struct {
	name                string
	labels, annotations map[string]string
	page, ticket        tier
}

type tier struct {
	disabled            bool
	labels, annotations map[string]string
}

// window is a pair of burn-rate windows.
type window struct {
	severity    engine.Severity
	long, short time.Duration
	factor      *big.Rat
	note        string     // stands beside it
	from        rules.Node // where the factor comes from
}

// original is what an SLO's own tool measures and fires.
type original struct {
	// ratio is the expression of the error ratio over a window. It may give a series for each group.
	ratio func(window time.Duration) string
	// parts are the errors and the events of all its groups together; nil where it has none, or does not tell them apart.
	parts  func(window time.Duration) (errors, total string)
	alerts []alert
	// mean: the ratio of the period is the mean of the ratios of five minutes.
	mean bool
}

// alert is one that the tool would have fired, in the terms of our tiers.
type alert struct {
	severity engine.Severity
	name     string
	pairs    []pair        // it fires when any of them does
	after    time.Duration // it has to have lasted so long before
}

// pair fires when the ratios over both windows are above the limit. Without a short one the long one alone does.
type pair struct {
	long, short time.Duration
	limit       float64 // as the tool's arithmetic has it, noise included
}

// usual are the workbook's windows, and the share of the budget that each stands for, in percent. They are Sloth's too, and
// what a rule file has that names none.
var usual = []struct {
	severity    engine.Severity
	percent     int64
	long, short time.Duration
}{
	{engine.SeverityPage, 2, time.Hour, 5 * time.Minute},
	{engine.SeverityPage, 5, 6 * time.Hour, 30 * time.Minute},
	{engine.SeverityTicket, 10, day, 2 * time.Hour},
	{engine.SeverityTicket, 10, 3 * day, 6 * time.Hour},
}

// longest is the longest of them. A rule file of a shorter period has to say its windows.
const longest = 3 * day

// share is the burn rate that spends a percentage of a period's budget within a window.
func share(percent *big.Rat, period, long time.Duration) *big.Rat {
	r := new(big.Rat).Mul(percent, big.NewRat(int64(period), int64(long)))
	return r.Quo(r, big.NewRat(100, 1))
}

// digits is how many a factor may have behind its point in a rule file.
const digits = 12

// decimal is a number as a rule file writes it, and whether that is the number exactly.
func decimal(r *big.Rat) (text string, exact bool) {
	text = r.FloatString(digits)
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	back, ok := new(big.Rat).SetString(text)
	return text, ok && back.Cmp(r) == 0
}

// single reports whether an expression gives at most one series, whatever there is in Prometheus.
func single(e parser.Expr) bool {
	if e.Type() == parser.ValueTypeScalar {
		return true
	}
	switch e := e.(type) {
	case *parser.ParenExpr:
		return single(e.Expr)
	case *parser.StepInvariantExpr:
		return single(e.Expr)
	case *parser.UnaryExpr:
		return single(e.Expr)
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.COUNT_VALUES, parser.LIMITK, parser.LIMIT_RATIO:
			return single(e.Expr)
		}
		return !e.Without && len(e.Grouping) == 0 || single(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.LHS.Type() == parser.ValueTypeScalar:
			return single(e.RHS)
		case e.RHS.Type() == parser.ValueTypeScalar:
			return single(e.LHS)
		case e.Op == parser.LOR:
			return bare(e.LHS) && bare(e.RHS)
		case e.Op == parser.LAND || e.Op == parser.LUNLESS:
			return single(e.LHS)
		case e.VectorMatching != nil && e.VectorMatching.Card == parser.CardManyToOne: // each of the many has its own
			return single(e.LHS)
		case e.VectorMatching != nil && e.VectorMatching.Card == parser.CardOneToMany:
			return single(e.RHS)
		}
		return single(e.LHS) || single(e.RHS) // one to one
	case *parser.SubqueryExpr:
		return single(e.Expr)
	case *parser.Call:
		switch e.Func.Name {
		case "vector", "time", "absent", "absent_over_time":
			return true
		case "histogram_quantile": // takes le away
			if a, ok := e.Args[1].(*parser.AggregateExpr); ok && !a.Without && len(a.Grouping) == 1 && a.Grouping[0] == "le" {
				return true
			}
		}
		for _, a := range e.Args {
			if t := a.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
				return single(a)
			}
		}
	}
	return false
}

// bare reports whether an expression gives at most one series, and that one without labels.
func bare(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return bare(e.Expr)
	case *parser.AggregateExpr:
		return single(e) && len(e.Grouping) == 0 && !e.Without && e.Op != parser.TOPK && e.Op != parser.BOTTOMK
	case *parser.Call:
		return e.Func.Name == "vector"
	case *parser.BinaryExpr:
		return (bare(e.LHS) || e.LHS.Type() == parser.ValueTypeScalar) && (bare(e.RHS) || e.RHS.Type() == parser.ValueTypeScalar)
	}
	return false
}

// closed is a query as it may stand in front of something else in another one: a comment that ends it would swallow what follows.
func closed(template string) string {
	if strings.Contains(template[strings.LastIndexByte(template, '\n')+1:], "#") {
		template += "\n"
	}
	return template
}

// windowed is the template of a query over a window, filled as Sloth fills it.
func windowed(template string, w time.Duration) string {
	return windowPlace.ReplaceAllString(template, model.Duration(w).String())
}

// span is a duration as people write it: 28d, not 4w.
func span(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return model.Duration(d).String()
}

// tiersOf are the alerts of pairs of windows by severity, each without a `for`: those of Sloth.
func tiersOf(name string, windows []window, budget float64, disabled func(engine.Severity) bool) (out []alert) {
	for _, severity := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
		if disabled(severity) {
			continue
		}
		a := alert{severity: severity, name: name}
		for _, w := range windows {
			if w.severity == severity {
				f, _ := w.factor.Float64()
				a.pairs = append(a.pairs, pair{w.long, w.short, f * budget})
			}
		}
		if len(a.pairs) > 0 {
			out = append(out, a)
		}
	}
	return out
}

// usualWindows are those that a rule file has by itself for a period.
func usualWindows(period time.Duration) []window {
	var out []window
	for _, u := range usual {
		out = append(out, window{severity: u.severity, long: u.long, short: u.short, factor: share(big.NewRat(u.percent, 1), period, u.long)})
	}
	return out
}

// sameWindows reports whether two lists of windows are the same in any order.
func sameWindows(a, b []window) bool {
	key := func(w window) string {
		return string(w.severity) + " " + w.long.String() + " " + w.short.String() + " " + w.factor.RatString()
	}
	keys := func(ws []window) []string {
		var out []string
		for _, w := range ws {
			out = append(out, key(w))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(keys(a), keys(b))
}
