package runner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

func pages(n actions.Notifier) map[engine.Severity]actions.Notifier {
	return map[engine.Severity]actions.Notifier{engine.SeverityPage: n}
}

func quiet(o runner.Options) runner.Options {
	if o.Log == nil {
		o.Log = new(buffer).logger()
	}
	return o
}

func TestAJobIsAttemptedWithGrowingJitteredWaitsUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n <= 12 {
				return errors.New("down")
			}
			return nil
		}}
		// A jitter at its upper end shows the bounds themselves.
		r := runner.New(jobs, pages(g), quiet(runner.Options{Rand: func() float64 { return 1 }, Poll: 10 * time.Millisecond}))
		running(t, r)
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(25 * time.Minute)
		calls := g.seen()
		if len(calls) != 13 || jobs.owed() != 0 || len(jobs.done) != 1 {
			t.Fatalf("%d attempts, %d owed", len(calls), jobs.owed())
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
			want *= time.Second
			if got := calls[i+1].at.Sub(calls[i].at); got < want || got > want+20*time.Millisecond {
				t.Errorf("the wait after failure %d is %v, want %v", i+1, got, want)
			}
			if calls[i].attempts != i {
				t.Errorf("attempt %d was told of %d before it", i, calls[i].attempts)
			}
		}
	})
}

func TestAFullJitterStartsAtNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n <= 5 {
				return errors.New("down")
			}
			return nil
		}}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{Rand: func() float64 { return 0 }, Poll: time.Millisecond})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(20 * time.Millisecond)
		if len(jobs.done) != 1 {
			t.Errorf("%d attempts in 20 ms, none taken", len(g.seen()))
		}
	})
}

func TestAFinalRefusalIsLoudAndTheNextOfItsKeyGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, log, fallback := newJobs(), new(buffer), new(target)
		reg := prometheus.NewRegistry()
		g := &target{answer: func(_ context.Context, j engine.Job, _ int) error {
			if j.Notice.Action == engine.NoticeTrigger {
				return &actions.Error{Err: errors.New("400: summary is missing"), Final: true}
			}
			return nil
		}}
		r := runner.New(jobs, pages(g), runner.Options{Log: log.logger(), Fallback: fallback, Registerer: reg})
		running(t, r)
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(time.Minute)
		if p, ok := jobs.problem("a-1/1"); !ok || p != "400: summary is missing" {
			t.Errorf("the store was told %q, %v", p, ok)
		}
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/2]" {
			t.Errorf("attempts are %s", got)
		}
		if got := fmt.Sprint(fallback.ids()); got != "[a-1/1]" {
			t.Errorf("the fallback was told of %s", got)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "summary is missing") {
			t.Errorf("the log is %s", log)
		}
		p := r.Problems()
		if len(p) != 1 || !p[0].Final || p[0].Problem != "400: summary is missing" || p[0].Incident != "a-1" || p[0].Summary != "summary of a-1" {
			t.Errorf("problems are %+v", p)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP modeshift_notifications_total Attempts to deliver a notice, by route and outcome: sent; retried (not taken, will be tried again); failed (refused for good); fallback_failed (the fallback did not take it either).
# TYPE modeshift_notifications_total counter
modeshift_notifications_total{outcome="failed",route="none"} 0
modeshift_notifications_total{outcome="failed",route="page"} 1
modeshift_notifications_total{outcome="fallback_failed",route="none"} 0
modeshift_notifications_total{outcome="fallback_failed",route="page"} 0
modeshift_notifications_total{outcome="retried",route="none"} 0
modeshift_notifications_total{outcome="retried",route="page"} 0
modeshift_notifications_total{outcome="sent",route="none"} 0
modeshift_notifications_total{outcome="sent",route="page"} 1
`), "modeshift_notifications_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestASeverityWithoutAReceiverIsToldToTheFallbackOnceAndFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, log := newJobs(), new(buffer)
		running(t, runner.New(jobs, nil, runner.Options{Log: log.logger()}))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(time.Hour)
		if p, _ := jobs.problem("a-1/1"); p != "no receiver configured for page" {
			t.Errorf("the store was told %q", p)
		}
		if n := strings.Count(log.String(), "notice that no receiver got"); n != 1 {
			t.Errorf("the notice was logged %d times:\n%s", n, log)
		}
	})
}

func TestAFallbackThatFailsKeepsAJobNobodyIsConfiguredFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		began := time.Now()
		fallback := &target{answer: func(context.Context, engine.Job, int) error {
			if time.Since(began) < 20*time.Minute {
				return errors.New("down")
			}
			return nil
		}}
		running(t, runner.New(jobs, nil, quiet(runner.Options{Fallback: fallback, Rand: func() float64 { return 1 }})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(time.Hour)
		if _, failed := jobs.problem("a-1/1"); !failed {
			t.Error("the job did not end when the fallback was mended")
		}
		calls := fallback.seen()
		for i := range calls[1:] {
			// Being late is no reason to ask the same fallback twice at once.
			if !calls[i+1].at.After(calls[i].at) {
				t.Errorf("the fallback was asked twice at %v", calls[i].at)
			}
		}
	})
}

func TestALatePageIsToldToTheFallbackOnceAndStillDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, fallback := newJobs(), new(target)
		began := time.Now()
		g := &target{answer: func(context.Context, engine.Job, int) error {
			if time.Since(began) < time.Hour {
				return errors.New("down")
			}
			return nil
		}}
		reg := prometheus.NewRegistry()
		r := runner.New(jobs, map[engine.Severity]actions.Notifier{engine.SeverityPage: g, engine.SeverityTicket: &target{answer: g.answer}},
			quiet(runner.Options{Fallback: fallback, Registerer: reg}))
		running(t, r)
		jobs.add(page("a-1", 1, engine.NoticeTrigger), notice(engine.SeverityTicket, "b-1", 1, engine.NoticeTrigger))
		after(5*time.Minute - time.Nanosecond)
		if n := len(fallback.seen()); n != 0 {
			t.Errorf("within five minutes the fallback was told %d times", n)
		}
		after(30 * time.Minute)
		if got := fmt.Sprint(fallback.ids()); got != "[a-1/1]" {
			t.Errorf("the fallback was told of %s", got)
		}
		if p := r.Problems(); len(p) != 2 || p[0].Final || p[0].Problem != "down" {
			t.Errorf("problems are %+v", p)
		}
		if age := gauge(t, reg, "modeshift_notifications_overdue_seconds", "page"); age < 2000 || age > 2200 {
			t.Errorf("the oldest page is %v s old, want 2,100", age)
		}
		after(time.Hour)
		if jobs.owed() != 0 || len(r.Problems()) != 0 || gauge(t, reg, "modeshift_notifications_overdue_seconds", "page") != 0 {
			t.Errorf("%d jobs are owed after the target was mended; problems %+v", jobs.owed(), r.Problems())
		}
	})
}

func gauge(t *testing.T, g prometheus.Gatherer, name, route string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == route {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, route)
	return 0
}

func TestARetryAfterHoldsForTheWholeRouteAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		began := time.Now()
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n == 1 {
				return &actions.Error{Err: errors.New("429"), After: 42 * time.Second}
			}
			return nil
		}}
		tickets := new(target)
		running(t, runner.New(jobs, map[engine.Severity]actions.Notifier{engine.SeverityPage: g, engine.SeverityTicket: tickets},
			quiet(runner.Options{PerRoute: 1})))
		for i := range 5 {
			jobs.add(page(fmt.Sprintf("a-%d", i), 1, engine.NoticeTrigger), notice(engine.SeverityTicket, fmt.Sprintf("t-%d", i), 1, engine.NoticeTrigger))
		}
		after(5 * time.Second)
		if len(g.seen()) != 1 || len(tickets.seen()) != 5 {
			t.Errorf("after 5 s %d pages and %d tickets were attempted, want 1 and 5", len(g.seen()), len(tickets.seen()))
		}
		after(time.Minute)
		if jobs.owed() != 0 {
			t.Errorf("%d jobs are owed", jobs.owed())
		}
		for _, c := range g.seen()[1:] {
			if c.at.Sub(began) < 42*time.Second {
				t.Errorf("%s was attempted after %v, the target had asked for 42 s", c.id, c.at.Sub(began))
			}
		}
	})
}

func TestAnAbsurdRetryAfterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(_ context.Context, _ engine.Job, n int) error {
			if n == 1 {
				return &actions.Error{Err: errors.New("429"), After: 24 * time.Hour}
			}
			return nil
		}}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(16 * time.Minute)
		if jobs.owed() != 0 {
			t.Error("a page is still owed after MaxAfter")
		}
	})
}

func TestATargetThatHangsDelaysNoOtherRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		hang := &target{answer: func(ctx context.Context, _ engine.Job, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		g := new(target)
		running(t, runner.New(jobs, map[engine.Severity]actions.Notifier{engine.SeverityPage: g, engine.SeverityTicket: hang}, quiet(runner.Options{})))
		// More tickets than the runner leases at once and than it keeps waiting, all before the page.
		for i := range 2500 {
			jobs.add(notice(engine.SeverityTicket, fmt.Sprintf("t-%d", i), 1, engine.NoticeTrigger))
		}
		after(3 * time.Second)
		began := time.Now()
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(2 * time.Second)
		calls := g.seen()
		if len(calls) != 1 || calls[0].at.Sub(began) > time.Second {
			t.Errorf("the page was attempted %v behind hanging tickets, want within a poll", calls)
		}
		if n := len(hang.seen()); n != 4 {
			t.Errorf("%d tickets hang, want PerRoute", n)
		}
	})
}

func TestWhatDoesNotFitTheQueueGoesBackAndIsDeliveredLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(context.Context, engine.Job, int) error { time.Sleep(time.Second); return nil }}
		running(t, runner.New(jobs, pages(g), quiet(runner.Options{Queue: 10})))
		for i := range 200 {
			jobs.add(page(fmt.Sprintf("a-%d", i), 1, engine.NoticeTrigger))
		}
		after(time.Minute)
		var back int
		jobs.set(func(m *memJobs) {
			for _, j := range m.byID {
				if strings.Contains(j.Problem, "behind many others") {
					back++
				}
			}
		})
		if back == 0 {
			t.Error("no job went back to the store")
		}
		after(30 * time.Minute)
		if jobs.owed() != 0 || len(g.seen()) != 200 {
			t.Errorf("%d owed after %d attempts, want 0 after 200", jobs.owed(), len(g.seen()))
		}
	})
}

func TestAPanicIsItsJobsProblemAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(_ context.Context, j engine.Job, n int) error {
			if j.ID == "a-1/1" && n < 4 {
				panic("c4nary")
			}
			return nil
		}}
		log := new(buffer)
		running(t, runner.New(jobs, pages(g), runner.Options{Log: log.logger()}))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("b-1", 1, engine.NoticeTrigger))
		after(time.Minute)
		if jobs.owed() != 0 || !strings.Contains(log.String(), "panicked") || strings.Contains(log.String(), "c4nary") {
			t.Errorf("%d jobs are owed; log %s", jobs.owed(), log)
		}
	})
}

func TestWakeLooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, g := newJobs(), new(target)
		r := runner.New(jobs, pages(g), quiet(runner.Options{Poll: time.Hour}))
		running(t, r)
		// The next of a key follows the one before without a wake: its turn comes when that is done.
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeUpdate), page("a-1", 3, engine.NoticeResolve))
		r.Wake()
		r.Wake()
		synctest.Wait()
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/2 a-1/3]" {
			t.Errorf("without time passing, attempts are %s", got)
		}
	})
}

// limited is a target with a published limit.
type limited struct {
	target
	n    int
	span time.Duration
}

func (l *limited) Limit() (int, time.Duration) { return l.n, l.span }

func TestARateHoldsOverAnySpanAndTheMostUrgentGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &limited{n: 120, span: time.Minute}
		// One notifier for both severities: one rate for both.
		running(t, runner.New(jobs, map[engine.Severity]actions.Notifier{engine.SeverityPage: g, engine.SeverityTicket: g}, quiet(runner.Options{PerRoute: 1})))
		var want []string
		for _, kind := range []struct {
			name     string
			severity engine.Severity
			action   engine.NoticeAction
		}{{"ticket", engine.SeverityTicket, engine.NoticeTrigger}, {"resolve", engine.SeverityPage, engine.NoticeResolve}, {"page", engine.SeverityPage, engine.NoticeTrigger}} {
			var ids []string
			for i := range 200 {
				j := notice(kind.severity, fmt.Sprintf("%s-%03d", kind.name, i), 1, kind.action)
				j.Owed = time.Now().Add(time.Duration(i) * time.Millisecond)
				jobs.add(j)
				ids = append(ids, j.ID)
			}
			want = append(ids, want...)
		}
		after(10 * time.Minute)
		calls := g.seen()
		if len(calls) != 600 {
			t.Fatalf("%d of 600 were sent", len(calls))
		}
		for i := range calls[120:] {
			if d := calls[i+120].at.Sub(calls[i].at); d < time.Minute {
				t.Fatalf("121 events within %v, from the %dth", d, i)
			}
		}
		if last := calls[599].at.Sub(calls[0].at); last > 5*time.Minute {
			t.Errorf("600 events took %v, the rate allows it in four spans and a bit", last)
		}
		if got := g.ids(); !slices.Equal(got, want) {
			t.Errorf("the order is %v\nwant %v", got, want)
		}
	})
}

func TestStopWaitsForAttemptsUnderWayAndStoresThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(context.Context, engine.Job, int) error { time.Sleep(4 * time.Second); return nil }}
		stop := running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), page("a-1", 2, engine.NoticeResolve))
		after(2 * time.Second)
		if err := stop(); err != nil || len(jobs.done) != 1 || len(g.seen()) != 1 {
			t.Errorf("Run = %v; done %v, attempts %v", err, jobs.done, g.ids())
		}
	})
}

func TestStopInterruptsWhatTakesTooLongAndLeavesItDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := newJobs()
		g := &target{answer: func(ctx context.Context, _ engine.Job, n int) error {
			if n == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		opts := quiet(runner.Options{StopTimeout: 3 * time.Second})
		stop := running(t, runner.New(jobs, pages(g), opts))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(time.Second)
		began := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if d := time.Since(began); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("stopping took %v, want 3 s", d)
		}
		running(t, runner.New(jobs, pages(g), opts))
		after(time.Millisecond)
		if got := fmt.Sprint(g.ids()); got != "[a-1/1 a-1/1]" || jobs.owed() != 0 {
			t.Errorf("after the next start attempts are %s, %d owed", got, jobs.owed())
		}
	})
}

func TestStopGivesUpOnANotifierThatIgnoresItsContextAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs, release := newJobs(), make(chan struct{})
		g := &target{answer: func(context.Context, engine.Job, int) error { <-release; return nil }}
		stop := running(t, runner.New(jobs, pages(g), quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger))
		after(2 * time.Second)
		if err := stop(); err == nil || !strings.Contains(err.Error(), "1 attempts under way") {
			t.Errorf("Run = %v", err)
		}
		close(release)
	})
}

func TestRunRefusesToRunTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runner.New(newJobs(), nil, quiet(runner.Options{}))
		running(t, r)
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run began")
		}
	})
}
