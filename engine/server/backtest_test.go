package server

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/test/promtest"
)

// scrape is the time between two samples of what is pushed.
const scrape = 15 * time.Second

// broken is a service that answers a hundred requests a second, of which a share fails from an instant on for a while. The time before
// the last day is sampled once in ten minutes, for the budget alone.
func broken(service string, share float64, from, at, until, to time.Time) []promtest.Series {
	good := promtest.Series{Metric: `http_requests_total{job="` + service + `",code="200"}`}
	bad := promtest.Series{Metric: `http_requests_total{job="` + service + `",code="500"}`}
	g, b := 0.0, 0.0
	for t := from; !t.After(to); {
		good.Samples = append(good.Samples, promtest.Sample{At: t, Value: g})
		bad.Samples = append(bad.Samples, promtest.Sample{At: t, Value: b})
		step := scrape
		if t.Before(to.Add(-24 * time.Hour)) {
			step = 2 * time.Minute
		}
		failed := 0.0
		if !t.Before(at) && t.Before(until) {
			failed = share
		}
		g += 100 * step.Seconds() * (1 - failed)
		b += 100 * step.Seconds() * failed
		t = t.Add(step)
	}
	return []promtest.Series{good, bad}
}

// shedding are the rules of a service that protects itself while its page burns. when replaces the condition; empty: that.
func shedding(service, when string) string {
	if when == "" {
		when = `burning("availability", "page")`
	}
	return strings.ReplaceAll(`version: modeshift/v1
service: SERVICE
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="SERVICE",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="SERVICE"}[{{.window}}]))
    alerting: {name: Availability}
modes: [{name: normal}, {name: degraded}, {name: failover, beside: true}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: '`+when+`', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page")', for: 10m}
  - name: fail-over
    from: [degraded]
    to: failover
    when: burning("availability", "page") && dwell() > duration("5m")
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 2}], within: 15m}
  - {name: fail-back, from: [failover], to: normal, when: '!burning("availability", "page")', for: 10m}
`, "SERVICE", service)
}

func ruleSet(t *testing.T, files ...string) *rules.Set {
	t.Helper()
	var list []rules.File
	for i, text := range files {
		list = append(list, rules.File{Name: fmt.Sprintf("%d.yaml", i), Data: []byte(text)})
	}
	set, err := rules.Load(list, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// history is a Prometheus with three services whose outages are known. The end is a full hour.
type history struct {
	*promtest.Prometheus
	begin, at, until, end time.Time
}

func newHistory(t *testing.T) *history {
	t.Helper()
	end := time.Now().UTC().Truncate(time.Hour)
	h := &history{promtest.Start(t, promtest.Options{Config: "storage: {tsdb: {out_of_order_time_window: 40d}}"}), end.Add(-6 * time.Hour), end.Add(-3 * time.Hour), end.Add(-3*time.Hour + 10*time.Minute), end}
	from := end.Add(-20 * 24 * time.Hour)
	h.Push(broken("total", 1, from, h.at, h.until, end)...)
	h.Push(broken("partial", 0.15, from, h.at, h.until, end)...)
	h.Push(broken("fine", 0, from, h.at, h.until, end)...)
	return h
}

// options lead all three through the six hours, each under its own rules.
func (h *history) options(t *testing.T) BacktestOptions {
	return BacktestOptions{Prometheus: h.URL, From: h.begin, To: h.end, Approve: -1, Tolerance: 5 * time.Minute,
		Versions: []BacktestRules{{Name: "rules", Set: ruleSet(t, shedding("total", ""), shedding("partial", ""), shedding("fine", ""))}}}
}

func (h *history) run(t *testing.T, o BacktestOptions) *report.Backtest {
	t.Helper()
	b, err := Backtest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABacktestFindsOutagesWithinTheBoundsOfTheClosedForm(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	for _, scope := range []engine.Scope{"total", "partial"} {
		o.Labels = append(o.Labels, report.Label{Service: scope, Severity: "page", Start: h.at, End: h.until})
	}
	b := h.run(t, o)
	// What a closed form says of continuous time is seen at the first tick after the first scrape that shows it, through queries
	// that look five seconds back. A scrape may also show it early: rate() extends to the edges of a window what happened inside.
	const late = scrape + prom.DefaultQueryOffset + fineBacktest
	services := map[string]*report.BacktestService{}
	for i := range b.Versions[0].Services {
		services[string(b.Versions[0].Services[i].Scope)] = &b.Versions[0].Services[i]
	}
	// With budget 0.001: detection k·b/e × L, reset S × (1 − k·b/e). Of the total outage the pair over 6h and 30m holds the page for longest.
	for scope, want := range map[string]struct{ detected, reset time.Duration }{
		"total":   {51840 * time.Millisecond, time.Duration(0.994 * float64(30*time.Minute))},
		"partial": {345600 * time.Millisecond, time.Duration(0.904 * float64(5*time.Minute))},
	} {
		s := services[scope]
		if len(s.Told) == 0 || s.Told[0].Severity != "page" {
			t.Errorf("%s: told %+v, want a page first", scope, s.Told)
			continue
		}
		page := s.Told[0]
		if d := page.Opened.Sub(h.at); d < want.detected-scrape || d > want.detected+late {
			t.Errorf("%s: detected after %v, and the closed form says %v", scope, d, want.detected)
		}
		if d := page.Resolved.Sub(h.until); d < want.reset-scrape || d > want.reset+late {
			t.Errorf("%s: resolved %v after the end, and the closed form says %v", scope, d, want.reset)
		}
		if len(s.Moves) != 2 || !s.Moves[0].At.Equal(page.Opened) || !s.Moves[1].At.Equal(page.Resolved.Add(10*time.Minute)) {
			t.Errorf("%s: moves %+v, want one with the page and one ten minutes after its end", scope, s.Moves)
		}
		if left := s.Budgets[0].Left; !left.Known || left.Remaining > 1-(600*0.15/0.001)/(21*24*3600) {
			t.Errorf("%s: %+v is left of its budget", scope, left)
		}
	}
	if s := services["fine"]; len(s.Told)+len(s.Moves)+len(s.Proposals) != 0 || s.Budgets[0].Left.Remaining != 1 {
		t.Errorf("where nothing failed: %+v", s)
	}
	score := b.Versions[0].Score
	if len(score.False) != 0 || score.Pages.Detected != 2 || *score.Pages.Precision != 1 {
		t.Errorf("score %+v", score)
	}
	for _, hit := range score.Incidents {
		// At the instant of the closed form 2 % of 30 days' budget is spent; these have 20 days of traffic, and are seen later.
		want := hit.Delay.Duration().Seconds() * map[string]float64{"total": 1, "partial": 0.15}[string(hit.Service)] / 0.001 / (30 * 24 * 3600)
		if !hit.SpentKnown || hit.Spent < 0.7*want || hit.Spent > 1.2*want {
			t.Errorf("%s: %v of the budget is spent by the detection, want about %v", hit.Service, hit.Spent, want)
		}
	}
}

func TestABacktestIsWhatInstantQueriesAtEachTickComeTo(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	o.From, o.To, o.Step = h.at.Add(-10*time.Minute), h.at.Add(70*time.Minute), 15*time.Second
	o.Approve = time.Minute
	sparse := h.run(t, o)
	o.EveryTick = true
	ahead := h.run(t, o)
	o.plain = func(api v1.API) v1.API { return api }
	plain := h.run(t, o)
	if plain.Queries < 3*ahead.Queries {
		t.Errorf("%d queries ahead of time and %d at each tick: the comparison says nothing", ahead.Queries, plain.Queries)
	}
	if !reflect.DeepEqual(ahead.Versions, plain.Versions) {
		t.Errorf("ahead of time:\n%+v\nat each tick:\n%+v", ahead.Versions, plain.Versions)
	}
	if !reflect.DeepEqual(moved(sparse), moved(ahead)) {
		t.Errorf("looked at where something happens:\n%+v\nat each tick:\n%+v", sparse.Versions, ahead.Versions)
	}
	if len(sparse.Notes) != len(ahead.Notes)+1 {
		t.Errorf("the notes say %q", sparse.Notes)
	}
	moves := 0
	for i := range ahead.Versions[0].Services {
		moves += len(ahead.Versions[0].Services[i].Moves)
	}
	if moves < 4 {
		t.Errorf("only %d moves", moves)
	}
}

func TestProposalsWaitForPeopleOrAreApprovedAfterAWhile(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	o.Versions[0].Set = ruleSet(t, shedding("total", ""))
	alone := h.run(t, o).Versions[0].Services[0]
	if len(alone.Proposals) == 0 || alone.Proposals[0].Outcome == "approved" || alone.Modes[2].Time != 0 {
		t.Errorf("nobody answers: %+v, modes %+v", alone.Proposals, alone.Modes)
	}
	o.Approve = 0
	if p := h.run(t, o).Versions[0].Services[0].Proposals; len(p) == 0 || p[0].Outcome != "approved" || !p[0].Ended.Equal(p[0].At) {
		t.Errorf("all are approved at once: %+v", p)
	}
	o.Approve = 2 * time.Minute
	answered := h.run(t, o).Versions[0].Services[0]
	if len(answered.Proposals) == 0 || answered.Proposals[0].Outcome != "approved" || answered.Proposals[0].Ended.Sub(answered.Proposals[0].At) != o.Approve {
		t.Fatalf("all are approved: %+v", answered.Proposals)
	}
	if answered.Modes[2].Time == 0 || answered.Moves[1].By != "approval" || answered.Moves[1].To != "failover" {
		t.Errorf("modes %+v, moves %+v", answered.Modes, answered.Moves)
	}
}

func TestTwoVersionsReadTheSameAnswers(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	o.From, o.To = h.at.Add(-30*time.Minute), h.at.Add(90*time.Minute)
	one := h.run(t, o)
	o.Versions = append(o.Versions, BacktestRules{Name: "later", Set: ruleSet(t,
		shedding("total", `burning("availability", "page") && error_ratio("availability", "5m") > 0.5`), shedding("partial", ""), shedding("extra", ""))})
	two := h.run(t, o)
	if !reflect.DeepEqual(one.Versions[0], two.Versions[0]) {
		t.Error("the first version comes to something else beside another one")
	}
	o.Versions = o.Versions[1:]
	if other := h.run(t, o); two.Queries > (one.Queries+other.Queries)*3/4 {
		t.Errorf("%d and %d queries for each version by itself, and %d for both of nearly the same queries", one.Queries, other.Queries, two.Queries)
	}
	said := map[string]bool{}
	for _, d := range two.Differences {
		said[string(d.Scope)+" "+d.What] = true
	}
	if !said["total mode: normal → degraded (shed)"] || !said["extra declared"] || !said["fine declared"] || said["partial moves"] {
		t.Errorf("differences %+v", two.Differences)
	}
}

func TestAVersionWithALongerPeriodKnowsAllOfIt(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	o.From, o.To = h.at.Add(-30*time.Minute), h.at.Add(30*time.Minute)
	version := func(period string) BacktestRules {
		return BacktestRules{Name: period, Set: ruleSet(t, strings.Replace(shedding("partial", ""), "    objective: 99.9\n", "    objective: 99.9\n    period: "+period+"\n", 1))}
	}
	left := func(b *report.Backtest, i int) report.Left { return b.Versions[i].Services[0].Budgets[0].Left }
	o.Versions = []BacktestRules{version("14d")}
	alone := h.run(t, o)
	o.Versions = []BacktestRules{version("7d"), version("14d")}
	beside := h.run(t, o)
	if want := left(alone, 0); !want.Known || left(beside, 1) != want || !left(beside, 0).Known || left(beside, 0) == want {
		t.Errorf("%v is left of 14 days alone, and beside 7 days %v; of those %v", want, left(beside, 1), left(beside, 0))
	}
}

func TestWhatWasUnknownIsToldAsUnknown(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	o := h.options(t)
	o.Versions[0].Set = ruleSet(t, shedding("nowhere", ""))
	o.Step = time.Minute
	s := h.run(t, o).Versions[0].Services[0]
	if span := h.end.Sub(h.begin) + o.Step; s.Unknown.Time.Duration() != span || s.Unknown.Blind.Duration() != span || s.Unknown.Why["absent"].Duration() != span {
		t.Errorf("unknown %+v, want all of %v", s.Unknown, span)
	}
	if len(s.Told) != 1 || s.Told[0].Kind != engine.IncidentBlind {
		t.Errorf("told %+v, want that it cannot be seen", s.Told)
	}
	if s.Budgets[0].Left.Known {
		t.Errorf("budget %+v of a service that nobody has seen", s.Budgets[0].Left)
	}
}

func TestABacktestThatIsNotAnsweredFailsWithTheQueryAndTheSpan(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{Flags: []string{"--query.max-samples=50"}})
	end := time.Now().UTC().Truncate(time.Hour)
	p.Push(broken("total", 1, end.Add(-4*time.Hour), end, end, end)...)
	_, err := Backtest(t.Context(), BacktestOptions{Prometheus: p.URL, From: end.Add(-time.Hour), To: end, Approve: -1, Versions: []BacktestRules{{Name: "rules", Set: ruleSet(t, shedding("total", ""))}}})
	if err == nil || !strings.Contains(err.Error(), `sum(rate(http_requests_total{job="total"`) || !strings.Contains(err.Error(), "too many samples") {
		t.Errorf("%v, want the query and why it cannot be answered", err)
	}
	p.Stop()
	if _, err := Backtest(t.Context(), BacktestOptions{Prometheus: p.URL, From: end.Add(-time.Hour), To: end}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without a server: %v", err)
	}
}

// moved is what rules did and told of.
func moved(b *report.Backtest) (out []any) {
	for i := range b.Versions[0].Services {
		s := &b.Versions[0].Services[i]
		out = append(out, s.Scope, s.Moves, s.Told, s.Proposals)
	}
	return out
}

func TestWhatIsDetectedAtOnceSpentNothingThatCouldBeAskedFor(t *testing.T) {
	t.Parallel()
	set := ruleSet(t, shedding("total", ""))
	b := &backtest{}
	score := &report.Score{Incidents: []report.Hit{{Label: report.Label{Service: "total", Start: time.Unix(1e9, -1000)}, Detected: true, At: time.Unix(1e9, 0), SpentSLO: "availability"}}}
	if err := b.spent(t.Context(), set, score); err != nil || score.Incidents[0].SpentKnown {
		t.Errorf("%v, %+v", err, score.Incidents[0])
	}
}
