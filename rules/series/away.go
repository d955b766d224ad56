package series

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Span is a time from From on, and before To.
type Span struct{ From, To time.Time }

// Away is an API that nobody reaches in some spans. Whether it is reached depends on the time at which it is asked, and not on the
// instant that it is asked about: it has to be told the time.
type Away struct {
	v1.API
	spans []Span
	away  atomic.Bool
}

// NewAway makes an API of api that is away in spans. It is there until Now says otherwise.
func NewAway(api v1.API, spans ...Span) *Away { return &Away{API: api, spans: spans} }

// Now tells it the time.
func (a *Away) Now(t time.Time) {
	a.away.Store(slices.ContainsFunc(a.spans, func(s Span) bool { return !t.Before(s.From) && t.Before(s.To) }))
}

// ErrAway is what is answered while nobody is there.
var ErrAway = errors.New("connection refused: the scenario has Prometheus away")

func (a *Away) err() error {
	if a.away.Load() {
		return ErrAway
	}
	return nil
}

// Known is what the API has an answer to already; see prom.Knowing.
func (a *Away) Known(text string, at time.Time) (model.Value, bool) {
	if k, ok := a.API.(interface {
		Known(text string, at time.Time) (model.Value, bool)
	}); ok && a.err() == nil {
		return k.Known(text, at)
	}
	return nil, false
}

// Query implements v1.API.
func (a *Away) Query(ctx context.Context, text string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	if err := a.err(); err != nil {
		return nil, nil, nil, err
	}
	return a.API.Query(ctx, text, at, opts...)
}

// QueryRange implements v1.API.
func (a *Away) QueryRange(ctx context.Context, text string, r v1.Range, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	if err := a.err(); err != nil {
		return nil, nil, nil, err
	}
	return a.API.QueryRange(ctx, text, r, opts...)
}

// Series implements v1.API.
func (a *Away) Series(ctx context.Context, selectors []string, from, to time.Time, opts ...v1.Option) ([]model.LabelSet, v1.Warnings, v1.Infos, error) {
	if err := a.err(); err != nil {
		return nil, nil, nil, err
	}
	return a.API.Series(ctx, selectors, from, to, opts...)
}

// LabelNames implements v1.API.
func (a *Away) LabelNames(ctx context.Context, selectors []string, from, to time.Time, opts ...v1.Option) (model.LabelNames, v1.Warnings, v1.Infos, error) {
	if err := a.err(); err != nil {
		return nil, nil, nil, err
	}
	return a.API.LabelNames(ctx, selectors, from, to, opts...)
}

// LabelValues implements v1.API.
func (a *Away) LabelValues(ctx context.Context, name string, selectors []string, from, to time.Time, opts ...v1.Option) (model.LabelValues, v1.Warnings, v1.Infos, error) {
	if err := a.err(); err != nil {
		return nil, nil, nil, err
	}
	return a.API.LabelValues(ctx, name, selectors, from, to, opts...)
}

// Rules implements v1.API.
func (a *Away) Rules(ctx context.Context, selectors []string) (v1.RulesResult, error) {
	if err := a.err(); err != nil {
		return v1.RulesResult{}, err
	}
	return a.API.Rules(ctx, selectors)
}
