package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Options say what an agent follows, and how.
type Options struct {
	Server   string       // the server's address, such as https://modeshift.internal
	Scope    engine.Scope // whose mode this program takes
	Instance string       // the name of this copy, one of a kind in the scope; empty: the host's name
	Version  string       // of the program; shown where the instance is

	// Token is sent to the server. TokenFile holds it instead, and is read at each connection, so that it can be changed.
	// Neither: none is sent.
	Token     secret.Secret
	TokenFile string

	// StateDir is the folder that keeps the last directive; one process a scope may use it. Empty: nothing is kept, and a start
	// without the server has nothing but ColdStart.
	StateDir string
	// ColdStart is the mode to begin in when the server does not answer within StartWait and nothing is on disk. Nil: none,
	// and Mode says so.
	ColdStart *engine.Fallback
	StartWait time.Duration // 0: DefaultStartWait
	// Modes are those that the program knows; others are reported as failed. Empty: it takes any.
	Modes []engine.Mode

	ApplyTimeout time.Duration // of all callbacks for one directive together; 0: DefaultApplyTimeout
	Retry        Backoff       // of a directive that failed, and of a write that did; zero: DefaultRetry
	Reconnect    Backoff       // zero: DefaultReconnect
	// Patience is how long a stream may take to bring the first event, before a proxy is suspected of holding it back. 0: two
	// heartbeats of the server, or DefaultPatience while these are not known.
	Patience time.Duration
	PollFor  time.Duration // how long to poll through such a proxy before the stream is tried again; 0: DefaultPollFor

	HTTPClient *http.Client // its Timeout and CheckRedirect do not count; nil: one with TLS
	TLS        *tls.Config  // of the client that is made when HTTPClient is nil; nil: the system's
	Logger     *slog.Logger // nil: slog.Default
}

// Backoff spaces attempts: the n-th waits a random part of Base × 2ⁿ, at most of Cap. All of that is random ("full
// jitter"), so that a thousand instances that lost one server do not come back together.
type Backoff struct{ Base, Cap time.Duration }

// What holds where Options do not say.
const (
	DefaultStartWait    = 2 * time.Second
	DefaultApplyTimeout = 30 * time.Second
	DefaultPatience     = 10 * time.Second
	DefaultPollFor      = 5 * time.Minute
)

// The spacing that holds where Options do not say.
var (
	DefaultRetry     = Backoff{time.Second, time.Minute}
	DefaultReconnect = Backoff{250 * time.Millisecond, 5 * time.Second}
)

// Callback is called with the state in force and the one that is to be. On the first call of a process old has no mode. ctx
// ends with the agent, and at Options.ApplyTimeout.
type Callback func(ctx context.Context, old, now *State) error

// Agent follows the mode of a scope. All its methods may be called at any time, from anywhere.
type Agent struct {
	opts    Options
	log     *slog.Logger
	bearer  secret.Source // nil: no token
	client  *http.Client
	base    *url.URL
	session string

	state  atomic.Pointer[State] // never nil; only the loop stores
	hello  atomic.Pointer[engine.Hello]
	report *mailbox    // from the loop to the link
	calls  chan func() // to the loop, which calls them one after another
	ready  chan struct{}
	ended  chan struct{}                                          // closed when Run has returned
	write  func(path string, data []byte, mode os.FileMode) error // replaced by tests

	loop *loop // set by Run; touched by what is given to calls, and by Run itself
	// Only the link touches these.
	heartbeat time.Duration // of the server, as it said last; 0: not known
	sent      secret.Secret // the token of the last request

	mu        sync.Mutex // guards what follows
	callbacks []Callback
	status    Status
	changed   chan struct{} // nil: nobody waits
	running   bool
	closed    bool
	stop      context.CancelFunc
}

// ErrClosed is returned by an agent that was closed.
var ErrClosed = errors.New("the agent is closed")

// New makes an agent that does nothing until Run. The error names everything that is wrong with the options.
func New(opts Options) (*Agent, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	base, err := url.Parse(opts.Server)
	switch {
	case err != nil: // whose text may hold a password
		fault("the server's address is not an URL")
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		fault("the server's address has to be http://HOST or https://HOST, with a port where it needs one")
	case base.User != nil:
		fault("the server's address has a password in it: give a token instead, which nobody logs")
	case base.RawQuery != "" || base.Fragment != "":
		fault("the server's address is followed by something that is no part of an address")
	}
	if opts.Scope == "" || opts.Scope == engine.Fleet {
		fault("which scope to follow has to be said; %q is none", opts.Scope)
	}
	if opts.Instance == "" {
		if opts.Instance, err = os.Hostname(); err != nil || opts.Instance == "" {
			fault("the instance needs a name: the host has none (%v)", err)
		}
	}
	bearer, err := secret.From(opts.Token, opts.TokenFile)
	if err != nil {
		fault("token: %w", err)
	}
	if c := opts.ColdStart; c != nil {
		if c.Mode == "" {
			fault("the cold start names no mode")
		} else if !knows(opts.Modes, c.Mode) {
			fault("the cold start mode %q is not one of the modes that are known", c.Mode)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"StartWait", opts.StartWait}, {"ApplyTimeout", opts.ApplyTimeout}, {"Patience", opts.Patience}, {"PollFor", opts.PollFor},
		{"Retry.Base", opts.Retry.Base}, {"Retry.Cap", opts.Retry.Cap}, {"Reconnect.Base", opts.Reconnect.Base}, {"Reconnect.Cap", opts.Reconnect.Cap},
	} {
		if d.value < 0 {
			fault("%s is negative", d.name)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	opts.setDefaults()
	a := &Agent{
		opts: opts, log: opts.Logger.With("scope", opts.Scope), bearer: bearer, client: clientOf(opts), base: base, session: rand.Text(),
		report: newMailbox(), calls: make(chan func()), ready: make(chan struct{}), ended: make(chan struct{}), write: writeFile,
	}
	a.state.Store(&State{Scope: opts.Scope})
	return a, nil
}

func (o *Options) setDefaults() {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.StartWait, DefaultStartWait)
	set(&o.ApplyTimeout, DefaultApplyTimeout)
	set(&o.PollFor, DefaultPollFor)
	set(&o.Retry.Base, DefaultRetry.Base)
	set(&o.Retry.Cap, max(DefaultRetry.Cap, o.Retry.Base))
	set(&o.Reconnect.Base, DefaultReconnect.Base)
	set(&o.Reconnect.Cap, max(DefaultReconnect.Cap, o.Reconnect.Base))
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func knows(modes []engine.Mode, m engine.Mode) bool {
	return len(modes) == 0 || slices.Contains(modes, m)
}

// OnChange adds a callback. What is in force already is not told to it: programs add theirs before Run.
func (a *Agent) OnChange(c Callback) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.callbacks = append(slices.Clip(a.callbacks), c) // the loop may be going through the old ones
}

// Run follows the mode until ctx ends or the agent is closed, and waits for all that it started. It is called once.
// It returns nil then, and an error only when it cannot begin, or when a callback does not return: nothing that happens to the server, the
// network or the disk ends it.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.running || a.closed {
		defer a.mu.Unlock()
		if a.running {
			return errors.New("the agent runs already, or has run")
		}
		return ErrClosed
	}
	ctx, a.stop = context.WithCancel(ctx)
	defer a.stop()
	a.running = true
	a.mu.Unlock()
	defer close(a.ended)

	a.loop = newLoop(a)
	var link sync.WaitGroup
	link.Go(func() { a.link(ctx) })
	err := a.loop.run(ctx)
	link.Wait()
	a.client.CloseIdleConnections()
	return err
}

// Close ends Run and waits for it. It may be called any number of times, and before Run, which then does not begin.
func (a *Agent) Close() {
	a.mu.Lock()
	a.closed = true
	running := a.running
	if running {
		a.stop()
	}
	a.mu.Unlock()
	if running {
		<-a.ended
	}
}

// Wait returns nil once there is a mode, or why the waiting ended before.
func (a *Agent) Wait(ctx context.Context) error {
	select {
	case <-a.ready:
		return nil
	default:
	}
	select {
	case <-a.ready:
		return nil
	case <-a.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ping returns nil once the loop has come around. A watchdog asks: a loop that hangs does not answer.
func (a *Agent) Ping(ctx context.Context) error { return a.call(ctx, func() {}) }

// call has f called by the loop, and waits for it.
func (a *Agent) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case a.calls <- func() { f(); close(done) }:
	case <-a.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-done // what the loop has begun, it finishes: no call waits for anything
	return nil
}
