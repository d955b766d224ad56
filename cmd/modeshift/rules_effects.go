package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/outline"
)

// underWay is what is under way on a server, which other rules have an effect on.
type underWay struct {
	client  *api.Client
	asked   bool
	waiting []api.ApprovalSummary // for people, in all scopes
}

// effects says what becomes of what is under way in a scope when its rules change. What it says is what the core does with
// RulesChanged and ScopeRetired: see how proposals are renewed there, and what a retired scope keeps.
func (u *underWay) effects(scope engine.Scope, before, after *outline.Service) ([]string, error) {
	if before == nil {
		return []string{}, nil
	}
	now, err := patiently(func(ctx context.Context) (api.Scope, error) { return u.client.Scope(ctx, scope) })
	if err != nil {
		return nil, err
	}
	if !u.asked {
		if u.waiting, err = patiently(u.client.Approvals); err != nil {
			return nil, err
		}
		u.asked = true
	}
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if after == nil {
		if d := now.Directive; d != nil {
			say("it is retired in %s: %s the directive %d (%s)", d.Mode, keep(now.Instances.Known), d.Revision, d.Mode)
		} else {
			say("it is retired")
		}
		if now.Change != nil {
			say("the change %s under way ends there, and its steps are not taken back: modeshift cancel %[1]s first", now.Change.ID)
		}
	} else if now.Change != nil {
		say("the change %s under way goes on by the plan it was stored with", now.Change.ID)
	}
	for _, p := range u.waiting {
		if p.Scope == scope {
			if text := proposalAfter(&p, before, after); text != "" {
				say("%s", text)
			}
		}
	}
	for _, i := range now.Incidents {
		tier := strings.TrimPrefix(i.Subject, "slo/")
		if after == nil || i.Kind == engine.IncidentSLO && after.Entry(outline.KindAlert, tier) == nil {
			say("the open %s %s (%s) ends: nobody watches it any more", i.Severity, i.ID, i.Subject)
		}
	}
	if after == nil {
		return out, nil
	}
	for i := range after.Entries {
		is := &after.Entries[i]
		was := before.Entry(is.Kind, is.Name)
		if is.Kind == outline.KindSLO && was != nil && was.Digest != is.Digest {
			say("the error budget of %s is read anew, by what it measures then", is.Name)
		}
	}
	return out, nil
}

func keep(instances int) string {
	if instances == 1 {
		return "its 1 instance keeps"
	}
	return fmt.Sprintf("its %d instances keep", instances)
}

// proposalAfter says what becomes of a proposal that waits; empty when nothing does.
func proposalAfter(p *api.ApprovalSummary, before, after *outline.Service) string {
	const gate = "approval.within"
	head := fmt.Sprintf("the proposal %s (%s) ", p.ID, p.Transition)
	if p.Change != "" {
		return "" // its change has begun, and finishes by the plan it was stored with
	}
	is, was := after.Entry(outline.KindTransition, p.Transition), before.Entry(outline.KindTransition, p.Transition)
	switch {
	case is == nil || was == nil || (is.Field(gate) == nil) != (was.Field(gate) == nil):
		return head + "is withdrawn"
	case is.Digest == was.Digest && outline.Same(before.Entry(outline.KindMode, string(p.To)), after.Entry(outline.KindMode, string(p.To))):
		return ""
	}
	votes := 0
	for _, g := range p.Groups {
		votes += g.Count
	}
	for _, g := range p.Missing {
		votes -= g.Count
	}
	if votes == 0 {
		return head + "is asked again, as it reads then"
	}
	return head + fmt.Sprintf("is asked again, as it reads then: %s so far %s no more", count(votes, "yes"), map[bool]string{true: "counts", false: "count"}[votes == 1])
}
