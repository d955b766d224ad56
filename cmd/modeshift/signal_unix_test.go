//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// TestMain is the program itself when it is called by the tests below, which send signals to it.
func TestMain(m *testing.M) {
	if args, found := os.LookupEnv("MODESHIFT_TEST_RUN"); found {
		os.Exit(run(strings.Split(args, "\n"), &streams{os.Stdin, os.Stdout, os.Stderr}))
	}
	os.Exit(m.Run())
}

// child is the program in a process of its own.
type child struct {
	*exec.Cmd
	lines chan string // of its standard error
	ended chan error
}

func begin(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), lines: make(chan string, 1000), ended: make(chan error, 1)}
	c.Env = append(os.Environ(), "MODESHIFT_TEST_RUN="+strings.Join(args, "\n"))
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			c.lines <- s.Text()
		}
		close(c.lines)
		c.ended <- c.Wait()
	}()
	t.Cleanup(func() { _ = c.Process.Kill() }) // it has ended by itself, if all went well
	return c
}

// address waits for the program to say where it listens.
func (c *child) address(t *testing.T) string {
	t.Helper()
	where := regexp.MustCompile(`msg="modeshift is running" listen=http://(\S+)`)
	var said []string
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, open := <-c.lines:
			if m := where.FindStringSubmatch(line); m != nil {
				return m[1]
			}
			if said = append(said, line); open {
				continue
			}
		case <-timeout:
		}
		t.Fatalf("the server does not run; it said:\n%s", strings.Join(said, "\n"))
	}
}

// configure writes a configuration and a rule file, and returns the configuration's text.
func configure(t *testing.T, dir string) string {
	t.Helper()
	rule := "version: modeshift/v1\nservice: shop\nmodes: [{name: normal}, {name: degraded}]\n"
	if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("rules: [%s]\ndata: %s\nlisten: 127.0.0.1:0\nprometheus: [{name: main, url: http://127.0.0.1:1}]\n",
		filepath.Join(dir, "shop.yaml"), filepath.Join(dir, "data"))
}

// Whatever deploys rule files tells the server so by SIGHUP, and may do it at any time.
func TestAHangupDuringTheStartDoesNotEndTheServer(t *testing.T) {
	dir := t.TempDir()
	text := configure(t, dir)
	pipe := filepath.Join(dir, "modeshift.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := begin(t, "run", "-c", pipe)
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the server to begin reading: it is in the middle of its start
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	c.address(t)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("a server that is stopped exits with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not stop")
	}
}

// saying waits until the program has said all of these on its standard error.
func (c *child) saying(t *testing.T, texts ...string) {
	t.Helper()
	var said []string
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, open := <-c.lines:
			texts = slices.DeleteFunc(texts, func(text string) bool { return strings.Contains(line, text) })
			if said = append(said, line); open && len(texts) > 0 {
				continue
			}
		case <-timeout:
		}
		if len(texts) > 0 {
			t.Fatalf("it does not say %q, but:\n%s", texts, strings.Join(said, "\n"))
		}
		return
	}
}

// A token is taken out of its file in a hurry: that it is refused from the signal on has to be true.
func TestAHangupReloadsRulesAndTokens(t *testing.T) {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(name string) string {
		return fmt.Sprintf("- {sha256: %s, principal: %s, roles: [viewer], scopes: [\"*\"]}\n", api.HashToken(secret.New(name)), name)
	}
	write(tokens, entry("ann")+entry("bob"))
	config := filepath.Join(dir, "modeshift.yaml")
	write(config, configure(t, dir)+"tokens_file: tokens.yaml\n")
	c := begin(t, "run", "-c", config)
	address := c.address(t)
	show := func(token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/v1/scopes/shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}
	write(tokens, entry("bob"))
	if got := show("ann"); got != http.StatusOK {
		t.Fatalf("before the signal ann is answered %d", got)
	}
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.saying(t, `msg="tokens reloaded"`, `msg="rules loaded"`) // the rules too, though their file has not changed
	if ann, bob := show("ann"), show("bob"); ann != http.StatusUnauthorized || bob != http.StatusOK {
		t.Errorf("after the signal ann is answered %d, bob %d", ann, bob)
	}

	write(tokens, entry("ann")+"- {sha256: x}\n")
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.saying(t, `msg="tokens not reloaded`, `msg="rules loaded"`)
	if ann, bob := show("ann"), show("bob"); ann != http.StatusUnauthorized || bob != http.StatusOK {
		t.Errorf("after a file that is not taken ann is answered %d, bob %d", ann, bob)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("a server that is stopped exits with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not stop")
	}
}

func TestASecondSignalEndsAServerThatIsStoppingAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "modeshift.yaml")
	if err := os.WriteFile(path, []byte(configure(t, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := begin(t, "run", "-c", path)
	address := c.address(t)
	// A request under way is waited for. That the server asks for its body shows that it is.
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }() // the server may have closed it
	if _, err := io.WriteString(slow, "POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(slow).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("the server answered %q, %v", line, err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		probe, err := net.Dial("tcp", address)
		if err != nil {
			break // it has begun to stop
		}
		_ = probe.Close()
		if time.Now().After(deadline) {
			t.Fatal("it does not begin to stop")
		}
	}
	again := time.NewTicker(50 * time.Millisecond) // the first signal may not have been dealt with wholly
	defer again.Stop()
	limit := time.After(3 * time.Second) // less than a request under way is given
	for {
		select {
		case err := <-c.ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("it ended with %v", err)
			}
			if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
				t.Errorf("it ended with %v, not by the second signal", err)
			}
			return
		case <-again.C:
			_ = c.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
		case <-limit:
			t.Fatal("it goes on stopping after further signals")
		}
	}
}

// silent is a Prometheus that answers the first questions and then none, until whoever asks goes away.
func silent(t *testing.T, answers int32) (url string, hangs <-chan struct{}) {
	t.Helper()
	reached := make(chan struct{}, 100)
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // the body is read, so that the server notices when the client goes away
		if asked.Add(1) <= answers {
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			return
		}
		reached <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	return srv.URL, reached
}

// Who stops a verb that asks a Prometheus did not get its address wrong.
func TestAnInterruptIsNoFaultOfThePrometheus(t *testing.T) {
	dir := t.TempDir()
	slos := filepath.Join(dir, "slos.yaml")
	text := `version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(errors_total[{{.window}}]))', total_query: 'sum(rate(requests_total[{{.window}}]))'}}
    alerting: {name: Shop}
`
	if err := os.WriteFile(slos, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answers int32
		args    []string
		says    string
	}{
		"import --verify": {0, []string{"rules", "import", "sloth", slos, "--into", filepath.Join(dir, "rules") + "/", "--verify"}, "modeshift: interrupted: the rule files are written, 0 % of the time was compared, and nothing is told of a part"},
		"backtest":        {1, []string{"rules", "backtest", slos, "--from", "1d", "--prometheus"}, "modeshift: interrupted: 0 % of the time was led through, and nothing is told of a part"},
	} {
		url, hangs := silent(t, c.answers)
		p := begin(t, append(c.args, url)...)
		select {
		case <-hangs:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it asks nothing", name)
		}
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.saying(t, c.says)
		select {
		case err := <-p.ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitCannotTell {
				t.Errorf("%s: it ended with %v, want the exit code %d", name, err, exitCannotTell)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it does not stop", name)
		}
	}
}
