package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/modeshift/modeshift/engine/crash"
)

// interruptible is a context that a signal ends: the verb then says how far it came. A second signal does what it does by default.
func interruptible() (context.Context, func()) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interrupted is what a verb says that was stopped: how far it came, and what can be relied on of it. Nobody was told no.
func interrupted(format string, args ...any) error {
	return exit(exitCannotTell, "interrupted: "+format, args...)
}

// crashed is the error of a verb whose result says already which panics there were: the text sums them up, and report shows the stacks.
func crashed(code int, panics error, format string, args ...any) error {
	return &exitError{code, &crashError{fmt.Sprintf(format, args...), panics}}
}

type crashError struct {
	text string
	err  error
}

func (e *crashError) Error() string { return e.text }
func (e *crashError) Unwrap() error { return e.err }

// guarded carries out a verb. A panic of its own goroutine would exit with the code of wrong use, and bury what it says in a stack.
func guarded(verb func() error) error {
	err := crash.Try(verb)
	if e := (*exitError)(nil); crash.Of(err) != nil && !errors.As(err, &e) {
		return &exitError{exitCannotTell, err}
	}
	return err
}

// showStacks prints where panics began, one of each place. They go to standard error, and into no result: only who makes a report of
// them has a use for stacks.
func showStacks(w io.Writer, err error) {
	for _, c := range crash.Of(err) {
		// There is nowhere left to report to when standard error is gone.
		_, _ = fmt.Fprintf(w, "\nFor the report, the stack of %s (%s):\n\n%s", c.At, c.What, c.Stack)
	}
}
