package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/rules"
)

// fence is a service with a step of each kind, and secrets where nobody should write them.
const fence = `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded, flags: {writes: false}}]
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: "sum(rate(errors_total[{{.window}}]))", total_query: "sum(rate(all_total[{{.window}}]))"}}
    alerting: {name: Shop}
slis: [{name: errors, query: max(errors), agree: 2}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("availability", "page") || sli("errors") > 0.5
    approval: {groups: [{role: oncall}], within: 15m}
    actions:
      - {name: fence, exec: {program: fence, args: [eu-1]}, destructive: true, irreversible: true}
      - {name: tell, webhook: {url: "https://hooks.example.com/a?key=hunter2", headers: {X-Other: hunter3, X-Key: hunter4}, json: {password: hunter5}}}
`

// fenced is a server of fence whose settings are none of the usual ones.
func fenced(t *testing.T, tokens string) *Server {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules", "shop.yaml"), fence)
	put(t, filepath.Join(dir, "rules", "cart.yaml"), service("cart", "degraded"))
	put(t, filepath.Join(dir, "tokens.yaml"), tokens)
	return runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.TokensFile = []string{filepath.Join(dir, "rules")}, filepath.Join(dir, "tokens.yaml")
		cfg.Evaluation.Interval, cfg.Evaluation.BlindAfter = model.Duration(7*time.Second), model.Duration(3*time.Minute)
		cfg.Evaluation.SLOPeriod = model.Duration(28 * 24 * time.Hour)
		cfg.Prometheus = []Source{{Name: "pair", URLs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}}}
		cfg.Actions.Exec.Programs = Programs{"fence": "/bin/true"}
		cfg.Receivers.Exec = &Receiver{Webhook: &Webhook{URL: "http://127.0.0.1:1"}}
	})
}

func clientOf(t *testing.T, s *Server, token string) *api.Client {
	t.Helper()
	c, err := api.NewClient(s.URL(), secret.New(token), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whoever compiles the same files with what the server tells of its settings comes to the digests that it shows, and to its outline.
func TestWhatAServerTellsOfItsRulesGivesItsDigests(t *testing.T) {
	s := fenced(t, entry("ann", "viewer", `"*"`))
	c := clientOf(t, s, "ann")
	told, err := c.Rules(t.Context())
	if err != nil || len(told.Services) != 2 || told.Hidden != 0 {
		t.Fatalf("%+v, %v", told, err)
	}
	opts, err := OptionsOf(told)
	if err != nil {
		t.Fatal(err)
	}
	files, err := rules.ReadFiles(s.opts.Config.Rules...)
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(files, opts)
	if err != nil {
		t.Fatal(err)
	}
	if set.Digest != told.Digest {
		t.Errorf("all rules have %s here and %s there", set.Digest, told.Digest)
	}
	usual, err := rules.Load(files, rules.Options{Kinds: opts.Kinds, Sources: opts.Sources})
	if err != nil || usual.Service("shop").Digest == set.Service("shop").Digest {
		t.Errorf("the settings make no difference, so that this test shows nothing: %v", err)
	}
	for _, one := range told.Services {
		here := set.Service(one.Scope)
		shown, err := c.Scope(t.Context(), one.Scope)
		if err != nil || here.Digest != one.Digest || shown.Rules != one.Digest || one.Mode != "normal" {
			t.Errorf("%s has %s here, and is %+v there; it shows %s, %v", one.Scope, here.Digest, one, shown.Rules, err)
		}
		there, err := c.ScopeRules(t.Context(), one.Scope)
		if err != nil {
			t.Fatal(err)
		}
		there.Digest = "another" // or nothing would be compared
		if got := outline.Compare(&there, here.Outline()); len(got) != 1 || got[0].Field != "rules" {
			t.Errorf("the outline of %s is another one here: %+v", one.Scope, got)
		}
	}
}

func TestTheRulesOfAScopeAreForWhoeverMaySeeIt(t *testing.T) {
	s := fenced(t, entry("root", "admin", "")+entry("shop-viewer", "viewer", "shop")+entry("shop-instance", "instance", "shop"))
	for token, codes := range map[string][3]int{
		"":              {401, 401, 401},
		"shop-instance": {403, 403, 403},
		"shop-viewer":   {200, 200, 403},
		"root":          {200, 200, 200},
	} {
		for i, path := range []string{"/rules", "/scopes/shop/rules", "/scopes/cart/rules"} {
			if got := ask(t, http.DefaultClient, http.MethodGet, s.URL()+api.Prefix+path, token, ""); got.status != codes[i] {
				t.Errorf("%q: %s: %d, want %d", token, path, got.status, codes[i])
			}
		}
	}
	told, err := clientOf(t, s, "shop-viewer").Rules(t.Context())
	if err != nil || told.Hidden != 1 || len(told.Services) != 1 || told.Services[0].Scope != "shop" {
		t.Errorf("who sees one of two is told %+v, %v", told, err)
	}
	c := clientOf(t, s, "root")
	for scope, want := range map[engine.Scope]int{"nobody": 404, "fleet": 409} {
		_, err := c.ScopeRules(t.Context(), scope)
		var e *api.Error
		if !errors.As(err, &e) || e.Status() != want {
			t.Errorf("%s: %v, want %d", scope, err, want)
		}
	}
}

func TestNoSecretOfARuleFileIsInItsOutline(t *testing.T) {
	s := fenced(t, entry("ann", "viewer", `"*"`))
	o, err := clientOf(t, s, "ann").ScopeRules(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if secret := fmt.Sprintf("hunter%d", i+2); strings.Contains(string(text), secret) {
			t.Errorf("%s is in it", secret)
		}
	}
	if does := o.Entry(outline.KindAction, "shed/tell").Text("does"); !strings.Contains(does, `https://hooks.example.com/a?…`) {
		t.Errorf("the step is not told apart: %s", does)
	}
}
