package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// mostRecurrences bounds how often a recurrence may come in a month: each of its spans costs whoever adds up around it.
const mostRecurrences = 800

// NewRecurrence makes a schedule outside of any file: one that people give by hand. The error says what is wrong and what
// would be right.
func NewRecurrence(text string, duration time.Duration, timezone string) (*Schedule, error) {
	text = strings.TrimSpace(text)
	fail := func(format string, args ...any) (*Schedule, error) {
		return nil, fmt.Errorf(format, args...)
	}
	switch {
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		return fail("cron has the time zone in front: give it as the timezone")
	case strings.HasPrefix(text, "@every"):
		return fail("@every has no fixed instants: %s", cronHint)
	case !strings.HasPrefix(text, "@") && len(strings.Fields(text)) != 5:
		return fail("cron needs 5 fields, and %q has %d: %s", clip(text), len(strings.Fields(text)), cronHint)
	case duration <= 0 || duration > maxScheduleDuration:
		return fail("it lasts more than 0 and at most a year each time")
	}
	if timezone == "" {
		timezone = "UTC"
	}
	place, err := time.LoadLocation(timezone)
	if err != nil || timezone == "Local" {
		return fail("there is no timezone %q: write an IANA name such as Europe/Berlin, or UTC", clip(timezone))
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return fail("cron cannot be read: %s: %s", clip(err.Error()), cronHint)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return fail("%q is not a schedule of fixed instants: %s", clip(text), cronHint)
	}
	s := &Schedule{Cron: text, Duration: duration, Timezone: place, spec: spec}
	if !s.fires() {
		return fail("%q never comes: there is no such date", clip(text))
	}
	n := 0
	month := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	s.Windows(month, month.AddDate(0, 1, 0), func(_, _ time.Time) bool { n++; return n <= mostRecurrences })
	if n > mostRecurrences {
		return fail("%q comes more than %d times a month: once an hour is the most", clip(text), mostRecurrences)
	}
	return s, nil
}

// Windows yields the windows that overlap a span, the latest first, until yield is false. Windows of one schedule may overlap
// each other.
func (s *Schedule) Windows(from, to time.Time, yield func(opens, closes time.Time) bool) {
	for at := to.Add(-1); ; {
		fired, ok := s.latest(at)
		if !ok {
			// The search looks back as far as one window lasts; between that and the span's beginning there may be others.
			if at = at.Add(-s.Duration - 24*time.Hour); at.Add(s.Duration).Before(from) {
				return
			}
			continue
		}
		closes := fired.Add(s.Duration)
		if !closes.After(from) || !yield(fired, closes) {
			return
		}
		at = fired.Add(-1)
	}
}
