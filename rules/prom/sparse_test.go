package prom

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	data "github.com/modeshift/modeshift/rules/series" // the package has a type series
)

const watched = `version: modeshift/v1
service: shop
slos:
  - name: a
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A, page_alert: {}, ticket_alert: {}}
  - name: b
    objective: 99
    sli: {raw: {error_ratio_query: 'sum(rate(a_total{code="500"}[{{.window}}])) / sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: B, page_alert: {}, ticket_alert: {}}
  - name: c
    objective: 99.5
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: C, page_alert: {}, ticket_alert: {}}
    min_events: 300
modes: [{name: normal}, {name: degraded}, {name: read-only}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("a", "page")'}
  - {name: close, from: [normal], to: read-only, when: 'burn_rate("a", "1h") > 20.0 && dwell() > duration("10m") || error_ratio("b", "30m") > 0.2'}
  - {name: recover, from: [degraded], to: normal, when: '!burning("a", "page") && burn_rate("a", "5m") < 1.0'}
`

// lived is a day of a service with two instances: traffic that follows the day, a few errors at all times, and now
// and then a burst of them, a restart, an instance that is away for a while.
func lived(t *testing.T, r *rand.Rand) *data.Store {
	t.Helper()
	perStep := []float64{2, 30, 600}[r.IntN(3)] // requests
	base := 0.0008 * r.Float64()
	type burst struct {
		from, to int
		share    float64
	}
	const steps = 24 * 120 // of 30 s
	var bursts []burst
	for range r.IntN(5) {
		from := r.IntN(steps)
		bursts = append(bursts, burst{from, from + 1 + r.IntN([]int{4, 20, 240}[r.IntN(3)]), []float64{1, 0.2, 0.03, 0.015, 0.004}[r.IntN(5)]})
	}
	dark := r.IntN(2 * steps) // from then on nothing is seen of the service for a while
	var list []data.Series
	for instance := range 2 {
		good := data.Series{Labels: labels.FromStrings("__name__", "a_total", "code", "200", "instance", fmt.Sprint(instance))}
		bad := data.Series{Labels: labels.FromStrings("__name__", "a_total", "code", "500", "instance", fmt.Sprint(instance))}
		away := -1
		if r.IntN(2) == 0 {
			away = r.IntN(steps)
		}
		restart := r.IntN(2 * steps)
		g, b := 0.0, 0.0
		for k := range steps {
			share := base
			for _, one := range bursts {
				if k >= one.from && k < one.to {
					share = one.share
				}
			}
			n := perStep * (1 + 0.4*float64(k%2880)/2880) * (0.9 + 0.2*r.Float64())
			failed := n * share
			if n*share < 5 { // few come one by one
				failed = 0
				for range int(n) {
					if r.Float64() < share {
						failed++
					}
				}
			}
			g, b = g+n-failed, b+failed
			if k == restart {
				g, b = 0, 0
			}
			if away >= 0 && k >= away && k < away+30 || k >= dark && k < dark+40 {
				continue
			}
			at := noon.Add(time.Duration(k)*30*time.Second + time.Duration(7*instance)*time.Second).UnixMilli()
			good.Samples = append(good.Samples, data.Sample{At: at, Value: float64(int(g))})
			bad.Samples = append(bad.Samples, data.Sample{At: at, Value: float64(int(b))})
		}
		list = append(list, good, bad)
	}
	store, err := data.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// What an evaluator that looks at the past now and then says at each tick is what one says that asks at each tick.
func TestASparseLookDecidesLikeOneAtEachTick(t *testing.T) {
	t.Parallel()
	set := load(t, "shop.yaml", watched)
	service := set.Services[0]
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			api := lived(t, r).API()
			end := noon.Add(24 * time.Hour)
			step := []time.Duration{15 * time.Second, time.Minute, 2 * time.Minute}[seed%3]
			each, grid, ticks := &counting{API: api}, &counting{API: api}, &counting{API: api}
			plain := New(set, only(NewAhead(each, AheadOptions{Until: end})), Options{Step: step})
			sparse := New(set, only(NewAhead(ticks, AheadOptions{Until: end})), Options{Step: step, Sparse: &Sparse{
				Sources: only(NewAhead(grid, AheadOptions{Until: end})), Until: end}})
			begin := noon.Add(time.Duration(r.IntN(6*3600)) * time.Second)
			mode, kept, differ := "normal", 0, 0
			for instant := begin; !instant.After(end); instant = instant.Add(step) {
				q := engine.Question{Scope: "shop", Dwell: instant.Sub(begin)}
				for i, c := range service.Conditions {
					if c.Name == "recover.when" == (mode == "degraded") {
						q.Conditions = append(q.Conditions, i)
					}
				}
				in := Tick{Instant: instant, Questions: []engine.Question{q}}
				want, got := plain.Evaluate(t.Context(), in).Observations["shop"], sparse.Evaluate(t.Context(), in).Observations["shop"]
				for _, i := range q.Conditions {
					if got[i].Truth != want[i].Truth || !got[i].Asked {
						differ++
						t.Errorf("%s at %s: %v %+v, want %v %+v", service.Conditions[i].Text, instant.Format("15:04:05"), got[i].Truth, got[i].Readings, want[i].Truth, want[i].Readings)
					}
					for _, reading := range got[i].Readings {
						if !reading.At.IsZero() {
							kept++
						}
					}
				}
				if differ > 3 {
					t.FailNow()
				}
				shed := want[indexOf(service, "shed.when")].Truth
				switch {
				case mode == "normal" && shed == engine.True:
					mode = "degraded"
				case mode == "degraded" && want[indexOf(service, "recover.when")].Truth == engine.True:
					mode = "normal"
				}
			}
			if kept == 0 {
				t.Error("nothing was ever calm")
			}
			points := func(c *counting) int {
				n := c.instants
				for _, r := range c.ranges {
					n += int(r.End.Sub(r.Start)/r.Step) + 1
				}
				return n
			}
			t.Logf("step %v: %d instants of queries, of which %d on the grid, for %d at each tick", step, points(ticks)+points(grid), points(grid), points(each))
		})
	}
}

func indexOf(s *rules.Service, name string) int {
	for i, c := range s.Conditions {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// What Sloth's rules record is a ratio, and no number of events: how much an hour of it weighs in a day is not to be seen in it.
func TestALongWindowIsNotSeenInRatiosThatWereRecorded(t *testing.T) {
	t.Parallel()
	set := load(t, "shop.yaml", `version: modeshift/v1
service: shop
evaluate: recorded
slos:
  - name: a
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("a", "6h") > 6.0'}
`)
	// Twenty minutes have more than five times the traffic of the six hours around them, and two of a hundred requests fail in them.
	const minutes, batch = 16 * 60, 10 * 60
	var errors, total [minutes + 1]float64 // up to a minute
	for k := range minutes {
		n, share := 600.0, 0.0001
		if k >= batch && k < batch+20 {
			n, share = 60_000, 0.02
		}
		errors[k+1], total[k+1] = errors[k]+n*share, total[k]+n
	}
	recorded := func(window string, width int) data.Series {
		s := data.Series{Labels: labels.FromStrings("__name__", "slo:sli_error:ratio_rate"+window, "sloth_id", "shop-a")}
		for k := width; k <= minutes; k++ {
			s.Samples = append(s.Samples, data.Sample{At: noon.Add(time.Duration(k) * time.Minute).UnixMilli(), Value: (errors[k] - errors[k-width]) / (total[k] - total[k-width])})
		}
		return s
	}
	store, err := data.New(recorded("5m", 5), recorded("6h", 360))
	if err != nil {
		t.Fatal(err)
	}
	api, end := store.API(), noon.Add(minutes*time.Minute)
	plain := New(set, only(api), Options{Step: time.Minute})
	sparse := New(set, only(api), Options{Step: time.Minute, Sparse: &Sparse{Sources: only(api), Until: end}})
	shed, burnt := indexOf(set.Services[0], "shed.when"), 0
	for instant := noon.Add(7 * time.Hour); !instant.After(end); instant = instant.Add(time.Minute) {
		in := Tick{Instant: instant, Questions: []engine.Question{{Scope: "shop", Conditions: []int{shed}}}}
		want, got := plain.Evaluate(t.Context(), in).Observations["shop"][shed], sparse.Evaluate(t.Context(), in).Observations["shop"][shed]
		if got.Truth != want.Truth {
			t.Fatalf("at %s: %v %+v, want %v %+v", instant.Format("15:04"), got.Truth, got.Readings, want.Truth, want.Readings)
		}
		if want.Truth == engine.True {
			burnt++
		}
	}
	if burnt < 300 {
		t.Errorf("it burned for %d minutes", burnt)
	}
}
