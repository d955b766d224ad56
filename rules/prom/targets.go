package prom

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Targets finds the targets of a step: the values that the selector's label has in the answer of its query at an instant, in the
// order of the answer. It is as strict as a condition: no answer, a partial one, a series without the label are errors. An empty
// answer is none, if the source shows anything at all: one that lost its data, or has just begun to gather some, would otherwise
// say that there is nothing to be done. Of several replicas the first that can tell counts.
func Targets(ctx context.Context, source Source, s rules.Selector, at time.Time, timeout time.Duration) ([]string, error) {
	var faults []error
	for _, api := range source.Replicas {
		names, err := targetsOf(ctx, Source{source.Name, []v1.API{api}}, s, at, timeout)
		if err == nil {
			return names, nil
		}
		faults = append(faults, err)
	}
	return nil, errors.Join(faults...)
}

func targetsOf(ctx context.Context, source Source, s rules.Selector, at time.Time, timeout time.Duration) ([]string, error) {
	ask := func(text string) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		a := send(ctx, source.Replicas[0], text, at, timeout)
		if a.why != "" {
			return a, fmt.Errorf("prometheus %s: %s: %s", source.Name, a.why, a.detail)
		}
		return a, nil
	}
	found, err := ask(s.Query)
	if err != nil {
		return nil, err
	}
	series, ok := found.value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("prometheus %s: it answers with no series", source.Name)
	}
	if len(series) == 0 {
		life, err := ask(alive)
		if err != nil {
			return nil, err
		}
		if _, why, _ := life.number(); why == engine.WhyAbsent {
			return nil, fmt.Errorf("prometheus %s shows neither targets nor alerts: that it finds none means nothing", source.Name)
		} else if why != "" {
			return nil, fmt.Errorf("prometheus %s: whether it shows anything at all is unknown: %s", source.Name, why)
		}
		return nil, nil
	}
	names := make([]string, len(series))
	for i, sample := range series {
		name, labelled := sample.Metric[model.LabelName(s.Label)]
		if !labelled || name == "" {
			return nil, fmt.Errorf("prometheus %s: a series has no label %s: %s", source.Name, s.Label, clipTo(sample.Metric.String(), 200))
		}
		names[i] = string(name)
	}
	return names, nil
}
