package scenario

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// watched is what the production evaluator and the core made of a world, in times since it happened.
type watched struct {
	opened, resolved []time.Duration // incidents of the page tier
	fires, quiet     map[engine.Severity][]time.Duration
}

// watch lets the evaluator and the core see a world, tick by tick.
func watch(t *testing.T, set *rules.Set, w *World, from, to time.Time, tick, offset time.Duration) watched {
	t.Helper()
	store, err := series.New(w.Series...)
	if err != nil {
		t.Fatal(err)
	}
	away := series.NewAway(prom.NewAhead(store.API(), prom.AheadOptions{}), w.Away...)
	e := prom.New(set, []prom.Source{{Name: "main", Replicas: []v1.API{away}}}, prom.Options{QueryOffset: offset, Budget: time.Hour, QueryTimeout: time.Minute})
	l := life{policy: set.Services[0].Policy}
	p := &l.policy
	out := watched{fires: map[engine.Severity][]time.Duration{}, quiet: map[engine.Severity][]time.Duration{}}
	last := map[engine.Severity]engine.Truth{}
	for at := from.Truncate(tick); at.Before(to); at = at.Add(tick) {
		away.Now(at)
		a := e.Evaluate(t.Context(), l.tick(at))
		for _, alert := range p.Alerts {
			o := a.Observations[p.Scope][alert.Condition]
			if o.Asked && o.Truth != last[alert.Severity] {
				since := at.Sub(noon)
				if o.Truth == engine.True {
					out.fires[alert.Severity] = append(out.fires[alert.Severity], since)
				} else if last[alert.Severity] == engine.True {
					out.quiet[alert.Severity] = append(out.quiet[alert.Severity], since)
				}
				last[alert.Severity] = o.Truth
			}
		}
		for _, event := range l.decide(at, a) {
			switch f := event.Fact.(type) {
			case engine.IncidentOpened:
				if f.Incident.Severity == engine.SeverityPage {
					out.opened = append(out.opened, at.Sub(noon))
				}
			case engine.IncidentResolved:
				if f.Severity == engine.SeverityPage {
					out.resolved = append(out.resolved, at.Sub(noon))
				}
			}
		}
	}
	return out
}

// one is a service with one SLO of that objective.
func one(t *testing.T, objective, sli string, interval time.Duration) *rules.Set {
	t.Helper()
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: fmt.Appendf(nil, `version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: %s
    sli: %s
    alerting: {name: A}
`, objective, sli)}}, rules.Options{Interval: interval})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The whole table of 99.9 % over 30 days: what the engine makes of samples is what arithmetic says.
func TestTheEngineFiresWhenArithmeticSaysSo(t *testing.T) {
	t.Parallel()
	const tick, offset, scrape = 15 * time.Second, 5 * time.Second, 15 * time.Second
	set := one(t, "99.9", plain, tick)
	slo := set.Services[0].SLO("availability")
	for _, row := range []struct {
		share float64
		lasts time.Duration
	}{
		{1, 30 * time.Minute}, {0.5, time.Hour}, {0.15, 10 * time.Minute}, {0.1, 50 * time.Minute}, {0.05, 2 * time.Hour},
		{0.02, 4 * time.Hour}, {0.01, 8 * time.Hour}, {0.005, 16 * time.Hour}, {0.002, 40 * time.Hour}, {0.0012, 64 * time.Hour}, {0.0009, 80 * time.Hour},
	} {
		t.Run(fmt.Sprint(row.share), func(t *testing.T) {
			t.Parallel()
			w, err := Draw(slo, PartialOutage, Params{At: noon, For: row.lasts, Share: row.share, Scrape: scrape, After: 7 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			seen := watch(t, set, w, noon.Add(-10*time.Minute), w.To, tick, offset)
			check(t, slo, seen, rules.Burn{Share: row.share, Lasts: row.lasts}, rules.Sampling{Scrape: scrape, Offset: offset, Tick: tick})
		})
	}
}

// check compares what was seen with what arithmetic says.
func check(t *testing.T, slo *rules.SLO, seen watched, b rules.Burn, s rules.Sampling) {
	t.Helper()
	for i := range slo.Tiers {
		tier := &slo.Tiers[i]
		want := tier.Seen(slo, b, s)
		fires, quiet := seen.fires[tier.Severity], seen.quiet[tier.Severity]
		if tier.Severity == engine.SeverityPage && (len(seen.opened) != len(fires) || len(fires) > 0 && (seen.opened[0] != fires[0] || seen.resolved[0] != quiet[0])) {
			t.Errorf("%+v: the page's incident was open %v to %v, and its condition true %v to %v", b, seen.opened, seen.resolved, fires, quiet)
		}
		switch {
		case want.Surely && len(fires) == 0, !want.Perhaps && len(fires) > 0, len(fires) > 1 && want.Surely, len(fires) != len(quiet):
			t.Errorf("%+v, %s: fired %v, quiet %v, want %+v", b, tier.Severity, fires, quiet, want)
		case len(fires) == 0:
		case !want.Fires.Holds(fires[0]):
			t.Errorf("%+v, %s: fired after %v, want %+v", b, tier.Severity, fires[0], want.Fires)
		case !want.Resets.Holds(quiet[len(quiet)-1] - b.Lasts):
			t.Errorf("%+v, %s: quiet %v after the end, want %+v", b, tier.Severity, quiet[len(quiet)-1]-b.Lasts, want.Resets)
		}
	}
}

func TestArithmeticHoldsForAnyObjective(t *testing.T) {
	t.Parallel()
	objectives := []string{"90", "95", "99", "99.5", "99.9", "99.95", "99.99"}
	slis := []string{plain,
		events(`sum(rate(failed_total`+w+`))`, `sum(rate(done_total`+w+`))`),
		events(`sum(rate(d_count`+w+`)) - sum(rate(d_bucket{le="0.5"}`+w+`))`, `sum(rate(d_count`+w+`))`),
		raw(`1 - sum(rate(ok_total` + w + `)) / sum(rate(all_total` + w + `))`)}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 3))
			tick := []time.Duration{15 * time.Second, 30 * time.Second}[r.IntN(2)]
			s := rules.Sampling{Scrape: []time.Duration{10, 15, 30, 60}[r.IntN(4)] * time.Second, Offset: time.Duration(1+r.IntN(20)) * time.Second, Tick: tick}
			set := one(t, objectives[r.IntN(len(objectives))], slis[r.IntN(len(slis))], tick)
			slo := set.Services[0].SLO("availability")
			b := rules.Burn{Share: min(1, slo.Budget*[]float64{0.8, 1.5, 4, 8, 20, 100, 1000}[r.IntN(7)]), Lasts: []time.Duration{4 * time.Minute, 15 * time.Minute, time.Hour, 5 * time.Hour}[r.IntN(4)]}
			kind := PartialOutage
			p := Params{At: noon.Add(time.Duration(r.IntN(60_000)) * time.Millisecond), For: b.Lasts, Share: b.Share, Scrape: s.Scrape, After: 7 * time.Hour}
			for i := range 1 + r.IntN(3) {
				p.Instances = append(p.Instances, fmt.Sprint("i", i))
			}
			if r.IntN(3) == 0 {
				kind = FirstError
			}
			w, err := Draw(slo, kind, p)
			if err != nil {
				p2 := p
				if w, err = Draw(slo, PartialOutage, p2); err != nil {
					t.Fatal(err)
				}
			}
			seen := watch(t, set, w, p.At.Add(-10*time.Minute), w.To, tick, s.Offset)
			late := p.At.Sub(noon)
			for _, list := range [][]time.Duration{seen.opened, seen.resolved, seen.fires[engine.SeverityPage], seen.quiet[engine.SeverityPage], seen.fires[engine.SeverityTicket], seen.quiet[engine.SeverityTicket]} {
				for i := range list {
					list[i] -= late
				}
			}
			check(t, slo, seen, b, s)
		})
	}
}
