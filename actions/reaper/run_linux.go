package reaper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// name is what a reaper is called in the list of processes, and what makes this executable one. No verb of a command line: this
// is nothing for anybody to type.
const name = "modeshift-reaper"

// patience is how long a reaper has to end what came of a program. Killing takes milliseconds, unless a process hangs in the
// kernel.
const patience = 5 * time.Second

// ErrNotStarted says that nothing was begun.
var ErrNotStarted = errors.New("not started")

// Run runs cmd until it ends or ctx does, and says how it ended. By then nothing that came of it is there any more. An error that
// is not ErrNotStarted leaves open whether it did its work.
//
// Of cmd, which is Run's from now on, count Args, Dir, Env, Stdin, Stdout, Stderr and WaitDelay. The first argument is the
// program's path.
func Run(ctx context.Context, cmd *exec.Cmd) (syscall.WaitStatus, error) {
	// The reaper is given what the program is to have, and hands it on. The link leads to what is running here, also when
	// somebody has put a newer executable into its place.
	cmd.Path, cmd.Args = "/proc/self/exe", append([]string{name}, cmd.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	begin := func() (hold, report *os.File, err error) {
		lead, hold, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		report, say, err := os.Pipe()
		if err != nil {
			return nil, nil, errors.Join(err, lead.Close(), hold.Close())
		}
		cmd.ExtraFiles = []*os.File{lead, say} // leadFD, sayFD
		err = cmd.Start()
		err = errors.Join(err, lead.Close(), say.Close())
		if err != nil {
			err = errors.Join(err, hold.Close(), report.Close())
		}
		return hold, report, err
	}
	hold, report, err := begin()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	said := make(chan words, 1)
	go func() { said <- listen(report) }()
	_, _ = hold.Write([]byte{'!'}) // a reaper that is gone says nothing, and that is heard
	var w words
	select {
	case w = <-said:
		_ = hold.Close() // nothing was written that could be lost
	case <-ctx.Done():
		_ = hold.Close() // this lets go
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		w = <-said
		late.Stop()
	}
	err = errors.Join(cmd.Wait(), report.Close())
	switch {
	case w.failed != "":
		return 0, fmt.Errorf("%w: %s", ErrNotStarted, w.failed)
	case w.ended:
		return w.status, nil
	case w.leader > 0:
		kill(-w.leader) // the program was killed along with its reaper, and its number is its group's for as long as that is there
	}
	return 0, fmt.Errorf("whoever ran it is gone: %w", err)
}

// words are what a reaper says, each in a line of its own: started NUMBER, and then ended STATUS; or failed WHY.
type words struct {
	leader int // the program's number; 0: it was not started
	ended  bool
	status syscall.WaitStatus
	failed string
}

// listen hears a reaper out.
func listen(report *os.File) (w words) {
	for lines := bufio.NewScanner(report); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		number, err := strconv.ParseUint(rest, 10, 32)
		switch {
		case word == "failed":
			w.failed = rest
		case word == "started" && err == nil:
			w.leader = int(number)
		case word == "ended" && err == nil:
			w.ended, w.status = true, syscall.WaitStatus(number)
		}
	}
	return w
}

// kill ends a process, or with -n a group. That it is gone already is as good.
func kill(n int) { _ = syscall.Kill(n, syscall.SIGKILL) }
