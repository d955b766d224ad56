package rules

import (
	"time"
)

// calendar reads which piece of the calendar a budget is for.
func (d *draft) calendar(n *node, s *sloDraft) {
	text, ok := d.r.text(n, "calendar")
	if !ok {
		return
	}
	names := make([]string, len(calendars))
	for i, c := range calendars {
		names[i] = string(c.name)
		if text == names[i] {
			s.calendar, s.Calendar, s.Period = n, c.name, c.period
			return
		}
	}
	d.r.errorf(n, d.r.choose(text, names, ""), "a budget cannot be for a calendar %q", clip(text))
}

// checkCalendar checks what depends on several keys: a budget is for the last so many days or for a piece of the calendar.
func (s *sloDraft) checkCalendar(r *reader) {
	switch {
	case s.calendar != nil && s.period != nil:
		r.errorf(s.calendar, "remove one of the two", "a budget is for a rolling `period` or for a `calendar` period, not for both")
	case s.timezone != nil && s.calendar == nil:
		r.errorf(s.timezone, "write `calendar: month` beside it, or remove it", "only a `calendar` period has a timezone")
	case s.calendar != nil && s.Timezone == nil:
		s.Timezone = time.UTC
	}
}

// timezone reads the name of a time zone.
func (r *reader) timezone(n *node) (*time.Location, bool) {
	name, ok := r.text(n, "the timezone")
	if !ok {
		return nil, false
	}
	place, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		r.errorf(n, "write an IANA name such as Europe/Berlin, or UTC", "there is no timezone %q", clip(name))
		return nil, false
	}
	return place, true
}
