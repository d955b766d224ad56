package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/store"
)

// storeLog is the store as the loop wants it.
type storeLog struct{ *store.SQLite }

func (l storeLog) Append(ctx context.Context, appends ...engine.Append) error {
	err := l.SQLite.Append(ctx, appends...)
	if errors.Is(err, store.ErrConflict) {
		return loop.ErrConflict
	}
	return err
}

var identityShape = regexp.MustCompile(`^[0-9a-f]{16}$`)

// openIdentity reads the identity of the log, and makes it when there is none: 64 random bits, in hexadecimal. The log counts
// incidents from one in each data folder; with the identity, the incidents of two folders never have one deduplication key.
func openIdentity(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		bits := make([]byte, 8)
		_, _ = rand.Read(bits) // it never fails
		id := hex.EncodeToString(bits)
		if err := writeFile(path, []byte(id+"\n")); err != nil {
			return "", fmt.Errorf("keep the identity of the log: %w", err)
		}
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the identity of the log: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if !identityShape.MatchString(id) {
		return "", fmt.Errorf("the identity of the log in %s is not 16 hexadecimal digits: put it back, or remove it to have a new one made (alerts that are open now will then not be resolved)", path)
	}
	return id, nil
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
