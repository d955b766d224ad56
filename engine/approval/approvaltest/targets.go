package approvaltest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

// Select makes the service's first step find what it acts on: so many at most.
func (w *World) Select(t testing.TB, most int) {
	t.Helper()
	w.Change(t, func(p *engine.Policy) {
		tr := &p.Transitions[0]
		tr.Digest += engine.Digest(fmt.Sprintf("+%d", most))
		tr.Playbook.Steps = slices.Clone(tr.Playbook.Steps)
		tr.Playbook.Steps[0].Targets = engine.Targets{Selector: "bad instances", Max: most}
	})
}

// Hold lets the step that runs find so many targets.
func (w *World) Hold(t testing.TB, count int) {
	t.Helper()
	w.Do(t, engine.Actor{}, &engine.TargetsReported{Step: "repoint", Count: count, Names: names(count)})
}

// Targets is a finder at the desk that finds so many.
func Targets(count int) func(context.Context, engine.Scope, engine.Targets) approval.Targets {
	return func(_ context.Context, _ engine.Scope, t engine.Targets) approval.Targets {
		return approval.Targets{Selector: t.Selector, Max: t.Max, Found: count, Names: names(min(count, approval.MaxNamed))}
	}
}

func names(count int) []string {
	list := []string{}
	for i := range count {
		list = append(list, fmt.Sprintf("app-%02d:9090", i+1))
	}
	return list
}
