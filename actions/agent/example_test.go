package agent_test

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modehttp"
	"github.com/modeshift/modeshift/actions/modelog"
	"github.com/modeshift/modeshift/engine"
)

// A service that follows its mode, tells its callers, and tags its logs.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	mode, err := agent.New(agent.Options{
		Server: "https://modeshift.internal", TokenFile: "/run/secrets/modeshift", Scope: "checkout", StateDir: "/var/lib/checkout",
		Modes:     []engine.Mode{"normal", "degraded", "read-only"},
		ColdStart: &engine.Fallback{Mode: "read-only", Flags: engine.Flags{"writes": false}},
	})
	if err != nil {
		log.Fatal(err)
	}
	slog.SetDefault(slog.New(modelog.New(slog.NewJSONHandler(os.Stderr, nil), mode)))
	mode.OnChange(func(_ context.Context, old, now *agent.State) error {
		slog.Info("another mode", "from", old.Mode, "to", now.Mode)
		return nil // only now it is in force, and reported as applied
	})
	go func() {
		if err := mode.Run(ctx); err != nil {
			log.Print(err)
		}
	}()
	if err := mode.Wait(ctx); err != nil { // for the first mode: from the server, from disk, or declared
		log.Print(err)
		return
	}
	http.HandleFunc("POST /orders", func(w http.ResponseWriter, _ *http.Request) {
		if !mode.Bool("writes", true) {
			http.Error(w, "read only for a while", http.StatusServiceUnavailable)
		}
	})
	shop := &http.Server{Addr: ":8080", Handler: modehttp.Middleware(mode, modehttp.Options{Exempt: []string{"/healthz"}})(http.DefaultServeMux)}
	context.AfterFunc(ctx, func() { _ = shop.Close() })
	log.Print(shop.ListenAndServe())
}
