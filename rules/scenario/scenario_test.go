package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

// noon is when it happens.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// slo makes an SLO of an sli as a file has it.
func slo(t testing.TB, sli string) *rules.SLO {
	t.Helper()
	file := fmt.Sprintf(`version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli: %s
    alerting: {name: A, page_alert: {}, ticket_alert: {}}
`, sli)
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(file)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Services[0].SLO("availability")
}

func events(bad, all string) string {
	return fmt.Sprintf("{events: {error_query: '%s', total_query: '%s'}}", bad, all)
}

func raw(ratio string) string { return fmt.Sprintf("{raw: {error_ratio_query: '%s'}}", ratio) }

const w = "[{{.window}}]"

var plain = events(`sum(rate(http_requests_total{job="shop",code=~"5.."}`+w+`))`, `sum(rate(http_requests_total{job="shop"}`+w+`))`)

func TestTheSeriesOfAnSLOAreMadeOut(t *testing.T) {
	for _, c := range []struct{ sli, good, bad string }{
		{plain, `http_requests_total{code="200",job="shop"}`, `http_requests_total{code="500",job="shop"}`},
		{events(`sum(rate(r_total{status!~"2..|3.."}`+w+`))`, `sum(rate(r_total`+w+`))`), `r_total{status="200"}`, `r_total{status="500"}`},
		{events(`sum(rate(r_total{code=~"(5..|429)",handler!="/health"}`+w+`))`, `sum(rate(r_total{handler!="/health"}`+w+`))`), `r_total{code="200",handler="ok"}`, `r_total{code="500",handler="ok"}`},
		{events(`sum(increase(failed_total`+w+`))`, `sum(increase(done_total`+w+`))`), `done_total`, `done_total failed_total`},
		{events(`sum(rate(failed_total`+w+`))`, `sum(rate(failed_total`+w+`)) + sum(rate(good_total`+w+`))`), `good_total`, `failed_total`},
		{events(`sum(rate(all_total`+w+`)) - sum(rate(good_total`+w+`))`, `sum(rate(all_total`+w+`))`), `all_total good_total`, `all_total`},
		{events(`sum(rate(d_count`+w+`)) - sum(rate(d_bucket{le="0.5"}`+w+`))`, `sum(rate(d_count`+w+`))`), `d_bucket{le="0.5"} d_count`, `d_count`},
		{events(`sum(rate(d_bucket{le="+Inf"}`+w+`)) - sum(rate(d_bucket{le=~"1(\\.0)?"}`+w+`))`, `sum(rate(d_bucket{le="+Inf"}`+w+`))`), `d_bucket{le="+Inf"} d_bucket{le="1"}`, `d_bucket{le="+Inf"}`},
		{events(`sum(rate(pay_total{result="failed"}`+w+`)) or vector(0)`, `sum(rate(pay_total`+w+`))`), `pay_total{result="ok"}`, `pay_total{result="failed"}`},
		{events(`sum(rate(r_total{code=~"5..",pod=~"{{.instances}}"}`+w+`))`, `sum(rate(r_total{pod=~"{{.instances}}"}`+w+`))`), `r_total{code="200"}`, `r_total{code="500"}`},
		{raw(`1 - sum(rate(ok_total` + w + `)) / sum(rate(all_total` + w + `))`), `all_total ok_total`, `all_total`},
		{raw(`sum(rate(r_total{ok="false"}` + w + `)) / sum(rate(r_total` + w + `))`), `r_total{ok="ok"}`, `r_total{ok="false"}`},
		{raw(`avg_over_time(stale_ratio{job="search"}` + w + `)`), ``, `stale_ratio{job="search"}`},
		{events(`sum(count_over_time(probe_success`+w+`)) - sum(sum_over_time(probe_success`+w+`))`, `sum(count_over_time(probe_success`+w+`))`), `probe_success`, ``},
	} {
		one := slo(t, c.sli)
		d, err := NewAmong(one).ShapeOf(one)
		if err != nil {
			t.Errorf("%s: %v", c.sli, err)
			continue
		}
		var good, bad []string
		for _, a := range d.atoms {
			name := a.labels["__name__"]
			var pairs []string
			for k, v := range a.labels {
				if k != "__name__" {
					pairs = append(pairs, fmt.Sprintf("%s=%q", k, v))
				}
			}
			if slices.Sort(pairs); len(pairs) > 0 {
				name += "{" + strings.Join(pairs, ",") + "}"
			}
			if a.good > 0 {
				good = append(good, name)
			}
			if a.bad > 0 {
				bad = append(bad, name)
			}
		}
		slices.Sort(good)
		slices.Sort(bad)
		if g, b := strings.Join(good, " "), strings.Join(bad, " "); g != c.good || b != c.bad {
			t.Errorf("%s\ngood %s\nbad  %s\nwant\ngood %s\nbad  %s", c.sli, g, b, c.good, c.bad)
		}
	}
}

func TestWhatCannotBeMadeOutIsRefusedWithWhatToWrite(t *testing.T) {
	for _, c := range []struct{ sli, want string }{
		{raw(`histogram_quantile(0.9, sum by (le) (rate(d_bucket` + w + `)))`),
			`no scenario can be drawn for the SLO availability: no way of counting its series was found that makes its ratio 0 while all is good, 1 while everything fails, and 0.15 in between; write its series yourself, as input_series: d_bucket`},
		{raw(`sum(rate(a_total` + w + `)) + sum(rate(b_total` + w + `)) + sum(rate(c_total` + w + `)) + sum(rate(d_total` + w + `)) + sum(rate(e_total` + w + `))`),
			`no scenario can be drawn for the SLO availability: it is made of 5 metrics, and up to 4 are tried out; write its series yourself, as input_series: a_total and b_total and c_total and d_total and e_total`},
		{raw(`sum(rate({__name__=~"a.*"}` + w + `))`),
			`no scenario can be drawn for the SLO availability: a selector of it names no metric; write its series yourself, as input_series: {__name__=~"a.*"}`},
	} {
		_, err := Draw(slo(t, c.sli), TotalOutage, Params{At: noon})
		if e := (*CannotDrawError)(nil); !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", c.sli, err, c.want)
		}
	}
	if _, err := Draw(slo(t, raw(`avg_over_time(x`+w+`)`)), FirstError, Params{At: noon}); err == nil || !strings.Contains(err.Error(), "no series of their own") {
		t.Error(err)
	}
}

func TestParametersThatMakeNoSenseAreRefused(t *testing.T) {
	s := slo(t, plain)
	for want, p := range map[string]Params{
		"a scenario needs the time":                {},
		"for is -1s":                               {At: noon, For: -time.Second},
		"before is 10000h0m0s":                     {At: noon, Before: 10000 * time.Hour},
		"share is 1.5: a share is between 0 and 1": {At: noon, Share: 1.5},
		"background is NaN":                        {At: noon, Background: math.NaN()},
		"a rate of -1 requests":                    {At: noon, Rate: -1},
		"scrape is 1ms":                            {At: noon, Scrape: time.Millisecond},
		`the instance "a" is there twice`:          {At: noon, Instances: []string{"a", "a"}},
		"samples are more than the 20000000":       {At: noon, Before: 300 * 24 * time.Hour, Scrape: time.Second},
	} {
		if _, err := Draw(s, TotalOutage, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Draw(s, SpikeTrain, Params{At: noon, Every: time.Minute, Spike: time.Minute}); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Error(err)
	}
	if _, err := Draw(s, PartialOutage, Params{At: noon, Background: 0.15}); err == nil || !strings.Contains(err.Error(), "no more would fail meanwhile") {
		t.Error(err)
	}
	if _, err := Draw(s, PartialOutage, Params{At: noon, Background: 0.149}); err != nil {
		t.Error(err)
	}
	if _, err := Draw(s, "outage", Params{At: noon}); err == nil || !strings.HasPrefix(err.Error(), `no scenario is called "outage": there are quiet, total-outage, `) {
		t.Error(err)
	}
}

// drawn is a scenario that can be asked.
type drawn struct {
	testing.TB
	*World
	slo *rules.SLO
	api *series.API
}

func draw(t *testing.T, sli string, kind Kind, p Params) *drawn {
	t.Helper()
	s := slo(t, sli)
	p.At = noon
	world, err := Draw(s, kind, p)
	if err != nil {
		t.Fatal(err)
	}
	store, err := series.New(world.Series...)
	if err != nil {
		t.Fatal(err)
	}
	return &drawn{t, world, s, store.API()}
}

// ask is what a query gives so long after noon; NaN where it gives nothing.
func (d *drawn) ask(query string, after time.Duration) float64 {
	d.Helper()
	v, _, _, err := d.api.Query(d.Context(), query, noon.Add(after))
	if err != nil {
		d.Fatal(err)
	}
	if list := v.(model.Vector); len(list) == 1 {
		return float64(list[0].Value)
	}
	return math.NaN()
}

// ratio is the error ratio over a window.
func (d *drawn) ratio(window, after time.Duration) float64 {
	d.Helper()
	errors, total := d.slo.Queries(window)
	return d.ask(errors, after) / d.ask(total, after)
}

func (d *drawn) near(what string, got, want float64) {
	d.Helper()
	if math.Abs(got-want) > 0.011 || math.IsNaN(got) {
		d.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestAnOutageBeginsAndEndsWhenItShould(t *testing.T) {
	d := draw(t, plain, TotalOutage, Params{For: 20 * time.Minute})
	d.near("the ratio just before", d.ratio(5*time.Minute, 0), 0)
	d.near("the ratio five minutes in", d.ratio(5*time.Minute, 5*time.Minute+15*time.Second), 1)
	d.near("the ratio at its end", d.ratio(5*time.Minute, 20*time.Minute), 1)
	d.near("the ratio after it", d.ratio(5*time.Minute, 25*time.Minute+15*time.Second), 0)
	d.near("the hour's ratio at its end", d.ratio(time.Hour, 20*time.Minute), 20./60)
	_, total := d.slo.Queries(5 * time.Minute)
	d.near("requests a second", d.ask(total, 10*time.Minute), 20)
	if want := []Burn{{series.Span{From: noon, To: noon.Add(20 * time.Minute)}, 1}}; !slices.Equal(d.Burns, want) {
		t.Errorf("it burns %v, want %v", d.Burns, want)
	}
	if !d.From.Equal(noon.Add(-72*time.Hour)) || !d.To.Equal(noon.Add(12*time.Hour+20*time.Minute)) {
		t.Errorf("there are samples from %v to %v", d.From, d.To)
	}
}

func TestAScenarioFailsAsManyAsItSays(t *testing.T) {
	for kind, want := range map[Kind]float64{Quiet: 0.01, PartialOutage: 0.15, FirstError: 0.15, TotalOutage: 1, CounterReset: 0.01, PrometheusAway: 0.01, Restart: 0.01} {
		for _, sli := range []string{plain, raw(`1 - sum(rate(ok_total` + w + `)) / sum(rate(all_total` + w + `))`)} {
			if kind == FirstError && sli != plain {
				continue
			}
			d := draw(t, sli, kind, Params{Background: 0.01})
			got := 0.0
			if d.slo.Events {
				got = d.ratio(5*time.Minute, 8*time.Minute)
			} else {
				q, _ := d.slo.Queries(5 * time.Minute)
				got = d.ask(q, 8*time.Minute)
			}
			d.near(string(kind), got, want)
		}
	}
	d := draw(t, plain, SlowBurn, Params{})
	if got := d.ratio(6*time.Hour, 7*time.Hour); math.Abs(got-0.002) > 1e-5 {
		t.Errorf("a slow burn has a ratio of %v, want 0.002", got)
	}
	d = draw(t, plain, SpikeTrain, Params{})
	d.near("the ratio of an hour of spikes", d.ratio(time.Hour, 90*time.Minute), 0.1)
	if len(d.Burns) != 12 {
		t.Errorf("%d spikes, want 12", len(d.Burns))
	}
}

func TestWhatHappensToTheSeriesHappens(t *testing.T) {
	const all = `http_requests_total{code="200"}`
	d := draw(t, plain, CounterReset, Params{})
	d.near("resets of a counter", d.ask(`max(resets(http_requests_total{code="200"}[10m]))`, 5*time.Minute), 1)

	d = draw(t, plain, ScrapeGap, Params{})
	d.near("series before the gap", d.ask(`count(`+all+`)`, -time.Second), 1)
	if got := d.ask(`count(`+all+`)`, 15*time.Second); !math.IsNaN(got) {
		t.Errorf("%v series are there in the gap", got)
	}
	d.near("series after the gap", d.ask(`count(`+all+`)`, 10*time.Minute+15*time.Second), 1)

	d = draw(t, plain, Restart, Params{})
	for i, want := range []float64{2, 2, 2, 3} {
		d.near(fmt.Sprintf("instances in minute %d", i), d.ask(`count(`+all+`)`, time.Duration(i)*time.Minute+30*time.Second), want)
	}
	d.near("resets of all", d.ask(`sum(resets(`+all+`[10m]))`, 5*time.Minute), 3)
	d.near("requests after it", d.ask(`sum(rate(`+all+`[5m]))`, 10*time.Minute), 20)

	d = draw(t, plain, FirstError, Params{})
	if got := d.ask(`count(http_requests_total{code="500"})`, -time.Second); !math.IsNaN(got) {
		t.Error("there are errors before the first one")
	}
	d.near("series of errors", d.ask(`count(http_requests_total{code="500"})`, time.Minute), 1)

	d = draw(t, plain, NoTraffic, Params{})
	d.near("requests while there are none", d.ask(`sum(rate(`+all+`[5m]))`, 30*time.Minute), 0)
	d.near("requests after that", d.ask(`sum(rate(`+all+`[5m]))`, 70*time.Minute), 20)

	d = draw(t, plain, PrometheusAway, Params{})
	if want := []series.Span{{From: noon, To: noon.Add(10 * time.Minute)}}; !slices.Equal(d.Away, want) {
		t.Errorf("it is away %v", d.Away)
	}
}

func TestInstancesBearTheLabelThatTheSLONarrowsBy(t *testing.T) {
	d := draw(t, events(`sum(rate(r_total{code=~"5..",pod=~"{{.instances}}"}`+w+`))`, `sum(rate(r_total{pod=~"{{.instances}}"}`+w+`))`), PartialOutage, Params{Instances: []string{"a", "b", "c"}})
	d.near("requests of one", d.ask(`sum(rate(r_total{pod="b"}[5m]))`, 0), 20./3)
	d = draw(t, events(`sum(rate(r_total{code=~"5..",instance="x"}`+w+`))`, `sum(rate(r_total{instance="x"}`+w+`))`), PartialOutage, Params{Instances: []string{"a", "b"}})
	d.near("requests of the one there is", d.ask(`sum(rate(r_total{instance="x"}[5m]))`, 0), 20)
}

func TestEqualParametersGiveEqualSamples(t *testing.T) {
	for _, about := range Kinds {
		a, b := draw(t, plain, about.Kind, Params{Before: time.Hour, After: time.Hour}), draw(t, plain, about.Kind, Params{Before: time.Hour, After: time.Hour})
		for i := range a.Series {
			if !labels.Equal(a.Series[i].Labels, b.Series[i].Labels) || !slices.EqualFunc(a.Series[i].Samples, b.Series[i].Samples, func(x, y series.Sample) bool {
				return x.At == y.At && math.Float64bits(x.Value) == math.Float64bits(y.Value)
			}) {
				t.Errorf("%s is not the same twice", about.Kind)
			}
			for _, p := range a.Series[i].Samples {
				if !value.IsStaleNaN(p.Value) && p.Value < 0 {
					t.Errorf("%s: a counter of %v", about.Kind, p.Value)
				}
			}
		}
	}
}

func TestScenariosOfOneSLOHappenInOneWorld(t *testing.T) {
	s := slo(t, plain)
	shape, err := NewAmong(s).ShapeOf(s)
	if err != nil {
		t.Fatal(err)
	}
	at := func(kind Kind, after, lasts time.Duration, share float64) Scene {
		return Scene{kind, Params{At: noon.Add(after), For: lasts, Share: share, Before: time.Hour, After: 3 * time.Hour}}
	}
	w, err := shape.Draw(at(NoTraffic, 3*time.Hour, time.Hour, 0), at(PartialOutage, 0, 10*time.Minute, 0.15), at(TotalOutage, 2*time.Hour, 30*time.Minute, 0),
		at(PartialOutage, 130*time.Minute, time.Hour, 0.5), at(CounterReset, 150*time.Minute, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	store, err := series.New(w.Series...)
	if err != nil {
		t.Fatal(err)
	}
	d := &drawn{t, w, s, store.API()}
	for _, c := range []struct {
		after time.Duration
		share float64
	}{
		{0, 0}, {6 * time.Minute, 0.15}, {16 * time.Minute, 0}, {126 * time.Minute, 1}, // the larger share counts
		{136 * time.Minute, 1}, {156 * time.Minute, 0.5}, {180 * time.Minute, 0.5}, {246 * time.Minute, 0},
	} {
		d.near("the ratio "+c.after.String()+" later", d.ratio(5*time.Minute, c.after), c.share)
	}
	_, total := s.Queries(5 * time.Minute)
	d.near("requests while none come", d.ask(total, 200*time.Minute), 0)
	d.near("resets", d.ask(`max(resets(http_requests_total[6h]))`, 5*time.Hour), 1)
	if len(w.Burns) != 3 || !w.From.Equal(noon.Add(-time.Hour)) || !w.To.Equal(noon.Add(7*time.Hour)) {
		t.Errorf("%v from %v to %v", w.Burns, w.From, w.To)
	}
	a, b := at(Quiet, 0, 0, 0), at(Quiet, time.Hour, 0, 0)
	a.Rate, b.Rate = 10, 20
	if _, err := shape.Draw(a, b); err == nil || !strings.Contains(err.Error(), "a rate of 10 and of 20") {
		t.Error(err)
	}
}

// many loads a file with several SLOs, by name.
func many(t *testing.T, slis ...string) []*rules.SLO {
	t.Helper()
	file := "version: modeshift/v1\nservice: shop\nslos:\n"
	for i, sli := range slis {
		file += fmt.Sprintf("  - {name: s%d, objective: 99.9, sli: %s, alerting: {name: A, page_alert: {}, ticket_alert: {}}}\n", i, sli)
	}
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(file)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var list []*rules.SLO
	for i := range set.Services[0].SLOs {
		list = append(list, &set.Services[0].SLOs[i])
	}
	return list
}

func TestSLOsThatCountTheSameRequestsHaveSeriesInCommon(t *testing.T) {
	availability := events(`sum(rate(d_count{job="shop",code=~"5.."}`+w+`))`, `sum(rate(d_count{job="shop"}`+w+`))`)
	latency := events(`sum(rate(d_count{job="shop"}`+w+`)) - sum(rate(d_bucket{job="shop",le="0.5"}`+w+`))`, `sum(rate(d_count{job="shop"}`+w+`))`)
	checkout := events(`sum(rate(d_count{job="shop",code=~"5..",route="/checkout"}`+w+`))`, `sum(rate(d_count{job="shop",route="/checkout"}`+w+`))`)
	search := events(`sum(rate(d_count{job="shop",code=~"5..",route="/search"}`+w+`))`, `sum(rate(d_count{job="shop",route="/search"}`+w+`))`)
	other := events(`sum(rate(d_count{job="pay",code=~"5.."}`+w+`))`, `sum(rate(d_count{job="pay"}`+w+`))`)
	for _, c := range []struct {
		name          string
		a, b          string
		shares, fails bool // b's faults are a's
		series        string
	}{
		{"a latency counts what an availability counts", availability, latency, true, false, `{__name__="d_count", code="200", job="shop"} {__name__="d_bucket", job="shop", le="0.5"}`},
		{"and the other way round", latency, availability, true, false, `{__name__="d_count", code="200", job="shop"} {__name__="d_count", code="500", job="shop"}`},
		{"a part of all requests is one of them", availability, checkout, true, true, `{__name__="d_count", code="200", job="shop", route="/checkout"} {__name__="d_count", code="500", job="shop", route="/checkout"}`},
		{"two parts have nothing in common", checkout, search, false, false, `{__name__="d_count", code="200", job="shop", route="/search"} {__name__="d_count", code="500", job="shop", route="/search"}`},
		{"nor have two jobs", availability, other, false, false, `{__name__="d_count", code="200", job="pay"} {__name__="d_count", code="500", job="pay"}`},
	} {
		list := many(t, c.a, c.b)
		among := NewAmong(list...)
		a, err := among.ShapeOf(list[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := among.ShapeOf(list[1])
		if err != nil {
			t.Fatal(err)
		}
		var series []string
		for _, s := range b.Series() {
			series = append(series, s.String())
		}
		if got := strings.Join(series, " "); got != c.series {
			t.Errorf("%s: %s is drawn, want %s", c.name, got, c.series)
		}
		if a.Shares(b) != c.shares || b.Shares(a) != c.shares || a.Fails(b) != c.fails {
			t.Errorf("%s: shares %v and %v, fails %v", c.name, a.Shares(b), b.Shares(a), a.Fails(b))
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	s := slo(b, plain)
	for b.Loop() {
		if _, err := Draw(s, PartialOutage, Params{At: noon}); err != nil {
			b.Fatal(err)
		}
	}
}
