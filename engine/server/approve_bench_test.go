package server

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// gatedShuttle is a service that goes there after one person's yes, with one step, and back without either.
const gatedShuttle = `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: forth
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    approval: {groups: [{role: oncall, count: 1}], within: 1h}
    actions: [{name: step, null: {}}]
  - {name: back, from: [degraded], to: normal, when: 'dwell() > duration("9000h")'}
`

// BenchmarkApproveToStep measures from the moment somebody posts the last yes to the call of the step's kind, over HTTP on
// the loopback: the request, storing the vote, the change and its job, leasing the job, storing the mark that the attempt
// begins.
func BenchmarkApproveToStep(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "shop.yaml")
	writeRules(b, path, gatedShuttle)
	token := secret.New("token-of-bob")
	cfg := testConfig(b, path)
	cfg.TokensFile = filepath.Join(dir, "tokens.yaml")
	writeRules(b, cfg.TokensFile, "[{principal: bob, roles: [oncall], scopes: ['*'], sha256: "+api.HashToken(token)+"}]\n")
	cfg.Limits.Urgent = 0 // nobody answers hundreds of proposals a second but a benchmark
	did := make(chan time.Time, 1)
	s, stop := runServer(b, cfg, map[string]actions.Kind{"null": null{func(engine.StepJob) { did <- time.Now() }}})
	bob, err := api.NewClient(s.URL(), token, nil)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		events, err := move(b.Context(), s, "shop", "degraded")
		if err != nil {
			b.Fatal(err)
		}
		asked, ok := events[0].Fact.(engine.ChangeProposed)
		if !ok {
			b.Fatalf("%s instead of a proposal", events[0].Kind())
		}
		began := time.Now()
		if _, err := bob.Review(b.Context(), asked.Proposal.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: asked.Proposal.Digest, Reason: "bench"}); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-did).Sub(began))
		waitSettled(b, s, "shop", "degraded")
		if _, err := move(b.Context(), s, "shop", "normal"); err != nil {
			b.Fatal(err)
		}
		waitSettled(b, s, "shop", "normal")
	}
	b.StopTimer()
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	p99 := took[min(len(took)-1, len(took)*99/100)]
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
	fmt.Printf("BENCH approve_to_step_ms %.3f ms\n", float64(p99.Microseconds())/1000)
}
