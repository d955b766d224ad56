package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/roster"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// The files a server keeps in its data folder.
const (
	LogFile        = "modeshift.db"         // the event log
	AdminTokenFile = "admin-token"          // mode 0600; only without a tokens_file
	IdentityFile   = "identity"             // of the log, random; a part of all deduplication keys; mode 0600
	lastGoodFile   = "last-good-rules.json" // the rule files in force, for a restart with broken ones
)

// stopTimeout bounds how long a stopping server waits for requests under way.
const stopTimeout = 5 * time.Second

// answerTimeout is how long an answer may take unless the configuration says otherwise, its making and its reading together, so
// that a client that does not read holds nothing for ever. It exceeds the 30 s that a write to the log may take. Event streams,
// which do not end, put a bound of their own on each event.
const answerTimeout = time.Minute

// Options are what a server needs.
type Options struct {
	Config  Config
	Logger  *slog.Logger // nil: slog.Default
	Version string
	// Kinds are kinds of action beside those of the configuration, by name. Tests bring their own.
	Kinds map[string]actions.Kind
	// OnCommit is told of every batch of events as soon as it is stored, from the loop: it must not block. nil: nobody is. Measurements
	// begin and end there.
	OnCommit func(events []engine.Event)
}

// Server is the whole program. New makes it, Run runs it, once.
type Server struct {
	opts         Options
	log          *slog.Logger
	store        *store.SQLite
	loop         *loop.Loop
	runner       *runner.Runner
	kinds        map[string]actions.Kind
	book         *ruleBook
	policies     *policyBook
	roster       *roster.Roster                 // the table of instances
	followers    followers                      // keep it up with the log
	ledger       *budgetBook                    // knows how error budgets stand
	trusted      []engine.Scope                 // whose automation was turned on while the server was away
	turned       turns                          // whose automation was turned on
	present      atomic.Pointer[prom.Evaluator] // of the rules that were evaluated last; nil before the first tick
	tokens       *api.Tokens
	sources      []prom.Source
	metrics      *metrics
	observed     *prom.Metrics
	listener     net.Listener
	http         *http.Server
	syncListener net.Listener // nil: flagd's protocol is not served
	direct       directs
	api          *api.API
	limiter      *api.Limiter
	ofrep        *flags.OFREP
	sync         *flags.Sync // nil: flagd's protocol is not served
	began        time.Time
	identity     string // of the log

	cancel  context.CancelFunc
	stopped chan struct{}
	once    sync.Once
}

// New opens the log, reads the rules and wires everything. When it fails nothing is left open, and the error says what to
// mend.
func New(ctx context.Context, opts Options) (_ *Server, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	s := &Server{opts: opts, log: opts.Logger, stopped: make(chan struct{}), began: time.Now()}
	cfg := &s.opts.Config
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// The port comes first: it is what most often goes wrong, and nothing has been touched yet.
	if s.listener, err = listen(ctx, cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w; is another modeshift running? choose another address with --listen", cfg.Listen, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.listenSync(); err != nil {
		return nil, err
	}
	var cert *tls.Certificate
	if cfg.TLS != nil {
		pair, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls_server_config: %w", err)
		}
		cert = &pair
		s.listener = tls.NewListener(s.listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w; choose another with --data", err)
	}
	if s.store, err = store.Open(ctx, filepath.Join(cfg.Data, LogFile), store.Options{}); err != nil {
		if errors.Is(err, store.ErrInUse) {
			return nil, fmt.Errorf("open the log: %w; stop that one, or choose another folder with --data", err)
		}
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if err := s.store.Release(ctx); err != nil {
		return nil, fmt.Errorf("take over the jobs of the last run: %w", err)
	}
	if s.identity, err = openIdentity(filepath.Join(cfg.Data, IdentityFile)); err != nil {
		return nil, err
	}
	if s.tokens, err = openTokens(cfg); err != nil {
		return nil, err
	}
	if err := s.dial(); err != nil {
		return nil, err
	}
	if err := s.startLoop(ctx); err != nil {
		return nil, err
	}
	if err := s.openFlags(cert); err != nil {
		return nil, err
	}
	handler, err := s.handler()
	if err != nil {
		return nil, err
	}
	s.http = s.newHTTP(handler)
	s.http.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	return s, nil
}

// listenPatience is how long an address that is in use is tried again. A run that was killed while it was starting a program leaves a
// child that holds what the run held, the address too, until a moment later it is that program.
const listenPatience = 2 * time.Second

// listen takes an address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	for began := time.Now(); ; {
		l, err := net.Listen("tcp", address)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) > listenPatience {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dial prepares the Prometheis, the notifiers and the metrics. It talks to nobody.
func (s *Server) dial() error {
	for _, src := range s.opts.Config.Prometheus {
		source, err := prom.Dial(src.Name, httpConfig(src.HTTPConfig), src.urls()...)
		if err != nil {
			return fmt.Errorf("prometheus %s: %w", src.Name, err)
		}
		s.sources = append(s.sources, source)
	}
	s.metrics = newMetrics(func() []engine.View { return s.loop.Views() }, s.opts.Version)
	s.observed = prom.NewMetrics()
	s.metrics.registry.MustRegister(s.observed)
	s.openLimiter()
	s.openBudgets()
	routes, err := s.notifiers()
	if err != nil {
		return err
	}
	if s.kinds, err = s.opts.Config.Actions.kinds(s.externalURL()); err != nil {
		return err
	}
	maps.Copy(s.kinds, s.opts.Kinds)
	s.runner = runner.New(s.store, routes, runner.Options{
		Steps: s.steps(),
		Log:   s.log, Registerer: s.metrics.registry, Lease: store.DefaultLease,
		// An outcome the disk does not take is remembered by the store, and a job that is over is over.
		Settled: func(err error) bool { return errors.Is(err, store.ErrUnwritable) || errors.Is(err, store.ErrNotOwed) },
	})
	return nil
}

// startLoop reads the rules and takes them into force over what the log says.
func (s *Server) startLoop(ctx context.Context) error {
	cfg := &s.opts.Config
	e := cfg.Evaluation
	states, err := s.store.LoadAll(ctx)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	term, err := s.openRoster(ctx, states[engine.Fleet])
	if err != nil {
		return err
	}
	s.loop = loop.New(storeLog{s.store}, loop.Options{
		Interval: time.Duration(e.Interval), Timeout: time.Duration(e.Timeout), BlindAfter: time.Duration(e.BlindAfter),
		Term: term, Brake: cfg.Brake.rule(), Instances: s.roster.Summary, Members: s.roster.Members,
		Logger: s.log, OnCommit: s.committed, OnTick: s.metrics.ticked, OnLogFault: s.logFault, OnBroken: s.broken,
	})
	if s.policies, err = openPolicies(filepath.Join(cfg.Data, PoliciesFile)); err != nil {
		return err
	}
	s.book = &ruleBook{
		paths: cfg.Rules, keep: filepath.Join(cfg.Data, lastGoodFile), log: s.log,
		opts: rules.Options{Interval: time.Duration(e.Interval), BlindAfter: time.Duration(e.BlindAfter), SLOPeriod: time.Duration(e.SLOPeriod),
			Sources: cfg.sources(), Kinds: s.ruleKinds(), Receivers: cfg.Receivers.severities()},
		inForce: func() map[engine.Scope]engine.Mode {
			modes := map[engine.Scope]engine.Mode{}
			for name, state := range states {
				if state.Target != "" { // a retired scope too keeps its directive, and comes back in its mode
					modes[name] = state.Target
				}
			}
			return modes
		},
		apply: func(ctx context.Context, set *rules.Set, err error) error {
			return s.loop.Replace(ctx, s.inForce(set, err))
		},
		reloaded: s.metrics.reloaded,
		replaced: s.turnedOn,
		watcher:  fsnotify.NewWatcher,
	}
	if err := s.book.start(); err != nil {
		return err
	}
	set, problem := s.book.current()
	if err := s.loop.Start(ctx, s.inForce(set, problem)); err != nil {
		return err
	}
	s.trusted = turnedBetween(s.book.last, set)
	s.introduce(ctx)
	s.book.inForce = func() map[engine.Scope]engine.Mode {
		modes := map[engine.Scope]engine.Mode{}
		for _, v := range s.loop.Views() {
			if v.State.Target != "" {
				modes[v.State.Scope] = v.State.Target
			}
		}
		return modes
	}
	return nil
}

// inForce makes of a compiled set what the loop runs on.
func (s *Server) inForce(set *rules.Set, problem error) loop.Rules {
	e := s.opts.Config.Evaluation
	opts := prom.Options{QueryOffset: s.queryOffset(), Metrics: s.observed, Remaining: s.ledger.remaining}
	interval := time.Duration(e.Interval)
	opts.Budget = interval * 2 / 3
	if e.Timeout > 0 {
		opts.Budget = time.Duration(e.Timeout)
	}
	opts.QueryTimeout = min(prom.DefaultQueryTimeout, opts.Budget*2/3)
	evaluator := prom.New(set, s.sources, opts)
	history := prom.NewHistory(set, s.sources, prom.HistoryOptions{Metrics: s.observed})
	r := loop.Rules{Digest: set.Digest, Whole: problem == nil, Problems: map[engine.Scope]string{}}
	for _, service := range set.Services {
		r.Policies = append(r.Policies, service.Policy)
		if service.Problem != "" {
			r.Problems[service.Policy.Scope] = service.Problem
		}
	}
	if err := s.policies.keep(r.Policies); err != nil {
		s.log.Warn("what is decided from now on cannot be replayed later", "error", err)
	}
	r.Missed = missed(set)
	r.Evaluate = func(ctx context.Context, t loop.Tick) loop.Answer {
		if s.present.Swap(evaluator) != evaluator { // rules that are refused after all are never evaluated
			s.ledger.follow(set, history)
		}
		return sighted(s.log, set, s.sources, t, func() loop.Answer { return answer(ctx, evaluator, t) })
	}
	return r
}

// missed names the windows that passed unseen, by the schedules of a set.
func missed(set *rules.Set) func(scope engine.Scope, from, to time.Time) []engine.Window {
	return func(scope engine.Scope, from, to time.Time) []engine.Window {
		if service := set.Service(scope); service != nil {
			return service.Missed(from, to)
		}
		return nil
	}
}

// answer answers a tick of the loop by an evaluator.
func answer(ctx context.Context, evaluator *prom.Evaluator, t loop.Tick) loop.Answer {
	a := evaluator.Evaluate(ctx, prom.Tick{
		Instant: t.Instant, Questions: t.Questions,
		Modes: func(scope engine.Scope) (engine.Mode, bool) { m, ok := t.Modes[scope]; return m, ok },
	})
	return loop.Answer{Observations: a.Observations, SourceBlind: a.SourceBlind, Sources: a.Sources}
}

// queryOffset is how far back queries look.
func (s *Server) queryOffset() time.Duration {
	e := s.opts.Config.Evaluation
	if interval := time.Duration(e.Interval); e.QueryOffset == 0 && interval < 3*prom.DefaultQueryOffset {
		return interval / 3 // ticks that close only make sense with scrapes that close
	}
	return cmp.Or(time.Duration(e.QueryOffset), prom.DefaultQueryOffset)
}

// committed is told of every batch of stored events.
func (s *Server) committed(events []engine.Event) {
	if s.opts.OnCommit != nil {
		s.opts.OnCommit(events)
	}
	s.metrics.committed(events, time.Now())
	for _, e := range events {
		s.followers.wake(e.Stream)
	}
	s.runner.Wake()
}

// Addr is where the server listens: host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is how a program on this machine reaches the server.
func (s *Server) URL() string {
	scheme := "http"
	if s.opts.Config.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + s.Addr()
}

// Reload reads the rule and token files again. The error says what is not in force, and why; it is logged too.
func (s *Server) Reload(ctx context.Context) error {
	changed, err := s.tokens.Reload()
	switch {
	case err != nil: // a signal has nobody else to tell
		s.log.Error("tokens not reloaded: those that were in force stay in force", "error", err)
	case changed:
		s.log.Info("tokens reloaded", "file", s.opts.Config.TokensFile)
	}
	// Once the loop has been asked there is no way back: whoever gives up waiting must not leave half of it noted.
	return errors.Join(err, s.book.reload(context.WithoutCancel(ctx)))
}

// Run serves until ctx is cancelled or Stop is called, then stops everything in reverse order. It returns nil when it was
// stopped and every part ended well.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := false
	s.once.Do(func() { s.cancel, started = cancel, true })
	if !started {
		return errors.Join(errors.New("the server was stopped before it ran"), s.close())
	}
	defer close(s.stopped)

	var wg sync.WaitGroup
	failed := make(chan error, 9)
	part := func(ctx context.Context, name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	// The notifiers outlive the loop, so that what is under way ends well. What is still owed goes out after the next start.
	notify, stopNotify := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNotify()
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	part(notify, "notifications", s.runner.Run)
	part(inner, "loop", s.loop.Run)
	part(inner, "instances", s.roster.Run)
	part(inner, "directives", s.follow)
	part(inner, "coverage", s.cover)
	part(inner, "rule files", s.book.watch)
	part(inner, "ledger", s.ledger.keeper.Run)
	part(inner, "suggestions", s.tellSuggestions)
	part(inner, "automation that was turned on", func(ctx context.Context) error { s.tellTurned(ctx, s.trusted); return nil })
	part(inner, "http", func(context.Context) error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	part(inner, "flagd", s.serveSync)
	for severity, r := range s.opts.Config.Receivers.bySeverity() {
		if r == nil && (severity == engine.SeverityPage || severity == engine.SeverityTicket) { // the others are not needed
			s.log.Warn("nobody is told: no receiver is configured", "severity", severity)
		}
	}
	s.log.Info("modeshift is running", "listen", s.URL(), "data", s.opts.Config.Data, "version", s.opts.Version)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		s.log.Error("a part of the server ended", "error", err)
	}
	bounded, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	// No step begins any more, and what those under way come to is stored while the loop still can.
	stepsOver := make(chan struct{})
	go func() {
		defer close(stepsOver)
		patient, done := context.WithTimeout(context.WithoutCancel(ctx), 2*stopTimeout)
		defer done()
		s.runner.StopSteps(patient)
	}()
	s.roster.Close()
	s.api.Close()
	s.ofrep.Close()
	syncOver := s.stopSync(bounded)
	if s.http.Shutdown(bounded) != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-stepsOver
	<-syncOver
	stopInner()
	<-s.loop.Done()
	s.direct.wait(bounded)
	stopNotify()
	wg.Wait()
	close(failed) // every part has ended
	for late := range failed {
		err = errors.Join(err, late)
	}
	return errors.Join(err, s.close())
}

// Stop ends Run and waits for it; before Run it closes what New opened. It is safe to call more than once.
func (s *Server) Stop() error {
	unused := false
	s.once.Do(func() { unused = true })
	if unused {
		return s.close()
	}
	if s.cancel != nil {
		s.cancel()
		<-s.stopped
	}
	return nil
}

// close releases what New took.
func (s *Server) close() error {
	var err error
	for _, l := range []net.Listener{s.listener, s.syncListener} {
		if l == nil {
			continue
		}
		if closed := l.Close(); !errors.Is(closed, net.ErrClosed) {
			err = errors.Join(err, closed)
		}
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}
