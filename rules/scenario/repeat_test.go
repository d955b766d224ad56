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
	set := shop(t, `dwell() > duration("10m")`, "2m")
	service := set.Services[0]
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
			l := life{policy: service.Policy}
			for at := noon.Add(-time.Hour); at.Before(noon.Add(9 * time.Hour)); at = at.Add(15 * time.Second) {
				away.Now(at)
				tick := l.tick(at)
				want, got := out.Evaluate(t.Context(), tick), repeating.Evaluate(t.Context(), tick)
				want.Stats, got.Stats = prom.Stats{}, prom.Stats{}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("at %v: repeated\n%+v\nworked out\n%+v", at, got, want)
				}
				l.decide(at, got)
			}
			if kind.Kind == PartialOutage && worked[true]*2 > worked[false] {
				t.Errorf("of %d conditions %d were evaluated anew: what is even does not look so", worked[false], worked[true])
			}
		})
	}
}
