package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/store"
)

// childConfig names the configuration that this test binary, started by itself, is to serve until it is killed.
const childConfig = "MODESHIFT_TEST_CHILD_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childConfig); path != "" {
		fmt.Fprintln(os.Stderr, child(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child is a server. It says on standard output where it can be reached, and returns only when something is wrong.
func child(path string) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	s, err := New(context.Background(), Options{Config: cfg, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	return s.Run(context.Background())
}

// effects is a target of steps that knows keys: what comes again under the same key has happened and does not happen again.
type effects struct {
	mu     sync.Mutex
	order  []string                                // keys, each once, in the order in which they happened
	calls  map[string]int                          // by key
	bodies map[string][]string                     // of the calls, by key
	before func(key string, call int) (status int) // told of each call; other than 0: nothing happens and that is the answer
	after  func(key string, call int)              // told of each call after it has happened, before it is answered
}

func (e *effects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	// The connection of a server that was killed is noticed only once its request was read.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	e.calls[key]++
	e.bodies[key] = append(e.bodies[key], string(body))
	call := e.calls[key]
	before, after := e.before, e.after
	e.mu.Unlock()
	if before != nil {
		if status := before(key, call); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	e.mu.Lock()
	if !slices.Contains(e.order, key) {
		e.order = append(e.order, key)
	}
	e.mu.Unlock()
	if after != nil {
		after(key, call)
	}
}

func (e *effects) happened() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.order)
}

// theatre is a server in a process of its own, its files, and the target of its steps.
type theatre struct {
	t      *testing.T
	dir    string
	target *effects

	mu     sync.Mutex // guards what follows
	server *exec.Cmd
	dead   chan struct{} // closed when it has ended
	client *api.Client
}

// playbook is a service whose transition to degraded has three steps with an undo each.
func playbook(url, onFailure string) string {
	text := `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    on_failure: ` + onFailure + `
    actions:
`
	for _, name := range []string{"one", "two", "three"} {
		text += fmt.Sprintf("      - {name: %s, attempts: 2, timeout: 5s, webhook: {url: '%s/%s'}, undo: {webhook: {url: '%s/%s/undo'}}}\n", name, url, name, url, name)
	}
	return text
}

func newTheatre(t *testing.T, onFailure string) *theatre {
	t.Helper()
	return theatreOf(t, "http://127.0.0.1:1", func(url string) string { return playbook(url, onFailure) })
}

// theatreOf is a server for the rules that rules makes for a target.
func theatreOf(t *testing.T, prometheus string, rules func(url string) string) *theatre {
	t.Helper()
	th := &theatre{t: t, dir: t.TempDir(), target: &effects{calls: map[string]int{}, bodies: map[string][]string{}}}
	srv := httptest.NewServer(th.target)
	t.Cleanup(srv.Close)
	put(t, filepath.Join(th.dir, "rules", "shop.yaml"), rules(srv.URL))
	token, _ := api.NewAdminToken()
	put(t, filepath.Join(th.dir, "token"), token.Reveal())
	put(t, filepath.Join(th.dir, "tokens.yaml"), "[{principal: drill, person: ann, roles: [admin, break-glass], sha256: "+api.HashToken(token)+"}]\n")
	put(t, filepath.Join(th.dir, "modeshift.yaml"), `rules: [rules]
data: data
tokens_file: tokens.yaml
listen: 127.0.0.1:0
evaluation: {interval: 1s}
prometheus: [{name: main, url: "`+prometheus+`"}]
actions: {webhook: {allow: [127.0.0.1]}}
`)
	t.Cleanup(th.kill)
	th.start()
	return th
}

// start starts the server, and returns when it can be reached.
func (th *theatre) start() {
	th.t.Helper()
	self, err := os.Executable()
	if err != nil {
		th.t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childConfig+"="+filepath.Join(th.dir, "modeshift.yaml"))
	log, err := os.OpenFile(filepath.Join(th.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		th.t.Fatal(err)
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err = errors.Join(err, log.Close()); err != nil {
		th.t.Fatal(err)
	}
	dead := make(chan struct{})
	url, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_ = cmd.Wait() // it was killed: that is the answer
		close(dead)
	}()
	if err != nil {
		th.t.Fatalf("the server does not start: %v\n%s", err, th.log())
	}
	token, err := secret.Read(filepath.Join(th.dir, "token"))
	if err != nil {
		th.t.Fatal(err)
	}
	client, err := api.NewClient(strings.TrimSpace(url), token, nil)
	if err != nil {
		th.t.Fatal(err)
	}
	th.mu.Lock()
	defer th.mu.Unlock()
	th.server, th.dead, th.client = cmd, dead, client
}

// kill ends the server as a power cut would.
func (th *theatre) kill() {
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.server != nil {
		_ = th.server.Process.Kill() // it may be dead already
		<-th.dead
	}
}

func (th *theatre) log() string {
	text, err := os.ReadFile(filepath.Join(th.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// set asks for degraded, and waits until the server was killed over it. It may be killed before it answers: by then what was
// asked for is stored, or no step would have been reached.
func (th *theatre) set(force bool, killed <-chan struct{}) {
	th.t.Helper()
	_, err := th.client.Set(th.t.Context(), "shop", api.SetRequest{Mode: "degraded", Reason: "drill", Force: force})
	select {
	case <-killed:
	case <-time.After(20 * time.Second):
		th.t.Fatalf("the step was not reached; the answer was %v; target %q\n%s", err, th.target.happened(), th.log())
	}
}

// settled waits until no change is under way, and returns the mode.
func (th *theatre) settled() engine.Mode {
	th.t.Helper()
	var mode engine.Mode
	within(th.t, "the change ends; log:\n"+filepath.Join(th.dir, "log"), func() bool {
		v, err := th.client.Scope(th.t.Context(), "shop")
		mode = v.Mode
		return err == nil && v.Change == nil
	})
	return mode
}

// story is the kinds of the events of steps and changes, in order.
func (th *theatre) story() (kinds []string) {
	th.t.Helper()
	log, err := store.OpenReadOnly(th.t.Context(), filepath.Join(th.dir, "data", LogFile))
	if err != nil {
		th.t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			th.t.Error(err)
		}
	}()
	events, err := log.Read(th.t.Context(), "shop", 0, 0)
	if err != nil {
		th.t.Fatal(err)
	}
	if _, err := log.Verify(th.t.Context()); err != nil {
		th.t.Error(err)
	}
	for _, e := range events {
		if strings.HasPrefix(e.Kind(), "Step") || strings.HasPrefix(e.Kind(), "Change") {
			kinds = append(kinds, e.Kind())
		}
	}
	return kinds
}

// owed is how many jobs are not over.
func (th *theatre) owed() int {
	th.t.Helper()
	log, err := store.OpenReadOnly(th.t.Context(), filepath.Join(th.dir, "data", LogFile))
	if err != nil {
		th.t.Fatal(err)
	}
	counts, err := log.JobCounts(th.t.Context())
	if err = errors.Join(err, log.Close()); err != nil {
		th.t.Fatal(err)
	}
	return counts.Owed
}

// count is how many of the words are one.
func count(words []string, one string) (n int) {
	for _, w := range words {
		if w == one {
			n++
		}
	}
	return n
}

// stepNames are keys without their change, which is named by its place in the log.
func stepNames(keys []string) (names []string) {
	for _, k := range keys {
		_, name, _ := strings.Cut(k, "/")
		names = append(names, name)
	}
	return names
}

func TestAKillAtAnyStepLosesNothingAndDoublesNothing(t *testing.T) {
	forth := []string{"one", "two", "three"}
	back := []string{"one", "two", "two/undo", "one/undo"}
	for _, test := range []struct {
		name      string
		onFailure string
		want      []string
		mode      engine.Mode
	}{
		{"a change", "hold", forth, "degraded"},
		{"a change that fails and is undone", "undo", back, "normal"},
	} {
		for _, at := range test.want {
			for _, phase := range []string{"before it happens", "after it has happened", "after the one before it was answered"} {
				t.Run(fmt.Sprintf("%s, at %s %s", test.name, at, phase), func(t *testing.T) {
					t.Parallel()
					th := newTheatre(t, test.onFailure)
					killed := make(chan struct{})
					var once sync.Once
					kill := func() {
						once.Do(func() {
							th.kill()
							close(killed)
						})
					}
					reached := make(chan struct{}) // the step before was answered
					var reach sync.Once
					th.target.before = func(key string, call int) int {
						_, name, _ := strings.Cut(key, "/")
						if name == "three" && test.onFailure == "undo" {
							return http.StatusBadRequest
						}
						if name == at && call == 1 {
							switch phase {
							case "before it happens":
								kill()
								return http.StatusServiceUnavailable // to nobody
							case "after the one before it was answered":
								// Somewhere between its mark and this call: whatever is done now was under way.
								reach.Do(func() { close(reached) })
							}
						}
						return 0
					}
					th.target.after = func(key string, call int) {
						if _, name, _ := strings.Cut(key, "/"); name == at && call == 1 && phase == "after it has happened" {
							kill()
						}
					}
					if phase == "after the one before it was answered" {
						go func() {
							<-reached
							kill() // races with the answer, the report and the next step
						}()
					}
					th.set(false, killed)
					th.start()
					if mode := th.settled(); mode != test.mode {
						t.Errorf("it settled in %s, want %s", mode, test.mode)
					}
					if got := stepNames(th.target.happened()); !slices.Equal(got, test.want) {
						t.Errorf("what happened at the target: %q, want %q", got, test.want)
					}
					story := th.story()
					if n := count(story, "StepDone"); n != len(test.want) || count(story, "ChangeStarted") != 1 || count(story, "ChangeStuck") != 0 {
						t.Errorf("%d steps are done, want %d: %q", n, len(test.want), story)
					}
				})
			}
		}
	}
}

func TestADestructiveStepThatNobodyCanAskAboutHappensAtMostOnce(t *testing.T) {
	for _, phase := range []string{"before it happens", "after it has happened"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			th := theatreOf(t, "http://127.0.0.1:1", func(url string) string {
				return `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: fence
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    approval: {groups: [{role: lead, count: 1}], within: 1h}
    actions:
      - {name: one, destructive: true, irreversible: true, attempts: 5, webhook: {url: '` + url + `', keyed: false}}
`
			})
			killed := make(chan struct{})
			kill := func(_ string, call int) {
				if call == 1 {
					th.kill()
					close(killed)
				}
			}
			if phase == "before it happens" {
				th.target.before = func(key string, call int) int { kill(key, call); return http.StatusServiceUnavailable }
			} else {
				th.target.after = kill
			}
			th.set(true, killed)
			th.start()
			within(t, "it is stuck, and a person has to look", func() bool { return count(th.story(), "ChangeStuck") == 1 })
			// It stays so, over a restart too: no job is left that could try it.
			th.kill()
			th.start()
			within(t, "all jobs are over", func() bool { return th.owed() == 0 })
			th.target.mu.Lock()
			defer th.target.mu.Unlock()
			for key, n := range th.target.calls {
				if n != 1 || len(th.target.calls) != 1 {
					t.Errorf("%s was called %d times", key, n)
				}
			}
			if v, err := th.client.Scope(t.Context(), "shop"); err != nil || v.Change == nil {
				t.Errorf("nothing is under way any more: %+v, %v", v, err)
			}
		})
	}
}
