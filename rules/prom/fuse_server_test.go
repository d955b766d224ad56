package prom

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

// shopService is a service as people write them: an SLO with both tiers, a ratio, a quantile, an alert.
func shopService(name string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: %[1]s
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(requests_total{job="%[1]s",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(requests_total{job="%[1]s"}[{{.window}}]))
    alerting: {name: A, page_alert: {}, ticket_alert: {}}
  - name: good
    objective: 99
    sli: {raw: {error_ratio_query: '1 - sum(rate(requests_total{job="%[1]s",code="200"}[{{.window}}])) / sum(rate(requests_total{job="%[1]s"}[{{.window}}]))'}}
    alerting: {name: G, page_alert: {}, ticket_alert: {disable: true}}
slis:
  - {name: slow, query: 'histogram_quantile(0.9, sum by (le) (rate(seconds_bucket{job="%[1]s"}[5m]))) or vector(0)', unit: seconds, max_age: 2m}
  - {name: joined, query: 'sum(info{job="%[1]s"} * on (instance) target{job="%[1]s"}) * 1', max_age: 2m, unit: requests}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page") || burning("good", "page") || alert("Down-%[1]s")'}
  - {name: slower, from: [normal], to: degraded, when: 'sli("slow") > 0.3'}
  - {name: join, from: [normal], to: degraded, when: 'sli("joined") > 0.0'}
`, name)
}

func TestThreeHundredServicesAreReadFromAServerAsOneByOneAndByAsFewRequestsAsThirty(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	const many, few, poisonedOne = 300, 30, 17
	name := func(i int) string { return fmt.Sprintf("shop-%03d.eu", i) }
	files := func(n int) *rules.Set {
		var nameText []string
		for i := range n {
			nameText = append(nameText, name(i)+".yaml", shopService(name(i)))
		}
		return load(t, nameText...)
	}
	var data []promtest.Series
	counter := func(metric string, perSecond float64) {
		data = append(data, promtest.Counter(metric, noon.Add(-20*time.Minute), noon, 30*time.Second, 1000, 30*perSecond))
	}
	for i := range many {
		job := fmt.Sprintf(`job=%q`, name(i))
		one := func(metric string) {
			data = append(data, promtest.Series{Metric: metric, Samples: []promtest.Sample{{At: noon, Value: 1}}})
		}
		if i%30 == 29 {
			continue // it has no series at all
		}
		counter(`requests_total{code="200",`+job+`}`, 10)
		if i%3 == 0 {
			counter(`requests_total{code="500",`+job+`}`, float64(i%7)) // sometimes 0
		}
		counter(`seconds_bucket{le="0.1",`+job+`}`, float64(i%5))
		counter(`seconds_bucket{le="+Inf",`+job+`}`, 10)
		one(`info{instance="1",` + job + `}`)
		one(`target{instance="1",` + job + `}`)
		if i == poisonedOne { // two on the one side: many-to-many
			one(`target{instance="1",pod="b",` + job + `}`)
		}
		if i%60 == 0 {
			one(fmt.Sprintf(`ALERTS{alertname="Down-%s",alertstate="firing"}`, name(i)))
		}
	}
	prometheus.Push(data...)
	sources := dial(t, prometheus.URL) // once: a server has 512 connections at most
	options := Options{QueryOffset: -1, QueryTimeout: time.Minute, Budget: 5 * time.Minute}
	ask := func(set *rules.Set) Answer {
		e := New(set, sources, options)
		a := e.Evaluate(t.Context(), everything(set, noon))
		if first := a.Stats.Queries; first > 60 {
			t.Errorf("%d queries in the first tick", first)
		}
		return e.Evaluate(t.Context(), everything(set, noon)) // the one at fault is known
	}
	thirty := ask(files(few))
	all := files(many)
	fused := ask(all)
	if fused.Stats.Queries != thirty.Stats.Queries {
		t.Errorf("%d services take %d queries, %d take %d", few, thirty.Stats.Queries, many, fused.Stats.Queries)
	}
	t.Logf("%d queries in %d rounds", fused.Stats.Queries, fused.Stats.Rounds)

	truths := map[engine.Truth]int{}
	for i, service := range all.Services {
		alone := load(t, "it.yaml", shopService(name(i)))
		single := New(alone, sources, options).Evaluate(t.Context(), everything(alone, noon))
		for n, want := range single.Observations[service.Policy.Scope] {
			got := fused.Observations[service.Policy.Scope][n]
			if got.Truth != want.Truth || fmt.Sprint(got.Readings) != fmt.Sprint(want.Readings) {
				t.Fatalf("%s, %s:\n%v %v\nwant\n%v %v", name(i), service.Conditions[n].Text, got.Truth, got.Readings, want.Truth, want.Readings)
			}
			truths[got.Truth]++
		}
	}
	t.Logf("truths: %v", truths)
	if o := condition(t, all, fused, engine.Scope(name(poisonedOne)), "join.when"); o.Truth != engine.Unknown || o.Readings[0].Why != engine.WhyFailed {
		t.Errorf("the one at fault is %+v", o)
	}
	if o := condition(t, all, fused, engine.Scope(name(poisonedOne+1)), "join.when"); o.Truth != engine.True {
		t.Errorf("its neighbour is %+v", o)
	}
}

func TestAnOldServerReadsWhatIsSent(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	for _, job := range []string{"a", "b.c"} {
		prometheus.Push(promtest.Counter(`m{job="`+job+`",code="500",inst="1"}`, noon.Add(-10*time.Minute), noon, 15*time.Second, 0, 7),
			promtest.Counter(`m{job="`+job+`",code="200",inst="1"}`, noon.Add(-10*time.Minute), noon, 15*time.Second, 0, 3),
			promtest.Counter(`h_bucket{job="`+job+`",le="1"}`, noon.Add(-10*time.Minute), noon, 15*time.Second, 0, 3),
			promtest.Counter(`h_bucket{job="`+job+`",le="+Inf"}`, noon.Add(-10*time.Minute), noon, 15*time.Second, 0, 4))
	}
	source := dial(t, prometheus.URL)
	for _, expr := range []string{
		`m{JOB} offset 1m`, `m{JOB} @ 1772366000.5`, `sum without (job) (m{JOB})`, `m{JOB} / ignoring (job) m{JOB}`, `m{JOB} / ignoring (job, code) group_left () sum by (inst) (m{JOB})`,
		`histogram_quantile(0.5, sum by (le) (rate(h_bucket{JOB}[5m])))`, `sum(m{JOB} > bool 3) ^ -2`, `max_over_time(sum(rate(m{JOB}[1m]))[5m:])`, `{__name__="m",JOB}`,
		`label_replace(sum by (code) (m{JOB}), "foo", "$1", "code", "(.).*")`, `sum(m{JOB}) or on () vector(0)`, `m{JOB} and on () (sum(m{JOB}) > 1e3)`, `-sum(m{JOB}) unless sum(m{JOB}) > 1e9`,
	} {
		f := fetcherOf(4, time.Minute, source...)
		var ws []wanted
		for _, job := range []string{`job="a"`, `job="b.c"`, `job="none"`} {
			ws = append(ws, wanted{query{text: strings.ReplaceAll(expr, "JOB", job), at: noon.UnixMilli()}, lookback})
		}
		newFusion().ask(t.Context(), f, ws, func(q query, a answer) {
			want := send(t.Context(), source[0].Replicas[0], q.text, noon, time.Minute)
			if d := difference(a, want); d != "" {
				t.Errorf("%s, sent as %s, is %s", q.text, a.sent, d)
			}
		})
		if n := f.sent.Load(); n != 1 {
			t.Errorf("%s took %d requests", expr, n)
		}
	}
}
