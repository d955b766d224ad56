//go:build unix

package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const canRun = true

// straggle is how long output is waited for from what a command left behind and that still holds its pipes.
const straggle = time.Second

// runProgram runs a command as the leader of a process group of its own. When ctx ends, the whole group is killed. What a
// command that ends by itself leaves running is left alone: that is how services are started.
func runProgram(ctx context.Context, argv, env []string, output io.Writer) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The group's number is free once the leader has been waited for and nothing else is left in the group. The system hands it out
	// again when it has used all others, which takes longer than the instant in which Run returns.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = straggle
	err := cmd.Run()
	switch {
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("killed: %w", context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it exited 0, and something that it started still has its output
	}
	return err
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"TERM": syscall.SIGTERM, "CONT": syscall.SIGCONT, "WINCH": syscall.SIGWINCH,
}

func signalOf(name string) (syscall.Signal, error) {
	if s, ok := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]; ok {
		return s, nil
	}
	return 0, fmt.Errorf("%q is none of HUP, INT, QUIT, USR1, USR2, TERM, CONT and WINCH", name)
}
