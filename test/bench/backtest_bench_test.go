package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"runtime/pprof"
	"testing"
	"time"

	reports "github.com/modeshift/modeshift/engine/report"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

var (
	backtested      = flag.Int("bench.backtest", 100, "number of services with an SLO each whose past is led through")
	backtestCompare = flag.Bool("bench.backtest.compare", false, "lead the rules through the past once more, asking for everything at each tick, and expect the same of it")
	backtestProfile = flag.String("bench.backtest.profile", "", "file for a processor profile of a backtest")
)

// moving are the modes and transitions of a service that is led through a past.
const moving = `modes:
  - {name: normal}
  - {name: degraded, min_duration: 5m, max_duration: 4h, on_expiry: page}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && burn_rate("availability", "5m") < 1.0', for: 10m}
`

// BenchmarkBacktest leads 100 SLOs, with modes, through 30 days of a real Prometheus: Debian's package, over blocks with samples every
// 30 s of three instances with five codes each. A tenth of the services burn, in all the ways the tiers know.
func BenchmarkBacktest(b *testing.B) {
	end := time.Now().UTC().Truncate(time.Hour)
	w := newWorld(*backtested, max(4, *backtested/10), 33*24*time.Hour, end)
	dir := b.TempDir()
	began := time.Now()
	samples, err := w.writeBlocks(filepath.Join(dir, "data"), false)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d samples in blocks, written in %.0f s", samples, time.Since(began).Seconds())
	p := promtest.Start(b, promtest.Options{Data: filepath.Join(dir, "data")})
	var files []rules.File
	for _, s := range w.services {
		files = append(files, rules.File{Name: s.name + ".yaml", Data: []byte("version: modeshift/v1" + spec(s.name)[len("version: prometheus/v1"):] + moving)})
	}
	set, err := rules.Load(files, rules.Options{})
	if err != nil {
		b.Fatal(err)
	}
	debug.SetGCPercent(400) // as the command does
	defer debug.SetGCPercent(100)
	for b.Loop() {
		if *backtestProfile != "" {
			f, err := os.Create(*backtestProfile)
			if err != nil {
				b.Fatal(err)
			}
			if err := pprof.StartCPUProfile(f); err != nil {
				b.Fatal(err)
			}
		}
		before, own := prometheusCPU(b, p), processCPU(b, os.Getpid())
		options := server.BacktestOptions{Prometheus: p.URL, From: end.Add(-30 * 24 * time.Hour), To: end, Approve: -1,
			Versions: []server.BacktestRules{{Name: "rules", Set: set}}, Labels: []reports.Label{}}
		out, err := server.Backtest(b.Context(), options)
		pprof.StopCPUProfile()
		if err != nil {
			b.Fatal(err)
		}
		took, cpu, promCPU := out.Took.Duration().Seconds(), processCPU(b, os.Getpid())-own, prometheusCPU(b, p)-before
		if *backtestCompare {
			options.EveryTick = true
			each, err := server.Backtest(b.Context(), options)
			if err != nil {
				b.Fatal(err)
			}
			for i := range each.Versions[0].Services {
				got, want := &out.Versions[0].Services[i], &each.Versions[0].Services[i]
				if !reflect.DeepEqual(got.Moves, want.Moves) || !reflect.DeepEqual(got.Told, want.Told) {
					b.Errorf("%s (%s):\n%+v\n%+v\nat each tick:\n%+v\n%+v", got.Scope, w.services[i].kind, got.Moves, got.Told, want.Moves, want.Told)
				}
			}
			fmt.Printf("BENCH rules_backtest_every_tick_s %.1f s\n", each.Took.Duration().Seconds())
			fmt.Printf("BENCH rules_backtest_every_tick_ratio %.2f ratio\n", each.Took.Duration().Seconds()/took)
		}
		moves, pages := 0, 0
		for i := range out.Versions[0].Services {
			s := &out.Versions[0].Services[i]
			moves += len(s.Moves)
			pages += len(s.Told)
		}
		if moves == 0 || pages == 0 {
			b.Errorf("%d moves and %d pages and tickets: services that burn are not found", moves, pages)
		}
		fmt.Printf("BENCH rules_backtest_s %.1f s\n", took)
		fmt.Printf("BENCH rules_backtest_cpu_s %.1f s\n", cpu)
		fmt.Printf("BENCH rules_backtest_prometheus_cpu_s %.1f s\n", promCPU)
		fmt.Printf("BENCH rules_backtest_queries %d queries\n", out.Queries)
	}
}
