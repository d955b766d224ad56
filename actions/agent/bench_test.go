package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

// inMode is an agent whose mode is in force.
func inMode(tb testing.TB) *agent.Agent {
	a, err := agent.New(agent.Options{
		Server: "http://127.0.0.1:1", Scope: "checkout", Instance: "web-1", StateDir: tb.TempDir(), Logger: slog.New(slog.DiscardHandler),
		ColdStart: &engine.Fallback{Mode: "degraded", Flags: engine.Flags{"writes": false, "gateway": "backup"}}, StartWait: 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(context.Background()) }()
	if err := a.Wait(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	// Nothing but reading happens from here on.
	a.Close()
	if err := <-ended; err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestReadingAllocatesNothing(t *testing.T) {
	a := inMode(t)
	for name, read := range map[string]func(){
		"the mode": func() { _, _ = a.Mode() }, "what is in force": func() { _ = a.Current() },
		"a flag": func() { _ = a.Bool("writes", true) }, "a text": func() { _ = a.String("gateway", "") },
	} {
		if n := testing.AllocsPerRun(1000, read); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkMode reads the mode, beside the OpenFeature SDK with its provider in memory, which is how a program reads a mode that is a flag.
func BenchmarkMode(b *testing.B) {
	a := inMode(b)
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		var modes int
		for b.Loop() {
			if mode, ok := a.Mode(); ok && mode == "degraded" {
				modes++
			}
		}
		if modes == 0 {
			b.Error("not in the mode")
		}
		fmt.Printf("BENCH sdk_mode_ns %.2f ns\nBENCH sdk_mode_allocs %.0f allocs\n", perOp(b), testing.AllocsPerRun(1000, func() { _, _ = a.Mode() }))
	})
	b.Run("sdk flag", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = a.Bool("writes", true)
		}
		fmt.Printf("BENCH sdk_flag_ns %.2f ns\n", perOp(b))
	})
	b.Run("openfeature", func(b *testing.B) {
		provider := memprovider.NewInMemoryProvider(map[string]memprovider.InMemoryFlag{
			"mode": {Key: "mode", State: memprovider.Enabled, DefaultVariant: "degraded", Variants: map[string]any{"normal": "normal", "degraded": "degraded"}},
		})
		if err := openfeature.SetNamedProviderAndWait("bench", provider); err != nil {
			b.Fatal(err)
		}
		client, ctx := openfeature.NewClient("bench"), context.Background()
		read := func() {
			if mode, err := client.StringValue(ctx, "mode", "", openfeature.EvaluationContext{}); err != nil || mode != "degraded" {
				b.Fatal(mode, err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			read()
		}
		fmt.Printf("BENCH openfeature_mode_ns %.1f ns\nBENCH openfeature_mode_allocs %.0f allocs\n", perOp(b), testing.AllocsPerRun(1000, read))
	})
}

func perOp(b *testing.B) float64 { return float64(b.Elapsed().Nanoseconds()) / float64(b.N) }
