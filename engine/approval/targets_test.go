package approval_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/approval/approvaltest"
)

// finding is a desk that finds so many targets; -1: it cannot.
func finding(w *approvaltest.World, count int) *approval.Desk {
	return approval.New(approval.Options{Loop: w, Log: w, Now: w.Now, Targets: approvaltest.Targets(count),
		Describe: func(job engine.StepJob) (string, error) {
			return job.Step.Name + " on " + strings.Join(job.Targets, " "), nil
		}})
}

func TestAStepWithASelectorShowsWhatItWouldActOnNow(t *testing.T) {
	w := approvaltest.New(t)
	w.Select(t, 2)
	p := w.Propose(t)
	for count, want := range map[int]string{2: "repoint on app-01:9090 app-02:9090", 0: "repoint on TARGETS"} {
		a := get(t, finding(w, count), p.ID)
		st := a.Steps[0]
		if st.Targets == nil || st.Targets.Max != 2 || st.Targets.Found != count || st.Targets.TooMany() || st.Does != want || st.Held || a.Steps[1].Targets != nil {
			t.Errorf("%d: %+v %+v", count, st, st.Targets)
		}
	}
	st := get(t, finding(w, 30), p.ID).Steps[0]
	if !st.Targets.TooMany() || st.Targets.More() != 10 || !strings.HasSuffix(st.Does, "app-20:9090 AND 10 MORE") {
		t.Errorf("30: %+v %+v", st, st.Targets)
	}
	// Whoever cannot find any says so, and not that there are none.
	if st := get(t, desk(w), p.ID).Steps[0]; st.Targets == nil || st.Targets.Unknown == "" || st.Targets.TooMany() {
		t.Errorf("without a finder: %+v", st.Targets)
	}
	dark := approval.New(approval.Options{Loop: w, Log: w, Now: w.Now, Describe: approvaltest.Describe,
		Targets: func(ctx context.Context, _ engine.Scope, t engine.Targets) approval.Targets {
			if _, bounded := ctx.Deadline(); !bounded {
				panic("a page would wait for ever")
			}
			return approval.Targets{Selector: t.Selector, Max: t.Max, Unknown: "connection refused"}
		}})
	if st := get(t, dark, p.ID).Steps[0]; st.Targets.Unknown != "connection refused" || !slices.Equal(st.Targets.Described(), []string{"TARGETS"}) {
		t.Errorf("dark: %+v", st.Targets)
	}
}

func TestAProposalWhoseStepIsHeldWaitsOnceMore(t *testing.T) {
	w := approvaltest.New(t)
	w.Select(t, 2)
	d := finding(w, 3)
	p := w.Propose(t)
	for actor, role := range map[engine.Actor]string{bob: "oncall", carol: "lead"} {
		if err := yes(t, d, p, actor, role); err != nil {
			t.Fatal(err)
		}
	}
	started := get(t, d, p.ID)
	if started.Ended == nil || started.Ended.How != approval.Started || started.Ended.State != "under way" || started.Steps[0].Targets != nil {
		t.Errorf("under way: %+v", started.Ended)
	}
	w.Hold(t, 3)
	a := get(t, d, p.ID)
	if a.Ended != nil || a.Change != started.Ended.Change || !a.Steps[0].Held || a.Steps[1].Held || a.Steps[0].Targets.Max != 3 || a.Voided != 2 || len(a.Votes) != 0 ||
		len(a.Missing) != 2 || a.Digest == p.Digest || a.Blind {
		t.Errorf("held: %+v", a)
	}
	if list := d.List(func(engine.Scope) bool { return true }); len(list) != 1 || list[0].Change != a.Change {
		t.Errorf("in the list: %+v", list)
	}
	w.Observe(t, engine.True)
	again := p
	again.Digest = a.Digest
	for _, who := range []struct {
		engine.Actor
		role string
	}{{bob, "oncall"}, {carol, "lead"}} {
		if err := yes(t, d, again, who.Actor, who.role); err != nil {
			t.Fatal(err)
		}
	}
	if end := get(t, d, p.ID); end.Ended == nil || end.Ended.How != approval.Started || end.Ended.Change != a.Change || end.Change != "" {
		t.Errorf("begun: %+v", end.Ended)
	}
	// Held once more, and refused: that is how it ended.
	w.Hold(t, 4)
	last := get(t, d, p.ID)
	if _, err := d.Review(t.Context(), p.ID, bob, []string{"oncall"}, approval.Review{Digest: last.Digest, Reason: "too many"}); err != nil {
		t.Fatal(err)
	}
	if end := get(t, d, p.ID); end.Ended == nil || end.Ended.How != approval.Denied || end.Ended.By != "bob" || end.Voided != 4 {
		t.Errorf("refused: %+v", end)
	}
}

// A transition that the rules do not declare any more has no condition: nothing can be seen of it.
func TestAHeldStepOfATransitionThatIsGoneIsBlind(t *testing.T) {
	w := approvaltest.New(t)
	w.Select(t, 2)
	d := finding(w, 3)
	p := w.Propose(t)
	for actor, role := range map[engine.Actor]string{bob: "oncall", carol: "lead"} {
		if err := yes(t, d, p, actor, role); err != nil {
			t.Fatal(err)
		}
	}
	w.Hold(t, 3)
	w.Change(t, func(p *engine.Policy) { p.Transitions = p.Transitions[1:] })
	if a := get(t, d, p.ID); !a.Blind || a.Ended != nil || !a.Steps[0].Held {
		t.Errorf("%+v", a)
	}
}
