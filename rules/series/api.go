package series

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// The limits of a Prometheus that nobody has configured.
const (
	lookback   = 5 * time.Minute
	timeout    = 2 * time.Minute
	maxSamples = 50_000_000
)

// engine evaluates all queries of all stores. It holds no data, and makes one goroutine's work of each query.
var engine = sync.OnceValue(func() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples:           maxSamples,
		Timeout:              timeout,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		// A subquery without a step takes the server's evaluation_interval, which is a minute unless it says otherwise.
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		Parser:                   parser.NewParser(parser.Options{}),
	})
})

// API asks a store as the client of a Prometheus asks a server. It is a v1.API.
type API struct {
	notKept
	store storage.Queryable
}

// API returns the client of a Prometheus that holds the store's series and nothing else.
func (s *Store) API() *API { return &API{store: s} }

// The types of errors, as a server gives them.
func badData(err error) error { return &v1.Error{Type: v1.ErrBadData, Msg: err.Error()} }

func failure(err error) error {
	kind := v1.ErrExec
	var (
		timedOut promql.ErrQueryTimeout
		canceled promql.ErrQueryCanceled
	)
	switch {
	case errors.As(err, &timedOut):
		kind = v1.ErrTimeout
	case errors.As(err, &canceled):
		kind = v1.ErrCanceled
	}
	return &v1.Error{Type: kind, Msg: err.Error()}
}

// Query implements v1.API. An error is a *v1.Error, or the context's.
func (a *API) Query(ctx context.Context, text string, at time.Time, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	q, err := engine().NewInstantQuery(ctx, a.store, nil, text, at)
	if err != nil {
		return nil, nil, nil, badData(err)
	}
	return run(ctx, q, text)
}

// maxSteps is how many steps a server answers in a range query.
const maxSteps = 11_000

// QueryRange implements v1.API, with a server's limit of steps.
func (a *API) QueryRange(ctx context.Context, text string, r v1.Range, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	switch {
	case r.Step <= 0:
		return nil, nil, nil, badData(errors.New("zero or negative query resolution step widths are not accepted"))
	case r.End.Before(r.Start):
		return nil, nil, nil, badData(errors.New("end timestamp must not be before start time"))
	case r.End.Sub(r.Start)/r.Step > maxSteps:
		return nil, nil, nil, badData(fmt.Errorf("exceeded maximum resolution of %d points per timeseries", maxSteps))
	}
	q, err := engine().NewRangeQuery(ctx, a.store, nil, text, r.Start, r.End, r.Step)
	if err != nil {
		return nil, nil, nil, badData(err)
	}
	return run(ctx, q, text)
}

// run evaluates a query and gives what comes out as the API's client would.
func run(ctx context.Context, q promql.Query, text string) (model.Value, v1.Warnings, v1.Infos, error) {
	defer q.Close() // the engine's own slices are used again from here on
	r := q.Exec(ctx)
	if r.Err != nil {
		if err := ctx.Err(); err != nil {
			return nil, nil, nil, context.Cause(ctx)
		}
		return nil, nil, nil, failure(r.Err)
	}
	warnings, infos := r.Warnings.AsStrings(text, 10, 10)
	v, err := modelOf(r.Value)
	if err != nil {
		return nil, nil, nil, badData(err)
	}
	return v, warnings, infos, nil
}

// modelOf is a result as the client of the API would have read it.
func modelOf(v parser.Value) (model.Value, error) {
	switch v := v.(type) {
	case promql.Scalar:
		return &model.Scalar{Value: model.SampleValue(v.V), Timestamp: model.Time(v.T)}, nil
	case promql.String:
		return &model.String{Value: v.V, Timestamp: model.Time(v.T)}, nil
	case promql.Vector:
		out := make(model.Vector, len(v))
		for i, s := range v {
			out[i] = &model.Sample{Metric: metricOf(s.Metric), Value: model.SampleValue(s.F), Timestamp: model.Time(s.T)}
			if s.H != nil {
				out[i].Histogram = histogramOf(s.H)
			}
		}
		return out, nil
	case promql.Matrix:
		out := make(model.Matrix, len(v))
		for i, s := range v {
			out[i] = &model.SampleStream{Metric: metricOf(s.Metric)}
			if len(s.Floats) > 0 {
				out[i].Values = make([]model.SamplePair, len(s.Floats))
			}
			for k, p := range s.Floats {
				out[i].Values[k] = model.SamplePair{Timestamp: model.Time(p.T), Value: model.SampleValue(p.F)}
			}
			for _, p := range s.Histograms {
				out[i].Histograms = append(out[i].Histograms, model.SampleHistogramPair{Timestamp: model.Time(p.T), Histogram: histogramOf(p.H)})
			}
		}
		return out, nil
	default:
		return nil, fmt.Errorf("a %T is no answer", v)
	}
}

func metricOf(ls labels.Labels) model.Metric {
	m := make(model.Metric, ls.Len())
	ls.Range(func(l labels.Label) { m[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
	return m
}

// histogramOf is a native histogram as the API shows it: its buckets as ranges, those without events left out.
func histogramOf(h *histogram.FloatHistogram) *model.SampleHistogram {
	out := &model.SampleHistogram{Count: model.FloatString(h.Count), Sum: model.FloatString(h.Sum)}
	for it := h.AllBucketIterator(); it.Next(); {
		b := it.At()
		if b.Count == 0 {
			continue
		}
		boundaries := int32(2) // both are outside: (a, b)
		switch {
		case b.LowerInclusive && b.UpperInclusive:
			boundaries = 3
		case b.LowerInclusive:
			boundaries = 1
		case b.UpperInclusive:
			boundaries = 0
		}
		out.Buckets = append(out.Buckets, &model.HistogramBucket{Boundaries: boundaries, Lower: model.FloatString(b.Lower),
			Upper: model.FloatString(b.Upper), Count: model.FloatString(b.Count)})
	}
	return out
}

// Series implements v1.API: the label sets of the series that any of the selectors selects and that have a sample in the span.
func (a *API) Series(ctx context.Context, selectors []string, from, to time.Time, _ ...v1.Option) ([]model.LabelSet, v1.Warnings, v1.Infos, error) {
	var out []model.LabelSet
	seen := map[uint64]bool{}
	err := a.each(ctx, selectors, from, to, func(q storage.Querier, matchers []*labels.Matcher) error {
		set := q.Select(ctx, true, nil, matchers...)
		for set.Next() {
			ls := set.At().Labels()
			if h := ls.Hash(); !seen[h] {
				seen[h] = true
				out = append(out, model.LabelSet(metricOf(ls)))
			}
		}
		return set.Err()
	})
	return out, nil, nil, err
}

// each calls f with the matchers of each selector; without any, with none.
func (a *API) each(ctx context.Context, selectors []string, from, to time.Time, f func(storage.Querier, []*labels.Matcher) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q, err := a.store.Querier(milliseconds(from, math.MinInt64), milliseconds(to, math.MaxInt64))
	if err != nil {
		return failure(err)
	}
	defer func() { _ = q.Close() }() // it holds nothing
	if len(selectors) == 0 {
		return f(q, nil)
	}
	for _, text := range selectors {
		matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
		if err != nil {
			return badData(err)
		}
		if err := f(q, matchers); err != nil {
			return failure(err)
		}
	}
	return nil
}

// milliseconds is t as samples have it; the zero time is no bound.
func milliseconds(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixMilli()
}

// LabelNames implements v1.API.
func (a *API) LabelNames(ctx context.Context, selectors []string, from, to time.Time, _ ...v1.Option) (model.LabelNames, v1.Warnings, v1.Infos, error) {
	found, err := a.union(ctx, selectors, from, to, func(q storage.Querier, matchers []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, nil, matchers...)
	})
	out := make(model.LabelNames, len(found))
	for i, name := range found {
		out[i] = model.LabelName(name)
	}
	return out, nil, nil, err
}

// LabelValues implements v1.API.
func (a *API) LabelValues(ctx context.Context, name string, selectors []string, from, to time.Time, _ ...v1.Option) (model.LabelValues, v1.Warnings, v1.Infos, error) {
	found, err := a.union(ctx, selectors, from, to, func(q storage.Querier, matchers []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, nil, matchers...)
	})
	out := make(model.LabelValues, len(found))
	for i, v := range found {
		out[i] = model.LabelValue(v)
	}
	return out, nil, nil, err
}

// union is what list gives for any of the selectors, sorted.
func (a *API) union(ctx context.Context, selectors []string, from, to time.Time, list func(storage.Querier, []*labels.Matcher) ([]string, annotations.Annotations, error)) ([]string, error) {
	var out []string
	err := a.each(ctx, selectors, from, to, func(q storage.Querier, matchers []*labels.Matcher) error {
		found, _, err := list(q, matchers)
		out = append(out, found...)
		return err
	})
	slices.Sort(out)
	return slices.Compact(out), err
}
