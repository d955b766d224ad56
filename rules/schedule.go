package rules

import "time"

// Schedule is a window of time that opens again and again.
type Schedule struct {
	Name     string
	Cron     string
	Duration time.Duration
	Timezone *time.Location
}

// Active reports whether the window opened by the latest firing at or before an instant still lasts then.
func (s *Schedule) Active(at time.Time) bool { return false }
