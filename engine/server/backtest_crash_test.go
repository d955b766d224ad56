package server

import (
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/report"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// Each team is led through the time on a goroutine of its own.
func TestAPanicAboutOneServiceLeavesTheOthersInABacktest(t *testing.T) {
	store, err := series.New()
	if err != nil {
		t.Fatal(err)
	}
	set := ruleSet(t, shedding("cart", ""), shedding("checkout", ""), shedding("search", ""))
	set.Service("checkout").Conditions = nil // which its policy asks for by number
	to := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	b := backtest{BacktestOptions: BacktestOptions{From: to.Add(-time.Hour), To: to, Step: time.Minute, Approve: -1, Labels: []report.Label{{Service: "checkout", Start: to.Add(-time.Hour), End: to}},
		Versions: []BacktestRules{{Name: "rules", Set: set}}}, patient: prom.NewPatient(store.API(), prom.PatientOptions{OnFail: func(err error) { t.Error(err) }})}
	out, err := b.run(t.Context())
	if out == nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range out.Versions[0].Services {
		names = append(names, string(s.Scope))
	}
	if strings.Join(names, " ") != "cart search" {
		t.Errorf("the services are %v", names)
	}
	if list := crash.Of(err); len(list) != 1 || !strings.HasPrefix(err.Error(), "checkout: ") || !strings.Contains(err.Error(), "modeshift failed, which is a fault of its own") {
		t.Errorf("%v", err)
	}
	if last := out.Notes[len(out.Notes)-1]; !strings.HasPrefix(last, "Not in here, nor judged by incidents: checkout: ") || !strings.Contains(last, "modeshift failed") {
		t.Errorf("the last note is %q", last)
	}
	if out.Versions[0].Score != nil {
		t.Error("it is judged by an incident of what is not in it")
	}
}
