package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
	"github.com/modeshift/modeshift/rules/prom"
)

// The core and the loop of production, on an evaluation that panics from some tick on.
func TestAnEvaluationThatPanicsIsATickWithoutSight(t *testing.T) {
	set := ruleSet(t, shedding("checkout", ""), shedding("search", ""))
	sources := []prom.Source{{Name: "main"}}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	start := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	var none []string
	r := loop.Rules{Digest: set.Digest, Whole: true}
	for _, s := range set.Services {
		r.Policies = append(r.Policies, s.Policy)
	}
	r.Evaluate = func(_ context.Context, tick loop.Tick) loop.Answer {
		return sighted(log, set, sources, tick, func() loop.Answer {
			if tick.Instant.Sub(start) >= time.Minute {
				_ = none[tick.Instant.Second()] // out of range
			}
			a := loop.Answer{Observations: map[engine.Scope][]engine.Observation{}, Sources: []engine.Sight{{Source: "main", Asked: true}}}
			for _, q := range tick.Questions {
				a.Observations[q.Scope] = make([]engine.Observation, len(set.Service(q.Scope).Policy.Conditions))
				for _, k := range q.Conditions {
					a.Observations[q.Scope][k] = engine.Observation{Asked: true, Truth: engine.False}
				}
			}
			return a
		})
	}
	rehearsal, err := rehearse.New(t.Context(), rehearse.Options{Rules: r, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	if err := rehearsal.Until(t.Context(), start.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []engine.Scope{"checkout", "search"} {
		v, _ := rehearsal.View(scope)
		if v.State.Mode != "normal" || len(v.State.Proposals) > 0 {
			t.Errorf("%s moved: %+v", scope, v.State)
		}
		if _, open := v.State.Incident(engine.IncidentBlind, string(scope)); !open {
			t.Errorf("nobody is paged about %s: %+v", scope, v.State.Incidents)
		}
	}
	if text := said.String(); !strings.Contains(text, "evaluating went wrong: nothing is known at this tick") || !strings.Contains(text, "sightless_test.go") {
		t.Errorf("the log says %.500s", text)
	}
}
