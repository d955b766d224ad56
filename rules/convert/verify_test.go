package convert

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

// noon is when the past that is looked at begins.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// outage is a time in which a share of the requests fail.
type outage struct {
	from, to time.Duration // from noon
	share    float64
}

// traffic draws two counters that are scraped every 30 s, of a code each.
func traffic(t *testing.T, rate func(time.Duration) float64, outages ...outage) *series.API {
	t.Helper()
	const step = 30 * time.Second
	good := series.Series{Labels: labels.FromStrings("__name__", "requests_total", "job", "a", "code", "200")}
	bad := series.Series{Labels: labels.FromStrings("__name__", "requests_total", "job", "a", "code", "500")}
	g, b := 0.0, 0.0
	for d := -24 * time.Hour; d <= 12*time.Hour; d += step {
		n, share := rate(d)*step.Seconds(), 0.0
		for _, o := range outages {
			if d >= o.from && d < o.to {
				share = o.share
			}
		}
		g, b = g+n*(1-share), b+n*share
		at := noon.Add(d).UnixMilli()
		good.Samples = append(good.Samples, series.Sample{At: at, Value: g})
		bad.Samples = append(bad.Samples, series.Sample{At: at, Value: b})
	}
	store, err := series.New(good, bad)
	if err != nil {
		t.Fatal(err)
	}
	return store.API()
}

func steady(time.Duration) float64 { return 10 }

const slothFile = `version: prometheus/v1
service: a
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(requests_total{job="a",code="500"}[{{.window}}]))
        total_query: sum(rate(requests_total{job="a"}[{{.window}}]))
    alerting: {name: A}
`

const pyrraFile = `apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: availability}
spec:
  target: "99.9"
  window: 4w
  indicator:
    ratio:
      errors: {metric: 'requests_total{job="a",code="500"}'}
      total: {metric: 'requests_total{job="a"}'}
`

func imported(t *testing.T, tool Tool, text string) *Result {
	t.Helper()
	result, err := Import(tool, []rules.File{{Name: "a.yaml", Data: []byte(text)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func verified(t *testing.T, api v1.API, result *Result, hours time.Duration) Verified {
	t.Helper()
	out, err := Verify(t.Context(), api, result, VerifyOptions{From: noon, To: noon.Add(hours * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 {
		t.Fatalf("%d SLOs", len(out))
	}
	return out[0]
}

func (v *Verified) tier(t *testing.T, severity engine.Severity) TierVerified {
	t.Helper()
	for _, x := range v.Tiers {
		if x.Severity == severity {
			return x
		}
	}
	t.Fatalf("no %s", severity)
	return TierVerified{}
}

// The same queries with the same limits come to the same, instant by instant, in an outage too.
func TestAnImportOfSlothIsTheSameOverAnOutage(t *testing.T) {
	api := traffic(t, steady, outage{time.Hour, 80 * time.Minute, 1}, outage{3 * time.Hour, 5 * time.Hour, 0.01})
	v := verified(t, api, imported(t, Sloth, slothFile), 6)
	if !v.Same() || !v.Seen() {
		t.Errorf("not the same: %+v", v)
	}
	if len(v.Windows) != 7 {
		t.Errorf("%d windows, want the seven of Sloth's alerts", len(v.Windows))
	}
	for _, w := range v.Windows {
		if w.Compared == 0 || w.Greatest > sameRatio {
			t.Errorf("%+v", w)
		}
	}
	for _, severity := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
		tier := v.tier(t, severity)
		if tier.Both == 0 || tier.OnlyOurs+tier.OnlyTheirs > 0 || tier.Why() != "" {
			t.Errorf("%+v", tier)
		}
	}
}

// Pyrra's alerts wait, and ours do not: that is the only difference.
func TestAnImportOfPyrraDiffersByItsWaiting(t *testing.T) {
	api := traffic(t, steady, outage{time.Hour, 80 * time.Minute, 1})
	v := verified(t, api, imported(t, Pyrra, pyrraFile), 4)
	if !v.Same() {
		t.Errorf("not the same: %+v", v)
	}
	page := v.tier(t, engine.SeverityPage)
	// At a total outage 14 over 1h is true within the first minute, and fires two minutes later.
	if page.OnlyOurs != 2*time.Minute || page.OnlyTheirs != 0 || page.Because[CauseFor] != 2*time.Minute || page.Why() != "for 2m" || page.Both < 20*time.Minute {
		t.Errorf("%+v", page)
	}
	if !page.First.After(noon.Add(time.Hour)) || page.First.After(noon.Add(time.Hour+2*time.Minute)) {
		t.Errorf("first at %s", page.First)
	}
	// The slow one waits for an hour and ends with its short window; the one for the long term waits for three.
	ticket := v.tier(t, engine.SeverityTicket)
	if ticket.OnlyOurs < 90*time.Minute || ticket.Because[CauseFor] != ticket.OnlyOurs || ticket.OnlyTheirs != 0 || ticket.Both < time.Hour {
		t.Errorf("%+v", ticket)
	}
}

// What is really different is found, whether it is a limit or a query.
func TestAWrongImportIsFound(t *testing.T) {
	api := traffic(t, steady, outage{time.Hour, 80 * time.Minute, 0.05})
	for name, change := range map[string][2]string{
		"factor": {"    alerting:", "    windows: [{severity: page, long: 1h, short: 5m, factor: 144}, {severity: page, long: 6h, short: 30m, factor: 60}]\n    alerting:"},
		"query":  {`code="500"`, `code="404"`},
	} {
		result := imported(t, Sloth, slothFile)
		s := &result.Services[0]
		if s.Text = bytes.Replace(s.Text, []byte(change[0]), []byte(change[1]), 1); !bytes.Contains(s.Text, []byte(change[1])) {
			t.Fatalf("%s is not in\n%s", change[0], s.Text)
		}
		v := verified(t, api, result, 3)
		page := v.tier(t, engine.SeverityPage)
		if v.Same() || page.OnlyTheirs == 0 || page.Both > 0 {
			t.Errorf("%s: %+v", name, v)
		}
		if name == "factor" && page.Unexplained != page.OnlyTheirs {
			t.Errorf("%s is explained by %s", name, page.Why())
		}
	}
}

// A quiet night with errors weighs in Sloth's mean what a busy day does, and here what its requests do.
func TestTheWaysToSumUpAPeriodAreCompared(t *testing.T) {
	day := func(d time.Duration) float64 {
		if d < 2*time.Hour {
			return 1
		}
		return 100
	}
	api := traffic(t, day, outage{time.Hour, 2 * time.Hour, 0.5})
	v := verified(t, api, imported(t, Sloth, slothFile), 4)
	if v.Span == nil || v.Span.Mean < 0.1 || v.Span.Mean > 0.15 || v.Span.Weighted < 0.002 || v.Span.Weighted > 0.003 {
		t.Errorf("%+v", v.Span)
	}
	if v := verified(t, api, imported(t, Pyrra, pyrraFile), 4); v.Span != nil {
		t.Errorf("Pyrra weights by traffic as we do: %+v", v.Span)
	}
}

// routes draws the traffic of two routes: of the small one a share fails for an hour.
func routes(t *testing.T) *series.API {
	t.Helper()
	var list []series.Series
	for _, route := range []string{"a", "b"} {
		for _, code := range []string{"200", "500"} {
			s := series.Series{Labels: labels.FromStrings("__name__", "requests_total", "route", route, "code", code)}
			v := 0.0
			for d := -24 * time.Hour; d <= 4*time.Hour; d += 30 * time.Second {
				switch share := 0.05; {
				case route == "a" && code == "200":
					v += 30 * 1000
				case route == "b" && code == "200":
					v += 30 * (1 - share)
				case route == "b" && d >= time.Hour && d < 2*time.Hour:
					v += 30 * share
				}
				s.Samples = append(s.Samples, series.Sample{At: noon.Add(d).UnixMilli(), Value: v})
			}
			list = append(list, s)
		}
	}
	store, err := series.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return store.API()
}

var byRoute = strings.NewReplacer(`sum(rate(requests_total{job="a",code="500"}`, `sum by (route) (rate(requests_total{code="500"}`, `sum(rate(requests_total{job="a"}`, `sum by (route) (rate(requests_total`)

// One group of many that burns is an alert of Sloth's, and not of the sum; that is told as such, with the group and the instant.
func TestGroupsAreToldAsTheCause(t *testing.T) {
	v := verified(t, routes(t), imported(t, Sloth, byRoute.Replace(slothFile)), 3)
	page := v.tier(t, engine.SeverityPage)
	if page.OnlyTheirs == 0 || page.Because[CauseGroups] != page.OnlyTheirs || page.Series != `{route="b"}` || !v.Same() {
		t.Errorf("%+v", v)
	}
	if w := v.Windows[0]; w.Groups != 2 || w.Unexplained > 0 || w.Because != CauseGroups || w.Series != `{route="b"}` || w.At.Before(noon.Add(time.Hour)) || w.Greatest < 0.04 {
		t.Errorf("%+v", w)
	}
}

// That there are groups explains nothing but what comes of them: a wrong import of them is found, with the instant.
func TestGroupsExplainNoOtherDifference(t *testing.T) {
	for name, change := range map[string][2]string{
		"factor":       {"    alerting:", "    windows: [{severity: page, long: 1h, short: 5m, factor: 0.001}, {severity: page, long: 6h, short: 30m, factor: 0.001}]\n    alerting:"},
		"errors":       {`code="500"`, `code="404"`},
		"twice":        {`sum(sum by (route) (rate(requests_total{code="500"}[{{.window}}])))`, `2 * sum(sum by (route) (rate(requests_total{code="500"}[{{.window}}])))`},
		"total":        {`sum by (route) (rate(requests_total[{{.window}}]))`, `sum by (route) (rate(requests_total{route="b"}[{{.window}}]))`},
		"no error yet": {`code="500"`, `code="500",route="a"`},
	} {
		result := imported(t, Sloth, byRoute.Replace(slothFile))
		s := &result.Services[0]
		if s.Text = bytes.Replace(s.Text, []byte(change[0]), []byte(change[1]), 1); !bytes.Contains(s.Text, []byte(change[1])) {
			t.Fatalf("%s is not in\n%s", change[0], s.Text)
		}
		v := verified(t, routes(t), result, 3)
		page := v.tier(t, engine.SeverityPage)
		w := v.Windows[0]
		if v.Same() {
			t.Errorf("%s is not found: %+v", name, v)
		}
		if name == "factor" { // the ratios are right, and ours burns where all groups together hardly do
			if page.Unexplained == 0 || w.Unexplained > 0 || page.First.Before(noon.Add(time.Hour)) {
				t.Errorf("%s: %+v", name, page)
			}
			continue
		}
		if w.Unexplained == 0 || w.Because != "" || w.First.IsZero() {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// A limit that is too high is found though a group burns: all of them together are above theirs.
func TestALimitIsFoundThoughThereAreGroups(t *testing.T) {
	var list []series.Series
	for _, route := range []string{"a", "b"} {
		for code, share := range map[string]float64{"200": 0.8, "500": 0.2} {
			s := series.Series{Labels: labels.FromStrings("__name__", "requests_total", "route", route, "code", code)}
			for d := -24 * time.Hour; d <= 2*time.Hour; d += 30 * time.Second {
				s.Samples = append(s.Samples, series.Sample{At: noon.Add(d).UnixMilli(), Value: share * 10 * (d + 24*time.Hour).Seconds()})
			}
			list = append(list, s)
		}
	}
	store, err := series.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	result := imported(t, Sloth, byRoute.Replace(slothFile))
	s := &result.Services[0]
	s.Text = bytes.Replace(s.Text, []byte("    alerting:"), []byte("    windows: [{severity: page, long: 1h, short: 5m, factor: 300}, {severity: page, long: 6h, short: 30m, factor: 300}]\n    alerting:"), 1)
	v := verified(t, store.API(), result, 1)
	if page := v.tier(t, engine.SeverityPage); v.Same() || page.Unexplained != page.OnlyTheirs || page.OnlyTheirs == 0 || page.Series == "" {
		t.Errorf("%+v", page)
	}
}

// A ratio of several series is none of ours, which is unknown: that is its groups, not that nothing could be seen.
func TestAGroupedRatioIsToldAsGroups(t *testing.T) {
	text := strings.Replace(byRoute.Replace(slothFile), `      events:
        error_query: sum by (route) (rate(requests_total{code="500"}[{{.window}}]))
        total_query: sum by (route) (rate(requests_total[{{.window}}]))
`, `      raw:
        error_ratio_query: sum by (route) (rate(requests_total{code="500"}[{{.window}}])) / sum by (route) (rate(requests_total[{{.window}}]))
`, 1)
	v := verified(t, routes(t), imported(t, Sloth, text), 3)
	page := v.tier(t, engine.SeverityPage)
	if page.OnlyTheirs == 0 || page.Because[CauseGroups] != page.OnlyTheirs || !v.Same() || v.Windows[0].OnlyTheirs == 0 || v.Windows[0].Because != CauseGroups {
		t.Errorf("%+v", v)
	}
}

// longAlone has a condition without a short window.
const longAlone = `apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: a
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {spec: {query: 'sum(rate(requests_total{code="500"}[{{.window}}]))'}}}
        total: {metricSource: {spec: {query: 'sum(rate(requests_total[{{.window}}]))'}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
  alertPolicies:
    - metadata: {name: fast}
      spec:
        alertWhenBreaching: true
        conditions: [{spec: {severity: page, condition: {kind: burnrate, op: gt, threshold: 14, lookbackWindow: 1h}}}]
`

// A condition without a short window goes on after the errors have ended.
func TestAnAddedShortWindowEndsAnAlertSooner(t *testing.T) {
	v := verified(t, traffic(t, steady, outage{time.Hour, 80 * time.Minute, 1}), imported(t, OpenSLO, longAlone), 4)
	page := v.tier(t, engine.SeverityPage)
	if page.OnlyOurs != 0 || page.OnlyTheirs < 50*time.Minute || page.Because[CauseShort] != page.OnlyTheirs || !v.Same() {
		t.Errorf("%+v", page)
	}
}

// An alert without a short window that ours does not follow while the errors go on is no matter of the short window.
func TestAShortWindowExplainsNothingWhileItBurns(t *testing.T) {
	result := imported(t, OpenSLO, longAlone)
	s := &result.Services[0]
	was := s.Text
	if s.Text = bytes.Replace(s.Text, []byte("factor: 14}"), []byte("factor: 900}"), 1); bytes.Equal(was, s.Text) {
		t.Fatalf("no factor in\n%s", was)
	}
	v := verified(t, traffic(t, steady, outage{time.Hour, 80 * time.Minute, 1}), result, 4)
	if page := v.tier(t, engine.SeverityPage); v.Same() || page.Unexplained < 15*time.Minute || page.Because[CauseShort] < 50*time.Minute || page.First.After(noon.Add(time.Hour+5*time.Minute)) {
		t.Errorf("%+v", page)
	}
}

// away is a server that refuses one of our queries.
type away struct{ v1.API }

func (a away) Query(ctx context.Context, q string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	if at.After(noon.Add(time.Hour)) {
		return nil, nil, nil, errors.New("the server is away")
	}
	return a.API.Query(ctx, q, at, opts...)
}

func (a away) QueryRange(context.Context, string, v1.Range, ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	return nil, nil, nil, errors.New("the server is away")
}

// What was not answered is no quiet night, and where nothing is there nothing was compared.
func TestAnAnswerThatIsMissingIsNoAgreement(t *testing.T) {
	result := imported(t, Sloth, slothFile)
	_, err := Verify(t.Context(), away{traffic(t, steady)}, result, VerifyOptions{From: noon, To: noon.Add(2 * time.Hour)})
	if err == nil || !strings.Contains(err.Error(), "the server is away") {
		t.Errorf("error %v", err)
	}
	empty, err := series.New()
	if err != nil {
		t.Fatal(err)
	}
	v := verified(t, empty.API(), result, 1)
	if v.Seen() {
		t.Errorf("%+v", v)
	}
	var wrong *UsageError
	if _, err := Verify(t.Context(), empty.API(), result, VerifyOptions{From: noon, To: noon}); !errors.As(err, &wrong) {
		t.Errorf("no time at all: %v", err)
	}
}
