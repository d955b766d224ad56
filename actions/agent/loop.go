package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

const (
	// savePatience is how long a directive waits to be on disk before it is applied all the same: a disk that hangs must not
	// hold a mode back.
	savePatience = time.Second
	// stopPatience is how long Run waits for a callback that does not heed its context.
	stopPatience = 10 * time.Second
	// maxError is the length of an error in a report, in bytes.
	maxError = 500
)

// loop owns what the agent knows. All its methods are called on the goroutine of Run, and none of them waits for anything:
// the disk and the callbacks have goroutines of their own, one at a time each, whose ends come back as cases of the select.
type loop struct {
	*Agent
	ctx context.Context
	rec record

	starting  *engine.Told // rec.Good, while a start has not tried it
	confirmed bool         // a server said in this process that rec.Told is its newest
	coldDue   bool         // the server had its time to answer
	lost      bool         // the lease is over
	life      time.Time    // the last sign of life of a server that leads; monotonic, but for what is left of a lease at the start

	attempt *attempt       // under way; nil: none
	failure *failure       // of the last attempt; nil: it succeeded, or there is something newer to attempt
	outcome engine.Outcome // of rec.Told; empty: not known yet
	reason  string         // of OutcomeFailed

	writing bool      // the disk is being written
	pressed bool      // and has taken longer than savePatience
	dirty   bool      // rec has changed since that write began, or it failed
	misses  int       // writes that failed in a row
	onDisk  time.Time // rec.Heard of the last write

	ends                             chan error // of the attempt
	writes                           chan error // ends of writes
	lease, cold, overdue             *time.Timer
	retryApply, retryWrite, pressing *time.Timer
}

// attempt is the callbacks being called for a state.
type attempt struct {
	want *State
	late bool // it did not end in time, and that has been reported
}

// failure is an attempt that failed.
type failure struct {
	want  *State
	tries int
	due   bool // to be tried again
}

func newLoop(a *Agent) *loop {
	l := &loop{Agent: a, ends: make(chan error, 1), writes: make(chan error, 1)}
	l.rec = a.recall()
	now := time.Now()
	l.life, l.onDisk = now, l.rec.Heard
	if t := l.rec.Told; t != nil {
		if g := l.rec.Good; g != nil && knows(l.opts.Modes, g.Mode) {
			l.starting = g
		}
		if lease := leaseOf(t); lease > 0 {
			// By the wall clock, which may have jumped either way: at least nothing is left of the lease, at most all of it.
			l.life = now.Add(-min(max(now.Sub(l.rec.Heard), 0), lease))
		}
	}
	l.introduce()
	return l
}

// leaseOf is how long a directive stays good; 0: for ever. It is bounded, so that adding it to a time cannot wrap.
func leaseOf(t *engine.Told) time.Duration {
	const most = 365 * 24 * time.Hour
	if t == nil || t.LeaseMS <= 0 {
		return 0
	}
	return time.Duration(min(t.LeaseMS, most.Milliseconds())) * time.Millisecond
}

// idle makes a timer that is not running.
func idle() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func (l *loop) run(ctx context.Context) error {
	l.ctx = ctx
	for _, t := range []**time.Timer{&l.lease, &l.cold, &l.overdue, &l.retryApply, &l.retryWrite, &l.pressing} {
		*t = idle()
		defer (*t).Stop()
	}
	l.cold.Reset(l.opts.StartWait)
	l.recognise()
	l.watchLease()
	l.aim()
	for {
		select {
		case <-ctx.Done():
			return l.end()
		case f := <-l.calls:
			f()
		case err := <-l.ends:
			l.attempted(err)
		case err := <-l.writes:
			l.wrote(err)
		case <-l.lease.C:
			l.watchLease()
		case <-l.cold.C:
			l.coldDue = true
			l.aim()
		case <-l.overdue.C:
			l.takesLong()
		case <-l.retryApply.C:
			if l.failure != nil {
				l.failure.due = true
			}
			l.aim()
		case <-l.retryWrite.C:
			l.save()
		case <-l.pressing.C:
			l.pressed = true
			l.aim()
		}
	}
}

// end waits for what is under way, and leaves on disk when the server was last heard.
func (l *loop) end() error {
	var err error
	if l.attempt != nil {
		select {
		case failed := <-l.ends:
			l.log.Debug("the agent ended while a mode was being applied", "mode", l.attempt.want.Mode, "error", failed)
		case <-time.After(stopPatience):
			err = errors.New("a callback does not return, though its context has ended")
		}
	}
	if l.writing {
		if failed := <-l.writes; failed != nil {
			l.dirty = true // once more
		}
	}
	if l.opts.StateDir != "" && (l.dirty || !l.rec.Heard.Equal(l.onDisk)) {
		if failed := l.keep(l.rec); failed != nil {
			l.log.Error("the last directive could not be written to disk", "error", failed)
		}
	}
	return err
}

// introduce keeps what the next hello says in step with what is known.
func (l *loop) introduce() {
	h := engine.Hello{Instance: l.opts.Instance, Session: l.session, Version: l.opts.Version, Term: l.rec.Term}
	if t := l.rec.Told; t != nil {
		h.Has = t.Position()
	}
	l.hello.Store(&h)
	l.note(func(s *Status) { s.Term, s.Newest = h.Term, h.Has })
}

// staleError says that a server does not lead.
type staleError struct{ term, highest uint64 }

func (e *staleError) Error() string {
	return fmt.Sprintf("the server leads in term %d, and term %d has been heard of: it is an old leader, or was restored from a backup", e.term, e.highest)
}

// welcome judges a server by the term it leads in.
func (l *loop) welcome(w engine.Welcome) error {
	if w.Term < l.rec.Term {
		l.refuse(func(r *Refused) { r.Term++ })
		return &staleError{w.Term, l.rec.Term}
	}
	l.note(func(s *Status) { s.Server = w.Server })
	l.lead(w.Term)
	l.alive()
	return nil
}

// lead remembers the highest term.
func (l *loop) lead(term uint64) {
	if term > l.rec.Term {
		l.rec.Term = term
		l.introduce()
		l.save()
	}
}

// tell judges a directive, and takes it or refuses it. One that is in hand already is reported again when the way it came by
// calls for that: a stream does, an exchange carries the report with it.
func (l *loop) tell(t *engine.Told, again bool) {
	l.alive()
	have := l.rec.Told
	if t.Scope != l.opts.Scope {
		l.refuse(func(r *Refused) { r.Scope++ })
		l.log.Error("a directive for another scope was refused", "for", t.Scope, "term", t.Term, "revision", t.Revision)
		return
	}
	if have != nil {
		switch c := t.Position().Compare(have.Position()); {
		case c < 0:
			l.refuse(func(r *Refused) { r.Older++ })
			l.log.Warn("an older directive was refused", "term", t.Term, "revision", t.Revision, "have_term", have.Term, "have_revision", have.Revision)
			return
		case c == 0 && !alike(t, have):
			l.refuse(func(r *Refused) { r.Conflict++ })
			l.log.Error("a directive was refused that says something else than the one of the same term and revision: the server has another history",
				"term", t.Term, "revision", t.Revision, "mode", t.Mode, "have_mode", have.Mode)
			return
		case c == 0:
			if t.LeaseMS != have.LeaseMS || !bytes.Equal(canonical(t.OnLoss), canonical(have.OnLoss)) {
				l.rec.Told = t // what the rules say of its lease may have changed without a new revision
				l.save()
			}
			l.confirm()
			l.say(again)
			return
		}
	}
	// What was applied stays on disk beside the new one, until that is applied too.
	if l.rec.Applied {
		l.rec.Good = have
	}
	l.rec.Told, l.rec.Applied = t, false
	l.lead(t.Term)
	l.introduce()
	l.failure, l.outcome, l.reason = nil, "", ""
	l.retryApply.Stop()
	l.log.Info("a directive came", "mode", t.Mode, "term", t.Term, "revision", t.Revision, "change", t.Change)
	l.recognise()
	l.save()
	l.confirm() // which applies it
}

// recognise settles the newest directive when its mode is not one that the program knows.
func (l *loop) recognise() {
	if t := l.rec.Told; t != nil && !knows(l.opts.Modes, t.Mode) {
		l.log.Error("the program does not know the mode it is told; it keeps the one it has", "mode", t.Mode, "known", l.opts.Modes)
		l.settle(engine.OutcomeFailed, fmt.Sprintf("the program does not know the mode %q", t.Mode))
	}
}

// alike reports whether two directives of one position say the same.
func alike(t, o *engine.Told) bool {
	return bytes.Equal(canonical(t.Directive), canonical(o.Directive))
}

// canonical is v as JSON, with the keys of maps in order.
func canonical(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("what was read as JSON does not encode: %v", err))
	}
	return data
}

// confirm notes that the server's newest directive is the one in hand.
func (l *loop) confirm() {
	l.confirmed, l.starting = true, nil
	l.found()
	l.watchLease()
	l.aim()
}

// beat notes a sign of life that says nothing new. After a welcome the directive comes before any beat.
func (l *loop) beat() {
	l.alive()
	if l.lost {
		l.found()
		l.watchLease()
		l.aim()
	}
}

// found ends the state of having lost the server.
func (l *loop) found() {
	if l.lost {
		l.lost = false
		l.note(func(s *Status) { s.Lost = false })
		l.log.Info("the server is back, and its directive counts again")
	}
}

func (l *loop) refuse(count func(*Refused)) {
	l.note(func(s *Status) { count(&s.Refused) })
	l.say(false)
}

// alive begins the lease anew.
func (l *loop) alive() {
	l.life = time.Now()
	// Without the monotonic clock, which means nothing after a restart.
	l.rec.Heard = l.life.UTC().Round(0)
	l.note(func(s *Status) { s.Heard = l.rec.Heard })
	if lease := leaseOf(l.rec.Told); lease > 0 && l.rec.Heard.Sub(l.onDisk).Abs() >= lease/4 {
		l.save()
	}
}

// watchLease looks whether the lease is over, and comes back when it may be.
func (l *loop) watchLease() {
	lease := leaseOf(l.rec.Told)
	if lease == 0 || l.lost {
		l.lease.Stop()
		return
	}
	if left := lease - time.Since(l.life); left > 0 {
		l.lease.Reset(left)
		return
	}
	l.lost = true
	l.note(func(s *Status) { s.Lost = true })
	switch f := l.rec.Told.OnLoss; {
	case f == nil:
		l.log.Warn("the server was not heard for the time of the lease; the mode is held, as the scope declares", "lease", lease)
	case !knows(l.opts.Modes, f.Mode):
		l.log.Error("the server was not heard for the time of the lease, and the program does not know the mode declared for that; the mode is held", "lease", lease, "mode", f.Mode)
	default:
		l.log.Warn("the server was not heard for the time of the lease; the mode declared for that is taken", "lease", lease, "mode", f.Mode)
	}
	l.aim()
}

// want is what should be in force by what is known; nil: what is in force stays, if anything is.
func (l *loop) want() *State {
	t := l.rec.Told
	if t == nil {
		if l.coldDue && l.opts.ColdStart != nil {
			return fallback(l.opts.Scope, l.opts.ColdStart, engine.Position{}, engine.OriginColdStart)
		}
		return nil
	}
	if l.lost && t.OnLoss != nil && knows(l.opts.Modes, t.OnLoss.Mode) {
		return fallback(l.opts.Scope, t.OnLoss, t.Position(), engine.OriginLoss)
	}
	origin := engine.OriginDisk
	if l.confirmed {
		origin = engine.OriginServer
	}
	if l.starting != nil {
		t = l.starting
	}
	if !knows(l.opts.Modes, t.Mode) {
		// The program keeps the mode it had, also over a lost lease and over a restart with other modes.
		if t = l.rec.Good; t == nil || !knows(l.opts.Modes, t.Mode) {
			return nil
		}
	}
	return stateOf(t, origin)
}

// aim begins to bring about what should be in force. It is called whenever one of its reasons to wait may be gone.
func (l *loop) aim() {
	if l.attempt != nil || l.writing && !l.pressed {
		return
	}
	now, want := l.state.Load(), l.want()
	switch {
	case want == nil:
		return
	case want.same(now):
		if want.Origin != now.Origin { // the server says what the disk said
			s := *now
			s.Origin = want.Origin
			l.put(&s)
			l.say(false)
		}
		l.reached(want)
		return
	case l.failure != nil && want.same(l.failure.want) && !l.failure.due:
		return
	}
	l.attempt = &attempt{want: want}
	l.overdue.Reset(l.opts.ApplyTimeout)
	l.mu.Lock()
	callbacks := l.callbacks
	l.mu.Unlock()
	go func() {
		ctx, cancel := context.WithTimeoutCause(l.ctx, l.opts.ApplyTimeout, errTooLong)
		defer cancel()
		l.ends <- apply(ctx, callbacks, now, want)
	}()
}

var errTooLong = errors.New("it took longer than it may")

// apply calls the callbacks in order until one fails.
func apply(ctx context.Context, callbacks []Callback, old, now *State) error {
	for _, c := range callbacks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := guarded(ctx, c, old, now); err != nil {
			return err
		}
	}
	return nil
}

// guarded calls a callback whose panic is no more than its failure.
func guarded(ctx context.Context, c Callback, old, now *State) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	return c(ctx, old, now)
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("a callback panicked: %v", e.value) }

// attempted goes on after the callbacks have been called.
func (l *loop) attempted(err error) {
	want := l.attempt.want
	l.attempt = nil
	l.overdue.Stop()
	if l.ctx.Err() != nil {
		return
	}
	if err != nil {
		l.failed(want, err)
	} else {
		l.failure = nil
		now := *want // which callbacks may still be looking at
		now.Since = time.Now()
		l.put(&now)
		l.log.Info("the mode is in force", "mode", want.Mode, "origin", want.Origin, "term", want.Position.Term, "revision", want.Position.Revision)
		l.reached(want)
	}
	if l.starting != nil && want.told() {
		l.starting = nil // whatever came of it: the newest is tried next, if it is another one
	}
	l.aim()
}

// put makes s what is in force.
func (l *loop) put(s *State) {
	l.state.Store(s)
	l.note(func(*Status) {})
	select {
	case <-l.ready:
	default:
		close(l.ready)
	}
}

// reached notes that want is in force.
func (l *loop) reached(want *State) {
	t := l.rec.Told
	if want.Origin == engine.OriginLoss {
		// The directive is not in force, and has not failed: there is nothing to be said of it until it counts again.
		l.outcome, l.reason = "", ""
		l.report.clear()
	}
	if t == nil || !want.told() || want.Position != t.Position() || l.outcome == engine.OutcomeDone {
		return
	}
	if !l.rec.Applied {
		l.rec.Applied, l.rec.Good = true, nil
		l.save()
	}
	l.settle(engine.OutcomeDone, "")
}

// failed notes that want could not be brought about, and when to try again.
func (l *loop) failed(want *State, err error) {
	tries := 0
	if f := l.failure; f != nil && f.want.same(want) {
		tries = f.tries + 1
	}
	l.failure = &failure{want: want, tries: tries}
	wait := l.opts.Retry.wait(tries)
	l.retryApply.Reset(wait)
	l.note(func(s *Status) { s.Failed++ })
	args := []any{"mode", want.Mode, "term", want.Position.Term, "revision", want.Position.Revision, "error", err, "again_in", wait}
	if p, ok := errors.AsType[*panicError](err); ok {
		args = append(args, "stack", string(p.stack))
	}
	l.log.Error("the mode could not be applied", args...)
	if t := l.rec.Told; t != nil && want.told() && want.Position == t.Position() {
		l.settle(engine.OutcomeFailed, err.Error())
	}
}

// takesLong reports an attempt that should have ended. Nothing newer is begun before it does: callbacks are called one at a time.
func (l *loop) takesLong() {
	if l.attempt == nil || l.attempt.late {
		return
	}
	l.attempt.late = true
	want := l.attempt.want
	text := fmt.Sprintf("a callback has not returned for %v", l.opts.ApplyTimeout)
	l.log.Error("the mode is not applied yet", "mode", want.Mode, "error", text)
	if t := l.rec.Told; t != nil && want.told() && want.Position == t.Position() {
		l.settle(engine.OutcomeFailed, text)
	}
}

// settle notes what has become of the newest directive, and reports it.
func (l *loop) settle(outcome engine.Outcome, reason string) {
	l.outcome, l.reason = outcome, clip(reason, maxError)
	l.note(func(s *Status) { s.Outcome, s.Error = l.outcome, l.reason })
	l.say(false)
}

// say lays out the report for the link to send; again makes it send one that it has sent.
func (l *loop) say(again bool) {
	t := l.rec.Told
	if t == nil || l.outcome == "" {
		return
	}
	s, status, reason := l.state.Load(), l.Status(), l.reason
	if l.outcome == engine.OutcomeDone && status.DiskError != "" {
		reason = clip("it is in force, and would not be after a restart without the server: "+status.DiskError, maxError)
	}
	l.report.put(engine.Report{
		Position: t.Position(), Mode: s.Mode, Outcome: l.outcome, Error: reason, Origin: s.Origin,
		Refused: status.Refused.Older + status.Refused.Term,
	}, again)
}

// clip cuts text to at most n bytes, between characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-len("…")], "") + "…"
}

// save begins to write the record, or notes that it has to be written again.
func (l *loop) save() {
	if l.opts.StateDir == "" {
		return
	}
	if l.writing {
		l.dirty = true
		return
	}
	l.retryWrite.Stop()
	l.writing, l.pressed, l.dirty = true, false, false
	l.pressing.Reset(savePatience)
	r := l.rec // the directives it points to never change
	l.onDisk = r.Heard
	go func() { l.writes <- l.keep(r) }()
}

// wrote goes on after a write.
func (l *loop) wrote(err error) {
	l.writing, l.pressed = false, false
	l.pressing.Stop()
	was := l.Status().DiskError
	text := ""
	if err != nil {
		text = err.Error()
	}
	l.note(func(s *Status) { s.DiskError = text })
	l.say(false)
	if err != nil && was == "" {
		l.log.Error("the last directive could not be written to disk; it is applied all the same, and written later", "error", err)
	}
	switch {
	case err == nil && !l.dirty:
		l.misses = 0
		if was != "" {
			l.log.Info("the last directive is on disk again")
		}
	case l.dirty:
		l.save()
	default:
		l.dirty = true
		l.retryWrite.Reset(l.opts.Retry.wait(l.misses))
		l.misses++
	}
	l.aim()
}
