package prom

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/rules"
	data "github.com/modeshift/modeshift/rules/series"
	"github.com/modeshift/modeshift/test/promtest"
)

func TestSelectorsThatNeverHadSeriesAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	const file = `version: modeshift/v1
service: shop
slos:
  - name: fine
    objective: 99
    sli: {events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: never-failed
    objective: 99
    sli: {events: {error_query: 'sum(rate(good_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(good_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: misspelt-label
    objective: 99
    sli: {events: {error_query: 'sum(rate(good_total{cod="500"}[{{.window}}]))', total_query: 'sum(rate(good_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: misspelt-metric
    objective: 99
    sli: {raw: {error_ratio_query: 'sum(rate(bed_total{code="500"}[{{.window}}])) / sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: other-metric
    objective: 99
    sli: {events: {error_query: 'sum(rate(long_gone_total{code="1"}[{{.window}}]))', total_query: 'sum(rate(good_total{job="x"}[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: elsewhere
    objective: 99
    source: west
    sli: {raw: {error_ratio_query: 'sum(rate(nothing_total[{{.window}}])) / sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
slis:
  - {name: p99, query: 'max(latency{pod="b"})'}
  - {name: wave, query: 'max(latency{pod=~"{{.instances}}"}) + max(latency{node=~"{{.instances}}"})'}
`
	set := load(t, "shop.yaml", file)
	got, err := Missing(t.Context(), dial(t, prometheus.URL)[0], set, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, d := range got {
		text = append(text, d.Summary()+" = "+d.Hint)
	}
	want := []string{
		`shop.yaml:14:43: no series has a label "cod": nothing would ever count as an error = look at the labels of good_total`,
		`shop.yaml:18:46: no such series: bed_total{code="500"} selects nothing in the last 30d; what needs it would be unknown = is the metric's name right, and does this Prometheus scrape it?`,
		`shop.yaml:22:43: no such series: long_gone_total{code="1"} selects nothing in the last 30d; what needs it would be unknown = without code="1" there are some`,
		`shop.yaml:22:109: no such series: good_total{job="x"} selects nothing in the last 30d; what needs it would be unknown = without job="x" there are some`,
		`shop.yaml:30:29: no such series: latency{pod="b"} selects nothing in the last 30d; what needs it would be unknown = without pod="b" there are some; pod is "a"`,
		`shop.yaml:31:68: no such series: latency{node=~".+"} selects nothing in the last 30d; what needs it would be unknown = without node=~".+" there are some`,
	}
	if strings.Join(text, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(got[0].Excerpt, "^") {
		t.Errorf("the line is not shown: %q", got[0].Excerpt)
	}
	if _, err := Missing(t.Context(), dial(t, "http://127.0.0.1:1")[0], set, noon); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a source that is away: %v", err)
	}
}

func TestWhatIsMissingIsNamedWithWhatIsThere(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
slis:
  - {name: near, query: 'max(latency{pod="aa"})'}
  - {name: far, query: 'max(latency{pod="somewhere-else"})'}
  - {name: none, query: 'max(latency{pod="b",pod!~"a"})'}
  - {name: either, query: 'max(bad_total{code="500",code!="500"})'}
modes: [{name: normal}, {name: degraded}]
`)
	got, err := Missing(t.Context(), dial(t, prometheus.URL)[0], set, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var hints []string
	for _, d := range got {
		hints = append(hints, d.Hint)
		if d.Code != rules.CodeNoSuchSeries {
			t.Errorf("%s has the code %s", d.Summary(), d.Code)
		}
	}
	want := []string{`without pod="aa" there are some; pod is "a"`, `without pod="somewhere-else" there are some; pod is "a"`,
		`latency has series, and none with these labels`, `without any one of code="500", code!="500" there are some`}
	if strings.Join(hints, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(hints, "\n"), strings.Join(want, "\n"))
	}
	set.Services[0].Allowed = map[rules.Code]bool{rules.CodeNoSuchSeries: true}
	if got, err = Missing(t.Context(), dial(t, prometheus.URL)[0], set, noon.Add(time.Hour)); err != nil || len(got) > 0 {
		t.Errorf("a file lives with it: %v, %v", got, err)
	}
}

// Prometheus 3 takes any text for the name of a label, in quotes.
func TestALabelWithADotIsLookedForByItsName(t *testing.T) {
	store, err := data.New(data.Series{Labels: labels.FromStrings("__name__", "answers_total", "http.status", "200"), Samples: []data.Sample{{At: noon.UnixMilli()}}})
	if err != nil {
		t.Fatal(err)
	}
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
slos:
  - name: never-failed
    objective: 99
    sli: {events: {error_query: 'sum(rate(answers_total{"http.status"="500"}[{{.window}}]))', total_query: 'sum(rate(answers_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: misspelt
    objective: 99
    sli: {events: {error_query: 'sum(rate(answers_total{"http.state"="500"}[{{.window}}]))', total_query: 'sum(rate(answers_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
`)
	got, err := Missing(t.Context(), only(store.API())[0], set, noon.Add(time.Hour))
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Summary(), `shop.yaml:10:43: no series has a label "http.state"`) {
		t.Errorf("%v, %v; want the label that is not there", got, err)
	}
}
