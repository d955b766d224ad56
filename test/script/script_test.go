// Package script holds the command line to what it says it does: transcripts of the real program, one folder of files and
// one server each. A comment above each case says what it protects. Run with -update to write new outputs into them.
package script

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modeshift/modeshift/examples/prometheus"
)

var update = flag.Bool("update", false, "write the outputs that cmp compares into the scripts")

// programs is the folder with the program, for PATH.
var programs string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "modeshift-script-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system's own cleaning gets what is left
	programs = dir
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "modeshift"), "github.com/modeshift/modeshift/cmd/modeshift")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return m.Run()
}

func TestTheCommandLineDoesWhatItSays(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			address, other, err := addresses()
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("ADDRESS", address)
			e.Setenv("OTHER", other) // one more, where nobody listens
			e.Setenv("MODESHIFT_SERVER", "http://"+address)
			e.Setenv("TZ", "UTC")
			e.Setenv("SOON", time.Now().UTC().Add(time.Hour).Format(time.RFC3339))
			e.Setenv("LATER", time.Now().UTC().Add(2*time.Hour).Format(time.RFC3339))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "wait-ready": waitReady, "one-line": oneLine, "damage": damage, "keep": keep,
			"eventually": eventually, "prometheus": startPrometheus,
		},
	})
}

// addresses are two loopback addresses nobody listens on, below the ports the kernel gives to outgoing connections.
func addresses() (one, other string, err error) {
	var found []string
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", "", err
		}
		if found = append(found, address); len(found) == 2 && found[0] != found[1] {
			return found[0], found[1], nil
		}
	}
	return "", "", errors.New("no two free ports found")
}

// exits CODE PROGRAM ARGS… runs a program that has to end with CODE, and never in a panic.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	for _, text := range []string{"panic", "goroutine ", ".go:"} {
		if strings.Contains(ts.ReadFile("stderr"), text) {
			ts.Fatalf("it says %q: a stack trace is no message", text)
		}
	}
}

// one-line FILE: the file is one line, of use to a person: it begins with the program's name.
func oneLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: one-line FILE")
	}
	if text := ts.ReadFile(args[0]); strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "modeshift: ") {
		ts.Fatalf("not one line of modeshift's: %q", text)
	}
}

// keep NAME REGEXP keeps what the first group of an expression matched in the last stdout in a variable.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("nothing matches %s in the last stdout", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// eventually REGEXP PROGRAM ARGS… runs a program until its output matches, for at most half a minute.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP PROGRAM ARGS…")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("nothing matches %s in the last stdout", args[0])
}

// prometheus starts one that scrapes nothing. Its address is in PROMETHEUS, and stands for that word between braces in
// modeshift.yaml.
func startPrometheus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: prometheus")
	}
	s, err := prometheus.Start(prometheus.Options{})
	ts.Check(err)
	ts.Defer(func() {
		if err := s.Stop(context.Background()); err != nil {
			ts.Logf("%v", err)
		}
	})
	ts.Setenv("PROMETHEUS", s.URL())
	text := strings.ReplaceAll(ts.ReadFile("modeshift.yaml"), "${PROMETHEUS}", s.URL())
	ts.Check(os.WriteFile(ts.MkAbs("modeshift.yaml"), []byte(text), 0o600))
}

// wait-ready [PATH] waits until the server at MODESHIFT_SERVER is ready, or says 200 at another path.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: wait-ready [PATH]")
	}
	path := "/-/ready"
	if len(args) > 0 {
		path = args[0]
	}
	client := http.Client{Timeout: 5 * time.Second}
	last := "nothing"
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get(ts.Getenv("MODESHIFT_SERVER") + path)
		if err != nil {
			last = err.Error()
			continue
		}
		last = resp.Status
		ts.Check(resp.Body.Close())
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("the server is not ready: %s", last)
}

// damage FILE OLD NEW changes every occurrence of a text in a file to another of the same length, behind the program's back.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: damage FILE OLD NEW, of one length")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}
