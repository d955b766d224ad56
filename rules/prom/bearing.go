package prom

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// bearing finds the scopes of which some instance tells its mode in its metrics, as packages modemetrics and agent do.
const bearing = "group by (scope) (modeshift_instance_mode)"

// Bearing asks a source of which scopes the telemetry bears the mode: whoever looks at a graph of theirs can tell which mode they
// were in. The error says why the source could not be asked.
func Bearing(ctx context.Context, source Source, now time.Time) ([]engine.Scope, error) {
	value, warnings, _, err := source.Replicas[0].Query(ctx, bearing, now)
	if err != nil {
		why, detail, _ := explain(err)
		return nil, fmt.Errorf("%s: %s", why, clip(detail))
	}
	vector, ok := value.(model.Vector)
	if !ok || len(warnings) > 0 {
		return nil, fmt.Errorf("the answer is not whole: %v", warnings)
	}
	var scopes []engine.Scope
	for _, s := range vector {
		if name := s.Metric["scope"]; name != "" {
			scopes = append(scopes, engine.Scope(name))
		}
	}
	return scopes, nil
}
