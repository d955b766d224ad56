package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// unreadable is how long a job is put off whose effect this program cannot make out.
const unreadable = time.Minute

// Lease hands out jobs that are due, oldest first, at most limit; 0: all. Of each key it hands out only the oldest job that
// is not over, and a job only when nobody holds it: for Options.Lease it is left alone, then it is due again.
//
// It writes nothing, so it goes on when the log cannot be written. A job whose effect cannot be made out (its event is
// damaged, or of a kind that only a newer program knows) is put off by a minute and says so in Jobs.
func (s *SQLite) Lease(ctx context.Context, limit int) ([]engine.Job, error) {
	if s.conn == nil {
		return nil, fmt.Errorf("lease jobs: %w", ErrReadOnly)
	}
	now := s.now()
	leased := s.queue.lease(now, now.Add(s.opts.Lease), limit)
	if len(leased) == 0 {
		return nil, nil
	}
	jobs := make([]engine.Job, 0, len(leased))
	err := s.view(ctx, func(q querier) error {
		for _, j := range leased {
			var body []byte
			err := q.QueryRowContext(ctx, `SELECT body FROM events WHERE position = ?`, j.position).Scan(&body)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			effect, err := effectOf(j.id, body)
			if err != nil {
				s.queue.postpone(j.id, now.Add(unreadable), err.Error())
				continue
			}
			jobs = append(jobs, engine.Job{Effect: effect, Owed: j.owed, Attempts: j.attempts, Problem: j.problem, Begun: j.begun})
		}
		return nil
	})
	if err != nil {
		s.queue.release(leased...)
		return nil, fmt.Errorf("lease jobs: %w", err)
	}
	return jobs, nil
}

// effectOf finds the effect of a job in the event it is owed for.
func effectOf(id string, body []byte) (engine.Effect, error) {
	if body == nil {
		return engine.Effect{}, errors.New("the event it is owed for is not in the log")
	}
	e, err := engine.Decode(body)
	if err != nil {
		return engine.Effect{}, err
	}
	for _, effect := range engine.Effects(e) {
		if effect.ID == id {
			return effect, nil
		}
	}
	return engine.Effect{}, fmt.Errorf("this program does not know what %s of %s/%d asks for", e.Kind(), e.Stream, e.Version)
}

// Begin says that an attempt of a job is about to be made. When it returns nil that is durable: should the process die before
// it says what came of the attempt, Lease hands the job out with Begun set. Whoever must not do something twice makes no
// attempt before. Retry takes the mark away: what came of the attempt is known then.
//
// Errors: ErrNotOwed when the job is over or never was; the cause of ctx when that ended first; ErrUnwritable. After any of
// them no attempt may be made; after ErrUnwritable a later process may see the mark all the same.
func (s *SQLite) Begin(ctx context.Context, id string) error {
	err := s.submit(ctx, &write{
		job: id,
		stage: func(t *txn) error {
			j, ok := s.queue.find(id)
			switch {
			case !ok:
				return t.late("begin", id)
			case j.begun:
				return refusal{} // it is written
			}
			return t.exec(t.begun, id)
		},
		after: func(err error) {
			if err == nil {
				s.queue.begin(id)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("begin job %s: %w", id, err)
	}
	return nil
}

// Done says that a job was carried out. To say so again changes nothing.
//
// Errors of Done, Retry and Fail: ErrNotOwed when the job is over or never was; the cause of ctx when that ended first: the
// job stays leased; ErrUnwritable: this process remembers the outcome and writes it as soon as anything can be written, so
// the caller need not repeat it. Only if the process dies before that is the job carried out again.
func (s *SQLite) Done(ctx context.Context, id string) error {
	return s.end(ctx, "done", id, func(j job) outcome {
		return outcome{state: JobDone, attempts: j.attempts, problem: j.problem, due: j.due, ended: s.now()}
	})
}

// Retry says that an attempt failed with a problem, and that the next one is due after some time.
func (s *SQLite) Retry(ctx context.Context, id, problem string, after time.Duration) error {
	return s.end(ctx, "retry", id, func(j job) outcome {
		return outcome{state: JobOwed, attempts: j.attempts + 1, problem: problem, due: s.now().Add(max(0, after))}
	})
}

// Fail says that an attempt failed with a problem and that another one would be of no use. The job is kept with its
// problem, and the later jobs of its key go on.
func (s *SQLite) Fail(ctx context.Context, id, problem string) error {
	return s.end(ctx, "fail", id, func(j job) outcome {
		return outcome{state: JobFailed, attempts: j.attempts + 1, problem: problem, due: j.due, ended: s.now()}
	})
}

// end stores the outcome of a job.
func (s *SQLite) end(ctx context.Context, verb, id string, make func(job) outcome) error {
	var o outcome // as the last stage left it
	err := s.submit(ctx, &write{
		job: id,
		stage: func(t *txn) error {
			j, ok := s.queue.find(id)
			if !ok {
				return t.late(verb, id)
			}
			o = make(j)
			o.id = id
			return t.settle(&o)
		},
		after: func(err error) {
			switch j, ok := s.queue.find(id); {
			case !ok: // over before
			case err == nil:
				s.queue.settle(&o, true)
			case errors.Is(err, ErrUnwritable): // perhaps before it was staged
				o = make(j)
				o.id = id
				s.queue.settle(&o, false)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("%s job %s: %w", verb, id, err)
	}
	return nil
}

// late answers an outcome for a job that is not owed: that it is done may be said twice.
func (t *txn) late(verb, id string) error {
	var state JobState
	switch err := t.jobState.QueryRowContext(context.Background(), id).Scan(&state); {
	case errors.Is(err, sql.ErrNoRows):
		return refusal{ErrNotOwed}
	case err != nil:
		return err
	}
	if o := t.s.queue.remembered(id); o != "" {
		state = o
	}
	if state == JobDone && verb == "done" {
		return refusal{}
	}
	return refusal{fmt.Errorf("%w: it is %s", ErrNotOwed, state)}
}

// settle stages outcomes.
func (t *txn) settle(outcomes ...*outcome) error {
	for _, o := range outcomes {
		var ended any
		if !o.ended.IsZero() {
			ended = o.ended.UnixNano()
		}
		if err := t.exec(t.outcome, string(o.state), o.attempts, o.problem, o.due.UnixNano(), ended, o.begun, o.id); err != nil {
			return err
		}
	}
	return nil
}

// Release voids all leases, so that their jobs are due at once. A server calls it when it starts and nobody else can hold
// any: with SQLite that is so by itself, because leases end with their process.
func (s *SQLite) Release(context.Context) error {
	if s.conn == nil {
		return fmt.Errorf("release leases: %w", ErrReadOnly)
	}
	s.queue.release()
	return nil
}

// JobCounts counts jobs by where they stand. Without the right to write, leased ones count as owed: only their owner knows.
func (s *SQLite) JobCounts(ctx context.Context) (c JobCounts, err error) {
	if s.conn != nil {
		return s.queue.counts(s.now()), nil
	}
	err = s.view(ctx, func(q querier) error {
		over, err := countOver(ctx, q)
		if err != nil {
			return err
		}
		var oldest sql.NullInt64
		if err := q.QueryRowContext(ctx, `SELECT count(*), min(owed) FROM jobs WHERE state = 'owed'`).Scan(&c.Owed, &oldest); err != nil {
			return err
		}
		c.Done, c.Failed = over[JobDone], over[JobFailed]
		if oldest.Valid {
			c.Oldest = time.Unix(0, oldest.Int64).UTC()
		}
		return nil
	})
	if err != nil {
		return JobCounts{}, fmt.Errorf("count jobs: %w", err)
	}
	return c, nil
}

// Jobs returns jobs, the newest first. Without the right to write, leased ones are shown as owed.
func (s *SQLite) Jobs(ctx context.Context, filter JobFilter) (jobs []JobStatus, err error) {
	// What the table calls owed may be leased, or over without that having been written.
	where := ``
	switch filter.State {
	case "":
	case JobDone:
		where = `WHERE j.state IN ('owed', 'done')`
	default: // by the partial indexes: among many done jobs these are few
		where = `WHERE j.seq IN (SELECT seq FROM jobs WHERE state = 'owed' UNION ALL SELECT seq FROM jobs WHERE state = 'failed')`
	}
	err = s.view(ctx, func(q querier) error {
		rows, err := q.QueryContext(ctx, `SELECT j.id, j.key, j.owed, j.due, j.state, j.attempts, j.problem, j.begun AND j.state = 'owed', coalesce(j.ended, 0), e.body
			FROM jobs j LEFT JOIN events e ON e.position = j.position `+where+` ORDER BY j.seq DESC`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err has what matters
		now := s.now()
		for rows.Next() && (filter.Limit <= 0 || len(jobs) < filter.Limit) {
			var j JobStatus
			var owed, due, ended int64
			var body []byte
			if err := rows.Scan(&j.ID, &j.Key, &owed, &due, &j.State, &j.Attempts, &j.Problem, &j.Begun, &ended, &body); err != nil {
				return err
			}
			j.Owed, j.Due = time.Unix(0, owed).UTC(), time.Unix(0, due).UTC()
			if ended != 0 {
				j.Ended = time.Unix(0, ended).UTC()
			}
			// One whose effect cannot be made out is shown all the same, with what is known of it.
			if effect, err := effectOf(j.ID, body); err == nil {
				j.Effect = effect
			}
			if s.queue.correct(&j, now); filter.State == "" || j.State == filter.State {
				jobs = append(jobs, j)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	return jobs, nil
}

// FailedJobs returns the jobs that failed for good, the newest first, at most limit; 0: all.
func (s *SQLite) FailedJobs(ctx context.Context, limit int) ([]JobStatus, error) {
	return s.Jobs(ctx, JobFilter{State: JobFailed, Limit: limit})
}
