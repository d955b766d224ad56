package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// How far back the log is read for drills: what is older than any drill_every says nothing, and a stream that is written to all day
// must not be read for as long as a request may take.
const (
	drillPage  = 1000
	drillPages = 50
	drillSpan  = 366 * 24 * time.Hour
)

// readiness finds out what of a scope's readiness its rule file does not say.
func (s *Server) readiness(ctx context.Context, v engine.View) (readiness.Facts, error) {
	now := time.Now().UTC()
	in := s.roster.Summary(v.State, now)
	f := readiness.Facts{
		Scope: v.State.Scope, At: now, Mode: v.State.Mode, Conditions: map[string]engine.Digest{},
		Receivers: s.opts.Config.Receivers.told(), Roles: []readiness.Holders{}, Gates: []readiness.Asked{},
		Instances: readiness.Following{Known: in.Known, Applied: in.Applied, Failed: in.Failed, Behind: in.Behind},
		Telemetry: readiness.Telemetry{Signals: []readiness.Sighting{}, Bears: s.bears(ctx, v.State.Scope)},
	}
	for _, c := range v.Policy.Conditions {
		f.Conditions[c.Name] = c.Digest
	}
	for _, other := range s.loop.Views() {
		if other.Policy != nil && !other.State.Retired && other.Policy.Parent == v.State.Scope {
			f.Below++
		}
	}
	holders := s.tokens.Holders(v.State.Scope)
	for _, role := range slices.Sorted(maps.Keys(holders)) {
		f.Roles = append(f.Roles, readiness.Holders{Role: role, People: len(holders[role])})
	}
	for i := range v.Policy.Transitions {
		t := &v.Policy.Transitions[i]
		if t.Gate == nil {
			continue
		}
		for _, groups := range [][]engine.Group{t.Gate.Groups, t.Gate.To} {
			if len(groups) > 0 {
				f.Gates = append(f.Gates, readiness.Asked{Transition: t.Name, Groups: groups, Short: readiness.Short(groups, holders)})
			}
		}
	}
	if evaluator := s.present.Load(); evaluator == nil {
		f.Telemetry.Why = "nothing has been evaluated yet: try again after the first tick"
	} else {
		f.Telemetry.Signals = append(f.Telemetry.Signals, evaluator.Sightings(ctx, v.State.Scope, now)...)
	}
	return f, s.drills(ctx, v, now, &f)
}

// drills reads the log backwards and says how the scope's modes were left last.
func (s *Server) drills(ctx context.Context, v engine.View, now time.Time, f *readiness.Facts) error {
	var events []engine.Event
	before := v.State.Version + 1
	for range drillPages {
		after := before - 1 - min(before-1, drillPage)
		page, err := s.store.Read(ctx, v.State.Scope, after, int(before-1-after))
		if err != nil {
			return fmt.Errorf("read the history of %s: %w", v.State.Scope, err)
		}
		// Where the log's beginning was archived, the first events read are newer than what was asked for.
		page = slices.DeleteFunc(page, func(e engine.Event) bool { return e.Version >= before })
		if len(page) == 0 {
			break
		}
		before, f.Since, f.Whole = page[0].Version, page[0].At, page[0].Version == 1
		page = slices.DeleteFunc(page, func(e engine.Event) bool { return !readiness.Tells(e) })
		events = slices.Concat(page, events)
		if f.Whole || f.Since.Before(now.Add(-drillSpan)) {
			break
		}
	}
	f.Modes = readiness.Records(v.Policy, events)
	return nil
}

// told are those receivers that are configured, in the order of their severities.
func (r Receivers) told() []readiness.Receiver {
	out := []readiness.Receiver{}
	by := r.bySeverity()
	for _, severity := range slices.Sorted(maps.Keys(by)) {
		if by[severity] != nil {
			out = append(out, readiness.Receiver{Severity: severity, Kind: by[severity].kind()})
		}
	}
	return out
}

// kind is what sort of target a receiver is.
func (r *Receiver) kind() string {
	switch {
	case r.PagerDuty != nil:
		return "pagerduty"
	case r.Chat != nil:
		return "chat"
	}
	return "webhook"
}

// bears says whether the telemetry of a scope bears its mode.
func (s *Server) bears(ctx context.Context, scope engine.Scope) readiness.Answer {
	found, known := s.bearing(ctx)
	switch {
	case !known:
		return readiness.CannotTell
	case found[scope]:
		return readiness.Yes
	}
	return readiness.No
}

// Telemetry asks the Prometheus at url, by its name in the rules, for what the transitions of each service rest on.
func Telemetry(ctx context.Context, name, url string, set *rules.Set) (map[engine.Scope]*readiness.Telemetry, error) {
	if err := webURL("--prometheus", url); err != nil {
		return nil, err
	}
	// As what names no source means the first one, the first has any name but those that rules use for others.
	source, err := prom.Dial(cmp.Or(name, "--prometheus"), config.DefaultHTTPClientConfig, url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now := time.Now()
	bearing, err := prom.Bearing(ctx, source, now.Add(-prom.DefaultQueryOffset))
	if err != nil {
		return nil, err
	}
	evaluator := prom.New(set, []prom.Source{source}, prom.Options{})
	out := map[engine.Scope]*readiness.Telemetry{}
	for _, service := range set.Services {
		t := &readiness.Telemetry{Bears: readiness.No, Signals: evaluator.Sightings(ctx, service.Policy.Scope, now)}
		if slices.Contains(bearing, service.Policy.Scope) {
			t.Bears = readiness.Yes
		}
		out[service.Policy.Scope] = t
	}
	return out, nil
}

// Needs are what the transitions of a service rest on, as readiness judges it.
func Needs(service *rules.Service) []readiness.Need {
	var needs []readiness.Need
	for _, n := range service.Needs() {
		needs = append(needs, readiness.Need{Signal: n.Signal.String(), Conditions: n.Conditions, Counted: n.Signal.Kind == rules.SignalSLO})
	}
	return needs
}
