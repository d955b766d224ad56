package runner

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/engine"
)

// metrics are what the runner says of itself. Routes are few and fixed, so their number bounds the series.
type metrics struct {
	runner   *Runner
	total    *prometheus.CounterVec
	unstored prometheus.Gauge
	overdue  *prometheus.Desc
	pending  *prometheus.Desc

	actions    *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	unreported prometheus.Gauge
	stepsOwed  *prometheus.Desc
	stepsOld   *prometheus.Desc

	mu    sync.Mutex           // guards steps
	steps map[string]time.Time // since when the steps' jobs held are owed, by ID
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
	m.steps = map[string]time.Time{}
	m.actions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "modeshift_actions_total",
		Help: "Attempts of steps and of their undos, by kind of action and outcome: done, failed (it has not happened), unknown (nobody knows whether it has).",
	}, []string{"kind", "outcome"})
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "modeshift_action_seconds", Help: "How long an action took, by kind.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
	}, []string{"kind"})
	m.unreported = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "modeshift_action_outcomes_unreported",
		Help: "Outcomes of steps that are known and could not be stored yet.",
	})
	m.stepsOwed = prometheus.NewDesc("modeshift_actions_pending", "Steps that are owed and whose outcome is not stored.", nil, nil)
	m.stepsOld = prometheus.NewDesc("modeshift_actions_overdue_seconds", "Age of the oldest step whose outcome is not stored; 0 when there is none.", nil, nil)
	for _, rt := range r.routes {
		for _, o := range outcomes {
			m.total.WithLabelValues(rt.name, o) // so that a rate has a zero to start from
		}
	}
	if r.opts.Registerer != nil {
		r.opts.Registerer.MustRegister(m.total, m.unstored, m)
	}
	if s := r.opts.Steps; s != nil {
		for kind := range s.Kinds {
			for _, o := range []engine.Outcome{engine.OutcomeDone, engine.OutcomeFailed, engine.OutcomeUnknown} {
				m.actions.WithLabelValues(kind, string(o))
			}
		}
		if r.opts.Registerer != nil {
			r.opts.Registerer.MustRegister(m.actions, m.seconds, m.unreported)
		}
	}
	return m
}

func (m *metrics) count(route, outcome string) { m.total.WithLabelValues(route, outcome).Inc() }

// Describe sends what Collect will measure.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.overdue
	ch <- m.pending
	if m.runner.opts.Steps != nil {
		ch <- m.stepsOwed
		ch <- m.stepsOld
	}
}

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
	if m.runner.opts.Steps == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var age float64
	for _, owed := range m.steps {
		age = max(age, time.Since(owed).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(m.stepsOwed, prometheus.GaugeValue, float64(len(m.steps)))
	ch <- prometheus.MustNewConstMetric(m.stepsOld, prometheus.GaugeValue, age)
}

// stepOwed notes that a step's job is held, stepOver that it is not any more.
func (m *metrics) stepOwed(job engine.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps[job.ID] = job.Owed
}

func (m *metrics) stepOver(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.steps, id)
}

func (m *metrics) stepOutcome(kind string, o engine.Outcome) {
	m.actions.WithLabelValues(kind, string(o)).Inc()
}

func (m *metrics) stepSeconds(kind string, took time.Duration) {
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) stepUnreported(n int) { m.unreported.Set(float64(n)) }
