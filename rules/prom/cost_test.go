package prom

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

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
slis:
  - {name: p99, query: 'max(latency)'}
  - {name: two, query: 'bad_total * on() group_right() latency'}
  - {name: elsewhere, query: 'max(latency)', source: west}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("bad", "5m") > 3.0 && sli("p99") > 0.5 && sli("two") > 1 && sli("elsewhere") > 1'}
  - {name: back, from: [degraded], to: normal, when: 'burn_rate("bad", "5m") < 1.0 && burn_rate("bad", "1h") < 1.0'}
`)
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
		`21 shop error_ratio("bad", "5m") sum(rate(bad_total{code="500"}[5m])) `,
		`1 shop sli("p99") max(latency) `,
		`0 shop sli("two") bad_total * on() group_right() latency failed`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
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
