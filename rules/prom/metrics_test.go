package prom

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
)

func TestMetricsShowTheBurnRateUntilItIsUnknownOrNotAskedForAnyMore(t *testing.T) {
	set := load(t, "shop.yaml", service("shop", events("x_total"), "", `burn_rate("s", "5m") > 1.0`))
	m := NewMetrics()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	api := constant(1)
	e := New(set, only(api), Options{Metrics: m})
	expect := func(what string, names []string, want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	burn := []string{"modeshift_burn_rate"}
	const is1000 = `
# HELP modeshift_burn_rate Error ratio over the window divided by the error budget, as last read; absent while unknown.
# TYPE modeshift_burn_rate gauge
modeshift_burn_rate{scope="shop",slo="s",window="5m"} 1000
`
	e.Evaluate(t.Context(), everything(set, noon))
	expect("errors alone", burn, is1000)
	e.Evaluate(t.Context(), Tick{Instant: noon.Add(burnKept)})
	expect("not asked for ten minutes", burn, is1000)
	e.Evaluate(t.Context(), Tick{Instant: noon.Add(burnKept + 1)})
	expect("nor a nanosecond more", burn, "")
	e.Evaluate(t.Context(), everything(set, noon))
	expect("again", burn, is1000)
	api.query = func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return nil, nil, errors.New("away")
	}
	e.Evaluate(t.Context(), everything(set, noon))
	expect("unknown", burn, "")
	expect("counters", []string{"modeshift_signal_unknown_total", "modeshift_queries_total"}, `
# HELP modeshift_queries_total Queries to a source, by outcome: ok, or the reason why there was no answer.
# TYPE modeshift_queries_total counter
modeshift_queries_total{outcome="failed",source="main"} 2
modeshift_queries_total{outcome="ok",source="main"} 4
# HELP modeshift_signal_unknown_total Readings of signals that came out unknown, by reason.
# TYPE modeshift_signal_unknown_total counter
modeshift_signal_unknown_total{why="failed"} 1
`)
	if n := testutil.CollectAndCount(m, "modeshift_query_seconds"); n != 1 {
		t.Errorf("%d series of query times, want 1", n)
	}
}
