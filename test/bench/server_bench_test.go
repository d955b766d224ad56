// Package bench measures whole processes; what a single package can measure stays beside its code. `make bench` runs all.
package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/promtest"
)

// withModes is the rule file of a service.
const withModes = `version: modeshift/v1
service: service-%[1]d
owner: team
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="service-%[1]d",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="service-%[1]d"}[{{.window}}]))
    alerting: {name: Availability, page_alert: {}, ticket_alert: {}}
modes:
  - name: normal
  - name: degraded
    flags: {recommendations: false}
    max_duration: 4h
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("availability", "page")
    severity: page
  - name: recover
    from: [degraded]
    to: normal
    when: '!burning("availability", "page") && burn_rate("availability", "5m") < 1.0'
    for: 10m
`

// BenchmarkServerMemory measures the resident memory of a server with 1,000 scopes after its first evaluations.
func BenchmarkServerMemory(b *testing.B) {
	const scopes = 1000
	dir := b.TempDir()
	binary := build(b, dir)
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range scopes {
		if err := os.WriteFile(filepath.Join(rules, fmt.Sprintf("%d.yaml", i)), fmt.Appendf(nil, withModes, i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	prometheus := promtest.Start(b, promtest.Options{})
	for b.Loop() {
		fmt.Printf("BENCH rss_mb %.0f MB\n", measure(b, binary, rules, prometheus.URL, b.TempDir()))
	}
}

// measure runs a server until it has evaluated three times and returns its resident memory in MB.
func measure(b *testing.B, binary, rules, prometheus, data string) float64 {
	program := start(b, binary, "--rules", rules, "--prometheus", prometheus, "--data", data)
	defer program.stop(b)
	deadline := time.Now().Add(2 * time.Minute)
	for ticks(b, program.url) < 3 {
		if time.Now().After(deadline) {
			b.Fatal("no three evaluations in two minutes")
		}
		time.Sleep(100 * time.Millisecond) // polled; the deadline decides
	}
	return residentMB(b, program.cmd.Process.Pid)
}

// program is a running server.
type program struct {
	url string
	cmd *exec.Cmd
}

// build builds the program into a folder.
func build(b *testing.B, dir string) string {
	b.Helper()
	binary := filepath.Join(dir, "modeshift")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/modeshift").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// start starts a server on a port of the kernel's choice. What it says goes into a file of the benchmark's.
func start(b *testing.B, binary string, args ...string) *program {
	b.Helper()
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	p := &program{cmd: exec.Command(binary, append([]string{"run", "--listen", "127.0.0.1:0"}, args...)...)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for p.url == "" && lines.Scan() {
		if _, err := fmt.Fprintln(log, lines.Text()); err != nil {
			b.Fatal(err)
		}
		if _, rest, found := strings.Cut(lines.Text(), "listen="); found {
			p.url = strings.Fields(rest)[0]
		}
	}
	if p.url == "" {
		b.Fatal("the server did not start; it said what is in ", log.Name())
	}
	go func() { _, _ = io.Copy(log, stderr) }() // until the process ends
	return p
}

// stop ends the server and waits until it has ended.
func (p *program) stop(b *testing.B) {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		b.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// residentMB is the resident memory of a process.
func residentMB(tb testing.TB, pid int) float64 {
	tb.Helper()
	return memoryMB(tb, pid, "VmRSS:")
}

// memoryMB is a line of a process's status that counts memory.
func memoryMB(tb testing.TB, pid int, line string) float64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for text := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(text, line); found {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb / 1024
		}
	}
	tb.Fatal("no ", line)
	return 0
}

// ticks reads how often the server has evaluated.
func ticks(b *testing.B, url string) int {
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := resp.Body.Close(); err != nil {
			b.Error(err)
		}
	}()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), "modeshift_ticks_total "); found {
			n, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				b.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}
