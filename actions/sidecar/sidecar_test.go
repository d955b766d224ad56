package sidecar

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

const canary = "canary-Lk4vB9sQ" // the token, which must not be seen anywhere

// server tells directives and takes reports. What the protocol allows and what it does not is tested in actions/agent.
type server struct {
	*httptest.Server
	mu      sync.Mutex // guards what follows
	told    *engine.Told
	changed chan struct{}
	reports []engine.Report
}

func newServer(t *testing.T) *server {
	s := &server{changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *server) tell(revision engine.Version, mode engine.Mode, flags engine.Flags) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = &engine.Told{Scope: "checkout", Directive: engine.Directive{Term: 1, Revision: revision, Mode: mode, Flags: flags}}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) last() (r engine.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.reports); n > 0 {
		r = s.reports[n-1]
	}
	return r
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil || r.Header.Get("Authorization") != "Bearer "+canary {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			var u engine.Uplink
			if json.Unmarshal(lines.Bytes(), &u) == nil && u.Report != nil {
				s.mu.Lock()
				s.reports = append(s.reports, *u.Report)
				s.mu.Unlock()
			}
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "event: welcome\ndata: {\"server\":\"s1\",\"term\":1,\"heartbeat_ms\":60000}\n\n")
	for {
		s.mu.Lock()
		told, changed := s.told, s.changed
		s.mu.Unlock()
		if told != nil {
			data, err := json.Marshal(told)
			if err != nil {
				panic(err)
			}
			_, _ = fmt.Fprintf(w, "event: directive\ndata: %s\n\n", data)
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-gone:
			return
		case <-changed:
		}
	}
}

// config is for a sidecar of that server, with a folder of its own.
func config(t *testing.T, url string) Config {
	c := DefaultConfig()
	c.Server, c.Scope, c.Instance, c.StateDir = url, "checkout", "web-1", t.TempDir()
	c.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.TokenFile, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs a sidecar until the test ends or stop is called.
func start(t *testing.T, c Config, change ...func(*Sidecar)) (s *Sidecar, stop func()) {
	t.Helper()
	log := new(syncBuffer)
	s, err := New(Options{Config: c, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(log.String(), canary) {
			t.Error("the token is in the log")
		}
		if t.Failed() {
			t.Logf("the log:\n%s", log)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// until waits for a condition, and gives up after so long that it cannot come any more.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (s *server) applied(t *testing.T, mode engine.Mode) {
	t.Helper()
	until(t, "a report that "+string(mode)+" is applied", func() bool { r := s.last(); return r.Mode == mode && r.Outcome == engine.OutcomeDone })
}

func (s *server) failed(t *testing.T, revision engine.Version, why string) {
	t.Helper()
	until(t, "a report that says "+why, func() bool {
		r := s.last()
		return r.Revision == revision && r.Outcome == engine.OutcomeFailed && strings.Contains(r.Error, why)
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// nasty are values that would do something, were they anything but data.
var nasty = engine.Flags{"writes": false, "workers": 4.0, "limits": map[string]any{"cart": 10.0}, "gate-way": "back up", "evil": "$(touch owned); `touch owned` \"'\\\n--flag"}

func TestFilesHoldTheModeInEachFormat(t *testing.T) {
	s := newServer(t)
	c, dir := config(t, s.URL), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("mode.tmpl"), []byte(`mode={{.Mode}} workers={{.Flags.workers}} limits={{json .Flags.limits}}{{with index .Flags "absent"}}!{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Apply = []Step{
		{File: &File{Path: at("mode.json"), Mode: "0600"}}, {File: &File{Path: at("mode.env"), Format: "env"}},
		{File: &File{Path: at("mode.txt"), Format: "template", Template: at("mode.tmpl")}},
	}
	start(t, c)
	s.tell(7, "degraded", nasty)
	s.applied(t, "degraded")
	var got struct {
		Mode     string
		Revision int
		Flags    map[string]any
	}
	if err := json.Unmarshal([]byte(read(t, at("mode.json"))), &got); err != nil || got.Mode != "degraded" || got.Revision != 7 || got.Flags["evil"] != nasty["evil"] {
		t.Errorf("json: %+v, %v", got, err)
	}
	if info, err := os.Stat(at("mode.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions: %v, %v", info, err)
	}
	if got, want := read(t, at("mode.txt")), `mode=degraded workers=4 limits={"cart":10}`; got != want {
		t.Errorf("template: %q", got)
	}
	// A shell that reads it has the values, and has run nothing.
	c.Apply = nil
	out := &tail{max: 1000}
	if err := runProgram(t.Context(), []string{"sh", "-c", `cd "$1" && . ./mode.env && printf '%s|%s|%s|%s' "$MODESHIFT_MODE" "$MODESHIFT_FLAG_WORKERS" "$MODESHIFT_FLAG_GATE_WAY" "$MODESHIFT_FLAG_EVIL"`, "sh", dir}, os.Environ(), out); err != nil {
		t.Fatal(err, string(out.kept))
	}
	if want := "degraded|4|back up|" + nasty["evil"].(string); string(out.kept) != want {
		t.Errorf("env: %q, want %q", out.kept, want)
	}
	if _, err := os.Stat(at("owned")); err == nil {
		t.Error("a flag's value was run")
	}
}

func TestACommandGetsFactsAndNoneOfTheSidecarsOwn(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("MODESHIFT_TOKEN_FILE", "/nowhere")
	t.Setenv("OF_THE_UNIT", "yes")
	s := newServer(t)
	c, out := config(t, s.URL), filepath.Join(t.TempDir(), "out")
	c.Apply = []Step{{Run: &Run{Argv: []string{"sh", "-c", `printf '%s|%s>%s|%s|%s|%s|%s|%s' "$1" "$MODESHIFT_OLD_MODE" "$MODESHIFT_MODE" "$MODESHIFT_REVISION" "$MODESHIFT_FLAG_EVIL" "$NOTIFY_SOCKET" "$MODESHIFT_TOKEN_FILE" "$OF_THE_UNIT" >"$2"`, "sh", "$(touch owned)", out}}}}
	start(t, c, func(s *Sidecar) { s.manager = manager{} })
	s.tell(1, "normal", nil)
	s.applied(t, "normal")
	s.tell(2, "degraded", nasty)
	s.applied(t, "degraded")
	if got, want := read(t, out), "$(touch owned)|normal>degraded|2|"+nasty["evil"].(string)+"|||yes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAProcessIsSignalledAndAnURLIsCalled(t *testing.T) {
	s := newServer(t)
	c, dir := config(t, s.URL), t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan os.Signal, 1)
	notify(t, got)
	called := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		called <- r.Method + " " + r.Header.Get("Content-Type") + " " + string(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(app.Close)
	c.Apply = []Step{{Signal: &Signal{PIDFile: pidFile, Signal: "SIGUSR1"}}, {Call: &Call{URL: app.URL}}}
	start(t, c)
	s.tell(1, "degraded", nil)
	s.applied(t, "degraded")
	if sig := <-got; sig != syscall.SIGUSR1 {
		t.Errorf("signal %v", sig)
	}
	if text := <-called; !strings.HasPrefix(text, "POST application/json {") || !strings.Contains(text, `"mode": "degraded"`) {
		t.Errorf("called with %s", text)
	}
}

func TestAProcessThatIsNotThereIsNotSignalled(t *testing.T) {
	for name, content := range map[string]string{"a group": "-1", "all": "0", "init": "1", "no number": "x", "empty": "", "two": "12 13", "gone": "2147483646"} {
		path := filepath.Join(t.TempDir(), "pid")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&Signal{PIDFile: path, Signal: "CONT"}).send(); err == nil {
			t.Errorf("%s: signalled", name)
		}
	}
	if err := (&Signal{PIDFile: "/nowhere/pid", Signal: "CONT"}).send(); err == nil {
		t.Error("no file: signalled")
	}
}

func TestAStepThatFailsIsReportedAndTriedAgain(t *testing.T) {
	s := newServer(t)
	c, dir := config(t, s.URL), t.TempDir()
	c.Apply = []Step{
		{Run: &Run{Argv: []string{"sh", "-c", `echo x >>"$1"/first; if [ "$MODESHIFT_MODE" = degraded ] && [ ! -e "$1"/mended ]; then echo the pool is busy >&2; exit 3; fi`, "sh", dir}}},
		{File: &File{Path: filepath.Join(dir, "mode.json")}},
	}
	start(t, c)
	s.tell(1, "normal", nil)
	s.applied(t, "normal")
	s.tell(2, "degraded", nil)
	s.failed(t, 2, "step 1: sh: exit status 3: the pool is busy")
	if r := s.last(); r.Mode != "normal" {
		t.Errorf("reported %+v", r)
	}
	if got := read(t, filepath.Join(dir, "mode.json")); !strings.Contains(got, "normal") {
		t.Errorf("the step after the one that failed wrote %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "mended"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.applied(t, "degraded")
}

func TestACommandIsKilledInTimeWithAllThatItStarted(t *testing.T) {
	dir := t.TempDir()
	r := Run{Argv: []string{"sh", "-c", `sleep 1000 & echo $! >"$1"/child; wait`, "sh", dir}, Timeout: model.Duration(300 * time.Millisecond)}
	err := r.run(t.Context(), &facts{})
	if err == nil || !strings.Contains(err.Error(), "sh: killed: it took longer than 300ms") {
		t.Errorf("ended with %v", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(dir, "child"))))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the child", func() bool { return !alive(child) })
}

// alive reports whether a process runs: one that has ended and that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestWhatACommandLeavesRunningIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	r := Run{Argv: []string{"sh", "-c", `sleep 1000 & echo $! >"$1"/child`, "sh", dir}} // which still holds the output
	if err := r.run(t.Context(), &facts{}); err != nil {
		t.Errorf("ended with %v", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(dir, "child"))))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(child) {
		t.Error("what it started is gone")
	}
	_ = syscall.Kill(child, syscall.SIGKILL)
}

func TestAModeIsAppliedWhenTheProbeSaysSo(t *testing.T) {
	s := newServer(t)
	var says atomic.Value
	says.Store("degraded, they say")
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says.Load().(string)+"\n") }))
	t.Cleanup(app.Close)
	c := config(t, s.URL)
	c.Apply = []Step{{File: &File{Path: filepath.Join(t.TempDir(), "mode.json")}}}
	c.Probe = &Probe{URL: app.URL, Equals: "mode {{.Mode}}", Attempts: 3, Every: model.Duration(time.Millisecond)}
	start(t, c)
	s.tell(1, "degraded", nil)
	s.failed(t, 1, `answers "degraded, they say" and not "mode degraded" (asked 3 times)`)
	says.Store("mode degraded")
	s.applied(t, "degraded")
}

func TestAProbeContainsTheModeUnlessItSaysOtherwise(t *testing.T) {
	status := http.StatusOK
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"mode":"degraded"}`)
	}))
	t.Cleanup(app.Close)
	ask := func(p Probe, mode engine.Mode) error {
		p.URL = app.URL
		return p.ask(t.Context(), http.DefaultClient, &facts{Mode: mode})
	}
	for _, c := range []struct {
		probe Probe
		mode  engine.Mode
		ok    bool
	}{
		{Probe{}, "degraded", true}, {Probe{}, "normal", false}, {Probe{Contains: `"mode":"{{.Mode}}"`}, "degraded", true},
		{Probe{Contains: `"mode":"{{.Mode}}"`}, "grade", false}, {Probe{Equals: `{"mode":"{{.Mode}}"}`}, "degraded", true}, {Probe{Equals: "{{.Mode}}"}, "degraded", false},
	} {
		if err := ask(c.probe, c.mode); (err == nil) != c.ok {
			t.Errorf("%+v, %s: %v", c.probe, c.mode, err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := ask(Probe{}, "degraded"); err == nil {
		t.Error("an answer of 503 is a yes")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestADiskThatIsFullFailsTheFileUntilThereIsSpace(t *testing.T) {
	s := newServer(t)
	c, path := config(t, s.URL), filepath.Join(t.TempDir(), "mode.json")
	c.Apply = []Step{{File: &File{Path: path}}}
	var full atomic.Bool
	full.Store(true)
	start(t, c, func(s *Sidecar) {
		real := s.write
		s.write = func(path string, data []byte, mode os.FileMode) error {
			if full.Load() {
				return fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
			}
			return real(path, data, mode)
		}
	})
	s.tell(1, "degraded", nil)
	s.failed(t, 1, "no space left on device")
	full.Store(false)
	s.applied(t, "degraded")
	if !strings.Contains(read(t, path), "degraded") {
		t.Error("the file is not there")
	}
}

func evaluate(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Post("http://"+address+"/ofrep/v1/evaluate/flags/mode", "application/json", strings.NewReader(`{"context":{"service":"checkout"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestARestartWithoutTheServerServesFlagsFromDiskAndRestartsNothing(t *testing.T) {
	s := newServer(t)
	c, dir := config(t, s.URL), t.TempDir()
	c.Listen, c.Flagd = "127.0.0.1:0", "127.0.0.1:0"
	c.Apply = []Step{{Run: &Run{Argv: []string{"sh", "-c", `echo "$MODESHIFT_MODE" >"$1"/mode; echo x >>"$1"/runs`, "sh", dir}}}, {File: &File{Path: filepath.Join(dir, "mode.json")}}}
	c.Probe = &Probe{Run: &Run{Argv: []string{"sh", "-c", `[ "$(cat "$1"/mode)" = "$MODESHIFT_MODE" ]`, "sh", dir}}, Every: model.Duration(time.Millisecond)}
	car, stop := start(t, c)
	if got := evaluate(t, car.Address()); !strings.Contains(got, "FLAG_NOT_FOUND") {
		t.Errorf("before any mode: %s", got)
	}
	s.tell(3, "degraded", nil)
	s.applied(t, "degraded")
	if got := evaluate(t, car.Address()); !strings.Contains(got, `"value":"degraded"`) || !strings.Contains(got, `"revision":3`) {
		t.Errorf("flags: %s", got)
	}
	stop()
	s.CloseClientConnections()
	s.Close()
	if err := os.Remove(filepath.Join(dir, "mode.json")); err != nil {
		t.Fatal(err)
	}
	car, _ = start(t, c)
	until(t, "the mode from disk", func() bool { m, _ := car.agent.Mode(); return m == "degraded" })
	if got := evaluate(t, car.Address()); !strings.Contains(got, `"value":"degraded"`) {
		t.Errorf("flags: %s", got)
	}
	if got := read(t, filepath.Join(dir, "runs")); got != "x\n" {
		t.Errorf("the command ran again: %q", got)
	}
	if !strings.Contains(read(t, filepath.Join(dir, "mode.json")), "degraded") {
		t.Error("the file is not written again")
	}
	conn, err := net.Dial("tcp", car.FlagdAddress())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	http.DefaultClient.CloseIdleConnections()
}

func TestAColdStartIsServedAsFlagsToo(t *testing.T) {
	c := config(t, "http://127.0.0.1:1")
	c.Listen, c.ColdStart = "127.0.0.1:0", &ColdStart{Mode: "read-only", Flags: map[string]any{"writes": false}}
	car, _ := start(t, c)
	until(t, "the declared mode", func() bool { m, _ := car.agent.Mode(); return m == "read-only" })
	if got := evaluate(t, car.Address()); !strings.Contains(got, `"value":"read-only"`) {
		t.Errorf("flags: %s", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestReadinessHealthAndMetricsAreServed(t *testing.T) {
	s := newServer(t)
	c := config(t, s.URL)
	c.Listen = "127.0.0.1:0"
	car, _ := start(t, c)
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + car.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get("/-/ready"); status != 503 || !strings.HasPrefix(body, "not ready: no mode yet") {
		t.Errorf("ready: %d %s", status, body)
	}
	if status, _ := get("/-/healthy"); status != 200 {
		t.Errorf("healthy: %d", status)
	}
	s.tell(1, "normal", nil)
	s.applied(t, "normal")
	if status, body := get("/-/ready"); status != 200 || body != "ready: mode normal from server\n" {
		t.Errorf("ready: %d %s", status, body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `modeshift_instance_mode{mode="normal",scope="checkout"} 1`) {
		t.Errorf("metrics:\n%s", body)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestTheServiceManagerHearsOfReadinessLifeAndTheEnd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	next := func(what string) string {
		for {
			select {
			case text := <-heard:
				if strings.Contains(text, what) {
					return text
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("the manager never hears %s", what)
			}
		}
	}
	s := newServer(t)
	c := config(t, s.URL)
	c.Listen = "127.0.0.1:0"
	_, stop := start(t, c, func(s *Sidecar) { s.manager = manager{socket, 60 * time.Millisecond} })
	if text := next("WATCHDOG=1"); strings.Contains(text, "READY=1") {
		t.Errorf("ready without a mode: %s", text)
	}
	s.tell(1, "normal", nil)
	if text := next("READY=1"); !strings.Contains(text, "STATUS=mode normal from server") {
		t.Errorf("ready with %q", text)
	}
	s.tell(2, "degraded", nil)
	next("STATUS=mode degraded from server")
	stop()
	next("STOPPING=1")
}

func TestTheManagerIsReadFromTheEnvironment(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for name, c := range map[string]struct {
		env  map[string]string
		want manager
	}{
		"none":                {nil, manager{}},
		"a socket":            {map[string]string{"NOTIFY_SOCKET": "/run/x"}, manager{"/run/x", 0}},
		"a watchdog":          {map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}, manager{"@x", 3 * time.Second}},
		"a watchdog for all":  {map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000"}, manager{"@x", 3 * time.Second}},
		"another's watchdog":  {map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, manager{"@x", 0}},
		"a watchdog of words": {map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, manager{"@x", 0}},
	} {
		if got := managerOf(func(key string) string { return c.env[key] }); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAConfigurationIsReadStrictlyAndAllThatIsWrongIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("scope: checkout\nscoope: x\n")
	if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), "line 2: unknown key scoope") || strings.Contains(err.Error(), "sidecar.") {
		t.Errorf("a key that is misspelt: %v", err)
	}
	write(`
scope: checkout
timeout: 0s
listen: 0.0.0.0:80
flagd: x
apply:
  - {}
  - file: {path: a}
    run: {argv: [b]}
  - file: {format: xml}
  - file: {path: a, format: template}
  - file: {path: a, mode: "999"}
  - run: {argv: []}
  - signal: {pid_file: a, signal: KILL}
  - call: {url: "file:///etc/passwd"}
probe: {url: "http://x", equals: "{{"}
`)
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"timeout has to be above 0", "listen: 0.0.0.0:80 is not on loopback", `flagd: "x" is no HOST:PORT`, "step 1: it has to have exactly one", "step 2: it has to have exactly one",
		"step 3: file: path is missing", "step 4: file: format: template and", `step 5: file: mode "999"`, "step 6: run: argv is missing", `step 7: signal: "KILL" is none of`,
		"step 8: \"file:///etc/passwd\" is no http URL", "probe: template: probe:1",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in\n%v", part, err)
		}
	}
	if err := (&Config{Timeout: 1}).Validate(); err == nil || !strings.Contains(err.Error(), "nothing is to be done") {
		t.Errorf("a configuration for nothing: %v", err)
	}
	write("")
	if c, err := LoadConfig(path); err != nil || c.Server != DefaultConfig().Server {
		t.Errorf("an empty file: %+v, %v", c, err)
	}
}

func TestTwoFlagsOfOneVariableAreAnError(t *testing.T) {
	f := facts{Flags: engine.Flags{"a-b": true, "a_b": false}}
	if _, err := f.variables(); err == nil || !strings.Contains(err.Error(), `"a-b" and "a_b" have one variable, MODESHIFT_FLAG_A_B`) {
		t.Errorf("got %v", err)
	}
	f = facts{Flags: engine.Flags{"a": "x\x00y"}}
	if _, err := f.variables(); err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("got %v", err)
	}
}

// notify has USR1 sent to c until the test ends.
func notify(t *testing.T, c chan<- os.Signal) {
	signal.Notify(c, syscall.SIGUSR1)
	t.Cleanup(func() { signal.Stop(c) })
}
