package promtest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long a server may take to start or to end; these programs take well under a second each on an idle machine.
const (
	startTime = 60 * time.Second
	stopTime  = 20 * time.Second
)

// Server is a program under test control that answers HTTP. Its methods fail the test when they cannot do what they say; they
// are for the test's own goroutine.
type Server struct {
	URL string // http://127.0.0.1:port, the same after a restart

	t      testing.TB
	binary string
	root   string // working directory: where the package is unpacked
	args   []string
	dir    string // holds data and logs
	data   string
	addr   string

	cmd  *exec.Cmd
	log  string        // file with what the present process says
	done chan struct{} // closed once the present process has ended and was waited for
	runs int
}

func newServer(t testing.TB, p program, dir, data string, args []string) *Server {
	t.Helper()
	root := unpacked(t, p)
	s := &Server{t: t, root: root, binary: filepath.Join(root, p.command), args: args, dir: dir,
		data: data, addr: "127.0.0.1:0"}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("what %s said last:\n%s", p.pkg, s.said())
		}
	})
	s.start()
	return s
}

// start starts the process and returns once it says it is ready. The port is the kernel's choice at first, read from the
// log, so that no two servers ever race for one; a restart asks for the same port again.
func (s *Server) start() {
	s.t.Helper()
	s.runs++
	s.log = filepath.Join(s.dir, fmt.Sprintf("log-%d", s.runs))
	log, err := os.Create(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.binary, append([]string{"--web.listen-address=" + s.addr}, s.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, log, log
	cmd.SysProcAttr = endWithParent()
	err = cmd.Start()
	_ = log.Close() // the process has its own copy
	if err != nil {
		s.t.Fatalf("start %s: %v", s.binary, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	s.cmd, s.done = cmd, done
	s.poll("listens", func() bool {
		m := listening.FindStringSubmatch(s.said())
		if m == nil {
			return false
		}
		s.addr, s.URL = m[1], "http://"+m[1]
		return true
	})
	s.poll("is ready", func() bool {
		resp, err := http.Get(s.URL + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// listening is what exporter-toolkit logs once it has its socket.
var listening = regexp.MustCompile(`msg="Listening on" .*address=(127\.0\.0\.1:[0-9]+)`)

func (s *Server) poll(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(startTime)
	for !ok() {
		select {
		case <-s.done:
			s.t.Fatalf("%s ended before it %s:\n%s", s.binary, what, s.said())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %v until %s %s:\n%s", startTime, s.binary, what, s.said())
		}
	}
}

// said returns the end of what the present process logged.
func (s *Server) said() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-16<<10):])
}

// PID is the present process, whose use of the machine the kernel tells under /proc.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop ends the server in an orderly way; nothing if it does not run.
func (s *Server) Stop() {
	s.t.Helper()
	if !s.signal(syscall.SIGTERM) {
		return
	}
	s.signal(syscall.SIGCONT) // a paused process does not hear of the other signal before
	select {
	case <-s.done:
	case <-time.After(stopTime):
		s.Kill()
		s.t.Fatalf("%s did not end within %v:\n%s", s.binary, stopTime, s.said())
	}
}

// Kill ends the server at once, as a crash would; nothing if it does not run.
func (s *Server) Kill() {
	if s.signal(syscall.SIGKILL) {
		<-s.done
	}
}

// Restart stops the server if it runs and starts it again, on the same port and with the data it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// RestartEmpty is Restart with all data gone.
func (s *Server) RestartEmpty() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.data); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// Pause makes the server hang: its kernel still accepts connections, and no answer ever comes. It returns once no thread of
// the server runs any more; the signal alone lets one on another processor go on for a moment.
func (s *Server) Pause() {
	s.t.Helper()
	if !s.signal(syscall.SIGSTOP) {
		s.t.Fatalf("%s does not run", s.binary)
	}
	s.poll("stops", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range threads {
			stat, err := os.ReadFile(name)
			// The state is the word after the name in parentheses, which may itself hold anything.
			if i := bytes.LastIndexByte(stat, ')'); err == nil && i >= 0 && !bytes.HasPrefix(stat[i:], []byte(") T")) {
				return false
			}
		}
		return true
	})
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.t.Helper()
	if !s.signal(syscall.SIGCONT) {
		s.t.Fatalf("%s does not run", s.binary)
	}
}

// signal reports whether there was a process to send it to.
func (s *Server) signal(sig syscall.Signal) bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return s.cmd.Process.Signal(sig) == nil
	}
}

// write writes a configuration file into the server's folder and returns its path.
func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// has reports whether a flag is among flags, with either spelling of its value.
func has(flags []string, flag string) bool {
	for _, f := range flags {
		if name, _, _ := strings.Cut(f, "="); strings.TrimLeft(name, "-") == flag {
			return true
		}
	}
	return false
}
