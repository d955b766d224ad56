package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/rules"
)

// running starts a server on rule files that asks a Prometheus nobody answers for, and stops it with the test.
func running(t *testing.T, paths ...string) *Server {
	t.Helper()
	return runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) { cfg.Rules = paths })
}

// runningWith is running, with a log of its own and another configuration.
func runningWith(t *testing.T, log *slog.Logger, change func(*Config)) *Server {
	t.Helper()
	cfg := testConfig(t)
	change(&cfg)
	s, stop := serve(t, Options{Config: cfg, Logger: log})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// testConfig is a configuration for rule files, with a log of its own.
func testConfig(t testing.TB, paths ...string) Config {
	cfg := DefaultConfig()
	cfg.Rules = paths
	cfg.Data, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.Evaluation.Interval = model.Duration(time.Second)
	cfg.Prometheus = []Source{{Name: "main", URL: "http://127.0.0.1:1"}}
	return cfg
}

// runServer starts a server with further kinds of action, and returns what stops it.
func runServer(t testing.TB, cfg Config, kinds map[string]actions.Kind) (s *Server, stop func() error) {
	t.Helper()
	return serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Kinds: kinds})
}

func serve(t testing.TB, opts Options) (s *Server, stop func() error) {
	t.Helper()
	s, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	// What is answered at all, even if by a refusal, is answered by a server that runs.
	if _, err := s.loop.Submit(t.Context(), "nobody", engine.Actor{}, &engine.UnpinRequested{}); err == nil {
		t.Error("a scope that nobody declared was unpinned")
	}
	return s, func() error { return errors.Join(s.Stop(), <-ended) }
}

// within waits for what holds before the half minute after which files are looked at anyway.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15 s", what)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// service is a rule file of a service with two modes.
func service(name, worse string) string {
	return fmt.Sprintf("version: modeshift/v1\nservice: %s\nmodes: [{name: normal}, {name: %s}]\n", name, worse)
}

func TestAServiceThatComesBackDeclaresTheModeItWasRetiredIn(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	cart := filepath.Join(dir, "cart.yaml")
	put(t, cart, service("cart", "degraded"))
	s := running(t, dir)
	if _, err := s.loop.Submit(t.Context(), "cart", engine.Actor{Principal: "ann"},
		&engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(cart), s.Reload(t.Context())); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.loop.View("cart"); !v.State.Retired {
		t.Fatalf("cart is not retired: %+v", v.State)
	}
	// Its instances still have the directive degraded. No other mode can be told to be the one it is in.
	put(t, cart, service("cart", "brownout"))
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `"degraded" is in force in cart`) {
		t.Errorf("rules without the mode in force: %v", err)
	}
	put(t, cart, service("cart", "degraded"))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.loop.View("cart"); v.State.Retired || v.State.Mode != "degraded" || v.Policy == nil {
		t.Errorf("cart came back as %+v", v)
	}
}

func TestRuleFilesThatVanishAreSaidSo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.yaml")
	put(t, path, service("shop", "degraded"))
	for name, rules := range map[string]string{"named": path, "in a folder": dir} {
		t.Run(name, func(t *testing.T) {
			s := running(t, rules)
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			within(t, "the fault is shown", func() bool { return len(s.rulesProblems()) == 1 })
			if v, _ := s.loop.View("shop"); v.State.Retired || v.Policy == nil {
				t.Errorf("what was in force does not stay in force: %+v", v)
			}
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			within(t, "the same files are back and all is well", func() bool { return len(s.rulesProblems()) == 0 })
		})
	}
}

func TestAFolderBehindALinkIsFollowedWhereTheLinkLeads(t *testing.T) {
	dir := t.TempDir()
	first, second, link := filepath.Join(dir, "releases", "1"), filepath.Join(dir, "releases", "2"), filepath.Join(dir, "current")
	put(t, filepath.Join(first, "shop.yaml"), service("shop", "degraded"))
	put(t, filepath.Join(second, "shop.yaml"), service("shop", "degraded")+"owner: second\n")
	if err := os.Symlink(first, link); err != nil {
		t.Fatal(err)
	}
	s := running(t, link)
	owner := func(want string) func() bool {
		return func() bool { v, _ := s.loop.View("shop"); return v.Policy.Owner == want }
	}
	if err := errors.Join(os.Symlink(second, link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	within(t, "the link was swapped", owner("second"))
	put(t, filepath.Join(second, "shop.yaml"), service("shop", "degraded")+"owner: third\n")
	within(t, "a file was written where the link leads now", owner("third"))
}

// book is a ruleBook over one file, whose sets go to apply.
func book(t *testing.T, apply func(*rules.Set) error) *ruleBook {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	b := &ruleBook{
		paths: []string{dir}, keep: filepath.Join(dir, "kept.json"), log: slog.New(slog.DiscardHandler), reloaded: func(bool) {}, replaced: func(context.Context, *rules.Set, *rules.Set) {},
		inForce: func() map[engine.Scope]engine.Mode { return nil },
		watcher: fsnotify.NewWatcher,
		apply:   func(_ context.Context, set *rules.Set, _ error) error { return apply(set) },
	}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRulesThatCouldNotBeStoredAreTriedAgain(t *testing.T) {
	fault := errors.New("disk full")
	b := book(t, func(*rules.Set) error { return fault })
	put(t, filepath.Join(b.paths[0], "cart.yaml"), service("cart", "degraded"))
	if err := b.reload(t.Context()); !errors.Is(err, fault) {
		t.Fatalf("a full disk: %v", err)
	}
	if !b.changed() {
		t.Fatal("nothing tells that the files on disk are not in force")
	}
	fault = nil
	if err := b.reload(t.Context()); err != nil || b.changed() {
		t.Errorf("after the disk was mended: %v, changed %v", err, b.changed())
	}
}

func TestAServiceThatMovesWhileFilesAreReadIsLookedAtAgain(t *testing.T) {
	moved := false
	b := book(t, func(set *rules.Set) error {
		if !moved { // shop goes into degraded just now
			moved = true
			return fmt.Errorf("%w: shop is in degraded", loop.ErrMoved)
		}
		return nil
	})
	b.inForce = func() map[engine.Scope]engine.Mode {
		if moved {
			return map[engine.Scope]engine.Mode{"shop": "degraded"}
		}
		return map[engine.Scope]engine.Mode{"shop": "normal"}
	}
	put(t, filepath.Join(b.paths[0], "shop.yaml"), service("shop", "brownout"))
	if err := b.reload(t.Context()); err == nil || !strings.Contains(err.Error(), `"degraded" is in force in shop`) {
		t.Errorf("rules that drop the mode it just entered: %v", err)
	}
	if shop := b.set.Service("shop"); shop == nil || shop.Policy.Modes[1].Name != "degraded" || shop.Problem == "" {
		t.Errorf("shop's rules in force: %+v", shop)
	}
}

func TestASystemWithoutWatchesToSpareIsNoReasonToStop(t *testing.T) {
	applied := make(chan struct{}, 1)
	b := book(t, func(*rules.Set) error { applied <- struct{}{}; return nil })
	b.watcher = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	put(t, filepath.Join(b.paths[0], "cart.yaml"), service("cart", "degraded"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.watch(ctx) }()
	select {
	case <-applied:
	case err := <-ended:
		t.Fatalf("the watch ended, and the server with it: %v", err)
	case <-time.After(15 * time.Second):
		t.Error("the files are not looked at")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// Whoever takes a token out of the file and sends a SIGHUP hears of a fault from the log or not at all.
func TestATokenFileThatIsNotTakenIsLogged(t *testing.T) {
	dir, said := t.TempDir(), &lines{}
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	tokens := filepath.Join(dir, "tokens")
	put(t, tokens, "- {sha256: "+strings.Repeat("0a", 32)+", principal: ann, roles: [admin]}\n")
	s := runningWith(t, slog.New(slog.NewTextHandler(said, nil)), func(cfg *Config) {
		cfg.Rules, cfg.TokensFile = []string{dir}, tokens
	})
	put(t, tokens, "- {sha256: "+strings.Repeat("0b", 32)+", principal: ann, roles: [admn]}\n")
	if err := s.Reload(t.Context()); err == nil || !said.has("tokens not reloaded") || !said.has("admn") {
		t.Errorf("a faulty token file: %v; logged:\n%s", err, said.text.String())
	}
	put(t, tokens, "- {sha256: "+strings.Repeat("0b", 32)+", principal: ann, roles: [admin]}\n")
	if err := s.Reload(t.Context()); err != nil || !said.has("tokens reloaded") {
		t.Errorf("a good one: %v", err)
	}
}

// A restart at night finds the file somebody broke in the evening.
func TestARestartWithABrokenFileGoesOnByTheRulesItHad(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "shop.yaml")
	put(t, path, service("shop", "degraded")+"owner: team\n")
	t.Run("before", func(t *testing.T) {
		runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) { cfg.Rules, cfg.Data = []string{dir}, data })
	})
	put(t, path, service("shop", "degraded")+"owner: [team\n")
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) { cfg.Rules, cfg.Data = []string{dir}, data })
	v, _ := s.loop.View("shop")
	if v.State.Retired || v.Policy == nil || v.Policy.Owner != "team" || !strings.Contains(v.RulesProblem, "shop.yaml") {
		t.Errorf("shop goes on as %+v", v)
	}
}
