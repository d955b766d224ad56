package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
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
	register(a, h, RoleOperator, operation(setMode, "set", "Set a mode by hand",
		"Carries out the declared transition to the mode and pins it: automation keeps off, and says what it would do. A transition "+
			"with a gate becomes a proposal (ChangeProposed among the events). With force it goes around the gate, which needs the role break-glass too."),
		func(ctx context.Context, in *requestInput[SetRequest]) (*body[Outcome], error) {
			set := &engine.SetRequested{Mode: in.Body.Mode, Reason: in.Body.Reason, For: time.Duration(in.Body.For), Via: in.Body.Via,
				DirectiveOnly: in.Body.DirectiveOnly, Force: in.Body.Force, Roles: bearerOf(ctx).Words()}
			return a.ask(ctx, in.Scope, in.Body.DryRun, set)
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

// ask asks the core for something, or what it would lead to.
func (a *API) ask(ctx context.Context, scope string, dry bool, what engine.Happening) (*body[Outcome], error) {
	if dry {
		return a.preview(ctx, engine.Scope(scope), bearerOf(ctx).Actor(), what)
	}
	return a.submit(ctx, scope, what)
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
	in := engine.Input{At: at, Term: max(v.State.Directive.Term, 1), By: by, What: what}
	if fleet, known := a.opts.Loop.View(engine.Fleet); known && scope != engine.Fleet {
		in.Deposed, in.Recovered = fleet.State.Deposed(), fleet.State.Term
	}
	in.Above = engine.Ancestry(v.Policy, func(name engine.Scope) (engine.State, *engine.Policy) {
		above, _ := a.opts.Loop.View(name)
		return above.State, above.Policy
	})
	events := engine.Decide(*v.Policy, v.State, in)
	out := Outcome{Events: wrap(events), DryRun: true}
	after, moves := v.State, false // moves: a change is started or taken back, and was not under way that way before
	for _, e := range events {
		after = engine.Apply(after, e)
		switch f := e.Fact.(type) {
		case engine.RequestRefused:
			return nil, refusal(e.Reason)
		case engine.ChangeProposed:
			facts := engine.Facts{Scope: scope, Change: f.Proposal.ID, Transition: f.Proposal.Transition, From: f.Proposal.From, To: f.Proposal.To, Reason: e.Reason.Text}
			out.Would = a.would(ctx, facts, approval.Entry(v, f.Proposal.Transition), f.Plan.Steps)
		case engine.ChangeStarted, engine.UndoStarted:
			moves = true
		}
	}
	if c := after.Change; c != nil && moves {
		facts := engine.Facts{Scope: scope, Change: c.ID, Transition: c.Transition, From: c.From, To: c.To, Reason: c.Reason}
		if !c.Undoing {
			out.Would = a.would(ctx, facts, c.Entry, c.Plan.Steps)
		} else {
			did := c.Did
			if r := c.Running; r != nil && !r.Undo && r.Change == c.ID && r.Step.Undo { // its outcome is waited for
				did = append(slices.Clip(did), engine.Done{Change: r.Change, Step: r.Step, Targets: r.Targets})
			}
			out.Would = a.would(ctx, facts, did, nil)
		}
	}
	return &body[Outcome]{out}, nil
}

// would describes what is taken back and then the steps that are done, in the words of their kinds.
func (a *API) would(ctx context.Context, facts engine.Facts, back []engine.Done, steps []engine.Step) []Would {
	if a.opts.Describe == nil {
		return nil
	}
	const cannot = "it cannot be said: "
	say := func(step engine.Step, undo bool, targets []string) string {
		job := engine.StepJob{Key: string(facts.Change) + "/" + step.Name, Scope: facts.Scope, Change: facts.Change, Step: step, Undo: undo, Attempt: 1, Facts: facts, Targets: targets}
		if undo {
			job.Key += "/undo"
		}
		text, err := a.opts.Describe(job)
		if err != nil {
			return cannot + err.Error()
		}
		return text
	}
	var list []Would
	for _, step := range a.opts.Desk.TakenBack(facts, back) {
		w := Would{Step: step.Name, Undoes: step.Undoes, Do: step.Does}
		if step.Problem != "" {
			w.Do = cannot + step.Problem
		}
		list = append(list, w)
	}
	for _, step := range steps {
		found := a.opts.Desk.Targets(ctx, facts.Scope, step.Targets)
		w := Would{Step: step.Name, Do: say(step, false, found.Described()), Targets: showTargets(found)}
		if step.Undo {
			w.Undo = say(step, true, found.Described())
		}
		list = append(list, w)
	}
	return list
}
