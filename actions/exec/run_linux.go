package exec

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/modeshift/modeshift/actions/reaper"
)

const supported = true

// straggle is how long output is waited for from what still holds a program's pipes, and is not the reaper's to end.
const straggle = time.Second

// run runs the program to its end, which comes within the time it has.
func (p *program) run(ctx context.Context, timeout time.Duration) end {
	ctx, cancel := within(ctx, timeout)
	defer cancel()
	if ctx.Err() != nil {
		return end{err: fmt.Errorf("%s was not started: %w", p.name, context.Cause(ctx))}
	}
	// Not exec.CommandContext: it would kill the reaper, and nothing else.
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
	status, err := reaper.Run(ctx, cmd)
	if errors.Is(err, reaper.ErrNotStarted) {
		return end{err: fmt.Errorf("%s was %w", p.name, err)}
	}
	out := end{stdout: stdout.kept, stderr: stderr.kept, more: stdout.more || stderr.more}
	switch {
	case err != nil:
		out.killed = err
	case status.Signaled():
		out.signal = status.Signal()
		if status.Signal() == syscall.SIGKILL {
			out.killed = context.Cause(ctx) // nil: the signal came from elsewhere
		}
	default: // it ended by itself, if only just before it was killed
		out.exit = status.ExitStatus()
	}
	return out
}
