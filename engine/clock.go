package engine

import "time"

// tick says how a condition's clock stands after an evaluation at instant, and whether that is news: while a condition
// stays true from evaluation to evaluation its clock runs by itself, and nothing needs to be stored.
//
// The sum grows by the span between two consecutive true evaluations if that is no more than two intervals; a false empties
// it, and so does a span longer than blindAfter. In between the sum is kept: an evaluation that came back unknown neither
// helps nor harms. prev is the instant this scope was evaluated at before.
func (c Clock) tick(truth Truth, instant, prev time.Time, p *Policy) (Clock, bool) {
	never := c.Since.IsZero()
	last := c.LastTrue // the last true evaluation before this one
	sum := c.Sum
	if c.Truth == True {
		last = later(prev, c.Since)
		sum += last.Sub(c.Since)
	}
	next := Clock{Condition: c.Condition, Digest: c.Digest, Truth: truth, Since: instant}
	switch truth {
	case False:
		return next, !never
	case Unknown:
		next.Sum, next.LastTrue = sum, last
		return next, c.Truth == True
	case True:
		span := instant.Sub(last)
		switch {
		case never:
		case span < 0 && c.Truth == True: // the clock was set back: what is counted is kept, and counting goes on from here
			next.Sum = sum
		case span <= 2*p.Interval && c.Truth == True:
			return c, false
		case span <= 2*p.Interval:
			next.Sum = sum + max(0, span)
		case span <= p.BlindAfter:
			next.Sum = sum
		}
		return next, true
	}
	return c, false
}
