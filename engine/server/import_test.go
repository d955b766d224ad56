package server

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/convert"
	"github.com/modeshift/modeshift/test/promtest"
)

// A real Prometheus tells of both definitions what the PromQL engine does in the tests of rules/convert.
func TestAnImportIsComparedOverThePastOfARealPrometheus(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	from, to := noon.Add(-24*time.Hour), noon.Add(4*time.Hour)
	good := promtest.Series{Metric: `requests_total{job="a",code="200"}`}
	bad := promtest.Series{Metric: `requests_total{job="a",code="500"}`}
	g, b := 0.0, 0.0
	for at := from; !at.After(to); at = at.Add(30 * time.Second) {
		if d := at.Sub(noon); d >= time.Hour && d < 80*time.Minute {
			b += 300
		} else {
			g += 300
		}
		good.Samples = append(good.Samples, promtest.Sample{At: at, Value: g})
		bad.Samples = append(bad.Samples, promtest.Sample{At: at, Value: b})
	}
	p.Push(good, bad)
	for _, c := range []struct {
		tool convert.Tool
		text string
		wait time.Duration
	}{
		{convert.Sloth, `version: prometheus/v1
service: a
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(requests_total{job="a",code="500"}[{{.window}}]))
        total_query: sum(rate(requests_total{job="a"}[{{.window}}]))
    alerting: {name: A}
`, 0},
		{convert.Pyrra, `apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: availability}
spec:
  target: "99.9"
  window: 4w
  indicator:
    ratio: {errors: {metric: 'requests_total{job="a",code="500"}'}, total: {metric: 'requests_total{job="a"}'}}
`, 2 * time.Minute},
	} {
		result, err := convert.Import(c.tool, []rules.File{{Name: "a.yaml", Data: []byte(c.text)}}, convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := VerifyImport(t.Context(), p.URL, result, convert.VerifyOptions{From: noon, To: to})
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != 1 || !out[0].Same() || !out[0].Seen() {
			t.Fatalf("%s: %+v", c.tool, out)
		}
		for _, tier := range out[0].Tiers {
			if tier.Severity == engine.SeverityPage && (tier.Both < 20*time.Minute || tier.OnlyOurs != c.wait || tier.OnlyTheirs != 0) {
				t.Errorf("%s: %+v", c.tool, tier)
			}
		}
	}
	if _, err := VerifyImport(t.Context(), "prometheus:9090", &convert.Result{}, convert.VerifyOptions{}); err == nil {
		t.Error("an address that is none was asked")
	}
}

// A real Prometheus answers with the labels by which the series that differs is named.
func TestASeriesOfARealPrometheusIsNamedAsTheOneThatDiffers(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	series := map[string]*promtest.Series{}
	for _, route := range []string{"cart", "search"} {
		for _, code := range []string{"200", "500"} {
			s := &promtest.Series{Metric: `requests_total{route="` + route + `",code="` + code + `"}`}
			series[route+code] = s
			v := 0.0
			for at := noon.Add(-2 * time.Hour); !at.After(noon.Add(time.Hour)); at = at.Add(30 * time.Second) {
				switch failing := route == "search" && !at.Before(noon.Add(20*time.Minute)); {
				case route == "cart" && code == "200":
					v += 30000
				case route == "search" && (code == "500") == failing:
					v += 3
				}
				s.Samples = append(s.Samples, promtest.Sample{At: at, Value: v})
			}
		}
	}
	p.Push(*series["cart200"], *series["cart500"], *series["search200"], *series["search500"])
	result, err := convert.Import(convert.Sloth, []rules.File{{Name: "a.yaml", Data: []byte(`version: prometheus/v1
service: a
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum by (route) (rate(requests_total{code="500"}[{{.window}}]))
        total_query: sum by (route) (rate(requests_total[{{.window}}]))
    alerting: {name: A}
`)}}, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := VerifyImport(t.Context(), p.URL, result, convert.VerifyOptions{From: noon, To: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if w := out[0].Windows[0]; !out[0].Same() || w.Groups != 2 || w.Series != `{route="search"}` || w.Because != convert.CauseGroups || w.Greatest < 0.99 {
		t.Errorf("%+v", w)
	}
	if tier := out[0].Tiers[0]; tier.Series != `{route="search"}` || tier.OnlyTheirs == 0 || tier.Because[convert.CauseGroups] != tier.OnlyTheirs {
		t.Errorf("%+v", tier)
	}
}
