package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

// finder finds what it is told to.
type finder func(ctx context.Context) ([]string, error)

func (f finder) Find(ctx context.Context, scope engine.Scope, selector string) ([]string, error) {
	if scope != "a" || selector != "all" {
		return nil, fmt.Errorf("asked for %q in %s", selector, scope)
	}
	return f(ctx)
}

// find makes a job find the targets of its step, three at most.
func find(s *engine.StepJob) {
	destructive(s)
	s.Step.Targets, s.Find = engine.Targets{Selector: "all", Max: 3}, true
}

func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("n%03d", i))
	}
	return names
}

func TestTargetsAreFoundAndNothingIsDone(t *testing.T) {
	for _, test := range []struct {
		name string
		find finder // nil: there is none
		want string // after "found a-1/shrink 1: "
	}{
		{"sorted, and each once", func(context.Context) ([]string, error) { return []string{"b", "a", "b"}, nil }, "2 [a b] "},
		{"none", func(context.Context) ([]string, error) { return nil, nil }, "0 [] "},
		{"as many as it may have", func(context.Context) ([]string, error) { return many(3), nil }, "3 [n000 n001 n002] "},
		{"more: the first are named", func(context.Context) ([]string, error) { return many(4), nil }, "4 [n000 n001 n002 n003] "},
		{"many more", func(context.Context) ([]string, error) { return many(900), nil }, fmt.Sprintf("900 %v ", many(20))},
		{"names are data, whatever they hold", func(context.Context) ([]string, error) { return []string{"--flag", "$(x);\n"}, nil }, "2 [$(x);\n --flag] "},
		{"no answer is not none", func(context.Context) ([]string, error) { return nil, errors.New("connection refused") }, "0 [] connection refused"},
		{"some of them and an error are not those", func(context.Context) ([]string, error) { return many(2), errors.New("partial") }, "0 [] partial"},
		{"it does not answer in time", func(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() },
			"0 [] no answer within 30s (context deadline exceeded)"},
		{"it panics", func(context.Context) ([]string, error) { panic("x") }, "0 [] the action panicked with a string"},
		{"a target without a name", func(context.Context) ([]string, error) { return []string{"", "a"}, nil }, "0 [] a target has no name"},
		{"a name too long", func(context.Context) ([]string, error) { return []string{strings.Repeat("x", 1025)}, nil },
			"0 [] the name of a target has 1025 bytes, and may have 1024"},
		{"nobody can find any", nil, "0 [] this server can find no targets"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jobs, w := newJobs(), new(site)
				opts := quiet(w.steps(w))
				if test.find != nil {
					opts.Steps.Finder = test.find
				}
				running(t, runner.New(jobs, nil, opts))
				jobs.add(stepJob("a", 1, find))
				after(31 * time.Second)
				wantStory(t, w, "found a-1/shrink 1: "+test.want)
				if jobs.owed() != 0 || len(jobs.begun) != 0 {
					t.Errorf("%d jobs are owed, %v were begun", jobs.owed(), jobs.begun)
				}
			})
		})
	}
}

func TestWhatWasFoundIsReportedUntilItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		found := 0
		opts := quiet(w.steps(w))
		opts.Steps.Finder = finder(func(context.Context) ([]string, error) { found++; return many(found), nil })
		w.deaf = errors.New("503")
		running(t, runner.New(jobs, nil, opts))
		jobs.add(stepJob("a", 1, find))
		after(time.Minute)
		w.set(func(w *site) { w.deaf = nil })
		after(time.Minute)
		wantStory(t, w, "found a-1/shrink 1: 1 [n000] ")
	})
}

func TestAStepAfterAHoldOrAfterItsTargetsWereFoundDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, w := newJobs(), new(site)
		running(t, runner.New(jobs, nil, quiet(w.steps(w))))
		jobs.add(stepJob("a", 1, func(s *engine.StepJob) { s.Attempt, s.Prompt, s.Targets = 5, true, []string{"x"} }))
		after(3 * time.Second)
		wantStory(t, w, "do a-1/shrink 5", "report a-1/shrink 5 done: ok")
	})
}
