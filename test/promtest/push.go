package promtest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/compression"
)

// Sample is one value at one instant; Prometheus keeps milliseconds.
type Sample struct {
	At    time.Time
	Value float64
}

// Series is a metric as PromQL writes it, `http_requests_total{job="shop"}`, with its samples.
type Series struct {
	Metric  string
	Samples []Sample
}

// Stale is the value of a staleness marker: what a scrape leaves behind when a series has vanished.
var Stale = math.Float64frombits(value.StaleNaN)

// Counter makes a series that is start at from and rises by perStep with each step until to, both included.
func Counter(metric string, from, to time.Time, step time.Duration, start, perStep float64) Series {
	s := Series{Metric: metric}
	for at, v := from, start; !at.After(to); at, v = at.Add(step), v+perStep {
		s.Samples = append(s.Samples, Sample{At: at, Value: v})
	}
	return s
}

// Push writes samples by the remote-write protocol, version 1. They can be queried when it returns.
func (p *Prometheus) Push(series ...Series) {
	p.t.Helper()
	if err := p.push(series); err != nil {
		p.t.Fatalf("push samples: %v", err)
	}
}

func (p *Prometheus) push(series []Series) error {
	var req prompb.WriteRequest
	for _, s := range series {
		metric, err := parser.NewParser(parser.Options{}).ParseMetric(s.Metric)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Metric, err)
		}
		ts := prompb.TimeSeries{}
		metric.Range(func(l labels.Label) {
			ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value})
		})
		for _, x := range s.Samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: x.At.UnixMilli(), Value: x.Value})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	raw, err := req.Marshal()
	if err != nil {
		return err
	}
	body, err := compression.Encode(compression.Snappy, raw, compression.NewSyncEncodeBuffer())
	if err != nil {
		return err
	}
	post, err := http.NewRequest(http.MethodPost, p.URL+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("Content-Encoding", "snappy")
	post.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := http.DefaultClient.Do(post)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(said))
	}
	return err
}
