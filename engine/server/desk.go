package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/web"
	"github.com/modeshift/modeshift/rules/prom"
)

// openDesk is where people are asked: the API and the pages stand at the same one.
func (s *Server) openDesk() *approval.Desk {
	return approval.New(approval.Options{Loop: s.loop, Log: storeReader{s.store}, Describe: s.describe, Budget: s.budgets, Targets: s.targets})
}

// budgets says how long the error budgets of a scope last at the present burn, as the rules that are evaluated now see them.
func (s *Server) budgets(ctx context.Context, scope engine.Scope) []approval.Budget {
	evaluator := s.present.Load()
	if evaluator == nil {
		return nil
	}
	var list []approval.Budget
	for _, b := range evaluator.Budget(ctx, scope, time.Now()) {
		list = append(list, budgetShown(b))
	}
	return list
}

func budgetShown(b prom.Budget) approval.Budget {
	out := approval.Budget{SLO: b.SLO, Remaining: b.Remaining, Burn: b.Burn, Lasts: b.Lasts}
	if b.Lasts == prom.Forever {
		out.Lasts = 0 // nothing burns
	}
	if b.Unknown == "" {
		return out
	}
	out.Unknown = string(b.Unknown)
	if b.Detail != "" {
		out.Unknown += ": " + b.Detail
	}
	switch {
	case b.BurnKnown:
		out.Unknown += fmt.Sprintf("; it burns %.3g times as fast as it may", b.Burn)
	case b.RemainingKnown:
		out.Unknown += fmt.Sprintf("; %.1f %% of it is left", 100*b.Remaining)
	}
	return out
}

// describe says what a step would do, in the words of its kind.
func (s *Server) describe(job engine.StepJob) (string, error) {
	kind, known := s.kinds[job.Step.Kind]
	if !known {
		return "", fmt.Errorf("this server knows no kind of action %q", job.Step.Kind)
	}
	return kind.Describe(job)
}

// pages are the approvals for people with a browser.
func (s *Server) pages(desk *approval.Desk) (*web.Web, error) {
	return web.New(web.Options{Desk: desk, ExternalURL: s.opts.Config.ExternalURL, Logger: s.log, Admit: s.admitVisitor, Visitor: func(sum [sha256.Size]byte) (web.Visitor, bool) {
		token, known := s.tokens.Lookup(sum)
		if !known || !token.Reads() {
			return web.Visitor{}, false
		}
		return visitor(token), true
	}})
}

func visitor(token api.Token) web.Visitor {
	return web.Visitor{Actor: token.Actor(), Roles: token.Words(), Sees: token.Sees}
}
