package ledger_test

import (
	"fmt"
	"math"
	"testing"
	"time"
	_ "time/tzdata" // a bare machine may know no zones

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
)

const day = 24 * time.Hour

// filled is a ledger of hours of 1000 events each, of which errors fail, and none known where that is negative.
func filled(days int, errors func(hour int) float64) *ledger.Ledger {
	l := &ledger.Ledger{}
	for h := range 24 * days {
		if e := errors(h); e >= 0 {
			l.Put(coarse(time.Duration(h)*time.Hour, e, 1000))
		}
	}
	return l
}

// at is an instant at which the buckets up to so long after start are due.
func at(d time.Duration) time.Time { return start.Add(d + ledger.Settle) }

var thirty = ledger.Period{Rolling: 30 * day}

func TestTheRemainingBudgetIsWeightedByTraffic(t *testing.T) {
	l := &ledger.Ledger{}
	for h := range 24 * 30 {
		total := 1000.0
		errors := 0.0
		if h%24 < 8 { // nights have a tenth of the traffic, and fail in 2 %
			total, errors = 100, 2
		}
		l.Put(coarse(time.Duration(h)*time.Hour, errors, total))
	}
	b := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day)})
	want := 1 - (8*2.0)/(8*100+16*1000)/0.001
	if b.Unknown != "" || !near(b.Remaining, want) || b.Coverage != 1 || b.Elapsed != 30*day || b.Length != 30*day {
		t.Errorf("%+v, want %v left", b, want)
	}
}

func TestABudgetIsUnknownBelowHalfItsPeriodAndNotAbove(t *testing.T) {
	for _, test := range []struct {
		known   int
		unknown engine.Why
	}{{360, ""}, {359, engine.WhyLittleKnown}, {0, engine.WhyLittleKnown}} {
		l := filled(30, func(h int) float64 {
			if h >= 720-test.known {
				return 1
			}
			return -1
		})
		b := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day)})
		if b.Unknown != test.unknown || !near(b.Coverage, float64(test.known)/720) || (b.Detail == "") != (test.unknown == "") {
			t.Errorf("of %d hours: %+v", test.known, b)
		}
		if b.Unknown == "" && !near(b.Remaining, 0) {
			t.Errorf("a burn rate of 1 leaves %v", b.Remaining)
		}
	}
}

func TestNoTrafficSpendsNothing(t *testing.T) {
	l := &ledger.Ledger{}
	for h := range 24 * 30 {
		l.Put(coarse(time.Duration(h)*time.Hour, 0, 0))
	}
	b := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day)})
	if b.Unknown != "" || b.Remaining != 1 || !b.BurnKnown || b.Burn != 0 || b.Lasts != ledger.Forever {
		t.Errorf("%+v", b)
	}
}

func TestExcludedTimeLeavesTheBudgetAndItsLength(t *testing.T) {
	outage := func(h int) float64 {
		if h >= 100 && h < 110 {
			return 1000
		}
		return 0.5
	}
	l := filled(30, outage)
	whole := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day)})
	without := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day),
		Excluded: []ledger.Span{{From: start.Add(105 * time.Hour), To: start.Add(110 * time.Hour)}, {From: start.Add(100 * time.Hour), To: start.Add(106 * time.Hour)}}})
	if whole.Remaining > -10 || !near(without.Remaining, 0.5) || without.Excluded != 10*time.Hour || without.Length != 710*time.Hour || without.Coverage != 1 {
		t.Errorf("with the outage %+v\nwithout %+v", whole, without)
	}
	all := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day), Excluded: []ledger.Span{{From: start.Add(-day), To: start.Add(60 * day)}}})
	if all.Unknown == "" || math.IsNaN(all.Coverage) || math.IsNaN(all.Remaining) {
		t.Errorf("with everything left out: %+v", all)
	}
}

func TestACalendarBudgetIsSpentOfTheWholePiece(t *testing.T) {
	month := ledger.Period{Calendar: ledger.Month}
	l := filled(31, func(h int) float64 {
		if h == 0 { // an hour of full outage, then nothing
			return 1000
		}
		return 0
	})
	// An hour of 744 at 99 % is 1000/744 … of a budget of 7.44 hours: 13.4 %, at any time after it.
	for _, after := range []time.Duration{time.Hour, 5 * day, 31*day - time.Hour} {
		b := l.Budget(ledger.Question{Period: month, Budget: 0.01, At: at(after)})
		if b.Unknown != "" || !near(b.Remaining, 1-1/7.44) || b.Length != 744*time.Hour || b.Elapsed != after {
			t.Errorf("after %v: %+v, want %v left", after, b, 1-1/7.44)
		}
	}
	first := l.Budget(ledger.Question{Period: month, Budget: 0.01, At: start.Add(time.Second)})
	if first.Unknown != "" || first.Remaining != 1 || first.Coverage != 1 {
		t.Errorf("in its first second: %+v", first)
	}
	next := l.Budget(ledger.Question{Period: month, Budget: 0.01, At: start.AddDate(0, 1, 0).Add(time.Minute)})
	if next.Remaining != 1 || !next.From.Equal(start.AddDate(0, 1, 0)) {
		t.Errorf("the next month: %+v", next)
	}
}

func TestWhatIsLeftLastsAtThePresentBurn(t *testing.T) {
	l := filled(31, func(h int) float64 {
		if h >= 24*30-1 {
			return 10 // a burn rate of 10 in the last hour
		}
		return 0
	})
	b := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day)})
	if want := time.Duration(b.Remaining * float64(3*day)); !b.BurnKnown || !near(b.Burn, 10) || (b.Lasts-want).Abs() > time.Second {
		t.Errorf("%+v, want it to last %v", b, want)
	}
	month := ledger.Period{Calendar: ledger.Month}
	if b := l.Budget(ledger.Question{Period: month, Budget: 0.001, At: at(30 * day)}); b.Lasts != ledger.Forever { // the month ends a day later
		t.Errorf("%+v", b)
	}
	l = filled(31, func(int) float64 { return 100 })
	if b := l.Budget(ledger.Question{Period: month, Budget: 0.001, At: at(30 * day)}); b.Lasts != 0 || b.Remaining >= 0 {
		t.Errorf("spent: %+v", b)
	}
}

func TestPeriodsOfTheCalendarHaveTheirRealLengths(t *testing.T) {
	for _, test := range []struct {
		unit     ledger.Unit
		zone, at string
		from, to string
	}{
		// Both changes of the clock in Berlin, 2026: a month less an hour, a month and an hour, a day of 23 hours and one of 25.
		{ledger.Month, "Europe/Berlin", "2026-03-15T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		{ledger.Month, "Europe/Berlin", "2026-10-15T12:00:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
		{ledger.Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{ledger.Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{ledger.Week, "Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"},
		{ledger.Week, "Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-04-05T22:00:00Z"},
		{ledger.Month, "UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{ledger.Quarter, "UTC", "2026-12-31T23:59:59Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{ledger.Year, "Asia/Kolkata", "2026-12-31T18:30:00Z", "2026-12-31T18:30:00Z", "2027-12-31T18:30:00Z"},
		{ledger.Day, "Africa/Cairo", "2025-04-25T12:00:00Z", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"},   // midnight is in the gap
		{ledger.Day, "America/Havana", "2025-11-02T12:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, // midnight is twice
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		when, _ := time.Parse(time.RFC3339, test.at)
		from, to := ledger.Period{Calendar: test.unit, Zone: zone}.At(when)
		if f, o := from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339); f != test.from || o != test.to {
			t.Errorf("the %s in %s at %s is %s to %s, want %s to %s", test.unit, test.zone, test.at, f, o, test.from, test.to)
		}
	}
}

func TestPeriodsOfTheCalendarTileTheTime(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		p := ledger.Period{Zone: zone, Calendar: rapid.SampledFrom([]ledger.Unit{ledger.Day, ledger.Week, ledger.Month, ledger.Quarter, ledger.Year}).Draw(t, "unit")}
		when := time.Unix(rapid.Int64Range(1_200_000_000, 2_000_000_000).Draw(t, "at"), 0)
		from, to := p.At(when)
		if when.Before(from) || !when.Before(to) || to.Sub(from) > p.Reach() {
			t.Fatalf("%v is not in %v to %v, or that is too long", when, from, to)
		}
		if again, _ := p.At(to.Add(-1)); !again.Equal(from) {
			t.Fatalf("the last instant before %v is in the piece from %v, not %v", to, again, from)
		}
		if next, _ := p.At(to); !next.Equal(to) {
			t.Fatalf("after %v comes a piece from %v", to, next)
		}
	})
}

func TestWhatWasKnownAtTheTimeStaysKnown(t *testing.T) {
	l := filled(30, func(h int) float64 {
		if h >= 100 && h < 110 {
			return 1000
		}
		return 0
	})
	list := []ledger.Correction{{ID: "a-1", SLO: "s", Recorded: start.Add(20 * day), Withdrawn: start.Add(25 * day),
		Spans: ledger.Once(start.Add(100*time.Hour), start.Add(110*time.Hour))}}
	left := func(asOf time.Duration) float64 {
		now := start.Add(30 * day)
		b := l.Budget(ledger.Question{Period: thirty, Budget: 0.001, At: at(30 * day), Excluded: ledger.Excluded(list, "s", start.Add(asOf), start, now)})
		return b.Remaining
	}
	spent := 1 - 10/0.72
	for asOf, want := range map[time.Duration]float64{20*day - 1: spent, 20 * day: 1, 25*day - 1: 1, 25 * day: spent} {
		if got := left(asOf); !near(got, want) {
			t.Errorf("as of %v %v is left, want %v", asOf, got, want)
		}
	}
	if spans := ledger.Excluded(list, "other", start.Add(22*day), start, start.Add(30*day)); len(spans) > 0 {
		t.Errorf("another SLO's time is left out: %v", spans)
	}
}

func TestMergedSpansAreInOrderAndApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []ledger.Span
		second := func(name string) time.Time {
			return start.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, name)) * time.Second)
		}
		for range rapid.IntRange(0, 8).Draw(t, "spans") {
			spans = append(spans, ledger.Span{From: second("from"), To: second("to")})
		}
		from, to := second("begin"), second("end")
		merged := ledger.Merge(spans, from, to)
		in := func(list []ledger.Span, at time.Time) bool {
			for _, s := range list {
				if !at.Before(s.From) && at.Before(s.To) {
					return true
				}
			}
			return false
		}
		for s := range 61 {
			when := start.Add(time.Duration(s) * time.Second)
			if want := in(spans, when) && !when.Before(from) && when.Before(to); in(merged, when) != want {
				t.Fatalf("%v merged is %v, wrong at %v", spans, merged, when)
			}
		}
		for i := 1; i < len(merged); i++ {
			if !merged[i-1].To.Before(merged[i].From) {
				t.Fatalf("%v touch", merged)
			}
		}
	})
}

func TestASeriesHasTheBurnOfEachStep(t *testing.T) {
	l := filled(3, func(h int) float64 { return float64(h % 24) })
	points := l.Series(0.001, start, start.Add(3*day), 6*time.Hour, []ledger.Span{{From: start, To: start.Add(6 * time.Hour)}})
	if len(points) != 12 || points[0].Known != 0 || points[1].Known != 1 {
		t.Fatalf("%+v", points)
	}
	if want := (6.0 + 7 + 8 + 9 + 10 + 11) / 6; !near(points[1].Burn, want) || !near(points[5].Burn, want) {
		t.Errorf("%+v, want %v", points, want)
	}
}

// BenchmarkBudget asks for the budget over thirty days with three spans left out.
func BenchmarkBudget(b *testing.B) {
	l := filled(30, func(h int) float64 { return float64(h % 3) })
	for i := range 12 * 72 {
		l.Put(fine(30*day+time.Duration(i)*ledger.Fine, 1, 100))
	}
	q := ledger.Question{Period: thirty, Budget: 0.001, At: at(33*day - 7*time.Minute), Excluded: []ledger.Span{
		{From: start.Add(5 * day), To: start.Add(5*day + time.Hour)}, {From: start.Add(12 * day), To: start.Add(12*day + 90*time.Minute)}, {From: start.Add(32 * day), To: start.Add(32*day + 7*time.Minute)}}}
	var got ledger.Budget
	for b.Loop() {
		got = l.Budget(q)
	}
	if got.Unknown != "" {
		b.Fatal(got.Detail)
	}
	fmt.Printf("\nBENCH ledger_budget_ns %.0f ns\n", float64(b.Elapsed().Nanoseconds())/float64(b.N))
}
