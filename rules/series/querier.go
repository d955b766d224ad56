package series

import (
	"context"
	"maps"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
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

// between is the index of the first sample not before from and of the first one after to.
func between(list []Sample, from, to int64) (first, end int) {
	first = sort.Search(len(list), func(i int) bool { return list[i].At >= from })
	return first, first + sort.Search(len(list)-first, func(i int) bool { return list[first+i].At > to })
}

// Select implements storage.Querier. Series come sorted, asked for or not: equal questions have equal answers, down to the order
// in which floating point sums them.
func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, one := range q.selected(matchers) {
		if first, end := between(one.Samples, q.from, q.to); first < end {
			set.list = append(set.list, part{one.Labels, one.Samples[first:end]})
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
		if first, end := between(one.Samples, q.from, q.to); first < end {
			f(one.Labels)
		}
	}
}

// seriesSet is an answer.
type seriesSet struct {
	list []part
	at   int
}

func (s *seriesSet) Next() bool {
	s.at++
	return s.at < len(s.list)
}

func (s *seriesSet) At() storage.Series                { return &s.list[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// part is the samples of a series within a span.
type part struct {
	labels  labels.Labels
	samples samples
}

func (p *part) Labels() labels.Labels { return p.labels }

// Iterator implements storage.Series.
func (p *part) Iterator(used chunkenc.Iterator) chunkenc.Iterator {
	if it, ok := used.(interface{ Reset(storage.Samples) }); ok {
		it.Reset(p.samples)
		return used
	}
	return storage.NewListSeriesIterator(p.samples)
}

// samples are what the iterator reads.
type samples []Sample

func (s samples) Get(i int) chunks.Sample { return &s[i] }
func (s samples) Len() int                { return len(s) }

var _ chunks.Sample = (*Sample)(nil)

// T implements chunks.Sample.
func (s *Sample) T() int64 { return s.At }

// ST implements chunks.Sample: a start is not kept.
func (s *Sample) ST() int64 { return 0 }

// F implements chunks.Sample.
func (s *Sample) F() float64 { return s.Value }

// H implements chunks.Sample: histograms are of floats alone.
func (s *Sample) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample, with a copy: the engine adds up in what it was given.
func (s *Sample) FH() *histogram.FloatHistogram { return s.Histogram.Copy() }

// Type implements chunks.Sample.
func (s *Sample) Type() chunkenc.ValueType {
	if s.Histogram != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Copy implements chunks.Sample.
func (s *Sample) Copy() chunks.Sample {
	c := *s
	if c.Histogram != nil {
		c.Histogram = c.Histogram.Copy()
	}
	return &c
}
