package prom

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/rules"
)

// Sightings says of each signal that the transitions of a scope rest on whether the sources show it at an instant, whether or not it
// could matter in the present mode: what shows only in the mode it leads out of is found missing too late. It asks for everything
// anew and leaves no trace, as Explain does.
func (e *Evaluator) Sightings(ctx context.Context, scope engine.Scope, at time.Time) []readiness.Sighting {
	service := e.set.Service(scope)
	if service == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Budget)
	defer cancel()
	fresh := &Evaluator{set: e.set, sources: e.sources, opts: e.opts, probes: maps.Clone(e.probes),
		fusion: newFusion(), costs: newCosts(), held: held{values: map[key]heldValue{}}, proved: proved{at: map[query]time.Time{}}}
	fresh.opts.Metrics = nil
	needs := service.Needs()
	var keys []key
	for _, n := range needs {
		k := key{service, n.Signal}
		if fresh.probes[k] == nil {
			fresh.probes[k] = fresh.compile(k)
		}
		keys = append(keys, k)
	}
	t := fresh.tick(Tick{Instant: at}, e.opts.QueryTimeout)
	t.ask(ctx, keys)
	out := make([]readiness.Sighting, len(keys))
	for i, k := range keys {
		out[i] = t.sighting(ctx, k)
	}
	return out
}

// sighting is what was seen of a signal.
func (t *tick) sighting(ctx context.Context, k key) readiness.Sighting {
	s := readiness.Sighting{Signal: k.signal.String(), Seen: readiness.Yes}
	p := t.probes[k]
	if p.fault != "" { // of a source that was not asked: it may show everything
		s.Seen, s.Why = readiness.CannotTell, p.fault
		return s
	}
	r := t.values[k].Reading
	switch {
	case r.Why == engine.WhyTimeout, r.Why == engine.WhyFailed:
		s.Seen, s.Why = readiness.CannotTell, fmt.Sprintf("%s: %s", r.Why, r.Detail)
	case r.Why.Blind():
		s.Seen, s.Why = readiness.No, fmt.Sprintf("%s: %s", r.Why, r.Detail)
	}
	source := t.sources[p.source].Replicas[0]
	switch k.signal.Kind {
	case rules.SignalAlert:
		if s.Seen == readiness.Yes && r.Value == 0 {
			s.Seen, s.Why = alertKnown(ctx, source, k.signal.Name, t.Instant)
		}
	case rules.SignalSLO:
		if slo := k.service.SLO(k.signal.Name); slo.Events && s.Seen != readiness.CannotTell {
			s.Traffic = t.traffic(ctx, source, slo, k.signal.Window)
		}
	}
	return s
}

// alertKnown says whether an alert of that name could fire at all. One that is misspelt is as quiet as one that has no reason to
// fire, and would never be missed.
func alertKnown(ctx context.Context, api v1.API, name string, now time.Time) (readiness.Answer, string) {
	fired := existence{ctx: ctx, api: api, from: now.Add(-lookedBack), to: now, found: map[string]bool{}}
	if there, err := fired.there("ALERTS{alertname=" + strconv.Quote(name) + "}"); err == nil && there {
		return readiness.Yes, ""
	}
	found, err := api.Rules(ctx, nil)
	if err != nil {
		why, detail, _ := explain(err)
		return readiness.CannotTell, fmt.Sprintf("it has not fired in the last %s, and the source does not tell its rules: %s: %s", model.Duration(lookedBack), why, clip(detail))
	}
	for _, g := range found.Groups {
		if slices.ContainsFunc(g.Rules, func(r any) bool { a, is := r.(v1.AlertingRule); return is && a.Name == name }) {
			return readiness.Yes, ""
		}
	}
	return readiness.No, fmt.Sprintf("the source has no such alerting rule, and it has not fired in the last %s", model.Duration(lookedBack))
}

// trafficSpan is how far back traffic is counted: a day has its quiet hours in it.
const trafficSpan = 24 * time.Hour

// traffic says for how much of the last day an SLO had events enough in a window.
func (t *tick) traffic(ctx context.Context, api v1.API, slo *rules.SLO, window time.Duration) *readiness.Traffic {
	out := &readiness.Traffic{Window: model.Duration(window).String(), Least: max(slo.MinEvents, 0)}
	if out.Least == 0 && slo.NoTraffic == rules.NoTrafficGood {
		return nil
	}
	_, total := slo.Queries(window)
	enough := ">"
	if out.Least > 0 {
		enough = ">="
	} else {
		out.Least = 1 // none at all is as unknown as too few
	}
	bound := slo.MinEvents
	if unit := slo.EventsPerUnit(window); unit > 0 {
		bound = slo.MinEvents * (1 - rounding) / unit
	}
	step := min(max(window, 5*time.Minute), time.Hour)
	text := fmt.Sprintf("avg_over_time(((%s) %s bool %g)[%s:%s])", total, enough, bound, model.Duration(trafficSpan), model.Duration(step))
	ctx, cancel := context.WithTimeout(ctx, t.opts.QueryTimeout)
	defer cancel()
	a := send(ctx, api, text, t.Instant.Add(-t.opts.QueryOffset), t.opts.QueryTimeout)
	share, why, detail := a.number()
	switch {
	case why == engine.WhyAbsent: // then it never had any
	case why != "":
		out.Why = fmt.Sprintf("%s: %s", why, detail)
	default:
		out.Share = share
	}
	return out
}
