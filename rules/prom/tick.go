package prom

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// tick is the work of one Evaluate. One goroutine owns it; only fetcher.run has others, and waits for them.
type tick struct {
	*Evaluator
	Tick
	*scratch
	fetcher *fetcher
	rounds  int
	asks    []*ask
}

// scratch is what a tick finds out. The maps are used again: those of one service alone are five kilobytes.
type scratch struct {
	values  map[key]rules.Value
	answers map[query]answer
	// recalled are the values that were read at an earlier tick, for an instant that still counts for them. They say nothing
	// about what the sources show now.
	recalled map[key]bool
	// until is for how long values stay as they are: those that are recalled for longer than this tick.
	until map[key]time.Time
	// narrowed are the signals that are measured on some instances alone, which are others at each tick.
	narrowed map[key]narrowing
}

// ask is one condition to be decided.
type ask struct {
	question  *engine.Question
	service   *rules.Service
	index     int
	condition *rules.Condition
	verdict   rules.Verdict
	done      bool
	deciding  []rules.Signal      // once done and unknown: what is out of sight and could decide it, and what was not asked for
	panicked  string              // what a panic said; empty when there was none
	stands    *engine.Observation // what it came to at an earlier tick, where that cannot have changed
}

// tick is an empty tick, whose queries may take so long each.
func (e *Evaluator) tick(in Tick, timeout time.Duration) *tick {
	t := &tick{Evaluator: e, Tick: in, fetcher: newFetcher(e.sources, timeout, e.opts.Parallel, in.Instant, e.opts.Metrics)}
	if s, ok := e.spare.Get().(*scratch); ok {
		t.scratch = s
	} else {
		t.scratch = &scratch{values: map[key]rules.Value{}, answers: map[query]answer{}, recalled: map[key]bool{}, until: map[key]time.Time{}, narrowed: map[key]narrowing{}}
	}
	return t
}

// done gives back what the next tick can use. Nothing of the tick may be used any more; what it answered is its own.
func (t *tick) done() {
	s := t.scratch
	t.scratch = nil
	clear(s.values)
	clear(s.answers)
	clear(s.recalled)
	clear(s.until)
	clear(s.narrowed)
	t.spare.Put(s)
}

func newTick(e *Evaluator, in Tick) *tick {
	t := e.tick(in, e.opts.QueryTimeout)
	n := 0
	for i := range in.Questions {
		n += len(in.Questions[i].Conditions)
	}
	all := make([]ask, 0, n)
	t.asks = make([]*ask, 0, n)
	for i := range in.Questions {
		q := &in.Questions[i]
		service := e.set.Service(q.Scope)
		if service == nil {
			continue
		}
		for _, index := range q.Conditions {
			if index >= 0 && index < len(service.Conditions) {
				a := ask{question: q, service: service, index: index, condition: service.Conditions[index]}
				a.stands, a.done = e.stands(a.condition, in.Instant)
				all = append(all, a)
				t.asks = append(t.asks, &all[len(all)-1])
			}
		}
	}
	return t
}

// step evaluates every condition that is not decided yet and returns the signals to ask sources for next, each once, in the
// order of questions.
func (t *tick) step() []key {
	var next []key
	seen := map[key]bool{}
	for _, a := range t.asks {
		if a.done {
			continue
		}
		missing := t.evaluate(a)
		a.done = len(missing) == 0
		for _, s := range t.first(a.service, missing) {
			if k := (key{a.service, s}); !seen[k] {
				seen[k] = true
				next = append(next, k)
			}
		}
	}
	return next
}

// evaluate evaluates a condition, answering by itself what needs no source, and returns the signals of sources that it still
// needs. A panic decides the condition: it is unknown.
func (t *tick) evaluate(a *ask) (missing []rules.Signal) {
	defer func() {
		if p := recover(); p != nil {
			a.verdict, a.panicked, missing = rules.Verdict{}, clip(fmt.Sprintf("panic while evaluating: %v", p)), nil
		}
	}()
	for {
		a.verdict = a.condition.Eval(t.lookup(a))
		progress := false
		missing = nil
		for _, s := range a.verdict.Missing {
			k := key{a.service, s}
			if _, known := t.values[k]; known {
				continue // asked for, and looked at: it decides no more
			}
			if v, ok := t.local(a, s); ok {
				t.values[k], progress = v, true
			} else {
				missing = append(missing, s)
			}
		}
		if progress {
			continue
		}
		if len(missing) == 0 && a.verdict.Truth == engine.Unknown {
			a.deciding = t.deciding(a)
		}
		return missing
	}
}

func (t *tick) lookup(a *ask) rules.Lookup {
	return func(s rules.Signal) (rules.Value, bool) {
		v, ok := t.values[key{a.service, s}]
		return v, ok
	}
}

// first returns which of the signals that a condition misses are asked for next: those that cost little, as long as asking for
// the others may turn out not to be needed.
func (t *tick) first(service *rules.Service, missing []rules.Signal) []rules.Signal {
	if t.rounds >= patience {
		return missing
	}
	now := slices.DeleteFunc(slices.Clone(missing), func(s rules.Signal) bool { return deferred(service, s, missing) })
	cheapest := int64(math.MaxInt64)
	for _, s := range now {
		cheapest = min(cheapest, t.costs.of(key{service, s}))
	}
	return slices.DeleteFunc(now, func(s rules.Signal) bool {
		cost := t.costs.of(key{service, s})
		return cost > dear && cost/dearer > cheapest
	})
}

// patience is how many rounds a tick takes for the sake of asking less; then all that is missing is asked for at once.
const patience = 4

// A signal waits for the others of its condition if it costs more than dear samples, and more than dearer times as many as the
// cheapest of them: a round trip is not worth less.
const (
	dear   = 1000
	dearer = 10
)

// deferred reports whether asking for s waits for the answer to something cheaper that the same condition misses. The long
// window of a burn-rate pair waits for its short one, which decides alone while it is quiet. A window outside of any pair waits
// for all shorter ones. The short windows of several pairs are asked for together: each has to be quiet, so that one round
// settles the usual case.
func deferred(service *rules.Service, s rules.Signal, missing []rules.Signal) bool {
	if s.Kind != rules.SignalSLO {
		return false
	}
	isMissing := func(short time.Duration) bool {
		return slices.Contains(missing, rules.Signal{Kind: rules.SignalSLO, Name: s.Name, Window: short, Every: s.Every, Narrowed: s.Narrowed})
	}
	isShort := false
	if slo := service.SLO(s.Name); slo != nil {
		for i := range slo.Tiers {
			for _, w := range slo.Tiers[i].Windows {
				if w.Long == s.Window && isMissing(w.Short) {
					return true
				}
				isShort = isShort || w.Short == s.Window
			}
		}
	}
	return !isShort && slices.ContainsFunc(missing, func(m rules.Signal) bool {
		return m.Kind == rules.SignalSLO && m.Name == s.Name && m.Narrowed == s.Narrowed && m.Window < s.Window
	})
}

// ask sends the queries of signals that were not sent at this tick yet, and reads the signals' values.
//
// A signal that stands at the multiples of a cadence is measured for the last of them, so that a tick that comes late, or after
// a restart, gives the same value; what was seen for that instant at an earlier tick is not asked for again.
func (t *tick) ask(ctx context.Context, signals []key) {
	var wants []want
	for _, k := range signals {
		at := k.signal.At(t.Instant)
		if v, ok := t.held.get(k, at); ok {
			t.values[k], t.recalled[k], t.until[k] = v, true, at.Add(k.signal.Every)
			continue
		}
		wants = append(wants, want{k, t.probeOf(k), at.Add(-t.opts.QueryOffset), t.apart(k.signal)})
	}
	if t.sparse != nil && len(wants) > 0 {
		wants = t.calm(ctx, wants)
	}
	if len(wants) == 0 {
		return
	}
	for i, v := range t.measure(ctx, t.fetcher, wants) {
		w := wants[i]
		if at := w.at.Add(t.opts.QueryOffset); !at.Equal(t.Instant) {
			v.Reading.At = at
		}
		if w.signal.Narrowed {
			v.Reading.Query = shortened(v.Reading.Query)
		}
		t.values[w.key] = v
		t.costs.note(w.key, t.cost(w))
		if w.signal.Every > 0 && !v.Reading.Why.Blind() {
			at := w.signal.At(t.Instant)
			t.held.put(w.key, at, v)
			t.until[w.key] = at.Add(w.signal.Every)
		}
	}
}

// measure sends the queries of wants, and whatever their answers leave in doubt, and reads the values.
func (t *tick) measure(ctx context.Context, fetcher *fetcher, wants []want) []rules.Value {
	t.rounds++
	fetcher.expect(wants)
	t.fetch(ctx, fetcher, wants)
	if doubts := t.doubts(wants); len(doubts) > 0 {
		t.rounds++
		t.send(ctx, fetcher, doubts)
		t.proved.learn(t, doubts)
	}
	values := make([]rules.Value, len(wants))
	for i, w := range wants {
		values[i] = w.probe.read(view{t, w.at})
	}
	return values
}

// want is a signal to be measured, and the instant its queries are for.
type want struct {
	key
	probe *probe
	at    time.Time
	// apart is how far from one another the instants are for which it is asked for, as long as it goes on; 0: nobody knows.
	apart time.Duration
}

// fetch sends the queries of what is wanted that were not sent at this tick yet, each once.
func (t *tick) fetch(ctx context.Context, fetcher *fetcher, wants []want) {
	ws := make([]wanted, 0, 4*len(wants)) // errors, total and the proof of fresh samples, as a rule
	for _, want := range wants {
		for _, p := range want.probe.parts {
			for _, w := range p.queries {
				w.at = want.at.UnixMilli()
				ws = append(ws, w)
			}
		}
	}
	t.send(ctx, fetcher, ws)
}

// send sends queries that were not sent at this tick yet, each once.
func (t *tick) send(ctx context.Context, fetcher *fetcher, all []wanted) {
	var ws []wanted
	var seen map[query]bool
	for _, w := range all {
		if _, have := t.answers[w.query]; have || seen[w.query] {
			continue
		}
		if a, ok := fetcher.known(w.query); ok {
			a.sent, a.among = w.text, 1
			t.answers[w.query] = a
			continue
		}
		if seen == nil {
			seen = make(map[query]bool, len(all))
		}
		seen[w.query] = true
		ws = append(ws, w)
	}
	if len(ws) == 0 {
		return
	}
	t.fusion.ask(ctx, fetcher, ws, func(q query, a answer) { t.answers[q] = a })
}

// answer puts together what the tick came to.
func (t *tick) answer() Answer {
	out := Answer{
		Observations: map[engine.Scope][]engine.Observation{},
		SourceBlind:  map[engine.Scope]bool{},
		Sources:      t.sights(),
		Stats:        Stats{Queries: int(t.fetcher.sent.Load()), Rounds: t.rounds, Samples: t.fetcher.samples.Load(), Unknown: map[engine.Why]int{}},
	}
	for _, v := range t.values {
		if v.Reading.Why != "" {
			out.Stats.Unknown[v.Reading.Why]++
		}
	}
	blindSource := map[string]bool{}
	for _, s := range out.Sources {
		blindSource[s.Source] = s.Blind
	}
	// A scope of which nothing is asked at this tick was evaluated all the same: its time goes on, and is not taken for lost.
	for i := range t.Questions {
		if service := t.set.Service(t.Questions[i].Scope); service != nil {
			out.Observations[t.Questions[i].Scope] = make([]engine.Observation, len(service.Conditions))
		}
	}
	ownBlindness := map[engine.Scope]bool{}
	for _, a := range t.asks {
		scope := a.question.Scope
		if t.opts.Watch != nil && a.panicked == "" {
			t.opts.Watch(scope, a.condition, t.lookup(a))
		}
		o, blindIn := t.observation(a)
		out.Observations[scope][a.index] = o
		if !o.Blind {
			continue
		}
		out.SourceBlind[scope] = true
		for _, source := range blindIn {
			if !blindSource[source] {
				ownBlindness[scope] = true
			}
		}
	}
	for scope := range ownBlindness {
		delete(out.SourceBlind, scope)
	}
	return out
}

// observation is what became of a condition, and the sources its want of sight rests on (an empty name is the engine's own
// fault). Its readings are in the order in which the condition first uses them.
func (t *tick) observation(a *ask) (o engine.Observation, blindIn []string) {
	if a.stands != nil {
		return *a.stands, nil
	}
	o = engine.Observation{Asked: true, Truth: a.verdict.Truth}
	if a.panicked != "" {
		name := ""
		if a.index < len(a.service.Policy.Conditions) {
			name = a.service.Policy.Conditions[a.index].Name
		}
		o.Blind, o.Readings = true, []engine.Reading{{Signal: name, Why: engine.WhyFailed, Detail: a.panicked}}
		return o, []string{""}
	}
	if len(a.verdict.Used) > 0 {
		o.Readings = make([]engine.Reading, 0, len(a.verdict.Used))
	}
	for _, s := range a.verdict.Used {
		if v, ok := t.values[key{a.service, s}]; ok {
			if slices.Contains(a.verdict.Disagree, s) {
				v.Reading = disagreeing(v)
			}
			o.Readings = append(o.Readings, v.Reading)
		}
	}
	if o.Truth != engine.Unknown {
		return o, nil
	}
	for _, s := range a.deciding {
		r := t.values[key{a.service, s}].Reading // of one that was not asked for: nothing is wrong with it
		if r.Why.Blind() || slices.Contains(a.verdict.Disagree, s) {
			o.Blind = true
			blindIn = append(blindIn, r.Source)
		}
	}
	if !o.Blind && !slices.ContainsFunc(o.Readings, func(r engine.Reading) bool { return r.Why != "" }) {
		o.Blind, blindIn = true, []string{""} // the expression itself came to nothing; somebody should be told
	}
	return o, blindIn
}

// deciding returns the signals out of sight that keep a condition from being decided. What is out of sight is not always one of
// them: in `a && b` a false a makes b's blindness irrelevant, and what had too little traffic would not be known for seeing
// more. The condition itself tells which: evaluated as if nobody had asked for them, it names those that can still decide.
func (t *tick) deciding(a *ask) []rules.Signal {
	return a.condition.Deciding(func(s rules.Signal) (rules.Value, bool) {
		v, ok := t.values[key{a.service, s}]
		return v, ok && !v.Reading.Why.Blind() && !slices.Contains(a.verdict.Disagree, s)
	})
}

// disagreeing is the reading of a signal whose replicas came to different truths.
func disagreeing(v rules.Value) engine.Reading {
	r := v.Reading
	var said []string
	for i := range v.Replicas {
		one := v.Replicas[i].Reading
		what := strconv.FormatFloat(one.Value, 'g', 6, 64)
		if one.Why != "" {
			what = string(one.Why)
		}
		said = append(said, fmt.Sprintf("replica %d: %s", i+1, what))
	}
	r.Why, r.Detail = engine.WhyDisagree, clip(strings.Join(said, ", "))
	return r
}

// sights says what each source showed. An alert that does not fire shows nothing either way: a source that lost everything
// gives the same empty answer.
func (t *tick) sights() []engine.Sight {
	sights := make([]engine.Sight, len(t.sources))
	saw := make([]bool, len(t.sources))
	reasons := make([]map[string]int, len(t.sources))
	for i, s := range t.sources {
		sights[i].Source = s.Name
	}
	for k, v := range t.values {
		p := t.probeOf(k)
		if p == nil || t.recalled[k] {
			continue
		}
		r := v.Reading
		sights[p.source].Asked = true
		switch {
		case r.Why.Blind():
			if reasons[p.source] == nil {
				reasons[p.source] = map[string]int{}
			}
			reasons[p.source][clip(string(r.Why)+": "+r.Detail)]++
		case k.signal.Kind != rules.SignalAlert || r.Value != 0:
			saw[p.source] = true
		}
	}
	for i := range sights {
		if !saw[i] && len(reasons[i]) > 0 {
			sights[i].Blind, sights[i].Detail = true, commonest(reasons[i])
		}
	}
	return sights
}

// commonest returns the key with the highest count; of equal ones the first in the alphabet, so that the map's order does not
// show.
func commonest(counts map[string]int) string {
	best := ""
	for s, n := range counts {
		if c := cmp.Compare(n, counts[best]); best == "" || c > 0 || c == 0 && s < best {
			best = s
		}
	}
	return best
}
