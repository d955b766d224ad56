package prom

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// noon is the instant the tests ask about; promqltest's own data begins at 0 and uses other instants.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// funcAPI answers instant queries by a function and remembers which there were.
type funcAPI struct {
	v1.API
	query func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error)

	mu   sync.Mutex // guards sent
	sent []string
}

func (a *funcAPI) Query(ctx context.Context, q string, at time.Time, _ ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	a.mu.Lock()
	a.sent = append(a.sent, q)
	a.mu.Unlock()
	v, w, err := a.query(ctx, q, at)
	return v, w, nil, err
}

// queried returns the queries so far and forgets them.
func (a *funcAPI) queried() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent := a.sent
	a.sent = nil
	return sent
}

// engineAPI answers from a store by the real PromQL engine, in this process.
func engineAPI(tb testing.TB, store storage.Queryable) *funcAPI {
	e := promqltest.NewTestEngine(tb, false, lookback, 1_000_000)
	return &funcAPI{query: func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		query, err := e.NewInstantQuery(ctx, store, nil, q, at)
		if err != nil {
			return nil, nil, err
		}
		defer query.Close()
		r := query.Exec(ctx)
		if r.Err != nil {
			return nil, nil, r.Err
		}
		warnings, _ := r.Warnings.AsStrings(q, 10, 0)
		switch v := r.Value.(type) {
		case promql.Scalar:
			return &model.Scalar{Value: model.SampleValue(v.V), Timestamp: model.Time(v.T)}, warnings, nil
		case promql.Vector:
			out := model.Vector{}
			for _, s := range v {
				m := model.Metric{}
				s.Metric.Range(func(l labels.Label) { m[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
				out = append(out, &model.Sample{Metric: m, Value: model.SampleValue(s.F), Timestamp: model.Time(s.T)})
			}
			return out, warnings, nil
		default:
			return nil, nil, errors.New("the result is neither a scalar nor a vector")
		}
	}}
}

// only is a source called main that is one server.
func only(api v1.API) []Source { return []Source{{Name: "main", Replicas: []v1.API{api}}} }

// load compiles rule files given as name and text, alternating.
func load(tb testing.TB, nameText ...string) *rules.Set {
	tb.Helper()
	var files []rules.File
	for i := 0; i < len(nameText); i += 2 {
		files = append(files, rules.File{Name: nameText[i], Data: []byte(nameText[i+1])})
	}
	set, err := rules.Load(files, rules.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// everything asks for all conditions of all services.
func everything(set *rules.Set, at time.Time) Tick {
	t := Tick{Instant: at, Modes: func(engine.Scope) (engine.Mode, bool) { return "", false }}
	for _, s := range set.Services {
		q := engine.Question{Scope: s.Policy.Scope}
		for i := range s.Conditions {
			q.Conditions = append(q.Conditions, i)
		}
		t.Questions = append(t.Questions, q)
	}
	return t
}

// condition returns what an answer says of a condition by its name.
func condition(tb testing.TB, set *rules.Set, a Answer, scope engine.Scope, name string) engine.Observation {
	tb.Helper()
	for i, c := range set.Service(scope).Conditions {
		if c.Name == name {
			return a.Observations[scope][i]
		}
	}
	tb.Fatalf("%s has no condition %s", scope, name)
	return engine.Observation{}
}
