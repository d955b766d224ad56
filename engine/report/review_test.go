package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
)

// look reviews the time since an instant, an hour after nine.
func (s *story) look(since time.Duration, cut int) report.Review {
	r := report.NewReview([]report.StaleFlag{{Scope: "checkout", Flag: "old", Expired: true}, {Scope: "checkout", Flag: "fresh"}}, nine.Add(since), nine.Add(time.Hour))
	r.Look(report.Log{Scope: "checkout", Policy: &s.policy, State: s.state, Events: s.events[cut:]})
	return r
}

func modeUse(r report.Review) string {
	text := ""
	for _, m := range r.Modes {
		text += fmt.Sprintf("%s %s %d %v; ", m.Mode, m.Standing, m.Entered, m.Time.Duration())
	}
	return text
}

func TestANightIsSummedUp(t *testing.T) {
	s := night(t)
	r := s.look(0, 0)
	if got, want := modeUse(r), "normal in force 3 56m15s; degraded used 3 3m33s; read-only never used 0 0s; failover used 1 12s; "; got != want {
		t.Errorf("modes:\n%s\nwant\n%s", got, want)
	}
	if len(r.Flags) != 1 || r.Flags[0].Flag != "old" {
		t.Errorf("flags: %+v", r.Flags)
	}
	text := ""
	for _, a := range r.Automations {
		text += fmt.Sprintf("%s: %d started, %d by itself, %d approved, %d done, %d undone, withheld %v\n", a.Transition, a.Started, a.ByItself, a.Approved, a.Done, a.Undone, a.Withheld)
	}
	want := "shed: 1 started, 1 by itself, 0 approved, 1 done, 0 undone, withheld []\n" +
		"stop: 0 started, 0 by itself, 0 approved, 0 done, 0 undone, withheld []\n" +
		"fail-over: 1 started, 0 by itself, 1 approved, 0 done, 1 undone, withheld []\n" +
		"recover: 2 started, 2 by itself, 0 approved, 1 done, 1 undone, withheld []\n"
	if text != want {
		t.Errorf("automations:\n%swant\n%s", text, want)
	}
	if len(r.Approvals) != 1 || r.Approvals[0] != (report.ApprovalTime{Scope: "checkout", Proposed: 1, Approved: 1, Median: 45, P90: 45, Longest: 45}) {
		t.Errorf("approvals: %+v", r.Approvals)
	}
	if len(r.SLOs) != 1 || r.SLOs[0].Fired != 1 || r.SLOs[0].Time != 75 || r.SLOs[0].Verdict != "" || r.SLOs[0].Open {
		t.Errorf("SLOs: %+v", r.SLOs)
	}
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "review.md", b.String())
}

func TestOnlyTheTimeUnderReviewCounts(t *testing.T) {
	s := night(t)
	r := s.look(5*time.Minute, 0) // the last recovery has just begun
	if got, want := modeUse(r), "normal in force 1 55m0s; degraded stale 0 0s; read-only never used 0 0s; failover stale 0 0s; "; got != want {
		t.Errorf("modes: %s\nwant %s", got, want)
	}
	if a := r.Automations[3]; a.Started != 1 || a.Done != 1 || a.Undone != 0 || len(r.Approvals) != 0 {
		t.Errorf("recover: %+v, approvals %+v", a, r.Approvals)
	}
	if r.SLOs[0].Verdict != report.NeverFired {
		t.Errorf("SLOs: %+v", r.SLOs)
	}
}

func TestWhatWasNotReadIsNotSaidToHaveNeverBeen(t *testing.T) {
	s := night(t)
	r := s.look(0, len(s.events)-6)
	if got := modeUse(r); !strings.Contains(got, "read-only not seen") || !strings.Contains(got, "normal in force") {
		t.Errorf("modes: %s", got)
	}
	if len(r.LeftOut) != 1 || !strings.Contains(r.LeftOut[0], "of checkout what was before") {
		t.Errorf("left out: %v", r.LeftOut)
	}
}

func TestATierThatAlwaysFiresAndPeopleWhoDoNotAnswer(t *testing.T) {
	s := newStory(t)
	s.see(15*time.Second, "tftf-")
	for i := range 10 { // each denied after i minutes, and proposed again after an hour
		at := time.Duration(i) * 2 * time.Hour
		s.see(at+30*time.Second, "tftf-")
		if len(s.state.Proposals) == 0 {
			t.Fatalf("nothing is proposed at %v", at)
		}
		if i < 8 {
			s.review(at+30*time.Second+time.Duration(i+1)*time.Minute, "carol", "lead", false)
		} else {
			s.decide(at+30*time.Minute, "", &engine.TimePassed{})
		}
	}
	s.decide(20*time.Hour, "alice", &engine.FreezeRequested{Reason: "drill"})
	s.see(20*time.Hour+15*time.Second, "ttff-")
	r := report.NewReview(nil, nine, nine.Add(21*time.Hour))
	r.Look(report.Log{Scope: "checkout", Policy: &s.policy, State: s.state, Events: s.events})
	if o := r.SLOs[0]; o.Verdict != report.AlwaysFires || !o.Open || o.Share < 0.99 {
		t.Errorf("SLO: %+v", o)
	}
	a := r.Approvals[0]
	if a.Denied != 8 || a.Expired != 2 || a.Proposed != 10 || a.Approved != 0 || a.Longest.Duration() < 8*time.Minute || a.Median >= a.P90 || a.P90 > a.Longest {
		t.Errorf("approvals: %+v", a)
	}
	stop := r.Automations[1]
	if fmt.Sprint(stop.Withheld) != "[{frozen 1}]" {
		t.Errorf("stop: %+v", stop)
	}
}

func TestWhatNoTransitionDeclaresIsSummedUpByWhereItCameFrom(t *testing.T) {
	s := newStory(t)
	s.policy.Transitions = s.policy.Transitions[3:] // recover alone
	s.decide(10*time.Second, "dave", &engine.SetRequested{Mode: "read-only", Reason: "it burns", DirectiveOnly: true, For: time.Minute})
	s.decide(20*time.Second, "dave", &engine.UnpinRequested{Reason: "over"})
	s.decide(25*time.Second, "dave", &engine.SetRequested{Mode: "normal", Reason: "over", For: time.Minute})
	s.decide(30*time.Second, "dave", &engine.UnpinRequested{Reason: "over"})
	s.above = []engine.Above{{Scope: "shop", Mode: "closed", Imposes: "degraded"}}
	s.decide(40*time.Second, "", &engine.AncestorMoved{})
	s.above = []engine.Above{{Scope: "shop", Mode: "open"}}
	s.decide(50*time.Second, "", &engine.AncestorMoved{})
	s.see(60*time.Second, "fffff")
	text := ""
	for _, a := range s.look(0, 0).Automations {
		if a.Started > 0 {
			text += fmt.Sprintf("%s: %d by itself, %d by hand; ", a.Transition, a.ByItself, a.ByHand)
		}
	}
	if want := "recover: 0 by itself, 1 by hand; (directive only): 0 by itself, 1 by hand; (from a scope above): 2 by itself, 0 by hand; "; text != want {
		t.Errorf("%s, want %s", text, want)
	}
}
