package rules

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// drilled is a service whose transitions rest on signals of every kind.
const drilled = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(errors_total[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: A, ticket_alert: {disable: true}}
slis: [{name: p99, query: 'max(latency{instance=~"{{.instances}}"})'}]
schedules: [{name: night, cron: "0 22 * * *", duration: 8h}]
modes:
  - {name: normal FIRST}
  - {name: degraded SECOND}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'budget_remaining("availability") < 0.1 || alert("Burns")', verify: 'sli("p99") < 1'}
  - name: recover
    from: [degraded]
    to: normal
    when: 'burn_rate("availability", "5m") < 1.0 && !alert("Burns") && !schedule("night") && dwell() > duration("5m")'
    rollout: {waves: [5, 100], verify: 'sli("p99") < 1'}
`

func drillText(first, second string) string {
	return strings.NewReplacer(" FIRST", first, " SECOND", second).Replace(drilled)
}

// A drill is not decided on: to want one more often does not change what people have said yes to.
func TestAFileSaysHowOftenAWayBackHasToBeUsed(t *testing.T) {
	without, with := mustLoad(t, Options{}, drillText("", "")).Services[0], mustLoad(t, Options{}, drillText("", ", drill_every: 30d")).Services[0]
	if len(without.Drills) != 0 || !reflect.DeepEqual(with.Drills, map[engine.Mode]time.Duration{"degraded": 30 * 24 * time.Hour}) {
		t.Errorf("%v, %v", without.Drills, with.Drills)
	}
	if with.Digest != without.Digest {
		t.Error("the digest changes with what decides nothing")
	}
	for _, c := range []struct{ first, second, want string }{
		{", drill_every: 30d", "", "a.yaml:14:33: the first mode is the one all drills lead back to"},
		{"", ", drill_every: 366d", "a.yaml:15:35: drill_every may be at most 1y"},
		{"", ", drill_every: 0s", "a.yaml:15:35: drill_every must be longer than zero"},
		{"", ", drill_every: often", `a.yaml:15:35: drill_every is "often", which is not a duration`},
		{"", ", drill_every: [30d]", "a.yaml:15:35: drill_every must be a duration"},
		{"", ", drill_evry: 30d", `did you mean "drill_every"?`},
	} {
		if _, faults := load(t, Options{}, drillText(c.first, c.second)); faults == nil || !strings.Contains(faults.Error(), c.want) {
			t.Errorf("%s%s: %v", c.first, c.second, faults)
		}
	}
}

func TestAServiceNeedsTheSignalsItsTransitionsRestOn(t *testing.T) {
	var got []string
	for _, n := range mustLoad(t, Options{}, drillText("", "")).Services[0].Needs() {
		got = append(got, fmt.Sprint(n.Signal, " ", n.Conditions, " ", n.Signal.Narrowed))
	}
	want := []string{
		`error_ratio("availability", "5m") [shed.when recover.when] false`,
		`alert("Burns") [shed.when recover.when] false`,
		`sli("p99") [shed.verify recover.rollout] false`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
