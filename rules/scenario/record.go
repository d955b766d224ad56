package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

// maxSteps is how many steps one range query answers.
const maxSteps = 11_000

// Record adds to a world what Sloth's rules would have recorded of it, for the SLOs of a service that are read from there: the
// error ratio of each window of their tiers and of five minutes, each interval of every. The period's window is left out: it is
// for budgets, which no condition reads from series.
func (w *World) Record(ctx context.Context, service *rules.Service, every time.Duration) error {
	if every < time.Second {
		return fmt.Errorf("rules are evaluated each %s: the shortest interval that can be drawn is a second", every)
	}
	store, err := series.New(w.Series...)
	if err != nil {
		return err
	}
	api := store.API()
	for i := range service.SLOs {
		slo := &service.SLOs[i]
		if !slo.Recorded {
			continue
		}
		windows := []time.Duration{5 * time.Minute}
		for _, tier := range slo.Tiers {
			for _, pair := range tier.Windows {
				windows = append(windows, pair.Short, pair.Long)
			}
		}
		slices.Sort(windows)
		for _, window := range slices.Compact(windows) {
			if _, ok := service.RecordedQuery(slo, window); !ok {
				continue
			}
			samples, err := w.record(ctx, api, slo, window, every)
			if err != nil {
				return fmt.Errorf("record the error ratio of %s over %s: %w", slo.Name, model.Duration(window), err)
			}
			name, scope := model.Duration(window).String(), string(service.Policy.Scope)
			w.Series = append(w.Series, series.Series{Samples: samples, Labels: labels.FromStrings(
				model.MetricNameLabel, "slo:sli_error:ratio_rate"+name, "sloth_id", scope+"-"+slo.Name,
				"sloth_service", scope, "sloth_slo", slo.Name, "sloth_window", name)})
		}
	}
	return nil
}

// record is the error ratio over a window at each multiple of every. Where there is none after there was one, a stale marker
// stands, as Prometheus writes it for what a rule gives no more.
func (w *World) record(ctx context.Context, api *series.API, slo *rules.SLO, window, every time.Duration) ([]series.Sample, error) {
	text, total := slo.Queries(window)
	if total != "" {
		text = "(" + text + ") / (" + total + ")"
	}
	var out []series.Sample
	ended := true
	for from := w.From.Truncate(every).Add(every); from.Before(w.To); from = from.Add(maxSteps * every) {
		to := from.Add((maxSteps - 1) * every)
		if to.After(w.To) {
			to = w.To
		}
		v, _, _, err := api.QueryRange(ctx, text, v1.Range{Start: from, End: to, Step: every})
		if err != nil {
			return nil, err
		}
		m, ok := v.(model.Matrix)
		if !ok || len(m) > 1 {
			return nil, fmt.Errorf("%d series where one was expected", len(m))
		}
		var values []model.SamplePair
		if len(m) == 1 {
			values = m[0].Values
		}
		for at := from; !at.After(to); at = at.Add(every) {
			ms := at.UnixMilli()
			switch {
			case len(values) > 0 && int64(values[0].Timestamp) == ms:
				out, values, ended = append(out, series.Sample{At: ms, Value: float64(values[0].Value)}), values[1:], false
			case !ended:
				out, ended = append(out, series.Sample{At: ms, Value: series.Stale}), true
			}
		}
	}
	return out, nil
}
