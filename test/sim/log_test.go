package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/store"
)

var (
	errDied  = errors.New("the process has died")
	errFault = errors.New("input/output error")
)

// unlucky is the store as one process sees it: every call takes a while, may fail before or after it took effect, and may be
// the last thing the process does. It is the loop's Log and the runner's Jobs.
type unlucky struct {
	*store.SQLite
	w        *world
	process  int
	died     func() // tells the supervisor
	mutation string

	mu     sync.Mutex // guards what follows
	dead   bool
	throws map[string]int // calls with each argument
	fatal  string         // the operation at which the process dies, with "before" or "after"
	left   int            // how many more of them
	faults struct {
		until  time.Time
		what   string
		chance int // per cent
	}
}

// edge makes a call of the store. what names its argument.
func (u *unlucky) edge(op, what string, call func() error) error {
	u.mu.Lock()
	if u.dead {
		u.mu.Unlock()
		return errDied // at once: what a dead process still tries takes no time
	}
	u.throws[op+what]++
	throw := fmt.Sprintf("%s %s %d %d", op, what, u.throws[op+what], u.process)
	u.mu.Unlock()
	u.w.note(throw)
	time.Sleep(time.Microsecond + time.Duration(u.w.dice(int(2*time.Millisecond), "takes %s", throw)))
	u.mu.Lock()
	if u.dead {
		u.mu.Unlock()
		return errDied
	}
	before, after := u.falls(op, throw)
	u.mu.Unlock()
	if before != nil {
		return before
	}
	if err := call(); err != nil {
		return err
	}
	time.Sleep(time.Microsecond + time.Duration(u.w.dice(int(time.Millisecond), "answers %s", throw)))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dead {
		return errDied
	}
	if errors.Is(after, errDied) {
		u.dead = true
		u.died()
	}
	return after
}

// lease is an edge that takes no time: the runner asks all the time, and while it waited, more than one thing would become ready
// for it to choose from, and it would choose any.
func (u *unlucky) lease(call func() error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dead {
		return errDied
	}
	u.throws["lease"]++
	throw := fmt.Sprintf("lease %d %d", u.throws["lease"], u.process)
	if name, _, _ := strings.Cut(u.fatal, " "); name == "lease" && u.left == 1 {
		// The runner asks at the instant at which the loop has stored something, and is about to store more: the process does not die at
		// that very instant, or it would be up to chance what else it has done.
		u.mu.Unlock()
		time.Sleep(time.Duration(1 + u.w.dice(int(time.Millisecond), "dies %s", throw)))
		u.mu.Lock()
		if u.dead {
			return errDied
		}
	}
	before, after := u.falls("lease", throw)
	if before != nil {
		return before
	}
	if err := call(); err != nil {
		return err
	}
	if errors.Is(after, errDied) {
		u.dead = true
		u.died()
	}
	return after
}

// falls says how a call fails, before or after its effect. The caller holds u.mu.
func (u *unlucky) falls(op, throw string) (before, after error) {
	if name, when, _ := strings.Cut(u.fatal, " "); name == op {
		if u.left--; u.left == 0 {
			u.fatal = ""
			if when == "after" {
				return nil, errDied
			}
			u.dead = true
			u.died()
			return errDied, nil
		}
	}
	if time.Now().Before(u.faults.until) && u.w.dice(100, "fault %s", throw) < u.faults.chance {
		if u.faults.what == "before" || u.faults.what == "both" && u.w.dice(2, "side %s", throw) == 0 {
			return errFault, nil
		}
		return nil, errFault
	}
	return nil, nil
}

// perish is the end of the process when it was to die at this moment of an attempt at a target: before or after the effect.
func (u *unlucky) perish(when string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fatal != "act "+when || u.dead {
		return
	}
	if u.left--; u.left == 0 {
		u.fatal, u.dead = "", true
		u.died()
	}
}

// kill ends the process: nothing it does from now on has an effect.
func (u *unlucky) kill() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dead = true
}

func (u *unlucky) Append(ctx context.Context, appends ...engine.Append) error {
	last, stored := appends[len(appends)-1], false
	err := u.edge("append", fmt.Sprintf("%s/%d", last.Stream, last.After), func() error {
		err := u.SQLite.Append(ctx, appends...)
		if errors.Is(err, store.ErrConflict) {
			return loop.ErrConflict
		}
		if err == nil {
			stored = true
			u.w.check.stored(appends)
		}
		return err
	})
	if stored && err != nil {
		u.w.check.unheard(appends)
	}
	return err
}

func (u *unlucky) Load(ctx context.Context, stream engine.Scope) (s engine.State, err error) {
	err = u.edge("load", string(stream), func() error { s, err = u.SQLite.Load(ctx, stream); return err })
	if err == nil {
		u.w.check.heard(stream)
	}
	return s, err
}

func (u *unlucky) LoadAll(ctx context.Context) (all map[engine.Scope]engine.State, err error) {
	err = u.edge("load", "all", func() error { all, err = u.SQLite.LoadAll(ctx); return err })
	for stream := range all {
		u.w.check.heard(stream)
	}
	return all, err
}

func (u *unlucky) Mark(ctx context.Context, instant time.Time) error {
	return u.edge("mark", instant.String(), func() error {
		u.w.check.marks(instant)
		return u.SQLite.Mark(ctx, instant)
	})
}

func (u *unlucky) Marked(ctx context.Context) (instant time.Time, err error) {
	err = u.edge("load", "mark", func() error { instant, err = u.SQLite.Marked(ctx); return err })
	if u.mutation == "for over a gap" && !instant.IsZero() {
		instant = u.w.now().Truncate(interval)
	}
	return instant, err
}

func (u *unlucky) Snapshot(ctx context.Context, states ...engine.State) error {
	return u.edge("snapshot", "", func() error { return u.SQLite.Snapshot(ctx, states...) })
}

func (u *unlucky) Lease(ctx context.Context, limit int) (jobs []engine.Job, err error) {
	if err = u.lease(func() error { jobs, err = u.SQLite.Lease(ctx, limit); return err }); err != nil {
		return nil, err // what was leased comes again when the lease is over
	}
	if u.mutation == "lease taken early" {
		for i := range jobs {
			jobs[i].Begun = false
		}
	}
	return jobs, err
}

func (u *unlucky) Begin(ctx context.Context, id string) error {
	return u.edge("begin", id, func() error { return u.SQLite.Begin(ctx, id) })
}

func (u *unlucky) Done(ctx context.Context, id string) error {
	return u.edge("done", id, func() error { return u.SQLite.Done(ctx, id) })
}

func (u *unlucky) Retry(ctx context.Context, id, problem string, after time.Duration) error {
	return u.edge("done", "retry "+id, func() error { return u.SQLite.Retry(ctx, id, problem, after) })
}

func (u *unlucky) Fail(ctx context.Context, id, problem string) error {
	return u.edge("done", "fail "+id, func() error { return u.SQLite.Fail(ctx, id, problem) })
}
