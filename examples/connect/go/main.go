// A service that follows its mode by the Go SDK.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modehttp"
	"github.com/modeshift/modeshift/actions/modelog"
	"github.com/modeshift/modeshift/actions/modemetrics"
	"github.com/modeshift/modeshift/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil { // to be interrupted is no error
		slog.Error("checkout ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	lines := slog.NewJSONHandler(os.Stderr, nil)
	mode, err := agent.New(agent.Options{
		Server:    os.Getenv("MODESHIFT_SERVER"),
		TokenFile: os.Getenv("MODESHIFT_TOKEN_FILE"), // read at each connection
		Scope:     "checkout",
		Instance:  os.Getenv("INSTANCE"),  // one of a kind in the scope; empty: the host's name
		StateDir:  os.Getenv("STATE_DIR"), // keeps the last directive for a start without the server
		Version:   "1.4.2",
		Logger:    slog.New(lines),
		// A mode that the program does not know is not applied, and reported as failed.
		Modes: []engine.Mode{"normal", "degraded", "maintenance"},
		// For the very first start, without the server and with nothing on disk. Left out: the program has no mode then.
		ColdStart: &engine.Fallback{Mode: "degraded", Flags: engine.Flags{"recommendations": false, "workers": 2.0}},
	})
	if err != nil {
		return err
	}
	slog.SetDefault(slog.New(modelog.New(lines, mode))) // each line says the mode
	prometheus.MustRegister(modemetrics.New(mode))

	// What has to be done for a mode is done here. Until this has returned nil the mode is not in force, and nobody is told that
	// it is; an error is reported, and it is called again later.
	var workers atomic.Int64
	mode.OnChange(func(_ context.Context, _, now *agent.State) error {
		n := now.Float("workers", 8)
		if n < 0 || n > 64 {
			return fmt.Errorf("%g workers cannot be had", n)
		}
		workers.Store(int64(n))
		slog.Info("the mode changes", "to", now.Mode, "workers", n)
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- mode.Run(ctx) }()
	if err := mode.Wait(ctx); err != nil { // no requests before there is a mode
		return err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "%d workers; recommendations: %t\n", workers.Load(), mode.Bool("recommendations", true)) // one atomic load
	})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /metrics", promhttp.Handler())
	// Answers bear the mode. In one that is `unavailable` they are 503, with its message; who checks health gets an answer.
	server := &http.Server{
		Addr:              os.Getenv("LISTEN"),
		Handler:           modehttp.Middleware(mode, modehttp.Options{Exempt: []string{"/healthz", "/metrics"}})(mux),
		ReadHeaderTimeout: 10 * time.Second,
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}
