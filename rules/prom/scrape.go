package prom

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/rules"
)

// scraping is what of a Prometheus's configuration says how far apart samples are.
type scraping struct {
	Global struct {
		Scrape   model.Duration `yaml:"scrape_interval"`
		Evaluate model.Duration `yaml:"evaluation_interval"`
	} `yaml:"global"`
	Jobs []struct {
		Name   string         `yaml:"job_name"`
		Scrape model.Duration `yaml:"scrape_interval"`
	} `yaml:"scrape_configs"`
}

// Scrapes asks a source how often it scrapes: of a selector the longest interval of the jobs it may select, of what a rule records the
// interval of evaluation. Where the source does not tell (it is no Prometheus, or keeps its configuration to itself) nothing is known
// of any selector.
func Scrapes(ctx context.Context, source Source) rules.Scrape {
	var c scraping
	unknown := func(string, []*labels.Matcher) time.Duration { return 0 }
	answer, err := source.Replicas[0].Config(ctx)
	if err != nil || yaml.Unmarshal([]byte(answer.YAML), &c) != nil {
		return unknown
	}
	return func(name string, matchers []*labels.Matcher) time.Duration {
		if name != "" && name != source.Name {
			return 0
		}
		return time.Duration(c.of(matchers))
	}
}

func (c *scraping) of(matchers []*labels.Matcher) model.Duration {
	longest := model.Duration(0)
	for _, m := range matchers {
		switch {
		case m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && strings.Contains(m.Value, ":"):
			return c.Global.Evaluate // what a rule records has a colon in its name
		case m.Name != model.JobLabel:
			continue
		}
		for _, j := range c.Jobs {
			if m.Matches(j.Name) {
				longest = max(longest, max(j.Scrape, 0))
			}
		}
	}
	if longest == 0 {
		return c.Global.Scrape
	}
	return longest
}
