package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// What people may ask for. Each request is one input for the core; nothing is decided here.

type requestInput[T any] struct {
	Scope string `path:"scope" maxLength:"200" doc:"a scope's name"`
	Body  T
}

// registerPeople adds the requests. An operator of "*" may freeze the fleet: that is all its scopes at once.
func (a *API) registerPeople(h huma.API) {
	operation := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: "/scopes/{scope}/" + path, Summary: summary, Description: description,
			Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		}
	}
	register(a, h, RoleOperator, operation("set-mode", "set", "Set a mode by hand",
		"Carries out the declared transition to the mode and pins it: automation keeps off, and says what it would do. A transition "+
			"with a gate becomes a proposal (ChangeProposed among the events). With force it goes around the gate, which needs the role break-glass too."),
		func(ctx context.Context, in *requestInput[SetRequest]) (*body[Outcome], error) {
			return a.submit(ctx, in.Scope, &engine.SetRequested{Mode: in.Body.Mode, Reason: in.Body.Reason,
				For: time.Duration(in.Body.For), Via: in.Body.Via, DirectiveOnly: in.Body.DirectiveOnly,
				Force: in.Body.Force, Roles: bearerOf(ctx).Words()})
		})
	register(a, h, RoleOperator, operation("unpin", "unpin", "Give a scope back to automation",
		"Ends the pin that a mode set by hand has."),
		func(ctx context.Context, in *requestInput[ReasonRequest]) (*body[Outcome], error) {
			return a.submit(ctx, in.Scope, &engine.UnpinRequested{Reason: in.Body.Reason})
		})
	register(a, h, RoleOperator, operation("freeze", "freeze", "Freeze automation",
		"Stops automation from starting changes in the scope, or in all scopes when it is fleet."),
		func(ctx context.Context, in *requestInput[FreezeRequest]) (*body[Outcome], error) {
			return a.submit(ctx, in.Scope, &engine.FreezeRequested{Reason: in.Body.Reason, For: time.Duration(in.Body.For)})
		})
	register(a, h, RoleOperator, operation("unfreeze", "unfreeze", "Release automation",
		"Ends a freeze."),
		func(ctx context.Context, in *requestInput[ReasonRequest]) (*body[Outcome], error) {
			return a.submit(ctx, in.Scope, &engine.UnfreezeRequested{Reason: in.Body.Reason})
		})
}

func (a *API) submit(ctx context.Context, scope string, what engine.Happening) (*body[Outcome], error) {
	ctx, cancel := context.WithTimeoutCause(ctx, submitTime, fmt.Errorf("the loop did not answer within %s", submitTime))
	defer cancel()
	events, err := a.opts.Loop.Submit(ctx, engine.Scope(scope), bearerOf(ctx).Actor(), what)
	for _, e := range events {
		if _, refused := e.Fact.(engine.RequestRefused); refused {
			return nil, refusal(e.Reason)
		}
	}
	if err != nil {
		return nil, err
	}
	return &body[Outcome]{Outcome{Events: wrap(events)}}, nil
}
