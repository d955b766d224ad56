package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
)

var past = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// archive is a server that knows the past: at each instant the number of minutes since past. fails says what is wrong with a span.
type archive struct {
	v1.API
	fails        func(n int, from, to time.Time) error
	asked, under atomic.Int32
	most         atomic.Int32 // that were under way at once
	takes        time.Duration
}

func (a *archive) QueryRange(ctx context.Context, _ string, r v1.Range, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	n := a.asked.Add(1)
	under := a.under.Add(1)
	defer a.under.Add(-1)
	for most := a.most.Load(); under > most && !a.most.CompareAndSwap(most, under); most = a.most.Load() {
	}
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return nil, nil, nil, ctx.Err()
		}
	}
	if a.fails != nil {
		if err := a.fails(int(n), r.Start, r.End); err != nil {
			return nil, nil, nil, err
		}
	}
	s := &model.SampleStream{Metric: model.Metric{"job": "a"}}
	for at := r.Start; !at.After(r.End); at = at.Add(r.Step) {
		s.Values = append(s.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()), Value: model.SampleValue(at.Sub(past).Minutes())})
	}
	return model.Matrix{s}, v1.Warnings{"said"}, nil, nil
}

func (a *archive) Query(_ context.Context, _ string, at time.Time, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	return &model.Scalar{}, nil, nil, a.fails(int(a.asked.Add(1)), at, at)
}

func server(code, errorType, text string) error {
	return &v1.Error{Type: v1.ErrServer, Msg: "server error: " + code, Detail: fmt.Sprintf(`{"status":"error","errorType":%q,"error":%q}`, errorType, text)}
}

var hour = v1.Range{Start: past, End: past.Add(59 * time.Minute), Step: time.Minute}

func TestWhatABusyServerTurnsAwayIsAskedAgainLater(t *testing.T) {
	for name, err := range map[string]error{
		"429":                     &v1.Error{Type: v1.ErrClient, Msg: "client error: 429", Detail: "slow down"},
		"503":                     server("503", "unavailable", "no"),
		"its queue":               server("503", "timeout", "query timed out in query queue"),
		"502":                     &v1.Error{Type: v1.ErrServer, Msg: "server error: 502", Detail: "<html>"},
		"a connection that broke": &net.OpError{Op: "read", Err: errors.New("connection reset by peer")},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &archive{fails: func(n int, _, _ time.Time) error {
				if n < 3 {
					return err
				}
				return nil
			}}
			p := NewPatient(a, PatientOptions{OnFail: func(err error) { t.Errorf("%s: it failed: %v", name, err) }})
			began := time.Now()
			value, _, _, err := p.QueryRange(t.Context(), "up", hour)
			if err != nil || len(value.(model.Matrix)[0].Values) != 60 || p.Sent() != 3 {
				t.Errorf("%s: %v, %d queries", name, err, p.Sent())
			}
			if waited := time.Since(began); waited != 1500*time.Millisecond {
				t.Errorf("%s: it waited %v, want half a second and then a second", name, waited)
			}
		})
	}
}

func TestAServerThatStaysBusyEndsTheWholeWithTheQueryAndTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		p := NewPatient(&archive{fails: func(int, time.Time, time.Time) error { return server("503", "unavailable", "shutting down") }},
			PatientOptions{OnFail: func(err error) { told = append(told, err) }})
		for range 2 {
			if _, _, _, err := p.QueryRange(t.Context(), "sum(up)", hour); err == nil {
				t.Error("it is answered")
			}
		}
		want := "sum(up) from 2026-03-01T12:00:00Z to 2026-03-01T12:59:00Z: unavailable: shutting down"
		if len(told) != 1 || told[0].Error() != want || p.Sent() != 12 {
			t.Errorf("told %v after %d queries, want once %q after six each", told, p.Sent(), want)
		}
	})
}

// A server with all its places taken lets a query wait until the query's time is over. A half of it would wait as long, and halves of
// halves are more queries for a server that has too many.
func TestWhatWaitedInTheQueueToTheEndIsNotHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		var spans []time.Duration
		a := &archive{takes: 2 * time.Minute, fails: func(_ int, from, to time.Time) error {
			spans = append(spans, to.Sub(from))
			return server("503", "timeout", "query timed out in query queue")
		}}
		p := NewPatient(a, PatientOptions{Tries: 3, OnFail: func(err error) { told = append(told, err) }})
		if _, _, _, err := p.QueryRange(t.Context(), "sum(up)", hour); err == nil {
			t.Error("it is answered")
		}
		want := "sum(up) from 2026-03-01T12:00:00Z to 2026-03-01T12:59:00Z: query timed out in query queue"
		if len(told) != 1 || told[0].Error() != want {
			t.Errorf("told %v, want once %q", told, want)
		}
		if fmt.Sprint(spans) != "[59m0s 59m0s 59m0s]" {
			t.Errorf("asked for spans of %v, want three times the whole", spans)
		}
	})
}

// The server is given less time than its answer: who gives up first does not hear why the server would have.
func TestTheServerGivesUpBeforeThePatientDoes(t *testing.T) {
	var waits time.Duration
	var asked url.Values
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what cannot be read is not there
		asked = r.Form
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":"error","errorType":"timeout","error":"query timed out in query queue"}`)
	})
	srv := httptest.NewServer(hang)
	defer srv.Close()
	api, err := DialPast("past", config.DefaultHTTPClientConfig, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPatient(deadlined{api, &waits}, PatientOptions{Timeout: 90 * time.Second, Tries: 1, OnFail: func(error) {}})
	if _, _, _, err := p.QueryRange(t.Context(), "up", hour, v1.WithTimeout(1000*time.Hour)); err == nil {
		t.Error("it is answered")
	}
	if asked.Get("timeout") != "1m30s" || waits <= 90*time.Second || waits > 100*time.Second {
		t.Errorf("the server is told %q, and waited for %v, want 1m30s and ten seconds more", asked.Get("timeout"), waits)
	}
}

// deadlined notes how long it is given.
type deadlined struct {
	v1.API
	given *time.Duration
}

func (d deadlined) QueryRange(ctx context.Context, query string, r v1.Range, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	if at, has := ctx.Deadline(); has {
		*d.given = time.Until(at)
	}
	return d.API.QueryRange(ctx, query, r, opts...)
}

func TestWhatIsTooMuchIsAskedForInHalvesAndComesBackWhole(t *testing.T) {
	for name, err := range map[string]error{
		"the limit of samples": &v1.Error{Type: v1.ErrExec, Msg: "query processing would load too many samples into memory in query execution"},
		"the limit of time":    server("503", "timeout", "query timed out in expression evaluation"),
		"the limit of points":  &v1.Error{Type: v1.ErrBadData, Msg: "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"},
		"a long answer":        fmt.Errorf("read: %w", errTooLong),
		"no answer in time":    context.DeadlineExceeded,
	} {
		a := &archive{fails: func(_ int, from, to time.Time) error {
			if to.Sub(from) > 8*time.Minute {
				return err
			}
			return nil
		}}
		p := NewPatient(a, PatientOptions{OnFail: func(err error) { t.Errorf("%s: it failed: %v", name, err) }})
		value, warnings, _, err := p.QueryRange(t.Context(), "up", hour)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m := value.(model.Matrix)
		if len(m) != 1 || len(m[0].Values) != 60 || len(warnings) != 8 {
			t.Errorf("%s: %d series, %d warnings", name, len(m), len(warnings))
			continue
		}
		for i, v := range m[0].Values {
			if int(v.Value) != i || !v.Timestamp.Time().Equal(past.Add(time.Duration(i)*time.Minute)) {
				t.Errorf("%s: point %d is %v", name, i, v)
			}
		}
	}
}

func TestAnInstantThatIsTooMuchByItselfEndsTheWhole(t *testing.T) {
	var told error
	p := NewPatient(&archive{fails: func(int, time.Time, time.Time) error {
		return &v1.Error{Type: v1.ErrExec, Msg: "query processing would load too many samples into memory in query execution"}
	}}, PatientOptions{OnFail: func(err error) { told = err }})
	if _, _, _, err := p.QueryRange(t.Context(), "up", hour); err == nil || told == nil || !strings.Contains(told.Error(), "up at 2026-03-01T12:00:00Z: execution: query processing would load too many samples") {
		t.Errorf("%v, told %v", err, told)
	}
}

func TestAnErrorOfTheDataIsAnAnswerAndARefusedQueryIsNot(t *testing.T) {
	told := 0
	many := &v1.Error{Type: v1.ErrExec, Msg: "found duplicate series for the match group"}
	p := NewPatient(&archive{fails: func(int, time.Time, time.Time) error { return many }}, PatientOptions{OnFail: func(error) { told++ }})
	_, _, _, err := p.QueryRange(t.Context(), "a / b", hour)
	_, _, _, errAt := p.Query(t.Context(), "a / b", past)
	if !errors.Is(err, many) || !errors.Is(errAt, many) || told != 0 || p.Sent() != 2 {
		t.Errorf("%v, %v, told %d times, %d queries; want the error itself, at once", err, errAt, told, p.Sent())
	}
	p = NewPatient(&archive{fails: func(int, time.Time, time.Time) error { return &v1.Error{Type: v1.ErrBadData, Msg: "unknown function"} }},
		PatientOptions{OnFail: func(error) { told++ }})
	if _, _, _, err := p.Query(t.Context(), "frob(x)", past); err == nil || told != 1 || p.Sent() != 1 {
		t.Errorf("%v, told %d times, %d queries; want it to end the whole at once", err, told, p.Sent())
	}
}

func TestNoMoreQueriesAreUnderWayThanMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{takes: time.Second}
		p := NewPatient(a, PatientOptions{Parallel: 3, OnFail: func(error) {}})
		began := time.Now()
		done := make(chan error, 10)
		for range 10 {
			go func() {
				_, _, _, err := p.QueryRange(t.Context(), "up", hour)
				done <- err
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if a.most.Load() != 3 || time.Since(began) != 4*time.Second {
			t.Errorf("%d at once, in %v; want three, in four turns", a.most.Load(), time.Since(began))
		}
	})
}

func TestWhoGivesUpIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	p := NewPatient(&archive{}, PatientOptions{OnFail: func(err error) { t.Errorf("told %v", err) }})
	if _, _, _, err := p.QueryRange(ctx, "up", hour); !errors.Is(err, enough) {
		t.Errorf("%v, want the reason for giving up", err)
	}
}

func TestASourceThatIsCalledLikeTheDefaultIsTheDefault(t *testing.T) {
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
slis:
  - {name: here, query: 'max(latency)', source: prometheus, agree: 2}
  - {name: west, query: 'max(latency)', source: west}
  - {name: any, query: 'max(latency)'}
`)
	api := &archive{}
	var got []string
	for _, s := range Sources(set, api) {
		got = append(got, fmt.Sprint(s.Name, " ", len(s.Replicas)))
		for _, r := range s.Replicas {
			if r != v1.API(api) {
				t.Errorf("%s is %v", s.Name, r)
			}
		}
	}
	if strings.Join(got, ", ") != "prometheus 2, west 1" {
		t.Errorf("%v, want both that agree in the one that is asked", got)
	}
}

// skewed is a server whose clock is ahead, and that read five samples for each query.
type skewed struct{ v1.API }

func (s skewed) Query(ctx context.Context, query string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	*ctx.Value(noteKey{}).(*note) = note{samples: 5, ahead: time.Hour}
	return s.API.Query(ctx, query, at, opts...)
}

func (s skewed) QueryRange(ctx context.Context, query string, r v1.Range, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	*ctx.Value(noteKey{}).(*note) = note{samples: 5, ahead: time.Hour}
	return s.API.QueryRange(ctx, query, r, opts...)
}

func TestThePastIsKnownWhateverTheServersClockShows(t *testing.T) {
	api := skewed{&archive{fails: func(_ int, from, to time.Time) error {
		if to.Sub(from) > 40*time.Minute {
			return errTooLong
		}
		return nil
	}}}
	if a := send(t.Context(), api, "up", past, time.Minute); a.why != engine.WhyStale {
		t.Errorf("of the present: %+v", a)
	}
	p := NewPatient(api, PatientOptions{OnFail: func(err error) { t.Error(err) }})
	if a := send(t.Context(), p, "up", past, time.Minute); a.why != "" || a.samples != 5 {
		t.Errorf("of the past: %+v", a)
	}
	var noted note
	if _, _, _, err := p.QueryRange(context.WithValue(t.Context(), noteKey{}, &noted), "up", hour); err != nil || noted != (note{samples: 15}) {
		t.Errorf("of a span that was too much and its halves: %+v, %v", noted, err)
	}
}

// A client that panics truly, on what a stranger sends.
type panicking struct {
	v1.API
	list []int
}

func (p panicking) QueryRange(context.Context, string, v1.Range, ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	return model.Matrix{{Values: []model.SamplePair{{Value: model.SampleValue(p.list[1])}}}}, nil, nil, nil
}

// Who goes on without the answer would take a hole in the past for a quiet night, and the places of those that panicked would be taken for
// ever.
func TestAPanicOfTheClientEndsTheWholeAndGivesUpItsPlace(t *testing.T) {
	var told []error
	p := NewPatient(panicking{}, PatientOptions{Parallel: 1, OnFail: func(err error) { told = append(told, err) }})
	for range 2 {
		if _, _, _, err := p.QueryRange(t.Context(), "sum(up)", hour); err == nil || crash.Of(err) == nil {
			t.Errorf("%v", err)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0].Error(), "sum(up) from 2026-03-01T12:00:00Z to 2026-03-01T12:59:00Z: modeshift failed") || p.Sent() != 2 {
		t.Errorf("told %v after %d queries", told, p.Sent())
	}
}
