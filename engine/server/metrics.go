package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/roster"
)

// metrics is what the server measures about itself. What is known of the scopes is read from the loop's views at each
// scrape, so that it cannot drift from the state.
type metrics struct {
	registry *prometheus.Registry
	views    func() []engine.View
	roster   *roster.Roster // nil before there is one

	bearing atomic.Pointer[map[engine.Scope]bool] // of these scopes the telemetry bears the mode; nil: nobody knows

	mu      sync.Mutex                    // guards started
	started map[engine.ChangeID]time.Time // changes under way that wait for instances: when what they were decided on was so

	ticks, missed, dropped prometheus.Counter
	tickSeconds            prometheus.Histogram
	transitionSeconds      prometheus.Histogram
	reloadGood             prometheus.Gauge
	reloadTime             prometheus.Gauge
	logWritable            prometheus.Gauge
	events                 *prometheus.CounterVec
	flagsFetched           *prometheus.CounterVec // by scopes that exist: what clients call themselves is no label
	flagsLimited           prometheus.Counter
}

var (
	descMode        = prometheus.NewDesc("modeshift_mode", "1 for the mode a scope is in, 0 for its other modes.", []string{"scope", "mode"}, nil)
	descModeSeconds = prometheus.NewDesc("modeshift_mode_seconds", "How long the scope has been in its mode, time in which nobody evaluated not counted.", []string{"scope", "mode"}, nil)
	descIncidents   = prometheus.NewDesc("modeshift_incidents_open", "Incidents people were told of that are not over.", []string{"scope", "severity"}, nil)
	descPinned      = prometheus.NewDesc("modeshift_pinned", "1 while a person's choice of mode holds automation off.", []string{"scope"}, nil)
	descInstances   = prometheus.NewDesc("modeshift_instances", "Instances by how they follow the mode: applied, waiting, failed, stale, missing, gone.", []string{"scope", "standing"}, nil)
	descDivergent   = prometheus.NewDesc("modeshift_divergent_instances", "Instances that have not had what is meant for them for longer than the grace time.", []string{"scope"}, nil)
	descApplication = prometheus.NewDesc("modeshift_application_ratio", "Share of the instances that are told the newest directive and have applied it.", []string{"scope"}, nil)
	descBearing     = prometheus.NewDesc("modeshift_coverage_ratio", "Share of the services with modes whose telemetry bears the mode (modeshift_instance_mode). Absent while a source cannot be asked.", nil, nil)
	descRefused     = prometheus.NewDesc("modeshift_instances_refused_total", "Instances that were not let in: of a scope that no rule knows of (unknown_scope), or under a name that is in use (in_use).", []string{"code"}, nil)
	descWithheld    = prometheus.NewDesc("modeshift_transitions_withheld", "Transitions that are ready and kept from starting.", []string{"scope"}, nil)
)

func newMetrics(views func() []engine.View, version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), views: views, started: map[engine.ChangeID]time.Time{},
		ticks:             prometheus.NewCounter(prometheus.CounterOpts{Name: "modeshift_ticks_total", Help: "Evaluations of all scopes."}),
		missed:            prometheus.NewCounter(prometheus.CounterOpts{Name: "modeshift_ticks_missed_total", Help: "Ticks that did not happen because the one before took too long."}),
		dropped:           prometheus.NewCounter(prometheus.CounterOpts{Name: "modeshift_answers_dropped_total", Help: "Answers about a scope that were out of date when they came."}),
		tickSeconds:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "modeshift_tick_seconds", Help: "From a tick's instant to its events being stored.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12)}),
		transitionSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "modeshift_transition_seconds", Help: "From the instant of the readings a change was decided on, or from a person's request being taken up, to enough instances having its mode; where there are none, to its directive being stored.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}),
		reloadGood:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "modeshift_rules_last_reload_successful", Help: "1 if every rule file on disk is in force."}),
		reloadTime:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "modeshift_rules_last_reload_success_timestamp_seconds", Help: "When all rule files were last in force."}),
		logWritable:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "modeshift_log_writable", Help: "1 if the log can be written."}),
		events:            prometheus.NewCounterVec(prometheus.CounterOpts{Name: "modeshift_events_total", Help: "Events stored by this process, by kind."}, []string{"kind"}),
	}
	m.flagsFetched = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "modeshift_flags_fetched_total", Help: "Times a reader of flags got a directive or was told that it has the present one. What it made of it is not known."}, []string{"scope", "via"})
	m.flagsLimited = prometheus.NewCounter(prometheus.CounterOpts{Name: "modeshift_flags_limited_total", Help: "Requests for flags that were refused because their client asks too often."})
	m.registry.MustRegister(m.flagsFetched, m.flagsLimited)
	m.logWritable.Set(1)
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "modeshift_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m, m.ticks, m.missed, m.dropped, m.tickSeconds, m.transitionSeconds, m.reloadGood, m.reloadTime, m.logWritable, m.events, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descMode, descModeSeconds, descIncidents, descPinned, descWithheld, descInstances, descDivergent, descApplication, descBearing, descRefused, descPaused, descSuppressed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, v := range m.views() {
		if v.State.Retired {
			continue
		}
		scope := string(v.State.Scope)
		if v.Policy != nil {
			for _, mode := range v.Policy.Modes {
				in := 0.0
				if mode.Name == v.State.Mode {
					in = 1
					ch <- prometheus.MustNewConstMetric(descModeSeconds, prometheus.GaugeValue, v.State.Dwell(now).Seconds(), scope, string(mode.Name))
				}
				ch <- prometheus.MustNewConstMetric(descMode, prometheus.GaugeValue, in, scope, string(mode.Name))
			}
		}
		open := map[engine.Severity]float64{engine.SeverityExec: 0, engine.SeverityPage: 0, engine.SeverityTicket: 0}
		for _, i := range v.State.Incidents {
			open[i.Loudest()]++
		}
		for severity, n := range open {
			ch <- prometheus.MustNewConstMetric(descIncidents, prometheus.GaugeValue, n, scope, string(severity))
		}
		pinned := 0.0
		if v.State.Pin != nil {
			pinned = 1
		}
		ch <- prometheus.MustNewConstMetric(descPinned, prometheus.GaugeValue, pinned, scope)
		collectQuiet(ch, v)
		ch <- prometheus.MustNewConstMetric(descWithheld, prometheus.GaugeValue, float64(len(v.State.Withheld)), scope)
		if m.roster != nil {
			if in := m.roster.Summary(v.State, now.UTC()); in.Known > 0 {
				ch <- prometheus.MustNewConstMetric(descDivergent, prometheus.GaugeValue, float64(in.Behind), scope)
				if in.Told > 0 {
					ch <- prometheus.MustNewConstMetric(descApplication, prometheus.GaugeValue, float64(in.Applied)/float64(in.Told), scope)
				}
			}
		}
	}
	m.collectCoverage(ch)
	if m.roster == nil {
		return
	}
	for code, n := range m.roster.Refused() {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(n), code)
	}
	for scope, counts := range m.roster.Counts(now.UTC()) {
		for _, standing := range roster.Standings {
			ch <- prometheus.MustNewConstMetric(descInstances, prometheus.GaugeValue, float64(counts[standing]), string(scope), string(standing))
		}
	}
}

// covered takes note of the scopes whose telemetry bears the mode.
func (m *metrics) covered(scopes map[engine.Scope]bool, known bool) {
	if !known {
		m.bearing.Store(nil)
		return
	}
	m.bearing.Store(&scopes)
}

func (m *metrics) collectCoverage(ch chan<- prometheus.Metric) {
	bearing := m.bearing.Load()
	if bearing == nil {
		return
	}
	all, bear := 0, 0
	for _, v := range m.views() {
		if v.State.Retired || v.State.Mode == "" {
			continue
		}
		all++
		if (*bearing)[v.State.Scope] {
			bear++
		}
	}
	if all > 0 {
		ch <- prometheus.MustNewConstMetric(descBearing, prometheus.GaugeValue, float64(bear)/float64(all))
	}
}

// committed counts events of one batch, stored by now, and times the changes: until enough instances have the mode or, where there
// are none to wait for, until it is published.
func (m *metrics) committed(events []engine.Event, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	over := func(change engine.ChangeID) {
		if from, waits := m.started[change]; waits {
			m.transitionSeconds.Observe(max(0, now.Sub(from)).Seconds()) // a clock may have been set back
			delete(m.started, change)
		}
	}
	waves := map[engine.ChangeID]bool{} // of this batch: how many wait is the state's to say
	for _, e := range events {
		m.events.WithLabelValues(e.Kind()).Inc()
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			from := e.Cause.Instant
			if from.IsZero() {
				from = e.At
			}
			m.started[f.Change] = from
			waves[f.Change] = f.Instances > 0
		case engine.DirectivePublished:
			if waits, began := waves[f.Change]; began && !waits {
				over(f.Change)
			}
		case engine.ChangeDone: // its last wave has passed, or it never had any to wait for
			over(f.Change)
		case engine.DirectiveApplied:
			if !m.stepped(f.Change) {
				over(f.Change)
			}
		case engine.RolloutDone:
			over(f.Change)
		case engine.ChangeFailed:
			delete(m.started, f.Change)
		case engine.UndoStarted:
			delete(m.started, f.Change)
		case engine.ChangeOvertaken:
			delete(m.started, f.Change)
		}
	}
}

// stepped reports whether a change goes by waves: then it is in force only after the last.
func (m *metrics) stepped(change engine.ChangeID) bool {
	for _, v := range m.views() {
		if c := v.State.Change; c != nil && c.ID == change {
			return c.Plan.Rollout != nil
		}
	}
	return false
}

func (m *metrics) ticked(r loop.TickReport) {
	m.ticks.Inc()
	m.missed.Add(float64(r.Missed))
	m.dropped.Add(float64(r.Dropped))
	m.tickSeconds.Observe(r.Took.Seconds())
}

func (m *metrics) reloaded(good bool) {
	if !good {
		m.reloadGood.Set(0)
		return
	}
	m.reloadGood.Set(1)
	m.reloadTime.SetToCurrentTime()
}
