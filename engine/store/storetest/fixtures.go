package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
)

// epoch is when the tests' logs begin.
var epoch = time.Date(2026, 3, 29, 0, 59, 59, 123456789, time.UTC)

// Clock is a clock that stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at epoch.
func NewClock() *Clock { return &Clock{now: epoch} }

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Event makes an event of a stream that owes nothing.
func Event(stream engine.Scope, version engine.Version, fact engine.Fact) engine.Event {
	return engine.Event{
		Stream: stream, Version: version, At: epoch.Add(time.Duration(version) * time.Second), Rules: "d1",
		Cause:  engine.Cause{Input: "observed", Instant: epoch, Prev: epoch.Add(-15 * time.Second)},
		Reason: engine.Reason{Code: engine.CodeCondition, Text: `error_ratio("availability", "5m") > 0.1 && true`},
		Evidence: []engine.Reading{
			{Signal: `error_ratio("availability", "5m")`, Value: 0.25, Sample: epoch, Source: "main"},
			{Signal: `sli("p99")`, Why: engine.WhyStale, Detail: "newest sample is 7m old"},
		},
		Fact: fact,
	}
}

// Opened makes an event that owes one job, of the key incident.
func Opened(stream engine.Scope, version engine.Version, incident engine.IncidentID) engine.Event {
	return Event(stream, version, engine.IncidentOpened{
		Incident: engine.Incident{ID: incident, Kind: engine.IncidentSLO, Subject: string(incident), Severity: engine.SeverityPage, Opened: epoch},
		Summary:  fmt.Sprintf("%s burns", incident),
	})
}

// Resolved makes an event that owes one job, of the key incident.
func Resolved(stream engine.Scope, version engine.Version, incident engine.IncidentID) engine.Event {
	return Event(stream, version, engine.IncidentResolved{Incident: incident, Severity: engine.SeverityPage, Subject: string(incident)})
}

// run makes n events of stream after a version. The first of a stream adds the scope.
func run(stream engine.Scope, after engine.Version, n int) []engine.Event {
	var events []engine.Event
	for v := after + 1; v <= after+engine.Version(n); v++ {
		switch {
		case v == 1:
			events = append(events, Event(stream, v, engine.ScopeAdded{Mode: "normal"}))
		case v%2 == 0:
			events = append(events, Event(stream, v, engine.ModePinned{Mode: "degraded", Until: epoch.Add(time.Hour)}))
		default:
			events = append(events, Event(stream, v, engine.ModeUnpinned{}))
		}
	}
	return events
}

// fixture is a store of a test's own, its clock, and the way to open it again.
type fixture struct {
	Store
	t     testing.TB
	clock *Clock
	open  Open
}

const lease = 30 * time.Second

func begin(t testing.TB, open Open) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: NewClock(), open: open}
	f.start()
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	s, err := f.open(context.Background(), store.Options{Now: f.clock.Now, Lease: lease})
	if err != nil {
		f.t.Fatalf("open: %v", err)
	}
	if err := s.Release(context.Background()); err != nil {
		f.t.Fatalf("release: %v", err)
	}
	f.Store = s
}

// reopen ends the store and starts it again, as a server does.
func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Fatalf("close: %v", err)
	}
	f.start()
}

func (f *fixture) append(appends ...store.Append) {
	f.t.Helper()
	if err := f.Append(context.Background(), appends...); err != nil {
		f.t.Fatalf("append: %v", err)
	}
}

// owe appends events that owe one job each, one for each incident, to a stream that is at version after, and returns the
// jobs' IDs.
func (f *fixture) owe(stream engine.Scope, after engine.Version, incidents ...engine.IncidentID) []string {
	f.t.Helper()
	a := store.Append{Stream: stream, After: after}
	var ids []string
	for i, incident := range incidents {
		e := Opened(stream, after+engine.Version(i)+1, incident)
		a.Events = append(a.Events, e)
		ids = append(ids, engine.Effects(e)[0].ID)
	}
	f.append(a)
	return ids
}

func (f *fixture) lease(limit int) []engine.Job {
	f.t.Helper()
	jobs, err := f.Lease(context.Background(), limit)
	if err != nil {
		f.t.Fatalf("lease: %v", err)
	}
	return jobs
}

// wantLeased leases all there is and compares.
func (f *fixture) wantLeased(ids ...string) {
	f.t.Helper()
	if got := idsOf(f.lease(0)); !slices.Equal(got, ids) {
		f.t.Fatalf("leased %q, want %q", got, ids)
	}
}

func idsOf(jobs []engine.Job) []string {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

func (f *fixture) read(stream engine.Scope) []engine.Event {
	f.t.Helper()
	events, err := f.Read(context.Background(), stream, 0, 0)
	if err != nil {
		f.t.Fatalf("read: %v", err)
	}
	return events
}

func (f *fixture) verify() store.Report {
	f.t.Helper()
	r, err := f.Verify(context.Background())
	if err != nil {
		f.t.Fatalf("verify: %v", err)
	}
	return r
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wantError(err, want error) {
	f.t.Helper()
	if !errors.Is(err, want) {
		f.t.Fatalf("got error %v, want %v", err, want)
	}
}

// wantSame compares events by their canonical form, byte for byte.
func (f *fixture) wantSame(got, want []engine.Event) {
	f.t.Helper()
	if len(got) != len(want) {
		f.t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i := range want {
		g, err := got[i].Encode()
		f.must(err)
		w, err := want[i].Encode()
		f.must(err)
		if string(g) != string(w) {
			f.t.Fatalf("event %d is\n%.300s\nwant\n%.300s", i, g, w)
		}
	}
}
