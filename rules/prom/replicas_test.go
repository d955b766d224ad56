package prom

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// replica answers with that share of errors in 10,000 events, from samples of that age; a negative age is a replica that is away.
func replica(errorShare float64, age time.Duration) *funcAPI {
	return &funcAPI{query: func(_ context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		switch {
		case age < 0:
			return nil, nil, errors.New("connection refused")
		case strings.Contains(q, "timestamp"):
			return model.Vector{{Value: model.SampleValue(at.Add(-age).Unix())}}, nil, nil
		case strings.Contains(q, "code=") || strings.Contains(q, "gauge"):
			return model.Vector{{Value: model.SampleValue(10_000 * errorShare)}}, nil, nil
		}
		return model.Vector{{Value: 10_000}}, nil, nil
	}}
}

func replicated(agree, when string) string {
	return `version: modeshift/v1
service: shop
slos:
  - name: a
    objective: 99
` + agree + `
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A, page_alert: {}, ticket_alert: {disable: true}}
slis:
  - {name: g, query: max(gauge), max_age: 2m` + strings.TrimSpace(strings.Replace(agree, "    agree", ", agree", 1)) + `}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: '` + when + `'}
`
}

func TestReplicasOfASource(t *testing.T) {
	const burns, rate, both = `burning("a", "page")`, `burn_rate("a", "5m") > 14.0`, `sli("g") > 3000.0 && burn_rate("a", "5m") > 14.0`
	const fresh, old, away = time.Second, 4 * time.Minute, -time.Second
	for _, c := range []struct {
		name   string
		agree  int
		when   string
		one    *funcAPI
		two    *funcAPI
		truth  engine.Truth
		why    engine.Why
		detail string
	}{
		{"the fresher one counts", 0, rate, replica(0.5, old), replica(0, fresh), engine.False, "", ""},
		{"whichever it is", 0, rate, replica(0.5, fresh), replica(0, old), engine.True, "", ""},
		{"of two that are as fresh the first", 0, rate, replica(0.5, fresh), replica(0, fresh), engine.True, "", ""},
		{"one that is away does not count", 0, rate, replica(0, away), replica(0.5, old), engine.True, "", ""},
		{"nor one whose samples are too old", 0, `sli("g") > 3000.0`, replica(0.5, 3*time.Minute), replica(0, time.Minute), engine.False, "", ""},
		{"both away", 0, rate, replica(0, away), replica(0, away), engine.Unknown, engine.WhyFailed, "connection refused"},

		{"they agree by truth, not by value", 2, burns, replica(0.5, fresh), replica(0.4, fresh), engine.True, "", ""},
		{"and on what is false", 2, burns, replica(0.001, fresh), replica(0.002, fresh), engine.False, "", ""},
		{"they disagree", 2, burns, replica(0.5, fresh), replica(0, fresh), engine.Unknown, engine.WhyDisagree, "replica 1: 0.5, replica 2: 0"},
		{"they disagree in a comparison", 2, rate, replica(0, fresh), replica(0.5, fresh), engine.Unknown, engine.WhyDisagree, "replica 1: 0, replica 2: 0.5"},
		{"a disagreement that does not matter", 2, both, replica(0.25, fresh), replica(0, fresh), engine.False, "", ""},
		{"one alone does not agree with anybody", 2, rate, replica(0.5, fresh), replica(0, away), engine.Unknown, engine.WhyFailed, "replica 2 of main: client_error"},
		{"nor with one whose samples are too old", 2, `sli("g") > 3000.0`, replica(0.5, fresh), replica(0.5, 3*time.Minute), engine.Unknown, engine.WhyStale, "replica 2 of main: the newest sample is 3m0s old"},
		{"more than there are", 3, rate, replica(0.5, fresh), replica(0.5, fresh), engine.Unknown, engine.WhyFailed, "agree: 3, and the source main has 2 replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			agree := ""
			if c.agree > 0 {
				agree = "    agree: " + string(rune('0'+c.agree))
			}
			set := load(t, "shop.yaml", replicated(agree, c.when))
			source := Source{Name: "main", Replicas: []v1.API{c.one, c.two}}
			a := New(set, []Source{source}, Options{}).Evaluate(t.Context(), everything(set, noon))
			o := condition(t, set, a, "shop", "shed.when")
			if o.Truth != c.truth || o.Blind != (c.truth == engine.Unknown) {
				t.Errorf("%v, blind %v, want %v: %+v", o.Truth, o.Blind, c.truth, o.Readings)
			}
			found := c.why == ""
			for _, r := range o.Readings {
				found = found || r.Why == c.why && (strings.Contains(r.Detail, c.detail) || strings.Contains(r.Detail, strings.Replace(c.detail, "client_error", "connection refused", 1)))
			}
			if !found {
				t.Errorf("no reading says %q …%s…: %+v", c.why, c.detail, o.Readings)
			}
		})
	}
}

func TestEachSignalIsAskedOfItsOwnSource(t *testing.T) {
	const file = `version: modeshift/v1
service: shop
source: east
slos:
  - name: a
    objective: 99
    source: west
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
slis:
  - {name: g, query: max(gauge)}
  - {name: h, query: max(other_gauge), source: gone}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("a", "5m") > 14.0 && sli("g") > 1.0 && alert("X")'}
  - {name: lost, from: [normal], to: degraded, when: 'sli("h") > 1.0'}
`
	set := load(t, "shop.yaml", file)
	main, east, west := replica(0.5, 0), replica(0.5, 0), replica(0.5, 0)
	sources := []Source{{"main", []v1.API{main}}, {"east", []v1.API{east}}, {"west", []v1.API{west}}}
	a := New(set, sources, Options{}).Evaluate(t.Context(), everything(set, noon))
	if o := condition(t, set, a, "shop", "shed.when"); o.Truth != engine.True || o.Readings[0].Source != "west" || o.Readings[1].Source != "east" || o.Readings[2].Source != "east" {
		t.Errorf("%+v", o)
	}
	if got := main.queried(); len(got) > 0 {
		t.Errorf("the default source was asked for %v", got)
	}
	if o := condition(t, set, a, "shop", "lost.when"); o.Truth != engine.Unknown || !o.Blind || !strings.Contains(o.Readings[0].Detail, `no source is called "gone"`) {
		t.Errorf("%+v", o)
	}
	if set.Services[0].SLO("a").Source != "west" {
		t.Error("the SLO's source is not read")
	}
}

func TestASourceWhoseClockIsAheadIsNotBelieved(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration
		why   engine.Why
	}{{-time.Hour, ""}, {0, ""}, {50 * time.Second, ""}, {63 * time.Second, engine.WhyStale}, {time.Hour, engine.WhyStale}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"scalar","result":[0,"1"],"stats":{"samples":{"totalQueryableSamples":42}}}}`)
		}))
		defer server.Close()
		source, err := Dial("main", config.DefaultHTTPClientConfig, server.URL)
		if err != nil {
			t.Fatal(err)
		}
		a := send(t.Context(), source.Replicas[0], "1", noon, time.Second)
		if a.why != c.why || c.why != "" && !strings.Contains(a.detail, "clock") {
			t.Errorf("ahead by %v: %q %s, want %q", c.ahead, a.why, a.detail, c.why)
		}
		if c.why == "" && a.samples != 42 {
			t.Errorf("%d samples, and the server says 42", a.samples)
		}
	}
}

func TestATenantIsToldInAHeader(t *testing.T) {
	var tenant string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant = r.Header.Get("X-Scope-OrgID")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"1"]}]},"warnings":["No StoreAPIs matched for this query"]}`)
	}))
	defer server.Close()
	cfg := config.DefaultHTTPClientConfig
	cfg.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Scope-OrgID": {Values: []string{"payments"}}}}
	source, err := Dial("main", cfg, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if a := send(t.Context(), source.Replicas[0], "1", noon, time.Second); a.why != engine.WhyPartial || tenant != "payments" {
		t.Errorf("as tenant %q: %+v", tenant, a)
	}
}

func TestRecordedSeriesAreReadInPlaceOfRawOnes(t *testing.T) {
	const file = `version: modeshift/v1
service: shop
evaluate: recorded
slos:
  - name: a
    objective: 99.9
    min_events: 100
    sli: {events: {error_query: 'sum(rate(a_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(a_total[{{.window}}]))'}}
    alerting: {name: A, page_alert: {}, ticket_alert: {disable: true}}
  - name: b
    objective: 99.9
    evaluate: raw
    sli: {raw: {error_ratio_query: 'sum(rate(b_total{code="500"}[{{.window}}])) / sum(rate(b_total[{{.window}}]))'}}
    alerting: {name: B, page_alert: {}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("a", "page") || burn_rate("a", "10m") > 1000.0'}
  - {name: raw, from: [normal], to: degraded, when: 'burning("b", "page")'}
`
	set := load(t, "shop.yaml", file)
	for _, c := range []struct {
		name    string
		ratio   float64
		perHour float64
		gone    bool
		truth   engine.Truth
		why     engine.Why
	}{
		{"it burns", 0.5, 3600, false, engine.True, ""},
		{"it does not", 0.001, 3600, false, engine.False, ""},
		{"too little happened", 0.5, 0.01, false, engine.Unknown, engine.WhyFewEvents},
		{"no recording of late", 0.5, 3600, true, engine.Unknown, engine.WhyStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := &funcAPI{query: func(_ context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
				switch {
				case strings.Contains(q, "timestamp") && c.gone:
					return model.Vector{}, nil, nil
				case strings.Contains(q, "timestamp"):
					return model.Vector{{Value: model.SampleValue(at.Unix())}}, nil, nil
				case strings.HasPrefix(q, "slo:sli_error:ratio_rate"):
					return model.Vector{{Value: model.SampleValue(c.ratio)}}, nil, nil
				case strings.Contains(q, "code="):
					return model.Vector{{Value: 0}}, nil, nil
				}
				return model.Vector{{Value: model.SampleValue(c.perHour / 36)}}, nil, nil
			}}
			a := New(set, only(api), Options{}).Evaluate(t.Context(), everything(set, noon))
			o := condition(t, set, a, "shop", "shed.when")
			if o.Truth != c.truth {
				t.Errorf("%+v", o)
			}
			if c.why != "" && o.Readings[len(o.Readings)-1].Why != c.why && o.Readings[0].Why != c.why && o.Readings[1].Why != c.why {
				t.Errorf("no reading is %s: %+v", c.why, o.Readings)
			}
			sent := strings.Join(api.queried(), "\n")
			if !strings.Contains(sent, `slo:sli_error:ratio_rate5m{sloth_id="shop-a"}`) || strings.Contains(sent, `a_total{code="500"}[5m]`) {
				t.Errorf("what is recorded was not read:\n%s", sent)
			}
			if c.truth == engine.False && !strings.Contains(sent, `a_total{code="500"}[10m]`) {
				t.Errorf("a window that nobody records was not asked for raw:\n%s", sent)
			}
			if strings.Contains(sent, "shop-b") || !strings.Contains(sent, "b_total") {
				t.Errorf("b is evaluated raw:\n%s", sent)
			}
		})
	}
	// What is recorded of many services is read by one request a window.
	var files []string
	for _, name := range []string{"a", "b", "c"} {
		files = append(files, name+".yaml", strings.Replace(strings.Replace(file, "service: shop", "service: "+name, 1), "    min_events: 100\n", "", 1))
	}
	recordings := &funcAPI{query: func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return model.Vector{}, nil, nil
	}}
	many := load(t, files...)
	New(many, only(recordings), Options{}).Evaluate(t.Context(), everything(many, noon))
	seen := map[string]int{}
	for _, q := range recordings.queried() {
		if strings.HasPrefix(q, "slo:sli_error:ratio_rate") {
			name, selector, _ := strings.Cut(q, "{")
			seen[name]++
			if selector != `sloth_id=~"a-a|b-a|c-a"}` {
				t.Errorf("sent %s", q)
			}
		}
	}
	for _, window := range []string{"5m", "30m"} {
		if n := seen["slo:sli_error:ratio_rate"+window]; n != 1 {
			t.Errorf("%d requests for %s: %v", n, window, seen)
		}
	}
	if q, ok := set.Services[0].RecordedQuery(set.Services[0].SLO("a"), set.Services[0].SLO("a").Period); !ok || q != `slo:sli_error:ratio_rate30d{sloth_id="shop-a"}` {
		t.Errorf("over the period: %q", q)
	}
}
