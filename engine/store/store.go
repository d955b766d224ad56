package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// The errors callers branch on.
var (
	// ErrConflict: a stream is not at the expected version. Nothing was written; reload and decide again.
	ErrConflict = errors.New("the stream has moved on")
	// ErrUnwritable: the disk is full, failing or locked by somebody else. Trying again later may help. After a failing
	// disk the caller cannot tell whether the write took effect: it reads back before it tries again.
	ErrUnwritable = errors.New("the log cannot be written")
	// ErrInvalid: what was to be stored can never be stored: a version out of line, a time that runs backwards.
	ErrInvalid = errors.New("not a valid append")
	// ErrNotOwed: the job does not exist, or is over already.
	ErrNotOwed = errors.New("no such job is owed")
	// ErrInUse: another process owns the log.
	ErrInUse = errors.New("in use by another modeshift")
	// ErrNewerSchema: a newer modeshift wrote the log.
	ErrNewerSchema = errors.New("written by a newer modeshift")
	// ErrReadOnly: the log was opened to look on.
	ErrReadOnly = errors.New("opened for reading only")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the log is closed")
)

// Options are what a store needs to know beside its place. The zero value is good.
type Options struct {
	// Now is the store's clock; nil: time.Now. Leases, retries and the times of jobs go by it.
	Now func() time.Time
	// Lease is how long a job handed out is left alone; 0: 30 s. It must exceed the longest attempt.
	Lease time.Duration
}

// DefaultLease is how long a job handed out is left alone, unless Options say otherwise.
const DefaultLease = 30 * time.Second

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	return o
}

// Append is events to be added to one stream.
type Append = engine.Append

// Stored is an event with its place in the order over all streams. Positions begin at 1 and have no holes.
type Stored struct {
	Position int64
	Event    engine.Event
}

// JobState says where a job stands.
type JobState string

// The states of a job.
const (
	JobOwed   JobState = "owed"   // waits for its turn or for its next attempt
	JobLeased JobState = "leased" // somebody has it
	JobDone   JobState = "done"
	JobFailed JobState = "failed" // final; a person has to look
)

// JobFilter chooses jobs; its zero value all of them.
type JobFilter struct {
	State JobState // empty: any
	Limit int      // 0: all
}

// JobStatus is a job and where it stands.
type JobStatus struct {
	engine.Job
	State JobState
	Due   time.Time // while owed: not handed out before
	Ended time.Time // when it was done or failed; zero before
}

// JobCounts says how many jobs stand where.
type JobCounts struct {
	Owed, Leased, Done, Failed int
	// Unwritten counts outcomes that only this process knows because the log cannot be written.
	Unwritten int
	// Oldest is when the oldest job that is owed or leased was owed; zero without one.
	Oldest time.Time
}

// Report is what Verify read.
type Report struct {
	Streams     int
	Events      int
	Checkpoints int
	Jobs        int
	Last        int64 // position of the last event
	// Heads are the ends of all streams, by name, to be compared with what a witness outside holds.
	Heads []engine.Head
	// Stale names the streams whose snapshot is not what the events give. The log is intact all the same; a fold from the
	// beginning gives the true state.
	Stale []engine.Scope
}

// Fault is the first place at which a log is not what it must be.
type Fault struct {
	Position int64        // 0: not one place
	Stream   engine.Scope // empty: cannot be told
	Version  engine.Version
	What     string
}

func (f *Fault) Error() string {
	switch {
	case f.Position == 0 && f.Stream == "":
		return "the log is damaged: " + f.What
	case f.Stream == "":
		return fmt.Sprintf("the log is damaged at position %d: %s", f.Position, f.What)
	default:
		return fmt.Sprintf("the log is damaged at position %d, %s/%d: %s", f.Position, f.Stream, f.Version, f.What)
	}
}
