package prom

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Sparse makes an evaluator look at the windows of SLOs less often than at each tick while they are far from every limit that
// a condition compares them with. It is for a past of weeks, of which nearly all is quiet: to lead a month through it at each
// tick would cost the server a hundred times what it costs to see that nothing was near.
//
// A window w is looked at on a grid. Between two instants g0 and g1 of the grid, no further apart than w, what lies in the window of
// an instant lies in that of g0 or of g1:
//
//	         g0-w     g1-w        g0          g1
//	g0        |--------------------|
//	t           |--------------------|
//	g1                  |--------------------|
//
// so the window of t holds at most the errors of both, and as many events as either where the traffic does not change by much.
// While those errors, with half as many again for what traffic does, are below the lowest limit at both ends, it is calm: at
// each tick in between the signal has the value of g0. Else it is asked for at each tick, as without this: what is decided when
// anything happens rests on the instants themselves.
//
// A long window need not be asked for at all while the shortest one of its SLO says enough: what lies in the long one lies in one
// of the short ones over that time, which overlap, so that nothing falls between two of them.
//
// Whatever is not known at one of the instants is not calm. A window that is longer than its SLO's samples may be old is so only
// while the short one that shows their age is. Nor is a signal that a condition does more with than compare it with numbers.
type Sparse struct {
	// Sources are those of the evaluator, asked at instants that lie far apart. They should be other Aheads: a text is asked
	// for on the grid and at ticks.
	Sources []Source
	Until   time.Time // no instant after it is looked at
}

const (
	// Parts of a window, by which its grid is apart. A ratio does not tell how much happened: errors in a quiet hour are lost in it
	// as soon as a busy one comes.
	countParts, ratioParts = 2, 6
	paceParts              = 8 // of a window that is seen in those of a shorter one
	// What the errors are multiplied with, for what the traffic does, and the extension of rates to the edges of a window.
	bothMargin = 1.5
	partMargin = 1.25
	// maxPieces is how many short windows a long one may be seen in.
	maxPieces = 150
)

// sparse is what a Sparse finds out, for one evaluator. One goroutine owns it: that of Evaluate.
type sparse struct {
	Sparse
	looks map[key]*look
	memos map[*rules.Condition]*memo
	// limits are the lowest error ratio that each condition compares a signal with; 0 where it does something else with it.
	limits map[*rules.Condition]map[rules.Signal]float64
}

// look is how a signal is looked at on its grid, and what was seen there last.
type look struct {
	key
	probe *probe
	grid  time.Duration
	shows *look         // of the signal that shows the age of its samples; nil: it does so itself
	short *look         // of a shorter window of the SLO, in which it can be seen; nil: in none
	pace  time.Duration // how far apart it is looked at in those
	// counts: its values are numbers of events, in the unit of the SLO's queries. What Sloth's rules record are ratios.
	counts bool

	from, to time.Time
	most     float64               // error ratio that it cannot have reached in between; infinite where that is not known
	value    rules.Value           // at from
	seen     map[int64]rules.Value // on the grid, by Unix milliseconds
}

// maxSeen is how many values of a look are kept.
const maxSeen = 4 * maxPieces

// memo is what a condition came to, while that cannot change. What it rested on is what it will likely rest on afterwards.
type memo struct {
	until       time.Time
	observation engine.Observation
	used        []rules.Signal
}

// newSparse finds out which signals can be looked at on a grid.
func newSparse(e *Evaluator, opts Sparse) *sparse {
	s := &sparse{Sparse: opts, looks: map[key]*look{}, memos: map[*rules.Condition]*memo{}, limits: map[*rules.Condition]map[rules.Signal]float64{}}
	for k, p := range e.probes {
		if k.signal.Kind != rules.SignalSLO || p == nil || p.fault != "" || len(p.parts) != 1 {
			continue
		}
		slo := k.service.SLO(k.signal.Name)
		l := &look{key: k, probe: p, most: math.Inf(1), seen: map[int64]rules.Value{}}
		_, recorded := k.service.RecordedQuery(slo, k.signal.Window)
		parts := time.Duration(countParts)
		if l.counts = slo.Events && !recorded; !l.counts {
			parts = ratioParts
		}
		if l.grid = gridOf(k.signal, e.opts.Step, parts); l.grid == 0 {
			continue
		}
		if l.aged() {
			ageless := *slo
			ageless.MaxAge = 0 // another signal tells
			l.probe = e.probe(e.sources[p.source].Name, 0, func(q query, alone bool) part { return sloPart(k.service, &ageless, k.signal.Window, q, alone) })
		}
		s.looks[k] = l
	}
	for k, l := range s.looks {
		slo := k.service.SLO(k.signal.Name)
		shortest := key{k.service, rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: quickest(slo, k.signal.Window)}}
		if !l.aged() {
			continue
		}
		if l.shows = s.looks[shortest]; l.shows == nil {
			delete(s.looks, k)
			continue
		}
		l.see(l.shows)
	}
	for _, service := range e.set.Services {
		for _, c := range service.Conditions {
			s.limits[c] = limitsOf(service, c)
		}
	}
	return s
}

// aged reports whether samples that are too old may be in the signal's window.
func (l *look) aged() bool {
	slo := l.service.SLO(l.signal.Name)
	return slo.MaxAge > 0 && l.signal.Window > slo.MaxAge
}

// see finds out whether the signal can be seen in the windows of a shorter one: what they count has to be known in events.
func (l *look) see(short *look) {
	slo := l.service.SLO(l.signal.Name)
	base := short.grid
	if l.signal.Every > 0 {
		for base%l.signal.Every != 0 && base < l.signal.Window {
			base += short.grid
		}
	}
	l.pace = max(base, l.signal.Window/paceParts/base*base)
	if short.counts && slo.EventsPerUnit(short.signal.Window) > 0 && (l.signal.Window+l.pace)/short.grid <= maxPieces && l.signal.Window >= 4*l.pace {
		l.short = short
	}
}

// gridOf is how far apart a signal is looked at: a part of its window, or for a short one up to four ticks, if that is well
// within it; 0 where a grid would save nothing. It is whole multiples of what short windows and its own cadence have, so that
// what is asked for at once is asked for at one instant.
func gridOf(s rules.Signal, step, parts time.Duration) time.Duration {
	for n := time.Duration(4); n > 1; n-- {
		base := max(n*step, s.Every)
		if s.Every > 0 && base%s.Every != 0 || base%step != 0 {
			continue
		}
		grid := max(s.Window/parts/base*base, base)
		if grid > step && grid > s.Every && grid <= s.Window*4/5 {
			return grid
		}
	}
	return 0
}

// limitsOf are the lowest error ratios that a condition compares the windows of SLOs with, 0 where it does something else with one.
func limitsOf(service *rules.Service, c *rules.Condition) map[rules.Signal]float64 {
	limits := map[rules.Signal]float64{}
	note := func(s rules.Signal, limit float64) {
		if have, ok := limits[s]; !ok || limit < have {
			limits[s] = limit
		}
	}
	var walk func(rules.Part)
	walk = func(p rules.Part) {
		switch c := p.Compares; {
		case c != nil && c.Signal.Kind == rules.SignalSLO:
			limit := c.Number
			if slo := service.SLO(c.Signal.Name); c.Function == "burn_rate" && slo != nil {
				limit *= slo.Budget
			}
			note(c.Signal, limit)
		default:
			for _, s := range p.Signals {
				note(s, 0)
			}
		}
		for _, part := range p.Parts {
			walk(part)
		}
	}
	walk(c.Parts(func(rules.Signal) (rules.Value, bool) { return rules.Value{}, false }))
	return limits
}

// calm takes out of wants what is calm at their instants, and notes its values.
func (t *tick) calm(ctx context.Context, wants []want) []want {
	return slices.DeleteFunc(wants, func(w want) bool {
		l, at := t.sparse.looks[w.key], w.at.Add(t.opts.QueryOffset)
		if l == nil || !t.look(ctx, l, at, t.lowest(w.key)) {
			return false
		}
		until := l.to
		if l.shows != nil {
			// What stands at the multiples of a cadence stands with what was known there.
			if !t.look(ctx, l.shows, t.Instant, math.Inf(1)) || !t.known(ctx, l.shows, at) {
				return false
			}
			until = earlier(until, l.shows.to)
		}
		v := l.value
		if !l.from.Equal(t.Instant) {
			v.Reading.At = l.from
		}
		t.values[w.key], t.recalled[w.key], t.until[w.key] = v, true, until
		return true
	})
}

// look finds out whether a signal is below a limit between the instants around one, and all of it known.
func (t *tick) look(ctx context.Context, l *look, at time.Time, limit float64) bool {
	if !at.Before(l.from) && at.Before(l.to) {
		return l.most < limit
	}
	if l.short != nil && t.piece(ctx, l, at, limit) {
		return true
	}
	l.from = at.Truncate(l.grid)
	l.to, l.most = l.from.Add(l.grid), math.Inf(1)
	if a, ok := t.seen(ctx, l, l.from); ok {
		if b, ok := t.seen(ctx, l, l.to); ok {
			l.value, l.most = a, mostBetween(l, a, b)
		}
	}
	if l.short != nil && l.most >= limit { // it may be calm again before the next instant of its own grid
		l.to = earlier(l.to, at.Truncate(l.pace).Add(l.pace))
	}
	return l.most < limit
}

// known reports whether a signal is known at both ends of the stretch that an instant is in.
func (t *tick) known(ctx context.Context, l *look, at time.Time) bool {
	if !at.Before(l.from) && at.Before(l.to) {
		return !math.IsInf(l.most, 1)
	}
	from := at.Truncate(l.grid)
	a, ok := t.seen(ctx, l, from)
	b, also := t.seen(ctx, l, from.Add(l.grid))
	return ok && also && !math.IsInf(mostBetween(l, a, b), 1)
}

// seen is the value of a look at an instant of its grid; false where that is not to be looked at.
func (t *tick) seen(ctx context.Context, l *look, at time.Time) (rules.Value, bool) {
	v, ok := l.seen[at.UnixMilli()]
	if ok {
		return v, true
	}
	if at = at.Add(-t.opts.QueryOffset); at.After(t.sparse.Until) {
		return rules.Value{}, false
	}
	fetcher := newFetcher(t.sparse.Sources, t.opts.QueryTimeout, t.opts.Parallel, t.Instant, t.opts.Metrics)
	v = t.measure(ctx, fetcher, []want{{l.key, l.probe, at, l.grid}})[0]
	if len(l.seen) >= maxSeen {
		clear(l.seen)
	}
	l.seen[at.Add(t.opts.QueryOffset).UnixMilli()] = v
	return v, true
}

// piece looks at a long window in those of a shorter one; false where they do not show that it is below the limit.
func (t *tick) piece(ctx context.Context, l *look, at time.Time, limit float64) bool {
	slo, window, width, grid := l.service.SLO(l.signal.Name), l.signal.Window, l.short.signal.Window, l.short.grid
	from := at.Truncate(l.pace)
	to := from.Add(l.pace)
	unit := slo.EventsPerUnit(width)
	// Two short windows that overlap count some events twice. Of the errors that is so much the better; the rest is shared as if it
	// came evenly.
	share := float64(grid) / float64(width)
	var errors, total float64       // in any window between from and to: at most, and at least
	var errorsNow, totalNow float64 // in the window at from, about
	// The first short window begins before the long one of from, and the last one ends with that of to or after it.
	for p := from.Add(-window).Truncate(grid).Add(grid); p.Before(to.Add(grid)); p = p.Add(grid) {
		v, ok := t.seen(ctx, l.short, p)
		if !ok || v.Reading.Why != "" {
			return false
		}
		errors += v.Errors * unit
		if p.After(from) {
			continue
		}
		errorsNow += v.Errors * unit * share
		totalNow += v.Total * unit * share
		if !p.Add(-width).Before(to.Add(-window)) {
			total += v.Total * unit * share
		}
	}
	if !(total > 0) || slo.MinEvents > 0 && !(total > bothMargin*slo.MinEvents) {
		return false
	}
	most := partMargin * errors / total
	if !(most < limit) {
		return false
	}
	whole := slo.EventsPerUnit(window)
	l.from, l.to, l.most = from, to, most
	l.value = rules.Value{Errors: errorsNow / whole, Total: totalNow / whole}
	l.value.Reading = engine.Reading{Signal: l.signal.String(), Value: min(1, errorsNow/totalNow), Source: t.sources[l.probe.source].Name}
	return true
}

// lowest is the lowest error ratio that a condition of this tick compares k with.
func (t *tick) lowest(k key) float64 {
	lowest := math.Inf(1)
	for _, a := range t.asks {
		if limit, ok := t.sparse.limits[a.condition][k.signal]; ok && a.service == k.service {
			lowest = min(lowest, limit)
		}
	}
	return lowest
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// mostBetween is the error ratio that a signal cannot have reached between two instants of its grid; infinite where that is not known.
func mostBetween(l *look, a, b rules.Value) float64 {
	least := min(a.Total, b.Total)
	if a.Reading.Why != "" || b.Reading.Why != "" || !(least > 0) {
		return math.Inf(1)
	}
	slo := l.service.SLO(l.signal.Name)
	if slo.MinEvents > 0 && !(l.counts && least*slo.EventsPerUnit(l.signal.Window) > bothMargin*slo.MinEvents) {
		return math.Inf(1)
	}
	return bothMargin * (a.Errors + b.Errors) / least
}

// stands is what a condition came to at an earlier tick, where that cannot have changed.
func (e *Evaluator) stands(c *rules.Condition, instant time.Time) (*engine.Observation, bool) {
	if e.sparse == nil {
		return nil, false
	}
	m := e.sparse.memos[c]
	if m == nil || !instant.Before(m.until) {
		return nil, false
	}
	return &m.observation, true
}

// recall is the answer to a tick all of whose conditions came to at an earlier tick what they come to now.
func (e *Evaluator) recall(in Tick) (Answer, bool) {
	if e.sparse == nil {
		return Answer{}, false
	}
	out := make(map[engine.Scope][]engine.Observation, len(in.Questions))
	for i := range in.Questions {
		q := &in.Questions[i]
		service := e.set.Service(q.Scope)
		if service == nil {
			continue
		}
		all := make([]engine.Observation, len(service.Conditions))
		for _, index := range q.Conditions {
			if index < 0 || index >= len(all) {
				continue
			}
			o, ok := e.stands(service.Conditions[index], in.Instant)
			if !ok {
				return Answer{}, false
			}
			all[index] = *o
		}
		out[q.Scope] = all
	}
	return Answer{Observations: out}, true
}

// foresee looks at what conditions rested on last, so that most are decided when they are evaluated for the first time.
func (t *tick) foresee(ctx context.Context) {
	var wants []want
	seen := map[key]bool{}
	for _, a := range t.asks {
		m := t.sparse.memos[a.condition]
		if a.done || m == nil {
			continue
		}
		for _, s := range m.used {
			if k := (key{a.service, s}); t.sparse.looks[k] != nil && !seen[k] {
				seen[k] = true
				wants = append(wants, want{key: k, at: s.At(t.Instant).Add(-t.opts.QueryOffset)})
			}
		}
	}
	if len(wants) > 0 {
		t.calm(ctx, wants)
	}
}

// remember keeps what conditions came to for as long as none of the values they rest on changes. One that rests on anything but these
// windows may change at any tick.
func (t *tick) remember(out Answer) {
	for _, a := range t.asks {
		if a.stands != nil {
			continue
		}
		var until time.Time
		if a.panicked == "" && a.verdict.Truth != engine.Unknown {
			for i, used := range a.verdict.Used {
				u := t.until[key{a.service, used}] // the zero time: only for now
				if i == 0 || u.Before(until) {
					until = u
				}
			}
		}
		if t.Instant.Before(until) {
			t.sparse.memos[a.condition] = &memo{until, out.Observations[a.question.Scope][a.index], a.verdict.Used}
		} else {
			delete(t.sparse.memos, a.condition)
		}
	}
}

// apart is how far from one another the instants are for which a signal is asked for; 0: nobody says.
func (e *Evaluator) apart(s rules.Signal) time.Duration {
	if e.opts.Step <= 0 {
		return 0
	}
	return max(s.Every, e.opts.Step)
}
