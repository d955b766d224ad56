package prom

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/rules"
)

// History reads what SLOs measured in the past, for their ledgers. It is a ledger.Source.
//
// A bucket is what the SLO's queries give at the bucket's end over a window as wide as the bucket. The ends are multiples of
// the width, so that the buckets tile the time: what one window leaves out the next one begins with. Many buckets are one
// range query with the width as its step.
//
// What PromQL's rate() makes of a window is not the difference between its ends: it takes the samples inside and extends them
// to the edges. What a counter rose by between the last sample of one window and the first of the next is in neither, and is
// made up for by the extension of both. With a scrape every 30 s that is a tenth of the five minutes: a rise that is spread
// over more than one scrape is counted truly on average; one that falls between two scrapes counts as nothing once in ten
// times, and as a ninth more the other nine.
//
// Queries that can be fused are: what many services measured in the same time is one range query, as at a tick. Of the replicas
// of a source the first one answers; what it does not know the others are asked. The series that Sloth's rules record
// are not read: a sum of their ratios weighs nights like days.
type History struct {
	sources []Source
	slos    map[ledger.Key]measure
	follow  []ledger.Followed
	opts    HistoryOptions
	fusion  *fusion
}

// measure is an SLO and whom to ask.
type measure struct {
	slo    *rules.SLO
	source int // index into sources; -1: there is none of that name
}

// HistoryOptions say how the past is asked for. The zero value is good.
type HistoryOptions struct {
	// Timeout of a query. Nobody waits for it. 0: 30 s.
	Timeout time.Duration
	// Parallel is how many queries may be under way, so that a tick's never wait for them. 0: 2.
	Parallel int
	Metrics  *Metrics // counts the queries; nil: nothing is counted
}

// NewHistory makes a reader of what the SLOs of a set measured. sources are as for New.
func NewHistory(set *rules.Set, sources []Source, opts HistoryOptions) *History {
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Parallel <= 0 {
		opts.Parallel = 2
	}
	h := &History{sources: sources, slos: map[ledger.Key]measure{}, opts: opts, fusion: newFusion()}
	for _, service := range set.Services {
		for i := range service.SLOs {
			slo := &service.SLOs[i]
			key := LedgerKey(service.Policy.Scope, slo)
			h.slos[key] = measure{slo, sourceNamed(sources, cmp.Or(slo.Source, service.Source))}
			h.follow = append(h.follow, ledger.Followed{Key: key, Reach: LedgerPeriod(slo).Reach()})
		}
	}
	return h
}

// Followed are the SLOs it reads.
func (h *History) Followed() []ledger.Followed { return h.follow }

// LedgerKey names the ledger of an SLO.
func LedgerKey(scope engine.Scope, slo *rules.SLO) ledger.Key {
	return ledger.Key{Scope: scope, SLO: slo.Name, Digest: slo.Measure}
}

// LedgerPeriod is the period that an SLO's budget is for.
func LedgerPeriod(slo *rules.SLO) ledger.Period {
	if slo.Calendar != "" {
		return ledger.Period{Calendar: ledger.Unit(slo.Calendar), Zone: slo.Timezone}
	}
	return ledger.Period{Rolling: slo.Period}
}

// sourceNamed finds a source; the empty name is the first one.
func sourceNamed(sources []Source, name string) int {
	if name == "" {
		return 0
	}
	return slices.IndexFunc(sources, func(s Source) bool { return s.Name == name })
}

// Read implements ledger.Source.
func (h *History) Read(ctx context.Context, ask ledger.Ask) []ledger.Answer {
	span := rangeSpan{ask.From, ask.Width, int(ask.To.Sub(ask.From) / ask.Width)}
	answers := make([]ledger.Answer, len(ask.Keys))
	var todo []int
	for i, key := range ask.Keys {
		switch m, known := h.slos[key]; {
		case !known:
			answers[i] = ledger.Answer{Why: engine.WhyFailed, Detail: "no such SLO is in force"}
		case m.source < 0:
			answers[i] = ledger.Answer{Why: engine.WhyFailed, Detail: "no source is called as the rules name it"}
		default:
			todo = append(todo, i)
		}
	}
	for replica := 0; len(todo) > 0; replica++ {
		var ws []wanted
		seen := map[query]bool{}
		for _, i := range todo {
			for _, q := range h.slos[ask.Keys[i]].queries(ask.Width, replica) {
				if !seen[q] {
					seen[q] = true
					ws = append(ws, wanted{q, ask.To.Sub(ask.From)})
				}
			}
		}
		found := h.ranges(ctx, ws, span)
		var left []int
		for _, i := range todo {
			m := h.slos[ask.Keys[i]]
			a := bucketsOf(m.slo, span, m.queries(ask.Width, replica), found)
			if replica > 0 {
				a = filled(answers[i], a)
			}
			answers[i] = a
			unknown := a.Why != "" || slices.ContainsFunc(a.Buckets, func(b ledger.Bucket) bool { return b.Why != "" })
			if unknown && replica+1 < len(h.sources[m.source].Replicas) {
				left = append(left, i)
			}
		}
		todo = left
	}
	return answers
}

// filled is a, with what it does not know from b.
func filled(a, b ledger.Answer) ledger.Answer {
	switch {
	case a.Why != "":
		return b
	case b.Why != "":
		return a
	}
	for i := range a.Buckets {
		if a.Buckets[i].Why != "" {
			a.Buckets[i] = b.Buckets[i]
		}
	}
	return a
}

// queries are those of an SLO over a window: errors and total, or the ratio alone.
func (m measure) queries(window time.Duration, replica int) []query {
	errors, total := m.slo.Queries(window)
	list := []query{{source: m.source, replica: replica, text: errors}}
	if m.slo.Events {
		list = append(list, query{source: m.source, replica: replica, text: total})
	}
	return list
}

// rangeSpan is the buckets of a range query: n of a width, the first one from from on.
type rangeSpan struct {
	from  time.Time
	width time.Duration
	n     int
}

// end is the instant at which bucket i is queried.
func (s rangeSpan) end(i int) time.Time { return s.from.Add(time.Duration(i+1) * s.width) }

// series is the answer to a range query, or why there is none.
type series struct {
	why    engine.Why
	detail string
	points []answer // for each bucket; a number, or the reason why it is none
}

// ranges sends range queries, a few at a time. One that stands for many and fails is sent again in halves, so that one bad query
// does not keep the others from being answered.
func (h *History) ranges(ctx context.Context, ws []wanted, span rangeSpan) map[query]series {
	out := make(map[query]series, len(ws))
	fetches := h.fusion.plan(ws, time.Now())
	given := make(map[lane]*atomic.Int32, len(h.sources)) // timeouts in a row
	for _, f := range fetches {
		given[f.lane()] = &atomic.Int32{}
	}
	for len(fetches) > 0 {
		answers := h.send(ctx, fetches, span, given)
		var again []fetch
		for i := range fetches {
			f, a := &fetches[i], answers[i]
			if a.why != "" && a.remedy != none && len(f.values) > 1 {
				h.opts.Metrics.halved(h.sources[f.source].Name)
				again = append(again, f.cut((len(f.values)+1)/2)...)
				continue
			}
			if n := f.queries(); n > 1 {
				h.opts.Metrics.fusedInto(h.sources[f.source].Name, n)
			}
			shareRange(*f, a, span, out)
		}
		fetches = again
	}
	return out
}

// send sends fetches and returns their answers, matrices, in their order. A replica that does not answer several in a row is
// not asked the rest.
func (h *History) send(ctx context.Context, fetches []fetch, span rangeSpan, given map[lane]*atomic.Int32) []answer {
	answers := make([]answer, len(fetches))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(h.opts.Parallel, len(fetches)) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(fetches) {
					return
				}
				timeouts := given[fetches[i].lane()]
				if timeouts.Load() >= minTimeouts {
					answers[i] = answer{why: engine.WhyTimeout, detail: "not asked any more: the source let several queries time out"}
					continue
				}
				answers[i] = h.one(ctx, fetches[i].query, span)
				if answers[i].why == engine.WhyTimeout {
					timeouts.Add(1)
				} else {
					timeouts.Store(0)
				}
			}
		})
	}
	all.Wait()
	return answers
}

// one sends one range query. A panic in the client, which reads what strangers send, is one failed query.
func (h *History) one(ctx context.Context, q query, span rangeSpan) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{why: engine.WhyFailed, detail: clip(fmt.Sprintf("panic in the client: %v", p))}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	began := time.Now()
	var noted note
	value, warnings, _, err := h.sources[q.source].Replicas[q.replica].QueryRange(context.WithValue(ctx, noteKey{}, &noted), q.text,
		v1.Range{Start: span.end(0), End: span.end(span.n - 1), Step: span.width}, v1.WithTimeout(whole(h.opts.Timeout)), v1.WithStats(totals))
	a = answerOf(value, warnings, err)
	a.samples, a.took = noted.samples, time.Since(began)
	if a.why == "" && noted.ahead > maxSkew {
		a = answer{why: engine.WhyStale, detail: fmt.Sprintf("the source's clock is %s ahead of this machine's", noted.ahead.Round(time.Second))}
	}
	h.opts.Metrics.queried(h.sources[q.source].Name, a)
	return a
}

// shareRange hands the answer to a range query out to the queries it stands for: each of its instants as the answer to an
// instant query there. Two series at one instant are one too many for a query there, and say nothing about the others.
func shareRange(f fetch, a answer, span rangeSpan, out map[query]series) {
	m, ok := a.value.(model.Matrix)
	if a.why == "" && !ok {
		a.why, a.detail = engine.WhyInvalid, "an answer that is no matrix"
	}
	if a.why != "" {
		f.share(answer{why: a.why, detail: a.detail}, func(q query, part answer) { out[q] = series{why: part.why, detail: part.detail} })
		return
	}
	steps := make([]model.Vector, span.n)
	put := func(t model.Time, s *model.Sample) {
		since := t.Time().Sub(span.from)
		if i := int(since/span.width) - 1; since%span.width == 0 && i >= 0 && i < span.n {
			steps[i] = append(steps[i], s)
		}
	}
	for _, one := range m {
		for _, p := range one.Values {
			put(p.Timestamp, &model.Sample{Metric: one.Metric, Timestamp: p.Timestamp, Value: p.Value})
		}
		for _, p := range one.Histograms {
			put(p.Timestamp, &model.Sample{Metric: one.Metric, Timestamp: p.Timestamp, Histogram: p.Histogram})
		}
	}
	for i, v := range steps {
		f.at = span.end(i).UnixMilli()
		f.share(answer{value: v}, func(q query, part answer) {
			q.at = 0
			s, ok := out[q]
			if !ok {
				s.points = make([]answer, span.n)
				out[q] = s
			}
			s.points[i] = part
		})
	}
}

// bucketsOf makes buckets of the answers to an SLO's queries, by the rules by which a tick reads them but for three: too few
// events are events all the same, no traffic is no traffic and adds nothing, and how old a sample is within its bucket does
// not matter.
func bucketsOf(slo *rules.SLO, span rangeSpan, queries []query, found map[query]series) ledger.Answer {
	all := make([]series, len(queries))
	for i, q := range queries {
		all[i] = found[q]
		if all[i].why != "" {
			return ledger.Answer{Why: all[i].why, Detail: all[i].detail}
		}
	}
	plain := *slo
	plain.MinEvents, plain.NoTraffic = 0, rules.NoTrafficGood
	weight := slo.EventsPerUnit(span.width)
	if weight == 0 { // its queries do not tell how many events a total stands for
		weight = span.width.Seconds()
	}
	out := ledger.Answer{Buckets: make([]ledger.Bucket, span.n)}
	for i := range span.n {
		b := ledger.Bucket{Start: span.from.Add(time.Duration(i) * span.width), Width: span.width}
		v, total := measured(&plain, span.width, all, i)
		switch {
		case v.Reading.Why != "":
			b.Why = v.Reading.Why
		case slo.Events:
			b.Errors, b.Total = weight*min(v.Errors, v.Total), weight*v.Total
		default:
			b.Errors, b.Total = span.width.Seconds()*v.Errors, span.width.Seconds()*total
		}
		out.Buckets[i] = b
	}
	return out
}

// measured is what an SLO's queries gave for one bucket; total is 0 where a ratio was 0/0.
func measured(slo *rules.SLO, window time.Duration, all []series, i int) (v rules.Value, total float64) {
	x, why, detail := all[len(all)-1].points[i].number() // the total, or the ratio
	if why != "" {
		return unknown(why, "%s", detail), 0
	}
	if !slo.Events {
		if math.IsNaN(x) {
			return rules.Value{}, 0
		}
		return ratioValue(slo, window, x), 1
	}
	if _, why, detail := all[0].points[i].number(); why != "" && why != engine.WhyAbsent {
		return unknown(why, "%s", detail), 0
	}
	return eventsValue(slo, window, all[0].points[i], x), 0
}
