package runner

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// batch is how many jobs are leased at a time.
const batch = 100

// loop is what Run's goroutine owns.
type loop struct {
	*Runner
	held     map[string]*held // by job ID
	keys     map[string]bool  // of attempts under way
	attempts int              // under way
	results  chan *held       // of attempts that ended; holds them all, so that none waits for the loop
	leasing  door             // whether the store can be asked for jobs
	storing  door             // whether it can be told of outcomes: a full disk closes this one alone
	steps    stepLoop
}

// held is a job the runner has.
type held struct {
	job    engine.Job
	route  *route
	leased time.Time
	result result    // once attempted
	own    bool      // to be attempted whatever the lease: the store could not be told of the attempt before
	state  holdsFor  // what it waits for
	step   *stepHeld // nil for a notice
	slot   bool      // it has one of the steps' slots
}

// door is a way to the store. Once it fails it is not tried again before the next tick.
type door struct {
	shut  bool
	since time.Time // since when it has been failing; zero: it is not
	told  time.Time // when that was last logged
}

type holdsFor int

const (
	waiting   holdsFor = iota // for a slot
	attempted                 // under way
	unstored                  // for the store to take its result
)

// lease takes what is due from the store, all of it: a route whose target is slow must not keep another's jobs from being
// seen.
func (l *loop) lease(ctx context.Context) {
	if l.leasing.shut {
		return
	}
	// The bound holds against a store that hands out the same jobs without end.
	for range 1 + (l.opts.Queue*len(l.routes)+len(l.held))/batch {
		lctx, cancel := context.WithTimeout(ctx, l.opts.StoreTimeout)
		jobs, err := l.jobs.Lease(lctx, batch)
		cancel()
		if ctx.Err() != nil {
			return // what was leased a moment ago is leased again by whoever comes next
		}
		if l.answered(&l.leasing, "cannot lease jobs", err); err != nil {
			return
		}
		for _, job := range jobs {
			l.take(job)
		}
		if len(jobs) < batch {
			return
		}
	}
}

// take holds a job.
func (l *loop) take(job engine.Job) {
	now := time.Now()
	if h := l.held[job.ID]; h != nil {
		// Its lease ran out and was renewed by this; or the store took a retry and its answer was lost, which reopen
		// makes when its time has come.
		h.leased = now
		return
	}
	if job.Step != nil {
		if l.opts.Steps != nil {
			l.takeStep(job)
		}
		return
	}
	h := &held{job: job, leased: now}
	if job.Notice == nil {
		// A newer program's job, after a downgrade. It is not this one's to fail.
		h.route = l.nobody
		h.result = result{verb: retry, problem: "an effect of a kind this program does not know", due: now.Add(l.opts.BackoffCap)}
		l.held[job.ID] = h
		l.store(h)
		return
	}
	h.route = l.route(job.Notice.Severity)
	l.held[job.ID] = h
	l.book.hold(h.route.name, job)
	h.route.push(h)
	if len(h.route.waiting) > l.opts.Queue {
		last := h.route.pop(len(h.route.waiting) - 1)
		problem := job.Problem
		if problem == "" {
			problem = "waits behind many others"
		}
		last.result = result{verb: retry, problem: problem, due: now.Add(l.opts.BackoffCap / 10)}
		l.store(last)
	}
}

// start begins the attempts that may begin now, the most urgent of each route first. It returns when to look again for want
// of rate; zero: for something to happen.
func (l *loop) start(work context.Context) (next time.Time) {
	now := time.Now()
	for _, rt := range l.routes {
		for i := 0; i < len(rt.waiting) && rt.running < rt.slots; {
			h := rt.waiting[i]
			switch {
			case l.keys[h.job.Key]:
				i++ // the one before it is under way: its outcome was stored, and the answer lost
				continue
			case !h.own && now.Sub(h.leased) > l.opts.Lease-l.opts.Timeout:
				// The lease could end during the attempt, and another process send the next notice of this
				// key before this one. The store will hand it out again.
				rt.pop(i)
				delete(l.held, h.job.ID)
				continue
			}
			if at := rt.ready(now); !at.IsZero() {
				if next.IsZero() || at.Before(next) {
					next = at
				}
				break
			}
			rt.pop(i)
			h.state = attempted
			rt.running++
			l.attempts++
			l.keys[h.job.Key] = true
			// The loop is its parent: it counts attempts down and waits for them when it stops.
			go func() {
				h.result = l.attempt(work, h.route, h.job)
				l.results <- h
			}()
		}
	}
	return next
}

// finish files an attempt that ended. It reports whether the job is over and stored.
func (l *loop) finish(h *held) bool {
	l.attempts--
	h.route.running--
	delete(l.keys, h.job.Key)
	return l.store(h) && h.result.verb != retry
}

// store tells the store what came of a job, and lets the job go once it knows. While the store is failing it only notes
// that this is still to be done.
func (l *loop) store(h *held) bool {
	h.state = unstored
	if l.storing.shut {
		return false
	}
	// Not bound to Run's context: what came of an attempt is stored while the program ends, too.
	ctx, cancel := context.WithTimeout(context.Background(), l.opts.StoreTimeout)
	defer cancel()
	var err error
	switch h.result.verb {
	case done:
		err = l.jobs.Done(ctx, h.job.ID)
	case fail:
		err = l.jobs.Fail(ctx, h.job.ID, h.result.problem)
	case retry:
		err = l.jobs.Retry(ctx, h.job.ID, h.result.problem, max(0, time.Until(h.result.due)))
	}
	if err != nil && l.opts.Settled(err) {
		err = nil
	}
	l.answered(&l.storing, "cannot store what came of jobs; it is remembered, and what was sent is not sent again while this process lives", err)
	l.metrics.unstored.Set(float64(l.unstored()))
	if err != nil {
		return false
	}
	delete(l.held, h.job.ID)
	if h.step != nil {
		l.metrics.stepOver(h.job.ID)
	}
	return true
}

// reopen tries the store again: what could not be stored, and the retries among it whose time has come, which this process
// knows to be due even if the store could not be told.
func (l *loop) reopen() {
	l.leasing.shut, l.storing.shut = false, false
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(l.held)) { // in an order of their own, so that a simulation repeats
		h := l.held[id]
		switch {
		case h.state != unstored:
		case h.result.verb == retry && h.job.Notice != nil && !now.Before(h.result.due):
			h.own = true
			l.again(h, h.job.Attempts+1)
		default:
			l.store(h)
		}
	}
	l.metrics.unstored.Set(float64(l.unstored()))
}

// again puts a job back among the waiting.
func (l *loop) again(h *held, attempts int) {
	h.job.Attempts, h.job.Problem = attempts, h.result.problem
	h.result = result{}
	h.state = waiting
	h.route.push(h)
}

func (l *loop) unstored() (n int) {
	for _, h := range l.held {
		if h.state == unstored {
			n++
		}
	}
	return n
}

// answered notes how the store answered. A failing one is logged when it begins to fail, then once a minute.
func (l *loop) answered(d *door, complaint string, err error) {
	now := time.Now()
	if err == nil {
		if !d.since.IsZero() {
			l.opts.Log.Info("the store of jobs answers again", "after", now.Sub(d.since))
		}
		*d = door{}
		return
	}
	d.shut = true
	if d.since.IsZero() {
		d.since = now
	}
	if now.Sub(d.told) >= time.Minute {
		d.told = now
		l.opts.Log.Error(complaint, "err", err)
	}
}
