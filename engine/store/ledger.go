package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
)

// SaveLedgers stores pages of ledgers in place of those of the same hours, and removes those of hours before Save.Before: all
// of it or nothing. A ledger that is not there is made. ErrInvalid when an hour is not a full one.
func (s *SQLite) SaveLedgers(ctx context.Context, saves ...ledger.Save) error {
	if len(saves) == 0 {
		return nil
	}
	for _, save := range saves {
		for _, p := range save.Pages {
			if !p.Hour.Equal(p.Hour.Truncate(time.Hour)) {
				return fmt.Errorf("save the ledger of %s/%s: %w: %s is not a full hour", save.Scope, save.SLO, ErrInvalid, p.Hour.UTC().Format(time.RFC3339Nano))
			}
		}
	}
	err := s.submit(ctx, &write{stage: func(t *txn) error {
		for _, save := range saves {
			if err := t.saveLedger(save); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("save ledgers: %w", err)
	}
	return nil
}

func (t *txn) saveLedger(save ledger.Save) error {
	var id int64
	row := t.ledgerSaved.QueryRowContext(context.Background(), string(save.Scope), save.SLO, string(save.Digest), save.At.UnixNano())
	if err := row.Scan(&id); err != nil {
		return fmt.Errorf("note the ledger of %s/%s: %w", save.Scope, save.SLO, err)
	}
	for _, p := range save.Pages {
		if err := t.exec(t.ledgerPage, id, hour(p.Hour), p.Body); err != nil {
			return err
		}
	}
	return t.exec(t.ledgerCut, id, hour(save.Before))
}

// hour numbers full hours from 1970 on.
func hour(t time.Time) int64 { return t.Unix() / int64(time.Hour/time.Second) }

// LoadLedger returns the pages of a ledger in order of time; none if there is none.
func (s *SQLite) LoadLedger(ctx context.Context, key ledger.Key) (pages []ledger.Page, err error) {
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT p.hour, p.body FROM ledgers l JOIN ledger_pages p ON p.ledger = l.id
			WHERE l.scope = ? AND l.slo = ? AND l.digest = ? ORDER BY p.hour`, string(key.Scope), key.SLO, string(key.Digest))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err has what matters
		for rows.Next() {
			var hour int64
			var p ledger.Page
			if err := rows.Scan(&hour, &p.Body); err != nil {
				return err
			}
			p.Hour = time.Unix(hour*int64(time.Hour/time.Second), 0).UTC()
			pages = append(pages, p)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("load the ledger of %s/%s: %w", key.Scope, key.SLO, err)
	}
	return pages, nil
}

// DropLedgers removes the ledgers that were last saved before an instant, but for those to be kept. Each goes by itself, so
// that nobody has to wait for more than one.
func (s *SQLite) DropLedgers(ctx context.Context, unsavedSince time.Time, keep ...ledger.Key) error {
	old, err := s.oldLedgers(ctx, unsavedSince)
	for _, l := range old {
		if err != nil {
			break
		}
		if slices.Contains(keep, l.Key) {
			continue
		}
		err = s.submit(ctx, &write{stage: func(t *txn) error {
			return errors.Join(t.exec(t.ledgerCut, l.id, int64(1)<<62), t.exec(t.ledgerDrop, l.id))
		}})
	}
	if err != nil {
		return fmt.Errorf("drop old ledgers: %w", err)
	}
	return nil
}

// oldLedger is one that may be dropped.
type oldLedger struct {
	ledger.Key
	id int64
}

func (s *SQLite) oldLedgers(ctx context.Context, unsavedSince time.Time) (old []oldLedger, err error) {
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT id, scope, slo, digest FROM ledgers WHERE saved < ? ORDER BY id`, unsavedSince.UnixNano())
		if err != nil {
			return err
		}
		defer func(rows *sql.Rows) { _ = rows.Close() }(rows) // rows.Err has what matters
		for rows.Next() {
			var l oldLedger
			var scope, digest string
			if err := rows.Scan(&l.id, &scope, &l.SLO, &digest); err != nil {
				return err
			}
			l.Scope, l.Digest = engine.Scope(scope), engine.Digest(digest)
			old = append(old, l)
		}
		return rows.Err()
	})
	return old, err
}
