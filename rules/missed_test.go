package rules

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const plannedFile = `version: modeshift/v1
service: checkout
schedules:
  - {name: night, cron: "0 2 * * *", duration: 1h, timezone: Europe/Berlin}
  - {name: hourly, cron: "30 * * * *", duration: 5m}
modes: [{name: normal}, {name: closed}, {name: cost, beside: true}]
transitions:
  - {name: close, from: [normal], to: closed, when: 'schedule("night")', until: '!schedule("night")'}
  - {name: save, from: [normal], to: cost, when: 'schedule("hourly")', until: '!schedule("hourly")'}
  - {name: either, from: [normal], to: closed, when: 'schedule("night") && alert("Migration")'}
`

func TestOnlyWindowsThatWereNeverSeenAreMissed(t *testing.T) {
	s := mustLoad(t, Options{}, plannedFile).Services[0]
	at := func(text string) time.Time {
		v, err := time.Parse("15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 7, 5, v.Hour(), v.Minute(), v.Second(), 0, time.UTC)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"in the middle of a gap", "00:29:59", "00:35:00", "save 00:30-00:35"},
		{"it was open when it was looked at last", "00:30:00", "00:40:00", ""},
		{"it is open still", "00:29:00", "00:34:59", ""},
		{"several, and in Berlin it is 2:00 at midnight", "00:00:00", "02:00:00", "save 00:30-00:35, save 01:30-01:35"},
		{"midnight itself is in it", "23:59:59", "01:00:00", ""}, // goes back
	} {
		if got := spans(s, at(c.from), at(c.to)); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	day := at("00:00:00")
	if got := spans(s, day.Add(-time.Second), day.Add(time.Hour)); got != "close 00:00-01:00, save 00:30-00:35" {
		t.Errorf("the night: %q", got)
	}
	week := s.Missed(day, day.AddDate(0, 0, 7))
	if n := len(week); n != 7-1+mostMissed || week[n-1].Closes != day.AddDate(0, 0, 7).Add(-25*time.Minute) {
		t.Errorf("a week: %v", week)
	}
}

// spans writes what was missed, the time of the day alone.
func spans(s *Service, from, to time.Time) string {
	var words []string
	for _, w := range s.Missed(from, to) {
		words = append(words, fmt.Sprintf("%s %s-%s", w.Transition, w.Opens.Format("15:04"), w.Closes.Format("15:04")))
	}
	return strings.Join(words, ", ")
}

// A window's length is time that passes, not what a clock shows: across each change of three zones, one of which changes by half an
// hour, a window of four hours is open for four hours, and opens once.
func TestAWindowLastsAsLongAsItSaysAcrossAChange(t *testing.T) {
	for _, c := range []struct{ zone, cron, opens string }{
		{"Europe/Berlin", "30 1 29 3 *", "2026-03-29T00:30:00Z"},
		{"Europe/Berlin", "30 2 29 3 *", "2026-03-29T01:00:00Z"}, // in the gap: at its end
		{"Europe/Berlin", "30 1 25 10 *", "2026-10-24T23:30:00Z"},
		{"Europe/Berlin", "30 2 25 10 *", "2026-10-25T00:30:00Z"}, // twice: the first time
		{"America/New_York", "30 1 8 3 *", "2026-03-08T06:30:00Z"},
		{"America/New_York", "30 2 8 3 *", "2026-03-08T07:00:00Z"},
		{"America/New_York", "30 0 1 11 *", "2026-11-01T04:30:00Z"},
		{"America/New_York", "30 1 1 11 *", "2026-11-01T05:30:00Z"},
		{"Australia/Lord_Howe", "30 1 4 10 *", "2026-10-03T15:00:00Z"},
		{"Australia/Lord_Howe", "15 2 4 10 *", "2026-10-03T15:30:00Z"},
		{"Australia/Lord_Howe", "0 1 5 4 *", "2026-04-04T14:00:00Z"},
		{"Australia/Lord_Howe", "45 1 5 4 *", "2026-04-04T14:45:00Z"},
	} {
		opens, err := time.Parse(time.RFC3339, c.opens)
		if err != nil {
			t.Fatal(err)
		}
		s := scheduleOf(t, c.cron, "4h", c.zone)
		var turned []time.Time
		for at, was := opens.Add(-12*time.Hour), false; at.Before(opens.Add(24 * time.Hour)); at = at.Add(15 * time.Second) {
			if is := s.Active(at); is != was {
				turned, was = append(turned, at), is
			}
		}
		if want := []time.Time{opens, opens.Add(4 * time.Hour)}; !reflect.DeepEqual(turned, want) {
			t.Errorf("%s in %s turns at %v, want %v", c.cron, c.zone, turned, want)
		}
	}
}

// The gaps between firings are what the cron library steps over in a place whose clock is never changed.
func TestGapsAreWhatLiesBetweenFirings(t *testing.T) {
	for _, cron := range []string{
		"0 2 * * SUN", "*/20 3 * * *", "* * * * *", "0 0 1 * *", "0 0 31 * *", "0 0 29 2 *", "0 0 13 * FRI", "15 4,22 * * MON-FRI", "@yearly", "59 23 * * *", "0 0 1,15 2 *",
	} {
		s := scheduleOf(t, cron, "30s", "UTC")
		least, most := time.Duration(1<<63-1), time.Duration(0)
		end := time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC)
		if cron == "* * * * *" {
			end = time.Date(2023, 1, 2, 0, 0, 0, 0, time.UTC)
		}
		for at := s.spec.Next(time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)); at.Before(end); {
			next := s.spec.Next(at)
			least, most, at = min(least, next.Sub(at)), max(most, next.Sub(at)), next
		}
		if gotLeast, gotMost := s.gaps(); gotLeast != least || gotMost != most {
			t.Errorf("%s: %v to %v, want %v to %v", cron, gotLeast, gotMost, least, most)
		}
	}
}
