package api

import (
	"cmp"
	"reflect"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// How views become the shapes that are sent. Lists are never nil, so that they are never null in JSON.

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func summarize(v engine.View, fleet *engine.Freeze) Summary {
	s := v.State
	out := Summary{
		Scope: s.Scope, Mode: s.Mode, Target: s.Target, Since: s.Entered, Revision: uint64(s.Directive.Revision),
		Pinned: s.Pin != nil, Frozen: s.Freeze != nil || fleet != nil, Blind: len(s.Blind) > 0, Retired: s.Retired,
		Incidents: len(s.Incidents), Proposals: len(s.Proposals), Withheld: len(s.Withheld), Suppressed: len(s.Suppressed), RulesProblem: v.RulesProblem,
	}
	if s.Change != nil {
		out.Change = string(s.Change.ID)
	}
	for _, p := range s.Lasting() {
		out.Paused = append(out.Paused, p.SLO)
	}
	out.Automation = automation(v.Policy)
	if s.Own != "" && len(s.Imposed) > 0 {
		out.Imposed = s.Imposed[0].Parent
	}
	return out
}

// automation is how far it goes; without rules nobody does anything by itself.
func automation(p *engine.Policy) engine.Automation {
	if p == nil {
		return engine.AutomationOff
	}
	return cmp.Or(p.Automation, engine.AutomationOn)
}

func detail(v engine.View, fleet *engine.Freeze) Scope {
	s := v.State
	out := Scope{
		Scope: s.Scope, Version: s.Version, At: s.At, Retired: s.Retired, Mode: s.Mode, Target: s.Target, Since: s.Entered,
		Change: s.Change, Pin: s.Pin, Freeze: s.Freeze, FleetFreeze: fleet, Rules: s.Rules, RulesProblem: v.RulesProblem,
		Imposed: list(s.Imposed), Own: s.Own, Withheld: list(s.Withheld), Incidents: list(s.Incidents), Blind: list(s.Blind), Pauses: list(s.Lasting()), Suppressed: list(s.Suppressed),
		Proposals: []engine.ChangeID{}, Modes: []Mode{}, Conditions: []Condition{}, Transitions: []Transition{},
	}
	out.Suggested = s.SuggestionsTold
	for _, p := range s.Proposals {
		out.Proposals = append(out.Proposals, p.ID)
	}
	if s.Directive.Revision > 0 {
		out.Directive = &s.Directive
	}
	if v.Observed != nil {
		out.Observed = v.Observed.Instant
	}
	out.Automation = automation(v.Policy)
	if v.Policy == nil {
		return out
	}
	out.Owner, out.Runbook, out.Parent = v.Policy.Owner, v.Policy.Runbook, v.Policy.Parent
	if b := s.Brake(v.Policy, "", time.Now()); b.Of > 0 {
		out.Brake = &b
	}
	for _, m := range v.Policy.Modes {
		out.Modes = append(out.Modes, Mode{m.Name, m.Beside, m.Flags, Duration(m.MinDuration), Duration(m.MaxDuration), m.OnExpiry, Duration(m.StuckAfter), m.Unavailable, m.Imposes, m.Pause, m.Suppress})
	}
	for i, c := range v.Policy.Conditions {
		out.Conditions = append(out.Conditions, condition(c, observation(v.Observed, i)))
	}
	for i := range v.Policy.Transitions {
		out.Transitions = append(out.Transitions, transition(v, &v.Policy.Transitions[i], out.Observed))
	}
	return out
}

// observation is the last one of condition i. The rules may have changed since the last evaluation, so there may be none.
func observation(o *engine.Observed, i int) engine.Observation {
	if o == nil || i >= len(o.Conditions) {
		return engine.Observation{}
	}
	return o.Conditions[i]
}

func condition(c engine.Condition, o engine.Observation) Condition {
	return Condition{Name: c.Name, Text: c.Text, Asked: o.Asked, Truth: o.Truth, Blind: o.Blind, Readings: list(o.Readings)}
}

func transition(v engine.View, t *engine.Transition, at time.Time) Transition {
	out := Transition{Name: t.Name, From: list(t.From), To: t.To, For: Duration(t.For), Severity: t.Severity, Position: t.Position}
	if t.When < len(v.Policy.Conditions) {
		out.Condition = v.Policy.Conditions[t.When].Name
	}
	if t.Rollout != nil {
		out.Waves = t.Rollout.Waves
	}
	for _, c := range v.State.Clocks {
		if c.Condition == out.Condition && t.For > 0 {
			out.Held = Duration(min(c.Held(at), t.For).Truncate(time.Millisecond))
		}
	}
	return out
}

func wrap(events []engine.Event) []Event {
	out := make([]Event, len(events))
	for i, e := range events {
		out[i] = Event{e}
	}
	return out
}

// list returns l, or an empty list for nil.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
