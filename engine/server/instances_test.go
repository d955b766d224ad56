package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/roster"
	"github.com/modeshift/modeshift/engine/secret"
)

// gauge is a Prometheus with one series, whose value is set by the test; NaN is no series.
type gauge struct {
	value atomic.Uint64
	mu    sync.Mutex // guards asked
	asked []string
}

func (g *gauge) set(v float64) { g.value.Store(math.Float64bits(v)) }

func (g *gauge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result := []any{}
	v := math.Float64frombits(g.value.Load())
	query := r.FormValue("query")
	g.mu.Lock()
	g.asked = append(g.asked, query)
	g.mu.Unlock()
	if !math.IsNaN(v) || !strings.Contains(query, "ok") {
		result = append(result, map[string]any{"metric": map[string]string{}, "value": []any{float64(time.Now().UnixMilli()) / 1000, fmt.Sprint(v)}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
}

// queries with some text in them.
func (g *gauge) queries(part string) (list []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range g.asked {
		if strings.Contains(q, part) {
			list = append(list, q)
		}
	}
	return list
}

// ship is a server whose instances are real agents.
type ship struct {
	t      *testing.T
	cfg    Config
	gauge  *gauge
	pages  *pagerDuty
	server *Server
	stop   func() error
	crew   map[string]*sailor
}

// sailor is an instance that may refuse its mode.
type sailor struct {
	*agent.Agent
	refuses atomic.Bool
}

const shipRules = `version: modeshift/v1
service: ship
instances: {min_applied: 99%%, grace: 1s, page_above: 1%%}
slis: [{name: ok, query: 'ok{instance=~"{{.instances}}"}'}]
modes: [{name: normal}, {name: degraded, flags: {music: false}}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: sli("ok") < -10.0
%s  - name: recover
    from: [degraded]
    to: normal
    when: sli("ok") < -10.0
%[1]s`

const inWaves = "    rollout: {waves: [10, 50, 100], verify: 'sli(\"ok\") > 0.5'}\n"

func launch(t *testing.T, rollout string) *ship {
	t.Helper()
	s := &ship{t: t, gauge: &gauge{}, pages: &pagerDuty{}, crew: map[string]*sailor{}}
	prometheus := httptest.NewServer(s.gauge)
	t.Cleanup(prometheus.Close)
	pages := httptest.NewServer(s.pages)
	t.Cleanup(pages.Close)
	rules := filepath.Join(t.TempDir(), "ship.yaml")
	put(t, rules, fmt.Sprintf(shipRules, rollout))
	s.cfg = testConfig(t, rules)
	s.cfg.Evaluation.Interval = model.Duration(200 * time.Millisecond)
	s.cfg.Evaluation.BlindAfter = model.Duration(time.Second)
	s.cfg.Prometheus = []Source{{Name: "main", URL: prometheus.URL}}
	s.cfg.Instances.Heartbeat = model.Duration(300 * time.Millisecond)
	s.cfg.Receivers.Page = &Receiver{PagerDuty: &PagerDuty{RoutingKey: secret.New(strings.Repeat("k", 32)), URL: pages.URL}}
	s.gauge.set(1)
	s.start()
	t.Cleanup(func() {
		for _, i := range s.crew {
			i.Close()
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *ship) start() {
	s.t.Helper()
	s.server, s.stop = serve(s.t, Options{Config: s.cfg, Logger: slog.New(slog.DiscardHandler)})
	s.cfg.Listen = s.server.Addr() // the next one is where this one was
}

func (s *ship) token() secret.Secret {
	token, err := secret.Read(filepath.Join(s.cfg.Data, AdminTokenFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// board adds instances. at is where they find the server; empty: where it is.
func (s *ship) board(at string, names ...string) {
	s.t.Helper()
	if at == "" {
		at = s.server.URL()
	}
	for _, name := range names {
		i := &sailor{}
		a, err := agent.New(agent.Options{Server: at, Scope: "ship", Instance: name, Version: "1.0", Token: s.token(), StateDir: s.t.TempDir(),
			Reconnect: agent.Backoff{Base: 20 * time.Millisecond, Cap: 100 * time.Millisecond}, Retry: agent.Backoff{Base: 20 * time.Millisecond, Cap: 50 * time.Millisecond},
			Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			s.t.Fatal(err)
		}
		i.Agent = a
		a.OnChange(func(_ context.Context, _, now *agent.State) error {
			if i.refuses.Load() {
				return errors.New("I refuse " + string(now.Mode))
			}
			return nil
		})
		s.crew[name] = i
		go func() { _ = a.Run(context.Background()) }()
	}
	within(s.t, "all are connected", func() bool {
		n := 0
		for _, row := range s.rows() {
			if row.Standing == roster.Applied {
				n++
			}
		}
		return n == len(s.crew)
	})
}

func (s *ship) rows() []roster.Row { return s.server.roster.Rows("ship", time.Now().UTC()) }

func (s *ship) state() engine.State {
	v, _ := s.server.loop.View("ship")
	return v.State
}

// in names the instances that are in a mode, by their own word.
func (s *ship) in(mode engine.Mode) (names []string) {
	for name, i := range s.crew {
		if m, _ := i.Mode(); m == mode {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *ship) set(mode engine.Mode) {
	s.t.Helper()
	if _, err := s.server.loop.Submit(s.t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: mode, Reason: "drill"}); err != nil {
		s.t.Fatal(err)
	}
}

// kinds are those of the events of the scope so far.
func (s *ship) kinds() (list []string) {
	events, err := s.server.store.Read(s.t.Context(), "ship", 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range events {
		list = append(list, e.Kind())
	}
	return list
}

func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("web-%02d", i+1))
	}
	return list
}

func TestAChangeIsDoneWhenTheInstancesHaveItAndWhoRefusesIsDivergence(t *testing.T) {
	s := launch(t, "")
	s.board("", names(5)...)
	s.crew["web-03"].refuses.Store(true)
	s.set("degraded")
	within(t, "four of five are enough", func() bool { return s.state().Mode == "degraded" && s.state().Change == nil })
	if got := s.in("degraded"); len(got) != 4 || slices.Contains(got, "web-03") {
		t.Fatalf("in degraded are %v", got)
	}
	within(t, "it is shown as failed, and why", func() bool {
		return slices.ContainsFunc(s.rows(), func(r roster.Row) bool {
			return r.Name == "web-03" && r.Standing == roster.Failed && r.Mode == "normal" && strings.Contains(r.Error, "I refuse degraded")
		})
	})
	within(t, "somebody is paged for it", func() bool {
		_, open := s.state().Incident(engine.IncidentDivergence, "ship")
		return open && slices.ContainsFunc(s.pages.summaries(), func(p string) bool { return strings.Contains(p, "1 of 5 instances do not follow") })
	})
	s.crew["web-03"].refuses.Store(false)
	within(t, "it gives in, and the page ends", func() bool {
		_, open := s.state().Incident(engine.IncidentDivergence, "ship")
		return !open && len(s.in("degraded")) == 5
	})
	if got := s.kinds(); !slices.Contains(got, "DirectiveApplied") || !slices.Contains(got, "DivergenceEnded") {
		t.Errorf("the log says %v", got)
	}
}

func TestTheShareOfServicesWhoseTelemetryBearsTheModeIsMeasured(t *testing.T) {
	s := launch(t, "")
	for _, c := range []struct {
		scopes map[engine.Scope]bool
		known  bool
		want   string
	}{
		{map[engine.Scope]bool{"ship": true, "elsewhere": true}, true, "modeshift_coverage_ratio 1\n"},
		{map[engine.Scope]bool{"elsewhere": true}, true, "modeshift_coverage_ratio 0\n"},
		{nil, false, ""},
	} {
		s.server.metrics.covered(c.scopes, c.known)
		text := get(t, http.DefaultClient, s.server.URL()+"/metrics", "").text
		if c.want == "" && strings.Contains(text, "\nmodeshift_coverage_ratio") || !strings.Contains(text, c.want) {
			t.Errorf("with %v (%v) there is no %q", c.scopes, c.known, c.want)
		}
	}
	if scopes, known := s.server.bearing(t.Context()); !known || len(scopes) != 0 { // its one series names no scope
		t.Errorf("%v, %v", scopes, known)
	}
	if q := s.gauge.queries("modeshift_instance_mode"); len(q) == 0 {
		t.Error("nobody was asked")
	}
}

func TestWavesGoByRankAreVerifiedOnTheirOwnAndSurviveARestart(t *testing.T) {
	s := launch(t, inWaves)
	s.board("", names(10)...)
	s.gauge.set(0) // what is told first does not do well
	s.set("degraded")
	within(t, "the first wave is held", func() bool {
		c := s.state().Change
		return c != nil && c.Wave == 1 && c.Stopped != nil && c.Stopped.Reason.Code == engine.CodeVerify
	})
	first := s.in("degraded")
	if len(first) != 1 {
		t.Fatalf("the first wave told %v", first)
	}
	if q := s.gauge.queries(`ok{instance=~"` + first[0] + `"}`); len(q) == 0 {
		t.Errorf("nobody asked about the wave alone: %q", s.gauge.queries("ok"))
	}
	for name, want := range map[string]engine.Mode{first[0]: "degraded", "nobody": "normal", "": "normal"} {
		if told := (readers{s.server.loop, s.server.roster}).Told("ship", name); told.Mode != want {
			t.Errorf("a reader called %q is told %s, want %s", name, told.Mode, want)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.board("", "web-00", "web-11") // come later, and wait for the last wave wherever their names would rank
	within(t, "all have come back", func() bool {
		return !slices.ContainsFunc(s.rows(), func(r roster.Row) bool { return r.Standing != roster.Applied })
	})
	if now := s.in("degraded"); !slices.Equal(now, first) {
		t.Fatalf("after the restart %v are in degraded, and %v were before", now, first)
	}
	s.gauge.set(math.NaN())
	within(t, "unknown holds it", func() bool {
		c := s.state().Change
		return c != nil && c.Stopped != nil && c.Wave == 1
	})
	s.gauge.set(1)
	within(t, "all waves pass", func() bool { return s.state().Change == nil && len(s.in("degraded")) == 12 })
	// Going back, and a relapse in the first wave.
	s.set("normal")
	within(t, "the first wave has gone back", func() bool { return len(s.in("normal")) >= 1 || s.state().Mode == "normal" })
	within(t, "it is done", func() bool { return s.state().Change == nil })
	s.set("degraded")
	within(t, "degraded again", func() bool { return s.state().Change == nil && len(s.in("degraded")) == 12 })
	s.gauge.set(0)
	s.set("normal")
	within(t, "a relapse takes it back", func() bool { return s.state().Change == nil && slices.Contains(s.kinds(), "ChangeUndone") })
	within(t, "everybody is in degraded", func() bool { return len(s.in("degraded")) == 12 })
}

func TestAnInstanceIsLetInUnderItsOwnNameOnly(t *testing.T) {
	s := launch(t, "")
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	put(t, tokens, fmt.Sprintf("- {sha256: %s, principal: ship, roles: [instance], scopes: [ship], instances: ['web-*']}\n- {sha256: %s, principal: other, roles: [instance], scopes: [other]}\n",
		api.HashToken(secret.New("mine")), api.HashToken(secret.New("theirs"))))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.cfg.TokensFile = tokens
	s.start()
	connect := func(token, scope, lines string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL()+"/api/v1/instances/stream?scope="+scope, strings.NewReader(lines))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	hello := func(name, session string) string {
		return fmt.Sprintf(`{"hello":{"instance":%q,"session":%q}}`+"\n", name, session)
	}
	// One that stays.
	body, in := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL()+"/api/v1/instances/stream?scope=ship", body)
	r.Header.Set("Authorization", "Bearer mine")
	go func() { _, _ = io.WriteString(in, hello("web-1", "first")) }()
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer func() { _, _ = in.Close(), resp.Body.Close() }()
	for name, c := range map[string]struct {
		token, scope, lines string
		status              int
		says                string
	}{
		"no token":                       {"", "ship", hello("web-2", "s"), 401, "token"},
		"another scope's token":          {"theirs", "ship", hello("web-2", "s"), 403, "not in ship"},
		"a scope nobody declares":        {"theirs", "other", hello("web-2", "s"), 404, "no scope"},
		"no scope":                       {"mine", "", hello("web-2", "s"), 400, "scope"},
		"a name that is not the token's": {"mine", "ship", hello("db-1", "s"), 403, "does not speak for"},
		"a name that is taken":           {"mine", "ship", hello("web-1", "second"), 409, "web-1"},
		"no name":                        {"mine", "ship", hello("", "s"), 403, "does not speak for"},
		"a name with a line end in it":   {"mine", "ship", hello("web-\n1", "s"), 400, "control"},
		"no session":                     {"mine", "ship", hello("web-2", ""), 400, "session"},
		"a report before the hello":      {"mine", "ship", `{"report":{}}` + "\n", 400, "hello"},
		"garbage":                        {"mine", "ship", "GET / HTTP/1.1\n", 400, "hello"},
		"a line that does not end":       {"mine", "ship", strings.Repeat("x", 1<<20), 400, "hello"},
		"another instance of the same name in another case is another": {"mine", "ship", hello("web-X", "s"), 200, "event: directive"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, text := connect(c.token, c.scope, c.lines); status != c.status || !strings.Contains(text, c.says) {
				t.Errorf("%d %.300q, want %d and %q", status, text, c.status, c.says)
			}
		})
	}
	if status, text := connect("mine", "ship", hello("web-1", "first")); status != 200 || !strings.Contains(text, "event: welcome") {
		t.Errorf("the same process is not let in again: %d %s", status, text)
	}
	if b, err := io.ReadAll(resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the connection that was taken over ends with %v after %q", err, b)
	}
	for code, n := range map[string]uint64{"unknown_scope": 1, "in_use": 1} {
		if got := s.server.roster.Refused()[code]; got != n {
			t.Errorf("%d were refused as %s, want %d", got, code, n)
		}
	}
	// A token of an instance opens nothing else.
	for _, path := range []string{"/scopes", "/scopes/ship", "/scopes/ship/instances", "/status", "/events", "/approvals"} {
		if a := get(t, http.DefaultClient, s.server.URL()+"/api/v1"+path, "mine"); a.status != 403 {
			t.Errorf("%s answers %d to an instance", path, a.status)
		}
	}
}

// freezer passes connections on until it is told to hold everything back, without closing anything: a cable that was pulled.
type freezer struct {
	net.Listener
	to     string
	frozen atomic.Bool
}

func freeze(t *testing.T, to string) *freezer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if f.frozen.Load() { // nobody answers
				t.Cleanup(func() { _ = c.Close() })
				continue
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			t.Cleanup(func() { _, _ = c.Close(), out.Close() })
			go f.pass(c, out)
			go f.pass(out, c)
		}
	}()
	return f
}

func (f *freezer) pass(from, to net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if f.frozen.Load() {
			return // open, and silent
		}
		if n > 0 {
			_, _ = to.Write(b[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func TestAnInstanceWhoseCableWasPulledIsMissingAndPagesOnceItIsMeantToMove(t *testing.T) {
	s := launch(t, "")
	s.board("", names(7)...)
	cable := freeze(t, strings.TrimPrefix(s.server.URL(), "http://"))
	s.board("http://"+cable.Addr().String(), "far-1")
	cable.frozen.Store(true)
	began := time.Now()
	standing := func() roster.Standing {
		for _, r := range s.rows() {
			if r.Name == "far-1" {
				return r.Standing
			}
		}
		return "forgotten"
	}
	within(t, "it is missed", func() bool { return standing() == roster.Missing })
	if took := time.Since(began); took > 10*time.Second { // two heartbeats are 600 ms; the machine may be busy
		t.Errorf("that took %v", took)
	}
	within(t, "what it has is right, so nobody is paged", func() bool { return time.Since(began) > 2*time.Second })
	if _, open := s.state().Incident(engine.IncidentDivergence, "ship"); open {
		t.Fatal("an instance that is only away is divergence")
	}
	s.set("degraded")
	within(t, "the others are enough", func() bool { return s.state().Change == nil && s.state().Mode == "degraded" })
	within(t, "it is divergence now", func() bool { _, open := s.state().Incident(engine.IncidentDivergence, "ship"); return open })
	if m, _ := s.crew["far-1"].Mode(); m != "normal" {
		t.Errorf("it is in %s", m)
	}
}

func TestAServerFromABackupPublishesNothingUntilItHasATermOfItsOwn(t *testing.T) {
	s := launch(t, "")
	s.board("", names(3)...)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir()
	if err := os.CopyFS(filepath.Join(backup, "data"), os.DirFS(s.cfg.Data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	for _, mode := range []engine.Mode{"degraded", "normal", "degraded"} {
		s.set(mode)
		within(t, "all are in "+string(mode), func() bool { return len(s.in(mode)) == 3 && s.state().Change == nil })
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.cfg.Data = filepath.Join(backup, "data")
	s.start()
	fleet := func() engine.State { v, _ := s.server.loop.View(engine.Fleet); return v.State }
	within(t, "it hears that it was led past", func() bool { return fleet().Exceeded != nil })
	if s.state().Mode != "normal" || len(s.in("degraded")) != 3 {
		t.Fatalf("the log says %s, and %v are in degraded", s.state().Mode, s.in("degraded"))
	}
	_, err := s.server.loop.Submit(t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"})
	if err == nil || !strings.Contains(err.Error(), "recover --term") {
		t.Fatalf("a mode was set: %v", err)
	}
	within(t, "somebody is paged", func() bool {
		return slices.ContainsFunc(s.pages.summaries(), func(p string) bool { return strings.Contains(p, "recover --term") })
	})
	token := s.token().Reveal()
	term := fleet().Exceeded.Term
	if a := ask(t, http.DefaultClient, http.MethodPost, s.server.URL()+"/api/v1/recover", token, fmt.Sprintf(`{"term":%d,"reason":"restored"}`, term)); a.status != 409 {
		t.Errorf("the term that was heard of is taken: %d %s", a.status, a.text)
	}
	if a := ask(t, http.DefaultClient, http.MethodPost, s.server.URL()+"/api/v1/recover", token, fmt.Sprintf(`{"term":%d,"reason":"restored"}`, term+1)); a.status != 200 {
		t.Fatalf("recover: %d %s", a.status, a.text)
	}
	within(t, "all follow this server", func() bool { return len(s.in("normal")) == 3 })
	s.set("degraded")
	within(t, "and move with it", func() bool { return len(s.in("degraded")) == 3 && s.state().Directive.Term == term+1 })
}

// summaries are what people were told, in order.
func (p *pagerDuty) summaries() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.events {
		out = append(out, a.Payload.Summary)
	}
	return out
}
