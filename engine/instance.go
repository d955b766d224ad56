package engine

import "time"

// Instances says how the instances of a scope follow, as far as the server knows when an input is judged. It is a summary of a
// table that is not in the log: only what crosses a threshold becomes an event. The zero value says that there are none.
type Instances struct {
	Known    int       `json:"known,omitempty"`    // connected, or missing for so short a time that they still count
	Revision Version   `json:"revision,omitempty"` // of the directive the next three are about: the newest one
	Wave     int       `json:"wave,omitempty"`     // and of its wave, where it goes by waves
	Told     int       `json:"told,omitempty"`     // of the known: those who have to be at that revision by now
	Applied  int       `json:"applied,omitempty"`  // of the told: those who say that they are
	Failed   int       `json:"failed,omitempty"`   // of the told: those who say that they could not
	Behind   int       `json:"behind,omitempty"`   // of the known: not at the revision meant for them for longer than the grace time
	Since    time.Time `json:"since,omitzero"`     // of those, the one that is behind for the longest
}

// Rollout says how a directive reaches the instances: in waves, each with its pause and its verification.
type Rollout struct {
	Waves  []Percent     // of the instances there are when the change starts, rising; the last is 100
	Pause  time.Duration // after enough of a wave have applied it, before its verification counts
	Verify ConditionRef  // has to be true before the next wave; none: the pause alone
}

// RolloutPlan is a roll-out as a change stores it.
type RolloutPlan struct {
	Waves  []Percent     `json:"waves"`
	Pause  time.Duration `json:"pause,omitempty"`
	Verify string        `json:"verify,omitempty"` // the name of a condition
}

// Percent is a share in hundredths.
type Percent int

// of is the share of n, at least one of any.
func (p Percent) of(n int) int { return (n*int(p) + 99) / 100 }

// Unavailable is what a service answers while a mode says that it does not answer: 503, with this.
type Unavailable struct {
	Message string `json:"message"`
	// RetryAfterSeconds is HTTP's Retry-After; 0: not said.
	RetryAfterSeconds int64 `json:"retry_after_seconds,omitempty"`
}

// InstanceRules say what is expected of the instances of a scope, and what they do without the server.
type InstanceRules struct {
	MinApplied float64       // share of those told, in (0, 1], that a change needs; all but one are enough too; 0: DefaultMinApplied
	Grace      time.Duration // how long an instance may take before it diverges; 0: DefaultGrace
	PageAbove  float64       // share of the known instances: more that diverge are a page; 0: DefaultPageAbove
	Lease      time.Duration // what an instance hears last is good for so long; 0: for ever
	OnLoss     Mode          // the mode an instance takes when the lease is over; empty: it holds the one it has
}

// What is expected of instances where the rules do not say.
const (
	DefaultMinApplied = 0.99
	DefaultGrace      = 30 * time.Second
	DefaultPageAbove  = 0.01
)

// The messages between a server and an instance. They travel over one connection, as package actions/agent describes; in JSON,
// with durations in milliseconds, so that any language can read them.
type (
	// Hello is how an instance introduces itself, each time it connects.
	Hello struct {
		Instance string `json:"instance"` // its name: one of a kind in its scope
		Session  string `json:"session"`  // drawn when the process starts: two processes of one name are told apart by it
		Version  string `json:"version,omitempty"`
		// Term is the highest term of a leader it has heard of, and Has the newest directive it has accepted, in
		// whatever term. A server that is behind either of them does not lead.
		Term uint64   `json:"term,omitempty"`
		Has  Position `json:"has,omitzero"`
	}
	// Welcome is the server's answer.
	Welcome struct {
		Server      string `json:"server"` // identity of its log
		Term        uint64 `json:"term"`   // it leads in
		HeartbeatMS int64  `json:"heartbeat_ms"`
		// SpreadMS is how far the reports of all instances are to be spread: each waits for a random part of it before it says what it
		// has, so that ten thousand of them do not answer one directive at one instant, while others still wait for it. 0: it need not wait.
		SpreadMS int64 `json:"spread_ms,omitempty"`
	}
	// Position orders directives: the term of the leader first, then the revision.
	Position struct {
		Term     uint64  `json:"term"`
		Revision Version `json:"revision"`
	}
	// Told is a directive as one instance is told it, with what the instance needs when it hears nothing more.
	Told struct {
		Scope     Scope     `json:"scope"`
		Directive           // its own, which in a wave may be an older one than another's
		Change    ChangeID  `json:"change,omitempty"`   // that published it, where that is still known
		LeaseMS   int64     `json:"lease_ms,omitempty"` // 0: it stays good
		OnLoss    *Fallback `json:"on_loss,omitempty"`  // nil: hold
	}
	// Fallback is the declared mode for when the lease is over.
	Fallback struct {
		Mode        Mode         `json:"mode"`
		Flags       Flags        `json:"flags,omitempty"`
		Unavailable *Unavailable `json:"unavailable,omitempty"`
	}
	// Report is what an instance says of itself: after each directive, and again whenever it connects.
	Report struct {
		Position         // of the directive it is about
		Mode     Mode    `json:"mode"` // in force at the instance, whatever came of the directive; empty: none yet
		Outcome  Outcome `json:"outcome"`
		Error    string  `json:"error,omitempty"`   // of OutcomeFailed: why; else what is wrong all the same, such as a full disk. At most 500 bytes
		Origin   Origin  `json:"origin,omitempty"`  // where the mode in force came from
		Refused  uint64  `json:"refused,omitempty"` // directives it did not accept so far, because they were older than its own
	}
	// Uplink is one line of what an instance sends: exactly one of its fields is set.
	Uplink struct {
		Hello  *Hello  `json:"hello,omitempty"` // the first line, and only that
		Report *Report `json:"report,omitempty"`
		Beat   bool    `json:"beat,omitempty"`
	}
)

// Origin is where the mode in force at an instance came from.
type Origin string

// The origins of a mode.
const (
	OriginServer    Origin = "server"
	OriginDisk      Origin = "disk"       // the last directive it had before it started
	OriginColdStart Origin = "cold start" // declared at the instance, for when it never heard of any
	OriginLoss      Origin = "on_loss"    // declared by the scope, for when the lease is over
)

// Compare orders positions: negative when p is older than q.
func (p Position) Compare(q Position) int {
	switch {
	case p.Term != q.Term:
		if p.Term < q.Term {
			return -1
		}
		return 1
	case p.Revision < q.Revision:
		return -1
	case p.Revision > q.Revision:
		return 1
	}
	return 0
}

// Position is the directive's place among all of its scope.
func (d Directive) Position() Position { return Position{d.Term, d.Revision} }
