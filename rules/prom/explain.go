package prom

import (
	"cmp"
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Explanation is an evaluation with all that was asked for it.
type Explanation struct {
	Instant    time.Time // that was evaluated
	Conditions []Explained
	Stats      Stats
	Took       time.Duration
}

// Explained is one condition: its tree of parts, and what was measured for each signal in it.
type Explained struct {
	Condition *rules.Condition
	Truth     engine.Truth
	Blind     bool
	Tree      rules.Part
	Signals   map[rules.Signal]Measured // those that were asked for
}

// Measured is a signal's reading and the queries behind it; there are none for what takes no source.
type Measured struct {
	Reading engine.Reading
	Age     time.Duration // of the newest sample behind it at the instant of the queries; 0 when it was not asked for
	Queries []Sent
}

// Sent is a query and what came back.
type Sent struct {
	Query   string // as it was sent
	Own     string // the part of it that is about this signal, where one request asked for several; else equal to Query
	Source  string
	Replica int // counted from 1; 0 where there is only one
	At      time.Time
	Samples int64 // that the source read for the whole request; 0 when it does not say
	Took    time.Duration
	Why     engine.Why // why there was no answer
	Detail  string
}

// Explain answers a question as Evaluate does, and tells what it took. It asks for everything anew and leaves no trace: what is
// remembered for later ticks and the metrics stay as they are.
func (e *Evaluator) Explain(ctx context.Context, in Tick) Explanation {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, e.opts.Budget)
	defer cancel()
	fresh := &Evaluator{set: e.set, sources: e.sources, opts: e.opts, probes: e.probes,
		fusion: newFusion(), costs: e.costs, held: held{values: map[key]heldValue{}}, proved: proved{at: map[query]time.Time{}}}
	fresh.opts.Metrics = nil
	t := newTick(fresh, in)
	for wanted := t.step(); len(wanted) > 0; wanted = t.step() {
		t.ask(ctx, wanted)
	}
	a := t.answer()
	x := Explanation{Instant: in.Instant, Stats: a.Stats}
	for _, one := range t.asks {
		o := a.Observations[one.question.Scope][one.index]
		c := Explained{Condition: one.condition, Truth: o.Truth, Blind: o.Blind, Signals: map[rules.Signal]Measured{}}
		if one.panicked == "" {
			c.Tree = one.condition.Parts(t.lookup(one))
			for _, r := range one.verdict.Used {
				if v, ok := t.values[key{one.service, r}]; ok {
					c.Signals[r] = t.measured(one, r, v)
				}
			}
		} else {
			c.Tree = rules.Part{Text: one.panicked}
		}
		x.Conditions = append(x.Conditions, c)
	}
	x.Took = time.Since(start)
	return x
}

// measured is what was asked for a signal of a condition.
func (t *tick) measured(a *ask, s rules.Signal, v rules.Value) Measured {
	m := Measured{Reading: v.Reading}
	for _, d := range a.verdict.Disagree {
		if d == s {
			m.Reading = disagreeing(v)
		}
	}
	p := t.probeOf(key{a.service, s})
	if p == nil {
		return m
	}
	at := s.At(t.Instant).Add(-t.opts.QueryOffset)
	if !m.Reading.Sample.IsZero() {
		m.Age = at.Sub(m.Reading.Sample)
	}
	seen := view{t, at}
	for i, part := range p.parts {
		queries := part.queries
		if part.doubts != nil {
			queries = append(queries[:len(queries):len(queries)], part.doubts(seen)...)
		}
		for _, q := range queries {
			q.at = at.UnixMilli()
			got, asked := t.answers[q.query]
			if !asked {
				continue
			}
			sent := Sent{Query: cmp.Or(got.sent, q.text), Own: q.text, Source: t.sources[q.source].Name, At: at, Samples: got.samples, Took: got.took, Why: got.why, Detail: got.detail}
			if s.Narrowed {
				sent.Query, sent.Own = shortened(sent.Query), shortened(sent.Own)
			}
			if len(p.parts) > 1 {
				sent.Replica = i + 1
			}
			m.Queries = append(m.Queries, sent)
		}
	}
	return m
}
