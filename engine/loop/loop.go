package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Log is what the loop needs of a store.
type Log interface {
	// Append adds events, and the jobs they owe, to streams that are still where they are expected to be: all or none, durable
	// on return. It returns ErrConflict if another writer moved one of the streams on. After any other error the caller cannot
	// tell whether they were stored, and reads back before it tries again.
	Append(ctx context.Context, appends ...engine.Append) error
	// Load folds a stream, LoadAll every stream that has events.
	Load(ctx context.Context, stream engine.Scope) (engine.State, error)
	LoadAll(ctx context.Context) (map[engine.Scope]engine.State, error)
	// Heads gives the last version and hash of every stream.
	Heads(ctx context.Context) ([]engine.Head, error)
	// Snapshot keeps states as a cache for Load.
	Snapshot(ctx context.Context, states ...engine.State) error
	// Now is the store's clock.
	Now(ctx context.Context) (time.Time, error)
	// Mark keeps the instant up to which every scope was evaluated; Marked returns it, zero when there is none.
	Mark(ctx context.Context, instant time.Time) error
	Marked(ctx context.Context) (time.Time, error)
}

// ErrConflict says that another writer moved the stream on: nothing was stored.
var ErrConflict = errors.New("another writer moved the stream on")

// Tick asks how the conditions of some scopes stand at one instant.
type Tick struct {
	Instant   time.Time
	Questions []engine.Question
	Modes     map[engine.Scope]engine.Mode // the committed mode of every scope that has one; of a retired one nobody knows it
}

// Answer says how they stood. A scope that is missing was not evaluated.
type Answer struct {
	Observations map[engine.Scope][]engine.Observation // at the indexes of Policy.Conditions
	SourceBlind  map[engine.Scope]bool
	Sources      []engine.Sight
}

// Evaluate answers a tick. It returns within its context's deadline and never fails: what cannot be known is unknown.
type Evaluate func(ctx context.Context, t Tick) Answer

// Rules is what is in force: the policies and how to evaluate their conditions.
type Rules struct {
	Digest   engine.Digest
	Policies []engine.Policy
	Evaluate Evaluate
	// Missed names the windows of schedules that opened after from and closed by to, of a scope whose transitions wait for them; nil:
	// there are no schedules.
	Missed func(scope engine.Scope, from, to time.Time) []engine.Window
	// Problems says for which scopes the file on disk is not in force, and why. A scope with a problem and no policy is
	// left alone: it is neither evaluated nor retired.
	Problems map[engine.Scope]string
	// Whole is false when some file could not be read far enough to know what it declares: then nobody is retired.
	Whole bool
}

// Options are the loop's settings.
type Options struct {
	Interval   time.Duration    // between ticks; > 0
	BlindAfter time.Duration    // of a source
	Timeout    time.Duration    // of one evaluation; 0: two thirds of the interval
	Term       uint64           // of whoever leads; 0: 1
	Checkpoint time.Duration    // between two checkpoints, by the clock of this machine; 0: an hour; negative: none are made
	Brake      engine.BrakeRule // how many scopes automation moves in a while; Scopes is the loop's to fill. Zero: as many as like
	Inbox      int              // how many requests may wait; 0: 256
	Logger     *slog.Logger
	// Now is the clock on the wall, which may jump and go back; nil: time.Now. Ticks stand at multiples of the interval by it.
	Now func() time.Time
	// Instances says how the instances of a scope follow, in the state that is going to be decided in; nil: there are none. Members
	// names those that are told the newest directive while a change goes by waves.
	Instances func(s engine.State, at time.Time) engine.Instances
	Members   func(scope engine.Scope) []string
	// OnCommit is called after events were stored, from the loop's goroutine; it must not block.
	OnCommit func([]engine.Event)
	// OnTick is called after each tick, from the loop's goroutine; it must not block.
	OnTick func(TickReport)
	// OnLogFault is called when the log cannot be written (err is set) and when it can be again (nil).
	OnLogFault func(err error)
	// OnBroken is called when a scope is not evaluated any more because deciding went wrong (err is set), and when it is
	// evaluated again, or retired (nil); from the loop's goroutine, it must not block.
	OnBroken func(scope engine.Scope, err error)
}

// TickReport says how a tick went.
type TickReport struct {
	Instant time.Time
	Took    time.Duration
	Missed  int // ticks before this one that did not happen
	Dropped int // scopes whose answer was out of date
	Sources []engine.Sight
}

// Loop owns the states of all scopes. Its methods are safe for concurrent use; Run is called once, or never, where the caller leads
// the loop through a time of its own (see drive.go).
type Loop struct {
	log   Log
	opts  Options
	inbox chan any
	done  chan struct{} // closed when Run has returned

	// The loop's goroutine owns these.
	rules   Rules
	fleet   *engine.Policy // of what spans scopes, by these rules
	gen     int            // counts rules; an answer under older ones is dropped
	scopes  map[engine.Scope]*scope
	names   []engine.Scope // of scopes; see sorted
	tick    time.Time      // the last evaluated instant, as marked
	checked time.Time      // the last checkpoint
	heads   map[engine.Scope]engine.Version
	fault   *fault
	moved   []engine.Scope // whose mode, or rules, changed, and whose children were not told yet
	witness string         // the latest checkpoint, as a page carries it

	recovered atomic.Uint64 // the term a person gave this server, as the fleet's state has it

	mu      sync.RWMutex // guards what follows
	views   map[engine.Scope]engine.View
	changed chan struct{} // closed and replaced at each commit
	health  Health
}

// scope is one stream as the loop keeps it.
type scope struct {
	policy  *engine.Policy // nil: no rules are in force
	state   engine.State
	prev    time.Time      // the instant it was evaluated at last
	asked   engine.Version // State.EnteredBy when the evaluation under way, or the last one, was asked
	doubt   bool           // storing failed: read the log before deciding anything
	seen    *engine.Observed
	saved   engine.Version // of the last snapshot
	problem string
	broken  bool // deciding went wrong, and it was not evaluated since
}

type fault struct {
	since time.Time
	err   error
}

// Health says whether the loop does its work.
type Health struct {
	Tick     time.Time               // the last evaluated instant; zero before the first
	LogFault string                  // why the log cannot be written; empty when it can
	Broken   map[engine.Scope]string // why a scope is not evaluated though it has rules: deciding went wrong; not to be changed
	Sources  []engine.Sight
}

// New makes a loop over a log. Nothing happens before Run.
func New(log Log, opts Options) *Loop {
	if opts.Interval <= 0 {
		panic("loop: the interval must be positive")
	}
	if opts.Timeout == 0 {
		opts.Timeout = opts.Interval * 2 / 3
	}
	opts.Term = max(opts.Term, 1)
	if opts.Checkpoint == 0 {
		opts.Checkpoint = time.Hour
	}
	if opts.Inbox == 0 {
		opts.Inbox = 256
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Loop{
		log: log, opts: opts, inbox: make(chan any, opts.Inbox), done: make(chan struct{}),
		scopes: map[engine.Scope]*scope{}, heads: map[engine.Scope]engine.Version{},
		views: map[engine.Scope]engine.View{}, changed: make(chan struct{}),
	}
}

// Start reads the log and takes rules into force. It is called once, before Run.
func (l *Loop) Start(ctx context.Context, rules Rules) error {
	mark, err := l.log.Marked(ctx)
	if err != nil {
		return fmt.Errorf("read the last evaluated instant: %w", err)
	}
	now, err := l.log.Now(ctx)
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	if mark.After(now) {
		// The clock was set back, and what was evaluated since is not marked: nobody knows how long anything has been so.
		mark = time.Time{}
	}
	l.tick = mark
	states, err := l.log.LoadAll(ctx)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for name, s := range states {
		l.scopes[name] = &scope{state: s, prev: mark, saved: s.Version}
	}
	if l.scopes[engine.Fleet] == nil {
		l.scopes[engine.Fleet] = &scope{}
	}
	l.bearWitness(ctx)
	return l.replace(ctx, rules)
}

// Run ticks and serves the inbox until ctx is cancelled. Then it finishes what it is at, keeps snapshots and returns nil.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.done)
	answers := make(chan answered, 1)
	busy := false
	timer := time.NewTimer(l.untilNext())
	defer timer.Stop()
	var asked time.Time // the instant asked about last
	tick := func() {
		timer.Reset(l.untilNext())
		if busy {
			return
		}
		busy = true
		instant, missed := l.opts.Now().UTC().Truncate(l.opts.Interval), 0
		if !asked.IsZero() { // whatever kept the loop: a source, the log, a machine that slept
			missed = max(0, int(instant.Sub(asked)/l.opts.Interval)-1)
		}
		asked = instant
		l.ask(ctx, instant, missed, answers)
	}
	for {
		// What is due goes before what was sent: however much waits in the inbox, time goes on. Of several that are ready a single
		// select would take any.
		select {
		case <-timer.C:
			tick()
			continue
		default:
		}
		select {
		case <-ctx.Done():
			if busy {
				<-answers // its context ends with ours
			}
			l.snapshot(context.WithoutCancel(ctx), 1)
			return nil
		case m := <-l.inbox:
			l.serve(ctx, m)
		case <-timer.C:
			tick()
		case a := <-answers:
			busy = false
			l.judge(ctx, a)
		}
	}
}

// Term is the one this server leads in: that of its start, or a later one that a person gave it since.
func (l *Loop) Term() uint64 { return max(l.opts.Term, l.recovered.Load()) }

// Done is closed when Run has returned.
func (l *Loop) Done() <-chan struct{} { return l.done }

// untilNext is the time to the next multiple of the interval. A timer that fires a hair early must not see the same
// multiple twice, hence the millisecond.
func (l *Loop) untilNext() time.Duration {
	now := l.opts.Now()
	next := now.Truncate(l.opts.Interval).Add(l.opts.Interval)
	return next.Sub(now) + time.Millisecond
}

// now is the time events of s are judged at, and whether the clock is behind what was stored: it was set back.
func (l *Loop) now(ctx context.Context, s engine.State) (now time.Time, behind bool, err error) {
	if now, err = l.log.Now(ctx); err != nil {
		return time.Time{}, false, fmt.Errorf("read the store's clock: %w", err)
	}
	if behind = now.Before(s.At); behind {
		now = s.At
	}
	return now.UTC(), behind, nil
}

// fleetPolicy is the policy of the stream of what spans scopes.
func (l *Loop) fleetPolicy() *engine.Policy {
	p := &engine.Policy{Digest: l.rules.Digest, Scope: engine.Fleet, Interval: l.opts.Interval, BlindAfter: l.opts.BlindAfter, Brake: l.opts.Brake}
	for i := range l.rules.Policies {
		if len(l.rules.Policies[i].Modes) > 0 {
			p.Brake.Scopes++
		}
	}
	return p
}

// sorted are the names of all scopes, in order. Scopes are added, and none is ever removed.
func (l *Loop) sorted() []engine.Scope {
	if len(l.names) != len(l.scopes) {
		l.names = slices.Sorted(maps.Keys(l.scopes))
	}
	return l.names
}

// replace takes other rules into force: scopes are added, told of their new rules, or retired.
func (l *Loop) replace(ctx context.Context, rules Rules) error {
	l.rules = rules
	l.fleet = l.fleetPolicy()
	l.gen++
	declared := map[engine.Scope]*engine.Policy{engine.Fleet: l.fleet}
	for i := range rules.Policies {
		p := &rules.Policies[i]
		declared[p.Scope] = p
		if l.scopes[p.Scope] == nil {
			l.scopes[p.Scope] = &scope{}
		}
	}
	var faults []error
	for _, name := range l.sorted() {
		sc := l.scopes[name]
		sc.problem = rules.Problems[name]
		sc.policy, sc.seen = declared[name], nil
		// After a restart this is also where the time is noticed in which nobody could answer, before it counts against anybody.
		var what engine.Happening = &engine.TimePassed{Prev: sc.prev}
		if sc.policy == nil {
			if !rules.Whole || sc.problem != "" {
				if sc.problem == "" && !sc.state.Retired {
					sc.problem = "no file declares it, and a rule file is broken; mend that first"
				}
				l.show(name)
				continue
			}
			what = &engine.ScopeRemoved{}
		}
		switch _, err := l.decide(ctx, name, engine.Actor{}, what); {
		case err == nil && sc.policy == nil:
			l.works(name) // it is retired: nobody waits for it
		case err != nil && stack(err) == "":
			faults = append(faults, err)
		}
		l.show(name)
		l.moved = append(l.moved, name)
	}
	l.follow(ctx)
	return errors.Join(faults...)
}
