package convert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/rules"
)

// manifest is a ServiceLevelObjective with an indicator.
func manifest(window, indicator string) rules.File {
	return rules.File{Name: "a.yaml", Data: []byte(`apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: a}
spec: {target: "99.9", window: ` + window + `, indicator: ` + indicator + `}
`)}
}

// The durations are those that Pyrra's rules have in their names.
func TestPyrrasWindowsScaleAndAreRoundedToAMinute(t *testing.T) {
	target := 0.999 // no constant: 1-target is to be as inexact as in PromQL
	for _, c := range []struct{ window, want string }{
		{"28d", "5m/1h×14 for 2m, 30m/6h×7 for 15m, 2h/1d×2 for 1h, 6h/4d×1 for 3h"},
		{"4w", "5m/1h×14 for 2m, 30m/6h×7 for 15m, 2h/1d×2 for 1h, 6h/4d×1 for 3h"},
		{"30d", "5m/1h4m×14 for 2m, 32m/6h26m×7 for 16m, 2h9m/1d1h43m×2 for 1h4m, 6h26m/4d6h51m×1 for 3h13m"},
		{"7d", "1m/15m×14 for 1m, 8m/1h30m×7 for 4m, 30m/6h×2 for 15m, 1h30m/1d×1 for 45m"},
		{"90d", "16m/3h13m×14 for 6m, 1h36m/19h17m×7 for 48m, 6h26m/3d5h9m×2 for 3h13m, 19h17m/12d20h34m×1 for 9h39m"},
	} {
		result, err := Import(Pyrra, []rules.File{manifest(c.window, "{bool_gauge: {metric: up}}")}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := result.Services[0].slos[0]
		var got []string
		for i, w := range s.windows {
			got = append(got, fmt.Sprintf("%s/%s×%s for %s", model.Duration(w.short), model.Duration(w.long), w.factor.RatString(), model.Duration(s.was.alerts[i].after)))
			if limit := s.was.alerts[i].pairs[0].limit; limit != []float64{14, 7, 2, 1}[i]*(1-target) {
				t.Errorf("%s: limit %v", c.window, limit)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.window, strings.Join(got, ", "), c.want)
		}
	}
}

// The expressions are those that Pyrra's own tests expect in its rules.
func TestAnImportedSLOAsksWhatPyrraWouldHaveAsked(t *testing.T) {
	for _, c := range []struct {
		name, indicator, want, errors, total string
	}{
		{"ratio", `{ratio: {errors: {metric: 'http_requests_total{job="thanos-receive-default",code=~"5.."}'}, total: {metric: 'http_requests_total{job="thanos-receive-default"}'}}}`,
			`sum(rate(http_requests_total{code=~"5..",job="thanos-receive-default"}[5m])) / sum(rate(http_requests_total{job="thanos-receive-default"}[5m]))`,
			`sum(rate(http_requests_total{code=~"5..",job="thanos-receive-default"}[5m]))`,
			`sum(rate(http_requests_total{job="thanos-receive-default"}[5m]))`},
		{"ratio in groups", `{ratio: {errors: {metric: 'e{code="500"}'}, total: {metric: e}, grouping: [job, handler, job]}}`,
			`sum by (handler, job) (rate(e{code="500"}[5m])) / sum by (handler, job) (rate(e[5m]))`,
			`sum(rate(e{code="500"}[5m]))`, `sum(rate(e[5m]))`},
		{"latency, whose whole bound is written otherwise by Prometheus 3", `{latency: {success: {metric: 'd_bucket{code=~"2..",le="1"}'}, total: {metric: 'd_count{code=~"2.."}'}}}`,
			`(sum(rate(d_count{code=~"2.."}[5m])) - sum(rate(d_bucket{code=~"2..",le=~"1(\\.0)?"}[5m]))) / sum(rate(d_count{code=~"2.."}[5m]))`,
			`sum(rate(d_count{code=~"2.."}[5m])) - sum(rate(d_bucket{code=~"2..",le=~"1(\\.0)?"}[5m]))`,
			`sum(rate(d_count{code=~"2.."}[5m]))`},
		{"latency, whose whole bound has a sign", `{latency: {success: {metric: 'd_bucket{le="+1"}'}, total: {metric: d_count}}}`,
			`(sum(rate(d_count[5m])) - sum(rate(d_bucket{le=~"\\+1(\\.0)?"}[5m]))) / sum(rate(d_count[5m]))`,
			`sum(rate(d_count[5m])) - sum(rate(d_bucket{le=~"\\+1(\\.0)?"}[5m]))`,
			`sum(rate(d_count[5m]))`},
		{"latency with a fraction", `{latency: {success: {metric: 'd_bucket{le="0.5"}'}, total: {metric: d_count}}}`,
			`(sum(rate(d_count[5m])) - sum(rate(d_bucket{le="0.5"}[5m]))) / sum(rate(d_count[5m]))`,
			`sum(rate(d_count[5m])) - sum(rate(d_bucket{le="0.5"}[5m]))`,
			`sum(rate(d_count[5m]))`},
		{"native histogram", `{latencyNative: {total: {metric: 'd{job="a"}'}, latency: 1500ms}}`,
			`1 - histogram_fraction(0, 1.5, sum(rate(d{job="a"}[5m])))`,
			`(1 - histogram_fraction(0, 1.5, sum(rate(d{job="a"}[5m])))) * histogram_count(sum(rate(d{job="a"}[5m])))`,
			`histogram_count(sum(rate(d{job="a"}[5m])))`},
		{"boolean gauge", `{bool_gauge: {metric: 'up{job="prometheus"}'}}`,
			`(sum(count_over_time(up{job="prometheus"}[5m])) - sum(sum_over_time(up{job="prometheus"}[5m]))) / sum(count_over_time(up{job="prometheus"}[5m]))`,
			`sum(count_over_time(up{job="prometheus"}[5m])) - sum(sum_over_time(up{job="prometheus"}[5m]))`,
			`sum(count_over_time(up{job="prometheus"}[5m]))`},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := Import(Pyrra, []rules.File{manifest("28d", c.indicator)}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for was, slo := range loaded(t, result) {
				for _, w := range []time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour, 4 * 24 * time.Hour} {
					at := func(text string) string { return strings.ReplaceAll(text, "[5m]", "["+model.Duration(w).String()+"]") }
					errors, total := slo.Queries(w)
					for _, both := range [][2]string{{was.was.ratio(w), at(c.want)}, {errors, at(c.errors)}, {total, at(c.total)}} {
						if canonical(t, both[0]) != canonical(t, both[1]) {
							t.Errorf("over %s: got\n%s\nwant\n%s", w, both[0], both[1])
						}
					}
				}
			}
		})
	}
}
