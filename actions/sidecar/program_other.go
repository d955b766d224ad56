//go:build !unix

package sidecar

import (
	"context"
	"errors"
	"io"
	"syscall"
)

const canRun = false

func runProgram(context.Context, []string, []string, io.Writer) error {
	return errors.New("commands are run on Unix only")
}

func signalOf(string) (syscall.Signal, error) {
	return 0, errors.New("processes are signalled on Unix only")
}
