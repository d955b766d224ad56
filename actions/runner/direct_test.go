package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/actions"
	notices "github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

func logNotice(action engine.NoticeAction) engine.Notice {
	return engine.Notice{Action: action, Incident: notices.LogIncident, Severity: engine.SeverityPage,
		Summary: "the log cannot be written", Event: engine.Event{At: time.Now()}}
}

func TestDirectNeedsNeitherStoreNorRunAndTriesUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		jobs.down = errDisk
		var got []string
		g := &target{answer: func(_ context.Context, j engine.Job, n int) error {
			got = append(got, fmt.Sprintf("%s %s %d", j.Notice.Incident, j.Notice.Action, j.Attempts))
			if n < 4 {
				return errors.New("down")
			}
			return nil
		}}
		r := runner.New(jobs, pages(g), quiet(runner.Options{}))
		if err := r.Direct(t.Context(), logNotice(engine.NoticeTrigger)); err != nil {
			t.Error(err)
		}
		if want := "log trigger 0, log trigger 1, log trigger 2, log trigger 3"; strings.Join(got, ", ") != want {
			t.Errorf("attempts are %s, want %s", strings.Join(got, ", "), want)
		}
		ids := g.ids()
		if ids[0] != ids[3] || !strings.HasPrefix(ids[0], "direct/log/trigger/") {
			t.Errorf("the IDs of one notice are %v", ids)
		}
	})
}

func TestADirectResolveWaitsForItsTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []engine.NoticeAction
		g := &target{answer: func(_ context.Context, j engine.Job, n int) error {
			if n < 6 {
				return errors.New("down")
			}
			taken = append(taken, j.Notice.Action)
			return nil
		}}
		r := runner.New(newJobs(), pages(g), quiet(runner.Options{}))
		answers := make(chan error, 3)
		for _, n := range []engine.Notice{logNotice(engine.NoticeTrigger), logNotice(engine.NoticeUpdate), logNotice(engine.NoticeResolve)} {
			go func() { answers <- r.Direct(t.Context(), n) }()
			synctest.Wait()
		}
		for range 3 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if fmt.Sprint(taken) != "[trigger update resolve]" {
			t.Errorf("taken were %v", taken)
		}
	})
}

func TestDirectEndsWithItsCallerAndTheNextStillWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		var taken []engine.NoticeAction
		g := &target{answer: func(_ context.Context, j engine.Job, _ int) error {
			if !up.Load() {
				return errors.New("down")
			}
			taken = append(taken, j.Notice.Action)
			return nil
		}}
		r := runner.New(newJobs(), pages(g), quiet(runner.Options{}))
		first := make(chan error, 1)
		go func() { first <- r.Direct(t.Context(), logNotice(engine.NoticeTrigger)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Direct(ctx, logNotice(engine.NoticeUpdate)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that gave up hears %v", err)
		}
		last := make(chan error, 1)
		go func() { last <- r.Direct(t.Context(), logNotice(engine.NoticeResolve)) }()
		after(time.Minute)
		up.Store(true)
		if err := errors.Join(<-first, <-last); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(taken) != "[trigger resolve]" {
			t.Errorf("taken were %v", taken)
		}
	})
}

func TestDirectReturnsAFinalRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("400: no")
		g := &target{answer: func(context.Context, engine.Job, int) error { return &actions.Error{Err: refused, Final: true} }}
		fallback := new(target)
		r := runner.New(newJobs(), pages(g), quiet(runner.Options{Fallback: fallback}))
		if err := r.Direct(t.Context(), logNotice(engine.NoticeTrigger)); !errors.Is(err, refused) || !actions.Final(err) {
			t.Errorf("Direct = %v", err)
		}
		if len(fallback.seen()) != 1 {
			t.Errorf("the fallback was told %d times", len(fallback.seen()))
		}
		if err := runner.New(newJobs(), nil, quiet(runner.Options{})).Direct(t.Context(), logNotice(engine.NoticeTrigger)); err == nil ||
			!strings.Contains(err.Error(), "no receiver configured for page") {
			t.Errorf("without a receiver Direct = %v", err)
		}
	})
}

func TestDirectSharesTheRateOfItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &limited{n: 1, span: 50 * time.Second}
		r := runner.New(newJobs(), pages(g), quiet(runner.Options{}))
		for range 2 {
			if err := r.Direct(t.Context(), logNotice(engine.NoticeTrigger)); err != nil {
				t.Error(err)
			}
		}
		if c := g.seen(); c[1].at.Sub(c[0].at) < 50*time.Second {
			t.Errorf("two events within %v", c[1].at.Sub(c[0].at))
		}
	})
}
