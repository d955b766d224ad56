package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/engine"
)

// What modes pause and keep quiet, as metrics: whoever is not told may still want to see it on a dashboard.
var (
	descPaused     = prometheus.NewDesc("modeshift_slo_paused", "1 while a mode pauses the SLO: its tiers are quiet and its budget leaves the time out.", []string{"scope", "slo"}, nil)
	descSuppressed = prometheus.NewDesc("modeshift_incidents_suppressed", "Incidents nobody was told of, because the mode in force keeps them quiet until it ends.", []string{"scope", "severity"}, nil)
)

func collectQuiet(ch chan<- prometheus.Metric, v engine.View) {
	scope := string(v.State.Scope)
	quiet := map[engine.Severity]float64{engine.SeverityPage: 0, engine.SeverityTicket: 0}
	for _, q := range v.State.Suppressed {
		quiet[q.Severity]++
	}
	for severity, n := range quiet {
		ch <- prometheus.MustNewConstMetric(descSuppressed, prometheus.GaugeValue, n, scope, string(severity))
	}
	if v.Policy == nil {
		return
	}
	seen := map[string]bool{} // an SLO has several tiers
	for i := range v.Policy.Alerts {
		slo := v.Policy.Alerts[i].SLO
		if seen[slo] {
			continue
		}
		seen[slo] = true
		paused := 0.0
		if _, is := v.State.Paused(slo); is {
			paused = 1
		}
		ch <- prometheus.MustNewConstMetric(descPaused, prometheus.GaugeValue, paused, scope, slo)
	}
}
