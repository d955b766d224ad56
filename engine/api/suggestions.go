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
	"github.com/modeshift/modeshift/engine/suggest"
)

// Suggestions is what automation would have done in a scope in a while.
type Suggestions struct{ suggest.Report }

// suggestionsFor is how far back suggestions are told where nobody says.
const suggestionsFor = 7 * 24 * time.Hour

type suggestionsInput struct {
	Scope string    `path:"scope" maxLength:"200" doc:"a scope's name"`
	From  time.Time `query:"from" doc:"seven days before to, if not said"`
	To    time.Time `query:"to" doc:"now, if not said"`
}

func (a *API) registerSuggestions(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-suggestions", Method: http.MethodGet, Path: "/scopes/{scope}/suggestions", Summary: "Show what automation would have done",
		Description: "While a scope's automation only suggests: which transitions were ready and when, for how long, and how many pages of SLOs came only after that.",
		Errors:      []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, a.getSuggestions)
}

func (a *API) getSuggestions(ctx context.Context, in *suggestionsInput) (*body[Suggestions], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	to := in.To.UTC()
	if to.IsZero() {
		to = time.Now().UTC()
	}
	from := in.From.UTC()
	if from.IsZero() {
		from = to.Add(-suggestionsFor)
	}
	if !from.Before(to) {
		return nil, problem(http.StatusUnprocessableEntity, CodeInvalid, "from has to lie before to")
	}
	r, err := suggest.Of(ctx, a.opts.Log.Read, v, from, to)
	if err != nil {
		return nil, err
	}
	return &body[Suggestions]{Suggestions{r}}, nil
}

// around is how many events on either side of a page of history are looked at, to tell from when to when what is on it was ready.
const around = 1000

// suggested finds what automation would have done of which an event in the list, the newest first, tells the beginning or the end.
func (a *API) suggested(ctx context.Context, v engine.View, events []engine.Event) ([]suggest.Suggestion, error) {
	tells := slices.ContainsFunc(events, func(e engine.Event) bool {
		_, ends := e.Fact.(engine.WithholdingEnded)
		return ends || e.Reason.Code == engine.CodeSuggest
	})
	if !tells {
		return nil, nil
	}
	newest, oldest := events[0].Version, events[len(events)-1].Version
	after := oldest - min(oldest, around)
	var t suggest.Teller
	wide, err := a.opts.Log.Read(ctx, v.State.Scope, after, int(newest-after)+around)
	if err != nil {
		return nil, fmt.Errorf("read what was suggested in %s: %w", v.State.Scope, err)
	}
	for _, e := range wide {
		t.Add(e)
	}
	all := t.Report(v.State.Scope, v.Policy, time.Time{}, time.Now().UTC()).Suggestions
	on := func(version engine.Version) bool { return version >= oldest && version <= newest }
	return slices.DeleteFunc(all, func(s suggest.Suggestion) bool { return !on(s.Began) && !on(s.Ended) }), nil
}

// Suggestions shows what automation would have done in a scope between two instants; zero ones are the server's to choose: the
// last seven days.
func (c *Client) Suggestions(ctx context.Context, scope engine.Scope, from, to time.Time) (Suggestions, error) {
	query := url.Values{}
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	var out Suggestions
	return out, c.get(ctx, scopePath(scope, "/suggestions"), query, &out)
}
