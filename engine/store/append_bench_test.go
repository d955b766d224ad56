package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

var sayAppendRatio sync.Once

// BenchmarkAppend compares a durable append of one event with a bare commit of one row of the same bytes to a database
// with the same settings: same disk, same run, turn by turn, so that both meet the same noise. The ratio is that of their
// throughputs.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	s := open(b, filepath.Join(dir, "log.db"))
	started := func(version engine.Version) engine.Event {
		return storetest.Event("checkout", version, engine.ChangeStarted{
			Change: "checkout-41", Transition: "shed", Position: "checkout.yaml:42:5", From: "normal", To: "degraded", Severity: engine.SeverityPage, Incident: "checkout-40",
		})
	}
	body, err := started(1).Encode()
	must(b, err)

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(b, err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`CREATE TABLE bare (position INTEGER PRIMARY KEY, body BLOB NOT NULL)`)
	must(b, err)
	insert, err := db.Prepare(`INSERT INTO bare (body) VALUES (?)`)
	must(b, err)

	version := engine.Version(0)
	ours := func() {
		e := started(version + 1)
		must(b, s.Append(ctx, store.Append{Stream: e.Stream, After: version, Events: []engine.Event{e}}))
		version++
	}
	bare := func() {
		_, err := insert.Exec(body)
		must(b, err)
	}
	// spell is how long n of them take.
	spell := func(do func(), n int) time.Duration {
		start := time.Now()
		for range n {
			do()
		}
		return time.Since(start)
	}
	spell(ours, 200)
	spell(bare, 200)
	// A spell is long enough to bear its share of checkpoints. The median pair leaves out those that something else on the
	// machine fell upon.
	const spells, each = 15, 400
	var oursTook, bareTook time.Duration
	var ratios []float64
	for i := range spells {
		var o, p time.Duration
		if i%2 == 0 {
			o, p = spell(ours, each), spell(bare, each)
		} else {
			p, o = spell(bare, each), spell(ours, each)
		}
		oursTook, bareTook = oursTook+o, bareTook+p
		ratios = append(ratios, p.Seconds()/o.Seconds())
	}
	slices.Sort(ratios)
	ratio := ratios[len(ratios)/2]
	b.ReportMetric(oursTook.Seconds()*1e6/(spells*each), "append-us")
	b.ReportMetric(bareTook.Seconds()*1e6/(spells*each), "bare-us")
	b.ReportMetric(bareTook.Seconds()/oursTook.Seconds(), "total-ratio")
	must(b, insert.Close())
	must(b, db.Close())
	must(b, s.Close())
	sayAppendRatio.Do(func() { fmt.Printf("\nBENCH append_ratio %.3f ratio\n", ratio) })
}

// BenchmarkAppendTogether is what 64 writers of different streams get out of sharing commits.
func BenchmarkAppendTogether(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "log.db"))
	const writers = 64
	each := (b.N + writers - 1) / writers
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		stream := engine.Scope(fmt.Sprint("s", w))
		wg.Go(func() {
			for v := range engine.Version(each) {
				e := storetest.Event(stream, v+1, engine.ModeUnpinned{})
				if err := s.Append(ctx, store.Append{Stream: stream, After: v, Events: []engine.Event{e}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(b, s.Close())
}
