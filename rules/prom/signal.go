package prom

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// probe is how a signal of a source is measured: by each replica of it alike.
type probe struct {
	source int
	agree  int    // how many replicas have to come to the same truth; up to 1: the freshest counts
	parts  []part // one a replica
	fault  string // why it cannot be measured at all; then there are no parts
}

// part is how one replica measures a signal: the queries it takes, and how their answers are read.
type part struct {
	queries []wanted // their instant is filled in when they are asked
	read    func(view) rules.Value
	// doubts are further queries without whose answers those to queries may be misread; nil when there are never any.
	doubts func(view) []wanted
	proofs []wanted // all that doubts may give
}

// view is the answers of a tick for one instant.
type view struct {
	*tick
	at time.Time // of the queries
}

func (v view) answer(q query) answer {
	q.at = v.at.UnixMilli()
	return v.answers[q]
}

// read is the value of a signal, once its queries were answered.
func (p *probe) read(v view) rules.Value {
	switch {
	case p.fault != "":
		return unknown(engine.WhyFailed, "%s", p.fault)
	case len(p.parts) == 1:
		return p.parts[0].read(v)
	}
	values := make([]rules.Value, len(p.parts))
	best, known := 0, 0
	for i := range p.parts {
		values[i] = p.parts[i].read(v)
		if fresher(values[i].Reading, values[best].Reading) {
			best = i
		}
		if values[i].Reading.Why == "" {
			known++
		}
	}
	out := values[best]
	if p.agree <= 1 {
		return out
	}
	if known < p.agree {
		for i := range values { // whoever is known has nobody to agree with
			if r := values[i].Reading; r.Why != "" {
				values[i].Reading.Detail = clip(fmt.Sprintf("replica %d of %s: %s", i+1, r.Source, r.Detail))
				return values[i]
			}
		}
	}
	out.Replicas, out.Agree = values, p.agree
	return out
}

// fresher reports whether a tells more of the present than b: something was seen, and from a newer sample.
func fresher(a, b engine.Reading) bool {
	if a.Why.Blind() != b.Why.Blind() {
		return b.Why.Blind()
	}
	return a.Sample.After(b.Sample)
}

// compile returns how k is measured; nil if that takes no source, if k is not declared, or if it is narrowed: see compileOn.
func (e *Evaluator) compile(k key) *probe {
	if k.signal.Narrowed {
		return nil
	}
	return e.compileOn(k, nil)
}

// compileOn is compile, of a narrowed signal for some instances, of which there is at least one.
func (e *Evaluator) compileOn(k key, instances []string) *probe {
	name, agree, one := measuring(k, instances)
	if one == nil {
		return nil
	}
	return e.probe(name, agree, func(q query, alone bool) part {
		q.passing = k.signal.Narrowed
		return one(q, alone)
	})
}

// measuring says which source measures k, how many of its replicas have to agree, and how one of them does; nil if no source does, or
// if k is not declared.
func measuring(k key, instances []string) (name string, agree int, one func(replica query, alone bool) part) {
	name = k.service.Source
	switch k.signal.Kind {
	case rules.SignalSLO:
		slo := k.service.SLO(k.signal.Name)
		if slo == nil {
			return "", 0, nil
		}
		name, agree = cmp.Or(slo.Source, name), slo.Agree
		one = func(q query, alone bool) part { return sloPart(k.service, slo, k.signal.Window, q, alone) }
		if k.signal.Narrowed {
			ask := func(w time.Duration) (errors, total string) { return slo.QueriesOn(w, instances) }
			one = func(q query, alone bool) part { return rawPart(slo, k.signal.Window, ask, q, alone) }
		}
	case rules.SignalSLI:
		sli := k.service.SLI(k.signal.Name)
		if sli == nil {
			return "", 0, nil
		}
		name, agree = cmp.Or(sli.Source, name), sli.Agree
		text := sli.Query
		if k.signal.Narrowed {
			text = sli.QueryOn(instances)
		}
		one = func(q query, alone bool) part { return sliPart(sli, text, q, alone) }
	case rules.SignalAlert:
		one = func(q query, _ bool) part { return alertPart(k.signal.Name, q) }
	}
	return name, agree, one
}

// probe makes a probe for the source of that name; the empty name is the first one. one makes the part of a replica, told
// where its queries go and whether there is no other one.
func (e *Evaluator) probe(name string, agree int, one func(q query, alone bool) part) *probe {
	source := 0
	if name != "" {
		source = slices.IndexFunc(e.sources, func(s Source) bool { return s.Name == name })
		if source < 0 { // loading refuses it where the sources are known
			return &probe{fault: fmt.Sprintf("no source is called %q: name one of modeshift.yaml's prometheus entries", name)}
		}
	}
	p := &probe{source: source, agree: agree}
	n := len(e.sources[source].Replicas)
	if agree > n {
		return &probe{source: source, fault: fmt.Sprintf("agree: %d, and the source %s has %d replicas: give it as many urls", agree, e.sources[source].Name, n)}
	}
	for r := range n {
		p.parts = append(p.parts, one(query{source: source, replica: r}, n == 1))
	}
	return p
}

// maxRatio is the error ratio above which an answer cannot be. Anything up to it is taken for 1. Two counters of one process
// are read one after the other in a scrape, and their rates are extrapolated each by itself: in a total outage errors come
// out ahead of the total by up to a scrape or two, of the twenty in five minutes. To call that impossible would be to go
// blind exactly when everything fails.
const maxRatio = 1.1

// leastRatio is the error ratio below which an answer cannot be. Anything from it up to 0 is taken for 0. Where the good events are taken
// from all there are, they come out ahead of them as errors do above. Elsewhere a sign is wrong, which must not pass for no errors.
func leastRatio(slo *rules.SLO) float64 {
	if slo.Complement {
		return 1 - maxRatio
	}
	return -rounding
}

// rounding is how far, relative to the numbers it is about, floating point may take a result that is exact on paper: below
// 0 a ratio computed as 1 − good/total, below min_events a count computed as a rate times the window.
const rounding = 1e-9

// ask is the query of text, to where q goes.
func (q query) ask(text string) query {
	q.text = text
	return q
}

func sloPart(service *rules.Service, slo *rules.SLO, window time.Duration, to query, alone bool) part {
	if recorded, ok := service.RecordedQuery(slo, window); ok {
		return recordedPart(service, slo, window, recorded, to, alone)
	}
	return rawPart(slo, window, slo.Queries, to, alone)
}

// rawPart asks for what no rule has recorded. queries gives those of a window.
func rawPart(slo *rules.SLO, window time.Duration, queries func(time.Duration) (errors, total string), to query, alone bool) part {
	errorText, totalText := queries(window)
	name := rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: window}.String()
	if !slo.Events {
		g := &gauge{name: name, query: to.ask(errorText), maxAge: slo.MaxAge, reach: window}
		if w := quickest(slo, window); alone && w > 0 {
			ratio, _ := queries(w)
			g.lately, g.latelyReach = to.ask(ratio), w
		}
		return g.part(alone, func(x float64) rules.Value { return ratioValue(slo, window, x) })
	}
	total := &gauge{name: name, query: to.ask(totalText), maxAge: slo.MaxAge, reach: window}
	if w := quickest(slo, window); alone && w > 0 {
		_, text := queries(w)
		total.lately, total.latelyReach = to.ask(text), w
	}
	errors := to.ask(errorText)
	p := total.part(alone, nil)
	p.queries = append(p.queries, wanted{errors, window})
	proofs := proofsOf(slo, to)
	if p.proofs = proofs; len(proofs) > 0 {
		p.doubts = func(v view) []wanted {
			if n, r := total.number(v); r.Why != "" || n == 0 || v.answer(errors).why != "" {
				return nil
			}
			if _, why, _ := v.answer(errors).number(); why == engine.WhyAbsent {
				return proofs
			}
			return nil
		}
	}
	p.read = func(v view) rules.Value {
		n, r := total.number(v)
		if r.Why != "" {
			return rules.Value{Reading: r}
		}
		_, why, detail := v.answer(errors).number()
		if why == engine.WhyAbsent {
			why, detail = absent(slo, v, n, proofs)
		}
		if why != "" {
			r.Why, r.Detail, r.Query = why, detail, errors.text
			return rules.Value{Reading: r}
		}
		// Two queries were sent. Written as a quotient they can be pasted into Prometheus and give the value.
		r.Query = "(" + errors.text + ") / (" + total.query.text + ")"
		return from(r, eventsValue(slo, window, v.answer(errors), n))
	}
	return p
}

// quickest is a window of an SLO that is asked for at each tick, for its pages, and short enough that a value over it proves
// samples no older than max_age; 0 when there is none, or window needs no such proof itself.
func quickest(slo *rules.SLO, window time.Duration) time.Duration {
	best := time.Duration(0)
	if tier := slo.Tier(engine.SeverityPage); tier != nil {
		for _, w := range tier.Windows {
			if w.Short <= slo.MaxAge {
				best = max(best, w.Short)
			}
		}
	}
	if window <= slo.MaxAge {
		return 0
	}
	return best
}

// recordedPart reads the error ratio that Sloth's rules have recorded. It tells no number of events: for min_events the total is
// asked for from the raw series. A long window goes on being recorded for as long as it reaches, when its targets have been gone
// since; that there were samples of late shows in the shortest one.
func recordedPart(service *rules.Service, slo *rules.SLO, window time.Duration, recorded string, to query, alone bool) part {
	name := rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: window}.String()
	g := &gauge{name: name, query: to.ask(recorded), maxAge: slo.MaxAge, reach: lookback}
	shortest, _ := service.RecordedQuery(slo, lookback)
	if slo.MaxAge > 0 && window > slo.MaxAge || !alone {
		g.fresh = to.ask("max(timestamp(" + shortest + "))")
	}
	p := g.part(alone, func(x float64) rules.Value { return ratioValue(slo, window, x) })
	if slo.MinEvents <= 0 {
		return p
	}
	_, totalText := slo.Queries(window)
	total := to.ask(totalText)
	p.queries = append(p.queries, wanted{total, window})
	ratio := p.read
	p.read = func(v view) rules.Value {
		out := ratio(v)
		if out.Reading.Why != "" {
			return out
		}
		n, why, detail := v.answer(total).number()
		switch {
		case why != "":
			out.Reading.Why, out.Reading.Detail, out.Reading.Query = why, detail, total.text
		case !(n*slo.EventsPerUnit(window) >= slo.MinEvents*(1-rounding)): // NaN is no number of events
			out = from(out.Reading, few(slo, window, n))
		}
		return out
	}
	return p
}

// few is what an SLO with too little traffic comes to.
func few(slo *rules.SLO, window time.Duration, total float64) rules.Value {
	return unknown(engine.WhyFewEvents, "%.4g events in %s, fewer than min_events %v", total*slo.EventsPerUnit(window), model.Duration(window), slo.MinEvents)
}

// eventsValue is the value of an SLO measured by errors and total, where total is a number, and the errors are one or absent,
// which is none (see absent).
func eventsValue(slo *rules.SLO, window time.Duration, errorAnswer answer, total float64) rules.Value {
	errors, _, _ := errorAnswer.number() // 0 if absent
	switch {
	case math.IsNaN(total) || math.IsInf(total, 0):
		return unknown(engine.WhyNotFinite, "the total is %v", total)
	case total < 0:
		return unknown(engine.WhyInvalid, "the total is %v: there cannot be fewer than no events", total)
	case math.IsNaN(errors) || math.IsInf(errors, 0):
		return unknown(engine.WhyNotFinite, "the errors are %v", errors)
	case total == 0 && errors > 0:
		return unknown(engine.WhyInvalid, "errors of %v in a total of 0", errors)
	case total == 0 && slo.NoTraffic == rules.NoTrafficGood:
		return rules.Value{}
	case total == 0:
		return unknown(engine.WhyNoTraffic, "no events in %s", model.Duration(window))
	case errors < leastRatio(slo)*total:
		return unknown(engine.WhyInvalid, "the errors are %v: there cannot be fewer than none", errors)
	case errors > maxRatio*total:
		return unknown(engine.WhyInvalid, "errors of %v in a total of %v", errors, total)
	}
	if total*slo.EventsPerUnit(window) < slo.MinEvents*(1-rounding) {
		return few(slo, window, total)
	}
	errors = max(0, errors)
	return rules.Value{Reading: engine.Reading{Value: min(1, errors/total)}, Errors: errors, Total: total}
}

// ratioValue is the value of an SLO whose query gives the error ratio itself. Such a query divides errors by events, so that
// NaN is 0/0: nothing happened.
func ratioValue(slo *rules.SLO, window time.Duration, ratio float64) rules.Value {
	switch {
	case math.IsNaN(ratio) && slo.NoTraffic == rules.NoTrafficGood:
		return rules.Value{Total: 1}
	case math.IsNaN(ratio):
		return unknown(engine.WhyNoTraffic, "the ratio is NaN: 0 of 0 events in %s", model.Duration(window))
	case math.IsInf(ratio, 0):
		return unknown(engine.WhyNotFinite, "the ratio is %v", ratio)
	case ratio < leastRatio(slo) || ratio > maxRatio:
		return unknown(engine.WhyInvalid, "an error ratio of %v is not in [0, 1]", ratio)
	}
	ratio = min(1, max(0, ratio))
	return rules.Value{Reading: engine.Reading{Value: ratio}, Errors: ratio, Total: 1}
}

func sliPart(sli *rules.SLI, queryText string, to query, alone bool) part {
	g := &gauge{name: rules.Signal{Kind: rules.SignalSLI, Name: sli.Name}.String(), query: to.ask(queryText),
		maxAge: sli.MaxAge, reach: lookback}
	return g.part(alone, func(x float64) rules.Value {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return unknown(engine.WhyNotFinite, "the value is %v", x)
		}
		return rules.Value{Reading: engine.Reading{Value: x}}
	})
}

// alive is a query that only a source without data answers empty: it scrapes nothing, and not even the alert that many keep
// firing for this purpose fires.
const alive = `count(up) or count(ALERTS)`

// alertPart asks whether an alert fires, whatever its labels. One that does not fire has no series, so that an empty answer
// is false, if the source shows anything at all: one that lost its data, or has just begun to gather some, would otherwise
// say of every alert that it is over. A source that does not answer leaves it unknown.
func alertPart(name string, to query) part {
	q := to.ask(fmt.Sprintf(`count(ALERTS{alertname=%s,alertstate="firing"})`, strconv.Quote(name)))
	life := to.ask(alive)
	return part{queries: []wanted{{q, lookback}, {life, lookback}}, read: func(v view) rules.Value {
		r := engine.Reading{Signal: rules.Signal{Kind: rules.SignalAlert, Name: name}.String(), Query: q.text,
			Source: v.sources[q.source].Name}
		n, why, detail := v.answer(q).number()
		if why == engine.WhyAbsent {
			n = 0
			if _, why, detail = v.answer(life).number(); why == engine.WhyAbsent {
				detail = "the source shows neither targets nor alerts: that this one does not fire means nothing"
			}
		}
		switch {
		case why != "":
			r.Why, r.Detail = why, detail
		case n > 0:
			r.Value = 1
		}
		return rules.Value{Reading: r}
	}}
}

// gauge is one query for one number, with the age its sample may have.
type gauge struct {
	name   string
	query  query
	maxAge time.Duration
	reach  time.Duration
	fresh  query // for the newest sample's time; empty text: no need to ask
	// lately is the same over a window no longer than maxAge, in place of fresh: that it gives anything proves as much, and it is
	// asked for anyhow.
	lately      query
	latelyReach time.Duration
}

// part makes a part of g's queries; known turns the number into a value. Which of several replicas is the freshest shows only
// in their samples' times, so that unless the replica is alone they are asked for even if no sample can be too old.
func (g *gauge) part(alone bool, known func(float64) rules.Value) part {
	p := part{queries: []wanted{{g.query, g.reach}}}
	if g.lately.text != "" {
		p.queries = append(p.queries, wanted{g.lately, g.latelyReach})
	} else if text := freshness(g.query.text, g.maxAge, !alone); text != "" && g.fresh.text == "" {
		g.fresh = g.query.ask(text)
	}
	if g.fresh.text != "" {
		p.queries = append(p.queries, wanted{g.fresh, max(lookback, g.maxAge)})
	}
	p.read = func(v view) rules.Value {
		x, r := g.number(v)
		if r.Why != "" {
			return rules.Value{Reading: r}
		}
		return from(r, known(x))
	}
	return p
}

// from gives a value what r says about where it is from.
func from(r engine.Reading, v rules.Value) rules.Value {
	v.Reading.Signal, v.Reading.Query, v.Reading.Source, v.Reading.Sample = r.Signal, r.Query, r.Source, r.Sample
	return v
}

// number reads the number, which may be not finite, and a reading that says where it is from or why there is none.
func (g *gauge) number(v view) (float64, engine.Reading) {
	r := engine.Reading{Signal: g.name, Query: g.query.text, Source: v.sources[g.query.source].Name}
	x, why, detail := v.answer(g.query).number()
	if why != "" {
		r.Why, r.Detail = why, detail
		return 0, r
	}
	if g.lately.text != "" {
		a := v.answer(g.lately)
		if seen, ok := a.value.(model.Vector); a.why != "" || ok && len(seen) == 0 {
			r.Why, r.Detail, r.Query = a.why, a.detail, g.lately.text
			if r.Why == "" {
				r.Why, r.Detail = engine.WhyStale, fmt.Sprintf("no sample in the last %s", model.Duration(g.latelyReach))
			}
		}
		return x, r
	}
	if g.fresh.text == "" {
		return x, r
	}
	seconds, why, detail := v.answer(g.fresh).number()
	switch {
	case why == engine.WhyAbsent:
		r.Why, r.Detail = engine.WhyStale, fmt.Sprintf("no sample in the last %s", model.Duration(max(lookback, g.maxAge)))
		return x, r
	case why != "":
		r.Why, r.Detail, r.Query = why, detail, g.fresh.text
		return x, r
	case !(math.Abs(seconds) < maxUnix):
		r.Why, r.Detail, r.Query = engine.WhyInvalid, fmt.Sprintf("the newest sample's time is %v", seconds), g.fresh.text
		return x, r
	}
	r.Sample = time.UnixMilli(int64(math.Round(seconds * 1000))).UTC() // samples have milliseconds
	if age := v.at.Sub(r.Sample); age > g.maxAge {
		r.Why, r.Detail = engine.WhyStale, fmt.Sprintf("the newest sample is %s old, more than max_age %s",
			age.Round(time.Second), model.Duration(g.maxAge))
	}
	return x, r
}

// maxUnix is the year 10000 in Unix seconds: what JSON can no longer write is no time.
const maxUnix = 253402300800

func unknown(why engine.Why, format string, args ...any) rules.Value {
	return rules.Value{Reading: engine.Reading{Why: why, Detail: clip(fmt.Sprintf(format, args...))}}
}

// local answers what takes no source; false for what does.
func (t *tick) local(a *ask, s rules.Signal) (rules.Value, bool) {
	if !s.Narrowed && t.probes[key{a.service, s}] != nil {
		return rules.Value{}, false
	}
	r := engine.Reading{Signal: s.String()}
	switch s.Kind {
	case rules.SignalSchedule:
		switch schedule := a.service.Schedule(s.Name); {
		case schedule == nil:
			r.Why, r.Detail = engine.WhyFailed, "not declared"
		case schedule.Active(t.Instant):
			r.Value = 1
		}
	case rules.SignalMode:
		r.Why, r.Detail = engine.WhyAbsent, "no such scope has a mode"
		if t.Modes != nil {
			if m, ok := t.Modes(engine.Scope(s.Name)); ok {
				r.Text, r.Why, r.Detail = string(m), "", ""
			}
		}
	case rules.SignalDwell:
		r.Value = a.question.Dwell.Seconds()
	case rules.SignalDivergence:
		if r.Value = a.question.Divergence; a.question.Known <= 0 {
			// To call that 0 would be to say that every instance follows, where nobody has heard of one.
			r.Value, r.Why, r.Detail = 0, engine.WhyNoInstances, "the scope has no instances"
		}
	case rules.SignalBudget:
		return t.remaining(a.service, s), true
	default:
		if s.Narrowed {
			n := t.narrow(key{a.service, s}, a.question.Instances)
			r.Why, r.Detail = n.why, n.detail
			return rules.Value{Reading: r}, n.probe == nil
		}
		r.Why, r.Detail = engine.WhyFailed, "not declared" // loading has refused it
	}
	return rules.Value{Reading: r}, true
}
