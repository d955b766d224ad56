package ruletest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/ruletest"
)

// BenchmarkScenarios runs one scenario of each kind over three days, at a tick every fifteen seconds, as one file of tests. A hundred
// of them are in test/bench.
func BenchmarkScenarios(b *testing.B) {
	kinds, err := server.FormKinds()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(shop), 0o600); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("rule_files: [rules.yaml]\ntests:\n")
	names := []string{"total-outage", "partial-outage", "slow-burn", "spike-train", "counter-reset", "scrape-gap", "first-error", "restart", "prometheus-away", "no-traffic"}
	for i, name := range names {
		fmt.Fprintf(&text, "  - name: scenario %d\n    scenarios: [{name: %s, slo: availability, at: %dm}]\n", i, name, 60+7*i)
		text.WriteString("    input_series: [{series: queue_length, values: 3x17290}]\n    expect: [{at: 3d, mode: normal}, {at: 59m, mode: normal, incidents: []}]\n")
	}
	for b.Loop() {
		f, err := ruletest.Parse(rules.File{Name: filepath.Join(dir, "test.yaml"), Data: []byte(text.String())}, ruletest.Options{Kinds: kinds})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range ruletest.RunAll(b.Context(), []*ruletest.File{f}, nil, nil) {
			if !r.Passed {
				b.Fatalf("%s: %s %+v", r.Name, r.Error, r.Failures)
			}
		}
	}
	fmt.Printf("BENCH rules_test_scenario_ms %.0f ms\n", float64(b.Elapsed().Milliseconds())/float64(b.N*len(names)))
}
