// Package openfeature runs OpenFeature's own clients against package flags and against a whole server: clients nobody here
// wrote.
package openfeature

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

const token = "a token of this test"

// patience is how long the client may take for anything; it polls twenty times a second.
const patience = 30 * time.Second

// clients is the folder of the clients and of what they need, which is installed once.
var clients struct {
	sync.Mutex
	dir       string
	installed bool
}

func TestMain(m *testing.M) {
	var err error
	if clients.dir, err = os.MkdirTemp("", "modeshift-openfeature-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(clients.dir) // the system's own cleaning gets what is left
	os.Exit(code)
}

// install copies the clients out of the repository and installs what they need beside them. It returns the folder.
func install(t *testing.T) string {
	t.Helper()
	clients.Lock()
	defer clients.Unlock()
	dir := clients.dir
	if clients.installed {
		return dir
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program+" is not installed: "+err.Error())
		}
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "client.mjs", "flagd.mjs", "valid.mjs"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		for _, offline := range []string{"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT"} {
			if bytes.Contains(out, []byte(offline)) {
				missing(t, "npm's registry cannot be reached: "+string(out))
			}
		}
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	clients.installed = true
	return dir
}

// missing skips the test on a developer's machine; in CI everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// service is what the server tells, and what it counts.
type service struct {
	*flags.Latest
	revision  engine.Version
	unchanged atomic.Int64 // answers 304
	whole     atomic.Int64 // answers 200
}

var degraded = engine.Flags{"recommendations": false, "payment_gateway": "backup", "retries": 2.0}

func (s *service) publish(mode engine.Mode, set engine.Flags) {
	s.revision++
	s.Tell(engine.Told{Scope: "checkout", Directive: engine.Directive{Term: 1, Revision: s.revision, Mode: mode, Flags: set}})
}

// newService is a service in normal that was in other modes before: their flags are known.
func newService() *service {
	s := &service{Latest: &flags.Latest{}}
	s.publish("read-only", engine.Flags{"writes": false})
	s.publish("degraded", degraded)
	s.publish("normal", nil)
	return s
}

// serve serves the flags at an address until stop is called.
func (s *service) serve(t *testing.T, address string) (url string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	h := flags.Handler(s, flags.Options{Guard: guard{}, TicketKey: secret.New("a key that outlives restarts")})
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &status{w, http.StatusOK}
		h.ServeHTTP(counted, r)
		switch counted.code {
		case http.StatusOK:
			s.whole.Add(1)
		case http.StatusNotModified:
			s.unchanged.Add(1)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	stop = sync.OnceFunc(func() {
		h.Close()
		if err := server.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return "http://" + listener.Addr().String(), stop
}

// guard knows one token.
type guard struct{}

func (guard) Reader(credential string) (string, int, string) {
	if credential != token {
		return "", http.StatusUnauthorized, "a token is needed"
	}
	return "page", 0, ""
}

func (guard) May(string, engine.Scope) (int, string) { return 0, "" }

type status struct {
	http.ResponseWriter
	code int
}

// Unwrap lets the handler reach the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// detail is what the code in the page gets for a flag.
type detail struct {
	Value   any    `json:"value"`
	Reason  string `json:"reason"`
	Variant string `json:"variant"`
	Error   string `json:"error"`
}

// said is a line of the client.
type said struct {
	Event   string            `json:"event"`
	Message string            `json:"message"`
	Changed []string          `json:"changed"`
	Flags   map[string]detail `json:"flags"`
	Context map[string]any    `json:"context"`
}

// client is the running node process.
type client struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan said
}

// start runs a script in the folder with further variables of the environment.
func start(t *testing.T, dir, script string, env ...string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	node := exec.CommandContext(ctx, "node", script)
	node.Dir = dir
	node.Env = append(os.Environ(), env...)
	var complaints bytes.Buffer
	node.Stderr = &complaints
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	c := &client{t, in, make(chan said, 10_000)}
	go func() {
		defer close(c.lines)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var s said
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Errorf("the client printed %q: %v", lines.Text(), err)
				continue
			}
			c.lines <- s
		}
	}()
	t.Cleanup(func() {
		defer cancel()
		if err := in.Close(); err != nil {
			t.Errorf("end the client's input: %v", err)
		}
		for range c.lines { // its output has to be read to the end before Wait
		}
		if err := node.Wait(); err != nil {
			t.Errorf("the client ended with %v\n%s", err, complaints.Bytes())
		}
	})
	return c
}

// until waits for an event that is as wanted.
func (c *client) until(what string, wanted func(said) bool) said {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var seen []said
	for {
		select {
		case s, open := <-c.lines:
			if !open {
				c.t.Fatalf("the client ended before %s; it said %+v", what, seen)
			}
			if wanted(s) {
				return s
			}
			seen = append(seen, s)
		case <-timer.C:
			c.t.Fatalf("%s did not come within %s; the client said %+v", what, patience, seen)
		}
	}
}

// read asks what the code would get now.
func (c *client) read() map[string]detail {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "read\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.until("an answer to read", func(s said) bool { return s.Event == "read" }).Flags
}

func (c *client) want(what string, got map[string]detail, want map[string]detail) {
	c.t.Helper()
	for key, w := range want {
		if got[key] != w {
			c.t.Errorf("%s: %s is %+v, want %+v", what, key, got[key], w)
		}
	}
}

var (
	inNormal = map[string]detail{
		"mode":            {Value: "normal", Reason: "STATIC", Variant: "normal"},
		"recommendations": {Value: true, Reason: "DISABLED"}, // the code's defaults, and no errors
		"payment_gateway": {Value: "in code", Reason: "DISABLED"},
		"retries":         {Value: 5.0, Reason: "DISABLED"},
		"writes":          {Value: true, Reason: "DISABLED"},
		"undeclared":      {Value: true, Reason: "ERROR", Error: "FLAG_NOT_FOUND"},
	}
	inDegraded = map[string]detail{
		"mode":            {Value: "degraded", Reason: "STATIC", Variant: "degraded"},
		"recommendations": {Value: false, Reason: "STATIC", Variant: "degraded"},
		"payment_gateway": {Value: "backup", Reason: "STATIC", Variant: "degraded"},
		"retries":         {Value: 2.0, Reason: "STATIC", Variant: "degraded"},
		"writes":          {Value: true, Reason: "DISABLED"},
	}
)

func TestAWebPageFollowsTheModeAndOutlivesARestart(t *testing.T) {
	dir := install(t)
	s := newService()
	url, stop := s.serve(t, "127.0.0.1:0")
	c := start(t, dir, "client.mjs", "URL="+url, "SERVICE=checkout", "TOKEN="+token)

	first := c.until("ready", func(s said) bool { return s.Event == "ready" || s.Event == "failed" })
	if first.Event != "ready" {
		t.Fatalf("the provider did not start: %s", first.Message)
	}
	c.want("at the start", first.Flags, inNormal)

	eventually(t, "ten polls that brought nothing new", func() bool { return s.unchanged.Load() >= 10 })
	if n := s.whole.Load(); n != 1 {
		t.Errorf("%d whole answers before anything changed, want 1", n)
	}

	s.publish("degraded", degraded)
	changed := c.until("the change", func(s said) bool { return s.Event == "changed" })
	c.want("after the change", changed.Flags, inDegraded)
	slices.Sort(changed.Changed)
	if want := []string{"mode", "payment_gateway", "recommendations", "retries"}; !slices.Equal(changed.Changed, want) {
		t.Errorf("told that %q changed, want %q", changed.Changed, want)
	}

	stop()
	stale := c.until("stale, while the server is away", func(s said) bool { return s.Event == "stale" })
	c.want("without a server", stale.Flags, inDegraded)

	// After the restart what the page has is still right, and the server sees that by the tag alone.
	unchanged, whole := s.unchanged.Load(), s.whole.Load()
	s.serve(t, url[len("http://"):])
	eventually(t, "polls after the restart", func() bool { return s.unchanged.Load() > unchanged })
	if n := s.whole.Load(); n != whole {
		t.Errorf("%d whole answers after the restart, want none", n-whole)
	}
	c.want("after the restart", c.read(), inDegraded)

	s.publish("normal", nil)
	back := c.until("the way back", func(s said) bool { return s.Event == "changed" })
	c.want("back in normal", back.Flags, inNormal)
}

func TestAWebPageIsToldWhatIsWrongAndRunsOnItsDefaults(t *testing.T) {
	dir := install(t)
	s := newService()
	url, _ := s.serve(t, "127.0.0.1:0")
	for name, c := range map[string]struct{ service, token string }{
		"an unknown service": {"chekout", token},
		"no service":         {"", token},
		"a wrong token":      {"checkout", "guessed"},
	} {
		t.Run(name, func(t *testing.T) {
			page := start(t, dir, "client.mjs", "URL="+url, "SERVICE="+c.service, "TOKEN="+c.token)
			failed := page.until("failed", func(s said) bool { return s.Event == "failed" || s.Event == "ready" })
			if failed.Event != "failed" || failed.Message == "" {
				t.Errorf("the provider says %+v", failed)
			}
			if got := failed.Flags["mode"]; got.Value != "in code" || got.Error == "" {
				t.Errorf("mode is %+v, want the code's default and an error", got)
			}
		})
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %s", what, patience)
		}
	}
}
