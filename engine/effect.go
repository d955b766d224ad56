package engine

import (
	"fmt"
	"time"
)

// Effect is something the world is owed because an event was stored. It becomes a job in the same transaction.
type Effect struct {
	// ID is the idempotency key, made of the event's identity: an effect may be carried out more than once, and its
	// target recognises it by this.
	ID string `json:"id"`
	// Key orders effects: those of one key are carried out strictly one after the other.
	Key    string  `json:"key"`
	Notice *Notice `json:"notice,omitempty"`
}

// NoticeAction is what a notice does to its incident.
type NoticeAction string

// The actions of a notice, in the order an incident goes through them.
const (
	NoticeTrigger NoticeAction = "trigger"
	NoticeUpdate  NoticeAction = "update"
	NoticeResolve NoticeAction = "resolve"
)

// Notice tells people of an incident: SeverityPage by a page, SeverityTicket by a ticket.
type Notice struct {
	Action   NoticeAction `json:"action"`
	Incident IncidentID   `json:"incident"` // deduplication key
	Severity Severity     `json:"severity"`
	Summary  string       `json:"summary"`
	Details  Details      `json:"details"`
	Event    Event        `json:"event"` // behind it: time, reason, evidence
}

// Effects returns what the world is owed because e was stored, in the order in which it is owed; nil when nothing is.
func Effects(e Event) []Effect {
	var n Notice
	switch f := e.Fact.(type) {
	case IncidentOpened:
		n = Notice{Action: NoticeTrigger, Incident: f.Incident.ID, Severity: f.Incident.Severity, Summary: f.Summary, Details: f.Details}
	case IncidentUpdated:
		n = Notice{Action: NoticeUpdate, Incident: f.Incident, Severity: f.Severity, Summary: f.Note, Details: Details{Scope: e.Stream}}
	case IncidentResolved:
		n = Notice{Action: NoticeResolve, Incident: f.Incident, Severity: f.Severity,
			Summary: fmt.Sprintf("%s: %s: %s", e.Stream, f.Subject, e.Reason.Text), Details: Details{Scope: e.Stream}}
	default:
		return nil
	}
	if n.Severity != SeverityPage && n.Severity != SeverityTicket {
		return nil
	}
	n.Event = e
	return []Effect{{ID: fmt.Sprintf("%s/%d", e.Stream, e.Version), Key: string(n.Incident), Notice: &n}}
}

// Job is an effect as the store keeps it until it has been carried out.
type Job struct {
	Effect
	Owed     time.Time // when its event was stored
	Attempts int       // finished ones, all without success
	Problem  string    // what the last attempt said; empty before the first
}
