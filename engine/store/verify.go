package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Verify reads the whole log again, in the order of its positions and from the table itself, and checks that
//
//   - positions and, in each stream, versions have no holes, and no time runs backwards;
//   - every body decodes to an event of its stream and version, and every hash is that of the chain;
//   - every checkpoint in the fleet's stream names events that stand before it, with their hashes;
//   - the jobs are those that the events owe;
//   - the file's own structure is sound (PRAGMA integrity_check): an index that leads elsewhere would show readers another
//     log than the one checked here.
//
// A damaged log gives a *Fault, which names the first bad position, and the report up to there. Any other error means that
// the log could not be read to its end. Snapshots are compared with what the events give; that they differ is reported and
// is no fault of the log.
func (s *SQLite) Verify(ctx context.Context) (Report, error) {
	c := check{streams: map[engine.Scope]*checked{}}
	err := s.view(ctx, func(q querier) error {
		err := c.walk(ctx, q)
		if err == nil {
			err = c.integrity(ctx, q)
		}
		if k := code(err); k == 11 || k == 26 { // SQLITE_CORRUPT, SQLITE_NOTADB
			return &Fault{Position: c.report.Last + 1, What: "the file is damaged: " + err.Error()}
		}
		return err
	})
	c.report.Streams = len(c.streams)
	for name, stream := range c.streams {
		c.report.Heads = append(c.report.Heads, engine.Head{Stream: name, Version: stream.version, Hash: hex.EncodeToString(stream.hash[:])})
	}
	slices.SortFunc(c.report.Heads, func(a, b engine.Head) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	slices.Sort(c.report.Stale)
	if err != nil {
		return c.report, fmt.Errorf("verify log %s: %w", s.path, err)
	}
	return c.report, nil
}

// check is a verification under way.
type check struct {
	report  Report
	streams map[engine.Scope]*checked
	snaps   map[engine.Scope]kept
}

// checked is what is known of a stream as far as it was read.
type checked struct {
	version engine.Version
	hash    link
	at      time.Time
	// since holds the hashes from version base on. A checkpoint names what moved since the one before it, so what it named
	// need not be kept longer.
	base  engine.Version
	since []link
	state engine.State // folded while there is a snapshot to compare it with
}

// kept is a snapshot as it stands in the table.
type kept struct {
	version engine.Version
	hash    []byte
	state   []byte
}

// row is an event as it stands in the table.
type row struct {
	position int64
	stream   engine.Scope
	version  int64
	hash     []byte
	body     []byte
}

// page is how many events are read at once, with the jobs they owe.
const page = 1000

func (c *check) walk(ctx context.Context, q querier) error {
	if err := c.readSnapshots(ctx, q); err != nil {
		return err
	}
	events, err := q.PrepareContext(ctx, `SELECT position, stream, version, hash, body FROM events NOT INDEXED WHERE position > ? ORDER BY position LIMIT ?`)
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }() // read only
	jobs, err := q.PrepareContext(ctx, `SELECT position, id, key FROM jobs WHERE position > ? AND position <= ? ORDER BY seq`)
	if err != nil {
		return err
	}
	defer func() { _ = jobs.Close() }() // read only
	for after := int64(math.MinInt64); ; after = c.report.Last {
		rows, err := readRows(ctx, events, after)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			// A snapshot of what is not there is no proof of anything, being a cache, but somebody should know.
			for stream := range c.snaps {
				c.report.Stale = append(c.report.Stale, stream)
			}
			return c.strayJobs(ctx, q)
		}
		owed, err := readOwed(ctx, jobs, c.report.Last, rows[len(rows)-1].position)
		if err != nil {
			return err
		}
		for i, r := range rows {
			if fault := c.event(r, owed[r.position]); fault != nil {
				c.name(fault, rows[i:])
				return fault
			}
		}
	}
}

// event checks one row and takes it in.
func (c *check) event(r row, owed []job) *Fault {
	fault := func(format string, args ...any) *Fault {
		return &Fault{r.position, r.stream, engine.Version(r.version), fmt.Sprintf(format, args...)}
	}
	if want := c.report.Last + 1; r.position < want {
		return fault("positions begin at 1")
	} else if r.position > want {
		return &Fault{Position: want, What: "the event that stood here is missing"}
	}
	stream := c.streams[r.stream]
	if stream == nil {
		stream = &checked{hash: anchor(r.stream), base: 1, state: engine.State{}}
	}
	if want := stream.version + 1; engine.Version(r.version) != want {
		return fault("version %d should stand here", want)
	}
	hash := stream.hash.next(r.body)
	if string(hash[:]) != string(r.hash) {
		return fault("its hash is not that of its body and the hash before it")
	}
	e, err := engine.Decode(r.body)
	switch {
	case err != nil:
		return fault("%v", err)
	case e.Stream != r.stream || int64(e.Version) != r.version:
		return fault("its body is that of %s/%d", e.Stream, e.Version)
	case e.At.Before(stream.at):
		return fault("its time %s is before that of the event before it", e.At.Format(time.RFC3339Nano))
	}
	if what := owes(e, owed); what != "" {
		return fault("%s", what)
	}
	stream.version, stream.hash, stream.at = e.Version, hash, e.At
	stream.since = append(stream.since, hash)
	c.streams[r.stream] = stream
	if f, ok := e.Fact.(engine.CheckpointMade); ok && e.Stream == engine.Fleet {
		for _, h := range f.Heads {
			if what := c.checkpoint(h); what != "" {
				return fault("%s", what)
			}
		}
		c.report.Checkpoints++
	}
	c.compare(stream, e)
	c.report.Events++
	c.report.Jobs += len(owed)
	c.report.Last = r.position
	return nil
}

// checkpoint checks that the log has what a checkpoint says of a stream, and returns what is wrong.
func (c *check) checkpoint(h engine.Head) string {
	stream := c.streams[h.Stream]
	if stream == nil {
		return fmt.Sprintf("this checkpoint has seen %s/%d, but the stream is not in the log", h.Stream, h.Version)
	}
	if h.Version > stream.version {
		return fmt.Sprintf("this checkpoint has seen %s/%d, but the stream ended at version %d: it was cut or rolled back", h.Stream, h.Version, stream.version)
	}
	if h.Version < stream.base {
		return fmt.Sprintf("this checkpoint has seen %s/%d, but one before it had seen version %d", h.Stream, h.Version, stream.base)
	}
	i := int(h.Version - stream.base)
	if hex.EncodeToString(stream.since[i][:]) != h.Hash {
		return fmt.Sprintf("this checkpoint has seen %s/%d with another hash: the stream was written anew", h.Stream, h.Version)
	}
	stream.base, stream.since = h.Version, slices.Clone(stream.since[i:])
	return ""
}

// owes compares the jobs of an event with those it has to have, and returns what is wrong.
func owes(e engine.Event, jobs []job) string {
	effects := engine.Effects(e)
	for i, effect := range effects {
		if i >= len(jobs) {
			return fmt.Sprintf("the job %s it owes is missing", effect.ID)
		}
		if jobs[i].id != effect.ID || jobs[i].key != effect.Key {
			return fmt.Sprintf("it owes job %s of key %s, and in its place stands %s of key %s", effect.ID, effect.Key, jobs[i].id, jobs[i].key)
		}
	}
	if len(jobs) > len(effects) {
		return fmt.Sprintf("it does not owe job %s", jobs[len(effects)].id)
	}
	return ""
}

// compare folds e where there is a snapshot ahead, and compares when it is reached.
func (c *check) compare(stream *checked, e engine.Event) {
	snap, ok := c.snaps[e.Stream]
	if !ok {
		return
	}
	stream.state = engine.Apply(stream.state, e)
	if e.Version < snap.version {
		return
	}
	state, err := json.Marshal(stream.state)
	if err != nil || string(state) != string(snap.state) || string(stream.hash[:]) != string(snap.hash) {
		c.report.Stale = append(c.report.Stale, e.Stream)
	}
	stream.state = engine.State{}
	delete(c.snaps, e.Stream)
}

func (c *check) readSnapshots(ctx context.Context, q querier) error {
	rows, err := q.QueryContext(ctx, `SELECT stream, version, hash, state FROM snapshots WHERE format = ?`, format)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	c.snaps = map[engine.Scope]kept{}
	for rows.Next() {
		var stream string
		var version int64
		var k kept
		if err := rows.Scan(&stream, &version, &k.hash, &k.state); err != nil {
			return err
		}
		k.version = engine.Version(version)
		c.snaps[engine.Scope(stream)] = k
	}
	return rows.Err()
}

// name finds out which event is missing at a hole: that after which a stream goes on with a version too many. Where no
// stream goes on it cannot be told.
func (c *check) name(f *Fault, rest []row) {
	if f.Stream != "" {
		return
	}
	ends := map[engine.Scope]engine.Version{}
	for _, r := range rest {
		end, seen := ends[r.stream]
		if !seen && c.streams[r.stream] != nil {
			end = c.streams[r.stream].version
		}
		if engine.Version(r.version) != end+1 {
			f.Stream, f.Version = r.stream, end+1
			return
		}
		ends[r.stream] = end + 1
	}
}

// strayJobs finds jobs that stand at no position at all.
func (c *check) strayJobs(ctx context.Context, q querier) error {
	var id string
	var position int64
	err := q.QueryRowContext(ctx, `SELECT id, position FROM jobs WHERE position NOT BETWEEN 1 AND ? ORDER BY position LIMIT 1`, c.report.Last).Scan(&id, &position)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &Fault{Position: position, What: fmt.Sprintf("job %s is owed for an event that does not exist", id)}
}

func (c *check) integrity(ctx context.Context, q querier) error {
	var what string
	if err := q.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&what); err != nil {
		return err
	}
	if what != "ok" {
		return &Fault{What: "the file's structure: " + what}
	}
	return nil
}

// readRows reads a page of events after a position.
func readRows(ctx context.Context, events *sql.Stmt, after int64) ([]row, error) {
	rows, err := events.QueryContext(ctx, after, page)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.position, (*string)(&r.stream), &r.version, &r.hash, &r.body); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// readOwed reads the jobs of a page's events, by position, in their order.
func readOwed(ctx context.Context, jobs *sql.Stmt, after, upTo int64) (map[int64][]job, error) {
	rows, err := jobs.QueryContext(ctx, after, upTo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	owed := map[int64][]job{}
	for rows.Next() {
		var j job
		if err := rows.Scan(&j.position, &j.id, &j.key); err != nil {
			return nil, err
		}
		owed[j.position] = append(owed[j.position], j)
	}
	return owed, rows.Err()
}
