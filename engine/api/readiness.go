package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/readiness"
)

func (a *API) registerReadiness(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-readiness", Method: http.MethodGet, Path: "/scopes/{scope}/readiness", Summary: "Show what readiness for automation rests on",
		Description: "What the rule file does not say: how its modes were left last, who is told and how many people may say yes, whether instances " +
			"follow, and whether the sources, which are asked now, show what its transitions rest on. `modeshift rules check --readiness` judges by it.",
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}, a.getReadiness)
}

func (a *API) getReadiness(ctx context.Context, in *scopeInput) (*body[readiness.Facts], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	if v.Policy == nil || len(v.Policy.Modes) == 0 || v.State.Retired || a.opts.Readiness == nil {
		return nil, problem(http.StatusConflict, CodeNoRules, fmt.Sprintf("%s has no modes in force, so there is nothing to be ready for", in.Scope))
	}
	done, err := a.evaluates()
	if err != nil {
		return nil, err
	}
	defer done()
	facts, err := a.opts.Readiness(ctx, v)
	if err != nil {
		return nil, err
	}
	return &body[readiness.Facts]{facts}, nil
}

// Holders are the different people who hold each role in a scope, as a gate there counts them. That somebody is an admin makes them
// a member of no group.
func (t *Tokens) Holders(scope engine.Scope) map[string][]string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	holders := map[string][]string{}
	seen := map[[2]string]bool{}
	for _, k := range t.list {
		if !k.token.Sees(scope) {
			continue
		}
		person := k.token.Actor().String()
		for _, role := range k.token.Words() {
			if who := [2]string{role, person}; !seen[who] {
				seen[who] = true
				holders[role] = append(holders[role], person)
			}
		}
	}
	return holders
}

// Readiness shows what readiness for automation rests on and the rule file does not say.
func (c *Client) Readiness(ctx context.Context, scope engine.Scope) (readiness.Facts, error) {
	var out readiness.Facts
	return out, c.get(ctx, scopePath(scope, "/readiness"), nil, &out)
}
