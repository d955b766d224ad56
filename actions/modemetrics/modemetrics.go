// Package modemetrics shows the mode of an instance, and how its agent fares, to Prometheus.
package modemetrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

// Source is what is shown. An agent.Agent is one.
type Source interface {
	Current() *agent.State
	Status() agent.Status
	Modes() []engine.Mode
}

var (
	mode = prometheus.NewDesc("modeshift_instance_mode",
		"1 for the mode in force at this instance, 0 for the others that it knows.", []string{"scope", "mode"}, nil)
	revision = prometheus.NewDesc("modeshift_instance_revision",
		"Revision of the directive that the mode in force comes from.", []string{"scope"}, nil)
	connected = prometheus.NewDesc("modeshift_instance_connected",
		"1 while the instance hears from a server that leads, by stream or by polling.", []string{"scope", "via"}, nil)
	heard = prometheus.NewDesc("modeshift_instance_heard_timestamp_seconds",
		"When the instance last heard from a server that leads; absent before the first time.", []string{"scope"}, nil)
	lost = prometheus.NewDesc("modeshift_instance_lease_over",
		"1 while the server has not been heard for longer than the lease of the directive.", []string{"scope"}, nil)
	diverged = prometheus.NewDesc("modeshift_instance_failing",
		"1 while the newest directive could not be applied.", []string{"scope"}, nil)
	disk = prometheus.NewDesc("modeshift_instance_disk_failing",
		"1 while the newest directive could not be kept on disk.", []string{"scope"}, nil)
	failed = prometheus.NewDesc("modeshift_instance_failed_total",
		"Attempts to apply a directive that failed.", []string{"scope"}, nil)
	refused = prometheus.NewDesc("modeshift_instance_refused_total",
		"What was not accepted: older directives, servers of a lower term, other scopes' directives, conflicting ones, garbage.", []string{"scope", "reason"}, nil)
	connects = prometheus.NewDesc("modeshift_instance_connects_total",
		"Connections that began with a welcome.", []string{"scope"}, nil)
)

// Collector collects from one agent. Register one for each scope.
type Collector struct{ source Source }

// New returns a collector.
func New(source Source) *Collector { return &Collector{source} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{mode, revision, connected, heard, lost, diverged, disk, failed, refused, connects} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	now, status := c.source.Current(), c.source.Status()
	scope := string(now.Scope)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{scope}, labels...)...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{scope}, labels...)...)
	}
	modes := slices.Clone(c.source.Modes())
	if now.Mode != "" {
		modes = append(modes, now.Mode) // which a program that knows any mode has not listed
	}
	slices.Sort(modes)
	for _, m := range slices.Compact(modes) {
		gauge(mode, truth(m == now.Mode), string(m))
	}
	if now.Position.Revision > 0 {
		gauge(revision, float64(now.Position.Revision))
	}
	for _, via := range []agent.Via{agent.ViaStream, agent.ViaPoll} {
		gauge(connected, truth(status.Via == via), string(via))
	}
	if !status.Heard.IsZero() {
		gauge(heard, float64(status.Heard.UnixMilli())/1000)
	}
	gauge(lost, truth(status.Lost))
	gauge(diverged, truth(status.Outcome == engine.OutcomeFailed))
	gauge(disk, truth(status.DiskError != ""))
	count(failed, status.Failed)
	r := status.Refused
	count(refused, r.Older, "older")
	count(refused, r.Term, "term")
	count(refused, r.Scope, "scope")
	count(refused, r.Conflict, "conflict")
	count(refused, r.Garbage, "garbage")
	count(connects, status.Connects)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
