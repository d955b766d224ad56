package runner

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// nobody is the notifier of severities without one: the fallback is told, and the job fails. When the fallback itself does
// not answer the job is tried again: this is the only way out it has.
type nobody struct{ fallback actions.Notifier }

func (n nobody) Notify(ctx context.Context, job engine.Job) error {
	if err := n.fallback.Notify(ctx, job); err != nil && !actions.Final(err) {
		return err
	}
	return &actions.Error{Err: fmt.Errorf("no receiver configured for %s", job.Notice.Severity), Final: true}
}

// logFallback writes notices to the log.
type logFallback struct{ log *slog.Logger }

func (f logFallback) Notify(_ context.Context, job engine.Job) error {
	f.log.Error("notice that no receiver got", "severity", string(job.Notice.Severity), "action", string(job.Notice.Action),
		"incident", string(job.Notice.Incident), "scope", string(job.Notice.Details.Scope), "summary", job.Notice.Summary,
		"runbook", job.Notice.Details.Runbook, "problem", job.Problem)
	return nil
}

// tell gives the fallback a job that its own route did not deliver.
func (r *Runner) tell(ctx context.Context, rt *route, job engine.Job, problem string) {
	job.Problem = problem
	if err := r.call(ctx, r.opts.Fallback, job); err != nil {
		r.metrics.count(rt.name, "fallback_failed")
		r.opts.Log.Error("the fallback did not take a notice either", "job", job.ID, "problem", err)
	}
}
