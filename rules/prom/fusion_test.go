package prom

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheReportSaysWhatIsAskedTogetherAndWhyTheRestIsNot(t *testing.T) {
	odd := `version: modeshift/v1
service: odd
slis:
  - {name: busy, query: 'topk(1, load{job="odd"})', unit: load}
  - {name: total, query: 'sum(everything)', unit: things}
  - {name: own, query: 'sum(own{job="odd"})', unit: things}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("busy") > 2.0 || sli("total") > 1.0 || sli("own") > 1.0'}
`
	var got []string
	for _, g := range Fusion(load(t, "odd.yaml", odd, "a.yaml", shopService("a"), "b.yaml", shopService("b"))) {
		if g.Label == "" || strings.Contains(g.Shape, "code=~") || strings.Contains(g.Shape, "ALERTS") || strings.Contains(g.Shape, "le") {
			got = append(got, fmt.Sprintf("%s %v %d %d %s %s", g.Label, g.Services, g.Queries, g.Requests, g.Shape, g.Why))
		}
	}
	want := []string{
		`job [a b] 14 7 sum by (job) (rate(requests_total{code=~"5..",job=~"…"}[{{.window}}])) `,
		`alertname [a b] 2 1 count by (alertname) (ALERTS{alertname=~"…",alertstate="firing"}) `,
		`job [a b] 2 1 histogram_quantile(0.9, sum by (le, job) (rate(seconds_bucket{job=~"…"}[5m]))) `,
		` [a b] 1 1 count(up) or count(ALERTS) no label has one and the same value in each of its selectors`,
		` [odd] 1 1 topk(1, load{job="odd"}) topk picks from all series there are`,
		` [odd] 1 1 sum(everything) no label has one and the same value in each of its selectors`,
		` [odd] 1 1 sum(own{job="odd"}) no other query differs from it in the value of one label only`,
	}
	seen := map[string]bool{}
	for _, g := range got {
		seen[g] = true
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("it does not say %s", w)
		}
	}
	if t.Failed() {
		t.Logf("it says\n%s", strings.Join(got, "\n"))
	}
}
