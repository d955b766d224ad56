package ledger

import "time"

// Unit is a piece of the calendar.
type Unit string

// The units a budget can be for.
const (
	Day     Unit = "day"
	Week    Unit = "week" // from Monday on, as ISO 8601 has it
	Month   Unit = "month"
	Quarter Unit = "quarter"
	Year    Unit = "year"
)

// Nominal is the usual length of a unit, and 0 for what is none. What is decided over windows goes by it; budgets go by the
// real lengths.
func (u Unit) Nominal() time.Duration {
	return map[Unit]time.Duration{Day: oneDay, Week: 7 * oneDay, Month: 30 * oneDay, Quarter: 90 * oneDay, Year: 365 * oneDay}[u]
}

// longest is what a unit can be at most: the hour by which a clock goes back comes on top.
func (u Unit) longest() time.Duration {
	return map[Unit]time.Duration{Day: oneDay, Week: 7 * oneDay, Month: 31 * oneDay, Quarter: 92 * oneDay, Year: 366 * oneDay}[u] + 2*time.Hour
}

// Period is the time a budget is for: the last so many days, or the present piece of the calendar.
type Period struct {
	Rolling  time.Duration // without Calendar
	Calendar Unit
	Zone     *time.Location // of the calendar; nil: UTC
}

// Reach is how far back a budget over the period may look.
func (p Period) Reach() time.Duration {
	if p.Calendar != "" {
		return p.Calendar.longest()
	}
	return p.Rolling
}

// At is the period at an instant: the rolling one ends there, one of the calendar has it inside.
func (p Period) At(at time.Time) (from, to time.Time) {
	if p.Calendar == "" {
		return at.Add(-p.Rolling), at
	}
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	year, month, day := at.In(zone).Date()
	begin := func(back int) time.Time { // of the unit before, this one, the one after
		switch p.Calendar {
		case Day:
			return midnight(year, month, day+back, zone)
		case Week:
			monday := day - (int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday())+6)%7
			return midnight(year, month, monday+7*back, zone)
		case Month:
			return midnight(year, month+time.Month(back), 1, zone)
		case Quarter:
			return midnight(year, (month-1)/3*3+1+time.Month(3*back), 1, zone)
		default:
			return midnight(year+back, time.January, 1, zone)
		}
	}
	from, to = begin(0), begin(1)
	// Where a clock goes back over midnight, the date shown and the unit it belongs to part for a moment.
	for at.Before(from) {
		from, to = begin(-1), from
	}
	return from, to
}

// midnight is the instant at which a date begins somewhere: the first one where the clock shows 0:00 twice, the end of the
// gap where it never does.
func midnight(year int, month time.Month, day int, zone *time.Location) time.Time {
	guess := time.Date(year, month, day, 0, 0, 0, 0, zone)
	wall := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	from, to := guess.ZoneBounds()
	probes := []time.Time{guess}
	if !from.IsZero() {
		probes = append(probes, from.Add(-time.Nanosecond))
	}
	if !to.IsZero() {
		probes = append(probes, to)
	}
	var best time.Time
	for _, p := range probes {
		_, offset := p.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, shown := t.Zone(); shown == offset && (best.IsZero() || t.Before(best)) {
			best = t
		}
	}
	if !best.IsZero() {
		return best.UTC()
	}
	for _, b := range []time.Time{from, to} { // the clock jumps over it at one end of the guess's zone
		if b.IsZero() {
			continue
		}
		_, before := b.Add(-time.Nanosecond).Zone()
		_, after := b.Zone()
		first, last := b.UTC().Add(time.Duration(before)*time.Second), b.UTC().Add(time.Duration(after)*time.Second)
		if !wall.Before(first) && wall.Before(last) {
			return b.UTC()
		}
	}
	return guess.UTC()
}
