package prom

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/test/promtest"
)

func TestTheCostOfAQueryIsTheSamplesItReads(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
slos:
  - name: bad
    objective: 99
    sli: {events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: of
    objective: 99
    max_age: 10m
    sli: {events: {error_query: 'sum(rate(none_total[{{.window}}])) or vector(0)', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: west
    objective: 99
    source: west
    sli: {events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
slis:
  - {name: p99, query: 'max(latency)'}
  - {name: pair, query: 'max(latency)', source: pair, agree: 2}
  - {name: two, query: 'bad_total * on() group_right() latency'}
  - {name: elsewhere, query: 'max(latency)', source: west}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("bad", "5m") > 3.0 && sli("p99") > 0.5 && sli("two") > 1 && sli("elsewhere") > 1 && alert("Down")'}
  - {name: back, from: [degraded], to: normal, when: 'burn_rate("bad", "5m") < 1.0 && burn_rate("bad", "1h") < 1.0'}
`)
	steps := &set.Services[0].Policy.Transitions[0].Playbook.Steps // no kind of action is known here
	*steps = []engine.Step{{Name: "fence", Targets: engine.Targets{Selector: `{"query":"bad_total{code=\"500\"}","label":"code"}`, Max: 1}},
		{Name: "west", Targets: engine.Targets{Selector: `{"query":"up == 0","label":"instance","source":"west"}`, Max: 1}}}
	costs, err := Costs(t.Context(), dial(t, prometheus.URL)[0], set, noon)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range costs {
		problem, _, _ := strings.Cut(c.Problem, ":")
		got = append(got, fmt.Sprintf("%d %s %s %s %s", c.Samples, c.Scope, c.Signal, c.Query, problem))
	}
	want := []string{ // every 15 s; a range of Prometheus 2 holds both its ends
		`482 shop error_ratio("bad", "1h") sum(rate(bad_total[1h])) `,
		`241 shop error_ratio("bad", "1h") sum(rate(bad_total{code="500"}[1h])) `,
		`42 shop error_ratio("bad", "5m") sum(rate(bad_total[5m])) `,
		`24 shop error_ratio("of", "1h") (max(timestamp(bad_total)) or max(max_over_time(timestamp(bad_total)[10m:1m]))) `,
		`21 shop error_ratio("bad", "5m") sum(rate(bad_total{code="500"}[5m])) `,
		`3 shop alert("Down") count(up) or count(ALERTS) `,
		`2 shop alert("Down") count(ALERTS{alertname="Down",alertstate="firing"}) `,
		`2 shop error_ratio("bad", "1h") max(timestamp(bad_total)) `,
		`1 shop sli("p99") max(latency) `,
		`1 shop targets of shed/fence bad_total{code="500"} `,
		`0 shop sli("two") bad_total * on() group_right() latency failed`,
		`0 shop error_ratio("of", "1h") sum(rate(none_total[1h])) or vector(0) `,
		`0 shop error_ratio("of", "1h") count(last_over_time(none_total[30d])) `,
		`0 shop budget_remaining("of") sum(rate(none_total[5m])) or vector(0) `,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever a tick and a ledger ask was on the list, doubts of what is absent included.
func TestNothingIsAskedWhoseCostWasNotTold(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
slos:
  - name: bad
    objective: 99
    sli: {events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {name: Bad}
  - name: none
    objective: 99
    max_age: 10m
    sli: {events: {error_query: 'sum(rate(none_total[{{.window}}]))', total_query: 'sum(rate(idle_total[{{.window}}])) + sum(rate(bad_total[{{.window}}]))'}}
    alerting: {name: None}
  - name: raw
    objective: 99
    sli: {raw: {error_ratio_query: 'sum(rate(few_total[{{.window}}])) / sum(rate(good_total[{{.window}}]))'}}
    alerting: {name: Raw}
slis: [{name: p99, query: 'max(latency)', max_age: 1m}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("p99") > 0.5 && alert("Down")'}
  - {name: back, from: [degraded], to: normal, when: '!alert("Gone") && budget_remaining("raw") > 0.5'}
`)
	source := dial(t, prometheus.URL)[0]
	costs, err := Costs(t.Context(), source, set, noon)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, c := range costs {
		told[c.Query] = true
	}
	var asked []string
	api := &funcAPI{query: func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		v, w, _, err := source.Replicas[0].Query(ctx, q, at)
		return v, w, err
	}}
	for _, service := range set.Services { // one condition at a time, so that nothing is asked together and nothing left out
		for i := range service.Conditions {
			tick := Tick{Instant: noon, Questions: []engine.Question{{Scope: service.Policy.Scope, Conditions: []int{i}}}}
			e := New(set, only(api), Options{})
			e.Evaluate(t.Context(), tick)
			e.Explain(t.Context(), tick) // leaves nothing out
			asked = append(asked, api.queried()...)
		}
	}
	if len(asked) < 20 {
		t.Errorf("%d queries are too few to show it", len(asked))
	}
	doubted := false
	for _, q := range asked {
		doubted = doubted || strings.Contains(q, "last_over_time")
		if !told[q] {
			t.Errorf("nobody told what this costs: %s", q)
		}
	}
	if !doubted {
		t.Error("nothing was absent, so that this shows nothing of doubts")
	}
	for _, q := range []string{`sum(rate(none_total[5m]))`, `sum(rate(few_total[5m])) / sum(rate(good_total[5m]))`} {
		if !told[q] {
			t.Errorf("nobody told what the ledger's %s costs", q)
		}
	}
}

func TestAPrometheusTellsHowOftenItScrapes(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{Config: `global: {scrape_interval: 20s, evaluation_interval: 2m}
scrape_configs:
  - {job_name: shop}
  - {job_name: slow-shop, scrape_interval: 90s}
`})
	scrapes := Scrapes(t.Context(), dial(t, prometheus.URL)[0])
	matcher := func(how labels.MatchType, name, value string) *labels.Matcher {
		return labels.MustNewMatcher(how, name, value)
	}
	metric := matcher(labels.MatchEqual, model.MetricNameLabel, "x_total")
	for _, c := range []struct {
		name     string
		source   string
		matchers []*labels.Matcher
		want     time.Duration
	}{
		{"one job", "", []*labels.Matcher{matcher(labels.MatchEqual, "job", "shop"), metric}, 20 * time.Second},
		{"a slower one", "", []*labels.Matcher{matcher(labels.MatchEqual, "job", "slow-shop"), metric}, 90 * time.Second},
		{"the slower of two", "", []*labels.Matcher{matcher(labels.MatchRegexp, "job", ".*shop"), metric}, 90 * time.Second},
		{"a job that is called otherwise there", "", []*labels.Matcher{matcher(labels.MatchEqual, "job", "cart"), metric}, 20 * time.Second},
		{"no job", "", []*labels.Matcher{metric}, 20 * time.Second},
		{"what a rule records", "", []*labels.Matcher{matcher(labels.MatchEqual, model.MetricNameLabel, "job:x:rate5m")}, 2 * time.Minute},
		{"another source", "west", []*labels.Matcher{metric}, 0},
	} {
		if got := scrapes(c.source, c.matchers); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := Scrapes(t.Context(), dial(t, "http://127.0.0.1:1")[0])("", []*labels.Matcher{metric}); got != 0 {
		t.Errorf("nobody was asked: %v", got)
	}
}
