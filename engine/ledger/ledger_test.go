package ledger_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func fine(at time.Duration, errors, total float64) ledger.Bucket {
	return ledger.Bucket{Start: start.Add(at), Width: ledger.Fine, Errors: errors, Total: total}
}

func coarse(at time.Duration, errors, total float64) ledger.Bucket {
	return ledger.Bucket{Start: start.Add(at), Width: ledger.Coarse, Errors: errors, Total: total}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

func same(a, b ledger.Sum) bool {
	return near(a.Errors, b.Errors) && near(a.Total, b.Total) && (a.Known-b.Known).Abs() < time.Microsecond
}

// naive adds up buckets one by one: the oracle.
type naive map[time.Time]ledger.Bucket

func (n naive) sum(from, to time.Time) (s ledger.Sum) {
	for _, b := range n {
		begin, end := b.Start, b.Start.Add(b.Width)
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if b.Why != "" || !begin.Before(end) {
			continue
		}
		share := float64(end.Sub(begin)) / float64(b.Width)
		s.Errors += b.Errors * share
		s.Total += b.Total * share
		s.Known += end.Sub(begin)
	}
	return s
}

// random draws a week of buckets: hours first, then four days in five minutes, with holes, unknowns and numbers that cannot be.
func random(t *rapid.T) (*ledger.Ledger, naive, time.Time) {
	l, n := &ledger.Ledger{}, naive{}
	put := func(b ledger.Bucket) {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return
		case 1:
			b.Why = engine.WhyFailed
		case 2:
			b.Errors = rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), -1, b.Total + 1}).Draw(t, "bad")
		}
		l.Put(b)
		if b.Why == "" && b.Errors >= 0 && b.Errors <= b.Total {
			n[b.Start] = b
		}
	}
	for h := range 24 * 2 {
		total := float64(rapid.IntRange(0, 1000).Draw(t, "total"))
		put(coarse(time.Duration(h)*time.Hour, math.Floor(total/7), total))
	}
	for i := range 12 * 24 {
		total := float64(rapid.IntRange(0, 100).Draw(t, "total"))
		put(fine(48*time.Hour+time.Duration(i)*ledger.Fine, math.Floor(total/3), total))
	}
	return l, n, start.Add(72 * time.Hour)
}

func TestASumIsThatOfTheBucketsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, n, end := random(t)
		for range 20 {
			from := start.Add(time.Duration(rapid.Int64Range(int64(-time.Hour), int64(73*time.Hour)).Draw(t, "from")))
			to := start.Add(time.Duration(rapid.Int64Range(int64(-time.Hour), int64(73*time.Hour)).Draw(t, "to")))
			if got, want := l.Sum(from, to), n.sum(from, to); !same(got, want) {
				t.Fatalf("sum of %v to %v is %+v, want %+v", from.Sub(start), to.Sub(start), got, want)
			}
		}
		if got, want := l.Sum(start, end), n.sum(start, end); !same(got, want) {
			t.Fatalf("sum of all is %+v, want %+v", got, want)
		}
	})
}

func TestASpanThatIsCutAnywhereHasTheSumOfItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, _, _ := random(t)
		at := func(name string) time.Time {
			return start.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, name)))
		}
		from, mid, to := at("from"), at("mid"), at("to")
		if mid.Before(from) || to.Before(mid) {
			return
		}
		a, b, all := l.Sum(from, mid), l.Sum(mid, to), l.Sum(from, to)
		if !same(ledger.Sum{Errors: a.Errors + b.Errors, Total: a.Total + b.Total, Known: a.Known + b.Known}, all) {
			t.Fatalf("%+v and %+v are not %+v", a, b, all)
		}
	})
}

func TestCompactingKeepsEverySumOfFullHoursAndIsDoneOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, n, end := random(t)
		now := end.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "later")) * time.Hour).Add(time.Duration(rapid.IntRange(0, 3599).Draw(t, "seconds")) * time.Second)
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			l.Compact(now)
		}
		for range 10 {
			from := start.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "from")) * time.Hour)
			to := start.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "to")) * time.Hour)
			if got, want := l.Sum(from, to), n.sum(from, to); !same(got, want) {
				t.Fatalf("sum of %v to %v is %+v, want %+v", from.Sub(start), to.Sub(start), got, want)
			}
		}
		// A clock that goes back makes nothing fine again, and what comes for an hour that is coarse comes too late.
		before := l.Sum(start, end)
		old := now.Add(-ledger.FineFor).Truncate(time.Hour).Add(-time.Hour)
		if !old.Before(start.Add(48*time.Hour)) && old.Before(end) && l.Sum(old, old.Add(time.Hour)).Known > 0 {
			l.Compact(now.Add(-30 * 24 * time.Hour))
			if l.Put(ledger.Bucket{Start: old, Width: ledger.Fine, Errors: 1, Total: 1e6}) || !same(l.Sum(start, end), before) {
				t.Fatalf("a fine bucket of %v went into an hour that is coarse", old.Sub(start))
			}
		}
	})
}

func TestNoNumberLeavesATraceOnceItsTimeIsOver(t *testing.T) {
	l := &ledger.Ledger{}
	l.Put(coarse(0, 1e300, 1e300))
	for h := 1; h < 24*40; h++ {
		l.Put(coarse(time.Duration(h)*time.Hour, 1, 1000))
	}
	s := l.Sum(start.Add(time.Hour), start.Add(31*24*time.Hour+time.Hour))
	if s.Errors != 31*24 || s.Total != 31*24*1000 {
		t.Errorf("31 days are %+v", s)
	}
	for _, bad := range []ledger.Bucket{fine(0, math.NaN(), 1), fine(0, 0, math.NaN()), fine(0, 0, math.Inf(1)), fine(0, -1, 1), fine(0, 0, -1), fine(0, 2, 1)} {
		l := &ledger.Ledger{}
		l.Put(fine(5*time.Minute, 1, 10))
		l.Put(bad)
		if s := l.Sum(start, start.Add(time.Hour)); s.Errors != 1 || s.Total != 10 || s.Known != 5*time.Minute {
			t.Errorf("%+v made it %+v", bad, s)
		}
	}
}

func TestWhatIsKnownIsReplacedOnlyByWhatIsKnown(t *testing.T) {
	l := &ledger.Ledger{}
	l.Put(fine(0, 1, 10))
	l.Put(ledger.Bucket{Start: start, Width: ledger.Fine, Why: engine.WhyAbsent})
	if s := l.Sum(start, start.Add(time.Hour)); s.Total != 10 {
		t.Errorf("an absent answer made it %+v", s)
	}
	l.Put(fine(0, 2, 12)) // late samples
	if s := l.Sum(start, start.Add(time.Hour)); s.Errors != 2 || s.Total != 12 {
		t.Errorf("a later answer made it %+v", s)
	}
	l.Compact(start.Add(80 * time.Hour))
	l.Put(ledger.Bucket{Start: start, Width: ledger.Coarse, Why: engine.WhyFailed})
	if s := l.Sum(start, start.Add(time.Hour)); s.Total != 12 || s.Known != ledger.Fine {
		t.Errorf("an hour that failed made it %+v", s)
	}
	l.Put(coarse(0, 30, 144))
	if s := l.Sum(start, start.Add(time.Hour)); s.Total != 144 || s.Known != time.Hour {
		t.Errorf("the whole hour made it %+v", s)
	}
}

func TestWhatIsStoredIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, n, end := random(t)
		l.Compact(end.Add(60 * time.Hour)) // some of the fine ones
		back := &ledger.Ledger{}
		for _, p := range l.Pages() {
			if err := back.Restore(p); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := back.Sum(start, end), n.sum(start, end); !same(got, want) {
			t.Fatalf("read back %+v, want %+v", got, want)
		}
		if len(back.Pages()) > 0 {
			t.Fatalf("what was read back is to be written again")
		}
	})
}

func FuzzAPageThatCannotBeReadIsRefusedAndNeverPanics(f *testing.F) {
	l := &ledger.Ledger{}
	l.Put(fine(0, 1, 10))
	l.Put(fine(5*time.Minute, 0, 10))
	l.Put(coarse(time.Hour, 1, 10))
	for _, p := range l.Pages() {
		f.Add(p.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l := &ledger.Ledger{}
		if err := l.Restore(ledger.Page{Hour: start, Body: body}); err != nil {
			return
		}
		s := l.Sum(start, start.Add(time.Hour))
		if math.IsNaN(s.Errors) || s.Errors < 0 || s.Known > time.Hour {
			t.Errorf("%x gives %+v", body, s)
		}
	})
}
