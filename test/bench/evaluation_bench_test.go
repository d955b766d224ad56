package bench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/test/promtest"
)

var (
	sizes   = flag.String("bench.services", "200,1000", "numbers of services to measure with; the last one is run as a whole server too")
	past    = flag.Bool("bench.past", false, "measure modeshift's ticks at past instants only, and nothing that takes real time: a first answer in a minute")
	profile = flag.String("bench.profile", "", "folder for processor profiles of the Prometheus server: one of modeshift's ticks, one of Sloth's rules")
)

// cycle is the number of ticks after which every cadence has come round once: six minutes.
const cycle = int(6 * time.Minute / interval)

// BenchmarkEvaluation measures what the alerts of 200 and 1,000 services cost a Prometheus server, (a) as the recording rules
// that Sloth generates, evaluated by the server itself, and (b) as modeshift asks for them, and compares the decisions.
//
// The server is Debian's package, over ten days of samples every 30 s of three instances with five codes each. Two of a hundred
// services burn. Both ways have the same data, windows and factors. What is measured how:
//
//   - The server's processor time is what the kernel counts for its process. (b) is measured first, at past instants one after
//     the other, over whole cycles of the cadences, with nothing else asked of the server. Then samples begin to arrive by remote
//     write as time goes by. What that costs is measured alone, and subtracted from what it costs with the rules.
//   - (a) is per round: evaluations by the rule manager's own count, divided by the number of groups. Sloth's rule for 30 days
//     reads what its rules have recorded, here at each of the ten days' steps: less than 30 days at the rules' own interval, so
//     that (a) is still cheaper than it would be. (b) does not read it.
//   - Samples are totalQueryableSamples of the query API. The rule manager does not say how many it reads, so each rule's
//     expression is asked once through the API, after the rules have run, and the sum is a round's. Of (b) a proxy that asks
//     for the count passes on the same ticks again; it is not there when processor time is measured.
//   - Decisions are compared at exactly modeshift's instants with those of Sloth's own alert expressions. See compare.
//   - The engine's memory and processor time, and how long after the last answer a decision can be read, are those of the whole
//     program, in a process of its own, in real time, over eight ticks.
func BenchmarkEvaluation(b *testing.B) {
	command := sloth(b)
	for b.Loop() {
		var runs []*measured
		list := strings.Split(*sizes, ",")
		for i, text := range list {
			n, err := strconv.Atoi(text)
			if err != nil {
				b.Fatal(err)
			}
			runs = append(runs, measureSize(b, command, n, i == len(list)-1))
			report(runs)
		}
	}
}

// measured is what came of one number of services.
type measured struct {
	services int
	phases   [][2]string // what was done and what came of it

	rulesCPU, tickCPU         float64 // seconds of the server, of a round and of a tick
	rulesSamples, tickSamples float64
	queries                   float64 // of a tick
	latency                   []time.Duration
	engineCPU                 time.Duration // of a tick, the evaluator alone
	serverCPU                 time.Duration // of a tick, the whole program; 0: not measured
	rss                       float64       // MB
	decisions                 []time.Duration
}

func (m *measured) note(began time.Time, what, format string, args ...any) {
	m.phases = append(m.phases, [2]string{fmt.Sprintf("%s (%.0f s)", what, time.Since(began).Seconds()), fmt.Sprintf(format, args...)})
	fmt.Printf("%d services: %s: %s\n", m.services, m.phases[len(m.phases)-1][0], m.phases[len(m.phases)-1][1])
}

// report prints what is known so far; of a BENCH line the last one counts.
func report(runs []*measured) {
	fmt.Println()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, m := range runs {
		for _, p := range m.phases {
			_, _ = fmt.Fprintf(table, "%d\t%s\t%s\n", m.services, p[0], p[1])
		}
	}
	_ = table.Flush()
	fmt.Println()
	bench := func(name string, value float64, unit string) { fmt.Printf("BENCH %s %.4g %s\n", name, value, unit) }
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	cpu, samples := 0.0, 0.0 // of the size where the gain is smallest
	for i, m := range runs {
		if r := m.rulesCPU / m.tickCPU; i == 0 || r < cpu {
			cpu = r
		}
		if r := m.rulesSamples / m.tickSamples; i == 0 || r < samples {
			samples = r
		}
	}
	first, last := runs[0], runs[len(runs)-1]
	if cpu > 0 {
		bench("prom_cpu_ratio", cpu, "x")
		bench("samples_ratio", samples, "x")
	}
	bench("queries_per_tick", last.queries, "queries")
	bench("tick_p99_ms", ms(percentile(last.latency, 0.99)), "ms")
	if last.serverCPU > 0 {
		bench("engine_cpu_ms_per_tick", ms(last.serverCPU), "ms")
		bench("engine_rss_mb", last.rss, "MB")
	}
	if len(last.decisions) > 0 {
		bench("truth_to_decision_ms", ms(percentile(last.decisions, 0.99)), "ms")
	}
	if len(runs) > 1 {
		bench("queries_growth", last.queries/first.queries, "x")
		bench("prom_cpu_growth", last.tickCPU/first.tickCPU, "x")
	}
}

// measureSize measures with one number of services.
func measureSize(b *testing.B, command string, services int, whole bool) *measured {
	m := &measured{services: services}
	dir := b.TempDir()
	defer func() { // before the next size takes as much again
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	}()
	data, specs, generated, inForce := filepath.Join(dir, "data"), filepath.Join(dir, "specs"), filepath.Join(dir, "generated"), filepath.Join(dir, "rules")

	began := time.Now()
	w := newWorld(services, max(4, services/50), 10*24*time.Hour, began.Truncate(step))
	samples, err := w.writeBlocks(data, true)
	if err != nil {
		b.Fatal(err)
	}
	m.note(began, "generate", "%d series, %.1f million samples, %d MB", services*15, float64(samples)/1e6, size(b, data)>>20)

	began = time.Now()
	if err := w.specs(specs); err != nil {
		b.Fatal(err)
	}
	if err := generate(command, specs, generated); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(generated, w.services[0].name+".yaml"))
	if err != nil {
		b.Fatal(err)
	}
	if kept, err := os.ReadFile(golden); err != nil || !bytes.Equal(kept, text) {
		b.Errorf("%s is not what Sloth makes of %s", golden, w.services[0].name)
	}
	var exprs []string
	o := &oracle{pairs: map[string][]pair{}, single: services <= 200}
	for _, s := range w.services {
		text, err := os.ReadFile(filepath.Join(generated, s.name+".yaml"))
		if err != nil {
			b.Fatal(err)
		}
		pairs, all, err := pairsOf(text)
		if err != nil {
			b.Fatalf("%s: %v", s.name, err)
		}
		o.pairs[s.name] = pairs
		exprs = append(exprs, all...)
	}
	set := load(b, specs)
	m.note(began, "rules", "%d of Sloth's, %d modeshift services", len(exprs), len(set.Services))

	every := interval
	if services > 400 {
		every = time.Minute // a round takes longer than 15 s there
	}
	prometheus := serve(b, data, fmt.Sprintf("global: {evaluation_interval: %s}\nrule_files: [%q]\n", every, inForce+"/*.yaml"))
	defer prometheus.Stop()
	o.server = prometheus.URL

	m.ticks(b, w, o, newEvaluation(b, set, prometheus.URL, prom.Options{}), prometheus)
	p := newProxy(b, prometheus.URL, true)
	m.samples(b, w, newEvaluation(b, set, p.URL, patient), p)
	if *past {
		return m
	}

	began = time.Now()
	l := &live{w: w, server: prometheus, until: w.end}
	l.push(time.Now())
	before := prometheusCPU(b, prometheus)
	l.run(time.Now().Add(2 * step))
	idle := (prometheusCPU(b, prometheus) - before) / (2 * step).Seconds()
	m.note(began, "ingest alone", "%.3f CPU s a second", idle)

	if whole {
		m.program(b, l, specs, filepath.Join(dir, "program"))
	}
	m.rules(b, l, generated, inForce, every, idle)

	began = time.Now()
	at := time.Now() // what the rules recorded is still there at this instant, once they are out of force and in nobody's way
	if err := os.RemoveAll(inForce); err != nil {
		b.Fatal(err)
	}
	reload(b, prometheus)
	var all errgroup.Group
	all.SetLimit(parallel)
	counts := make([]int64, len(exprs))
	for i, e := range exprs {
		all.Go(func() error {
			r, err := ask(prometheus.URL, e, at, true)
			counts[i] = r.samples
			return err
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	for _, n := range counts {
		m.rulesSamples += float64(n)
	}
	m.note(began, "Sloth's rules, samples", "%.1f million a round: %.0f times modeshift's", m.rulesSamples/1e6, m.rulesSamples/m.tickSamples)
	return m
}

// ticks measures modeshift's ticks at past instants, as fast as they can be had, and compares what it decided.
func (m *measured) ticks(b *testing.B, w *world, o *oracle, e *evaluation, prometheus *promtest.Prometheus) {
	began := time.Now()
	e.tick(b.Context(), w.end.Add(-time.Hour)) // connections are made, and files come into memory
	first := time.Since(began)
	n := 2 * cycle
	if first > 3*time.Second { // on a slow machine half of them has to do
		n = cycle
	}
	at := w.end.Add(-time.Duration(n) * interval)
	e.tick(b.Context(), at) // everything is asked for once more, as after a start: from here on the cadences count
	runtime.GC()
	var ticks []decided
	queries := 0
	before, own := prometheusCPU(b, prometheus), ownCPU(b)
	for range n {
		at = at.Add(interval)
		start := time.Now()
		a := e.tick(b.Context(), at)
		m.latency = append(m.latency, time.Since(start))
		queries += a.Stats.Queries
		ticks = append(ticks, decided{at, a})
	}
	m.tickCPU = (prometheusCPU(b, prometheus) - before) / float64(n)
	m.engineCPU = (ownCPU(b) - own) / time.Duration(n)
	m.queries = float64(queries) / float64(n)
	m.note(began, "modeshift's ticks", "%d ticks: server %.3f CPU s each, evaluator %.1f CPU ms, %.1f queries; median %s, p99 %s (the first, with everything, %s)", n, m.tickCPU,
		m.engineCPU.Seconds()*1000, m.queries, percentile(m.latency, 0.5).Round(time.Millisecond), percentile(m.latency, 0.99).Round(time.Millisecond), first.Round(time.Millisecond))

	if *profile != "" {
		m.profile(b, prometheus, "modeshift", 10*time.Second, func() {
			for _, t := range ticks {
				e.tick(b.Context(), t.instant)
			}
		})
	}

	began = time.Now()
	c, err := compare(w, o, e.set, ticks)
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range c.differences[:min(10, len(c.differences))] {
		b.Error(d)
	}
	if slices.Contains(o.fired, 0) || c.turns == 0 {
		b.Errorf("the data was one-sided: %d turns, pairs fired %v times", c.turns, o.fired)
	}
	m.note(began, "decisions compared", "%d differences in %d pages and %d tickets, and in %d single pairs by the evidence; %d turns, pairs fired %v times of %d", len(c.differences),
		c.pages, c.tickets, c.byPair, c.turns, o.fired, o.asked)
}

// samples counts the samples of a cycle of ticks.
func (m *measured) samples(b *testing.B, w *world, e *evaluation, p *proxy) {
	began := time.Now()
	at := w.end.Add(-time.Duration(cycle) * interval)
	e.tick(b.Context(), at)
	queries := 0
	p.reset()
	for range cycle {
		at = at.Add(interval)
		queries += e.tick(b.Context(), at).Stats.Queries
	}
	shares := p.shares(cycle)
	asked, samples := p.reset()
	if asked != queries {
		b.Errorf("modeshift counted %d queries, and %d were sent", queries, asked)
	}
	m.tickSamples = float64(samples) / float64(cycle)
	m.note(began, "modeshift's ticks, samples", "%.3f million a tick: over %s", m.tickSamples/1e6, shares)
}

// rules measures rounds of Sloth's rules while samples arrive.
func (m *measured) rules(b *testing.B, l *live, generated, inForce string, every time.Duration, idle float64) {
	began := time.Now()
	if err := os.Rename(generated, inForce); err != nil {
		b.Fatal(err)
	}
	reload(b, l.server)
	l.run(time.Now().Add(every + 5*time.Second)) // each group begins at its own time within the interval
	groups := metricSum(b, l.server.URL, "prometheus_rule_group_interval_seconds", "count")
	evaluated := func() float64 {
		return metricSum(b, l.server.URL, "prometheus_rule_group_iterations_total", "sum") - metricSum(b, l.server.URL, "prometheus_rule_group_iterations_missed_total", "sum")
	}
	missed := metricSum(b, l.server.URL, "prometheus_rule_group_iterations_missed_total", "sum")
	rounds, before, start := evaluated(), prometheusCPU(b, l.server), time.Now()
	l.run(start.Add(max(4*interval, 2*every)))
	cpu, took := prometheusCPU(b, l.server)-before, time.Since(start).Seconds()
	rounds = (evaluated() - rounds) / groups
	missed = metricSum(b, l.server.URL, "prometheus_rule_group_iterations_missed_total", "sum") - missed
	m.rulesCPU = (cpu - idle*took) / rounds
	m.note(began, "Sloth's rules", "%.2f CPU s a round, of %.2f rounds every %s, %.0f groups (%.0f evaluations missed): %.1f times modeshift's", m.rulesCPU, rounds, every,
		groups, missed, m.rulesCPU/m.tickCPU)
	if *profile != "" {
		m.profile(b, l.server, "sloth", every, func() { l.run(time.Now().Add(time.Second)) })
	}
}

// reload makes a server read its configuration and rules again.
func reload(b *testing.B, p *promtest.Prometheus) {
	b.Helper()
	resp, err := http.Post(p.URL+"/-/reload", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("reload: %s", resp.Status)
	}
}

// program measures the whole program in real time: what it takes, and how long after the last answer of a tick its decisions
// can be read through its API.
func (m *measured) program(b *testing.B, l *live, specs, dir string) {
	began := time.Now()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	p := newProxy(b, l.server.URL, false)
	engine := start(b, build(b, dir), "--rules", specs, "--prometheus", p.URL, "--data", dir)
	defer engine.stop(b)
	token, err := os.ReadFile(filepath.Join(dir, server.AdminTokenFile))
	if err != nil {
		b.Fatal(err)
	}
	client, err := api.NewClient(engine.url, secret.New(strings.TrimSpace(string(token))), nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	seen := make(chan time.Time, 1<<16)
	var wg sync.WaitGroup
	wg.Go(func() {
		for e, err := range client.Events(ctx, "", api.FromNow) {
			if err != nil {
				if ctx.Err() == nil {
					b.Errorf("follow events: %v", err)
				}
				return
			}
			if e.Event.Cause.Input == "observed" && strings.HasPrefix(e.Event.Kind(), "Incident") {
				seen <- time.Now()
			}
		}
	})
	failing := 0
	for _, s := range l.w.services {
		if s.kind == failsLater { // so that there is something to decide at later ticks
			l.w.fail(s, l.until.Add(step+time.Duration(failing)*2*interval/3))
			failing++
		}
	}
	for ticks(b, engine.url) < 2 {
		l.run(time.Now().Add(time.Second))
	}
	count, before, start := ticks(b, engine.url), processCPU(b, engine.cmd.Process.Pid), time.Now()
	l.run(start.Add(8 * interval))
	cpu := processCPU(b, engine.cmd.Process.Pid) - before
	count = ticks(b, engine.url) - count
	m.serverCPU = time.Duration(cpu / float64(count) * float64(time.Second))
	m.rss = residentMB(b, engine.cmd.Process.Pid)
	cancel()
	wg.Wait()
	close(seen)
	for at := range seen {
		m.decisions = append(m.decisions, at.Sub(p.before(at)))
	}
	if len(m.decisions) < failing {
		b.Errorf("%d services failed, and %d decisions came of it", failing, len(m.decisions))
	}
	m.note(began, "the whole program", "%d ticks: %.1f CPU ms each, %.0f MB; %d decisions: median %s, p99 %s after the last answer", count, m.serverCPU.Seconds()*1000, m.rss,
		len(m.decisions), percentile(m.decisions, 0.5).Round(time.Millisecond), percentile(m.decisions, 0.99).Round(time.Millisecond))
}

// profile keeps a profile of the server's processor time while work is done, again and again.
func (m *measured) profile(b *testing.B, prometheus *promtest.Prometheus, name string, length time.Duration, work func()) {
	if err := os.MkdirAll(*profile, 0o755); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(*profile, fmt.Sprintf("%s-%d.pprof", name, m.services))
	done := make(chan error, 1)
	go func() {
		resp, err := http.Get(fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", prometheus.URL, int(length.Seconds())))
		if err == nil {
			var text []byte
			text, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil {
				err = os.WriteFile(path, text, 0o644)
			}
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				b.Error(err)
			}
			fmt.Printf("%d services: the server's profile is %s\n", m.services, path)
			return
		default:
			work()
		}
	}
}

// metricSum is the sum of the samples of one of the server's own metrics, or with "count" how many there are.
func metricSum(b *testing.B, url, name, how string) (sum float64) {
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			b.Fatal(err)
		}
		if how == "count" {
			v = 1
		}
		sum += v
	}
	return sum
}

func prometheusCPU(b *testing.B, p *promtest.Prometheus) float64 {
	b.Helper()
	return processCPU(b, p.PID())
}

// processCPU is the processor time, in seconds, that a process has had so far. The kernel counts it in hundredths.
func processCPU(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the first is field 3 of proc(5)
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.ParseFloat(f[12], 64)
	if err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100
}

// ownCPU is the processor time this process has had so far.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// size is how many bytes the files under a folder have.
func size(b *testing.B, dir string) (sum int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}
