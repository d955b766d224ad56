package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/web"
)

// asker asks people for their yes. Each proposal is an alert of its own, under its own key, and its link leads to where it is
// answered. It is told when nobody needs to answer any more.
type asker struct {
	log      string // the identity of the log, for deduplication keys
	external string
	receiver *Receiver
	client   *http.Client // one for all
	limited  actions.Notifier
	// shared says that those who are asked are those who are paged, for want of a receiver for approvals. They are woken once:
	// a proposal that a page tells of has no page of its own.
	shared bool
	read   func(ctx context.Context, stream engine.Scope, after engine.Version, limit int) ([]engine.Event, error)
}

// newAsker makes the way to a receiver.
func newAsker(r *Receiver, shared bool, log, external string, read func(context.Context, engine.Scope, engine.Version, int) ([]engine.Event, error)) (*asker, error) {
	a := &asker{log: log, external: strings.TrimRight(external, "/"), receiver: r, shared: shared, read: read}
	var err error
	if a.client, err = r.client("approvals"); err != nil {
		return nil, err
	}
	a.limited, err = r.notifier(log, a.external, approvalsAt(a.external), a.client)
	return a, err
}

// approvalsAt is where people answer, by how they reach the server.
func approvalsAt(external string) string { return strings.TrimRight(external, "/") + web.Path }

// Limit is the receiver's, where it has one.
func (a *asker) Limit() (events int, span time.Duration) {
	if l, ok := a.limited.(interface{ Limit() (int, time.Duration) }); ok {
		return l.Limit()
	}
	return 0, 0
}

// Notify implements actions.Notifier.
func (a *asker) Notify(ctx context.Context, job engine.Job) error {
	if job.Notice == nil {
		return &actions.Error{Err: fmt.Errorf("job %s asks nobody", job.ID), Final: true}
	}
	if told, err := a.told(ctx, job.Notice); told || err != nil {
		return err
	}
	n := *job.Notice
	n.Details.Proposal = engine.ChangeID(n.Incident) // a job that an older program stored does not say so
	link := notice.AnswerAt(approvalsAt(a.external), &n)
	if n.Action != engine.NoticeResolve {
		asked := make([]string, len(n.Groups))
		for i, g := range n.Groups {
			asked[i] = g.String()
		}
		n.Summary += "; waits for " + strings.Join(asked, ", ")
		n.Details.Notes = maps.Clone(n.Details.Notes)
		if n.Details.Notes == nil {
			n.Details.Notes = map[string]string{}
		}
		n.Details.Notes["asked"], n.Details.Notes["answer_at"] = strings.Join(asked, ", "), link
	}
	if a.shared || a.receiver.PagerDuty != nil {
		n.Severity = engine.SeverityPage // who is asked is woken
	}
	to, err := a.receiver.notifier(a.log, link, approvalsAt(a.external), a.client)
	if err != nil {
		return err // of the configuration, which was good at the start
	}
	job.Notice = &n
	return to.Notify(ctx, job)
}

// told reports whether those who would be asked know already: a page that is about the same thing says so.
func (a *asker) told(ctx context.Context, n *engine.Notice) (bool, error) {
	if !a.shared {
		return false, nil
	}
	switch f := n.Event.Fact.(type) {
	case engine.ChangeProposed:
		if f.Proposal.Braked {
			return true, nil // what the brake withholds is a page, in this very decision, that leads to the proposal
		}
		if f.Incident == "" {
			return false, nil
		}
		return a.pages(ctx, f.Incident)
	case engine.ProposalRenewed:
		// The link shows what is asked now. Only who has said yes, and thinks that this is that, has to hear of it.
		return f.Voided == 0 && f.Change == "", nil
	}
	return false, nil
}

// pages reports whether an incident woke somebody: it may be a ticket. An incident's identity is its event's.
func (a *asker) pages(ctx context.Context, id engine.IncidentID) (bool, error) {
	stream, text := cutLast(string(id), '-')
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil || version == 0 {
		return false, nil
	}
	events, err := a.read(ctx, engine.Scope(stream), engine.Version(version-1), 1)
	if err != nil {
		return false, fmt.Errorf("read the incident a proposal is told in: %w", err)
	}
	for _, e := range events {
		if f, ok := e.Fact.(engine.IncidentOpened); ok && f.Incident.ID == id {
			return f.Incident.Severity == engine.SeverityPage, nil
		}
	}
	return false, nil
}
