package convert

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine/crash"
)

// frail is a client that panics on queries of a job, and calls told with each.
type frail struct {
	v1.API
	job  string
	told func()
}

func (f frail) meets(query string) {
	if f.told != nil {
		f.told()
	}
	if f.job != "" && strings.Contains(query, f.job) {
		var none []string
		_ = none[len(query)] // out of range
	}
}

func (f frail) Query(ctx context.Context, query string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	f.meets(query)
	return f.API.Query(ctx, query, at, opts...)
}

func (f frail) QueryRange(ctx context.Context, query string, r v1.Range, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	f.meets(query)
	return f.API.QueryRange(ctx, query, r, opts...)
}

// The queries of a service are sent by several goroutines at once.
func TestAPanicAboutOneServiceLeavesTheOthersToBeCompared(t *testing.T) {
	result := imported(t, Sloth, slothFile)
	other := imported(t, Sloth, strings.NewReplacer(`job="a"`, `job="b"`, "service: a", "service: b").Replace(slothFile))
	result.Services = append(other.Services, result.Services...)
	out, err := Verify(t.Context(), frail{API: traffic(t, steady), job: `job="b"`}, result, VerifyOptions{From: noon, To: noon.Add(time.Hour)})
	if len(out) != 1 || out[0].Service != "a" || !out[0].Same() {
		t.Errorf("of the other service: %+v", out)
	}
	if crash.Of(err) == nil || !strings.HasPrefix(err.Error(), "service b: modeshift failed, which is a fault of its own") {
		t.Errorf("of the one that panics: %v", err)
	}
}

func TestAComparisonThatIsStoppedSaysWhy(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var queries atomic.Int64
	api := frail{API: traffic(t, steady), told: func() {
		if queries.Add(1) == 20 {
			cancel(enough)
		}
	}}
	if out, err := Verify(ctx, api, imported(t, Sloth, slothFile), VerifyOptions{From: noon, To: noon.Add(time.Hour)}); !errors.Is(err, enough) || out != nil {
		t.Errorf("%v, and %d SLOs", err, len(out))
	}
}
