package server

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

// people is who is paged.
func people(t *testing.T) *receiver.Receiver {
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

// paging lets a server page r.
func paging(cfg *Config, r *receiver.Receiver) {
	cfg.Receivers.Page = &Receiver{PagerDuty: &PagerDuty{RoutingKey: secret.New(strings.Repeat("0a", 16)), URL: r.URL()}}
}

const brief = "version: modeshift/v1\nservice: shop\nmodes: [{name: normal, max_duration: 1s, on_expiry: page}, {name: degraded}]\n"

func TestAModeThatLastsTooLongIsPagedUntilItIsLeftAlsoAfterARestart(t *testing.T) {
	dir, data, r := t.TempDir(), t.TempDir(), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), brief)
	serve := func(t *testing.T, data string) *Server {
		return runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
			cfg.Rules, cfg.Data = []string{dir}, data
			paging(cfg, r)
		})
	}
	key := ""
	t.Run("before", func(t *testing.T) {
		s := serve(t, data)
		within(t, "the page", func() bool { return len(r.Alerts()) == 1 })
		key = r.Alerts()[0].Key
		v, _ := s.loop.View("shop")
		if len(v.State.Incidents) != 1 || v.State.Incidents[0].Kind != engine.IncidentTooLong || !strings.HasPrefix(key, "modeshift/") || !strings.HasSuffix(key, "/"+string(v.State.Incidents[0].ID)) {
			t.Errorf("the page %q is about %+v", key, v.State.Incidents)
		}
	})
	t.Run("after", func(t *testing.T) {
		s := serve(t, data)
		if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"},
			&engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
			t.Fatal(err)
		}
		within(t, "its end", func() bool { return !r.Alerts()[0].Resolved.IsZero() })
		if len(r.Alerts()) != 1 {
			t.Errorf("the restart gave the incident another key: %+v", r.Alerts())
		}
	})
	t.Run("in another folder", func(t *testing.T) {
		serve(t, t.TempDir())
		within(t, "a page", func() bool { return len(r.Alerts()) == 2 })
		other := r.Alerts()[1].Key
		if other == key || other[strings.LastIndex(other, "/"):] != key[strings.LastIndex(key, "/"):] {
			t.Errorf("the same incident of two logs has the keys %s and %s", key, other)
		}
	})
}

func TestTheIdentityOfALogIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), IdentityFile)
	made, err := openIdentity(path)
	if err != nil || !identityShape.MatchString(made) {
		t.Fatalf("made %q, %v", made, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if again, err := openIdentity(path); err != nil || again != made {
		t.Errorf("read %q, %v; made %q", again, err, made)
	}
	put(t, path, "\n")
	if _, err := openIdentity(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := openIdentity(filepath.Join(path, "there")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestAScopeThatCannotBeDecidedIsPagedOnceAndNotReady(t *testing.T) {
	dir, r := t.TempDir(), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	put(t, filepath.Join(dir, "cart.yaml"), service("cart", "degraded"))
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules = []string{dir}
		paging(cfg, r)
	})
	ready := func() answered { return get(t, http.DefaultClient, s.URL()+"/-/ready", "") }
	within(t, "ready", func() bool { return ready().status == http.StatusOK })

	set, _ := s.book.current()
	wrong := s.inForce(set, nil)
	for i := range wrong.Policies {
		if wrong.Policies[i].Scope == "shop" { // a transition whose condition is not there; rules makes no such policies
			wrong.Policies[i].Transitions = []engine.Transition{{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 99}}
		}
	}
	if err := s.loop.Replace(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	within(t, "not ready", func() bool { return ready().status == http.StatusServiceUnavailable })
	if said := ready().text; !strings.Contains(said, "deciding: shop is not evaluated any more") || strings.Contains(said, "cart") {
		t.Errorf("ready says %q", said)
	}
	within(t, "the page", func() bool { return len(r.Alerts()) == 1 })
	if a := r.Alerts()[0]; a.Key != "modeshift/"+s.identity+"/deciding/shop" || !strings.Contains(a.Summary, "shop holds its mode") {
		t.Errorf("the page is %+v", a)
	}
	if err := s.loop.Replace(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	ticked := s.loop.Health().Tick
	within(t, "further ticks", func() bool { return s.loop.Health().Tick.After(ticked.Add(2 * time.Second)) })
	if a := r.Alerts()[0]; len(r.Alerts()) != 1 || !a.Resolved.IsZero() || len(a.Notes) > 0 {
		t.Errorf("people were told again: %+v", r.Alerts())
	}

	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of the page", func() bool { return !r.Alerts()[0].Resolved.IsZero() })
	within(t, "ready again", func() bool { return ready().status == http.StatusOK })
}
