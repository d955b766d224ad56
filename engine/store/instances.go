package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

// Instances returns the instances that were saved and not forgotten, by scope and name.
func (s *SQLite) Instances(ctx context.Context) (list []roster.Instance, err error) {
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT body FROM instances ORDER BY scope, name`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err has what matters
		for rows.Next() {
			var body []byte
			var i roster.Instance
			if err := rows.Scan(&body); err != nil {
				return err
			}
			if err := json.Unmarshal(body, &i); err != nil {
				return err
			}
			list = append(list, i)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the instances: %w", err)
	}
	return list, nil
}

// SaveInstances stores instances in place of those of the same scopes and names: all of them or none.
func (s *SQLite) SaveInstances(ctx context.Context, list []roster.Instance) error {
	bodies := make([][]byte, len(list))
	for i := range list {
		body, err := json.Marshal(list[i])
		if err != nil {
			return fmt.Errorf("save instance %s of %s: %w", list[i].Name, list[i].Scope, err)
		}
		bodies[i] = body
	}
	err := s.submit(ctx, &write{stage: func(t *txn) error {
		for i := range list {
			if err := t.exec(t.instance, string(list[i].Scope), list[i].Name, bodies[i]); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("save instances: %w", err)
	}
	return nil
}

// ForgetInstances removes instances.
func (s *SQLite) ForgetInstances(ctx context.Context, list []roster.Instance) error {
	err := s.submit(ctx, &write{stage: func(t *txn) error {
		for i := range list {
			if err := t.exec(t.instanceGone, string(list[i].Scope), list[i].Name); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("forget instances: %w", err)
	}
	return nil
}

// SaveRanks stores in which order the instances of a scope are told of a change, in place of the order of any other change.
func (s *SQLite) SaveRanks(ctx context.Context, scope engine.Scope, change engine.ChangeID, names []string) error {
	if names == nil {
		names = []string{}
	}
	body, err := json.Marshal(names)
	if err == nil {
		err = s.submit(ctx, &write{stage: func(t *txn) error { return t.exec(t.ranked, string(scope), string(change), body) }})
	}
	if err != nil {
		return fmt.Errorf("save the order of %s: %w", change, err)
	}
	return nil
}

// Ranks returns the order that was saved for a change; nil when none was, or another change's since.
func (s *SQLite) Ranks(ctx context.Context, scope engine.Scope, change engine.ChangeID) (names []string, err error) {
	err = s.view(ctx, func(q querier) error {
		var body []byte
		err := q.QueryRowContext(ctx, `SELECT names FROM ranks WHERE scope = ? AND change = ?`, string(scope), string(change)).Scan(&body)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(body, &names)
	})
	if err != nil {
		return nil, fmt.Errorf("read the order of %s: %w", change, err)
	}
	return names, nil
}

// NextTerm returns the term to lead in from now on: higher than any it returned before, and at least least. It is stored before it
// returns, so that two runs of a server are never taken for one.
func (s *SQLite) NextTerm(ctx context.Context, least uint64) (uint64, error) {
	var term int64
	err := s.submit(ctx, &write{stage: func(t *txn) error {
		return t.term.QueryRowContext(context.Background(), int64(max(least, 1))).Scan(&term)
	}})
	if err != nil {
		return 0, fmt.Errorf("begin a term: %w", err)
	}
	return uint64(term), nil
}
