package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// Policies is an optional ability of the Log: to tell what rules a digest stood for, all texts of them, the newest first.
// Without it a change is explained and nothing is decided again.
type Policies interface {
	Policies(scope engine.Scope, digest engine.Digest) []engine.Policy
}

// explainPage is how many events are read at a time.
const explainPage = 1000

// Explanation is why a change came about and what became of it.
type Explanation struct{ explain.Explanation }

// Schema describes what programs look for; the events of a difference are of the log's canonical form.
func (Explanation) Schema(r huma.Registry) *huma.Schema {
	const name = "Explanation"
	if _, there := r.Map()[name]; !there {
		text, object, list, number := huma.TypeString, huma.TypeObject, huma.TypeArray, huma.TypeNumber
		things := func(doc string) *huma.Schema {
			return &huma.Schema{Type: list, Description: doc, Items: &huma.Schema{Type: object, AdditionalProperties: true}}
		}
		s := &huma.Schema{
			Type:        object,
			Description: "Why a change came about and what became of it, from the log alone.",
			Properties: map[string]*huma.Schema{
				"scope":      {Type: text},
				"change":     {Type: text, Description: "missing where a proposal led to none"},
				"proposal":   {Type: text, Description: "missing where nobody had to say yes"},
				"transition": {Type: text, Description: "missing for a directive only"},
				"from":       {Type: text}, "to": {Type: text},
				"outcome": {Type: text, Description: "what became of it", Enum: []any{
					string(explain.UnderWay), string(explain.Done), string(explain.Undoing), string(explain.Undone), string(explain.Stuck),
					string(explain.Overtaken), string(explain.Retired), string(explain.Waiting), string(explain.Denied), string(explain.Expired), string(explain.Withdrawn)}},
				"forced":         {Type: huma.TypeBoolean, Description: "somebody went around the gate"},
				"began":          {Type: text, Format: "date-time", Description: "was proposed, else started"},
				"started":        {Type: text, Format: "date-time"},
				"ended":          {Type: text, Format: "date-time"},
				"waited_seconds": {Type: number, Description: "for people, from began to started"},
				"took_seconds":   {Type: number, Description: "from started to ended"},
				"why":            {Type: object, AdditionalProperties: true, Description: "the reason it was chosen for"},
				"by":             {Type: object, AdditionalProperties: true, Description: "who asked; empty: automation"},
				"rule":           {Type: object, AdditionalProperties: true, Description: "what it went by, under the digest of that time"},
				"seen":           things("the readings each decision was made on, with their queries"),
				"others":         things("the transitions that were not taken at that time, and why"),
				"people":         things("who said what, and when"),
				"steps":          things("each step and each undo, with its attempts and answers"),
				"timeline":       things("its events, oldest first"),
				"replay": {Type: object, AdditionalProperties: true,
					Description: "what it came to when its decisions were made again: how many were the same, and the first that was not"},
			},
			Required: []string{"scope", "from", "to", "outcome", "began", "waited_seconds", "took_seconds", "why", "by", "rule", "seen", "others", "people", "steps", "timeline", "replay"},
		}
		s.PrecomputeMessages()
		r.Map()[name] = s
	}
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

type explainInput struct {
	Scope  string `path:"scope" maxLength:"200" doc:"a scope's name"`
	Change string `path:"change" maxLength:"250" doc:"the identity of a change or of a proposal"`
}

func (a *API) registerExplain(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "explain-change", Method: http.MethodGet, Path: "/scopes/{scope}/changes/{change}/explain", Summary: "Explain a change",
		Description: "Why it came about and what became of it, from the log alone; its decisions are made again, to show that they come out the same.",
		Errors:      []int{http.StatusNotFound, http.StatusGone},
	}, a.explain)
}

func (a *API) explain(ctx context.Context, in *explainInput) (*body[Explanation], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	scope := v.State.Scope
	var events []engine.Event
	for last := engine.Version(0); last < v.State.Version; {
		page, err := a.opts.Log.Read(ctx, scope, last, explainPage)
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", in.Scope, err)
		}
		if len(page) == 0 {
			break
		}
		if last == 0 && page[0].Version != 1 {
			return nil, problem(http.StatusGone, CodeGone, fmt.Sprintf("the history of %s before %d was archived: without it nothing can be decided again", scope, page[0].Version))
		}
		events, last = append(events, page...), page[len(page)-1].Version
	}
	x, err := explain.Change(events, engine.ChangeID(in.Change), a.policies())
	if errors.Is(err, explain.ErrUnknown) {
		return nil, problem(http.StatusNotFound, CodeNotFound, fmt.Sprintf("%s has had no change or proposal %q; its history names those there were", scope, in.Change))
	}
	if err != nil {
		return nil, err
	}
	return &body[Explanation]{Explanation{x}}, nil
}

// Explain tells why a change came about, or a proposal, and what became of it.
func (c *Client) Explain(ctx context.Context, scope engine.Scope, id engine.ChangeID) (Explanation, error) {
	var out Explanation
	return out, c.get(ctx, scopePath(scope, "/changes/"+url.PathEscape(string(id))+"/explain"), nil, &out)
}
