package examples_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/server"
)

// What people copy out of the page is what runs in the tests: a snippet is a whole file of the folder, named above it.
func TestTheSnippetsOfConnectAServiceAreItsTestedFiles(t *testing.T) {
	page, err := os.ReadFile("connect/README.md")
	if err != nil {
		t.Fatal(err)
	}
	// In these tests and in test/openfeature.
	shownFiles(t, "connect", string(page),
		"rules/checkout.yaml", "tokens.yaml", "go/main.go", "javascript/agent.sh", "javascript/service.mjs", "file/agent.sh", "file/worker.sh")
}

// shownFiles checks that what a page shows are whole files of its folder, and just those that tests run.
func shownFiles(t *testing.T, dir, page string, tested ...string) {
	t.Helper()
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```[a-z]*\n(.*?)```\n").FindAllStringSubmatch(page, -1) {
		text, err := os.ReadFile(filepath.Join(dir, m[1]))
		if err != nil {
			t.Error(err)
		} else if string(text) != m[2] {
			t.Errorf("the page's %s is not the file; make the page say what the file says", m[1])
		}
		shown[m[1]] = true
	}
	for _, name := range tested {
		if !shown[name] {
			t.Errorf("the page does not show %s", name)
		}
		delete(shown, name)
	}
	for other := range shown {
		t.Errorf("no test runs %s", other)
	}
}

// connected is a server with the page's rules and tokens, that may be stopped and started again.
type connected struct {
	*example
	config server.Config
	stop   func()
	token  string // file with the instances' token
	bin    string // folder with the programs
}

func connect(t *testing.T) *connected {
	t.Helper()
	c := &connected{example: &example{t, "", tokenOf("ada")}, config: server.DefaultConfig(), bin: t.TempDir()}
	c.token = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.token, []byte(tokenOf("checkout")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.config.Rules, c.config.Data, c.config.Listen = []string{"connect/rules"}, t.TempDir(), free(t)
	c.config.TokensFile = knownTokens(t, "connect/tokens.yaml")
	c.config.Prometheus = []server.Source{{Name: "main", URL: "http://127.0.0.1:1"}} // no condition asks it anything
	c.url = "http://" + c.config.Listen
	c.start()
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *connected) start() {
	c.t.Helper()
	s, err := server.New(c.t.Context(), server.Options{Config: c.config, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	c.stop = sync.OnceFunc(func() {
		if err := errors.Join(s.Stop(), <-ended); err != nil {
			c.t.Error(err)
		}
	})
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// build builds a program into the folder.
func (c *connected) build(name, pkg string) string {
	c.t.Helper()
	path := filepath.Join(c.bin, name)
	if said, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		c.t.Fatalf("build %s: %v\n%s", name, err, said)
	}
	return path
}

// set takes the service into a mode.
func (c *connected) set(mode string) {
	c.t.Helper()
	eventually(c.t, "the change before is over, and "+mode+" is set", func() bool {
		code, text := c.call(http.MethodPost, c.admin, "/api/v1/scopes/checkout/set", map[string]any{"mode": mode, "reason": "test", "directive_only": true}, nil)
		if code != http.StatusOK && code != http.StatusConflict {
			c.t.Fatalf("set answers %d: %s", code, text)
		}
		return code == http.StatusOK
	})
}

// standing is how the only instance follows.
func (c *connected) standing() string {
	var list struct {
		Instances []struct{ Name, Standing, Mode string }
	}
	c.get("/api/v1/scopes/checkout/instances", &list)
	if len(list.Instances) != 1 {
		return fmt.Sprintf("%d instances", len(list.Instances))
	}
	return fmt.Sprintf("%s %s %s", list.Instances[0].Name, list.Instances[0].Standing, list.Instances[0].Mode)
}

// process is a program of the page that runs.
type process struct {
	stop func()
	mu   sync.Mutex // guards out
	out  bytes.Buffer
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// begin starts a program in a folder; stop interrupts it and waits for it.
func (c *connected) begin(dir, program string, env ...string) *process {
	c.t.Helper()
	p := &process{}
	cmd := exec.Command(program)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, p, p, 10*time.Second
	cmd.Env = append(os.Environ(), append(env, "MODESHIFT_SERVER="+c.url, "MODESHIFT_TOKEN_FILE="+c.token, "PATH="+c.bin+":"+os.Getenv("PATH"))...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself, which Wait tells
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() > 0 {
			c.t.Errorf("%s: %v", program, err)
		}
	})
	c.t.Cleanup(func() {
		p.stop()
		if c.t.Failed() {
			c.t.Logf("%s said:\n%s", program, p.said())
		}
	})
	return p
}

func TestTheGoServiceOfThePageFollowsItsMode(t *testing.T) {
	t.Parallel()
	c := connect(t)
	program, state, address := c.build("checkout", "./connect/go"), t.TempDir(), free(t)
	env := []string{"INSTANCE=checkout-1", "STATE_DIR=" + state, "LISTEN=" + address}
	service := c.begin(t.TempDir(), program, env...)
	ask := func(path string) (code int, mode, after, body string) {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, "", "", err.Error()
		}
		text, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return 0, "", "", err.Error()
		}
		return res.StatusCode, res.Header.Get("X-Service-Mode"), res.Header.Get("Retry-After"), string(text)
	}
	answers := func(wantMode, wantBody string) {
		t.Helper()
		eventually(t, "it answers in "+wantMode, func() bool {
			_, mode, _, body := ask("/")
			return mode == wantMode && body == wantBody
		})
	}
	answers("normal", "8 workers; recommendations: true\n")
	eventually(t, "it reports normal", func() bool { return c.standing() == "checkout-1 applied normal" })
	c.set("degraded")
	answers("degraded", "2 workers; recommendations: false\n")
	eventually(t, "it reports degraded", func() bool { return c.standing() == "checkout-1 applied degraded" })
	if _, _, _, body := ask("/metrics"); !strings.Contains(body, `modeshift_instance_mode{mode="degraded",scope="checkout"} 1`) {
		t.Errorf("the metrics do not say the mode:\n%s", body)
	}
	c.set("maintenance")
	answers("maintenance", "We are moving; back at 04:00\n")
	if code, _, after, _ := ask("/"); code != http.StatusServiceUnavailable || after != "120" {
		t.Errorf("in maintenance it answers %d, and to come back after %q seconds", code, after)
	}
	if code, mode, _, _ := ask("/healthz"); code != http.StatusOK || mode != "maintenance" {
		t.Errorf("its health is %d, in mode %q", code, mode)
	}
	c.set("degraded")
	answers("degraded", "2 workers; recommendations: false\n")

	// Without the server it goes on, and begins with what is on disk.
	c.stop()
	service.stop()
	if !strings.Contains(service.said(), `"msg":"the mode changes","mode":"normal","to":"degraded","workers":2`) {
		t.Errorf("its log does not say the mode:\n%s", service.said())
	}
	c.begin(t.TempDir(), program, env...)
	answers("degraded", "2 workers; recommendations: false\n")

	// And with nothing on disk in the mode that is declared for that.
	other := free(t)
	c.begin(t.TempDir(), program, "INSTANCE=checkout-2", "STATE_DIR="+t.TempDir(), "LISTEN="+other)
	address = other
	answers("degraded", "2 workers; recommendations: false\n")
}

func TestAnInstanceTheTokenDoesNotSpeakForIsTurnedAway(t *testing.T) {
	t.Parallel()
	c := connect(t)
	p := c.begin(t.TempDir(), c.build("checkout", "./connect/go"), "INSTANCE=search-1", "STATE_DIR="+t.TempDir(), "LISTEN="+free(t))
	eventually(t, "it says why", func() bool { return strings.Contains(p.said(), "does not speak for the instance") })
	if got := c.standing(); got != "0 instances" {
		t.Errorf("the server knows %s", got)
	}
}

func TestAWorkerThatReadsAFileFollowsItsMode(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.build("modeshift", "../cmd/modeshift")
	dir := t.TempDir()
	for _, name := range []string{"agent.sh", "worker.sh"} {
		text, err := os.ReadFile(filepath.Join("connect/file", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	agent := c.begin(dir, filepath.Join(dir, "agent.sh"))
	eventually(t, "the file is there", func() bool { _, err := os.Stat(filepath.Join(dir, "mode.env")); return err == nil })
	worker := c.begin(dir, filepath.Join(dir, "worker.sh"))
	says := func(line string) {
		t.Helper()
		eventually(t, line, func() bool { return strings.HasSuffix(worker.said(), line+"\n") })
	}
	says("mode normal: 100 orders, 8 workers")
	c.set("degraded")
	says("mode degraded: 10 orders, 2 workers")
	eventually(t, "the agent reports it", func() bool { return strings.HasSuffix(c.standing(), " applied degraded") })
	c.set("maintenance")
	says("mode maintenance: 0 orders, 0 workers")

	// The server is away and the agent is restarted: the file stays what it is.
	c.stop()
	agent.stop()
	c.begin(dir, filepath.Join(dir, "agent.sh"))
	time.Sleep(2 * time.Second) // nothing is to happen
	says("mode maintenance: 0 orders, 0 workers")
}
