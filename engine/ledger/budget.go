package ledger

import (
	"fmt"
	"math"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Settle is how long after its end a bucket is read: scrapes that are under way end, samples sent by remote write arrive,
// and the query does not fall on a tick. Until then it is not expected to be known.
const Settle = 65 * time.Second

// Due is the end of the last bucket that is expected to be known at an instant.
func Due(at time.Time) time.Time { return at.Add(-Settle).Truncate(Fine).UTC() }

// MinCoverage is the share of the time that counts below which what is left of a budget is unknown. What is known stands for
// what is not; where that is most of it, nobody can tell.
const MinCoverage = 0.5

// Forever is how long a budget lasts that does not burn.
const Forever = time.Duration(math.MaxInt64)

// Question asks how a budget stands.
type Question struct {
	Period Period
	Budget float64 // 1 − objective, in (0, 1)
	At     time.Time
	// Excluded is time that does not count.
	Excluded []Span
	Window   time.Duration // of the present burn rate; 0: an hour
}

// Budget is how the error budget of an SLO stands.
type Budget struct {
	From, To time.Time // the period
	// Length is the time of the period that counts, and Elapsed how much of it is past: excluded time is in neither.
	Length, Elapsed time.Duration
	Excluded        time.Duration // of the past
	Coverage        float64       // known share of Elapsed, in [0, 1]; 1 while nothing is past

	Errors, Total float64 // that are known
	// Remaining is the share of the budget that is left, at most 1, negative once it is overspent. It means something only
	// while Unknown is empty.
	//
	// Over a rolling period it is 1 − errors ÷ (budget × total): each event weighs the same. Of a calendar period a part is
	// still to come, and its traffic is taken to be like that of the part which is past: what was spent is spent of the
	// whole.
	Remaining float64
	Unknown   engine.Why
	Detail    string

	// Burn is the present burn rate, over Window. It means something only while BurnKnown.
	Burn      float64
	BurnKnown bool
	Window    time.Duration
	// Lasts is how long what remains lasts at Burn: 0 when nothing is left, Forever when nothing burns or when a calendar
	// period is over before. It means something only while Remaining and Burn do.
	//
	// It is Remaining × Length ÷ Burn, as a burn rate of 1 spends the whole budget in exactly one period. Errors that leave
	// a rolling period meanwhile give back what this does not count: in truth it lasts as long or longer.
	// Source: Google SRE Workbook, ch. 5, "Alerting on Burn Rate", table 5-4.
	Lasts time.Duration
}

// Budget answers a question.
func (l *Ledger) Budget(q Question) Budget {
	due := Due(q.At)
	b := Budget{Window: q.Window}
	if b.Window <= 0 {
		b.Window = time.Hour
	}
	if b.From, b.To = q.Period.At(q.At); q.Period.Calendar == "" {
		b.From, b.To = q.Period.At(due)
	}
	until := b.To
	if due.Before(until) {
		until = due
	}
	if until.Before(b.From) {
		until = b.From
	}
	// The window of the present burn rate may reach back beyond a calendar period.
	begin := b.From
	if w := due.Add(-b.Window); w.Before(begin) {
		begin = w
	}
	excluded := Merge(q.Excluded, begin, b.To)
	b.Length = included(excluded, b.From, b.To)
	b.Elapsed = included(excluded, b.From, until)
	b.Excluded = until.Sub(b.From) - b.Elapsed
	b.Coverage = 1
	t := l.without(excluded, b.From, until)
	b.Errors, b.Total = t.errors, t.total
	if b.Elapsed > 0 {
		b.Coverage = min(1, t.known/b.Elapsed.Seconds())
	}
	switch {
	case b.Length <= 0:
		b.Unknown, b.Detail = engine.WhyLittleKnown, "all of the period is left out"
	case b.Coverage < MinCoverage:
		b.Unknown, b.Detail = engine.WhyLittleKnown, l.little(b, until)
	case t.total == 0:
		b.Remaining = 1 // nothing happened: nothing was spent
	default:
		b.Remaining = 1 - t.errors/t.total/q.Budget*(b.Elapsed.Seconds()/b.Length.Seconds())
	}
	if w := l.without(excluded, due.Add(-b.Window), due); w.known >= MinCoverage*b.Window.Seconds() {
		b.BurnKnown = true
		if w.total > 0 {
			b.Burn = w.errors / w.total / q.Budget
		}
	}
	if b.Unknown == "" && b.BurnKnown {
		b.Lasts = b.At(b.Burn, q.At, q.Period.Calendar != "")
	}
	return b
}

// At is how long what remains lasts at a burn rate, from an instant on. A calendar period gives a new budget when it ends.
func (b Budget) At(burn float64, at time.Time, renews bool) time.Duration {
	lasts := Lasts(b.Remaining, burn, b.Length)
	if renews && lasts > 0 && !at.Add(lasts).Before(b.To) {
		return Forever
	}
	return lasts
}

// Lasts is how long a share of a period's error budget lasts at a burn rate.
func Lasts(remaining, burn float64, period time.Duration) time.Duration {
	if remaining <= 0 {
		return 0
	}
	ns := remaining * float64(period) / burn
	if burn <= 0 || ns >= float64(Forever) {
		return Forever
	}
	return time.Duration(ns)
}

func (l *Ledger) little(b Budget, until time.Time) string {
	why, unknown := l.why(b.From, until)
	if !unknown || why == "" {
		return fmt.Sprintf("%.3g %% of the period is known: the rest was not read yet", 100*b.Coverage)
	}
	return fmt.Sprintf("%.3g %% of the period is known: the rest is %s for the most part", 100*b.Coverage, why)
}

// without adds up a span less what is excluded.
func (l *Ledger) without(excluded []Span, from, to time.Time) (t tally) {
	for s := range gaps(excluded, from, to) {
		t.add(l.sum(s.From, s.To), 1)
	}
	return t
}

// Point is a step of a series.
type Point struct {
	At    time.Time // its beginning
	Burn  float64   // over the step; means something only while Known is above 0
	Known float64   // share of the step's time that counts and is known
}

// Series is the burn rate in steps, for charts. Excluded time has none.
func (l *Ledger) Series(budget float64, from, to time.Time, step time.Duration, excluded []Span) []Point {
	if step <= 0 || !from.Before(to) {
		return nil
	}
	excluded = Merge(excluded, from, to)
	points := make([]Point, 0, int(to.Sub(from)/step)+1)
	for at := from; at.Before(to); at = at.Add(step) {
		end := at.Add(step)
		if end.After(to) {
			end = to
		}
		t := l.without(excluded, at, end)
		p := Point{At: at, Known: t.known / end.Sub(at).Seconds()}
		if t.total > 0 {
			p.Burn = t.errors / t.total / budget
		}
		points = append(points, p)
	}
	return points
}
