package main

import (
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

func TestWhatIsQuietIsSeen(t *testing.T) {
	since := time.Now().Add(-time.Hour)
	var b strings.Builder
	if err := printStatus(&b, api.Status{Ready: true}, []api.Summary{{Scope: "shop", Mode: "maintenance", Target: "maintenance", Suppressed: 2, Paused: []string{"latency"}}}); err != nil {
		t.Fatal(err)
	}
	if err := printScope(&b, api.Scope{Scope: "shop", Mode: "maintenance", Target: "maintenance",
		Suppressed: []engine.Suppressed{{Subject: "slo/availability/page", Severity: engine.SeverityPage, Mode: "maintenance", Since: since}},
		Pauses:     []engine.Pause{{SLO: "latency", Mode: "maintenance", Change: "shop-4", From: since}}}, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"latency paused, 2 kept quiet\n", "quiet      page slo/availability/page, kept by maintenance, 1h ago\n", "paused     latency by maintenance (shop-4) since ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestHistorySaysWhatNobodyWasTold(t *testing.T) {
	for _, c := range []struct {
		fact engine.Fact
		want string
	}{
		{engine.IncidentSuppressed{Suppressed: engine.Suppressed{Severity: engine.SeverityPage}, Summary: "shop: SLO availability burns"}, "KEPT QUIET, a page: shop: SLO availability burns"},
		{engine.SuppressionEnded{Subject: "slo/availability/page", Severity: engine.SeverityPage}, "page slo/availability/page: nothing is left to be told"},
		{engine.PauseEnded{SLOs: []string{"availability", "latency"}}, "availability, latency: not paused any more"},
		{engine.GlassBroken{Person: "ann", Transition: "migrate"}, "BREAK-GLASS: ann went on alone; nothing is paused"},
		{engine.GlassBroken{Person: "ann", Transition: "migrate", Groups: []engine.Group{{Role: "oncall", Count: 1}}}, "BREAK-GLASS: ann went around the gate of migrate (oncall:1)"},
		{engine.ChangeStarted{Change: "shop-4", Transition: "migrate", From: "normal", To: "maintenance", Plan: engine.Plan{Into: engine.ModeRule{Pause: []string{"latency"}}}},
			"change shop-4 started: normal → maintenance (migrate), which pauses latency"},
	} {
		if got := describe(engine.Event{Fact: c.fact}); got != c.want {
			t.Errorf("%T: %q", c.fact, got)
		}
	}
}

func TestWhoApprovesIsToldWhatIsQuietThen(t *testing.T) {
	var b strings.Builder
	if err := printApproval(&b, api.Approval{Pauses: []string{"availability"}, Suppress: &engine.Suppress{SLOs: []string{"latency"}, Severities: []engine.Severity{engine.SeverityTicket}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"availability: no tier of it tells anybody, and the time does not count in its budget\n", "ticket of latency\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
