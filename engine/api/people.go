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
			set := &engine.SetRequested{Mode: in.Body.Mode, Reason: in.Body.Reason, For: time.Duration(in.Body.For), Via: in.Body.Via,
				DirectiveOnly: in.Body.DirectiveOnly, Force: in.Body.Force, Roles: bearerOf(ctx).Words()}
			if in.Body.DryRun {
				return a.preview(ctx, engine.Scope(in.Scope), bearerOf(ctx).Actor(), set)
			}
			return a.submit(ctx, in.Scope, set)
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

// preview says what a request would lead to now. The core is a pure function of what the views hold, so that asking it
// stores nothing and disturbs nobody.
func (a *API) preview(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) (*body[Outcome], error) {
	v, err := a.view(string(scope))
	if err != nil {
		return nil, err
	}
	if v.Policy == nil {
		return nil, problem(http.StatusConflict, CodeNoRules, fmt.Sprintf("no rules are in force for %s: %s", scope, v.RulesProblem))
	}
	at := time.Now().UTC()
	if at.Before(v.State.At) {
		at = v.State.At
	}
	events := engine.Decide(*v.Policy, v.State, engine.Input{At: at, Term: max(v.State.Directive.Term, 1), By: by, What: what})
	out := Outcome{Events: wrap(events), DryRun: true}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.RequestRefused:
			return nil, refusal(e.Reason)
		case engine.ChangeProposed:
			facts := engine.Facts{Scope: scope, Change: f.Proposal.ID, Transition: f.Proposal.Transition, From: f.Proposal.From, To: f.Proposal.To, Reason: e.Reason.Text}
			out.Would = a.would(ctx, f.Plan, facts)
		case engine.ChangeStarted:
			facts := engine.Facts{Scope: scope, Change: f.Change, Transition: f.Transition, From: f.From, To: f.To, Reason: e.Reason.Text}
			out.Would = a.would(ctx, f.Plan, facts)
		}
	}
	return &body[Outcome]{out}, nil
}

// would describes the steps of a plan in the words of their kinds.
func (a *API) would(ctx context.Context, plan engine.Plan, facts engine.Facts) []Would {
	if a.opts.Describe == nil {
		return nil
	}
	say := func(step engine.Step, undo bool, targets []string) string {
		job := engine.StepJob{Key: string(facts.Change) + "/" + step.Name, Scope: facts.Scope, Change: facts.Change, Step: step, Undo: undo, Attempt: 1, Facts: facts, Targets: targets}
		if undo {
			job.Key += "/undo"
		}
		text, err := a.opts.Describe(job)
		if err != nil {
			return "it cannot be said: " + err.Error()
		}
		return text
	}
	var list []Would
	for _, step := range plan.Steps {
		found := a.opts.Desk.Targets(ctx, facts.Scope, step.Targets)
		w := Would{Step: step.Name, Do: say(step, false, found.Described()), Targets: showTargets(found)}
		if step.Undo {
			w.Undo = say(step, true, found.Described())
		}
		list = append(list, w)
	}
	return list
}
