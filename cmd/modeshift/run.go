package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/modeshift/modeshift/engine/server"
)

type runCmd struct {
	Config     string   `short:"c" type:"existingfile" placeholder:"FILE" help:"modeshift.yaml; without it the flags below say what is needed."`
	Rules      []string `placeholder:"PATH" help:"Rule files or folders of them."`
	Prometheus string   `placeholder:"URL" help:"The Prometheus to ask."`
	Listen     string   `placeholder:"HOST:PORT" help:"Where to listen; 127.0.0.1:8470 unless the configuration says otherwise."`
	Data       string   `placeholder:"DIR" help:"Where the log is kept; ./modeshift-data unless the configuration says otherwise."`
	LogLevel   string   `enum:"debug,info,warn,error" default:"info" help:"How much to log: debug, info, warn or error."`
	LogFormat  string   `enum:"text,json" default:"text" help:"text or json."`
}

// Help shows one real example.
func (runCmd) Help() string {
	return `Example:
  modeshift run --rules rules/ --prometheus http://127.0.0.1:9090
  modeshift run -c modeshift.yaml

SIGHUP, POST /-/reload and a change of the files reload the rules. SIGINT and SIGTERM stop the server; a second one
ends it at once.`
}

// Run implements the verb.
func (r *runCmd) Run(s *streams) error {
	// Before anything else: by default a SIGHUP ends a program, and a long log or a slow disk makes a start take a while.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	cfg, err := r.config()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.LogLevel)); err != nil {
		return &exitError{exitUsage, err}
	}
	var handler slog.Handler = slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level})
	if r.LogFormat == "json" {
		handler = slog.NewJSONHandler(s.err, &slog.HandlerOptions{Level: level})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does what it does by default, should stopping hang
	srv, err := server.New(ctx, server.Options{Config: cfg, Logger: slog.New(handler), Version: version()})
	if err != nil {
		return err
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				// What is wrong with the files is logged by Reload.
				_ = srv.Reload(ctx)
			}
		}
	}()
	return srv.Run(ctx)
}

// config is the file with the flags laid over it, or the flags alone.
func (r *runCmd) config() (server.Config, error) {
	cfg := server.DefaultConfig()
	if r.Config != "" {
		var err error
		if cfg, err = server.LoadConfig(r.Config); err != nil {
			return cfg, err
		}
	}
	if len(r.Rules) > 0 {
		cfg.Rules = r.Rules
	}
	if r.Prometheus != "" {
		cfg.Prometheus = []server.Source{{Name: "main", URL: r.Prometheus}}
	}
	if r.Listen != "" {
		cfg.Listen = r.Listen
	}
	if r.Data != "" {
		cfg.Data = r.Data
	}
	if r.Config == "" && len(cfg.Rules) == 0 && len(cfg.Prometheus) == 0 {
		return cfg, errors.New("nothing to run: name a configuration (-c modeshift.yaml), or rules and a Prometheus (--rules rules/ --prometheus URL)")
	}
	if err := cfg.Validate(); err != nil {
		from := "the configuration"
		if r.Config != "" {
			from = r.Config
		}
		return cfg, fmt.Errorf("%s: %w", from, err)
	}
	return cfg, nil
}
