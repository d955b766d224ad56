package loop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
)

// errOutdated says that what was observed was asked in a mode that is left by now, which only reading the log back has shown: what
// matters in the mode in force was not asked, and dwell() was that of the other one.
var errOutdated = errors.New("the mode was left since it was asked")

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
	if _, is := what.(*engine.Observed); is && sc.state.EnteredBy != sc.asked {
		return nil, errOutdated
	}
	now, behind, err := l.now(ctx, sc.state)
	if err != nil {
		return nil, err
	}
	if behind {
		// The instants of evaluations go back with the clock and the time of events does not: what lies between them is no
		// time in which nobody evaluated, and no deadline runs meanwhile.
		switch what.(type) {
		case *engine.TimePassed:
			what = &engine.TimePassed{}
		case *engine.AncestorMoved:
			what = &engine.AncestorMoved{}
		}
	}
	what = l.withMissed(name, what, now)
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
		in.Brake, in.Above, in.Checkpoint = fleet.Brake(l.fleet, name, now), engine.Ancestry(p, l.find), l.witness
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
	appends := []engine.Append{{Stream: name, After: sc.state.Version, Events: events}}
	if permit := engine.PermitOf(*p, in, events); permit != nil {
		taken, err := l.permit(permit, in)
		if err != nil {
			return nil, err
		}
		appends = append([]engine.Append{taken}, appends...)
	}
	return events, l.store(ctx, appends...)
}

// permit is what the fleet's stream holds of a scope that moves by itself. It is stored together with the move, so that of any
// number that ask at once no more move than may.
func (l *Loop) permit(what *engine.PermitRequested, in engine.Input) (engine.Append, error) {
	fleet := l.scopes[engine.Fleet]
	at := in.At
	if at.Before(fleet.state.At) {
		at = fleet.state.At
	}
	events, err := guarded(*l.fleet, fleet.state, engine.Input{At: at, Term: in.Term, What: what})
	if err != nil {
		return engine.Append{}, fmt.Errorf("permit for %s: %w", what.Scope, err)
	}
	return engine.Append{Stream: engine.Fleet, After: fleet.state.Version, Events: events}, nil
}

// find is a scope as those below it see it.
func (l *Loop) find(name engine.Scope) (engine.State, *engine.Policy) {
	sc := l.scopes[name]
	if sc == nil {
		return engine.State{}, nil
	}
	return sc.state, sc.policy
}

// follow tells the scopes below those that moved, and those below them, at once: a product that is contained is not half contained
// until the next tick.
func (l *Loop) follow(ctx context.Context) {
	told := map[engine.Scope]bool{}
	for len(l.moved) > 0 {
		above := l.moved
		l.moved = nil
		for _, name := range l.sorted() {
			sc := l.scopes[name]
			if sc.policy == nil || sc.policy.Parent == "" || told[name] || !slices.Contains(above, sc.policy.Parent) {
				continue
			}
			told[name] = true
			// What is asked from further above comes through here also where this scope's own mode stays.
			l.moved = append(l.moved, name)
			if _, err := l.decide(ctx, name, engine.Actor{}, &engine.AncestorMoved{Prev: sc.prev}); err != nil && l.fault == nil && stack(err) == "" {
				l.opts.Logger.Error("a scope does not hear of the one above it; it will at the next tick", "scope", name, "error", err)
			}
		}
	}
}

// withMissed adds to an input that ends a gap the windows of schedules that passed in it.
func (l *Loop) withMissed(name engine.Scope, what engine.Happening, now time.Time) engine.Happening {
	long := func(from, to time.Time) bool {
		return l.rules.Missed != nil && !from.IsZero() && to.Sub(from) > 2*l.opts.Interval
	}
	switch w := what.(type) {
	case *engine.Observed:
		if long(w.Prev, w.Instant) {
			o := *w
			o.Missed = l.rules.Missed(name, w.Prev, w.Instant)
			return &o
		}
	case *engine.TimePassed:
		if long(w.Prev, now) {
			return &engine.TimePassed{Prev: w.Prev, Missed: l.rules.Missed(name, w.Prev, now)}
		}
	case *engine.AncestorMoved:
		if long(w.Prev, now) {
			return &engine.AncestorMoved{Prev: w.Prev, Missed: l.rules.Missed(name, w.Prev, now)}
		}
	}
	return what
}

// stack is that of a panic; empty where err is none.
func stack(err error) string {
	if c := (*crash.Error)(nil); errors.As(err, &c) {
		return string(c.Stack)
	}
	return ""
}

// guarded keeps a panic about one scope from taking the others along.
func guarded(p engine.Policy, s engine.State, in engine.Input) (events []engine.Event, err error) {
	err = crash.Try(func() error {
		events = engine.Decide(p, s, in)
		return nil
	})
	return events, err
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

// store appends events, applies them and tells whoever waits for them.
func (l *Loop) store(ctx context.Context, appends ...engine.Append) error {
	// The decision is made: a caller that gives up does not take it back half way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	before := make([]engine.State, len(appends))
	for i, a := range appends {
		before[i] = l.scopes[a.Stream].state
	}
	err := l.log.Append(ctx, appends...)
	if err != nil {
		for _, a := range appends {
			l.scopes[a.Stream].doubt = true
		}
		if errors.Is(err, ErrConflict) {
			return err
		}
		// Perhaps the events are there and only the answer was lost.
		for _, a := range appends {
			if l.readBack(ctx, a.Stream) != nil || l.scopes[a.Stream].state.Version < a.After+engine.Version(len(a.Events)) {
				l.logFault(err)
				return fmt.Errorf("store events of %s: %w", a.Stream, err)
			}
		}
	}
	for i, a := range appends {
		sc := l.scopes[a.Stream]
		for _, e := range a.Events {
			if err == nil {
				sc.state = engine.Apply(sc.state, e)
			}
			if lost, ok := e.Fact.(engine.TimeLost); ok {
				sc.prev = lost.To // what is lost is not lost again
			}
		}
		if sc.state.Target != before[i].Target || sc.state.Mode != before[i].Mode || sc.state.Retired != before[i].Retired {
			l.moved = append(l.moved, a.Stream)
		}
		l.show(a.Stream)
		if l.opts.OnCommit != nil {
			l.opts.OnCommit(a.Events)
		}
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
