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
	Err   error
	Final bool          // trying again cannot help: the target understood and refused
	After time.Duration // the target asked to wait this long; 0: it did not say
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Final reports whether err says that trying again cannot help.
func Final(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Final
}

// RetryAfter returns how long the target asked to wait; 0 when it did not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}
