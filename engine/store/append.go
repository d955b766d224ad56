package store

import (
	"context"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// addition is an Append made ready outside of the writer.
type addition struct {
	stream  engine.Scope
	after   engine.Version
	first   time.Time // of the events; zero without any
	last    time.Time
	bodies  [][]byte
	effects [][]engine.Effect // of each event
}

// Append adds events to one or more streams, and the jobs for their effects: all or none, durable on return.
//
// Errors: ErrConflict when a stream is not at After; ErrInvalid; ErrUnwritable; the cause of ctx when that ended first. In
// each case nothing was written, except that after a failing disk (ErrUnwritable) one cannot know: read back.
func (s *SQLite) Append(ctx context.Context, appends ...Append) error {
	if len(appends) == 0 {
		return nil
	}
	adds := make([]addition, len(appends))
	for i, a := range appends {
		for _, b := range appends[:i] {
			if a.Stream == b.Stream {
				return fmt.Errorf("append to %s: %w: named twice", a.Stream, ErrInvalid)
			}
		}
		var err error
		if adds[i], err = ready(a); err != nil {
			return fmt.Errorf("append to %s: %w", a.Stream, err)
		}
	}
	var owed []*job // as the last stage left it
	err := s.submit(ctx, &write{
		stage: func(t *txn) (err error) {
			owed, err = t.add(adds)
			return err
		},
		after: func(err error) {
			if err == nil {
				s.queue.add(owed)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("append to %s: %w", appends[0].Stream, err)
	}
	return nil
}

// ready checks a by itself and encodes it.
func ready(a Append) (addition, error) {
	add := addition{stream: a.Stream, after: a.After, bodies: make([][]byte, len(a.Events)), effects: make([][]engine.Effect, len(a.Events))}
	if a.Stream == "" {
		return addition{}, fmt.Errorf("%w: a stream has no name", ErrInvalid)
	}
	for i, e := range a.Events {
		switch want := a.After + engine.Version(i) + 1; {
		case e.Stream != a.Stream:
			return addition{}, fmt.Errorf("%w: event %d is of stream %s", ErrInvalid, i, e.Stream)
		case e.Version != want:
			return addition{}, fmt.Errorf("%w: event %d has version %d, not %d", ErrInvalid, i, e.Version, want)
		case i > 0 && e.At.Before(add.last):
			return addition{}, fmt.Errorf("%w: event %d is earlier than the one before it", ErrInvalid, i)
		case e.Fact == nil:
			return addition{}, fmt.Errorf("%w: event %d has no fact", ErrInvalid, i)
		}
		if i == 0 {
			add.first = e.At
		}
		add.last = e.At
		var err error
		if add.bodies[i], err = e.Encode(); err != nil {
			return addition{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		add.effects[i] = engine.Effects(e)
	}
	return add, nil
}

// add stages additions, and returns the jobs they owe. All expectations are checked before anything is written, so that a
// refusal leaves nothing behind in the transaction it shares with others.
func (t *txn) add(adds []addition) ([]*job, error) {
	for _, a := range adds {
		h, err := t.head(a.stream)
		switch {
		case err != nil:
			return nil, err
		case h.version != a.after:
			return nil, refusal{fmt.Errorf("%w: %s is at version %d, not %d", ErrConflict, a.stream, h.version, a.after)}
		case len(a.bodies) > 0 && a.first.Before(h.at):
			return nil, refusal{fmt.Errorf("%w: its time %s is before that of version %d, %s", ErrInvalid,
				a.first.Format(time.RFC3339Nano), h.version, h.at.Format(time.RFC3339Nano))}
		}
	}
	var owed []*job
	now := t.s.now()
	for _, a := range adds {
		if len(a.bodies) == 0 {
			continue
		}
		h, err := t.head(a.stream)
		if err != nil {
			return nil, err
		}
		for i, body := range a.bodies {
			h = head{version: h.version + 1, hash: h.hash.next(body), at: a.last}
			t.next++
			if err := t.exec(t.event, t.next, string(a.stream), int64(h.version), h.hash[:], body); err != nil {
				return nil, err
			}
			for _, effect := range a.effects[i] {
				t.seq++
				j := &job{seq: t.seq, id: effect.ID, key: effect.Key, position: t.next, owed: now, due: now}
				if err := t.exec(t.job, j.seq, j.id, j.key, j.position, j.owed.UnixNano(), j.due.UnixNano()); err != nil {
					return nil, err
				}
				owed = append(owed, j)
			}
		}
		t.heads[a.stream] = h
	}
	return owed, nil
}
