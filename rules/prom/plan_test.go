package prom

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

func fetcherOf(limit int, timeout time.Duration, sources ...Source) *fetcher {
	return newFetcher(sources, timeout, limit, noon, nil)
}

func many(n, source int) []fetch {
	var ws []wanted
	for i := range n {
		ws = append(ws, wanted{query{source: source, text: fmt.Sprint("q", i)}, time.Minute})
	}
	return newFusion().plan(ws, noon)
}

func TestThePlanPutsShortWindowsFirstAndKeepsTheOrderOfEqualOnes(t *testing.T) {
	var got []string
	for _, f := range newFusion().plan([]wanted{{query{text: "3d"}, 72 * time.Hour}, {query{text: "5m-a"}, 5 * time.Minute}, {query{text: "1h"}, time.Hour},
		{query{text: "5m-b"}, 5 * time.Minute}}, noon) {
		got = append(got, f.text)
		f.share(answer{detail: f.text}, func(q query, a answer) {
			if q != f.query || a.detail != f.text {
				t.Errorf("the answer to %v went to %v", f.query, q)
			}
		})
	}
	if strings.Join(got, " ") != "5m-a 5m-b 1h 3d" {
		t.Errorf("the order is %v", got)
	}
}

func TestNoMoreQueriesAreUnderWayThanTheLimitAllowsAndNoFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		api := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return &model.Scalar{Value: 1}, nil, nil
		}}
		start := time.Now()
		fetcherOf(4, time.Minute, Source{Name: "main", Replicas: []v1.API{api}}).run(t.Context(), many(12, 0))
		if took := time.Since(start); took != 3*time.Second || most.Load() != 4 {
			t.Errorf("12 queries of a second, 4 at a time, took %v with %d at once", took, most.Load())
		}
	})
}

func hanging() *funcAPI {
	return &funcAPI{query: func(ctx context.Context, _ string, _ time.Time) (model.Value, v1.Warnings, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}}
}

func TestASourceThatHangsIsGivenUpForTheTickAndTheOtherIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := hanging()
		works := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
			return &model.Scalar{Value: 1}, nil, nil
		}}
		f := fetcherOf(3, 5*time.Second, Source{Name: "hangs", Replicas: []v1.API{hangs}}, Source{Name: "works", Replicas: []v1.API{works}})
		start := time.Now()
		answers := f.run(t.Context(), append(many(1000, 0), many(1000, 1)...))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v, want two timeouts of 5 s at most", took)
		}
		if n := len(hangs.queried()); n < 3 || n > 5 {
			t.Errorf("%d queries were sent to the source that hangs, want 3 at once and at most 2 more", n)
		}
		for i, a := range answers {
			if want := map[bool]engine.Why{true: engine.WhyTimeout, false: ""}[i < 1000]; a.why != want {
				t.Fatalf("answer %d is %q (%s), want %q", i, a.why, a.detail, want)
			}
		}
	})
}

func TestTimeoutsWithAnswersBetweenThemDoNotGiveASourceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &funcAPI{}
		api.query = func(ctx context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) {
			if q[len(q)-1]%2 == 0 {
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}
			return &model.Scalar{Value: 1}, nil, nil
		}
		fetcherOf(1, time.Second, Source{Name: "main", Replicas: []v1.API{api}}).run(t.Context(), many(20, 0))
		if n := len(api.queried()); n != 20 {
			t.Errorf("%d queries were sent, want all 20", n)
		}
	})
}

func TestAPanicInTheClientIsOneFailedQuery(t *testing.T) {
	api := &funcAPI{query: func(_ context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) {
		if q == "q1" {
			panic("a bug")
		}
		return &model.Scalar{Value: 1}, nil, nil
	}}
	answers := fetcherOf(1, time.Second, Source{Name: "main", Replicas: []v1.API{api}}).run(t.Context(), many(3, 0))
	if a := answers[1]; a.why != engine.WhyFailed || !strings.Contains(a.detail, "a bug") {
		t.Errorf("the panic became %+v", a)
	}
	if answers[0].why != "" || answers[2].why != "" {
		t.Errorf("the others became %+v", answers)
	}
}

func TestATimeoutIsToldToTheServerInWholeNumbers(t *testing.T) {
	for _, c := range []struct{ given, told time.Duration }{
		{1500 * time.Millisecond, time.Second}, {4 * time.Second, 4 * time.Second}, {90 * time.Second, 90 * time.Second},
		{666666666, 666 * time.Millisecond}, {time.Microsecond, time.Millisecond},
	} {
		if got := whole(c.given); got != c.told {
			t.Errorf("%v is told as %v, want %v", c.given, got, c.told)
		}
	}
}
