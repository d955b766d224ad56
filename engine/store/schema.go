package store

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations bring a log from one schema version to the next; the first makes a new one. They are only ever added to.
//
// Times are unix nanoseconds, UTC.
//
// The ledgers are a cache, outside of the hash chains: an hour, counted from 1970, is a row, and its body is the ledger's own
// form. Nothing is decided on them that could not be read again from the sources.
//
// Instances and their ranks in a roll-out are beside the log too: what they report is told again when they reconnect.
//
// A job holds its event's position and not the effect: that follows from the event (engine.Effects), so there is no second
// copy that could say something else.
var migrations = []string{`
CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
INSERT INTO schema (version) VALUES (0);

CREATE TABLE events (
	position INTEGER PRIMARY KEY,
	stream   TEXT    NOT NULL,
	version  INTEGER NOT NULL,
	hash     BLOB    NOT NULL,
	body     BLOB    NOT NULL,
	UNIQUE (stream, version)
) STRICT;

CREATE TABLE jobs (
	seq      INTEGER PRIMARY KEY,
	id       TEXT    NOT NULL UNIQUE,
	key      TEXT    NOT NULL,
	position INTEGER NOT NULL,
	owed     INTEGER NOT NULL,
	due      INTEGER NOT NULL,
	state    TEXT    NOT NULL CHECK (state IN ('owed', 'done', 'failed')),
	attempts INTEGER NOT NULL,
	problem  TEXT    NOT NULL,
	ended    INTEGER
) STRICT;
CREATE INDEX jobs_position ON jobs (position);
CREATE INDEX jobs_owed ON jobs (seq) WHERE state = 'owed';
CREATE INDEX jobs_failed ON jobs (seq) WHERE state = 'failed';

CREATE TABLE snapshots (
	stream  TEXT    PRIMARY KEY,
	version INTEGER NOT NULL,
	hash    BLOB    NOT NULL,
	format  TEXT    NOT NULL,
	state   BLOB    NOT NULL
) STRICT;

CREATE TABLE marks (
	name    TEXT    PRIMARY KEY,
	instant INTEGER NOT NULL
) STRICT;
`, `
ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0 CHECK (begun IN (0, 1));
`, `
CREATE TABLE ledgers (
	id     INTEGER PRIMARY KEY,
	scope  TEXT    NOT NULL,
	slo    TEXT    NOT NULL,
	digest TEXT    NOT NULL,
	saved  INTEGER NOT NULL,
	UNIQUE (scope, slo, digest)
) STRICT;

CREATE TABLE ledger_pages (
	ledger INTEGER NOT NULL REFERENCES ledgers (id),
	hour   INTEGER NOT NULL,
	body   BLOB    NOT NULL,
	PRIMARY KEY (ledger, hour)
) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE instances (
	scope TEXT NOT NULL,
	name  TEXT NOT NULL,
	body  BLOB NOT NULL,
	PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE ranks (
	scope  TEXT PRIMARY KEY,
	change TEXT NOT NULL,
	names  BLOB NOT NULL
) STRICT;

CREATE TABLE terms (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	term INTEGER NOT NULL
) STRICT;
`}

// querier is what a read needs; *sql.Tx and *sql.Conn have it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// schemaVersion returns the schema version of the log behind q, 0 when there is none yet.
func schemaVersion(ctx context.Context, q querier) (int, error) {
	var tables, own int
	err := q.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(name = 'schema'), 0) FROM sqlite_schema WHERE type = 'table'`).Scan(&tables, &own)
	if err != nil {
		return 0, err
	}
	if own == 0 {
		if tables > 0 {
			return 0, fmt.Errorf("it is the database of another program")
		}
		return 0, nil
	}
	var version int
	if err := q.QueryRowContext(ctx, `SELECT version FROM schema`).Scan(&version); err != nil {
		return 0, fmt.Errorf("read its schema version: %w", err)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w: its schema is version %d and this program knows %d; run the newer program", ErrNewerSchema, version, len(migrations))
	}
	return version, nil
}

// migrate brings the log to the newest schema, all or nothing.
func migrate(ctx context.Context, conn *sql.Conn) error {
	version, err := schemaVersion(ctx, conn)
	if err != nil || version == len(migrations) {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for i := version; i < len(migrations); i++ {
		if _, err = tx.ExecContext(ctx, migrations[i]); err != nil {
			break
		}
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE schema SET version = ?`, len(migrations))
	}
	if err != nil {
		_ = tx.Rollback() // the first error is the one to tell
		return fmt.Errorf("bring its schema to version %d: %w", len(migrations), err)
	}
	return tx.Commit()
}
