package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// answered is an answer with what it answers.
type answered struct {
	Answer
	tick   Tick
	gen    int
	began  time.Time
	missed int
}

// ask begins the evaluation of a tick. The answer arrives on answers.
func (l *Loop) ask(ctx context.Context, instant time.Time, missed int, answers chan<- answered) {
	a, evaluate := l.question(ctx, instant, missed), l.rules.Evaluate
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	go func() {
		defer cancel()
		a.Answer = evaluate(ctx, a.tick)
		answers <- a
	}()
}

// question is a tick without its answer.
func (l *Loop) question(ctx context.Context, instant time.Time, missed int) answered {
	a := answered{gen: l.gen, began: time.Now(), missed: missed}
	a.tick = Tick{Instant: instant, Modes: map[engine.Scope]engine.Mode{}, Questions: make([]engine.Question, 0, len(l.scopes))}
	for _, name := range l.sorted() {
		sc := l.scopes[name]
		if sc.doubt {
			_ = l.readBack(ctx, name) // else the questions are of a mode that may be left; deciding finds out that it failed
		}
		if !sc.state.Retired && sc.state.Mode != "" {
			a.tick.Modes[name] = sc.state.Mode
		}
		if sc.policy == nil || name == engine.Fleet {
			continue
		}
		sc.asked = sc.state.EnteredBy
		q := engine.Question{Scope: name, Dwell: sc.state.Dwell(instant), Conditions: due(sc.policy, sc.state, instant, sc.prev)}
		if l.opts.Instances != nil {
			if in := l.opts.Instances(sc.state, l.opts.Now().UTC()); in.Known > 0 {
				q.Known, q.Divergence = in.Known, float64(in.Behind)/float64(in.Known)
			}
		}
		if l.opts.Members != nil && sc.state.Change != nil {
			q.Instances = l.opts.Members(name)
		}
		a.tick.Questions = append(a.tick.Questions, q)
	}
	return a
}

// due lists the conditions that are asked at an instant: those that can matter in this state, each as often as it wants. One
// with a cadence is asked when a multiple of it has passed since the evaluation before, so that a missed tick only delays it.
func due(p *engine.Policy, s engine.State, instant, prev time.Time) []int {
	var list []int
	for i := range p.Conditions {
		every := p.Conditions[i].Every
		if every > 0 && instant.Truncate(every).Equal(prev.Truncate(every)) || !p.Relevant(s, i) {
			continue
		}
		list = append(list, i)
	}
	return list
}

// judge decides on an answer, scope by scope, and marks the instant when all of it is stored.
func (l *Loop) judge(ctx context.Context, a answered) {
	report := TickReport{Instant: a.tick.Instant, Missed: a.missed, Sources: a.Sources}
	if ctx.Err() != nil {
		return // the evaluation was cut short by the end: it says nothing
	}
	stored := a.gen == l.gen // an answer under older rules is not judged, and its instant was not evaluated
	if stored {
		fleet := l.scopes[engine.Fleet]
		_, err := l.decide(ctx, engine.Fleet, engine.Actor{}, &engine.SourcesObserved{Instant: a.tick.Instant, Prev: fleet.prev, Sources: a.Sources})
		if stored = err == nil; stored {
			fleet.prev = a.tick.Instant
			if fleet.policy != nil {
				l.works(engine.Fleet)
			}
		}
	}
	for _, q := range a.tick.Questions {
		sc := l.scopes[q.Scope]
		seen, answered := a.Observations[q.Scope]
		if a.gen != l.gen || !answered || sc.state.EnteredBy != sc.asked {
			report.Dropped++
			continue
		}
		o := &engine.Observed{Instant: a.tick.Instant, Prev: sc.prev, Conditions: seen, SourceBlind: a.SourceBlind[q.Scope]}
		sc.seen = o // what is seen is shown, also when nothing can be stored of it
		switch _, err := l.decide(ctx, q.Scope, engine.Actor{}, o); {
		case errors.Is(err, errOutdated):
			report.Dropped++
			sc.seen = nil // it says nothing of the mode that is in force
			l.show(q.Scope)
			continue
		case err != nil:
			stored = false
			l.show(q.Scope)
			// That the log cannot be written was said once, and a scope that is broken too.
			if l.fault == nil && stack(err) == "" {
				l.opts.Logger.Error("an observation could not be judged", "scope", q.Scope, "error", err)
			}
			continue
		}
		sc.prev = a.tick.Instant // also when the clock was set back: time is counted on from here
		l.works(q.Scope)
		l.show(q.Scope)
	}
	l.follow(ctx)
	if stored {
		l.mark(ctx, a.tick.Instant)
	}
	l.checkpoint(ctx)
	l.snapshot(ctx, 256)
	report.Took = time.Since(a.began)
	l.mu.Lock()
	l.health.Tick, l.health.Sources = a.tick.Instant, a.Sources
	l.mu.Unlock()
	if l.opts.OnTick != nil {
		l.opts.OnTick(report)
	}
}

// mark keeps the instant. It is written at every tick, so it is also how a full disk is noticed before it matters.
func (l *Loop) mark(ctx context.Context, instant time.Time) {
	if !instant.Equal(l.tick) {
		if err := l.log.Mark(context.WithoutCancel(ctx), instant); err != nil {
			l.logFault(err)
			return
		}
		l.tick = instant
	}
	l.logWorks(ctx)
}

// checkpoint writes the heads of the streams that moved into the fleet's stream, once in a while.
func (l *Loop) checkpoint(ctx context.Context) {
	if l.opts.Checkpoint < 0 || time.Since(l.checked) < l.opts.Checkpoint || l.fault != nil {
		return
	}
	heads, err := l.log.Heads(ctx)
	if err != nil {
		l.opts.Logger.Error("no checkpoint: the heads of the streams cannot be read", "error", err)
		return
	}
	moved := slices.DeleteFunc(heads, func(h engine.Head) bool {
		return h.Stream == engine.Fleet || l.heads[h.Stream] == h.Version
	})
	if _, err := l.decide(ctx, engine.Fleet, engine.Actor{}, &engine.HeadsObserved{Heads: moved}); err != nil {
		l.opts.Logger.Error("no checkpoint", "error", err)
		return
	}
	for _, h := range moved {
		l.heads[h.Stream] = h.Version
	}
	l.checked = time.Now()
	l.bearWitness(ctx)
}

// bearWitness notes the latest checkpoint with its hash: a page that carries it stands outside of the log, and whoever rewrites the log
// would have to rewrite everybody's pages. Where the hash cannot be had the name has to do.
func (l *Loop) bearWitness(ctx context.Context) {
	fleet := l.scopes[engine.Fleet].state
	if fleet.Checkpoint == 0 {
		return
	}
	l.witness = fmt.Sprintf("%s-%d", engine.Fleet, fleet.Checkpoint)
	heads, err := l.log.Heads(ctx)
	if err != nil {
		return
	}
	for _, h := range heads {
		if h.Stream == engine.Fleet && h.Version == fleet.Checkpoint {
			l.witness += ":" + h.Hash
		}
	}
}

// snapshot keeps the states that are at least so many events ahead of their last snapshot. It is a cache: failing costs
// only the time of the next start.
func (l *Loop) snapshot(ctx context.Context, ahead engine.Version) {
	var states []engine.State
	for _, sc := range l.scopes {
		if sc.state.Version >= sc.saved+ahead && !sc.doubt {
			states = append(states, sc.state)
		}
	}
	if len(states) == 0 {
		return
	}
	if err := l.log.Snapshot(ctx, states...); err != nil {
		l.opts.Logger.Warn("no snapshot", "error", err)
		return
	}
	for _, s := range states {
		l.scopes[s.Scope].saved = s.Version
	}
}
