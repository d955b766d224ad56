package prom

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// follower lives through a history as the loop does, by observations of its own.
type follower struct {
	policy engine.Policy
	state  engine.State
	prev   time.Time
	said   []string // its events, without evidence
}

func (f *follower) decide(in engine.Input) {
	for _, e := range engine.Decide(f.policy, f.state, in) {
		f.state = engine.Apply(f.state, e)
		f.said = append(f.said, fmt.Sprintf("%s/%d %s %s %+v %+v", e.Stream, e.Version, e.At.Format("15:04:05"), e.Kind(), e.Fact, e.Reason))
	}
}

// tick is what the loop would ask.
func (f *follower) tick(instant time.Time) Tick {
	q := engine.Question{Scope: f.policy.Scope, Dwell: f.state.Dwell(instant)}
	for i := range f.policy.Conditions {
		every := f.policy.Conditions[i].Every
		if every > 0 && instant.Truncate(every).Equal(f.prev.Truncate(every)) || !f.policy.Relevant(f.state, i) {
			continue
		}
		q.Conditions = append(q.Conditions, i)
	}
	return Tick{Instant: instant, Questions: []engine.Question{q}}
}

func (f *follower) observe(instant time.Time, a Answer) {
	f.decide(engine.Input{At: instant, Term: 1, What: &engine.Observed{Instant: instant, Prev: f.prev,
		Conditions: a.Observations[f.policy.Scope]}})
	f.prev = instant
}

// Whoever asks only for what still decides lives through the same history as whoever asks for everything. One thing may differ:
// somebody who asked for more may have seen that what is out of sight would not matter, because too little happened anyhow; and
// what a source showed to others says whose blindness it is. So blindness is never missed by asking for less, and may be told
// where asking for more would show that it does not matter.
func TestAskingOnlyForWhatStillDecidesLeadsToTheSameEvents(t *testing.T) {
	set := load(t, "shop.yaml", manyConditions)
	service := set.Services[0]
	kinds, cheaper := map[string]int{}, 0
	rapid.Check(t, func(r *rapid.T) {
		now := time.Unix(4*24*3600, 0).UTC()
		api := drawnShop(t, r, now)
		patient := Options{Budget: time.Minute, QueryTimeout: time.Minute, QueryOffset: -1}
		lazy, eager := New(set, only(api), patient), New(set, only(api), patient)
		one, two := &follower{policy: service.Policy}, &follower{policy: service.Policy}
		// Two minutes between ticks, so that twenty minutes of the data pass in few evaluations; no time counts as lost.
		one.policy.Interval, two.policy.Interval = 2*time.Minute, 2*time.Minute
		asked, full := 0, 0
		for i := range rapid.IntRange(2, 6).Draw(r, "ticks") {
			instant := now.Add(time.Duration(i-10) * 2 * time.Minute)
			if i == 0 {
				for _, f := range []*follower{one, two} {
					f.prev = instant.Add(-2 * time.Minute)
					f.decide(engine.Input{At: f.prev, Term: 1, What: &engine.TimePassed{}})
				}
			}
			a := lazy.Evaluate(t.Context(), one.tick(instant))
			asked += len(api.queried())
			b := eager.eager(t.Context(), two.tick(instant))
			full += len(api.queried())
			for i := range a.Observations["shop"] {
				l, f := a.Observations["shop"][i], b.Observations["shop"][i]
				if l.Truth != f.Truth || f.Blind && !l.Blind {
					r.Fatalf("at %s %s is %v, blind %v, lazily and %v, blind %v, eagerly\n%+v\n%+v", instant, service.Conditions[i].Text, l.Truth, l.Blind, f.Truth, f.Blind, l.Readings, f.Readings)
				}
				b.Observations["shop"][i].Blind = l.Blind
			}
			one.observe(instant, a)
			two.observe(instant, b)
			if !slices.Equal(one.said, two.said) {
				r.Fatalf("at tick %d, lazily\n%s\neagerly\n%s", i, strings.Join(one.said, "\n"), strings.Join(two.said, "\n"))
			}
			suffices(r, service, a)
		}
		if asked < full {
			cheaper++
		}
		for _, line := range one.said {
			kinds[strings.Fields(line)[2]]++
		}
	})
	if kinds["ChangeStarted"] == 0 || kinds["IncidentOpened"] == 0 || cheaper == 0 {
		t.Errorf("the histories were dull: %v, fewer queries in %d of them", kinds, cheaper)
	}
}

// suffices checks that the readings that were kept are enough to come to each truth again.
func suffices(r *rapid.T, service *rules.Service, a Answer) {
	for i, c := range service.Conditions {
		o := a.Observations[service.Policy.Scope][i]
		if !o.Asked {
			continue
		}
		kept := map[string]rules.Value{}
		for _, reading := range o.Readings {
			kept[reading.Signal] = rules.Value{Reading: reading, Errors: reading.Value, Total: 1}
		}
		v := c.Eval(func(s rules.Signal) (rules.Value, bool) { v, ok := kept[s.String()]; return v, ok })
		if v.Truth != o.Truth || len(v.Missing) > 0 {
			r.Fatalf("%s is %v, and by its readings %v, missing %v\n%+v", c.Text, o.Truth, v.Truth, v.Missing, o.Readings)
		}
	}
}

func TestWhatIsCheapIsAskedForFirst(t *testing.T) {
	set := load(t, "shop.yaml", manyConditions)
	service := set.Service("shop")
	e := New(set, only(constant(0)), Options{})
	cheap, long := rules.Signal{Kind: rules.SignalSLI, Name: "g"}, rules.Signal{Kind: rules.SignalSLO, Name: "b", Window: 72 * time.Hour}
	missing := []rules.Signal{long, cheap}
	for _, c := range []struct {
		name        string
		cheap, long int64
		rounds      int
		want        []rules.Signal
	}{
		{"while nobody knows what they cost, both", 0, 0, 0, missing},
		{"what costs ten times as much waits", 149, 1501, 0, []rules.Signal{cheap}},
		{"what costs a little more does not", 150, 1501, 0, missing},
		{"nor what costs little in itself", 1, 1000, 0, missing},
		{"nor for ever", 1, 1_000_000, patience, missing},
	} {
		e.costs = newCosts()
		e.costs.note(key{service, cheap}, c.cheap)
		e.costs.note(key{service, long}, c.long)
		t1 := newTick(e, Tick{Instant: noon})
		t1.rounds = c.rounds
		if got := t1.first(service, missing); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
