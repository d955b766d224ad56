package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// meaning is raised when engine.Apply comes to fold events into another state than before, while State looks the same.
const meaning = 1

// format names how snapshots are made: what engine.State looks like, and meaning. One of another format is not used, so a
// program that knows more than the one before it folds from the beginning once.
var format = func() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ", meaning)
	describe(&b, reflect.TypeFor[engine.State](), map[reflect.Type]bool{})
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}()

// describe writes the shape of t: its fields, their tags and types, down to the plain ones.
func describe(b *strings.Builder, t reflect.Type, seen map[reflect.Type]bool) {
	fmt.Fprintf(b, "%s:%s", t, t.Kind())
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(b, "{%s %q ", f.Name, f.Tag)
			describe(b, f.Type, seen)
			b.WriteString("}")
		}
	case reflect.Map, reflect.Pointer, reflect.Slice, reflect.Array:
		describe(b, t.Elem(), seen)
	}
}

// Snapshot keeps states, so that Load need not fold all events again. They replace those of the same streams.
// ErrInvalid when a state is ahead of its stream. A state without events is left out.
func (s *SQLite) Snapshot(ctx context.Context, states ...engine.State) error {
	bodies := make([][]byte, len(states))
	for i, state := range states {
		var err error
		if bodies[i], err = json.Marshal(state); err != nil {
			return fmt.Errorf("snapshot %s: %w", state.Scope, err)
		}
	}
	if len(states) == 0 {
		return nil
	}
	err := s.submit(ctx, &write{stage: func(t *txn) error {
		for _, state := range states {
			h, err := t.head(state.Scope)
			if err != nil {
				return err
			}
			if state.Version > h.version {
				return refusal{fmt.Errorf("%w: snapshot of %s at version %d, which ends at %d", ErrInvalid, state.Scope, state.Version, h.version)}
			}
		}
		for i, state := range states {
			if state.Version == 0 {
				continue
			}
			if err := t.exec(t.snap, format, bodies[i], string(state.Scope), int64(state.Version)); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// snapshots reads the states that may stand for the events up to their version: of this format, and taken of this very
// chain. One that does not decode is left out, like one that is not there.
func snapshots(ctx context.Context, q querier, where string, args ...any) (map[engine.Scope]engine.State, error) {
	rows, err := q.QueryContext(ctx, `SELECT s.stream, s.version, s.state FROM snapshots s
		JOIN events e ON e.stream = s.stream AND e.version = s.version AND e.hash = s.hash WHERE s.format = ?`+where,
		append([]any{format}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	states := map[engine.Scope]engine.State{}
	for rows.Next() {
		var stream string
		var version int64
		var body []byte
		if err := rows.Scan(&stream, &version, &body); err != nil {
			return nil, err
		}
		var state engine.State
		if json.Unmarshal(body, &state) == nil && state.Scope == engine.Scope(stream) && state.Version == engine.Version(version) {
			states[state.Scope] = state
		}
	}
	return states, rows.Err()
}

// Load returns the state of stream; the zero State when it has no events.
func (s *SQLite) Load(ctx context.Context, stream engine.Scope) (state engine.State, err error) {
	err = s.view(ctx, func(q querier) error {
		states, err := snapshots(ctx, q, ` AND s.stream = ?`, string(stream))
		if err != nil {
			return err
		}
		state, err = fold(ctx, q, stream, states[stream])
		return err
	})
	if err != nil {
		return engine.State{}, fmt.Errorf("load %s: %w", stream, err)
	}
	return state, nil
}

// LoadAll returns the state of every stream that has events, all as of one moment.
func (s *SQLite) LoadAll(ctx context.Context) (states map[engine.Scope]engine.State, err error) {
	err = s.view(ctx, func(q querier) error {
		if states, err = snapshots(ctx, q, ""); err != nil {
			return err
		}
		heads, err := readHeads(ctx, q)
		if err != nil {
			return err
		}
		for _, h := range heads {
			if states[h.Stream].Version == h.Version {
				continue
			}
			if states[h.Stream], err = fold(ctx, q, h.Stream, states[h.Stream]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return states, nil
}

// fold applies the events after from.
func fold(ctx context.Context, q querier, stream engine.Scope, from engine.State) (engine.State, error) {
	rows, err := q.QueryContext(ctx, `SELECT position, body FROM events WHERE stream = ? AND version > ? ORDER BY version`, string(stream), int64(from.Version))
	for stored, err := range decoded(rows, err) {
		if err != nil {
			return engine.State{}, fmt.Errorf("fold %s: %w", stream, err)
		}
		// Apply panics on such, and a damaged log is no reason to die without saying which.
		if e := stored.Event; e.Version != from.Version+1 || e.Stream != stream {
			return engine.State{}, &Fault{stored.Position, stream, from.Version + 1, fmt.Sprintf("found %s/%d here", e.Stream, e.Version)}
		}
		from = engine.Apply(from, stored.Event)
	}
	return from, nil
}
