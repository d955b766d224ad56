package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// maxBatch bounds how many writes share a transaction, and how many wait before callers have to.
const maxBatch = 256

// write is something a caller wants stored.
type write struct {
	// stage writes it. It may run twice, in two transactions. A refusal it returns concerns this write alone and must
	// come before anything was written.
	stage func(*txn) error
	// after runs in the turn, when the outcome is known, before the caller hears of it; may be nil.
	after func(error)
	// job is whose outcome this is; empty for other writes. A batch holds one write a job at most, so that each sees
	// what the one before it left.
	job string

	phase atomic.Int32 // queued, taken, abandoned
	done  chan error   // holds the outcome; capacity 1
	err   error        // the outcome so far; the writer's
}

const (
	queued = iota
	taken
	abandoned
)

// refusal is the error of one write that does not fit. The others in its batch are none the worse.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// submit has w written and waits for the outcome. When ctx ends before the writer took it up, it is not written; from then
// on submit waits, so that a caller who gives up never leaves in doubt what happened.
//
// There is no goroutine that writes: whoever waits and finds that nobody writes takes the turn, and stores what waits by
// then, of others too. So a lone writer is never kept by a switch of goroutines, and many share a commit.
func (s *SQLite) submit(ctx context.Context, w *write) error {
	if s.conn == nil {
		return ErrReadOnly
	}
	w.done = make(chan error, 1)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closing:
		return ErrClosed
	}
	for {
		select {
		case err := <-w.done:
			return err
		default:
		}
		select {
		case err := <-w.done:
			return err
		case s.turn <- struct{}{}:
			s.round()
			<-s.turn
		case <-ctx.Done():
			if w.phase.CompareAndSwap(queued, abandoned) {
				return context.Cause(ctx)
			}
			return <-w.done
		case <-s.ended:
			if w.phase.CompareAndSwap(queued, abandoned) {
				return ErrClosed
			}
			return <-w.done
		}
	}
}

// finish stores what still waits, and then nothing more: it keeps the turn.
func (s *SQLite) finish() {
	s.turn <- struct{}{}
	for s.round() {
	}
	close(s.ended)
}

// round stores what waits, up to maxBatch, in one transaction, and reports whether there was anything. The caller has the
// turn.
func (s *SQLite) round() bool {
	batch, jobs := make([]*write, 0, 8), map[string]bool{}
	w := s.held
	s.held = nil
	for len(batch) < maxBatch && s.held == nil {
		if w == nil {
			select {
			case w = <-s.writes:
			default:
				s.commit(batch)
				return len(batch) > 0
			}
		}
		switch {
		case w.job != "" && jobs[w.job]:
			s.held = w
		case w.phase.CompareAndSwap(queued, taken):
			batch = append(batch, w)
			jobs[w.job] = true
		}
		w = nil
	}
	s.commit(batch)
	return true
}

// commit stores batch, behind the outcomes that could not be written before. If that fails each write is tried by itself:
// one that does not fit on the disk must not take the others with it.
func (s *SQLite) commit(batch []*write) {
	if backlog := s.queue.backlog(); backlog != nil {
		batch = append([]*write{backlog}, batch...)
	}
	if len(batch) == 0 {
		return
	}
	begun, err := s.transact(batch)
	switch {
	case err != nil && begun && len(batch) > 1:
		for _, w := range batch {
			if _, err := s.transact([]*write{w}); err != nil {
				w.err = err
			}
		}
	case err != nil:
		for _, w := range batch {
			w.err = err
		}
	}
	for _, w := range batch {
		w.err = unwritable(w.err)
		if w.after != nil {
			w.after(w.err)
		}
		w.done <- w.err
	}
}

// transact stages batch and commits. Refusals are left in the writes; any other error means that nothing was stored, and
// begun whether it came after the transaction had begun.
func (s *SQLite) transact(batch []*write) (begun bool, err error) {
	if s.readDB == nil {
		s.mem.Lock()
		defer s.mem.Unlock()
	}
	w := &s.writer
	if err := w.exec(w.begin); err != nil {
		return false, err
	}
	if err := w.orient(); err != nil {
		return true, w.undo(err)
	}
	t := &txn{s: s, writer: w, next: w.last, seq: w.seq, heads: map[engine.Scope]head{}}
	staged := 0
	for _, one := range batch {
		one.err = one.stage(t)
		if one.err == nil {
			staged++
			continue
		}
		if r, refused := errors.AsType[refusal](one.err); refused {
			one.err = r.error
			continue
		}
		return true, w.undo(one.err)
	}
	if staged == 0 {
		return true, w.undo(nil)
	}
	if err := w.exec(w.commit); err != nil {
		return true, w.undo(err)
	}
	w.last, w.seq = t.next, t.seq
	for stream, h := range t.heads {
		w.heads[stream] = h
	}
	return true, nil
}

// head is the end of a stream.
type head struct {
	version engine.Version
	hash    link
	at      time.Time
}

// writer belongs to whoever has the turn: the statements, and what it knows of the log because nobody else writes.
type writer struct {
	begin, commit, rollback    *sql.Stmt
	ends, readHead, event, job *sql.Stmt
	jobState, outcome, begun   *sql.Stmt
	snap, marked               *sql.Stmt
	ledgerSaved, ledgerPage    *sql.Stmt
	ledgerCut, ledgerDrop      *sql.Stmt
	instance, instanceGone     *sql.Stmt
	ranked, term               *sql.Stmt

	all []*sql.Stmt

	known bool  // last, seq and heads are what the log says
	last  int64 // position of the last event
	seq   int64 // of the last job
	heads map[engine.Scope]head
}

// prepare readies the writer on conn, which is its own for good.
func (w *writer) prepare(ctx context.Context, conn *sql.Conn) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.rollback, `ROLLBACK`},
		{&w.ends, `SELECT (SELECT coalesce(max(position), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM jobs)`},
		{&w.readHead, `SELECT version, hash, body FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`},
		{&w.event, `INSERT INTO events (position, stream, version, hash, body) VALUES (?, ?, ?, ?, ?)`},
		{&w.job, `INSERT INTO jobs (seq, id, key, position, owed, due, state, attempts, problem) VALUES (?, ?, ?, ?, ?, ?, 'owed', 0, '')`},
		{&w.jobState, `SELECT state FROM jobs WHERE id = ?`},
		{&w.outcome, `UPDATE jobs SET state = ?, attempts = ?, problem = ?, due = ?, ended = ?, begun = ? WHERE id = ?`},
		{&w.begun, `UPDATE jobs SET begun = 1 WHERE id = ?`},
		{&w.snap, `INSERT INTO snapshots (stream, version, hash, format, state)
			SELECT stream, version, hash, ?, ? FROM events WHERE stream = ? AND version = ?
			ON CONFLICT (stream) DO UPDATE SET version = excluded.version, hash = excluded.hash, format = excluded.format, state = excluded.state`},
		{&w.ledgerSaved, `INSERT INTO ledgers (scope, slo, digest, saved) VALUES (?, ?, ?, ?)
			ON CONFLICT (scope, slo, digest) DO UPDATE SET saved = excluded.saved RETURNING id`},
		{&w.ledgerPage, `INSERT INTO ledger_pages (ledger, hour, body) VALUES (?, ?, ?) ON CONFLICT (ledger, hour) DO UPDATE SET body = excluded.body`},
		{&w.ledgerCut, `DELETE FROM ledger_pages WHERE ledger = ? AND hour < ?`},
		{&w.ledgerDrop, `DELETE FROM ledgers WHERE id = ?`},
		{&w.instance, `INSERT INTO instances (scope, name, body) VALUES (?, ?, ?) ON CONFLICT (scope, name) DO UPDATE SET body = excluded.body`},
		{&w.instanceGone, `DELETE FROM instances WHERE scope = ? AND name = ?`},
		{&w.ranked, `INSERT INTO ranks (scope, change, names) VALUES (?, ?, ?) ON CONFLICT (scope) DO UPDATE SET change = excluded.change, names = excluded.names`},
		{&w.term, `INSERT INTO terms (one, term) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET term = max(term + 1, excluded.term) RETURNING term`},
		{&w.marked, `INSERT INTO marks (name, instant) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET instant = excluded.instant`},
	} {
		var err error
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return fmt.Errorf("prepare %q: %w", p.text, err)
		}
		w.all = append(w.all, *p.stmt)
	}
	return nil
}

// close lets go of the statements. Without that SQLite keeps the connection, its files and its locks beyond its end.
func (w *writer) close() error {
	var errs []error
	for _, stmt := range w.all {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

// orient reads where the log ends, if that is not known.
func (w *writer) orient() error {
	if w.known {
		return nil
	}
	if err := w.ends.QueryRowContext(context.Background()).Scan(&w.last, &w.seq); err != nil {
		return fmt.Errorf("read where the log ends: %w", err)
	}
	w.heads, w.known = map[engine.Scope]head{}, true
	return nil
}

// exec runs a statement to its end: a write under way is not interrupted, because its outcome would be in doubt.
func (w *writer) exec(stmt *sql.Stmt, args ...any) error {
	_, err := stmt.ExecContext(context.Background(), args...)
	return err
}

// undo ends the transaction without effect and returns why. What is known of the log is forgotten: it may be the reason.
func (w *writer) undo(why error) error {
	// After some errors SQLite has rolled back by itself, and says here that there is nothing to roll back.
	_ = w.exec(w.rollback)
	w.known = w.known && why == nil
	return why
}

// txn is one transaction of the writer, and what it will leave.
type txn struct {
	s *SQLite
	*writer
	next  int64 // position of the last event staged
	seq   int64
	heads map[engine.Scope]head
}

// head returns the end of stream as this transaction leaves it so far.
func (t *txn) head(stream engine.Scope) (head, error) {
	if h, ok := t.heads[stream]; ok {
		return h, nil
	}
	if h, ok := t.writer.heads[stream]; ok {
		return h, nil
	}
	var version int64
	var hash, body []byte
	switch err := t.readHead.QueryRowContext(context.Background(), string(stream)).Scan(&version, &hash, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return head{hash: anchor(stream)}, nil
	case err != nil:
		return head{}, fmt.Errorf("read the end of %s: %w", stream, err)
	case len(hash) != len(link{}):
		return head{}, fmt.Errorf("the hash of %s/%d is damaged", stream, version)
	}
	e, err := engine.Decode(body)
	if err != nil {
		return head{}, fmt.Errorf("the last event of %s is damaged: %w", stream, err)
	}
	h := head{version: engine.Version(version), hash: link(hash), at: e.At}
	t.writer.heads[stream] = h // read from the log, so true whether this transaction commits or not
	return h, nil
}
