package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// The targets of a step are stored with it, and each of them is handed to its kind.
const (
	maxTargetsBytes = 64 << 10 // of all names together
	maxTargetBytes  = 1 << 10  // of one
	namedTargets    = 20       // where there are more than the step may have
)

// find finds the targets of a step, and reports them. Nothing is done, so there is no mark that it was begun: a process that
// dies here finds them again.
func (r *Runner) find(ctx context.Context, h *held) {
	job := h.job.Step
	found := &engine.TargetsReported{Change: job.Change, Step: job.Step.Name, Attempt: job.Attempt}
	names, err := r.targets(ctx, h)
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		h.step.next = stepLeft
		return
	case err != nil:
		found.Problem = notice.Cut(err.Error(), maxDetail)
		r.stepLog(h).Warn("the targets of a step cannot be found", "problem", found.Problem)
	default:
		found.Count = len(names)
		if found.Count > job.Step.Targets.Max {
			names = names[:min(len(names), namedTargets)]
		}
		found.Names = names
		r.stepLog(h).Info("targets of a step found", "targets", found.Count, "max", job.Step.Targets.Max)
	}
	h.step.verdict.found = found
	r.report(ctx, h)
}

// targets asks the finder, and judges its answer: each target once, sorted, none too long to be kept.
func (r *Runner) targets(ctx context.Context, h *held) (names []string, err error) {
	if r.opts.Steps.Finder == nil {
		return nil, errors.New("this server can find no targets")
	}
	job := h.job.Step
	err = r.within(ctx, h, func(ctx context.Context) (err error) {
		names, err = r.opts.Steps.Finder.Find(ctx, job.Scope, job.Step.Targets.Selector)
		return err
	})
	if err != nil {
		return nil, err
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	size := 0
	for _, name := range names[:min(len(names), job.Step.Targets.Max)] {
		size += len(name)
		switch {
		case name == "":
			return nil, errors.New("a target has no name")
		case len(name) > maxTargetBytes:
			return nil, fmt.Errorf("the name of a target has %d bytes, and may have %d", len(name), maxTargetBytes)
		case size > maxTargetsBytes:
			return nil, fmt.Errorf("the names of %d targets have more than %d bytes together", len(names), maxTargetsBytes)
		}
	}
	for i, name := range names[:min(len(names), namedTargets)] {
		names[i] = notice.Cut(name, maxTargetBytes) // of those that are too many only the first are told
	}
	return names, nil
}
