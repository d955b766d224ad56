package pagerduty

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	api "github.com/PagerDuty/go-pagerduty"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// Limits of an event. Source: PagerDuty, Events API v2, "Send an alert event"; the limit of the whole is 512 KB, and
// 512,000 bytes keeps it under either meaning of KB.
const (
	maxSummary = 1024
	maxBody    = 512_000
	// maxField is for fields without a published limit, so that no single one can fill the event.
	maxField = 1024
)

// details are the custom details of an alert: what a person asks first.
type details struct {
	Mode       engine.Mode       `json:"mode,omitempty"`
	Transition string            `json:"transition,omitempty"`
	Owner      string            `json:"owner,omitempty"`
	Runbook    string            `json:"runbook,omitempty"`
	AnswerAt   string            `json:"answer_at,omitempty"` // in the log of an alert, PagerDuty shows these and no links
	Reason     string            `json:"reason,omitempty"`
	Code       engine.Code       `json:"reason_code,omitempty"`
	Person     string            `json:"person,omitempty"` // who asked for it, when somebody did
	Labels     map[string]string `json:"labels,omitempty"`
	Notes      map[string]string `json:"annotations,omitempty"`
	Evidence   []notice.Reading  `json:"evidence,omitempty"`
	Dropped    string            `json:"dropped,omitempty"` // what did not fit
	Rules      string            `json:"rules,omitempty"`   // digest
	Event      string            `json:"event"`             // stream/version
	Checkpoint string            `json:"checkpoint,omitempty"`
}

// event makes the API's event of a job, without the routing key. The same job always gives the same event.
func (n *Notifier) event(job engine.Job) (*api.V2Event, error) {
	it := job.Notice
	e := &api.V2Event{DedupKey: notice.Key(n.opts.Log, it.Incident)}
	switch it.Action {
	case engine.NoticeTrigger, engine.NoticeUpdate:
		e.Action = "trigger"
	case engine.NoticeResolve:
		// A resolve needs the key alone. The less it carries the less there is to refuse.
		e.Action = "resolve"
		return e, nil
	default:
		return nil, fmt.Errorf("pagerduty: no such action of a notice: %q", it.Action)
	}

	scope := cmp.Or(it.Details.Scope, it.Event.Stream, "modeshift")
	text := func(s string) string { return notice.Line(s, maxField) }
	e.Payload = &api.V2Payload{
		Summary:  cmp.Or(notice.Line(it.Summary, maxSummary), notice.Line("modeshift: "+string(scope)+": "+string(it.Incident), maxSummary)),
		Source:   cmp.Or(text(string(scope)), "modeshift"),
		Severity: severity(it),
		Group:    text(it.Details.Owner),
	}
	if !it.Event.At.IsZero() {
		e.Payload.Timestamp = it.Event.At.UTC().Format(time.RFC3339Nano)
	}
	if f, ok := it.Event.Fact.(engine.IncidentOpened); ok {
		e.Payload.Component, e.Payload.Class = text(f.Incident.Subject), text(string(f.Incident.Kind))
	}
	status := n.statusURL(scope)
	e.Client = "modeshift"
	if web(n.opts.ExternalURL) {
		e.ClientURL = n.opts.ExternalURL
	}
	if web(it.Details.Runbook) {
		e.Links = append(e.Links, link{it.Details.Runbook, "Runbook"})
	}
	answerAt := notice.AnswerAt(n.opts.ApprovalsURL, it)
	if web(answerAt) {
		words := "What waits for a yes"
		if p := it.Details.Proposal; p != "" {
			words = "Approve or refuse " + text(string(p))
		}
		e.Links = append(e.Links, link{answerAt, words})
	}
	if web(status) && status != answerAt {
		e.Links = append(e.Links, link{status, "Status of " + text(string(scope))})
	}
	d := &details{
		Mode:       it.Details.Mode,
		Transition: it.Details.Transition,
		Owner:      it.Details.Owner,
		Runbook:    it.Details.Runbook,
		AnswerAt:   answerAt,
		Reason:     notice.Cut(it.Event.Reason.Text, 16<<10),
		Code:       it.Event.Reason.Code,
		Person:     cmp.Or(it.Event.Cause.Person, it.Event.Cause.Principal),
		Labels:     it.Details.Labels,
		Notes:      it.Details.Notes,
		Evidence:   notice.Evidence(it.Event.Evidence),
		Rules:      string(it.Event.Rules),
		Event:      string(it.Event.Stream) + "/" + strconv.FormatUint(uint64(it.Event.Version), 10),
	}
	if n.opts.Checkpoint != nil {
		d.Checkpoint = n.opts.Checkpoint(it.Event)
	}
	e.Payload.Details = d
	return e, fit(e, d)
}

// fit makes an event small enough: first evidence goes, from its end, then annotations and labels, then all details. What
// went is named, with the event in the log that has it.
func fit(e *api.V2Event, d *details) error {
	const keyRoom = 256 // the routing key is put in later
	size := func() (int, error) {
		b, err := json.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("pagerduty: write event: %w", err)
		}
		return len(b) + keyRoom, nil
	}
	all := len(d.Evidence)
	for {
		n, err := size()
		if err != nil || n <= maxBody {
			return err
		}
		switch {
		case len(d.Evidence) > 0:
			d.Evidence = d.Evidence[:len(d.Evidence)/2]
			d.Dropped = fmt.Sprintf("%d of %d readings; event %s has them", all-len(d.Evidence), all, d.Event)
		case d.Notes != nil || d.Labels != nil:
			d.Notes, d.Labels = nil, nil
			d.Dropped = fmt.Sprintf("readings, annotations and labels; event %s has them", d.Event)
		case e.Payload.Details != nil:
			e.Payload.Details = map[string]string{"dropped": "all details", "event": notice.Cut(d.Event, maxField)}
			// Only here can links be what is too long: their URLs come from files people write.
			e.Links = nil
			d = &details{}
			if n, err = size(); err != nil || n <= maxBody {
				return err
			}
			e.Client, e.ClientURL, e.Payload.Details = "", "", nil
		default:
			return fmt.Errorf("pagerduty: the event has %d bytes with nothing left to drop", n)
		}
	}
}

// severity is how PagerDuty weighs a notice. A service there may derive its urgency from it, so a label can tell pages
// apart among those that wake people (critical, error) and tickets among those that do not, and never move one across.
func severity(it *engine.Notice) string {
	label := it.Details.Labels["severity"]
	switch it.Severity {
	case engine.SeverityPage, engine.SeverityExec:
		if label == "error" {
			return "error"
		}
		return "critical"
	case engine.SeverityTicket:
		if label == "info" {
			return "info"
		}
		return "warning"
	}
	return "info"
}

type link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

func (n *Notifier) statusURL(s engine.Scope) string {
	if n.opts.StatusURL != nil {
		return n.opts.StatusURL(s)
	}
	return n.opts.ExternalURL
}

// web reports whether s can be a link: PagerDuty refuses an event over one that cannot.
func web(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
