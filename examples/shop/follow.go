package shop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// flagRecommendations is the flag that the shop reads.
const flagRecommendations = "recommendations"

// follower is what the instance takes its mode from: an agent, once there is a modeshift to follow. It is a source of package
// modehttp, modelog and modemetrics before that too.
type follower struct {
	agent atomic.Pointer[agent.Agent] // nil: nobody to follow
	none  agent.State                 // what is in force until then: no mode
	ended sync.WaitGroup

	refusing atomic.Bool

	mu    sync.Mutex // guards taken
	taken []Taken
}

// Taken is a mode that the instance took.
type Taken struct {
	Mode string
	At   time.Time
}

// modes are those that the shop knows how to run in.
var modes = []engine.Mode{"normal", "degraded", "failover", "maintenance", "contained"}

// Follow makes the instance follow its scope at a modeshift, with a token that speaks for it. It is called once at most, and not
// after Stop.
func (s *Shop) Follow(modeshift string, token secret.Secret) error {
	o := agent.Options{
		Server: modeshift, Token: token, Scope: s.follower.none.Scope, Instance: s.name, Version: s.version, Modes: modes,
		// What an instance refuses on request it tries again soon: whoever watches waits for that.
		Retry:  agent.Backoff{Base: 250 * time.Millisecond, Cap: time.Second},
		Logger: s.log,
	}
	if s.stateDir != "" {
		o.StateDir = filepath.Join(s.stateDir, s.name)
	}
	a, err := agent.New(o)
	if err != nil {
		return fmt.Errorf("follow the mode: %w", err)
	}
	if !s.follower.agent.CompareAndSwap(nil, a) {
		return errors.New("follow the mode: the instance follows one already")
	}
	a.OnChange(s.take)
	s.follower.ended.Go(func() {
		if err := a.Run(context.Background()); err != nil { // Stop closes it
			s.log.Error("the mode is not followed any more", "err", err)
		}
	})
	return nil
}

// take is called by the agent with what is to come into force. The shop reads the flag with every page and has nothing to
// prepare; a shop that changes the size of a pool would do it here.
func (s *Shop) take(_ context.Context, _, now *agent.State) error {
	if s.follower.refusing.Load() {
		return fmt.Errorf("%s was asked to refuse every mode", s.name)
	}
	f := &s.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.taken); n == 0 || f.taken[n-1].Mode != string(now.Mode) {
		f.taken = append(f.taken, Taken{string(now.Mode), time.Now()})
	}
	return nil
}

// Mode is the mode the instance took last; empty while it has none.
func (s *Shop) Mode() string { return string(s.follower.Current().Mode) }

// Taken are the modes that the instance took, in order.
func (s *Shop) Taken() []Taken {
	s.follower.mu.Lock()
	defer s.follower.mu.Unlock()
	return slices.Clone(s.follower.taken)
}

// Refuse makes the instance refuse every mode from now on, as one does that cannot do what the mode asks for.
func (s *Shop) Refuse() { s.follower.refusing.Store(true) }

// GiveIn ends that; the instance takes what it refused within a second.
func (s *Shop) GiveIn() { s.follower.refusing.Store(false) }

// obey serves Refuse and GiveIn.
func (s *Shop) obey(mux *http.ServeMux) {
	mux.HandleFunc("POST /refuse", func(w http.ResponseWriter, _ *http.Request) {
		s.Refuse()
		_, _ = fmt.Fprintf(w, "%s refuses every mode from now on\n", s.name) // the caller may be gone
	})
	mux.HandleFunc("POST /give-in", func(w http.ResponseWriter, _ *http.Request) {
		s.GiveIn()
		_, _ = fmt.Fprintf(w, "%s takes modes again\n", s.name) // the caller may be gone
	})
}

// close ends following and waits for it.
func (f *follower) close() {
	if a := f.agent.Load(); a != nil {
		a.Close()
		f.ended.Wait()
	}
}

// Current is what is in force.
func (f *follower) Current() *agent.State {
	if a := f.agent.Load(); a != nil {
		return a.Current()
	}
	return &f.none
}

// Status is how following fares.
func (f *follower) Status() agent.Status {
	if a := f.agent.Load(); a != nil {
		return a.Status()
	}
	return agent.Status{}
}

// Modes are those that the shop knows.
func (f *follower) Modes() []engine.Mode { return modes }
