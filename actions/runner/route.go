package runner

import (
	"cmp"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
)

// Limited is a notifier whose target takes only so many notices in a span of time, over any such span.
type Limited interface {
	Limit() (events int, span time.Duration)
}

// route is the way to one notifier. Its slots keep a slow target from delaying others.
type route struct {
	name     string
	notifier actions.Notifier

	// What follows is the loop's alone.
	slots   int
	running int
	waiting []*held // the most urgent first

	mu     sync.Mutex // guards what follows: Direct uses it beside the loop
	window *window    // nil: no limit
	paused time.Time  // the target asked to be left alone until then
}

func newRoute(name string, n actions.Notifier, timeout time.Duration) *route {
	rt := &route{name: name, notifier: n}
	if l, ok := n.(Limited); ok {
		if events, span := l.Limit(); events > 0 && span > 0 {
			// A notice arrives up to the timeout after its attempt began. What arrives within a span therefore began
			// within a span and a timeout.
			rt.window = &window{limit: events, span: span + timeout}
		}
	}
	return rt
}

// ready returns zero when an attempt may begin now, and counts it; else the instant at which to ask again.
func (rt *route) ready(now time.Time) (at time.Time) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if now.Before(rt.paused) {
		return rt.paused
	}
	if rt.window == nil {
		return time.Time{}
	}
	return rt.window.take(now)
}

// pause leaves the target alone until an instant: what it asks for one notice it asks of the sender.
func (rt *route) pause(until time.Time) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if until.After(rt.paused) {
		rt.paused = until
	}
}

// push puts a job among the waiting, by its urgency.
func (rt *route) push(h *held) {
	i, _ := slices.BinarySearchFunc(rt.waiting, h, func(a, b *held) int { return urgency(a.job, b.job) })
	rt.waiting = slices.Insert(rt.waiting, i, h)
}

// pop takes out the i-th of the waiting.
func (rt *route) pop(i int) *held {
	h := rt.waiting[i]
	rt.waiting = slices.Delete(rt.waiting, i, i+1)
	return h
}

// urgency orders jobs: pages before all else, what wakes somebody before what adds to it or ends it, then the oldest.
func urgency(a, b engine.Job) int {
	return cmp.Or(
		cmp.Compare(rank(a.Notice), rank(b.Notice)),
		a.Owed.Compare(b.Owed),
		cmp.Compare(a.ID, b.ID),
	)
}

func rank(n *engine.Notice) int {
	r := 0
	if !n.Severity.Wakes() {
		r += 2
	}
	if n.Action != engine.NoticeTrigger {
		r++
	}
	return r
}

// window lets at most limit attempts begin in any span. A bucket that fills steadily would let up to twice as many through
// in a span that begins with it full; targets count the way this does.
type window struct {
	limit int
	span  time.Duration
	sent  []time.Time // within the last span, oldest first
}

// take counts an attempt at now and returns zero, or returns when the next may begin.
func (w *window) take(now time.Time) (at time.Time) {
	w.sent = slices.Delete(w.sent, 0, sinceIndex(w.sent, now.Add(-w.span)))
	if len(w.sent) >= w.limit {
		return w.sent[0].Add(w.span)
	}
	w.sent = append(w.sent, now)
	return time.Time{}
}

// sinceIndex is the place of the first time after t.
func sinceIndex(times []time.Time, t time.Time) int {
	i, _ := slices.BinarySearchFunc(times, t, func(e, t time.Time) int {
		if e.After(t) {
			return 1
		}
		return -1
	})
	return i
}

// same reports whether two notifiers are one.
func same(a, b actions.Notifier) bool {
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
