package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/web"
)

// Limits bound what clients may ask and how long they may take over it. Rates are requests a second; what is 0 has no limit.
type Limits struct {
	// Reads and Writes are those of one principal.
	Reads  float64 `yaml:"reads"`
	Writes float64 `yaml:"writes"`
	// Urgent is for answers to proposals and for break-glass, of one principal, whatever else it asks; and as much again for
	// reading proposals.
	Urgent float64 `yaml:"urgent"`
	// Instances is for those that connect, or ask and report, of one principal together. What they say over a stream has no rate.
	Instances float64 `yaml:"instances"`
	// Anonymous is for requests without a token that is known, of one address; of IPv6, of one network of 64 bits.
	Anonymous float64 `yaml:"anonymous"`
	// Streams of events that one principal may have open.
	Streams int `yaml:"streams"`
	// AtOnce is how many requests of a kind are carried out at once. Others wait a second, and are answered 503.
	AtOnce int `yaml:"at_once"`

	HeaderTime model.Duration `yaml:"header_time"` // for a request's header
	ReadTime   model.Duration `yaml:"read_time"`   // for a whole request; streams of instances have their heartbeat instead
	AnswerTime model.Duration `yaml:"answer_time"` // for making an answer and reading it; streams have one for each event
	IdleTime   model.Duration `yaml:"idle_time"`   // of a connection between two requests
	SlowReader model.Duration `yaml:"slow_reader"` // for what a reader of a stream does not read, before it is cut off
}

// maxAtOnce leaves room in the loop's inbox for what is urgent.
const maxAtOnce = 100

// defaultLimits are far above what people, pipelines and dashboards need, and far below what hurts.
func defaultLimits() Limits {
	return Limits{
		Reads: 200, Writes: 100, Urgent: 20, Instances: 5000, Anonymous: 20, Streams: 100, AtOnce: 64,
		HeaderTime: model.Duration(10 * time.Second), ReadTime: model.Duration(30 * time.Second), AnswerTime: model.Duration(answerTimeout),
		IdleTime: model.Duration(2 * time.Minute), SlowReader: model.Duration(10 * time.Second),
	}
}

func (l Limits) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("limits."+format, args...)) }
	for _, r := range []struct {
		name string
		rate float64
	}{{"reads", l.Reads}, {"writes", l.Writes}, {"urgent", l.Urgent}, {"instances", l.Instances}, {"anonymous", l.Anonymous}} {
		if !(r.rate >= 0 && r.rate <= 1e6) {
			fault("%s: %v requests a second; 0 is no limit", r.name, r.rate)
		}
	}
	if l.Streams < 0 {
		fault("streams: %d; 0 is no limit", l.Streams)
	}
	if l.AtOnce < 1 || l.AtOnce > maxAtOnce {
		fault("at_once: %d requests are not from 1 to %d: what is urgent needs room beside them", l.AtOnce, maxAtOnce)
	}
	for _, d := range []struct {
		name string
		time model.Duration
	}{{"header_time", l.HeaderTime}, {"read_time", l.ReadTime}, {"answer_time", l.AnswerTime}, {"idle_time", l.IdleTime}, {"slow_reader", l.SlowReader}} {
		if time.Duration(d.time) < 100*time.Millisecond {
			fault("%s: %v is too short, or none: clients that hold what they do not use would hold it for ever; for example 10s", d.name, d.time)
		}
	}
	return errors.Join(faults...)
}

// openLimiter makes what holds clients to the limits, and counts those it holds.
func (s *Server) openLimiter() {
	l := s.opts.Config.Limits
	limited := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "modeshift_http_limited_total",
		Help: "Requests that were not let through because their client, or all of them together, asked too much; and readers of events that were cut off (slow)."}, []string{"reason"})
	s.metrics.registry.MustRegister(limited)
	for _, reason := range api.LimitReasons() {
		limited.WithLabelValues(reason)
	}
	s.limiter = api.NewLimiter(api.Limits{
		Reads: l.Reads, Writes: l.Writes, Urgent: l.Urgent, Instances: l.Instances, Anonymous: l.Anonymous, Streams: l.Streams, AtOnce: l.AtOnce,
	}, func(reason string) { limited.WithLabelValues(reason).Inc() })
}

// admitVisitor is how long a browser has to wait. Whoever is signed in answers a proposal, or reads.
func (s *Server) admitVisitor(r *http.Request, v *web.Visitor, answers bool) time.Duration {
	switch {
	case v == nil:
		return s.limiter.Admit(api.ClassAnonymous, api.Stranger(r))
	case answers:
		return s.limiter.Admit(api.ClassUrgent, v.Actor.Principal)
	}
	return s.limiter.Admit(api.ClassProposal, v.Actor.Principal)
}

// newHTTP serves a handler to clients that may be slow, and may mean to be.
func (s *Server) newHTTP(handler http.Handler) *http.Server {
	l := s.opts.Config.Limits
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Duration(l.HeaderTime), ReadTimeout: time.Duration(l.ReadTime), WriteTimeout: time.Duration(l.AnswerTime),
		IdleTimeout: time.Duration(l.IdleTime), MaxHeaderBytes: maxHeader,
	}
}

// maxHeader is the size of a request's header, in bytes; beyond it net/http answers 431.
const maxHeader = 64 << 10
