package server

import (
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules/prom"
)

// coverEvery is how often the sources are asked of which services the telemetry bears the mode.
const coverEvery = time.Minute

// cover keeps the share of services whose telemetry bears the mode, until ctx ends.
func (s *Server) cover(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(s.opts.Config.Evaluation.Interval)) // after the first tick, which matters more
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(coverEvery)
			s.metrics.covered(s.bearing(ctx))
		case <-ctx.Done():
			return nil
		}
	}
}

// bearing finds the scopes whose telemetry bears the mode; false when a source could not be asked, because then nobody knows.
func (s *Server) bearing(ctx context.Context) (map[engine.Scope]bool, bool) {
	ctx, cancel := context.WithTimeout(ctx, prom.DefaultQueryTimeout)
	defer cancel()
	found := map[engine.Scope]bool{}
	for _, source := range s.sources {
		scopes, err := prom.Bearing(ctx, source, time.Now().Add(-s.queryOffset()))
		if err != nil {
			s.log.Debug("of which services the telemetry bears the mode is not known", "source", source.Name, "error", err)
			return nil, false
		}
		for _, scope := range scopes {
			found[scope] = true
		}
	}
	return found, true
}
