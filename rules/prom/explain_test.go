package prom

import (
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

func TestAnExplanationTellsEachReadingWithItsQueriesAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	set := load(t, "shop.yaml", tiers("shop", "bad_total"))
	metrics := NewMetrics()
	e := New(set, dial(t, prometheus.URL), Options{QueryOffset: -1, Metrics: metrics})
	tick := everything(set, noon)
	x := e.Explain(t.Context(), tick)
	a := e.Evaluate(t.Context(), tick)
	for i, c := range x.Conditions {
		o := a.Observations["shop"][i]
		if c.Truth != o.Truth || c.Blind != o.Blind || c.Tree.Truth != o.Truth {
			t.Errorf("%s is explained as %v, its tree as %v, and is %v", c.Condition.Name, c.Truth, c.Tree.Truth, o.Truth)
		}
		for _, r := range o.Readings {
			found := false
			for _, m := range c.Signals {
				found = found || m.Reading == r
			}
			if !found {
				t.Errorf("%s: the reading %+v is not explained", c.Condition.Name, r)
			}
		}
	}
	hour := x.Conditions[0].Signals[rules.Signal{Kind: rules.SignalSLO, Name: "availability", Window: time.Hour}]
	if len(hour.Queries) != 3 || hour.Age != 0 || !hour.Reading.Sample.Equal(noon) {
		t.Errorf("%+v", hour)
	}
	for _, q := range hour.Queries {
		// Two series at a sample each 15 s; Prometheus counts a sample at the very beginning of a range too.
		if q.Samples < 1 || q.Took <= 0 || q.Source != "main" || q.Replica != 0 || !q.At.Equal(noon) || q.Why != "" {
			t.Errorf("%+v", q)
		}
	}
	if n := hour.Queries[0].Samples; !strings.Contains(hour.Queries[0].Query, "[1h]") || n < 2*240 || n > 2*241 {
		t.Errorf("%s cost %d samples, and an hour has 240 of each of two series", hour.Queries[0].Query, n)
	}
	if six := (rules.Signal{Kind: rules.SignalSLO, Name: "availability", Window: 6 * time.Hour}); len(x.Conditions[0].Signals[six].Queries) > 0 {
		t.Error("the long window of a pair that is decided was asked for")
	}
	if x.Stats.Samples == 0 || x.Stats.Queries == 0 || x.Instant != noon {
		t.Errorf("%+v", x)
	}

	// An earlier instant: there was nothing yet.
	early := e.Explain(t.Context(), everything(set, noon.Add(-3*time.Hour)))
	if c := early.Conditions[0]; c.Truth != engine.Unknown || !c.Blind || c.Tree.Truth != engine.Unknown || c.Tree.Open {
		t.Errorf("%+v", c)
	}
}
