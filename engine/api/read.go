package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// What may be read: scopes, their history, the server.

type scopeInput struct {
	Scope string `path:"scope" maxLength:"200" doc:"a scope's name, or fleet"`
}

type historyInput struct {
	Scope  string `path:"scope" maxLength:"200" doc:"a scope's name, or fleet"`
	Before uint64 `query:"before" doc:"only events below this version; 0: from the newest on"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type body[T any] struct{ Body T }

func (a *API) registerScopes(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-scopes", Method: http.MethodGet, Path: "/scopes", Summary: "List scopes",
		Description: "Every scope the token may see, sorted by name.",
	}, a.listScopes)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-scope", Method: http.MethodGet, Path: "/scopes/{scope}", Summary: "Show a scope",
		Description: "Its mode, what instances are told, what holds automation off, and every condition with the readings behind it.",
		Errors:      []int{http.StatusNotFound},
	}, a.getScope)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-history", Method: http.MethodGet, Path: "/scopes/{scope}/history", Summary: "Show a scope's history",
		Description: "Its events, newest first.", Errors: []int{http.StatusNotFound},
	}, a.getHistory)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-status", Method: http.MethodGet, Path: "/status", Summary: "Show the server's status",
		Description: "Whether the server is ready and what it can see. What it says of scopes covers those the token may see.",
	}, a.getStatus)
}

// fleetFreeze is the freeze of all automation; nil when there is none.
func (a *API) fleetFreeze() *engine.Freeze {
	v, _ := a.opts.Loop.View(engine.Fleet) // without events: nothing is frozen
	return v.State.Freeze
}

// visible are the scopes that the bearer may see.
func (a *API) visible(ctx context.Context) []engine.View {
	token := bearerOf(ctx)
	return slices.DeleteFunc(slices.Clone(a.opts.Loop.Views()), func(v engine.View) bool {
		return !token.may(RoleViewer, v.State.Scope)
	})
}

func (a *API) listScopes(ctx context.Context, _ *struct{}) (*body[Scopes], error) {
	out := &body[Scopes]{Scopes{Scopes: []Summary{}}}
	freeze := a.fleetFreeze()
	for _, v := range a.visible(ctx) {
		out.Body.Scopes = append(out.Body.Scopes, summarize(v, freeze))
	}
	return out, nil
}

func (a *API) view(scope string) (engine.View, error) {
	v, ok := a.opts.Loop.View(engine.Scope(scope))
	if engine.Scope(scope) == engine.Fleet {
		v.State.Scope = engine.Fleet // it is there before its first event
		return v, nil
	}
	if !ok {
		return v, problem(http.StatusNotFound, CodeUnknownScope, fmt.Sprintf("no scope %q; modeshift status lists those there are", scope))
	}
	return v, nil
}

func (a *API) getScope(_ context.Context, in *scopeInput) (*body[Scope], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	out := detail(v, a.fleetFreeze())
	if a.opts.Roster != nil {
		out.Instances = a.opts.Roster.Summary(v.State, time.Now().UTC())
	}
	return &body[Scope]{out}, nil
}

func (a *API) getHistory(ctx context.Context, in *historyInput) (*body[History], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	before := engine.Version(in.Before)
	if before == 0 || before > v.State.Version {
		before = v.State.Version + 1
	}
	after := before - 1 - min(before-1, engine.Version(in.Limit))
	events, err := a.opts.Log.Read(ctx, v.State.Scope, after, int(before-1-after))
	if err != nil {
		return nil, fmt.Errorf("read the history of %s: %w", in.Scope, err)
	}
	// Where the log's beginning was archived, the first events read are newer than what was asked for.
	events = slices.DeleteFunc(events, func(e engine.Event) bool { return e.Version >= before })
	slices.Reverse(events)
	out := &body[History]{History{Events: wrap(events)}}
	if out.Body.Suggestions, err = a.suggested(ctx, v, events); err != nil {
		return nil, err
	}
	if after > 0 && len(events) > 0 {
		out.Body.Before = after + 1
	}
	return out, nil
}

func (a *API) getStatus(ctx context.Context, _ *struct{}) (*body[Status], error) {
	last, err := a.opts.Log.Last(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	fleet, _ := a.opts.Loop.View(engine.Fleet) // without events: nothing is frozen or blind
	out := Status{
		Version: a.opts.Version, Ready: true, Checks: []Check{}, Position: last, Freeze: fleet.State.Freeze, Term: a.opts.Term(), Deposed: fleet.State.Deposed(),
		Sources: []Source{}, RulesProblems: []RulesProblem{},
	}
	if a.opts.Checks != nil {
		out.Checks = append(out.Checks, a.opts.Checks()...)
	}
	out.Ready = !slices.ContainsFunc(out.Checks, func(c Check) bool { return !c.OK })
	for _, v := range a.visible(ctx) {
		out.Incidents += len(v.State.Incidents)
		if !v.State.Retired {
			out.Scopes++
		}
		if v.RulesProblem != "" {
			out.RulesProblems = append(out.RulesProblems, RulesProblem{v.State.Scope, v.RulesProblem})
		}
	}
	out.Incidents += len(fleet.State.Incidents)
	if a.opts.RulesProblems != nil {
		for _, p := range a.opts.RulesProblems() {
			if p.Scope == "" || bearerOf(ctx).may(RoleViewer, p.Scope) {
				out.RulesProblems = append(out.RulesProblems, p)
			}
		}
	}
	if a.opts.Sources != nil {
		for _, s := range a.opts.Sources() {
			source := Source{Sight: s}
			for _, b := range fleet.State.Blind {
				if b.Subject == s.Source {
					source.Since = b.Since
				}
			}
			out.Sources = append(out.Sources, source)
		}
	}
	if a.opts.Jobs != nil {
		counts, err := a.opts.Jobs.JobCounts(ctx)
		if err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		out.Jobs = &counts
	}
	return &body[Status]{out}, nil
}
