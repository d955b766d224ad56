package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// targetFinder finds the targets of steps in the Prometheus that their selector names. It does not rest on the rules in force: a step finishes by the plan it was stored with.
type targetFinder struct {
	sources []prom.Source
	offset  time.Duration
}

var _ runner.Finder = targetFinder{}

// Find implements runner.Finder.
func (f targetFinder) Find(ctx context.Context, _ engine.Scope, selector string) ([]string, error) {
	var s rules.Selector
	if err := json.Unmarshal([]byte(selector), &s); err != nil || s.Query == "" || s.Label == "" {
		return nil, fmt.Errorf("the selector %q is not one that this server knows", selector)
	}
	source := 0
	if s.Source != "" {
		if source = slices.IndexFunc(f.sources, func(p prom.Source) bool { return p.Name == s.Source }); source < 0 {
			return nil, fmt.Errorf("no source is called %q any more: name it in modeshift.yaml again, under prometheus", s.Source)
		}
	}
	return prom.Targets(ctx, f.sources[source], s, time.Now().Add(-f.offset), prom.DefaultBudget)
}

// finder finds the targets of steps.
func (s *Server) finder() targetFinder { return targetFinder{s.sources, s.queryOffset()} }

// targets says what a step would act on if it began now.
func (s *Server) targets(ctx context.Context, scope engine.Scope, t engine.Targets) approval.Targets {
	shown := approval.Targets{Selector: t.Selector, Max: t.Max}
	var selector rules.Selector
	if json.Unmarshal([]byte(t.Selector), &selector) == nil {
		shown.Selector = selector.String()
	}
	names, err := s.finder().Find(ctx, scope, t.Selector)
	if err != nil {
		shown.Unknown = err.Error()
		return shown
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	shown.Found, shown.Names = len(names), names[:min(len(names), approval.MaxNamed)]
	return shown
}
