package server

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/rules"
)

// Rules implements api.RulesBook.
func (b *ruleBook) Rules() api.Rules {
	set, _ := b.current() // what is wrong with the files on disk stands with each service
	modes := b.inForce()
	out := api.Rules{Digest: set.Digest, Services: []api.ServiceRules{}, Options: api.RuleOptions{
		Interval: api.Duration(b.opts.Interval), BlindAfter: api.Duration(b.opts.BlindAfter), SLOPeriod: api.Duration(b.opts.SLOPeriod),
		Sources: b.opts.Sources, Receivers: slices.Sorted(maps.Keys(b.opts.Receivers)),
	}}
	for _, s := range set.Services {
		scope := s.Policy.Scope
		out.Services = append(out.Services, api.ServiceRules{Scope: scope, Digest: s.Digest, Remarks: s.Remarks, File: s.File, Mode: modes[scope], Problem: s.Problem})
		delete(modes, scope)
	}
	for scope, mode := range modes {
		out.Services = append(out.Services, api.ServiceRules{Scope: scope, Mode: mode})
	}
	slices.SortFunc(out.Services, func(x, y api.ServiceRules) int { return strings.Compare(string(x.Scope), string(y.Scope)) })
	return out
}

// Outline implements api.RulesBook.
func (b *ruleBook) Outline(scope engine.Scope) *outline.Service {
	set, _ := b.current()
	if s := set.Service(scope); s != nil {
		return s.Outline()
	}
	return nil
}

// OptionsOf are how a server that answers so compiles rule files. Of actions they know the form alone: which programs and addresses
// that server allows it does not tell.
func OptionsOf(r api.Rules) (rules.Options, error) {
	kinds, err := FormKinds()
	if err != nil {
		return rules.Options{}, err
	}
	o := r.Options
	opts := rules.Options{
		Interval: time.Duration(o.Interval), BlindAfter: time.Duration(o.BlindAfter), SLOPeriod: time.Duration(o.SLOPeriod),
		Sources: o.Sources, Kinds: kinds, Receivers: map[engine.Severity]bool{}, InForce: map[engine.Scope]engine.Mode{},
	}
	for _, severity := range o.Receivers {
		opts.Receivers[severity] = true
	}
	for _, s := range r.Services {
		if s.Mode != "" {
			opts.InForce[s.Scope] = s.Mode
		}
	}
	return opts, nil
}
