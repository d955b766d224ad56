package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A process may hold 20,000 sockets where `ulimit -n` is what it is here, so servers and their clients are processes of their own:
// this test binary, started again with partEnv. What a part is told comes as a line of JSON on its standard input, and what it has
// to say goes out as such lines. It ends when its input does, so that nothing outlives a benchmark that was killed.

// partEnv holds a part in JSON.
const partEnv = "MODESHIFT_BENCH_PART"

// part is what a process started from this binary is.
type part struct {
	Role  string // server or clients
	Kind  string // which of kinds
	Addr  string // host:port of the server
	Dir   string // of the files of a modeshift server
	Token string // of the clients
	Tries bool   // clients connect again
}

// order is a line a part is told.
type order struct {
	Connect  int           `json:",omitempty"` // clients: as many
	Await    uint64        `json:",omitempty"` // clients: until each has this revision, or a later one
	Since    int64         `json:",omitempty"` // and received it after that, in Unix ns
	Patience time.Duration `json:",omitempty"`
	Hold     bool          `json:",omitempty"` // clients: report only once the next that is awaited has come
	Publish  uint64        `json:",omitempty"` // server: this revision to all; one of modeshift is asked through its API
}

// answer is a line a part says.
type answer struct {
	Ready   bool    `json:",omitempty"`
	Arrived []int64 `json:",omitempty"` // of the awaited revision at each client that has it, in Unix ns
	Fact    string  `json:",omitempty"` // of modeshift's log: published, applied or done
	At      int64   `json:",omitempty"` // when it was stored, or published, in Unix ns
	Acked   int     `json:",omitempty"` // of applied: by so many instances
	Rev     uint64  `json:",omitempty"` // of published and applied
	Error   string  `json:",omitempty"`
}

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(partEnv)
	if !ok {
		os.Exit(m.Run())
	}
	var p part
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		in := json.NewDecoder(os.Stdin)
		if p.Role == "server" {
			err = kinds[p.Kind].serve(p, in)
		} else {
			err = (&crowd{part: p}).run(in)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		say(answer{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

// say writes a line to who started this part. There is nobody to tell of an error.
func say(a answer) {
	text, _ := json.Marshal(a)
	_, _ = os.Stdout.Write(append(text, '\n'))
}

// process is a part that runs.
type process struct {
	tb      testing.TB
	part    part
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer
}

// begin starts a part. A server is ready when it returns.
func begin(tb testing.TB, p part) *process {
	tb.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	c := &process{tb: tb, part: p, cmd: exec.Command(self), answers: make(chan answer, 100)}
	c.cmd.Env = append(os.Environ(), partEnv+"="+string(text))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(c.answers)
		lines := json.NewDecoder(bufio.NewReader(out))
		for {
			var a answer
			if lines.Decode(&a) != nil { // it has ended
				return
			}
			c.answers <- a
		}
	}()
	tb.Cleanup(c.kill)
	if p.Role == "server" {
		c.next(func(a answer) bool { return a.Ready })
	}
	return c
}

// next waits for an answer that is wanted, and passes others over.
func (c *process) next(wanted func(a answer) bool) answer {
	c.tb.Helper()
	patience := time.NewTimer(3 * time.Minute)
	defer patience.Stop()
	for {
		select {
		case a, ok := <-c.answers:
			switch {
			case !ok:
				c.tb.Fatalf("the %s of %s ended", c.part.Role, c.part.Kind)
			case a.Error != "":
				c.tb.Fatalf("the %s of %s: %s", c.part.Role, c.part.Kind, a.Error)
			case wanted(a):
				return a
			}
		case <-patience.C:
			c.tb.Fatalf("the %s of %s said nothing that was waited for", c.part.Role, c.part.Kind)
		}
	}
}

// tell gives an order.
func (c *process) tell(o order) {
	c.tb.Helper()
	text, err := json.Marshal(o)
	if err == nil {
		_, err = fmt.Fprintf(c.in, "%s\n", text)
	}
	if err != nil {
		c.tb.Fatalf("the %s of %s: %v", c.part.Role, c.part.Kind, err)
	}
}

// kill ends a part as a power cut would, and waits for its end. A second time it does nothing.
func (c *process) kill() {
	_ = c.cmd.Process.Kill() // it has ended already: that is the answer
	for range c.answers {    // Wait closes what is read here
	}
	_ = c.cmd.Wait() // it was killed
}
