package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

// prepared is a server on a folder of rules that does not run yet.
func prepared(t *testing.T, dir string, change func(*Config)) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Rules = t.TempDir(), "127.0.0.1:0", []string{dir}
	cfg.Evaluation.Interval = model.Duration(time.Second)
	cfg.Prometheus = []Source{{Name: "main", URL: "http://127.0.0.1:1"}}
	change(&cfg)
	s, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A page that was taken and cannot be noted as taken is sent again after the next start: whoever stopped the server should
// hear of it.
func TestWhatGoesWrongAtTheStopIsReturned(t *testing.T) {
	dir, r := t.TempDir(), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), brief)
	r.Script(receiver.Pages, receiver.Fault{Kind: receiver.Hang})
	s := prepared(t, dir, func(cfg *Config) { paging(cfg, r) })
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	within(t, "an attempt to page", func() bool {
		return r.Scripted(receiver.Pages) == 0
	})
	if err := s.store.Close(); err != nil { // the disk goes away
		t.Fatal(err)
	}
	err := errors.Join(s.Stop(), <-ended)
	if err == nil || !strings.Contains(err.Error(), "notifications: runner: stopped with") {
		t.Errorf("Run returned %v", err)
	}
}

// A client may ask without end and never read; a stream has no end by its nature.
func TestAReaderThatDoesNotReadIsCutOffAndAStreamIsNot(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	s := prepared(t, dir, func(*Config) {})
	if s.http.WriteTimeout != answerTimeout {
		t.Fatalf("an answer may take %v", s.http.WriteTimeout)
	}
	s.http.WriteTimeout = 500 * time.Millisecond
	closed := make(chan string, 100)
	s.http.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- c.RemoteAddr().String()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), <-ended); err != nil {
			t.Error(err)
		}
	})
	token, err := secret.Read(filepath.Join(s.opts.Config.Data, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }() // the server's end ends it

	for _, path := range []string{"/metrics", "/api/v1/openapi.json"} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // the server has closed it
		go func() {
			for { // more answers than the buffers between the two hold
				if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
					return
				}
			}
		}()
		for limit := time.After(15 * time.Second); ; {
			select {
			case who := <-closed:
				if who != conn.LocalAddr().String() {
					continue
				}
			case <-limit:
				t.Fatalf("a client that does not read what it asks of %s holds its connection", path)
			}
			break
		}
	}

	// By now the stream is older than any answer may become.
	if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"},
		&engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stream.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		if strings.Contains(line, `"ChangeDone"`) {
			break
		}
	}
}

func TestTwoFilesOfOneServiceAreOneFault(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), service("shop", "degraded"))
	put(t, filepath.Join(dir, "cart.yaml"), service("cart", "degraded"))
	s := running(t, dir)
	token, err := secret.Read(filepath.Join(s.opts.Config.Data, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "b.yaml"), service("shop", "degraded"))
	if err := s.Reload(t.Context()); err == nil {
		t.Fatal("two files of one service are taken")
	}
	said := func(s *Server) string {
		return get(t, http.DefaultClient, s.URL()+"/api/v1/status", token.Reveal()).text
	}
	if n := strings.Count(said(s), "is declared by"); n != 1 {
		t.Errorf("status says it %d times: %s", n, said(s))
	}
	// A service that has no rules to stay on tells of nothing.
	put(t, filepath.Join(dir, "c.yaml"), service("till", "degraded"))
	put(t, filepath.Join(dir, "d.yaml"), service("till", "degraded"))
	if err := errors.Join(os.Remove(filepath.Join(dir, "b.yaml")), s.Reload(t.Context())); err == nil {
		t.Fatal("two files of one service are taken")
	}
	if n := strings.Count(said(s), "is declared by"); n != 1 {
		t.Errorf("status says it %d times: %s", n, said(s))
	}
	// Faults of their own stay two.
	put(t, filepath.Join(dir, "c.yaml"), service("till", "degraded")+"ownr: x\n")
	put(t, filepath.Join(dir, "d.yaml"), service("desk", "degraded")+"ownr: x\n")
	if err := s.Reload(t.Context()); err == nil {
		t.Fatal("files with faults are taken")
	}
	if n := strings.Count(said(s), "ownr: x"); n != 2 {
		t.Errorf("status says of two faults %d: %s", n, said(s))
	}
}

func TestAnAddressThatIsFreeAMomentLaterIsTaken(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tried := make(chan struct{})
	go func() {
		<-tried
		time.Sleep(100 * time.Millisecond) // a try or two that fail
		_ = held.Close()
	}()
	close(tried)
	l, err := listen(t.Context(), held.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if again, err := listen(ctx, l.Addr().String()); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address in use is taken: %v, %v", again, err)
	}
}
