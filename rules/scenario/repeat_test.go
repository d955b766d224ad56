package scenario

import (
	"reflect"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// A tick whose answer is that of an earlier one (prom.Options.Repeat) has to be a tick that was worked out, in every scenario: the same
// observations down to their readings, and so the same events. In one that happens once most of them repeat.
func TestScenariosGoAsWhenEachTickIsWorkedOut(t *testing.T) {
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(`version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli: ` + plain + `
    alerting: {name: A}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")'}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && dwell() > duration("10m")', for: 2m}
`)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	service := set.Services[0]
	p := service.Policy
	for _, kind := range Kinds {
		t.Run(string(kind.Kind), func(t *testing.T) {
			t.Parallel()
			w, err := Draw(&service.SLOs[0], kind.Kind, Params{At: noon, For: min(kind.For, time.Hour), After: 12 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			store, err := series.New(w.Series...)
			if err != nil {
				t.Fatal(err)
			}
			away := series.NewAway(prom.NewAhead(store.API(), prom.AheadOptions{}), w.Away...)
			sources := []prom.Source{{Name: "main", Replicas: []v1.API{away}}}
			worked := map[bool]int{}
			evaluator := func(repeat bool) *prom.Evaluator {
				return prom.New(set, sources, prom.Options{Budget: time.Hour, QueryTimeout: time.Hour, Repeat: repeat,
					Watch: func(engine.Scope, *rules.Condition, rules.Lookup) { worked[repeat]++ }})
			}
			out, repeating := evaluator(false), evaluator(true)
			var state engine.State
			prev := time.Time{}
			for at := noon.Add(-time.Hour); at.Before(noon.Add(9 * time.Hour)); at = at.Add(15 * time.Second) {
				away.Now(at)
				q := engine.Question{Scope: p.Scope, Dwell: state.Dwell(at)}
				for i := range p.Conditions {
					if every := p.Conditions[i].Every; (every == 0 || !at.Truncate(every).Equal(prev.Truncate(every))) && p.Relevant(state, i) {
						q.Conditions = append(q.Conditions, i)
					}
				}
				tick := prom.Tick{Instant: at, Questions: []engine.Question{q}}
				want, got := out.Evaluate(t.Context(), tick), repeating.Evaluate(t.Context(), tick)
				want.Stats, got.Stats = prom.Stats{}, prom.Stats{}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("at %v: repeated\n%+v\nworked out\n%+v", at, got, want)
				}
				what := &engine.Observed{Instant: at, Prev: prev, Conditions: got.Observations[p.Scope], SourceBlind: got.SourceBlind[p.Scope]}
				for _, event := range engine.Decide(p, state, engine.Input{At: at, Term: 1, What: what}) {
					state = engine.Apply(state, event)
				}
				prev = at
			}
			if kind.Kind == PartialOutage && worked[true]*2 > worked[false] {
				t.Errorf("of %d conditions %d were evaluated anew: what is even does not look so", worked[false], worked[true])
			}
		})
	}
}
