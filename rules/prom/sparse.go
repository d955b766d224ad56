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
// A window w is looked at on a grid of about w/3. Between two instants g0 and g1 of the grid, no further apart than w, what lies
// in the window of an instant lies in that of g0 or of g1:
//
//	         g0-w     g1-w        g0          g1
//	g0        |--------------------|
//	t           |--------------------|
//	g1                  |--------------------|
//
// so the window of t holds at most the errors of both, and as many events as either where the traffic does not change by much. Where
// that says too little it is asked more exactly: those are at most the errors of g0's window and those since, which a window as
// wide as the grid shows at g1.
//
// While those errors, with some more for what traffic and the extension of rates to the edges of a window do, are below the lowest
// limit, it is calm: at each tick in between the signal has the value of g0. Else it is asked for at each tick, as without this:
// what is decided when anything happens rests on the instants themselves.
//
// Whatever is not known at one of the ends is not calm. A window that is longer than its SLO's samples may be old is so only
// while the short one that shows their age is. Nor is a signal that a condition does more with than compare it with numbers.
type Sparse struct {
	// Sources are those of the evaluator, asked at instants that lie far apart. They should be other Aheads: a text is asked
	// for on the grid and at ticks.
	Sources []Source
	Until   time.Time // no instant after it is looked at
}

const (
	gridParts = 3 // of a window
	sinceFrom = 2 // of a window that is so many times as wide as its grid it is asked what came since
	// What the errors are multiplied with. Those since an instant are known; how both ends share them is not.
	bothMargin  = 1.5
	sinceMargin = 1.25
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
	probe    *probe
	grid     time.Duration
	since    *probe // over a window as wide as the grid; nil: that would tell nothing more
	shows    key    // the signal that shows the age of its samples; zero: it does so itself
	from, to time.Time
	most     float64     // error ratio that it cannot have reached in between; infinite where that is not known
	value    rules.Value // at from
}

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
		service, signal := k.service, k.signal
		slo := service.SLO(signal.Name)
		l := &look{probe: p, grid: gridOf(signal, e.opts.Step)}
		if l.grid == 0 {
			continue
		}
		if slo.MaxAge > 0 && signal.Window > slo.MaxAge {
			l.shows = key{service, rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: quickest(slo, signal.Window)}}
			ageless := *slo
			ageless.MaxAge = 0 // another signal tells
			l.probe = e.probe(e.sources[p.source].Name, 0, func(q query, alone bool) part { return sloPart(service, &ageless, signal.Window, q, alone) })
		}
		if signal.Window >= sinceFrom*l.grid {
			// Any number of events counts, and none too: what it is held against is the whole window.
			plain := *slo
			plain.MaxAge, plain.MinEvents, plain.NoTraffic = 0, 0, rules.NoTrafficGood
			l.since = e.probe(e.sources[p.source].Name, 0, func(q query, alone bool) part { return rawPart(&plain, l.grid, plain.Queries, q, alone) })
		}
		s.looks[k] = l
	}
	for k, l := range s.looks {
		if l.shows.service != nil && s.looks[l.shows] == nil {
			delete(s.looks, k)
		}
	}
	for _, service := range e.set.Services {
		for _, c := range service.Conditions {
			s.limits[c] = limitsOf(service, c)
		}
	}
	return s
}

// gridOf is how far apart a signal is looked at: a third of its window, or for a short one up to four ticks, if that is well
// within it; 0 where a grid would save nothing. It is whole multiples of what short windows and its own cadence have, so that
// what is asked for at once is asked for at one instant.
func gridOf(s rules.Signal, step time.Duration) time.Duration {
	for n := time.Duration(4); n > 1; n-- {
		base := max(n*step, s.Every)
		if s.Every > 0 && base%s.Every != 0 || base%step != 0 {
			continue
		}
		grid := max(s.Window/gridParts/base*base, base)
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
	s := t.sparse
	var todo []*look
	var asked []want
	see := func(k key, at time.Time) {
		l := s.looks[k]
		if l == nil || !at.Before(l.from) && at.Before(l.to) {
			return
		}
		l.from = at.Truncate(l.grid)
		l.to, l.most = l.from.Add(l.grid), math.Inf(1)
		if l.to.Add(-t.opts.QueryOffset).After(s.Until) {
			return
		}
		todo = append(todo, l)
		from, to := l.from.Add(-t.opts.QueryOffset), l.to.Add(-t.opts.QueryOffset)
		asked = append(asked, want{k, l.probe, from, l.grid}, want{k, l.probe, to, l.grid})
	}
	for _, w := range wants {
		see(w.key, w.at.Add(t.opts.QueryOffset))
		if l := s.looks[w.key]; l != nil && l.shows.service != nil {
			see(l.shows, t.Instant)
		}
	}
	if len(asked) > 0 {
		fetcher := newFetcher(s.Sources, t.opts.QueryTimeout, t.opts.Parallel, t.Instant, t.opts.Metrics)
		ends := t.measure(ctx, fetcher, asked)
		var unsure []int // indexes into todo
		var since []want
		for i, l := range todo {
			k := asked[2*i].key
			l.value, l.most = ends[2*i], mostBetween(ends[2*i], ends[2*i+1], k)
			if l.since != nil && !math.IsInf(l.most, 1) && l.most >= t.lowest(k) {
				unsure = append(unsure, i)
				since = append(since, want{k, l.since, asked[2*i+1].at, l.grid})
			}
		}
		if len(since) > 0 {
			for n, v := range t.measure(ctx, fetcher, since) {
				i := unsure[n]
				todo[i].most = min(todo[i].most, mostSince(ends[2*i], ends[2*i+1], v, since[n].key, since[n].apart))
			}
		}
	}
	return slices.DeleteFunc(wants, func(w want) bool {
		l := s.looks[w.key]
		if l == nil || !(l.most < t.lowest(w.key)) {
			return false
		}
		until := l.to
		if l.shows.service != nil {
			shows := s.looks[l.shows]
			if math.IsInf(shows.most, 1) {
				return false
			}
			until = earlier(until, shows.to)
		}
		v := l.value
		if !l.from.Equal(t.Instant) {
			v.Reading.At = l.from
		}
		t.values[w.key], t.recalled[w.key], t.until[w.key] = v, true, until
		return true
	})
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
func mostBetween(a, b rules.Value, k key) float64 {
	least := min(a.Total, b.Total)
	if a.Reading.Why != "" || b.Reading.Why != "" || !(least > 0) {
		return math.Inf(1)
	}
	slo := k.service.SLO(k.signal.Name)
	if slo.MinEvents > 0 && !(least*slo.EventsPerUnit(k.signal.Window) > bothMargin*slo.MinEvents) {
		return math.Inf(1)
	}
	return bothMargin * (a.Errors + b.Errors) / least
}

// mostSince is mostBetween by what came since the first of the instants, where both are known.
func mostSince(a, b, since rules.Value, k key, grid time.Duration) float64 {
	if since.Reading.Why != "" {
		return math.Inf(1)
	}
	slo, window := k.service.SLO(k.signal.Name), k.signal.Window
	whole, part := slo.EventsPerUnit(window), slo.EventsPerUnit(grid)
	switch {
	case !slo.Events: // ratios of the same traffic
		whole, part = window.Seconds(), grid.Seconds()
	case whole == 0 || part == 0: // what a number stands for is not known
		return math.Inf(1)
	}
	return sinceMargin * (a.Errors + since.Errors*part/whole) / min(a.Total, b.Total)
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
