package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

func TestWhatWasSentIsNotSentAgainWhileItsOutcomeCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, g, log := newJobs(), new(target), new(buffer)
		jobs.unwritten = errDisk
		running(t, runner.New(jobs, pages(g), runner.Options{Log: log.logger()}))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(10 * time.Minute) // twenty leases long
		if got := fmt.Sprint(g.ids()); got != "[a-1/1]" {
			t.Errorf("on a full disk attempts are %s", got)
		}
		if n := strings.Count(log.String(), "cannot store"); n < 9 || n > 11 {
			t.Errorf("ten minutes of a full disk are logged %d times, want once a minute", n)
		}
		jobs.set(func(m *memJobs) { m.unwritten = nil })
		after(2 * time.Second)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/2]" || jobs.owed() != 0 {
			t.Errorf("after the disk was mended attempts are %s, %d owed", got, jobs.owed())
		}
	})
}

func TestAFullDiskStopsNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		jobs.unwritten = errDisk
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n < 10 {
				return errors.New("down")
			}
			return nil
		}}
		reg := prometheus.NewRegistry()
		// These waits grow far beyond a lease, and the fifth ends when the lease has almost run out.
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{Registerer: reg, Rand: func() float64 { return 0.9 }})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(20 * time.Minute)
		calls := g.seen()
		if len(calls) != 10 {
			t.Fatalf("%d attempts on a full disk, want ten, the last one taken", len(calls))
		}
		for i, c := range calls {
			if c.attempts != i {
				t.Errorf("attempt %d was told of %d before it", i, c.attempts)
			}
		}
		for _, want := range []float64{1, 0} {
			if got := unlabelled(t, reg, "modeshift_notification_outcomes_unstored"); got != want {
				t.Errorf("%v outcomes are not stored, want %v", got, want)
			}
			jobs.set(func(m *memJobs) { m.unwritten = nil })
			after(2 * time.Second)
		}
		if jobs.owed() != 0 || len(g.seen()) != 10 {
			t.Errorf("%d owed, %d attempts", jobs.owed(), len(g.seen()))
		}
	})
}

func unlabelled(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestTheNextOfAKeyWaitsForAnAttemptThatOutlivesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, release := newJobs(), make(chan struct{})
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n == 1 {
				<-release // it does not keep to its context
			}
			return nil
		}}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(time.Minute)
		// Another process took the first over and saw it through.
		if err := jobs.Done(t.Context(), "a-1/1"); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1]" {
			t.Errorf("while the first is under way attempts are %s", got)
		}
		close(release)
		after(time.Minute)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/2]" || jobs.owed() != 0 {
			t.Errorf("attempts are %s, %d owed", got, jobs.owed())
		}
	})
}

func TestAnAnswerOfTheStoreThatIsLostCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		jobs.lost = errors.New("connection reset")
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n%3 == 1 {
				return errors.New("down")
			}
			return nil
		}}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		for n := range 6 {
			jobs.add(page("a-1", n, []engine.NoticeAction{engine.NoticeTrigger, engine.NoticeResolve}[n%2]))
		}
		after(5 * time.Minute)
		jobs.set(func(m *memJobs) { m.lost = nil })
		after(5 * time.Minute)
		if jobs.owed() != 0 {
			t.Errorf("%d jobs are owed", jobs.owed())
		}
		var last string
		for _, id := range g.ids() {
			if id < last {
				t.Errorf("%s was attempted after %s", id, last)
			}
			last = id
		}
	})
}

func TestAnErrorThatSettlesTheOutcomeEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, g := newJobs(), new(target)
		jobs.lost = errDisk // as a store that remembers what it cannot write
		reg := prometheus.NewRegistry()
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{Poll: time.Hour, Registerer: reg,
			Settled: func(err error) bool { return errors.Is(err, errDisk) }})))
		after(time.Minute)
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(time.Hour)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/2]" {
			t.Errorf("attempts are %s", got)
		}
	})
}

func TestACrashBetweenSendingAndStoringSendsAgainUnderTheSameKeyAndID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		var keys []string
		g := &target{answer: func(_ context.Context, j engine.Job, _ int) error {
			keys = append(keys, j.Key+" "+j.ID)
			return nil
		}}
		jobs.down = nil
		jobs.unwritten = errDisk // what the first process learned dies with it
		stop := running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(2 * time.Second)
		if err := stop(); err == nil || !strings.Contains(err.Error(), "1 outcomes not stored") {
			t.Errorf("Run = %v", err)
		}
		jobs.set(func(m *memJobs) { m.unwritten = nil })
		jobs.release()
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		after(2 * time.Second)
		if got := strings.Join(keys, ", "); got != "a-1 a-1/1, a-1 a-1/1, a-1 a-1/2" {
			t.Errorf("sent were %s", got)
		}
		if jobs.owed() != 0 {
			t.Errorf("%d jobs are owed", jobs.owed())
		}
	})
}

func TestAJobThatWaitedAsLongAsItsLeaseIsNotSentByWhoeverHeldIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &limited{n: 1, span: 50 * time.Second}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("b-1", 1, engine.NoticeTrigger))
		after(10 * time.Second)
		// Another process takes the second job over and sees it through, while the first still waits for its rate.
		jobs.set(func(m *memJobs) {
			delete(m.byID, "b-1/1")
			delete(m.keys, "b-1")
		})
		after(10 * time.Minute)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1]" {
			t.Errorf("attempts are %s", got)
		}
	})
}

func TestAnEffectOfANewerProgramIsKeptForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, g := newJobs(), new(target)
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(engine.Job{Effect: engine.Effect{ID: "a/1", Key: "a"}}, page("b-1", 1, engine.NoticeTrigger))
		after(time.Hour)
		if _, failed := jobs.problem("a/1"); failed || jobs.owed() != 1 || len(g.seen()) != 1 {
			t.Errorf("failed %v, %d owed, %d attempts", failed, jobs.owed(), len(g.seen()))
		}
	})
}

func TestAStoreThatIsAwayIsAskedAtEachPollAndWorkGoesOnAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, g, log := newJobs(), new(target), new(buffer)
		jobs.down = errors.New("locked")
		running(t, runner.New(jobs, pages(g), runner.Options{Log: log.logger()}))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(10 * time.Second)
		jobs.set(func(m *memJobs) {
			if m.leases > 12 {
				t.Errorf("a store that is away was asked %d times in 10 s", m.leases)
			}
			m.down = nil
		})
		after(time.Second)
		if jobs.owed() != 0 || !strings.Contains(log.String(), "cannot lease jobs") || !strings.Contains(log.String(), "answers again") {
			t.Errorf("%d owed; log %s", jobs.owed(), log)
		}
	})
}
