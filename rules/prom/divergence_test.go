package prom

import (
	"context"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// Divergence comes with the question. Of no instances none diverges, and none follows: that is no reason to act, nor blindness.
func TestDivergenceIsUnknownWithoutInstancesAndAsksNobody(t *testing.T) {
	set := load(t, "a.yaml", `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: one, from: [normal], to: degraded, when: divergence() > 0.05}
`)
	api := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) { return nil, nil, nil }}
	e := New(set, only(api), Options{})
	for _, c := range []struct {
		known      int
		divergence float64
		truth      engine.Truth
		why        engine.Why
	}{
		{20, 0.05, engine.False, ""},
		{20, 0.1, engine.True, ""},
		{1, 0, engine.False, ""},
		{0, 0, engine.Unknown, engine.WhyNoInstances},
		{0, 1, engine.Unknown, engine.WhyNoInstances},
	} {
		q := engine.Question{Scope: "shop", Known: c.known, Divergence: c.divergence, Conditions: []int{0}}
		o := e.Evaluate(t.Context(), Tick{Instant: noon, Questions: []engine.Question{q}}).Observations["shop"][0]
		if o.Truth != c.truth || o.Blind || len(o.Readings) != 1 || o.Readings[0].Why != c.why || o.Readings[0].Signal != "divergence()" {
			t.Errorf("%+v: %+v", c, o)
		}
		if c.why == "" && o.Readings[0].Value != c.divergence {
			t.Errorf("%+v reads %v", c, o.Readings[0].Value)
		}
	}
	if sent := api.queried(); len(sent) > 0 {
		t.Errorf("it asked %q", sent)
	}
}
