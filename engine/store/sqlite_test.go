package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

func TestSQLiteInAFilePassesTheSuite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Open {
		path := filepath.Join(t.TempDir(), "modeshift.db")
		return func(ctx context.Context, opts store.Options) (storetest.Store, error) {
			return store.Open(ctx, path, opts)
		}
	})
}

func TestSQLiteInMemoryPassesTheSuite(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Open {
		return func(ctx context.Context, opts store.Options) (storetest.Store, error) {
			return store.Open(ctx, ":memory:", opts)
		}
	}, storetest.Volatile)
}
