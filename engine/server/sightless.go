package server

import (
	"fmt"
	"log/slog"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// sighted evaluates a tick. A panic in that is a tick at which nothing is known: every mode holds, and people are paged when it lasts. It
// would end the server otherwise, and the next one at its first tick. What is wrong with one condition alone the evaluator knows itself.
//
// It does not go around rehearsals: there such a panic ends what is tried, and is told.
func sighted(log *slog.Logger, set *rules.Set, sources []prom.Source, t loop.Tick, evaluate func() loop.Answer) (a loop.Answer) {
	err := crash.Try(func() error {
		a = evaluate()
		return nil
	})
	if err == nil {
		return a
	}
	at := ""
	for _, c := range crash.Of(err) {
		at = c.At
		log.Error("evaluating went wrong: nothing is known at this tick", "instant", t.Instant, "error", err, "stack", string(c.Stack))
	}
	a = loop.Answer{Observations: map[engine.Scope][]engine.Observation{}}
	for i := range sources { // of which nothing is known either: those that are configured must not look as if they were not
		a.Sources = append(a.Sources, engine.Sight{Source: sources[i].Name})
	}
	for _, q := range t.Questions {
		service := set.Service(q.Scope)
		if service == nil {
			continue
		}
		seen := make([]engine.Observation, len(service.Policy.Conditions))
		for _, k := range q.Conditions {
			seen[k] = engine.Observation{Asked: true, Truth: engine.Unknown, Blind: true, Readings: []engine.Reading{{Signal: service.Policy.Conditions[k].Name,
				Why: engine.WhyFailed, Detail: fmt.Sprintf("modeshift failed while it evaluated, at %s: its log says more", at)}}}
		}
		a.Observations[q.Scope] = seen
	}
	return a
}
