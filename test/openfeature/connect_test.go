package openfeature

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/modeshift/modeshift/actions/sidecar"
)

// beside runs what `modeshift agent` does, for the service in node beside it, until the test ends.
func beside(t *testing.T, h *house, address string) {
	t.Helper()
	c := sidecar.DefaultConfig()
	c.Server, c.Scope, c.Instance, c.Flagd, c.StateDir = h.url, "checkout", "checkout-1", address, t.TempDir()
	c.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	car, err := sidecar.New(sidecar.Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- car.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The service is the one that the page examples/connect shows.
func TestTheServiceOfConnectAServiceTakesAModeAndOutlivesTheServer(t *testing.T) {
	dir := install(t)
	script, err := os.ReadFile("../../examples/connect/javascript/service.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "service.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, true)
	flagd, address := freeAddress(t), freeAddress(t)
	beside(t, h, flagd)
	port := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	var said bytes.Buffer
	node := exec.Command("node", "service.mjs")
	node.Dir, node.Stdout, node.Stderr = dir, &said, &said
	node.Env = append(os.Environ(), "FLAGD_PORT="+port(flagd), "PORT="+port(address))
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Kill() // it has no end of its own
		_ = node.Wait()         // which says that it was killed
		if t.Failed() {
			t.Logf("the service said:\n%s", said.Bytes())
		}
	})
	answers := func(mode, body string) {
		t.Helper()
		eventually(t, "an answer in "+mode, func() bool {
			res, err := http.Get("http://" + address)
			if err != nil {
				return false
			}
			text, err := io.ReadAll(res.Body)
			return errors.Join(err, res.Body.Close()) == nil && res.Header.Get("X-Service-Mode") == mode && string(text) == body
		})
	}
	answers("normal", "recommendations: true\n")
	h.set("degraded")
	answers("degraded", "recommendations: false\n")
	eventually(t, "the agent's report", func() bool {
		list, err := h.changes.Instances(t.Context(), "checkout")
		return err == nil && len(list.Instances) == 1 && list.Instances[0].Name == "checkout-1" && list.Instances[0].Standing == "applied" && list.Instances[0].Mode == "degraded"
	})
	eventually(t, "the end of the change", func() bool {
		scope, err := h.changes.Scope(t.Context(), "checkout")
		return err == nil && scope.Change == nil
	})
	h.stop()
	answers("degraded", "recommendations: false\n")
	h.start()
	h.set("normal")
	answers("normal", "recommendations: true\n")
}
