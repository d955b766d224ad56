package runner

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the runner says of itself. Routes are few and fixed, so their number bounds the series.
type metrics struct {
	runner   *Runner
	total    *prometheus.CounterVec
	unstored prometheus.Gauge
	overdue  *prometheus.Desc
	pending  *prometheus.Desc
}

// outcomes of an attempt, as the counter names them.
var outcomes = []string{"sent", "retried", "failed", "fallback_failed"}

func newMetrics(r *Runner) *metrics {
	m := &metrics{
		runner: r,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modeshift_notifications_total",
			Help: "Attempts to deliver a notice, by route and outcome: sent; retried (not taken, will be tried again); failed (refused for good); fallback_failed (the fallback did not take it either).",
		}, []string{"route", "outcome"}),
		unstored: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "modeshift_notification_outcomes_unstored",
			Help: "Outcomes of attempts that the store could not take yet.",
		}),
		overdue: prometheus.NewDesc("modeshift_notifications_overdue_seconds",
			"Age of the oldest notice that is owed and not delivered; 0 when there is none.", []string{"route"}, nil),
		pending: prometheus.NewDesc("modeshift_notifications_pending",
			"Notices that are owed and not delivered.", []string{"route"}, nil),
	}
	for _, rt := range r.routes {
		for _, o := range outcomes {
			m.total.WithLabelValues(rt.name, o) // so that a rate has a zero to start from
		}
	}
	if r.opts.Registerer != nil {
		r.opts.Registerer.MustRegister(m.total, m.unstored, m)
	}
	return m
}

func (m *metrics) count(route, outcome string) { m.total.WithLabelValues(route, outcome).Inc() }

// Describe sends what Collect will measure.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.overdue; ch <- m.pending }

// Collect measures at the time of the scrape: an age grows by itself.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	owed := m.runner.book.oldest()
	for _, rt := range m.runner.routes {
		var age float64
		b := owed[rt.name]
		if b.count > 0 {
			age = max(0, time.Since(b.since).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(m.overdue, prometheus.GaugeValue, age, rt.name)
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(b.count), rt.name)
	}
}
