package approval_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/approval/approvaltest"
)

func desk(w *approvaltest.World) *approval.Desk {
	return approval.New(approval.Options{
		Loop: w, Log: w, Describe: approvaltest.Describe, Now: w.Now,
		Budget: func(context.Context, engine.Scope) []approval.Budget {
			return []approval.Budget{{SLO: "availability", Remaining: 0.5, Burn: 20, Lasts: 18 * time.Hour}}
		},
	})
}

var (
	bob   = engine.Actor{Principal: "bob-laptop", Person: "bob"}
	carol = engine.Actor{Principal: "carol"}
)

func get(t *testing.T, d *approval.Desk, id engine.ChangeID) approval.Approval {
	t.Helper()
	a, err := d.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func yes(t *testing.T, d *approval.Desk, p engine.Proposal, by engine.Actor, role string) error {
	t.Helper()
	_, err := d.Review(t.Context(), p.ID, by, []string{role}, approval.Review{Yes: true, Digest: p.Digest, Reason: "as the runbook says"})
	return err
}

func TestAProposalShowsAllThatHasToBeKnown(t *testing.T) {
	w := approvaltest.New(t)
	d := desk(w)
	p := w.Propose(t)
	w.Observe(t, engine.True)
	w.Advance(time.Minute)
	if err := yes(t, d, p, bob, "oncall"); err != nil {
		t.Fatal(err)
	}
	a := get(t, d, p.ID)
	if a.Scope != "checkout" || a.From != "degraded" || a.To != "failover" || a.Position != "checkout.yaml:41:5" || !strings.Contains(a.Condition, "burn_rate") {
		t.Errorf("the transition: %+v", a)
	}
	if len(a.Steps) != 2 || a.Steps[0].Does != "POST https://dns.internal/repoint to=eu-2 key=CHANGE/repoint" || a.Steps[0].Undo != "POST https://dns.internal/repoint to=eu-1" {
		t.Errorf("steps: %+v", a.Steps)
	}
	if !a.Destructive() || !a.Irreversible() || a.Steps[0].Irreversible || !a.Steps[1].Irreversible || a.Steps[1].Undo != "" {
		t.Errorf("what can be taken back: %+v", a.Steps)
	}
	if len(a.Evidence) != 1 || a.Evidence[0].Value != 21.5 || len(a.Readings) != 1 || !a.Readings[0].Sample.After(a.Evidence[0].Sample) || a.Truth != engine.True {
		t.Errorf("evidence then %+v, now %+v", a.Evidence, a.Readings)
	}
	if len(a.Votes) != 1 || a.Votes[0].Person != "bob" || a.Votes[0].Reason != "as the runbook says" || !a.Votes[0].At.Equal(w.Now()) {
		t.Errorf("votes: %+v", a.Votes)
	}
	if !slices.Equal(a.Missing, []engine.Group{{Role: "lead", Count: 1}}) || a.Left != 15*time.Minute-approvaltest.Interval-time.Minute || a.Digest != p.Digest {
		t.Errorf("missing %v, left %v", a.Missing, a.Left)
	}
	if len(a.Budgets) != 1 || a.Budgets[0].Lasts != 18*time.Hour || a.Ended != nil || a.Blind || a.Flags["region"] != "eu-2" {
		t.Errorf("%+v", a)
	}
	// What the desk counts as missing is what the core does.
	events, err := w.Read(t.Context(), "checkout", w.Version()-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := events[0].Fact.(engine.ApprovalGranted).Missing; !slices.Equal(got, a.Missing) {
		t.Errorf("the core misses %v", got)
	}
}

func TestAProposalThatHasEndedSaysHow(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testing.T, *approvaltest.World, *approval.Desk, engine.Proposal)
		want approval.Ended // without the time
	}{
		"approved": {func(t *testing.T, _ *approvaltest.World, d *approval.Desk, p engine.Proposal) {
			if err := errors.Join(yes(t, d, p, bob, "oncall"), yes(t, d, p, carol, "lead")); err != nil {
				t.Fatal(err)
			}
		}, approval.Ended{How: approval.Started, By: "carol", Reason: "bob (oncall), carol (lead)", Change: "checkout-11", State: "under way"}},
		"denied": {func(t *testing.T, _ *approvaltest.World, d *approval.Desk, p engine.Proposal) {
			if _, err := d.Review(t.Context(), p.ID, bob, []string{"oncall"}, approval.Review{Digest: p.Digest, Reason: "not now"}); err != nil {
				t.Fatal(err)
			}
		}, approval.Ended{How: approval.Denied, By: "bob", Reason: "not now"}},
		"expired": {func(t *testing.T, w *approvaltest.World, _ *approval.Desk, _ engine.Proposal) {
			w.Advance(15 * time.Minute)
			w.Do(t, engine.Actor{}, &engine.TimePassed{})
		}, approval.Ended{How: approval.Expired, Reason: "missing oncall:1, lead:1 after 15m0s"}},
		"cancelled": {func(t *testing.T, w *approvaltest.World, _ *approval.Desk, p engine.Proposal) {
			w.Do(t, carol, &engine.CancelRequested{Change: p.ID, Reason: "drill over"})
		}, approval.Ended{How: approval.Withdrawn, By: "carol", Reason: "drill over"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := approvaltest.New(t)
			d := desk(w)
			p := w.Propose(t)
			c.end(t, w, d, p)
			a := get(t, d, p.ID)
			if a.Ended == nil {
				t.Fatalf("%+v: it waits", a)
			}
			c.want.At = w.Now()
			if *a.Ended != c.want || a.Left != 0 || len(a.Steps) != 2 {
				t.Errorf("%+v, want %+v", *a.Ended, c.want)
			}
			if list := d.List(func(engine.Scope) bool { return true }); len(list) != 0 {
				t.Errorf("it still waits: %+v", list)
			}
			before := w.Version()
			err := yes(t, d, p, engine.Actor{Principal: "eve"}, "lead")
			if e := (*approval.Error)(nil); !errors.As(err, &e) || e.Code() != "over" {
				t.Errorf("a yes afterwards: %v", err)
			}
			if got := w.Kinds(before); got != "ApprovalRefused" {
				t.Errorf("a yes afterwards led to %s", got)
			}
		})
	}
}

func TestARenewedProposalShowsTheNewPlanAndWhatDoesNotCountAnyMore(t *testing.T) {
	w := approvaltest.New(t)
	d := desk(w)
	p := w.Propose(t)
	if err := yes(t, d, p, bob, "oncall"); err != nil {
		t.Fatal(err)
	}
	w.Change(t, func(p *engine.Policy) {
		tr := &p.Transitions[0]
		tr.Digest = "t1-new"
		tr.Playbook.Steps = tr.Playbook.Steps[:1]
	})
	a := get(t, d, p.ID)
	if a.Digest == p.Digest || len(a.Steps) != 1 || a.Irreversible() || a.Voided != 1 || len(a.Votes) != 0 || len(a.Missing) != 2 {
		t.Errorf("%+v", a)
	}
	err := yes(t, d, p, carol, "lead")
	if e := (*approval.Error)(nil); !errors.As(err, &e) || e.Code() != "digest" {
		t.Errorf("a yes to what is not proposed any more: %v", err)
	}
}

func TestAConditionThatCannotBeSeenAsksForABlindYes(t *testing.T) {
	w := approvaltest.New(t)
	d := desk(w)
	p := w.Propose(t)
	if get(t, d, p.ID).Blind {
		t.Error("blind while it can be seen")
	}
	w.Observe(t, engine.Unknown)
	a := get(t, d, p.ID)
	if !a.Blind || a.Truth != engine.Unknown || a.Readings[0].Why != engine.WhyTimeout {
		t.Errorf("%+v", a)
	}
	if err := errors.Join(yes(t, d, p, bob, "oncall"), yes(t, d, p, carol, "lead")); err != nil {
		t.Fatal(err)
	}
	if a = get(t, d, p.ID); a.Ended != nil || a.Withheld == "" {
		t.Errorf("without a blind yes: %+v", a)
	}
	if _, err := d.Review(t.Context(), p.ID, carol, []string{"lead"}, approval.Review{Yes: true, Blind: true, Digest: p.Digest, Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	if a = get(t, d, p.ID); a.Ended == nil || a.Ended.How != approval.Started || !a.Votes[1].Blind {
		t.Errorf("with a blind yes: %+v", a)
	}
}

func TestWhatIsNoProposalIsNotFound(t *testing.T) {
	w := approvaltest.New(t)
	d := desk(w)
	p := w.Propose(t)
	for _, id := range []engine.ChangeID{"", "-", "checkout", "checkout-", "checkout-0", "checkout-1", "checkout-999", "checkout-01", "nobody-1", "fleet-1",
		"checkout--1", "-1", "checkout-18446744073709551616", engine.ChangeID(fmt.Sprintf("checkout-0%s", strings.TrimPrefix(string(p.ID), "checkout-")))} {
		if _, err := d.Get(t.Context(), id); !errors.Is(err, approval.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	before := w.Version()
	if err := yes(t, d, engine.Proposal{ID: "checkout-1", Digest: p.Digest}, bob, "oncall"); !errors.Is(err, approval.ErrNotFound) {
		t.Errorf("a yes to what is no proposal: %v", err)
	}
	if got := w.Kinds(before); got != "ApprovalRefused" {
		t.Errorf("it led to %s", got)
	}
}

func TestAStepNobodyCanDescribeIsSaidToBeOne(t *testing.T) {
	w := approvaltest.New(t)
	p := w.Propose(t)
	for want, describe := range map[string]func(engine.StepJob) (string, error){
		"no kinds of step": nil,
		"no such template": func(engine.StepJob) (string, error) { return "", errors.New("no such template") },
	} {
		d := approval.New(approval.Options{Loop: w, Log: w, Describe: describe, Now: w.Now})
		if a := get(t, d, p.ID); a.Steps[0].Does != "" || !strings.Contains(a.Steps[0].Problem, want) {
			t.Errorf("%+v, want %q", a.Steps[0], want)
		}
	}
}

func TestAnEscalatedGateSaysWhoDoesInstead(t *testing.T) {
	w := approvaltest.New(t)
	w.Change(t, func(p *engine.Policy) {
		g := *p.Transitions[0].Gate
		g.Otherwise, g.To = engine.OtherwiseEscalate, []engine.Group{{Role: "commander", Count: 1}}
		p.Transitions[0].Gate = &g
	})
	d := desk(w)
	p := w.Propose(t)
	if err := yes(t, d, p, bob, "oncall"); err != nil {
		t.Fatal(err)
	}
	w.Advance(15 * time.Minute)
	w.Do(t, engine.Actor{}, &engine.TimePassed{})
	a := get(t, d, p.ID)
	if !a.Escalated || !slices.Equal(a.Missing, []engine.Group{{Role: "lead", Count: 1}}) || !slices.Equal(a.Instead, []engine.Group{{Role: "commander", Count: 1}}) || a.Left != 15*time.Minute {
		t.Errorf("%+v", a)
	}
	if err := yes(t, d, p, carol, "commander"); err != nil {
		t.Fatal(err)
	}
	if a = get(t, d, p.ID); a.Ended == nil || a.Ended.How != approval.Started {
		t.Errorf("%+v", a)
	}
}
