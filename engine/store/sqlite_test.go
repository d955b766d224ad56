package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

func TestSQLiteInAFilePassesTheSuite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Open {
		path := filepath.Join(t.TempDir(), "modeshift.db")
		return func(ctx context.Context, opts store.Options) (storetest.Store, error) {
			return store.Open(ctx, path, opts)
		}
	})
}

func TestSQLiteInMemoryPassesTheSuite(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Open {
		return func(ctx context.Context, opts store.Options) (storetest.Store, error) {
			return store.Open(ctx, ":memory:", opts)
		}
	}, storetest.Volatile)
}

func add(t testing.TB, s *store.SQLite, e engine.Event) {
	t.Helper()
	must(t, s.Append(ctx, store.Append{Stream: e.Stream, After: e.Version - 1, Events: []engine.Event{e}}))
}

func TestALogHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	other := path + ".link"
	must(t, os.Symlink(path, other))
	s := open(t, path)
	for _, name := range []string{path, other} {
		_, err := store.Open(ctx, name, store.Options{})
		if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "log "+name+": in use by another modeshift") {
			t.Errorf("a second owner by the name %s: %v", name, err)
		}
	}
	add(t, s, storetest.Event("a", 1, engine.ScopeAdded{})) // the first is none the worse
	must(t, s.Close())
	s = open(t, other)
	add(t, s, storetest.Event("a", 2, engine.ModeUnpinned{}))
	must(t, s.Close())
}

func TestOthersMayLookOnWhileTheLogIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	add(t, s, storetest.Opened("a", 1, "i"))
	r, err := store.OpenReadOnly(ctx, path)
	must(t, err)
	add(t, s, storetest.Opened("a", 2, "j"))
	if _, err := s.Lease(ctx, 1); err != nil {
		t.Fatal(err)
	}
	report, err := r.Verify(ctx)
	if err != nil || report.Events != 2 || report.Jobs != 2 {
		t.Errorf("report %+v, %v", report, err)
	}
	counts, err := r.JobCounts(ctx)
	if err != nil || counts.Owed != 2 || counts.Oldest.IsZero() {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if jobs, err := r.Jobs(ctx, store.JobFilter{}); err != nil || len(jobs) != 2 || jobs[0].ID != "a/2" {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	_, lease := r.Lease(ctx, 1)
	for _, err := range []error{
		r.Append(ctx, store.Append{Stream: "a", After: 2, Events: []engine.Event{storetest.Event("a", 3, engine.ModeUnpinned{})}}),
		r.Mark(ctx, storetest.NewClock().Now()), r.Done(ctx, "a/1"), r.Release(ctx), lease,
	} {
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("got error %v", err)
		}
	}
	must(t, r.Close())
	must(t, r.Close())
	add(t, s, storetest.Event("a", 3, engine.ModeUnpinned{}))
}

func TestTheFilesAreTheOwnersAloneAndOnlyTheLogIsLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "an odd? name#%20;&.db")
	s := open(t, path)
	add(t, s, storetest.Event("a", 1, engine.ScopeAdded{}))
	list := func() (names []string) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
			names = append(names, strings.TrimPrefix(e.Name(), filepath.Base(path)))
		}
		return names
	}
	if got := strings.Join(list(), " "); got != " -shm -wal .lock" {
		t.Errorf("while open there are %q", got)
	}
	must(t, s.Close())
	if got := strings.Join(list(), " "); got != " .lock" {
		t.Errorf("after closing there are %q", got)
	}
}

func TestCommitsAreDurable(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "log.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000"} {
		if got, err := s.Ask("PRAGMA " + pragma); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestAFileThatIsNoLogOfOursIsLeftAloneAndSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	newer := file("newer.db")
	must(t, open(t, newer).Close())
	tamper(t, newer, func(exec func(string, ...any), _ *sql.DB) { exec(`UPDATE schema SET version = 99`) })
	foreign := file("foreign.db")
	tamper(t, foreign, func(exec func(string, ...any), _ *sql.DB) { exec(`CREATE TABLE bookmarks (url TEXT)`) })
	text := file("notes.txt")
	must(t, os.WriteFile(text, []byte(strings.Repeat("to do: nothing\n", 100)), 0o600))

	for path, want := range map[string]string{
		newer:                       "written by a newer modeshift: its schema is version 99 and this program knows 4",
		foreign:                     "it is the database of another program",
		text:                        "it is not a modeshift log",
		file("no/such/dir/log.db"):  "no such file or directory",
		file("notes.txt") + "/log":  "not a directory",
		filepath.Join(dir, "."):     "is a directory",
		file("missing/\x00/log.db"): "invalid argument",
	} {
		before, _ := os.ReadFile(path) // some cannot be read, before and after
		_, err := store.Open(ctx, path, store.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %q: %v, want %q", path, err, want)
		}
		if _, err := store.OpenReadOnly(ctx, path); err == nil {
			t.Errorf("%q was opened for reading", path)
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%q was changed", path)
		}
	}
	if _, err := store.OpenReadOnly(ctx, file("nothing.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open what is not there: %v", err)
	}
	if _, err := os.Stat(file("nothing.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening for reading made a file")
	}
	if _, err := store.Open(ctx, newer, store.Options{}); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("open a newer log: %v", err)
	}
}

func TestALogOfTheFirstSchemaIsBroughtToTheNewestWithItsJobs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	must(t, s.Append(ctx, store.Append{Stream: "a", Events: []engine.Event{storetest.Opened("a", 1, "i")}}))
	must(t, s.Close())
	tamper(t, path, func(exec func(string, ...any), _ *sql.DB) {
		exec(`DROP TABLE instances`)
		exec(`DROP TABLE ranks`)
		exec(`DROP TABLE terms`)
		exec(`DROP TABLE ledger_pages`)
		exec(`DROP TABLE ledgers`)
		exec(`ALTER TABLE jobs DROP COLUMN begun`)
		exec(`UPDATE schema SET version = 1`)
	})
	for _, begun := range []bool{false, true} {
		s = open(t, path)
		jobs, err := s.Lease(ctx, 0)
		if err != nil || len(jobs) != 1 || jobs[0].ID != "a/1" || jobs[0].Begun != begun {
			t.Fatalf("leased %+v, %v; want a/1 with begun %v", jobs, err, begun)
		}
		must(t, s.Begin(ctx, "a/1"))
		must(t, s.Close())
	}
}
