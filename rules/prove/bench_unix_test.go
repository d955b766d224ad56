//go:build unix

package prove

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkProve measures the proof of a service with six modes: two gates, destructive steps, a schedule, spans that run at once. The
// processor time is beside it, which says more on a machine that does other things too.
func BenchmarkProve(b *testing.B) {
	set := load(b, filepath.Join("testdata", "six-modes.yaml"))
	states, decisions := 0, int64(0)
	began := processor(b)
	for b.Loop() {
		reports := Run(b.Context(), set, nil, Options{})
		if len(reports) != 1 || reports[0].Answer() != Proved {
			b.Fatalf("%+v", reports)
		}
		states, decisions = reports[0].States, reports[0].Decisions
	}
	worked := (processor(b) - began).Seconds() / float64(b.N)
	took := b.Elapsed().Seconds() / float64(b.N)
	fmt.Printf("\nBENCH prove_six_modes_s %.3f s\nBENCH prove_six_modes_cpu_s %.3f s\nBENCH prove_states_per_s %.0f states\nBENCH prove_decisions_per_s %.0f decisions\n",
		took, worked, float64(states)/took, float64(decisions)/took)
}

// processor is how long processors have worked for this process.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
