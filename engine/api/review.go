package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
)

// How much of the log one review reads: of a scope so many events, the newest, and of all together so many.
const (
	reviewScope = 10_000
	reviewAll   = 100_000
)

// MaxReview is how far back a review may reach.
const MaxReview = 400 * 24 * time.Hour

type lookBackInput struct {
	Since string `query:"since" default:"30d" maxLength:"20" doc:"how far back: 7d, 30d, 12h"`
}

type scopeLookBackInput struct {
	Scope string `path:"scope" maxLength:"200" doc:"a scope's name"`
	Since string `query:"since" default:"30d" maxLength:"20" doc:"how far back: 7d, 30d, 12h"`
}

func (a *API) registerReview(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "review", Method: http.MethodGet, Path: "/review", Summary: "Sum a while up",
		Description: "Of every scope the token may see: which modes were used and which never, flags nobody looks after, what became of automation, how long people took, and which SLOs never fire or always do.",
		Errors:      []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *lookBackInput) (*body[report.Review], error) {
		return a.lookBack(ctx, slices.DeleteFunc(a.visible(ctx), func(v engine.View) bool { return v.State.Retired }), in.Since)
	})
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "review-scope", Method: http.MethodGet, Path: "/scopes/{scope}/review", Summary: "Sum a while of a scope up",
		Description: "Which modes were used and which never, flags nobody looks after, what became of automation, how long people took, and which SLOs never fire or always do.",
		Errors:      []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *scopeLookBackInput) (*body[report.Review], error) {
		v, err := a.view(in.Scope)
		if err != nil {
			return nil, err
		}
		return a.lookBack(ctx, []engine.View{v}, in.Since)
	})
}

func (a *API) lookBack(ctx context.Context, views []engine.View, since string) (*body[report.Review], error) {
	d, err := ParseDuration(since)
	if err != nil || d <= 0 || time.Duration(d) > MaxReview {
		return nil, problem(http.StatusUnprocessableEntity, CodeInvalid, fmt.Sprintf("since: %q is not how far back to look: write 7d, 30d or 12h, at most %s", since, Duration(MaxReview)))
	}
	now := time.Now().UTC()
	var flags []report.StaleFlag
	for _, f := range a.flags(views).Flags {
		flags = append(flags, report.StaleFlag{Scope: f.Scope, Flag: f.Name, Owner: f.Owner, Expires: f.Expires, Tested: f.Tested, Expired: f.Expired, Untested: f.Untested})
	}
	out := &body[report.Review]{report.NewReview(flags, now.Add(-time.Duration(d)), now)}
	left, unread := reviewAll, 0
	for _, v := range views {
		if left <= 0 {
			unread++
			continue
		}
		events, err := a.readBack(ctx, v, out.Body.Since, min(left, reviewScope))
		if err != nil {
			return nil, err
		}
		left -= len(events)
		out.Body.Look(report.Log{Scope: v.State.Scope, Policy: v.Policy, State: v.State, Events: events})
	}
	if unread > 0 {
		out.Body.LeftOut = append(out.Body.LeftOut, fmt.Sprintf("%d of %d scopes: what is read at once is bounded, so review them one by one", unread, len(views)))
	}
	return out, nil
}

// readBack reads the newest events of a scope: to an instant and on, until every declared mode has been seen to be entered, so that one
// that is stale is told from one that never was. It reads at most so many.
func (a *API) readBack(ctx context.Context, v engine.View, since time.Time, most int) ([]engine.Event, error) {
	missing := map[engine.Mode]bool{}
	if v.Policy != nil {
		for i := range v.Policy.Modes {
			missing[v.Policy.Modes[i].Name] = true
		}
	}
	var pages [][]engine.Event
	last, n := v.State.Version, 0
	for last > 0 && n < most {
		first := last - min(last, engine.Version(min(explainPage, most-n)))
		page, err := a.readStream(ctx, v.State.Scope, first, last)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		pages, n = append(pages, page), n+len(page)
		if page[0].Version > first+1 {
			break // what was before is archived
		}
		for _, e := range page {
			switch f := e.Fact.(type) {
			case engine.DirectivePublished:
				delete(missing, f.Directive.Mode)
			case engine.ScopeAdded:
				delete(missing, f.Mode)
			}
		}
		if page[0].At.Before(since) && len(missing) == 0 {
			break
		}
		last = first
	}
	slices.Reverse(pages)
	return slices.Concat(pages...), nil
}

// LookBack sums up how things went for so long, in all scopes that the token may see.
func (c *Client) LookBack(ctx context.Context, since Duration) (report.Review, error) {
	var out report.Review
	return out, c.get(ctx, "/review", url.Values{"since": {since.String()}}, &out)
}

// ScopeLookBack sums up how things went for so long in one scope.
func (c *Client) ScopeLookBack(ctx context.Context, scope engine.Scope, since Duration) (report.Review, error) {
	var out report.Review
	return out, c.get(ctx, scopePath(scope, "/review"), url.Values{"since": {since.String()}}, &out)
}
