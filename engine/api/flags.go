package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// Flag is a feature flag of a scope: what instances are told of it now, and what its rule file says of it.
type Flag struct {
	Scope engine.Scope `json:"scope"`
	Name  string       `json:"name"`
	Type  string       `json:"type,omitempty" doc:"boolean, number, string or object: one in all modes; absent when no mode sets it"`
	Mode  engine.Mode  `json:"mode,omitempty" doc:"what instances are told"`
	Set   bool         `json:"set" doc:"that mode sets the flag"`
	Value any          `json:"value,omitempty" doc:"which it is set to"`

	Declared    bool   `json:"declared" doc:"the rule file says whose it is; what follows is of that"`
	Description string `json:"description,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Level       int    `json:"level,omitempty" doc:"1 is most critical, 5 least"`
	Expires     string `json:"expires,omitempty" doc:"the day after which it should be gone: 2027-03-01"`
	Tested      string `json:"tested,omitempty" doc:"the last day on which somebody saw it work"`
	Saves       string `json:"saves,omitempty" doc:"what switching it saves"`
	Position    string `json:"position,omitempty" doc:"file:line:column"`
	Expired     bool   `json:"expired" doc:"its day is over"`
	Untested    bool   `json:"untested" doc:"nobody has seen it work for 90 days"`
}

// FlagList is flags by scope: those that are declared in the order of the file, then the others by name.
type FlagList struct {
	At    time.Time `json:"at" doc:"when they were so"`
	Flags []Flag    `json:"flags" nullable:"false"`
}

func (a *API) registerFlags(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-flags", Method: http.MethodGet, Path: "/flags", Summary: "List feature flags",
		Description: "The flags of every scope the token may see: what instances are told of them now, whose they are, and which nobody looks after.",
	}, func(ctx context.Context, _ *struct{}) (*body[FlagList], error) {
		return &body[FlagList]{a.flags(a.visible(ctx))}, nil
	})
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-flags", Method: http.MethodGet, Path: "/scopes/{scope}/flags", Summary: "Show a scope's feature flags",
		Description: "What instances are told of them now, whose they are, and which nobody looks after.", Errors: []int{http.StatusNotFound},
	}, func(_ context.Context, in *scopeInput) (*body[FlagList], error) {
		v, err := a.view(in.Scope)
		if err != nil {
			return nil, err
		}
		return &body[FlagList]{a.flags([]engine.View{v})}, nil
	})
}

// flags are those of some scopes. A scope that is retired has no rules that could say more than its last directive.
func (a *API) flags(views []engine.View) FlagList {
	out := FlagList{At: time.Now().UTC(), Flags: []Flag{}}
	for _, v := range views {
		if v.State.Retired || v.Policy == nil {
			continue
		}
		var flags []Flag
		if a.opts.Flags != nil {
			flags = a.opts.Flags(v.State.Scope, out.At)
		}
		types := map[string]string{}
		for i := range v.Policy.Modes {
			for name, value := range v.Policy.Modes[i].Flags {
				types[name] = flagType(value)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(types)) {
			if !slices.ContainsFunc(flags, func(f Flag) bool { return f.Name == name }) {
				flags = append(flags, Flag{Name: name})
			}
		}
		told := v.State.Directive
		for _, f := range flags {
			f.Scope, f.Mode, f.Type = v.State.Scope, told.Mode, types[f.Name]
			f.Owner = cmp.Or(f.Owner, v.Policy.Owner)
			f.Value, f.Set = told.Flags[f.Name]
			out.Flags = append(out.Flags, f)
		}
	}
	return out
}

// flagType is what a flag's value is, in the words of OpenFeature.
func flagType(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	}
	return "object"
}

// Flags lists the feature flags of the scopes the token may see.
func (c *Client) Flags(ctx context.Context) (FlagList, error) {
	var out FlagList
	return out, c.get(ctx, "/flags", nil, &out)
}

// ScopeFlags lists the feature flags of one scope.
func (c *Client) ScopeFlags(ctx context.Context, scope engine.Scope) (FlagList, error) {
	var out FlagList
	return out, c.get(ctx, scopePath(scope, "/flags"), nil, &out)
}
