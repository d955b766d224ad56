package loop_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// harness runs a loop inside a synctest bubble until the test ends.
type harness struct {
	*loop.Loop
	t       *testing.T
	log     *memory
	world   *world
	reports []loop.TickReport
	faults  []error
	broken  []string // scope: why; without a reason when it works again
	commits int
	stop    context.CancelFunc
}

func start(t *testing.T, log *memory, w *world, rules loop.Rules) *harness {
	t.Helper()
	return startWith(t, log, w, rules, engine.BrakeRule{})
}

func startWith(t *testing.T, log *memory, w *world, rules loop.Rules, brake engine.BrakeRule) *harness {
	t.Helper()
	h := &harness{t: t, log: log, world: w}
	h.Loop = loop.New(log, loop.Options{
		Brake:    brake,
		Now:      log.wall,
		Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Logger: slog.New(slog.DiscardHandler),
		OnTick:     func(r loop.TickReport) { h.reports = append(h.reports, r) },
		OnLogFault: func(err error) { h.faults = append(h.faults, err) },
		OnBroken:   func(scope engine.Scope, err error) { h.broken = append(h.broken, fmt.Sprint(scope, ": ", err != nil)) },
		OnCommit:   func([]engine.Event) { h.commits++ },
	})
	if err := h.Start(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = func() { cancel(); <-h.Done() }
	t.Cleanup(h.stop)
	go func() {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return h
}

// pass lets virtual time go by and everything settle.
func (h *harness) pass(d time.Duration) {
	time.Sleep(d) // virtual: the bubble's clock jumps when all its goroutines wait
	synctest.Wait()
}

func (h *harness) mode() engine.Mode {
	v, ok := h.View("checkout")
	if !ok {
		h.t.Fatal("checkout is not there")
	}
	return v.State.Mode
}

func TestATrueConditionChangesTheModeAtTheNextTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := start(t, newMemory(), w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		if m := h.mode(); m != "normal" {
			t.Fatalf("mode %s before anything is known", m)
		}
		changed := h.Changed()
		w.say("shed.when", engine.True)
		h.pass(15 * time.Second)
		if m := h.mode(); m != "degraded" {
			t.Fatalf("mode %s after a tick with a true condition", m)
		}
		select {
		case <-changed:
		default:
			t.Error("whoever waited for a commit was not woken")
		}
		want := []string{"ScopeAdded", "DirectivePublished", "ChangeStarted", "DirectivePublished", "ChangeDone"}
		if got := h.log.kinds("checkout", 0); !slices.Equal(got, want) {
			t.Errorf("log has %v, want %v", got, want)
		}
	})
}

func TestTicksStandAtMultiplesOfTheIntervalAndAskOnlyWhatMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := start(t, newMemory(), w, w.rules(checkout("v1")))
		h.pass(4*time.Minute + time.Second)
		if len(w.asked) != 16 {
			t.Fatalf("%d ticks in four minutes, want 16", len(w.asked))
		}
		tickets := 0
		for _, tick := range w.asked {
			if !tick.Instant.Equal(tick.Instant.Truncate(15 * time.Second)) {
				t.Errorf("tick at %v is not aligned", tick.Instant)
			}
			conditions := tick.Questions[0].Conditions
			if slices.Contains(conditions, 1) {
				t.Errorf("the way back was asked for in normal, at %v", tick.Instant)
			}
			if slices.Contains(conditions, 2) {
				tickets++
			}
		}
		if tickets != 3 { // the first tick, and each crossing of a multiple of two minutes
			t.Errorf("the ticket tier was asked for %d times, want 3", tickets)
		}
	})
}

func TestAHangingSourceMissesTicksButDelaysNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{hang: make(chan struct{})}
		h := start(t, newMemory(), w, w.rules(checkout("v1")))
		h.pass(16 * time.Second) // the evaluation hangs now
		before := time.Now()
		_, err := h.Submit(t.Context(), "checkout", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"})
		if err != nil || time.Since(before) != 0 {
			t.Fatalf("request took %v: %v", time.Since(before), err)
		}
		h.pass(10 * time.Second) // the evaluation's own time limit
		if len(h.reports) != 1 || h.reports[0].Dropped != 1 {
			t.Fatalf("reports %+v: the answer to a question from before the change has to be dropped", h.reports)
		}
		if m := h.mode(); m != "degraded" {
			t.Errorf("mode %s", m)
		}
	})
}

// An answer to a question under older rules is dropped for every scope: what was true before it may have been false then, so that a
// restart must not count on from there.
func TestAnInstantWhoseAnswerWasForOlderRulesIsNotMarkedAsEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{hang: make(chan struct{})}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second) // the evaluation hangs now
		if err := h.Replace(t.Context(), w.rules(checkout("v2"))); err != nil {
			t.Fatal(err)
		}
		h.pass(10 * time.Second) // the evaluation's own time limit
		if len(h.reports) != 1 || h.reports[0].Dropped != 1 {
			t.Fatalf("reports %+v", h.reports)
		}
		if mark, err := log.Marked(t.Context()); err != nil || !mark.IsZero() {
			t.Errorf("marked %v, %v: nothing was evaluated", mark, err)
		}
		close(w.hang)
		h.pass(5 * time.Second)
		if mark, err := log.Marked(t.Context()); err != nil || !mark.Equal(h.reports[1].Instant) {
			t.Errorf("marked %v, %v after the next tick", mark, err)
		}
	})
}

func TestAClockSetBackIsNoTimeInWhichNobodyEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(10 * time.Minute)
		for range 3 {
			if _, err := h.Submit(t.Context(), "checkout", engine.Actor{Principal: "ann"}, &engine.FreezeRequested{Reason: "drill"}); err != nil {
				t.Fatal(err)
			}
			log.set(-5 * time.Minute)
			h.pass(time.Minute)
		}
		if kinds := log.kinds("checkout", 0); slices.Contains(kinds, "TimeLost") {
			t.Errorf("ticks went on all the time, and the log has %v", kinds)
		}
	})
}

func TestALateAnswerIsCountedAsMissedTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		rules := w.rules(checkout("v1"))
		evaluate, late := rules.Evaluate, true
		rules.Evaluate = func(ctx context.Context, tick loop.Tick) loop.Answer {
			if late {
				late = false
				time.Sleep(40 * time.Second) // virtual; a source that does not keep to its deadline
			}
			return evaluate(ctx, tick)
		}
		h := start(t, newMemory(), w, rules)
		h.pass(2 * time.Minute)
		missed := 0
		for _, r := range h.reports {
			missed += r.Missed
		}
		if missed != 2 {
			t.Errorf("%d ticks missed, want 2: %+v", missed, h.reports)
		}
	})
}

func TestTicksThatADiskTookAreCountedAsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		log.slow = 40 * time.Second
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(3 * time.Minute)
		h.stop() // no report comes any more
		missed := 0
		for _, r := range h.reports {
			missed += r.Missed
		}
		first, last := h.reports[0].Instant, h.reports[len(h.reports)-1].Instant
		if due := int(last.Sub(first)/(15*time.Second)) + 1; missed == 0 || len(h.reports)+missed != due {
			t.Errorf("%d ticks and %d missed of the %d that were due: %+v", len(h.reports), missed, due, h.reports)
		}
	})
}

func TestAWriterThatIsBehindReloadsAndDecidesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		log.mu.Lock()
		log.meddle = func() { // somebody else freezes the scope between our decision and our write
			s := log.load("checkout")
			in := engine.Input{At: time.Now(), What: &engine.FreezeRequested{Reason: "other leader"}}
			log.streams["checkout"] = append(log.streams["checkout"], engine.Decide(checkout("v1"), s, in)...)
		}
		log.mu.Unlock()
		w.say("shed.when", engine.True)
		h.pass(16 * time.Second)
		if m := h.mode(); m != "normal" {
			t.Errorf("mode %s: the freeze that was stored first was overlooked", m)
		}
		if got := log.kinds("checkout", 2); !slices.Equal(got[:2], []string{"AutomationFrozen", "IncidentOpened"}) {
			t.Errorf("log goes on with %v", got)
		}
	})
}

func TestAWriteWhoseAnswerWasLostIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		w.say("shed.when", engine.True)
		log.fail(nil, errors.New("connection reset"))
		h.pass(16 * time.Second)
		log.fail(nil, nil)
		h.pass(30 * time.Second)
		if got := log.kinds("checkout", 2); !slices.Equal(got, []string{"ChangeStarted", "DirectivePublished", "ChangeDone"}) {
			t.Errorf("log goes on with %v", got)
		}
		if h.mode() != "degraded" {
			t.Errorf("mode %s", h.mode())
		}
	})
}

// While the log cannot be read back the loop asks on for the mode that it knows. What comes of that must not be judged in the mode that
// reading it shows: dwell() was that of the mode before, and here it would lead on at once.
func TestWhatWasAskedInAModeThatIsLeftIsNotJudgedInTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checkout("v1")
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(p))
		h.pass(16 * time.Second)
		broken := errors.New("connection reset")
		log.mu.Lock()
		log.after, log.unread = broken, broken
		log.mu.Unlock()
		w.say("shed.when", engine.True)
		h.pass(15 * time.Second) // it is in degraded now, and the loop does not know
		w.mu.Lock()
		w.hang = make(chan struct{})
		w.mu.Unlock()
		h.pass(15 * time.Second) // an evaluation that was asked in normal is under way
		log.mu.Lock()
		log.after, log.unread = nil, nil
		log.mu.Unlock()
		before := len(h.reports)
		close(w.hang)
		h.pass(time.Second)
		if len(h.reports) != before+1 || h.reports[before].Dropped != 1 {
			t.Fatalf("reports %+v: the answer was asked in a mode that is left", h.reports[before:])
		}
		if h.mode() != "degraded" {
			t.Errorf("mode %s", h.mode())
		}
		if v, _ := h.View("checkout"); v.Observed != nil {
			t.Errorf("what was dropped is shown: %+v", v.Observed)
		}
		h.pass(15 * time.Second)
		if r := h.reports[len(h.reports)-1]; r.Dropped != 0 {
			t.Errorf("the next tick is dropped too: %+v", r)
		}
		if v, _ := h.View("checkout"); v.Observed == nil || time.Since(v.Observed.Instant) > 16*time.Second {
			t.Errorf("shown is %+v, want what is seen now", v.Observed)
		}
	})
}

// A freeze of everything may be in the log though its answer was lost. Until the log can be read again nobody knows, and so nothing
// is decided anywhere: a scope whose own stream is in no doubt must not start anything either.
func TestAFreezeWhoseAnswerWasLostHoldsInEveryScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		broken := errors.New("connection reset")
		log.mu.Lock()
		log.after, log.unread = broken, broken
		log.mu.Unlock()
		if _, err := h.Submit(t.Context(), engine.Fleet, engine.Actor{}, &engine.FreezeRequested{Reason: "load test"}); err == nil {
			t.Error("a freeze of which nobody knows whether it was stored was answered with success")
		}
		log.fail(nil, nil) // writes work again, and reads do not yet
		w.say("shed.when", engine.True)
		h.pass(30 * time.Second)
		if got := log.kinds("checkout", 2); len(got) > 0 || h.mode() != "normal" {
			t.Fatalf("while nobody knew of the freeze %v was decided", got)
		}
		log.mu.Lock()
		log.unread = nil
		log.mu.Unlock()
		h.pass(30 * time.Second)
		if got := log.kinds("checkout", 2); h.mode() != "normal" || !slices.Contains(got, "TransitionWithheld") {
			t.Errorf("once it can be read: mode %s, %v", h.mode(), got)
		}
	})
}

func TestNothingHappensWhileTheLogCannotBeWrittenAndItIsRecordedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		log.fail(errDiskFull, nil)
		w.say("shed.when", engine.True)
		h.pass(time.Minute)
		if h.mode() != "normal" || h.Health().LogFault == "" {
			t.Fatalf("mode %s, health %+v", h.mode(), h.Health())
		}
		if len(h.faults) != 1 || !errors.Is(h.faults[0], errDiskFull) {
			t.Fatalf("faults told: %v, want one", h.faults)
		}
		if v, _ := h.View("checkout"); v.Observed.Conditions[0].Truth != engine.True || time.Since(v.Observed.Instant) > 16*time.Second {
			t.Errorf("shown is %+v, want what is seen now", v.Observed)
		}
		if _, err := h.Submit(t.Context(), "checkout", engine.Actor{}, &engine.SetRequested{Mode: "degraded", Reason: "x"}); code(err) != "unavailable" {
			t.Errorf("a request that cannot be stored was answered with %v", err)
		}
		log.fail(nil, nil)
		h.pass(16 * time.Second)
		if h.mode() != "degraded" || h.Health().LogFault != "" {
			t.Errorf("mode %s, health %+v after the disk was mended", h.mode(), h.Health())
		}
		if len(h.faults) != 2 || h.faults[1] != nil {
			t.Errorf("faults told: %v", h.faults)
		}
		if !slices.Contains(log.kinds(engine.Fleet, 0), "LogRecovered") {
			t.Errorf("the fleet's stream has %v", log.kinds(engine.Fleet, 0))
		}
	})
}

func code(err error) string {
	if e := (*loop.Error)(nil); errors.As(err, &e) {
		return e.Code()
	}
	return ""
}

func TestARestartKnowsHowMuchTimeItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		w.say("shed.when", engine.True)
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		w.say("recover.when", engine.True)
		h.pass(45 * time.Second) // true at three ticks: 30 s of the minute are done
		h.stop()
		time.Sleep(4 * time.Minute) // virtual
		h = start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		if got := log.kinds("checkout", 6); !slices.Equal(got[:2], []string{"TimeLost", "ConditionTurned"}) {
			t.Fatalf("after the restart the log goes on with %v", got)
		}
		if h.mode() != "degraded" {
			t.Fatal("time in which nobody looked counted toward `for`")
		}
		h.pass(30 * time.Second)
		if h.mode() != "normal" {
			t.Errorf("mode %s: the 30 s counted before the restart were lost", h.mode())
		}
	})
}

// The mark of before lies in what is the future now. Taken for the evaluation before, all that time would count as seen.
func TestARestartAfterTheClockWasSetBackCountsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		w.say("shed.when", engine.True)
		h := start(t, log, w, w.rules(checkout("v1")))
		h.pass(10 * time.Minute)
		w.say("recover.when", engine.True)
		h.pass(16 * time.Second) // true at one tick, and the process dies before it marks that
		h.stop()
		if err := log.Mark(t.Context(), log.wall().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		h = start(t, log, w, w.rules(checkout("v1")))
		h.pass(16 * time.Second)
		if h.mode() != "degraded" {
			t.Fatal("an hour that nobody saw counted toward `for`")
		}
		h.pass(2 * time.Minute)
		if h.mode() != "normal" {
			t.Errorf("mode %s: two minutes that were seen did not", h.mode())
		}
	})
}

func TestOtherRulesComeIntoForceAndAScopeThatVanishedIsRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		cart := checkout("v1")
		cart.Scope = "cart"
		h := start(t, log, w, w.rules(checkout("v1"), cart))
		h.pass(16 * time.Second)
		some := w.rules(checkout("v2"))
		some.Whole = false // a file that cannot be read may be the one that declares cart
		if err := h.Replace(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		if v, _ := h.View("cart"); v.State.Retired {
			t.Fatal("a scope was retired though a file could not be read")
		}
		if err := h.Replace(t.Context(), w.rules(checkout("v2"))); err != nil {
			t.Fatal(err)
		}
		if v, _ := h.View("cart"); !v.State.Retired || v.State.Directive.Mode != "normal" {
			t.Errorf("cart is %+v", v.State)
		}
		if got := log.kinds("checkout", 2); !slices.Equal(got, []string{"RulesChanged"}) {
			t.Errorf("checkout's log goes on with %v", got)
		}
		_, err := h.Submit(t.Context(), "cart", engine.Actor{}, &engine.UnpinRequested{})
		if code(err) != "unknown_scope" || !strings.Contains(err.Error(), "checkout") {
			t.Errorf("a request to a retired scope: %v", err)
		}
	})
}

// A service whose file refers to a mode of another one stays on its rules when that other one vanishes. What was true of it
// then must not go on being taken for true.
func TestTheModeOfARetiredScopeIsNotGivenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		cart := checkout("v1")
		cart.Scope = "cart"
		h := start(t, newMemory(), w, w.rules(checkout("v1"), cart))
		h.pass(16 * time.Second)
		if m := w.asked[0].Modes; len(m) != 2 || m["cart"] != "normal" {
			t.Fatalf("modes given to the evaluation: %v", m)
		}
		if err := h.Replace(t.Context(), w.rules(checkout("v2"))); err != nil {
			t.Fatal(err)
		}
		h.pass(15 * time.Second)
		if m := w.asked[1].Modes; len(m) != 1 || m["checkout"] != "normal" {
			t.Errorf("modes given to the evaluation after cart was retired: %v", m)
		}
	})
}

func TestAScopeWhoseRulesDoNotFitItsStateTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		cart := checkout("v1")
		cart.Scope = "cart"
		h := start(t, log, w, w.rules(checkout("v1"), cart))
		h.stop()
		cart.Modes, cart.Digest = []engine.ModeRule{{Name: "other"}}, "v2" // the mode in force is gone; rules refuses such files
		h = start(t, log, w, w.rules(checkout("v2"), cart))
		w.say("shed.when", engine.True)
		h.pass(16 * time.Second)
		if h.mode() != "degraded" {
			t.Errorf("checkout is in %s", h.mode())
		}
		if v, _ := h.View("cart"); v.RulesProblem == "" || v.State.Mode != "normal" {
			t.Errorf("cart: %q, mode %s", v.RulesProblem, v.State.Mode)
		}
	})
}

func TestAScopeThatIsNotEvaluatedAnyMoreIsSaidSoOnceAndWhenItIsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		cart := checkout("v1")
		cart.Scope = "cart"
		h := start(t, log, w, w.rules(checkout("v1"), cart))
		h.stop()
		bad := cart
		bad.Modes, bad.Digest = []engine.ModeRule{{Name: "other"}}, "v2" // the mode in force is gone; rules refuses such files
		h = start(t, log, w, w.rules(checkout("v2"), bad))
		h.pass(time.Minute)
		if want := []string{"cart: true"}; !slices.Equal(h.broken, want) || h.Health().Broken["cart"] == "" || len(h.Health().Broken) != 1 {
			t.Fatalf("told %v, want %v; health says %v", h.broken, want, h.Health().Broken)
		}
		cart.Digest = "v3"
		if err := h.Replace(t.Context(), w.rules(checkout("v2"), cart)); err != nil {
			t.Fatal(err)
		}
		if len(h.broken) != 1 || len(h.Health().Broken) != 1 {
			t.Errorf("told %v before it was evaluated: what went wrong may go wrong again", h.broken)
		}
		h.pass(time.Minute)
		if want := []string{"cart: true", "cart: false"}; !slices.Equal(h.broken, want) || len(h.Health().Broken) != 0 {
			t.Errorf("told %v, want %v; health says %v", h.broken, want, h.Health().Broken)
		}
	})
}

func TestAScopeThatNoFileDeclaresWhileOneIsBrokenSaysWhyNothingCanBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		cart := checkout("v1")
		cart.Scope = "cart"
		h := start(t, log, w, w.rules(checkout("v1"), cart))
		some := w.rules(checkout("v1"))
		some.Whole = false
		if err := h.Replace(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		_, err := h.Submit(t.Context(), "cart", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"})
		if want := "no rules are in force for cart: no file declares it, and a rule file is broken; mend that first"; code(err) != "no_rules" || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// Between the reading of rule files and their coming into force a scope may move into the very mode they drop.
func TestRulesThatDoNotDeclareTheModeInForceAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		without := checkout("v2")
		without.Modes, without.Transitions = []engine.ModeRule{{Name: "normal"}, {Name: "other"}}, nil
		w.say("shed.when", engine.True)
		h.pass(16 * time.Second)
		if err := h.Replace(t.Context(), w.rules(without)); !errors.Is(err, loop.ErrMoved) || !strings.Contains(err.Error(), "checkout") {
			t.Fatalf("rules that drop the mode in force: %v", err)
		}
		w.say("recover.when", engine.True)
		h.pass(time.Minute + 15*time.Second)
		if v, _ := h.View("checkout"); v.State.Mode != "normal" || v.RulesProblem != "" || v.State.Rules != "v1" {
			t.Fatalf("the rules before go on: mode %s, rules %s, problem %q", v.State.Mode, v.State.Rules, v.RulesProblem)
		}
		if err := h.Replace(t.Context(), w.rules(without)); err != nil {
			t.Errorf("once the mode was left: %v", err)
		}
	})
}

func TestAFullInboxIsSaidSoAtOnce(t *testing.T) {
	l := loop.New(newMemory(), loop.Options{Interval: time.Second, Inbox: 1})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := l.Submit(ctx, "checkout", engine.Actor{}, &engine.UnpinRequested{})
		first <- err
	}()
	for { // nobody serves the inbox: as soon as the first request is in it, the next one is refused
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := l.Submit(short, "checkout", engine.Actor{}, &engine.UnpinRequested{})
		stop()
		if code(err) != "unavailable" {
			t.Fatalf("got %v", err)
		}
		if strings.Contains(err.Error(), "too many") {
			break
		}
	}
	cancel()
	if err := <-first; code(err) != "unavailable" {
		t.Errorf("got %v", err)
	}
}

func TestARefusalIsStoredAndAnswersTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, newMemory()
		h := start(t, log, w, w.rules(checkout("v1")))
		_, err := h.Submit(t.Context(), "checkout", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degradde", Reason: "typo"})
		if code(err) != "refused" || !strings.Contains(err.Error(), "degraded") {
			t.Errorf("got %v, which should name the modes there are", err)
		}
		if got := log.kinds("checkout", 2); !slices.Equal(got, []string{"RequestRefused"}) {
			t.Errorf("log goes on with %v", got)
		}
	})
}
