package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/promtest"
)

// BenchmarkRulesTest lets one outage of an SLO pass in twelve hours at a tick every fifteen seconds: as a test of a rule file, and as
// the test that promtool makes of the recording rules and alerts that stand for the same SLO. Both are processes of their own, one
// after the other.
func BenchmarkRulesTest(b *testing.B) {
	promtool := promtest.Promtool(b)
	dir := b.TempDir()
	modeshift := built(b, dir)
	const (
		good = `http_requests_total{job="checkout",code="200"}`
		bad  = `http_requests_total{job="checkout",code="500"}`
		// Ten minutes of twelve hours, from the hour on, nothing but errors.
		goodValues = "0+300x240 72000x40 72300+300x2600"
		badValues  = "0x240 300+300x39 12000x2600"
	)
	write(b, filepath.Join(dir, "rules.yaml"), `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {}}
`)
	write(b, filepath.Join(dir, "test.yaml"), fmt.Sprintf(`rule_files: [rules.yaml]
tests:
  - name: an outage
    input_series:
      - {series: '%s', values: %s}
      - {series: '%s', values: %s}
    expect:
      - {at: 59m, incidents: []}
      - {at: 1h5m, incidents: [page slo availability]}
      - {at: 12h, readings: {'burning("availability", "page")': false}}
`, good, goodValues, bad, badValues))
	var records strings.Builder
	for _, w := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d"} {
		fmt.Fprintf(&records, "      - {record: ratio_%[1]s, expr: 'sum(rate(http_requests_total{job=\"checkout\",code=~\"5..\"}[%[1]s])) / sum(rate(http_requests_total{job=\"checkout\"}[%[1]s]))'}\n", w)
	}
	write(b, filepath.Join(dir, "prom.yaml"), "groups:\n  - name: slo\n    rules:\n"+records.String()+`      - {alert: Page, expr: '(ratio_5m > 0.0144 and ratio_1h > 0.0144) or (ratio_30m > 0.006 and ratio_6h > 0.006)'}
      - {alert: Ticket, expr: '(ratio_2h > 0.003 and ratio_1d > 0.003) or (ratio_6h > 0.001 and ratio_3d > 0.001)'}
`)
	write(b, filepath.Join(dir, "promtest.yaml"), fmt.Sprintf(`rule_files: [prom.yaml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {series: '%s', values: %s}
      - {series: '%s', values: %s}
    alert_rule_test:
      - {eval_time: 59m, alertname: Page}
      - {eval_time: 1h5m, alertname: Page, exp_alerts: [{}]}
      - {eval_time: 12h, alertname: Page}
`, good, goodValues, bad, badValues))
	ours := least(b, exec.Command(modeshift, "rules", "test", filepath.Join(dir, "test.yaml")))
	theirs := least(b, exec.Command(promtool, "test", "rules", filepath.Join(dir, "promtest.yaml")))
	fmt.Printf("BENCH rules_test_12h_s %.3f s\nBENCH promtool_test_12h_s %.3f s\nBENCH rules_test_vs_promtool %.1f times\n", ours.Seconds(), theirs.Seconds(), float64(theirs)/float64(ours))
}

// BenchmarkRulesTestScenarios runs a hundred scenarios, ten of each kind, over three days each at a tick every fifteen seconds, as
// `rules test` runs them: one file, as many at a time as there are processors. On a machine that does other things too the processor
// time says more: spread over two cores it is to be no more than forty seconds.
func BenchmarkRulesTestScenarios(b *testing.B) {
	dir := b.TempDir()
	modeshift := built(b, dir)
	write(b, filepath.Join(dir, "rules.yaml"), `version: modeshift/v1
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
  - {name: normal}
  - {name: degraded, max_duration: 4h}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && sli("queue") < 10.0', for: 2m}
`)
	kinds := []string{"total-outage", "partial-outage", "slow-burn", "spike-train", "counter-reset", "scrape-gap", "first-error", "restart", "prometheus-away", "no-traffic"}
	var text strings.Builder
	text.WriteString("rule_files: [rules.yaml]\ntests:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - name: scenario %d\n    scenarios: [{name: %s, slo: availability, at: %dm}]\n", i, kinds[i%len(kinds)], 60+7*i)
		text.WriteString("    input_series: [{series: queue_length, values: 3x17290}]\n    expect: [{at: 3d, mode: normal}, {at: 59m, mode: normal, incidents: []}]\n")
	}
	write(b, filepath.Join(dir, "test.yaml"), text.String())
	cmd := exec.Command(modeshift, "rules", "test", filepath.Join(dir, "test.yaml"))
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	used := cmd.ProcessState
	fmt.Printf("BENCH rules_test_100_scenarios_s %.2f s\nBENCH rules_test_100_scenarios_cpu_s %.2f s\n", time.Since(began).Seconds(), (used.UserTime() + used.SystemTime()).Seconds())
}

// built builds the command line in dir.
func built(b *testing.B, dir string) string {
	b.Helper()
	modeshift := filepath.Join(dir, "modeshift")
	if out, err := exec.Command("go", "build", "-o", modeshift, "../../cmd/modeshift").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return modeshift
}

// least is the processor time a command takes, the lesser of two runs: the machine may be busy with other things.
func least(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	best := time.Duration(0)
	for range 2 {
		again := exec.Command(cmd.Path, cmd.Args[1:]...)
		if out, err := again.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
		if took := again.ProcessState.UserTime() + again.ProcessState.SystemTime(); best == 0 || took < best {
			best = took
		}
	}
	return best
}

func write(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}
