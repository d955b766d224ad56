package server

import (
	"context"
	"errors"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/store"
)

// storeLog is the store as the loop wants it.
type storeLog struct{ *store.SQLite }

func (l storeLog) Append(ctx context.Context, stream engine.Scope, after engine.Version, events []engine.Event) error {
	err := l.SQLite.Append(ctx, store.Append{Stream: stream, After: after, Events: events})
	if errors.Is(err, store.ErrConflict) {
		return loop.ErrConflict
	}
	return err
}

// storeReader is the store as the API wants it.
type storeReader struct{ *store.SQLite }

func (r storeReader) Since(ctx context.Context, position int64, limit int) ([]api.Stored, error) {
	list, err := r.SQLite.Since(ctx, position, limit)
	if err != nil {
		return nil, err
	}
	out := make([]api.Stored, len(list))
	for i, e := range list {
		out[i] = api.Stored{Position: e.Position, Event: e.Event}
	}
	return out, nil
}

func (r storeReader) JobCounts(ctx context.Context) (api.JobCounts, error) {
	c, err := r.SQLite.JobCounts(ctx)
	return api.JobCounts{Owed: c.Owed, Leased: c.Leased, Failed: c.Failed}, err
}
