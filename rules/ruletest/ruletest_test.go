package ruletest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/ruletest"
)

const shop = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {}}
slis:
  - {name: queue, query: queue_length}
modes:
  - {name: normal, flags: {recommendations: true}}
  - {name: degraded, flags: {recommendations: false}}
  - {name: failover, beside: true, flags: {search: true}}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && sli("queue") < 10.0', for: 2m}
  - name: fail-over
    from: [degraded]
    to: failover
    when: 'burn_rate("availability", "5m") > 14.4 && dwell() > duration("2m")'
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 1}], within: 15m}
    actions:
      - name: repoint
        targets: {query: 'bad_instances > 0', label: instance, max: 2}
        webhook: {url: "https://dns.example.com/repoint", json: {to: "{{.targets}}"}}
        destructive: true
        attempts: 2
        undo: {webhook: {url: "https://dns.example.com/repoint", json: {to: eu-1}}}
`

// outage is ten minutes of all requests failing, from 10m on.
const outage = `
    input_series:
      - {series: 'http_requests_total{job="checkout",code="200"}', values: 0+1500x40 60000x40 61500+1500x400}
      - {series: 'http_requests_total{job="checkout",code="500"}', values: 0x40 1500+1500x39 60000x400}
      - {series: queue_length, values: 3x500}
`

// parse reads a test file that stands beside rules.
func parse(t *testing.T, ruleText, testText string) (*ruletest.File, error) {
	t.Helper()
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(ruleText), 0o600); err != nil {
		t.Fatal(err)
	}
	return ruletest.Parse(rules.File{Name: filepath.Join(dir, "test.yaml"), Data: []byte(testText)}, ruletest.Options{Kinds: kinds})
}

// run runs the tests of a file.
func run(t *testing.T, testText string) []ruletest.Result {
	t.Helper()
	f, err := parse(t, shop, "rule_files: [rules.yaml]\n"+testText)
	if err != nil {
		t.Fatal(err)
	}
	return ruletest.RunAll(t.Context(), []*ruletest.File{f}, nil, nil)
}

func passes(t *testing.T, testText string) {
	t.Helper()
	for _, r := range run(t, testText) {
		if !r.Passed {
			t.Errorf("%s: %s\n%+v\n%+v", r.Name, r.Error, r.Failures, r.Timeline)
		}
	}
}

// fails runs one test and returns what it says: a line for each failure, what, want and got.
func fails(t *testing.T, testText string) ruletest.Result {
	t.Helper()
	r := run(t, testText)[0]
	if r.Passed {
		t.Fatalf("it passed: %s", testText)
	}
	return r
}

func TestAnOutageIsFollowedThroughToTheEnd(t *testing.T) {
	passes(t, `
tests:
  - name: shed, wait, recover
`+outage+`
    expect:
      - {at: 10m, mode: normal, incidents: [], notices: {page: 0}, flags: {recommendations: true}}
      - {between: [10m, 11m], mode: degraded, incidents: [page slo availability], flags: {recommendations: false}}
      - {during: [11m, 20m], mode: degraded, readings: {'burn_rate("availability", "5m") > 14.4': true}}
      - {at: 13m, proposals: [fail-over], notices: {page: 1, ask: 1}}
      - {at: 20m, readings: {'sli("queue") < 10.0': true, 'mode("checkout") == "degraded"': true, 'dwell() > duration("15m")': false}}
      - {never: [0s, 90m], mode: failover}
      - {at: 90m, mode: normal, proposals: [], reason: condition, notices: {page: 1}}
`)
}

func TestPeopleAnswerAndTheirActionsComeToWhatTheTestSays(t *testing.T) {
	passes(t, `
tests:
  - name: two say yes, and the step fails once
`+outage+`
    steps:
      - {at: 13m, approve: fail-over, by: ann, role: oncall}
      - {at: 13m, approve: fail-over, by: ann, role: lead, refused: same person}
      - {at: 14m, approve: fail-over, by: bob}
      - {action: repoint, fails: 1, takes: 10s}
      - {targets: repoint, found: [b, a]}
    expect:
      - {at: 14m, mode: degraded}
      - {at: 14m10s, mode: degraded}
      - {at: 14m20s, mode: failover, proposals: []}
  - name: it fails for good and is undone
`+outage+`
    steps:
      - {at: 13m, approve: fail-over, by: ann, role: oncall}
      - {at: 14m, approve: fail-over, by: bob}
      - {action: repoint, fails: 2}
      - {targets: repoint, found: [a]}
    expect:
      - {at: 14m, mode: degraded, incidents: [page slo availability, page change fail-over]}
  - name: more targets than people said yes to
`+outage+`
    steps:
      - {at: 13m, approve: fail-over, by: ann, role: oncall}
      - {at: 14m, approve: fail-over, by: bob}
      - {targets: repoint, found: [a, b, c]}
    expect:
      - {at: 15m, proposals: [fail-over]}
  - name: somebody says no
`+outage+`
    steps:
      - {at: 13m, reject: fail-over, by: ann, role: oncall}
    expect:
      - {at: 14m, mode: degraded, proposals: []}
`)
}

func TestAModeIsSetByHandAndAutomationKeepsOff(t *testing.T) {
	passes(t, `
tests:
  - name: set, pinned, unpinned
`+outage+`
    steps:
      - {at: 5m, set: degraded, by: ann, for: 2h, directive_only: true, refused: declared}
      - {at: 5m, set: degraded, by: ann, for: 2h}
      - {at: 70m, unpin: checkout, by: ann}
    expect:
      - {at: 5m, mode: degraded, reason: a test}
      - {at: 60m, mode: degraded, withheld: {recover: pinned}}
      - {at: 71m, mode: normal}
  - name: frozen
`+outage+`
    steps:
      - {at: 5m, freeze: fleet, for: 20m}
    expect:
      - {at: 12m, mode: normal, incidents: [page slo availability], withheld: {shed: frozen}}
      - {at: 26m, mode: degraded}
`)
}

func TestAFailedExpectationSaysWhatWasSoAndWhy(t *testing.T) {
	r := fails(t, `
tests:
  - name: too early
`+outage+`
    expect:
      - {at: 10m, mode: degraded}
`)
	if len(r.Failures) != 1 {
		t.Fatalf("%+v", r.Failures)
	}
	f := r.Failures[0]
	if f.What != "mode of checkout" || f.Want != "degraded" || f.Got != "normal" || !strings.HasSuffix(f.Position, "test.yaml:12:9") {
		t.Errorf("%+v", f)
	}
	why := strings.Join(f.Why, "\n")
	for _, want := range []string{"shed.when is false", `burn_rate("availability", "5m") > 14.4 is false (error_ratio("availability", "5m") is 0)`, "was not needed"} {
		if !strings.Contains(why, want) {
			t.Errorf("%q is missing in\n%s", want, why)
		}
	}
	if !slices.ContainsFunc(r.Timeline, func(m ruletest.Moment) bool { return m.Bad && m.When == "10m" }) {
		t.Errorf("the timeline does not point at the failure: %+v", r.Timeline)
	}
}

func TestEachFormOfTimeFailsAtItsBoundary(t *testing.T) {
	// The tick at 10m30s is the first at which it burns.
	for _, c := range []struct{ expect, want string }{
		{"{between: [10m, 10m29s], mode: degraded}", "since 10m, degraded"},
		{"{between: [11m, 12m], mode: degraded}", "not before 11m"},
		{"{between: [10m30s, 10m31s], mode: degraded}", ""},
		{"{between: [10m31s, 12m], mode: degraded}", "not before 10m31s"},
		{"{during: [10m29s, 12m], mode: degraded}", "degraded"},
		{"{during: [10m30s, 12m], mode: degraded}", ""},
		{"{never: [0s, 10m30s], mode: degraded}", "never from 0s to 10m30s"},
		{"{never: [0s, 10m29s], mode: degraded}", ""},
	} {
		r := run(t, "tests:\n  - name: x\n"+outage+"    expect: ["+c.expect+"]\n")[0]
		if r.Passed != (c.want == "") || !r.Passed && r.Failures[0].Want != c.want {
			t.Errorf("%s: passed %v, %+v", c.expect, r.Passed, r.Failures)
		}
	}
}

func TestEachThingThatIsExpectedCanFail(t *testing.T) {
	for _, c := range []struct{ expect, got string }{
		{"mode: failover", "degraded"},
		{"incidents: []", "page slo availability"},
		{"incidents: [page slo availability, page transition shed]", "page slo availability"},
		{"proposals: []", "fail-over"},
		{"withheld: {recover: pinned}", "none"},
		{"reason: request", `condition (burning("availability", "page") is true)`},
		{"flags: {recommendations: true}", "false"},
		{"flags: {search: true}", "nothing is told"},
		{`flags: {recommendations: "false"}`, "false"},
		{"notices: {page: 2}", "1"},
		{`readings: ['sli("queue") > 10.0']`, "false"},
		{`readings: {'sli("queue") > 10.0': unknown}`, "false"},
	} {
		r := fails(t, "tests:\n  - name: x\n"+outage+"    expect: [{at: 15m, "+c.expect+"}]\n")
		if len(r.Failures) != 1 || r.Failures[0].Got != c.got {
			t.Errorf("%s: %+v, want got to be %q", c.expect, r.Failures, c.got)
		}
	}
}

func TestAStepThatGoesOtherwiseFailsTheTest(t *testing.T) {
	for _, c := range []struct{ step, got string }{
		{"{at: 5m, approve: fail-over}", "fail-over does not wait for anybody's yes"},
		{"{at: 13m, approve: fail-over, role: cook}", "was refused (role): "},
		{"{at: 13m, approve: fail-over, refused: true}", "was not refused"},
		{"{at: 13m, approve: fail-over, role: cook, refused: own request}", "was refused for another reason (role): "},
		{"{at: 13m, undo: recover}", "recover has not been carried out"},
		{"{at: 13m, cancel: shed}", "no change of shed is under way"},
		{"{at: 13m, set: failover, directive_only: true}", "was refused (declared): "},
	} {
		r := fails(t, "tests:\n  - name: x\n"+outage+"    steps: ["+c.step+"]\n    expect: [{at: 20m, mode: degraded}]\n")
		if len(r.Failures) == 0 || !strings.HasPrefix(r.Failures[0].Got, c.got) {
			t.Errorf("%s: %+v, want %q", c.step, r.Failures, c.got)
		}
	}
}

func TestWhatIsWrongWithATestFileIsSaidWithItsPlace(t *testing.T) {
	test := func(rest string) string { return "rule_files: [rules.yaml]\ntests:\n  - name: x\n" + rest }
	for _, c := range []struct{ text, at, says string }{
		{"", "", "the file is empty"},
		{"rule_files: [rules.yaml]\n", ":1:1", `a test file needs "tests"`},
		{"rule_files: [nowhere.yaml]\ntests: []\n", ":1:14", "no such file or directory"},
		{"rule_file: [rules.yaml]\ntests: []\n", ":1:1", `did you mean "rule_files"?`},
		{"rule_files: [rules.yaml]\ntests: []\n", ":2:8", "there are no tests"},
		{test("    expect: []\n"), ":4:13", "a test that expects nothing cannot fail"},
		{test("    expect: [{mode: normal}]\n"), ":4:14", "does not say when"},
		{test("    expect: [{at: 5m}]\n"), ":4:14", "does not say what"},
		{test("    expect: [{at: 5m, mode: degrade}]\n"), ":4:29", `did you mean "degraded"?`},
		{test("    expect: [{at: 5m, moed: degraded}]\n"), ":4:23", `did you mean "mode"?`},
		{test("    expect: [{at: soon, mode: normal}]\n"), ":4:19", "is not a duration"},
		{test("    expect: [{between: [7m, 5m], mode: normal}]\n"), ":4:24", "to an earlier time"},
		{test("    expect: [{during: 7m, mode: normal}]\n"), ":4:23", "during must be two times"},
		{test("    expect: [{at: 500d, mode: normal}]\n"), ":3:5", "may last at most 90d"},
		{test("    expect: [{at: 5m, incidents: [availability]}]\n"), ":4:35", "does not name an incident"},
		{test("    expect: [{never: [0s, 5m], incidents: [page slo availabilitz]}]\n"), ":4:44", `did you mean "availability"?`},
		{test("    expect: [{never: [0s, 5m], incidents: [page transition shet]}]\n"), ":4:44", `did you mean "shed"?`},
		{test("    expect: [{never: [0s, 5m], incidents: [page too long degrade]}]\n"), ":4:44", `did you mean "degraded"?`},
		{test("    expect: [{never: [0s, 5m], incidents: [ticket flapping shop]}]\n"), ":4:44", "can have no incident of kind flapping about"},
		{test("    expect: [{at: 5m, proposals: [failover]}]\n"), ":4:35", `did you mean "fail-over"?`},
		{test("    expect: [{at: 5m, withheld: {recovr: pinned}}]\n"), ":4:34", `did you mean "recover"?`},
		{test("    expect: [{at: 5m, readings: ['sli(\"queu\") < 1.0']}]\n"), ":4:40", `there is no SLI "queu"`},
		{test("    expect: [{at: 5m, readings: ['mode(\"shop\") == \"x\"']}]\n"), ":4:41", `no rule file declares a service "shop"`},
		{test("    expect: [{at: 5m, readings: {'sli(\"queue\") < 1.0': maybe}}]\n"), ":4:56", "a reading cannot be"},
		{test("    steps: [{at: 5m}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:13", "does not say what is done"},
		{test("    steps: [{at: 5m, aprove: fail-over}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:13", `did you mean "approve"?`},
		{test("    expect: [{at: 5m, flags: {recomendations: false}}]\n"), ":4:31", `did you mean "recommendations"?`},
		{"rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests: [{input_series: [], alert_rule_test: []}]\n", ":2:1", "evaluation_interval is `evaluation: {interval: 1m}` here; alert_rule_test is `expect: ["},
		{"rule_files: [rules.yaml]\ntests: [{promql_expr_test: []}]\n", ":2:10", "this is a file for promtool test rules, which tests Prometheus's own rules"},
		{shop, ":1:1", "this is a rule file, and no file of tests"},
		{"groups: []\n", ":1:1", "this is a file of Prometheus's rules, and no file of tests"},
		{test("    steps: [{at: 5m, approve: failover}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:31", `there is no transition "failover"`},
		{test("    steps: [{at: 5m, set: failsover}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:27", `there is no mode "failsover"`},
		{test("    steps: [{action: repont, fails: 1}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:22", `did you mean "repoint"?`},
		{test("    input_series: [{series: 'a{', values: 1}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:29", "is no series such as"},
		{test("    input_series: [{series: a, values: 1y3}]\n    expect: [{at: 5m, mode: normal}]\n"), ":4:40", "are no values such as"},
		{test("    expect: [{at: 5m, mode: normal}]\n  - name: x\n    expect: [{at: 5m, mode: normal}]\n"), ":5:5", "two tests called"},
	} {
		_, err := parse(t, shop, c.text)
		var faults rules.Diagnostics
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v, want diagnostics", c.text, err)
			continue
		}
		if !slices.ContainsFunc(faults, func(d rules.Diagnostic) bool {
			return strings.HasSuffix(d.Position(), "test.yaml"+c.at) && strings.Contains(d.Error(), c.says)
		}) {
			t.Errorf("%q gives\n%v\nwant %s at %s", c.text, err, c.says, c.at)
		}
	}
}

func TestAnIncidentOfATierThatIsNotAlertedIsRefused(t *testing.T) {
	quiet := strings.Replace(shop, "ticket_alert: {}", "ticket_alert: {disable: true}", 1)
	text := "rule_files: [rules.yaml]\ntests: [{name: x, expect: [{never: [0s, 5m], incidents: [ticket slo availability]}]}]\n"
	if _, err := parse(t, quiet, text); err == nil || !strings.Contains(err.Error(), "the SLO availability of checkout has no alert of severity ticket") {
		t.Errorf("%v", err)
	}
	if _, err := parse(t, shop, text); err != nil {
		t.Error(err)
	}
}

func TestRuleFilesThatDoNotLoadAreTheFault(t *testing.T) {
	_, err := parse(t, strings.Replace(shop, "to: degraded", "to: degrade", 1), "rule_files: [rules.yaml]\ntests: [{name: x, expect: [{at: 5m, mode: normal}]}]\n")
	if err == nil || !strings.Contains(err.Error(), "rules.yaml") || !strings.Contains(err.Error(), `did you mean "degraded"?`) {
		t.Errorf("%v", err)
	}
}

func TestResultsAreInTheOrderOfTheFileHoweverTheyEnd(t *testing.T) {
	text := "tests:\n"
	for _, name := range []string{"c", "a", "b", "d", "e"} {
		text += "  - {name: " + name + ", expect: [{at: 5m, mode: normal}]}\n"
	}
	var names, told []string
	f, err := parse(t, shop, "rule_files: [rules.yaml]\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ruletest.RunAll(t.Context(), []*ruletest.File{f}, nil, func(r ruletest.Result) { told = append(told, r.Name) }) {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, ""); got != "cabde" || len(told) != 5 {
		t.Errorf("%s, and %v were told", got, told)
	}
}

func TestJUnitNamesTheFileTheTestAndWhatFailed(t *testing.T) {
	r := fails(t, "tests:\n  - name: x\n"+outage+"    expect: [{at: 15m, mode: failover}]\n")
	var b bytes.Buffer
	if err := ruletest.WriteJUnit(&b, []ruletest.Result{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`tests="1" failures="1"`, `<testcase name="x"`, `at 15m, mode of checkout: expected failover, got degraded`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestCoverageNamesWhatNoTestReachedWithItsPlace(t *testing.T) {
	f, err := parse(t, shop, "rule_files: [rules.yaml]\ntests:\n  - name: shed and recover\n"+outage+"    expect: [{at: 90m, mode: normal}]\n")
	if err != nil {
		t.Fatal(err)
	}
	cov := ruletest.NewCoverage([]*ruletest.File{f})
	for _, r := range ruletest.RunAll(t.Context(), []*ruletest.File{f}, cov, nil) {
		if !r.Passed {
			t.Errorf("%+v", r)
		}
	}
	counts, gaps := cov.Report()
	var lines []string
	for _, g := range gaps {
		lines = append(lines, g.Position[strings.Index(g.Position, "rules.yaml"):]+" "+g.Kind+" "+g.What)
	}
	want := []string{
		`rules.yaml:19:57 branch recover.when: sli("queue") < 10.0 was never false`,
		`rules.yaml:20:5 transition fail-over was proposed, and never carried out`,
	}
	for _, w := range want {
		if !slices.Contains(lines, w) {
			t.Errorf("%q is missing in\n%s", w, strings.Join(lines, "\n"))
		}
	}
	for _, l := range lines {
		if strings.Contains(l, "transition shed") || strings.Contains(l, "transition recover") || strings.Contains(l, "14.4 && ") {
			t.Errorf("%q was reached", l)
		}
	}
	if counts[0] != (ruletest.Covered{Kind: "transition", Reached: 2, Of: 3}) {
		t.Errorf("%+v", counts)
	}
}

// Two test files may test two sets of rules in which a service has the same name: what is reached of one is not reached of the other.
func TestCoverageTellsServicesOfOneNameApart(t *testing.T) {
	reached, err := parse(t, shop, "rule_files: [rules.yaml]\ntests:\n  - name: shed and recover\n"+outage+"    expect: [{at: 90m, mode: normal}]\n")
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := parse(t, shop, "rule_files: [rules.yaml]\ntests:\n  - {name: nothing happens, expect: [{at: 5m, mode: normal}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	gaps := func(files ...*ruletest.File) (counts []ruletest.Covered, n int) {
		cov := ruletest.NewCoverage(files)
		ruletest.RunAll(t.Context(), files, cov, nil)
		counts, list := cov.Report()
		return counts, len(list)
	}
	some, few := gaps(reached)
	none, many := gaps(quiet)
	both, all := gaps(reached, quiet)
	if all != few+many || few == many {
		t.Errorf("%d gaps of both, and of each alone %d and %d", all, few, many)
	}
	for i := range both {
		if both[i].Of != some[i].Of+none[i].Of || both[i].Reached != some[i].Reached+none[i].Reached {
			t.Errorf("%+v of both, and of each alone %+v and %+v", both[i], some[i], none[i])
		}
	}
}

const queue = `
    input_series: [{series: queue_length, values: 3x20000}]
`

func TestAScenarioIsNamedInPlaceOfSamples(t *testing.T) {
	passes(t, `
tests:
  - name: a total outage
    scenarios: [{name: total-outage, slo: availability, at: 5m, for: 10m}]
`+queue+`
    expect:
      - {at: 5m, mode: normal, incidents: []}
      - {between: [5m30s, 6m15s], mode: degraded, incidents: [page slo availability]} # 51.8 s by the closed form
      - {at: 90m, mode: normal}
  - name: 15 % for ten minutes
    scenarios: [{name: partial-outage, slo: checkout/availability, at: 5m}]
`+queue+`
    expect:
      - {between: [10m30s, 11m15s], mode: degraded} # 5 m 46 s by the closed form
  - name: Prometheus away changes no mode, and pages
    scenarios: [{name: prometheus-away, slo: availability, at: 5m, for: 20m}]
`+queue+`
    expect:
      - {never: [0s, 40m], mode: degraded}
      - {at: 9m, incidents: []}
      - {at: 20m, readings: {'burning("availability", "page")': unknown}}
      - {at: 40m, incidents: []}
  - name: it is back when it is back, and not with the next tick
    scenarios: [{name: prometheus-away, slo: availability, at: 5m1s, for: 10m5s}]
`+queue+`
    expect:
      - {at: 5m, readings: {'burning("availability", "page")': false}}
      - {at: 5m1s, readings: {'burning("availability", "page")': unknown}}
      - {at: 15m5s, readings: {'burning("availability", "page")': unknown}}
      - {at: 15m6s, readings: {'burning("availability", "page")': false}}
  - name: no traffic is no blindness
    scenarios: [{name: no-traffic, slo: availability, at: 5m}]
`+queue+`
    expect:
      - {during: [0s, 60m], mode: normal, incidents: []}
`)
}

// The ticket tier fires at twice the budget before the burn and after it, and with few requests nothing fires.
func TestArithmeticSaysNothingOfATierThatFiresAnywayOrCannotBeSeen(t *testing.T) {
	passes(t, `
tests:
  - name: twice the budget at all other times
    scenarios: [{name: total-outage, slo: availability, at: 10m, background: 0.002}]
`+queue+`
    expect: [{at: 90m, mode: normal, incidents: [ticket slo availability]}]
`)
	f, err := parse(t, strings.Replace(shop, "    alerting:", "    min_events: 100000\n    alerting:", 1), `rule_files: [rules.yaml]
tests:
  - name: too few requests in five minutes
    scenarios: [{name: total-outage, slo: availability, at: 10m}]
`+queue+`
    expect: [{during: [0s, 45m], mode: normal}]
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ruletest.RunAll(t.Context(), []*ruletest.File{f}, nil, nil) {
		if !r.Passed {
			t.Errorf("%s: %+v", r.Name, r.Failures)
		}
	}
}

func TestAScenarioThatCannotBeIsSaidWithItsPlace(t *testing.T) {
	for _, c := range []struct{ scene, at, says string }{
		{"{name: total-outrage, slo: availability}", ":4:24", `did you mean "total-outage"?`},
		{"{name: total-outage, slo: availabiliti}", ":4:43", `did you mean`},
		{"{name: total-outage, slo: search/availability}", ":4:43", `there is no SLO "search/availability"`},
		{"{name: total-outage}", ":4:17", `a scenario needs "slo"`},
		{"{name: partial-outage, slo: availability, share: 1.5}", ":4:17", "a share is between 0 and 1"},
		{"{name: partial-outage, slo: availability, shares: 0.5}", ":4:59", `did you mean "share"?`},
	} {
		_, err := parse(t, shop, "rule_files: [rules.yaml]\ntests:\n  - name: x\n    scenarios: ["+c.scene+"]\n    expect: [{at: 5m, mode: normal}]\n")
		var faults rules.Diagnostics
		if !errors.As(err, &faults) || !strings.HasSuffix(faults[0].Position(), c.at) || !strings.Contains(faults[0].Error(), c.says) {
			t.Errorf("%s gives\n%v\nwant %s at %s", c.scene, err, c.says, c.at)
		}
	}
}

func TestInAScenarioTheOtherSLOsAreQuietAndNotOutOfSight(t *testing.T) {
	two := strings.Replace(shop, "slis:\n", `  - name: latency
    objective: 99
    sli:
      events:
        error_query: sum(rate(latency_count[{{.window}}])) - sum(rate(latency_bucket{le="0.5"}[{{.window}}]))
        total_query: sum(rate(latency_count[{{.window}}]))
    alerting: {name: CheckoutLatency, page_alert: {}, ticket_alert: {}}
slis:
`, 1)
	f, err := parse(t, two, `rule_files: [rules.yaml]
tests:
  - name: quiet
    scenarios: [{name: quiet, slo: availability}]
    expect:
      - {at: 20m, incidents: [], readings: {'error_ratio("latency", "5m") < 0.001': true}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Tests[0].Run(t.Context(), nil); !r.Passed {
		t.Errorf("%+v", r)
	}
}

// An availability and a latency of one histogram: the count of one is the count of the other, and each scenario is about one traffic.
func TestSLOsOfOneMetricSeeTheSameRequests(t *testing.T) {
	rule := `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(d_count{job="checkout",code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(d_count{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {}}
  - name: latency
    objective: 95
    sli:
      raw:
        error_ratio_query: 1 - sum(rate(d_bucket{job="checkout",le="0.3"}[{{.window}}])) / sum(rate(d_count{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutLatency, page_alert: {disable: true}, ticket_alert: {}}
`
	tests := `rule_files: [rules.yaml]
tests:
  - name: errors are not slow
    scenarios: [{name: total-outage, slo: availability, at: 30m, for: 30m}]
    expect:
      - {during: [0s, 30m], incidents: []}
      - {between: [30m45s, 31m45s], incidents: [page slo availability]} # 51.8 s by the closed form
      - {at: 45m, incidents: [page slo availability], readings: {'error_ratio("availability", "5m") == 1.0': true, 'error_ratio("latency", "5m") == 0.0': true}}
  - name: what is slow is no error
    scenarios: [{name: partial-outage, share: 0.5, slo: latency, at: 30m, for: 30m}]
    expect:
      - {at: 45m, incidents: [], readings: {'error_ratio("availability", "5m") == 0.0': true, 'error_ratio("latency", "5m") > 0.49 && error_ratio("latency", "5m") < 0.51': true}}
  - name: a slow burn with few requests
    scenarios: [{name: slow-burn, slo: availability, at: 30m, for: 6h, rate: 0.5}]
    expect:
      - {at: 5h, incidents: [], readings: {'error_ratio("availability", "5m") > 0.0019': true, 'error_ratio("latency", "5m") < 0.001': true}}
  - name: without requests neither is out of sight
    scenarios: [{name: no-traffic, slo: availability, at: 30m, for: 30m}]
    expect:
      - {during: [0s, 2h], incidents: []}
      - {at: 45m, readings: {'error_ratio("latency", "5m") > 0.5': unknown, 'error_ratio("availability", "5m") > 0.5': unknown}}
  - name: an instance that restarts is gone for both
    scenarios: [{name: restart, slo: latency, at: 30m}]
    expect: [{during: [0s, 2h], incidents: []}]
  - name: one after the other
    scenarios:
      - {name: partial-outage, share: 0.5, slo: latency, at: 30m, for: 30m}
      - {name: partial-outage, slo: availability, at: 2h}
      - {name: partial-outage, slo: availability, at: 4h}
    expect:
      - {at: 45m, incidents: []}
      - {between: [2h5m30s, 2h6m30s], incidents: [page slo availability]}
      - {at: 3h30m, incidents: []}
      - {between: [4h4m, 4h5m], incidents: [page slo availability]} # sooner: the six hours hold the first burn
      - {at: 4h8m, readings: {'error_ratio("availability", "5m") > 0.149 && error_ratio("availability", "5m") < 0.151': true}}
`
	for _, order := range []string{rule, turned(t, rule)} {
		f, err := parse(t, order, tests)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range ruletest.RunAll(t.Context(), []*ruletest.File{f}, nil, nil) {
			if !r.Passed {
				t.Errorf("%s: %s%+v", r.Name, r.Error, r.Failures)
			}
		}
	}
}

// turned is a rule file with two SLOs in the other order.
func turned(t *testing.T, file string) string {
	t.Helper()
	parts := strings.SplitAfter(file, "  - name: ")
	if len(parts) != 3 {
		t.Fatalf("%d SLOs", len(parts)-1)
	}
	first := strings.TrimSuffix(parts[1], "  - name: ")
	return parts[0] + parts[2] + "  - name: " + first
}

func TestAnSLOThatCannotBeDrawnSaysWhyItIsOutOfSight(t *testing.T) {
	native := strings.Replace(shop, "slis:\n", `  - name: latency
    objective: 99
    sli: {raw: {error_ratio_query: '1 - histogram_fraction(0, 0.5, sum(rate(latency_seconds[{{.window}}])))'}}
    alerting: {name: CheckoutLatency, page_alert: {}, ticket_alert: {}}
slis:
`, 1)
	for written, told := range map[string]bool{
		"": true,
		`    input_series: [{series: latency_seconds, values: '{{schema:0 sum:1 count:1 buckets:[1]}}+{{schema:0 sum:1 count:1 buckets:[1]}}x100'}]` + "\n": false,
	} {
		f, err := parse(t, native, "rule_files: [rules.yaml]\ntests:\n  - name: x\n"+written+`    scenarios: [{name: quiet, slo: availability}]
    expect: [{at: 20m, mode: degraded}]
`)
		if err != nil {
			t.Fatal(err)
		}
		r := f.Tests[0].Run(t.Context(), nil)
		if len(r.Timeline) == 0 {
			t.Fatalf("%+v", r)
		}
		if first := r.Timeline[0]; strings.HasPrefix(first.What, "no scenario can be drawn for the SLO latency: ") != told || first.When != "0s" {
			t.Errorf("%q: the timeline begins with %+v", written, first)
		}
	}
}

func TestScenariosOfOneSLOAgreeOnItsRequests(t *testing.T) {
	_, err := parse(t, shop, `rule_files: [rules.yaml]
tests:
  - name: x
    scenarios:
      - {name: quiet, slo: availability, rate: 10}
      - {name: total-outage, slo: availability, at: 5m, rate: 20}
    expect: [{at: 5m, mode: normal}]
`)
	if err == nil || !strings.Contains(err.Error(), ":6:9: a rate of 10 and of 20: scenarios of one SLO have one") {
		t.Error(err)
	}
}

func TestMutantsThatNoTestNoticesAreListedWithTheirPlace(t *testing.T) {
	f, err := parse(t, `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("availability", "5m") > 14.4', severity: page}
  - {name: recover, from: [degraded], to: normal, when: 'burn_rate("availability", "5m") < 1.0', for: 2m}
`, `rule_files: [rules.yaml]
tests:
  - name: shed
    scenarios: [{name: total-outage, slo: availability, at: 1m, for: 10m, before: 1h}]
    expect:
      - {between: [1m15s, 1m35s], mode: degraded, notices: {page: 1}}
`)
	if err != nil {
		t.Fatal(err)
	}
	files := []*ruletest.File{f}
	results := ruletest.RunAll(t.Context(), files, nil, nil)
	if !results[0].Passed {
		t.Fatalf("%+v", results[0])
	}
	told := 0
	m, err := ruletest.Mutate(t.Context(), files, results, ruletest.MutateOptions{Told: func(tried, _ int) { told = tried }})
	if err != nil {
		t.Fatal(err)
	}
	if m.Tried != m.Of || told != m.Of || m.Noticed+len(m.Survived) != m.Tried || m.Noticed == 0 {
		t.Errorf("%d of %d tried, %d told, %d noticed, %d survived", m.Tried, m.Of, told, m.Noticed, len(m.Survived))
	}
	var lines []string
	for _, s := range m.Survived {
		lines = append(lines, s.String()[strings.Index(s.String(), "rules.yaml"):])
	}
	all := strings.Join(lines, "\n")
	// Nothing is expected of the way back; of what is measured, and of the way there, something is.
	for _, want := range []string{"rules.yaml:14:103: transition recover: for: 2m → 4m"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is missing in\n%s", want, all)
		}
	}
	for _, noticed := range []string{"objective: ", "_query: ", "transition shed: when: >"} {
		if strings.Contains(all, noticed) {
			t.Errorf("%s was not noticed:\n%s", noticed, all)
		}
	}
	few, err := ruletest.Mutate(t.Context(), files, results, ruletest.MutateOptions{Most: 3})
	if err != nil || few.Tried != 3 || few.Of != m.Of {
		t.Errorf("%+v, %v", few, err)
	}
}

func TestMutantsWaitUntilEveryTestPasses(t *testing.T) {
	f, err := parse(t, shop, "rule_files: [rules.yaml]\ntests:\n  - {name: x, expect: [{at: 1m, mode: failover}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	files := []*ruletest.File{f}
	if _, err := ruletest.Mutate(t.Context(), files, ruletest.RunAll(t.Context(), files, nil, nil), ruletest.MutateOptions{}); err == nil {
		t.Error("mutants were tried by a test that fails without them")
	}
}
