package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// Budget is how the error budget of an SLO stands.
type Budget struct {
	Scope     engine.Scope `json:"scope"`
	SLO       string       `json:"slo"`
	Objective string       `json:"objective" doc:"in percent, as the rules have it"`
	Period    string       `json:"period" doc:"30d, or month in Europe/Berlin"`
	From      time.Time    `json:"from" doc:"when the period began"`
	To        time.Time    `json:"to" doc:"when it ends: of a rolling one, the end of the last bucket that is due"`

	Known     bool     `json:"known" doc:"false: remaining, remaining_time and remaining_events say nothing"`
	Unknown   string   `json:"unknown,omitempty" doc:"why it is not known"`
	Remaining float64  `json:"remaining" doc:"share of the budget that is left: at most 1, negative once it is overspent"`
	Time      Duration `json:"remaining_time,omitzero" doc:"the time of full outage that would spend what is left; 0 when nothing is"`
	Events    float64  `json:"remaining_events,omitempty" doc:"how many more events may fail at the period's traffic; absent where the SLO does not count events"`

	Errors  float64 `json:"errors" doc:"in the period, as far as it is known"`
	Total   float64 `json:"total" doc:"in the period, as far as it is known"`
	Counted bool    `json:"counted" doc:"errors and total are numbers of events; else weights: the query's unit times seconds"`

	Coverage float64  `json:"coverage" doc:"known share of what is past of the period"`
	Excluded Duration `json:"excluded,omitzero" doc:"what pauses and corrections take out of what is past of the period"`
	Paused   *Paused  `json:"paused,omitempty" doc:"a mode pauses the SLO: its tiers are quiet and the time does not count"`

	BurnKnown bool      `json:"burn_known"`
	Burn      float64   `json:"burn" doc:"present burn rate: 1 spends the budget in exactly one period"`
	Window    Duration  `json:"burn_window" doc:"what the present burn rate is measured over"`
	Lasts     Duration  `json:"lasts,omitzero" doc:"how long what is left lasts at the present burn rate; absent when it does not run out, or cannot be told"`
	Until     time.Time `json:"lasts_until,omitzero"`
	Endless   bool      `json:"endless" doc:"at the present burn rate it does not run out"`

	Step   Duration `json:"step,omitzero" doc:"of the series"`
	Series []Burnt  `json:"series,omitempty" doc:"the burn rate over the period, in steps"`
}

// Paused says since when an SLO is paused, and by what.
type Paused struct {
	Since  time.Time       `json:"since"`
	Mode   engine.Mode     `json:"mode"`
	Change engine.ChangeID `json:"change" doc:"that entered the mode: approved by people, or planned by a schedule"`
}

// Burnt is one step of a series.
type Burnt struct {
	At    time.Time `json:"at" doc:"its beginning"`
	Known float64   `json:"known" doc:"share of the step's time that counts and is known"`
	Burn  float64   `json:"burn" doc:"burn rate over the step; says nothing where known is 0"`
}

// BudgetList is the budgets of all scopes, by scope and in the order of their rule files.
type BudgetList struct {
	At      time.Time `json:"at"`
	Budgets []Budget  `json:"budgets" nullable:"false"`
}

// ScopeBudget is the budgets of one scope, with what people took out of them.
type ScopeBudget struct {
	Scope       engine.Scope        `json:"scope"`
	At          time.Time           `json:"at"`
	Budgets     []Budget            `json:"budgets" nullable:"false" doc:"in the order of the rule file"`
	Corrections []engine.Correction `json:"corrections" nullable:"false" doc:"that hold, oldest first"`
}

// CorrectionRequest asks for time to be taken out of an error budget.
type CorrectionRequest struct {
	SLO      string    `json:"slo" minLength:"1" maxLength:"200"`
	From     time.Time `json:"from,omitzero" doc:"now, if not said"`
	To       time.Time `json:"to" doc:"a recurrence ends here too"`
	Cron     string    `json:"cron,omitempty" maxLength:"200" doc:"minute, hour, day of the month, month, day of the week: windows open by it, and only they are taken out"`
	Duration Duration  `json:"duration,omitzero" doc:"of each window"`
	Timezone string    `json:"timezone,omitempty" maxLength:"100" doc:"of cron; UTC if not said"`
	Reason   string    `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
}

type budgetInput struct {
	Scope string    `path:"scope" maxLength:"200" doc:"a scope's name"`
	At    time.Time `query:"at" doc:"how they stood then, as far as was known then; now, if not said"`
	Steps int       `query:"steps" minimum:"0" maximum:"1000" doc:"how many steps a series of each has; none, if not said"`
}

type budgetsInput struct {
	Steps int `query:"steps" minimum:"0" maximum:"1000" doc:"how many steps a series of each has; none, if not said"`
}

type withdrawalInput struct {
	Scope      string `path:"scope" maxLength:"200" doc:"a scope's name"`
	Correction string `path:"correction" maxLength:"250" doc:"a correction's identity"`
	Reason     string `query:"reason" required:"true" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
}

func (a *API) registerBudgets(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-budgets", Method: http.MethodGet, Path: "/budgets", Summary: "List error budgets",
		Description: "How the error budgets stand of every scope the token may see. They come from the ledger: no source is asked.",
	}, a.listBudgets)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-budget", Method: http.MethodGet, Path: "/scopes/{scope}/budget", Summary: "Show a scope's error budgets",
		Description: "How they stand, and the corrections that hold.", Errors: []int{http.StatusNotFound},
	}, a.getBudget)
	failures := []int{http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	register(a, h, RoleOperator, huma.Operation{
		OperationID: "correct-budget", Method: http.MethodPost, Path: "/scopes/{scope}/budget/corrections", Summary: "Take time out of an error budget",
		Description: "Records a correction: the time does not count in the budget. Measurements, burn rates and alerts stay what they are.",
		Errors:      failures,
	}, func(ctx context.Context, in *requestInput[CorrectionRequest]) (*body[Outcome], error) {
		r := in.Body
		if a.opts.Budgets != nil {
			if err := a.opts.Budgets.Correctable(engine.Scope(in.Scope), r.SLO, r.Cron, time.Duration(r.Duration), r.Timezone); err != nil {
				return nil, problem(http.StatusUnprocessableEntity, CodeInvalid, err.Error())
			}
		}
		return a.submit(ctx, in.Scope, &engine.CorrectionRequested{SLO: r.SLO, From: r.From, To: r.To, Cron: r.Cron,
			Duration: time.Duration(r.Duration), Timezone: r.Timezone, Reason: r.Reason})
	})
	register(a, h, RoleOperator, huma.Operation{
		OperationID: "withdraw-correction", Method: http.MethodDelete, Path: "/scopes/{scope}/budget/corrections/{correction}", Summary: "Withdraw a correction",
		Description: "The time counts again from now on. That it did not count meanwhile stays in the log.", Errors: failures,
	}, func(ctx context.Context, in *withdrawalInput) (*body[Outcome], error) {
		return a.submit(ctx, in.Scope, &engine.WithdrawalRequested{Correction: engine.CorrectionID(in.Correction), Reason: in.Reason})
	})
}

func (a *API) listBudgets(ctx context.Context, in *budgetsInput) (*body[BudgetList], error) {
	out := &body[BudgetList]{BudgetList{At: time.Now().UTC(), Budgets: []Budget{}}}
	for _, v := range a.visible(ctx) {
		if v.State.Retired || a.opts.Budgets == nil {
			continue
		}
		list, err := a.opts.Budgets.Budgets(ctx, v.State.Scope, out.Body.At, in.Steps)
		if err != nil {
			return nil, err
		}
		out.Body.Budgets = append(out.Body.Budgets, list...)
	}
	return out, nil
}

func (a *API) getBudget(ctx context.Context, in *budgetInput) (*body[ScopeBudget], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	at := in.At.UTC()
	if at.IsZero() {
		at = time.Now().UTC()
	}
	out := &body[ScopeBudget]{ScopeBudget{Scope: v.State.Scope, At: at, Budgets: []Budget{}, Corrections: list(v.State.Corrections)}}
	if a.opts.Budgets != nil {
		budgets, err := a.opts.Budgets.Budgets(ctx, v.State.Scope, at, in.Steps)
		if err != nil {
			return nil, err
		}
		out.Body.Budgets = list(budgets)
	}
	return out, nil
}

// Budgets lists the error budgets of the scopes the token may see, each with a series of so many steps.
func (c *Client) Budgets(ctx context.Context, steps int) (BudgetList, error) {
	var out BudgetList
	return out, c.get(ctx, "/budgets", url.Values{"steps": {strconv.Itoa(steps)}}, &out)
}

// Budget shows the error budgets of a scope, as they were said at an instant; a zero one is now.
func (c *Client) Budget(ctx context.Context, scope engine.Scope, at time.Time, steps int) (ScopeBudget, error) {
	query := url.Values{"steps": {strconv.Itoa(steps)}}
	if !at.IsZero() {
		query.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	var out ScopeBudget
	return out, c.get(ctx, scopePath(scope, "/budget"), query, &out)
}

// Correct takes time out of an error budget.
func (c *Client) Correct(ctx context.Context, scope engine.Scope, r CorrectionRequest) (Outcome, error) {
	return c.post(ctx, scopePath(scope, "/budget/corrections"), r)
}

// Withdraw ends a correction.
func (c *Client) Withdraw(ctx context.Context, scope engine.Scope, id engine.CorrectionID, reason string) (Outcome, error) {
	var out Outcome
	return out, c.call(ctx, http.MethodDelete, scopePath(scope, "/budget/corrections/"+url.PathEscape(string(id))), url.Values{"reason": {reason}}, nil, &out)
}
