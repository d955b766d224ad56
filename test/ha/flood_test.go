package ha

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// flood is what one principal asks for from many places at once, and what came of it.
type flood struct {
	client *api.Client

	mu    sync.Mutex // guards what follows
	acked []engine.Event
	held  map[int]int // answers that were no, by status

	glass atomic.Int64 // times the glass was broken in this round
}

// heard notes what came of a request, and says what must not be.
func (f *flood) heard(t *testing.T, what string, out api.Outcome, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var refused *api.Error
	switch {
	case err == nil:
		for _, e := range out.Events {
			f.acked = append(f.acked, e.Event)
		}
	case errors.As(err, &refused):
		f.held[refused.Status()]++
		switch refused.Status() {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if refused.RetryAfter <= 0 {
				t.Errorf("%s: %v, and not when to come again", what, err)
			}
		case http.StatusConflict: // frozen already, or not
		default:
			t.Errorf("%s: %d %v", what, refused.Status(), err)
		}
	}
}

// run asks until ctx ends: freezes and readings as fast as they are answered, and now and then what must get through.
func (f *flood) run(ctx context.Context, t *testing.T) {
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				reason := fmt.Sprintf("flood %d, %d", n, i)
				ask := f.client.Freeze
				if i%2 == n%2 {
					ask = func(ctx context.Context, scope engine.Scope, reason string, _ time.Duration) (api.Outcome, error) {
						return f.client.Unfreeze(ctx, scope, reason)
					}
				}
				out, err := ask(ctx, "cart", reason, 0)
				f.heard(t, reason, out, err)
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				// A bound that no Retry-After fits into: nobody waits.
				call, cancel := context.WithTimeout(ctx, time.Second)
				_, err := f.client.Status(call)
				cancel()
				f.heard(t, "reading", api.Outcome{}, err)
			}
		})
	}
	all.Go(func() {
		every := time.NewTicker(200 * time.Millisecond)
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			out, err := f.client.Set(ctx, "shop", api.SetRequest{Mode: []engine.Mode{"degraded", "normal"}[i%2], Reason: "fire", DirectiveOnly: true, Force: true})
			var refused *api.Error
			if errors.As(err, &refused) && refused.Status() == http.StatusTooManyRequests {
				t.Errorf("break-glass is held back: %v", err)
			}
			if err == nil {
				f.glass.Add(1)
			}
			f.heard(t, "break-glass", out, err)
		}
	})
	all.Wait()
}

func TestWhatWasAcknowledgedInAFloodSurvivesAKillAndWhatIsUrgentGetsThrough(t *testing.T) {
	s := newSite(t, "http://127.0.0.1:1", newReceiver(t), "{interval: 1s, blind_after: 1m}", map[string]string{
		"cart.yaml": byHand, "shop.yaml": "version: modeshift/v1\nservice: shop\nmodes: [{name: normal}, {name: degraded}]\n",
	})
	token := secret.New("the token of whoever loops and is on call")
	write(t, filepath.Join(s.dir, "tokens.yaml"), "- {sha256: "+api.HashToken(token)+", principal: loop, roles: [operator, break-glass], scopes: ['*']}\n")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.config, string(text)+"tokens_file: tokens.yaml\nlimits: {reads: 20, writes: 40, urgent: 20, at_once: 4}\n")
	client, err := api.NewClient(s.url, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{client: client, held: map[int]int{}}
	for round := range 5 {
		p := s.start(t)
		s.ready(t)
		f.glass.Store(0)
		before := len(f.acked)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.run(ctx, t) })
		eventually(t, "what is urgent gets through a flood that is held back", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.glass.Load() >= 3 && len(f.acked) >= before+50 && f.held[http.StatusTooManyRequests] > 0
		})
		p.kill() // in the middle of it
		cancel()
		running.Wait()
		if t.Failed() {
			t.Fatalf("round %d:\n%s", round, tail(p.said()))
		}
	}
	byID := map[string]string{}
	for _, e := range s.events(t, "") {
		byID[id(e)] = encoded(t, e)
	}
	lost := 0
	for _, e := range f.acked {
		if byID[id(e)] != encoded(t, e) {
			lost++
			t.Errorf("acknowledged and not in the log: %s %s %s", id(e), e.Kind(), e.Reason.Text)
		}
	}
	t.Logf("%d events acknowledged, %d lost; refused: %v", len(f.acked), lost, f.held)
	if out, code := s.modeshift(t, "audit", "verify", s.data); code != 0 {
		t.Errorf("audit verify exits %d: %s", code, out)
	}
}
