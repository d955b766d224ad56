package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// patience is how long a test waits for something that has to happen.
const patience = 10 * time.Second

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// coded is an error as the loop and the store return them.
type coded struct{ code, text string }

func (e coded) Error() string { return e.text }
func (e coded) Code() string  { return e.code }

// world is a loop and a log in memory. What is decided in it is decided by the core.
type world struct {
	reads  atomic.Int64 // calls of Since
	looked atomic.Int64 // calls of keeper's Policies

	mu       sync.Mutex // guards what follows
	now      time.Time
	policies map[engine.Scope]engine.Policy
	states   map[engine.Scope]engine.State
	observed map[engine.Scope]*engine.Observed
	problems map[engine.Scope]string
	log      []api.Stored
	cut      int64 // positions up to it are archived
	changed  chan struct{}
	fault    error // of Submit
}

func policy(scope engine.Scope) engine.Policy {
	return engine.Policy{
		Digest: "d1", Scope: scope, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Owner: "team-" + string(scope), Runbook: "https://runbooks.example.com/" + string(scope),
		Modes: []engine.ModeRule{
			{Name: "normal"},
			{Name: "degraded", Flags: engine.Flags{"recommendations": false}, MinDuration: 5 * time.Minute, MaxDuration: 4 * time.Hour},
			{Name: "read-only"},
		},
		Conditions: []engine.Condition{{Name: "shed.when", Text: `sli("p99") > 1`, Digest: "c1"}},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0, For: time.Minute, Severity: engine.SeverityPage, Digest: "t1", Position: "checkout.yaml:9:5"},
			{Name: "shed-too", From: []engine.Mode{"read-only"}, To: "degraded", When: 0, Digest: "t2"},
			{Name: "shed-three", From: []engine.Mode{"read-only"}, To: "degraded", When: 0, Digest: "t3"},
		},
	}
}

func newWorld(t testing.TB, scopes ...engine.Scope) *world {
	t.Helper()
	w := &world{policies: map[engine.Scope]engine.Policy{}, problems: map[engine.Scope]string{}, changed: make(chan struct{})}
	w.begin(t, scopes...)
	return w
}

// begin takes the world back to its beginning.
func (w *world) begin(t testing.TB, scopes ...engine.Scope) {
	t.Helper()
	w.mu.Lock()
	w.now, w.log = noon, nil
	w.states, w.observed = map[engine.Scope]engine.State{}, map[engine.Scope]*engine.Observed{}
	w.policies[engine.Fleet] = engine.Policy{Digest: "fleet", Scope: engine.Fleet, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute}
	for _, s := range scopes {
		w.policies[s] = policy(s)
	}
	w.mu.Unlock()
	for _, s := range scopes {
		w.decide(t, s, engine.Actor{}, &engine.TimePassed{})
	}
}

// decide lets the core judge an input and commits the events.
func (w *world) decide(t testing.TB, scope engine.Scope, by engine.Actor, what engine.Happening) []engine.Event {
	t.Helper()
	events, err := w.submit(scope, by, what)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func (w *world) submit(scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return nil, w.fault
	}
	p, known := w.policies[scope]
	if !known {
		return nil, coded{api.CodeUnknownScope, fmt.Sprintf("no scope %q", scope)}
	}
	if o, is := what.(*engine.Observed); is {
		w.observed[scope] = o
	}
	w.now = w.now.Add(time.Second)
	events := engine.Decide(p, w.states[scope], engine.Input{At: w.now, Term: 1, By: by, What: what})
	for _, e := range events {
		w.states[scope] = engine.Apply(w.states[scope], e)
		w.log = append(w.log, api.Stored{Position: int64(len(w.log)) + 1, Event: e})
	}
	if len(events) > 0 {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	for _, e := range events {
		if _, refused := e.Fact.(engine.RequestRefused); refused {
			return events, coded{api.CodeRefused, e.Reason.Text}
		}
	}
	return events, nil
}

func (w *world) Submit(_ context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	return w.submit(scope, by, what)
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = err
}

func (w *world) view(scope engine.Scope) engine.View {
	p := w.policies[scope]
	return engine.View{Policy: &p, State: w.states[scope], Observed: w.observed[scope], RulesProblem: w.problems[scope]}
}

func (w *world) Views() (views []engine.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, scope := range slices.Sorted(maps.Keys(w.states)) {
		if scope != engine.Fleet {
			views = append(views, w.view(scope))
		}
	}
	return views
}

func (w *world) View(scope engine.Scope) (engine.View, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view(scope), w.states[scope].Version > 0
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) Read(_ context.Context, stream engine.Scope, after engine.Version, limit int) (events []engine.Event, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.log {
		if s.Event.Stream == stream && s.Event.Version > after && s.Position > w.cut && (limit == 0 || len(events) < limit) {
			events = append(events, s.Event)
		}
	}
	return events, nil
}

func (w *world) Since(_ context.Context, position int64, limit int) ([]api.Stored, error) {
	w.reads.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if position < w.cut {
		return nil, coded{api.CodeGone, fmt.Sprintf("the log begins behind position %d", w.cut)}
	}
	rest := w.log[min(position, int64(len(w.log))):]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (w *world) Last(context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.log)), nil
}

// freezes commits n events in a scope, one commit each.
func (w *world) freezes(t testing.TB, scope engine.Scope, n int) {
	t.Helper()
	for i := range n {
		w.decide(t, scope, engine.Actor{Principal: "test"}, &engine.FreezeRequested{Reason: fmt.Sprintf("freeze %d", i)})
	}
}

// bearers are the tokens of the tests, by what they may do.
var bearers = map[string]api.Token{
	"admin":             {Principal: "root", Person: "ada", Roles: []api.Role{api.RoleAdmin}},
	"operator-checkout": {Principal: "bob-laptop", Person: "bob", Roles: []api.Role{api.RoleOperator}, Scopes: []engine.Scope{"checkout"}},
	"operator-all":      {Principal: "carol", Roles: []api.Role{api.RoleOperator}, Scopes: []engine.Scope{"*"}},
	"viewer-checkout":   {Principal: "board", Roles: []api.Role{api.RoleViewer}, Scopes: []engine.Scope{"checkout"}},
	"viewer-all":        {Principal: "wall", Roles: []api.Role{api.RoleViewer}, Scopes: []engine.Scope{"*"}},
	"instance-checkout": {Principal: "pods", Roles: []api.Role{api.RoleInstance}, Scopes: []engine.Scope{"checkout"}},
}

// secretOf is the text of a test's token, long and odd enough to be found wherever it leaks.
func secretOf(name string) string { return "canary-7f3a9c-" + name }

func testTokens(t testing.TB) *api.Tokens {
	t.Helper()
	var list []api.Token
	for _, name := range slices.Sorted(maps.Keys(bearers)) {
		token := bearers[name]
		token.SHA256 = api.HashToken(secret.New(secretOf(name)))
		list = append(list, token)
	}
	tokens, err := api.NewTokens(list...)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// buffer is a log that is written and read at once.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// service is a running API.
type service struct {
	*httptest.Server
	api  *api.API
	logs *buffer
}

func serve(t testing.TB, w *world, change func(*api.Options)) *service {
	t.Helper()
	logs := &buffer{}
	opts := api.Options{
		Loop: w, Log: w, Tokens: testTokens(t), Version: "1.2.3",
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&opts)
	}
	a, err := api.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{httptest.NewUnstartedServer(a.Handler()), a, logs}
	// As a real server has them; streams have to outlive both.
	s.Config.ReadTimeout, s.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	s.Start()
	t.Cleanup(func() {
		a.Close()
		s.Close()
	})
	return s
}

func (s *service) client(t testing.TB, bearer string) *api.Client {
	t.Helper()
	var token secret.Secret
	if bearer != "" {
		token = secret.New(secretOf(bearer))
	}
	c, err := api.NewClient(s.URL, token, s.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// do sends a request as it is and returns the response with its body read.
func (s *service) do(t testing.TB, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	_, err = buf.ReadFrom(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp, buf.String()
}

func as(bearer string) http.Header {
	return http.Header{"Authorization": {"Bearer " + secretOf(bearer)}, "Content-Type": {"application/json"}}
}

// apiError unwraps what the server said, or fails.
func apiError(t testing.TB, err error) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an answer of the server", err)
	}
	return e
}
