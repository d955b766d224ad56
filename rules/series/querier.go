package series

import (
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier implements storage.Queryable.
func (s *Store) Querier(from, to int64) (storage.Querier, error) { return &querier{s, from, to}, nil }

// querier is what a store shows of a span of time, both ends included.
type querier struct {
	*Store
	from, to int64
}

func (q *querier) Close() error { return nil }

// Select implements storage.Querier. Series come sorted, asked for or not: equal questions have equal answers, down to the order
// in which floating point sums them.
func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, one := range q.selected(matchers) {
		if c := one.between(q.from, q.to); len(c.at) > 0 {
			set.list = append(set.list, kept{one.labels, c})
		}
	}
	return set
}

func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found := map[string]bool{}
	q.each(matchers, func(ls labels.Labels) {
		if v := ls.Get(name); v != "" {
			found[v] = true
		}
	})
	return slices.Sorted(maps.Keys(found)), nil, nil
}

func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found := map[string]bool{}
	q.each(matchers, func(ls labels.Labels) { ls.Range(func(l labels.Label) { found[l.Name] = true }) })
	return slices.Sorted(maps.Keys(found)), nil, nil
}

// each calls f with the labels of each series that has samples in the span.
func (q *querier) each(matchers []*labels.Matcher, f func(labels.Labels)) {
	for _, one := range q.selected(matchers) {
		if c := one.between(q.from, q.to); len(c.at) > 0 {
			f(one.labels)
		}
	}
}

// seriesSet is an answer.
type seriesSet struct {
	list []kept
	at   int
}

func (s *seriesSet) Next() bool {
	s.at++
	return s.at < len(s.list)
}

func (s *seriesSet) At() storage.Series                { return &s.list[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
