package server

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/roster"
)

// Instances are the settings of running copies of services.
type Instances struct {
	// Heartbeat is how often server and instances let each other hear that they are there. After two of them in silence either
	// takes the other for gone.
	Heartbeat model.Duration `yaml:"heartbeat"`
	// Forget is how long an instance that fell silent counts, for it may still run.
	Forget model.Duration `yaml:"forget"`
	// Max is how many may be connected at once.
	Max int `yaml:"max"`
}

func (i Instances) validate() error {
	switch {
	case i.Heartbeat < 0 || i.Heartbeat > 0 && time.Duration(i.Heartbeat) < 100*time.Millisecond:
		return fmt.Errorf("instances: heartbeat: %s is too short: 100ms or longer, %s when left out", i.Heartbeat, api.DefaultInstanceBeat)
	case i.Forget < 0:
		return fmt.Errorf("instances: forget: %s is negative", i.Forget)
	case i.Max < 0:
		return fmt.Errorf("instances: max: %d is negative", i.Max)
	}
	return nil
}

// followers keeps the table of instances up with the log, beside the loop: which scopes have moved since it looked.
type followers struct {
	mu    sync.Mutex // guards moved
	moved map[engine.Scope]bool
	woken chan struct{}
}

func (f *followers) wake(scope engine.Scope) {
	if scope == engine.Fleet {
		return
	}
	f.mu.Lock()
	f.moved[scope] = true
	f.mu.Unlock()
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

func (f *followers) take() map[engine.Scope]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	moved := f.moved
	f.moved = map[engine.Scope]bool{}
	return moved
}

// openRoster reads the table of instances, and begins the term this server leads in.
func (s *Server) openRoster(ctx context.Context, fleet engine.State) (term uint64, err error) {
	least := uint64(1)
	if fleet.Term > 0 {
		least = fleet.Term + 1
	}
	if term, err = s.store.NextTerm(ctx, least); err != nil {
		return 0, err
	}
	s.followers = followers{moved: map[engine.Scope]bool{}, woken: make(chan struct{}, 1)}
	s.roster, err = roster.New(ctx, s.store, roster.Options{
		Forget: time.Duration(s.opts.Config.Instances.Forget), Logger: s.log,
		Term:   func() uint64 { return s.loop.Term() },
		OnNews: func(scope engine.Scope) { s.say(scope, &engine.InstancesReported{}) },
		OnAhead: func(_ engine.Scope, term uint64, detail string) {
			go s.say(engine.Fleet, &engine.TermHeard{Term: term, Detail: detail})
		},
	})
	s.metrics.roster = s.roster
	return term, err
}

// say hands the loop something nobody waits for an answer to. What it does not take now it sees at its next tick.
func (s *Server) say(scope engine.Scope, what engine.Happening) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.loop.Submit(ctx, scope, engine.Actor{}, what); err != nil {
		s.log.Debug("what instances have come to was not taken up", "scope", scope, "error", err)
	}
}

// follow lets the table of instances know of every scope, and then of those that move, until ctx ends.
func (s *Server) follow(ctx context.Context) error {
	for {
		select {
		case <-s.followers.woken:
			for scope := range s.followers.take() {
				if v, ok := s.loop.View(scope); ok {
					s.roster.Follow(ctx, v)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// introduce makes all scopes known before the first instance comes.
func (s *Server) introduce(ctx context.Context) {
	for _, v := range s.loop.Views() {
		s.roster.Follow(ctx, v)
	}
}

func (s *Server) instanceBeat() time.Duration {
	return cmp.Or(time.Duration(s.opts.Config.Instances.Heartbeat), api.DefaultInstanceBeat)
}
