package prom

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/test/promtest"
)

// service is a rule file with one SLO without alerts and one transition.
func service(name, sli, more, when string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: %s
slos:
  - name: s
    objective: 99.9
    sli: %s
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
%s
slis:
  - {name: latency, query: 'max(latency)', unit: seconds, max_age: 2m}
  - {name: vanished, query: 'max(vanished)', unit: seconds}
  - {name: undefined, query: 'max(idle_seconds) / max(idle_seconds)', unit: seconds}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: '%s'}
`, name, sli, more, when)
}

// events is an SLI of errors and total of one counter.
func events(metric string) string {
	return fmt.Sprintf(`{events: {error_query: 'sum(rate(%s{code=~"5.."}[{{.window}}]))', total_query: 'sum(rate(%s[{{.window}}]))'}}`, metric, metric)
}

func raw(query string) string { return fmt.Sprintf(`{raw: {error_ratio_query: '%s'}}`, query) }

// shopData is two hours of a shop's samples up to noon.
func shopData() []promtest.Series {
	ten := func(metric string, until time.Duration, perSecond float64) promtest.Series {
		return promtest.Counter(metric, noon.Add(-2*time.Hour), noon.Add(until), 15*time.Second, 1000, 15*perSecond)
	}
	return []promtest.Series{
		ten(`bad_total{code="200"}`, 0, 10),
		ten(`bad_total{code="500"}`, 0, 1),
		ten(`good_total{code="200"}`, 0, 10),
		ten(`idle_total{code="200"}`, 0, 0),
		ten(`idle_total{code="500"}`, 0, 0),
		ten(`few_total{code="500"}`, 0, 0.1),
		ten(`stale_total{code="500"}`, -10*time.Minute, 10),
		ten(`long_gone_total`, -time.Hour, 1),
		ten(`outage_errors_total`, 0, 10.5), // counted a little ahead of outage_total
		ten(`outage_total`, 0, 10),
		{Metric: "idle_seconds", Samples: []promtest.Sample{{At: noon, Value: 0}}},
		{Metric: `latency{pod="a"}`, Samples: []promtest.Sample{{At: noon.Add(-3 * time.Minute), Value: 0.7}}},
		{Metric: "vanished", Samples: []promtest.Sample{{At: noon.Add(-time.Minute), Value: 1}, {At: noon.Add(-30 * time.Second), Value: promtest.Stale}}},
		{Metric: `ALERTS{alertname="Down",alertstate="firing",pod="a"}`, Samples: []promtest.Sample{{At: noon, Value: 1}}},
		{Metric: `ALERTS{alertname="Down",alertstate="firing",pod="b"}`, Samples: []promtest.Sample{{At: noon, Value: 1}}},
		{Metric: `ALERTS{alertname="Slow",alertstate="pending"}`, Samples: []promtest.Sample{{At: noon, Value: 1}}},
	}
}

func TestWhatASourceDoesIsNeverMistakenForWhatAServiceDoes(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	const burns = `burn_rate("s", "5m") > 1.0`
	const burnsHour = `burn_rate("s", "1h") > 1.0`
	for _, c := range []struct {
		name   string
		sli    string
		more   string // of the SLO
		when   string
		fault  fault
		truth  engine.Truth
		why    engine.Why // of the one reading
		detail string
	}{
		{"errors above the budget burn", events("bad_total"), "", burns, nil, engine.True, "", ""},
		{"a service that never failed has no error series and does not burn", events("good_total"), "", burns, nil, engine.False, "", ""},
		{"a ratio is a ratio", raw(`sum(rate(bad_total{code="500"}[{{.window}}])) / sum(rate(bad_total[{{.window}}]))`), "", burns, nil, engine.True, "", ""},
		{"a scalar is a ratio too", raw(`scalar(sum(rate(bad_total{code="500"}[{{.window}}]))) / 11`), "", burns, nil, engine.True, "", ""},
		{"counters a little out of step in an outage are an outage", `{events: {error_query: 'sum(rate(outage_errors_total[{{.window}}]))', total_query: 'sum(rate(outage_total[{{.window}}]))'}}`, "", burns, nil, engine.True, "", ""},
		{"an alert that fires twice fires", events("bad_total"), "", `alert("Down")`, nil, engine.True, "", ""},
		{"an alert that is pending does not fire", events("bad_total"), "", `alert("Slow")`, nil, engine.False, "", ""},
		{"an info is no warning", events("bad_total"), "", burns, adding("infos", "PromQL info: a hint"), engine.True, "", ""},

		{"refused", events("bad_total"), "", burns, nil, engine.Unknown, engine.WhyFailed, "connection refused"},
		{"a bad request keeps Prometheus's message", events("bad_total"), "", burns, say(400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error"}`), engine.Unknown, engine.WhyFailed, `invalid parameter "query": 1:5: parse error`},
		{"a query that cannot be executed", events("bad_total"), "", burns, say(422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples"}`), engine.Unknown, engine.WhyFailed, "too many samples"},
		{"not authorized", events("bad_total"), "", burns, say(401, "Unauthorized"), engine.Unknown, engine.WhyFailed, "401: Unauthorized"},
		{"an error is as long as it wants to be", events("bad_total"), "", burns, say(500, strings.Repeat("oops ", 1000)), engine.Unknown, engine.WhyFailed, "500: oops"},
		{"503 of a gateway", events("bad_total"), "", burns, say(503, "<html>no upstream</html>"), engine.Unknown, engine.WhyFailed, "no upstream"},
		{"503 of a query that took too long", events("bad_total"), "", burns, say(503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`), engine.Unknown, engine.WhyTimeout, "query timed out"},
		{"hanging", events("bad_total"), "", burns, hang, engine.Unknown, engine.WhyTimeout, "no answer in time"},
		{"truncated JSON", events("bad_total"), "", burns, truncated, engine.Unknown, engine.WhyFailed, "unexpected end of JSON"},
		{"a connection that breaks", events("bad_total"), "", burns, broken, engine.Unknown, engine.WhyFailed, "EOF"},
		{"a login page", events("bad_total"), "", burns, say(200, "<html>please log in</html>"), engine.Unknown, engine.WhyFailed, "invalid character"},
		{"an error that calls itself success", events("bad_total"), "", burns, say(200, `{"status":"error","errorType":"internal","error":"broken"}`), engine.Unknown, engine.WhyFailed, "internal: broken"},
		{"JSON of another kind", events("bad_total"), "", burns, say(200, `{}`), engine.Unknown, engine.WhyInvalid, "without a value"},
		{"an answer without end", events("bad_total"), "", burns, endless, engine.Unknown, engine.WhyFailed, "4 MiB"},
		{"a warning", events("bad_total"), "", burns, adding("warnings", "store gateway is away"), engine.Unknown, engine.WhyPartial, "store gateway is away"},
		{"a warning leaves an alert unknown too", events("bad_total"), "", `alert("Down")`, adding("warnings", "store gateway is away"), engine.Unknown, engine.WhyPartial, "store gateway is away"},
		{"an alert nobody can ask for is not silent", events("bad_total"), "", `alert("Slow")`, say(500, ""), engine.Unknown, engine.WhyFailed, "500"},

		{"a clock that is ahead", events("bad_total"), "", burns, ahead(time.Hour), engine.Unknown, engine.WhyStale, "clock is"},
		{"a clock that is a little ahead", events("bad_total"), "", burns, ahead(20 * time.Second), engine.True, "", ""},
		{"a clock that is behind", events("bad_total"), "", burns, ahead(-time.Hour), engine.True, "", ""}, // its samples are there all the same

		{"no such metric", events("absent_total"), "", burns, nil, engine.Unknown, engine.WhyAbsent, "no such series"},
		{"no such metric is not good", events("absent_total"), "    no_traffic: good", burns, nil, engine.Unknown, engine.WhyAbsent, "no such series"},
		{"errors of a metric that never was are not none", `{events: {error_query: 'sum(rate(misspelt_total[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyAbsent, "no such series: misspelt_total was never there"},
		{"errors of a metric that was are none", `{events: {error_query: 'sum(rate(long_gone_total[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.False, "", ""},
		{"a bucket that the histogram does not have", `{events: {error_query: 'sum(rate(bad_total[{{.window}}])) - sum(rate(good_total{le="0.3"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyAbsent, "a part of it has no series"},
		{"one kind of errors of two", `{events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}])) + sum(rate(bad_total{code="599"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyAbsent, "a part of it has no series"},
		{"a ratio of nothing", raw(`sum(rate(absent_total{code="500"}[{{.window}}])) / sum(rate(absent_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyAbsent, "no such series"},
		{"a vanished target", events("bad_total"), "", `sli("vanished") > 0.0`, nil, engine.Unknown, engine.WhyAbsent, "no such series"},
		{"an old sample of a gauge", events("bad_total"), "", `sli("latency") > 0.0`, nil, engine.Unknown, engine.WhyStale, "3m0s old, more than max_age 2m"},
		{"an hour's rate of a target gone ten minutes ago", events("stale_total"), "", burnsHour, nil, engine.Unknown, engine.WhyStale, "no sample in the last 5m"},
		{"which a longer max_age accepts", events("stale_total"), "    max_age: 11m", burnsHour, nil, engine.True, "", ""},
		{"and a slightly shorter one does not", events("stale_total"), "    max_age: 599s", burnsHour, nil, engine.Unknown, engine.WhyStale, "10m0s old"},
		{"not a number", events("bad_total"), "", `sli("undefined") > 0.0`, nil, engine.Unknown, engine.WhyNotFinite, "NaN"},
		{"an infinite ratio", raw(`sum(rate(bad_total[{{.window}}])) / sum(rate(idle_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyNotFinite, "+Inf"},
		{"an infinite total", `{events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}])) / 0'}}`, "", burns, nil, engine.Unknown, engine.WhyNotFinite, "+Inf"},
		{"two series", `{events: {error_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))', total_query: 'sum by (code) (rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyInvalid, `{code="200"}`},
		{"two error series", `{events: {error_query: 'sum by (code) (rate(bad_total[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyInvalid, `{code="500"}`},
		{"a ratio above 1", raw(`sum(rate(bad_total[{{.window}}])) / sum(rate(bad_total{code="500"}[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyInvalid, "not in [0, 1]"},
		{"a percentage", raw(`100 * sum(rate(bad_total{code="500"}[{{.window}}])) / sum(rate(bad_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyInvalid, "not in [0, 1]"},
		{"a ratio below 0", raw(`-1 * sum(rate(bad_total{code="500"}[{{.window}}])) / sum(rate(bad_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyInvalid, "not in [0, 1]"},
		{"a few more good events than there are", raw(`1 - 1.02 * sum(rate(bad_total[{{.window}}])) / sum(rate(bad_total[{{.window}}]))`), "", burns, nil, engine.False, "", ""},
		{"many more good events than there are", raw(`1 - 1.2 * sum(rate(bad_total[{{.window}}])) / sum(rate(bad_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyInvalid, "not in [0, 1]"},
		{"a few more good events, in events", `{events: {error_query: '(sum(rate(bad_total[{{.window}}]))) - (1.02 * sum(rate(bad_total[{{.window}}])))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.False, "", ""},
		{"all events taken from the good ones", `{events: {error_query: '0.98 * sum(rate(bad_total[{{.window}}])) - sum(rate(bad_total[{{.window}}]))', total_query: 'sum(rate(bad_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyInvalid, "fewer than none"},
		{"more errors than events", `{events: {error_query: 'sum(rate(bad_total[{{.window}}]))', total_query: 'sum(rate(bad_total{code="500"}[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyInvalid, "in a total of"},
		{"errors without events", `{events: {error_query: 'sum(rate(bad_total[{{.window}}]))', total_query: 'sum(rate(idle_total[{{.window}}]))'}}`, "", burns, nil, engine.Unknown, engine.WhyInvalid, "in a total of 0"},

		{"no traffic", events("idle_total"), "", burns, nil, engine.Unknown, engine.WhyNoTraffic, "no events in 5m"},
		{"no traffic in a ratio", raw(`sum(rate(idle_total{code="500"}[{{.window}}])) / sum(rate(idle_total[{{.window}}]))`), "", burns, nil, engine.Unknown, engine.WhyNoTraffic, "0 of 0 events in 5m"},
		{"no traffic that is good", events("idle_total"), "    no_traffic: good", burns, nil, engine.False, "", ""},
		{"no traffic that is good in a ratio", raw(`sum(rate(idle_total{code="500"}[{{.window}}])) / sum(rate(idle_total[{{.window}}]))`), "    no_traffic: good", burns, nil, engine.False, "", ""},
		{"few events", events("few_total"), "    min_events: 31", burns, nil, engine.Unknown, engine.WhyFewEvents, "30 events in 5m"},
		{"just enough events", events("few_total"), "    min_events: 30", burns, nil, engine.True, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy := newProxy(t, prometheus.URL)
			proxy.spoil(c.fault)
			opts := Options{QueryOffset: -1}
			if c.name == "refused" {
				proxy.Close()
			}
			if c.name == "hanging" {
				opts.QueryTimeout = 200 * time.Millisecond
			}
			set := load(t, "shop.yaml", service("shop", c.sli, c.more, c.when))
			a := New(set, dial(t, proxy.URL), opts).Evaluate(t.Context(), everything(set, noon))
			o := condition(t, set, a, "shop", "shed.when")
			blind := c.why.Blind()
			if !o.Asked || o.Truth != c.truth || o.Blind != blind {
				t.Errorf("asked %v, %v, blind %v; want %v, blind %v\n%+v", o.Asked, o.Truth, o.Blind, c.truth, blind, o.Readings)
			}
			if len(o.Readings) != 1 {
				t.Fatalf("readings: %+v, want one", o.Readings)
			}
			r := o.Readings[0]
			if r.Why != c.why || !strings.Contains(r.Detail, c.detail) || c.why == "" && r.Detail != "" || len(r.Detail) > maxDetail {
				t.Errorf("reading %+v, want %q …%s…", r, c.why, c.detail)
			}
			if r.Query == "" || r.Source != "main" {
				t.Errorf("reading %+v lacks where it is from", r)
			}
			// With a single scope, what it cannot see is what the source does not show.
			if s := a.Sources[0]; !s.Asked || s.Blind != blind || a.SourceBlind["shop"] != blind || blind && !strings.Contains(s.Detail, string(c.why)) {
				t.Errorf("the source showed %+v, blindness its own: %v; want blind %v", s, a.SourceBlind["shop"], blind)
			}
		})
	}
}

// A value over a page's short window proves samples of late, where that is asked for at each tick anyhow.
func TestALongWindowOfATargetThatIsGoneIsStaleByTheShortOneToo(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	for _, c := range []struct {
		metric string
		truth  engine.Truth
		why    engine.Why
	}{{"stale_total", engine.Unknown, engine.WhyStale}, {"bad_total", engine.True, ""}} {
		proxy := newProxy(t, prometheus.URL)
		set := load(t, "shop.yaml", strings.Replace(tiers("shop", c.metric), `when: 'burning("availability", "page")'`, `when: 'burn_rate("availability", "1h") > 1.0'`, 1))
		a := New(set, dial(t, proxy.URL), Options{QueryOffset: -1}).Evaluate(t.Context(), everything(set, noon))
		o := condition(t, set, a, "shop", "shed.when")
		if r := o.Readings[0]; o.Truth != c.truth || r.Why != c.why || c.why != "" && r.Detail != "no sample in the last 5m" {
			t.Errorf("%s: %+v", c.metric, o)
		}
		for _, q := range proxy.sent() {
			if strings.Contains(q.Get("query"), "timestamp") {
				t.Errorf("%s: %s was asked for", c.metric, q.Get("query"))
			}
		}
	}
}

func TestAServerThatHangsForRealAndComesBackEmptyIsBlindUntilItHasSamplesAgain(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	p.Push(shopData()...)
	set := load(t, "shop.yaml", service("shop", events("bad_total"), "", `burn_rate("s", "5m") > 1.0`))
	e := New(set, dial(t, p.URL), Options{QueryOffset: -1, QueryTimeout: 500 * time.Millisecond})
	expect := func(when string, truth engine.Truth, why engine.Why) {
		t.Helper()
		a := e.Evaluate(t.Context(), everything(set, noon))
		o := condition(t, set, a, "shop", "shed.when")
		if o.Truth != truth || o.Readings[0].Why != why || a.Sources[0].Blind != why.Blind() {
			t.Errorf("%s: %+v, source %+v; want %v %q", when, o, a.Sources[0], truth, why)
		}
	}
	expect("with samples", engine.True, "")
	p.Pause()
	expect("paused", engine.Unknown, engine.WhyTimeout)
	p.Resume()
	p.RestartEmpty()
	expect("empty", engine.Unknown, engine.WhyAbsent)
	p.Push(shopData()...)
	expect("with samples again", engine.True, "")
	p.Kill()
	expect("killed", engine.Unknown, engine.WhyFailed)
}

func TestASourceIsBlindOnlyIfItShowsNobodyAnything(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	const burns = `burn_rate("s", "5m") > 1.0`
	absent, idle, bad := events("absent_total"), events("idle_total"), events("bad_total")
	for _, c := range []struct {
		name        string
		a, b        string // the SLIs of two services
		when        string // of the second
		sourceBlind bool
	}{
		{"both see", bad, bad, burns, false},
		{"one is blind, the other sees", absent, bad, burns, false},
		{"one is blind, the other sees that nothing happens", absent, idle, burns, false},
		{"both are blind", absent, absent, burns, true},
		{"one is blind, the other has a silent alert, which shows nothing", absent, bad, `alert("Slow")`, true},
		{"one is blind, the other has an alert that fires", absent, bad, `alert("Down")`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set := load(t, "a.yaml", service("a", c.a, "", burns), "b.yaml", service("b", c.b, "", c.when))
			a := New(set, dial(t, prometheus.URL), Options{QueryOffset: -1}).Evaluate(t.Context(), everything(set, noon))
			if a.Sources[0].Blind != c.sourceBlind {
				t.Errorf("the source showed %+v", a.Sources[0])
			}
			for _, scope := range []engine.Scope{"a", "b"} {
				o := condition(t, set, a, scope, "shed.when")
				if a.SourceBlind[scope] != (c.sourceBlind && o.Blind) {
					t.Errorf("%s: blindness the source's: %v, observation %+v", scope, a.SourceBlind[scope], o)
				}
			}
		})
	}
}

// tiers is a service with the tiers of the workbook.
func tiers(name, metric string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: %s
slos:
  - name: availability
    objective: 99.9
    sli: %s
    alerting: {name: Availability, page_alert: {}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")'}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page") && burn_rate("availability", "5m") < 1.0'}
`, name, events(metric))
}

func TestWhileTheShortWindowsAreQuietTheLongOnesAreNotQueried(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(shopData()...)
	for _, c := range []struct {
		metric  string
		truth   engine.Truth
		windows string // queried, in any order
		rounds  int
	}{
		{"good_total", engine.False, "30m 5m", 1},
		{"bad_total", engine.True, "1h 30m 5m", 2},
	} {
		proxy := newProxy(t, prometheus.URL)
		set := load(t, "shop.yaml", tiers("shop", c.metric))
		a := New(set, dial(t, proxy.URL), Options{QueryOffset: 30 * time.Second}).Evaluate(t.Context(), everything(set, noon))
		if o := condition(t, set, a, "shop", "shed.when"); o.Truth != c.truth {
			t.Errorf("%s: %+v, want %v", c.metric, o, c.truth)
		}
		sent := proxy.sent()
		seen := map[string]int{}
		for _, q := range sent {
			for _, w := range []string{"5m", "30m", "1h", "6h"} {
				if strings.Contains(q.Get("query"), "["+w+"]") {
					seen[w]++
				}
			}
			if at := q.Get("time"); at != fmt.Sprint(noon.Add(-30*time.Second).Unix()) {
				t.Errorf("%s: a query was for %s: %s", c.metric, at, q.Get("query"))
			}
		}
		for _, w := range []string{"5m", "30m", "1h", "6h"} {
			if want := strings.Contains(" "+c.windows+" ", " "+w+" "); want != (seen[w] > 0) {
				t.Errorf("%s: %d queries over %s, windows wanted: %s", c.metric, seen[w], w, c.windows)
			}
			if seen[w] > 2 {
				t.Errorf("%s: %d queries over %s; errors and total are asked for once each", c.metric, seen[w], w)
			}
		}
		if a.Stats.Rounds != c.rounds || a.Stats.Queries != len(sent) {
			t.Errorf("%s: %+v, want %d rounds and %d queries", c.metric, a.Stats, c.rounds, len(sent))
		}
	}
}

func TestEvaluateReturnsWithinItsBudgetWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	// The kernel completes the handshake from its backlog; nobody ever accepts.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var files []string
	for i := range 50 {
		name := fmt.Sprintf("service-%02d", i)
		files = append(files, name+".yaml", tiers(name, fmt.Sprintf("metric_%d_total", i)))
	}
	set := load(t, files...)
	for _, c := range []struct {
		name   string
		opts   Options
		within time.Duration
	}{
		{"by the budget", Options{Budget: 500 * time.Millisecond, QueryTimeout: time.Minute}, 500 * time.Millisecond},
		{"by two timeouts of a query", Options{Budget: time.Minute, QueryTimeout: 200 * time.Millisecond}, 400 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			a := New(set, dial(t, "http://"+l.Addr().String()), c.opts).Evaluate(t.Context(), everything(set, noon))
			// A second for a machine that is busy with other things; far less than what is to be avoided.
			if took := time.Since(start); took > c.within+time.Second {
				t.Errorf("it took %v, want %v", took, c.within)
			}
			if !a.Sources[0].Blind || !strings.Contains(a.Sources[0].Detail, string(engine.WhyTimeout)) || len(a.SourceBlind) != 50 {
				t.Errorf("the source showed %+v; blind for %d scopes", a.Sources[0], len(a.SourceBlind))
			}
			for scope, os := range a.Observations {
				for _, o := range os {
					if o.Truth != engine.Unknown || !o.Blind {
						t.Errorf("%s: %+v", scope, o)
					}
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	New(set, dial(t, "http://"+l.Addr().String()), Options{}).Evaluate(ctx, everything(set, noon))
	if took := time.Since(start); took > 1100*time.Millisecond {
		t.Errorf("with a context of 100 ms it took %v", took)
	}
}
