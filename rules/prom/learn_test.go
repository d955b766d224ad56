package prom

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// trouble says of a query what a server has to say about it.
type trouble func(q string) (v1.Warnings, error)

// replying answers the queries of jobs with 1 for each service, where there is no trouble.
func replying(fail trouble) *funcAPI {
	return &funcAPI{query: func(_ context.Context, q string, _ time.Time) (model.Value, v1.Warnings, error) {
		warnings, err := fail(q)
		if err != nil {
			return nil, warnings, err
		}
		v := model.Vector{}
		for _, job := range strings.FieldsFunc(q, func(r rune) bool { return strings.ContainsRune(`"|`, r) }) {
			if strings.HasPrefix(job, "service-") {
				v = append(v, &model.Sample{Metric: model.Metric{"job": model.LabelValue(job)}, Value: 1})
			}
		}
		return v, warnings, nil
	}}
}

func execution(string) (v1.Warnings, error) {
	return nil, &v1.Error{Type: v1.ErrExec, Msg: "many-to-many matching not allowed"}
}

// of is trouble with any query that asks for one of some services.
func of(fail trouble, numbers ...int) trouble {
	return func(q string) (v1.Warnings, error) {
		for _, n := range numbers {
			if strings.Contains(q, fmt.Sprintf("service-%04d", n)) {
				return fail(q)
			}
		}
		return nil, nil
	}
}

func above(n int, fail trouble) trouble {
	return func(q string) (v1.Warnings, error) {
		if servicesIn(q) > n {
			return fail(q)
		}
		return nil, nil
	}
}

func servicesIn(q string) int { return strings.Count(q, "service-") }

// largest is how many services the queries asked for most asks for.
func largest(queries []string) int {
	n := 0
	for _, q := range queries {
		n = max(n, servicesIn(q))
	}
	return n
}

const sumOfJob = `sum(x{job="%s"})`

// unwell are the queries without a value, in order.
func unwell(answers map[string]answer) (texts []string) {
	for text, a := range answers {
		if a.why != "" {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

func TestOneServicesFaultIsFoundAndHurtsNobodyElse(t *testing.T) {
	for _, c := range []struct {
		name    string
		trouble trouble
		why     engine.Why
	}{
		{"an error of execution", execution, engine.WhyFailed},
		{"a request that cannot be read", func(string) (v1.Warnings, error) { return nil, &v1.Error{Type: v1.ErrBadData} }, engine.WhyFailed},
		{"a warning about the data", func(string) (v1.Warnings, error) {
			return v1.Warnings{`PromQL warning: bucket label "le" is missing`, "PromQL info: a hint"}, nil
		}, engine.WhyPartial},
		{"an answer that is too long", func(string) (v1.Warnings, error) { return nil, fmt.Errorf("read: %w", errTooLong) }, engine.WhyFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, texts := newFusion(), jobs(1000, sumOfJob)
			api := replying(of(c.trouble, 123))
			tick := func(at time.Time, most int, want ...string) {
				t.Helper()
				answers := asked(t, u, api, at, texts...)
				if got := unwell(answers); !slices.Equal(got, want) {
					t.Errorf("without a value are %v, want %v", got, want)
				}
				for _, text := range want {
					if a := answers[text]; a.why != c.why || a.sent != text {
						t.Errorf("%s is %q and was sent as %s", text, a.why, a.sent)
					}
				}
				if n := len(api.queried()); n > most {
					t.Errorf("%d requests, want at most %d", n, most)
				}
			}
			tick(noon, 21, texts[123])                                // 1 and its halves, ten times
			tick(noon.Add(15*time.Second), 2, texts[123])             // it is known
			tick(noon.Add(aloneFor), 2, texts[123])                   // and still at fault
			tick(noon.Add(2*aloneFor-1), 2, texts[123])               // and so on
			tick(noon.Add(3*aloneFor+15*time.Second), 21, texts[123]) // forgotten after nobody asked
			api.query = replying(func(string) (v1.Warnings, error) { return nil, nil }).query
			tick(noon.Add(3*aloneFor+30*time.Second), 2) // well, but nobody knows yet
			tick(noon.Add(4*aloneFor+30*time.Second), 1) // together again
		})
	}
}

func TestManyAtFaultAreFoundTickByTick(t *testing.T) {
	var bad []int
	for i := 0; i < 1000; i += 11 {
		bad = append(bad, i)
	}
	u, api, texts := newFusion(), replying(of(execution, bad...)), jobs(1000, sumOfJob)
	ticks := 0
	for before := 1000; before > len(bad); ticks++ {
		n := len(unwell(asked(t, u, api, noon.Add(time.Duration(ticks)*15*time.Second), texts...)))
		if n > before || ticks > 10 {
			t.Fatalf("%d without a value at tick %d, before it %d", n, ticks, before)
		}
		before = n
	}
	t.Logf("all were found in %d ticks", ticks)
	for range 2 { // the first is the last of the search
		api.queried()
		asked(t, u, api, noon.Add(time.Duration(ticks)*15*time.Second), texts...)
		ticks++
	}
	if n := len(api.queried()); n != 1+len(bad) {
		t.Errorf("%d requests once all are known, want one and one for each of %d", n, len(bad))
	}
}

func TestWhatIsTooMuchAtOnceIsAskedInPartsAndMoreAgainLater(t *testing.T) {
	u, texts := newFusion(), jobs(1000, sumOfJob)
	api := replying(above(300, execution)) // such as --query.max-samples
	tick := func(at time.Time, requests, most int) {
		t.Helper()
		if got := unwell(asked(t, u, api, at, texts...)); len(got) > 0 {
			t.Errorf("%d have no value", len(got))
		}
		sent := api.queried()
		if len(sent) != requests || largest(sent) != most {
			t.Errorf("%d requests of at most %d values, want %d of %d", len(sent), largest(sent), requests, most)
		}
	}
	tick(noon, 7, 1000)
	tick(noon.Add(15*time.Second), 4, 250)
	tick(noon.Add(growAfter-1), 4, 250)
	tick(noon.Add(growAfter), 2+4, 500)
	api.query = replying(func(string) (v1.Warnings, error) { return nil, nil }).query
	tick(noon.Add(2*growAfter), 2, 500)
	tick(noon.Add(3*growAfter), 1, 1000)
}

func TestAServerThatCannotCopeIsAskedForLessAtTheNextTick(t *testing.T) {
	for name, trouble := range map[string]trouble{
		"a timeout":           func(string) (v1.Warnings, error) { return nil, context.DeadlineExceeded },
		"a timeout it tells":  func(string) (v1.Warnings, error) { return nil, &v1.Error{Type: v1.ErrTimeout} },
		"a gateway's refusal": func(string) (v1.Warnings, error) { return nil, &v1.Error{Type: v1.ErrServer, Msg: "502"} },
		"a body too large":    func(string) (v1.Warnings, error) { return nil, &v1.Error{Type: v1.ErrClient, Msg: "413"} },
	} {
		t.Run(name, func(t *testing.T) {
			u, texts := newFusion(), jobs(1000, sumOfJob)
			api := replying(trouble)
			for i, want := range []int{1000, 500, 250, 125, 59, 50, 50} {
				if n := len(unwell(asked(t, u, api, noon.Add(time.Duration(i)*15*time.Second), texts...))); n != 1000 {
					t.Errorf("%d have no value", n)
				}
				if sent := api.queried(); largest(sent) != want {
					t.Errorf("tick %d: %d requests of at most %d, want %d and none sent again", i, len(sent), largest(sent), want)
				}
			}
		})
	}
}

func TestASourceThatIsAwayIsNotTakenForOneThatCannotCope(t *testing.T) {
	for name, trouble := range map[string]trouble{
		"no connection": func(string) (v1.Warnings, error) { return nil, fmt.Errorf("connection refused") },
		"a partial store": func(string) (v1.Warnings, error) {
			return v1.Warnings{"PromQL warning: a", "store gateway is away"}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, api, texts := newFusion(), replying(trouble), jobs(1000, sumOfJob)
			for range 3 {
				if n := len(unwell(asked(t, u, api, noon, texts...))); n != 1000 {
					t.Errorf("%d have no value", n)
				}
				if n := len(api.queried()); n != 1 {
					t.Errorf("%d requests", n)
				}
			}
		})
	}
}

func TestARequestStaysBelowItsBounds(t *testing.T) {
	for _, c := range []struct {
		name     string
		services int
		value    string // in the place of a service's number
		reach    time.Duration
		want     int // requests
	}{
		{"a thousand services are one request", 1000, "%04d", 5 * time.Minute, 1},
		{"and one more makes two", 1001, "%04d", 5 * time.Minute, 2},
		{"of a long window there are fewer in each", 1000, "%04d", 24 * time.Hour, int(1000 * 24 * time.Hour / maxReach)},
		{"of the longest only one", 3, "%04d", maxReach, 3},
		{"texts have a length", 1000, "%04d" + strings.Repeat("x", 1000), 5 * time.Minute, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ws []wanted
			for i := range c.services {
				ws = append(ws, wanted{query{text: fmt.Sprintf(`sum(x{job="service-`+c.value+`"})`, i)}, c.reach})
			}
			fetches := newFusion().plan(ws, noon)
			if len(fetches) != c.want {
				t.Errorf("%d requests, want %d", len(fetches), c.want)
			}
			seen := map[query]bool{}
			for i := range fetches {
				f := &fetches[i]
				if len(f.text) > maxText+1000 {
					t.Errorf("a text of %d bytes", len(f.text))
				}
				if n := len(f.values); n > 1 && time.Duration(n)*c.reach > maxReach {
					t.Errorf("%d values reach back %v each", n, c.reach)
				}
				f.share(answer{}, func(q query, _ answer) { seen[q] = true })
			}
			if len(seen) != c.services {
				t.Errorf("%d of %d are answered", len(seen), c.services)
			}
		})
	}
}

func TestMetricsTellWhatWasFusedAndWhatFellApart(t *testing.T) {
	m := NewMetrics()
	f := fetcherOf(4, time.Minute, only(replying(of(execution, 0)))...)
	f.metrics = m
	var ws []wanted
	for _, text := range jobs(8, sumOfJob) {
		ws = append(ws, wanted{query{text: text}, lookback})
	}
	newFusion().ask(t.Context(), f, append(ws, wanted{query{text: alive}, lookback}), func(query, answer) {})
	if err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP modeshift_fused_queries_total Queries that were answered together with others of the same shape by one request.
# TYPE modeshift_fused_queries_total counter
modeshift_fused_queries_total{source="main"} 6
# HELP modeshift_fused_retries_total Requests for many queries that failed and were sent again in halves, to find whose fault it is.
# TYPE modeshift_fused_retries_total counter
modeshift_fused_retries_total{source="main"} 3
`), "modeshift_fused_queries_total", "modeshift_fused_retries_total"); err != nil {
		t.Error(err)
	}
}
