package rules

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/robfig/cron/v3"
)

// Schedule is a window of time that opens again and again.
type Schedule struct {
	Name     string
	Cron     string
	Duration time.Duration
	Timezone *time.Location

	spec *cron.SpecSchedule
}

// maxScheduleDuration bounds the search for the firing that opened a window.
const maxScheduleDuration = 366 * 24 * time.Hour

// Active reports whether the window opened by the latest firing at or before an instant still lasts then: it includes the
// firing and not its end.
func (s *Schedule) Active(at time.Time) bool {
	fired, ok := s.latest(at)
	return ok && at.Before(fired.Add(s.Duration))
}

// latest finds the last firing at or before an instant, if its window could still be open then.
//
// The search goes through calendar days and wall clock times, latest first, and turns each into an instant. That an instant
// never falls when the wall clock time rises is what lets the first one that is not after `at` be the answer; it holds
// because a time in a gap counts as the gap's end, and a doubled time as its first occurrence. The cron library steps through
// instants instead, and so leaves out a time in a gap and repeats a doubled one.
func (s *Schedule) latest(at time.Time) (time.Time, bool) {
	year, month, day := at.In(s.Timezone).Date()
	// A day more on each side: where a gap swallowed a whole day, the firing belongs to a date the clock never showed.
	for back := -1; back <= int(s.Duration/(24*time.Hour))+2; back++ {
		date := time.Date(year, month, day-back, 0, 0, 0, 0, time.UTC)
		if !s.matches(date) {
			continue
		}
		for hours := s.spec.Hour & (1<<24 - 1); hours != 0; {
			hour := bits.Len64(hours) - 1
			hours &^= 1 << hour
			for minutes := s.spec.Minute & (1<<60 - 1); minutes != 0; {
				minute := bits.Len64(minutes) - 1
				minutes &^= 1 << minute
				t := instant(date.Add(time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute), s.Timezone)
				if !t.After(at) {
					return t, true
				}
			}
		}
	}
	return time.Time{}, false
}

// star marks a field that was written as *; the cron library keeps it in the topmost bit.
const star = 1 << 63

// matches reports whether the schedule fires on a date. As in cron, a day of the month and a day of the week that are both
// given are alternatives.
func (s *Schedule) matches(date time.Time) bool {
	return s.matchesDay(date.Month(), date.Day(), date.Weekday())
}

func (s *Schedule) matchesDay(month time.Month, day int, weekday time.Weekday) bool {
	dom := s.spec.Dom&(1<<day) != 0
	dow := s.spec.Dow&(1<<weekday) != 0
	if s.spec.Month&(1<<month) == 0 {
		return false
	}
	if s.spec.Dom&star != 0 || s.spec.Dow&star != 0 {
		return dom && dow
	}
	return dom || dow
}

// fires reports whether there is a date at all on which the schedule fires.
func (s *Schedule) fires() bool {
	if s.spec.Dow&star == 0 {
		return true // every month has all days of the week
	}
	longest := [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for m, days := range longest {
		if s.spec.Month&(1<<(m+1)) != 0 && s.spec.Dom&(1<<(days+1)-1)&^1 != 0 {
			return true
		}
	}
	return false
}

// instant turns a wall clock time, given as if it were UTC, into the instant at which a place's clock shows it: the first
// one where the clock shows it twice, the end of the gap where it never does.
func instant(wall time.Time, place *time.Location) time.Time {
	guess := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, place)
	var best, gap time.Time
	from, to := guess.ZoneBounds()
	probes := []time.Time{guess}
	if !from.IsZero() {
		probes = append(probes, from.Add(-time.Nanosecond))
	}
	if !to.IsZero() {
		probes = append(probes, to)
	}
	for _, p := range probes {
		_, offset := p.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(place)
		if _, shown := t.Zone(); shown == offset {
			if best.IsZero() || t.Before(best) {
				best = t
			}
		}
	}
	if !best.IsZero() {
		return best.UTC()
	}
	// In a gap: it is at one end of the guess's zone, where the clock jumps over the time.
	for _, b := range []time.Time{from, to} {
		if b.IsZero() {
			continue
		}
		_, before := b.Add(-time.Nanosecond).Zone()
		_, after := b.Zone()
		first, last := b.Add(time.Duration(before)*time.Second), b.Add(time.Duration(after)*time.Second)
		if w := wall; !w.Before(first.UTC()) && w.Before(last.UTC()) {
			gap = b
		}
	}
	if gap.IsZero() {
		return guess.UTC()
	}
	return gap.UTC()
}

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func (d *draft) schedule(n *node) {
	r := d.r
	s := &Schedule{Timezone: time.UTC}
	before := r.faults
	r.mapping(n, "a schedule",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of a schedule"); ok && r.unique(d.scheduleNames, n, "schedule", name) {
				s.Name = name
			}
		}),
		need("cron", func(n *node) { s.Cron, s.spec = r.cron(n) }),
		need("duration", func(n *node) {
			if v, ok := r.duration(n, "the duration"); ok && v > maxScheduleDuration {
				r.errorf(n, "", "a window may last at most a year")
			} else {
				s.Duration = v
			}
		}),
		may("timezone", func(n *node) {
			if place, ok := r.timezone(n); ok {
				s.Timezone = place
			}
		}))
	if s.Name != "" {
		d.service.Schedules = append(d.service.Schedules, s)
	}
	if r.faults > before || s.spec == nil {
		return
	}
	if !s.fires() {
		r.errorf(n.get("cron"), "look at the day of the month and the month", "%q never fires: there is no such date", clip(s.Cron))
		return
	}
	least, most := s.gaps()
	switch each, lasts := n.get("duration"), model.Duration(s.Duration); {
	case s.Duration >= most:
		r.errorf(each, fmt.Sprintf("write less than %s, or let cron fire less often", model.Duration(most)),
			"the window never ends: it lasts %s, and the next one opens at the latest %s after it", lasts, model.Duration(most))
	case s.Duration > least:
		r.errorf(each, fmt.Sprintf("write at most %s, or declare two schedules", model.Duration(least)),
			"windows overlap: each lasts %s, and one may open %s after the other", lasts, model.Duration(least))
	case s.Duration < d.opts.Interval:
		r.errorf(each, fmt.Sprintf("write at least %s", model.Duration(d.opts.Interval)),
			"a window of %s may pass between two evaluations, which are %s apart", lasts, model.Duration(d.opts.Interval))
	}
}

// gaps are the shortest and the longest time between two firings, by a clock that is never changed: where the clock goes forward a
// window may meet the next one once a year, and ends with it.
func (s *Schedule) gaps() (least, most time.Duration) {
	var times []time.Duration // of a day on which it fires
	for hour := range 24 {
		for minute := range 60 {
			if s.spec.Hour&(1<<hour) != 0 && s.spec.Minute&(1<<minute) != 0 {
				times = append(times, time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute)
			}
		}
	}
	least = math.MaxInt64
	gap := func(d time.Duration) { least, most = min(least, d), max(most, d) }
	for i := 1; i < len(times); i++ {
		gap(times[i] - times[i-1])
	}
	// After 28 years the days of the week fall on the same dates again. The days are counted here: a time.Time for each of
	// twenty thousand would take longer than all the rest of loading a file.
	const none = -1
	last, number, weekday := none, 0, time.Monday // of the first of January 2001
	for year := 2001; year < 2058; year++ {
		for month := time.January; month <= time.December; month++ {
			for day := 1; day <= daysIn(year, month); day++ {
				if s.matchesDay(month, day, weekday) {
					if last != none {
						gap(time.Duration(number-last)*24*time.Hour + times[0] - times[len(times)-1])
						if year >= 2030 {
							return least, most
						}
					}
					last = number
				}
				number++
				weekday = (weekday + 1) % 7
			}
		}
	}
	return least, most
}

// daysIn is how long a month is, for the years in which every fourth one is a leap year: 1901 to 2099.
func daysIn(year int, month time.Month) int {
	switch month {
	case time.February:
		if year%4 == 0 {
			return 29
		}
		return 28
	case time.April, time.June, time.September, time.November:
		return 30
	default:
		return 31
	}
}

const cronHint = `write minute, hour, day of the month, month, day of the week: "0 2 * * SUN" is Sundays at 2:00`

func (r *reader) cron(n *node) (string, *cron.SpecSchedule) {
	text, ok := r.text(n, "cron")
	if !ok {
		return "", nil
	}
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		r.errorf(n, "write `timezone: "+clip(zoneOf(text))+"` beside `cron`", "cron has the time zone in front")
		return "", nil
	case strings.HasPrefix(text, "@every"):
		r.errorf(n, cronHint, "@every has no fixed instants: it would count from whenever the server started")
		return "", nil
	case !strings.HasPrefix(text, "@") && len(strings.Fields(text)) != 5:
		r.errorf(n, cronHint, "cron needs 5 fields, and %q has %d", clip(text), len(strings.Fields(text)))
		return "", nil
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		r.errorf(n, cronHint, "cron cannot be read: %s", clip(err.Error()))
		return "", nil
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		r.errorf(n, cronHint, "%q is not a schedule of fixed instants", clip(text))
		return "", nil
	}
	return text, spec
}

func zoneOf(s string) string {
	_, rest, _ := strings.Cut(s, "=")
	zone, _, _ := strings.Cut(rest, " ")
	return zone
}
