package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

// large is an event that needs many pages.
func large(stream engine.Scope, version engine.Version) engine.Event {
	e := storetest.Event(stream, version, engine.ModeUnpinned{})
	e.Reason.Text = strings.Repeat("x", 1<<20)
	return e
}

// full leaves the database no page to grow by.
func full(t *testing.T, s *store.SQLite) {
	t.Helper()
	pages, err := s.Ask("PRAGMA page_count")
	must(t, err)
	must(t, s.Exec("PRAGMA max_page_count = "+pages))
}

func wantLeased(t *testing.T, s *store.SQLite, want ...string) {
	t.Helper()
	jobs, err := s.Lease(ctx, 0)
	must(t, err)
	var got []string
	for _, j := range jobs {
		got = append(got, j.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("leased %q, want %q", got, want)
	}
}

func TestOnAFullDiskNothingIsWrittenAndAllElseGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	add(t, s, storetest.Opened("a", 1, "i"))
	add(t, s, storetest.Opened("a", 2, "i"))
	full(t, s)

	err := s.Append(ctx, store.Append{Stream: "a", After: 2, Events: []engine.Event{storetest.Event("a", 3, engine.ModeUnpinned{}), large("a", 4)}},
		store.Append{Stream: "b", Events: []engine.Event{storetest.Opened("b", 1, "j")}})
	if !errors.Is(err, store.ErrUnwritable) || !strings.Contains(err.Error(), "full") {
		t.Fatalf("append: %v", err)
	}
	if events, err := s.Read(ctx, "a", 0, 0); err != nil || len(events) != 2 {
		t.Errorf("read %d events, %v", len(events), err)
	}
	if state, err := s.Load(ctx, "a"); err != nil || state.Version != 2 {
		t.Errorf("loaded version %d, %v", state.Version, err)
	}
	wantLeased(t, s, "a/1") // what was not stored owes nothing

	must(t, s.Exec("PRAGMA max_page_count = 1000000"))
	if err := s.Append(ctx, store.Append{Stream: "a", After: 2, Events: []engine.Event{storetest.Event("a", 3, engine.ModeUnpinned{}), large("a", 4)}}); err != nil {
		t.Errorf("append when there is room again: %v", err)
	}
	if r, err := s.Verify(ctx); err != nil || r.Events != 4 || r.Last != 4 {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestJobsGoOnWhileNothingCanBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	clock := storetest.NewClock()
	s, err := store.Open(ctx, path, store.Options{Now: clock.Now})
	must(t, err)
	for v, incident := range []engine.IncidentID{"i", "i", "i", "j", "k"} {
		add(t, s, storetest.Opened("a", engine.Version(v)+1, incident))
	}
	must(t, s.Exec("PRAGMA query_only = 1"))
	for _, err := range []error{
		s.Append(ctx, store.Append{Stream: "a", After: 5, Events: []engine.Event{storetest.Event("a", 6, engine.ModeUnpinned{})}}),
		s.Mark(ctx, clock.Now()),
		s.Snapshot(ctx, engine.State{Scope: "a", Version: 1}),
	} {
		if !errors.Is(err, store.ErrUnwritable) {
			t.Errorf("got error %v", err)
		}
	}
	unwritten := func(err error) {
		t.Helper()
		if !errors.Is(err, store.ErrUnwritable) {
			t.Fatalf("got error %v", err)
		}
	}
	wantLeased(t, s, "a/1", "a/4", "a/5")
	unwritten(s.Done(ctx, "a/1"))
	unwritten(s.Fail(ctx, "a/4", "400"))
	unwritten(s.Retry(ctx, "a/5", "503", time.Minute))
	wantLeased(t, s, "a/2")
	unwritten(s.Done(ctx, "a/2"))
	unwritten(s.Done(ctx, "a/2")) // said again, remembered once
	wantLeased(t, s, "a/3")
	clock.Advance(time.Minute)
	wantLeased(t, s, "a/3", "a/5") // the lease of a/3 is over, and its outcome is not known
	unwritten(s.Retry(ctx, "a/5", "504", 0))

	counts, err := s.JobCounts(ctx)
	must(t, err)
	counts.Oldest = time.Time{}
	if want := (store.JobCounts{Owed: 1, Leased: 1, Done: 2, Failed: 1, Unwritten: 4}); counts != want {
		t.Errorf("counts %+v, want %+v", counts, want)
	}
	if failed, err := s.FailedJobs(ctx, 0); err != nil || len(failed) != 1 || failed[0].ID != "a/4" || failed[0].Problem != "400" || failed[0].Ended.IsZero() {
		t.Errorf("failed jobs %+v, %v", failed, err)
	}
	if done, err := s.Jobs(ctx, store.JobFilter{State: store.JobDone}); err != nil || len(done) != 2 {
		t.Errorf("done jobs %+v, %v", done, err)
	}

	// The first thing that can be written takes the outcomes along.
	must(t, s.Exec("PRAGMA query_only = 0"))
	must(t, s.Mark(ctx, clock.Now()))
	if counts, err := s.JobCounts(ctx); err != nil || counts.Unwritten != 0 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	must(t, s.Done(ctx, "a/1")) // and is known to be done
	if err := s.Done(ctx, "a/4"); !errors.Is(err, store.ErrNotOwed) {
		t.Errorf("got error %v", err)
	}
	must(t, s.Close())
	s, err = store.Open(ctx, path, store.Options{Now: clock.Now})
	must(t, err)
	jobs, err := s.Lease(ctx, 0)
	must(t, err)
	if len(jobs) != 2 || jobs[0].ID != "a/3" || jobs[1].ID != "a/5" || jobs[1].Attempts != 2 || jobs[1].Problem != "504" {
		t.Errorf("leased %+v", jobs)
	}
	must(t, s.Close())
}

func TestAnOutcomeThatNeverCouldBeWrittenIsForgottenWithTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	add(t, s, storetest.Opened("a", 1, "i"))
	add(t, s, storetest.Opened("a", 2, "i"))
	wantLeased(t, s, "a/1")
	must(t, s.Exec("PRAGMA query_only = 1"))
	if err := s.Done(ctx, "a/1"); !errors.Is(err, store.ErrUnwritable) {
		t.Fatalf("got error %v", err)
	}
	wantLeased(t, s, "a/2")
	must(t, s.Close())
	s = open(t, path)
	wantLeased(t, s, "a/1") // once more, and still before a/2
	must(t, s.Close())
}

func TestWhatWaitsForTheWriterSharesACommitAndNotItsFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	for i := range 20 {
		add(t, s, storetest.Event(engine.Scope(fmt.Sprint("s", i)), 1, engine.ScopeAdded{}))
	}
	// The file may grow by some small events and not by a large one.
	pages, err := s.Ask("SELECT page_count + 40 FROM pragma_page_count")
	must(t, err)
	must(t, s.Exec("PRAGMA max_page_count = "+pages))
	var wg sync.WaitGroup
	release := s.Hold()

	results := make([]error, 23)
	for i := range results {
		a := store.Append{Stream: engine.Scope(fmt.Sprint("s", i)), After: 1}
		switch i {
		case 20: // conflicts: the stream does not exist
			a.Events = []engine.Event{storetest.Event(a.Stream, 2, engine.ModeUnpinned{})}
		case 21: // does not fit
			a.Stream, a.After = "s21", 0
			a.Events = []engine.Event{large("s21", 1)}
		case 22: // conflicts with the one before it in the same transaction, whichever that is
			a.Stream = "s0"
			a.Events = []engine.Event{storetest.Event("s0", 2, engine.ModeUnpinned{})}
		default:
			a.Events = []engine.Event{storetest.Event(a.Stream, 2, engine.ModeUnpinned{})}
		}
		wg.Go(func() { results[i] = s.Append(ctx, a) })
	}
	until(t, "all wait", func() bool { return s.Waiting() == len(results) })
	release()
	wg.Wait()

	for i, err := range results {
		switch {
		case i == 0 || i == 22: // one of them won
		case i == 20:
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("%d: got error %v, want a conflict", i, err)
			}
		case i == 21:
			if !errors.Is(err, store.ErrUnwritable) {
				t.Errorf("%d: got error %v, want one that says that it cannot be written", i, err)
			}
		case err != nil:
			t.Errorf("%d: %v", i, err)
		}
	}
	if won := results[0] == nil; won == (results[22] == nil) || !errors.Is(errors.Join(results[0], results[22]), store.ErrConflict) {
		t.Errorf("of two writers of one version: %v and %v", results[0], results[22])
	}
	if r, err := s.Verify(ctx); err != nil || r.Events != 20+20 {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestACallerWhoGivesUpWhileWaitingHasWrittenNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	var wg sync.WaitGroup
	release := s.Hold()
	why := errors.New("the caller went away")
	gone, cancel := context.WithCancelCause(ctx)
	gaveUp := make(chan error)
	go func() {
		gaveUp <- s.Append(gone, store.Append{Stream: "a", Events: []engine.Event{storetest.Event("a", 1, engine.ScopeAdded{})}})
	}()
	until(t, "the append waits", func() bool { return s.Waiting() == 1 })
	cancel(why)
	if err := <-gaveUp; !errors.Is(err, why) { // while the lock still holds the writer
		t.Errorf("got error %v", err)
	}
	release()
	wg.Wait()
	add(t, s, storetest.Event("a", 1, engine.ScopeAdded{})) // version 1 is free
}

func TestWhatWaitsWhenTheLogIsClosedIsStillWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	var wg sync.WaitGroup
	release := s.Hold()
	for i := range 5 {
		stream := engine.Scope(fmt.Sprint("s", i))
		wg.Go(func() {
			if err := s.Append(ctx, store.Append{Stream: stream, Events: []engine.Event{storetest.Event(stream, 1, engine.ScopeAdded{})}}); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	until(t, "all wait", func() bool { return s.Waiting() == 5 })
	wg.Go(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	until(t, "it closes", func() bool { _, err := s.Last(ctx); return errors.Is(err, store.ErrClosed) })
	release()
	wg.Wait()
	if r, err := verify(t, path); err != nil || r.Events != 5 {
		t.Errorf("report %+v, %v", r, err)
	}
}

// until polls a condition that has to come true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestNoAttemptIsBegunWhileNothingCanBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	add(t, s, storetest.Opened("a", 1, "i"))
	must(t, s.Exec("PRAGMA query_only = 1"))
	wantLeased(t, s, "a/1")
	if err := s.Begin(ctx, "a/1"); !errors.Is(err, store.ErrUnwritable) {
		t.Errorf("got error %v", err)
	}
	must(t, s.Release(ctx))
	if jobs, err := s.Lease(ctx, 0); err != nil || len(jobs) != 1 || jobs[0].Begun {
		t.Errorf("leased %+v, %v: an attempt that was refused counts as begun", jobs, err)
	}
	// A retry that could not be written does not take the mark of the attempt after it away.
	if err := s.Retry(ctx, "a/1", "503", 0); !errors.Is(err, store.ErrUnwritable) {
		t.Errorf("got error %v", err)
	}
	must(t, s.Exec("PRAGMA query_only = 0"))
	must(t, s.Begin(ctx, "a/1"))
	must(t, s.Mark(ctx, time.Now()))
	must(t, s.Close())
	s = open(t, path)
	if jobs, err := s.Lease(ctx, 0); err != nil || len(jobs) != 1 || !jobs[0].Begun || jobs[0].Problem != "503" {
		t.Errorf("leased %+v, %v: the attempt that was begun is forgotten", jobs, err)
	}
}
