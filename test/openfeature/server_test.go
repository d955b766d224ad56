package openfeature

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
)

// rulesFile declares the modes that the clients expect.
const rulesFile = `version: modeshift/v1
service: checkout
modes:
  - name: normal
  - name: degraded
    flags: {recommendations: false, payment_gateway: backup, retries: 2}
  - name: read-only
    flags: {writes: false}
`

// house is a whole server on its data folder and its ports, which may be stopped and started again.
type house struct {
	t       *testing.T
	config  server.Config
	root    secret.Secret
	url     string
	port    string // of flagd's protocol
	stop    func()
	changes *api.Client
}

// newHouse starts a server; with tokens its readers need one, which is token.
func newHouse(t *testing.T, tokens bool) *house {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h := &house{t: t, config: server.DefaultConfig()}
	h.config.Rules = []string{put("rules.yaml", rulesFile)}
	h.config.Data, h.config.Listen, h.config.Flags.SyncListen = filepath.Join(dir, "data"), freeAddress(t), freeAddress(t)
	h.config.Prometheus = []server.Source{{Name: "main", URL: "http://127.0.0.1:1"}} // no condition asks it anything
	h.root = secret.New("root of this test")
	if tokens {
		h.config.TokensFile = put("tokens.yaml", fmt.Sprintf("- {sha256: %s, principal: root, roles: [admin]}\n- {sha256: %s, principal: page, roles: [instance], scopes: [checkout]}\n",
			api.HashToken(h.root), api.HashToken(secret.New(token))))
	}
	h.url = "http://" + h.config.Listen
	_, h.port, _ = net.SplitHostPort(h.config.Flags.SyncListen)
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func freeAddress(t *testing.T) string {
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

func (h *house) start() {
	h.t.Helper()
	s, err := server.New(h.t.Context(), server.Options{Config: h.config, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	h.stop = sync.OnceFunc(func() {
		if err := s.Stop(); err != nil {
			h.t.Error(err)
		}
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
	root := h.root
	if h.config.TokensFile == "" {
		if root, err = secret.Read(filepath.Join(h.config.Data, server.AdminTokenFile)); err != nil {
			h.t.Fatal(err)
		}
	}
	if h.changes, err = api.NewClient(h.url, root, nil); err != nil {
		h.t.Fatal(err)
	}
}

// set takes the service into a mode, and returns when the request was sent.
func (h *house) set(mode engine.Mode) time.Time {
	h.t.Helper()
	began := time.Now()
	if _, err := h.changes.Set(h.t.Context(), "checkout", api.SetRequest{Mode: mode, Reason: "test", DirectiveOnly: true}); err != nil {
		h.t.Fatal(err)
	}
	return began
}

// following waits until a client of a protocol follows.
func (h *house) following(via string) {
	h.t.Helper()
	eventually(h.t, "a client that follows by "+via, func() bool {
		resp, err := http.Get(h.url + "/metrics")
		if err != nil {
			return false
		}
		text, err := io.ReadAll(resp.Body)
		return resp.Body.Close() == nil && err == nil && strings.Contains(string(text), fmt.Sprintf("modeshift_flags_streams{via=%q} 1\n", via))
	})
}

// takes changes the mode to and fro, and measures how long it takes until the client says that it has it.
func (h *house) takes(what string, has func(mode engine.Mode)) {
	h.t.Helper()
	var took []time.Duration
	for _, mode := range []engine.Mode{"degraded", "read-only", "degraded", "read-only", "degraded"} {
		began := h.set(mode)
		has(mode)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	h.t.Logf("%s: from the request to the client's having the mode: median %v, longest %v", what, took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > time.Second {
		h.t.Errorf("%s: changes took %v, want a second at most", what, took)
	}
}

// has waits until a client's event says the mode.
func (c *client) has(mode engine.Mode) said {
	c.t.Helper()
	return c.until("mode "+string(mode), func(s said) bool { return s.Event == "changed" && s.Flags["mode"].Value == string(mode) })
}

// restarted stops the server, changes nothing, and starts it again on the same port and data.
func (h *house) restarted() {
	h.t.Helper()
	h.stop()
	h.start()
}

func TestAWebPageThatFollowsTakesAModeWithinASecondAndOutlivesARestart(t *testing.T) {
	dir := install(t)
	h := newHouse(t, true)
	c := start(t, dir, "client.mjs", "URL="+h.url, "SERVICE=checkout", "TOKEN="+token, "FOLLOW=1")
	first := c.until("ready", func(s said) bool { return s.Event == "ready" || s.Event == "failed" })
	c.want("at the start", first.Flags, inNormal)
	h.following("ofrep")
	h.takes("a page", func(mode engine.Mode) { c.has(mode) })
	c.want("in degraded", c.read(), inDegraded)

	h.stop()
	stale := c.until("stale, while the server is away", func(s said) bool { return s.Event == "stale" })
	c.want("without a server", stale.Flags, inDegraded)
	h.start()
	h.set("normal") // perhaps before the page is back: it is told all the same
	c.want("after the restart", c.has("normal").Flags, inNormal)
	h.following("ofrep")
	h.takes("a page after the restart", func(mode engine.Mode) { c.has(mode) })
}

// flagd's own reasons: DEFAULT where the default in the code holds.
var (
	flagdNormal = map[string]detail{
		"mode":            {Value: "normal", Reason: "STATIC", Variant: "normal"},
		"recommendations": {Value: true, Reason: "DEFAULT"},
		"payment_gateway": {Value: "in code", Reason: "DEFAULT"},
		"retries":         {Value: 5.0, Reason: "DEFAULT"},
		"writes":          {Value: true, Reason: "DEFAULT"},
		"undeclared":      {Value: true, Reason: "ERROR", Error: "FLAG_NOT_FOUND"},
	}
	flagdDegraded = map[string]detail{
		"mode":            {Value: "degraded", Reason: "STATIC", Variant: "degraded"},
		"recommendations": {Value: false, Reason: "STATIC", Variant: "degraded"},
		"payment_gateway": {Value: "backup", Reason: "STATIC", Variant: "degraded"},
		"retries":         {Value: 2.0, Reason: "STATIC", Variant: "degraded"},
		"writes":          {Value: true, Reason: "DEFAULT"},
	}
)

func TestAFlagdProviderInProcessTakesAModeWithinASecondAndOutlivesARestart(t *testing.T) {
	dir := install(t)
	h := newHouse(t, false)
	c := start(t, dir, "flagd.mjs", "PORT="+h.port, "SERVICE=checkout")
	first := c.until("ready", func(s said) bool { return s.Event == "ready" || s.Event == "failed" })
	c.want("at the start", first.Flags, flagdNormal)
	h.following("flagd")
	h.takes("a provider in-process", func(mode engine.Mode) {
		if s := c.has(mode); s.Context["mode"] != string(mode) || s.Context["service"] != "checkout" || s.Context["revision"] == nil {
			t.Errorf("the sync context is %v", s.Context)
		}
	})
	c.want("in degraded", c.read(), flagdDegraded)

	h.stop()
	stale := c.until("stale, while the server is away", func(s said) bool { return s.Event == "stale" })
	c.want("without a server", stale.Flags, flagdDegraded)
	h.start()
	h.set("normal")
	c.want("after the restart", c.has("normal").Flags, flagdNormal)
	h.following("flagd")
	h.takes("a provider in-process after the restart", func(mode engine.Mode) { c.has(mode) })
}

func TestTheGoProviderTakesAModeWithinASecondAndOutlivesARestart(t *testing.T) {
	h := newHouse(t, true)
	if err := sdk.SetNamedProviderAndWait(t.Name(), ofrep.NewProvider(h.url, ofrep.WithBearerToken(token))); err != nil {
		t.Fatal(err)
	}
	c := sdk.NewClient(t.Name())
	c.SetEvaluationContext(sdk.NewEvaluationContext("pod-1", map[string]any{"service": "checkout"}))
	has := func(mode engine.Mode) {
		eventually(t, "mode "+string(mode), func() bool {
			got, err := c.StringValue(t.Context(), "mode", "in code", sdk.EvaluationContext{})
			return err == nil && got == string(mode)
		})
	}
	has("normal")
	h.takes("the Go provider", has)
	h.restarted()
	has("degraded")
	h.takes("the Go provider after the restart", has)
}
