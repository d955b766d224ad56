// Package actions is what modeshift does to the outside world: it tells people, and (with playbooks) it acts.
//
// Each kind has a package of its own below this one. A kind carries out one job at a time and says what came of it by the
// error it returns; it neither retries nor remembers: package runner does, from the store's jobs. A job may be carried out
// more than once, so a kind hands the job's ID to its target as the idempotency key.
package actions

import (
	"context"
	"errors"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Notifier tells people of an incident. It returns nil when the target has taken the notice, an *Error when the target said
// something about trying again, and any other error for a failure worth retrying. It keeps to the context's deadline.
type Notifier interface {
	Notify(ctx context.Context, job engine.Job) error
}

// Error is an outcome with advice.
type Error struct {
	Err     error
	Final   bool          // trying again cannot help: the target understood and refused
	Unknown bool          // of a step: it may have happened all the same
	After   time.Duration // the target asked to wait this long; 0: it did not say
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Final reports whether err says that trying again cannot help.
func Final(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Final
}

// Unknown reports whether err leaves open whether the step has happened.
func Unknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unknown
}

// RetryAfter returns how long the target asked to wait; 0 when it did not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}

// Kind is a kind of step: webhook, exec, … It is safe for concurrent use.
type Kind interface {
	// Check reads a step's specification as the rule file has it (JSON) and returns it in canonical form, with what the
	// kind says of it, or all of its faults. It talks to nobody. The result of equal specifications is equal.
	Check(spec []byte) (canonical []byte, traits engine.Traits, problems []engine.SpecProblem)
	// Do carries out one attempt, under job.Key. It returns what the target answered (at most 1 KiB, without secrets) and
	// nil when the step has happened; an *Error that is Unknown when it may have happened; any other error when it has not.
	// It keeps to the context's deadline.
	Do(ctx context.Context, job engine.StepJob) (answer string, err error)
	// Describe says in full what Do would do, without doing it and without secrets: for approvers and for dry runs.
	Describe(job engine.StepJob) (string, error)
}

// Checker is a Kind that can say whether a step has happened already.
type Checker interface {
	// Done returns true when the step has happened, false when it has not. An error leaves it open.
	Done(ctx context.Context, job engine.StepJob) (bool, error)
}
