package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *store.SQLite {
	t.Helper()
	s, err := store.Open(ctx, path, store.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // tests that care close it themselves
	return s
}

// sample writes a log of nine events and closes it:
//
//	1 a/1   2 b/1   3 a/2   4 a/3 owes job a/3   5 b/2   6 fleet/1, a checkpoint of a/3 and b/2   7 a/4   8 b/3 owes job b/3   9 a/5
func sample(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.db")
	s := open(t, path)
	add := func(e engine.Event) {
		t.Helper()
		must(t, s.Append(ctx, store.Append{Stream: e.Stream, After: e.Version - 1, Events: []engine.Event{e}}))
	}
	add(storetest.Event("a", 1, engine.ScopeAdded{Mode: "normal"}))
	add(storetest.Event("b", 1, engine.ScopeAdded{Mode: "normal"}))
	add(storetest.Event("a", 2, engine.ModePinned{Mode: "degraded"}))
	add(storetest.Opened("a", 3, "i"))
	add(storetest.Event("b", 2, engine.ModePinned{Mode: "degraded"}))
	heads, err := s.Heads(ctx)
	must(t, err)
	add(storetest.Event(engine.Fleet, 1, engine.CheckpointMade{Heads: heads}))
	add(storetest.Event("a", 4, engine.ModeUnpinned{}))
	add(storetest.Opened("b", 3, "j"))
	state, err := s.Load(ctx, "a")
	must(t, err)
	must(t, s.Snapshot(ctx, state))
	add(storetest.Event("a", 5, engine.ModePinned{Mode: "normal"}))
	must(t, s.Close())
	return path
}

// tamper runs statements on the database as somebody would who has the file.
func tamper(t testing.TB, path string, do func(exec func(query string, args ...any), db *sql.DB)) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	db.SetMaxOpenConns(1)
	do(func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}, db)
	must(t, db.Close())
}

// forge rewrites the events of a stream from a version on, changing bodies by edit and making the chain good again.
func forge(t testing.TB, db *sql.DB, stream string, from int, edit func(string) string) {
	t.Helper()
	hash := sha256.Sum256(append(make([]byte, 32), stream...))
	for version := 1; ; version++ {
		var body []byte
		err := db.QueryRow(`SELECT body FROM events WHERE stream = ? AND version = ?`, stream, version).Scan(&body)
		if errors.Is(err, sql.ErrNoRows) {
			return
		}
		must(t, err)
		if version >= from {
			body = []byte(edit(string(body)))
		}
		hash = sha256.Sum256(append(hash[:], body...))
		_, err = db.Exec(`UPDATE events SET body = ?, hash = ? WHERE stream = ? AND version = ?`, body, hash[:], stream, version)
		must(t, err)
	}
}

func verify(t testing.TB, path string) (store.Report, error) {
	t.Helper()
	s, err := store.OpenReadOnly(ctx, path)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	return s.Verify(ctx)
}

func TestTamperingIsFoundAtTheFirstBadPosition(t *testing.T) {
	type exec = func(query string, args ...any)
	const renumber = `UPDATE events SET position = -(SELECT count(*) FROM events o WHERE o.position <= events.position);`
	for name, test := range map[string]struct {
		do   func(t *testing.T, exec exec, db *sql.DB)
		want string // position stream/version: what
	}{
		"a body edited": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'i burns', 'i sleeps') AS BLOB) WHERE position = 4`)
		}, "4 a/3: its hash is not that of its body"},
		"a body and its own hash edited, before a checkpoint": {func(t *testing.T, exec exec, db *sql.DB) {
			exec(`CREATE TEMP TABLE kept AS SELECT * FROM events WHERE stream = 'a' AND version > 3`)
			forge(t, db, "a", 3, func(s string) string { return strings.Replace(s, "i burns", "i sleeps", 1) })
			exec(`UPDATE events SET (body, hash) = (SELECT body, hash FROM kept WHERE kept.position = events.position) WHERE position IN (SELECT position FROM kept)`)
		}, "6 fleet/1: this checkpoint has seen a/3 with another hash"},
		"a body and its own hash edited, behind a checkpoint": {func(t *testing.T, exec exec, db *sql.DB) {
			exec(`CREATE TEMP TABLE kept AS SELECT * FROM events WHERE position = 9`)
			forge(t, db, "a", 4, func(s string) string { return strings.Replace(s, "ModeUnpinned", "Nothing", 1) })
			exec(`UPDATE events SET (body, hash) = (SELECT body, hash FROM kept) WHERE position = 9`)
		}, "9 a/5: its hash is not that of its body"},
		"a stream written anew": {func(t *testing.T, _ exec, db *sql.DB) {
			forge(t, db, "a", 2, func(s string) string { return strings.Replace(s, "degraded", "readonly", 1) })
		}, "6 fleet/1: this checkpoint has seen a/3 with another hash: the stream was written anew"},
		"a hash edited": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET hash = zeroblob(32) WHERE position = 5`)
		}, "5 b/2: its hash"},
		"a hash shortened": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET hash = substr(hash, 1, 31) WHERE position = 5`)
		}, "5 b/2: its hash"},
		"hashes swapped": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET hash = (SELECT hash FROM events o WHERE o.position = 10 - events.position) WHERE position IN (3, 7)`)
		}, "3 a/2: its hash"},
		"the first event removed": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE position = 1`)
		}, "1 a/1: the event that stood here is missing"},
		"an event removed": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE position = 4`)
		}, "4 a/3: the event that stood here is missing"},
		"an event removed and its stream ends there": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE position = 8`)
			exec(`DELETE FROM jobs WHERE position = 8`)
		}, "8 : the event that stood here is missing"},
		"an event removed and the rest moved up": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE position = 3`)
			exec(renumber)
			exec(`UPDATE events SET position = -position`)
		}, "3 a/3: version 2 should stand here"},
		"a stream cut before a checkpoint and the rest moved up": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE stream = 'a' AND version > 2`)
			exec(`DELETE FROM jobs WHERE position = 4`)
			exec(renumber)
			exec(`UPDATE events SET position = -position`)
		}, "5 fleet/1: this checkpoint has seen a/3, but the stream ended at version 2: it was cut or rolled back"},
		"a stream removed and the rest moved up": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE stream = 'b'`)
			exec(`DELETE FROM jobs`)
			exec(renumber)
			exec(`UPDATE events SET position = -position`)
			exec(`INSERT INTO jobs SELECT 1, 'a/3', 'i', 3, 0, 0, 'owed', 0, '', NULL, 0`)
		}, "4 fleet/1: this checkpoint has seen b/2, but the stream is not in the log"},
		"two events of a stream in each other's place": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET position = 100 WHERE position = 3`)
			exec(`UPDATE events SET position = 3 WHERE position = 4`)
			exec(`UPDATE events SET position = 4 WHERE position = 100`)
		}, "3 a/3: version 2 should stand here"},
		"two bodies swapped": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET body = (SELECT body FROM events o WHERE o.position = 10 - events.position) WHERE position IN (3, 7)`)
		}, "3 a/2: its hash"},
		"an event moved behind the checkpoint that saw it": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET position = -5 WHERE position = 6`)
			exec(`UPDATE events SET position = 6 WHERE position = 5`)
			exec(`UPDATE events SET position = 5 WHERE position = -5`)
		}, "5 fleet/1: this checkpoint has seen b/2, but the stream ended at version 1"},
		"an event inserted again as the next": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`INSERT INTO events SELECT 10, stream, 6, hash, body FROM events WHERE position = 9`)
		}, "10 a/6: its hash"},
		"an event inserted again as the next with a good hash": {func(t *testing.T, exec exec, db *sql.DB) {
			exec(`INSERT INTO events SELECT 10, stream, 6, hash, body FROM events WHERE position = 9`)
			forge(t, db, "a", 9, nil)
		}, "10 a/6: its body is that of a/5"},
		"an event inserted again in a log without its index": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`CREATE TABLE loose (position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, hash BLOB, body BLOB)`)
			exec(`INSERT INTO loose SELECT * FROM events`)
			exec(`DROP TABLE events`)
			exec(`ALTER TABLE loose RENAME TO events`)
			exec(`INSERT INTO events SELECT 10, stream, version, hash, body FROM events WHERE position = 9`)
		}, "10 a/5: version 6 should stand here"},
		"an event before the first": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`INSERT INTO events SELECT -3, 'c', 1, hash, body FROM events WHERE position = 9`)
		}, "-3 c/1: positions begin at 1"},
		"an event given to another stream": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE events SET stream = 'c' WHERE position = 9`)
		}, "9 c/5: version 1 should stand here"},
		"an event of another stream with a good hash": {func(t *testing.T, exec exec, db *sql.DB) {
			exec(`INSERT INTO events SELECT 10, 'c', 1, hash, body FROM events WHERE position = 1`)
			forge(t, db, "c", 2, nil)
		}, "10 c/1: its body is that of a/1"},
		"an event with a good hash that is no event": {func(t *testing.T, exec exec, db *sql.DB) {
			exec(`INSERT INTO events SELECT 10, stream, 6, hash, body FROM events WHERE position = 9`)
			forge(t, db, "a", 6, func(string) string { return "{}}" })
		}, "10 a/6: decode event"},
		"an event with a good hash and an earlier time": {func(t *testing.T, exec exec, db *sql.DB) {
			early := storetest.Event("a", 6, engine.ModeUnpinned{})
			early.At = early.At.Add(-time.Second - time.Nanosecond)
			body, err := early.Encode()
			must(t, err)
			exec(`INSERT INTO events VALUES (10, 'a', 6, zeroblob(32), ?)`, body)
			forge(t, db, "a", 9, nil)
		}, "10 a/6: its time 2026-03-29T01:00:04.123456788Z is before that"},
		"a job removed": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM jobs WHERE position = 8`)
		}, "8 b/3: the job b/3 it owes is missing"},
		"a job's key changed": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE jobs SET key = 'x' WHERE position = 4`)
		}, "4 a/3: it owes job a/3 of key i, and in its place stands a/3 of key x"},
		"jobs swapped": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`UPDATE jobs SET position = 12 - position`)
		}, "4 a/3: it owes job a/3 of key i, and in its place stands b/3 of key j"},
		"a job invented": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`INSERT INTO jobs SELECT 99, 'x', key, 7, owed, due, state, attempts, problem, ended, begun FROM jobs LIMIT 1`)
		}, "7 a/4: it does not owe job x"},
		"a job invented for no event": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`INSERT INTO jobs SELECT 99, 'x', key, 10, owed, due, state, attempts, problem, ended, begun FROM jobs LIMIT 1`)
		}, "10 : job x is owed for an event that does not exist"},
		"the last event removed and its job left": {func(_ *testing.T, exec exec, _ *sql.DB) {
			exec(`DELETE FROM events WHERE position >= 8`)
		}, "8 : job b/3 is owed for an event that does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			path := sample(t)
			tamper(t, path, func(exec func(string, ...any), db *sql.DB) { test.do(t, exec, db) })
			r, err := verify(t, path)
			fault, ok := errors.AsType[*store.Fault](err)
			if !ok {
				t.Fatalf("verify says %v", err)
			}
			version := ""
			if fault.Stream != "" {
				version = fmt.Sprintf("%s/%d", fault.Stream, fault.Version)
			}
			if got := fmt.Sprintf("%d %s: %s", fault.Position, version, fault.What); !strings.HasPrefix(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
			if fault.Position > 0 && r.Last >= fault.Position {
				t.Errorf("the report goes up to %d, behind the fault at %d", r.Last, fault.Position)
			}
		})
	}
}

func TestAnySingleBitFlippedInABodyOrHashIsFoundWhereItIs(t *testing.T) {
	path := sample(t)
	good, err := verify(t, path)
	must(t, err)
	if good.Events != 9 || good.Jobs != 2 || good.Checkpoints != 1 || good.Streams != 3 || len(good.Stale) != 0 {
		t.Fatalf("the sample's report is %+v", good)
	}
	tried := 0
	for position := int64(1); position <= 9; position++ {
		for _, column := range []string{"body", "hash"} {
			flip := func(at, bit int) (length int) {
				tamper(t, path, func(exec func(string, ...any), db *sql.DB) {
					var b []byte
					must(t, db.QueryRow(`SELECT `+column+` FROM events WHERE position = ?`, position).Scan(&b))
					if length = len(b); at < length {
						b[at] ^= 1 << bit
						exec(`UPDATE events SET `+column+` = ? WHERE position = ?`, b, position)
					}
				})
				return length
			}
			for at, bit := int(position), 0; ; at, bit = at+61, (bit+3)%8 {
				if flip(at, bit) <= at {
					break
				}
				_, err := verify(t, path)
				fault, ok := errors.AsType[*store.Fault](err)
				if !ok || fault.Position != position {
					t.Errorf("bit %d of byte %d of the %s at position %d: verify says %v", bit, at, column, position, err)
				}
				flip(at, bit) // and back
				tried++
			}
		}
	}
	if again, err := verify(t, path); err != nil || again.Heads[0] != good.Heads[0] || tried < 50 {
		t.Errorf("after %d flips and back: %+v, %v", tried, again, err)
	}
}

// What Verify cannot see, it must not seem to see: doc.go says so, and that the heads tell.
func TestALogCutBehindItsLastCheckpointVerifiesAndItsHeadsTell(t *testing.T) {
	path := sample(t)
	before, err := verify(t, path)
	must(t, err)
	tamper(t, path, func(exec func(string, ...any), _ *sql.DB) { exec(`DELETE FROM events WHERE position = 9`) })
	after, err := verify(t, path)
	must(t, err)
	if before.Heads[0].Version != 5 || after.Heads[0].Version != 4 || after.Heads[0].Hash == before.Heads[0].Hash {
		t.Errorf("heads before %+v, after %+v", before.Heads[0], after.Heads[0])
	}
}

func TestASnapshotThatIsNotWhatTheEventsGiveIsReportedAndIsNoFault(t *testing.T) {
	for name, query := range map[string]string{
		"edited":                   `UPDATE snapshots SET state = CAST(replace(CAST(state AS TEXT), 'normal', 'failover') AS BLOB)`,
		"of another chain":         `UPDATE snapshots SET hash = zeroblob(32), state = CAST(replace(CAST(state AS TEXT), 'normal', 'failover') AS BLOB)`,
		"ahead of its stream":      `UPDATE snapshots SET version = 99`,
		"of a stream not in there": `UPDATE snapshots SET stream = 'x'`,
	} {
		t.Run(name, func(t *testing.T) {
			path := sample(t)
			tamper(t, path, func(exec func(string, ...any), _ *sql.DB) { exec(query) })
			r, err := verify(t, path)
			if err != nil || len(r.Stale) != 1 {
				t.Errorf("report %+v, error %v", r, err)
			}
			// One that does not belong to this chain is not used either.
			if name != "edited" {
				s := open(t, path)
				state, err := s.Load(ctx, "a")
				if err != nil || state.Version != 5 || state.Mode != "normal" {
					t.Errorf("loaded %+v, %v", state, err)
				}
				all, err := s.LoadAll(ctx)
				if err != nil || len(all) != 3 {
					t.Errorf("loaded %d states, %v", len(all), err)
				}
			}
		})
	}
}

func TestDamageToTheFileItselfIsAFault(t *testing.T) {
	path := sample(t)
	var root, size int64
	tamper(t, path, func(_ func(string, ...any), db *sql.DB) {
		must(t, db.QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'`).Scan(&root))
		must(t, db.QueryRow(`PRAGMA page_size`).Scan(&size))
	})
	whole, err := os.ReadFile(path)
	must(t, err)

	// In the index an entry of stream a becomes one of another: readers by stream would miss an event.
	damaged := bytes.Clone(whole)
	index := damaged[(root-1)*size : root*size]
	index[bytes.LastIndex(index, []byte("a"))] = 'A'
	must(t, os.WriteFile(path, damaged, 0o600))
	_, err = verify(t, path)
	if fault, ok := errors.AsType[*store.Fault](err); !ok || !strings.Contains(fault.What, "structure") {
		t.Errorf("a damaged index: verify says %v", err)
	}

	// The page of the events themselves is gone.
	damaged = bytes.Clone(whole)
	tamperAt := bytes.Index(damaged, []byte(`"version":3`)) / int(size) * int(size)
	clear(damaged[tamperAt : tamperAt+int(size)])
	must(t, os.WriteFile(path, damaged, 0o600))
	_, err = verify(t, path)
	if _, ok := errors.AsType[*store.Fault](err); !ok {
		t.Errorf("a page of zeros: verify says %v", err)
	}
}
