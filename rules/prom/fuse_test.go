package prom

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// asked asks queries of one source all at once and returns their answers.
func asked(t *testing.T, u *fusion, api *funcAPI, at time.Time, texts ...string) map[string]answer {
	t.Helper()
	f := newFetcher(only(api), time.Minute, 4, at, nil)
	var ws []wanted
	for _, text := range texts {
		ws = append(ws, wanted{query{text: text, at: at.UnixMilli()}, lookback})
	}
	answers := map[string]answer{}
	u.ask(t.Context(), f, ws, func(q query, a answer) {
		if _, twice := answers[q.text]; twice {
			t.Errorf("%s was answered twice", q.text)
		}
		answers[q.text] = a
	})
	if len(answers) != len(texts) {
		t.Errorf("%d queries had %d answers", len(texts), len(answers))
	}
	return answers
}

// jobs makes a query for each of n services.
func jobs(n int, format string) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, fmt.Sprintf("service-%04d", i))
	}
	return texts
}

func answering(v ...*model.Sample) *funcAPI {
	return &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return model.Vector(v), nil, nil
	}}
}

func TestEachQueryHasItsOwnPartOfTheAnswerAndNothingElse(t *testing.T) {
	api := answering(
		&model.Sample{Metric: model.Metric{"job": "a", "code": "200"}, Value: 1},
		&model.Sample{Metric: model.Metric{"job": "a", "code": "500"}, Value: 2},
		&model.Sample{Metric: model.Metric{"job": "nobody asked for"}, Value: 3},
		&model.Sample{Metric: model.Metric{"code": "of nobody"}, Value: 4})
	lost := func(job string) string { return `sum without (job) (x{job="` + job + `"})` }
	kept := func(job string) string { return `sum by (job, code) (x{job="` + job + `"})` }
	for _, c := range []struct {
		of   func(string) string
		want map[string]string
	}{
		{lost, map[string]string{"a": `[{code="200"} {code="500"}]`, "b": `[]`}},
		{kept, map[string]string{"a": `[{code="200", job="a"} {code="500", job="a"}]`, "b": `[]`}},
	} {
		answers := asked(t, newFusion(), api, noon, c.of("b"), c.of("a"))
		if sent := api.queried(); len(sent) != 1 {
			t.Errorf("%d requests were sent: %v", len(sent), sent)
		}
		for job, want := range c.want {
			a := answers[c.of(job)]
			var got []string
			for _, s := range a.value.(model.Vector) {
				got = append(got, s.Metric.String())
			}
			if fmt.Sprint(got) != want {
				t.Errorf("%s got %v, want %s", c.of(job), got, want)
			}
			if !strings.Contains(a.sent, `job=~"a|b"`) {
				t.Errorf("%s was sent as %s", c.of(job), a.sent)
			}
		}
	}
}

func TestWhatLacksInAFusedAnswerIsAbsentAndNotZero(t *testing.T) {
	api := answering(&model.Sample{Metric: model.Metric{"job": "service-0000"}, Value: 7})
	texts := jobs(2, `sum(x{job="%s"})`)
	answers := asked(t, newFusion(), api, noon, texts...)
	if x, why, _ := answers[texts[0]].number(); x != 7 || why != "" {
		t.Errorf("the first is %v %q", x, why)
	}
	if _, why, _ := answers[texts[1]].number(); why != engine.WhyAbsent {
		t.Errorf("the second is %q, want absent", why)
	}
}

func TestAnAnswerThatIsNoVectorIsNobodys(t *testing.T) {
	for name, v := range map[string]model.Value{"scalar": &model.Scalar{Value: 1}, "matrix": model.Matrix{}, "none": nil} {
		api := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) { return v, nil, nil }}
		for _, a := range asked(t, newFusion(), api, noon, jobs(2, `sum(x{job="%s"})`)...) {
			if _, why, _ := a.number(); why != engine.WhyInvalid {
				t.Errorf("%s is %q", name, why)
			}
		}
	}
}

func TestQueriesAreFusedByTheLabelInWhichMostDiffer(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"what all have in common stays", []string{`x{env="prod",job="a"}`, `x{env="prod",job="b"}`}, []string{`x{env="prod",job=~"a|b"}`}},
		{"whichever label it is", []string{`x{env="a",job="p"}`, `x{env="b",job="p"}`}, []string{`x{env=~"a|b",job="p"}`}},
		{"most go together", []string{`x{env="p",job="a"}`, `x{env="p",job="b"}`, `x{env="p",job="c"}`, `x{env="q",job="a"}`},
			[]string{`x{env="p",job=~"a|b|c"}`, `x{env="q",job="a"}`}},
		{"one is sent as it was written", []string{`sum( x{ job="a" } )`}, []string{`sum( x{ job="a" } )`}},
		{"spaces make no difference", []string{`sum( x{ job="a" } )`, `sum(x{job="a"})`, `sum(x{job='b'})`}, []string{`sum by (job) (x{job=~"a|b"})`}},
		{"values are no expressions", []string{`x{job="a.b|c"}`, `x{job="\\d\n\"☃\u200b"}`}, []string{`x{job=~"\\\\d\n\"☃\u200b|a\\.b\\|c"}`}},
		{"other windows are other requests", []string{`rate(x{job="a"}[5m])`, `rate(x{job="b"}[1h])`}, []string{`rate(x{job="a"}[5m])`, `rate(x{job="b"}[1h])`}},
		{"alerts too", []string{`count(ALERTS{alertname="A",alertstate="firing"})`, `count(ALERTS{alertname="B",alertstate="firing"})`, alive},
			[]string{`count by (alertname) (ALERTS{alertname=~"A|B",alertstate="firing"})`, alive}},
		{"what cannot be fused by one label may be by another", []string{`histogram_quantile(0.9, x{le="1",job="a"})`, `histogram_quantile(0.9, x{le="2",job="a"})`, `histogram_quantile(0.9, x{le="1",job="b"})`},
			[]string{`histogram_quantile(0.9, x{job=~"a|b",le="1"})`, `histogram_quantile(0.9, x{le="2",job="a"})`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := answering()
			asked(t, newFusion(), api, noon, c.texts...)
			got := api.queried()
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestQueriesToTwoSourcesAreTwoRequests(t *testing.T) {
	a, b := answering(), answering()
	f := fetcherOf(4, time.Minute, Source{"a", []v1.API{a}}, Source{"b", []v1.API{b}})
	newFusion().ask(t.Context(), f, []wanted{{query{text: `x{job="a"}`}, lookback}, {query{source: 1, text: `x{job="a"}`}, lookback},
		{query{source: 1, text: `x{job="b"}`}, lookback}}, func(query, answer) {})
	if got := fmt.Sprint(a.queried(), b.queried()); got != `[x{job="a"}] [x{job=~"a|b"}]` {
		t.Errorf("sent %s", got)
	}
}
