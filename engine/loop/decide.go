package loop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// decide lets the core judge an input to one scope and stores what follows. When another writer was faster it reads the log
// and judges again, once.
func (l *Loop) decide(ctx context.Context, name engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	for range 2 {
		events, err := l.decideOnce(ctx, name, by, what)
		if !errors.Is(err, ErrConflict) {
			return events, err
		}
	}
	return nil, fmt.Errorf("%s: %w", name, ErrConflict)
}

func (l *Loop) decideOnce(ctx context.Context, name engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	sc := l.scopes[name]
	// The fleet's freeze holds here too: one that was stored, and whose answer was lost, may be in the log already.
	for _, stream := range []engine.Scope{engine.Fleet, name} {
		if l.scopes[stream].doubt {
			if err := l.readBack(ctx, stream); err != nil {
				return nil, err
			}
		}
	}
	now, behind, err := l.now(ctx, sc.state)
	if err != nil {
		return nil, err
	}
	if _, passed := what.(*engine.TimePassed); passed && behind {
		// The instants of evaluations go back with the clock and the time of events does not: what lies between them is no
		// time in which nobody evaluated, and no deadline runs meanwhile.
		what = &engine.TimePassed{}
	}
	p := sc.policy
	if p == nil {
		p = &engine.Policy{Digest: sc.state.Rules, Scope: name} // it is being retired
	}
	in := engine.Input{At: now, Term: l.Term(), By: by, What: what}
	fleet := l.scopes[engine.Fleet].state
	if fleet.Freeze != nil {
		in.Frozen = fleet.Freeze.Reason
	}
	if name != engine.Fleet {
		in.Deposed, in.Recovered = fleet.Deposed(), fleet.Term
		if l.opts.Instances != nil {
			in.Instances = l.opts.Instances(sc.state, now)
		}
	}
	events, err := guarded(*p, sc.state, in)
	if err != nil {
		// Its rules and its state do not fit, which a person has to look at. The others go on.
		if sc.policy != nil || !sc.broken { // the fleet's stream is asked on
			l.opts.Logger.Error("deciding went wrong: the scope holds its mode and is not evaluated any more", "scope", name, "error", err, "stack", stack(err))
		}
		sc.policy, sc.problem = nil, "deciding went wrong: "+err.Error()
		l.broke(name, err)
		l.show(name)
		return nil, err
	}
	if len(events) == 0 {
		return nil, nil
	}
	return events, l.store(ctx, name, events)
}

// brokenError is a panic of the core about one scope.
type brokenError struct {
	what  string
	stack []byte
}

func stack(err error) string {
	if b := (*brokenError)(nil); errors.As(err, &b) {
		return string(b.stack)
	}
	return ""
}

func (e *brokenError) Error() string { return e.what }

// guarded keeps a panic about one scope from taking the others along.
func guarded(p engine.Policy, s engine.State, in engine.Input) (events []engine.Event, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &brokenError{fmt.Sprint(r), debug.Stack()}
		}
	}()
	return engine.Decide(p, s, in), nil
}

// broke notes that a scope is not evaluated any more, and says so once.
func (l *Loop) broke(name engine.Scope, err error) {
	l.breaking(name, err.Error())
	if sc := l.scopes[name]; !sc.broken {
		sc.broken = true
		if l.opts.OnBroken != nil {
			l.opts.OnBroken(name, err)
		}
	}
}

// works ends that, now that the scope was evaluated or nobody wants it to be.
func (l *Loop) works(name engine.Scope) {
	sc := l.scopes[name]
	if !sc.broken {
		return
	}
	sc.broken = false
	l.breaking(name, "")
	l.opts.Logger.Info("the scope is evaluated again, or retired", "scope", name)
	if l.opts.OnBroken != nil {
		l.opts.OnBroken(name, nil)
	}
}

// breaking publishes why a scope is broken; empty when it is not. Whoever reads the map has it for good, hence the copy.
func (l *Loop) breaking(name engine.Scope, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	broken := maps.Clone(l.health.Broken)
	if broken == nil {
		broken = map[engine.Scope]string{}
	}
	if why == "" {
		delete(broken, name)
	} else {
		broken[name] = why
	}
	l.health.Broken = broken
}

// store appends the events, applies them and tells whoever waits for them.
func (l *Loop) store(ctx context.Context, name engine.Scope, events []engine.Event) error {
	sc := l.scopes[name]
	// The decision is made: a caller that gives up does not take it back half way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := l.log.Append(ctx, name, sc.state.Version, events)
	if err != nil {
		sc.doubt = true
		if errors.Is(err, ErrConflict) {
			return err
		}
		// Perhaps the events are there and only the answer was lost.
		want := sc.state.Version + engine.Version(len(events))
		if l.readBack(ctx, name) != nil || sc.state.Version < want {
			l.logFault(err)
			return fmt.Errorf("store events of %s: %w", name, err)
		}
	} else {
		for _, e := range events {
			sc.state = engine.Apply(sc.state, e)
		}
	}
	for _, e := range events {
		if lost, ok := e.Fact.(engine.TimeLost); ok {
			sc.prev = lost.To // what is lost is not lost again
		}
	}
	l.show(name)
	if l.opts.OnCommit != nil {
		l.opts.OnCommit(events)
	}
	return nil
}

// readBack replaces a state that may be behind or ahead by what the log says.
func (l *Loop) readBack(ctx context.Context, name engine.Scope) error {
	s, err := l.log.Load(ctx, name)
	if err != nil {
		return fmt.Errorf("read %s back: %w", name, err)
	}
	sc := l.scopes[name]
	sc.state, sc.doubt = s, false
	l.show(name)
	return nil
}

// logFault notes that the log cannot be written, and says so once.
func (l *Loop) logFault(err error) {
	first := l.fault == nil
	if first {
		l.fault = &fault{since: l.opts.Now().UTC(), err: err}
	}
	l.mu.Lock()
	l.health.LogFault = err.Error()
	l.mu.Unlock()
	if first {
		l.opts.Logger.Error("the log cannot be written: modes hold, nothing new is decided", "error", err)
		if l.opts.OnLogFault != nil {
			l.opts.OnLogFault(err)
		}
	}
}

// logWorks ends a fault, and records it now that it can be.
func (l *Loop) logWorks(ctx context.Context) {
	if l.fault == nil {
		return
	}
	f := l.fault
	if _, err := l.decide(ctx, engine.Fleet, engine.Actor{}, &engine.LogFaulted{From: f.since, Detail: f.err.Error()}); err != nil {
		return
	}
	l.fault = nil
	l.mu.Lock()
	l.health.LogFault = ""
	l.mu.Unlock()
	l.opts.Logger.Info("the log can be written again", "since", f.since)
	if l.opts.OnLogFault != nil {
		l.opts.OnLogFault(nil)
	}
}
