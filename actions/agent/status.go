package agent

import (
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Status says how an agent fares. It is what people and metrics look at; programs go by Current.
type Status struct {
	Via     Via             // how it hears from the server at present
	Heard   time.Time       // the last sign of life of a server that leads, by the wall clock; zero: none since the start
	Server  string          // identity of the server's log, as it said last
	Term    uint64          // the highest ever heard of
	Newest  engine.Position // of the directive accepted last
	Outcome engine.Outcome  // of it: done or failed; empty: not known yet
	Error   string          // of OutcomeFailed: why
	Lost    bool            // the lease is over

	Connects uint64  // streams and rounds of polling that began with a welcome
	Failed   uint64  // attempts to apply a directive that failed
	Refused  Refused // what was not accepted, by reason

	LinkError string // why there is no connection; empty when there is one
	DiskError string // why the directive is not on disk; empty when it is
}

// Via is how an agent hears from its server.
type Via string

// The ways to hear from a server.
const (
	ViaNone   Via = ""
	ViaStream Via = "stream"
	ViaPoll   Via = "poll" // a proxy holds streams back
)

// Refused counts what an agent did not accept.
type Refused struct {
	Older    uint64 // directives older than the one in hand
	Term     uint64 // servers that lead in a term lower than the highest ever heard of
	Scope    uint64 // directives for another scope
	Conflict uint64 // directives that say something else at the position of the one in hand
	Garbage  uint64 // messages that nobody can read
}

// Status returns how the agent fares now.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Modes returns the modes that the program said it knows. The list is shared: nothing in it may be changed.
func (a *Agent) Modes() []engine.Mode { return a.opts.Modes }

// Changed returns a channel that is closed when Status or Current may have changed.
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// note changes the status, and tells whoever waits for that.
func (a *Agent) note(f func(*Status)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.status)
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// mailbox holds the newest report. A reader that is slow, or away, misses those between, which nobody needs any more.
type mailbox struct {
	mu      sync.Mutex // guards what follows
	report  *engine.Report
	changed chan struct{} // closed when there is a newer one
}

func newMailbox() *mailbox { return &mailbox{changed: make(chan struct{})} }

// put lays r in. One that says what the last did wakes nobody, unless again is true.
func (m *mailbox) put(r engine.Report, again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.report != nil && *m.report == r && !again {
		return
	}
	m.report = &r
	close(m.changed)
	m.changed = make(chan struct{})
}

// clear takes out what is in.
func (m *mailbox) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report = nil
}

// get returns the newest report, nil before the first, and a channel that is closed when there is a newer one.
func (m *mailbox) get() (*engine.Report, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report, m.changed
}
