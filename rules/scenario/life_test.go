package scenario

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// life is what the core makes of a service, tick by tick, as the loop has it: what matters in the present state is asked, at its cadence.
type life struct {
	policy engine.Policy
	state  engine.State
	prev   time.Time // of the last tick
}

// tick is what is asked at an instant.
func (l *life) tick(at time.Time) prom.Tick {
	p := &l.policy
	q := engine.Question{Scope: p.Scope, Dwell: l.state.Dwell(at)}
	for i := range p.Conditions {
		if every := p.Conditions[i].Every; (every == 0 || !at.Truncate(every).Equal(l.prev.Truncate(every))) && p.Relevant(l.state, i) {
			q.Conditions = append(q.Conditions, i)
		}
	}
	return prom.Tick{Instant: at, Questions: []engine.Question{q}}
}

// decide takes what was answered at an instant, and returns what the core decided.
func (l *life) decide(at time.Time, a prom.Answer) []engine.Event {
	what := &engine.Observed{Instant: at, Prev: l.prev, Conditions: a.Observations[l.policy.Scope], SourceBlind: a.SourceBlind[l.policy.Scope]}
	events := engine.Decide(l.policy, l.state, engine.Input{At: at, Term: 1, What: what})
	for _, e := range events {
		l.state = engine.Apply(l.state, e)
	}
	l.prev = at
	return events
}

// shop is a service that is degraded while its page burns. calm and steady are what else has to be, and for how long, before it recovers.
func shop(t testing.TB, calm, steady string) *rules.Set {
	t.Helper()
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
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && ` + calm + `', for: ` + steady + `}
`)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
