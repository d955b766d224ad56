package server

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

var update = flag.Bool("update", false, "write the list of metrics into testdata")

// transitions reads the histogram of changes.
func (m *metrics) transitions(t *testing.T) (count uint64, sum float64) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "modeshift_transition_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatal("modeshift_transition_seconds is not there")
	return 0, 0
}

func TestAChangeIsTimedFromItsReadingsOrItsRequestToItsDirective(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	observed := engine.Cause{Input: "observed", Instant: at.Add(-2 * time.Second)}
	started := engine.ChangeStarted{Change: "shop-7", From: "normal", To: "degraded"}
	published := engine.DirectivePublished{Change: "shop-7"}
	for _, c := range []struct {
		name   string
		events []engine.Event
		now    time.Time
		count  uint64
		sum    float64
	}{
		{"by its readings", []engine.Event{{At: at, Cause: observed, Fact: started}, {At: at, Cause: observed, Fact: published}, {At: at, Fact: engine.ChangeDone{Change: "shop-7"}}}, at.Add(time.Second), 1, 3},
		{"by a request", []engine.Event{{At: at, Fact: engine.ModePinned{}}, {At: at, Fact: started}, {At: at, Fact: published}}, at.Add(250 * time.Millisecond), 1, 0.25},
		{"by a clock that was set back", []engine.Event{{At: at, Fact: started}, {At: at, Fact: published}}, at.Add(-time.Second), 1, 0},
		{"a directive of no change", []engine.Event{{At: at, Fact: engine.DirectivePublished{}}}, at, 0, 0},
		{"a directive that is not there yet", []engine.Event{{At: at, Fact: started}}, at, 0, 0},
	} {
		m := newMetrics(func() []engine.View { return nil }, "test")
		m.committed(c.events, c.now)
		if count, sum := m.transitions(t); count != c.count || sum != c.sum {
			t.Errorf("%s: %d changes in %v s, want %d in %v s", c.name, count, sum, c.count, c.sum)
		}
	}
}

// Dashboards and alerts of other people name these: one that goes, goes on purpose.
func TestTheNamesOfMetricsAreThoseThatAreWrittenDown(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded")+`slis: [{name: errors, query: missing}]
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(errors[{{.window}}]))', total_query: 'sum(rate(all[{{.window}}]))'}}
    alerting: {name: ShopAvailability, page_alert: {}, ticket_alert: {disable: true}}
transitions: [{name: shed, from: [normal], to: degraded, when: 'sli("errors") > 0.5'}]
`)
	// Every series is 1, and one is missing.
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := fmt.Sprintf(`{"metric":{},"value":[%d,"1"]}`, time.Now().Unix())
		if strings.Contains(r.FormValue("query"), "missing") {
			result = ""
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, result) // the test ends when the reader is gone
	}))
	t.Cleanup(prometheus.Close)
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.Prometheus = []string{dir}, []Source{{Name: "main", URL: prometheus.URL}}
	})
	within(t, "a reading that is known and one that is not, and the coverage", func() bool {
		text := get(t, http.DefaultClient, s.URL()+"/metrics", "").text
		return strings.Contains(text, "modeshift_signal_unknown_total{") && strings.Contains(text, "modeshift_burn_rate{") &&
			strings.Contains(text, "modeshift_coverage_ratio ") // comes an interval after the start, by a clock of its own
	})
	if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"},
		&engine.SetRequested{Mode: "degraded", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/ofrep/v1/evaluate/flags", "", `{"context":{"service":"shop"}}`); got.status != http.StatusOK {
		t.Fatalf("the flags: %d %s", got.status, got.text)
	}
	text := get(t, http.DefaultClient, s.URL()+"/metrics", "").text
	if !strings.Contains(text, "modeshift_transition_seconds_count 1\n") || !strings.Contains(text, `modeshift_mode{mode="degraded",scope="shop"} 1`+"\n") {
		t.Errorf("one change was made, and the metrics say\n%s", text)
	}
	var names []string
	for line := range strings.Lines(text) {
		if name, found := strings.CutPrefix(line, "# TYPE modeshift_"); found {
			names = append(names, "modeshift_"+name)
		}
	}
	slices.Sort(names)
	got, golden := strings.Join(names, ""), filepath.Join("testdata", "metrics.txt")
	if *update {
		put(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v; the metrics are\n%swant\n%s", err, got, want)
	}
}

type answered struct {
	status int
	text   string
}

// get asks a URL, with a token unless that is empty.
func get(t *testing.T, client *http.Client, url, token string) answered {
	t.Helper()
	return ask(t, client, http.MethodGet, url, token, "")
}

func ask(t *testing.T, client *http.Client, method, url, token, body string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, string(text)}
}
