package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/outline"
)

// Rules are what is in force, and what a program needs to compile other files as the server would.
type Rules struct {
	Digest   engine.Digest  `json:"digest" doc:"of the rules of all scopes, hidden ones too"`
	Services []ServiceRules `json:"services" nullable:"false" doc:"by scope: those with rules in force, and those that are retired and keep a directive"`
	Hidden   int            `json:"hidden" doc:"how many the token may not see"`
	Options  RuleOptions    `json:"options"`
}

// ServiceRules says which rules of a scope are in force.
type ServiceRules struct {
	Scope   engine.Scope  `json:"scope"`
	Digest  engine.Digest `json:"digest,omitempty" doc:"of its rules; absent: no file declares it any more"`
	Remarks engine.Digest `json:"remarks,omitempty" doc:"of what its file says for people and decides nothing"`
	File    string        `json:"file,omitempty" doc:"that declares it, as the server found it"`
	Mode    engine.Mode   `json:"mode,omitempty" doc:"that is published: rules which do not declare it are refused"`
	Problem string        `json:"problem,omitempty" doc:"why the rule file on disk is not the one in force"`
}

// RuleOptions are what rule files leave to the server: without them the same files have another digest.
type RuleOptions struct {
	Interval   Duration          `json:"interval" doc:"between two evaluations"`
	BlindAfter Duration          `json:"blind_after"`
	SLOPeriod  Duration          `json:"slo_period" doc:"of SLOs that name none"`
	Sources    map[string]int    `json:"sources" doc:"each Prometheus, with the number of its replicas"`
	Receivers  []engine.Severity `json:"receivers" nullable:"false" doc:"the severities that somebody is told"`
}

// RulesBook is who knows which rules are in force.
type RulesBook interface {
	// Rules are those of all scopes.
	Rules() Rules
	// Outline is what the rules of a scope say; nil when none are in force.
	Outline(scope engine.Scope) *outline.Service
}

func (a *API) registerRules(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-rules", Method: http.MethodGet, Path: "/rules", Summary: "List the rules in force",
		Description: "The digest of the rules of every scope the token may see, and what rule files leave to the server: `modeshift rules plan` compares by it.",
	}, a.listRules)
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-rules", Method: http.MethodGet, Path: "/scopes/{scope}/rules", Summary: "Show a scope's rules",
		Description: "What the rules in force say, entry by entry. What may be a secret in what its actions do is left out: a digest behind it tells whether it is the same.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict},
	}, a.getRules)
}

func (a *API) listRules(ctx context.Context, _ *struct{}) (*body[Rules], error) {
	if a.opts.Rules == nil {
		return nil, problem(http.StatusConflict, CodeNoRules, "this server has no rules")
	}
	all := a.opts.Rules.Rules()
	out := all
	out.Services = []ServiceRules{}
	for _, s := range all.Services {
		if bearerOf(ctx).may(RoleViewer, s.Scope) {
			out.Services = append(out.Services, s)
		} else {
			out.Hidden++
		}
	}
	return &body[Rules]{out}, nil
}

func (a *API) getRules(_ context.Context, in *scopeInput) (*body[outline.Service], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	if a.opts.Rules != nil {
		if s := a.opts.Rules.Outline(v.State.Scope); s != nil {
			return &body[outline.Service]{*s}, nil
		}
	}
	return nil, problem(http.StatusConflict, CodeNoRules, fmt.Sprintf("no rules are in force for %s", in.Scope))
}

// Rules lists the rules in force.
func (c *Client) Rules(ctx context.Context) (Rules, error) {
	var out Rules
	return out, c.get(ctx, "/rules", nil, &out)
}

// ScopeRules shows what the rules of a scope say.
func (c *Client) ScopeRules(ctx context.Context, scope engine.Scope) (outline.Service, error) {
	var out outline.Service
	return out, c.get(ctx, scopePath(scope, "/rules"), nil, &out)
}
