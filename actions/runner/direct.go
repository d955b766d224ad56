package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// Direct delivers a notice that no stored event stands behind, bypassing the store: that the log cannot be written, that a
// scope is not evaluated any more, and that all is well again. It needs neither the store nor Run. The rate and the pauses of the route hold for it too; it takes no
// slot, so that nothing under way can keep it from going out.
//
// It returns nil once the target has taken the notice, the refusal when that is final, and an error that wraps the cause of
// ctx when that ended first; until then it tries again as for any job, in memory. Notices of one incident go out in the order
// in which Direct was called. The time of the notice's event tells its occurrences apart.
func (r *Runner) Direct(ctx context.Context, n engine.Notice) error {
	now := time.Now()
	at := n.Event.At
	if at.IsZero() {
		at = now
	}
	key := "direct/" + string(n.Incident)
	job := engine.Job{
		Effect: engine.Effect{ID: fmt.Sprintf("%s/%s/%s", key, n.Action, at.UTC().Format(time.RFC3339Nano)), Key: key, Notice: &n},
		Owed:   now,
	}
	over, err := r.turn(ctx, key)
	defer over()
	if err != nil {
		return fmt.Errorf("deliver notice of %s: the one before it is still under way: %w", n.Incident, err)
	}
	rt := r.route(n.Severity)
	r.book.hold(rt.name, job)
	for {
		for {
			at := rt.ready(time.Now())
			if at.IsZero() {
				break
			}
			if err := sleep(ctx, time.Until(at)); err != nil {
				return r.undelivered(job, err)
			}
		}
		res := r.attempt(ctx, rt, job)
		switch res.verb {
		case done:
			return nil
		case fail:
			return fmt.Errorf("deliver notice of %s: %w", n.Incident, res.err)
		}
		job.Attempts++
		job.Problem = res.problem
		if err := sleep(ctx, time.Until(res.due)); err != nil {
			return r.undelivered(job, err)
		}
	}
}

// undelivered gives up a notice because the caller did.
func (r *Runner) undelivered(job engine.Job, cause error) error {
	problem := job.Problem
	if problem == "" {
		problem = "not attempted"
	}
	r.book.failed(job.ID, problem, time.Now())
	return &actions.Error{Err: fmt.Errorf("deliver notice of %s: %w; last problem: %s", job.Notice.Incident, cause, problem)}
}

// turn waits until the notices of a key that came before are over. The caller calls over when its own is, whatever turn
// returned.
func (r *Runner) turn(ctx context.Context, key string) (over func(), err error) {
	mine := make(chan struct{})
	r.directMu.Lock()
	before := r.direct[key]
	r.direct[key] = mine
	r.directMu.Unlock()
	end := func() {
		r.directMu.Lock()
		defer r.directMu.Unlock()
		if r.direct[key] == mine {
			delete(r.direct, key)
		}
		close(mine)
	}
	if before == nil {
		return end, nil
	}
	select {
	case <-before:
		return end, nil
	case <-ctx.Done():
		// Whoever comes after still waits for the one before, which ends by its own context.
		return func() { go func() { <-before; end() }() }, context.Cause(ctx)
	}
}

// sleep waits for d, or returns the cause of ctx when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
