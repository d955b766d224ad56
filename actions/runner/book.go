package runner

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// maxFailed is how many final failures are kept for Problems.
const maxFailed = 100

// Problem is a notice that is not delivered.
type Problem struct {
	Job      string
	Route    string
	Incident engine.IncidentID
	Severity engine.Severity
	Action   engine.NoticeAction
	Summary  string
	Problem  string    // what the last attempt said
	Owed     time.Time // since when it should have been delivered
	At       time.Time // of the last attempt
	Final    bool      // it is not tried again
}

// book knows the notices that are owed and not delivered, as far as this process has seen them.
type book struct {
	mu   sync.Mutex        // guards what follows
	open map[string]*entry // by job ID
	lost []Problem         // final failures, oldest first
}

type entry struct {
	Problem
	seen time.Time
	told bool // the fallback was told that it is late
}

func (b *book) init() { b.open = map[string]*entry{} }

// hold notes a job.
func (b *book) hold(route string, job engine.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.open[job.ID]
	if e == nil {
		n := job.Notice
		e = &entry{Problem: Problem{Job: job.ID, Route: route, Incident: n.Incident, Severity: n.Severity, Action: n.Action,
			Summary: n.Summary, Problem: job.Problem, Owed: job.Owed}}
		b.open[job.ID] = e
	}
	e.seen = time.Now()
}

// taken notes that a job's target has it.
func (b *book) taken(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, id)
}

// problem notes an attempt that failed. It reports, once for each page, that it is late by now.
func (b *book) problem(id, problem string, at time.Time, late time.Duration) (tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.open[id]
	if e == nil {
		return false
	}
	e.Problem.Problem, e.At, e.seen = problem, at, at
	tell = !e.told && e.Severity.Wakes() && at.Sub(e.Owed) >= late
	e.told = e.told || tell
	return tell
}

// failed notes a final failure.
func (b *book) failed(id, problem string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.open[id]
	if e == nil {
		return
	}
	delete(b.open, id)
	p := e.Problem
	p.Problem, p.At, p.Final = problem, at, true
	b.lost = append(b.lost, p)
	b.lost = slices.Delete(b.lost, 0, max(0, len(b.lost)-maxFailed))
}

// forget drops what was not seen since: some other process has it.
func (b *book) forget(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.open {
		if e.seen.Before(since) {
			delete(b.open, id)
		}
	}
}

// oldest returns, for each route, how many notices are owed and since when the oldest is.
func (b *book) oldest() map[string]backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]backlog{}
	for _, e := range b.open {
		l := out[e.Route]
		if l.count == 0 || e.Owed.Before(l.since) {
			l.since = e.Owed
		}
		l.count++
		out[e.Route] = l
	}
	return out
}

type backlog struct {
	count int
	since time.Time
}

// Problems returns the notices that are not delivered: first those still tried, the oldest first, then the last 100 that
// failed for good, the newest first. It is what status and readiness show.
func (r *Runner) Problems() []Problem {
	b := &r.book
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Problem
	for _, e := range b.open {
		if e.Problem.Problem != "" {
			out = append(out, e.Problem)
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return cmp.Or(a.Owed.Compare(b.Owed), cmp.Compare(a.Job, b.Job)) })
	for _, p := range slices.Backward(b.lost) {
		out = append(out, p)
	}
	return out
}
