package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// Evaluation is how the conditions of a scope stand at an instant, with all that was asked to find out.
type Evaluation struct {
	Scope      engine.Scope         `json:"scope"`
	Instant    time.Time            `json:"instant" doc:"that was evaluated"`
	Mode       engine.Mode          `json:"mode,omitempty" doc:"the settled mode now; mode() and dwell() are as of now whatever the instant"`
	Conditions []EvaluatedCondition `json:"conditions" doc:"in the order of the rule file, the alerts of SLOs first"`
	Queries    int                  `json:"queries" doc:"requests to the sources"`
	Rounds     int                  `json:"rounds" doc:"of requests, one after the other"`
	Samples    int64                `json:"samples" doc:"the sources read, as far as they say"`
	Seconds    float64              `json:"seconds" doc:"it took"`
}

// EvaluatedCondition is one condition.
type EvaluatedCondition struct {
	Name     string        `json:"name"`
	Text     string        `json:"text" doc:"as written"`
	Position string        `json:"position" doc:"file:line:column"`
	Relevant bool          `json:"relevant" doc:"it can matter in the scope's present mode, so that ticks ask for it"`
	Truth    engine.Truth  `json:"truth"`
	Blind    bool          `json:"blind" doc:"unknown for want of sight"`
	Tree     EvaluatedPart `json:"tree"`
}

// EvaluatedPart is a part of a condition.
type EvaluatedPart struct {
	Op       string             `json:"op,omitempty" enum:"and,or,not,if,burn,pair" doc:"how it is made of its parts; missing for a leaf"`
	Text     string             `json:"text"`
	Truth    engine.Truth       `json:"truth"`
	Skipped  bool               `json:"skipped" doc:"unknown only because it was not asked for: what is known decides without it"`
	Readings []EvaluatedReading `json:"readings"`
	Parts    []EvaluatedPart    `json:"parts"`
}

// EvaluatedReading is a signal's reading and where it is from.
type EvaluatedReading struct {
	Reading    engine.Reading   `json:"reading"`
	AgeSeconds float64          `json:"age_seconds" doc:"of the newest sample behind it; 0 when its time was not asked for: then it is younger than max_age"`
	Queries    []EvaluatedQuery `json:"queries"`
}

// EvaluatedQuery is a query as it was sent.
type EvaluatedQuery struct {
	Query   string     `json:"query" doc:"as sent"`
	Own     string     `json:"own,omitempty" doc:"what of it is about this signal, where one request asks for several"`
	Source  string     `json:"source"`
	Replica int        `json:"replica,omitempty" doc:"of the source, counted from 1"`
	At      time.Time  `json:"at" doc:"the instant it was for"`
	Samples int64      `json:"samples" doc:"the source read for the whole request, as far as it says"`
	Seconds float64    `json:"seconds" doc:"until the answer was read"`
	Why     engine.Why `json:"why,omitempty" doc:"why there was no answer"`
	Detail  string     `json:"detail,omitempty"`
}

type evaluateInput struct {
	Scope string    `path:"scope" maxLength:"200" doc:"a scope's name"`
	At    time.Time `query:"at" doc:"the instant to evaluate, not in the future; now when left out"`
}

func (a *API) registerEvaluation(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "evaluate-scope", Method: http.MethodGet, Path: "/scopes/{scope}/evaluation", Summary: "Evaluate a scope's conditions",
		Description: "Asks the sources now, for this instant or an earlier one, and shows each condition as a tree. Nothing is decided on it.",
		Errors:      []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}, a.evaluate)
}

func (a *API) evaluate(ctx context.Context, in *evaluateInput) (*body[Evaluation], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	switch {
	case in.At.After(now):
		return nil, problem(http.StatusBadRequest, CodeInvalid, "at is in the future: nothing can be known about it")
	case in.At.IsZero():
		in.At = now
	}
	if v.Policy == nil || a.opts.Evaluate == nil {
		return nil, problem(http.StatusConflict, CodeNoRules, fmt.Sprintf("%s has no rules in force, so there is nothing to evaluate", in.Scope))
	}
	done, err := a.evaluates()
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := a.opts.Evaluate(ctx, v, in.At.UTC())
	if err != nil {
		return nil, err
	}
	return &body[Evaluation]{e}, nil
}

// evaluates begins to ask the sources for somebody, unless too many do: whoever looks must not keep the sources from answering the
// ticks. The caller calls done.
func (a *API) evaluates() (done func(), err error) {
	select {
	case a.evaluating <- struct{}{}:
		return func() { <-a.evaluating }, nil
	default:
		return nil, problem(http.StatusServiceUnavailable, CodeUnavailable, "others are evaluating at this moment: try again in a few seconds")
	}
}

// maxEvaluating is how many evaluations may be asked for at once.
const maxEvaluating = 2

// Evaluate asks how the conditions of a scope stand at an instant; the zero time is now.
func (c *Client) Evaluate(ctx context.Context, scope engine.Scope, at time.Time) (Evaluation, error) {
	query := url.Values{}
	if !at.IsZero() {
		query.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	var out Evaluation
	return out, c.get(ctx, scopePath(scope, "/evaluation"), query, &out)
}
