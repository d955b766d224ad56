package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func TestABudgetMayBeForAPieceOfTheCalendar(t *testing.T) {
	load := func(keys string) (*Service, SLO) {
		t.Helper()
		s := mustLoad(t, Options{}, strings.Replace(serviceText, "    min_events: 100", keys, 1)).Services[0]
		return s, s.SLOs[0]
	}
	rolling, slo := load("    period: 30d")
	if slo.Calendar != "" || slo.Timezone != nil || slo.Measure == "" {
		t.Errorf("a rolling one is %+v", slo)
	}
	month, utc := load("    calendar: month")
	berlin, there := load("    calendar: month\n    timezone: Europe/Berlin")
	if utc.Calendar != CalendarMonth || utc.Timezone != time.UTC || there.Timezone.String() != "Europe/Berlin" {
		t.Errorf("in UTC %+v, in Berlin %+v", utc, there)
	}
	// Its tiers are those of 30 days, and what it measures is the same; the rules are others.
	if fmt.Sprint(utc.Tiers[0].Windows) != fmt.Sprint(slo.Tiers[0].Windows) || utc.Measure != slo.Measure {
		t.Errorf("windows %v and %v, measures %s and %s", utc.Tiers[0].Windows, slo.Tiers[0].Windows, utc.Measure, slo.Measure)
	}
	if rolling.Digest == month.Digest || month.Digest == berlin.Digest {
		t.Error("the rules have one digest")
	}
}

func TestTheBudgetIsASignalOfItsSLO(t *testing.T) {
	text := strings.Replace(serviceText, `when: burning("availability", "page") && sli("p99") > 0.5`, `when: budget_remaining("availability") < 0.1`, 1)
	if text == serviceText {
		t.Fatal("the transition is not there")
	}
	set := mustLoad(t, Options{}, text)
	c := budgetCondition(t, set.Services[0])
	signal := Signal{Kind: SignalBudget, Name: "availability"}
	for _, test := range []struct {
		remaining float64
		why       engine.Why
		want      engine.Truth
	}{{0.1, "", engine.False}, {0.0999, "", engine.True}, {-3, "", engine.True}, {0, engine.WhyLittleKnown, engine.Unknown}} {
		v := c.Eval(func(s Signal) (Value, bool) {
			return Value{Reading: engine.Reading{Value: test.remaining, Why: test.why}}, s == signal
		})
		if v.Truth != test.want || len(v.Missing) > 0 {
			t.Errorf("%v %s: %+v, want %v", test.remaining, test.why, v, test.want)
		}
	}
}

func budgetCondition(t *testing.T, s *Service) *Condition {
	t.Helper()
	for _, c := range s.Conditions {
		if c.Text == `budget_remaining("availability") < 0.1` {
			return c
		}
	}
	t.Fatal("there is no such condition")
	return nil
}

func TestTheWindowsOfARecurrenceAreThoseInWhichItIsActive(t *testing.T) {
	for _, test := range []struct {
		cron, zone string
		duration   time.Duration
	}{{"0 2 * * SUN", "Europe/Berlin", 2 * time.Hour}, {"30 1 * * *", "America/New_York", 36 * time.Hour}, {"0 0 29 2 *", "UTC", time.Hour}, {"@hourly", "", 10 * time.Minute}} {
		s, err := NewRecurrence(test.cron, test.duration, test.zone)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2028, 2, 27, 3, 10, 0, 0, time.UTC) // a leap year; both clocks change within the next weeks
		to := from.AddDate(0, 0, 40)
		var windows [][2]time.Time
		s.Windows(from, to, func(opens, closes time.Time) bool {
			windows = append(windows, [2]time.Time{opens, closes})
			return true
		})
		in := func(at time.Time) bool {
			return slices.ContainsFunc(windows, func(w [2]time.Time) bool { return !at.Before(w[0]) && at.Before(w[1]) })
		}
		active := 0
		for at := from; at.Before(to); at = at.Add(5 * time.Minute) {
			if in(at) != s.Active(at) {
				t.Fatalf("%s: at %v it is active: %v", test.cron, at, s.Active(at))
			}
			if s.Active(at) {
				active++
			}
		}
		if active == 0 {
			t.Errorf("%s was never active", test.cron)
		}
	}
	for _, bad := range []struct{ cron, zone, want string }{
		{"0 2 * *", "UTC", "5 fields"}, {"@every 1h", "UTC", "fixed instants"}, {"0 2 30 2 *", "UTC", "no such date"}, {"TZ=UTC 0 2 * * *", "", "timezone"},
		{"* * * * *", "UTC", "once an hour"}, {"0 25 * * *", "UTC", "cannot be read"}, {"0 2 * * *", "Mars/Olympus", "timezone"},
	} {
		if _, err := NewRecurrence(bad.cron, time.Hour, bad.zone); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, want something of %q", bad.cron, err, bad.want)
		}
	}
	if _, err := NewRecurrence("@daily", 0, ""); err == nil {
		t.Error("it may last no time at all")
	}
}
