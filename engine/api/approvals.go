package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

// Proposals that wait for people, and their answers.

type approvalInput struct {
	ID string `path:"id" maxLength:"250" doc:"a proposal's identity"`
}

type reviewInput struct {
	ID   string `path:"id" maxLength:"250" doc:"a proposal's identity"`
	Body ReviewRequest
}

func (a *API) registerApprovals(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-approvals", Method: http.MethodGet, Path: "/approvals", Summary: "List proposals",
		Description: "The proposals that wait, in the scopes the token may see; the one whose time is over first at the front.",
	}, a.listApprovals)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-approval", Method: http.MethodGet, Path: "/approvals/{id}", Summary: "Show a proposal",
		Description: "All that has to be known to answer it: the steps in full, the evidence, who said yes, how long the error budget lasts. " +
			"One that has ended says how.",
		Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, a.getApproval)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "review-approval", Method: http.MethodPost, Path: "/approvals/{id}/review", Summary: "Answer a proposal",
		Description: "One person's yes or no. 200 says that it counted. The token needs one of the roles the gate asks; who asked for " +
			"the move cannot approve it, and one person counts once whatever tokens they have.",
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, a.review)
}

func (a *API) listApprovals(ctx context.Context, _ *struct{}) (*body[Approvals], error) {
	out := &body[Approvals]{Approvals{Approvals: []ApprovalSummary{}}}
	for _, p := range a.opts.Desk.List(bearerOf(ctx).Sees) {
		out.Body.Approvals = append(out.Body.Approvals, summaryOf(&p))
	}
	return out, nil
}

// asked checks that the bearer may see the scope of a proposal.
func asked(ctx context.Context, id string) (engine.ChangeID, error) {
	scope, _, ok := approval.Parse(engine.ChangeID(id))
	if !ok {
		return "", problem(http.StatusNotFound, CodeNoProposal, fmt.Sprintf("there is no proposal %q; GET %s/approvals lists those that wait", id, Prefix))
	}
	return engine.ChangeID(id), permit(bearerOf(ctx), RoleViewer, scope)
}

func (a *API) getApproval(ctx context.Context, in *approvalInput) (*body[Approval], error) {
	id, err := asked(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	p, err := a.opts.Desk.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &body[Approval]{showApproval(&p)}, nil
}

func (a *API) review(ctx context.Context, in *reviewInput) (*body[Outcome], error) {
	id, err := asked(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, submitTime, fmt.Errorf("the loop did not answer within %s", submitTime))
	defer cancel()
	token := bearerOf(ctx)
	events, err := a.opts.Desk.Review(ctx, id, token.Actor(), token.Words(), approval.Review{
		Yes: in.Body.Verdict == VerdictYes, Digest: in.Body.Digest, Reason: in.Body.Reason, Blind: in.Body.Blind,
	})
	if err != nil {
		return nil, err
	}
	return &body[Outcome]{Outcome{Events: wrap(events)}}, nil
}
