package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// running starts a server on rule files that asks a Prometheus nobody answers for, and stops it with the test.
func running(t *testing.T, paths ...string) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Rules, cfg.Data, cfg.Listen = paths, t.TempDir(), "127.0.0.1:0"
	cfg.Evaluation.Interval = model.Duration(time.Second)
	cfg.Prometheus = []Source{{Name: "main", URL: "http://127.0.0.1:1"}}
	s, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return s
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
