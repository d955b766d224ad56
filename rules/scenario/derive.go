package scenario

import (
	"cmp"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/rules"
)

// atom is a series as the queries of an SLO can tell it from others.
type atom struct {
	labels map[string]string // with the metric's name
	gauge  bool              // its value is the share, and not a count
	good   float64           // what a good request adds to it, or the gauge's value for one
	bad    float64           // the same of one that fails
}

// Shape is what requests look like to an SLO: the series that count them.
type Shape struct {
	slo      *rules.SLO
	atoms    []atom
	instance string     // the label by which the queries tell instances apart; empty: none
	own      *selection // what its queries select
	errors   string     // its queries; total is empty where errors is the ratio
	total    string
}

// selector is what a query selects.
type selector struct {
	metric   string
	matchers []*labels.Matcher // without that of the metric's name
	bare     string            // as PromQL writes it
	counter  bool              // it stands where a counter is expected
}

// CannotDrawError says that the series of an SLO could not be made out.
type CannotDrawError struct {
	SLO       string
	Why       string
	Selectors []string // whose series have to be written down
}

func (e *CannotDrawError) Error() string {
	text := fmt.Sprintf("no scenario can be drawn for the SLO %s: %s", e.SLO, e.Why)
	if len(e.Selectors) > 0 {
		text += "; write its series yourself, as input_series: " + strings.Join(e.Selectors, " and ")
	}
	return text
}

// The bounds of the search.
const (
	maxMetrics = 4
	maxValues  = 6  // of a label, that matchers tell apart
	maxAtoms   = 48 // of a metric
	maxTries   = 5_000
)

// Among are SLOs that look at one Prometheus. Requests are the same requests, whoever counts them: two SLOs over one metric that each
// drew series of their own would each find the other's traffic in its total. So the series of each bear what the others select by too.
type Among struct {
	slos []*rules.SLO
	of   map[*rules.SLO]*selection
	by   map[string][]seenBy // what is selected of a metric, in the order of the SLOs
}

// selection is what the queries of an SLO select.
type selection struct {
	list     []selector
	instance string // the label by which they narrow to instances; empty: they don't
	err      error
}

// seenBy is a selector of one of the SLOs.
type seenBy struct {
	slo int
	selector
}

// Reads reports whether the queries of one of the SLOs select a series.
func (a *Among) Reads(slo *rules.SLO, series labels.Labels) bool { return a.of[slo].reads(series) }

func (s *selection) reads(series labels.Labels) bool {
	return slices.ContainsFunc(s.list, func(r selector) bool {
		return r.metric == series.Get(model.MetricNameLabel) &&
			!slices.ContainsFunc(r.matchers, func(m *labels.Matcher) bool { return !m.Matches(series.Get(m.Name)) })
	})
}

// window is what the queries of an SLO are tried out with.
const window = 5 * time.Minute

// NewAmong reads what SLOs select. Their order decides which of several series are drawn.
func NewAmong(slos ...*rules.SLO) *Among {
	a := &Among{slos: slos, of: map[*rules.SLO]*selection{}, by: map[string][]seenBy{}}
	for i, slo := range slos {
		s := selectionOf(slo)
		a.of[slo] = s
		for _, one := range s.list {
			a.by[one.metric] = append(a.by[one.metric], seenBy{i, one})
		}
	}
	return a
}

// ShapeOf finds out which series have to count for the queries of one of the SLOs to see a good request and a failed one. The error is
// a *CannotDrawError. Safe for concurrent use.
func (a *Among) ShapeOf(slo *rules.SLO) (*Shape, error) {
	s, err := a.shapeOf(slo)
	if err != nil && len(a.slos) > 1 {
		return NewAmong(slo).shapeOf(slo) // what the others tell apart was too much
	}
	return s, err
}

func (a *Among) shapeOf(slo *rules.SLO) (*Shape, error) {
	own := a.of[slo]
	shape := &Shape{slo: slo, instance: own.instance, own: own}
	shape.errors, shape.total = slo.Queries(window)
	fail := &CannotDrawError{SLO: slo.Name}
	if own.err != nil {
		fail.Why = fmt.Sprintf("its query is beyond this program: %v", own.err)
		return nil, fail
	}
	var metrics []*metric
	for _, s := range own.list {
		fail.Selectors = append(fail.Selectors, s.bare)
		i := slices.IndexFunc(metrics, func(m *metric) bool { return m.name == s.metric })
		if i < 0 {
			i, metrics = len(metrics), append(metrics, &metric{name: s.metric})
		}
		metrics[i].own = append(metrics[i].own, s.matchers)
		metrics[i].counter = metrics[i].counter || s.counter
	}
	if len(metrics) > maxMetrics {
		fail.Why = fmt.Sprintf("it is made of %d metrics, and up to %d are tried out", len(metrics), maxMetrics)
		return nil, fail
	}
	for _, m := range metrics {
		if m.name == "" {
			fail.Why = "a selector of it names no metric"
			return nil, fail
		}
		for _, s := range a.by[m.name] {
			if slices.ContainsFunc(m.own, func(own []*labels.Matcher) bool { return overlap(own, s.matchers) }) {
				m.selectors, m.of = append(m.selectors, s.matchers), append(m.of, s.slo)
				shape.instance = cmp.Or(shape.instance, a.of[a.slos[s.slo]].instance)
			}
		}
		if why := m.atomize(); why != "" {
			fail.Why = why
			return nil, fail
		}
	}
	t := &trial{errors: shape.errors, total: shape.total, metrics: metrics}
	if !t.search() {
		fail.Why = "no way of counting its series was found that makes its ratio 0 while all is good, 1 while everything fails, and 0.15 in between"
		return nil, fail
	}
	shape.atoms = t.found
	return shape, nil
}

// selectionOf reads what the queries of an SLO select, each selector once.
func selectionOf(slo *rules.SLO) *selection {
	out := &selection{}
	errorsText, totalText := slo.Queries(window)
	for _, text := range []string{errorsText, totalText} {
		if text == "" {
			continue
		}
		root, err := promQL.ParseExpr(text)
		if err != nil {
			return &selection{err: err}
		}
		parser.Inspect(root, func(n parser.Node, path []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			s := selector{bare: (&parser.VectorSelector{Name: v.Name, LabelMatchers: v.LabelMatchers}).String(), counter: counts(path)}
			if i := slices.IndexFunc(out.list, func(have selector) bool { return have.bare == s.bare }); i >= 0 {
				out.list[i].counter = out.list[i].counter || s.counter
				return nil
			}
			for _, m := range v.LabelMatchers {
				switch {
				case m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual:
					s.metric = m.Value
				case m.Type == labels.MatchRegexp && m.Value == ".*": // {{.instances}}, of all
					out.instance = m.Name
				default:
					s.matchers = append(s.matchers, m)
				}
			}
			out.list = append(out.list, s)
			return nil
		})
	}
	return out
}

// overlap reports whether one series may be selected by both, as far as labels tell that have to have one value.
func overlap(a, b []*labels.Matcher) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Name == y.Name && (x.Type == labels.MatchEqual && !y.Matches(x.Value) || y.Type == labels.MatchEqual && !x.Matches(y.Value)) {
				return false
			}
		}
	}
	return true
}

// Reads reports whether the SLO's queries select a series.
func (s *Shape) Reads(series labels.Labels) bool { return s.own.reads(series) }

// Tells reports whether a series tells good requests from bad ones: others count all of them.
func (s *Shape) Tells(series labels.Labels) bool {
	i := slices.IndexFunc(s.atoms, func(a atom) bool { return a.of(series) })
	return i >= 0 && s.atoms[i].good != s.atoms[i].bad
}

// Shares reports whether both draw a series: some of what counts the requests of one counts those of the other.
func (s *Shape) Shares(other *Shape) bool {
	return slices.ContainsFunc(s.atoms, func(a atom) bool {
		return slices.ContainsFunc(other.atoms, func(b atom) bool { return maps.Equal(a.labels, b.labels) })
	})
}

// Same reports whether both tell good requests from bad ones by the same series.
func (s *Shape) Same(other *Shape) bool {
	return slices.ContainsFunc(s.atoms, func(a atom) bool {
		return a.good != a.bad && slices.ContainsFunc(other.atoms, func(b atom) bool {
			return maps.Equal(a.labels, b.labels) && a.good == b.good && a.bad == b.bad
		})
	})
}

// Series are the series that are drawn, without the label that bears an instance.
func (s *Shape) Series() []labels.Labels {
	var list []labels.Labels
	for _, a := range s.atoms {
		list = append(list, labels.FromMap(a.labels))
	}
	return list
}

// LooksBack is the longest window of the SLO's alerts, or that of the workbook where it has none: so far back its history has to reach
// to be clean.
func (s *Shape) LooksBack() time.Duration {
	_, long := windows(s.slo)
	return long
}

// Fails reports whether a request that fails for the other SLO is one that fails for this one too, and a good one good: whether both
// look at the same faults, of the same requests or of a part of them.
func (s *Shape) Fails(other *Shape) bool {
	if !slices.ContainsFunc(other.atoms, func(a atom) bool { return a.good != a.bad && s.Reads(labels.FromMap(a.labels)) }) {
		return false
	}
	t := &trial{errors: s.errors, total: s.total}
	for _, share := range []float64{0, 0.15, 1} {
		if r, ok := t.ratio(other.atoms, share); !ok || !near(r, share) {
			return false
		}
	}
	return true
}

var promQL = parser.NewParser(parser.Options{})

// counts reports whether a selector stands where PromQL expects a counter.
func counts(path []parser.Node) bool {
	for _, n := range slices.Backward(path) {
		if c, ok := n.(*parser.Call); ok {
			switch c.Func.Name {
			case "rate", "irate", "increase":
				return true
			}
		}
	}
	return false
}

// metric is a metric with the selectors that select of it.
type metric struct {
	name      string
	counter   bool
	own       [][]*labels.Matcher // of the SLO that is drawn
	selectors [][]*labels.Matcher // of all SLOs that may select the same series, its own among them
	of        []int               // which SLO each of them is of
	atoms     []atom
}

// atomize makes an atom for each set of the SLO's own selectors that a series can be selected by. Of those that only other SLOs tell
// apart it takes the one that most of them see, and of these the first.
func (m *metric) atomize() (why string) {
	var names []string
	for _, s := range m.selectors {
		for _, matcher := range s {
			if !slices.Contains(names, matcher.Name) {
				names = append(names, matcher.Name)
			}
		}
	}
	sets := []map[string]string{{model.MetricNameLabel: m.name}}
	for _, name := range names {
		values := m.values(name)
		if len(values) > maxValues {
			return fmt.Sprintf("its selectors tell more than %d values of %s apart", maxValues, name)
		}
		var next []map[string]string
		for _, set := range sets {
			for _, v := range values {
				one := map[string]string{name: v}
				for k, have := range set {
					one[k] = have
				}
				next = append(next, one)
			}
		}
		sets = m.distinct(next)
		if len(sets) > maxAtoms {
			return fmt.Sprintf("its selectors tell more than %d series of %s apart", maxAtoms, m.name)
		}
	}
	best, seen := map[string]int{}, map[string]int{} // by what the SLO's own selectors say of a set
	var order []string
	for i, set := range sets {
		key := signature(m.own, set, false)
		if !strings.Contains(key, "1") {
			continue
		}
		n := m.watchers(set)
		if most, ok := seen[key]; !ok || n > most {
			if !ok {
				order = append(order, key)
			}
			best[key], seen[key] = i, n
		}
	}
	if len(order) == 0 {
		return fmt.Sprintf("no labels were found that its selectors of %s match", m.name)
	}
	for _, key := range order {
		m.atoms = append(m.atoms, atom{labels: sets[best[key]], gauge: !m.counter})
	}
	return ""
}

// watchers is how many SLOs see a series with the labels of set.
func (m *metric) watchers(set map[string]string) int {
	seen := map[int]bool{}
	for i, c := range signature(m.selectors, set, false) {
		if c == '1' {
			seen[m.of[i]] = true
		}
	}
	return len(seen)
}

// distinct leaves one of each kind of set, the first.
func (m *metric) distinct(sets []map[string]string) []map[string]string {
	seen := map[string]bool{}
	return slices.DeleteFunc(sets, func(set map[string]string) bool {
		s := signature(m.selectors, set, true)
		if seen[s] {
			return true
		}
		seen[s] = true
		return !strings.Contains(s, "1")
	})
}

// signature says of each selector whether it may select a series with the labels of set: with open, as far as they are given.
func signature(selectors [][]*labels.Matcher, set map[string]string, open bool) string {
	var b strings.Builder
	for _, s := range selectors {
		c := byte('1')
		for _, matcher := range s {
			v, given := set[matcher.Name]
			if (given || !open) && !matcher.Matches(v) {
				c = '0'
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// The values that are tried where a matcher leaves open what else there is. Codes are for labels that look like one.
var (
	words = []string{"ok", "error", "success", "failure", "true", "false", "other"}
	codes = []string{"200", "500", "404", "503", "429", "2xx", "5xx"}
)

// values are the values of a label that matchers tell apart, the most natural of each kind.
func (m *metric) values(name string) []string {
	var matchers []*labels.Matcher
	for _, s := range m.selectors {
		for _, matcher := range s {
			if matcher.Name == name {
				matchers = append(matchers, matcher)
			}
		}
	}
	var pool []string
	for _, matcher := range matchers {
		switch matcher.Type {
		case labels.MatchEqual, labels.MatchNotEqual:
			pool = append(pool, matcher.Value)
		default:
			pool = append(pool, examples(matcher.Value)...)
		}
	}
	further := slices.Concat(words, codes)
	if strings.ContainsAny(strings.Join(pool, ""), "0123456789") || strings.Contains(name, "code") || strings.Contains(name, "status") {
		further = slices.Concat(codes, words)
	}
	if name == labels.BucketLabel {
		further = []string{"+Inf"}
	}
	if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp }) {
		pool = slices.Concat(further, pool) // what code=~"5.." matches is 500, and not 50a
	} else {
		pool = slices.Concat(pool, further)
	}
	pool = append(pool, "")
	seen := map[string]bool{}
	var out []string
	for _, v := range pool {
		var b strings.Builder
		for _, matcher := range matchers {
			b.WriteString(map[bool]string{true: "1", false: "0"}[matcher.Matches(v)])
		}
		if s := b.String(); !seen[s] {
			seen[s] = true
			out = append(out, v)
		}
	}
	return out
}

// examples are strings that a pattern matches: one for each of its alternatives at the top.
func examples(pattern string) []string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	list := []*syntax.Regexp{re}
	if re.Op == syntax.OpAlternate {
		list = re.Sub
	}
	var out []string
	for _, one := range list {
		var b strings.Builder
		example(one, &b)
		out = append(out, b.String())
	}
	return out
}

// example writes a string that re matches, the shortest that is not empty where it can be.
func example(re *syntax.Regexp, b *strings.Builder) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			r := re.Rune[0]
			for i := 0; i+1 < len(re.Rune); i += 2 { // a letter or a digit, where there is one
				for _, nice := range "a0A" {
					if re.Rune[i] <= nice && nice <= re.Rune[i+1] {
						b.WriteRune(nice)
						return
					}
				}
			}
			b.WriteRune(max(r, ' '))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('0')
	case syntax.OpCapture, syntax.OpPlus:
		example(re.Sub[0], b)
	case syntax.OpRepeat:
		for range min(max(re.Min, 1), 100) {
			example(re.Sub[0], b)
		}
	case syntax.OpConcat:
		for _, s := range re.Sub {
			example(s, b)
		}
	case syntax.OpAlternate:
		example(re.Sub[0], b)
	case syntax.OpStar, syntax.OpQuest:
		if s := re.Sub[0]; s.Op == syntax.OpAnyChar || s.Op == syntax.OpAnyCharNotNL {
			return
		}
	}
}
