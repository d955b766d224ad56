package prom

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/promtest"
)

// What a backtest rests on: over HTTP too a range says of each instant what the instant says, to the last bit and in spite of
// times and numbers as text.
func TestAServerAskedAheadAnswersLikeTheInstant(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	instant := dial(t, prometheus.URL)[0].Replicas[0]
	counted := &counting{API: instant}
	ahead := NewAhead(counted, AheadOptions{Until: noon.Add(-5 * time.Minute)})
	queries := []string{
		`sum(rate(bad_total{code="500"}[5m])) / sum(rate(bad_total[1h]))`, `bad_total`, `scalar(sum(good_total))`, `max(timestamp(stale_total))`,
		`sum(rate(stale_total[5m]))`, `quantile(1.5, idle_total)`, `sum(outage_total @ end())`, `bad_total * on() good_total`,
	}
	const ticks = 80
	for i := range ticks {
		at := noon.Add(-20*time.Minute - 5*time.Second + time.Duration(i)*15*time.Second)
		for _, q := range queries {
			v, w, _, err := ahead.Query(t.Context(), q, at)
			wantV, wantW, _, wantErr := instant.Query(t.Context(), q, at)
			if got, want := said(v, w, err), said(wantV, wantW, wantErr); got != want {
				t.Fatalf("%s at %v:\n%s\nwant\n%s", q, at, got, want)
			}
		}
	}
	// Of the 640 two queries are asked as they are, and the others at the 20 ticks after Until.
	if all := counted.instants + len(counted.ranges); all > 420 || len(counted.ranges) < 20 {
		t.Errorf("%d requests, %d of them ranges", all, len(counted.ranges))
	}
}
