package prom

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"pgregory.net/rapid"
)

// judging is engineAPI with what the engine refuses said as a server says it.
func judging(tb testing.TB, store storage.Queryable) *funcAPI {
	api := engineAPI(tb, store)
	genuine := api.query
	api.query = func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		v, w, err := genuine(ctx, q, at)
		if err != nil {
			err = &v1.Error{Type: v1.ErrExec, Msg: err.Error()}
		}
		return v, w, err
	}
	return api
}

// difference reports how two answers differ; empty if they do not.
func difference(got, want answer) string {
	if got.why != want.why || got.detail != want.detail {
		return fmt.Sprintf("%q %s instead of %q %s", got.why, got.detail, want.why, want.detail)
	}
	if got.why != "" {
		return ""
	}
	g, ok := got.value.(model.Vector)
	w, ok2 := want.value.(model.Vector)
	if !ok || !ok2 || len(g) != len(w) {
		return fmt.Sprintf("%v instead of %v", got.value, want.value)
	}
	values := map[string]float64{}
	for _, s := range w {
		values[s.Metric.String()] = float64(s.Value)
	}
	for _, s := range g {
		x, ok := values[s.Metric.String()]
		y := float64(s.Value)
		near := x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-12*max(math.Abs(x), math.Abs(y))
		if !ok || !near {
			return fmt.Sprintf("%v instead of %v", got.value, want.value)
		}
	}
	return ""
}

// services have names that mean something in an expression. The last has no series.
var services = []string{"a", "b", "a.b", "ab|c", "none"}

// fillRandomly makes the history of a few metrics of each service: gaps, resets, staleness, instances that come and go.
func fillRandomly(t *testing.T, r *rapid.T, store *teststorage.TestStorage, now time.Time) {
	app := store.Appender(t.Context())
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed of the samples"), 0)) // one draw: what is drawn one by one takes long
	add := func(metric string, counter bool) {
		if random.IntN(10) == 0 {
			return // absent
		}
		m, err := promQL.ParseMetric(metric)
		if err != nil {
			t.Fatal(err)
		}
		x := 0.0
		for at := now.Add(-8 * time.Minute); !at.After(now); at = at.Add(20 * time.Second) {
			draw := random.IntN(100)
			x += float64(draw) / 7
			y := x
			switch {
			case draw < 12:
				continue // a gap
			case draw < 14:
				y = math.Float64frombits(value.StaleNaN)
			case counter && draw < 18:
				x, y = 0, 0 // a reset
			case draw < 16:
				y = math.NaN()
			case draw < 17:
				y = math.Inf(1)
			case !counter:
				y = float64(draw%7) - 3
			}
			if _, err := app.Append(0, m, at.UnixMilli(), y); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, job := range services[:len(services)-1] {
		for _, inst := range []string{"1", "2"} {
			for _, code := range []string{"200", "500"} {
				add(fmt.Sprintf(`m{job=%q,inst=%q,code=%q}`, job, inst, code), true)
				add(fmt.Sprintf(`n{job=%q,inst=%q,code=%q}`, job, inst, code), false)
			}
			for _, le := range []string{"0.1", "0.5", "+Inf"} {
				add(fmt.Sprintf(`h_bucket{job=%q,inst=%q,le=%q}`, job, inst, le), true)
			}
		}
		add(fmt.Sprintf(`info{job=%q,version=%q}`, job, job), false)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestFusedQueriesGiveTheAnswersOfSingleOnes(t *testing.T) {
	fused, single, met := 0, 0, map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		store := teststorage.New(t)
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		now := time.Unix(3600, 0)
		fillRandomly(t, r, store, now)
		api := judging(t, store)
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			expr := (&drawn{r}).of(kind)
			texts := make([]string, len(services))
			for i, job := range services {
				texts[i] = strings.ReplaceAll(expr, "JOB", fmt.Sprintf("job=%q", job))
			}
			api.queried()
			got := asked(t, newFusion(), api, now, texts...)
			requests := len(api.queried())
			something := false
			for _, text := range texts {
				want := send(t.Context(), api, text, now, time.Minute)
				if d := difference(got[text], want); d != "" {
					r.Fatalf("%s\nsent as %s\nis %s", text, got[text].sent, d)
				}
				v, _ := want.value.(model.Vector)
				something = something || len(v) > 0
			}
			if requests > 1 {
				single++
				continue
			}
			fused++
			if something {
				met[kind]++
			}
		}
	})
	t.Logf("%d expressions were fused, %d asked alone or fell apart; of each kind, with an answer: %v", fused, single, met)
	for kind := range kinds {
		if refused := strings.HasPrefix(kind, "refused"); refused != (met[kind] == 0) {
			t.Errorf("%d expressions of the kind %q were fused and had an answer", met[kind], kind)
		}
	}
}
