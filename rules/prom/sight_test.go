package prom

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/test/promtest"
)

// looked is a service whose transitions rest on signals that are there, and on signals that are missing in every way.
const looked = `version: modeshift/v1
service: shop
slos:
  - name: fine
    objective: 99
    sli: {events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
    min_events: 3000 # in five minutes there are 3300
  - name: few
    objective: 99
    sli: {events: {error_query: 'sum(rate(few_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(few_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
    min_events: 100 # in five minutes there are 30
  - name: idle
    objective: 99
    sli: {events: {error_query: 'sum(rate(idle_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(idle_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: quiet
    objective: 99
    sli: {events: {error_query: 'sum(rate(idle_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(idle_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
    no_traffic: good
  - name: elsewhere
    objective: 99
    source: west
    sli: {raw: {error_ratio_query: 'sum(rate(bad_total[{{.window}}])) / sum(rate(bad_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
slis:
  - {name: gone, query: max(long_gone_total)}
  - {name: broken, query: 'good_total + on() group_left bad_total'}
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burn_rate("fine", "5m") > 2.0 && burn_rate("few", "5m") > 2.0 && burn_rate("idle", "5m") > 2.0 && burn_rate("quiet", "5m") > 2.0 && burn_rate("elsewhere", "5m") > 2.0
  - {name: recover, from: [degraded], to: normal, when: 'sli("gone") < 1 && sli("broken") < 1 && !alert("Declared") && !alert("Fired") && !alert("Mispelt")'}
`

func TestEachSignalThatTransitionsRestOnIsLookedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), []byte("groups: [{name: shop, rules: [{alert: Declared, expr: vector(1) > 2}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	prometheus := promtest.Start(t, promtest.Options{Config: "rule_files: [" + filepath.Join(dir, "rules.yml") + "]\n"})
	prometheus.Push(append(shopData(), promtest.Counter("up", noon.Add(-time.Hour), noon, 15*time.Second, 1, 0),
		promtest.Counter(`ALERTS{alertname="Fired",alertstate="firing"}`, noon.Add(-2*time.Hour), noon.Add(-time.Hour), 15*time.Second, 1, 0))...)
	set := load(t, "shop.yaml", looked)
	e := New(set, dial(t, prometheus.URL), Options{QueryOffset: -1})
	got := told(e.Sightings(t.Context(), "shop", noon))
	want := `error_ratio("fine", "5m"): yes; 3000 in 5m: for all of the day
error_ratio("few", "5m"): yes; 100 in 5m: for none of the day
error_ratio("idle", "5m"): yes; 1 in 5m: for none of the day
error_ratio("quiet", "5m"): yes
error_ratio("elsewhere", "5m"): cannot tell: no source is called "west": name one of modeshift.yaml's prometheus entries
sli("gone"): no: absent: no such series, or no sample in its range
sli("broken"): cannot tell: failed: execution: found duplicate series
alert("Declared"): yes
alert("Fired"): yes
alert("Mispelt"): no: the source has no such alerting rule, and it has not fired in the last 30d`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if e.Sightings(t.Context(), "nobody", noon) != nil {
		t.Error("a scope without rules has signals")
	}

	away := New(set, dial(t, "http://127.0.0.1:1"), Options{QueryOffset: -1})
	for _, s := range away.Sightings(t.Context(), "shop", noon) {
		if s.Seen != readiness.CannotTell || s.Traffic != nil || !strings.Contains(s.Why, "connection refused") && !strings.Contains(s.Why, "west") {
			t.Errorf("a source that is away: %+v", s)
		}
	}
}

func told(list []readiness.Sighting) string {
	var lines []string
	for _, s := range list {
		line := s.Signal + ": " + string(s.Seen)
		if s.Why != "" {
			why, _, _ := strings.Cut(s.Why, " for the match group")
			line += ": " + why
		}
		if x := s.Traffic; x != nil {
			share := map[float64]string{0: "none", 1: "all"}[x.Share]
			if x.Why != "" {
				share = x.Why
			}
			line += fmt.Sprintf("; %g in %s: for %s of the day", x.Least, x.Window, share)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
