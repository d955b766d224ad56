package rehearse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
)

var began = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// at is an instant of the rehearsal.
func at(d time.Duration) time.Time { return began.Add(d) }

// truths says how the conditions of a policy stand, by name, at an instant.
type truths func(at time.Duration) map[string]engine.Truth

// rules evaluate the conditions of policies by what says says; what it does not name is false.
func rules(says truths, policies ...engine.Policy) loop.Rules {
	return loop.Rules{Digest: "rules", Policies: policies, Whole: true, Evaluate: func(_ context.Context, t loop.Tick) loop.Answer {
		a := loop.Answer{Observations: map[engine.Scope][]engine.Observation{}, Sources: []engine.Sight{{Source: "main", Asked: true}}}
		now := says(t.Instant.Sub(began))
		for _, q := range t.Questions {
			i := slices.IndexFunc(policies, func(p engine.Policy) bool { return p.Scope == q.Scope })
			seen := make([]engine.Observation, len(policies[i].Conditions))
			for _, c := range q.Conditions {
				truth, said := now[policies[i].Conditions[c].Name]
				if !said {
					truth = engine.False
				}
				seen[c] = engine.Observation{Asked: true, Truth: truth}
			}
			a.Observations[q.Scope] = seen
		}
		return a
	}}
}

// shop protects by itself, fails over after a yes, and finds what it restarts.
func shop() engine.Policy {
	return engine.Policy{
		Digest: "rules", Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes:      []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "failover", Beside: true}},
		Conditions: []engine.Condition{{Name: "shed.when", Text: "hot"}, {Name: "recover.when", Text: "cool"}, {Name: "fail-over.when", Text: "lost"}},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0, Severity: engine.SeverityPage,
				Playbook: engine.Playbook{Steps: []engine.Step{{Name: "scale", Kind: "webhook", Attempts: 3}}}},
			{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 1, For: time.Minute},
			{Name: "fail-over", From: []engine.Mode{"degraded"}, To: "failover", When: 2, Severity: engine.SeverityPage,
				Gate: &engine.Gate{Groups: []engine.Group{{Role: "lead", Count: 1}}, Within: 15 * time.Minute},
				Playbook: engine.Playbook{Steps: []engine.Step{{Name: "repoint", Kind: "webhook", Destructive: true, Undo: true,
					Targets: engine.Targets{Selector: "up", Max: 2}}}}},
		},
	}
}

// story is hot for ten minutes from the first on, and lost from the third to the tenth.
func story(at time.Duration) map[string]engine.Truth {
	return map[string]engine.Truth{
		"shed.when":      engine.TruthOf(at >= time.Minute && at < 11*time.Minute),
		"recover.when":   engine.TruthOf(at < time.Minute || at >= 11*time.Minute),
		"fail-over.when": engine.TruthOf(at >= 3*time.Minute && at < 10*time.Minute),
	}
}

func begin(t *testing.T, opts rehearse.Options) *rehearse.Rehearsal {
	t.Helper()
	opts.Interval, opts.BlindAfter, opts.Start = 15*time.Second, 5*time.Minute, began
	r, err := rehearse.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func until(t *testing.T, r *rehearse.Rehearsal, d time.Duration) {
	t.Helper()
	if err := r.Until(t.Context(), at(d)); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, r *rehearse.Rehearsal) engine.Mode {
	t.Helper()
	v, ok := r.View("checkout")
	if !ok {
		t.Fatal("checkout is not there")
	}
	return v.State.Mode
}

// told lists the notices as severity, action and when, from the beginning.
func told(r *rehearse.Rehearsal) (list []string) {
	for _, n := range r.Notices() {
		list = append(list, fmt.Sprintf("%v %s %s", n.At.Sub(began), n.Severity, n.Action))
	}
	return list
}

// kinds lists the kinds of a scope's events, with their times.
func kinds(r *rehearse.Rehearsal) (list []string) {
	for _, e := range r.Events() {
		if e.Stream == "checkout" {
			list = append(list, fmt.Sprintf("%v %s", e.At.Sub(began), e.Kind()))
		}
	}
	return list
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestAutomationMovesAtItsTickAndPeopleWouldHaveBeenTold(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: rules(story, shop())})
	until(t, r, time.Minute-time.Nanosecond)
	if m := mode(t, r); m != "normal" {
		t.Errorf("%s before the first minute is over", m)
	}
	until(t, r, time.Minute)
	if m := mode(t, r); m != "degraded" {
		t.Errorf("%s at the first minute, at which it is hot", m)
	}
	until(t, r, 20*time.Minute)
	if m := mode(t, r); m != "normal" {
		t.Errorf("%s long after it was cool again", m)
	}
	equal(t, "notices", told(r), "1m0s page trigger", "3m0s ask trigger", "10m30s ask resolve", "12m0s page resolve")
}

func TestAStepComesToWhatTheCallerSaysAndWhenHeSays(t *testing.T) {
	var asked []int
	r := begin(t, rehearse.Options{Rules: rules(story, shop()), Outcome: func(job engine.StepJob) rehearse.Outcome {
		asked = append(asked, job.Attempt)
		if job.Attempt < 3 {
			return rehearse.Outcome{Outcome: engine.OutcomeFailed, Detail: "busy", After: 20 * time.Second}
		}
		return rehearse.Outcome{After: time.Second}
	}})
	until(t, r, 2*time.Minute)
	if !slices.Equal(asked, []int{1, 2, 3}) {
		t.Errorf("attempts %v, want three", asked)
	}
	equal(t, "events", kinds(r)[2:], "1m0s ChangeStarted", "1m0s DirectivePublished", "1m0s StepStarted", "1m0s IncidentOpened",
		"1m20s StepFailed", "1m20s StepStarted", "1m40s StepFailed", "1m40s StepStarted", "1m41s StepDone", "1m41s ChangeDone")
}

func TestAnOutcomeThatIsDueComesBeforeWhatIsAskedForAtTheSameInstant(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: rules(story, shop()), Outcome: func(engine.StepJob) rehearse.Outcome {
		return rehearse.Outcome{After: 15 * time.Second}
	}})
	until(t, r, time.Minute+15*time.Second)
	if _, err := r.Do(t.Context(), "checkout", engine.Actor{Principal: "ann", Person: "ann"}, &engine.FreezeRequested{Reason: "look"}); err != nil {
		t.Fatal(err)
	}
	equal(t, "events", kinds(r)[6:], "1m15s StepDone", "1m15s ChangeDone", "1m15s AutomationFrozen")
}

func TestAStepOfWhichNobodyHearsIsWaitedFor(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: rules(story, shop()), Outcome: func(engine.StepJob) rehearse.Outcome { return rehearse.Outcome{Never: true} }})
	until(t, r, 9*time.Minute)
	if v, _ := r.View("checkout"); v.State.Change == nil || v.State.Change.Running == nil || v.State.Mode != "normal" {
		t.Errorf("mode %s and change %+v, want one under way whose step runs", v.State.Mode, v.State.Change)
	}
}

func TestPeopleAnswerBetweenTicksAndAStepFindsItsTargets(t *testing.T) {
	found := []string{"b", "a", "b"}
	var acted []string
	r := begin(t, rehearse.Options{Rules: rules(story, shop()),
		Find: func(engine.StepJob) ([]string, error) { return found, nil },
		Outcome: func(job engine.StepJob) rehearse.Outcome {
			acted = append(acted, job.Targets...)
			return rehearse.Outcome{}
		}})
	ann := engine.Actor{Principal: "ann", Person: "ann"}
	until(t, r, 3*time.Minute+time.Second)
	v, _ := r.View("checkout")
	if len(v.State.Proposals) != 1 {
		t.Fatalf("proposals %+v, want one", v.State.Proposals)
	}
	yes := &engine.ReviewGiven{Proposal: v.State.Proposals[0].ID, Digest: v.State.Proposals[0].Digest, Yes: true, Roles: []string{"lead"}, Reason: "go"}
	_, err := r.Do(t.Context(), "checkout", ann, &engine.SetRequested{Mode: "frobnicated", Reason: "why not"})
	var refused *loop.Error
	if !errors.As(err, &refused) || refused.Reason.Code != engine.CodeNoMode {
		t.Errorf("a mode that nobody declared: %v, want it refused", err)
	}
	if _, err := r.Do(t.Context(), "checkout", ann, yes); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, r); m != "failover" || !r.Now().Equal(at(3*time.Minute+time.Second)) {
		t.Errorf("%s at %v, want failover at once", m, r.Now())
	}
	if !slices.Equal(acted, []string{"a", "b"}) {
		t.Errorf("acted on %v, want each target once, in order", acted)
	}
}

func TestTargetsNobodyCanFindFailTheStep(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: rules(story, shop())})
	until(t, r, 4*time.Minute)
	v, _ := r.View("checkout")
	if _, err := r.Do(t.Context(), "checkout", engine.Actor{Principal: "ann", Person: "ann"},
		&engine.ReviewGiven{Digest: v.State.Proposals[0].Digest, Yes: true, Roles: []string{"lead"}, Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(r.Events(), func(e engine.Event) bool { return e.Kind() == "StepFailed" }); i < 0 || mode(t, r) != "degraded" {
		t.Errorf("mode %s after a step whose targets cannot be found", mode(t, r))
	}
}

func TestInstancesFollowAtOnceWaveByWave(t *testing.T) {
	p := shop()
	p.Transitions[0].Playbook = engine.Playbook{}
	p.Transitions[0].Rollout = &engine.Rollout{Waves: []engine.Percent{50, 100}, Pause: time.Minute}
	var members []string
	answer := rules(story, p)
	evaluate := answer.Evaluate
	answer.Evaluate = func(ctx context.Context, tick loop.Tick) loop.Answer {
		for _, q := range tick.Questions {
			members = append(members, fmt.Sprintf("%v %v of %d", tick.Instant.Sub(began), q.Instances, q.Known))
		}
		return evaluate(ctx, tick)
	}
	r := begin(t, rehearse.Options{Rules: answer, Instances: map[engine.Scope][]string{"checkout": {"c", "a", "b"}}})
	until(t, r, time.Minute+15*time.Second)
	equal(t, "those the wave has told", members[4:], "1m0s [] of 3", "1m15s [a c] of 3")
	if v, _ := r.View("checkout"); v.State.Target != "degraded" || v.State.Mode != "normal" || v.State.Change.Applied == nil {
		t.Errorf("%+v, want a wave that was applied", v.State)
	}
	until(t, r, 3*time.Minute)
	if m := mode(t, r); m != "degraded" {
		t.Errorf("%s after the last wave", m)
	}
}

func TestAScopeFollowsTheOneAboveItAtOnce(t *testing.T) {
	above := engine.Policy{Digest: "rules", Scope: "shop", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes: []engine.ModeRule{{Name: "normal"}, {Name: "contained", Imposes: "degraded"}}}
	below := shop()
	below.Parent = "shop"
	r := begin(t, rehearse.Options{Rules: rules(func(time.Duration) map[string]engine.Truth { return nil }, above, below)})
	until(t, r, time.Minute)
	if _, err := r.Do(t.Context(), "shop", engine.Actor{Principal: "ann", Person: "ann"},
		&engine.SetRequested{Mode: "contained", Reason: "fire", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, r); m != "degraded" {
		t.Errorf("%s, want what the scope above imposes", m)
	}
}

func TestWhatFollowsForEverAtOneInstantIsAnError(t *testing.T) {
	p := shop()
	p.Transitions[0].Playbook.Steps[0].Attempts = 1 << 30
	r := begin(t, rehearse.Options{Rules: rules(story, p), Outcome: func(engine.StepJob) rehearse.Outcome {
		return rehearse.Outcome{Outcome: engine.OutcomeFailed}
	}})
	if err := r.Until(t.Context(), at(time.Minute)); err == nil || !strings.Contains(err.Error(), "take no time") {
		t.Errorf("error %v, want that outcomes take no time", err)
	}
}

func TestRulesThatDoNotFitAreAnErrorAndNotAHeldMode(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: loop.Rules{Digest: "rules", Policies: []engine.Policy{shop()}, Whole: true, Evaluate: func(_ context.Context, t loop.Tick) loop.Answer {
		return loop.Answer{Observations: map[engine.Scope][]engine.Observation{"checkout": make([]engine.Observation, 1)}}
	}}})
	if err := r.Until(t.Context(), at(time.Minute)); err == nil || !strings.Contains(err.Error(), "1 observations for the 3 conditions") {
		t.Errorf("error %v, want what went wrong", err)
	}
}

func TestARehearsalEndsWithItsContext(t *testing.T) {
	r := begin(t, rehearse.Options{Rules: rules(story, shop())})
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if err := r.Until(ctx, at(time.Hour)); !errors.Is(err, enough) || !r.Now().Equal(began) {
		t.Errorf("error %v at %v, want the cause at once", err, r.Now())
	}
}

func TestTwoRehearsalsOfTheSameGiveTheSameEvents(t *testing.T) {
	run := func() string {
		r := begin(t, rehearse.Options{Rules: rules(story, shop())})
		until(t, r, 20*time.Minute)
		text, err := json.Marshal(r.Events())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := run(), run(); a != b {
		t.Errorf("they differ:\n%s\n%s", a, b)
	}
}
