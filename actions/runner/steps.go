package runner

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// Report says what came of an attempt of a step to whoever decides what follows: an *engine.StepReported or, of one that only
// finds targets, an *engine.TargetsReported. It returns nil once that is stored; that nobody waits for it any more is no error.
// It is called again until it returns nil, so it may be told the same thing twice.
type Report func(ctx context.Context, scope engine.Scope, what engine.Happening) error

// Finder finds what the selector of a step means now.
type Finder interface {
	// Find returns the names of all targets; none when it is sure that there are none. What it could not see whole is an error.
	Find(ctx context.Context, scope engine.Scope, selector string) ([]string, error)
}

// Steps are how the steps of changes are carried out.
type Steps struct {
	Kinds  map[string]actions.Kind // by the name a step has for its kind
	Report Report                  // required
	Finder Finder                  // nil: no targets can be found
	// Stale reports whether nobody waits for a job's outcome any more: it was told before, and only that the job is over
	// could not be stored. Such a job is not carried out again. Nil: none is.
	Stale func(engine.Job) bool

	// NoCheck reports whether an error of a kind's Done means that this step cannot be asked about at all. Nil: none does.
	NoCheck func(error) bool

	Concurrency int           // steps at the same time, all kinds together; 0: 16
	PerKind     int           // steps at the same time of one kind; 0: 8
	Timeout     time.Duration // of an attempt whose specification gives none; 0: 30 s
	Overrun     time.Duration // how long a kind may go on after its timeout before it is left alone; 0: 5 s
	ReportLimit time.Duration // of one report; 0: 30 s
}

func (s Steps) withDefaults() Steps {
	for _, p := range []struct {
		have *time.Duration
		def  time.Duration
	}{{&s.Timeout, 30 * time.Second}, {&s.Overrun, 5 * time.Second}, {&s.ReportLimit, 30 * time.Second}} {
		if *p.have <= 0 {
			*p.have = p.def
		}
	}
	if s.Concurrency <= 0 {
		s.Concurrency = 16
	}
	if s.PerKind <= 0 {
		s.PerKind = 8
	}
	if s.NoCheck == nil {
		s.NoCheck = func(error) bool { return false }
	}
	if s.Stale == nil {
		s.Stale = func(engine.Job) bool { return false }
	}
	return s
}

// stepHeld is what is known of a step's job beside that it is held.
type stepHeld struct {
	due     time.Time // not before
	verdict verdict   // once known
	reports int       // that could not be stored
	told    time.Time // when that was last logged
	next    stepNext  // what the goroutine that just ended leaves to do
}

// verdict is what came of an attempt.
type verdict struct {
	outcome engine.Outcome // empty: not known yet, or targets were found
	detail  string
	asked   bool                    // the target had said before that nothing had happened
	after   time.Duration           // the target asked to wait this long before another attempt
	found   *engine.TargetsReported // of a job that only finds targets
}

func (v verdict) known() bool { return v.outcome != "" || v.found != nil }

// stepNext is what is to be done with a step's job.
type stepNext int

const (
	stepOver       stepNext = iota // nothing: the store knows that it is over
	stepUnstored                   // tell the store that it is over
	stepUnreported                 // report its outcome again
	stepPutOff                     // nothing was done: try again
	stepLeft                       // leave it to the next start
)

// stepLoop is the part of the loop that has to do with steps.
type stepLoop struct {
	waiting  []*held // the oldest first
	kinds    map[string]int
	running  int                     // attempts under way: they have slots
	active   int                     // goroutines under way: attempts and reports
	results  chan *held              // of those that ended
	givenUp  bool                    // what is still under way is not waited for any more
	gone     chan struct{}           // closed when nobody takes results any more
	work     context.Context         // of attempts and reports
	cancel   context.CancelCauseFunc // ends it
	draining bool                    // nothing new begins
	limit    <-chan time.Time        // when work is cancelled, then when it is given up
}

// patience knows when targets that asked for it may be asked again, by the step's key.
type patience struct {
	mu    sync.Mutex // guards until
	until map[string]time.Time
}

// maxPatience is how many keys are kept before those whose time is over are dropped.
const maxPatience = 1000

func (p *patience) ask(key string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.until) >= maxPatience {
		now := time.Now()
		maps.DeleteFunc(p.until, func(_ string, at time.Time) bool { return at.Before(now) })
	}
	p.until[key] = until
}

// of returns when a step may be tried again as far as its target is concerned, and forgets it.
func (p *patience) of(key string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.until[key]
	delete(p.until, key)
	return at
}

// takeStep holds a step's job.
func (l *loop) takeStep(job engine.Job) {
	now := time.Now()
	h := &held{job: job, leased: now, step: &stepHeld{due: now}}
	// One that was begun has waited before.
	if n := job.Step.Attempt; n > 1 && !job.Begun && !job.Step.Prompt {
		h.step.due = job.Owed.Add(l.backoff(n - 2))
		if at := l.patience.of(job.Step.Key); at.After(h.step.due) {
			h.step.due = at
		}
		// A clock that was ahead when the job was owed must not put it off.
		if latest := now.Add(l.opts.BackoffCap + l.opts.MaxAfter); h.step.due.After(latest) {
			h.step.due = latest
		}
	}
	l.held[job.ID] = h
	l.metrics.stepOwed(job)
	l.pushStep(h)
}

func (l *loop) pushStep(h *held) {
	h.state = waiting
	i, _ := slices.BinarySearchFunc(l.steps.waiting, h, func(a, b *held) int {
		return cmp.Or(a.job.Owed.Compare(b.job.Owed), strings.Compare(a.job.ID, b.job.ID))
	})
	l.steps.waiting = slices.Insert(l.steps.waiting, i, h)
}

// startSteps begins what may begin now, the oldest first. It returns when to look again; zero: when something happens.
func (l *loop) startSteps() (next time.Time) {
	s := &l.steps
	now := time.Now()
	s.waiting = slices.DeleteFunc(s.waiting, func(h *held) bool {
		known := h.step.verdict.known() // only its report is missing: that takes no slot
		kind := h.job.Step.Step.Kind
		switch {
		case s.draining && (!known || h.step.due.After(now)):
			return false
		case h.step.due.After(now):
			if next.IsZero() || h.step.due.Before(next) {
				next = h.step.due
			}
			return false
		case !known && (s.running >= l.opts.Steps.Concurrency || s.kinds[kind] >= l.opts.Steps.PerKind || l.keys[h.job.Key]):
			return false
		}
		h.state = attempted
		s.active++
		run := l.report
		if !known {
			run = l.carryOut
			s.running++
			s.kinds[kind]++
			l.keys[h.job.Key] = true
			h.slot = true
		}
		results, gone, work := s.results, s.gone, s.work
		// The loop is its parent: it counts those that are active and waits for them when it stops.
		go func() {
			run(work, h)
			select {
			case results <- h:
			case <-gone:
			}
		}()
		return true
	})
	return next
}

// finishStep files what ended. It reports whether the job is over and stored.
func (l *loop) finishStep(h *held) bool {
	s, st := &l.steps, h.step
	s.active--
	if h.slot {
		h.slot = false
		s.running--
		s.kinds[h.job.Step.Step.Kind]--
		delete(l.keys, h.job.Key)
	}
	now := time.Now()
	over := false
	switch st.next {
	case stepOver:
		over = true
		l.dropStep(h)
	case stepUnstored:
		h.result = result{verb: done}
		over = l.store(h)
	case stepUnreported:
		// Without a limit: what has happened must not be lost while this process can tell of it.
		st.due = now.Add(min(l.opts.Poll<<min(st.reports-1, 5), 30*time.Second))
		l.pushStep(h)
	case stepPutOff:
		if now.Sub(h.leased) > l.opts.Lease+2*l.opts.Poll {
			l.dropStep(h) // were it still owed, the store would have handed it out anew
			break
		}
		st.due = now.Add(l.opts.Poll)
		l.pushStep(h)
	case stepLeft:
		l.dropStep(h)
	}
	l.metrics.stepUnreported(l.unreported())
	return over
}

// dropStep lets go of a job.
func (l *loop) dropStep(h *held) {
	delete(l.held, h.job.ID)
	l.metrics.stepOver(h.job.ID)
}

func (l *loop) unreported() (n int) {
	for _, h := range l.steps.waiting {
		if h.step.verdict.known() {
			n++
		}
	}
	return n
}

// drainSteps lets nothing new begin. What is under way may end within StopTimeout, and what could not be reported is tried
// once more at once.
func (l *loop) drainSteps() {
	if l.steps.draining {
		return
	}
	l.steps.draining = true
	l.steps.limit = time.After(l.opts.StopTimeout)
	now := time.Now()
	for _, h := range l.steps.waiting {
		if h.step.verdict.known() {
			h.step.due = now
		}
	}
	l.startSteps()
}

// hurrySteps is called when what was under way has not ended in time: first it is cancelled, then given up.
func (l *loop) hurrySteps() {
	if l.steps.work.Err() == nil {
		l.steps.cancel(errStopping)
		l.steps.limit = time.After(2 * time.Second)
		return
	}
	l.steps.limit, l.steps.givenUp = nil, true
}

// stepsEnded tells StopSteps when there is nothing left to wait for.
func (l *loop) stepsEnded() {
	if l.steps.draining && (l.steps.active == 0 || l.steps.givenUp) {
		l.idleOnce.Do(func() { close(l.idle) })
	}
}

// StopSteps lets no further step begin, and waits until those under way have ended and were reported: StopTimeout, then they
// are cancelled. What came of one that would not end is found out at the next start. Notices go on. It returns when all is
// over or ctx ends, at once when Run does not run; a runner whose steps were stopped begins none any more.
func (r *Runner) StopSteps(ctx context.Context) {
	r.stopSteps.Do(func() { close(r.stopping) })
	if !r.running.Load() {
		return
	}
	select {
	case <-r.idle:
	case <-ctx.Done():
	}
}
