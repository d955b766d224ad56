package rules

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// SeriesSelector is a selector of a rule file's queries, so that a Prometheus can be asked whether there are such series.
type SeriesSelector struct {
	Text     string // bare: without ranges, offsets and windows
	Source   string // the Prometheus it is for; empty: the first there is
	Matchers []*labels.Matcher
	// Events: it counts what goes wrong among the events that All selects, and may select nothing for as long as nothing has
	// gone wrong.
	Events bool
	All    string
	src    *source
	node   *node // the query
	at     int   // in it
}

// Fault is a diagnostic at the selector's place.
func (s *SeriesSelector) Fault(level Level, code Code, hint, format string, args ...any) Diagnostic {
	line, column := s.src.within(s.node, s.at)
	d := s.src.diagnostic(level, line, column, fmt.Sprintf(format, args...), hint)
	d.Code = code
	return d
}

// selectors notes those of a query; where it narrows to instances, those of series that can be told apart by them. all, where it is not nil, is the query for all events of which this one counts some.
func (d *draft) selectors(q, all *query, source *string) {
	if q == nil {
		return
	}
	seen := map[string]bool{}
	parser.Inspect(q.labelled, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		bare := (&parser.VectorSelector{Name: v.Name, LabelMatchers: v.LabelMatchers}).String()
		if seen[bare] {
			return nil
		}
		seen[bare] = true
		d.patterns.share(v.LabelMatchers)
		s := SeriesSelector{Text: bare, Matchers: v.LabelMatchers, src: d.r.src, node: q.node, at: q.source(int(v.PosRange.Start))}
		if all != nil {
			parser.Inspect(all.labelled, func(n parser.Node, _ []parser.Node) error {
				if a, ok := n.(*parser.VectorSelector); ok && selects(a, v) && !s.Events {
					s.Events, s.All = true, (&parser.VectorSelector{Name: a.Name, LabelMatchers: a.LabelMatchers}).String()
				}
				return nil
			})
		}
		d.sourced = append(d.sourced, sourced{len(d.service.Selectors), source})
		d.service.Selectors = append(d.service.Selectors, s)
		return nil
	})
}

// patterns are the matchers by regular expression of all files of a load, each once: compiled it takes more than a kilobyte, and most
// are the same few.
type patterns struct {
	mu sync.Mutex
	by map[pattern]*labels.Matcher // guarded by mu
}

type pattern struct {
	how         labels.MatchType
	name, value string
}

// share puts those that are there already in the place of their equals. A matcher does not change.
func (p *patterns) share(matchers []*labels.Matcher) {
	for i, m := range matchers {
		if m.Type != labels.MatchRegexp && m.Type != labels.MatchNotRegexp {
			continue
		}
		key := pattern{m.Type, m.Name, m.Value}
		p.mu.Lock()
		if same := p.by[key]; same != nil {
			matchers[i] = same
		} else {
			p.by[key] = m
		}
		p.mu.Unlock()
	}
}

// Metric is the name of the metric alone; empty where the selector does not name one.
func (s *SeriesSelector) Metric() string {
	for _, m := range s.Matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// sourced is a selector whose source is known only when the whole document is.
type sourced struct {
	index  int
	source *string
}

// Without is the selector without one of its matchers; empty for the metric's name, without which it would select everything.
func (s *SeriesSelector) Without(m *labels.Matcher) string {
	if m.Name == model.MetricNameLabel {
		return ""
	}
	v := parser.VectorSelector{LabelMatchers: slices.DeleteFunc(slices.Clone(s.Matchers), func(o *labels.Matcher) bool { return o == m })}
	v.Name = s.Metric()
	if len(v.LabelMatchers) == 0 {
		return ""
	}
	return v.String()
}
