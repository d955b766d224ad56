package explain_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

func explained(t *testing.T, s *story, id engine.ChangeID) explain.Explanation {
	t.Helper()
	x, err := explain.Change(s.events, id, kept(shop))
	if err != nil {
		t.Fatal(err)
	}
	if x.Replay.Difference != nil || x.Replay.NotKept > 0 {
		t.Errorf("%s: %s", id, x.Replay)
	}
	return x
}

// last finds the name of the last change or proposal of a transition.
func (s *story) last(kind, transition string) engine.ChangeID {
	s.t.Helper()
	for i := len(s.events) - 1; i >= 0; i-- {
		switch f := s.events[i].Fact.(type) {
		case engine.ChangeStarted:
			if kind == "change" && f.Transition == transition {
				return f.Change
			}
		case engine.ChangeProposed:
			if kind == "proposal" && f.Proposal.Transition == transition {
				return f.Proposal.ID
			}
		}
	}
	s.t.Fatalf("there is no %s of %s", kind, transition)
	return ""
}

func TestAChangePeopleApprovedIsExplainedFromItsProposalOn(t *testing.T) {
	s := failedOver(t)
	x := explained(t, s, s.last("change", "fail-over"))
	if y := explained(t, s, s.last("proposal", "fail-over")); fmt.Sprintf("%+v", x) != fmt.Sprintf("%+v", y) {
		t.Errorf("by its proposal it is another:\n%+v\n%+v", x, y)
	}
	if x.Outcome != explain.Done || x.From != "degraded" || x.To != "failover" || x.Waited.Duration() != 35*time.Second || x.Took.Duration() != 25*time.Second {
		t.Errorf("it came to %s, %s → %s, waited %v, took %v", x.Outcome, x.From, x.To, x.Waited.Duration(), x.Took.Duration())
	}
	r := x.Rule
	if r.Position != "checkout.yaml:50:5" || r.Condition != `burn_rate("availability", "5m") > 14.4` || r.Digest != shop.Digest || !r.Kept || r.Verify != `sli("p99") < 0.5` || len(r.Steps) != 2 || fmt.Sprint(r.Gate) != "[oncall:1 lead:1]" {
		t.Errorf("its rule: %+v", r)
	}
	if len(x.Seen) == 0 || x.Seen[0].Event != "ChangeProposed" || len(x.Seen[0].Readings) != 1 || x.Seen[0].Readings[0].Signal != "fail-over.when" || x.Seen[0].Readings[0].Query != "q" {
		t.Errorf("what was seen: %+v", x.Seen)
	}
	people := ""
	for _, v := range x.People {
		people += fmt.Sprintf("%s %s %s: %s\n", v.Person, v.Said, v.Role, v.Reason)
	}
	if want := "bob said something that does not count nobody: the gate asks oncall or lead\nbob yes oncall: the gateway is dead\ncarol yes lead: the gateway is dead\n"; people != want {
		t.Errorf("people:\n%swant:\n%s", people, want)
	}
	steps := ""
	for _, st := range x.Steps {
		steps += fmt.Sprintf("%s %s undo=%v %v:", st.Kind, st.Step, st.Undo, st.Took.Duration())
		for _, a := range st.Attempts {
			steps += fmt.Sprintf(" %d %s after %v (%s)", a.Number, a.Outcome, a.Took.Duration(), a.Answer)
		}
		steps += "\n"
	}
	if want := "webhook drain undo=false 5s: 1 failed after 2s (503 Service Unavailable) 2 done after 3s (204 No Content)\n" +
		"webhook repoint undo=false 5s: 1 done after 5s (200 OK)\n"; steps != want {
		t.Errorf("steps:\n%swant:\n%s", steps, want)
	}
	others := ""
	for _, o := range x.Others {
		others += fmt.Sprintf("%s to %s %s\n", o.Transition, o.To, o.Why)
	}
	if want := "shed to degraded does not leave degraded\nstop to read-only " + `sli("p99") > 2.0 was false` + "\n" +
		"recover to normal " + `sli("p99") < 0.1 was false` + "\n"; others != want {
		t.Errorf("others:\n%swant:\n%s", others, want)
	}
	for i, m := range x.Timeline {
		if m.What == "" || m.What == m.Event || i > 0 && (m.Version <= x.Timeline[i-1].Version || m.After < x.Timeline[i-1].After) {
			t.Errorf("moment %d of the timeline: %+v", i, m)
		}
	}
	if first, final := x.Timeline[0], x.Timeline[len(x.Timeline)-1]; first.Event != "ChangeProposed" || final.Event == "StepDone" {
		t.Errorf("it is told from %s to %s", first.Event, final.Event)
	}
	if got := x.Replay.String(); got != "replayed: 8 decisions, all the same" {
		t.Errorf("%s", got)
	}
}

func TestWhyThisAndNotThat(t *testing.T) {
	for _, c := range []struct {
		name    string
		see     []string // each 15 s
		change  string
		of      string
		because string
	}{
		{"a condition that was false", []string{"tf---"}, "shed", "stop", `sli("p99") > 2.0 was false`},
		{"one that was unknown", []string{"tb---"}, "shed", "stop", `sli("p99") > 2.0 was unknown`},
		{"one that nobody asked for", []string{"t----"}, "shed", "stop", `sli("p99") > 2.0 was not asked then`},
		{"one that was not true for long enough", []string{"ft---", "ft---", "tt---"}, "shed", "stop", `sli("p99") > 2.0 was true for 30s of 1m0s`},
		{"a less restrictive target", []string{"ft---", "ft---", "ft---", "ft---", "tt---"}, "stop", "shed", "was ready too: the most restrictive target wins, then the first in the file; it leads to degraded"},
		{"another mode", []string{"t----"}, "shed", "recover", "does not leave normal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &story{t: t, policy: shop}
			s.decide(0, "", &engine.TimePassed{})
			for i, letters := range c.see {
				s.see(time.Duration(i+1)*15*time.Second, letters)
			}
			x := explained(t, s, s.last("change", c.change))
			for _, o := range x.Others {
				if o.Transition == c.of && o.Why != c.because {
					t.Errorf("%s: %s; want %s", o.Transition, o.Why, c.because)
				}
			}
			if len(x.Others) != len(shop.Transitions)-1 {
				t.Errorf("others: %+v", x.Others)
			}
		})
	}
}

func TestWhatWithheldAnotherTransitionIsToldWithoutItsRulesToo(t *testing.T) {
	s := &story{t: t, policy: shop}
	s.policy.Transitions = append([]engine.Transition{}, shop.Transitions...)
	s.policy.Transitions[1].Gate, s.policy.Transitions[1].For = &engine.Gate{Groups: []engine.Group{{Role: "lead", Count: 1}}, Within: time.Hour}, 0
	s.decide(0, "", &engine.TimePassed{})
	s.decide(time.Second, "alice", &engine.FreezeRequested{Reason: "game day"})
	s.see(15*time.Second, "ft---") // stop is withheld
	s.decide(20*time.Second, "alice", &engine.SetRequested{Mode: "degraded", Reason: "I know better"})
	id := s.last("change", "shed")
	for name, policies := range map[string]explain.Policies{"with rules": kept(s.policy), "without": kept()} {
		x, err := explain.Change(s.events, id, policies)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, o := range x.Others {
			found = found || o.Transition == "stop" && o.Why == "was withheld: automation is frozen: game day"
		}
		if !found || x.Rule.Kept != (name == "with rules") || x.Rule.Position != "checkout.yaml:30:5" {
			t.Errorf("%s: others %+v, rule %+v", name, x.Others, x.Rule)
		}
		if len(x.People) != 1 || x.People[0].Person != "alice" || x.People[0].Said != "asked for it" || x.People[0].Reason != "I know better" {
			t.Errorf("%s: people %+v", name, x.People)
		}
	}
}

func TestWhatBecomesOfAChangeIsTold(t *testing.T) {
	undo := func(s *story, outcome engine.Outcome, detail string) {
		for s.state.Change.Running != nil { // each attempt
			s.decide(200*time.Second, "", &engine.StepReported{Step: s.state.Change.Running.Step.Name, Undo: true, Outcome: outcome, Detail: detail})
		}
	}
	for _, c := range []struct {
		name    string
		live    func(s *story) engine.ChangeID
		outcome explain.Outcome
		people  string // the last of them
		told    string // in the timeline
	}{
		{"a proposal that waits", func(s *story) engine.ChangeID { return s.last("proposal", "fail-over") }, explain.Waiting, "", "oncall:1, lead:1 have to say yes until 09:15:45Z"},
		{"one that was denied", func(s *story) engine.ChangeID {
			s.review(60*time.Second, "carol", "lead", false)
			return s.last("proposal", "fail-over")
		}, explain.Denied, "carol no", "carol said no"},
		{"one that expired", func(s *story) engine.ChangeID {
			s.decide(45*time.Second+15*time.Minute, "", &engine.TimePassed{})
			return s.last("proposal", "fail-over")
		}, explain.Expired, "", "the proposal expired"},
		{"one that was withdrawn by hand", func(s *story) engine.ChangeID {
			id := s.last("proposal", "fail-over")
			s.decide(60*time.Second, "alice", &engine.CancelRequested{Change: id, Reason: "not now"})
			return id
		}, explain.Withdrawn, "", "the proposal was withdrawn"},
		{"a change at its first step", func(s *story) engine.ChangeID {
			s.review(60*time.Second, "bob", "oncall", true)
			s.review(70*time.Second, "carol", "lead", true)
			return s.last("change", "fail-over")
		}, explain.UnderWay, "carol yes", "drain began, attempt 1"},
		{"break-glass", func(s *story) engine.ChangeID {
			s.decide(60*time.Second, "dave", &engine.SetRequested{Mode: "failover", Via: "fail-over", Reason: "it burns", Force: true, Roles: []string{engine.RoleBreakGlass}})
			return s.last("change", "fail-over")
		}, explain.UnderWay, "dave went around the gate", "dave went around the gate"},
		{"one that is cancelled", func(s *story) engine.ChangeID {
			s.review(60*time.Second, "bob", "oncall", true)
			s.review(70*time.Second, "carol", "lead", true)
			s.step(80*time.Second, "drain", engine.OutcomeDone, "")
			id := s.last("change", "fail-over")
			s.decide(90*time.Second, "alice", &engine.CancelRequested{Change: id, Reason: "wrong region"})
			s.decide(95*time.Second, "alice", &engine.CancelRequested{Change: id, Reason: "still"})
			return id
		}, explain.Undoing, "alice asked for something that was refused", "it is taken back"},
		{"one that is undone after it was done", func(s *story) engine.ChangeID {
			s.decide(60*time.Second, "alice", &engine.CancelRequested{Change: s.last("proposal", "fail-over"), Reason: "not now"})
			id := s.last("change", "shed")
			s.decide(70*time.Second, "alice", &engine.UndoRequested{Change: id, Reason: "a false alarm"})
			return id
		}, explain.Undone, "alice asked to take it back", "it is undone"},
		{"one that is stuck", func(s *story) engine.ChangeID {
			s.review(60*time.Second, "bob", "oncall", true)
			s.review(70*time.Second, "carol", "lead", true)
			s.step(80*time.Second, "drain", engine.OutcomeDone, "")
			s.step(90*time.Second, "repoint", engine.OutcomeFailed, "no route")
			undo(s, engine.OutcomeFailed, "no route either")
			return s.last("change", "fail-over")
		}, explain.Stuck, "carol yes", "the undo of drain is stuck: a person has to look"},
		{"one that was settled", func(s *story) engine.ChangeID {
			s.review(60*time.Second, "bob", "oncall", true)
			s.review(70*time.Second, "carol", "lead", true)
			s.step(80*time.Second, "drain", engine.OutcomeDone, "")
			s.step(90*time.Second, "repoint", engine.OutcomeFailed, "no route")
			undo(s, engine.OutcomeFailed, "no route either")
			id := s.last("change", "fail-over")
			s.decide(300*time.Second, "alice", &engine.SettleRequested{Change: id, As: engine.SettledUndone, Reason: "I looked"})
			return id
		}, explain.Undone, "alice settled it as undone", "alice settled it as undone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &story{t: t, policy: shop}
			s.decide(0, "", &engine.TimePassed{})
			s.see(30*time.Second, "tf---")
			s.see(45*time.Second, "tft--")
			x := explained(t, s, c.live(s))
			if x.Outcome != c.outcome {
				t.Errorf("it came to %s, want %s", x.Outcome, c.outcome)
			}
			last := ""
			if n := len(x.People); n > 0 {
				last = x.People[n-1].Person + " " + x.People[n-1].Said
			}
			if last != c.people {
				t.Errorf("the last word is %q, want %q", last, c.people)
			}
			told := ""
			for _, m := range x.Timeline {
				told += m.What + "\n"
			}
			if !strings.Contains(told, c.told) {
				t.Errorf("%q is not in\n%s", c.told, told)
			}
		})
	}
}

func TestWhatWasNotIsNotExplained(t *testing.T) {
	s := failedOver(t)
	for _, id := range []engine.ChangeID{"", "checkout-1", "checkout-999", "other-3"} {
		if _, err := explain.Change(s.events, id, kept(shop)); !errors.Is(err, explain.ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestTheScopeIsInTheNameOfAChange(t *testing.T) {
	for id, want := range map[engine.ChangeID]engine.Scope{
		"checkout-12": "checkout", "check-out-7": "check-out", "checkout": "", "-3": "", "checkout-": "", "checkout-x": "", "": "",
	} {
		if got, ok := explain.ScopeOf(id); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", id, got, ok)
		}
	}
}

func TestAChangeWhoseScopesBeginningIsNotThereIsTold(t *testing.T) {
	s := failedOver(t)
	whole := explained(t, s, s.last("change", "fail-over"))
	proposed := slices.IndexFunc(s.events, func(e engine.Event) bool { return e.Kind() == "ChangeProposed" })
	for name, from := range map[string]int{"from its proposal on": proposed, "from a little before": proposed - 2} {
		x, err := explain.Change(s.events[from:], whole.Change, kept(shop))
		if err != nil {
			t.Fatal(err)
		}
		if x.Outcome != whole.Outcome || x.Waited != whole.Waited || x.Took != whole.Took || fmt.Sprint(x.People, x.Steps) != fmt.Sprint(whole.People, whole.Steps) {
			t.Errorf("%s: %+v\nwhole: %+v", name, x, whole)
		}
		if want := fmt.Sprintf("not replayed: what checkout was before %d was not read", s.events[from].Version); x.Replay.String() != want {
			t.Errorf("%s: %s, want %s", name, x.Replay, want)
		}
		if x.Rule.Condition != whole.Rule.Condition || len(x.Others) != 0 {
			t.Errorf("%s: rule %+v, others %+v", name, x.Rule, x.Others)
		}
	}
	// What began before the cut does not hinder what comes after.
	if x, err := explain.Change(s.events[proposed+1:], whole.Change, kept(shop)); err != nil || x.Outcome != explain.Done || len(x.Steps) != 2 {
		t.Errorf("from after its proposal on: %v, %+v", err, x)
	}
}
