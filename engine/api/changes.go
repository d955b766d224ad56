package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// What people may say about a change that is under way, or done.

type changeInput[T any] struct {
	Scope  string `path:"scope" maxLength:"200" doc:"a scope's name"`
	Change string `path:"change" maxLength:"250" doc:"a change's identity; for cancel also a proposal's"`
	Body   T
}

// SettleRequest says what a person found of a stuck change.
type SettleRequest struct {
	As     engine.SettledAs `json:"as" enum:"done,undone" doc:"what the world is like: as if the change were done, or as if it never was"`
	Reason string           `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
}

func (a *API) registerChanges(h huma.API) {
	operation := func(word, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: word + "-change", Method: http.MethodPost, Path: "/scopes/{scope}/changes/{change}/" + word, Summary: summary, Description: description,
			Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		}
	}
	register(a, h, RoleOperator, operation("cancel", "Cancel a change or a proposal",
		"Takes a change under way back, the last step first; a proposal is withdrawn."),
		func(ctx context.Context, in *changeInput[ChangeRequest]) (*body[Outcome], error) {
			return a.ask(ctx, in.Scope, in.Body.DryRun, &engine.CancelRequested{Change: engine.ChangeID(in.Change), Reason: in.Body.Reason})
		})
	register(a, h, RoleOperator, operation("undo", "Undo a change",
		"Takes the last change that is done back, the last step first."),
		func(ctx context.Context, in *changeInput[ChangeRequest]) (*body[Outcome], error) {
			return a.ask(ctx, in.Scope, in.Body.DryRun, &engine.UndoRequested{Change: engine.ChangeID(in.Change), Reason: in.Body.Reason})
		})
	register(a, h, RoleOperator, operation("settle", "Settle a stuck change",
		"Says what a person found of a change of which nobody knows what the world is like."),
		func(ctx context.Context, in *changeInput[SettleRequest]) (*body[Outcome], error) {
			return a.submit(ctx, in.Scope, &engine.SettleRequested{Change: engine.ChangeID(in.Change), As: in.Body.As, Reason: in.Body.Reason})
		})
}
