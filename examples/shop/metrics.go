package shop

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the shop measures about itself. The counters that people look at are kept beside Prometheus's own, which
// cannot be read back.
type metrics struct {
	requests *prometheus.CounterVec // by code
	seconds  prometheus.Histogram
	calls    *prometheus.CounterVec // by result
	probes   *prometheus.CounterVec // by result
	payments *prometheus.CounterVec // by gateway and result

	shown, skipped, failed atomic.Uint64
}

func newMetrics(reg *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered, by status code."}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shop_recommendations_total", Help: "Product pages, by what became of their recommendations: shown, skipped (the mode has none) or failed."}, []string{"result"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shop_dependency_probes_total", Help: "Probes of a dependency, by result: success or failure."}, []string{"dependency", "result"}),
		payments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shop_payments_total", Help: "Payments tried, by the gateway they went to and by result: paid or failed."}, []string{"gateway", "result"}),
	}
	reg.MustRegister(m.requests, m.seconds, m.calls, m.probes, m.payments)
	// A counter that appears with its first increment has lost it for rate(). What rules ask for is there from the start.
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError} {
		m.requests.WithLabelValues(strconv.Itoa(code))
	}
	for _, result := range []string{"success", "failure"} {
		m.probes.WithLabelValues("recommendations", result)
	}
	for _, gateway := range []string{Primary, Backup, unknownGateway} {
		for _, result := range []string{"paid", "failed"} {
			m.payments.WithLabelValues(gateway, result)
		}
	}
	for _, result := range []string{"shown", "skipped", "failed"} {
		m.calls.WithLabelValues(result)
	}
	return m
}

func (m *metrics) show() { m.shown.Add(1); m.calls.WithLabelValues("shown").Inc() }
func (m *metrics) skip() { m.skipped.Add(1); m.calls.WithLabelValues("skipped").Inc() }
func (m *metrics) fail() { m.failed.Add(1); m.calls.WithLabelValues("failed").Inc() }

func (m *metrics) probed(ok bool) {
	result := "success"
	if !ok {
		result = "failure"
	}
	m.probes.WithLabelValues("recommendations", result).Inc()
}

// unknownGateway is the label of payments of which nobody knows where they went: the router did not answer.
const unknownGateway = "unknown"

func (m *metrics) paid(gateway string, ok bool) {
	if gateway != Primary && gateway != Backup {
		gateway = unknownGateway
	}
	result := "paid"
	if !ok {
		result = "failed"
	}
	m.payments.WithLabelValues(gateway, result).Inc()
}

// measure counts and times what h answers.
func (m *metrics) measure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(rec, r)
		m.requests.WithLabelValues(strconv.Itoa(rec.code)).Inc()
		m.seconds.Observe(time.Since(began).Seconds())
	})
}

// recorder remembers the status code.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}
