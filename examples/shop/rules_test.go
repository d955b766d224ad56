package shop

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

func TestTheRuleFileIsWhole(t *testing.T) {
	set, err := rules.Load([]rules.File{{Name: "shop.rules.yaml", Data: Rules}}, rules.Options{Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range set.Warnings {
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
	if len(s.Policy.Alerts) != 1 || s.Policy.Alerts[0].Severity != engine.SeverityTicket {
		t.Errorf("the transition pages; of the SLO only the ticket is wanted: %+v", s.Policy.Alerts)
	}
}
