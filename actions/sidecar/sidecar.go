package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/atomicfile"
	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/actions/modemetrics"
	"github.com/modeshift/modeshift/engine"
)

// stopPatience is how long requests under way may take when the sidecar stops.
const stopPatience = 5 * time.Second

// Options are a configuration and what surrounds it.
type Options struct {
	Config Config
	Logger *slog.Logger // nil: slog.Default
}

// Sidecar is one configuration at work.
type Sidecar struct {
	cfg     Config
	log     *slog.Logger
	agent   *agent.Agent
	flags   flags.Latest
	client  *http.Client
	manager manager
	write   func(path string, data []byte, mode os.FileMode) error // replaced by tests

	http, flagd net.Listener // nil: not served
}

// New checks the configuration, and opens what is listened on: when it returns nil, nothing but Run is needed.
func New(opts Options) (*Sidecar, error) {
	if err := opts.Config.Validate(); err != nil {
		return nil, err
	}
	cfg := opts.Config
	s := &Sidecar{
		cfg: cfg, log: opts.Logger, manager: managerOf(os.Getenv), write: atomicfile.Write,
		// Local, and so without the proxy that the environment may name. A redirect is no answer.
		client: &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	secure, err := trusting(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	o := agent.Options{
		Server: cfg.Server, TokenFile: cfg.TokenFile, TLS: secure, Scope: cfg.Scope, Instance: cfg.Instance, Version: cfg.Version,
		StateDir: cfg.StateDir, Modes: cfg.Modes, ApplyTimeout: time.Duration(cfg.Timeout), Logger: s.log,
	}
	if c := cfg.ColdStart; c != nil {
		o.ColdStart = &engine.Fallback{Mode: c.Mode, Flags: c.Flags}
	}
	if s.agent, err = agent.New(o); err != nil {
		return nil, err
	}
	s.agent.OnChange(s.apply)
	for _, l := range []struct {
		at string
		to *net.Listener
	}{{cfg.Listen, &s.http}, {cfg.Flagd, &s.flagd}} {
		if l.at == "" {
			continue
		}
		if *l.to, err = net.Listen("tcp", l.at); err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	return s, nil
}

// trusting makes the configuration of TLS for a server whose certificate was signed by one in a file.
func trusting(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s has no certificate in it", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func (s *Sidecar) closeListeners() {
	for _, l := range []net.Listener{s.http, s.flagd} {
		if l != nil {
			_ = l.Close() // nothing was accepted yet
		}
	}
}

// Address is where OFREP, metrics and readiness are served; empty: nowhere.
func (s *Sidecar) Address() string { return addressOf(s.http) }

// FlagdAddress is where flagd's sync protocol is served; empty: nowhere.
func (s *Sidecar) FlagdAddress() string { return addressOf(s.flagd) }

func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// serve makes what is in force the flags that are served.
func (s *Sidecar) serve(now *agent.State) {
	d := engine.Directive{Term: now.Position.Term, Revision: now.Position.Revision, Mode: now.Mode, Flags: now.Flags, Unavailable: now.Unavailable}
	// A mode that was declared here has no revision, and a directive without one would be none. No term has the number 0, so
	// that this one passes for nothing that a server said.
	if d.Revision == 0 {
		d.Revision = 1
	}
	s.flags.Tell(engine.Told{Scope: now.Scope, Directive: d, Change: now.Change})
}

// Run works until ctx ends, and waits for all that it started.
func (s *Sidecar) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	fail := func(what string, err error) {
		if err != nil {
			cancel(fmt.Errorf("%s: %w", what, err))
		}
	}
	ofrep := flags.Handler(&s.flags, flags.Options{Logger: s.log})
	web := &http.Server{Handler: s.handler(ofrep), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	if s.http != nil {
		running.Go(func() {
			if err := web.Serve(s.http); !errors.Is(err, http.ErrServerClosed) {
				fail("serve", err)
			}
		})
	}
	flagd := flags.NewSync(&s.flags, flags.Options{Logger: s.log}, nil)
	if s.flagd != nil {
		running.Go(func() { fail("serve flagd", flagd.Serve(s.flagd)) })
	}
	running.Go(func() { fail("agent", s.agent.Run(ctx)) })
	running.Go(func() { s.report(ctx) })

	<-ctx.Done()
	s.tell("STOPPING=1")
	s.agent.Close()
	// What is asked for until here is still answered.
	late, done := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer done()
	ofrep.Close()
	if err := web.Shutdown(late); err != nil {
		_ = web.Close() // whoever is served still is cut off
	}
	flagd.Stop(late)
	running.Wait()
	s.client.CloseIdleConnections()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// report tells the service manager how things are: ready once there is a mode, alive while the agent's loop comes around.
func (s *Sidecar) report(ctx context.Context) {
	if s.manager.socket == "" {
		return
	}
	var looks <-chan time.Time
	if s.manager.watchdog > 0 {
		t := time.NewTicker(s.manager.watchdog / 3)
		defer t.Stop()
		looks = t.C
	}
	ready, said := false, ""
	for {
		changed := s.agent.Changed()
		now, status := s.agent.Current(), s.agent.Status()
		var lines []string
		if now.Mode != "" && !ready {
			ready = true
			lines = append(lines, "READY=1")
		}
		if text := describe(now, status); text != said {
			said = text
			lines = append(lines, "STATUS="+text)
		}
		if len(lines) > 0 {
			s.tell(lines...)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-looks:
			// Not from a timer of its own: a loop that hangs has to be noticed, and that of the agent is what matters.
			asked, cancel := context.WithTimeout(ctx, s.manager.watchdog/3)
			if s.agent.Ping(asked) == nil {
				s.tell("WATCHDOG=1")
			}
			cancel()
		}
	}
}

func (s *Sidecar) tell(lines ...string) {
	if err := s.manager.tell(lines...); err != nil {
		s.log.Warn("the service manager was not told", "error", err)
	}
}

// describe says in a line how things are.
func describe(now *agent.State, status agent.Status) string {
	text := "no mode yet"
	if now.Mode != "" {
		text = fmt.Sprintf("mode %s from %s", now.Mode, now.Origin)
	}
	switch {
	case status.Outcome == engine.OutcomeFailed:
		text += "; the newest directive failed: " + status.Error
	case status.LinkError != "":
		text += "; no server: " + status.LinkError
	}
	if status.DiskError != "" {
		text += "; not on disk: " + status.DiskError
	}
	return text
}

// handler is what is served on loopback.
func (s *Sidecar) handler(ofrep http.Handler) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(modemetrics.New(s.agent), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/ofrep/", ofrep)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, r *http.Request) {
		asked, cancel := context.WithTimeout(r.Context(), stopPatience)
		defer cancel()
		if err := s.agent.Ping(asked); err != nil {
			http.Error(w, "the agent's loop does not come around: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "healthy") // a caller that is gone needs no answer
	})
	mux.HandleFunc("/-/ready", func(w http.ResponseWriter, _ *http.Request) {
		now := s.agent.Current()
		text := describe(now, s.agent.Status())
		if now.Mode == "" {
			http.Error(w, "not ready: "+text, http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready: "+text) // likewise
	})
	return mux
}
