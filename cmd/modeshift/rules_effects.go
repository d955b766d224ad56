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

// effects asks how a scope stands, and says what becomes of that.
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
	return effectsOn(&now, u.waiting, before, after), nil
}

// effectsOn says what becomes of what is under way in a scope when its rules are others, or none. It is what the core does then, in
// adopt and retire.
func effectsOn(now *api.Scope, waiting []api.ApprovalSummary, before, after *outline.Service) []string {
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	d := now.Directive
	switch {
	case after == nil && d != nil && d.Mode != "":
		say("it is retired in %s: %s the directive %d, whatever their lease is", d.Mode, keep(now.Instances.Known), d.Revision)
	case after == nil:
		say("it is retired")
	case d != nil && now.Change == nil && !outline.SameFlags(before.Entry(outline.KindMode, string(d.Mode)), after.Entry(outline.KindMode, string(d.Mode))):
		say("%s is in force: %s told its other flags at once", d.Mode, map[bool]string{true: "1 instance is", false: fmt.Sprintf("%d instances are", now.Instances.Known)}[now.Instances.Known == 1])
	}
	switch c := now.Change; {
	case c == nil:
	case after == nil:
		say("the change %s under way ends there, and its steps are not taken back: modeshift cancel %[1]s first", c.ID)
	default:
		say("the change %s under way goes on by the plan it was stored with", c.ID)
	}
	for i := range waiting {
		if p := &waiting[i]; p.Scope == before.Scope {
			if text := proposalAfter(p, before, after); text != "" {
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
		return out
	}
	for i := range after.Entries {
		is := &after.Entries[i]
		was := before.Entry(is.Kind, is.Name)
		if is.Kind == outline.KindSLO && was != nil && was.Digest != is.Digest {
			say("the error budget of %s is read anew, by what it measures then", is.Name)
		}
	}
	return out
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
	if p.Change != "" && after != nil {
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
