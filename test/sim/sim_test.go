package sim

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "run this seed alone, and print its story")
	seedsFlag = flag.Int("sim.seeds", 500, "run so many seeds")
	firstFlag = flag.Uint64("sim.first", 1, "begin with this seed")
	listFlag  = flag.Bool("sim.list", false, "go on after failures, and give each a line instead of a story")
	faultFlag = flag.String("sim.mutation", "", "run with this fault, one of those that have to be caught")
	onceFlag  = flag.Bool("sim.once", false, "end with the first failure, and give it a line instead of a story")
)

// workers is how many stories run at the same time.
const workers = 2

func TestSeedsKeepEveryPromise(t *testing.T) {
	seeds, first := *seedsFlag, *firstFlag
	switch {
	case *seedFlag > 0:
		seeds, first = 1, *seedFlag
	case testing.Short():
		seeds = 10
	}
	var next, done, hours atomic.Int64 // hours of virtual time, in thousandths
	began := time.Now()
	met := kinds{count: map[string]int{}}
	t.Cleanup(func() {
		if seeds > 1 {
			met.judge(t, seeds)
			t.Logf("BENCH sim_hours_per_s %.2f h", float64(hours.Load())/1000/time.Since(began).Seconds())
		}
	})
	var mu sync.Mutex // guards failed
	failed := 0
	for range workers {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for {
				i := next.Add(1) - 1
				mu.Lock()
				enough := failed >= 3 && !*listFlag || failed > 0 && *onceFlag
				mu.Unlock()
				if i >= int64(seeds) || enough {
					return
				}
				bad, h := trySeed(t, first+uint64(i), &met)
				if bad {
					mu.Lock()
					failed++
					mu.Unlock()
				}
				hours.Add(int64(h * 1000))
				if n := done.Add(1); n%100 == 0 && seeds > 1 {
					t.Logf("%d of %d seeds, %.0f simulated hours in %s", n, seeds, float64(hours.Load())/1000, time.Since(began).Round(time.Second))
				}
			}
		})
	}
}

// The simulation needs a testing.T, so its speed is measured by the test itself, in a process of its own.
func BenchmarkSimulation(b *testing.B) {
	seeds := "60"
	if testing.Short() {
		seeds = "20" // that it runs, not how fast
	}
	for b.Loop() {
		out, err := exec.Command(os.Args[0], "-test.run=Seeds", "-test.v", "-sim.seeds="+seeds).CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		fmt.Println(regexp.MustCompile(`BENCH sim_hours_per_s .*`).FindString(string(out)))
	}
}

// trySeed runs a seed twice, and one in twenty with its log in a file too.
func trySeed(t *testing.T, seed uint64, met *kinds) (bad bool, hours float64) {
	s := prepare(seed)
	s.mutation = *faultFlag
	first := play(t, s)
	hours = first.hours
	met.add(first)
	if len(first.broken) > 0 {
		report(t, s, first)
		return true, hours
	}
	if *seedFlag > 0 {
		t.Log(tell(s, first))
	}
	again := s
	if seed%20 == 0 {
		again.file = t.TempDir()
	}
	second := play(t, again)
	hours += second.hours
	switch {
	case len(second.broken) > 0:
		report(t, again, second)
	case first.trace != second.trace:
		t.Errorf("seed %d came out in two ways (the second time with the log in %q):\n%s", seed, again.file, difference(first, second))
	default:
		return false, hours
	}
	return true, hours
}

// kinds counts events by their kind and reason: a simulation that never meets what it checks checks nothing.
type kinds struct {
	mu    sync.Mutex // guards count
	count map[string]int
}

func (k *kinds) add(o outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range o.events {
		k.count[e.Kind()]++
		k.count[e.Kind()+" "+string(e.Reason.Code)]++
	}
}

// judge fails when enough seeds have never met something that has checks of its own.
func (k *kinds) judge(t *testing.T, seeds int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if seeds < 200 {
		return
	}
	for _, kind := range []string{
		"ChangeProposed condition", "ChangeProposed request", "ProposalRenewed", "ApprovalGranted", "ApprovalRefused digest", "ApprovalRefused role",
		"ApprovalRefused own request", "ApprovalRefused same person", "ApprovalRefused over", "GateEscalated", "DeadlineMoved", "ProposalDenied",
		"ProposalExpired", "ProposalWithdrawn not ready", "ProposalWithdrawn left", "ChangeStarted approved", "ChangeStarted condition", "ChangeStarted request",
		"GlassBroken", "RequestRefused declared", "StepFailed", "StepUnknown", "ChangeHeld", "ChangeFailed", "ChangeStuck", "ChangeSettled", "ChangeOvertaken", "UndoStarted until",
		"UndoStarted request", "ChangeUndone", "VerificationHeld", "ChangeDone verify", "TimeLost", "RulesChanged", "TransitionWithheld frozen",
		"TransitionWithheld pinned", "TransitionWithheld unknown", "SightLost", "LogRecovered",
		"TargetsFound", "StepHeld", "StepStarted approved", "UndoStarted rejected",
		"WavePublished verify", "WavePublished pause", "WaveHeld verify", "WaveHeld unknown", "WaveHeld instances", "WaveResumed verify", "WaveResumed applied",
		"BrakePermitted condition", "ChangeProposed brake", "TransitionWithheld brake", "ProposalWithdrawn started", "ModeImposed imposed", "ImpositionEnded left",
		"ChangeStarted imposed", "ChangeStarted left", "TransitionWithheld imposed", "RequestRefused imposed",
		"IncidentSuppressed suppressed", "IncidentResolved paused", "PauseEnded until", "PauseEnded too long", "TransitionWithheld suggest", "TransitionWithheld flapping", "IncidentOpened withheld", "IncidentOpened flapping", "ModeUnpinned expired",
		"AutomationReleased expired", "IncidentEscalated", "DirectiveApplied", "RolloutDone verify", "RolloutDone pause", "ChangeFailed instances", "DivergenceFound", "DivergenceEnded",
	} {
		if k.count[kind] == 0 {
			t.Errorf("%d seeds never met %s", seeds, kind)
		}
	}
	t.Logf("approved changes %d, stuck %d, overtaken %d, undone %d, time lost %d", k.count["ChangeStarted approved"], k.count["ChangeStuck"],
		k.count["ChangeOvertaken"], k.count["ChangeUndone"], k.count["TimeLost"])
}

// report tells of a seed that failed, with the command that repeats it and the story shrunk.
func report(t *testing.T, s settings, o outcome) {
	if *listFlag || *onceFlag {
		t.Errorf("seed %d: %s", s.seed, strings.Join(o.broken[:min(5, len(o.broken))], "\n"))
		return
	}
	small, least := shrink(t, s, o)
	t.Error(account(s, o, small, least))
}

// account says what was broken, which command shows it again, and what is left of the story.
func account(s settings, o outcome, small settings, least outcome) string {
	return fmt.Sprintf("seed %d: %s\nrepeat: %s\n%s", s.seed, strings.Join(o.broken[:min(5, len(o.broken))], "\n"), repeat(s), tell(small, least))
}

// repeat is the command that runs a seed again, from the repository's root.
func repeat(s settings) string {
	command := fmt.Sprintf("go test ./test/sim -count=1 -v -run Seeds -sim.seed %d", s.seed)
	if s.mutation != "" {
		command += fmt.Sprintf(" -sim.mutation '%s'", s.mutation)
	}
	return command
}

// shrink leaves out of a story what its failure does not need: large pieces first, then single things.
func shrink(t *testing.T, s settings, o outcome) (settings, outcome) {
	kind := kindOf(o)
	deadline := time.Now().Add(40 * time.Second)
	for size := len(s.story) / 2; size > 0; {
		smaller := false
		for i := 0; i+size <= len(s.story) && time.Now().Before(deadline); {
			less := s
			less.story = append(append([]thing{}, s.story[:i]...), s.story[i+size:]...)
			if less.file != "" {
				less.file = t.TempDir()
			}
			if tried := play(t, less); len(tried.broken) > 0 && kindOf(tried) == kind {
				s, o, smaller = less, tried, true
				continue
			}
			i += size
		}
		if size == 1 && !smaller {
			break
		}
		if size = max(1, size/2); time.Now().After(deadline) {
			break
		}
	}
	return s, o
}

// kindOf is a failure without its particulars.
func kindOf(o outcome) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, strings.Split(o.broken[0], "{")[0])
}

// tell writes a story, what was broken, and the events.
func tell(s settings, o outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the story (%d things):\n", len(s.story))
	for _, th := range s.story {
		fmt.Fprintln(&b, th)
	}
	fmt.Fprintf(&b, "broken: %s\nthe events:\n", strings.Join(o.broken, "\n        "))
	lines := strings.Split(o.trace, "\n")
	for _, line := range lines {
		if e, err := engine.Decode([]byte(line)); err == nil {
			line = fmt.Sprintf("%s %s/%d %s | %s %s", e.At.Format("15:04:05.000"), e.Stream, e.Version, e.Kind(), e.Reason.Code, e.Reason.Text)
			if !e.Cause.Instant.IsZero() {
				line += fmt.Sprintf(" (at %s after %s)", e.Cause.Instant.Format(time.TimeOnly), e.Cause.Prev.Format(time.TimeOnly))
			}
		}
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// difference shows where two runs of a seed part, by their events and by their calls of the store.
func difference(a, b outcome) string {
	return part(strings.Split(a.trace, "\n"), strings.Split(b.trace, "\n")) + "\n" + part(a.calls, b.calls)
}

func part(a, b []string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	show := func(list []string) string {
		return strings.Join(list[max(0, min(i, len(list))-3):min(i+2, len(list))], "\n")
	}
	return fmt.Sprintf("line %d\n%s\nor\n%s", i, show(a), show(b))
}
