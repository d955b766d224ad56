package prom

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/util/teststorage"
	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// eager answers a tick after asking for every signal of every condition in question.
func (e *Evaluator) eager(ctx context.Context, in Tick) Answer {
	t := newTick(e, in)
	var all []key
	seen := map[key]bool{}
	for _, a := range t.asks {
		for _, s := range a.condition.Signals() {
			k := key{a.service, s}
			if v, ok := t.local(a, s); ok {
				t.values[k] = v
			} else if !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	t.ask(ctx, all)
	if more := t.step(); len(more) > 0 {
		panic(fmt.Sprintf("a condition misses %v, which are not among its signals", more))
	}
	return t.answer()
}

// Every kind of signal, and every way of combining them that can leave one out.
const manyConditions = `version: modeshift/v1
service: shop
slos:
  - name: a
    objective: 99
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A, page_alert: {}, ticket_alert: {}}
    min_events: 20
  - name: b
    objective: 95
    sli: {raw: {error_ratio_query: 'sum(rate(b_total{code="500"}[{{.window}}])) / sum(rate(b_total[{{.window}}]))'}}
    alerting: {name: B, page_alert: {}, ticket_alert: {}}
slis:
  - {name: g, query: 'max(g)', unit: seconds, max_age: 2m}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: one, from: [normal], to: degraded, when: 'burning("a", "page") && burning("b", "page")'}
  - {name: two, from: [normal], to: degraded, when: 'burning("a", "ticket") || burning("b", "ticket")'}
  - {name: three, from: [degraded], to: normal, when: '!burning("a", "page") && burn_rate("a", "5m") < 1.0'}
  - {name: four, from: [normal], to: degraded, when: 'sli("g") > 0.5 && (alert("X") || error_ratio("b", "1h") > 0.1)'}
  - {name: five, from: [normal], to: degraded, when: 'alert("X") ? burn_rate("a", "1h") > 2.0 : sli("g") > 0.5'}
  - {name: six, from: [normal], to: degraded, when: 'dwell() > duration("10m") && burn_rate("b", "3d") > 1.0'}
  - {name: seven, from: [normal], to: degraded, when: 'burn_rate("a", "5m") > 1.0 || burn_rate("a", "6h") > 1.0 || sli("g") < 0.1'}
`

// drawnShop draws three days of samples up to now of what manyConditions asks for, and the faults of a source that has them.
func drawnShop(t *testing.T, r *rapid.T, now time.Time) *funcAPI {
	store := teststorage.New(t)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	app := store.Appender(t.Context())
	// Samples of three days, close together in the last hours only: the engine's time is spent on them.
	add := func(metric string, until time.Duration, value func(before time.Duration) float64) {
		m, err := promQL.ParseMetric(metric)
		if err != nil {
			t.Fatal(err)
		}
		for before := 3 * 24 * time.Hour; before >= until; {
			if _, err := app.Append(0, m, now.Add(-before).UnixMilli(), value(before)); err != nil {
				t.Fatal(err)
			}
			if before > 7*time.Hour {
				before -= time.Hour
			} else {
				before -= time.Minute
			}
		}
	}
	ages := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Minute, 4 * time.Minute, 20 * time.Minute, 30 * time.Hour})
	for _, metric := range []string{"a_total", "b_total"} {
		if rapid.IntRange(0, 9).Draw(r, metric+" exists") == 0 {
			continue
		}
		age := ages.Draw(r, metric+" age")
		for _, code := range []string{"200", "500"} {
			early := rapid.SampledFrom([]float64{0, 0.01, 1, 50}).Draw(r, code+" before")
			late := rapid.SampledFrom([]float64{0, 0, 0.01, 1, 50}).Draw(r, code+" lately")
			turn := rapid.SampledFrom([]time.Duration{72 * time.Hour, 200 * time.Minute, 20 * time.Minute, 3 * time.Minute}).Draw(r, code+" turn")
			add(fmt.Sprintf("%s{code=%q}", metric, code), age, func(before time.Duration) float64 {
				return early*(72*time.Hour-max(before, turn)).Minutes() + late*max(0, turn-before).Minutes()
			})
		}
	}
	if g := rapid.SampledFrom([]float64{-1, 0, 0.3, 0.7, math.NaN()}).Draw(r, "g"); g != -1 {
		add(`g{pod="a"}`, ages.Draw(r, "g age"), func(time.Duration) float64 { return g })
	}
	if rapid.Bool().Draw(r, "X fires") {
		add(`ALERTS{alertname="X",alertstate="firing"}`, 0, func(time.Duration) float64 { return 1 })
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	api := engineAPI(t, store)
	genuine := api.query
	seed := rapid.Uint32().Draw(r, "seed of faults")
	share := rapid.SampledFrom([]uint32{0, 0, 10, 40}).Draw(r, "per cent of faults")
	api.query = func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		h := fnv.New32a()
		_, _ = fmt.Fprint(h, seed, q, at.Unix())
		if n := h.Sum32(); n%100 < share {
			switch n / 100 % 3 {
			case 0:
				return nil, nil, errors.New("refused")
			case 1:
				return nil, nil, context.DeadlineExceeded
			default:
				return model.Vector{}, v1.Warnings{"partial"}, nil
			}
		}
		return genuine(ctx, q, at)
	}
	return api
}

func TestAskingOnlyForWhatStillDecidesGivesTheTruthsOfAskingForEverything(t *testing.T) {
	set := load(t, "shop.yaml", manyConditions)
	truths := map[engine.Truth]int{}
	fewer := 0
	rapid.Check(t, func(r *rapid.T) {
		now := time.Unix(4*24*3600, 0).UTC()
		api := drawnShop(t, r, now)
		patient := Options{Budget: time.Minute, QueryTimeout: time.Minute}
		e := New(set, only(api), patient)
		tick := everything(set, now.Add(DefaultQueryOffset))
		tick.Questions[0].Dwell = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(r, "dwell")
		lazy := e.Evaluate(t.Context(), tick)
		sentLazily := len(api.queried())
		full := New(set, only(api), patient).eager(t.Context(), tick) // another, which remembers nothing
		sentEagerly := len(api.queried())
		for i, c := range set.Services[0].Conditions {
			l, f := lazy.Observations["shop"][i], full.Observations["shop"][i]
			if l.Truth != f.Truth {
				r.Fatalf("%s: lazily %v, eagerly %v\n%+v\n%+v", c.Text, l.Truth, f.Truth, l.Readings, f.Readings)
			}
			truths[l.Truth]++
		}
		if sentLazily > sentEagerly {
			r.Fatalf("%d queries lazily, %d eagerly", sentLazily, sentEagerly)
		}
		if sentLazily < sentEagerly {
			fewer++
		}
	})
	if truths[engine.True] == 0 || truths[engine.False] == 0 || truths[engine.Unknown] == 0 || fewer == 0 {
		t.Errorf("the data was one-sided: %v, fewer queries %d times", truths, fewer)
	}
}

// plain answers for a service of one event per second, of which a share are errors (label code), with samples of this
// very instant.
type plain float64

func (errors plain) query(_ context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
	x := model.SampleValue(1)
	switch {
	case strings.Contains(q, "timestamp("):
		x = model.SampleValue(at.Unix())
	case strings.Contains(q, "code="):
		x = model.SampleValue(errors)
	}
	return model.Vector{{Value: x}}, nil, nil
}

func constant(errors float64) *funcAPI { return &funcAPI{query: plain(errors).query} }

func TestEqualQueriesOfSeveralScopesAreSentOnce(t *testing.T) {
	api := constant(0)
	set := load(t, "a.yaml", tiers("a", "shared_total"), "b.yaml", tiers("b", "shared_total"))
	a := New(set, only(api), Options{}).Evaluate(t.Context(), everything(set, noon))
	seen := map[string]int{}
	for _, q := range api.queried() {
		if seen[q]++; seen[q] > 1 {
			t.Errorf("sent again: %s", q)
		}
	}
	if a.Stats.Queries != len(seen) || len(a.Observations) != 2 {
		t.Errorf("%+v, sent %d, scopes %d", a.Stats, len(seen), len(a.Observations))
	}
}

func TestEvidenceDoesNotDependOnTheOrderOfAnswers(t *testing.T) {
	set := load(t, "shop.yaml", manyConditions)
	var first string
	for i := range 20 {
		api := constant(0.4)
		slow := api.query
		api.query = func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
			h := fnv.New32a()
			_, _ = fmt.Fprint(h, i, q)
			time.Sleep(time.Duration(h.Sum32()%1000) * time.Microsecond) // shuffles the answers; nothing waits for it
			return slow(ctx, q, at)
		}
		a := New(set, only(api), Options{}).Evaluate(t.Context(), everything(set, noon))
		got := fmt.Sprintf("%+v", a.Observations)
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("evaluation %d gave\n%s\nand the first\n%s", i, got, first)
		}
	}
	if !strings.Contains(first, `error_ratio("a", "5m")`) {
		t.Errorf("no evidence of a's short window: %s", first)
	}
}

func TestAPanicInOneConditionLeavesTheOthersAlone(t *testing.T) {
	set := load(t, "a.yaml", tiers("a", "a_total"), "b.yaml", tiers("b", "b_total"))
	e := New(set, only(constant(0)), Options{})
	tick := everything(set, noon)
	set.Service("a").Conditions[0] = nil // as good as any bug in an expression's evaluation
	a := e.Evaluate(t.Context(), tick)
	o := a.Observations["a"][0]
	if o.Truth != engine.Unknown || !o.Blind || len(o.Readings) != 1 || o.Readings[0].Why != engine.WhyFailed ||
		!strings.Contains(o.Readings[0].Detail, "panic") {
		t.Errorf("the panic became %+v", o)
	}
	if a.SourceBlind["a"] || a.Sources[0].Blind {
		t.Error("the panic was blamed on the source")
	}
	for _, o := range append(a.Observations["a"][1:], a.Observations["b"]...) {
		if !o.Asked || o.Blind {
			t.Errorf("another condition became %+v", o)
		}
	}
}

func TestAConditionIsBlindOnlyForWantOfWhatCouldStillDecideIt(t *testing.T) {
	// The source shows no sample of the SLI and no traffic; the alert does not fire.
	api := &funcAPI{query: func(_ context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) {
		if strings.Contains(q, "idle_total") {
			return model.Vector{{Value: 0}}, nil, nil
		}
		if q == alive {
			return model.Vector{{Value: 7}}, nil, nil
		}
		return model.Vector{}, nil, nil
	}}
	const sees, blind = false, true
	for _, c := range []struct {
		when string
		want bool
	}{
		{`sli("vanished") > 0.0`, blind},
		{`burn_rate("s", "5m") > 1.0`, sees},
		{`sli("vanished") > 0.0 || burn_rate("s", "5m") > 1.0`, blind},
		{`sli("vanished") > 0.0 && burn_rate("s", "5m") > 1.0`, blind},
		{`(sli("vanished") > 0.0 && alert("X")) || burn_rate("s", "5m") > 1.0`, sees},
		{`(sli("vanished") > 0.0 || !alert("X")) && burn_rate("s", "5m") > 1.0`, sees},
		{`alert("X") ? sli("vanished") > 0.0 : burn_rate("s", "5m") > 1.0`, sees},
	} {
		set := load(t, "shop.yaml", service("shop", events("idle_total"), "", c.when))
		a := New(set, only(api), Options{}).Evaluate(t.Context(), everything(set, noon))
		if o := a.Observations["shop"][0]; o.Truth != engine.Unknown || o.Blind != c.want {
			t.Errorf("%s: %v, blind %v, want unknown, blind %v\n%+v", c.when, o.Truth, o.Blind, c.want, o.Readings)
		}
	}
}

// A Prometheus that lost its data answers like one whose alerts are all silent. To recover because of that would be to take
// protection away in the middle of an outage.
func TestAnAlertIsSilentOnlyWhereTheSourceShowsSomething(t *testing.T) {
	for _, c := range []struct {
		firing, up model.Vector
		want       engine.Truth
		why        engine.Why
	}{
		{nil, nil, engine.Unknown, engine.WhyAbsent},
		{nil, model.Vector{{Value: 3}}, engine.False, ""},
		{model.Vector{{Value: 1}}, model.Vector{{Value: 3}}, engine.True, ""},
		{model.Vector{{Value: 1}}, nil, engine.True, ""},
	} {
		api := &funcAPI{query: func(_ context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) {
			if q == alive {
				return c.up, nil, nil
			}
			return c.firing, nil, nil
		}}
		set := load(t, "shop.yaml", service("shop", events("a_total"), "", `alert("X")`))
		o := New(set, only(api), Options{}).Evaluate(t.Context(), everything(set, noon)).Observations["shop"][0]
		if o.Truth != c.want || o.Blind != (c.why != "") || o.Readings[0].Why != c.why {
			t.Errorf("firing %v, up %v: %+v", c.firing, c.up, o)
		}
	}
}

func TestOneEvaluatorAnswersManyTicksAtOnce(t *testing.T) {
	set := load(t, "shop.yaml", manyConditions)
	e := New(set, only(constant(0.4)), Options{Metrics: NewMetrics()})
	tick := everything(set, noon)
	want := fmt.Sprintf("%+v", e.Evaluate(t.Context(), tick))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if got := fmt.Sprintf("%+v", e.Evaluate(t.Context(), tick)); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			}
		})
	}
	all.Wait()
}

func TestOnlyConditionsInQuestionAreObservedAndAskedFor(t *testing.T) {
	api := constant(0)
	set := load(t, "a.yaml", tiers("a", "a_total"), "b.yaml", tiers("b", "b_total"))
	a := New(set, only(api), Options{}).Evaluate(t.Context(), Tick{Instant: noon,
		Questions: []engine.Question{{Scope: "b", Conditions: []int{1, 99}}, {Scope: "nobody", Conditions: []int{0}}}})
	if len(a.Observations) != 1 || len(a.Observations["b"]) != len(set.Service("b").Conditions) {
		t.Fatalf("observations: %+v", a.Observations)
	}
	for i, o := range a.Observations["b"] {
		if o.Asked != (i == 1) {
			t.Errorf("condition %d: %+v", i, o)
		}
	}
	for _, q := range api.queried() {
		if !strings.Contains(q, "b_total") {
			t.Errorf("sent: %s", q)
		}
	}
	idle := New(set, only(api), Options{}).Evaluate(t.Context(), Tick{Instant: noon})
	if s := idle.Sources[0]; s.Asked || s.Blind {
		t.Errorf("a source that nobody asked showed %+v", s)
	}
}

// A mode that only a person leaves, and a service with ticket tiers alone between two of their turns, have nothing to ask
// about. They were evaluated all the same: else a max_duration never pages there, and a cadence would count as lost time.
func TestAScopeOfWhichNothingIsAskedIsAnsweredAllTheSame(t *testing.T) {
	set := load(t, "a.yaml", tiers("a", "a_total"), "b.yaml", tiers("b", "b_total"))
	a := New(set, only(constant(0)), Options{}).Evaluate(t.Context(), Tick{Instant: noon,
		Questions: []engine.Question{{Scope: "a"}, {Scope: "b", Conditions: []int{0}}, {Scope: "nobody"}}})
	if got, want := len(a.Observations["a"]), len(set.Service("a").Conditions); got != want || len(a.Observations) != 2 {
		t.Fatalf("%d observations for %d conditions of a, %d scopes answered", got, want, len(a.Observations))
	}
	for i, o := range a.Observations["a"] {
		if o.Asked {
			t.Errorf("condition %d was asked: %+v", i, o)
		}
	}
}

const localConditions = `version: modeshift/v1
service: shop
schedules:
  - {name: night, cron: "0 2 * * *", duration: 2h, timezone: UTC}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: clock, from: [normal], to: degraded, when: 'schedule("night")'}
  - {name: other, from: [normal], to: degraded, when: 'mode("payments") == "degraded"'}
  - {name: dwell, from: [degraded], to: normal, when: 'dwell() >= duration("10m")'}
`

func TestSchedulesModesAndDwellNeedNoSource(t *testing.T) {
	api := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return nil, nil, errors.New("away")
	}}
	set := load(t, "payments.yaml", "version: modeshift/v1\nservice: payments\nmodes: [{name: normal}, {name: degraded}]\n",
		"shop.yaml", localConditions)
	e := New(set, only(api), Options{})
	for _, c := range []struct {
		at    time.Time
		mode  engine.Mode
		dwell time.Duration
		want  map[string]engine.Truth
	}{
		{noon, "normal", 10*time.Minute - 1, map[string]engine.Truth{"clock": engine.False, "other": engine.False, "dwell": engine.False}},
		{noon.Add(-10 * time.Hour), "degraded", 10 * time.Minute, map[string]engine.Truth{"clock": engine.True, "other": engine.True, "dwell": engine.True}},
		{noon, "", 0, map[string]engine.Truth{"clock": engine.False, "other": engine.Unknown, "dwell": engine.False}},
	} {
		tick := everything(set, c.at)
		for i := range tick.Questions {
			tick.Questions[i].Dwell = c.dwell
		}
		tick.Modes = func(s engine.Scope) (engine.Mode, bool) { return c.mode, s == "payments" && c.mode != "" }
		a := e.Evaluate(t.Context(), tick)
		for name, want := range c.want {
			o := condition(t, set, a, "shop", name+".when")
			if o.Truth != want || len(o.Readings) != 1 {
				t.Errorf("%s at %v: %+v, want %v", name, c.at, o, want)
			}
		}
	}
	if q := api.queried(); len(q) > 0 {
		t.Errorf("queries were sent: %v", q)
	}
}

func TestALongWindowWaitsForTheShortOneOfItsPairOnly(t *testing.T) {
	set := load(t, "shop.yaml", tiers("shop", "x_total"))
	w := func(d time.Duration) rules.Signal {
		return rules.Signal{Kind: rules.SignalSLO, Name: "availability", Window: d}
	}
	all := []rules.Signal{w(time.Hour), w(5 * time.Minute), w(6 * time.Hour), w(30 * time.Minute), w(24 * time.Hour), {Kind: rules.SignalSLI, Name: "x"}}
	for _, c := range []struct {
		name    string
		missing []rules.Signal
		want    []rules.Signal
	}{
		{"short windows of two pairs go together", all[:4], []rules.Signal{all[1], all[3]}},
		{"a long window goes once its short one is known", []rules.Signal{all[0], all[2]}, []rules.Signal{all[0]}},
		{"a window of no pair waits for all shorter ones", []rules.Signal{all[1], all[4]}, []rules.Signal{all[1]}},
		{"what is missing alone goes", all[4:5], all[4:5]},
		{"other signals wait for nothing", all, []rules.Signal{all[1], all[3], all[5]}},
	} {
		var got []rules.Signal
		for _, s := range c.missing {
			if !deferred(set.Service("shop"), s, c.missing) {
				got = append(got, s)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
