package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/engine/store"
)

// monthly answers every question with traffic of which a little fails.
type monthly struct{}

func (monthly) Read(_ context.Context, ask ledger.Ask) []ledger.Answer {
	answers := make([]ledger.Answer, len(ask.Keys))
	for i := range answers {
		for at := ask.From; at.Before(ask.To); at = at.Add(ask.Width) {
			n := float64(at.Unix()/300%7) * ask.Width.Seconds()
			answers[i].Buckets = append(answers[i].Buckets, ledger.Bucket{Start: at, Width: ask.Width, Errors: max(0, n-1500), Total: n})
		}
	}
	return answers
}

// BenchmarkLedgers keeps the ledgers of a thousand SLOs over thirty days, in memory and in the store, and measures both.
func BenchmarkLedgers(b *testing.B) {
	const slos = 1000
	path := filepath.Join(b.TempDir(), "log.db")
	s := open(b, path)
	size := func() float64 {
		must(b, s.Exec("PRAGMA wal_checkpoint(TRUNCATE)"))
		st, err := os.Stat(path)
		must(b, err)
		return float64(st.Size()) / 1e6
	}
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	diskBefore, memoryBefore := size(), heap()
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	var followed []ledger.Followed
	for i := range slos {
		followed = append(followed, ledger.Followed{Key: ledger.Key{Scope: engine.Scope(fmt.Sprintf("service-%04d", i)), SLO: "availability", Digest: "d"}, Reach: 30 * 24 * time.Hour})
	}
	keep := func() *ledger.Keeper {
		k := ledger.NewKeeper(s, ledger.Options{Now: func() time.Time { return now }})
		k.Follow(monthly{}, followed)
		for k.Step(ctx) <= 0 {
		}
		return k
	}
	k := keep()
	memory, disk := heap()-memoryBefore, size()-diskBefore
	began := time.Now()
	now = now.Add(ledger.Fine)
	for k.Step(ctx) <= 0 {
	}
	extension := time.Since(began)
	began = time.Now()
	again := keep()
	start := time.Since(began)
	if p := again.Progress(now); p.Asked != 1 {
		b.Fatalf("progress %+v", p)
	}
	runtime.KeepAlive(k)
	b.ReportMetric(extension.Seconds()*1e3, "extension-ms")
	b.ReportMetric(start.Seconds()*1e3, "load-ms")
	fmt.Printf("\nBENCH ledger_mb_per_1000_slos %.1f MB\nBENCH ledger_disk_mb_per_1000_slos %.1f MB\n", memory, disk)
	must(b, s.Close())
}

var _ ledger.Store = (*store.SQLite)(nil)
