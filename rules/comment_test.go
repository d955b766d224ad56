package rules

import (
	"strings"
	"testing"
	"time"
)

// commented is a rule file of which each query has comments.
const commented = `version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    alerting: {name: Shop}
    sli:
      events:
        error_query: |-
          # errors, as seen by the proxy (of [{{.window}}])
          sum(rate(e{path="/#top"}[{{.window}}])) # 5xx alone
        total_query: 'sum(rate(t[{{.window}}])) # all {{.window}} of them'
slis:
  - {name: load, query: 'max(load{pod=~"{{.instances}}"}) # of {{.instances}}'}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("load") > 0.5 && burning("availability", "page")'}
`

// What stands behind a query that ends in a comment would be part of the comment: a parenthesis, a division, a subquery's range.
func TestAQueryIsAskedWithoutItsComments(t *testing.T) {
	set, err := Load([]File{{Name: "shop.yaml", Data: []byte(commented)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := set.Service("shop")
	errors, total := s.SLO("availability").Queries(time.Hour)
	if strings.TrimSpace(errors) != `sum(rate(e{path="/#top"}[1h]))` || total != "sum(rate(t[1h]))" {
		t.Errorf("%q, %q", errors, total)
	}
	sli := &s.SLIs[0]
	if sli.Query != `max(load{pod=~".*"})` || sli.QueryOn([]string{"a"}) != `max(load{pod=~"a"})` {
		t.Errorf("%q, %q", sli.Query, sli.QueryOn([]string{"a"}))
	}
	for _, q := range []string{errors, total, sli.Query} {
		for _, wrapped := range []string{"(" + q + ") / (" + q + ")", "sum(" + q + ")", "avg_over_time((" + q + ")[1h:1m])"} {
			if _, err := promQL.ParseExpr(wrapped); err != nil {
				t.Errorf("%s: %v", wrapped, err)
			}
		}
	}
	plain := strings.NewReplacer("          # errors, as seen by the proxy (of [{{.window}}])\n", "", " # 5xx alone", "", " # all {{.window}} of them", "", " # of {{.instances}}", "").Replace(commented)
	without, err := Load([]File{{Name: "shop.yaml", Data: []byte(plain)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Digest != without.Service("shop").Digest {
		t.Error("comments make it other rules")
	}
}

// Each window would be asked for the same five minutes.
func TestAWindowInACommentIsNone(t *testing.T) {
	text := strings.Replace(commented, "sum(rate(t[{{.window}}])) # all", "sum(rate(t[5m])) # all", 1)
	_, err := Load([]File{{Name: "shop.yaml", Data: []byte(text)}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "contains {{.window}} in a comment alone") || !strings.Contains(err.Error(), "shop.yaml:12:") {
		t.Errorf("%v", err)
	}
}

func TestAFaultBehindACommentIsShownAtItsPlace(t *testing.T) {
	text := strings.Replace(commented, "sum(rate(e{path=\"/#top\"}[{{.window}}]))", "sum(rte(e{path=\"/#top\"}[{{.window}}]))", 1)
	_, err := Load([]File{{Name: "shop.yaml", Data: []byte(text)}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "shop.yaml:11:15: ") || !strings.Contains(err.Error(), `unknown function with name "rte"`) {
		t.Errorf("%v", err)
	}
}
