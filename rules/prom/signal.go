package prom

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// probe is how a signal of a source is measured: the queries it takes, and how their answers are read.
type probe struct {
	source  int
	queries []wanted
	read    func(t *tick) rules.Value
}

// compile returns how k is measured; nil if that takes no source or if k is not declared.
func compile(k key) *probe {
	switch k.signal.Kind {
	case rules.SignalSLO:
		if slo := k.service.SLO(k.signal.Name); slo != nil {
			return sloProbe(slo, k.signal.Window)
		}
	case rules.SignalSLI:
		if sli := k.service.SLI(k.signal.Name); sli != nil {
			return sliProbe(sli)
		}
	case rules.SignalAlert:
		return alertProbe(k.signal.Name)
	}
	return nil
}

// text is the signal as a condition writes it, or could: an SLO's value is its error ratio, whatever the condition makes of it.
func text(s rules.Signal) string {
	switch s.Kind {
	case rules.SignalSLO:
		return fmt.Sprintf("error_ratio(%s, %q)", strconv.Quote(s.Name), model.Duration(s.Window))
	case rules.SignalBudget:
		return "budget_remaining(" + strconv.Quote(s.Name) + ")"
	case rules.SignalDwell:
		return "dwell()"
	default:
		return string(s.Kind) + "(" + strconv.Quote(s.Name) + ")"
	}
}

// maxRatio is the error ratio above which an answer cannot be. Anything up to it is taken for 1. Two counters of one process
// are read one after the other in a scrape, and their rates are extrapolated each by itself: in a total outage errors come
// out ahead of the total by up to a scrape or two, of the twenty in five minutes. To call that impossible would be to go
// blind exactly when everything fails.
const maxRatio = 1.1

// rounding is how far, relative to the numbers it is about, floating point may take a result that is exact on paper: below
// 0 a ratio computed as 1 − good/total, below min_events a count computed as a rate times the window.
const rounding = 1e-9

func sloProbe(slo *rules.SLO, window time.Duration) *probe {
	errorText, totalText := slo.Queries(window)
	name := text(rules.Signal{Kind: rules.SignalSLO, Name: slo.Name, Window: window})
	if !slo.Events {
		g := &gauge{name: name, query: query{text: errorText}, maxAge: slo.MaxAge, reach: window}
		return g.probe(func(x float64) rules.Value { return ratioValue(slo, window, x) })
	}
	total := &gauge{name: name, query: query{text: totalText}, maxAge: slo.MaxAge, reach: window}
	errors := query{text: errorText}
	p := total.probe(nil)
	p.queries = append(p.queries, wanted{errors, window})
	p.read = func(t *tick) rules.Value {
		n, r := total.number(t)
		if r.Why != "" {
			return rules.Value{Reading: r}
		}
		if _, why, detail := t.answers[errors].number(); why != "" && why != engine.WhyAbsent {
			r.Why, r.Detail, r.Query = why, detail, errors.text
			return rules.Value{Reading: r}
		}
		// Two queries were sent. Written as a quotient they can be pasted into Prometheus and give the value.
		r.Query = "(" + errors.text + ") / (" + total.query.text + ")"
		return from(r, eventsValue(slo, window, t.answers[errors], n))
	}
	return p
}

// eventsValue is the value of an SLO measured by errors and total, where total is a number, and the errors are one or absent.
//
// An empty answer for the errors is 0 errors, because a counter with labels comes into being at its first error: a service that
// never failed has no series with code="500", and users write their queries so. That is safe only here, where the same
// instant showed events of the same service: with an absent total the empty answer would mean that nothing is known.
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
	case errors < -rounding*total:
		return unknown(engine.WhyInvalid, "the errors are %v: there cannot be fewer than none", errors)
	case errors > maxRatio*total:
		return unknown(engine.WhyInvalid, "errors of %v in a total of %v", errors, total)
	}
	if n := total * slo.EventsPerUnit(window); n < slo.MinEvents*(1-rounding) {
		return unknown(engine.WhyFewEvents, "%.4g events in %s, fewer than min_events %v", n, model.Duration(window), slo.MinEvents)
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
	case ratio < -rounding || ratio > maxRatio:
		return unknown(engine.WhyInvalid, "an error ratio of %v is not in [0, 1]", ratio)
	}
	ratio = min(1, max(0, ratio))
	return rules.Value{Reading: engine.Reading{Value: ratio}, Errors: ratio, Total: 1}
}

func sliProbe(sli *rules.SLI) *probe {
	g := &gauge{name: text(rules.Signal{Kind: rules.SignalSLI, Name: sli.Name}), query: query{text: sli.Query},
		maxAge: sli.MaxAge, reach: lookback}
	return g.probe(func(x float64) rules.Value {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return unknown(engine.WhyNotFinite, "the value is %v", x)
		}
		return rules.Value{Reading: engine.Reading{Value: x}}
	})
}

// alive is a query that only a source without data answers empty: it scrapes nothing, and not even the alert that many keep
// firing for this purpose fires.
const alive = `count(up) or count(ALERTS)`

// alertProbe asks whether an alert fires, whatever its labels. One that does not fire has no series, so that an empty answer
// is false, if the source shows anything at all: one that lost its data, or has just begun to gather some, would otherwise
// say of every alert that it is over. A source that does not answer leaves it unknown.
func alertProbe(name string) *probe {
	q := query{text: fmt.Sprintf(`count(ALERTS{alertname=%s,alertstate="firing"})`, strconv.Quote(name))}
	life := query{text: alive}
	return &probe{queries: []wanted{{q, lookback}, {life, lookback}}, read: func(t *tick) rules.Value {
		r := engine.Reading{Signal: text(rules.Signal{Kind: rules.SignalAlert, Name: name}), Query: q.text,
			Source: t.sources[q.source].Name}
		n, why, detail := t.answers[q].number()
		if why == engine.WhyAbsent {
			n = 0
			if _, why, detail = t.answers[life].number(); why == engine.WhyAbsent {
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
}

// probe makes a probe of g's queries; known turns the number into a value.
func (g *gauge) probe(known func(float64) rules.Value) *probe {
	p := &probe{source: g.query.source, queries: []wanted{{g.query, g.reach}}}
	if text := freshness(g.query.text, g.maxAge); text != "" {
		g.fresh = query{g.query.source, text}
		p.queries = append(p.queries, wanted{g.fresh, max(lookback, g.maxAge)})
	}
	p.read = func(t *tick) rules.Value {
		x, r := g.number(t)
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
func (g *gauge) number(t *tick) (float64, engine.Reading) {
	r := engine.Reading{Signal: g.name, Query: g.query.text, Source: t.sources[g.query.source].Name}
	x, why, detail := t.answers[g.query].number()
	if why != "" {
		r.Why, r.Detail = why, detail
		return 0, r
	}
	if g.fresh.text == "" {
		return x, r
	}
	seconds, why, detail := t.answers[g.fresh].number()
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
	if age := t.fetcher.instant.Sub(r.Sample); age > g.maxAge {
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
	r := engine.Reading{Signal: text(s)}
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
	case rules.SignalBudget:
		return t.remaining(a.service, s), true
	default:
		if t.probes[key{a.service, s}] != nil {
			return rules.Value{}, false
		}
		r.Why, r.Detail = engine.WhyFailed, "not declared" // loading has refused it
	}
	return rules.Value{Reading: r}, true
}
