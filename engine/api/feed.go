package api

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/modeshift/modeshift/engine"
)

// frame is an event as a stream carries it.
type frame struct {
	position int64
	stream   engine.Scope
	text     []byte // shared by all readers
}

// The feed reads at most readAhead events at once, and keeps the newest keep for readers that are nearly up to date.
const (
	readAhead = 256
	keep      = 1024
)

// feed hands the log's newest events to any number of readers while reading and encoding each once: the reader that is
// first to ask after a commit fetches, the others find the result. Readers further behind read the log themselves.
type feed struct {
	log     Log
	changed func() <-chan struct{}

	mu    sync.Mutex // guards what follows
	begun bool
	base  int64           // recent holds every event after base, up to head
	head  int64           // the last one fetched
	quiet <-chan struct{} // everything committed before this channel was taken has been fetched
	ring  []frame
}

// after returns the next events behind a position, oldest first, at most readAhead; none when there are none yet. Then more
// is closed at the next commit.
func (f *feed) after(ctx context.Context, position int64) (frames []frame, more <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun {
		last, err := f.log.Last(ctx)
		if err != nil {
			return nil, nil, err
		}
		f.begun, f.base, f.head = true, last, last
	}
	if position < f.base {
		f.mu.Unlock() // others need not wait for this one's history
		frames, err := f.read(ctx, position)
		f.mu.Lock()
		if err != nil || len(frames) > 0 {
			return frames, nil, err
		}
		position = f.base // what lay between has been archived away
	}
	more = f.changed() // taken before the log is read, so that a commit in between closes it
	if position >= f.head && more != f.quiet {
		fresh, err := f.read(ctx, f.head)
		if err != nil {
			return nil, nil, err
		}
		if len(fresh) > 0 {
			f.ring, f.head = append(f.ring, fresh...), fresh[len(fresh)-1].position
		}
		if len(fresh) < readAhead {
			f.quiet = more
		}
		if over := len(f.ring) - keep; over > 0 {
			f.base = f.ring[over-1].position
			f.ring = append([]frame(nil), f.ring[over:]...)
		}
	}
	for i := range f.ring {
		if f.ring[i].position > position {
			return f.ring[i:min(len(f.ring), i+readAhead):len(f.ring)], more, nil
		}
	}
	return nil, more, nil
}

func (f *feed) read(ctx context.Context, position int64) ([]frame, error) {
	events, err := f.log.Since(ctx, position, readAhead)
	if err != nil {
		return nil, err
	}
	frames := make([]frame, len(events))
	for i, e := range events {
		if frames[i], err = encode(e); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// encode writes an event as one message of a stream. Its canonical form has no line breaks.
func encode(e Stored) (frame, error) {
	body, err := e.Event.Encode()
	if err != nil {
		return frame{}, err
	}
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "id: %d\ndata: %s\n\n", e.Position, body)
	return frame{e.Position, e.Event.Stream, buf.Bytes()}, nil
}
