package roster

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Run gathers what instances report, keeps the table, and forgets who is gone, until ctx ends.
func (r *Roster) Run(ctx context.Context) error {
	gather, save := time.NewTimer(Coalesce), time.NewTicker(Save)
	gathering := true // the beginning may be news too
	defer gather.Stop()
	defer save.Stop()
	var more <-chan time.Time // set while a table is being written
	piece := func() {
		more = nil
		if r.save(ctx, saveBatch) {
			more = time.After(savePause)
		}
	}
	for late := 0; ; {
		select {
		case <-r.come:
			if !gathering {
				gather.Reset(Coalesce)
				gathering = true
			}
		case <-gather.C:
			gathering = false
			r.tell()
		case <-save.C:
			r.expire()
			r.again(ctx)
			if late++; more == nil && (!r.busy() || late > putOff) {
				late = 0
				piece()
			}
		case <-more:
			piece()
		case <-ctx.Done():
			r.save(context.WithoutCancel(ctx), math.MaxInt)
			return nil
		}
	}
}

// changedIn notes that the instances of a scope have come to something. The caller holds the lock.
func (r *Roster) changedIn(scope engine.Scope) {
	r.news[scope] = true
	select {
	case r.come <- struct{}{}:
	default: // it is known that there is something
	}
}

// again follows scopes once more whose waves wait for their order to be kept.
func (r *Roster) again(ctx context.Context) {
	r.mu.Lock()
	var views []engine.View
	for _, c := range r.scopes {
		if c.before != nil && !c.ranked() {
			views = append(views, c.view)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(views, func(a, b engine.View) int { return strings.Compare(string(a.State.Scope), string(b.State.Scope)) })
	for _, v := range views {
		r.Follow(ctx, v)
	}
}

// tell lets the core hear of scopes whose instances have come to something it may act on.
func (r *Roster) tell() {
	if r.opts.OnNews == nil {
		return
	}
	var tell []engine.Scope
	r.mu.Lock()
	for scope := range r.news {
		if c := r.scopes[scope]; c.awaited(r.opts.Now().UTC()) {
			tell = append(tell, scope)
		}
	}
	clear(r.news)
	r.mu.Unlock()
	slices.Sort(tell)
	for _, scope := range tell {
		r.opts.OnNews(scope)
	}
}

// expire ends the seats of those who poll and did not come back, and forgets whoever is gone for long.
func (r *Roster) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now().UTC()
	for scope, c := range r.scopes {
		for name, m := range c.members {
			if m.Connected() && !m.due.IsZero() && now.After(m.due) {
				r.left(c, m, true, now)
			}
			keep := r.opts.Forget
			if !m.Silent {
				keep = cmp.Or(c.rules.Grace, engine.DefaultGrace)
			}
			if m.Connected() || now.Sub(m.Left) < keep {
				continue
			}
			delete(c.members, name)
			delete(r.dirty, m)
			r.gone = append(r.gone, m.Instance)
		}
		if ch := c.state.Change; ch != nil && !ch.Rolled || len(r.gone) > 0 {
			r.changedIn(scope) // nobody waits any more for those who have been gone for the grace time
		}
	}
}

// save writes what changed, so many instances at most, and reports whether there are others.
func (r *Roster) save(ctx context.Context, most int) (more bool) {
	r.mu.Lock()
	list := make([]Instance, 0, min(len(r.dirty), most))
	for m := range r.dirty {
		if len(list) == most {
			more = true
			break
		}
		list = append(list, m.Instance)
		delete(r.dirty, m)
	}
	gone := r.gone
	r.gone = nil
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(strings.Compare(string(a.Scope), string(b.Scope)), strings.Compare(a.Name, b.Name))
	})
	var err error
	if len(list) > 0 {
		err = r.store.SaveInstances(ctx, list)
	}
	if len(gone) > 0 {
		err = errors.Join(err, r.store.ForgetInstances(ctx, gone))
	}
	if err == nil {
		return more
	}
	// What is not written is in memory, and told again by each instance that reconnects.
	r.log.Warn("the table of instances could not be written; it is tried again", "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range list {
		if m := r.crew(i.Scope).members[i.Name]; m != nil {
			r.dirty[m] = true
		}
	}
	r.gone = append(gone, r.gone...)
	return false
}
