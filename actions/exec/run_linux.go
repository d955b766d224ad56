package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const supported = true

// straggle is how long output is waited for from what has left the program's group and still holds its pipes.
const straggle = time.Second

// run runs the program to its end, which comes within the time it has.
func (p *program) run(ctx context.Context, timeout time.Duration) end {
	ctx, cancel := within(ctx, timeout)
	defer cancel()
	if ctx.Err() != nil {
		return end{err: fmt.Errorf("%s was not started: %w", p.name, context.Cause(ctx))}
	}
	// Not exec.CommandContext: it kills the leader alone, and not what that has started.
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir = p.dir
	cmd.Env = []string{} // not nil, which would be the server's
	for _, v := range p.env {
		cmd.Env = append(cmd.Env, v.name+"="+v.value)
	}
	if p.stdin != nil {
		cmd.Stdin = strings.NewReader(*p.stdin)
	}
	stdout, stderr := &limited{max: p.maxOutput}, &limited{max: p.maxOutput}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = straggle
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}

	// The kernel sends the death signal when the thread ends that started the program, not the process. This goroutine
	// keeps its thread until the program has ended, and so the thread does not end before the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return end{err: fmt.Errorf("%s was not started: %w", p.name, err)}
	}
	group := cmd.Process.Pid // Setsid made the program the leader
	over := make(chan struct{})
	killed := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			kill(group)
			killed <- context.Cause(ctx)
		case <-over:
			killed <- nil
		}
	}()
	// The leader is waited for, but not yet taken away: as long as it is there, nobody else can get its number, and the
	// signals to the group go to this group.
	awaitExit(group)
	close(over)
	why := <-killed
	kill(group) // what it left behind
	err := cmd.Wait()
	out := end{stdout: stdout.kept, stderr: stderr.kept, more: stdout.more || stderr.more}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Exited() && !status.Signaled():
		out.killed = fmt.Errorf("nobody can say how it ended: %w", err)
	case status.Signaled():
		out.signal = status.Signal()
		out.killed = why // else the signal came from elsewhere
	default: // it ended by itself, if only just before it was killed
		out.exit = status.ExitStatus()
	}
	return out
}

// kill ends a group. That it is gone already is as good.
func kill(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) }

// awaitExit returns when a child has ended, and leaves it to be waited for.
func awaitExit(pid int) {
	const (
		byPID = 1 // P_PID
		size  = 128
	)
	var info [size]byte // siginfo_t, which nobody reads
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			if errno != 0 && !errors.Is(errno, syscall.ECHILD) {
				panic(os.NewSyscallError("waitid", errno)) // the child is ours, and nobody else waits for it
			}
			return
		}
	}
}
