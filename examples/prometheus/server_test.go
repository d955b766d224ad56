package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// target serves a counter that grows by one with every scrape.
func target(t *testing.T) (address string, scrapes *atomic.Int64) {
	t.Helper()
	scrapes = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "# TYPE scrapes_total counter\nscrapes_total %d\n", scrapes.Add(1)) // the scraper may be gone
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://"), scrapes
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually polls until ok or 20 s have passed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestATargetThatHasANameBearsItInPlaceOfItsAddress(t *testing.T) {
	one, _ := target(t)
	two, _ := target(t)
	s := start(t, Options{Interval: 100 * time.Millisecond, Jobs: []Job{{Name: "shop", Targets: []string{one, two}, Names: []string{"shop-01"}}}})
	c, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are scraped", func() bool {
		v, _, _, err := v1.NewAPI(c).Query(t.Context(), `scrapes_total{instance=~"shop-01|`+two+`"}`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return len(v.(model.Vector)) == 2
	})
}

func TestWhatIsScrapedAfterAReloadIsStoredAsTheNewRulesHaveIt(t *testing.T) {
	address, _ := target(t)
	jobs := []Job{{Name: "shop", Targets: []string{address}, Labels: map[string]string{"code": "200"}}}
	s := start(t, Options{Interval: 100 * time.Millisecond, Jobs: jobs})
	c, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	stored := func(code string) bool {
		v, _, _, err := v1.NewAPI(c).Query(t.Context(), `scrapes_total{job="shop"}`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		// What is not scraped any more is stale at once, and not found for five minutes.
		vec := v.(model.Vector)
		return len(vec) == 1 && string(vec[0].Metric["code"]) == code
	}
	eventually(t, "it is as it was scraped", func() bool { return stored("200") })
	jobs[0].Relabel = []Relabel{{Label: "code", Match: "2(..)", Value: "5$1"}}
	if err := s.Reload(jobs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has another label", func() bool { return stored("500") })
	jobs[0].Relabel[0].Match = "("
	if err := s.Reload(jobs); err == nil || !strings.Contains(err.Error(), "reload embedded Prometheus") {
		t.Errorf("an expression that is none: %v", err)
	}
	jobs[0].Relabel = nil
	if err := s.Reload(jobs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is as it was again", func() bool { return stored("200") })
}

func TestThePrometheusClientReadsWhatWasScraped(t *testing.T) {
	address, _ := target(t)
	began := time.Now()
	s := start(t, Options{Interval: 100 * time.Millisecond, Jobs: []Job{
		{Name: "shop", Targets: []string{address}, Labels: map[string]string{"region": "eu"}},
	}})
	c, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	prom := v1.NewAPI(c)

	var sample *model.Sample
	eventually(t, "two scrapes are in the database", func() bool {
		v, _, _, err := prom.Query(t.Context(), `scrapes_total{job="shop",region="eu"} > 1`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		vec := v.(model.Vector)
		if len(vec) == 1 {
			sample = vec[0]
		}
		return len(vec) == 1
	})
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("the first scrapes took %s: discovery's five seconds are back", d)
	}
	if got := string(sample.Metric["instance"]); got != address {
		t.Errorf("instance = %q, want %q", got, address)
	}
	v, warnings, _, err := prom.QueryRange(t.Context(), "scrapes_total", v1.Range{Start: began, End: time.Now(), Step: 10 * time.Millisecond})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("query_range: %v, warnings %v", err, warnings)
	}
	points := v.(model.Matrix)[0].Values
	for i := 1; i < len(points); i++ {
		if points[i].Value < points[i-1].Value {
			t.Fatalf("the counter went back: %v", points)
		}
	}
	if len(points) < 2 {
		t.Fatalf("want at least two points, got %v", points)
	}
	_, warnings, _, err = prom.Query(t.Context(), `rate(up[1m])`, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 0 {
		t.Errorf("an info is no warning: %v", warnings)
	}
}

func TestATargetThatIsAwayIsDownAndItsSeriesGoStale(t *testing.T) {
	down := atomic.Bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "x 1\n") // the scraper may be gone
	}))
	defer srv.Close()
	s := start(t, Options{Interval: 50 * time.Millisecond, Jobs: []Job{{Name: "a", Targets: []string{strings.TrimPrefix(srv.URL, "http://")}}}})
	eventually(t, "x is there", func() bool { return strings.Contains(get(t, s, "query", "query", "x").body, `"x"`) })
	down.Store(true)
	eventually(t, "up is 0", func() bool { return strings.Contains(get(t, s, "query", "query", "up == 0").body, `"up"`) })
	eventually(t, "x is stale", func() bool { return strings.Contains(get(t, s, "query", "query", "x").body, `"result":[]`) })
}

type response struct {
	code int
	body string
	answer
}

func get(t *testing.T, s *Server, what string, params ...string) response {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	return read(t, func() (*http.Response, error) { return http.Get(s.URL() + "/api/v1/" + what + "?" + form.Encode()) })
}

func read(t *testing.T, do func() (*http.Response, error)) response {
	t.Helper()
	res, err := do()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	r := response{code: res.StatusCode, body: string(b)}
	if err := json.Unmarshal(b, &r.answer); err != nil {
		t.Fatalf("not JSON: %s", b)
	}
	return r
}

func TestAnswersHaveTheShapeOfPrometheussAPI(t *testing.T) {
	s := start(t, Options{})
	for _, c := range []struct {
		name   string
		what   string
		params []string
		code   int
		body   string
	}{
		{"a scalar", "query", []string{"query", "1", "time", "1700000000.5"}, 200, `{"status":"success","data":{"resultType":"scalar","result":[1700000000.5,"1"]}}`},
		{"a string", "query", []string{"query", `"a<b"`, "time", "7"}, 200, `{"status":"success","data":{"resultType":"string","result":[7,"a\u003cb"]}}`},
		{"a vector", "query", []string{"query", "vector(2)", "time", "2023-11-14T22:13:20Z"}, 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"2"]}]}}`},
		{"not a number", "query", []string{"query", "vector(0)/0", "time", "1"}, 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}`},
		{"nothing", "query", []string{"query", "absent_metric", "time", "1"}, 200, `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		{"a range", "query_range", []string{"query", "vector(3)", "start", "0", "end", "2", "step", "1s"}, 200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"3"],[1,"3"],[2,"3"]]}]}}`},
		{"an empty range", "query_range", []string{"query", "absent_metric", "start", "0", "end", "2", "step", "1"}, 200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`},
		{"11,000 points are allowed", "query_range", []string{"query", "absent_metric", "start", "0", "end", "11000", "step", "1"}, 200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`},

		{"bad syntax", "query", []string{"query", "sum("}, 400, `bad_data`},
		{"no query", "query", nil, 400, `bad_data`},
		{"a bad time", "query", []string{"query", "1", "time", "yesterday"}, 400, `bad_data`},
		{"a time that is no number", "query", []string{"query", "1", "time", "NaN"}, 400, `bad_data`},
		{"a bad timeout", "query", []string{"query", "1", "timeout", "soon"}, 400, `bad_data`},
		{"no start", "query_range", []string{"query", "1", "end", "2", "step", "1"}, 400, `bad_data`},
		{"an end before the start", "query_range", []string{"query", "1", "start", "3", "end", "2", "step", "1"}, 400, `bad_data`},
		{"no step", "query_range", []string{"query", "1", "start", "1", "end", "2", "step", "0"}, 400, `bad_data`},
		{"one point too many", "query_range", []string{"query", "1", "start", "0", "end", "11001", "step", "1"}, 400, `bad_data`},
		{"many to many", "query", []string{"query", `vector(1) + on() (label_replace(vector(1),"a","b","","") or vector(1))`, "time", "1"}, 422, `execution`},
		{"a timeout that has passed", "query", []string{"query", "vector(1)", "timeout", "0.000000001"}, 503, `timeout`},
		{"something else", "labels", nil, 404, `not_found`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get(t, s, c.what, c.params...)
			if r.code != c.code {
				t.Fatalf("status %d, want %d: %s", r.code, c.code, r.body)
			}
			if c.code == 200 && r.body != c.body {
				t.Errorf("got  %s\nwant %s", r.body, c.body)
			}
			if c.code != 200 && (r.ErrorType != c.body || r.Error == "" || r.Status != "error") {
				t.Errorf("want errorType %s and a text: %s", c.body, r.body)
			}
		})
	}
	t.Run("a POST form is a query too", func(t *testing.T) {
		r := read(t, func() (*http.Response, error) {
			return http.PostForm(s.URL()+"/api/v1/query", url.Values{"query": {"1"}, "time": {"7"}})
		})
		if want := `{"status":"success","data":{"resultType":"scalar","result":[7,"1"]}}`; r.body != want {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("it says that it is ready", func(t *testing.T) {
		res, err := http.Get(s.URL() + "/-/ready")
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != 200 {
			t.Errorf("status %d, %v", res.StatusCode, err)
		}
	})
}

func TestStopLeavesNeitherGoroutineNorFolderBehind(t *testing.T) {
	address, scrapes := target(t)
	o := Options{Interval: 20 * time.Millisecond, Jobs: []Job{{Name: "a", Targets: []string{address}}}}
	run := func() string {
		s, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		before := scrapes.Load()
		eventually(t, "it scrapes", func() bool { return scrapes.Load() > before })
		for range 2 { // the second does nothing
			if err := s.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		return s.dir
	}
	run() // what libraries start once for the whole process does not count
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	dir := run()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder is still there: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestASecondStartInAFolderReadsWhatTheFirstWrote(t *testing.T) {
	address, _ := target(t)
	dir := t.TempDir()
	s, err := Start(Options{Dir: dir, Interval: 20 * time.Millisecond, Jobs: []Job{{Name: "a", Targets: []string{address}}}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a sample", func() bool {
		return strings.Contains(get(t, s, "query", "query", "scrapes_total").body, "scrapes_total")
	})
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir})
	if r := get(t, again, "query", "query", "count_over_time(scrapes_total[1m])"); !strings.Contains(r.body, `"job":"a"`) {
		t.Errorf("the samples are gone: %s", r.body)
	}
}

func TestAPortInUseIsAnErrorAndLeavesNothing(t *testing.T) {
	first := start(t, Options{})
	dir := t.TempDir()
	_, err := Start(Options{Listen: strings.TrimPrefix(first.URL(), "http://"), Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "listen") {
		t.Fatalf("want an error that says what failed, got %v", err)
	}
	// The database was closed again: its lock is free.
	start(t, Options{Dir: dir})
}

func TestThePastIsThereFromTheStartAndEndsBeforeIt(t *testing.T) {
	s := start(t, Options{PastFor: 30 * 24 * time.Hour, Past: []Past{{Labels: map[string]string{"__name__": "paid_total", "result": "ok"}, PerSecond: 10}}})
	c, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"round(rate(paid_total[30d]))": "10", "round(rate(paid_total[5m] offset 20d))": "10", "round(increase(paid_total[1d] offset 3d))": "864000",
		"count(rate(paid_total[50s])) or vector(0)": "0",
	} {
		v, _, _, err := v1.NewAPI(c).Query(t.Context(), query, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if vec := v.(model.Vector); len(vec) != 1 || vec[0].Value.String() != want {
			t.Errorf("%s is %v, want %s", query, v, want)
		}
	}
}
