package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
)

var dusk = time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)

// after is an instant of that night.
func after(d time.Duration) time.Time { return dusk.Add(d) }

// told is something that people were told; without an end it is open.
func told(id string, severity engine.Severity, opened time.Duration, lasted time.Duration) report.Told {
	t := report.Told{ID: engine.IncidentID(id), Scope: "checkout", Kind: engine.IncidentSLO, Subject: "slo/availability/" + string(severity), SLO: "availability",
		Severity: severity, Opened: after(opened)}
	if lasted > 0 {
		t.Resolved = after(opened + lasted)
	}
	return t
}

// outage lasts from one hour to two.
func outage() report.Label {
	return report.Label{Service: "checkout", Severity: engine.SeverityPage, Start: after(time.Hour), End: after(2 * time.Hour)}
}

func judge(labels []report.Label, list ...report.Told) *report.Score {
	v := report.BacktestVersion{Services: []report.BacktestService{{Scope: "checkout", Told: list}, {Scope: "search"}}}
	return v.Judge(labels, dusk, after(6*time.Hour), 5*time.Minute)
}

func share(p *float64) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%.3g", *p)
}

func TestAnIncidentIsDetectedByThePagesOfItsTime(t *testing.T) {
	const ns = time.Nanosecond
	page := engine.SeverityPage
	for _, tc := range []struct {
		name     string
		told     report.Told
		detected bool
		delay    time.Duration
	}{
		{"opened at its start", told("a", page, time.Hour, time.Minute), true, 0},
		{"opened a while into it", told("a", page, time.Hour+75*time.Second, time.Minute), true, 75 * time.Second},
		{"opened at its end and the tolerance", told("a", page, 2*time.Hour+5*time.Minute, time.Minute), true, time.Hour + 5*time.Minute},
		{"opened one nanosecond later", told("a", page, 2*time.Hour+5*time.Minute+ns, time.Minute), false, 0},
		{"opened before it and resolved at its start", told("a", page, 50*time.Minute, 10*time.Minute), false, 0},
		{"opened before it and resolved one nanosecond into it", told("a", page, 50*time.Minute, 10*time.Minute+ns), true, 0},
		{"opened before it and open to the end", told("a", page, 50*time.Minute, 0), true, 0},
	} {
		s := judge([]report.Label{outage()}, tc.told)
		h := s.Incidents[0]
		if h.Detected != tc.detected || h.Delay.Duration() != tc.delay {
			t.Errorf("%s: detected %v after %v, want %v after %v", tc.name, h.Detected, h.Delay.Duration(), tc.detected, tc.delay)
		}
		want, recall := "1", "1"
		if !tc.detected {
			want, recall = "0", "0"
		}
		if share(s.Pages.Precision) != want || share(s.Pages.Recall) != recall || (len(s.False) == 1) == tc.detected {
			t.Errorf("%s: precision %s, recall %s, false %v", tc.name, share(s.Pages.Precision), share(s.Pages.Recall), s.False)
		}
	}
}

func TestAPageOfAnotherServiceOrSLOIsFalse(t *testing.T) {
	page := told("a", engine.SeverityPage, 90*time.Minute, time.Minute)
	elsewhere := page
	elsewhere.Scope = "search"
	other := outage()
	other.SLO = "latency"
	same := outage()
	same.SLO = "availability"
	for name, tc := range map[string]struct {
		label    report.Label
		told     report.Told
		detected bool
	}{
		"another service": {outage(), elsewhere, false},
		"another SLO":     {other, page, false},
		"its SLO":         {same, page, true},
		"any SLO":         {outage(), page, true},
	} {
		s := judge([]report.Label{tc.label}, tc.told)
		if s.Incidents[0].Detected != tc.detected || s.Pages.False != map[bool]int{true: 0, false: 1}[tc.detected] {
			t.Errorf("%s: detected %v, %d false", name, s.Incidents[0].Detected, s.Pages.False)
		}
	}
}

func TestATicketDetectsOnlyWhatAsksForATicketAndAPageDetectsBoth(t *testing.T) {
	ticket, page := told("t", engine.SeverityTicket, 70*time.Minute, time.Hour), told("p", engine.SeverityPage, 80*time.Minute, time.Hour)
	quiet := outage()
	quiet.Severity = engine.SeverityTicket
	for name, tc := range map[string]struct {
		label  report.Label
		told   []report.Told
		by     engine.IncidentID
		misses bool
	}{
		"a page for a page":                    {outage(), []report.Told{page}, "p", false},
		"a ticket for a page":                  {outage(), []report.Told{ticket}, "", true},
		"a ticket first, then a page":          {outage(), []report.Told{page, ticket}, "p", false},
		"a ticket for a ticket":                {quiet, []report.Told{ticket}, "t", false},
		"a page for a ticket":                  {quiet, []report.Told{page}, "p", false},
		"a ticket first for what asks for one": {quiet, []report.Told{page, ticket}, "t", false},
	} {
		s := judge([]report.Label{tc.label}, tc.told...)
		if h := s.Incidents[0]; h.By != tc.by || h.Detected == tc.misses {
			t.Errorf("%s: detected %v by %q, want %q", name, h.Detected, h.By, tc.by)
		}
		if len(s.False) > 0 {
			t.Errorf("%s: %v is of no incident", name, s.False)
		}
	}
}

func TestATicketThatItsPageKeptQuietIsOfThePagesIncident(t *testing.T) {
	page := told("p", engine.SeverityPage, 61*time.Minute, 90*time.Minute)
	at := 61*time.Minute + 90*time.Minute // long after the incident's end
	if s := judge([]report.Label{outage()}, page, told("t", engine.SeverityTicket, at, time.Hour)); len(s.False) != 0 || s.Tickets.True != 1 {
		t.Errorf("at the page's end: false %v, %d true", s.False, s.Tickets.True)
	}
	if s := judge([]report.Label{outage()}, page, told("t", engine.SeverityTicket, at+time.Second, time.Hour)); len(s.False) != 1 || s.Tickets.True != 0 {
		t.Errorf("a second later: false %v, %d true", s.False, s.Tickets.True)
	}
}

func TestPagesOfOneIncidentCountOnceAndAreSaidToBeSeveral(t *testing.T) {
	page := engine.SeverityPage
	s := judge([]report.Label{outage()}, told("c", page, 4*time.Hour, time.Minute), told("b", page, 100*time.Minute, time.Hour), told("a", page, 61*time.Minute, 10*time.Minute))
	if s.Pages.True != 1 || s.Pages.Again != 1 || s.Pages.False != 1 || share(s.Pages.Precision) != "0.5" || share(s.Pages.Recall) != "1" {
		t.Errorf("%+v", s.Pages)
	}
	if h := s.Incidents[0]; h.By != "a" || h.Told != 2 || h.Reset.Duration() != 40*time.Minute {
		t.Errorf("by %s, told %d times, reset after %v; want by the first, and reset with the last", h.By, h.Told, h.Reset.Duration())
	}
	if len(s.False) != 1 || s.False[0].ID != "c" {
		t.Errorf("false is %v", s.False)
	}
}

func TestOnePageMayBeOfTwoIncidents(t *testing.T) {
	second := outage()
	second.Start, second.End = after(90*time.Minute), after(3*time.Hour)
	s := judge([]report.Label{outage(), second}, told("a", engine.SeverityPage, 61*time.Minute, 2*time.Hour))
	if s.Pages.Detected != 2 || s.Pages.True != 2 || s.Pages.Again != 0 || share(s.Pages.Precision) != "1" {
		t.Errorf("%+v", s.Pages)
	}
	if s.Incidents[1].Delay != 0 {
		t.Errorf("the second is detected after %v, and it was open already", s.Incidents[1].Delay.Duration())
	}
}

func TestAnIncidentThatIsNotWhollyInTheTimeIsLeftOut(t *testing.T) {
	early, late, strange := outage(), outage(), outage()
	early.Start = dusk.Add(-time.Nanosecond)
	late.End = after(6*time.Hour + time.Nanosecond)
	strange.Service = "payments"
	whole := report.Label{Service: "checkout", Severity: engine.SeverityPage, Start: dusk, End: after(6 * time.Hour)}
	s := judge([]report.Label{early, late, strange, whole}, told("a", engine.SeverityPage, 90*time.Minute, time.Minute))
	if len(s.LeftOut) != 3 || len(s.Incidents) != 1 || s.Pages.False != 0 || s.Pages.Incidents != 1 {
		t.Errorf("left out %v, judged %v, %d false", s.LeftOut, s.Incidents, s.Pages.False)
	}
	for i, why := range []string{"it began before the time that was rehearsed", "it ended after the time that was rehearsed", "these rules do not have the service"} {
		if s.LeftOut[i].Why != why {
			t.Errorf("%d is left out because %q, want %q", i, s.LeftOut[i].Why, why)
		}
	}
	if s = judge([]report.Label{early}, told("a", engine.SeverityPage, 90*time.Minute, time.Minute)); s.Pages.False != 0 || s.Pages.Precision != nil || s.Pages.Recall != nil {
		t.Errorf("a page of an incident that is left out: %+v, want it neither true nor false", s.Pages)
	}
}

func TestWhatClaimsNothingOfUsersIsNotJudged(t *testing.T) {
	blind := told("a", engine.SeverityPage, 4*time.Hour, time.Minute)
	blind.Kind, blind.SLO = engine.IncidentBlind, ""
	own := told("b", engine.SeverityPage, 90*time.Minute, time.Minute)
	own.Kind, own.SLO = engine.IncidentTransition, ""
	s := judge([]report.Label{outage()}, blind, own)
	if s.Pages.False != 0 || s.Incidents[0].By != "b" {
		t.Errorf("%d false, detected by %q; want a loss of sight to count for nothing, and a transition's own page", s.Pages.False, s.Incidents[0].By)
	}
}

func TestTheMedianOfAnEvenNumberIsBetweenTheTwoInTheMiddle(t *testing.T) {
	labels := make([]report.Label, 4)
	var list []report.Told
	for i, delay := range []time.Duration{1, 40, 2, 7} {
		start := time.Duration(i+1) * time.Hour
		labels[i] = report.Label{Service: "checkout", Severity: engine.SeverityPage, Start: after(start), End: after(start + 45*time.Minute)}
		list = append(list, told(fmt.Sprint(i), engine.SeverityPage, start+delay*time.Minute, 50*time.Minute-delay*time.Minute))
	}
	list[3].Resolved = time.Time{}
	s := judge(labels, list...)
	if s.Delay.Count != 4 || s.Delay.Median != 270 || s.Delay.Worst != 2400 {
		t.Errorf("delay %+v, want 4.5 and 40 minutes", s.Delay)
	}
	if s.Reset.Count != 3 || s.Reset.Median != 300 || s.Reset.Worst != 300 {
		t.Errorf("reset %+v, want five minutes of the three that were resolved", s.Reset)
	}
}

func TestAPageOfTwoIncidentsHidesNoPageAgain(t *testing.T) {
	second := outage()
	second.Start, second.End = after(110*time.Minute), after(3*time.Hour)
	before := outage()
	before.Start, before.End = after(-time.Hour), after(70*time.Minute)
	page := func(id string, opened, lasted time.Duration) report.Told {
		return told(id, engine.SeverityPage, opened, lasted)
	}
	both, again, third := page("both", 65*time.Minute, time.Hour), page("again", 130*time.Minute, time.Minute), page("third", 140*time.Minute, time.Minute)
	for name, tc := range map[string]struct {
		labels []report.Label
		told   []report.Told
		want   [2]int // true, again
	}{
		"one page of both":              {[]report.Label{outage(), second}, []report.Told{both}, [2]int{2, 0}},
		"and another one of the second": {[]report.Label{outage(), second}, []report.Told{both, again}, [2]int{2, 1}},
		"two more":                      {[]report.Label{outage(), second}, []report.Told{both, again, third}, [2]int{2, 2}},
		"one of an incident that is left out as well": {[]report.Label{before, outage()}, []report.Told{page("early", 50*time.Minute, 30*time.Minute), both}, [2]int{1, 1}},
	} {
		if f := judge(tc.labels, tc.told...).Pages; f.True != tc.want[0] || f.Again != tc.want[1] || f.False != 0 {
			t.Errorf("%s: %d true, %d again, %d false; want %v", name, f.True, f.Again, f.False, tc.want)
		}
	}
}
