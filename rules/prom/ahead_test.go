package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine/crash"
	data "github.com/modeshift/modeshift/rules/series" // the package has a type series
)

// counting counts requests, and can refuse ranges.
type counting struct {
	v1.API
	mu       sync.Mutex // guards the rest
	instants int
	ranges   []v1.Range
	refuse   error
}

func (c *counting) Query(ctx context.Context, q string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	c.mu.Lock()
	c.instants++
	c.mu.Unlock()
	return c.API.Query(ctx, q, at, opts...)
}

func (c *counting) QueryRange(ctx context.Context, q string, r v1.Range, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	c.mu.Lock()
	c.ranges = append(c.ranges, r)
	err := c.refuse
	c.mu.Unlock()
	if err != nil {
		return nil, nil, nil, err
	}
	return c.API.QueryRange(ctx, q, r, opts...)
}

// wild are series with gaps, resets, ends and NaN, of which some come and go.
func wild(t testing.TB, r *rand.Rand) *data.Store {
	t.Helper()
	var list []data.Series
	for i := range 6 {
		for _, name := range []string{"m_total", "n_total", "gauge"}[:1+r.IntN(3)] {
			s := data.Series{Labels: labels.FromStrings("__name__", name, "a", fmt.Sprint(i), "b", fmt.Sprint(i%2))}
			at, v := noon.Add(time.Duration(r.IntN(7200))*time.Second).UnixMilli(), 0.0
			for range r.IntN(600) {
				at += []int64{15_000, 15_000, 15_000, 15_000, 15_000, 15_000, 1, 900_000}[r.IntN(8)]
				v += float64(r.IntN(100))
				p := data.Sample{At: at, Value: v}
				switch r.IntN(40) {
				case 0:
					v = 0
				case 1:
					p.Value = math.NaN()
				case 2:
					p.Value = data.Stale
				}
				s.Samples = append(s.Samples, p)
			}
			list = append(list, s)
		}
	}
	store, err := data.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// repeated are queries of all shapes: those of SLOs and SLIs, what fails or warns at some instants only, and what a range query
// would answer differently.
var repeated = []string{
	`sum(rate(m_total{b="1"}[5m]))`, `sum(rate(m_total[1h]))`, `sum by (a) (increase(m_total[30m]))`, `sum(rate(n_total[5m])) / sum(rate(m_total[5m]))`,
	`gauge`, `max(timestamp(m_total))`, `scalar(sum(gauge))`, `time() - max(timestamp(gauge))`, `1`, `absent(gauge{a="0"})`, `count(gauge) or vector(0)`,
	`max_over_time(sum(rate(m_total[5m]))[1h:])`, `avg_over_time(gauge[10m:30s])`, `sum(m_total offset 10m)`, `sum(m_total @ 1772370000)`,
	`gauge * on(b) group_left gauge{a=~"0|1|4"}`, `m_total * on(b) n_total`, // many-to-many, while there are many
	`quantile(1.5, gauge)`, `quantile_over_time(2, gauge[5m])`, // warn while there is something
	`label_replace(gauge, "a", "", "", "")`, // fails while there are two
	`{__name__=~"m_total|n_total"} * 2`, `rate({__name__=~"m_total|n_total"}[5m])`,
	`sum(m_total @ end())`, `sum(m_total @ start())`, `topk(1, gauge)`, `sort(gauge)`, `sum(last_over_time(gauge[5m] @ end()))`, `max_over_time(gauge[10m:1m] @ start())`,
	`"text"`, `gauge[5m]`, `sum(`, `info(gauge)`,
}

// said is what an answer says, whatever its order.
func said(v model.Value, warnings v1.Warnings, err error) string {
	var lines []string
	switch v := v.(type) {
	case nil:
		lines = append(lines, "nothing")
	case model.Vector:
		lines = append(lines, "vector")
		for _, s := range v {
			lines = append(lines, fmt.Sprintf("%v %x %v %v", s.Metric, math.Float64bits(float64(s.Value)), int64(s.Timestamp), s.Histogram))
		}
		slices.Sort(lines)
	case *model.Scalar:
		lines = append(lines, fmt.Sprintf("scalar %x %v", math.Float64bits(float64(v.Value)), int64(v.Timestamp)))
	default:
		lines = append(lines, fmt.Sprintf("%T %v", v, v))
	}
	return fmt.Sprint(strings.Join(lines, "\n"), warnings, err)
}

func TestWhatIsAskedAheadIsAnsweredLikeTheInstant(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 5))
		api := wild(t, r).API()
		ahead := NewAhead(api, AheadOptions{Values: 20 + r.IntN(2000), Kept: 100 + r.IntN(20_000)})
		var queries []string
		for range 10 {
			queries = append(queries, repeated[r.IntN(len(repeated))])
		}
		at := noon
		for tick := range 200 {
			switch r.IntN(40) {
			case 0:
				at = at.Add(time.Duration(r.IntN(3600_000)) * time.Millisecond)
			case 1:
				at = at.Add(-time.Duration(r.IntN(1000)) * time.Second)
			case 2: // a tick is missed
				at = at.Add(30 * time.Second)
			default:
				at = at.Add(15 * time.Second)
			}
			for i, q := range queries {
				if i > 5 && tick%8 != i { // asked at a cadence of its own
					continue
				}
				if r.IntN(3) == 0 { // what is expected need not come true
					ahead.Expect(q, at.Add(time.Duration(r.IntN(3)-1)*15*time.Second), time.Duration(1+r.IntN(5))*15*time.Second)
				}
				v, w, _, err := ahead.Query(t.Context(), q, at)
				wantV, wantW, _, wantErr := api.Query(t.Context(), q, at)
				if got, want := said(v, w, err), said(wantV, wantW, wantErr); got != want {
					t.Fatalf("seed %d, %s at %v:\n%s\nwant\n%s", seed, q, at, got, want)
				}
			}
		}
	}
}

func TestTicksInARowCostFewRequests(t *testing.T) {
	t.Parallel()
	api := &counting{API: wild(t, rand.New(rand.NewPCG(1, 1))).API()}
	ahead := NewAhead(api, AheadOptions{Values: 1 << 30})
	const ticks = 3 * 24 * 240
	for i := range ticks {
		if _, _, _, err := ahead.Query(t.Context(), "sum(rate(m_total[5m]))", noon.Add(time.Duration(i)*15*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if api.instants != 1 || len(api.ranges) != 12 {
		t.Errorf("%d ticks cost %d instants and %d ranges, want 1 and 12", ticks, api.instants, len(api.ranges))
	}
	for _, r := range api.ranges {
		if n := int(r.End.Sub(r.Start)/r.Step) + 1; n > maxSteps {
			t.Errorf("a range of %d steps: a Prometheus refuses it", n)
		}
	}
}

// A window is asked for at each tick, and for the last multiple of a cadence: again and again until it is known there.
func TestRowsOfInstantsDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	api := &counting{API: wild(t, rand.New(rand.NewPCG(1, 1))).API()}
	ahead := NewAhead(api, AheadOptions{Values: 1 << 30})
	const q = "sum(rate(m_total[5m]))"
	for i := range 24 * 240 {
		at := noon.Add(time.Duration(i) * 15 * time.Second)
		ahead.Expect(q, at, 15*time.Second)
		_, _, _, _ = ahead.Query(t.Context(), q, at)
		at = at.Truncate(6 * time.Minute).Add(-5 * time.Second)
		ahead.Expect(q, at, 6*time.Minute)
		_, _, _, _ = ahead.Query(t.Context(), q, at)
	}
	if api.instants != 0 || len(api.ranges) != 10+5 {
		t.Errorf("%d instants and %d ranges, want 0 and 15", api.instants, len(api.ranges))
	}
}

func TestWhatIsAskedOnceCostsNoRange(t *testing.T) {
	t.Parallel()
	api := &counting{API: wild(t, rand.New(rand.NewPCG(1, 1))).API()}
	ahead := NewAhead(api, AheadOptions{})
	for i := range 4 {
		_, _, _, _ = ahead.Query(t.Context(), fmt.Sprintf("sum(rate(m_total[%dm]))", i+5), noon)
		_, _, _, _ = ahead.Query(t.Context(), fmt.Sprintf("sum(rate(m_total[%dm]))", i+5), noon) // at once again, by another
	}
	if api.instants != 8 || len(api.ranges) != 0 {
		t.Errorf("%d instants and %d ranges", api.instants, len(api.ranges))
	}
}

func TestNothingIsAskedBeyondUntil(t *testing.T) {
	t.Parallel()
	api := &counting{API: wild(t, rand.New(rand.NewPCG(1, 1))).API()}
	until := noon.Add(10 * time.Minute)
	ahead := NewAhead(api, AheadOptions{Until: until})
	for i := range 60 {
		_, _, _, _ = ahead.Query(t.Context(), "sum(rate(m_total[5m]))", noon.Add(time.Duration(i)*15*time.Second))
	}
	if len(api.ranges) == 0 || api.instants < 19 { // of the last five minutes each is asked for itself
		t.Errorf("%d instants and %d ranges", api.instants, len(api.ranges))
	}
	for _, r := range api.ranges {
		if r.End.After(until) {
			t.Errorf("asked for %v to %v", r.Start, r.End)
		}
	}
}

func TestAnAnswerHasAsManyValuesAsItMay(t *testing.T) {
	t.Parallel()
	var list []data.Series
	for i := range 100 {
		s := data.Series{Labels: labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))}
		for k := range 4000 {
			s.Samples = append(s.Samples, data.Sample{At: noon.Add(time.Duration(k) * 15 * time.Second).UnixMilli(), Value: 1})
		}
		list = append(list, s)
	}
	store, err := data.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	api := &counting{API: store.API()}
	ahead := NewAhead(api, AheadOptions{Values: 10_000})
	for i := range 3000 {
		_, _, _, _ = ahead.Query(t.Context(), "m", noon.Add(time.Duration(i)*15*time.Second))
	}
	most := 0
	for _, r := range api.ranges {
		most = max(most, int(r.End.Sub(r.Start)/r.Step)+1)
	}
	if most != 100 {
		t.Errorf("a range of a hundred series had %d steps, and 10,000 values are allowed", most)
	}
}

func TestRangesThatFailAreTriedLessAndLess(t *testing.T) {
	t.Parallel()
	api := &counting{API: wild(t, rand.New(rand.NewPCG(1, 1))).API(), refuse: errors.New("no ranges here")}
	ahead := NewAhead(api, AheadOptions{})
	for i := range 1000 {
		v, w, _, err := ahead.Query(t.Context(), "sum(rate(m_total[5m]))", noon.Add(time.Duration(i)*15*time.Second))
		wantV, wantW, _, wantErr := api.API.Query(t.Context(), "sum(rate(m_total[5m]))", noon.Add(time.Duration(i)*15*time.Second))
		if said(v, w, err) != said(wantV, wantW, wantErr) {
			t.Fatal(said(v, w, err))
		}
	}
	if api.instants != 1000 || len(api.ranges) > 25 {
		t.Errorf("%d instants and %d ranges", api.instants, len(api.ranges))
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	ahead := NewAhead(wild(t, rand.New(rand.NewPCG(1, 1))).API(), AheadOptions{Kept: 5000})
	for i := range 400 {
		for k := range 20 {
			_, _, _, _ = ahead.Query(t.Context(), fmt.Sprintf("sum(rate(m_total[%dm]))", k+5), noon.Add(time.Duration(i)*15*time.Second))
		}
		_, _, _, _ = ahead.Query(t.Context(), fmt.Sprintf("sum(rate(m_total[%dm]))", i+100), noon)
	}
	sum := 0
	for _, r := range ahead.runs {
		sum += r.values()
	}
	if sum != ahead.kept || sum > 5000 {
		t.Errorf("%d values are kept, %d are counted, 5000 are allowed", sum, ahead.kept)
	}
}

func TestManyMayAskAheadAtOnce(t *testing.T) {
	t.Parallel()
	api := wild(t, rand.New(rand.NewPCG(3, 1))).API()
	ahead := NewAhead(api, AheadOptions{Kept: 2000})
	var all sync.WaitGroup
	for k := range 6 {
		all.Go(func() {
			for i := range 150 {
				q, at := repeated[(i+k)%6], noon.Add(time.Duration(i)*15*time.Second)
				ahead.Expect(q, at, time.Duration(k)*15*time.Second)
				v, w, _, err := ahead.Query(t.Context(), q, at)
				wantV, wantW, _, wantErr := api.Query(t.Context(), q, at)
				if got, want := said(v, w, err), said(wantV, wantW, wantErr); got != want {
					t.Errorf("%s at %v:\n%s\nwant\n%s", q, at, got, want)
				}
			}
		})
	}
	all.Wait()
}

// frail is an API whose range queries panic.
type frail struct {
	counting
	ends []time.Time
}

func (f *frail) QueryRange(_ context.Context, _ string, r v1.Range, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	f.ends = append(f.ends, f.ends[len(f.ends)]) // which is not there
	return nil, nil, nil, nil
}

// Those that ask for the same text wait for one another, in a real test of rules for ten minutes a tick.
func TestAPanicKeepsNobodyElseWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := NewAhead(&frail{counting: counting{API: &archive{fails: func(int, time.Time, time.Time) error { return nil }}}}, AheadOptions{})
		began, panicked := time.Now(), 0
		for i := range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := crash.Try(func() error {
				_, _, _, err := ahead.Query(ctx, "up", noon.Add(time.Duration(i)*15*time.Second))
				return err
			})
			cancel()
			if crash.Of(err) != nil {
				panicked++
			} else if err != nil {
				t.Errorf("tick %d: %v", i, err)
			}
		}
		if waited := time.Since(began); panicked < 2 || waited > 0 {
			t.Errorf("of five ticks %d panicked, and they waited for %v", panicked, waited)
		}
	})
}
