package rules

import (
	"reflect"
	"testing"
	"time"
)

func TestALeafSaysWhatItComparesWithWhat(t *testing.T) {
	slo := Signal{Kind: SignalSLO, Name: "availability", Window: 5 * time.Minute}
	for text, want := range map[string]*Comparison{
		`burn_rate("availability", "5m") < 1.0`:              {Signal: slo, Function: "burn_rate", Op: "<", Number: 1},
		`0.25 <= error_ratio("availability", "5m")`:          {Signal: slo, Function: "error_ratio", Op: ">=", Number: 0.25},
		`sli("p99") != -1.5`:                                 {Signal: Signal{Kind: SignalSLI, Name: "p99"}, Function: "sli", Op: "!=", Number: -1.5},
		`dwell() > duration("10m")`:                          {Signal: Signal{Kind: SignalDwell}, Function: "dwell", Op: ">", Number: 600},
		`"normal" == mode("checkout")`:                       {Signal: Signal{Kind: SignalMode, Name: "checkout"}, Function: "mode", Op: "==", Text: "normal"},
		`divergence() == 0.0`:                                {Signal: Signal{Kind: SignalDivergence}, Function: "divergence", Op: "=="},
		`sli("p99") * 2.0 < 1.0`:                             nil,
		`sli("p99") < burn_rate("availability", "5m")`:       nil,
		`burning("availability", "page") == schedule("now")`: nil,
		`["a"].exists(x, mode("checkout") == x)`:             nil,
	} {
		set, err := Load([]File{{"checkout.yaml", []byte(`
version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(e[{{.window}}]))', total_query: 'sum(rate(t[{{.window}}]))'}}
    alerting: {name: Availability}
slis: [{name: p99, query: p99}]
schedules: [{name: now, cron: "@daily", duration: 1h}]
modes: [{name: normal}, {name: degraded}]
transitions: [{name: shed, from: [normal], to: degraded, when: '` + text + `'}]
`)}}, Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s := set.Services[0]
		got := s.Conditions[s.Policy.Transitions[0].When].Parts(func(Signal) (Value, bool) { return Value{}, false })
		if !reflect.DeepEqual(got.Compares, want) {
			t.Errorf("%s compares %+v, want %+v", text, got.Compares, want)
		}
	}
}
