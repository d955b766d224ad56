package ruletest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/scenario"
	"github.com/modeshift/modeshift/rules/series"
)

// In a scenario that is one steady burn after a clean history, arithmetic says when each tier of the SLO fires and is quiet again
// (rules.Detection). Every such scenario is held against it, whatever else is expected: rules that page at other times than their
// factors and windows say are not what their owner thinks they are.

// sum is a tier of which arithmetic knows when it fires.
type sum struct {
	position string // of the scenario
	scope    engine.Scope
	name     string // SLO and severity
	tier     int    // the condition, in the policy
	burn     series.Span
	seen     rules.Seen
	first    time.Time // tick at which it was true
	last     time.Time // tick at which it was true
	quiet    time.Time // tick at which it was false, after the last
}

// sums are the tiers of a test that arithmetic can follow: where nothing else happens to what their SLO measures.
func (t *Test) sums(d *drawing) []*sum {
	var list []*sum
	for i, s := range t.scenarios {
		if !d.alone[i] || len(d.burns[i]) != 1 || s.params.Before != 0 {
			continue
		}
		service := t.file.set.Service(s.scope)
		slo := service.SLO(s.slo.Name) // of a mutant, where this is one
		if slo == nil {
			continue
		}
		burn := d.burns[i][0]
		for k := range slo.Tiers {
			tier := &slo.Tiers[k]
			if tier.FiresAt(slo, s.params.Background) || !enough(slo, tier, s.params) {
				continue // it fires before the burn too, or cannot be seen
			}
			name := "slo/" + slo.Name + "/" + string(tier.Severity)
			list = append(list, &sum{
				position: s.position, scope: s.scope, name: slo.Name + " " + string(tier.Severity), burn: burn.Span,
				tier: slices.IndexFunc(service.Conditions, func(c *rules.Condition) bool { return c.Name == name }),
				seen: tier.Seen(slo, rules.Burn{Share: burn.Share, Background: s.params.Background, Lasts: burn.To.Sub(burn.From)},
					rules.Sampling{Scrape: scrapeOf(s.params), Offset: t.file.offset, Tick: t.file.interval}),
			})
		}
	}
	return list
}

// enough reports whether the requests of a scenario are clearly more than the SLO wants to see in each of a tier's windows: with fewer
// the tier is unknown, whatever fails.
func enough(slo *rules.SLO, tier *rules.Tier, p scenario.Params) bool {
	rate := cmp.Or(p.Rate, scenario.DefaultRate)
	return !slices.ContainsFunc(tier.Windows, func(w rules.Window) bool { return rate*w.Short.Seconds() < 2*slo.MinEvents })
}

// scrapeOf is how far apart the samples of a scenario are.
func scrapeOf(p scenario.Params) time.Duration {
	if p.Scrape > 0 {
		return p.Scrape
	}
	return 15 * time.Second
}

// look notes how a tier stands at a tick.
func (s *sum) look(seen *engine.Observed) {
	if seen == nil || s.tier < 0 || s.tier >= len(seen.Conditions) {
		return
	}
	switch o := &seen.Conditions[s.tier]; {
	case !o.Asked:
	case o.Truth == engine.True:
		if s.first.IsZero() {
			s.first = seen.Instant
		}
		s.last, s.quiet = seen.Instant, time.Time{}
	case o.Truth == engine.False && s.quiet.IsZero():
		s.quiet = seen.Instant
	}
}

// judge compares what was seen up to an instant with what arithmetic says.
func (s *sum) judge(end time.Time) (want, got string) {
	fires, resets := s.seen.Fires, s.seen.Resets
	switch after := s.first.Sub(s.burn.From); {
	case s.first.IsZero() && s.seen.Surely && end.Sub(s.burn.From) >= fires.Latest:
		return fmt.Sprintf("it fires %s to %s after the burn begins", round(fires.Earliest), round(fires.Latest)), "it does not fire"
	case s.first.IsZero():
		return "", ""
	case !s.seen.Perhaps:
		return "it does not fire", fmt.Sprintf("it fires after %s", round(after))
	case !fires.Holds(after):
		return fmt.Sprintf("it fires %s to %s after the burn begins", round(fires.Earliest), round(fires.Latest)), fmt.Sprintf("it fires after %s", round(after))
	}
	if end.Sub(s.burn.To) < resets.Latest {
		return "", ""
	}
	want = fmt.Sprintf("it is quiet %s to %s after the burn ends", round(resets.Earliest), round(resets.Latest))
	switch after := s.quiet.Sub(s.burn.To); {
	case s.quiet.IsZero():
		return want, "it is not quiet"
	case !resets.Holds(after):
		return want, fmt.Sprintf("it is quiet after %s", round(after))
	}
	return "", ""
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
