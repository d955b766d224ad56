package prom

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	data "github.com/modeshift/modeshift/rules/series" // the package has a type series
)

// repeating are two services whose queries are asked together, with all that an answer may rest on: tiers with a cadence, values of
// which the age is asked for, alerts, schedules, the mode of another scope, and a dwell that is compared, or is among the readings.
func repeating(name string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: %[1]s
slos:
  - name: a
    objective: 99
    sli: {events: {error_query: 'sum(rate(m_total{job="%[1]s",code="500"}[{{.window}}]))', total_query: 'sum(rate(m_total{job="%[1]s"}[{{.window}}]))'}}
    alerting: {name: A, page_alert: {}, ticket_alert: {}}
    windows:
      - {severity: page, long: 20m, short: 5m, factor: 14.4}
      - {severity: ticket, long: 2h, short: 30m, factor: 3}
      - {severity: ticket, long: 2h, short: 1h, factor: 1}
slis:
  - {name: g, query: 'sum(g{job="%[1]s"})'}
  - {name: far, query: 'sum(rate(m_total{job="%[1]s"}[10m]))', max_age: 1m}
schedules: [{name: night, cron: "*/20 * * * *", duration: 5m}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: one, from: [normal], to: degraded, when: 'burning("a", "page")'}
  - {name: two, from: [normal], to: degraded, when: 'burn_rate("a", "5m") > 14.4 && dwell() > duration("2m")'}
  - {name: three, from: [normal], to: degraded, when: 'dwell() > duration("10m") && sli("g") > 3.0'}
  - {name: four, from: [normal], to: degraded, when: 'sli("g") > 3.0 && dwell() + duration("1m") > duration("10m")'}
  - {name: five, from: [normal], to: degraded, when: 'schedule("night") && sli("g") > 3.0'}
  - {name: six, from: [normal], to: degraded, when: 'mode("cart") == "degraded" && sli("g") > 3.0'}
  - {name: seven, from: [normal], to: degraded, when: 'divergence() > 0.5 && sli("g") > 3.0'}
  - {name: eight, from: [normal], to: degraded, when: 'alert("Full") || sli("far") > 3.0'}
`, name)
}

// calm are series that are even for minutes at a time, and then are not: other rates, gaps, ends, counters that begin anew.
func calm(t testing.TB, r *rand.Rand) *data.Store {
	t.Helper()
	var list []data.Series
	for _, job := range []string{"shop", "cart"} {
		for _, names := range [][]string{{"__name__", "m_total", "code", "200"}, {"__name__", "m_total", "code", "500"}, {"__name__", "g"}, {"__name__", "up"}} {
			s := data.Series{Labels: labels.FromStrings(append(names, "job", job)...)}
			at, v, step := noon.Add(-time.Hour).UnixMilli(), 0.0, 1.0
			if names[len(names)-1] == "500" {
				step = 0
			}
			for range 12 * 60 * 4 {
				at += 15_000
				switch r.IntN(4000) {
				case 0, 1, 2, 3:
					step = float64(r.IntN(3) * r.IntN(3))
					if names[len(names)-1] == "500" {
						step = float64(r.IntN(4)/3) / 8
					}
				case 4:
					at += int64(r.IntN(40)) * 15_000
				case 5:
					v = 0
				case 6:
					s.Samples = append(s.Samples, data.Sample{At: at, Value: data.Stale})
					continue
				}
				p := data.Sample{At: at, Value: step}
				if names[1] == "m_total" {
					v += 100 * step
					p.Value = v
				}
				s.Samples = append(s.Samples, p)
			}
			list = append(list, s)
		}
	}
	store, err := data.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestATickIsRepeatedOnlyWhileItsAnswerIsTheSame(t *testing.T) {
	t.Parallel()
	hits := 0
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 11))
		set := load(t, "shop.yaml", repeating("shop"), "cart.yaml", repeating("cart"))
		store := calm(t, r)
		opts := Options{Budget: time.Hour, QueryTimeout: time.Hour}
		plain := New(set, only(NewAhead(store.API(), AheadOptions{})), opts)
		opts.Repeat = true
		opts.Watch = func(engine.Scope, *rules.Condition, rules.Lookup) { hits-- }
		repeated := New(set, only(NewAhead(store.API(), AheadOptions{})), opts)
		only, tiers := 2, false // the condition that is asked for, -1: all; and whether the tiers are
		at, prev, entered := noon, time.Time{}, noon
		other, divergence := engine.Mode("normal"), 0.0
		for range 1000 {
			switch r.IntN(120) {
			case 0:
				at = at.Add(time.Duration(r.IntN(40)) * 15 * time.Second)
			case 1, 7, 8, 9:
				entered = at
			case 2:
				other = []engine.Mode{"normal", "degraded"}[r.IntN(2)]
			case 3:
				divergence = float64(r.IntN(3)) / 2
			case 4:
				only, tiers = r.IntN(11)-1, r.IntN(3) == 0
			case 5, 6:
				only = 2 + r.IntN(8)
			}
			in := Tick{Instant: at, Modes: func(engine.Scope) (engine.Mode, bool) { return other, other != "" }}
			asked := 0
			for _, s := range set.Services {
				q := engine.Question{Scope: s.Policy.Scope, Dwell: at.Sub(entered), Known: 2, Divergence: divergence}
				for i := range s.Conditions {
					every := s.Policy.Conditions[i].Every
					if due := every == 0 || !at.Truncate(every).Equal(prev.Truncate(every)); due && (only < 0 || i == only || i < 2 && tiers) {
						q.Conditions = append(q.Conditions, i)
						asked++
					}
				}
				in.Questions = append(in.Questions, q)
			}
			hits += asked
			want, got := plain.Evaluate(context.Background(), in), repeated.Evaluate(context.Background(), in)
			if !reflect.DeepEqual(got.Observations, want.Observations) || !reflect.DeepEqual(got.SourceBlind, want.SourceBlind) || !reflect.DeepEqual(got.Sources, want.Sources) {
				t.Fatalf("seed %d at %v: repeated\n%+v\nworked out\n%+v", seed, at, got, want)
			}
			at, prev = at.Add(15*time.Second), at
		}
	}
	if hits < 1000 {
		t.Errorf("%d conditions were not evaluated anew: the test shows little", hits)
	}
}
