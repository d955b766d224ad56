package engine

import (
	"strconv"
	"time"
)

// Scope is what has a mode: a service, a product, or "global". It names its stream in the log too.
type Scope string

// Fleet is the stream of what spans scopes: the freeze of all automation, sight of the sources, checkpoints.
// No service may be called so.
const Fleet Scope = "fleet"

// Mode is a named posture of a scope.
type Mode string

// Version counts the events of a stream; the first event has version 1, an empty stream 0.
type Version uint64

// Digest is the hex SHA-256 of something that must not change unnoticed: rules, a transition's text.
type Digest string

// Short is enough of the digest to recognise it by.
func (d Digest) Short() string { return string(d[:min(12, len(d))]) }

// ChangeID is the identity of the event that began the change: stream-version.
type ChangeID string

// IncidentID is the identity of the event that opened the incident: stream-version.
type IncidentID string

func identity(s Scope, v Version) string { return string(s) + "-" + strconv.FormatUint(uint64(v), 10) }

// Severity says how loud a transition or an SLO's tier is, and so which receiver it reaches.
type Severity string

// The severities, from quiet to loud. The zero value is SeverityInfo written differently: nobody is notified.
const (
	SeverityInfo   Severity = "info"
	SeverityTicket Severity = "ticket"
	SeverityPage   Severity = "page"
	SeverityExec   Severity = "exec" // of incidents that were escalated; no transition and no tier begins there
)

// Wakes reports whether a notice of the severity wakes somebody.
func (s Severity) Wakes() bool { return s == SeverityPage || s == SeverityExec }

// SeverityAsk is that of a notice which asks people for their yes. No rule has it.
const SeverityAsk Severity = "ask"

// later returns the later of two instants.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
