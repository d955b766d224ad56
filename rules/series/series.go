// Package series holds time series in memory and answers for them as a Prometheus does: by the real PromQL engine, under the
// interface of the client that rules/prom asks its sources by. It is what tests of rule files stand on: a scenario is made of
// samples, and the production evaluator cannot tell it from a server.
//
// # What it is not
//
// Nothing is scraped, recorded or forgotten. Series are given as a whole and never change after New, which is why any number of
// goroutines may ask at once and no lock is taken. There is no limit of ten thousand samples, as promtool has one: three days of
// a scrape every fifteen seconds are 17,280 samples of 16 bytes a series.
//
// Beside the queries of the PromQL engine only the existence of series can be asked for. What a server knows of itself (targets,
// rules, flags) is answered with an error that says so, and never with an empty list, which would mean that there are none.
package series

import (
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Sample is the value of a series at a time.
type Sample struct {
	At    int64   // Unix milliseconds
	Value float64 // Stale where the series has ended
	// Histogram stands in place of Value where it is not nil; its Sum is Stale where the series has ended.
	Histogram *histogram.FloatHistogram
}

// Stale is the value that marks the end of a series: an instant selector finds nothing from there on, until another sample.
var Stale = math.Float64frombits(value.StaleNaN)

// Series is what one target shows of one metric, in the order of time.
type Series struct {
	Labels  labels.Labels // with the metric's name
	Samples []Sample
}

// Store holds series. It is a storage.Queryable.
type Store struct {
	series []kept             // by labels
	span   [2]int64           // of all samples; there are none where the first is the greater
	named  map[string]*metric // by the metric's name
}

// metric is the series of one name, each list by labels.
type metric struct {
	all []*kept
	by  map[labels.Label][]*kept
}

// New makes a store of series. The samples are copied, their histograms are not, and must not change any more. The error names the
// series that is there twice, or whose samples do not go forward in time.
func New(list ...Series) (*Store, error) {
	s := &Store{series: make([]kept, len(list)), span: [2]int64{math.MaxInt64, math.MinInt64}, named: map[string]*metric{}}
	for i := range list {
		s.series[i] = kept{list[i].Labels, columnOf(list[i].Samples)}
	}
	slices.SortFunc(s.series, func(a, b kept) int { return labels.Compare(a.labels, b.labels) })
	for i := range s.series {
		one := &s.series[i]
		if i > 0 && labels.Equal(one.labels, s.series[i-1].labels) {
			return nil, fmt.Errorf("the series %s is there twice", one.labels)
		}
		for k := 1; k < len(one.at); k++ {
			if one.at[k] <= one.at[k-1] {
				return nil, fmt.Errorf("sample %d of the series %s is not later than the one before it", k, one.labels)
			}
		}
		if n := len(one.at); n > 0 {
			s.span[0], s.span[1] = min(s.span[0], one.at[0]), max(s.span[1], one.at[n-1])
		}
		name := one.labels.Get(model.MetricNameLabel)
		index := s.named[name]
		if index == nil {
			index = &metric{by: map[labels.Label][]*kept{}}
			s.named[name] = index
		}
		index.all = append(index.all, one)
		one.labels.Range(func(l labels.Label) { index.by[l] = append(index.by[l], one) })
	}
	return s, nil
}

// Span is the time of the first and the last sample of all, in Unix milliseconds; false where there are none.
func (s *Store) Span() (from, to int64, ok bool) { return s.span[0], s.span[1], s.span[0] <= s.span[1] }

// selected are the series that matchers select, by labels.
func (s *Store) selected(matchers []*labels.Matcher) []*kept {
	candidates, narrowed := []*kept(nil), false
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual {
			continue
		}
		index := s.named[m.Value]
		if index == nil {
			return nil
		}
		candidates, narrowed = index.all, true
		for _, o := range matchers { // the shortest list there is
			if o.Type == labels.MatchEqual && o.Value != "" {
				if list := index.by[labels.Label{Name: o.Name, Value: o.Value}]; len(list) < len(candidates) {
					candidates = list
				}
			}
		}
		break
	}
	var out []*kept
	matches := func(one *kept) {
		for _, m := range matchers {
			if !m.Matches(one.labels.Get(m.Name)) {
				return
			}
		}
		out = append(out, one)
	}
	if narrowed {
		for _, one := range candidates {
			matches(one)
		}
		return out
	}
	for i := range s.series {
		matches(&s.series[i])
	}
	return out
}
