package ledger_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
)

// memory is a store that can fail.
type memory struct {
	pages map[ledger.Key]map[time.Time][]byte
	full  bool
	saves int
	drops []ledger.Key // kept at the last drop
}

func (m *memory) SaveLedgers(_ context.Context, saves ...ledger.Save) error {
	if m.full {
		return errors.New("disk full")
	}
	m.saves++
	for _, s := range saves {
		if m.pages[s.Key] == nil {
			if m.pages == nil {
				m.pages = map[ledger.Key]map[time.Time][]byte{}
			}
			m.pages[s.Key] = map[time.Time][]byte{}
		}
		for _, p := range s.Pages {
			m.pages[s.Key][p.Hour] = slices.Clone(p.Body)
		}
		maps.DeleteFunc(m.pages[s.Key], func(hour time.Time, _ []byte) bool { return hour.Before(s.Before) })
	}
	return nil
}

func (m *memory) LoadLedger(_ context.Context, key ledger.Key) (pages []ledger.Page, _ error) {
	for hour, body := range m.pages[key] {
		pages = append(pages, ledger.Page{Hour: hour, Body: body})
	}
	slices.SortFunc(pages, func(a, b ledger.Page) int { return a.Hour.Compare(b.Hour) })
	return pages, nil
}

func (m *memory) DropLedgers(_ context.Context, _ time.Time, keep ...ledger.Key) error {
	m.drops = keep
	return nil
}

// service is a source whose truth is a function of time: errors and total of five minutes.
type service struct {
	mu    sync.Mutex // guards asks while a keeper runs
	now   func() time.Time
	truth func(at time.Time) (errors, total float64)
	since time.Time // before it there is nothing
	why   func(ledger.Ask) engine.Why
	asks  []ledger.Ask
}

func (s *service) Read(_ context.Context, ask ledger.Ask) []ledger.Answer {
	s.mu.Lock()
	s.asks = append(s.asks, ask)
	s.mu.Unlock()
	answers := make([]ledger.Answer, len(ask.Keys))
	for i := range answers {
		if s.why != nil {
			if answers[i].Why = s.why(ask); answers[i].Why != "" {
				continue
			}
		}
		for at := ask.From; at.Before(ask.To); at = at.Add(ask.Width) {
			b := ledger.Bucket{Start: at, Width: ask.Width}
			if at.Before(s.since) {
				b.Why = engine.WhyAbsent
			} else {
				for t := at; t.Before(at.Add(ask.Width)); t = t.Add(ledger.Fine) {
					e, n := s.truth(t)
					b.Errors, b.Total = b.Errors+e, b.Total+n
				}
			}
			answers[i].Buckets = append(answers[i].Buckets, b)
		}
	}
	return answers
}

// sum is the truth over a span.
func (s *service) sum(from, to time.Time) (out ledger.Sum) {
	for t := from; t.Before(to); t = t.Add(ledger.Fine) {
		if !t.Before(s.since) {
			e, n := s.truth(t)
			out.Errors, out.Total, out.Known = out.Errors+e, out.Total+n, out.Known+ledger.Fine
		}
	}
	return out
}

var (
	key   = ledger.Key{Scope: "checkout", SLO: "availability", Digest: "d"}
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
)

func steady(at time.Time) (float64, float64) {
	n := float64(at.Unix() / 300 % 17)
	return n, 100 * n
}

// bench is a keeper with a clock of its own.
type bench struct {
	*ledger.Keeper
	now   time.Time
	store *memory
	src   *service
}

func newBench(now time.Time) *bench {
	b := &bench{now: now, store: &memory{}}
	b.src = &service{truth: steady, now: func() time.Time { return b.now }}
	b.restart()
	return b
}

func (b *bench) restart() {
	b.Keeper = ledger.NewKeeper(b.store, ledger.Options{Now: func() time.Time { return b.now }, Logger: quiet})
	b.Follow(b.src, []ledger.Followed{{Key: key, Reach: 30 * day}})
}

// settle takes steps until there is nothing to ask for a while, and returns how many questions that took.
func (b *bench) settle() int {
	before := len(b.src.asks)
	for range 1000 {
		if b.Step(context.Background()) > 0 {
			break
		}
	}
	return len(b.src.asks) - before
}

func (b *bench) budget() ledger.Budget {
	return b.Budget(key, ledger.Question{Period: thirty, Budget: 0.01, At: b.now})
}

// right compares the budget with the truth.
func (b *bench) right(t interface{ Fatalf(string, ...any) }) {
	got := b.budget()
	to := ledger.Due(b.now)
	want := b.src.sum(to.Add(-30*day).Truncate(time.Hour).Add(time.Hour), to) // the hour at the far end counts in part
	edge := b.src.sum(to.Add(-30*day).Truncate(time.Hour), to.Add(-30*day).Truncate(time.Hour).Add(time.Hour))
	share := 1 - to.Add(-30*day).Sub(to.Add(-30*day).Truncate(time.Hour)).Hours()
	want.Errors, want.Total = want.Errors+share*edge.Errors, want.Total+share*edge.Total
	if got.Unknown != "" || !near(got.Errors, want.Errors) || !near(got.Total, want.Total) {
		t.Fatalf("at %v the budget is %+v, want %+v", b.now, got, want)
	}
}

func TestThePastIsReadNewestFirstInBoundedPieces(t *testing.T) {
	b := newBench(start.Add(40*day + 7*time.Hour + 13*time.Minute))
	b.settle()
	b.right(t)
	for i, ask := range b.src.asks {
		if points := int(ask.To.Sub(ask.From) / ask.Width); points > 288 || ask.Width == ledger.Fine && ask.To.Sub(ask.From) > day || ask.To.Sub(ask.From) > 5*day {
			t.Errorf("question %d is for %d points: %v to %v", i, points, ask.From, ask.To)
		}
		if i > 0 && ask.To.After(b.src.asks[i-1].From) {
			t.Errorf("question %d, %v to %v, is not before the one before it", i, ask.From, ask.To)
		}
	}
	if first := b.src.asks[0]; !first.To.Equal(ledger.Due(b.now)) || first.Width != ledger.Fine {
		t.Errorf("the first question is for %v to %v", first.From, first.To)
	}
	if p := b.Progress(b.now); p.Asked != 1 || p.Lag != b.now.Sub(ledger.Due(b.now)) {
		t.Errorf("progress %+v", p)
	}
	if n := len(b.src.asks); n > 12 {
		t.Errorf("it took %d questions", n)
	}
}

func TestEachBucketIsReadOnceAndItsHourOnceMore(t *testing.T) {
	b := newBench(start.Add(40 * day))
	b.settle()
	b.src.asks = nil
	read := map[time.Time]int{}
	for range 12 * 6 {
		b.now = b.now.Add(ledger.Fine)
		if n := b.settle(); n < 1 || n > 2 { // two when an hour of the day before is read again
			t.Fatalf("at %v there were %d questions", b.now, n)
		}
		b.right(t)
	}
	for _, ask := range b.src.asks {
		for at := ask.From; at.Before(ask.To); at = at.Add(ask.Width) {
			read[at]++
		}
	}
	// An hour that is read again lies before the newest buckets, which come along: no bucket is read more than three times.
	for at, n := range read {
		if n > 3 {
			t.Errorf("%v was read %d times", at, n)
		}
	}
}

func TestWhatComesLateIsFoundAnHourLater(t *testing.T) {
	b := newBench(start.Add(40*day + 2*time.Minute))
	late := start.Add(40*day + 30*time.Minute)
	b.src.truth = func(at time.Time) (float64, float64) {
		if e, n := steady(at); !at.Equal(late) || b.now.After(late.Add(20*time.Minute)) {
			return e, n
		}
		return 0, 1 // most of it has not arrived yet
	}
	for range 12 * 4 {
		b.settle()
		b.now = b.now.Add(ledger.Fine)
	}
	b.settle()
	b.right(t)
}

func TestGapsAreRefilledWhenTheSourceIsBack(t *testing.T) {
	b := newBench(start.Add(40 * day))
	down := false
	b.src.why = func(ledger.Ask) engine.Why {
		if down {
			return engine.WhyTimeout
		}
		return ""
	}
	b.settle()
	down = true
	for range 12 * 7 {
		b.now = b.now.Add(ledger.Fine)
		if n := b.settle(); n > 3 {
			t.Fatalf("a source that is down got %d questions in five minutes", n)
		}
	}
	if got := b.budget(); got.Unknown != "" || got.Coverage > 1-6.9/720 || got.BurnKnown {
		t.Errorf("after seven hours: %+v", got)
	}
	if why, _ := b.Trouble(key); why != engine.WhyTimeout {
		t.Errorf("the trouble is %q", why)
	}
	down = false
	b.now = b.now.Add(ledger.Fine)
	b.settle()
	b.right(t)
	if got := b.budget(); got.Coverage != 1 {
		t.Errorf("once it is back: %+v", got)
	}
}

func TestAQuestionThatAlwaysFailsIsGivenUpAndKeepsNothingElse(t *testing.T) {
	b := newBench(start.Add(40 * day))
	bad := start.Add(20 * day)
	failures := 0
	b.src.why = func(ask ledger.Ask) engine.Why {
		if !ask.From.After(bad) && ask.To.After(bad) {
			failures++
			return engine.WhyFailed
		}
		return ""
	}
	for range 12 * 30 {
		b.settle()
		b.now = b.now.Add(ledger.Fine)
	}
	if failures < 10 || failures > 40 {
		t.Errorf("it was asked %d times", failures)
	}
	if got := b.budget(); got.Unknown != "" || got.Coverage < 0.8 || got.Coverage > 0.85 {
		t.Errorf("%+v", got)
	}
}

func TestABudgetOfAServiceThatIsNewIsUnknownAndSaysWhy(t *testing.T) {
	b := newBench(start.Add(40 * day))
	b.src.since = start.Add(38 * day)
	b.settle()
	got := b.budget()
	if got.Unknown != engine.WhyLittleKnown || got.Detail != "6.66 % of the period is known: the rest is absent for the most part" {
		t.Errorf("%+v", got)
	}
	if n := b.settle(); n > 0 {
		t.Errorf("what is absent was asked for again: %d questions", n)
	}
}

func TestARestartInTheMiddleGoesOnWhereItWas(t *testing.T) {
	b := newBench(start.Add(40*day + 3*time.Hour))
	for range 4 {
		b.Step(context.Background())
	}
	half := b.budget()
	b.restart()
	b.src.asks = nil
	b.settle()
	b.right(t)
	for _, ask := range b.src.asks {
		if ask.Width == ledger.Fine {
			t.Errorf("%v to %v was read again", ask.From, ask.To)
		}
	}
	if half.Coverage >= 1 || half.Coverage < 0.09 {
		t.Errorf("half way %v was known", half.Coverage)
	}
	// Down for four days: what was fine is an hour by now, and what is missing is read.
	b.now = b.now.Add(4*day + 17*time.Minute)
	b.restart()
	b.settle()
	b.right(t)
}

func TestAFullDiskCostsTheCacheOnly(t *testing.T) {
	b := newBench(start.Add(40 * day))
	b.store.full = true
	b.settle()
	b.right(t)
	b.now = b.now.Add(ledger.Fine)
	b.settle()
	b.right(t)
	b.store.full = false
	b.now = b.now.Add(ledger.Fine)
	b.settle()
	b.restart()
	b.src.asks = nil
	if n := b.settle(); n > 0 {
		t.Errorf("after a restart %d questions were asked", n)
	}
	b.right(t)
}

func TestAClockThatGoesBackLosesNothing(t *testing.T) {
	b := newBench(start.Add(40 * day))
	b.settle()
	b.now = b.now.Add(-10 * time.Hour)
	if n := b.settle(); n > 0 {
		// The far end of the period lies ten hours further back, and only that is new.
		for _, ask := range b.src.asks[len(b.src.asks)-n:] {
			if ask.Width != ledger.Coarse {
				t.Errorf("%v to %v was read again", ask.From, ask.To)
			}
		}
	}
	b.right(t)
	b.now = b.now.Add(10*time.Hour + ledger.Fine)
	b.settle()
	b.right(t)
}

func TestAnotherQueryIsAnotherLedgerAndTheOldOneIsFoundAgain(t *testing.T) {
	b := newBench(start.Add(40 * day))
	b.settle()
	other := key
	other.Digest = "e"
	b.Follow(b.src, []ledger.Followed{{Key: other, Reach: 30 * day}})
	if got := b.budget(); got.Coverage != 0 {
		t.Errorf("what is not followed is known: %+v", got)
	}
	b.src.asks = nil
	if b.settle(); len(b.src.asks) == 0 {
		t.Error("another query was not read")
	}
	b.Follow(b.src, []ledger.Followed{{Key: key, Reach: 30 * day}})
	if n := b.settle(); n > 0 {
		t.Errorf("the old one was read again: %d questions", n)
	}
	b.right(t)
}

func TestSLOsThatWishForTheSameShareAQuestion(t *testing.T) {
	b := newBench(start.Add(40 * day))
	var all []ledger.Followed
	for i := range 450 {
		all = append(all, ledger.Followed{Key: ledger.Key{Scope: engine.Scope(rune('a' + i%26)), SLO: string(rune('A' + i)), Digest: "d"}, Reach: 30 * day})
	}
	b.Follow(b.src, all)
	b.settle()
	widest := 0
	for _, ask := range b.src.asks {
		widest = max(widest, len(ask.Keys))
	}
	if widest != 200 || len(b.src.asks) > 3*12 {
		t.Errorf("%d questions, the widest for %d SLOs", len(b.src.asks), widest)
	}
}

func TestAnHourThatFailedIsReadInBucketsOnceTheClockWasSetBackOverIt(t *testing.T) {
	b := newBench(start.Add(40 * day))
	failing := true
	b.src.why = func(ledger.Ask) engine.Why {
		if failing {
			return engine.WhyFailed
		}
		return ""
	}
	for range 8 { // the buckets of three days, and the hours before them
		b.Step(context.Background())
	}
	failing = false
	b.now = b.now.Add(-20 * time.Minute) // now one of those hours is of the last three days
	for range 20 {
		b.settle()
		b.now = b.now.Add(30 * time.Second)
	}
	b.right(t)
}

func TestWhateverHappensTheBudgetIsTheTruthOfWhatIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(start.Add(40*day + time.Duration(rapid.IntRange(0, 86400).Draw(t, "second"))*time.Second))
		failing := false
		b.src.why = func(ledger.Ask) engine.Why {
			if failing {
				return engine.WhyFailed
			}
			return ""
		}
		for range 8 {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				b.restart()
			case 1:
				failing = !failing
			case 2:
				b.store.full = !b.store.full
			case 3:
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "hours")) * time.Hour)
			case 4:
				b.now = b.now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "minutes")) * time.Minute)
			default:
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "seconds")) * time.Second)
			}
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				b.Step(context.Background())
			}
			// However little is known: what is known is never more than what was.
			got := b.budget()
			to := ledger.Due(b.now)
			truth := b.src.sum(to.Add(-30*day).Truncate(time.Hour), to)
			if got.Errors > truth.Errors*(1+1e-9) || got.Total > truth.Total*(1+1e-9) || got.Coverage > 1 || got.Coverage < 0 {
				t.Fatalf("%+v is more than %+v", got, truth)
			}
		}
		failing, b.store.full = false, false
		b.now = b.now.Add(2 * time.Hour) // whatever was put off is due
		b.settle()
		b.right(t)
	})
}

// asked is how many questions there were, also while a keeper runs.
func (s *service) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asks)
}

func TestTheKeeperWaitsForTheNextBucketAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &service{truth: steady}
		k := ledger.NewKeeper(&memory{}, ledger.Options{Logger: quiet})
		k.Follow(src, []ledger.Followed{{Key: key, Reach: 30 * day}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		backfilled := src.asked()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := src.asked() - backfilled; got != 12 {
			t.Errorf("in an hour there were %d questions", got)
		}
		if p := k.Progress(time.Now()); p.Lag > ledger.Fine+ledger.Settle+time.Second || p.Asked != 1 {
			t.Errorf("progress %+v", p)
		}
		stop()
		if err := cmp.Or(<-ended, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestOfAShortPeriodNoMoreIsReadThanItReaches(t *testing.T) {
	b := newBench(start.Add(40*day + 3*time.Hour))
	b.Follow(b.src, []ledger.Followed{{Key: key, Reach: 26 * time.Hour}})
	if n := b.settle(); n > 3 {
		t.Errorf("%d questions", n)
	}
	for _, ask := range b.src.asks {
		if ask.From.Before(b.now.Add(-27*time.Hour)) || ask.Width != ledger.Fine {
			t.Errorf("%v to %v was asked", ask.From, ask.To)
		}
	}
}
