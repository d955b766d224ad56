package prom

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

const ticketed = `version: modeshift/v1
service: shop
slos:
  - name: a
    objective: 99
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A, page_alert: {disable: true}, ticket_alert: {}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("a", "ticket")'}
`

// instants notes for which instants each window of a_total was asked for.
type instants struct {
	mu      sync.Mutex // guards windows
	windows map[string][]string
}

func (a *instants) api(answer func(q string, at time.Time) model.Value) *funcAPI {
	return &funcAPI{query: func(_ context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		for _, w := range []string{"2h", "1d", "6h", "3d"} {
			if strings.Contains(q, `code="500"}[`+w+"]") {
				a.mu.Lock()
				a.windows[w] = append(a.windows[w], at.Format("15:04:05"))
				a.mu.Unlock()
			}
		}
		return answer(q, at), nil, nil
	}}
}

func (a *instants) taken() map[string][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.windows
	a.windows = map[string][]string{}
	return out
}

// quiet answers that a hundredth of a per cent fails, of fresh samples.
func quiet(q string, at time.Time) model.Value {
	switch {
	case strings.Contains(q, "timestamp"):
		return model.Vector{{Value: model.SampleValue(at.Unix())}}
	case strings.Contains(q, "code="):
		return model.Vector{{Value: 1}}
	}
	return model.Vector{{Value: 10_000}}
}

func TestEachPairOfATicketIsReadAtTheMultiplesOfItsOwnCadence(t *testing.T) {
	set := load(t, "shop.yaml", ticketed)
	ticket := set.Services[0].Conditions[0]
	if ticket.Name != "slo/a/ticket" {
		t.Fatal(ticket.Name)
	}
	log := &instants{windows: map[string][]string{}}
	e := New(set, only(log.api(quiet)), Options{QueryOffset: -1})
	at := func(e *Evaluator, instant time.Time, conditions ...int) engine.Observation {
		return e.Evaluate(t.Context(), Tick{Instant: instant, Questions: []engine.Question{{Scope: "shop", Conditions: conditions}}}).Observations["shop"][conditions[0]]
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		got := log.taken()
		for _, w := range []string{"2h", "1d", "6h", "3d"} {
			if strings.Join(got[w], " ") != want[w] {
				t.Errorf("%s: %s was asked for at %v, want %q", what, w, got[w], want[w])
			}
		}
	}
	o := at(e, noon, 0)
	expect("at a multiple of both", map[string]string{"2h": "12:00:00", "6h": "12:00:00"})
	if !o.Readings[0].At.IsZero() || o.Truth != engine.False {
		t.Errorf("a reading for the evaluation's own instant says so: %+v", o)
	}
	o = at(e, noon.Add(2*time.Minute+15*time.Second), 0)
	expect("late, between the multiples of the slow pair", map[string]string{"2h": "12:02:00"})
	if !o.Readings[0].At.Equal(noon.Add(2*time.Minute)) || !o.Readings[1].At.IsZero() && !o.Readings[1].At.Equal(noon) {
		t.Errorf("the readings were for %v and %v", o.Readings[0].At, o.Readings[1].At)
	}
	at(e, noon.Add(2*time.Minute+30*time.Second), 0)
	expect("the same instants again", nil)
	at(New(set, only(log.api(quiet)), Options{QueryOffset: -1}), noon.Add(4*time.Minute), 0)
	expect("after a restart", map[string]string{"2h": "12:04:00", "6h": "12:00:00"})
	at(e, noon.Add(6*time.Minute), 0)
	expect("at the next multiple of both", map[string]string{"2h": "12:06:00", "6h": "12:06:00"})
	at(e, noon.Add(6*time.Minute+15*time.Second), 1)
	expect("for a transition, which has no cadence", map[string]string{"2h": "12:06:15", "6h": "12:06:15"})
}

func TestWhatCouldNotBeReadForAnInstantIsAskedForAgainForTheSameInstant(t *testing.T) {
	set := load(t, "shop.yaml", ticketed)
	log := &instants{windows: map[string][]string{}}
	away := true
	e := New(set, only(log.api(func(q string, at time.Time) model.Value {
		if away {
			return model.Vector{}
		}
		return quiet(q, at)
	})), Options{QueryOffset: -1})
	tick := func(instant time.Time) Answer {
		return e.Evaluate(t.Context(), Tick{Instant: instant, Questions: []engine.Question{{Scope: "shop", Conditions: []int{0}}}})
	}
	if a := tick(noon); a.Observations["shop"][0].Truth != engine.Unknown || !a.Sources[0].Blind {
		t.Errorf("%+v", a)
	}
	log.taken()
	away = false
	if a := tick(noon.Add(2 * time.Minute)); a.Observations["shop"][0].Truth != engine.False || a.Sources[0].Blind {
		t.Errorf("%+v", a)
	}
	if got := log.taken()["6h"]; strings.Join(got, " ") != "12:00:00" {
		t.Errorf("the slow pair was asked for at %v", got)
	}
	// What is remembered is no sign of life of a source that has gone since.
	away = true
	if a := tick(noon.Add(4 * time.Minute)); !a.Sources[0].Blind {
		t.Errorf("the source shows nothing any more: %+v", a.Sources[0])
	}
}

func TestAPairIsDecidedAsIfAskedAtItsOwnInstant(t *testing.T) {
	set := load(t, "shop.yaml", ticketed)
	// The slow pair burns from 12:06 to 12:12, the quick one never.
	api := (&instants{windows: map[string][]string{}}).api(func(q string, at time.Time) model.Value {
		burns := !at.Before(noon.Add(6*time.Minute)) && at.Before(noon.Add(12*time.Minute))
		if burns && strings.Contains(q, "code=") && (strings.Contains(q, "[6h]") || strings.Contains(q, "[3d]")) {
			return model.Vector{{Value: 5_000}}
		}
		return quiet(q, at)
	})
	e := New(set, only(api), Options{QueryOffset: -1})
	for instant := noon; instant.Before(noon.Add(20 * time.Minute)); instant = instant.Add(2 * time.Minute) {
		want := engine.TruthOf(!instant.Before(noon.Add(6*time.Minute)) && instant.Before(noon.Add(12*time.Minute)))
		got := e.Evaluate(t.Context(), Tick{Instant: instant, Questions: []engine.Question{{Scope: "shop", Conditions: []int{0}}}}).Observations["shop"][0]
		if got.Truth != want {
			t.Errorf("%s: %v, want %v", instant.Format("15:04"), got.Truth, want)
		}
	}
}

func TestTheCadenceOfATierIsThatOfItsQuickestPair(t *testing.T) {
	s := load(t, "shop.yaml", ticketed).Services[0]
	if every := s.Policy.Conditions[0].Every; every != 2*time.Minute {
		t.Errorf("the tier is asked for every %v", every)
	}
	var got []time.Duration
	for _, signal := range s.Conditions[0].Signals() {
		got = append(got, signal.Every)
	}
	if want := []time.Duration{2 * time.Minute, 2 * time.Minute, 6 * time.Minute, 6 * time.Minute}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("its signals stand at multiples of %v, want %v", got, want)
	}
	for _, signal := range s.Conditions[1].Signals() {
		if signal.Every != 0 || signal.At(noon.Add(time.Second)) != noon.Add(time.Second) {
			t.Errorf("a transition's %+v has a cadence", signal)
		}
	}
	if at := (rules.Signal{Every: 6 * time.Minute}).At(noon.Add(11*time.Minute + 59*time.Second)); !at.Equal(noon.Add(6 * time.Minute)) {
		t.Errorf("it stands at %v", at)
	}
}
