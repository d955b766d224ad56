package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/examples/demo"
)

type demoCmd struct {
	Story   string        `default:"main" placeholder:"NAME" help:"Which story is told: main, lying-prometheus, shared-outage or maintenance."`
	Once    bool          `help:"End with the story: exit 0 if all of it happened in time, else 1."`
	Timeout time.Duration `default:"4m" help:"How long the story may take, without the time it waits for you."`
	Verbose bool          `short:"v" help:"Show the server's own log too."`
}

// Help shows one real example.
func (demoCmd) Help() string {
	return `Example:
  modeshift demo
  modeshift demo --once -o json
  modeshift demo --story lying-prometheus

A small shop of twenty instances, visitors, a Prometheus, a receiver of pages and modeshift itself, all in this process on
loopback. The shop's recommendations break; watch what happens. Then its payment gateway dies: failing over is destructive, and
waits until you approve it, by the command or on the page that it shows, and undo it later. At last one instance refuses its mode,
and a recovery relapses in its first wave. With --once the demo answers by itself, and takes a minute and a half; without, it stays
up to play with until Ctrl-C, which ends all of it.

The other stories are of six services of one product. lying-prometheus: a mistake in Prometheus makes all of them look broken;
automation degrades three, and people say no to the rest. shared-outage: what they all need breaks; somebody contains the product,
and all of them are degraded at once. maintenance: a planned window, in which nobody is paged but about an emergency.`
}

// Run implements the verb.
func (d *demoCmd) Run(s *streams, c *cli) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	level := slog.LevelError
	if d.Verbose {
		level = slog.LevelInfo
	}
	logger := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
	err := demo.Run(ctx, demo.Options{
		Story: d.Story, Once: d.Once, JSON: c.Output == "json", Out: s.out, Timeout: d.Timeout, Command: os.Args[0],
		Start: func(ctx context.Context, config string) (demo.Modeshift, error) {
			return startServer(ctx, config, logger)
		},
		Instances: func(_ context.Context, out io.Writer, server, tokenFile string) error {
			status := &statusCmd{Scope: demo.Scope, Instances: true}
			return status.Run(&streams{out: out, err: s.err}, &cli{Server: server, TokenFile: tokenFile, Output: "table"})
		},
		Verify: func(_ context.Context, folder string) (string, error) {
			var said bytes.Buffer
			err := (&auditVerifyCmd{Log: folder}).Run(&streams{out: &said, err: s.err}, &cli{Output: "table"})
			return strings.TrimSpace(said.String()), err
		},
	})
	if errors.Is(err, demo.ErrNoStory) {
		return &exitError{exitUsage, err}
	}
	if d.Once && errors.Is(err, context.Canceled) {
		return exit(exitNo, "the story was interrupted")
	}
	return err
}

// embedded is a server in this process.
type embedded struct {
	*server.Server
	ended chan error
}

func startServer(ctx context.Context, config string, logger *slog.Logger) (demo.Modeshift, error) {
	cfg, err := server.LoadConfig(config)
	if err != nil {
		return nil, err
	}
	srv, err := server.New(ctx, server.Options{Config: cfg, Logger: logger, Version: version()})
	if err != nil {
		return nil, err
	}
	e := &embedded{srv, make(chan error, 1)}
	go func() { e.ended <- srv.Run(context.WithoutCancel(ctx)) }()
	return e, nil
}

// Stop ends the server and returns what it ended with.
func (e *embedded) Stop(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- e.Server.Stop() }()
	select {
	case err := <-stopped:
		return errors.Join(err, <-e.ended)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
