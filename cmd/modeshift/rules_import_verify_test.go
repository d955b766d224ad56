package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules/convert"
)

// Whoever compares wants to know of each window the greatest difference, of which series it is, when it was, and why.
func TestADifferenceIsToldWithItsSeriesItsInstantAndItsCause(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	err := printVerified(&streams{err: &out}, []convert.Verified{{Service: "shop", SLO: "checkout",
		Windows: []convert.WindowVerified{
			{Window: 5 * time.Minute, Compared: 60, Greatest: 0.05, At: noon, Theirs: 0.05, Series: `{route="b"}`, Groups: 2, Because: convert.CauseGroups},
			{Window: time.Hour, Compared: 60, Greatest: 0.01, At: noon, Theirs: 0.01, Ours: 0.02, Series: "all together", Groups: 2, Unexplained: 7, First: noon.Add(-time.Hour)},
			{Window: 6 * time.Hour, Compared: 60},
		},
		Tiers: []convert.TierVerified{{Severity: engine.SeverityPage, OnlyTheirs: 3 * time.Minute, First: noon, Series: `{route="b"}`, Unexplained: time.Minute,
			Because: map[convert.Cause]time.Duration{convert.CauseGroups: 2 * time.Minute}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		`5m 60 0.05 2026-03-02 12:00 0.05 of {route="b"}, of 2 0 0 groups`,
		`1h 60 0.01 2026-03-02 12:00 0.01 of all together, of 2 0.02 0 unexplained at 7 of 60 instants, first 2026-03-02 11:00`,
		`6h 60 0 - - - 0 -`,
		`page 0s 3m 0s 2026-03-02 12:00 {route="b"} groups 2m, unexplained 1m`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
