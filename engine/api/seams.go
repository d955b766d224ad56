package api

import (
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Loop is what the API needs of the loop.
type Loop interface {
	// Views returns all scopes, sorted by name, without the fleet. What they hold is shared and must not be changed.
	Views() []engine.View
	// View returns one scope; engine.Fleet too.
	View(engine.Scope) (engine.View, bool)
	// Submit hands a request to the core and returns the events it led to, stored by then. An error that has a method
	// Code() string says what went wrong by one of the codes below; any other error is a fault of the server.
	Submit(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error)
	// Changed returns a channel that is closed at the next commit. Whoever waits takes it first and looks then.
	Changed() <-chan struct{}
}

// The codes of errors from Loop and Log. They are also the last word of a problem's type.
const (
	CodeUnknownScope = "unknown_scope" // 404
	CodeRefused      = "refused"       // 409 or 422: the core answered RequestRefused
	CodeConflict     = "conflict"      // 409: another writer was faster, several times over
	CodeNoRules      = "no_rules"      // 409: the scope has no rules in force, so nothing can be decided
	CodeGone         = "gone"          // 410: the log no longer holds that position
	CodeUnavailable  = "unavailable"   // 503: not stored; trying again later is right
	CodeInUse        = "in_use"        // 409: another process of that name is connected
)

// The codes of answers to a proposal that do not count. They are the core's reasons, each as one word.
const (
	CodeNoProposal = "no_such_proposal" // 404
	CodeRole       = "role"             // 403: the gate asks others
	CodeOwnRequest = "own_request"      // 403: whoever asks does not approve
	CodeSamePerson = "same_person"      // 403: one person counts once
	CodeDigest     = "digest"           // 409: what would be done is something else now
	CodeOver       = "over"             // 409: it has ended
	CodeWhich      = "which"            // 409: several wait
	CodeNoReason   = "no_reason_given"  // 422
)

// Codes of problems that arise here.
const (
	CodeUnauthenticated = "unauthenticated" // 401
	CodeForbidden       = "forbidden"       // 403
	CodeCrossOrigin     = "cross_origin"    // 403
	CodeNotFound        = "not_found"       // 404: no such resource
	CodeMethod          = "method"          // 405
	CodeInvalid         = "invalid"         // 4xx: the request cannot be understood
	CodeTooMany         = "too_many"        // 429, or 503 for clients that take 429 as final
	CodeInternal        = "internal"        // 500
)

// Log is what the API reads of the event log.
type Log interface {
	// Read returns the events of a stream after a version, oldest first, at most limit.
	Read(ctx context.Context, stream engine.Scope, after engine.Version, limit int) ([]engine.Event, error)
	// Since returns the events of all streams after a position, oldest first, at most limit. It may answer a position
	// older than what the log still holds with an error of code CodeGone.
	Since(ctx context.Context, position int64, limit int) ([]Stored, error)
	// Last is the position of the last event; 0 in an empty log.
	Last(ctx context.Context) (int64, error)
}

// Stored is an event with its position in the log, which rises with each event of any stream.
type Stored struct {
	Position int64
	Event    engine.Event
}

// Jobs is an optional ability of the store: to say how the jobs stand.
type Jobs interface {
	JobCounts(ctx context.Context) (JobCounts, error)
}

// JobCounts says how many jobs stand where.
type JobCounts struct {
	Owed   int `json:"owed" doc:"waiting to be carried out"`
	Leased int `json:"leased" doc:"being carried out"`
	Failed int `json:"failed" doc:"given up; see the log for what the target said"`
}

// Budgets is who knows how error budgets stand.
type Budgets interface {
	// Budgets returns those of a scope in the order of its rule file, each with steps of a series where that is above 0. With a
	// time they are as they were said then: corrections that were recorded since do not count.
	Budgets(ctx context.Context, scope engine.Scope, at time.Time, steps int) ([]Budget, error)
	// Correctable says why a correction cannot be: there is no such SLO, or its recurrence cannot be read; nil when it can.
	Correctable(scope engine.Scope, slo, cron string, duration time.Duration, timezone string) error
}

// Check is one thing the server needs to be ready.
type Check struct {
	Name   string `json:"name" doc:"rules, log, evaluation, …"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty" doc:"what is wrong and how to mend it"`
}
