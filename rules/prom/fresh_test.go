package prom

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
)

func TestFreshnessIsAskedOnlyWhereAValueCouldBeTooOld(t *testing.T) {
	const m = time.Minute
	for _, c := range []struct {
		name, expr string
		maxAge     time.Duration
		want       string
	}{
		{"a range as long as max_age proves itself", `sum(rate(a{x="1"}[5m]))`, 5 * m, ""},
		{"a longer range does not", `sum(rate(a{x="1"}[5m1s]))`, 5 * m, `max(timestamp(a{x="1"}))`},
		{"nor does one with an extrapolated neighbour", `sum(rate(a[1m])) / sum(rate(a[6h]))`, 5 * m, `max(timestamp(a))`},
		{"an instant selector proves itself up to the lookback", `sum(a)`, 5 * m, ""},
		{"and not below it", `sum(a)`, 2 * m, `max(timestamp(a))`},
		{"a short range proves more than an instant selector", `rate(a[1m])`, 2 * m, ""},
		{"nothing is ever too old without max_age", `sum(rate(a[3d]))`, 0, ""},
		{"an expression without series has no age", `vector(1)`, m, ""},
		{"what cannot be read is not asked for", `sum(`, m, ""},
		{"an offset proves nothing about the present", `a offset 1h`, 5 * m, `max(timestamp(a))`},
		{"nor does a fixed time", `a @ 1000`, 5 * m, `max(timestamp(a))`},
		{"a subquery reaches as far as its range", `max_over_time(a[1m:10s])`, 5 * m, `max(timestamp(a))`},
		{"beyond the lookback older samples are looked for", `rate(a[1h])`, 10 * m,
			`(max(timestamp(a)) or max(max_over_time(timestamp(a)[10m:1m])))`},
		{"of two metrics the newest sample counts", `rate(b[1h]) or rate(a[1h])`, 5 * m,
			`max(max(timestamp(b)) or label_replace(max(timestamp(a)), "of", "1", "", ""))`},
		{"names that are no identifiers are asked for as old servers read them", `rate({"http.requests"}[1h])`, 5 * m,
			`max(timestamp({__name__="http.requests"}))`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := freshness(c.expr, c.maxAge, false)
			if got != c.want {
				t.Errorf("%s within %v asks %q, want %q", c.expr, c.maxAge, got, c.want)
			}
			if _, err := promQL.ParseExpr(got); got != "" && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFreshnessFindsTheNewestSampleToTheSecond(t *testing.T) {
	store := promqltest.LoadedStorage(t, `
load 10s
	a{i="1"} 1x7
	a{i="2"} 1x3 stale
	b        1x20`)
	defer func() { _ = store.Close() }()
	api := engineAPI(t, store)
	for _, c := range []struct {
		name   string
		expr   string
		maxAge time.Duration
		at     int64   // seconds
		want   float64 // seconds; -1: no sample
	}{
		{"the newest of all series of a metric", "rate(a[1h])", time.Minute, 300, 70},
		{"the newest of two metrics, whichever comes first", "rate(a[1h]) + rate(b[1h])", time.Minute, 300, 200},
		{"and the other way round", "rate(b[1h]) + rate(a[1h])", time.Minute, 300, 200},
		{"one of which has none", "rate(a[1h]) or rate(none[1h])", time.Minute, 300, 70},
		{"a vanished series has none", `rate(a{i="2"}[1h])`, time.Minute, 60, -1},
		{"the lookback's last instant", "rate(a[1h])", time.Minute, 369, 70},
		{"and none after it", "rate(a[1h])", time.Minute, 370, -1},
		{"older ones with a longer max_age", "rate(a[1h])", 20 * time.Minute, 1260, 70},
		{"up to its end", "rate(a[1h])", 20 * time.Minute, 1620, -1},
		{"new ones with a longer max_age", "rate(a[1h])", 20 * time.Minute, 75, 70},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why, detail := send(t.Context(), api, freshness(c.expr, c.maxAge, false), time.Unix(c.at, 0), time.Second).number()
			if (why != "") != (c.want < 0) || why == "" && got != c.want {
				t.Errorf("at %d got %v %s %s, want %v", c.at, got, why, detail, c.want)
			}
		})
	}
}
