package convert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/rules"
)

// ratioOf is an SLO of OpenSLO with a ratio.
func ratioOf(counter, part, key, good, total string) rules.File {
	metric := func(q string) string {
		return fmt.Sprintf("{metricSource: {type: Prometheus, spec: {%s: '%s'}}}", key, q)
	}
	return rules.File{Name: "a.yaml", Data: []byte(`apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: api
  indicator:
    spec:
      ratioMetric:
        ` + counter + `
        ` + part + `: ` + metric(good) + `
        total: ` + metric(total) + `
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
`)}
}

// One query means something else to each tool. Detected is only what leaves no doubt.
func TestAQueryMeansWhatItsDialectSays(t *testing.T) {
	const window = "[{{.window}}]"
	for _, c := range []struct {
		name, counter, part, key, good, total string
		dialect                               Dialect
		errors, want                          string // over 1h; errors is the beginning of a message where there is no total
	}{
		{"a window is Sloth's", "counter: true", "bad", "query", "sum(rate(b" + window + "))", "sum(rate(t" + window + "))", "",
			"sum(rate(b[1h]))", "sum(rate(t[1h]))"},
		{"good events are taken from all", "counter: true", "good", "query", "sum(rate(g" + window + "))", "sum(rate(t" + window + "))", DialectSloth,
			"sum(rate(t[1h])) - sum(rate(g[1h]))", "sum(rate(t[1h]))"},
		{"a selector is osko's", "counter: true", "good", "query", `t{code="200"}`, "t", "",
			`sum(rate(t[1h])) - sum(rate(t{code="200"}[1h]))`, "sum(rate(t[1h]))"},
		{"osko averages what is not said to be a counter", "", "bad", "query", "b", "t", DialectOsko,
			"sum(avg_over_time(b[1h]))", "sum(avg_over_time(t[1h]))"},
		{"the key promql is Nobl9's, whose counters rise from minute to minute", "counter: true", "bad", "promql", "sum(b)", "sum(t)", "",
			"increase((sum(b))[1h:1m])", "increase((sum(t))[1h:1m])"},
		{"and whose other series are added up", "counter: false", "bad", "promql", "sum(b)", "t", "",
			"sum_over_time((sum(b))[1h:1m])", "sum(sum_over_time((t)[1h:1m]))"},
		{"literally a rate is added up, whatever counter says", "counter: true", "bad", "query", "sum(rate(b[1m]))", "sum(rate(t[1m]))", DialectLiteral,
			"sum_over_time((sum(rate(b[1m])))[1h:1m])", "sum_over_time((sum(rate(t[1m])))[1h:1m])"},
		{"a sum without a window is asked about", "counter: true", "bad", "query", "sum(b)", "sum(t)", "",
			"the query does not say its window", ""},
		{"a rate over a window of its own is asked about too", "counter: true", "bad", "query", "sum(rate(b[5m]))", "sum(rate(t[5m]))", "",
			"the query does not say its window", ""},
		{"of a selector literally meant nothing is guessed", "counter: false", "bad", "query", "b", "t", DialectLiteral,
			"sum(sum_over_time((b)[1h:1m]))", "sum(sum_over_time((t)[1h:1m]))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := Import(OpenSLO, []rules.File{ratioOf(c.counter, c.part, c.key, c.good, c.total)}, Options{Dialect: c.dialect})
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), c.errors) || !strings.Contains(err.Error(), "--openslo-dialect") {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for was, slo := range loaded(t, result) {
				errors, total := slo.Queries(time.Hour)
				if canonical(t, errors) != canonical(t, c.errors) || canonical(t, total) != canonical(t, c.want) {
					t.Errorf("got %s of %s", errors, total)
				}
				if was.was.ratio == nil || len(was.was.alerts) > 0 {
					t.Errorf("the original is %+v", was.was)
				}
			}
		})
	}
}

// References go across files, in whatever order these come.
func TestObjectsOfOtherFilesAreFound(t *testing.T) {
	slo := rules.File{Name: "a.yaml", Data: []byte(`apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: api
  indicatorRef: good
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
`)}
	sli := rules.File{Name: "b.yaml", Data: []byte(`apiVersion: openslo/v1
kind: SLI
metadata: {name: good}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: Prometheus, spec: {query: 'g'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 't'}}}
`)}
	for _, files := range [][]rules.File{{slo, sli}, {sli, slo}} {
		result, err := Import(OpenSLO, files, Options{})
		if err != nil || len(result.Services) != 1 || result.Services[0].SLOs != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	if _, err := Import(OpenSLO, []rules.File{slo}, Options{}); err == nil || !strings.Contains(err.Error(), `no file has the SLI "good"`) {
		t.Errorf("alone: %v", err)
	}
}
