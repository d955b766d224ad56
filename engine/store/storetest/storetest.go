// Package storetest is what every implementation of the log has to pass: one suite, run by each over its own database.
//
// The suite knows a store by its methods alone. It moves the store's clock by hand and never waits.
package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/engine/roster"
	"github.com/modeshift/modeshift/engine/store"
)

// Store is a log with its jobs; *store.SQLite says what its methods promise.
type Store interface {
	Append(ctx context.Context, appends ...store.Append) error
	Read(ctx context.Context, stream engine.Scope, after engine.Version, limit int) ([]engine.Event, error)
	Since(ctx context.Context, position int64, limit int) ([]store.Stored, error)
	Last(ctx context.Context) (int64, error)
	Heads(ctx context.Context) ([]engine.Head, error)

	Load(ctx context.Context, stream engine.Scope) (engine.State, error)
	LoadAll(ctx context.Context) (map[engine.Scope]engine.State, error)
	Snapshot(ctx context.Context, states ...engine.State) error

	Mark(ctx context.Context, instant time.Time) error
	Marked(ctx context.Context) (time.Time, error)
	Now(ctx context.Context) (time.Time, error)

	Lease(ctx context.Context, limit int) ([]engine.Job, error)
	Begin(ctx context.Context, id string) error
	Done(ctx context.Context, id string) error
	Retry(ctx context.Context, id, problem string, after time.Duration) error
	Fail(ctx context.Context, id, problem string) error
	Release(ctx context.Context) error
	JobCounts(ctx context.Context) (store.JobCounts, error)
	Jobs(ctx context.Context, filter store.JobFilter) ([]store.JobStatus, error)
	FailedJobs(ctx context.Context, limit int) ([]store.JobStatus, error)

	SaveLedgers(ctx context.Context, saves ...ledger.Save) error
	LoadLedger(ctx context.Context, key ledger.Key) ([]ledger.Page, error)
	DropLedgers(ctx context.Context, unsavedSince time.Time, keep ...ledger.Key) error

	Instances(ctx context.Context) ([]roster.Instance, error)
	SaveInstances(ctx context.Context, list []roster.Instance) error
	ForgetInstances(ctx context.Context, list []roster.Instance) error
	SaveRanks(ctx context.Context, scope engine.Scope, change engine.ChangeID, names []string) error
	Ranks(ctx context.Context, scope engine.Scope, change engine.ChangeID) ([]string, error)
	NextTerm(ctx context.Context, least uint64) (uint64, error)

	Verify(ctx context.Context) (store.Report, error)
	Close() error
}

// Open opens a test's log; when it was opened and closed before, the same log again.
type Open func(ctx context.Context, opts store.Options) (Store, error)

// Trait is what a store does differently, and may.
type Trait string

// Volatile says that what the log holds ends with Close.
const Volatile Trait = "volatile"

// Run runs the suite. Each test calls fresh for an empty log of its own.
func Run(t *testing.T, fresh func(t testing.TB) Open, traits ...Trait) {
	lasting := !slices.Contains(traits, Volatile)
	for _, test := range []struct {
		name  string
		lasts bool // needs a log that survives Close
		run   func(*testing.T, *fixture)
	}{
		{"what is appended is read back byte for byte", false, readBack},
		{"an empty log has nothing in it", false, empty},
		{"a writer that is behind or ahead gets a conflict and writes nothing", false, conflict},
		{"of two streams either both are written or none", false, twoStreams},
		{"an append without events only asks for a version", false, assertion},
		{"of concurrent writers of one stream one wins at each version", false, oneWins},
		{"what can never be stored is refused", false, invalid},
		{"the order over all streams has no holes under concurrent writers", false, noHoles},
		{"ten thousand events are read in pages and in full", false, tenThousand},
		{"heads are the hash chain as documented", false, heads},
		{"a caller that has given up writes nothing", false, cancelled},
		{"a closed log says so", false, closed},
		{"events survive closing", true, survive},

		{"a state is the fold of the events with and without snapshots", false, load},
		{"a snapshot is not ahead of its stream", false, aheadSnapshot},
		{"the last evaluated instant is kept to the nanosecond", false, marks},
		{"a good log verifies and its report says what it holds", false, verifies},
		{"a checkpoint that does not match is a fault", false, badCheckpoint},

		{"a page of a ledger replaces the one of its hour", false, ledgerPages},
		{"ledgers of other queries, SLOs and scopes are others", false, ledgersApart},
		{"of a save with a bad page nothing is stored", false, ledgerInvalid},
		{"ledgers nobody saves are dropped unless they are kept", false, ledgersDropped},
		{"ledgers are no part of what is verified", false, ledgersUnverified},
		{"ledgers survive closing", true, ledgersSurvive},

		{"instances are kept by scope and name until they are forgotten", false, instancesKept},
		{"the order of a roll-out is that of the scope's last change", false, ranksKept},
		{"instances, orders and terms survive closing", true, instancesSurvive},
		{"each term is higher than all before it", false, terms},

		{"an event's effects are jobs at once and a conflict owes none", false, jobsOwed},
		{"jobs of one key run in order and those of others beside them", false, order},
		{"a lease holds until the very nanosecond it ends", false, leaseEnds},
		{"a retry waits until the very nanosecond it is due", false, retry},
		{"a clock that goes back puts no job off", false, clockBack},
		{"a failed job is kept with its problem and lets the next one go", false, failed},
		{"a job ends once", false, endsOnce},
		{"jobs are handed out oldest first up to the limit", false, limits},
		{"an attempt that was begun is known until its outcome is", false, begun},
		{"jobs of a dead process are due at once", true, dead},
		{"an attempt that a dead process had begun is known to the next one", true, begunSurvives},
		{"outcomes survive closing", true, outcomesSurvive},
		{"a clock that was ahead before a restart puts no job off", true, clockAhead},
	} {
		if test.lasts && !lasting {
			continue // there is nothing to promise
		}
		t.Run(test.name, func(t *testing.T) { test.run(t, begin(t, fresh(t))) })
	}
	t.Run("jobs behave as a model of them does", func(t *testing.T) { model(t, fresh, lasting) })
}
