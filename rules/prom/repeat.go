package prom

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// repeats give the answer of an earlier tick again, while all that it rests on is as it was then: the questions, and each number that
// the sources give, to the last bit. In days of samples of which only minutes matter, that is nearly always so, and then what is left of
// a tick is to look the numbers up.
//
//	tick      what is asked     what sources give                answer
//	10:00:00  shed.when         errors 0, total 20 a second      worked out, and kept with what was asked and given
//	10:00:15  shed.when         errors 0, total 20 a second      the same
//	10:00:30  shed.when         errors 0.2, total 20 a second    worked out
//
// An Answer does not say when, so that what equal numbers come to is equal. Where the instant itself has a part in it nothing is kept:
// a budget, what was read at an earlier multiple of a cadence, the age of a sample, a dwell that is among the readings. Of a dwell that
// is only compared with constants it counts on which side of them it is. Nor is anything kept of a tick at which something could not
// be seen, or was asked for twice to find out why.
//
// Only a source that is Knowing is looked at: whether it gives the same has to cost nothing.
type repeats struct {
	mu   sync.Mutex // guards kept
	kept []repeat   // one for each list of questions, the one that was used last first
}

// maxRepeats is how many lists of questions there may be: some conditions are asked every few ticks only.
const maxRepeats = 8

// repeat is a tick that may come again.
type repeat struct {
	questions []engine.Question
	given     []given
	switches  []switched
	dwells    []compared
	paced     []paced
	answer    Answer
}

// given is what a source gave. The instant of the query is relative to that of the tick.
type given struct {
	query
	value model.Value
}

// switched is a signal that takes no source, and was one or the other.
type switched struct {
	key
	on   float64
	text string
}

// compared is the dwell of a question beside a constant.
type compared struct {
	question int
	with     time.Duration
	side     int // of the constant that it was on
}

// sideOf compares a dwell as conditions see it: in seconds, and back.
func sideOf(dwell, with time.Duration) int {
	return cmp.Compare(time.Duration(dwell.Seconds()*float64(time.Second)), with)
}

// paced is a signal that stands at the multiples of a cadence, and was measured at one of them: the tick's own instant.
type paced struct {
	key
	value rules.Value
}

// recording is what a tick asked and was given.
type recording struct {
	mu   sync.Mutex // guards the rest
	all  []given
	lost bool // something came to nothing
}

// note adds an answer; to nil, nothing.
func (s *recording) note(q query, a answer) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, given{q, a.value})
	s.lost = s.lost || a.why != "" || a.samples != 0 || nothing(a.value)
}

// nothing reports whether a value is not one that can be compared, or is empty: what was never there is looked for further.
func nothing(v model.Value) bool {
	switch v := v.(type) {
	case *model.Scalar:
		return false
	case model.Vector:
		return len(v) == 0 || slices.ContainsFunc(v, func(s *model.Sample) bool { return s.Histogram != nil })
	}
	return true
}

// equal reports whether two values are the same, at whatever instants.
func equal(a, b model.Value) bool {
	same := func(x, y model.SampleValue) bool { return math.Float64bits(float64(x)) == math.Float64bits(float64(y)) }
	switch a := a.(type) {
	case *model.Scalar:
		b, ok := b.(*model.Scalar)
		return ok && same(a.Value, b.Value)
	case model.Vector:
		b, ok := b.(model.Vector)
		return ok && slices.EqualFunc(a, b, func(x, y *model.Sample) bool {
			return same(x.Value, y.Value) && y.Histogram == nil && x.Metric.Equal(y.Metric)
		})
	}
	return false
}

// find is the answer to a tick that was there already.
func (r *repeats) find(e *Evaluator, in Tick) (Answer, bool) {
	if r == nil {
		return Answer{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.kept {
		if !slices.EqualFunc(r.kept[i].questions, in.Questions, alike) {
			continue
		}
		if !r.kept[i].holds(e, in) {
			return Answer{}, false
		}
		one := r.kept[i]
		for _, p := range one.paced { // for the ticks up to the next multiple
			e.held.put(p.key, in.Instant, p.value)
		}
		copy(r.kept[1:i+1], r.kept[:i])
		r.kept[0] = one
		return one.answer, true
	}
	return Answer{}, false
}

// alike reports whether two questions are the same, but for the dwell.
func alike(a, b engine.Question) bool {
	return a.Scope == b.Scope && a.Known == b.Known && a.Divergence == b.Divergence && a.Instances == nil && b.Instances == nil &&
		slices.Equal(a.Conditions, b.Conditions)
}

// holds reports whether all is as it was.
func (r *repeat) holds(e *Evaluator, in Tick) bool {
	for i := range r.paced {
		if !r.paced[i].signal.At(in.Instant).Equal(in.Instant) {
			return false
		}
	}
	for _, s := range r.switches {
		on, text := e.switchAt(s.key, in)
		if on != s.on || text != s.text {
			return false
		}
	}
	for _, d := range r.dwells {
		if sideOf(in.Questions[d.question].Dwell, d.with) != d.side {
			return false
		}
	}
	now := in.Instant.UnixMilli()
	for i := range r.given {
		g := &r.given[i]
		k, ok := e.sources[g.source].Replicas[g.replica].(Knowing)
		if !ok {
			return false
		}
		value, ok := k.Known(g.text, time.UnixMilli(now+g.at).UTC())
		if !ok || !equal(g.value, value) {
			return false
		}
	}
	return true
}

// switchAt is how a schedule or another scope's mode stands.
func (e *Evaluator) switchAt(k key, in Tick) (on float64, text string) {
	t := tick{Evaluator: e, Tick: in}
	v, _ := t.local(&ask{service: k.service, question: &engine.Question{}}, k.signal)
	return v.Reading.Value, v.Reading.Text
}

// compare notes on which side of what the dwell is that a condition asks for; false where more than that counts.
func (r *repeat) compare(a *ask, questions []engine.Question) bool {
	dwell := func(s rules.Signal) bool { return s.Kind == rules.SignalDwell }
	if !slices.ContainsFunc(a.condition.Signals(), dwell) {
		return true
	}
	if slices.ContainsFunc(a.verdict.Used, dwell) {
		return false
	}
	i := slices.IndexFunc(questions, func(q engine.Question) bool { return q.Scope == a.question.Scope })
	var walk func(p *rules.Part) bool
	walk = func(p *rules.Part) bool {
		if c := p.Compares; c != nil && dwell(c.Signal) {
			with := time.Duration(math.Round(c.Number * float64(time.Second)))
			r.dwells = append(r.dwells, compared{i, with, sideOf(questions[i].Dwell, with)})
		} else if slices.ContainsFunc(p.Signals, dwell) {
			return false
		}
		for k := range p.Parts {
			if !walk(&p.Parts[k]) {
				return false
			}
		}
		return true
	}
	whole := a.condition.Parts(func(rules.Signal) (rules.Value, bool) { return rules.Value{}, false })
	return walk(&whole)
}

// note keeps a tick that was worked out, if it may come again.
func (r *repeats) note(t *tick, a Answer) {
	if r == nil || t.fetcher.record == nil || t.fetcher.record.lost || len(t.recalled) > 0 || len(t.narrowed) > 0 {
		return
	}
	one := repeat{questions: slices.Clone(t.Questions), given: t.fetcher.record.all, answer: a}
	for i := range one.questions {
		if one.questions[i].Instances != nil {
			return
		}
		one.questions[i].Conditions = slices.Clone(one.questions[i].Conditions)
	}
	for k, v := range t.values {
		if v.Reading.Why.Blind() || !v.Reading.Sample.IsZero() || !v.Reading.At.IsZero() {
			return
		}
		switch {
		case t.probes[k] == nil && (k.signal.Kind == rules.SignalSchedule || k.signal.Kind == rules.SignalMode):
			one.switches = append(one.switches, switched{k, v.Reading.Value, v.Reading.Text})
		case t.probes[k] == nil && k.signal.Kind != rules.SignalDivergence && k.signal.Kind != rules.SignalDwell: // see the questions
			return
		case k.signal.Every > 0:
			one.paced = append(one.paced, paced{k, v})
		}
	}
	for _, ask := range t.asks {
		if ask.panicked != "" || !one.compare(ask, t.Questions) {
			return
		}
	}
	for i := range one.given {
		one.given[i].at -= t.Instant.UnixMilli()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = slices.DeleteFunc(r.kept, func(o repeat) bool { return slices.EqualFunc(o.questions, one.questions, alike) })
	r.kept = slices.Insert(r.kept, 0, one)
	if len(r.kept) > maxRepeats {
		r.kept = slices.Delete(r.kept, maxRepeats, len(r.kept))
	}
}
