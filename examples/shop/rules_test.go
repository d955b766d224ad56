package shop

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

func TestTheRuleFileIsWhole(t *testing.T) {
	set, err := rules.Load([]rules.File{{Name: "shop.rules.yaml", Data: RulesFor("http://127.0.0.1:4711")}}, rules.Options{
		Interval: time.Second, Findings: true, Kinds: map[string]rules.Kind{"webhook": webhook.NewKind(webhook.KindOptions{FormOnly: true})},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range set.Warnings.Warnings() {
		t.Errorf("a warning: %v", w)
	}
	s := set.Service("shop")
	if s == nil {
		t.Fatal("it declares no scope shop")
	}
	// What the shop's flags rely on: no mode leaves an instance to its own default.
	for _, m := range s.Policy.Modes {
		if _, ok := m.Flags[flagRecommendations].(bool); !ok {
			t.Errorf("mode %s does not say what the flag %s is", m.Name, flagRecommendations)
		}
	}
	var alerts []string
	for _, a := range s.Policy.Alerts {
		alerts = append(alerts, a.SLO+" "+string(a.Severity))
	}
	if !slices.Equal(alerts, []string{"availability ticket", "payments page"}) {
		t.Errorf("the transition shed pages; of its SLO only the ticket is wanted: %q", alerts)
	}
	i := slices.IndexFunc(s.Policy.Transitions, func(t engine.Transition) bool { return t.Name == "fail-over" })
	over := s.Policy.Transitions[i]
	if over.Gate == nil || len(over.Playbook.Steps) != 2 {
		t.Fatalf("failing over has %d steps and the gate %+v", len(over.Playbook.Steps), over.Gate)
	}
	if step := over.Playbook.Steps[1]; !step.Destructive || step.UndoSpec == "" || over.Playbook.Steps[0].Destructive {
		t.Errorf("repointing is what does harm, and can be taken back: %+v", over.Playbook.Steps)
	}
	for _, step := range over.Playbook.Steps {
		if !strings.Contains(step.Spec, "http://127.0.0.1:4711/") {
			t.Errorf("%s does not go to the router: %s", step.Name, step.Spec)
		}
	}
	if bytes.Contains(RulesFor("http://127.0.0.1:4711"), []byte(routerAddress)) {
		t.Error("the address of the rule file is still there")
	}
}

func TestTheRuleFilesOfTheProductAreWhole(t *testing.T) {
	files := []rules.File{{Name: "product.rules.yaml", Data: ProductRules()}}
	for i, name := range Services {
		data := ServiceRules(name)
		if i%2 == 1 {
			data = MaintenanceRules(name, time.Date(2026, 11, 26, 13, 7, 0, 0, time.UTC), 45*time.Second)
		}
		files = append(files, rules.File{Name: name + ".rules.yaml", Data: data})
	}
	set, err := rules.Load(files, rules.Options{Interval: time.Second, Findings: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range set.Warnings.Warnings() {
		t.Errorf("a warning: %v", w)
	}
	for _, name := range Services {
		s := set.Service(engine.Scope(name))
		if s == nil || s.Policy.Parent != Product {
			t.Fatalf("%s does not stand below %s: %+v", name, Product, s)
		}
		for _, m := range s.Policy.Modes {
			if _, ok := m.Flags[flagRecommendations].(bool); !ok {
				t.Errorf("mode %s of %s does not say what the flag %s is", m.Name, name, flagRecommendations)
			}
			if !slices.Contains(modes, m.Name) {
				t.Errorf("instances of %s do not know the mode %s", name, m.Name)
			}
		}
	}
	window := set.Service(engine.Scope(Services[1])).Schedule("migration")
	for at, want := range map[string]bool{"13:06:59": false, "13:07:00": true, "13:07:44": true, "13:07:45": false} {
		clock, err := time.Parse(time.DateTime, "2026-11-27 "+at)
		if err != nil {
			t.Fatal(err)
		}
		if window.Active(clock) != want {
			t.Errorf("the window is open at %s: %t", at, !want)
		}
	}
}
