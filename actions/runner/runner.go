package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// Jobs is what the runner needs of a store. It is safe for concurrent use.
type Jobs interface {
	// Lease hands out jobs that are due now, oldest first, at most limit: of each key only the oldest that is not over.
	// A job handed out is not handed out again before its outcome was said or Options.Lease has passed.
	Lease(ctx context.Context, limit int) ([]engine.Job, error)
	// Begin says that an attempt of a job is about to be made. Once it has returned nil, Lease hands the job out with Begun
	// set, to whoever comes next too, until an outcome is said. After an error the attempt is not made. Notices need no mark.
	Begin(ctx context.Context, id string) error
	// Done says that the job was carried out. The next of its key is due. To say so twice changes nothing.
	Done(ctx context.Context, id string) error
	// Retry says what went wrong, and that the job is due again after some time, its Attempts one higher.
	Retry(ctx context.Context, id string, problem string, after time.Duration) error
	// Fail says that the job will never succeed, and why. The next of its key is due.
	Fail(ctx context.Context, id string, problem string) error
}

// Options are what a runner may be told. The zero value is good.
type Options struct {
	Poll        time.Duration // between two looks for due jobs; 0: 1 s
	Timeout     time.Duration // of one attempt; 0: 10 s
	Concurrency int           // attempts at the same time, all routes together; 0: 16
	PerRoute    int           // attempts at the same time on one route; 0: 4, and never more than the route's share of Concurrency
	Queue       int           // jobs of one route kept waiting in memory; 0: 1,000. What is more goes back to the store
	Lease       time.Duration // how long the store leaves a job handed out alone; 0: 30 s. Longer than Timeout

	BackoffBase time.Duration // the longest wait after the first failure; 0: 1 s
	BackoffCap  time.Duration // the longest wait after any; 0: 5 min
	MaxAfter    time.Duration // the longest wait a target may ask for; 0: 15 min

	// Fallback is told of what could not be delivered: jobs nobody is configured for, final failures, pages late by
	// FallbackAfter (0: 5 min). Nil: it is written to Log as an error.
	Fallback      actions.Notifier
	FallbackAfter time.Duration

	// Steps carries out the steps of changes; nil: jobs with steps are left alone.
	Steps *Steps

	StoreTimeout time.Duration // of one call of the store; 0: 5 s
	StopTimeout  time.Duration // how long Run waits for attempts under way when it ends; 0: 5 s

	// Settled reports whether an error of Done, Retry or Fail means that nothing is left to say: the store remembers the
	// outcome itself, or the job is over. Nil: no error does.
	Settled func(error) bool

	Rand       func() float64        // in [0, 1), for the backoff's jitter; nil: math/rand
	Log        *slog.Logger          // nil: slog.Default
	Registerer prometheus.Registerer // of the metrics; nil: none
}

// DefaultOptions are the values that stand for zero.
func DefaultOptions() Options {
	return Options{
		Poll: time.Second, Timeout: 10 * time.Second, Concurrency: 16, PerRoute: 4, Queue: 1000, Lease: 30 * time.Second,
		BackoffBase: time.Second, BackoffCap: 5 * time.Minute, MaxAfter: 15 * time.Minute, FallbackAfter: 5 * time.Minute,
		StoreTimeout: 5 * time.Second, StopTimeout: 5 * time.Second,
		Settled: func(error) bool { return false }, Rand: rand.Float64, Log: slog.Default(),
	}
}

func (o Options) withDefaults() Options {
	d := DefaultOptions()
	for _, p := range []struct{ have, def *time.Duration }{
		{&o.Poll, &d.Poll}, {&o.Timeout, &d.Timeout}, {&o.Lease, &d.Lease}, {&o.BackoffBase, &d.BackoffBase},
		{&o.BackoffCap, &d.BackoffCap}, {&o.MaxAfter, &d.MaxAfter}, {&o.FallbackAfter, &d.FallbackAfter},
		{&o.StoreTimeout, &d.StoreTimeout}, {&o.StopTimeout, &d.StopTimeout},
	} {
		if *p.have <= 0 {
			*p.have = *p.def
		}
	}
	for _, p := range []struct{ have, def *int }{{&o.Concurrency, &d.Concurrency}, {&o.PerRoute, &d.PerRoute}, {&o.Queue, &d.Queue}} {
		if *p.have <= 0 {
			*p.have = *p.def
		}
	}
	// An attempt has to end while its lease still holds, or the store hands the job to somebody else meanwhile.
	o.Timeout = min(o.Timeout, o.Lease/2)
	o.Log = cmp.Or(o.Log, d.Log)
	if o.Settled == nil {
		o.Settled = d.Settled
	}
	if o.Rand == nil {
		o.Rand = d.Rand
	}
	if o.Steps != nil {
		steps := o.Steps.withDefaults()
		o.Steps = &steps
	}
	if o.Fallback == nil {
		o.Fallback = logFallback{o.Log}
	}
	return o
}

// Runner carries out jobs. Its methods are safe for concurrent use.
type Runner struct {
	jobs    Jobs
	opts    Options
	routes  []*route // in a fixed order
	by      map[engine.Severity]*route
	nobody  *route // for severities without a notifier
	wake    chan struct{}
	running atomic.Bool
	metrics *metrics
	book    book

	patience  patience
	stopSteps sync.Once
	stopping  chan struct{} // closed by StopSteps
	idleOnce  sync.Once
	idle      chan struct{} // closed when no step is under way after that

	directMu sync.Mutex               // guards direct
	direct   map[string]chan struct{} // the last notice of each key that Direct was given; closed when it is over
}

// New returns a runner for jobs, each going to the notifier of its severity. Severities that share a notifier share its
// slots and its rate. It panics when the metrics are registered already.
func New(jobs Jobs, routes map[engine.Severity]actions.Notifier, opts Options) *Runner {
	r := &Runner{
		jobs: jobs, opts: opts.withDefaults(), by: map[engine.Severity]*route{}, wake: make(chan struct{}, 1),
		direct: map[string]chan struct{}{}, stopping: make(chan struct{}), idle: make(chan struct{}),
	}
	r.book.init()
	r.patience.until = map[string]time.Time{}
	// In a fixed order, so that shared routes have the same name in every process.
	severities := make([]engine.Severity, 0, len(routes))
	for s, n := range routes {
		if n != nil {
			severities = append(severities, s)
		}
	}
	slices.SortFunc(severities, func(a, b engine.Severity) int { return strings.Compare(string(a), string(b)) })
	for _, s := range severities {
		n := routes[s]
		if i := slices.IndexFunc(r.routes, func(rt *route) bool { return same(rt.notifier, n) }); i >= 0 {
			r.routes[i].name += "+" + string(s)
			r.by[s] = r.routes[i]
			continue
		}
		rt := newRoute(string(s), n, r.opts.Timeout)
		r.routes = append(r.routes, rt)
		r.by[s] = rt
	}
	r.nobody = newRoute("none", nobody{r.opts.Fallback}, r.opts.Timeout)
	r.routes = append(r.routes, r.nobody)
	for _, rt := range r.routes {
		rt.slots = max(1, min(r.opts.PerRoute, r.opts.Concurrency/len(r.routes)))
	}
	r.metrics = newMetrics(r)
	return r
}

func (r *Runner) route(s engine.Severity) *route {
	if rt := r.by[s]; rt != nil {
		return rt
	}
	return r.nobody
}

// Wake says that jobs were stored: the runner looks now instead of at its next poll. It never blocks.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it has been woken and has not looked yet
	}
}

// Run carries out jobs until ctx ends, then waits for the attempts under way, StopTimeout at most, and stores what came of
// them. It returns nil after a clean end, and an error when an attempt would not end or an outcome could not be stored: such
// jobs will be attempted again. A runner runs once at a time.
func (r *Runner) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("runner: it is running already")
	}
	defer r.running.Store(false)
	// Attempts outlive ctx by StopTimeout, so they have a context of their own.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	l := &loop{Runner: r, held: map[string]*held{}, keys: map[string]bool{}, results: make(chan *held, r.opts.Concurrency+len(r.routes))}
	steps := &l.steps
	steps.kinds, steps.results, steps.gone = map[string]int{}, make(chan *held), make(chan struct{})
	steps.work, steps.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer steps.cancel(nil)
	defer close(steps.gone)
	for _, rt := range r.routes {
		rt.waiting, rt.running = nil, 0 // what an earlier run left is the store's again
	}
	tick := time.NewTicker(r.opts.Poll)
	defer tick.Stop()
	stopping := r.stopping
	select {
	case <-stopping:
		l.drainSteps()
	default:
	}
	l.lease(ctx)
	for ctx.Err() == nil {
		l.stepsEnded()
		var turn <-chan time.Time
		if at := earlier(l.start(work), l.startSteps()); !at.IsZero() {
			turn = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
		case <-stopping:
			stopping = nil
			l.drainSteps()
		case <-steps.limit:
			l.hurrySteps()
		case h := <-steps.results:
			if l.finishStep(h) {
				l.lease(ctx) // the next step of its scope may be owed
			}
		case <-r.wake:
			l.lease(ctx)
		case <-tick.C:
			l.reopen()
			l.lease(ctx)
			r.book.forget(time.Now().Add(-2*r.opts.BackoffCap - r.opts.MaxAfter))
		case h := <-l.results:
			over := l.finish(h)
			for range len(l.results) {
				over = l.finish(<-l.results) || over
			}
			if over {
				// The next job of a key may be due.
				l.lease(ctx)
			}
		case <-turn:
		}
	}
	return l.stop(cancel)
}

// earlier is the earlier of two instants, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// errStopping is the cause of an attempt's end when the program ends.
var errStopping = errors.New("the program is stopping")

// stop ends the loop: attempts under way may finish within StopTimeout.
func (l *loop) stop(cancel context.CancelCauseFunc) error {
	l.drainSteps()
	limit := time.After(l.opts.StopTimeout)
	for l.attempts > 0 || l.steps.active > 0 {
		select {
		case h := <-l.results:
			l.finish(h)
			continue
		case h := <-l.steps.results:
			l.finishStep(h)
			continue
		case <-limit:
		}
		break
	}
	if l.attempts > 0 || l.steps.active > 0 {
		// Those that keep to their context end now; their targets may or may not have taken the notice.
		cancel(errStopping)
		l.steps.cancel(errStopping)
		limit = time.After(time.Second)
		for (l.attempts > 0 || l.steps.active > 0) && limit != nil {
			select {
			case h := <-l.results:
				l.finish(h)
			case h := <-l.steps.results:
				l.finishStep(h)
			case <-limit:
				limit = nil
			}
		}
	}
	l.storing.shut = false
	for _, h := range l.held {
		if h.state == unstored {
			l.store(h)
		}
	}
	select {
	case <-l.stopping:
		l.idleOnce.Do(func() { close(l.idle) })
	default:
	}
	lost := l.unstored() + l.unreported()
	if n := l.attempts + l.steps.active; n > 0 || lost > 0 {
		return fmt.Errorf("runner: stopped with %d attempts under way and %d outcomes not stored; those jobs will be attempted again", n, lost)
	}
	return nil
}
