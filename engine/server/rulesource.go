package server

import (
	"context"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// RuleSource is a Prometheus that the rule files of a folder are held against.
type RuleSource struct{ source prom.Source }

// sourceTimeout is how long a Prometheus may take to be asked about a set of rules.
const sourceTimeout = time.Minute

// DialRuleSource makes one of the Prometheus at url; name is what rule files call it, empty for the first there is.
func DialRuleSource(name, url string) (*RuleSource, error) {
	if err := webURL("--prometheus", url); err != nil {
		return nil, err
	}
	source, err := prom.Dial(name, config.DefaultHTTPClientConfig, url)
	return &RuleSource{source}, err
}

// MissingSeries asks which selectors of rules never had a series.
func (s *RuleSource) MissingSeries(ctx context.Context, set *rules.Set) (rules.Diagnostics, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	return prom.Missing(ctx, s.source, set, time.Now())
}

// Scrapes asks how far apart samples are.
func (s *RuleSource) Scrapes(ctx context.Context) rules.Scrape {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	return prom.Scrapes(ctx, s.source)
}

// QueryCost is what one query of a service costs its source.
type QueryCost = prom.QueryCost

// Costs asks each query of rules once, and tells what it costs.
func (s *RuleSource) Costs(ctx context.Context, set *rules.Set) ([]QueryCost, error) {
	return prom.Costs(ctx, s.source, set, time.Now())
}
