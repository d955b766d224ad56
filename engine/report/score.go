package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Label is an incident that people say there was.
type Label struct {
	Service  engine.Scope    `json:"service"`
	SLO      string          `json:"slo,omitempty"` // that should have told of it; empty: any of the service's
	Severity engine.Severity `json:"severity"`      // what should have told of it at least
	Start    time.Time       `json:"start"`
	End      time.Time       `json:"end"`
	Note     string          `json:"note,omitempty"`
	Position string          `json:"position,omitempty"`
}

// Score says how well what people would have been told fits the incidents there were.
//
// A page or ticket is of an incident when it is of its service (and of its SLO, where it names one) and was opened from its start
// up to its end and the tolerance, both included; or when it was opened before and was still open at its start, because
// people were looking already. A ticket that opens as a page of its SLO ends was only kept quiet by it, and is of whatever that page is
// of. A ticket detects what asks for a ticket, a page detects either. The first one counts.
//
// Precision is, of what people would have been woken for, the share that was something: the incidents with a page, each counted once
// however often it was paged, ÷ these and the pages of no incident. Recall is the share of the incidents that were detected.
// Judged are the incidents of SLOs and of transitions: that somebody is asked for approval, or that sight was lost, is no claim that users
// suffer.
type Score struct {
	Tolerance Seconds `json:"tolerance_seconds"`
	Pages     Fit     `json:"pages"`
	Tickets   Fit     `json:"tickets"`
	Delay     Spread  `json:"delay"` // from an incident's start to the first that told of it
	Reset     Spread  `json:"reset"` // from its end until the last that told of it was resolved
	Spent     Spread  `json:"spent"` // share of the budget that was spent by then since its start
	Incidents []Hit   `json:"incidents"`
	False     []Told  `json:"false"`    // that told of no incident
	LeftOut   []Hit   `json:"left_out"` // incidents that are not wholly in the time
}

// Fit is how well one severity fits.
type Fit struct {
	Incidents int      `json:"incidents"` // that ask for this severity
	Detected  int      `json:"detected"`
	True      int      `json:"true"`      // incidents that were told of at this severity, each once
	Again     int      `json:"again"`     // that were told of the same incident again
	False     int      `json:"false"`     // that told of none
	Precision *float64 `json:"precision"` // null: nobody would have been told anything
	Recall    *float64 `json:"recall"`    // null: there were no incidents
}

// Spread is how something is spread over incidents.
type Spread struct {
	Count  int     `json:"count"` // of incidents it is known of
	Median float64 `json:"median"`
	Worst  float64 `json:"worst"`
}

// Hit is an incident with what would have told of it.
type Hit struct {
	Label
	Detected bool              `json:"detected"`
	By       engine.IncidentID `json:"by,omitempty"` // that told of it first
	At       time.Time         `json:"at,omitzero"`  // it was opened; before Start, where it was open already
	Delay    Seconds           `json:"delay_seconds"`
	Told     int               `json:"told"` // how many pages and tickets are of it
	Reset    Seconds           `json:"reset_seconds"`
	Open     bool              `json:"open,omitempty"` // something that told of it was not resolved by the end of the time
	// Spent is the share of the SLO's budget that was spent from Start up to the detection; it means something only while SpentKnown.
	Spent      float64 `json:"spent"`
	SpentKnown bool    `json:"spent_known"`
	SpentSLO   string  `json:"spent_slo,omitempty"`
	Why        string  `json:"why,omitempty"` // it was left out
}

// judged reports whether t claims that users suffer.
func (t *Told) judged() bool {
	return (t.Severity == engine.SeverityPage || t.Severity == engine.SeverityTicket) &&
		(t.Kind == engine.IncidentSLO || t.Kind == engine.IncidentTransition)
}

// of reports whether t is of an incident.
func (t *Told) of(l *Label, tolerance time.Duration) bool {
	if t.Scope != l.Service || l.SLO != "" && t.SLO != l.SLO {
		return false
	}
	if t.after != nil {
		return t.after.of(l, tolerance)
	}
	if t.Opened.Before(l.Start) {
		return t.ends().After(l.Start)
	}
	return !t.Opened.After(l.End.Add(tolerance))
}

// Judge holds what a version would have told people against incidents.
func (v *BacktestVersion) Judge(labels []Label, from, to time.Time, tolerance time.Duration) *Score {
	s := &Score{Tolerance: Seconds(tolerance.Seconds()), Incidents: []Hit{}, False: []Told{}, LeftOut: []Hit{}}
	known := map[engine.Scope]bool{}
	var told []*Told
	for i := range v.Services {
		known[v.Services[i].Scope] = true
		for k := range v.Services[i].Told {
			if t := &v.Services[i].Told[k]; t.judged() {
				told = append(told, t)
			}
		}
	}
	slices.SortStableFunc(told, func(a, b *Told) int { return a.Opened.Compare(b.Opened) })
	for _, t := range told {
		for _, page := range told {
			if t.Severity == engine.SeverityTicket && page.Severity == engine.SeverityPage && t.SLO != "" && page.Scope == t.Scope && page.SLO == t.SLO && page.Resolved.Equal(t.Opened) {
				t.after = page
			}
		}
	}
	claimed := map[engine.IncidentID]bool{}
	hits := map[engine.Severity]int{}     // incidents told of at a severity
	first := map[engine.IncidentID]bool{} // of each page and ticket that is of some incident, whether it is the first of one
	for _, l := range labels {
		h := Hit{Label: l}
		switch {
		case !known[l.Service]:
			h.Why = "these rules do not have the service"
		case l.Start.Before(from):
			h.Why = "it began before the time that was rehearsed"
		case l.End.After(to):
			h.Why = "it ended after the time that was rehearsed"
		}
		at := map[engine.Severity]bool{}
		var last time.Time
		for _, t := range told {
			if !t.of(&l, tolerance) {
				continue
			}
			claimed[t.ID] = true // also of an incident that is left out: it is not false
			if h.Why == "" {
				first[t.ID] = first[t.ID] || !at[t.Severity]
			}
			at[t.Severity] = true
			if t.Severity != engine.SeverityPage && l.Severity == engine.SeverityPage {
				continue // it tells of it, and not loudly enough
			}
			if !h.Detected {
				h.Detected, h.By, h.At, h.SpentSLO = true, t.ID, t.Opened, t.SLO
				h.Delay = Seconds(max(0, t.Opened.Sub(l.Start)).Seconds())
			}
			h.Told++
			if t.Resolved.IsZero() {
				h.Open = true
			} else if t.Resolved.After(last) {
				last = t.Resolved
			}
		}
		if h.Why != "" {
			s.LeftOut = append(s.LeftOut, h)
			continue
		}
		for severity := range at {
			hits[severity]++
		}
		if h.Detected && !h.Open {
			h.Reset = Seconds(max(0, last.Sub(l.End)).Seconds())
		}
		s.Incidents = append(s.Incidents, h)
	}
	s.Pages, s.Tickets = Fit{}, Fit{}
	for _, severity := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
		f := s.fit(severity)
		f.True = hits[severity]
		for _, t := range told {
			if begins, counts := first[t.ID]; t.Severity == severity && counts && !begins {
				f.Again++
			}
			if t.Severity == severity && !claimed[t.ID] {
				f.False++
				s.False = append(s.False, *t)
			}
		}
		for i := range s.Incidents {
			if s.Incidents[i].Severity != severity {
				continue
			}
			f.Incidents++
			if s.Incidents[i].Detected {
				f.Detected++
			}
		}
		f.Precision, f.Recall = ratio(f.True, f.True+f.False), ratio(f.Detected, f.Incidents)
	}
	slices.SortStableFunc(s.False, func(a, b Told) int { return a.Opened.Compare(b.Opened) })
	s.Spread()
	return s
}

func (s *Score) fit(severity engine.Severity) *Fit {
	if severity == engine.SeverityPage {
		return &s.Pages
	}
	return &s.Tickets
}

func ratio(n, of int) *float64 {
	if of == 0 {
		return nil
	}
	r := float64(n) / float64(of)
	return &r
}

// Spread sums up the incidents that were detected. Whoever adds to them what was spent calls it again.
func (s *Score) Spread() {
	var delay, reset, spent []float64
	for i := range s.Incidents {
		h := &s.Incidents[i]
		if !h.Detected {
			continue
		}
		delay = append(delay, float64(h.Delay))
		if !h.Open {
			reset = append(reset, float64(h.Reset))
		}
		if h.SpentKnown {
			spent = append(spent, h.Spent)
		}
	}
	s.Delay, s.Reset, s.Spent = spread(delay), spread(reset), spread(spent)
}

// spread is the median, of an even number the mean of the two in the middle, and the greatest.
func spread(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	slices.Sort(v)
	n := len(v)
	return Spread{Count: n, Median: (v[(n-1)/2] + v[n/2]) / 2, Worst: v[n-1]}
}

// outcome says in words what became of an incident.
func (h *Hit) outcome() string {
	switch {
	case !h.Detected:
		return "missed"
	case h.At.Before(h.Start):
		return fmt.Sprintf("open already, since %s", stamp(h.At))
	}
	return "detected"
}
