package report_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// made drafts the report of a change an hour after nine, with a budget of which some time is not known.
func made(t *testing.T, s *story, id engine.ChangeID) report.Report {
	t.Helper()
	r, err := report.Make(report.Input{Change: id, Events: s.events, Policies: kept(s.policy), Now: nine.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// weighed adds a budget as the ledger would have it.
func weighed(r report.Report) report.Report {
	from, to := r.Span()
	b := report.Budget{SLO: "availability", Objective: "99.9", Period: "30d", Step: 300,
		Before: report.Left{At: nine.Add(-5 * time.Minute), Known: true, Remaining: 0.42},
		After:  report.Left{At: to, Known: true, Remaining: 0.31}}
	for at, i := from.Truncate(5*time.Minute), 0; at.Before(to); at, i = at.Add(5*time.Minute), i+1 {
		p := report.Burn{From: at, To: at.Add(5 * time.Minute), Known: 1, Rate: 12}
		if i%3 == 1 {
			p.Known, p.Rate = 0, 0
		}
		b.Burn = append(b.Burn, p)
	}
	r.Weigh([]report.Budget{b})
	return r
}

// golden compares with a file, and writes it when told to.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it is not %s; if that is meant, run the test with -update and review the difference:\n%s", path, got)
	}
}

func TestANightIsToldFromItsFirstSignUntilTheScopeIsBack(t *testing.T) {
	s := night(t)
	for name, id := range map[string]engine.ChangeID{"night.md": s.last("change", "fail-over"), "night-shed.md": s.last("change", "shed")} {
		var b strings.Builder
		r := weighed(made(t, s, id))
		if err := r.Markdown(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

// text writes a report in both forms.
func text(t *testing.T, r report.Report) (markdown, page string) {
	t.Helper()
	var m, h strings.Builder
	if err := errors.Join(r.Markdown(&m), r.HTML(&h)); err != nil {
		t.Fatal(err)
	}
	return m.String(), h.String()
}

func TestTheFileFetchesNothingAndRunsNothing(t *testing.T) {
	s := night(t)
	_, page := text(t, weighed(made(t, s, s.last("change", "fail-over"))))
	for _, never := range []string{"<script", "src=", "@import", "<link", "<iframe", "<object", "javascript:", "onload"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %s", never)
		}
	}
	for _, m := range regexp.MustCompile(`url\(([^)]*)\)`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("the page fetches %s", m[1])
		}
	}
	if charts, titles := strings.Count(page, "<svg"), strings.Count(page, "<title id="); charts != 2 || titles != charts {
		t.Errorf("%d charts have %d titles", charts, titles)
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("two things have the id %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] == 0 {
			t.Errorf("#%s leads nowhere", m[1])
		}
	}
}

// What somebody writes as a reason must not become a part of the document.
func TestTextFromOutsideStaysText(t *testing.T) {
	s := newStory(t)
	evil := "</dd><script>alert(1)</script> | **x** ](http://evil) \n# heading \u202e `code` &lt; <b>"
	s.decide(10*time.Second, "mallory<i>", &engine.SetRequested{Mode: "degraded", Via: "shed", Reason: evil})
	markdown, page := text(t, weighed(made(t, s, s.last("change", "shed"))))
	for _, never := range []string{"<script>", "<i>", "<b>"} {
		if strings.Contains(page, never) || strings.Contains(strings.ReplaceAll(markdown, `\<`, ""), never) {
			t.Errorf("%s is in the document", never)
		}
	}
	if strings.Contains(markdown, "\n# heading") || strings.Contains(markdown, "\u202e") || strings.Contains(page, "\u202e") {
		t.Error("a reason broke out of its line")
	}
	for _, want := range []string{`\|`, `\*\*x\*\*`, `\]`, "\\`code\\`", `\&lt;`} {
		if !strings.Contains(markdown, want) {
			t.Errorf("%s is not in\n%s", want, markdown)
		}
	}
	columns := 0
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(line, "| Time (UTC) | After") {
			columns = strings.Count(line, "|")
		}
		if columns > 0 && strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != columns {
			t.Errorf("a row of other columns: %s", line)
		}
	}
}

// finding looks for a finding with some words, in the answer to a question.
func finding(r report.Report, question int, words string) (report.Finding, bool) {
	for _, f := range r.Answers[question-1].Says {
		if strings.Contains(f.Text, words) {
			return f, true
		}
	}
	return report.Finding{}, false
}

func TestWhatTheLogCanAnswerIsAnswered(t *testing.T) {
	approve := func(s *story) {
		s.review(60*time.Second, "bob", "oncall", true)
		s.review(70*time.Second, "carol", "lead", true)
	}
	proposed := func(t *testing.T) *story {
		s := newStory(t)
		s.see(30*time.Second, "tf-f-")
		s.see(45*time.Second, "tftf-")
		return s
	}
	for _, c := range []struct {
		name     string
		live     func(t *testing.T) (*story, engine.ChangeID)
		open     bool
		home     engine.Mode
		verdicts string // of the questions that have one: decision, telemetry, runbooks
		question int
		says     string
		mark     report.Mark
	}{
		{"a proposal that waits", func(t *testing.T) (*story, engine.ChangeID) {
			s := proposed(t)
			return s, s.last("proposal", "fail-over")
		}, true, "normal", "in part, yes, yes", 1, "It has waited for people for 59 min 15 s by now", report.Unclear},
		{"one that was denied", func(t *testing.T) (*story, engine.ChangeID) {
			s := proposed(t)
			s.review(60*time.Second, "carol", "lead", false)
			return s, s.last("proposal", "fail-over")
		}, true, "normal", "in part, yes, yes", 3, "was denied, and nothing of it was done", ""},
		{"one in the mode a scope begins in, that expired", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.see(30*time.Second, "fftf-")
			s.decide(30*time.Second+15*time.Minute, "", &engine.TimePassed{})
			return s, s.last("proposal", "fail-over")
		}, false, "normal", "in part, yes, in part", 1, "Nothing was done: it was expired after 15 min", report.Bad},
		{"a change at its first step", func(t *testing.T) (*story, engine.ChangeID) {
			s := proposed(t)
			approve(s)
			return s, s.last("change", "fail-over")
		}, true, "normal", "yes, yes, in part", 5, "drain: its answer is awaited", report.Unclear},
		{"break-glass", func(t *testing.T) (*story, engine.ChangeID) {
			s := proposed(t)
			s.decide(60*time.Second, "dave", &engine.SetRequested{Mode: "failover", Via: "fail-over", Reason: "it burns", Force: true, Roles: []string{engine.RoleBreakGlass}})
			return s, s.last("change", "fail-over")
		}, true, "normal", "the log cannot tell, the log cannot tell, no", 3, "its gate was gone around: dave, by hand, around the gate", report.Bad},
		{"a directive only", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.policy.Transitions = s.policy.Transitions[:1]
			s.decide(60*time.Second, "dave", &engine.SetRequested{Mode: "read-only", Reason: "it burns", DirectiveOnly: true})
			return s, s.last("change", "")
		}, true, "normal", "the log cannot tell, the log cannot tell, no", 3, "went by no declared transition", report.Bad},
		{"a scope without instances", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.see(30*time.Second, "tf-f-")
			return s, s.last("change", "shed")
		}, true, "normal", "yes, yes, yes", 1, "No instance was connected when it started", ""},
		{"one that was withheld before", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.decide(time.Second, "alice", &engine.FreezeRequested{Reason: "game day"})
			s.see(30*time.Second, "tf-f-")
			s.decide(40*time.Second, "alice", &engine.UnfreezeRequested{Reason: "over"})
			s.see(45*time.Second, "tf-f-")
			return s, s.last("change", "shed")
		}, true, "normal", "yes, yes, yes", 1, "shed was ready and withheld for 15 s: automation is frozen: game day", ""},
		{"one that was decided on what was half known", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.see(30*time.Second, "tb-f-")
			s.see(45*time.Second, "tf-f-")
			return s, s.last("change", "shed")
		}, true, "normal", "yes, in part, yes", 2, "stop.when could not be seen for 15 s of it", report.Bad},
		{"one that was overtaken", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.policy.Transitions = slices.Clone(s.policy.Transitions)
			s.policy.Transitions[0].Playbook = engine.Playbook{Steps: []engine.Step{{Name: "drain", Kind: "webhook", Undo: true, Keyed: true}}}
			s.see(30*time.Second, "tf-f-")
			s.see(45*time.Second, "tt-f-")
			return s, s.last("change", "shed")
		}, true, "normal", "yes, yes, in part", 1, "was overtaken by something safer", ""},
		{"one whose wave was held", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.instances = 20
			s.see(30*time.Second, "tf-f-")
			s.decide(31*time.Second, "", &engine.InstancesReported{})
			s.burn = 0.1
			at := 45 * time.Second
			for ; s.state.Change == nil; at += 15 * time.Second {
				s.see(at, "ffft-")
			}
			s.decide(at-14*time.Second, "", &engine.InstancesReported{})
			for range 6 { // its pause is over, and nobody can see
				s.see(at, "fffb-")
				at += 15 * time.Second
			}
			for ; s.state.Change != nil; at += 15 * time.Second {
				s.see(at, "ffft-")
				s.decide(at+time.Second, "", &engine.InstancesReported{})
			}
			return s, s.last("change", "recover")
		}, false, "normal", "yes, in part, yes", 5, "wave 1 was held for 1 min: ", report.Bad},
		{"one whose gate was escalated", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.policy.Transitions = slices.Clone(s.policy.Transitions)
			gate := *s.policy.Transitions[2].Gate
			gate.Otherwise, gate.To = engine.OtherwiseEscalate, []engine.Group{{Role: "commander", Count: 1}}
			s.policy.Transitions[2].Gate = &gate
			s.see(30*time.Second, "fftf-")
			s.decide(30*time.Second+15*time.Minute, "", &engine.TimePassed{})
			s.review(20*time.Minute, "eve", "commander", true)
			return s, s.last("change", "fail-over")
		}, true, "normal", "yes, yes, in part", 3, "nobody answered its gate in time, and it was escalated", report.Bad},
		{"one that a scope above asked for", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.above = []engine.Above{{Scope: "shop", Mode: "closed", Imposes: "read-only"}}
			s.decide(30*time.Second, "", &engine.AncestorMoved{})
			return s, s.last("change", "")
		}, true, "normal", "yes, yes, yes", 5, "normal → read-only (asked for by shop): done, decided by automation", report.Good},
		{"one that is taken back by hand", func(t *testing.T) (*story, engine.ChangeID) {
			s := newStory(t)
			s.see(30*time.Second, "tf-f-")
			id := s.last("change", "shed")
			s.decide(70*time.Second, "alice", &engine.UndoRequested{Change: id, Reason: "a false alarm"})
			return s, id
		}, false, "normal", "yes, yes, yes", 1, "was taken back by alice: a false alarm", report.Unclear},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, id := c.live(t)
			r := weighed(made(t, s, id))
			if r.Change != id || r.Open != c.open || r.Home != c.home || r.Ended.IsZero() != c.open {
				t.Errorf("of %s: open %v until %v, home %s", r.Change, r.Open, r.Ended, r.Home)
			}
			verdicts := fmt.Sprintf("%s, %s, %s", r.Answers[0].Verdict, r.Answers[1].Verdict, r.Answers[2].Verdict)
			if verdicts != c.verdicts {
				t.Errorf("verdicts: %s, want %s", verdicts, c.verdicts)
			}
			f, found := finding(r, c.question, c.says)
			if !found || f.Mark != c.mark || len(f.Events) == 0 {
				t.Errorf("want %q of question %d, have %+v", c.says, c.question, r.Answers[c.question-1].Says)
			}
			markdown, page := text(t, r)
			if strings.Contains(markdown, "0001-01-01") || strings.Contains(page, "0001-01-01") {
				t.Errorf("a time that is none is shown:\n%s", markdown)
			}
			if c.open != strings.Contains(markdown, "this is not over") || c.open != strings.Contains(page, "this is not over") {
				t.Error("whether it is over is not said")
			}
			for _, a := range r.Answers {
				for _, f := range a.Says {
					for _, e := range f.Events {
						if !slices.ContainsFunc(r.Timeline, func(m report.Moment) bool { return m.Event == e }) {
							t.Errorf("%q rests on %s, which is not in the timeline", f.Text, e)
						}
					}
				}
			}
		})
	}
}

func TestEveryChangeOfAStayTellsTheSameStory(t *testing.T) {
	s := night(t)
	var first report.Report
	for i, id := range []engine.ChangeID{s.last("change", "shed"), s.last("change", "fail-over"), s.last("proposal", "fail-over"), s.last("change", "recover")} {
		r := made(t, s, id)
		if i == 0 {
			first = r
		}
		if !r.Began.Equal(first.Began) || !r.Ended.Equal(first.Ended) || !reflect.DeepEqual(r.Timeline, first.Timeline) || len(r.Changes) != len(first.Changes) {
			t.Errorf("%s: from %v to %v, %d moments, %d changes", id, r.Began, r.Ended, len(r.Timeline), len(r.Changes))
		}
	}
	if first.Home != "normal" || first.Open || len(first.Changes) != 4 {
		t.Errorf("%+v", first)
	}
}

// A scope that was degraded for days is not told from the beginning when it is failed over at last.
func TestAStayThatBeganMoreThanADayBeforeIsAnotherStory(t *testing.T) {
	s := newStory(t)
	s.see(30*time.Second, "tf-f-")
	day := 25 * time.Hour
	s.see(day-15*time.Second, "tf-f-")
	s.see(day, "tftf-")
	s.review(day+30*time.Second, "bob", "oncall", true)
	s.review(day+40*time.Second, "carol", "lead", true)
	r := made(t, s, s.last("change", "fail-over"))
	if r.Home != "degraded" || len(r.Changes) != 1 || !strings.Contains(strings.Join(r.LeftOut, "\n"), "checkout had left normal at 2026-03-02 09:00:30Z already") {
		t.Errorf("home %s, changes %+v, left out %v", r.Home, r.Changes, r.LeftOut)
	}
}

func TestALogThatWasCutIsToldAsFarAsItGoes(t *testing.T) {
	s := night(t)
	id := s.last("change", "recover")
	whole := made(t, s, id)
	relapse := slices.IndexFunc(s.events, func(e engine.Event) bool { return e.Kind() == "ChangeFailed" && e.At.After(nine.Add(2*time.Minute)) })
	r, err := report.Make(report.Input{Change: id, Events: s.events[relapse:], Policies: kept(s.policy), Now: nine.Add(time.Hour), LeftOut: []string{"the rest is archived"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != whole.Outcome || !r.Ended.Equal(whole.Ended) || r.Answers[0].Verdict != report.CannotTell {
		t.Errorf("it came to %s at %v, verdict %s", r.Outcome, r.Ended, r.Answers[0].Verdict)
	}
	markdown, _ := text(t, r)
	if !strings.Contains(markdown, "the rest is archived") || !strings.Contains(markdown, "was not read") {
		t.Errorf("that it is cut is not said:\n%s", markdown)
	}
	// Without the rules nobody knows that it leads back: it is told as what it looks like.
	if r, err = report.Make(report.Input{Change: id, Events: s.events[relapse:], Now: nine.Add(time.Hour)}); err != nil || r.Outcome != whole.Outcome || r.Home != "degraded" {
		t.Errorf("without rules: %v, home %s", err, r.Home)
	}
	// And at the other end.
	start := slices.IndexFunc(s.events, func(e engine.Event) bool { return e.Kind() == "StepFailed" })
	r, err = report.Make(report.Input{Change: s.last("change", "fail-over"), Events: s.events[:start], More: true, Policies: kept(s.policy), Now: nine.Add(time.Hour)})
	if err != nil || !r.Open || !strings.Contains(strings.Join(r.LeftOut, "\n"), "what came later was not read") {
		t.Errorf("%v: open %v, left out %v", err, r.Open, r.LeftOut)
	}
}

func TestWhatWasNotNamesWhatWasPerhapsMeant(t *testing.T) {
	s := night(t)
	shed, over := s.last("change", "shed"), s.last("change", "fail-over")
	for id, near := range map[engine.ChangeID]engine.ChangeID{
		engine.ChangeID("checkout-1"): shed, shed + "9999": s.last("change", "recover"), "checkout-7": shed, "checkout-14": over,
	} {
		_, err := report.Make(report.Input{Change: id, Events: s.events, Policies: kept(s.policy), Now: nine})
		var unknown *report.Unknown
		if !errors.As(err, &unknown) || !errors.Is(err, explain.ErrUnknown) || unknown.Near != near {
			t.Errorf("%s: %v, want %s", id, err, near)
		}
	}
	if _, err := report.Make(report.Input{Change: "checkout-3", Now: nine}); err == nil || !strings.Contains(err.Error(), "its history names") {
		t.Errorf("without events: %v", err)
	}
}

func TestALongStayIsBounded(t *testing.T) {
	s := newStory(t)
	s.see(30*time.Second, "tf-f-")
	for i := range 400 {
		at := time.Minute + time.Duration(i)*time.Second
		s.decide(at, "alice", &engine.FreezeRequested{Reason: "drill"})
		s.decide(at, "alice", &engine.UnfreezeRequested{Reason: "over"})
	}
	id := s.last("change", "shed")
	s.decide(10*time.Minute, "alice", &engine.UndoRequested{Change: id, Reason: "over"})
	r := made(t, s, id)
	if len(r.Timeline) != 500 || !strings.Contains(strings.Join(r.LeftOut, "\n"), "further events between") {
		t.Errorf("%d moments, left out %v", len(r.Timeline), r.LeftOut)
	}
	for _, kind := range []string{"IncidentOpened", "ChangeStarted", "UndoStarted", "ChangeUndone"} {
		if !slices.ContainsFunc(r.Timeline, func(m report.Moment) bool { return m.Kind == kind }) {
			t.Errorf("%s is left out", kind)
		}
	}
}

func TestASourceNobodyCouldSeeIsTold(t *testing.T) {
	s := night(t)
	fleet := engine.Policy{Digest: "fleet", Scope: engine.Fleet, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute}
	var state engine.State
	var events []engine.Event
	see := func(at time.Duration, blind bool) {
		for _, e := range engine.Decide(fleet, state, engine.Input{At: nine.Add(at), What: &engine.SourcesObserved{Instant: nine.Add(at), Prev: nine.Add(at - 15*time.Second),
			Sources: []engine.Sight{{Source: "main", Asked: true, Blind: blind, Detail: "connection refused"}}}}) {
			events, state = append(events, e), engine.Apply(state, e)
		}
	}
	see(-time.Minute, true)
	see(2*time.Minute, false)
	r, err := report.Make(report.Input{Change: s.last("change", "shed"), Events: s.events, Fleet: events, Policies: kept(s.policy), Now: nine.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	f, found := finding(r, 2, "The source main could not be seen for 1 min 30 s of it: connection refused")
	lost := slices.IndexFunc(events, func(e engine.Event) bool { return e.Kind() == "SightLost" })
	want := fmt.Sprintf("[fleet/%d fleet/%d]", events[lost].Version, events[len(events)-1].Version)
	if !found || f.Mark != report.Bad || fmt.Sprint(f.Events) != want || r.Answers[1].Verdict != report.InPart {
		t.Errorf("%s: %+v", r.Answers[1].Verdict, r.Answers[1].Says)
	}
}

func TestThatTheFleetWasNotReadIsSaid(t *testing.T) {
	s := night(t)
	later := engine.Event{Stream: engine.Fleet, Version: 900, At: nine.Add(3 * time.Minute), Fact: engine.CheckpointMade{}}
	for name, c := range map[string]struct {
		fleet []engine.Event
		more  bool
		said  bool
	}{
		"it begins in the middle":       {[]engine.Event{later}, false, true},
		"it ends in the middle":         {[]engine.Event{{Stream: engine.Fleet, Version: 1, At: nine, Fact: engine.CheckpointMade{}}, later}, true, true},
		"it has no more":                {[]engine.Event{{Stream: engine.Fleet, Version: 1, At: nine, Fact: engine.CheckpointMade{}}}, false, false},
		"it begins before, ends behind": {[]engine.Event{{Stream: engine.Fleet, Version: 900, At: nine, Fact: engine.CheckpointMade{}}, {Stream: engine.Fleet, Version: 901, At: nine.Add(time.Hour), Fact: engine.CheckpointMade{}}}, true, false},
	} {
		r, err := report.Make(report.Input{Change: s.last("change", "shed"), Events: s.events, Fleet: c.fleet, FleetMore: c.more, Policies: kept(s.policy), Now: nine.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if _, said := finding(r, 2, "was not read"); said != c.said {
			t.Errorf("%s: %+v", name, r.Answers[1])
		}
	}
}

// The command line draws what the server sent.
func TestAReportIsTheSameOnceItWasSent(t *testing.T) {
	s := night(t)
	r := weighed(made(t, s, s.last("change", "fail-over")))
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var sent report.Report
	if err := json.Unmarshal(b, &sent); err != nil {
		t.Fatal(err)
	}
	markdown, page := text(t, r)
	again, pageAgain := text(t, sent)
	if markdown != again || page != pageAgain {
		t.Error("it is another one")
	}
	for _, word := range []string{"null", `"At"`, `"Text"`} {
		if strings.Contains(string(b), word) {
			t.Errorf("%s is in %s", word, b)
		}
	}
}

func TestBurnRatesAreWhatWasReadAndWhatIsNotKnownIsAGap(t *testing.T) {
	s := night(t)
	r := made(t, s, s.last("change", "shed"))
	from, to := r.Span()
	r.Weigh([]report.Budget{{SLO: "availability", Objective: "99.9", Burn: []report.Burn{
		{From: from, To: from.Add(time.Minute), Known: 1, Rate: 2}, {From: from.Add(time.Minute), To: from.Add(2 * time.Minute), Known: 0},
	}}, {SLO: "quiet", Objective: "99"}})
	b := r.Budgets[0]
	rates := ""
	for _, x := range b.Seen[:2] {
		rates += fmt.Sprintf("%s %.3g by %s, ", x.Window, x.Rate, x.Event)
	}
	if rates != "5m 40 by checkout/3, 1h 20 by checkout/3, " {
		t.Errorf("read: %s", rates)
	}
	if r.Charted(&r.Budgets[1]) {
		t.Error("a budget of which nothing is known has a chart")
	}
	_, page := text(t, r)
	gaps := regexp.MustCompile(`<rect fill="url\(#burn-1-wide-hatch\)" x="([\d.]+)"[^>]* width="([\d.]+)"`).FindAllStringSubmatch(page, -1)
	// What is known of it ends after a minute; all the rest is one gap, to the end.
	x := 44 + 668*time.Minute.Seconds()/to.Sub(from).Seconds()
	if len(gaps) != 1 || gaps[0][1] != fmt.Sprintf("%.4g", x) {
		t.Errorf("gaps %q, want one from %.4g on", gaps, x)
	}
	// Without its objective an error ratio tells nothing.
	r.Weigh(nil)
	if n := len(r.Budgets[0].Seen); n == 0 || n >= len(b.Seen) || r.Budgets[0].Before.Known || !strings.Contains(strings.Join(r.LeftOut, "\n"), "of availability are error ratios") {
		t.Errorf("%d readings, left out %v", n, r.LeftOut)
	}
}
