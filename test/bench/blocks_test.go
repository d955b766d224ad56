package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"golang.org/x/sync/errgroup"

	"github.com/modeshift/modeshift/test/promtest"
)

// metric is the one counter there is.
const metric = "http_requests_total"

// blockLength is that of the blocks a world is written in, which a server with ten days of data would have compacted to about
// this size.
const blockLength = 48 * time.Hour

// perChunk is how many samples a server puts into a chunk.
const perChunk = 120

func (x *series) labels() labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, metric, "job", x.job, "instance", x.instance, "code", x.code)
}

// sampler is what a series in a block is made of.
type sampler interface {
	at(w *world, k int64) (ms int64, v float64, ok bool)
	shift() time.Duration // of its samples from the steps
}

func (x *series) shift() time.Duration { return x.offset }

// recorded is what a server has kept of one of Sloth's rules for as long as there are samples: the error ratio of a service over
// five minutes. The rule for 30 days reads nothing else.
type recorded struct{ of *service }

func (recorded) shift() time.Duration { return 0 }

func (r recorded) labels() labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, "slo:sli_error:ratio_rate5m", "sloth_id", r.of.name+"-availability",
		"sloth_service", r.of.name, "sloth_slo", "availability", "sloth_window", "5m")
}

func (r recorded) at(w *world, k int64) (ms int64, v float64, ok bool) {
	const window = int64(5 * time.Minute / step)
	errors, total := 0.0, 0.0
	for _, x := range r.of.series {
		n := x.count(k) - x.count(max(0, k-window))
		total += n
		if x.code == "500" {
			errors += n
		}
	}
	return w.begin.UnixMilli() + k*step.Milliseconds(), errors / total, k > 0 && total > 0
}

// writeBlocks writes all samples up to the world's end into a data folder of Prometheus, blocks in parallel, and returns how
// many there are. To push ten days of samples of 1,000 services takes an hour; this takes a minute. With rules there is also what
// they have recorded meanwhile, at every step.
func (w *world) writeBlocks(dir string, rules bool) (samples int64, err error) {
	type sorted struct {
		sampler
		labels labels.Labels
	}
	var all []sorted
	for _, s := range w.services {
		for _, x := range s.series {
			all = append(all, sorted{x, x.labels()})
		}
		if rules {
			all = append(all, sorted{recorded{s}, recorded{s}.labels()})
		}
	}
	slices.SortFunc(all, func(a, b sorted) int { return labels.Compare(a.labels, b.labels) })
	symbols := map[string]bool{}
	for _, x := range all {
		x.labels.Range(func(l labels.Label) { symbols[l.Name], symbols[l.Value] = true, true })
	}
	names := make([]string, 0, len(symbols))
	for s := range symbols {
		names = append(names, s)
	}
	slices.Sort(names)

	var jobs errgroup.Group
	jobs.SetLimit(runtime.GOMAXPROCS(0))
	counts := make([]int64, 0, 16)
	for from := w.begin; from.Before(w.end); from = from.Add(blockLength) {
		counts = append(counts, 0)
	}
	for i := range counts {
		jobs.Go(func() error {
			from := w.begin.Add(time.Duration(i) * blockLength)
			to := from.Add(blockLength)
			if !to.Before(w.end) {
				to = w.end.Add(time.Millisecond) // the end itself belongs to the last block
			}
			b := block{dir: filepath.Join(dir, fmt.Sprintf("%026d", i+1)), from: from.UnixMilli(), to: to.UnixMilli()}
			if err := b.open(names); err != nil {
				return err
			}
			for n, x := range all {
				if err := b.add(storage.SeriesRef(n+1), x.labels, w, x.sampler); err != nil {
					return err
				}
			}
			counts[i] = b.samples
			return b.close()
		})
	}
	err = jobs.Wait()
	for _, n := range counts {
		samples += n
	}
	return samples, err
}

// block is one being written.
type block struct {
	dir      string
	from, to int64 // milliseconds; to is not in it
	chunks   *chunks.Writer
	index    *index.Writer

	series, count, samples int64
}

func (b *block) open(symbols []string) (err error) {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if b.chunks, err = chunks.NewWriter(filepath.Join(b.dir, "chunks")); err != nil {
		return err
	}
	if b.index, err = index.NewWriter(context.Background(), filepath.Join(b.dir, "index")); err != nil {
		return err
	}
	for _, s := range symbols {
		if err := b.index.AddSymbol(s); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) add(ref storage.SeriesRef, ls labels.Labels, w *world, x sampler) error {
	var metas []chunks.Meta
	var app chunkenc.Appender
	n := perChunk
	first := (b.from-w.begin.UnixMilli()-x.shift().Milliseconds())/step.Milliseconds() - 1
	for k := max(0, first); ; k++ {
		ms, v, ok := x.at(w, k)
		switch {
		case ok && ms >= b.to || k > w.step(0):
			if len(metas) == 0 {
				return nil
			}
			if err := b.chunks.WriteChunks(metas...); err != nil {
				return err
			}
			b.series++
			b.count += int64(len(metas))
			return b.index.AddSeries(ref, ls, metas...)
		case !ok || ms < b.from:
			continue
		case n == perChunk:
			c := chunkenc.NewXORChunk()
			var err error
			if app, err = c.Appender(); err != nil {
				return err
			}
			metas = append(metas, chunks.Meta{Chunk: c, MinTime: ms})
			n = 0
		}
		app.Append(0, ms, v)
		metas[len(metas)-1].MaxTime = ms
		n++
		b.samples++
	}
}

func (b *block) close() error {
	if err := b.chunks.Close(); err != nil {
		return err
	}
	if err := b.index.Close(); err != nil {
		return err
	}
	id := filepath.Base(b.dir)
	text, err := json.Marshal(map[string]any{
		"version": 1, "ulid": id, "minTime": b.from, "maxTime": b.to,
		"stats":      map[string]any{"numSamples": b.samples, "numSeries": b.series, "numChunks": b.count},
		"compaction": map[string]any{"level": 1, "sources": []string{id}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "meta.json"), text, 0o644)
}

// live pushes the samples that follow those in blocks, each when its time has come.
type live struct {
	w      *world
	server *promtest.Prometheus
	until  time.Time // everything up to here was pushed
}

// push pushes what is due by an instant, a few minutes at a time.
func (l *live) push(now time.Time) {
	for l.until.Before(now) {
		to := l.until.Add(5 * time.Minute)
		if to.After(now) {
			to = now
		}
		var batch []promtest.Series
		for _, s := range l.w.services {
			for _, x := range s.series {
				out := promtest.Series{}
				k := (l.until.UnixMilli() - l.w.begin.UnixMilli() - x.offset.Milliseconds()) / step.Milliseconds()
				for ; ; k++ {
					ms, v, ok := x.at(l.w, k)
					if ok && ms > to.UnixMilli() || k > l.w.step(to.Sub(l.w.end)) {
						break
					}
					if ok && ms > l.until.UnixMilli() {
						out.Samples = append(out.Samples, promtest.Sample{At: time.UnixMilli(ms), Value: v})
					}
				}
				if len(out.Samples) > 0 {
					out.Metric = x.labels().String()
					batch = append(batch, out)
				}
			}
		}
		if len(batch) > 0 {
			l.server.Push(batch...)
		}
		l.until = to
	}
}

// run pushes samples as time goes by until an instant.
func (l *live) run(until time.Time) {
	for now := time.Now(); now.Before(until); now = time.Now() {
		l.push(now)
		time.Sleep(time.Until(now.Truncate(time.Second).Add(time.Second))) // as scrapes arrive: at any time
	}
}
