package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// maxProblem is how much of a problem is stored, in bytes.
const maxProblem = 2 << 10

// verb is what the store is told.
type verb int

const (
	done verb = iota
	retry
	fail
)

// result is what came of an attempt.
type result struct {
	verb    verb
	problem string
	due     time.Time // of a retry
	err     error
}

// attempt makes one attempt of a job and says what is to be stored of it. It counts, logs and tells the fallback.
func (r *Runner) attempt(ctx context.Context, rt *route, job engine.Job) result {
	began := time.Now()
	err := r.call(ctx, rt.notifier, job)
	log := r.opts.Log.With("route", rt.name, "job", job.ID, "key", job.Key, "action", string(job.Notice.Action), "attempt", job.Attempts+1)
	if err == nil {
		r.metrics.count(rt.name, "sent")
		r.book.taken(job.ID)
		log.Info("notice taken", "took", time.Since(began), "age", time.Since(job.Owed))
		return result{verb: done}
	}
	now := time.Now()
	res := result{problem: notice.Cut(err.Error(), maxProblem), err: err}
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		res.verb, res.due = retry, now
		log.Warn("notice interrupted: the program is stopping; it will be sent again", "problem", res.problem)
		return res
	case actions.Final(err):
		res.verb = fail
		r.metrics.count(rt.name, "failed")
		r.book.failed(job.ID, res.problem, now)
		log.Error("notice could not be delivered and will not be tried again", "summary", job.Notice.Summary,
			"incident", string(job.Notice.Incident), "severity", string(job.Notice.Severity), "problem", res.problem)
		if rt != r.nobody { // there the attempt was the telling
			r.tell(ctx, rt, job, res.problem)
		}
		return res
	}
	after := min(actions.RetryAfter(err), r.opts.MaxAfter)
	if after > 0 {
		rt.pause(now.Add(after))
	}
	// What the target asked for is the least; the jitter on top keeps those who were told the same from coming together.
	wait := after + r.backoff(job.Attempts)
	res.verb, res.due = retry, now.Add(wait)
	r.metrics.count(rt.name, "retried")
	tell := r.book.problem(job.ID, res.problem, now, r.opts.FallbackAfter)
	log.Warn("notice not taken; trying again", "in", wait, "age", now.Sub(job.Owed), "problem", res.problem)
	if tell && rt != r.nobody {
		log.Error("notice is late", "summary", job.Notice.Summary, "age", now.Sub(job.Owed), "problem", res.problem)
		r.tell(ctx, rt, job, "late by "+now.Sub(job.Owed).Round(time.Second).String()+": "+res.problem)
	}
	return res
}

// backoff is the wait after the failure that follows attempts failed ones: exponential, with full jitter.
func (r *Runner) backoff(attempts int) time.Duration {
	wait := r.opts.BackoffBase
	for range attempts {
		if wait >= r.opts.BackoffCap {
			break
		}
		wait *= 2
	}
	return time.Duration(r.opts.Rand() * float64(min(wait, r.opts.BackoffCap)))
}

// call calls a notifier with the timeout of an attempt. A panic is its job's failure, not the program's.
func (r *Runner) call(ctx context.Context, n actions.Notifier, job engine.Job) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.Timeout, fmt.Errorf("no answer within %v", r.opts.Timeout))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may hold anything, a secret too: only its type and place are told.
			err = fmt.Errorf("the notifier panicked with a %T", p)
			r.opts.Log.Error("a notifier panicked", "job", job.ID, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	err = n.Notify(ctx, job)
	if err != nil && errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) != nil {
		err = &actions.Error{Err: fmt.Errorf("%w (%w)", context.Cause(ctx), err), Final: actions.Final(err), After: actions.RetryAfter(err)}
	}
	return err
}
