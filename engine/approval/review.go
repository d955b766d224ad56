package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// Error is why a proposal cannot be shown, or why an answer does not count.
type Error struct {
	Reason engine.Reason // typed as in the log, where a refused answer stands as ApprovalRefused
	code   string
}

func (e *Error) Error() string { return e.Reason.Text }

// Code is the reason's code as one word, for the types of problems: own_request, same_person, digest, …; or unavailable.
func (e *Error) Code() string {
	if e.code != "" {
		return e.code
	}
	return strings.ReplaceAll(string(e.Reason.Code), " ", "_")
}

// Is makes errors.Is(err, ErrNotFound) true for any proposal that does not exist.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason.Text == "" && t.Reason.Code == e.Reason.Code
}

// ErrNotFound says that there is no such proposal, and was none.
var ErrNotFound = &Error{Reason: engine.Reason{Code: engine.CodeNoProposal}}

func notFound(id engine.ChangeID) error {
	return &Error{Reason: engine.Reason{Code: engine.CodeNoProposal, Text: fmt.Sprintf("there is no proposal %s", id)}}
}

func unavailable(err error) error {
	return &Error{Reason: engine.Reason{Code: engine.CodeUnknown, Text: err.Error()}, code: "unavailable"}
}

// Review is one person's answer.
type Review struct {
	Yes    bool
	Digest engine.Digest // of what they looked at: at least its first 8 characters
	Reason string
	Blind  bool // a yes to starting although the condition cannot be seen
}

// Review takes an answer to the core, with all the roles of whoever gives it: the core says which of them counts. It
// returns the events of an answer that counted. Otherwise the error is an *Error for an answer the core refused, or what the
// loop returned when it could not be stored.
func (d *Desk) Review(ctx context.Context, id engine.ChangeID, by engine.Actor, roles []string, r Review) ([]engine.Event, error) {
	scope, _, ok := Parse(id)
	if !ok {
		return nil, notFound(id)
	}
	if _, known := d.opts.Loop.View(scope); !known {
		return nil, notFound(id)
	}
	events, err := d.opts.Loop.Submit(ctx, scope, by, &engine.ReviewGiven{
		Proposal: id, Digest: r.Digest, Yes: r.Yes, Blind: r.Blind && r.Yes, Roles: roles, Reason: strings.TrimSpace(r.Reason),
	})
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.ApprovalRefused:
			return nil, d.refused(ctx, id, e.Reason)
		case engine.ApprovalGranted:
			if f.Proposal == id && r.Yes {
				return events, nil
			}
		case engine.ProposalDenied:
			if f.Proposal == id && !r.Yes {
				return events, nil
			}
		}
	}
	return nil, errors.New("the core neither took nor refused the answer to " + string(id))
}

// refused is the error for an answer the core refused. The core remembers for a while what came to nothing, and of what was
// started knows only that it waits no more; the log knows how either ended.
func (d *Desk) refused(ctx context.Context, id engine.ChangeID, why engine.Reason) error {
	if why.Code == engine.CodeNoProposal {
		if a, err := d.Get(ctx, id); err == nil && a.Ended != nil {
			text := fmt.Sprintf("%s was %s", id, a.Ended.How)
			switch a.Ended.How {
			case Expired:
				text = fmt.Sprintf("%s expired", id)
			case Started:
				text = fmt.Sprintf("%s was approved, and started as %s", id, a.Ended.Change)
			}
			why = engine.Reason{Code: engine.CodeOver, Text: text}
		}
	}
	return &Error{Reason: why}
}
