package rules

import (
	"strings"
	"testing"
)

func TestWhatItMeansThatTheErrorsAreAbsent(t *testing.T) {
	for _, c := range []struct {
		errors, total string
		want          string // zero, unknown, or the selectors that have to be proved
	}{
		{`sum(rate(http_total{job="a",code=~"5.."}[5m]))`, `sum(rate(http_total{job="a"}[5m]))`, "zero"},
		{`sum(increase(http_total{job="a",code=~"5.."}[5m])) or vector(0)`, `sum(increase(http_total{job="a"}[5m]))`, "zero"},
		{`2 * sum(rate(http_total{job="a",code="500"}[5m])) / 2`, `sum(rate(http_total{job="a"}[5m]))`, "zero"},
		{`sum(rate(http_total{code="500"}[5m]) or rate(http_total{code="503"}[5m]))`, `sum(rate(http_total[5m]))`, "zero"},
		// Nothing shows that these were ever counted.
		{`sum(rate(http_errors_total{job="a"}[5m]))`, `sum(rate(http_total{job="a"}[5m]))`, `http_errors_total{job="a"}`},
		{`sum(rate(http_total{job="b",code="500"}[5m]))`, `sum(rate(http_total{job="a"}[5m]))`, `http_total{code="500",job="b"}`},
		{`sum(rate(http_total{code="500"}[5m]))`, `sum(rate(http_total{job="a"}[5m]))`, `http_total{code="500"}`},
		{`sum(rate(a_total[5m])) or sum(rate(b_total[5m]))`, `sum(rate(a_total[5m]))`, `b_total`},
		// One part without series makes the whole give nothing, whatever the other part counts.
		{`sum(rate(http_total{code="500"}[5m])) + sum(rate(http_total{code="503"}[5m]))`, `sum(rate(http_total[5m]))`, "unknown"},
		{`sum(rate(h_count[5m])) - sum(rate(h_bucket{le="0.3"}[5m]))`, `sum(rate(h_count[5m]))`, "unknown"},
		{`sum(rate(http_total{code="500"}[5m])) and sum(rate(http_total[5m]))`, `sum(rate(http_total[5m]))`, "unknown"},
		{`sum(rate(http_total{code="500"}[5m])) > 0`, `sum(rate(http_total[5m]))`, "unknown"},
		{`max(rate(http_total{code="500"}[5m]))`, `sum(rate(http_total[5m]))`, "unknown"},
	} {
		errors, err := promQL.ParseExpr(c.errors)
		if err != nil {
			t.Fatal(err)
		}
		total, err := promQL.ParseExpr(c.total)
		if err != nil {
			t.Fatal(err)
		}
		a := absenceOf(errors, total)
		got := "unknown"
		if a.Zero {
			got = "zero"
			if len(a.Unproved) > 0 {
				got = strings.Join(a.Unproved, " ")
			}
		}
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.errors, c.total, got, c.want)
		}
	}
}

func TestSourcesAreCheckedWhereTheyAreKnown(t *testing.T) {
	text := strings.Replace(serviceText, "    min_events: 100", "    source: esat\n    agree: 3", 1)
	if _, diags := load(t, Options{}, text); diags != nil {
		t.Errorf("nobody knows which sources there are, and yet:\n%v", diags)
	}
	_, diags := load(t, Options{Sources: map[string]int{"main": 1, "east": 2}}, text)
	if len(diags.Errors()) != 1 || !strings.Contains(diags.Error(), `no source "esat"`) || !strings.Contains(diags.Error(), `did you mean "east"`) {
		t.Errorf("\n%v", diags)
	}
	_, diags = load(t, Options{Sources: map[string]int{"main": 1, "east": 2}}, strings.Replace(text, "esat", "east", 1))
	if len(diags.Errors()) != 1 || !strings.Contains(diags.Error(), `agree: 3 asks for more replicas than the source "east" has (2)`) {
		t.Errorf("\n%v", diags)
	}
	set := mustLoad(t, Options{Sources: map[string]int{"main": 1, "east": 3}}, strings.Replace(text, "esat", "east", 1))
	if slo := set.Services[0].SLOs[0]; slo.Source != "east" || slo.Agree != 3 {
		t.Errorf("%+v", slo)
	}
}

func TestWhatAFileSaysOfEvaluationHoldsForSLOsThatSayNothing(t *testing.T) {
	whole := strings.Replace(serviceText, "labels: {team: pay}", "labels: {team: pay}\nevaluate: recorded", 1)
	for _, c := range []struct {
		text string
		want bool
	}{{serviceText, false}, {whole, true}, {strings.Replace(whole, "    min_events: 100", "    evaluate: raw", 1), false},
		{strings.Replace(serviceText, "    min_events: 100", "    evaluate: recorded", 1), true}} {
		set := mustLoad(t, Options{}, c.text)
		if got := set.Services[0].SLOs[0].Recorded; got != c.want {
			t.Errorf("recorded: %v, want %v", got, c.want)
		}
	}
	if mustLoad(t, Options{}, serviceText).Digest == mustLoad(t, Options{}, whole).Digest {
		t.Error("how it is evaluated is not in the digest")
	}
}
