package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

// led is a service whose instances go to a mode of their own when they have not heard of the server for a lease.
func led(name, lease, onLoss string) string {
	return service(name, "degraded") + fmt.Sprintf("lease: %s\non_loss: %s\n", lease, onLoss)
}

// follower is a real agent of a scope, which remembers each mode that it has taken.
type follower struct {
	*agent.Agent
	taken atomic.Pointer[[]engine.Mode]
}

func (f *follower) modes() []engine.Mode {
	if list := f.taken.Load(); list != nil {
		return *list
	}
	return nil
}

func follow(t *testing.T, s *Server, data string, scope engine.Scope, name string) *follower {
	t.Helper()
	f := &follower{}
	a, err := agent.New(agent.Options{Server: s.URL(), Scope: scope, Instance: name, Version: "1.0", Token: (&ship{t: t, cfg: Config{Data: data}}).token(),
		StateDir: t.TempDir(), Reconnect: agent.Backoff{Base: 20 * time.Millisecond, Cap: 100 * time.Millisecond}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f.Agent = a
	a.OnChange(func(_ context.Context, _, now *agent.State) error { // one at a time
		list := append(slices.Clone(f.modes()), now.Mode)
		f.taken.Store(&list)
		return nil
	})
	go func() { _ = a.Run(context.Background()) }()
	t.Cleanup(a.Close)
	return f
}

func (f *follower) in(mode engine.Mode) func() bool {
	return func() bool { m, _ := f.Mode(); return m == mode }
}

// Nobody is responsible for a scope that no file declares any more. What its instances have they keep: through a restart of the server,
// and beyond any lease, for a mode that they took by themselves later would be decided by rules that are gone.
func TestTheInstancesOfAScopeWhoseRulesVanishKeepTheirLastDirective(t *testing.T) {
	dir := t.TempDir()
	ship := filepath.Join(dir, "ship.yaml")
	put(t, ship, led("ship", "1s", "normal"))
	put(t, filepath.Join(dir, "pier.yaml"), led("pier", "3s", "degraded"))
	cfg := testConfig(t, dir)
	cfg.Instances.Heartbeat = 300_000_000
	s, stop := runServer(t, cfg, nil)
	first, control := follow(t, s, cfg.Data, "ship", "web-1"), follow(t, s, cfg.Data, "pier", "web-1")
	within(t, "both are told", func() bool { return first.in("normal")() && control.in("normal")() })
	if _, err := s.loop.Submit(t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	within(t, "it is degraded", first.in("degraded"))

	if err := errors.Join(os.Remove(ship), s.Reload(t.Context())); err != nil {
		t.Fatal(err)
	}
	v, _ := s.loop.View("ship")
	events, err := s.store.Read(t.Context(), "ship", v.State.Version-1, 10)
	if err != nil || len(events) != 1 || events[0].Kind() != "ScopeRetired" || !v.State.Retired {
		t.Fatalf("the log ends with %v, %v", events, err)
	}
	late := follow(t, s, cfg.Data, "ship", "web-2")
	within(t, "one that comes later is told the same", late.in("degraded"))

	// The server goes away for longer than the lease of the ship, as the instance of the pier shows, whose lease is longer.
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	within(t, "the pier's lease is over", control.in("degraded"))
	for _, f := range []*follower{first, late} {
		if !f.in("degraded")() {
			t.Errorf("an instance of the retired scope has taken %v", f.modes())
		}
	}
	cfg.Listen = s.Addr()
	s, stop = runServer(t, cfg, nil)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	within(t, "the pier is led again", control.in("normal"))
	within(t, "the ship's instances are there", func() bool { return len(s.roster.Rows("ship", time.Now().UTC())) == 2 })
	if v, _ := s.loop.View("ship"); !v.State.Retired || v.State.Directive.Mode != "degraded" {
		t.Errorf("after a restart the ship is %+v", v.State)
	}

	// Declared again it goes on where it was.
	put(t, ship, led("ship", "1s", "normal"))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.loop.Submit(t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "normal", Reason: "over", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	within(t, "its instances follow again", func() bool { return first.in("normal")() && late.in("normal")() })
	if got := first.modes(); !slices.Equal(got, []engine.Mode{"normal", "degraded", "normal"}) {
		t.Errorf("the first one has taken %v", got)
	}
}

// A service that cannot be changed stays whole, with what refers to it and what stands below it, and its instances hear of nothing.
// The others reload. Once the mode has been left, everything comes into force.
func TestAModeThatWouldVanishIsRefusedWithWhatRefersToItsService(t *testing.T) {
	dir := t.TempDir()
	write := func(owner, worse string) {
		own := "owner: " + owner + "\n"
		put(t, filepath.Join(dir, "ship.yaml"), service("ship", worse)+own)
		put(t, filepath.Join(dir, "tug.yaml"), service("tug", "busy")+own+
			"transitions: [{name: help, from: [normal], to: busy, when: 'mode(\"ship\") == \""+worse+"\"'}]\n")
		put(t, filepath.Join(dir, "boat.yaml"), service("boat", "degraded")+own+"parent: ship\n")
		put(t, filepath.Join(dir, "isle.yaml"), service("isle", "degraded")+own)
	}
	write("old", "degraded")
	cfg := testConfig(t, dir)
	s, stop := runServer(t, cfg, nil)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	hand := follow(t, s, cfg.Data, "ship", "web-1")
	if _, err := s.loop.Submit(t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	within(t, "it is degraded", hand.in("degraded"))
	told := s.book.Rules()

	write("new", "contained")
	err := s.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), `mode "degraded" is in force in ship and would vanish`) || !strings.Contains(err.Error(), "modeshift set ship MODE") {
		t.Errorf("the reload says %v", err)
	}
	owner := func(scope engine.Scope) (owner, problem string) {
		v, _ := s.loop.View(scope)
		return v.Policy.Owner, v.RulesProblem
	}
	for scope, want := range map[engine.Scope]string{"ship": "old", "tug": "old", "boat": "old", "isle": "new"} {
		got, problem := owner(scope)
		if got != want || (problem == "") != (want == "new") {
			t.Errorf("%s is owned by %s, and its problem is %q; want %s", scope, got, problem, want)
		}
	}
	if now := s.book.Rules(); now.Digest == told.Digest {
		t.Error("the digest of all rules is that of before, and one service has others")
	}
	if got := hand.modes(); !slices.Equal(got, []engine.Mode{"normal", "degraded"}) && !slices.Equal(got, []engine.Mode{"degraded"}) {
		t.Errorf("the instance has taken %v", got)
	}

	if _, err := s.loop.Submit(t.Context(), "ship", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "normal", Reason: "over", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []engine.Scope{"ship", "tug", "boat", "isle"} {
		if got, problem := owner(scope); got != "new" || problem != "" {
			t.Errorf("once the mode was left %s is owned by %s, and its problem is %q", scope, got, problem)
		}
	}
}
