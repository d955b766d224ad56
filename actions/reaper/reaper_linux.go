package reaper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// The descriptors of a reaper beside the program's three.
const (
	leadFD = 3 // its end says that nobody is there any more
	sayFD  = 4
)

// What was started as a reaper is one, and nothing else of the executable begins. It happens here because a test's executable
// has a main function that is not ours, and because main comes after all packages were initialised, which takes a server longer
// than all that a reaper does.
func init() {
	if len(os.Args) > 1 && os.Args[0] == name {
		reap(os.Args[1:])
		syscall.Exit(0) // nothing is left to be seen to; with the race detector os.Exit would wait for a second
	}
}

// reap starts a program, ends all that came of it and says how it ended.
func reap(argv []string) {
	for _, fd := range []int{leadFD, sayFD} {
		syscall.CloseOnExec(fd)
	}
	lead, say := os.NewFile(leadFD, "lead"), os.NewFile(sayFD, "say")
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM) // not ignored, which the program would inherit
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		_, _ = fmt.Fprintln(say, "failed", os.NewSyscallError("prctl", errno)) // whoever listened is gone, or hears it
		return
	}
	if _, err := io.ReadFull(lead, make([]byte, 1)); err != nil {
		return // they are gone before anything was begun
	}
	// The kernel sends the death signal when the thread ends that started the program. This is the main thread, which ends with
	// the process: init runs on it.
	leader, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		_, _ = fmt.Fprintln(say, "failed", err)
		return
	}
	_, _ = fmt.Fprintln(say, "started", leader)
	alone, over := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, lead) // however it ends, it has ended
		close(alone)
	}()
	go func() {
		bury(leader)
		close(over)
	}()
	select {
	case <-over:
	case <-alone:
	case <-asked:
	}
	kill(-leader) // all at once: nobody in the group starts another in between
	<-over
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(leader, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	sweep()
	_, _ = fmt.Fprintln(say, "ended", uint32(status))
}

const (
	prSetChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER, of linux/prctl.h
	pAll                = 0  // P_ALL, of waitid(2)
	// siginfo_t has 128 bytes. What it tells of comes after three numbers of four bytes, aligned as a pointer is.
	infoSize = 128
	infoPID  = (12 + ptr - 1) &^ (ptr - 1)
	ptr      = unsafe.Sizeof(uintptr(0))
)

// bury takes away orphans that have ended, until the leader has. The leader is left: as long as it is there, nobody else can get
// its number, and a signal to its group goes to this group.
func bury(leader int) {
	for {
		var info [infoSize]byte
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pAll, 0, uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		pid := int(*(*int32)(unsafe.Pointer(&info[infoPID])))
		switch {
		case errno == syscall.EINTR:
		case errno != 0 || pid == leader:
			return
		default:
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// sweep kills whatever is below this process, until nothing is: who loses its parent becomes a child of this one. What does not
// die is left, in the end, for nothing can be done about it.
func sweep() {
	pause := time.Millisecond
	for end := time.Now().Add(patience / 2); time.Now().Before(end); {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return
		case pid == 0:
			for _, child := range children() {
				kill(child)
			}
			time.Sleep(pause)
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// children are the processes whose parent this one is. None of their numbers can be anybody else's: they are waited for here.
func children() (out []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }() // only read from
	names, _ := dir.Readdirnames(-1)   // what could be read has to do
	self := strconv.Itoa(os.Getpid())
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + n + "/stat")
		if err != nil {
			continue // it ended
		}
		// 17 (name of it) S 1 …: the name may hold anything, and the rest no bracket.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[1] == self {
			out = append(out, pid)
		}
	}
	return out
}
