package prom

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/util/teststorage"
	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/test/promtest"
)

// QueryRange answers a range by the same function, step by step, as Prometheus does.
func (a *funcAPI) QueryRange(ctx context.Context, q string, r v1.Range, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	a.mu.Lock()
	a.sent = append(a.sent, fmt.Sprintf("%s [%s:%s:%s]", q, r.Start.UTC().Format("15:04"), r.End.UTC().Format("15:04"), r.Step))
	a.mu.Unlock()
	found := map[model.Fingerprint]*model.SampleStream{}
	var m model.Matrix
	for at := r.Start; !at.After(r.End); at = at.Add(r.Step) {
		v, w, err := a.query(ctx, q, at)
		if err != nil || len(w) > 0 {
			return nil, w, nil, err
		}
		for _, s := range v.(model.Vector) {
			f := s.Metric.Fingerprint()
			if found[f] == nil {
				found[f] = &model.SampleStream{Metric: s.Metric}
				m = append(m, found[f])
			}
			found[f].Values = append(found[f].Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()), Value: s.Value})
		}
	}
	return m, nil, nil, nil
}

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) SaveLedgers(context.Context, ...ledger.Save) error             { return nil }
func (nowhere) LoadLedger(context.Context, ledger.Key) ([]ledger.Page, error) { return nil, nil }
func (nowhere) DropLedgers(context.Context, time.Time, ...ledger.Key) error   { return nil }

// readAll reads all there is to read of a history up to an instant.
func readAll(tb testing.TB, h *History, now func() time.Time) *ledger.Keeper {
	tb.Helper()
	k := ledger.NewKeeper(nowhere{}, ledger.Options{Now: now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	k.Follow(h, h.Followed())
	for k.Step(context.Background()) <= 0 {
	}
	return k
}

const ledgerRules = `version: modeshift/v1
service: shop
slos:
  - name: s
    objective: 99
    period: %s
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    windows: [{severity: page, long: 1h, short: 5m, factor: 10}]
    alerting: {name: A, page_alert: {}, ticket_alert: {disable: true}}
`

// scraped is the samples of a counter.
type scraped struct {
	at     []time.Time
	sample []float64
}

// The ledger's share of the budget against the one query over the whole period, as any dashboard asks it:
//
//	1 − sum(increase(errors[P])) ÷ sum(increase(total[P])) ÷ budget
//
// on random traffic with resets, gaps and rates that change. The two cannot be equal, and how far they may be apart follows
// from what rate() does, and is worked out for each draw from its own samples. Let s be the scrape interval.
//
//   - In a bucket, what was counted between its first and last sample is extended to the bucket's edges, by the rule of rate().
//     What was counted in the step that leads into its first sample is not seen. So a bucket is off by the difference of the
//     two: nothing where the rate is steady, and a step's worth where it has just changed.
//   - A gap is bridged by the whole period's query, which sees the counter before and after it. The ledger bridges it only inside a
//     bucket; of a bucket with less than two samples it knows nothing, and its time is not covered.
//   - Of a reset, what was counted since the scrape before it is lost to both.
//   - The period's query is itself extended to its two edges, by a step at most.
//
// The sum of these without their signs, as numbers of events in errors and in total, bounds the difference of the ratios.
func TestTheLedgersBudgetIsThatOfTheQueryOverThePeriod(t *testing.T) {
	const step, period = 30 * time.Second, 5 * time.Hour
	set := load(t, "shop.yaml", fmt.Sprintf(ledgerRules, "5h"))
	slo := set.Services[0].SLO("s")
	worst, allowed, used, compared := 0.0, 0.0, 0.0, 0
	rapid.Check(t, func(r *rapid.T) {
		store := teststorage.New(t)
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		end := time.Unix(40*3600, 0).UTC().Add(time.Duration(rapid.IntRange(0, 11).Draw(r, "end")) * ledger.Fine)
		app := store.Appender(t.Context())
		first := end.Add(-period - time.Hour)
		// The same scrapes fail for both codes: they are of one process. So do its resets.
		gaps, resets := map[int]bool{}, map[int]bool{}
		steps := int(end.Sub(first)/step) + 1
		for range rapid.IntRange(0, 6).Draw(r, "gaps") {
			at := rapid.IntRange(1, steps-1).Draw(r, "gap")
			for i := range rapid.SampledFrom([]int{1, 1, 3, 9, 12, 40}).Draw(r, "missed") {
				gaps[at+i] = true
			}
		}
		for range rapid.IntRange(0, 4).Draw(r, "resets") {
			resets[rapid.IntRange(1, steps-1).Draw(r, "reset")] = true
		}
		counters := map[string]*scraped{}
		for _, code := range []string{"200", "500"} {
			m, err := promQL.ParseMetric(`a_total{code="` + code + `"}`)
			if err != nil {
				t.Fatal(err)
			}
			c := &scraped{}
			counters[code] = c
			scale := map[string]float64{"200": 100, "500": 1}[code]
			rate, shown := scale, 1000*scale
			for i := range steps {
				if rapid.IntRange(0, 119).Draw(r, "turn") == 0 {
					rate = scale * rapid.SampledFrom([]float64{0, 0.5, 1, 3}).Draw(r, "rate")
				}
				if resets[i] {
					shown = 0
				}
				shown += rate
				if gaps[i] && i < steps-1 {
					continue
				}
				at := first.Add(time.Duration(i)*step + 7*time.Second)
				if _, err := app.Append(0, m, at.UnixMilli(), shown); err != nil {
					t.Fatal(err)
				}
				c.at, c.sample = append(c.at, at), append(c.sample, shown)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}

		api := engineAPI(t, store)
		now := end.Add(ledger.Settle)
		k := readAll(t, NewHistory(set, []Source{{"main", []v1.API{api}}}, HistoryOptions{Parallel: 1}), func() time.Time { return now })
		b := k.Budget(LedgerKey("shop", slo), ledger.Question{Period: LedgerPeriod(slo), Budget: slo.Budget, At: now})
		ask := func(q string) float64 {
			v, _, err := api.query(context.Background(), q, end)
			if err != nil || len(v.(model.Vector)) != 1 {
				t.Fatalf("%s: %v, %v", q, v, err)
			}
			return float64(v.(model.Vector)[0].Value)
		}
		errors, total := ask(`sum(increase(a_total{code="500"}[5h]))`), ask(`sum(increase(a_total[5h]))`)
		if total == 0 {
			return
		}
		slackErrors, slackGood := counters["500"].slack(end.Add(-period), end), counters["200"].slack(end.Add(-period), end)
		want := 1 - errors/total/slo.Budget
		// |e/t − e'/t'| ≤ (Δe + e/t·Δt) ÷ t', with t' at least t − Δt.
		slackTotal := slackErrors + slackGood
		if slackTotal >= total {
			return
		}
		tolerance := (slackErrors+errors/total*slackTotal)/(total-slackTotal)/slo.Budget + 1e-9
		if diff := math.Abs(b.Remaining - want); b.Unknown != "" || diff > tolerance {
			t.Fatalf("the ledger has %v left (%v of %v, %v known), the query %v (%v of %v): %v apart, and %v is allowed\ngaps %v resets %v",
				b.Remaining, b.Errors, b.Total, b.Coverage, want, errors, total, diff, tolerance, gaps, resets)
		} else {
			worst, allowed, used, compared = max(worst, diff), max(allowed, tolerance), max(used, diff/tolerance), compared+1
		}
	})
	if compared == 0 {
		t.Error("nothing was compared")
	}
	t.Logf("%d budgets, at most %.3g of the budget apart; at most %.3g were allowed, and %.0f %% of that used", compared, worst, allowed, 100*used)
}

// slack is how many events the sum of the buckets of a span and the query over it may be apart: for each bucket the difference
// between what its unseen step holds and what rate() makes of the others to stand for it, and two steps for the edges of the
// query's own span.
func (c *scraped) slack(from, to time.Time) (slack float64) {
	// What the counter rose by from one sample to the next, as increase() sees it.
	rise := make([]float64, len(c.at))
	for i := 1; i < len(c.at); i++ {
		rise[i] = c.sample[i] - c.sample[i-1]
		if rise[i] < 0 {
			rise[i] = c.sample[i]
		}
	}
	i, most := 1, 0.0
	for at := from; at.Before(to); at = at.Add(ledger.Fine) {
		end := at.Add(ledger.Fine)
		for i < len(c.at) && !c.at[i].After(at) {
			i++
		}
		first, unseen, seen := i, 0.0, 0.0
		for ; i < len(c.at) && !c.at[i].After(end); i++ {
			if i == first {
				unseen = rise[i]
			} else {
				seen += rise[i]
			}
			most = max(most, rise[i])
		}
		if i-first < 2 { // unknown to the ledger, bridged by the query
			slack += unseen
			continue
		}
		// Source: promql/functions.go, extrapolatedRate. That no counter is extended to below zero makes it less.
		covered := c.at[i-1].Sub(c.at[first]).Seconds()
		average := covered / float64(i-1-first)
		extended := func(gap float64) float64 {
			if gap >= 1.1*average {
				return average / 2
			}
			return gap
		}
		before, after := extended(c.at[first].Sub(at).Seconds()), extended(end.Sub(c.at[i-1]).Seconds())
		before = min(before, max(0, covered*c.sample[first]/max(seen, 1e-300)))
		slack += math.Abs(seen/covered*(before+after) - unseen)
	}
	return slack + 2*most
}

func TestABucketIsWhatTheQueriesSayAndNeverZeroForWantOfAnAnswer(t *testing.T) {
	at := func(v model.Value) answer { return answer{value: v} }
	num := func(values ...float64) (v model.Vector) {
		for i, x := range values {
			v = append(v, &model.Sample{Metric: model.Metric{"i": model.LabelValue(fmt.Sprint(i))}, Value: model.SampleValue(x)})
		}
		return v
	}
	set := load(t, "shop.yaml", fmt.Sprintf(ledgerRules, "2d"), "raw.yaml", strings.NewReplacer("service: shop", "service: raw",
		`{events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}`,
		`{raw: {error_ratio_query: 'sum(rate(e[{{.window}}])) / sum(rate(t[{{.window}}]))'}}`).Replace(fmt.Sprintf(ledgerRules, "2d")),
		"odd.yaml", strings.NewReplacer("service: shop", "service: odd", "total_query: 'sum(rate(a_total[{{.window}}]))'", "total_query: 'avg_over_time(a[{{.window}}])'").Replace(fmt.Sprintf(ledgerRules, "2d")))
	span := rangeSpan{noon, ledger.Fine, 1}
	for _, test := range []struct {
		scope         engine.Scope
		errors, total model.Vector
		want          ledger.Bucket
	}{
		{"shop", num(0.1), num(2), ledger.Bucket{Errors: 30, Total: 600}},
		{"shop", nil, num(2), ledger.Bucket{Total: 600}}, // it never failed: there is no such series yet
		{"shop", num(0.1), nil, ledger.Bucket{Why: engine.WhyAbsent}},
		{"shop", nil, nil, ledger.Bucket{Why: engine.WhyAbsent}},
		{"shop", num(0), num(0), ledger.Bucket{}},
		{"shop", num(0.1), num(0), ledger.Bucket{Why: engine.WhyInvalid}},
		{"shop", num(2.1), num(2), ledger.Bucket{Errors: 600, Total: 600}},
		{"shop", num(3), num(2), ledger.Bucket{Why: engine.WhyInvalid}},
		{"shop", num(-1), num(2), ledger.Bucket{Why: engine.WhyInvalid}},
		{"shop", num(math.NaN()), num(2), ledger.Bucket{Why: engine.WhyNotFinite}},
		{"shop", num(0), num(math.Inf(1)), ledger.Bucket{Why: engine.WhyNotFinite}},
		{"shop", num(1), num(2, 3), ledger.Bucket{Why: engine.WhyInvalid}},
		{"shop", num(1, 1), num(2), ledger.Bucket{Why: engine.WhyInvalid}},
		{"raw", num(0.25), nil, ledger.Bucket{Errors: 75, Total: 300}},
		{"raw", num(math.NaN()), nil, ledger.Bucket{}},
		{"raw", num(1.05), nil, ledger.Bucket{Errors: 300, Total: 300}},
		{"raw", num(7), nil, ledger.Bucket{Why: engine.WhyInvalid}},
		{"raw", nil, nil, ledger.Bucket{Why: engine.WhyAbsent}},
		{"odd", num(1), num(4), ledger.Bucket{Errors: 300, Total: 1200}}, // in the query's unit times seconds
	} {
		slo := set.Service(test.scope).SLO("s")
		queries := measure{slo: slo}.queries(ledger.Fine, 0)
		found := map[query]series{queries[0]: {points: []answer{at(test.errors)}}}
		if len(queries) > 1 {
			found[queries[1]] = series{points: []answer{at(test.total)}}
		}
		a := bucketsOf(slo, span, queries, found)
		test.want.Start, test.want.Width = noon, ledger.Fine
		if a.Why != "" || len(a.Buckets) != 1 || a.Buckets[0] != test.want {
			t.Errorf("%s %v of %v: %+v, want %+v", test.scope, test.errors, test.total, a, test.want)
		}
	}
}

func TestTheLedgerIsReadFromARealPrometheus(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	p.Push(twoDays("a", 0.001, 0.05, 2*time.Hour)...)
	set := load(t, "shop.yaml", fmt.Sprintf(ledgerRules, "2d"))
	source, err := Dial("main", config.HTTPClientConfig{}, p.URL)
	if err != nil {
		t.Fatal(err)
	}
	slo := set.Services[0].SLO("s")
	key := LedgerKey("shop", slo)
	var mu sync.Mutex
	now := noon.Add(ledger.Settle)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	h := NewHistory(set, []Source{source}, HistoryOptions{})
	k := readAll(t, h, clock)
	b := k.Budget(key, ledger.Question{Period: LedgerPeriod(slo), Budget: slo.Budget, At: now})
	// Two days of 1000 events a minute, 0.1 % of which fail, and 5 % in the last two hours.
	want := 1 - (46*0.001+2*0.05)/48/0.01
	if b.Unknown != "" || !near(b.Remaining, want) || !near(b.Total, 48*60*1000) || !near(b.Burn, 5) || b.Coverage != 1 {
		t.Errorf("%+v, want %v left", b, want)
	}
	p.Pause()
	a := NewHistory(set, []Source{source}, HistoryOptions{Timeout: time.Second}).Read(t.Context(), ledger.Ask{Keys: []ledger.Key{key}, From: noon.Add(-time.Hour), To: noon, Width: ledger.Fine})
	if a[0].Why != engine.WhyTimeout {
		t.Errorf("of a Prometheus that hangs: %+v", a)
	}
}

func TestManyServicesAreReadByOneQueryAndAsEachByItself(t *testing.T) {
	store := teststorage.New(t)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	const services = 12
	end := time.Unix(40*3600, 0).UTC()
	app := store.Appender(t.Context())
	var files []string
	for i := range services {
		name := fmt.Sprintf("svc%02d", i)
		files = append(files, name+".yaml", strings.NewReplacer("service: shop", "service: "+name, `{code="500"}`, `{job="`+name+`",code="500"}`, "a_total[", `a_total{job="`+name+`"}[`).Replace(fmt.Sprintf(ledgerRules, "9h")))
		for _, code := range []string{"200", "500"} {
			if i == 3 || i%4 == 0 && code == "500" { // one that does not exist, some that never failed
				continue
			}
			m, err := promQL.ParseMetric(`a_total{job="` + name + `",code="` + code + `"}`)
			if err != nil {
				t.Fatal(err)
			}
			for s := range 1300 {
				if i == 5 && s > 400 && s < 500 { // one with a hole
					continue
				}
				if _, err := app.Append(0, m, end.Add(time.Duration(s-1300)*30*time.Second).UnixMilli(), float64(s*(i+len(code)))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	set := load(t, files...)
	api := engineAPI(t, store)
	h := NewHistory(set, []Source{{"main", []v1.API{api}}}, HistoryOptions{})
	ask := ledger.Ask{From: end.Add(-6 * time.Hour), To: end, Width: ledger.Fine}
	for _, f := range h.Followed() {
		ask.Keys = append(ask.Keys, f.Key)
	}
	together := h.Read(t.Context(), ask)
	if n := len(api.queried()); n != 2 {
		t.Errorf("%d queries for %d services", n, services)
	}
	known := 0
	for i, key := range ask.Keys {
		one := ask
		one.Keys = []ledger.Key{key}
		alone := h.Read(t.Context(), one)[0]
		if together[i].Why != "" || alone.Why != "" || len(together[i].Buckets) != 72 {
			t.Fatalf("%s: %s and %s", key.Scope, together[i].Why, alone.Why)
		}
		for n, b := range alone.Buckets {
			got := together[i].Buckets[n]
			if got.Why != b.Why || math.Abs(got.Errors-b.Errors) > 1e-9*b.Total || math.Abs(got.Total-b.Total) > 1e-9*b.Total {
				t.Fatalf("%s: together %+v, alone %+v", key.Scope, got, b)
			}
			if b.Why == "" {
				known++
			}
		}
	}
	if known < services*50 {
		t.Errorf("only %d buckets were known", known)
	}

	// A query that fails for one of them costs the others nothing.
	right := api.query
	api.query = func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		if strings.Contains(q, "svc07") {
			return nil, nil, &v1.Error{Type: v1.ErrExec, Msg: "found duplicate series"}
		}
		return right(ctx, q, at)
	}
	for i, a := range h.Read(t.Context(), ask) {
		if (a.Why != "") != (ask.Keys[i].Scope == "svc07") {
			t.Errorf("%s: %s %s", ask.Keys[i].Scope, a.Why, a.Detail)
		}
	}

	// What one replica does not know the other is asked.
	empty := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return model.Vector{}, nil, nil
	}}
	api.query = right
	pair := NewHistory(set, []Source{{"main", []v1.API{empty, api}}}, HistoryOptions{})
	for i, a := range pair.Read(t.Context(), ask) {
		if a.Why != "" || a.Buckets[5] != together[i].Buckets[5] {
			t.Errorf("%s from the second replica: %+v, want %+v", ask.Keys[i].Scope, a.Buckets[5], together[i].Buckets[5])
		}
	}
}
