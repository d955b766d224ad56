package prom

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

var byInstance = rules.Selector{Query: "app", Label: "instance"}

func TestTargetsAreTheValuesOfALabelAsARealPrometheusHasThem(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	for _, series := range []string{`app{instance="a:1",zone="x"}`, `app{instance="b:1",zone="x"}`, `app{instance="$(id);--f",zone="y"}`, `lone{zone="x"}`} {
		p.Push(promtest.Series{Metric: series, Samples: []promtest.Sample{{At: noon.Add(-time.Minute), Value: 1}}})
	}
	find := func(query, label string) ([]string, error) {
		names, err := Targets(t.Context(), dial(t, p.URL)[0], rules.Selector{Query: query, Label: label}, noon, 10*time.Second)
		slices.Sort(names)
		return names, err
	}
	for query, want := range map[string][]string{
		`app`:                         {"$(id);--f", "a:1", "b:1"},
		`app{zone="x"}`:               {"a:1", "b:1"},
		`sum by (instance) (app) > 0`: {"$(id);--f", "a:1", "b:1"},
	} {
		if got, err := find(query, "instance"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s finds %q, %v", query, got, err)
		}
	}
	if got, err := find(`lone`, "instance"); err == nil || got != nil || !strings.Contains(err.Error(), "has no label instance") {
		t.Errorf("a series without the label gives %q, %v", got, err)
	}
	// Nothing scrapes into this Prometheus, and no alert fires: that it shows no such series says nothing.
	if got, err := find(`app{zone="z"}`, "instance"); err == nil || got != nil || !strings.Contains(err.Error(), "means nothing") {
		t.Errorf("an empty Prometheus finds %q, %v", got, err)
	}
	p.Push(promtest.Series{Metric: `up{job="app"}`, Samples: []promtest.Sample{{At: noon.Add(-time.Minute), Value: 1}}})
	if got, err := find(`app{zone="z"}`, "instance"); err != nil || len(got) != 0 {
		t.Errorf("a living one finds %q, %v", got, err)
	}
	if got, err := find(`app +`, "instance"); err == nil || got != nil || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("a query it does not take gives %q, %v", got, err)
	}
}

func TestTargetsThatCannotBeSeenWholeAreNotKnown(t *testing.T) {
	one := model.Vector{{Metric: model.Metric{"instance": "a"}}}
	count := model.Vector{{Value: 3}}
	for _, c := range []struct {
		name  string
		query func(q string) (model.Value, v1.Warnings, error)
		want  string
	}{
		{"refused", func(string) (model.Value, v1.Warnings, error) { return nil, nil, errors.New("connection refused") }, "failed: connection refused"},
		{"partial", func(string) (model.Value, v1.Warnings, error) { return one, v1.Warnings{"store away"}, nil }, "partial: store away"},
		{"no vector", func(string) (model.Value, v1.Warnings, error) { return model.Matrix{}, nil, nil }, "answers with no series"},
		{"nothing at all", func(string) (model.Value, v1.Warnings, error) { return nil, nil, nil }, "answers with no series"},
		{"an empty label", func(string) (model.Value, v1.Warnings, error) {
			return model.Vector{{Metric: model.Metric{"instance": ""}}}, nil, nil
		}, "has no label instance"},
		{"none, and dark after that", func(q string) (model.Value, v1.Warnings, error) {
			if q == alive {
				return nil, nil, errors.New("connection refused")
			}
			return model.Vector{}, nil, nil
		}, "failed: connection refused"},
		{"none, and what it shows is partial", func(q string) (model.Value, v1.Warnings, error) {
			if q == alive {
				return count, v1.Warnings{"store away"}, nil
			}
			return model.Vector{}, nil, nil
		}, "partial: store away"},
		{"it panics", func(string) (model.Value, v1.Warnings, error) { panic("x") }, "panic in the client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := &funcAPI{query: func(_ context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) { return c.query(q) }}
			names, err := Targets(t.Context(), only(api)[0], byInstance, noon, time.Second)
			if err == nil || names != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "main") {
				t.Errorf("it gives %q, %v; want %q", names, err, c.want)
			}
		})
	}
	api := &funcAPI{query: func(ctx context.Context, _ string, _ time.Time) (model.Value, v1.Warnings, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}}
	if _, err := Targets(t.Context(), only(api)[0], byInstance, noon, time.Millisecond); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("one that hangs gives %v", err)
	}
}
