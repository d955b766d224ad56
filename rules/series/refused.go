package series

import (
	"context"
	"errors"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// ErrNotKept is the error for what series alone do not tell.
var ErrNotKept = errors.New("series in memory tell their samples, and nothing of targets, rules and the state of a server")

// notKept refuses what a server knows of itself.
type notKept struct{}

func (notKept) Alerts(context.Context) (v1.AlertsResult, error) { return v1.AlertsResult{}, ErrNotKept }

func (notKept) AlertManagers(context.Context) (v1.AlertManagersResult, error) {
	return v1.AlertManagersResult{}, ErrNotKept
}

func (notKept) CleanTombstones(context.Context) error { return ErrNotKept }

func (notKept) Config(context.Context) (v1.ConfigResult, error) { return v1.ConfigResult{}, ErrNotKept }

func (notKept) DeleteSeries(context.Context, []string, time.Time, time.Time) error { return ErrNotKept }

func (notKept) Flags(context.Context) (v1.FlagsResult, error) { return nil, ErrNotKept }

func (notKept) QueryExemplars(context.Context, string, time.Time, time.Time) ([]v1.ExemplarQueryResult, error) {
	return nil, ErrNotKept
}

func (notKept) Buildinfo(context.Context) (v1.BuildinfoResult, error) {
	return v1.BuildinfoResult{}, ErrNotKept
}

func (notKept) Runtimeinfo(context.Context) (v1.RuntimeinfoResult, error) {
	return v1.RuntimeinfoResult{}, ErrNotKept
}

func (notKept) Snapshot(context.Context, bool) (v1.SnapshotResult, error) {
	return v1.SnapshotResult{}, ErrNotKept
}

func (notKept) Rules(context.Context, []string) (v1.RulesResult, error) {
	return v1.RulesResult{}, ErrNotKept
}

func (notKept) Targets(context.Context) (v1.TargetsResult, error) {
	return v1.TargetsResult{}, ErrNotKept
}

func (notKept) TargetsMetadata(context.Context, string, string, string) ([]v1.MetricMetadata, error) {
	return nil, ErrNotKept
}

func (notKept) Metadata(context.Context, string, string) (map[string][]v1.Metadata, error) {
	return nil, ErrNotKept
}

func (notKept) TSDB(context.Context, ...v1.Option) (v1.TSDBResult, error) {
	return v1.TSDBResult{}, ErrNotKept
}

func (notKept) TSDBBlocks(context.Context) (v1.TSDBBlocksResult, error) {
	return v1.TSDBBlocksResult{}, ErrNotKept
}

func (notKept) WalReplay(context.Context) (v1.WalReplayStatus, error) {
	return v1.WalReplayStatus{}, ErrNotKept
}

func (notKept) FormatQuery(context.Context, string) (string, error) { return "", ErrNotKept }
