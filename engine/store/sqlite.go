package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a statement waits for somebody else's lock on the file: a copy being made, a person with a
// database shell.
const busyTimeout = 5 * time.Second

// SQLite is a log in one file. It is safe for concurrent use.
type SQLite struct {
	path string
	opts Options

	lock    *sql.Conn // holds the right to write; nil when read-only or in memory
	lockDB  *sql.DB
	writeDB *sql.DB
	conn    *sql.Conn // the one connection that writes; nil when read-only
	readDB  *sql.DB   // nil in memory: then conn reads too, under mem
	mem     sync.Mutex

	writes  chan *write
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when nothing is written any more
	turn    chan struct{} // holds a token while somebody writes; guards writer and held
	held    *write        // has to wait for the next round
	close   func() error

	writer writer
	queue  queue
}

// Open opens the log at path, makes it when there is none (mode 0600), and owns it until Close. The path ":memory:" is a
// log that nobody shares and that ends with Close.
//
// Errors: ErrInUse while another process owns it; ErrNewerSchema; an error that says so when the file is something else.
func Open(ctx context.Context, path string, opts Options) (*SQLite, error) {
	s := newSQLite(path, opts)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", path, explain(err)), s.release())
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		s.finish()
		return s.release()
	})
	return s, nil
}

// OpenReadOnly opens the log at path to look on, also while another process owns it. What would write returns ErrReadOnly.
func OpenReadOnly(ctx context.Context, path string) (*SQLite, error) {
	s := newSQLite(path, Options{})
	close(s.ended)
	if err := s.openReadOnly(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", path, explain(err)), s.release())
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		return s.release()
	})
	return s, nil
}

func newSQLite(path string, opts Options) *SQLite {
	return &SQLite{
		path:    path,
		opts:    opts.withDefaults(),
		writes:  make(chan *write, maxBatch),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		turn:    make(chan struct{}, 1),
		queue:   newQueue(),
	}
}

func (s *SQLite) open(ctx context.Context) error {
	name := ":memory:"
	if s.path != name {
		file, err := claim(s.path)
		if err != nil {
			return err
		}
		if err := s.own(ctx, file); err != nil {
			return err
		}
		name = dsn(file, "rwc")
		if s.readDB, err = sql.Open("sqlite", dsn(file, "ro")); err != nil {
			return err
		}
		s.readDB.SetMaxIdleConns(4)
		s.readDB.SetMaxOpenConns(4)
	}
	var err error
	if s.writeDB, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	if s.conn, err = s.writeDB.Conn(ctx); err != nil {
		return explain(err)
	}
	// Only when it is known to be ours anything about it is changed.
	if _, err := schemaVersion(ctx, s.conn); err != nil {
		return explain(err)
	}
	if s.readDB != nil {
		var mode string
		if err := s.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil || mode != "wal" {
			return fmt.Errorf("its file system does not carry a write-ahead log (journal mode %q): %w", mode, cmp.Or(err, ErrUnwritable))
		}
	}
	if err := migrate(ctx, s.conn); err != nil {
		return err
	}
	if err := s.writer.prepare(ctx, s.conn); err != nil {
		return err
	}
	return s.queue.load(ctx, s.conn, s.now())
}

func (s *SQLite) openReadOnly(ctx context.Context) error {
	file, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	if s.readDB, err = sql.Open("sqlite", dsn(file, "ro", "query_only(1)")); err != nil {
		return err
	}
	s.readDB.SetMaxOpenConns(4)
	return s.view(ctx, func(q querier) error {
		version, err := schemaVersion(ctx, q)
		if err != nil {
			return explain(err)
		}
		if version < len(migrations) {
			return fmt.Errorf("it has schema version %d and this program reads %d: start the server on it once", version, len(migrations))
		}
		return nil
	})
}

// claim makes the file, so that it has mode 0600 from its first moment (its write-ahead log inherits that), and returns
// its true place: two names of one file are one log.
func claim(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(file)
}

// own takes the right to write. It is an exclusive transaction on an empty database beside the log: SQLite's own file
// locks, which work wherever SQLite does, shut out a second writer in this process too, and end with the process however
// that ends. The log itself cannot be locked so, because readers have to get in.
func (s *SQLite) own(ctx context.Context, file string) (err error) {
	file, err = claim(file + ".lock")
	if err != nil {
		return err
	}
	if s.lockDB, err = sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=rw&_pragma=busy_timeout(0)&_pragma=journal_mode(MEMORY)"); err != nil {
		return err
	}
	if s.lock, err = s.lockDB.Conn(ctx); err == nil {
		_, err = s.lock.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	switch {
	case code(err) == sqlite3.SQLITE_BUSY:
		return ErrInUse
	case err != nil:
		return fmt.Errorf("lock %s: %w", file, err)
	}
	return nil
}

// dsn names the database file in mode ro or rwc, with pragmas.
func dsn(file, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}}
	for _, p := range append(pragmas, "busy_timeout("+strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")", "synchronous(FULL)", "temp_store(MEMORY)") {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + q.Encode()
}

// Close ends the log after what is being written, and lets go of it. It may be called more than once.
func (s *SQLite) Close() error {
	if err := s.close(); err != nil {
		return fmt.Errorf("close log %s: %w", s.path, err)
	}
	return nil
}

// release closes what is open, in reverse order of opening.
func (s *SQLite) release() error {
	var errs []error
	if s.readDB != nil {
		errs = append(errs, s.readDB.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.writer.close(), s.conn.Close())
	}
	if s.writeDB != nil {
		errs = append(errs, s.writeDB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if s.lockDB != nil {
		errs = append(errs, s.lockDB.Close())
	}
	return errors.Join(errs...)
}

// Now is the store's clock, UTC.
func (s *SQLite) Now(context.Context) (time.Time, error) { return s.now(), nil }

func (s *SQLite) now() time.Time { return s.opts.Now().UTC().Round(0) }

// view runs read with one consistent sight of the log.
func (s *SQLite) view(ctx context.Context, read func(querier) error) (err error) {
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	if s.readDB == nil {
		s.mem.Lock()
		defer s.mem.Unlock()
		return read(s.conn)
	}
	tx, err := s.readDB.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	// There is nothing to keep, so nothing is lost when this fails.
	defer func() { _ = tx.Rollback() }()
	return read(tx)
}

// code is SQLite's primary result code behind err; 0 without one.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// unwritable makes err wrap ErrUnwritable when it says that the file cannot be written now.
func unwritable(err error) error {
	switch code(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
		sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return err
}

// explain says in an operator's words what is wrong with a file that does not open.
func explain(err error) error {
	if code(err) == sqlite3.SQLITE_NOTADB {
		return fmt.Errorf("it is not a modeshift log: %w", err)
	}
	return err
}
