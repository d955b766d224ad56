package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// reader is an open stream, read line by line.
type reader struct {
	t     testing.TB
	body  io.ReadCloser
	lines chan string
}

// open opens a stream as a browser would: the path, and the id it got last.
func (s *service) open(t testing.TB, bearer, query, lastID string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+secretOf(bearer))
	if lastID != "" {
		q.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := s.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream is answered %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	r := &reader{t, resp.Body, make(chan string, 10_000)}
	go func() {
		defer close(r.lines)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			r.lines <- lines.Text()
		}
	}()
	t.Cleanup(r.cut)
	r.line("retry: ") // from here on the server has it at its position
	return r
}

// cut ends the connection without a word.
func (r *reader) cut() { _ = r.body.Close() } // it may be cut already

// line returns the rest of the next line that begins so.
func (r *reader) line(prefix string) string {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case line, open := <-r.lines:
			if !open {
				r.t.Fatalf("the stream ended before a line %q", prefix)
			}
			if rest, found := strings.CutPrefix(line, prefix); found {
				return rest
			}
		case <-timer.C:
			r.t.Fatalf("no line %q within %s", prefix, patience)
		}
	}
}

// ids returns the next n ids, and checks that each has an event as data.
func (r *reader) ids(n int) (ids []int64) {
	r.t.Helper()
	for range n {
		id, err := strconv.ParseInt(r.line("id: "), 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := engine.Decode([]byte(r.line("data: "))); err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// ended waits until the server has ended the stream.
func (r *reader) ended() {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case _, open := <-r.lines:
			if !open {
				return
			}
		case <-timer.C:
			r.t.Fatalf("the stream did not end within %s", patience)
		}
	}
}

func span(from, to int64) (list []int64) {
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func TestAStreamBeginsNowAndPushesWhatIsCommitted(t *testing.T) {
	w := newWorld(t, "checkout")
	r := serve(t, w, nil).open(t, "viewer-all", "", "")
	last := int64(len(w.log))
	w.freezes(t, "checkout", 3)
	if got, want := r.ids(3), span(last+1, last+3); !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
}

func TestAReaderThatIsCutOffAgainAndAgainMissesNothingAndSeesNothingTwice(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	const total = 400
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			scope := engine.Scope("checkout")
			if i%3 == 0 {
				scope = "payments"
			}
			if _, err := w.submit(scope, engine.Actor{}, &engine.FreezeRequested{Reason: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
	}()
	s := serve(t, w, nil)
	begin := int64(len(newWorld(t, "checkout", "payments").log))
	var got []int64
	id := strconv.FormatInt(begin, 10)
	for round := 0; len(got) < total; round++ {
		if round == 3 { // and the server is restarted: everything it remembered is gone
			s = serve(t, w, nil)
		}
		r := s.open(t, "viewer-all", "", id)
		got = append(got, r.ids(min(1+round*7, total-len(got)))...)
		r.cut()
		id = strconv.FormatInt(got[len(got)-1], 10)
	}
	<-done
	if want := span(begin+1, begin+total); !slices.Equal(got, want) {
		t.Errorf("got %d ids %v, want %v", len(got), got, want)
	}
}

func TestAReaderFarBehindCatchesUpAndGoesOnLive(t *testing.T) {
	w := newWorld(t, "checkout")
	w.freezes(t, "checkout", 3000) // more than the feed keeps, and than it reads at once
	s := serve(t, w, nil)
	live := s.open(t, "viewer-all", "", "")
	behind := s.open(t, "viewer-all", "?after=0", "")
	total := int64(len(w.log))
	if got, want := behind.ids(int(total)), span(1, total); !slices.Equal(got, want) {
		t.Fatalf("got %d ids, the last %d; want 1 to %d", len(got), got[len(got)-1], total)
	}
	w.freezes(t, "checkout", 2000)
	for name, r := range map[string]*reader{"live": live, "behind": behind} {
		if got, want := r.ids(2000), span(total+1, total+2000); !slices.Equal(got, want) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAStreamShowsOnlyWhatWasAskedForAndMayBeSeen(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	s := serve(t, w, nil)
	last := int64(len(w.log))
	bounded := s.open(t, "viewer-checkout", "", "")
	asked := s.open(t, "viewer-all", "?scope=payments", "")
	fleet := s.open(t, "viewer-all", "?scope=fleet", strconv.FormatInt(last, 10))
	w.freezes(t, "checkout", 2)   // +1, +2
	w.freezes(t, "payments", 1)   // +3
	w.freezes(t, engine.Fleet, 1) // +4, the fleet's first may come with others
	w.freezes(t, "checkout", 1)   // the last
	end := int64(len(w.log))
	if got, want := bounded.ids(3), []int64{last + 1, last + 2, end}; !slices.Equal(got, want) {
		t.Errorf("a viewer of checkout gets %v, want %v", got, want)
	}
	if got, want := asked.ids(1), []int64{last + 3}; !slices.Equal(got, want) {
		t.Errorf("who asks for payments gets %v, want %v", got, want)
	}
	if got := fleet.ids(1); got[0] <= last+3 || got[0] >= end {
		t.Errorf("who asks for the fleet gets %v", got)
	}
}

func TestAPositionThatCannotBeResumedIsAnsweredClearly(t *testing.T) {
	w := newWorld(t, "checkout")
	w.freezes(t, "checkout", 5)
	w.cut = 3
	s := serve(t, w, nil)
	last := len(w.log)
	for name, c := range map[string]struct {
		id     string
		status int
		says   string
	}{
		"garbage":      {"abc", 400, "a whole number"},
		"negative":     {"-1", 400, "a whole number"},
		"a fraction":   {"1.5", 400, "a whole number"},
		"beyond int64": {"99999999999999999999", 400, "a whole number"},
		"ahead":        {strconv.Itoa(last + 1), 410, fmt.Sprintf("ends at %d", last)},
		"archived":     {"2", 410, "begins behind position 3"},
		"far too long": {strings.Repeat("1", 41), 422, "length"},
	} {
		for _, how := range []string{"header", "query"} {
			t.Run(name+" by "+how, func(t *testing.T) {
				header, path := as("viewer-all"), "/api/v1/events"
				if how == "header" {
					header.Set("Last-Event-ID", c.id)
				} else {
					path += "?after=" + c.id
				}
				resp, text := s.do(t, "GET", path, "", header)
				if resp.StatusCode != c.status || !strings.Contains(text, c.says) {
					t.Errorf("got %d %s; want %d …%s…", resp.StatusCode, text, c.status, c.says)
				}
			})
		}
	}
	r := s.open(t, "viewer-all", "?after=garbage", "3") // the header wins
	if got := r.ids(1); got[0] != 4 {
		t.Errorf("got %v", got)
	}
	if got := s.open(t, "viewer-all", "", strconv.Itoa(last)); got == nil {
		t.Error("the log's end cannot be resumed")
	}
}

func TestAnIdleStreamLivesOnByHeartbeatsBeyondTheServersTimeouts(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, func(o *api.Options) { o.Heartbeat = 20 * time.Millisecond })
	r := s.open(t, "viewer-all", "", "")
	began := time.Now()
	for time.Since(began) < 3*s.Config.WriteTimeout {
		r.line(": still here")
	}
	w.freezes(t, "checkout", 1)
	r.ids(1)
}

func TestClosingTheAPIEndsItsStreamsAndAFullHouseIsAnswered503(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, func(o *api.Options) { o.MaxStreams = 1 })
	r := s.open(t, "viewer-all", "", "")
	if resp, text := s.do(t, "GET", "/api/v1/events", "", as("viewer-all")); resp.StatusCode != 503 || !strings.Contains(text, "too many") {
		t.Errorf("a second stream: %d %s", resp.StatusCode, text)
	}
	s.api.Close()
	r.ended()
	if resp, text := s.do(t, "GET", "/api/v1/events", "", as("viewer-all")); resp.StatusCode != 503 || !strings.Contains(text, "stopping") {
		t.Errorf("after Close: %d %s", resp.StatusCode, text)
	}
	s.api.Close() // twice does nothing
}

func TestASlowReaderIsCutOffAndHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, "checkout")
	var slow atomic.Int64
	s := serve(t, w, func(o *api.Options) {
		o.WriteWait = 300 * time.Millisecond
		o.Limiter = api.NewLimiter(api.Limits{}, func(reason string) {
			if reason == api.LimitedSlow {
				slow.Add(1)
			}
		})
	})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server has closed its side
	if err := conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", secretOf("viewer-all")); err != nil {
		t.Fatal(err)
	}
	if status, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || !strings.Contains(status, "200") {
		t.Fatalf("%q, %v", status, err)
	}
	quick := s.open(t, "viewer-all", "", "")
	long := strings.Repeat("x", 64<<10)
	for deadline := time.Now().Add(patience); !strings.Contains(s.logs.String(), "event stream ended"); {
		if time.Now().After(deadline) {
			t.Fatal("the reader that does not read was not cut off")
		}
		w.decide(t, "checkout", engine.Actor{}, &engine.FreezeRequested{Reason: long})
		quick.ids(1)
	}
	if !strings.Contains(s.logs.String(), "i/o timeout") {
		t.Errorf("cut off for another reason: %s", s.logs)
	}
	if slow.Load() != 1 {
		t.Errorf("%d slow readers were counted", slow.Load())
	}
}

func TestManyReadersCostTheLogOneReadingPerCommit(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, nil)
	const readers, commits = 50, 20
	var list []*reader
	for range readers {
		list = append(list, s.open(t, "viewer-all", "", ""))
	}
	before := w.reads.Load()
	for range commits {
		w.freezes(t, "checkout", 1)
		var wait sync.WaitGroup
		for _, r := range list {
			wait.Go(func() { r.line("id: ") })
		}
		wait.Wait()
	}
	// One reading finds the event, and one more at most finds that there is nothing after it.
	if n := w.reads.Load() - before; n > 2*commits+2 {
		t.Errorf("%d readings of the log for %d commits and %d readers", n, commits, readers)
	}
}

func TestTheClientFollowsAndResumesOverARestart(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, nil)
	last := int64(len(w.log))
	w.freezes(t, "checkout", 4)
	var got []int64
	for e, err := range s.client(t, "viewer-all").Events(t.Context(), "checkout", last) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Position)
		if e.Event.Kind() != "AutomationFrozen" {
			t.Errorf("event %d is %s", e.Position, e.Event.Kind())
		}
		if len(got) == 4 {
			break
		}
	}
	if want := span(last+1, last+4); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	// The server stops in the middle of a stream: the error says so, and what was seen is enough to go on.
	got = nil
	for e, err := range s.client(t, "viewer-all").Events(t.Context(), "", last) {
		if err != nil {
			if !errors.Is(err, api.ErrNoServer) {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
		if got = append(got, e.Position); len(got) == 4 {
			s.api.Close()
		}
	}
	w.freezes(t, "checkout", 1)
	again := serve(t, w, nil)
	for e, err := range again.client(t, "viewer-all").Events(t.Context(), "", got[len(got)-1]) {
		if err != nil || e.Position != last+5 {
			t.Errorf("resumed at %d, %v", e.Position, err)
		}
		break
	}

	for _, err := range again.client(t, "instance-checkout").Events(t.Context(), "", api.FromNow) {
		if apiError(t, err).Status() != 403 {
			t.Errorf("an instance: %v", err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(enough) })
	for _, err := range again.client(t, "viewer-all").Events(ctx, "", api.FromNow) {
		if !errors.Is(err, enough) {
			t.Errorf("cancelled: %v", err)
		}
	}
}
