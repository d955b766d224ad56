package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Read returns the events of stream after a version, oldest first, at most limit; 0: all.
func (s *SQLite) Read(ctx context.Context, stream engine.Scope, after engine.Version, limit int) (events []engine.Event, err error) {
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT position, body FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?`,
			string(stream), int64(after), rowLimit(limit))
		for stored, err := range decoded(rows, err) {
			if err != nil {
				return err
			}
			events = append(events, stored.Event)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	return events, nil
}

// Since returns the events of all streams after a position, oldest first, at most limit; 0: all. An event is seen only
// when all events at lower positions are, so whoever goes on from the last one seen misses none.
func (s *SQLite) Since(ctx context.Context, position int64, limit int) (events []Stored, err error) {
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT position, body FROM events WHERE position > ? ORDER BY position LIMIT ?`, position, rowLimit(limit))
		for stored, err := range decoded(rows, err) {
			if err != nil {
				return err
			}
			events = append(events, stored)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read since %d: %w", position, err)
	}
	return events, nil
}

// Last is the position of the last event, 0 in an empty log.
func (s *SQLite) Last(ctx context.Context) (position int64, err error) {
	err = s.view(ctx, func(q querier) error {
		return q.QueryRowContext(ctx, `SELECT coalesce(max(position), 0) FROM events`).Scan(&position)
	})
	if err != nil {
		return 0, fmt.Errorf("read last position: %w", err)
	}
	return position, nil
}

// Heads returns the end of every stream, by name: what a checkpoint holds.
func (s *SQLite) Heads(ctx context.Context) (heads []engine.Head, err error) {
	err = s.view(ctx, func(q querier) error {
		heads, err = readHeads(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	return heads, nil
}

// readHeads hops over the index from stream to stream instead of reading every entry of it: with a thousand events a
// stream that is a thousand times less.
func readHeads(ctx context.Context, q querier) ([]engine.Head, error) {
	rows, err := q.QueryContext(ctx, `
		WITH RECURSIVE streams (stream) AS (
			SELECT min(stream) FROM events
			UNION ALL
			SELECT (SELECT min(stream) FROM events WHERE stream > streams.stream) FROM streams WHERE streams.stream IS NOT NULL
		)
		SELECT e.stream, e.version, e.hash FROM streams
		JOIN events e ON e.stream = streams.stream
			AND e.version = (SELECT max(version) FROM events WHERE stream = streams.stream)
		ORDER BY e.stream`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var heads []engine.Head
	for rows.Next() {
		var stream string
		var version int64
		var hash []byte
		if err := rows.Scan(&stream, &version, &hash); err != nil {
			return nil, err
		}
		heads = append(heads, engine.Head{Stream: engine.Scope(stream), Version: engine.Version(version), Hash: hex.EncodeToString(hash)})
	}
	return heads, rows.Err()
}

// decoded yields the events of rows of position and body, and closes them. An error is the last it yields.
func decoded(rows *sql.Rows, err error) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		if err != nil {
			yield(Stored{}, err)
			return
		}
		defer func() { _ = rows.Close() }() // rows.Err has what matters
		var body sql.RawBytes
		for rows.Next() {
			var stored Stored
			err := rows.Scan(&stored.Position, &body)
			if err == nil {
				if stored.Event, err = engine.Decode(body); err != nil {
					err = fmt.Errorf("at position %d: %w", stored.Position, err)
				}
			}
			if !yield(stored, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Stored{}, err)
		}
	}
}

// rowLimit is limit as SQLite wants it: negative for none.
func rowLimit(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}

// Mark stores the last evaluated instant, durably.
func (s *SQLite) Mark(ctx context.Context, instant time.Time) error {
	err := s.submit(ctx, &write{stage: func(t *txn) error { return t.exec(t.marked, "evaluated", instant.UnixNano()) }})
	if err != nil {
		return fmt.Errorf("mark %s: %w", instant.UTC().Format(time.RFC3339Nano), err)
	}
	return nil
}

// Marked returns the instant of the last Mark, UTC; zero before the first.
func (s *SQLite) Marked(ctx context.Context) (instant time.Time, err error) {
	err = s.view(ctx, func(q querier) error {
		var ns int64
		err := q.QueryRowContext(ctx, `SELECT instant FROM marks WHERE name = 'evaluated'`).Scan(&ns)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		instant = time.Unix(0, ns).UTC()
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("read the last evaluated instant: %w", err)
	}
	return instant, nil
}
