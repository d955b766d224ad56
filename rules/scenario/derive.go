package scenario

import (
	"fmt"
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

// derivation is what requests look like to an SLO.
type derivation struct {
	atoms    []atom
	instance string // the label by which the queries tell instances apart; empty: none
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

// derive finds out which series have to count for the queries of an SLO to see a good request and a failed one.
func derive(slo *rules.SLO) (*derivation, error) {
	const window = 5 * time.Minute
	errorsText, totalText := slo.Queries(window)
	fail := &CannotDrawError{SLO: slo.Name}
	var metrics []*metric
	d := &derivation{}
	for _, text := range []string{errorsText, totalText} {
		if text == "" {
			continue
		}
		root, err := promQL.ParseExpr(text)
		if err != nil {
			fail.Why = fmt.Sprintf("its query is beyond this program: %v", err)
			return nil, fail
		}
		parser.Inspect(root, func(n parser.Node, path []parser.Node) error {
			s, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			bare := (&parser.VectorSelector{Name: s.Name, LabelMatchers: s.LabelMatchers}).String()
			if slices.Contains(fail.Selectors, bare) {
				return nil
			}
			fail.Selectors = append(fail.Selectors, bare)
			name := ""
			var matchers []*labels.Matcher
			for _, m := range s.LabelMatchers {
				switch {
				case m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual:
					name = m.Value
				case m.Type == labels.MatchRegexp && m.Value == ".*": // {{.instances}}, of all
					d.instance = m.Name
				default:
					matchers = append(matchers, m)
				}
			}
			i := slices.IndexFunc(metrics, func(m *metric) bool { return m.name == name })
			if i < 0 {
				i, metrics = len(metrics), append(metrics, &metric{name: name})
			}
			metrics[i].selectors = append(metrics[i].selectors, matchers)
			metrics[i].counter = metrics[i].counter || counts(path)
			return nil
		})
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
		if why := m.atomize(); why != "" {
			fail.Why = why
			return nil, fail
		}
	}
	t := &trial{errors: errorsText, total: totalText, metrics: metrics}
	if !t.search() {
		fail.Why = "no way of counting its series was found that makes its ratio 0 while all is good, 1 while everything fails, and 0.15 in between"
		return nil, fail
	}
	d.atoms = t.found
	return d, nil
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
	selectors [][]*labels.Matcher
	atoms     []atom
}

// atomize makes an atom for each set of selectors that a series can be selected by.
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
	sets = slices.DeleteFunc(sets, func(set map[string]string) bool { return !strings.Contains(m.signature(set, false), "1") })
	if len(sets) == 0 {
		return fmt.Sprintf("no labels were found that its selectors of %s match", m.name)
	}
	for _, set := range sets {
		m.atoms = append(m.atoms, atom{labels: set, gauge: !m.counter})
	}
	return ""
}

// distinct leaves one of each kind of set, the first.
func (m *metric) distinct(sets []map[string]string) []map[string]string {
	seen := map[string]bool{}
	return slices.DeleteFunc(sets, func(set map[string]string) bool {
		s := m.signature(set, true)
		if seen[s] {
			return true
		}
		seen[s] = true
		return !strings.Contains(s, "1")
	})
}

// signature says of each selector whether it may select a series with the labels of set: with open, as far as they are given.
func (m *metric) signature(set map[string]string, open bool) string {
	var b strings.Builder
	for _, s := range m.selectors {
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
