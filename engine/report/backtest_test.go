package report_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
)

// shopPolicy has three modes and a ticket's condition that is asked every four minutes.
func shopPolicy() *engine.Policy {
	return &engine.Policy{Scope: "checkout", Digest: "abc", Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "failover"}},
		Conditions: []engine.Condition{{Name: "shed.when"}, {Name: "slo/availability/ticket", Every: 4 * time.Minute}}}
}

// tell gives a witness facts at minutes of the night.
func tellFacts(w *report.Witness, facts map[int][]engine.Fact) {
	minutes := make([]int, 0, len(facts))
	for m := range facts {
		minutes = append(minutes, m)
	}
	slices.Sort(minutes)
	for _, m := range minutes {
		for _, f := range facts[m] {
			w.Event(engine.Event{Stream: "checkout", At: after(time.Duration(m) * time.Minute), Fact: f, Reason: engine.Reason{Code: engine.CodeBurning, Text: "it burns"}})
		}
	}
}

func directive(mode engine.Mode, change string) engine.Fact {
	return engine.DirectivePublished{Change: engine.ChangeID(change), Directive: engine.Directive{Mode: mode}}
}

func TestTheTimeInEachModeIsThatOfTheDirectives(t *testing.T) {
	w := report.NewWitness(shopPolicy(), dusk, after(2*time.Hour), time.Minute)
	tellFacts(w, map[int][]engine.Fact{
		0:  {engine.ScopeAdded{Mode: "normal"}, directive("normal", "")},
		10: {engine.ChangeStarted{Change: "checkout-3", Transition: "shed", From: "normal", To: "degraded"}, directive("degraded", "checkout-3")},
		11: {engine.ChangeDone{Change: "checkout-3"}},
		70: {engine.ChangeStarted{Change: "checkout-9", From: "degraded", To: "normal", Returns: true}, directive("normal", "checkout-9")},
	})
	s := w.Service()
	var got []string
	for _, m := range s.Modes {
		got = append(got, fmt.Sprintf("%s %v %d", m.Mode, m.Time.Duration(), m.Entered))
	}
	if want := "normal 1h0m0s 1, degraded 1h0m0s 1, failover 0s 0"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
	if len(s.Moves) != 2 || s.Moves[0].Outcome != "done" || s.Moves[0].By != "itself" || s.Moves[1].Outcome != "under way" || s.Moves[1].By != "the scope above" {
		t.Errorf("moves %+v", s.Moves)
	}
	if s.Flaps != 0 {
		t.Errorf("%d flaps", s.Flaps)
	}
}

func TestAFlapIsTheReturnOfAModeThatWasLeftTooEarly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		facts map[int][]engine.Fact
		flaps int
	}{
		{"back within half an hour", map[int][]engine.Fact{10: {directive("degraded", "a")}, 30: {directive("normal", "b")}, 59: {directive("degraded", "c")}}, 1},
		{"back after half an hour", map[int][]engine.Fact{10: {directive("degraded", "a")}, 30: {directive("normal", "b")}, 60: {directive("degraded", "c")}}, 0},
		{"a short trouble", map[int][]engine.Fact{10: {directive("degraded", "a")}, 20: {directive("normal", "b")}}, 0},
		{"on to a third mode", map[int][]engine.Fact{10: {directive("degraded", "a")}, 20: {directive("normal", "b")}, 30: {directive("failover", "c")}}, 0},
		{"back by way of a third mode", map[int][]engine.Fact{10: {directive("degraded", "a")}, 20: {directive("failover", "b")}, 25: {directive("normal", "c")}, 49: {directive("degraded", "d")}}, 1},
		{"back by way of a third mode after half an hour", map[int][]engine.Fact{10: {directive("degraded", "a")}, 20: {directive("failover", "b")}, 25: {directive("normal", "c")}, 50: {directive("degraded", "d")}}, 0},
	} {
		w := report.NewWitness(shopPolicy(), dusk, after(2*time.Hour), time.Minute)
		tc.facts[0] = []engine.Fact{engine.ScopeAdded{Mode: "normal"}}
		tellFacts(w, tc.facts)
		if s := w.Service(); s.Flaps != tc.flaps {
			t.Errorf("%s: %d flaps, want %d", tc.name, s.Flaps, tc.flaps)
		}
	}
}

func TestProposalsAndWhatPeopleAreToldEndAsTheyDid(t *testing.T) {
	w := report.NewWitness(shopPolicy(), dusk, after(2*time.Hour), time.Minute)
	proposal := func(id string) engine.Fact {
		return engine.ChangeProposed{Proposal: engine.Proposal{ID: engine.ChangeID(id), Transition: "fail-over", From: "degraded", To: "failover"}}
	}
	tellFacts(w, map[int][]engine.Fact{
		1: {proposal("a"), proposal("b"), proposal("c"), proposal("d"), engine.IncidentOpened{Incident: engine.Incident{ID: "i", Kind: engine.IncidentSLO, Subject: "slo/check/out/page", Severity: engine.SeverityPage}},
			engine.IncidentOpened{Incident: engine.Incident{ID: "k", Kind: engine.IncidentTransition, Subject: "shed", Severity: engine.SeverityTicket}}},
		2: {engine.ApprovalGranted{Proposal: "a", Missing: []engine.Group{{Role: "lead", Count: 1}}}, engine.ApprovalGranted{Proposal: "b"}, engine.ProposalExpired{Proposal: "c"},
			engine.IncidentEscalated{Incident: "i", To: engine.SeverityExec}, engine.TransitionWithheld{Transition: "shed"}},
		9: {engine.IncidentResolved{Incident: "i"}},
	})
	s := w.Service()
	var got []string
	for _, p := range s.Proposals {
		got = append(got, fmt.Sprintf("%s %s", p.ID, p.Outcome))
	}
	if want := "a waits, b approved, c expired, d waits"; strings.Join(got, ", ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if len(s.Told) != 2 || s.Told[0].SLO != "check/out" || s.Told[0].Further != engine.SeverityExec || !s.Told[0].Resolved.Equal(after(9*time.Minute)) || s.Told[1].SLO != "" || !s.Told[1].Resolved.IsZero() {
		t.Errorf("told %+v", s.Told)
	}
	if len(s.Withheld) != 1 || s.Withheld[0].Times != 1 {
		t.Errorf("withheld %+v", s.Withheld)
	}
}

func TestUnknownTimeLastsUntilTheConditionIsAskedAgain(t *testing.T) {
	w := report.NewWitness(shopPolicy(), dusk, after(20*time.Minute), time.Minute)
	unseen := func(why engine.Why, blind bool) engine.Observation {
		return engine.Observation{Asked: true, Truth: engine.Unknown, Blind: blind, Readings: []engine.Reading{{Why: why}, {}}}
	}
	known := engine.Observation{Asked: true, Truth: engine.False}
	for minute := range 20 {
		seen := make([]engine.Observation, 2)
		seen[0] = known
		switch {
		case minute == 2:
			seen[0] = unseen(engine.WhyAbsent, true)
		case minute == 3:
			seen[0] = unseen(engine.WhyNoTraffic, false)
		case minute >= 14:
			seen[0] = engine.Observation{} // it does not matter any more
		}
		if minute%4 == 0 {
			if seen[1] = known; minute == 8 {
				seen[1] = unseen(engine.WhyTimeout, true)
			}
		}
		w.Tick(after(time.Duration(minute)*time.Minute), seen)
	}
	u := w.Service().Unknown
	if u.Time.Duration() != 6*time.Minute || u.Blind.Duration() != 5*time.Minute {
		t.Errorf("%v unknown, of them %v blind; want two minutes of the first condition and four of the second", u.Time.Duration(), u.Blind.Duration())
	}
	if u.Why[engine.WhyAbsent] != 60 || u.Why[engine.WhyNoTraffic] != 60 || u.Why[engine.WhyTimeout] != 240 {
		t.Errorf("%v", u.Why)
	}
	if len(u.Spans) != 2 || !u.Spans[0].To.Equal(after(4*time.Minute)) || !u.Spans[1].From.Equal(after(8*time.Minute)) || !u.Spans[1].To.Equal(after(12*time.Minute)) {
		t.Errorf("spans %v", u.Spans)
	}
	if text := u.String(); text != "6 min (timeout, absent, no traffic)" {
		t.Errorf("%q", text)
	}
}

// twoVersions are a backtest in which the second version pages later, and enters a mode more.
func twoVersions() *report.Backtest {
	page := func(opened, lasted time.Duration) report.Told { return told("p", engine.SeverityPage, opened, lasted) }
	moved := func(change string, at time.Duration, to engine.Mode) report.Move {
		return report.Move{At: after(at), Change: engine.ChangeID(change), Transition: "shed", From: "normal", To: to, By: "itself", Why: "it burns", Outcome: "done", Ended: after(at)}
	}
	left := report.Left{Known: true, Remaining: 0.62}
	burn := []report.Burn{{From: dusk, To: after(time.Hour), Known: 1, Rate: 0.2}, {From: after(time.Hour), To: after(3 * time.Hour), Known: 1, Rate: 40}}
	service := func(digest string, list []report.Told, moves ...report.Move) report.BacktestService {
		return report.BacktestService{Scope: "checkout", Digest: engine.Digest(digest + strings.Repeat("0", 60)), Told: list, Moves: moves,
			Modes:   []report.ModeTime{{Mode: "normal", Time: 3600}, {Mode: "degraded", Time: report.Seconds(3600 * len(moves))}},
			Stays:   []report.Band{{Mode: "normal", From: dusk, To: after(time.Hour)}, {Mode: "degraded", From: after(time.Hour), To: after(3 * time.Hour)}},
			Budgets: []report.BudgetEnd{{SLO: "availability", Objective: "99.9", Period: "30d", Left: left, Step: 3600, Burn: burn}}}
	}
	b := &report.Backtest{From: dusk, To: after(6 * time.Hour), Step: 60, Queries: 12, Took: 3, Notes: []string{"The brake is not rehearsed."},
		Versions: []report.BacktestVersion{
			{Name: "rules/", Services: []report.BacktestService{service("a", []report.Told{page(61*time.Minute, time.Hour)}, moved("c1", 61*time.Minute, "degraded"))}},
			{Name: "main", Services: []report.BacktestService{service("b", []report.Told{page(65*time.Minute, time.Hour), page(5*time.Hour, 0)}, moved("c1", 61*time.Minute, "degraded"), moved("c2", 5*time.Hour, "degraded")),
				{Scope: "search", Digest: engine.Digest(strings.Repeat("c", 64)), Modes: []report.ModeTime{}}}},
		}}
	for i := range b.Versions {
		b.Versions[i].Score = b.Versions[i].Judge([]report.Label{outage()}, b.From, b.To, 5*time.Minute)
	}
	b.Compare()
	return b
}

func TestTwoVersionsAreToldSideBySideWithTheirDifferences(t *testing.T) {
	b := twoVersions()
	var got []string
	for _, d := range b.Differences {
		got = append(got, fmt.Sprintf("%s | %s | %s | %s", d.Scope, d.What, d.Here, d.There))
	}
	want := []string{
		"checkout | digest | a00000000000 | b00000000000",
		"checkout | pages | 1 | 2",
		"checkout | moves | 1 | 2",
		"checkout | time in degraded | 1 h | 2 h",
		"search | declared | no | yes",
		"checkout | page: SLO availability burns | 2026-11-03 03:01:00Z, 1 h | 2026-11-03 03:05:00Z, 1 h",
		"checkout | mode: normal → degraded (shed) | – | 2026-11-03 07:00:00Z, 1 h and on",
		"checkout | page: SLO availability burns | – | 2026-11-03 07:00:00Z, 1 h and on",
	}
	if !slices.Equal(got, want) {
		t.Errorf("differences:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	one := &report.Backtest{Versions: b.Versions[:1]}
	if one.Compare(); one.Differences != nil {
		t.Errorf("of one version: %v", one.Differences)
	}
	same := &report.Backtest{Versions: []report.BacktestVersion{b.Versions[0], b.Versions[0]}, To: b.To}
	if same.Compare(); len(same.Differences) != 0 {
		t.Errorf("of the same twice: %v", same.Differences)
	}
}

func TestEverySectionHasACellForEachColumn(t *testing.T) {
	b := twoVersions()
	one := &report.Backtest{From: b.From, To: b.To, Versions: b.Versions[1:]}
	for _, b := range []*report.Backtest{b, one} {
		for _, s := range b.Sections() {
			for _, row := range s.Rows {
				if len(row) != len(s.Header) {
					t.Errorf("%s: %d cells under %d headings: %v", s.Title, len(row), len(s.Header), row)
				}
			}
			if len(s.Rows) == 0 && s.Empty == "" {
				t.Errorf("%s: nothing, and no word of it", s.Title)
			}
		}
	}
}

func TestThePageOfABacktestIsOneFileThatEscapesWhatComesFromOutside(t *testing.T) {
	b := twoVersions()
	b.Versions[0].Name = `<script>alert("x")</script>`
	b.Versions[0].Services[0].Told[0].Summary = `"><img src=https://example.com/x>`
	b.Versions[0].Services[0].Moves[0].Why = "\x1b[31mred"
	b.Compare()
	var page bytes.Buffer
	if err := b.HTML(&page); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, bad := range []string{"<script", "<img", "\x1b", "<link", "@import", "url(http", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := len(regexp.MustCompile(`<svg class="wide"`).FindAllString(text, -1)); n != 2 {
		t.Errorf("%d charts, want one for each version", n)
	}
	for _, want := range []string{`class="told-page"`, `class="labelled"`, "The brake is not rehearsed.", "Differences"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestAVersionIsCalledWhatItIsCalled(t *testing.T) {
	b := twoVersions()
	b.Versions[0].Name, b.Versions[1].Name = "rules/Shop.yaml", "REL-a"
	for _, s := range b.Sections()[1:3] {
		if n := len(s.Header); s.Header[n-2] != "rules/Shop.yaml" || s.Header[n-1] != "REL-a" {
			t.Errorf("%s: the columns are %q", s.Title, s.Header)
		}
	}
	var page bytes.Buffer
	if err := b.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">rules/Shop.yaml</th>", ">REL-a</th>", ">Service</th>"} {
		if strings.Count(page.String(), want) < 2 {
			t.Errorf("the page has no two columns %q", want)
		}
	}
}

func TestThePageOfAHundredServicesStaysSmall(t *testing.T) {
	b := twoVersions()
	b.Versions = b.Versions[:1]
	v := &b.Versions[0]
	first := v.Services[0]
	first.Budgets[0].Burn = nil
	for i := range 240 {
		from := dusk.Add(time.Duration(i) * time.Minute)
		first.Budgets[0].Burn = append(first.Budgets[0].Burn, report.Burn{From: from, To: from.Add(time.Minute), Known: 1, Rate: float64(i%17) + 0.123})
	}
	v.Services = nil
	for i := range 100 {
		s := first
		s.Scope = engine.Scope(fmt.Sprintf("service-%03d", i))
		v.Services = append(v.Services, s)
	}
	b.Compare()
	var page bytes.Buffer
	if err := b.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if page.Len() > 2<<20 {
		t.Errorf("%d bytes", page.Len())
	}
	if !strings.Contains(page.String(), "76 SLOs without pages") {
		t.Error("it does not say how many SLOs it does not draw")
	}
}
