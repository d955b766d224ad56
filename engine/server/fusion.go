package server

import (
	"context"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// Fusion tells how the queries of a set of rules will be asked: which of them together, and why not the others.
func Fusion(set *rules.Set) []prom.FusionGroup { return prom.Fusion(set) }

// MissingSeries asks the Prometheus at url, by its name in the rules, which selectors of theirs never had a series.
func MissingSeries(ctx context.Context, name, url string, set *rules.Set) (rules.Diagnostics, error) {
	if err := webURL("--prometheus", url); err != nil {
		return nil, err
	}
	source, err := prom.Dial(name, config.DefaultHTTPClientConfig, url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return prom.Missing(ctx, source, set, time.Now())
}
