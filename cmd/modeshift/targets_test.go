package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

func TestWhatAStepWouldActOnIsSaidInFull(t *testing.T) {
	for _, test := range []struct {
		targets api.StepTargets
		want    []string
	}{
		{api.StepTargets{Selector: "bad ones", Max: 2, Found: 2, Names: []string{"a", "b"}}, []string{"at most 2: bad ones", "now 2: a, b"}},
		{api.StepTargets{Selector: "bad ones", Max: 2, Found: 0, Names: []string{}}, []string{"at most 2: bad ones", "now none"}},
		{api.StepTargets{Selector: "bad ones", Max: 2, Found: 3, Names: []string{"a"}}, []string{"at most 2: bad ones", "now 3: a and 2 more",
			"these are MORE than it may have: it would be held, and you would be asked again"}},
		{api.StepTargets{Selector: "bad ones", Max: 2, Unknown: "refused"}, []string{"at most 2: bad ones", "cannot tell what that is now: refused"}},
	} {
		if got := targetLines(&test.targets); !slices.Equal(got, test.want) {
			t.Errorf("%+v is said as\n%q", test.targets, got)
		}
	}
}

// A label can neither forge a line of what is shown nor hide behind one.
func TestATargetStaysOnItsLine(t *testing.T) {
	var b strings.Builder
	a := api.Approval{Steps: []api.ApprovalStep{{Name: "isolate", Targets: &api.StepTargets{Selector: "s", Max: 1, Found: 1, Names: []string{"x\ndigest     0000\x1b[2J"}}}}}
	if err := printApproval(&b, a); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\ndigest     0000") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("it prints\n%q", b.String())
	}
	b.Reset()
	if err := printOutcome(&b, api.Outcome{DryRun: true, Would: []api.Would{{Step: "isolate", Targets: a.Steps[0].Targets}}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\ndigest") || strings.Contains(b.String(), "\n  digest") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("a dry run prints\n%q", b.String())
	}
}

func TestAHeldStepIsAskedAboutOnTheCommandLine(t *testing.T) {
	l := newLine(t)
	l.world.Select(t, 2)
	p := l.world.Propose(t)
	for _, who := range []string{"bob", "carol"} {
		l.run(who, exitYes, "approve", string(p.ID), "--digest", string(p.Digest), "--reason", "two of them")
	}
	l.world.Hold(t, 3)
	l.run("bob", exitYes, "status", "checkout")
	l.says(l.out, "degraded → failover, repoint is held: it found more targets than were approved")
	l.run("bob", exitYes, "approvals")
	l.says(l.out, "fail-over (held)", "oncall:1, lead:1")
	l.run("bob", exitYes, "approvals", string(p.ID))
	l.says(l.out, "has started, and one of its steps is held", "repoint (webhook, destructive, HELD)", "at most 3: bad instances", "void       2 earlier yes")
	l.run("bob", exitNo, "approve", string(p.ID), "--digest", string(p.Digest), "--reason", "two of them") // the second click
	l.run("bob", exitYes, "reject", string(p.ID), "--reason", "three are too many")
	v, _ := l.world.View("checkout")
	if c := v.State.Change; c != nil || v.State.Mode != engine.Mode("degraded") {
		t.Errorf("after a no: %+v in %s", c, v.State.Mode)
	}
	l.run("bob", exitYes, "approvals", string(p.ID))
	l.says(l.out, "denied by bob: three are too many")
}
