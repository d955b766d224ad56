package loop_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// memory is a log in memory that can be told to fail, before or after a write took effect.
type memory struct {
	mu      sync.Mutex
	streams map[engine.Scope][]engine.Event
	mark    time.Time
	before  error         // returned by writes that then do nothing
	after   error         // returned by appends that were stored all the same
	unread  error         // returned by loads
	slow    time.Duration // how long a mark takes
	meddle  func()
	off     time.Duration // how far the clock on the wall is from the bubble's
}

func newMemory() *memory { return &memory{streams: map[engine.Scope][]engine.Event{}} }

var errDiskFull = errors.New("disk full")

func (m *memory) fail(before, after error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

func (m *memory) Append(_ context.Context, appends ...engine.Append) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meddle != nil {
		f := m.meddle
		m.meddle = nil
		f()
	}
	if m.before != nil {
		return m.before
	}
	for _, a := range appends {
		if engine.Version(len(m.streams[a.Stream])) != a.After {
			return loop.ErrConflict
		}
	}
	for _, a := range appends {
		m.streams[a.Stream] = append(m.streams[a.Stream], a.Events...)
	}
	return m.after
}

func (m *memory) Load(_ context.Context, stream engine.Scope) (engine.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.load(stream), m.unread
}

func (m *memory) load(stream engine.Scope) (s engine.State) {
	for _, e := range m.streams[stream] {
		s = engine.Apply(s, e)
	}
	return s
}

func (m *memory) LoadAll(context.Context) (map[engine.Scope]engine.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[engine.Scope]engine.State{}
	for name := range m.streams {
		all[name] = m.load(name)
	}
	return all, nil
}

func (m *memory) Heads(context.Context) (heads []engine.Head, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, events := range m.streams {
		heads = append(heads, engine.Head{Stream: name, Version: engine.Version(len(events)), Hash: "hash"})
	}
	return heads, nil
}

func (m *memory) Snapshot(context.Context, ...engine.State) error { return nil }
func (m *memory) Now(context.Context) (time.Time, error)          { return m.wall(), nil }

// wall is the clock on the wall; set sets it.
func (m *memory) wall() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.off)
}

func (m *memory) set(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off += by
}

func (m *memory) Mark(_ context.Context, instant time.Time) error {
	time.Sleep(m.slow) // virtual
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		return m.before
	}
	m.mark = instant
	return nil
}

func (m *memory) Marked(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark, nil
}

// kinds lists the kinds of a stream's events from a version on.
func (m *memory) kinds(stream engine.Scope, after int) (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.streams[stream][min(after, len(m.streams[stream])):] {
		list = append(list, e.Kind())
	}
	return list
}

// checkout is a policy with one transition each way.
func checkout(digest engine.Digest) engine.Policy {
	return engine.Policy{
		Digest: digest, Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}},
		Conditions: []engine.Condition{
			{Name: "shed.when", Text: "hot"}, {Name: "recover.when", Text: "cool"},
			{Name: "slo/a/ticket", Text: "smouldering", Every: 2 * time.Minute},
		},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0},
			{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 1, For: time.Minute},
		},
		Alerts: []engine.Alert{{SLO: "a", Severity: engine.SeverityTicket, Condition: 2}},
	}
}

// world answers questions with the truths it is told, and remembers what was asked.
type world struct {
	mu    sync.Mutex
	truth map[string]engine.Truth // by condition name
	asked []loop.Tick
	hang  chan struct{} // not nil: answers wait for it
}

func (w *world) say(name string, t engine.Truth) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.truth == nil {
		w.truth = map[string]engine.Truth{}
	}
	w.truth[name] = t
}

func (w *world) rules(policies ...engine.Policy) loop.Rules {
	return loop.Rules{Digest: policies[0].Digest, Policies: policies, Whole: true, Evaluate: func(ctx context.Context, t loop.Tick) loop.Answer {
		w.mu.Lock()
		hang := w.hang
		w.asked = append(w.asked, t)
		w.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-ctx.Done():
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		a := loop.Answer{Observations: map[engine.Scope][]engine.Observation{}, Sources: []engine.Sight{{Source: "main", Asked: true}}}
		for _, q := range t.Questions {
			for _, p := range policies {
				if p.Scope != q.Scope {
					continue
				}
				seen := make([]engine.Observation, len(p.Conditions))
				for _, i := range q.Conditions {
					seen[i] = engine.Observation{Asked: true, Truth: w.truth[p.Conditions[i].Name]}
				}
				a.Observations[q.Scope] = seen
			}
		}
		return a
	}}
}
