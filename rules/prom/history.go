package prom

import (
	"context"
	"fmt"
	"math"
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
type History struct {
	sources []Source
	slos    map[ledger.Key]*rules.SLO
	follow  []ledger.Followed
	opts    HistoryOptions
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
	h := &History{sources: sources, slos: map[ledger.Key]*rules.SLO{}, opts: opts}
	for _, service := range set.Services {
		for i := range service.SLOs {
			slo := &service.SLOs[i]
			key := LedgerKey(service.Policy.Scope, slo)
			h.slos[key] = slo
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

// Read implements ledger.Source.
func (h *History) Read(ctx context.Context, ask ledger.Ask) []ledger.Answer {
	// Equal queries are sent once, and all that are different are in one list: whoever knows how to make one query of many
	// can do so here.
	var queries []query
	seen := map[query]bool{}
	for _, key := range ask.Keys {
		if slo := h.slos[key]; slo != nil {
			for _, q := range historyQueries(slo, ask.Width) {
				if !seen[q] {
					seen[q] = true
					queries = append(queries, q)
				}
			}
		}
	}
	span := rangeSpan{ask.From, ask.Width, int(ask.To.Sub(ask.From) / ask.Width)}
	found := h.ranges(ctx, queries, span)
	answers := make([]ledger.Answer, len(ask.Keys))
	for i, key := range ask.Keys {
		slo := h.slos[key]
		if slo == nil {
			answers[i] = ledger.Answer{Why: engine.WhyFailed, Detail: "no such SLO is in force"}
			continue
		}
		answers[i] = bucketsOf(slo, span, historyQueries(slo, ask.Width), found)
	}
	return answers
}

// historyQueries are the queries of an SLO over a window: errors and total, or the ratio alone.
func historyQueries(slo *rules.SLO, window time.Duration) []query {
	errors, total := slo.Queries(window)
	if !slo.Events {
		return []query{{text: errors}}
	}
	return []query{{text: errors}, {text: total}}
}

// rangeSpan is the buckets of a range query: n of a width, the first one from from on.
type rangeSpan struct {
	from  time.Time
	width time.Duration
	n     int
}

// series is the answer to a range query, or why there is none.
type series struct {
	why    engine.Why
	detail string
	points []answer // for each bucket; a number, or the reason why it is none
}

// ranges sends range queries, a few at a time. A source that does not answer several of them in a row is not asked the rest.
func (h *History) ranges(ctx context.Context, queries []query, span rangeSpan) map[query]series {
	found := make([]series, len(queries))
	given := make([]atomic.Int32, len(h.sources)) // timeouts in a row
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(h.opts.Parallel, len(queries)) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(queries) {
					return
				}
				q := queries[i]
				if given[q.source].Load() >= minTimeouts {
					found[i] = series{why: engine.WhyTimeout, detail: "not asked any more: the source let several queries time out"}
					continue
				}
				found[i] = h.one(ctx, q, span)
				if found[i].why == engine.WhyTimeout {
					given[q.source].Add(1)
				} else {
					given[q.source].Store(0)
				}
			}
		})
	}
	all.Wait()
	out := make(map[query]series, len(queries))
	for i, q := range queries {
		out[q] = found[i]
	}
	return out
}

// one sends one range query. A panic in the client, which reads what strangers send, is one failed query.
func (h *History) one(ctx context.Context, q query, span rangeSpan) (s series) {
	defer func() {
		if p := recover(); p != nil {
			s = series{why: engine.WhyFailed, detail: clip(fmt.Sprintf("panic in the client: %v", p))}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	began := time.Now()
	source := h.sources[q.source]
	first := span.from.Add(span.width)
	value, warnings, _, err := source.API.QueryRange(ctx, q.text, v1.Range{Start: first, End: first.Add(time.Duration(span.n-1) * span.width), Step: span.width},
		v1.WithTimeout(whole(h.opts.Timeout)))
	a := answerOf(value, warnings, err)
	h.opts.Metrics.queried(source.Name, a.why, time.Since(began))
	return seriesOf(a, span)
}

// seriesOf sorts the answer to a range query by bucket. Two series at one instant are one too many there, and say nothing
// about the others.
func seriesOf(a answer, span rangeSpan) series {
	if a.why != "" {
		return series{why: a.why, detail: a.detail}
	}
	m, ok := a.value.(model.Matrix)
	if !ok {
		return series{why: engine.WhyInvalid, detail: "an answer that is no matrix"}
	}
	s := series{points: make([]answer, span.n)}
	for i := range s.points {
		s.points[i] = answer{value: model.Vector(nil)}
	}
	at := func(t model.Time) (int, bool) {
		since := t.Time().Sub(span.from)
		i := int(since/span.width) - 1
		return i, since%span.width == 0 && i >= 0 && i < span.n
	}
	for _, one := range m {
		for _, p := range one.Values {
			if i, ok := at(p.Timestamp); ok {
				s.points[i].value = append(s.points[i].value.(model.Vector), &model.Sample{Metric: one.Metric, Value: p.Value})
			}
		}
		for _, p := range one.Histograms {
			if i, ok := at(p.Timestamp); ok {
				s.points[i].value = append(s.points[i].value.(model.Vector), &model.Sample{Metric: one.Metric, Histogram: p.Histogram})
			}
		}
	}
	return s
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
