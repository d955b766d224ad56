package rehearse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// Options say what is rehearsed.
type Options struct {
	Rules      loop.Rules
	Interval   time.Duration // between ticks; > 0
	BlindAfter time.Duration // of a source
	Start      time.Time     // of the time that is led through; the first tick is at the first multiple of Interval from there on
	Brake      engine.BrakeRule
	// Instances names the instances of scopes, by rank: a wave reaches the first of them. They take what they are told at once. nil:
	// there are none anywhere.
	Instances map[engine.Scope][]string
	// Outcome says what an attempt of a step comes to; nil: it is done at once.
	Outcome func(engine.StepJob) Outcome
	// Find finds the targets of a step; nil: they cannot be found.
	Find func(engine.StepJob) ([]string, error)
	// OnCommit is called with the events of each append, in the order of the log; nil: nobody listens.
	OnCommit func([]engine.Event)
	// OnTick is called after each tick; nil: nobody listens.
	OnTick func(loop.TickReport)
}

// Outcome is what an attempt comes to.
type Outcome struct {
	Outcome engine.Outcome // empty: engine.OutcomeDone
	Detail  string         // what the target says of it
	After   time.Duration  // it was owed: how long it takes, and what was waited for before it; 0: at the same instant
	Never   bool           // nobody hears of it
}

// Notice is what would have been sent to people.
type Notice struct {
	At time.Time
	engine.Notice
}

// Rehearsal is a time that is led through. It is for one goroutine.
type Rehearsal struct {
	opts    Options
	loop    *loop.Loop
	log     *memory
	next    time.Time // tick
	due     []due     // in the order in which they are told
	events  []engine.Event
	notices []Notice
	broken  error
}

// due is something that the loop is told at an instant.
type due struct {
	at    time.Time
	scope engine.Scope
	what  engine.Happening
}

// mostAtOnce bounds how many outcomes may follow from one another at one instant: a step that fails at once and is tried again at
// once has to end some time.
const mostAtOnce = 10_000

// New begins a rehearsal at Options.Start: the rules are in force, and no tick was made.
func New(ctx context.Context, opts Options) (*Rehearsal, error) {
	opts.Start = opts.Start.UTC()
	r := &Rehearsal{opts: opts, log: &memory{now: opts.Start, streams: map[engine.Scope][]engine.Event{}}}
	if r.next = opts.Start.Truncate(opts.Interval); r.next.Before(opts.Start) {
		r.next = r.next.Add(opts.Interval)
	}
	lo := loop.Options{
		Interval: opts.Interval, BlindAfter: opts.BlindAfter, Brake: opts.Brake, Checkpoint: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return r.log.now }, OnCommit: r.committed, OnTick: opts.OnTick,
		OnBroken: func(scope engine.Scope, err error) {
			if err != nil {
				r.broken = errors.Join(r.broken, fmt.Errorf("%s at %s: deciding went wrong: %w", scope, r.log.now.Format(time.RFC3339), err))
			}
		},
	}
	if opts.Instances != nil {
		lo.Instances, lo.Members = r.summary, r.members
	}
	r.loop = loop.New(r.log, lo)
	if err := r.loop.Start(ctx, opts.Rules); err != nil {
		return nil, err
	}
	return r, r.settle(ctx)
}

// Now is how far the rehearsal has come.
func (r *Rehearsal) Now() time.Time { return r.log.now }

// Until leads on to an instant: every tick and every outcome up to it, and those at it. An instant that has passed is no error, and
// nothing happens. It fails when ctx ends, and when a scope's rules and state do not fit, which a person has to look at.
func (r *Rehearsal) Until(ctx context.Context, to time.Time) error {
	to = to.UTC()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		tick := !r.next.After(to)
		if len(r.due) > 0 && r.due[0].at.Before(r.next) && !r.due[0].at.After(to) {
			r.log.now = r.due[0].at
		} else if tick {
			r.log.now = r.next
			r.next = r.next.Add(r.opts.Interval)
			r.loop.TickAt(ctx, r.log.now)
		} else {
			break
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	if to.After(r.log.now) {
		r.log.now = to
	}
	return nil
}

// Do carries out a request now, and what follows from it at once. The error is the loop's: of a request that the core refuses it is a
// *loop.Error, and the events say so too.
func (r *Rehearsal) Do(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	events, err := r.loop.Do(ctx, scope, by, what)
	return events, errors.Join(err, r.settle(ctx))
}

// View is a scope as it is now; engine.Fleet too.
func (r *Rehearsal) View(scope engine.Scope) (engine.View, bool) { return r.loop.View(scope) }

// Views are all scopes, by name.
func (r *Rehearsal) Views() []engine.View { return r.loop.Views() }

// Events are all events so far, in the order of the log. They are not to be changed.
func (r *Rehearsal) Events() []engine.Event { return r.events }

// Notices are what people would have been sent so far, in order. They are not to be changed.
func (r *Rehearsal) Notices() []Notice { return r.notices }

// settle tells the loop what is due by now, until nothing more follows at this instant.
func (r *Rehearsal) settle(ctx context.Context) error {
	for n := 0; len(r.due) > 0 && !r.due[0].at.After(r.log.now) && r.broken == nil; n++ {
		d := r.due[0]
		r.due = r.due[1:]
		if n == mostAtOnce {
			return fmt.Errorf("%s at %s: %d outcomes follow from one another and take no time", d.scope, r.log.now.Format(time.RFC3339), n)
		}
		if _, err := r.loop.Do(ctx, d.scope, engine.Actor{}, d.what); err != nil && r.broken == nil {
			return fmt.Errorf("%s at %s: %w", d.scope, r.log.now.Format(time.RFC3339), err)
		}
	}
	return r.broken
}

// committed takes what the world is owed because of events. It is called in the middle of a decision: what follows waits for its turn.
func (r *Rehearsal) committed(events []engine.Event) {
	r.events = append(r.events, events...)
	news := false
	for _, e := range events {
		for _, effect := range engine.Effects(e) {
			if effect.Notice != nil {
				r.notices = append(r.notices, Notice{At: e.At, Notice: *effect.Notice})
			}
			if effect.Step != nil {
				r.attempt(e, *effect.Step)
			}
		}
		switch e.Fact.(type) {
		case engine.DirectivePublished, engine.WavePublished:
			news = true
		}
	}
	if news && len(r.opts.Instances[events[0].Stream]) > 0 {
		r.tell(due{events[0].At, events[0].Stream, &engine.InstancesReported{}})
	}
	if r.opts.OnCommit != nil {
		r.opts.OnCommit(events)
	}
}

// attempt carries out what a step owes, as far as the caller says what it comes to.
func (r *Rehearsal) attempt(e engine.Event, job engine.StepJob) {
	if job.Find {
		r.tell(due{e.At, job.Scope, r.found(job)})
		return
	}
	o := Outcome{}
	if r.opts.Outcome != nil {
		o = r.opts.Outcome(job)
	}
	if o.Never {
		return
	}
	r.tell(due{e.At.Add(o.After), job.Scope, &engine.StepReported{
		Change: job.Change, Step: job.Step.Name, Undo: job.Undo, Attempt: job.Attempt, Outcome: cmp.Or(o.Outcome, engine.OutcomeDone), Detail: o.Detail,
	}})
}

// found is what a step's selector finds.
func (r *Rehearsal) found(job engine.StepJob) *engine.TargetsReported {
	found := &engine.TargetsReported{Change: job.Change, Step: job.Step.Name, Attempt: job.Attempt}
	if r.opts.Find == nil {
		found.Problem = "nobody says what it finds"
		return found
	}
	names, err := r.opts.Find(job)
	if err != nil {
		found.Problem = err.Error()
		return found
	}
	found.Names = slices.Compact(slices.Sorted(slices.Values(names)))
	found.Count = len(found.Names)
	return found
}

// tell puts something among what is due, behind what was owed before it and is due at the same instant.
func (r *Rehearsal) tell(d due) {
	i := len(r.due)
	for i > 0 && r.due[i-1].at.After(d.at) {
		i--
	}
	r.due = slices.Insert(r.due, i, d)
}

// summary says that all instances have what they are told. Nothing is said of a directive that is not stored yet: those who decide
// see the one before.
func (r *Rehearsal) summary(s engine.State, _ time.Time) engine.Instances {
	n := len(r.opts.Instances[s.Scope])
	if n == 0 {
		return engine.Instances{}
	}
	in := engine.Instances{Known: n, Revision: s.Directive.Revision, Told: n, Applied: n}
	if c := s.Change; c != nil {
		in.Wave = c.Wave
		if c.Before != nil { // those in no wave yet are told the one before
			in.Told = min(n, c.Waved)
			in.Applied = in.Told
		}
	}
	return in
}

// members names those who are told the newest directive while a change goes by waves; nil when none does.
func (r *Rehearsal) members(scope engine.Scope) []string {
	v, _ := r.loop.View(scope)
	c := v.State.Change
	if c == nil || c.Wave == 0 || c.Rolled {
		return nil
	}
	names := r.opts.Instances[scope]
	return slices.Sorted(slices.Values(names[:min(len(names), c.Waved)]))
}
