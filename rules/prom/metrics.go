package prom

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Metrics counts what evaluators ask and what they find. One outlives the evaluators that use it, of which a reload makes a
// new one. A nil *Metrics counts nothing.
type Metrics struct {
	unknown *prometheus.CounterVec
	queries *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	samples *prometheus.CounterVec
	rounds  prometheus.Counter
	lag     *prometheus.GaugeVec
	fused   *prometheus.CounterVec
	halves  *prometheus.CounterVec

	mu     sync.Mutex // guards burn, lagged
	burn   map[burnLabels]burnRate
	lagged time.Time // the minute in which the lag was asked for last
	gauge  *prometheus.Desc
}

type burnLabels struct{ scope, slo, window string }

type burnRate struct {
	value float64
	at    time.Time
}

// burnKept is how long a burn rate is shown that is not asked for any more. The slowest cadence of a tier is six minutes; what
// was not asked for longer than that belongs to a window nobody needs now, or to rules that are gone.
const burnKept = 10 * time.Minute

// NewMetrics makes the metrics. It is a prometheus.Collector, to be registered once.
func NewMetrics() *Metrics {
	return &Metrics{
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_signal_unknown_total",
			Help: "Readings of signals that came out unknown, by reason.",
		}, []string{"why"}),
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_queries_total",
			Help: "Queries to a source, by outcome: ok, or the reason why there was no answer.",
		}, []string{"source", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "modeshift_query_seconds",
			Help:    "How long a query took until its answer was read.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"source"}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_query_samples_total",
			Help: "Samples a source read to answer queries, as far as it says.",
		}, []string{"source"}),
		rounds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "modeshift_query_rounds_total",
			Help: "Rounds of queries, one after the other; a tick of a quiet fleet takes one.",
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "modeshift_newest_sample_age_seconds",
			Help: "How old the newest sample of a source's targets was at the instant it was last asked for, once a minute; a replica's where there are several.",
		}, []string{"source"}),
		fused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_fused_queries_total",
			Help: "Queries that were answered together with others of the same shape by one request.",
		}, []string{"source"}),
		halves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_fused_retries_total",
			Help: "Requests for many queries that failed and were sent again in halves, to find whose fault it is.",
		}, []string{"source"}),
		burn: map[burnLabels]burnRate{},
		gauge: prometheus.NewDesc("modeshift_burn_rate",
			"Error ratio over the window divided by the error budget, as last read; absent while unknown.",
			[]string{"scope", "slo", "window"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.unknown.Describe(ch)
	m.queries.Describe(ch)
	m.seconds.Describe(ch)
	m.samples.Describe(ch)
	m.rounds.Describe(ch)
	m.lag.Describe(ch)
	m.fused.Describe(ch)
	m.halves.Describe(ch)
	ch <- m.gauge
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.unknown.Collect(ch)
	m.queries.Collect(ch)
	m.seconds.Collect(ch)
	m.samples.Collect(ch)
	m.rounds.Collect(ch)
	m.lag.Collect(ch)
	m.fused.Collect(ch)
	m.halves.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	for l, b := range m.burn {
		ch <- prometheus.MustNewConstMetric(m.gauge, prometheus.GaugeValue, b.value, l.scope, l.slo, l.window)
	}
}

func (m *Metrics) queried(source string, a answer) {
	if m == nil {
		return
	}
	outcome := "ok"
	if a.why != "" {
		outcome = string(a.why)
	}
	m.queries.WithLabelValues(source, outcome).Inc()
	m.seconds.WithLabelValues(source).Observe(a.took.Seconds())
	m.samples.WithLabelValues(source).Add(float64(a.samples))
}

// fusedInto counts queries that one request stood for.
func (m *Metrics) fusedInto(source string, queries int) {
	if m != nil {
		m.fused.WithLabelValues(source).Add(float64(queries))
	}
}

// halved counts a request that was sent again in halves.
func (m *Metrics) halved(source string) {
	if m != nil {
		m.halves.WithLabelValues(source).Inc()
	}
}

// targets is the query for the time of the newest sample of a source's targets. It reads one sample a target.
const targets = `max(timestamp(up))`

// lag measures how old a source's newest sample is, once in a minute: what is late there makes every decision late. A source
// without targets of its own, such as one that others write to, does not tell.
func (t *tick) lag(ctx context.Context, seen []engine.Sight) {
	m := t.opts.Metrics
	if m == nil || !m.lagDue(t.Instant) {
		return
	}
	at := t.Instant.Add(-t.opts.QueryOffset)
	for i := range t.sources {
		if !seen[i].Asked || seen[i].Blind {
			continue // there are more urgent things to know of it
		}
		var age float64
		for r := range t.sources[i].Replicas {
			q := query{source: i, replica: r, text: targets, at: at.UnixMilli()}
			seconds, why, _ := t.fetcher.one(ctx, q).number()
			if why != "" || !(math.Abs(seconds) < maxUnix) {
				continue
			}
			age = max(age, float64(at.UnixMilli())/1000-seconds)
			m.lag.WithLabelValues(t.sources[i].Name).Set(age)
		}
	}
}

// lagDue reports whether a minute has begun since it was last asked.
func (m *Metrics) lagDue(instant time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	minute := instant.Truncate(time.Minute)
	due := !minute.Equal(m.lagged)
	m.lagged = minute
	return due
}

// observed takes over what a tick has read. A burn rate that became unknown is removed at once: a gauge that stands still
// would pass for a measurement.
func (m *Metrics) observed(t *tick) {
	if m == nil {
		return
	}
	m.rounds.Add(float64(t.rounds))
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range t.values {
		if v.Reading.Why != "" {
			m.unknown.WithLabelValues(string(v.Reading.Why)).Inc()
		}
		if k.signal.Kind != rules.SignalSLO {
			continue
		}
		if now := k.signal; now.Every > 0 {
			now.Every = 0
			if _, both := t.values[key{k.service, now}]; both {
				continue // what was measured now says more than what was measured at the last multiple of a cadence
			}
		}
		l := burnLabels{string(k.service.Policy.Scope), k.signal.Name, model.Duration(k.signal.Window).String()}
		slo := k.service.SLO(k.signal.Name)
		if v.Reading.Why != "" || slo == nil || slo.Budget <= 0 {
			delete(m.burn, l)
			continue
		}
		m.burn[l] = burnRate{v.Reading.Value / slo.Budget, t.Instant}
	}
	for l, b := range m.burn {
		if t.Instant.Sub(b.at) > burnKept {
			delete(m.burn, l)
		}
	}
}
