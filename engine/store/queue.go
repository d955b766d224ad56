package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"
)

// job is one that is not over.
type job struct {
	seq      int64 // order in which jobs became owed
	id, key  string
	position int64 // of its event
	owed     time.Time
	due      time.Time
	attempts int
	problem  string
	leased   time.Time // until when; zero: not leased
	begun    bool      // an attempt was begun whose outcome is not known
}

// outcome is what became of an attempt.
type outcome struct {
	id       string
	state    JobState // JobOwed: another attempt
	attempts int
	problem  string
	due      time.Time
	ended    time.Time
	begun    bool // the attempt after it was begun before it could be written
}

func (o *outcome) over() bool { return o.state != JobOwed }

// queue holds all jobs that are not over. Because one process owns the log, it is the truth about them while that lives:
// the table behind it is for the next process. That is what makes jobs go on when nothing can be written.
type queue struct {
	mu      sync.Mutex        // guards all below
	seen    time.Time         // the clock when it was last asked for jobs
	keys    map[string][]*job // oldest first
	jobs    map[string]*job   // by ID
	over    map[JobState]int
	unsaved map[string]*outcome // the last outcome of jobs for which it could not be written, by ID
}

func newQueue() queue {
	return queue{keys: map[string][]*job{}, jobs: map[string]*job{}, over: map[JobState]int{}, unsaved: map[string]*outcome{}}
}

// maxWait is longer than any retry is put off for: the runner's longest backoff and the longest Retry-After it heeds come
// to 20 minutes.
const maxWait = time.Hour

// load reads the jobs that an earlier process left. One that is due later than any retry can be was put off by a clock that
// was ahead then; it is due now.
func (q *queue) load(ctx context.Context, conn *sql.Conn, now time.Time) error {
	rows, err := conn.QueryContext(ctx, `SELECT seq, id, key, position, owed, due, attempts, problem, begun FROM jobs WHERE state = 'owed' ORDER BY seq`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var jobs []*job
	for rows.Next() {
		j := &job{}
		var owed, due int64
		if err := rows.Scan(&j.seq, &j.id, &j.key, &j.position, &owed, &due, &j.attempts, &j.problem, &j.begun); err != nil {
			return err
		}
		j.owed, j.due = time.Unix(0, owed).UTC(), time.Unix(0, due).UTC()
		if j.due.Sub(now) > maxWait {
			j.due = now
		}
		jobs = append(jobs, j)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	q.add(jobs)
	counts, err := countOver(ctx, conn)
	q.over = counts
	return err
}

// countOver counts the jobs that are over. Done ones are all that are neither owed nor failed, so that the many of them
// need not be looked at one by one.
func countOver(ctx context.Context, q querier) (map[JobState]int, error) {
	var all, owed, failed int
	err := q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM jobs WHERE state = 'owed'),
		(SELECT count(*) FROM jobs WHERE state = 'failed')`).Scan(&all, &owed, &failed)
	return map[JobState]int{JobDone: all - owed - failed, JobFailed: failed}, err
}

// add takes in jobs that became owed, in their order.
func (q *queue) add(jobs []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		q.keys[j.key] = append(q.keys[j.key], j)
		q.jobs[j.id] = j
	}
}

// lease hands out until then what is due now: the oldest job of each key, oldest first.
func (q *queue) lease(now, until time.Time, limit int) []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.follow(now)
	var due []*job
	for _, of := range q.keys {
		if j := of[0]; !j.due.After(now) && !j.leased.After(now) {
			due = append(due, j)
		}
	}
	slices.SortFunc(due, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	if limit > 0 && len(due) > limit {
		due = due[:limit]
	}
	leased := make([]job, len(due))
	for i, j := range due {
		j.leased = until
		leased[i] = *j
	}
	return leased
}

// follow takes a step the clock made back out of what jobs wait for: a page that was to be tried again in two seconds does
// not wait until the clock is again where it was. The caller holds q.mu.
func (q *queue) follow(now time.Time) {
	if back := q.seen.Sub(now); back > 0 {
		for _, j := range q.jobs {
			j.due = j.due.Add(-back)
			if !j.leased.IsZero() {
				j.leased = j.leased.Add(-back)
			}
		}
	}
	q.seen = now
}

// release takes back the leases of jobs; without any, all leases.
func (q *queue) release(jobs ...job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(jobs) == 0 {
		for _, j := range q.jobs {
			j.leased = time.Time{}
		}
	}
	for _, taken := range jobs {
		if j := q.jobs[taken.id]; j != nil {
			j.leased = time.Time{}
		}
	}
}

// find returns what is known of a job that is not over.
func (q *queue) find(id string) (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.jobs[id]; j != nil {
		return *j, true
	}
	return job{}, false
}

// begin notes that an attempt of a job was begun, which is written.
func (q *queue) begin(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.jobs[id]; j != nil {
		j.begun = true
	}
	if o := q.unsaved[id]; o != nil {
		o.begun = true // what is written later must not take the mark away
	}
}

// settle takes in an outcome, written or not.
func (q *queue) settle(o *outcome, written bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if written {
		delete(q.unsaved, o.id)
	} else {
		q.unsaved[o.id] = o
	}
	j := q.jobs[o.id]
	if j == nil {
		return
	}
	if !o.over() {
		j.attempts, j.problem, j.due, j.leased, j.begun = o.attempts, o.problem, o.due, time.Time{}, false
		return
	}
	q.over[o.state]++
	delete(q.jobs, j.id)
	of := slices.DeleteFunc(q.keys[j.key], func(other *job) bool { return other == j })
	if q.keys[j.key] = of; len(of) == 0 {
		delete(q.keys, j.key)
	}
}

// backlog is a write of all outcomes that could not be written; nil when there are none.
func (q *queue) backlog() *write {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.unsaved) == 0 {
		return nil
	}
	waiting := make([]*outcome, 0, len(q.unsaved))
	for _, o := range q.unsaved {
		waiting = append(waiting, o)
	}
	return &write{
		done:  make(chan error, 1),
		stage: func(t *txn) error { return t.settle(waiting...) },
		after: func(err error) {
			if err == nil {
				for _, o := range waiting {
					q.saved(o)
				}
			}
		},
	}
}

// saved forgets an outcome that is written now, unless a later one took its place.
func (q *queue) saved(o *outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.unsaved[o.id] == o {
		delete(q.unsaved, o.id)
	}
}

// remembered is the outcome of a job that is over and could not be written; empty without one.
func (q *queue) remembered(id string) JobState {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o := q.unsaved[id]; o != nil && o.over() {
		return o.state
	}
	return ""
}

// counts says how many jobs stand where.
func (q *queue) counts(now time.Time) JobCounts {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := JobCounts{Done: q.over[JobDone], Failed: q.over[JobFailed], Unwritten: len(q.unsaved)}
	for _, j := range q.jobs {
		if j.leased.After(now) {
			c.Leased++
		} else {
			c.Owed++
		}
		if c.Oldest.IsZero() || j.owed.Before(c.Oldest) {
			c.Oldest = j.owed
		}
	}
	return c
}

// correct brings s, as the table has it, to what this process knows at now.
func (q *queue) correct(s *JobStatus, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o := q.unsaved[s.ID]; o != nil {
		s.State, s.Attempts, s.Problem, s.Due, s.Ended = o.state, o.attempts, o.problem, o.due, o.ended
	}
	if j := q.jobs[s.ID]; j != nil {
		s.Attempts, s.Problem, s.Due, s.Begun = j.attempts, j.problem, j.due, j.begun
		if j.leased.After(now) {
			s.State = JobLeased
		}
	}
}

// postpone puts a job off without an attempt.
func (q *queue) postpone(id string, due time.Time, problem string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.jobs[id]; j != nil {
		j.due, j.problem, j.leased = due, problem, time.Time{}
	}
}
