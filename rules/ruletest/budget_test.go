package ruletest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/rules/ruletest"
)

// thrifty moves by what is left of a budget, and by nothing else.
var thrifty = shop[:strings.Index(shop, "modes:\n")] + `modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: spare, from: [normal], to: degraded, when: 'budget_remaining("availability") < 0.5'}
  - {name: recover, from: [degraded], to: normal, when: 'budget_remaining("availability") > 0.9'}
`

// near is a reading that a budget has a value, up to rounding: scenarios draw rates in whole parts of 2^-28 a second.
func near(left float64) string {
	return fmt.Sprintf(`'budget_remaining("availability") > %.12f && budget_remaining("availability") < %.12f': true`, left-1e-6, left+1e-6)
}

// runBudget runs tests of rules and says what went wrong.
func runBudget(t *testing.T, ruleText, testText string) {
	t.Helper()
	f, err := parse(t, ruleText, "rule_files: [rules.yaml]\n"+testText)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ruletest.RunAll(t.Context(), []*ruletest.File{f}, nil, nil) {
		if !r.Passed {
			t.Errorf("%s: %s\n%+v\n%+v", r.Name, r.Error, r.Failures, r.Timeline)
		}
	}
}

// A budget over P of which a share of 1 − objective may fail: with even traffic and n buckets of five minutes in which the share e
// failed it is 1 − e·n·5m ÷ (P × (1 − objective)). The month before is quiet, and a bucket is known 65 s after its end.
func TestABudgetIsWhatTheClosedFormSaysAsOfEachTick(t *testing.T) {
	left := func(share float64, buckets int) string {
		return near(1 - share*float64(buckets)*300/(30*24*3600*0.001))
	}
	runBudget(t, thrifty, `
tests:
  - name: a total outage spends a ninth in five minutes
    scenarios: [{name: total-outage, slo: availability, at: 1h, for: 30m}]
`+queue+`
    expect:
      - {at: 1h6m, mode: normal, readings: {`+left(1, 0)+`}} # 5 s before anybody can know
      - {at: 1h6m5s, readings: {`+left(1, 1)+`}}
      - {at: 1h11m, readings: {`+left(1, 1)+`}}
      - {at: 1h11m5s, readings: {`+left(1, 2)+`}}
      - {never: [0s, 1h26m], mode: degraded}
      - {between: [1h26m, 1h26m15s], mode: degraded} # 57.9 % are spent with the fifth bucket
      - {at: 3h, readings: {`+left(1, 6)+`}}
  - name: 15 % for ten minutes
    scenarios: [{name: partial-outage, slo: availability, at: 1h}]
`+queue+`
    expect:
      - {at: 3h, mode: normal, readings: {`+left(0.15, 2)+`}}
  - name: what was spent before
    scenarios: [{name: quiet, slo: availability, at: 1h, background: 0.0004}]
`+queue+`
    expect:
      - {at: 0s, readings: {`+near(0.6)+`}}
      - {at: 30h, mode: normal, readings: {`+near(0.6)+`}}
`)
}

func TestABudgetIsUnknownBelowHalfOfItsPeriod(t *testing.T) {
	day := strings.Replace(shop, "    objective: 99.9\n", "    objective: 99\n    period: 1d\n    windows: [{severity: page, long: 1h, short: 5m, factor: 10}]\n", 1)
	day = strings.Replace(day, "ticket_alert: {}", "ticket_alert: {disable: true}", 1)
	runBudget(t, day, `
tests:
  - name: series that begin with the test
    input_series:
      - {series: 'http_requests_total{job="checkout",code="200"}', values: 0+1498.5x4000}
      - {series: 'http_requests_total{job="checkout",code="500"}', values: 0+1.5x4000}
      - {series: queue_length, values: 3x4000}
    expect:
      - {at: 12h1m, readings: {'budget_remaining("availability") > 0.0': unknown}}
      - {at: 12h1m5s, readings: {`+near(0.9)+`}} # the bucket that ends at 12h
  - name: a scenario with too short a time before it
    scenarios: [{name: quiet, slo: availability, at: 0s, before: 11h}]
`+queue+`
    expect:
      - {at: 1h1m, readings: {'budget_remaining("availability") > 0.0': unknown}}
      - {at: 1h1m5s, readings: {'budget_remaining("availability") == 1.0': true}}
`)
}

func TestABudgetIsNotKnownSoonerThanAServerCouldAsk(t *testing.T) {
	runBudget(t, thrifty, `
tests:
  - name: Prometheus is away when it burns
    scenarios:
      - {name: total-outage, slo: availability, at: 1h, for: 10m}
      - {name: prometheus-away, slo: availability, at: 1h2m, for: 28m}
`+queue+`
    expect:
      - {during: [1h, 1h30m], readings: {'budget_remaining("availability") == 1.0': true}}
      - {at: 1h37m, readings: {'budget_remaining("availability") < 0.8': true}} # asked again with the next bucket at the latest
`)
}

func TestWhatAModePausesIsNotInABudget(t *testing.T) {
	paused := strings.Replace(shop, "  - {name: failover, beside: true, flags: {search: true}}\n", `  - {name: failover, beside: true}
  - {name: read-only, slos: {availability: {pause: true}}}
`, 1)
	paused = strings.Replace(paused, "slis:\n", "schedules:\n  - {name: migration, cron: '0 1 * * *', duration: 1h}\nslis:\n", 1)
	paused += `  - {name: migrate, from: [normal], to: read-only, when: schedule("migration"), until: '!schedule("migration")'}
`
	runBudget(t, paused, `
tests:
  - name: an outage in a migration
    scenarios: [{name: total-outage, slo: availability, at: 1h10m, for: 30m}]
`+queue+`
    expect:
      - {at: 1h50m, mode: read-only}
      - {at: 3h, mode: normal, readings: {'budget_remaining("availability") == 1.0': true}}
`)
}

// A mutant is shown what the rules themselves are shown, and keeps its own ledger of it.
func TestMutantsHaveBudgetsToo(t *testing.T) {
	f, err := parse(t, thrifty, `rule_files: [rules.yaml]
tests:
  - name: an outage
    scenarios: [{name: total-outage, slo: availability, at: 10m}]
`+queue+`
    expect:
      - {at: 36m, mode: normal}
      - {at: 36m15s, mode: degraded}
      - {at: 45m, mode: degraded}
`)
	if err != nil {
		t.Fatal(err)
	}
	files := []*ruletest.File{f}
	results := ruletest.RunAll(t.Context(), files, nil, nil)
	if !results[0].Passed {
		t.Fatalf("%+v", results[0])
	}
	m, err := ruletest.Mutate(t.Context(), files, results, ruletest.MutateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.Survived {
		if strings.Contains(s.Where, "spare") {
			t.Errorf("not noticed: %s", s)
		}
	}
	if m.Tried == 0 || m.Noticed == m.Tried {
		t.Errorf("%+v: the windows of alerts play no part in this test", m)
	}
}
