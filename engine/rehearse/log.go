package rehearse

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// memory is a log that nobody reads again, and the clock of the store.
type memory struct {
	now     time.Time
	marked  time.Time
	streams map[engine.Scope][]engine.Event
}

var _ loop.Log = (*memory)(nil)

func (m *memory) Append(_ context.Context, appends ...engine.Append) error {
	for _, a := range appends {
		if engine.Version(len(m.streams[a.Stream])) != a.After {
			return loop.ErrConflict
		}
	}
	for _, a := range appends {
		m.streams[a.Stream] = append(m.streams[a.Stream], a.Events...)
	}
	return nil
}

func (m *memory) Load(_ context.Context, stream engine.Scope) (s engine.State, err error) {
	for _, e := range m.streams[stream] {
		s = engine.Apply(s, e)
	}
	return s, nil
}

func (m *memory) LoadAll(ctx context.Context) (map[engine.Scope]engine.State, error) {
	states := map[engine.Scope]engine.State{}
	for stream := range m.streams {
		states[stream], _ = m.Load(ctx, stream)
	}
	return states, nil
}

// Heads has no hashes: what was only rehearsed proves nothing to anybody.
func (m *memory) Heads(context.Context) (heads []engine.Head, err error) {
	for _, stream := range slices.Sorted(maps.Keys(m.streams)) {
		heads = append(heads, engine.Head{Stream: stream, Version: engine.Version(len(m.streams[stream]))})
	}
	return heads, nil
}

func (m *memory) Snapshot(context.Context, ...engine.State) error  { return nil }
func (m *memory) Now(context.Context) (time.Time, error)           { return m.now, nil }
func (m *memory) Mark(_ context.Context, instant time.Time) error  { m.marked = instant; return nil }
func (m *memory) Marked(context.Context) (at time.Time, err error) { return m.marked, nil }
