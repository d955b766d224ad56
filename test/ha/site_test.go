package ha

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/test/receiver"
)

// patience is how long anything may take that takes well under a second on an idle machine.
const patience = 60 * time.Second

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && asProgram != nil && os.Args[1] == programWord {
		os.Exit(asProgram(os.Args[2:]))
	}
	os.Exit(testMain(m))
}

// programWord is the first argument by which this test binary knows that it is the program of a step. asProgram is what it
// does then, where such steps are tested.
const programWord = "step-program"

var asProgram func(args []string) (exit int)

// parallel is how many tests run beside each other, unless -parallel says so: they wait much more than they compute.
const parallel = "6"

func testMain(m *testing.M) int {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", parallel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "modeshift-ha-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system's own cleaning gets what is left
	binary = filepath.Join(dir, "modeshift")
	build := exec.Command("go", "build", "-o", binary, "github.com/modeshift/modeshift/cmd/modeshift")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return m.Run()
}

// missing skips a test on a developer's machine; in CI everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// site is a folder with a configuration, rules and data, and the address its server listens on.
type site struct {
	dir     string
	config  string
	data    string
	address string
	url     string
	logged  output // of servers in this process
}

// newSite makes a folder for a server that asks a Prometheus and tells a receiver. rules are file names and their texts;
// evaluation is that section of the configuration.
func newSite(t *testing.T, prometheus string, r *receiver.Receiver, evaluation string, rules map[string]string) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), address: freeAddress(t)}
	s.config, s.data, s.url = filepath.Join(s.dir, "modeshift.yaml"), filepath.Join(s.dir, "data"), "http://"+s.address
	if err := os.Mkdir(filepath.Join(s.dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range rules {
		write(t, s.rules(name), text)
	}
	write(t, s.config, fmt.Sprintf(`rules: [rules]
data: data
listen: %s
evaluation: %s
prometheus: [{name: main, url: %q}]
receivers:
  page: {pagerduty: {routing_key: 0123456789abcdef0123456789abcdef, url: %q}}
  ticket: {webhook: {url: %q}}
`, s.address, evaluation, prometheus, r.URL(), r.TicketURL()))
	return s
}

// rules is the path of a rule file.
func (s *site) rules(name string) string { return filepath.Join(s.dir, "rules", name) }

// freeAddress is a loopback address nobody listens on. It lies below the ports the kernel gives to outgoing connections, so
// that none of those takes it while its server is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		if l, err := net.Listen("tcp", address); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("no free port found")
	return ""
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newReceiver(t *testing.T) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// alerts are the alerts of an endpoint whose summary holds a text.
func alerts(r *receiver.Receiver, target receiver.Target, text string) (list []receiver.Alert) {
	for _, a := range r.Alerts() {
		if a.Target == target && strings.Contains(a.Summary, text) {
			list = append(list, a)
		}
	}
	return list
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %s", what, patience)
		}
	}
}

// client speaks to the site's server with its admin token, which has to be there.
func (s *site) client(t *testing.T) *api.Client {
	t.Helper()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *site) dial() (*api.Client, error) {
	token, err := secret.Read(filepath.Join(s.data, server.AdminTokenFile))
	if err != nil {
		return nil, err
	}
	return api.NewClient(s.url, token, nil)
}

// scope reads a scope, which has to be there.
func scope(t *testing.T, c *api.Client, name engine.Scope) api.Scope {
	t.Helper()
	sc, err := c.Scope(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// get returns what the server says at a path, and its status; 0 when it does not answer.
func (s *site) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(s.url + path)
	if err != nil {
		return 0, err.Error()
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// ready waits until the server says that it is.
func (s *site) ready(t *testing.T) {
	t.Helper()
	said := ""
	deadline := time.Now().Add(patience)
	for code := 0; code != http.StatusOK; {
		if code, said = s.get("/-/ready"); time.Now().After(deadline) {
			t.Fatalf("the server is not ready after %s: %s", patience, said)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// metric is the value of a metric as /metrics writes it; empty when it is not there.
func (s *site) metric(name string) string {
	_, text := s.get("/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (s *site) log() string { return s.logged.String() }

// serve runs the site's server in this process, until stop is called or the test ends.
func (s *site) serve(t *testing.T) (stop func()) {
	t.Helper()
	cfg, err := server.LoadConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(context.Background(), server.Options{
		Config: cfg, Version: "test", Logger: slog.New(slog.NewTextHandler(&s.logged, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(context.Background()) }()
	stop = sync.OnceFunc(func() {
		if err := errors.Join(srv.Stop(), <-ended); err != nil {
			t.Errorf("stop the server: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail(s.log()))
		}
	})
	s.ready(t)
	return stop
}

func tail(text string) string { return text[max(0, len(text)-8<<10):] }

// process is the program running by itself.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed once it was waited for
	err  error         // how it ended; to be read once done is closed
}

// start runs the program on the site's configuration. It ends with the test.
func (s *site) start(t *testing.T) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, "run", "-c", s.config), out: &output{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = p.out, p.out, endWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// stop ends the process in an orderly way and returns how it ended.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("the server did not stop within %s:\n%s", patience, p.said())
	}
	return p.err
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) said() string { return p.out.String() }

// output keeps what a server says. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// modeshift runs the program with arguments against the site's server.
func (s *site) modeshift(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "MODESHIFT_SERVER="+s.url, "MODESHIFT_TOKEN_FILE="+filepath.Join(s.data, server.AdminTokenFile))
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// look calls f with the site's log, opened to look on.
func (s *site) look(t *testing.T, f func(log *store.SQLite)) {
	t.Helper()
	log, err := store.OpenReadOnly(t.Context(), filepath.Join(s.data, server.LogFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	f(log)
}

// events are the events of the log, or of one stream of it.
func (s *site) events(t *testing.T, stream engine.Scope) (list []engine.Event) {
	t.Helper()
	s.look(t, func(log *store.SQLite) {
		stored, err := log.Since(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range stored {
			if stream == "" || e.Event.Stream == stream {
				list = append(list, e.Event)
			}
		}
	})
	return list
}

// facts are the facts of one type among events.
func facts[F engine.Fact](events []engine.Event) (list []F) {
	for _, e := range events {
		if f, ok := e.Fact.(F); ok {
			list = append(list, f)
		}
	}
	return list
}
