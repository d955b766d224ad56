package runner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

// site is where steps happen and whoever waits for their outcomes, with what happened in one list.
type site struct {
	mu      sync.Mutex
	story   []string
	do      func(ctx context.Context, job engine.StepJob) (string, error) // nil: it happens
	deaf    error                                                         // reports fail with it
	next    func(r report)                                                // told of each report that is taken
	running int
	most    int // steps at the same time
}

type report struct {
	scope engine.Scope
	told  *engine.StepReported
}

func (w *site) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *site) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.story)
}

func (w *site) set(change func(*site)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *site) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return spec, engine.Traits{}, nil
}
func (w *site) Describe(engine.StepJob) (string, error) { return "", nil }

func (w *site) Do(ctx context.Context, job engine.StepJob) (string, error) {
	w.note("do %s %d", job.Key, job.Attempt)
	w.mu.Lock()
	w.running++
	w.most = max(w.most, w.running)
	do := w.do
	w.mu.Unlock()
	defer w.set(func(w *site) { w.running-- })
	if do == nil {
		return "ok", nil
	}
	return do(ctx, job)
}

func (w *site) report(_ context.Context, scope engine.Scope, what engine.Happening) error {
	w.mu.Lock()
	deaf, next := w.deaf, w.next
	w.mu.Unlock()
	if deaf != nil {
		return deaf
	}
	switch r := what.(type) {
	case *engine.TargetsReported:
		w.note("found %s/%s %d: %d %v %s", r.Change, r.Step, r.Attempt, r.Count, r.Names, r.Problem)
	case *engine.StepReported:
		key := fmt.Sprintf("%s/%s", r.Change, r.Step)
		if r.Undo {
			key += "/undo"
		}
		asked := ""
		if r.Asked {
			asked = ", asked"
		}
		w.note("report %s %d %s%s: %s", key, r.Attempt, r.Outcome, asked, r.Detail)
		if next != nil {
			next(report{scope, r})
		}
	}
	return nil
}

// errNothing says that a step has no check.
var errNothing = errors.New("no check")

// knowing is a target that can tell whether a step has happened.
type knowing struct {
	*site
	done func() (bool, error)
}

func (k knowing) Done(_ context.Context, job engine.StepJob) (bool, error) {
	k.note("ask %s %d", job.Key, job.Attempt)
	return k.done()
}

// steps are options for one site, with no jitter: the wait is always the longest.
func (w *site) steps(kind actions.Kind) runner.Options {
	return runner.Options{
		Steps: &runner.Steps{
			Kinds: map[string]actions.Kind{"null": kind}, Report: w.report,
			NoCheck: func(err error) bool { return errors.Is(err, errNothing) },
		},
		Rand: func() float64 { return 1 },
	}
}

// stepJob is the n-th job of a scope.
func stepJob(scope engine.Scope, n int, change func(*engine.StepJob)) engine.Job {
	s := engine.StepJob{
		Key: fmt.Sprintf("%s-1/shrink", scope), Scope: scope, Change: engine.ChangeID(scope + "-1"), Attempt: 1,
		Step: engine.Step{Name: "shrink", Kind: "null", Spec: "{}"},
	}
	if change != nil {
		change(&s)
	}
	return engine.Job{Effect: engine.Effect{ID: fmt.Sprintf("%s/%d", scope, n), Key: "steps/" + string(scope), Step: &s}}
}

func destructive(s *engine.StepJob) { s.Step.Destructive = true }
func keyed(s *engine.StepJob)       { s.Step.Destructive, s.Step.Keyed = true, true }

func wantStory(t *testing.T, w *site, want ...string) {
	t.Helper()
	if got := w.told(); !slices.Equal(got, want) {
		t.Errorf("what happened:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestAStepIsMarkedThenDoneThenReportedThenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		w.do = func(context.Context, engine.StepJob) (string, error) {
			if len(jobs.begun) != 1 {
				t.Error("it is done before that is marked")
			}
			return "taken", nil
		}
		w.next = func(report) {
			if jobs.owed() != 1 {
				t.Error("its job is over before its outcome is stored")
			}
		}
		running(t, runner.New(jobs, nil, quiet(w.steps(w))))
		jobs.add(stepJob("a", 1, nil))
		after(time.Second)
		wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 done: taken")
		if jobs.owed() != 0 {
			t.Error("its job is still owed")
		}
	})
}

func TestWhatAKindSaysOfAnAttemptIsWhatIsReported(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(ctx context.Context) error
		want string
	}{
		{"it has not happened", func(context.Context) error { return errors.New("409 Conflict") }, "failed: 409 Conflict"},
		{"final or not, that is the core's to judge", func(context.Context) error { return &actions.Error{Err: errors.New("400"), Final: true} }, "failed: 400"},
		{"it may have happened", func(context.Context) error { return &actions.Error{Err: errors.New("connection reset"), Unknown: true} }, "unknown: connection reset"},
		{"its time was over and it does not say more", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			"unknown: no answer within 20s (context deadline exceeded)"},
		{"its time was over before anything was sent", func(ctx context.Context) error {
			<-ctx.Done()
			return &actions.Error{Err: fmt.Errorf("dial: %w", ctx.Err())}
		}, "failed: no answer within 20s (dial: context deadline exceeded)"},
		{"it panics, with a secret", func(context.Context) error { panic("canary-5d1f") }, "unknown: the action panicked with a string"},
		{"it does not keep to its time", func(context.Context) error { time.Sleep(time.Hour); return nil }, "unknown: it did not end 5s after its time of 20s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jobs, w, log := newJobs(), new(site), new(buffer)
				w.do = func(ctx context.Context, _ engine.StepJob) (string, error) { return "", test.do(ctx) }
				opts, reg := w.steps(w), prometheus.NewRegistry()
				opts.Log, opts.Registerer = log.logger(), reg
				running(t, runner.New(jobs, nil, opts))
				jobs.add(stepJob("a", 1, func(s *engine.StepJob) { s.Step.Spec = `{"timeout":"20s","token":"canary-5d1f"}` }))
				after(26 * time.Second)
				wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 "+test.want)
				if jobs.owed() != 0 {
					t.Error("its job is still owed")
				}
				metrics, err := reg.Gather()
				if err != nil {
					t.Fatal(err)
				}
				for place, text := range map[string]string{"log": log.String(), "metrics": fmt.Sprint(metrics), "report": fmt.Sprint(w.told())} {
					if strings.Contains(text, "canary-5d1f") {
						t.Errorf("a secret is in the %s:\n%s", place, text)
					}
				}
				time.Sleep(time.Hour) // the one that does not keep to its time ends at last
			})
		})
	}
}

func TestAStepWhoseWorkerDiedIsTakenUpByWhatCanBeKnownOfIt(t *testing.T) {
	yes, no := func() (bool, error) { return true, nil }, func() (bool, error) { return false, nil }
	none := func() (bool, error) { return false, errNothing }
	mute := func() (bool, error) { return false, errors.New("503") }
	lost := "report a-1/shrink 1 unknown: the server stopped during it"
	for _, test := range []struct {
		name string
		step func(*engine.StepJob)
		done func() (bool, error) // nil: the kind cannot tell
		want []string
	}{
		{"harmless, and nobody can tell: it is done again", nil, nil, []string{"do a-1/shrink 1", "report a-1/shrink 1 done: ok"}},
		{"with a key: it is sent again", keyed, nil, []string{"do a-1/shrink 1", "report a-1/shrink 1 done: ok"}},
		{"destructive without a key: nobody knows", destructive, nil, []string{lost}},
		{"destructive, and it has happened", destructive, yes, []string{"ask a-1/shrink 1", "report a-1/shrink 1 done: it had happened already"}},
		{"destructive, and it has not happened", destructive, no, []string{"ask a-1/shrink 1", "do a-1/shrink 1", "report a-1/shrink 1 done: ok"}},
		{"destructive, and whoever could tell does not answer", destructive, mute, []string{"ask a-1/shrink 1", lost + "; whether it has happened cannot be told: 503"}},
		{"perhaps keyed by no more than being asked about, and no answer", keyed, mute, []string{"ask a-1/shrink 1", lost + "; whether it has happened cannot be told: 503"}},
		{"harmless, and whoever could tell does not answer", nil, mute, []string{"ask a-1/shrink 1", "do a-1/shrink 1", "report a-1/shrink 1 done: ok"}},
		{"with a key, and there is nothing to ask", keyed, none, []string{"ask a-1/shrink 1", "do a-1/shrink 1", "report a-1/shrink 1 done: ok"}},
		{"destructive without a key, and there is nothing to ask", destructive, none, []string{"ask a-1/shrink 1", lost}},
		{"with a key, and it has happened", keyed, yes, []string{"ask a-1/shrink 1", "report a-1/shrink 1 done: it had happened already"}},
		{"of a kind that is gone", func(s *engine.StepJob) { s.Step.Kind = "gone" }, nil,
			[]string{`report a-1/shrink 1 unknown: the server stopped during it, and no kind of action "gone" is configured any more`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jobs, w := newJobs(), new(site)
				var kind actions.Kind = w
				if test.done != nil {
					kind = knowing{w, test.done}
				}
				running(t, runner.New(jobs, nil, quiet(w.steps(kind))))
				job := stepJob("a", 1, test.step)
				job.Begun = true
				jobs.add(job)
				after(time.Second)
				wantStory(t, w, test.want...)
				if jobs.owed() != 0 {
					t.Error("its job is still owed")
				}
			})
		})
	}
}

// That the next attempt was refused says nothing of the one that was under way when the worker died.
func TestAFailureAfterAWorkerDiedIsNoneOfTheAttemptBefore(t *testing.T) {
	no, none := func() (bool, error) { return false, nil }, func() (bool, error) { return false, errNothing }
	for _, test := range []struct {
		name    string
		step    func(*engine.StepJob)
		done    func() (bool, error)
		begun   bool
		attempt int
		want    []string
	}{
		{"with a key", keyed, none, true, 1, []string{"ask a-1/shrink 1", "do a-1/shrink 1",
			"report a-1/shrink 1 unknown: the server stopped during it, and the next time: refused"}},
		{"the target was asked", keyed, no, true, 1, []string{"ask a-1/shrink 1", "do a-1/shrink 1", "report a-1/shrink 1 failed, asked: refused"}},
		{"it does no harm", nil, none, true, 1, []string{"ask a-1/shrink 1", "do a-1/shrink 1", "report a-1/shrink 1 failed: refused"}},
		{"no worker died, and the core knows of the attempt before", keyed, none, false, 2, []string{"ask a-1/shrink 2", "do a-1/shrink 2", "report a-1/shrink 2 failed: refused"}},
		{"no worker died, and the target was asked", keyed, no, false, 2, []string{"ask a-1/shrink 2", "do a-1/shrink 2", "report a-1/shrink 2 failed, asked: refused"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jobs, w := newJobs(), new(site)
				w.do = func(context.Context, engine.StepJob) (string, error) { return "", errors.New("refused") }
				running(t, runner.New(jobs, nil, quiet(w.steps(knowing{w, test.done}))))
				job := stepJob("a", 1, test.step)
				job.Begun, job.Step.Attempt = test.begun, test.attempt
				jobs.add(job)
				after(3 * time.Second)
				wantStory(t, w, test.want...)
			})
		})
	}
}

func TestALaterAttemptIsAskedForFirstWhereItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		running(t, runner.New(jobs, nil, quiet(w.steps(knowing{w, func() (bool, error) { return true, nil }}))))
		jobs.add(stepJob("a", 2, func(s *engine.StepJob) { s.Attempt = 2 }))
		after(3 * time.Second)
		wantStory(t, w, "ask a-1/shrink 2", "report a-1/shrink 2 done: it had happened already")
	})
}

func TestTheKindOfAStepMayBeGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		running(t, runner.New(jobs, nil, quiet(w.steps(w))))
		jobs.add(stepJob("a", 1, func(s *engine.StepJob) { s.Step.Kind = "gone" }))
		after(time.Second)
		wantStory(t, w, `report a-1/shrink 1 failed: no kind of action "gone" is configured any more; nothing was done`)
	})
}

func TestALaterAttemptWaitsByItsNumberAndByWhatTheTargetAsked(t *testing.T) {
	for attempt, wait := range map[int]time.Duration{2: time.Second, 3: 2 * time.Second, 5: 8 * time.Second, 20: 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			jobs, w := newJobs(), new(site)
			running(t, runner.New(jobs, nil, quiet(w.steps(w))))
			jobs.add(stepJob("a", attempt, func(s *engine.StepJob) { s.Attempt = attempt }))
			after(wait - time.Millisecond)
			wantStory(t, w)
			after(2 * time.Second)
			wantStory(t, w, fmt.Sprintf("do a-1/shrink %d", attempt), fmt.Sprintf("report a-1/shrink %d done: ok", attempt))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		w.do = func(_ context.Context, s engine.StepJob) (string, error) {
			if s.Attempt > 1 {
				return "ok", nil
			}
			return "", &actions.Error{Err: errors.New("429"), After: time.Minute}
		}
		w.next = func(r report) {
			if r.told.Attempt == 1 {
				jobs.add(stepJob("a", 2, func(s *engine.StepJob) { s.Attempt = 2 })) // as the core does
			}
		}
		running(t, runner.New(jobs, nil, quiet(w.steps(w))))
		jobs.add(stepJob("a", 1, nil))
		after(time.Minute - time.Second)
		wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 failed: 429")
		after(3 * time.Second)
		wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 failed: 429", "do a-1/shrink 2", "report a-1/shrink 2 done: ok")
	})
}

// The jitter is over the whole of the wait: at its lower end there is none, so that steps that failed together do not come
// together again, by half a wait later each.
func TestALaterAttemptMayBeMadeAtOnceByTheJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		opts := w.steps(w)
		opts.Rand, opts.Poll = func() float64 { return 0 }, time.Millisecond
		running(t, runner.New(jobs, nil, quiet(opts)))
		for n := 2; n <= 6; n++ {
			jobs.add(stepJob("a", n, func(s *engine.StepJob) { s.Attempt = n }))
			after(10 * time.Millisecond)
		}
		if got := len(w.told()); got != 10 { // each done and reported
			t.Errorf("in 50 ms there was only %q", w.told())
		}
	})
}

func TestNothingIsDoneThatCannotBeMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		jobs.unwritten = errDisk
		running(t, runner.New(jobs, nil, quiet(w.steps(w))))
		jobs.add(stepJob("a", 1, destructive))
		after(10 * time.Minute)
		wantStory(t, w)
		jobs.set(func(m *memJobs) { m.unwritten = nil })
		after(5 * time.Second)
		wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 done: ok")
	})
}

func TestAnOutcomeIsReportedUntilItIsStoredAndNothingIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w, reg := newJobs(), &site{deaf: errors.New("too many requests wait")}, prometheus.NewRegistry()
		opts := w.steps(w)
		opts.Registerer = reg
		running(t, runner.New(jobs, nil, quiet(opts)))
		jobs.add(stepJob("a", 1, destructive), stepJob("a", 2, nil))
		after(10 * time.Minute) // twenty leases long
		wantStory(t, w, "do a-1/shrink 1")
		if got := unlabelled(t, reg, "modeshift_action_outcomes_unreported"); got != 1 {
			t.Errorf("%v outcomes wait to be reported, want 1", got)
		}
		w.set(func(w *site) { w.deaf = nil })
		after(30 * time.Second)
		wantStory(t, w, "do a-1/shrink 1", "report a-1/shrink 1 done: ok", "do a-1/shrink 1", "report a-1/shrink 1 done: ok")
		if got := unlabelled(t, reg, "modeshift_actions_pending"); got != 0 || jobs.owed() != 0 {
			t.Errorf("%v steps pending, %d owed", got, jobs.owed())
		}
	})
}

func TestAnAttemptNobodyWaitsForIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		opts := w.steps(w)
		opts.Steps.Stale = func(j engine.Job) bool { return j.ID == "a/1" }
		running(t, runner.New(jobs, nil, quiet(opts)))
		old := stepJob("a", 1, destructive)
		old.Begun = true
		jobs.add(old, stepJob("a", 2, func(s *engine.StepJob) { s.Key, s.Step.Name = "a-1/grow", "grow" }))
		after(time.Second)
		wantStory(t, w, "do a-1/grow 1", "report a-1/grow 1 done: ok")
	})
}

func TestAStepThatHangsDelaysNeitherOtherScopesNorNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w, g := newJobs(), new(site), new(target)
		w.do = func(ctx context.Context, s engine.StepJob) (string, error) {
			if s.Scope == "slow" {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "ok", nil
		}
		opts := w.steps(w)
		running(t, runner.New(jobs, pages(g), quiet(opts)))
		jobs.add(stepJob("slow", 1, nil), stepJob("slow", 2, nil), stepJob("a", 1, nil), page("i", 1, engine.NoticeTrigger))
		after(time.Second)
		want := []string{"do a-1/shrink 1", "do slow-1/shrink 1", "report a-1/shrink 1 done: ok"}
		got := w.told()
		slices.Sort(got)
		if !slices.Equal(got, want) || len(g.seen()) != 1 {
			t.Errorf("while one hangs: %q, %d pages", got, len(g.seen()))
		}
	})
}

func TestStepsKeepToTheLimitsOfTheirKindAndOfAll(t *testing.T) {
	for _, test := range []struct{ kinds, perKind, all, want int }{{1, 3, 100, 3}, {3, 3, 5, 5}, {2, 3, 100, 6}, {3, 0, 0, 16}} {
		synctest.Test(t, func(t *testing.T) {
			jobs, w := newJobs(), new(site)
			w.do = func(ctx context.Context, _ engine.StepJob) (string, error) {
				time.Sleep(time.Second)
				return "ok", nil
			}
			opts := w.steps(w)
			opts.Steps.PerKind, opts.Steps.Concurrency = test.perKind, test.all
			for i := range test.kinds {
				opts.Steps.Kinds[fmt.Sprint("k", i)] = w
			}
			for i := range 60 {
				jobs.add(stepJob(engine.Scope(fmt.Sprint("s", i)), 1, func(s *engine.StepJob) { s.Step.Kind = fmt.Sprint("k", i%test.kinds) }))
			}
			running(t, runner.New(jobs, nil, quiet(opts)))
			after(time.Minute)
			if w.most != test.want || jobs.owed() != 0 {
				t.Errorf("%+v: %d at the same time; %d are still owed", test, w.most, jobs.owed())
			}
		})
	}
}

func TestAStoppingRunnerBeginsNoStepAndWaitsForThoseUnderWay(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(ctx context.Context) error
		want []string
		owed int
		mark bool // the next start is told that it was begun
	}{
		{"it ends in time", func(context.Context) error { time.Sleep(3 * time.Second); return nil },
			[]string{"do a-1/shrink 1", "report a-1/shrink 1 done: ok"}, 1, false},
		{"it has to be stopped, and may have happened", func(ctx context.Context) error {
			<-ctx.Done()
			return &actions.Error{Err: ctx.Err(), Unknown: true}
		}, []string{"do a-1/shrink 1"}, 2, true},
		{"it has to be stopped, and has not happened", func(ctx context.Context) error {
			<-ctx.Done()
			return &actions.Error{Err: errors.New("not sent")}
		}, []string{"do a-1/shrink 1"}, 2, false},
		{"it does not heed anybody", func(context.Context) error { time.Sleep(time.Hour); return nil }, []string{"do a-1/shrink 1"}, 2, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jobs, w, g := newJobs(), new(site), new(target)
				w.do = func(ctx context.Context, _ engine.StepJob) (string, error) { return "ok", test.do(ctx) }
				r := runner.New(jobs, pages(g), quiet(w.steps(w)))
				stop := running(t, r)
				jobs.add(stepJob("a", 1, destructive), stepJob("a", 2, nil))
				after(time.Second)
				began := time.Now()
				r.StopSteps(t.Context())
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
				jobs.add(stepJob("b", 1, nil), page("i", 1, engine.NoticeTrigger))
				after(2 * time.Second)
				wantStory(t, w, test.want...)
				if len(g.seen()) != 1 {
					t.Error("a page is held back by steps that were stopped")
				}
				if jobs.owed() != test.owed+1 {
					t.Errorf("%d owed", jobs.owed())
				}
				if j := jobs.byID["a/1"]; j != nil && j.Begun != test.mark {
					t.Errorf("the next start is told that it was begun: %v", j.Begun)
				}
				_ = stop() // it says so when something would not end
				time.Sleep(time.Hour)
			})
		})
	}
}
