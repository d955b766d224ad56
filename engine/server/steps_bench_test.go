package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// null is a kind of step that does nothing, and says when.
type null struct{ did func(engine.StepJob) }

func (null) Check([]byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return []byte("{}"), engine.Traits{}, nil
}
func (null) Describe(engine.StepJob) (string, error) { return "nothing", nil }
func (k null) Do(_ context.Context, job engine.StepJob) (string, error) {
	k.did(job)
	return "", nil
}

// shuttle is a service that goes back and forth, with a number of steps each way.
func shuttle(name string, steps int) string {
	text := fmt.Sprintf("version: modeshift/v1\nservice: %s\nmodes: [{name: normal}, {name: degraded}]\ntransitions:\n", name)
	for _, way := range [][3]string{{"forth", "normal", "degraded"}, {"back", "degraded", "normal"}} {
		text += fmt.Sprintf("  - name: %s\n    from: [%s]\n    to: %s\n    when: dwell() > duration(\"9000h\")\n    actions:\n", way[0], way[1], way[2])
		for i := range steps {
			text += fmt.Sprintf("      - {name: step-%d, null: {}}\n", i)
		}
	}
	return text
}

// move asks for the mode a service is not in.
func move(ctx context.Context, s *Server, scope engine.Scope, to engine.Mode) ([]engine.Event, error) {
	return s.loop.Submit(ctx, scope, engine.Actor{Principal: "bench"}, &engine.SetRequested{Mode: to, Reason: "bench"})
}

// BenchmarkDecisionToFirstStep measures from the time of a decision's events to the call of the kind: storing the events,
// leasing the job, storing the mark that the attempt begins.
func BenchmarkDecisionToFirstStep(b *testing.B) {
	path := filepath.Join(b.TempDir(), "shop.yaml")
	writeRules(b, path, shuttle("shop", 1))
	did := make(chan time.Time, 1)
	s, stop := runServer(b, testConfig(b, path), map[string]actions.Kind{"null": null{func(engine.StepJob) { did <- time.Now() }}})
	modes := []engine.Mode{"degraded", "normal"}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		events, err := move(b.Context(), s, "shop", modes[i%2])
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-did).Sub(events[0].At))
		waitSettled(b, s, "shop", modes[i%2])
	}
	b.StopTimer()
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	p99 := took[min(len(took)-1, len(took)*99/100)]
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
	fmt.Printf("BENCH decision_to_first_step_ms %.3f ms\n", float64(p99.Microseconds())/1000)
}

// BenchmarkChanges measures whole changes of three steps each, in many services at the same time, everything durable.
func BenchmarkChanges(b *testing.B) {
	const services = 64
	dir := b.TempDir()
	for i := range services {
		writeRules(b, filepath.Join(dir, fmt.Sprintf("s%d.yaml", i)), shuttle(fmt.Sprint("s", i), 3))
	}
	cfg := testConfig(b, dir)
	cfg.Actions.PerKind, cfg.Actions.Concurrency = services, services
	s, stop := runServer(b, cfg, map[string]actions.Kind{"null": null{func(engine.StepJob) {}}})
	modes := []engine.Mode{"degraded", "normal"}
	for i := range services { // the first time of each is not what is measured
		scope := engine.Scope(fmt.Sprint("s", i))
		for _, to := range modes {
			if _, err := move(b.Context(), s, scope, to); err != nil {
				b.Fatal(err)
			}
			waitSettled(b, s, scope, to)
		}
	}
	changes := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex // one report of a failure at a time
	for i := range services {
		wg.Go(func() {
			scope := engine.Scope(fmt.Sprint("s", i))
			n := 0
			for range changes {
				if _, err := move(b.Context(), s, scope, modes[n%2]); err != nil {
					mu.Lock()
					b.Error(err)
					mu.Unlock()
					continue
				}
				waitSettled(b, s, scope, modes[n%2])
				n++
			}
		})
	}
	began := time.Now()
	n := 0
	for b.Loop() {
		changes <- n
		n++
	}
	close(changes)
	wg.Wait()
	took := time.Since(began)
	b.StopTimer()
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	rate := float64(n) / took.Seconds()
	b.ReportMetric(rate, "changes/s")
	fmt.Printf("BENCH changes_per_s %.1f changes\n", rate)
}

// waitSettled waits until a service is in a mode and no change is under way.
func waitSettled(b *testing.B, s *Server, scope engine.Scope, mode engine.Mode) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		changed := s.loop.Changed()
		if v, _ := s.loop.View(scope); v.State.Change == nil && v.State.Mode == mode {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			b.Fatalf("%s does not settle", scope)
		}
	}
}

func writeRules(b *testing.B, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}
