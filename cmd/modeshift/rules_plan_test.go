package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/rules"
)

const plannedText = `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded, flags: {writes: true}}, {name: failover, beside: true, flags: {region: eu}}]
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: "sum(rate(errors_total[{{.window}}]))", total_query: "sum(rate(all_total[{{.window}}]))"}}
    alerting: {name: Shop, page_alert: {}, ticket_alert: {}}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")'}
  - name: fail-over
    from: [degraded]
    to: failover
    when: burn_rate("availability", "5m") > 14.4
    approval: {groups: [{role: oncall}, {role: lead, count: 2}], within: 15m}
`

func outlined(t *testing.T, text string) *outline.Service {
	t.Helper()
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(text)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Services[0].Outline()
}

func TestWhatBecomesOfWhatIsUnderWayIsSaid(t *testing.T) {
	gate := []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 2}}
	asked := api.ApprovalSummary{ID: "shop-7", Scope: "shop", Transition: "fail-over", From: "degraded", To: "failover", Groups: gate, Missing: gate}
	voted := asked
	voted.Missing = gate[1:]
	of := func(p api.ApprovalSummary) []api.ApprovalSummary {
		other := p
		other.Scope, other.ID = "cart", "cart-7" // is none of its business
		return []api.ApprovalSummary{p, other}
	}
	held := voted
	held.Change = "shop-9"
	degraded := api.Scope{Directive: &engine.Directive{Mode: "degraded", Revision: 3}, Instances: engine.Instances{Known: 2}}
	burning, changing := degraded, degraded
	burning.Incidents = []engine.Incident{{ID: "shop-4", Kind: engine.IncidentSLO, Subject: "slo/availability/ticket", Severity: engine.SeverityTicket}}
	changing.Change = &engine.Change{ID: "shop-5"}
	for _, c := range []struct {
		name     string
		now      api.Scope
		waiting  []api.ApprovalSummary
		old, new string // edit; an empty new text: no file declares it any more
		want     []string
	}{
		{"nothing waits", degraded, nil, "within: 15m", "within: 20m", nil},
		{"a proposal nobody has answered", degraded, of(asked), "within: 15m", "within: 20m", []string{"the proposal shop-7 (fail-over) is asked again, as it reads then"}},
		{"one somebody has said yes to", degraded, of(voted), "within: 15m", "within: 20m", []string{"the proposal shop-7 (fail-over) is asked again, as it reads then: 1 yes so far counts no more"}},
		{"the mode it leads to is another", degraded, of(asked), "region: eu", "region: us", []string{"the proposal shop-7 (fail-over) is asked again, as it reads then"}},
		{"what its condition rests on is another", degraded, of(asked), "rate(errors_total", "rate(faults_total", []string{
			"the proposal shop-7 (fail-over) is asked again, as it reads then", "the error budget of availability is read anew, by what it measures then"}},
		{"how often that mode is to be used is another", degraded, of(voted), "service: shop\nmodes: [{name: normal}, {name: degraded, flags: {writes: true}}, {name: failover, ",
			"service: shop\nowner: ann\nmodes: [{name: normal}, {name: degraded, flags: {writes: true}}, {name: failover, drill_every: 30d, ", nil},
		{"a transition beside it is another", degraded, of(voted), "name: shed,", "name: shed, for: 1m,", nil},
		{"its gate is gone", degraded, of(voted), "    approval: {groups: [{role: oncall}, {role: lead, count: 2}], within: 15m}\n", "", []string{"the proposal shop-7 (fail-over) is withdrawn"}},
		{"it is gone", degraded, of(voted), "  - name: fail-over\n", "  - name: over\n", []string{"the proposal shop-7 (fail-over) is withdrawn"}},
		{"its change has begun", changing, of(held), "within: 15m", "within: 20m", []string{"the change shop-5 under way goes on by the plan it was stored with"}},
		{"the mode in force tells other flags", degraded, nil, "writes: true", "writes: false", []string{"degraded is in force: 2 instances are told its other flags at once"}},
		{"another mode does", degraded, nil, "region: eu", "region: us", nil},
		{"a change is under way", changing, nil, "writes: true", "writes: false", []string{"the change shop-5 under way goes on by the plan it was stored with"}},
		{"a tier is gone", burning, nil, "ticket_alert: {}", "ticket_alert: {disable: true}", []string{"the open ticket shop-4 (slo/availability/ticket) ends: nobody watches it any more"}},
		{"all of it is gone", changing, of(voted), plannedText, "", []string{"it is retired in degraded: its 2 instances keep the directive 3, whatever their lease is",
			"the change shop-5 under way ends there, and its steps are not taken back: modeshift cancel shop-5 first", "the proposal shop-7 (fail-over) is withdrawn"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(plannedText, c.old) {
				t.Fatalf("%q is not in the file", c.old)
			}
			var after *outline.Service
			if text := strings.Replace(plannedText, c.old, c.new, 1); text != "" {
				after = outlined(t, text)
			}
			if got := effectsOn(&c.now, c.waiting, outlined(t, plannedText), after); !slices.Equal(got, c.want) {
				t.Errorf("it says %q\nwant %q", got, c.want)
			}
		})
	}
}

// A service that is new has no rules it could stay on.
func TestWhatIsRefusedStaysAsItIsOrDoesNotCome(t *testing.T) {
	p := planned{Services: []plannedService{
		{Scope: "shop", What: outline.Changed, Refused: true, Digest: fromTo{From: "aaaa", To: "bbbb"}},
		{Scope: "cart", What: outline.Added, Refused: true, Digest: fromTo{To: "cccc"}},
	}}
	var b strings.Builder
	if err := p.print(&b, 2); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shop: changed, and refused: it stays as it is (rules aaaa)\n", "cart: added, and refused: it does not come into force\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
