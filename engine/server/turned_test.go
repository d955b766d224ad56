package server

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

func TestWhoeverTurnsAutomationOnHearsWhatItWouldHaveDone(t *testing.T) {
	t.Parallel()
	dir, data, r := t.TempDir(), t.TempDir(), people(t)
	file := filepath.Join(dir, "shop.yaml")
	put(t, file, hesitant)
	put(t, filepath.Join(dir, "cart.yaml"), service("cart", "degraded"))
	cfg := testConfig(t, dir)
	cfg.Data, cfg.Receivers.Info = data, &Receiver{Chat: &Chat{URL: r.ChatURL()}}
	trusting := strings.Replace(hesitant, "automation: suggest", "automation: on", 1)
	const want = "shop: automation is on now; in the last 7 days it would have moved once: normal → degraded (shed) once (ready for "
	run := func(check func(s *Server)) {
		s, stop := serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		check(s)
	}
	told := func(s *Server) (n int) {
		events, err := s.store.Read(t.Context(), "shop", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if f, is := e.Fact.(engine.SuggestionsTold); is && f.Severity == engine.SeverityInfo && strings.Contains(f.Summary, "automation does not only suggest any more") {
				n++
			}
		}
		return n
	}
	run(func(s *Server) {
		within(t, "the suggestion", func() bool { v, _ := s.loop.View("shop"); return len(v.State.Withheld) == 1 })
		token, err := secret.Read(filepath.Join(data, AdminTokenFile))
		if err != nil {
			t.Fatal(err)
		}
		reload := func() string {
			return ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/-/reload", token.Reveal(), "").text
		}
		if said := reload(); said != "reloaded\n" {
			t.Errorf("a reload that turns nothing on says %q", said)
		}
		// The watch of the files may be faster than who asks: the answer is the same.
		put(t, file, trusting)
		var said string
		within(t, "the answer", func() bool { said = reload(); return said != "reloaded\n" })
		if !strings.HasPrefix(said, "reloaded\n"+want) || strings.Count(said, "\n") != 2 {
			t.Errorf("the reload says %q", said)
		}
		within(t, "the message", func() bool {
			for _, e := range r.Events() {
				if strings.Contains(e.Summary, "[info] shop: automation does not only suggest any more") && strings.Contains(e.Summary, "it would have moved once") {
					return true
				}
			}
			return false
		})
		if n := told(s); n != 1 {
			t.Errorf("it is in the log %d times", n)
		}
		put(t, file, hesitant)
		// The loop has them a moment before they are kept for the next start, which is to tell them from those that it finds.
		within(t, "it suggests again", func() bool {
			set, _ := s.book.current()
			return set.Service("shop").Policy.Automation == engine.AutomationSuggest
		})
	})
	// Turned on while the server was away.
	put(t, file, trusting)
	run(func(s *Server) { within(t, "what the start says", func() bool { return told(s) == 2 }) })
	run(func(s *Server) {
		if n := told(s); n != 2 || len(s.trusted) != 0 {
			t.Errorf("a start that turns nothing on: %v, told %d times", s.trusted, n)
		}
	})
}
