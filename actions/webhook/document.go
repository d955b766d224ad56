package webhook

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// Version is the version of Document. Members may be added under the same version; a receiver ignores those it does not
// know.
const Version = "1"

// maxSummary fits the title of the ticket systems there are, in bytes: Jira takes 255 characters, most others more.
// A document keeps its full text in reason.
const maxSummary = 1024

// Action is what a document asks for.
type Action string

// The actions, in the order in which an incident goes through them.
const (
	ActionOpen    Action = "open"
	ActionUpdate  Action = "update"
	ActionResolve Action = "resolve"
)

// Document is the body of a request.
type Document struct {
	Version  string           `json:"version"`
	Action   Action           `json:"action"`
	Key      string           `json:"key"` // of the incident, at most 255 bytes
	ID       string           `json:"id"`  // of this notice
	Severity engine.Severity  `json:"severity"`
	Scope    engine.Scope     `json:"scope"`
	Summary  string           `json:"summary"` // one line, at most 1,024 bytes
	Reason   engine.Reason    `json:"reason"`
	Details  Details          `json:"details"`
	Evidence []notice.Reading `json:"evidence,omitempty"`
	At       time.Time        `json:"at"` // of the event behind it, UTC
	URL      string           `json:"url,omitempty"`
	AnswerAt string           `json:"answer_at,omitempty"` // where to say yes or no, to the proposal that this tells of
}

// Details are the facts for the person who gets the notice.
type Details struct {
	Mode        engine.Mode       `json:"mode,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Runbook     string            `json:"runbook,omitempty"`
	Transition  string            `json:"transition,omitempty"` // what automation does about it
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Rules       engine.Digest     `json:"rules,omitempty"` // digest of the rules in force
	Event       string            `json:"event"`           // stream/version in the log
}

// id names a notice. Jobs are known by stream/version, which a new log counts anew: the log's identity tells them apart.
func (n *Notifier) id(job engine.Job) string {
	if n.opts.Log == "" {
		return job.ID
	}
	return n.opts.Log + "/" + job.ID
}

// document writes a job's body. The same job always gives the same bytes.
func (n *Notifier) document(job engine.Job) ([]byte, error) {
	it := job.Notice
	if it == nil {
		return nil, fmt.Errorf("webhook: job %s has no notice", job.ID)
	}
	action, ok := map[engine.NoticeAction]Action{
		engine.NoticeTrigger: ActionOpen,
		engine.NoticeUpdate:  ActionUpdate,
		engine.NoticeResolve: ActionResolve,
	}[it.Action]
	if !ok {
		return nil, fmt.Errorf("webhook: no such action of a notice: %q", it.Action)
	}
	scope := cmp.Or(it.Details.Scope, it.Event.Stream)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // conditions are full of < and &
	err := enc.Encode(Document{
		Version:  Version,
		Action:   action,
		Key:      notice.Key(n.opts.Log, it.Incident),
		ID:       n.id(job),
		Severity: it.Severity,
		Scope:    scope,
		Summary:  cmp.Or(notice.Line(it.Summary, maxSummary), notice.Line(string(scope)+": "+string(it.Incident), maxSummary)),
		Reason:   it.Event.Reason,
		Details: Details{
			Mode: it.Details.Mode, Owner: it.Details.Owner, Runbook: it.Details.Runbook, Transition: it.Details.Transition,
			Labels: it.Details.Labels, Annotations: it.Details.Notes, Rules: it.Event.Rules,
			Event: fmt.Sprintf("%s/%d", it.Event.Stream, it.Event.Version),
		},
		Evidence: notice.Evidence(it.Event.Evidence),
		At:       it.Event.At.UTC(),
		URL:      n.statusURL(scope),
		AnswerAt: notice.AnswerAt(n.opts.ApprovalsURL, it),
	})
	if err != nil {
		return nil, fmt.Errorf("webhook: write document: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}
