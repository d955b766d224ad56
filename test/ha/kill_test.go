package ha

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/test/promtest"
	"github.com/modeshift/modeshift/test/receiver"
)

// burning is a service that burns its budget all the time: one page, one change, and then no more.
const burning = `version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99
    sli:
      events:
        error_query: sum(rate(shop_requests_total{code="500"}[{{.window}}]))
        total_query: sum(rate(shop_requests_total[{{.window}}]))
    windows: [{severity: page, long: 20s, short: 5s, factor: 10}]
    alerting: {name: ShopAvailability, page_alert: {}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded, flags: {recommendations: false}}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page")'}
`

// byHand is a service whose mode only people change.
const byHand = `version: modeshift/v1
service: cart
modes: [{name: normal}, {name: degraded}]
`

// flapping is a service that opens and resolves a ticket all the time, until it is told to be calm: it keeps notices under
// way whenever a kill comes.
func flapping(n int) string {
	return fmt.Sprintf(`version: modeshift/v1
service: flap-%d
slos:
  - name: s
    objective: 99
    sli: {raw: {error_ratio_query: 'max(avg_over_time(flap_ratio{n="%d"}[{{.window}}])) * (1 - scalar(max(calm) or vector(0)))'}}
    windows: [{severity: ticket, long: 2s, short: 1s, factor: 10}]
    alerting: {name: Flap, page_alert: {disable: true}, ticket_alert: {}}
`, n, n)
}

const flaps = 3

// ahead is how far samples are pushed ahead: Prometheus takes none that are more than ten minutes ahead of it.
const ahead = 9 * time.Minute

// burn pushes what keeps shop burning and flap-0, flap-1, … flapping until ahead.
func burn(p *promtest.Prometheus) {
	now := time.Now().Truncate(time.Second)
	p.Push(
		promtest.Counter(`shop_requests_total{code="200"}`, now.Add(-time.Minute), now.Add(ahead), time.Second, 1000, 10),
		promtest.Counter(`shop_requests_total{code="500"}`, now.Add(-time.Minute), now.Add(ahead), time.Second, 1000, 10))
	for n := range flaps {
		series := promtest.Series{Metric: fmt.Sprintf(`flap_ratio{n="%d"}`, n)}
		for at := now.Add(-10 * time.Second); at.Before(now.Add(ahead)); at = at.Add(500 * time.Millisecond) {
			value := float64((at.Unix() + int64(n)) / 2 % 2)
			series.Samples = append(series.Samples, promtest.Sample{At: at, Value: value})
		}
		p.Push(series)
	}
}

// acknowledged is what a client was told to be stored.
type acknowledged struct {
	mu     sync.Mutex // guards events
	events []engine.Event
	last   chan struct{} // gets a value after each, if anybody waits
}

// submit asks for one thing after the other until ctx ends, whether there is a server or not, and remembers what was
// acknowledged.
func (a *acknowledged) submit(ctx context.Context, t *testing.T, s *site) {
	var c *api.Client
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(15 * time.Millisecond) // the load, not a wait for anything
		if c == nil {
			var err error
			if c, err = s.dial(); err != nil {
				continue // the first start has not come so far
			}
		}
		reason := fmt.Sprint("request ", n)
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		var out api.Outcome
		var err error
		switch n % 5 {
		case 0:
			out, err = c.Freeze(call, "cart", reason, 0)
		case 1:
			out, err = c.Set(call, "cart", api.SetRequest{Mode: "degraded", Reason: reason, DirectiveOnly: true})
		case 2:
			out, err = c.Unfreeze(call, "cart", reason)
		case 3:
			out, err = c.Set(call, "cart", api.SetRequest{Mode: "normal", Reason: reason, DirectiveOnly: true})
		case 4:
			out, err = c.Unpin(call, "cart", reason)
		}
		cancel()
		var refused *api.Error
		switch {
		case err == nil && len(out.Events) == 0:
			t.Errorf("%s was acknowledged without an event", reason)
		case err == nil:
			a.mu.Lock()
			for _, e := range out.Events {
				a.events = append(a.events, e.Event)
			}
			a.mu.Unlock()
			select {
			case a.last <- struct{}{}:
			default:
			}
		case errors.As(err, &refused) && refused.Status() != http.StatusConflict && refused.Status() != http.StatusServiceUnavailable:
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// kills is how many times the process is killed: inCI, or fewer on a developer's machine.
func kills(t *testing.T, inCI int) int {
	t.Helper()
	text := os.Getenv("MODESHIFT_KILLS")
	switch {
	case text == "" && os.Getenv("CI") == "true":
		return inCI
	case text == "":
		return min(inCI, 30)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MODESHIFT_KILLS=%q is not a number of kills", text)
	}
	return n
}

func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("MODESHIFT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MODESHIFT_SEED=%q: %v", text, err)
		}
	}
	t.Logf("repeat with MODESHIFT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// soon is how late a job may be that a killed process left, after the restart.
const soon = 5 * time.Second

func TestKilledAtAnyInstantItLosesNothingAndTellsNobodyTwice(t *testing.T) {
	random := seeded(t)
	prometheus := promtest.Start(t, promtest.Options{})
	burn(prometheus)
	people := newReceiver(t)
	files := map[string]string{"shop.yaml": burning, "cart.yaml": byHand}
	for n := range flaps {
		files[fmt.Sprintf("flap-%d.yaml", n)] = flapping(n)
	}
	s := newSite(t, prometheus.URL, people, "{interval: 250ms, blind_after: 1m}", files)

	acks := &acknowledged{last: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var submitting sync.WaitGroup
	submitting.Go(func() { acks.submit(ctx, t, s) })
	defer submitting.Wait()
	defer cancel()

	left, worst := 0, time.Duration(0)
	reached := map[string]int{}
	for i := range kills(t, 200) {
		if people.Scripted(receiver.Tickets) == 0 {
			people.Script(receiver.Tickets, []receiver.Fault{{}, {}, {Kind: receiver.Lost}, {Kind: receiver.Drop}, {Kind: receiver.Status, Status: 503}}[random.IntN(5)])
		}
		if len(alerts(people, receiver.Pages, "")) == 0 {
			people.Script(receiver.Pages, receiver.Fault{Kind: receiver.Lost}) // taken, and the answer never comes
		}
		p := s.start(t)
		when := [...]string{"starting", "ticking", "appending", "delivering", "hanging"}[random.IntN(5)]
		if i%10 == 9 {
			when = "hanging"
		}
		pause := func(most time.Duration) { time.Sleep(time.Duration(random.Int64N(int64(most)))) } // the random instant
		switch when {
		case "starting":
			pause(120 * time.Millisecond)
		case "ticking":
			s.ready(t)
			pause(600 * time.Millisecond)
		case "appending":
			select {
			case <-acks.last:
			case <-time.After(patience):
				t.Fatalf("no request was acknowledged within %s:\n%s", patience, tail(p.said()))
			}
			pause(20 * time.Millisecond)
		case "delivering":
			seen := len(people.Requests())
			waitFor(t, people, "a notice", p, func(r *receiver.Receiver) bool { return len(r.Requests()) > seen })
			pause(10 * time.Millisecond)
		case "hanging":
			// A target that does not answer makes sure that a job is under way.
			people.Clear(receiver.Tickets)
			seen := len(people.Requests())
			people.Script(receiver.Tickets, receiver.Fault{Kind: receiver.Hang})
			waitFor(t, people, "a notice that hangs", p, func(r *receiver.Receiver) bool {
				for _, q := range r.Requests()[seen:] {
					if q.Fault == receiver.Hang {
						return true
					}
				}
				return false
			})
		}
		if p.ended() {
			t.Fatalf("kill %d: the server ended by itself: %v\n%s", i, p.err, tail(p.said()))
		}
		p.kill()
		if said := p.said(); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
			t.Fatalf("kill %d: the server panicked:\n%s", i, said)
		}
		reached[when]++
		if when == "hanging" {
			people.Clear(receiver.Pages) // faults left over would be waited out, and that is not the restart's time
			n, late := s.delivered(t, i)
			left, worst = left+n, max(worst, late)
		}
	}
	cancel()
	submitting.Wait()
	t.Logf("killed %v; %d jobs left by killed processes, the latest delivered %v after the restart", reached, left, worst)
	if left == 0 {
		t.Error("no killed process left a job")
	}

	var before map[engine.Scope]engine.State
	s.look(t, func(log *store.SQLite) {
		var err error
		if before, err = log.LoadAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	people.Clear(receiver.Tickets)
	people.Clear(receiver.Pages)
	last := s.start(t)
	s.ready(t)
	c := s.client(t)
	for _, name := range []engine.Scope{"shop", "cart"} {
		now, was := scope(t, c, name), before[name]
		if now.Mode != was.Mode || now.Target != was.Target || now.Directive == nil || now.Directive.Revision != was.Directive.Revision {
			t.Errorf("%s is in %s (%s, %+v) after the restart, was in %s (%s, %+v)", name, now.Mode, now.Target, now.Directive, was.Mode, was.Target, was.Directive)
		}
	}
	if mode := scope(t, c, "shop").Mode; mode != "degraded" {
		t.Errorf("shop is in %s", mode)
	}
	// Let the tickets end, so that nothing is owed any more.
	calm := promtest.Series{Metric: "calm"}
	for at := time.Now().Truncate(time.Second); at.Before(time.Now().Add(ahead)); at = at.Add(time.Second) {
		calm.Samples = append(calm.Samples, promtest.Sample{At: at, Value: 1})
	}
	prometheus.Push(calm)
	eventually(t, "the end of all tickets and jobs", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Incidents == 1 && st.Jobs.Owed == 0 && st.Jobs.Leased == 0
	})
	if err := last.stop(t); err != nil {
		t.Errorf("the last process ended with %v:\n%s", err, tail(last.said()))
	}

	if out, code := s.modeshift(t, "audit", "verify", s.data); code != 0 || !strings.Contains(out, "the log is whole") {
		t.Errorf("audit verify exits %d: %s", code, out)
	}
	all := s.events(t, "")
	byID := map[string]string{}
	for _, e := range all {
		byID[id(e)] = encoded(t, e)
	}
	lost := 0
	for _, e := range acks.events {
		if byID[id(e)] != encoded(t, e) {
			lost++
			t.Errorf("acknowledged and not in the log: %s %s %s", id(e), e.Kind(), e.Reason.Text)
		}
	}
	t.Logf("%d events acknowledged, %d lost; %d events in the log", len(acks.events), lost, len(all))
	if len(acks.events) == 0 {
		t.Error("nothing was acknowledged")
	}

	if pages := alerts(people, receiver.Pages, ""); len(pages) != 1 || !strings.Contains(pages[0].Summary, "shop") {
		t.Errorf("%d pages, want the one of shop: %+v", len(pages), pages)
	}
	if started := facts[engine.ChangeStarted](s.events(t, "shop")); len(started) != 1 || started[0].Transition != "shed" {
		t.Errorf("changes of shop: %+v, want one", started)
	}
	// What the log owes is what people got: each incident once, and each resolved.
	told := map[string]int{}
	for _, a := range people.Alerts() {
		told[a.Key]++
		if a.Target == receiver.Tickets && a.Resolved.IsZero() {
			t.Errorf("ticket %s was never resolved", a.Key)
		}
	}
	for key, times := range told {
		if times != 1 {
			t.Errorf("%s was opened %d times", key, times)
		}
	}
	if opened := facts[engine.IncidentOpened](all); len(opened) != len(told) {
		t.Errorf("%d incidents in the log, people were told of %d", len(opened), len(told))
	}
	s.look(t, func(log *store.SQLite) {
		for _, state := range []store.JobState{store.JobOwed, store.JobFailed} {
			if jobs, err := log.Jobs(t.Context(), store.JobFilter{State: state}); err != nil || len(jobs) > 0 {
				t.Errorf("%s jobs: %+v, %v", state, jobs, err)
			}
		}
	})
}

func id(e engine.Event) string { return fmt.Sprintf("%s/%d", e.Stream, e.Version) }

func encoded(t *testing.T, e engine.Event) string {
	t.Helper()
	text, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// waitFor waits until something has arrived at the receiver.
func waitFor(t *testing.T, r *receiver.Receiver, what string, p *process, done func(*receiver.Receiver) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Wait(ctx, done); err != nil {
		t.Fatalf("%s did not come within %s:\n%s", what, patience, tail(p.said()))
	}
}

// delivered starts a process after a killed one and waits until it has delivered what that one left, which has to be soon
// after the start, or after the job's own next attempt was due. Then it kills that process too. It returns how many jobs
// there were, and how late the latest was.
func (s *site) delivered(t *testing.T, kill int) (jobs int, late time.Duration) {
	t.Helper()
	var owed []store.JobStatus
	s.look(t, func(log *store.SQLite) {
		var err error
		if owed, err = log.Jobs(t.Context(), store.JobFilter{State: store.JobOwed}); err != nil {
			t.Fatal(err)
		}
	})
	if len(owed) == 0 {
		t.Errorf("kill %d: a notice was under way, and no job is owed", kill)
	}
	began := time.Now()
	p := s.start(t)
	ended := map[string]time.Time{}
	eventually(t, "the jobs a killed process left", func() bool {
		s.look(t, func(log *store.SQLite) {
			done, err := log.Jobs(t.Context(), store.JobFilter{State: store.JobDone})
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range done {
				ended[j.ID] = j.Ended
			}
		})
		for _, j := range owed {
			if ended[j.ID].IsZero() {
				return false
			}
		}
		return true
	})
	p.kill()
	for _, j := range owed {
		due := began
		if j.Due.After(began) {
			due = j.Due // an attempt failed before the kill, and its backoff is not over
		}
		took := ended[j.ID].Sub(due)
		if took > soon {
			t.Errorf("kill %d: job %s was delivered %v after the restart, want %v at most", kill, j.ID, took, soon)
		}
		late = max(late, took)
	}
	return len(owed), late
}
