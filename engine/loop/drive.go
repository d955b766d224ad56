package loop

import (
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Whoever rehearses (rules test, rules backtest) leads a loop through a time of its own: Start, and then TickAt and Do in place of
// Run, from one goroutine, with a Log that keeps that time. Every rule of the loop holds there as in Run, because it is the same code:
// what is due, how often a condition is asked, what a gap is, who hears of whom.

// TickAt asks, evaluates and judges the tick of an instant. Nothing bounds the evaluation but ctx: a time that is only imagined does
// not run out while an answer is on its way. After Start, and never beside Run.
func (l *Loop) TickAt(ctx context.Context, instant time.Time) {
	a := l.question(ctx, instant, 0)
	a.Answer = l.rules.Evaluate(ctx, a.tick)
	l.judge(ctx, a)
}

// Do carries out a request, as Submit has it carried out, and returns the events it led to. After Start, and never beside Run.
func (l *Loop) Do(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	events, err := l.carryOut(ctx, request{scope: scope, by: by, what: what})
	l.follow(ctx)
	return events, err
}
