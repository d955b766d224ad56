package prom

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/test/promtest"
)

// quickHour are windows of which the hour pages the quickest, within a period of two days.
const quickHour = "[{severity: page, long: 6h, short: 30m, factor: 2}, {severity: page, long: 1h, short: 5m, factor: 4}]"

// budgeted is a service with an SLO of 99 % over two days for each metric.
func budgeted(windows string, metrics ...string) string {
	text := "version: modeshift/v1\nservice: shop\nslos:\n"
	for _, m := range metrics {
		text += "  - name: " + m + "\n    objective: 99\n    period: 2d\n    sli: " + events(m+"_total") + "\n    windows: " + windows +
			"\n    alerting: {name: A, page_alert: {}, ticket_alert: {}}\n"
	}
	return text
}

// twoDays is the errors and successes of a metric, each minute: at a share of errors at first, and at another from turn on.
func twoDays(metric string, before, lately float64, turn time.Duration) []promtest.Series {
	good, bad := promtest.Series{Metric: metric + `_total{code="200"}`}, promtest.Series{Metric: metric + `_total{code="500"}`}
	g, b := 1e6, 1e6
	for ago := 50 * time.Hour; ago >= 0; ago -= time.Minute {
		share := before
		if ago < turn {
			share = lately
		}
		g, b = g+1000*(1-share), b+1000*share
		good.Samples = append(good.Samples, promtest.Sample{At: noon.Add(-ago), Value: g})
		bad.Samples = append(bad.Samples, promtest.Sample{At: noon.Add(-ago), Value: b})
	}
	return []promtest.Series{good, bad}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 0.002*max(1, math.Abs(b)) }

func TestTheBudgetLastsAsLongAsARealPrometheusSays(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	p.Push(twoDays("steady", 0.001, 0.001, 0)...)
	p.Push(twoDays("burning", 0, 0.05, 2*time.Hour)...)
	p.Push(twoDays("spent", 0.02, 0.02, 0)...)
	p.Push(twoDays("mended", 0.005, 0, 3*time.Hour)...)
	p.Push(promtest.Counter(`idle_total{code="200"}`, noon.Add(-50*time.Hour), noon, time.Minute, 5, 0))
	stopped := twoDays("stopped", 0.001, 0.001, 0)
	for i := range stopped {
		n := len(stopped[i].Samples)
		for k := n - 90; k < n; k++ { // nobody came in the last hour and a half
			stopped[i].Samples[k].Value = stopped[i].Samples[n-91].Value
		}
	}
	p.Push(stopped...)

	const day = 24 * time.Hour
	e := New(load(t, "shop.yaml", budgeted(quickHour, "steady", "burning", "spent", "mended", "idle", "stopped", "absent")), dial(t, p.URL), Options{QueryOffset: -1})
	got := e.Budget(t.Context(), "shop", noon)
	for i, want := range []struct {
		slo             string
		remaining, burn float64 // NaN: not known
		lasts           time.Duration
		unknown         engine.Why
		detail          string
	}{
		{"steady", 0.9, 0.1, 18 * day, "", ""},                                                     // 0.9 × 2 d ÷ 0.1
		{"burning", 1 - 5*2.0/48, 5, time.Duration((1 - 5*2.0/48) * 2 * float64(day) / 5), "", ""}, // two of 48 hours at 5
		{"spent", -1, 2, 0, "", ""},
		{"mended", 1 - 0.5*45/48, 0, Forever, "", ""},
		{"idle", math.NaN(), math.NaN(), 0, engine.WhyNoTraffic, "over 2d: no events in 2d"},
		{"stopped", 0.9, math.NaN(), 0, engine.WhyNoTraffic, "over 1h: no events in 1h"},
		{"absent", math.NaN(), math.NaN(), 0, engine.WhyAbsent, "over 2d: no such series"},
	} {
		b := got[i]
		if b.SLO != want.slo || b.Period != 2*day || b.Window != time.Hour {
			t.Errorf("%s: %+v is not its budget over two days, burning over an hour", want.slo, b)
		}
		if b.RemainingKnown == math.IsNaN(want.remaining) || b.RemainingKnown && !near(b.Remaining, want.remaining) {
			t.Errorf("%s: remaining %v (known %v), want %v", want.slo, b.Remaining, b.RemainingKnown, want.remaining)
		}
		if b.BurnKnown == math.IsNaN(want.burn) || b.BurnKnown && !near(b.Burn, want.burn) {
			t.Errorf("%s: burn %v (known %v), want %v", want.slo, b.Burn, b.BurnKnown, want.burn)
		}
		if b.Unknown != want.unknown || !strings.HasPrefix(b.Detail, want.detail) || want.detail == "" && b.Detail != "" {
			t.Errorf("%s: unknown %q, %q; want %q, %q", want.slo, b.Unknown, b.Detail, want.unknown, want.detail)
		}
		if want.lasts == Forever && b.Lasts != Forever || want.lasts != Forever && !near(b.Lasts.Hours(), want.lasts.Hours()) {
			t.Errorf("%s: lasts %v, want %v", want.slo, b.Lasts, want.lasts)
		}
	}
	p.Pause()
	hung := New(load(t, "shop.yaml", budgeted(quickHour, "steady")), dial(t, p.URL), Options{QueryOffset: -1, Budget: 300 * time.Millisecond}).
		Budget(t.Context(), "shop", noon)
	if b := hung[0]; b.Unknown != engine.WhyTimeout || b.RemainingKnown || b.BurnKnown || b.Lasts != 0 {
		t.Errorf("of a source that hangs: %+v", b)
	}
}

func TestHowLongABudgetLastsHasTwoSidesEverywhere(t *testing.T) {
	const period = 720 * time.Hour
	for _, c := range []struct {
		name            string
		remaining, burn float64
		want            time.Duration
	}{
		{"a burn rate of 1 spends it in exactly the period", 1, 1, period},
		{"14.4 spends it in 50 hours", 1, 14.4, 50 * time.Hour},
		{"half of it lasts half as long", 0.5, 14.4, 25 * time.Hour},
		{"what is spent lasts no longer", 0, 1, 0},
		{"what is overspent neither", -0.5, 1, 0},
		{"even when nothing burns", -0.5, 0, 0},
		{"nothing burns", 0.1, 0, Forever},
		{"next to nothing burns", 1, 1e-300, Forever},
		{"a slow burn lasts beyond the period", 1, 0.5, 2 * period},
	} {
		if got := ledger.Lasts(c.remaining, c.burn, period); (got - c.want).Abs() > time.Microsecond {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestThePresentBurnRateIsThatOfTheQuickestPageWindow(t *testing.T) {
	for _, c := range []struct {
		windows string
		want    time.Duration
	}{
		{quickHour, time.Hour},
		{"[{severity: page, long: 6h, short: 30m, factor: 6}, {severity: page, long: 30m, short: 2m, factor: 14.4}]", 30 * time.Minute},
		{"[{severity: ticket, long: 20m, short: 2m, factor: 1}]", time.Hour},
	} {
		set := load(t, "shop.yaml", budgeted(c.windows, "x"))
		if got := BurnWindow(set.Service("shop").SLO("x")); got != c.want {
			t.Errorf("windows %s: %v, want %v", c.windows, got, c.want)
		}
	}
}

func TestThePeriodIsAskedForOnceAMinuteAndTheBurnRateEachTime(t *testing.T) {
	api := constant(0.001)
	e := New(load(t, "shop.yaml", budgeted(quickHour, "x")), only(api), Options{})
	costly := func(at time.Time) int {
		t.Helper()
		b := e.Budget(t.Context(), "shop", at)
		if len(b) != 1 || b[0].Unknown != "" || !b[0].BurnKnown || !b[0].RemainingKnown {
			t.Fatalf("budgets: %+v", b)
		}
		sent := api.queried()
		period := func(q string) bool { return strings.Contains(q, "[2d]") }
		if !slices.ContainsFunc(sent, func(q string) bool { return strings.Contains(q, "[1h]") }) {
			t.Errorf("the burn rate was not asked for: %v", sent)
		}
		return len(sent) - len(slices.DeleteFunc(sent, period))
	}
	for _, c := range []struct {
		name string
		at   time.Time
		want int
	}{
		{"at first", noon, 2},
		{"again at once", noon, 0},
		{"just within a minute", noon.Add(time.Minute - 1), 0},
		{"after a minute", noon.Add(time.Minute), 2},
		{"at an instant before", noon, 2},
	} {
		if got := costly(c.at); got != c.want {
			t.Errorf("%s: %d queries over the period, want %d", c.name, got, c.want)
		}
	}
}

func TestWhatCouldNotBeSeenOverAPeriodIsAskedForAgain(t *testing.T) {
	api := constant(0.001)
	works := api.query
	api.query = func(context.Context, string, time.Time) (model.Value, v1.Warnings, error) {
		return nil, nil, errors.New("away")
	}
	e := New(load(t, "shop.yaml", budgeted(quickHour, "x")), only(api), Options{})
	if b := e.Budget(t.Context(), "shop", noon); b[0].Unknown != engine.WhyFailed || b[0].RemainingKnown {
		t.Fatalf("while the source is away: %+v", b[0])
	}
	api.query = works
	if b := e.Budget(t.Context(), "shop", noon.Add(time.Second)); b[0].Unknown != "" || !b[0].RemainingKnown {
		t.Errorf("a second later: %+v", b[0])
	}
}

func TestManyPeopleWhoLookAtOnceAskForThePeriodOnce(t *testing.T) {
	api := constant(0.001)
	e := New(load(t, "shop.yaml", budgeted(quickHour, "x")), only(api), Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if b := e.Budget(t.Context(), "shop", noon); b[0].Unknown != "" {
				t.Errorf("%+v", b[0])
			}
		})
	}
	all.Wait()
	n := 0
	for _, q := range api.queried() {
		if strings.Contains(q, "[2d]") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d queries over the period, want the pair", n)
	}
}

func TestWhoeverGivesUpWaitingForTheirTurnIsToldSo(t *testing.T) {
	api := constant(0.001)
	e := New(load(t, "shop.yaml", budgeted(quickHour, "x")), only(api), Options{})
	asked, goOn := make(chan struct{}), make(chan struct{})
	works := api.query
	var once sync.Once
	api.query = func(ctx context.Context, q string, at time.Time) (model.Value, v1.Warnings, error) {
		once.Do(func() { close(asked) })
		<-goOn
		return works(ctx, q, at)
	}
	var first sync.WaitGroup
	first.Go(func() { e.Budget(t.Context(), "shop", noon) })
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b := e.Budget(ctx, "shop", noon); b[0].Unknown != engine.WhyTimeout || b[0].Lasts != 0 {
		t.Errorf("%+v", b[0])
	}
	close(goOn)
	first.Wait()
}

func TestAScopeWithoutObjectivesHasNoBudgets(t *testing.T) {
	e := New(load(t, "payments.yaml", "version: modeshift/v1\nservice: payments\nmodes: [{name: normal}, {name: degraded}]\n"), only(constant(0)), Options{})
	for _, scope := range []engine.Scope{"payments", "nobody"} {
		if b := e.Budget(t.Context(), scope, noon); b != nil {
			t.Errorf("%s: %+v", scope, b)
		}
	}
}
