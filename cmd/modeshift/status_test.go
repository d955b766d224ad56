package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

func TestStatusSaysWhoElseWasToldOfAnIncident(t *testing.T) {
	opened := time.Now().Add(-time.Hour)
	incident := func(id engine.IncidentID) engine.Incident {
		return engine.Incident{ID: id, Kind: engine.IncidentSLO, Subject: "slo/availability/page", Severity: engine.SeverityPage, Opened: opened}
	}
	quiet, told, alone := incident("shop-1"), incident("shop-2"), incident("shop-3")
	told.Escalated, alone.Alone = engine.SeverityExec, true
	var out bytes.Buffer
	if err := printScope(&out, api.Scope{Scope: "shop", Automation: engine.AutomationOn, Incidents: []engine.Incident{quiet, told, alone}}, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"incident   page shop-1: slo/availability/page, 1h ago\n",
		"incident   page → exec shop-2: slo/availability/page, 1h ago\n",
		"incident   page shop-3: slo/availability/page, 1h ago, BURNS ON: nobody is configured to be told further\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	if strings.Contains(out.String(), "automation") {
		t.Errorf("automation that is on, and did not only suggest, is no news: %q", out.String())
	}
}
