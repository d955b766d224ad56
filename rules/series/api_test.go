package series

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
)

var _ v1.API = (*API)(nil)

// at is so many seconds after 1970.
func at(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }

// steady is a series with a sample every 15 s, each of which is value(i).
func steady(n int, value func(i int) float64, names ...string) Series {
	s := Series{Labels: labels.FromStrings(names...)}
	for i := range n {
		s.Samples = append(s.Samples, Sample{At: int64(i) * 15_000, Value: value(i)})
	}
	return s
}

func store(t testing.TB, list ...Series) *Store {
	t.Helper()
	s, err := New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAQueryIsAnsweredAsAServerWould(t *testing.T) {
	ten := func(i int) float64 { return float64(150 * i) }
	api := store(t,
		steady(41, ten, "__name__", "requests_total", "job", "shop", "code", "200"),
		steady(21, ten, "__name__", "requests_total", "job", "shop", "code", "500"),
		Series{Labels: labels.FromStrings("__name__", "gone"), Samples: []Sample{{At: 0, Value: 1}, {At: 60_000, Value: Stale}}},
		Series{Labels: labels.FromStrings("__name__", "odd"), Samples: []Sample{{At: 0, Value: math.NaN()}}},
	).API()
	for _, c := range []struct {
		query string
		at    float64
		want  string
	}{
		{"round(sum(rate(requests_total[5m])))", 300, "20@300"},
		{"round(sum(rate(requests_total[5m])))", 600, "10@600"},
		{`requests_total{code=~"5.."}`, 300, `{__name__="requests_total",code="500",job="shop"}3000@300`},
		{`requests_total{code!="200",job="shop"}`, 300.5, `{__name__="requests_total",code="500",job="shop"}3000@300.5`},
		{`requests_total{code="500"}`, 599.999, `{__name__="requests_total",code="500",job="shop"}3000@599.999`},
		{`requests_total{code="500"}`, 600, ``}, // the lookback of five minutes is over
		{`sum(timestamp(requests_total{code="500"}))`, 500, `300@500`},
		{`gone`, 59.999, `{__name__="gone"}1@59.999`},
		{`gone`, 60, ``},
		{`odd`, 1, `{__name__="odd"}NaN@1`},
		{`absent(other{job="a"})`, 1, `{job="a"}1@1`},
		{`1 + 1`, 7, `scalar 2@7`},
		{`round(max_over_time(sum(rate(requests_total[1m]))[6m:]))`, 600, "20@600"},
	} {
		v, warnings, _, err := api.Query(t.Context(), c.query, at(c.at))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s at %v: %v, %v", c.query, c.at, err, warnings)
			continue
		}
		if got := shown(v); got != c.want {
			t.Errorf("%s at %v gives %s, want %s", c.query, c.at, got, c.want)
		}
	}
}

// shown is an answer in one line.
func shown(v model.Value) string {
	var out []string
	switch v := v.(type) {
	case *model.Scalar:
		return fmt.Sprintf("scalar %v@%v", v.Value, v.Timestamp)
	case model.Vector:
		for _, s := range v {
			m := s.Metric.String()
			if m == "{}" {
				m = ""
			}
			name, pairs := s.Metric["__name__"], s.Metric.Clone()
			if name != "" {
				var list []string
				for k, v := range pairs {
					list = append(list, fmt.Sprintf("%s=%q", k, string(v)))
				}
				slices.Sort(list)
				m = "{" + strings.Join(list, ",") + "}"
			}
			out = append(out, fmt.Sprintf("%s%v@%v", m, s.Value, s.Timestamp))
		}
		slices.Sort(out)
	default:
		return fmt.Sprint(v)
	}
	return strings.Join(out, " ")
}

func TestErrorsAreThoseOfTheQueryAPI(t *testing.T) {
	api := store(t, steady(2, func(int) float64 { return 1 }, "__name__", "up", "job", "a"), steady(2, func(int) float64 { return 1 }, "__name__", "up", "job", "b")).API()
	kind := func(err error) v1.ErrorType {
		if e := (*v1.Error)(nil); errors.As(err, &e) {
			return e.Type
		}
		return ""
	}
	_, _, _, err := api.Query(t.Context(), "sum(", at(1))
	if kind(err) != v1.ErrBadData {
		t.Errorf("what is no PromQL: %v", err)
	}
	_, _, _, err = api.Query(t.Context(), "up * on() up", at(1))
	if kind(err) != v1.ErrExec || !strings.Contains(err.Error(), "many-to-many") {
		t.Errorf("what the data forbids: %v", err)
	}
	for _, r := range []v1.Range{{Start: at(0), End: at(11_001), Step: time.Second}, {Start: at(1), End: at(0), Step: time.Second}, {Start: at(0), End: at(1)}} {
		if _, _, _, err = api.QueryRange(t.Context(), "up", r); kind(err) != v1.ErrBadData {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, _, _, err = api.QueryRange(t.Context(), "up", v1.Range{Start: at(0), End: at(11_000), Step: time.Second}); err != nil {
		t.Errorf("as many steps as a server allows: %v", err)
	}
	if _, err := api.Rules(t.Context(), nil); !errors.Is(err, ErrNotKept) {
		t.Errorf("the rules of no server: %v", err)
	}
}

func TestTheExistenceOfSeriesCanBeAskedFor(t *testing.T) {
	one := func(int) float64 { return 1 }
	api := store(t, steady(3, one, "__name__", "up", "job", "a"), steady(3, one, "__name__", "up", "job", "b"), steady(3, one, "__name__", "x", "env", "prod")).API()
	found, _, _, err := api.Series(t.Context(), []string{`up{job="b"}`, `{job=~".+"}`}, at(0), at(60))
	if err != nil || len(found) != 2 {
		t.Errorf("%v, %v", found, err)
	}
	if found, _, _, _ = api.Series(t.Context(), []string{`up`}, at(31), at(60)); len(found) != 0 {
		t.Errorf("after their last sample: %v", found)
	}
	names, _, _, err := api.LabelNames(t.Context(), nil, time.Time{}, time.Time{})
	if err != nil || fmt.Sprint(names) != "__name__, env, job" {
		t.Errorf("%v, %v", names, err)
	}
	values, _, _, err := api.LabelValues(t.Context(), "job", []string{"up"}, at(0), at(60))
	if err != nil || fmt.Sprint(values) != "[a b]" {
		t.Errorf("%v, %v", values, err)
	}
}

func TestWhatIsNoSeriesIsRefused(t *testing.T) {
	ls := labels.FromStrings("__name__", "a")
	if _, err := New(Series{Labels: ls}, Series{Labels: ls}); err == nil || err.Error() != `the series {__name__="a"} is there twice` {
		t.Error(err)
	}
	if _, err := New(Series{Labels: ls, Samples: []Sample{{At: 1}, {At: 1}}}); err == nil || err.Error() != `sample 1 of the series {__name__="a"} is not later than the one before it` {
		t.Error(err)
	}
}

// random is a series of a counter or a gauge with gaps, resets, NaNs and ends.
func random(r *rand.Rand, names ...string) Series {
	s := Series{Labels: labels.FromStrings(names...)}
	t, v := int64(r.IntN(120_000)), 0.0
	for range 20 + r.IntN(200) {
		t += []int64{15_000, 15_000, 15_000, 14_000, 1, 200_000}[r.IntN(6)]
		switch r.IntN(20) {
		case 0:
			v = 0
		case 1:
			s.Samples = append(s.Samples, Sample{At: t, Value: Stale})
			continue
		case 2:
			s.Samples = append(s.Samples, Sample{At: t, Value: math.NaN()})
			continue
		case 3:
			s.Samples = append(s.Samples, Sample{At: t, Value: math.Inf(1)})
			continue
		default:
			v += float64(r.IntN(100)) / 8
		}
		s.Samples = append(s.Samples, Sample{At: t, Value: v})
	}
	return s
}

var queries = []string{
	`sum(rate(m[5m]))`, `sum by (a) (increase(m{a!="1"}[10m]))`, `m`, `m{a=~"1|2"}`, `max_over_time(m[3m])`, `count_over_time(m[20m]) > 10`,
	`sum(rate(m{a="0"}[1h])) / sum(rate(m[1h]))`, `m offset 5m`, `max(timestamp(m))`, `avg_over_time(sum(m)[10m:30s])`, `absent(m{a="9"})`,
	`count(m == m)`, `delta(m[5m])`, `changes(m[30m])`, `quantile_over_time(0.5, m[5m])`, `sum(m @ 600)`, `scalar(count(m))`, `{__name__="m",a!=""}`, `{a="1"}`,
	`topk(2, m)`, `label_replace(m, "b", "$1", "a", "(.*)")`, `m and on(a) n`, `n or m`, `m unless n`, `time() - max(timestamp(n))`,
}

// Prometheus's own storage is the oracle: whatever was appended to it, the answers to the same queries are the same.
func TestTheAnswersAreThoseOfPrometheussOwnStorage(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		var list []Series
		for i := range 1 + r.IntN(6) {
			list = append(list, random(r, "__name__", "m", "a", fmt.Sprint(i)), random(r, "__name__", "n", "a", fmt.Sprint(i%3), "c", fmt.Sprint(i)))
		}
		db := promqltest.LoadedStorage(t, "")
		for _, s := range list {
			app := db.Appender(t.Context())
			for _, p := range s.Samples {
				if _, err := app.Append(0, s.Labels, p.At, p.Value); err != nil {
					t.Fatal(err)
				}
			}
			if err := app.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		mine, theirs := store(t, list...).API(), &API{store: db}
		for range 60 {
			query, when := queries[r.IntN(len(queries))], at(float64(r.IntN(3_000_000))/1000)
			same(t, query, func(a *API) (model.Value, v1.Warnings, v1.Infos, error) { return a.Query(t.Context(), query, when) }, mine, theirs)
			span := v1.Range{Start: when, End: when.Add(time.Duration(r.IntN(2000)) * time.Second), Step: time.Duration(1+r.IntN(100_000)) * time.Millisecond * 10}
			same(t, query, func(a *API) (model.Value, v1.Warnings, v1.Infos, error) {
				return a.QueryRange(t.Context(), query, span)
			}, mine, theirs)
		}
		_ = db.Close()
	}
}

func same(t *testing.T, query string, ask func(*API) (model.Value, v1.Warnings, v1.Infos, error), mine, theirs *API) {
	t.Helper()
	a, warningsA, infosA, errA := ask(mine)
	b, warningsB, infosB, errB := ask(theirs)
	if fmt.Sprint(errA) != fmt.Sprint(errB) || fmt.Sprint(warningsA, infosA) != fmt.Sprint(warningsB, infosB) || sorted(a) != sorted(b) {
		t.Errorf("%s:\n%v %v %v %v\nwant\n%v %v %v %v", query, sorted(a), warningsA, infosA, errA, sorted(b), warningsB, infosB, errB)
	}
}

// sorted is an answer whose series are in order.
func sorted(v model.Value) string {
	var lines []string
	switch v := v.(type) {
	case nil:
	case model.Vector:
		for _, s := range v {
			lines = append(lines, s.String())
		}
	case model.Matrix:
		for _, s := range v {
			lines = append(lines, s.String())
		}
	default:
		lines = append(lines, v.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestNativeHistogramsAreAsked(t *testing.T) {
	h := func(n float64) *histogram.FloatHistogram {
		return &histogram.FloatHistogram{Schema: 0, Count: n, Sum: n, PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []float64{n}}
	}
	s := Series{Labels: labels.FromStrings("__name__", "latency")}
	for i := range 41 {
		s.Samples = append(s.Samples, Sample{At: int64(i) * 15_000, Histogram: h(float64(150 * i))})
	}
	api := store(t, s).API()
	for range 2 { // the first answer leaves the samples as they are
		v, _, _, err := api.Query(t.Context(), "round(histogram_count(sum(rate(latency[5m]))))", at(600))
		if err != nil || shown(v) != "10@600" {
			t.Errorf("%v, %v", v, err)
		}
	}
	v, _, _, err := api.Query(t.Context(), "latency", at(15))
	want := &model.SampleHistogram{Count: 150, Sum: 150, Buckets: model.HistogramBuckets{{Boundaries: 0, Lower: 0.5, Upper: 1, Count: 150}}}
	if got := v.(model.Vector)[0].Histogram; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestThreeDaysOfFifteenSecondsAreNotTooMany(t *testing.T) {
	var list []Series
	for i := range 10 {
		list = append(list, steady(17_281, func(i int) float64 { return float64(i) }, "__name__", "m", "i", fmt.Sprint(i)))
	}
	v, _, _, err := store(t, list...).API().Query(t.Context(), "sum(count_over_time(m[3d]))", at(3*24*3600))
	if err != nil || shown(v) != "172800@259200" {
		t.Errorf("%v, %v", v, err)
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	api := store(t, steady(1000, func(i int) float64 { return float64(i) }, "__name__", "m", "i", "1"), steady(1000, func(i int) float64 { return float64(i) }, "__name__", "m", "i", "2")).API()
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			for i := range 50 {
				v, _, _, err := api.Query(t.Context(), "sum(m)", at(float64(15*(i+k))))
				if want := fmt.Sprintf("%d@%d", 2*(i+k), 15*(i+k)); err != nil || shown(v) != want {
					t.Errorf("%v, %v, want %s", v, err, want)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkInstant(b *testing.B) {
	api := store(b, steady(17_281, func(i int) float64 { return float64(i) }, "__name__", "m")).API()
	for _, w := range []string{"5m", "1h", "3d"} {
		b.Run(w, func(b *testing.B) {
			for b.Loop() {
				if _, _, _, err := api.Query(b.Context(), "sum(rate(m["+w+"]))", at(3*24*3600)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("range of 11,000 steps over 1h", func(b *testing.B) {
		for b.Loop() {
			if _, _, _, err := api.QueryRange(b.Context(), "sum(rate(m[1h]))", v1.Range{Start: at(0), End: at(11_000 * 15), Step: 15 * time.Second}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
