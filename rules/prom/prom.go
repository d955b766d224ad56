package prom

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Tick asks how the conditions of some scopes stand at an instant.
type Tick struct {
	Instant   time.Time
	Questions []engine.Question
	// Modes gives the committed mode of a scope, and whether it has one. It may be nil when no condition mentions a mode.
	Modes func(engine.Scope) (engine.Mode, bool)
}

// Answer says how they stood.
type Answer struct {
	// Observations stand at the indexes of Policy.Conditions; those not asked for are zero. A scope without rules is missing.
	Observations map[engine.Scope][]engine.Observation
	// SourceBlind holds the scopes that are blind only because every source their want of sight rests on is blind for
	// everybody.
	SourceBlind map[engine.Scope]bool
	Sources     []engine.Sight // in the order given to New
	Stats       Stats
}

// Stats says what a tick took.
type Stats struct {
	Queries int   // sent
	Rounds  int   // of queries, one after the other
	Samples int64 // that the sources read, as far as they say
	Unknown map[engine.Why]int
}

// The values of Options that are zero.
const (
	DefaultQueryOffset  = 5 * time.Second
	DefaultQueryTimeout = 4 * time.Second
	DefaultBudget       = 10 * time.Second
	DefaultParallel     = 10
)

// Options say how sources are asked. The zero value is fit for use.
type Options struct {
	// QueryOffset is how long before the tick's instant the queries look. A sample bears the time its scrape began and can
	// be queried once the scrape has ended, so that at the instant itself the newest samples come and go between two
	// queries: errors read after such a moment and the total before it make a ratio above 1 in a total outage. Five
	// seconds are longer than nearly all scrapes take, and a tenth of the time in which a total outage of a 99.9 % SLO
	// pages. 0: DefaultQueryOffset; negative: none.
	QueryOffset time.Duration
	// QueryTimeout is the time one query may take, told to the server too. Two of them fit into the default Budget, which is
	// what it takes to find out that a source hangs. 0: DefaultQueryTimeout.
	QueryTimeout time.Duration
	// Budget is the time Evaluate may take in all; a context's earlier deadline counts. It leaves the loop a third of an
	// interval of 15 s. 0: DefaultBudget.
	Budget time.Duration
	// Parallel is how many queries may be under way at one source. Prometheus runs 20 at a time by default; the other half
	// is for people and their dashboards. 0: DefaultParallel.
	Parallel int
	// Metrics counts what is asked; nil: nothing is counted.
	Metrics *Metrics
	// Remaining says what the ledger knows of an SLO's budget at an instant: the share that is left, or why that is unknown.
	// It asks no source and may be called by many at once. nil: nothing is known.
	Remaining func(engine.Scope, *rules.SLO, time.Time) engine.Reading
	// Watch is shown each condition that a tick evaluated, with what is known of its signals; from the goroutine of Evaluate. nil:
	// nobody looks.
	Watch func(engine.Scope, *rules.Condition, rules.Lookup)
	// Step is the time between two ticks, for sources that want to know what they will be asked (Expecting), and for Sparse. 0: nobody
	// says.
	Step time.Duration
	// Sparse looks at the past only where something happened; it needs Step. nil: everything is asked for at each tick. With it one
	// goroutine at a time may call Evaluate, with instants that ascend.
	Sparse *Sparse
	// Repeat gives the Answer of an earlier tick again while all that it rests on is as it was then (see repeats). It is for sources
	// that are Knowing. Stats are those of the earlier tick, and neither Metrics nor Watch see the later one. An Answer must not be
	// changed then.
	Repeat bool
}

// Evaluator finds out how the conditions of a set of rules stand.
type Evaluator struct {
	set     *rules.Set
	sources []Source
	opts    Options
	probes  map[key]*probe
	held    held
	proved  proved
	costs   *costs
	periods map[*rules.Service]*periods // what Budget remembers; the map itself never changes
	fusion  *fusion
	sparse  *sparse   // nil: there is none
	spare   sync.Pool // of *scratch
	repeats *repeats  // nil: each tick is worked out
}

// key is a signal of a scope.
type key struct {
	service *rules.Service
	signal  rules.Signal
}

// New makes an evaluator of the rules in set. sources are the Prometheis, of which there is at least one; the first is the
// default.
func New(set *rules.Set, sources []Source, opts Options) *Evaluator {
	if len(sources) == 0 {
		panic("prom: an evaluator needs a source")
	}
	opts.QueryOffset = max(0, cmp.Or(opts.QueryOffset, DefaultQueryOffset))
	opts.QueryTimeout = cmp.Or(opts.QueryTimeout, DefaultQueryTimeout)
	opts.Budget = cmp.Or(opts.Budget, DefaultBudget)
	opts.Parallel = max(1, cmp.Or(opts.Parallel, DefaultParallel))
	e := &Evaluator{set: set, sources: sources, opts: opts, probes: map[key]*probe{}, held: held{values: map[key]heldValue{}},
		costs: newCosts(), proved: proved{at: map[query]time.Time{}}, periods: map[*rules.Service]*periods{}, fusion: newFusion()}
	if opts.Repeat {
		e.repeats = &repeats{}
	}
	for _, service := range set.Services {
		p := &periods{turn: make(chan struct{}, 1), read: map[string]periodRead{}}
		p.turn <- struct{}{}
		e.periods[service] = p
		for _, c := range service.Conditions {
			for _, s := range c.Signals() {
				k := key{service, s}
				if e.probes[k] == nil {
					e.probes[k] = e.compile(k)
				}
			}
		}
	}
	if opts.Sparse != nil && opts.Step > 0 {
		e.sparse = newSparse(e, *opts.Sparse)
	}
	return e
}

// Evaluate answers a tick.
func (e *Evaluator) Evaluate(ctx context.Context, in Tick) Answer {
	if a, ok := e.recall(in); ok {
		return a
	}
	if a, ok := e.repeats.find(e, in); ok {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Budget)
	defer cancel()
	t := newTick(e, in)
	defer t.done()
	if e.sparse != nil {
		t.foresee(ctx)
	}
	if e.repeats != nil {
		t.fetcher.record = &recording{}
	}
	for {
		wanted := t.step()
		if len(wanted) == 0 {
			break
		}
		t.ask(ctx, wanted)
	}
	a := t.answer()
	if e.sparse != nil {
		t.remember(a)
	}
	e.repeats.note(t, a)
	t.lag(ctx, a.Sources)
	e.opts.Metrics.observed(t)
	return a
}
