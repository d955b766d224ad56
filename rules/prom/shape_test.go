package prom

import (
	"strings"
	"testing"
	"time"
)

// fusedBy is the query for the values a and b of label; empty if there is none, and then why.
func fusedBy(t *testing.T, text, label string) (fused, why string) {
	t.Helper()
	cs, err := shapes{}.candidates(text)
	if err != nil {
		return "", err.Error()
	}
	for _, c := range cs {
		if c.label != label {
			continue
		}
		if c.why != nil {
			return "", c.why.Error()
		}
		return c.shape.text([]string{"a", "b"}), ""
	}
	return "", "not by " + label
}

func TestAShapeIsAskedForManyValuesAtOnce(t *testing.T) {
	for _, c := range []struct{ name, single, want string }{
		{"a selector", `x{job="a"}`, `x{job=~"a|b"}`},
		{"with other matchers, an offset and an instant", `x{job="a",code=~"5.."} @ 100.000 offset 5m`, `x{code=~"5..",job=~"a|b"} @ 100.000 offset 5m`},
		{"a sum", `sum(rate(x{job="a"}[5m]))`, `sum by (job) (rate(x{job=~"a|b"}[5m]))`},
		{"Sloth's ratio", `(sum(rate(x{job="a",code=~"(5..|429)"}[5m]))) / (sum(rate(x{job="a"}[5m])))`,
			`(sum by (job) (rate(x{code=~"(5..|429)",job=~"a|b"}[5m]))) / (sum by (job) (rate(x{job=~"a|b"}[5m])))`},
		{"a ratio from good events", `1 - (sum(rate(g{job="a"}[1h])) / sum(rate(t{job="a"}[1h])))`,
			`1 - (sum by (job) (rate(g{job=~"a|b"}[1h])) / sum by (job) (rate(t{job=~"a|b"}[1h])))`},
		{"bad events as a difference", `sum(rate(t_count{job="a"}[1h])) - sum(rate(t_bucket{job="a",le="0.3"}[1h]))`,
			`sum by (job) (rate(t_count{job=~"a|b"}[1h])) - sum by (job) (rate(t_bucket{job=~"a|b",le="0.3"}[1h]))`},
		{"what Sloth has recorded", `slo:sli_error:ratio_rate5m{sloth_id="a",sloth_service="s"}`, ``},
		{"a quantile", `histogram_quantile(0.99, sum by (le) (rate(b{job="a"}[5m])))`,
			`histogram_quantile(0.99, sum by (le, job) (rate(b{job=~"a|b"}[5m])))`},
		{"a probe of freshness", `max(timestamp(x{job="a"}))`, `max by (job) (timestamp(x{job=~"a|b"}))`},
		{"one that looks further back", `(max(timestamp(x{job="a"})) or max(max_over_time(timestamp(x{job="a"})[20m:1m])))`,
			`(max by (job) (timestamp(x{job=~"a|b"})) or max by (job) (max_over_time(timestamp(x{job=~"a|b"})[20m:1m])))`},
		{"one of two metrics", freshness(`rate(y{job="a"}[1h]) or rate(x{job="a"}[1h])`, 5*time.Minute, false),
			`max by (job) (max by (job) (timestamp(y{job=~"a|b"})) or label_replace(max by (job) (timestamp(x{job=~"a|b"})), "of", "1", "", ""))`},
		{"a constant for those without series", `sum(rate(x{job="a"}[5m])) or vector(0)`, `sum by (job) (rate(x{job=~"a|b"}[5m]))`},
		{"with parentheses all over", `((sum(rate(x{job="a"}[5m]))) or on () (vector((-1))))`, `(sum by (job) (rate(x{job=~"a|b"}[5m])))`},
	} {
		t.Run(c.name, func(t *testing.T) {
			label := "job"
			if c.want == "" {
				label, c.want = "sloth_id", strings.Replace(c.single, `="a"`, `=~"a|b"`, 1)
			}
			got, why := fusedBy(t, c.single, label)
			if got != c.want {
				t.Errorf("%s\nis asked as %s (%s)\nwant        %s", c.single, got, why, c.want)
			}
		})
	}
}
