package server

import (
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// unavailable is an error that trying again later may mend.
type unavailable string

func (e unavailable) Error() string { return string(e) }
func (unavailable) Code() string    { return api.CodeUnavailable }

// evaluate asks how the conditions of a scope stand at an instant, by the rules that are evaluated now.
func (s *Server) evaluate(ctx context.Context, v engine.View, at time.Time) (api.Evaluation, error) {
	evaluator := s.present.Load()
	if evaluator == nil {
		return api.Evaluation{}, unavailable("nothing has been evaluated yet: try again after the first tick")
	}
	question := engine.Question{Scope: v.State.Scope, Dwell: max(0, v.State.Dwell(at))}
	if in := s.roster.Summary(v.State, time.Now().UTC()); in.Known > 0 {
		question.Known, question.Divergence = in.Known, float64(in.Behind)/float64(in.Known)
	}
	question.Instances = s.roster.Members(v.State.Scope)
	for i := range v.Policy.Conditions {
		question.Conditions = append(question.Conditions, i)
	}
	x := evaluator.Explain(ctx, prom.Tick{Instant: at, Questions: []engine.Question{question},
		Modes: func(scope engine.Scope) (engine.Mode, bool) {
			other, ok := s.loop.View(scope)
			return other.State.Mode, ok && !other.State.Retired && other.State.Mode != ""
		}})
	out := api.Evaluation{Scope: v.State.Scope, Instant: x.Instant, Mode: v.State.Mode, Conditions: []api.EvaluatedCondition{},
		Queries: x.Stats.Queries, Rounds: x.Stats.Rounds, Samples: x.Stats.Samples, Seconds: x.Took.Seconds()}
	for i := range x.Conditions {
		c := &x.Conditions[i]
		out.Conditions = append(out.Conditions, api.EvaluatedCondition{Name: c.Condition.Name, Text: c.Condition.Text, Position: c.Condition.Position,
			Relevant: v.Policy.Relevant(v.State, i), Truth: c.Truth, Blind: c.Blind, Tree: evaluatedPart(c, c.Tree)})
	}
	return out, nil
}

func evaluatedPart(c *prom.Explained, p rules.Part) api.EvaluatedPart {
	out := api.EvaluatedPart{Op: string(p.Op), Text: p.Text, Truth: p.Truth, Skipped: p.Open, Readings: []api.EvaluatedReading{}, Parts: []api.EvaluatedPart{}}
	for _, s := range p.Signals {
		m, asked := c.Signals[s]
		if !asked {
			continue
		}
		r := api.EvaluatedReading{Reading: m.Reading, AgeSeconds: m.Age.Seconds(), Queries: []api.EvaluatedQuery{}}
		for _, q := range m.Queries {
			sent := api.EvaluatedQuery{Query: q.Query, Source: q.Source, Replica: q.Replica, At: q.At, Samples: q.Samples,
				Seconds: q.Took.Seconds(), Why: q.Why, Detail: q.Detail}
			if q.Own != q.Query {
				sent.Own = q.Own
			}
			r.Queries = append(r.Queries, sent)
		}
		out.Readings = append(out.Readings, r)
	}
	for _, part := range p.Parts {
		out.Parts = append(out.Parts, evaluatedPart(c, part))
	}
	return out
}
