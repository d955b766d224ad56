package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/promtest"
)

// slosOf are the ten SLOs of a service, as Sloth and modeshift both write them.
func slosOf(service string) string {
	var b strings.Builder
	b.WriteString("slos:\n")
	for i := range 10 {
		fmt.Fprintf(&b, `  - name: slo-%[2]d
    objective: 99.9
    description: Requests of route %[2]d that were answered well
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="%[1]s",route="r%[2]d",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="%[1]s",route="r%[2]d"}[{{.window}}]))
    alerting:
      name: HighErrorRate%[2]d
      labels: {team: shop}
      annotations: {summary: too many errors on route %[2]d}
      page_alert: {labels: {severity: page}}
      ticket_alert: {labels: {severity: ticket}}
`, service, i)
	}
	return b.String()
}

// modesOf is what a file of modeshift's says besides.
const modesOf = `owner: team-shop
modes:
  - name: normal
  - name: degraded
    flags: {recommendations: false}
    min_duration: 5m
    max_duration: 4h
  - name: read-only
    flags: {recommendations: false, writes: false}
    max_duration: 4h
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("slo-0", "page") || burning("slo-1", "page")
    severity: page
  - name: close
    from: [normal, degraded]
    to: read-only
    when: burn_rate("slo-2", "5m") > 14.4 && burn_rate("slo-2", "1h") > 14.4
    for: 2m
  - name: recover
    from: [degraded, read-only]
    to: normal
    when: '!burning("slo-0", "page") && !burning("slo-1", "page") && burn_rate("slo-2", "5m") < 1.0'
    for: 10m
`

// BenchmarkRulesCheck measures `modeshift rules check` on the files of 1,000 services with ten SLOs, three modes and three
// transitions each, beside `promtool check rules` on the rules that Sloth makes of the same SLOs. Both are processes of their own,
// run in turn; the least of three times is taken of each, since what else the machine does only ever adds to it.
func BenchmarkRulesCheck(b *testing.B) {
	const services, runs = 1000, 3
	command, promtool := sloth(b), promtest.Promtool(b)
	dir := b.TempDir()
	binary := build(b, dir)
	specs, generated, rules := filepath.Join(dir, "specs"), filepath.Join(dir, "generated"), filepath.Join(dir, "rules")
	for _, d := range []string{specs, rules} {
		if err := os.Mkdir(d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		slos := slosOf(name)
		for d, text := range map[string]string{
			specs: "version: prometheus/v1\nservice: " + name + "\n" + slos,
			rules: "version: modeshift/v1\nservice: " + name + "\n" + slos + modesOf,
		} {
			if err := os.WriteFile(filepath.Join(d, name+".yaml"), []byte(text), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := generate(command, specs, generated); err != nil {
		b.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(generated, "*.yaml"))
	if err != nil || len(made) != services {
		b.Fatalf("Sloth made %d files, %v", len(made), err)
	}
	for b.Loop() {
		var ours, theirs cost
		for range runs {
			ours.least(b, exec.Command(binary, "rules", "check", rules), fmt.Sprintf("%d files, %d services: 0 errors", services, services))
			theirs.least(b, exec.Command(promtool, append([]string{"check", "rules"}, made...)...), "SUCCESS: 170 rules found")
		}
		fmt.Printf("BENCH rules_check_s %.3f s\nBENCH rules_check_cpu_s %.3f s\nBENCH rules_check_mb %.1f MB\n", ours.wall.Seconds(), ours.cpu.Seconds(), ours.mb)
		fmt.Printf("BENCH promtool_check_s %.3f s\nBENCH promtool_check_cpu_s %.3f s\nBENCH promtool_check_mb %.1f MB\n", theirs.wall.Seconds(), theirs.cpu.Seconds(), theirs.mb)
		fmt.Printf("BENCH rules_check_ratio %.2f x\n", theirs.wall.Seconds()/ours.wall.Seconds())
	}
}

// cost is what the cheapest run of a command took.
type cost struct {
	wall, cpu time.Duration
	mb        float64
}

// least runs a command, which has to succeed and say something, and keeps the least of what it takes.
func (c *cost) least(b *testing.B, cmd *exec.Cmd, says string) {
	b.Helper()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil || !strings.Contains(string(out), says) {
		b.Fatalf("%s: %v\n%.2000s", filepath.Base(cmd.Path), err, out)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	mb := 0.0
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		mb = float64(u.Maxrss) / 1024
	}
	if c.wall == 0 {
		*c = cost{wall, cpu, mb}
	}
	*c = cost{min(c.wall, wall), min(c.cpu, cpu), min(c.mb, mb)}
}
