package rules

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata" // the zones do not depend on the machine

	"pgregory.net/rapid"
)

// scheduleOf loads one schedule from a file.
func scheduleOf(t interface {
	Helper()
	Fatalf(string, ...any)
}, cron, duration, zone string) *Schedule {
	t.Helper()
	text := fmt.Sprintf("version: modeshift/v1\nservice: s\nschedules: [{name: a, cron: %q, duration: %s, timezone: %s}]\n", cron, duration, zone)
	set, err := Load([]File{{Name: "f", Data: []byte(text)}}, Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return set.Services[0].Schedules[0]
}

// firings are the instants at which a window of one minute opens, found minute by minute.
func firings(s *Schedule, from, to time.Time) []time.Time {
	one := *s
	one.Duration = time.Minute
	var out []time.Time
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		if one.Active(at) {
			out = append(out, at)
		}
	}
	return out
}

func TestClockChangesFireOnce(t *testing.T) {
	for _, c := range []struct {
		name, cron, zone, from, to string
		want                       []string
	}{
		{"Berlin, spring: 2:30 does not exist and counts as 3:00", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z",
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"Berlin, spring: all that falls into the gap fires once", "*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z"}},
		{"Berlin, spring: the gap's end itself", "0 3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z"}},
		{"Berlin, autumn: 2:30 comes twice and fires the first time", "30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z",
			[]string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"Berlin, autumn: an hourly one leaves the doubled hour out", "0 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z",
			[]string{"2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"}},
		{"New York, spring", "15 2 * * SUN", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-16T00:00:00Z",
			[]string{"2026-03-08T07:00:00Z", "2026-03-15T06:15:00Z"}},
		{"New York, autumn", "15 1 * * SUN", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z",
			[]string{"2026-11-01T05:15:00Z", "2026-11-08T06:15:00Z"}},
		{"Lord Howe, spring: a gap of half an hour", "15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z",
			[]string{"2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z"}},
		{"Lord Howe, autumn: half an hour comes twice", "15,45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z",
			[]string{"2026-04-04T14:15:00Z", "2026-04-04T14:45:00Z"}},
		{"Samoa left out a whole day", "0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00:00Z", "2012-01-02T00:00:00Z",
			[]string{"2011-12-30T10:00:00Z"}},
		{"Havana goes back at 1:00, so midnight comes twice", "30 0 * * *", "America/Havana", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z",
			[]string{"2026-11-01T04:30:00Z"}},
		{"UTC knows no change", "@daily", "UTC", "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z",
			[]string{"2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			to, err := time.Parse(time.RFC3339, c.to)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range firings(scheduleOf(t, c.cron, "1m", c.zone), from, to) {
				got = append(got, f.Format(time.RFC3339))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("fires at %v, want %v", got, c.want)
			}
		})
	}
}

func TestAWindowIncludesItsBeginningAndNotItsEnd(t *testing.T) {
	s := scheduleOf(t, "0 2 * * SUN", "2h", "Europe/Berlin")
	open := time.Date(2026, 7, 5, 0, 0, 0, 0, time.UTC) // a Sunday, 2:00 in Berlin
	for _, c := range []struct {
		at   time.Time
		want bool
	}{
		{open.Add(-time.Nanosecond), false},
		{open, true},
		{open.Add(2*time.Hour - time.Nanosecond), true},
		{open.Add(2 * time.Hour), false},
		{open.AddDate(0, 0, 7), true},
		{open.AddDate(0, 0, 1), false},
	} {
		if got := s.Active(c.at); got != c.want {
			t.Errorf("active at %v: %v", c.at, got)
		}
		if got := s.Active(c.at.In(time.FixedZone("x", 5*3600))); got != c.want {
			t.Errorf("active at %v, given in another zone: %v", c.at, got)
		}
	}
	long := scheduleOf(t, "0 0 1 1 *", "300d", "UTC")
	if at := time.Date(2026, 10, 27, 23, 59, 59, 0, time.UTC); !long.Active(at) || long.Active(at.Add(time.Second)) {
		t.Error("a window of 300 days does not last 300 days")
	}
	leap := scheduleOf(t, "0 0 29 2 *", "1d", "UTC")
	if at := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC); !leap.Active(at) || leap.Active(at.AddDate(1, 0, 0)) {
		t.Error("the 29th of February")
	}
}

// Goose Bay went back at one minute past midnight, to 23:01 of the day before: the window that opened at midnight of the 7th
// is open while the clock shows the 6th again.
func TestAWindowStaysOpenWhenTheClockGoesBackToYesterday(t *testing.T) {
	s := scheduleOf(t, "0 0 7 11 *", "2h", "America/Goose_Bay")
	open := time.Date(2010, 11, 7, 3, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]bool{
		-time.Second: false, 0: true, 30 * time.Minute: true, time.Hour: true, 119 * time.Minute: true, 2 * time.Hour: false,
	} {
		if got := s.Active(open.Add(after)); got != want {
			t.Errorf("%v after midnight (%v there): %v", after, open.Add(after).In(s.Timezone), got)
		}
	}
}

func TestADayOfTheMonthAndADayOfTheWeekAreAlternatives(t *testing.T) {
	s := scheduleOf(t, "0 0 13 * FRI", "1m", "UTC")
	var got []int
	for _, f := range firings(s, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 6, 22, 0, 0, 0, 0, time.UTC)) {
		got = append(got, f.Day())
	}
	if fmt.Sprint(got) != "[5 12 13 19]" {
		t.Errorf("fires on %v", got)
	}
}

// The naive way goes through the minutes of real time, reads the local clock at each, and remembers which wall clock times
// it has seen; what the clock jumped over fires at the minute after the jump.
func TestWindowsAgreeWithWatchingTheClock(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC", "Asia/Kolkata"}
	starts := []time.Time{
		time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC),
	}
	rapid.Check(t, func(t *rapid.T) {
		cron := fmt.Sprintf("%s %s %s * %s",
			rapid.SampledFrom([]string{"0", "30", "*/20", "*", "15,45", "59"}).Draw(t, "minute"),
			rapid.SampledFrom([]string{"*", "0", "1", "2", "3", "1-3", "*/6", "23"}).Draw(t, "hour"),
			rapid.SampledFrom([]string{"*", "*", "29", "1,25"}).Draw(t, "day"),
			rapid.SampledFrom([]string{"*", "*", "SUN", "SAT,MON"}).Draw(t, "weekday"))
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		minutes := rapid.IntRange(1, 200).Draw(t, "duration")
		s := scheduleOf(t, cron, "30s", zone)
		s.Duration = time.Duration(minutes) * time.Minute // those that overlap too, which no file may say
		from := rapid.SampledFrom(starts).Draw(t, "from")
		seen := map[string]bool{}
		fires := func(wall time.Time) bool {
			return s.spec.Minute&(1<<wall.Minute()) != 0 && s.spec.Hour&(1<<wall.Hour()) != 0 && s.matches(wall)
		}
		last := time.Time{}
		previous := wallOf(from.Add(-5*time.Hour), s.Timezone)
		for at := from.Add(-5*time.Hour + time.Minute); at.Before(from.Add(30 * time.Hour)); at = at.Add(time.Minute) {
			wall := wallOf(at, s.Timezone)
			for w := previous.Add(time.Minute); !w.After(wall); w = w.Add(time.Minute) { // more than one after a gap
				if key := w.Format(time.DateTime); !seen[key] && fires(w) {
					seen[key] = true
					last = at
				}
			}
			seen[wall.Format(time.DateTime)] = true
			previous = wall
			if at.Before(from) {
				continue
			}
			want := !last.IsZero() && at.Before(last.Add(time.Duration(minutes)*time.Minute))
			if got := s.Active(at); got != want {
				t.Fatalf("%q in %s for %dm is %v at %v (%v there), want %v", cron, zone, minutes, got, at, wall, want)
			}
		}
	})
}

// wallOf is what the clock shows, as if it were UTC.
func wallOf(at time.Time, zone *time.Location) time.Time {
	l := at.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
}

func TestOnlyDatesThatNeverComeAreRefused(t *testing.T) {
	for cron, fires := range map[string]bool{
		"0 0 30 2 *": false, "0 0 31 2,4,6,9,11 *": false, "0 0 29 2 *": true, "0 0 31 2,3 *": true, "0 0 30 2 MON": true, "0 0 * 2 *": true, "* * * * *": true,
	} {
		spec, err := cronParser.Parse(cron)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("version: modeshift/v1\nservice: s\nschedules: [{name: a, cron: %q, duration: 30s}]\n", cron)
		if _, err := Load([]File{{Name: "f", Data: []byte(text)}}, Options{}); (err == nil) != fires {
			t.Errorf("%s: %v", cron, err)
		}
		if next := spec.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); next.IsZero() == fires {
			t.Errorf("%s: the cron library says it fires at %v", cron, next)
		}
	}
}

func BenchmarkActive(b *testing.B) {
	s := scheduleOf(b, "0 2 * * SUN", "2h", "Europe/Berlin")
	at := time.Date(2026, 7, 8, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		s.Active(at)
	}
}
