package api

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func TestADeploymentGoesAheadOnlyWhereNothingSpeaksAgainstItAndAllIsKnown(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 20, 0, time.UTC)
	ann := engine.Actor{Principal: "ann"}
	page := engine.Incident{ID: "shop-7", Kind: engine.IncidentSLO, Subject: "slo/availability/page", Severity: engine.SeverityPage, Opened: now}
	left := func(share float64) []Budget { return []Budget{{SLO: "availability", Known: true, Remaining: share}} }
	for _, c := range []struct {
		name   string
		change func(*gateView)
		want   Answer
		check  string // the first that is not yes
		why    string // its words, where they matter
	}{
		{name: "normal, and nothing out of the ordinary", change: func(*gateView) {}, want: AnswerYes},

		{"another mode", func(g *gateView) { g.State.Mode, g.State.Target = "degraded", "degraded" }, AnswerNo, "mode", "it is in degraded, and a deployment may go ahead in normal"},
		{name: "another mode that is allowed", change: func(g *gateView) {
			g.State.Mode, g.State.Target, g.allow = "degraded", "degraded", []engine.Mode{"normal", "degraded"}
		}, want: AnswerYes},
		{"a first mode that is not allowed", func(g *gateView) { g.allow = []engine.Mode{"degraded"} }, AnswerNo, "mode", ""},
		{"a change that is published, but not settled", func(g *gateView) {
			g.State.Target, g.State.Change = "degraded", &engine.Change{ID: "shop-3", From: "normal", To: "degraded"}
		}, AnswerNo, "change", "shop-3 from normal to degraded is under way, and a deployment may go ahead in normal"},
		{"a change whose actions come before its directive", func(g *gateView) {
			g.State.Change = &engine.Change{ID: "shop-3", From: "normal", To: "degraded"}
		}, AnswerNo, "change", ""},
		{"a way back that is not settled", func(g *gateView) {
			g.State.Mode, g.State.Change = "degraded", &engine.Change{ID: "shop-4", From: "degraded", To: "normal"}
		}, AnswerNo, "mode", ""},
		{"a change that is taken back", func(g *gateView) {
			g.State.Change = &engine.Change{ID: "shop-3", From: "normal", To: "degraded", Undoing: true}
		}, AnswerNo, "change", ""},
		{name: "a change both ends of which are allowed", change: func(g *gateView) {
			g.State.Target, g.State.Change, g.allow = "degraded", &engine.Change{ID: "shop-3", From: "normal", To: "degraded"}, []engine.Mode{"normal", "degraded"}
		}, want: AnswerYes},
		{"a scope that has no mode yet", func(g *gateView) { g.State.Mode, g.State.Target = "", "" }, AnswerUnknown, "mode", ""},
		{name: "a scope of alerts only", change: func(g *gateView) {
			g.State.Mode, g.State.Target, g.Policy.Modes, g.allow = "", "", nil, nil
		}, want: AnswerYes},

		{"more is asked for from above, and a pin keeps it out", func(g *gateView) {
			g.State.Imposed = []engine.Imposition{{Parent: "mall", In: "closed", Mode: "degraded"}}
		}, AnswerNo, "imposed", "mall is in closed, which asks for degraded at least"},
		{"it is asked for from above over a mode beside the others", func(g *gateView) {
			g.State.Mode, g.State.Target, g.allow = "failover", "failover", []engine.Mode{"failover"}
			g.State.Imposed = []engine.Imposition{{Parent: "mall", In: "closed", Mode: "degraded"}}
		}, AnswerNo, "imposed", ""},
		{name: "and both are allowed", change: func(g *gateView) {
			g.State.Mode, g.State.Target, g.allow = "failover", "failover", []engine.Mode{"failover", "degraded"}
			g.State.Imposed = []engine.Imposition{{Parent: "mall", In: "closed", Mode: "degraded"}}
		}, want: AnswerYes},
		{name: "no more is asked for from above than where it is", change: func(g *gateView) {
			g.State.Mode, g.State.Target, g.allow = "degraded", "degraded", []engine.Mode{"degraded"}
			g.State.Imposed = []engine.Imposition{{Parent: "mall", In: "slow", Mode: "normal"}, {Parent: "mall", In: "closed", Mode: "degraded"}}
		}, want: AnswerYes},

		{"the scope is frozen", func(g *gateView) {
			g.State.Freeze = &engine.Freeze{By: ann, Reason: "migration", Until: now.Add(time.Hour)}
		}, AnswerNo, "freeze", "automation is frozen here until 2026-11-26 13:00:20 UTC, by ann: migration"},
		{"everything is frozen", func(g *gateView) { g.fleet.Freeze = &engine.Freeze{By: ann, Reason: "holidays"} }, AnswerNo, "freeze", "all automation is frozen until it is released, by ann: holidays"},
		{"it is pinned to another mode", func(g *gateView) {
			g.State.Pin = &engine.Pin{Mode: "degraded", By: ann, Reason: "drill", Until: now.Add(time.Hour)}
		}, AnswerNo, "pin", "it is pinned to degraded until 2026-11-26 13:00:20 UTC, by ann: drill"},
		{name: "it is pinned to this mode", change: func(g *gateView) { g.State.Pin = &engine.Pin{Mode: "normal", By: ann} }, want: AnswerYes},

		{"somebody was paged", func(g *gateView) { g.State.Incidents = []engine.Incident{page} }, AnswerNo, "incidents", "somebody was paged at 2026-11-26 12:00:20 UTC: slo/availability/page (shop-7)"},
		{"somebody was told by a severity that is louder", func(g *gateView) {
			loud := page
			loud.Severity = "louder"
			g.State.Incidents = []engine.Incident{loud}
		}, AnswerNo, "incidents", ""},
		{"a ticket that burned on woke somebody in the end", func(g *gateView) {
			g.State.Incidents = []engine.Incident{{Kind: engine.IncidentSLO, Severity: engine.SeverityTicket, Escalated: engine.SeverityPage}}
		}, AnswerNo, "incidents", ""},
		{name: "the deployment is what ends the incident", change: func(g *gateView) { g.State.Incidents, g.ignoreIncidents = []engine.Incident{page}, true }, want: AnswerYes},
		{"a page is kept quiet by the mode", func(g *gateView) {
			g.State.Suppressed = []engine.Suppressed{{Subject: "slo/availability/page", Severity: engine.SeverityPage, Mode: "maintenance", Since: page.Opened}}
		}, AnswerNo, "incidents", "maintenance keeps a page quiet since 2026-11-26 12:00:20 UTC: slo/availability/page"},
		{name: "a ticket is kept quiet by the mode", change: func(g *gateView) {
			g.State.Suppressed = []engine.Suppressed{{Subject: "slo/availability/ticket", Severity: engine.SeverityTicket, Mode: "maintenance"}}
		}, want: AnswerYes},
		{name: "a ticket waits for a working day", change: func(g *gateView) {
			g.State.Incidents = []engine.Incident{{Kind: engine.IncidentSLO, Severity: engine.SeverityTicket}}
		}, want: AnswerYes},

		{name: "just as much of the budget is left as is wanted", change: func(g *gateView) { g.minBudget, g.budgets = 0.1, left(0.1) }, want: AnswerYes},
		{"a little less of the budget is left", func(g *gateView) { g.minBudget, g.budgets = 0.1, left(0.0949) }, AnswerNo, "budget/availability", "9.49 % is left, and 10 % is wanted"},
		{"the budget is overspent, and any is wanted", func(g *gateView) { g.minBudget, g.budgets = 0, left(-0.01) }, AnswerNo, "budget/availability", ""},
		{name: "the budget is overspent, and nobody asked", change: func(g *gateView) { g.budgets = left(-3) }, want: AnswerYes},
		{"one of several budgets is spent", func(g *gateView) {
			g.minBudget, g.budgets = 0.1, append(left(0.9), Budget{SLO: "latency", Known: true, Remaining: 0.05})
		}, AnswerNo, "budget/latency", ""},
		{"a budget is not known", func(g *gateView) {
			g.minBudget, g.budgets = 0.1, []Budget{{SLO: "availability", Unknown: "little known", Remaining: 1}}
		}, AnswerUnknown, "budget/availability", "what is left is not known: little known"},
		{"no budget is known", func(g *gateView) { g.minBudget = 0.1 }, AnswerUnknown, "budget", ""},

		{"a condition is out of sight", func(g *gateView) { g.State.Blind = []engine.Blind{{Subject: "shed.when", Since: now}} }, AnswerUnknown, "sight", ""},
		{"its source is out of sight for everybody", func(g *gateView) {
			g.Observed.Conditions[0] = engine.Observation{Asked: true, Blind: true}
		}, AnswerUnknown, "sight", "shed.when could not be seen at the last evaluation"},
		{name: "too little traffic is no want of sight", change: func(g *gateView) { g.Observed.Conditions[0] = engine.Observation{Asked: true} }, want: AnswerYes},
		{name: "an evaluation two intervals ago", change: func(g *gateView) { g.Observed.Instant = now.Add(-30 * time.Second) }, want: AnswerYes},
		{"an evaluation longer ago than two intervals", func(g *gateView) { g.Observed.Instant = now.Add(-30*time.Second - 1) }, AnswerUnknown, "evaluation", ""},
		{"no evaluation since the start", func(g *gateView) { g.Observed = nil }, AnswerUnknown, "evaluation", ""},
		{name: "a scope with nothing to evaluate", change: func(g *gateView) { g.Observed, g.Policy.Conditions = nil, nil }, want: AnswerYes},
		{"the log cannot be written", func(g *gateView) { g.doubts = []Check{{Name: "log", Detail: "disk full"}} }, AnswerUnknown, "log", "disk full"},
		{"a retired scope", func(g *gateView) { g.State.Retired, g.Policy, g.Observed = true, nil, nil }, AnswerUnknown, "rules", ""},
		{"a scope without rules", func(g *gateView) { g.Policy, g.Observed = nil, nil }, AnswerUnknown, "rules", ""},

		{"no is no, though the rest cannot be told", func(g *gateView) {
			g.Observed, g.fleet.Freeze = nil, &engine.Freeze{By: ann, Reason: "holidays"}
		}, AnswerNo, "freeze", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := engine.Policy{Scope: "shop", Interval: 15 * time.Second, Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "failover", Beside: true}}, Conditions: []engine.Condition{{Name: "shed.when"}}}
			g := gateView{now: now, minBudget: math.NaN(), doubts: []Check{{Name: "log", OK: true}}, View: engine.View{
				Policy: &p, State: engine.State{Scope: "shop", Mode: "normal", Target: "normal"},
				Observed: &engine.Observed{Instant: now.Add(-20 * time.Second), Conditions: []engine.Observation{{Asked: true, Truth: engine.False}}},
			}}
			c.change(&g)
			if err := g.modes(); err != nil {
				t.Fatal(err)
			}
			got := g.judge()
			i := slices.IndexFunc(got.Checks, func(k GateCheck) bool { return k.Answer != AnswerYes })
			switch {
			case got.Answer != c.want:
				t.Errorf("it says %s: %+v", got.Answer, got.Checks)
			case (i < 0) != (c.check == ""):
				t.Errorf("it says why not: %+v", got.Checks)
			case i >= 0 && (got.Checks[i].Name != c.check || c.why != "" && got.Checks[i].Why != c.why):
				t.Errorf("it is %s for %+v", got.Answer, got.Checks[i])
			}
		})
	}
}

func TestAModeThatTheScopeHasNotIsNoReasonButAMistake(t *testing.T) {
	p := engine.Policy{Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}}}
	g := gateView{View: engine.View{Policy: &p, State: engine.State{Scope: "shop"}}, allow: []engine.Mode{"normal", "degradde"}}
	if err := g.modes(); err == nil || asProblem(err).Status != 400 || asProblem(err).Detail != `allow: shop has no mode "degradde"; it has normal, degraded` {
		t.Errorf("it says %v", err)
	}
	p.Modes = nil
	if err := g.modes(); err == nil || asProblem(err).Status != 400 {
		t.Errorf("of a scope without modes it says %v", err)
	}
}
