package server

import (
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/promtest"
)

const budgetRules = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99
    period: 2d
    sli: {events: {error_query: 'sum(rate(requests_total{code="500"}[{{.window}}]))', total_query: 'sum(rate(requests_total[{{.window}}]))'}}
    windows: [{severity: page, long: 1h, short: 5m, factor: 50}]
    alerting: {name: A, page_alert: {}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: save, from: [normal], to: degraded, when: 'budget_remaining("availability") < 0.3'}
`

// A server that starts reads the past of a real Prometheus, decides by what is left of the budget, takes corrections and tells
// what was known when; a restart has it all at once.
func TestTheBudgetIsReadCorrectedAndDecidedUpon(t *testing.T) {
	t.Parallel()
	p := promtest.Start(t, promtest.Options{})
	now := time.Now().UTC().Truncate(time.Minute)
	outage := now.Add(-30 * time.Hour).Truncate(time.Hour)
	good, bad := promtest.Series{Metric: `requests_total{code="200"}`}, promtest.Series{Metric: `requests_total{code="500"}`}
	for at, g, b := now.Add(-50*time.Hour), 1e6, 1e6; !at.After(now); at = at.Add(time.Minute) {
		failed := 0.0
		if !at.Before(outage) && at.Before(outage.Add(25*time.Minute)) {
			failed = 1000
		}
		g, b = g+1000-failed, b+failed
		good.Samples = append(good.Samples, promtest.Sample{At: at, Value: g})
		bad.Samples = append(bad.Samples, promtest.Sample{At: at, Value: b})
	}
	p.Push(good, bad)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte(budgetRules), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, rules)
	cfg.Prometheus[0].URL = p.URL
	dial := func(s *Server) *api.Client {
		token, err := secret.Read(filepath.Join(cfg.Data, AdminTokenFile))
		if err != nil {
			t.Fatal(err)
		}
		client, err := api.NewClient(s.URL(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	// 25 minutes of 48 hours at 99 %: 28.8 minutes are the budget.
	spent, whole := 1-25/28.8, 1.0
	budget := func(client *api.Client, at time.Time) api.ScopeBudget {
		t.Helper()
		b, err := client.Budget(t.Context(), "checkout", at, 12)
		if err != nil || len(b.Budgets) != 1 {
			t.Fatalf("%+v, %v", b, err)
		}
		return b
	}
	wait := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s did not come", what)
			}
		}
	}

	s, stop := runServer(t, cfg, nil)
	client := dial(s)
	known := func() bool { // before the first tick nothing is followed
		all, err := client.Budgets(t.Context(), 0)
		return err == nil && len(all.Budgets) == 1 && all.Budgets[0].Known && all.Budgets[0].Coverage > 0.99
	}
	wait("the past", known)
	b := budget(client, time.Time{}).Budgets[0]
	if math.Abs(b.Remaining-spent) > 0.02 || !b.Counted || math.Abs(b.Total-48*60*1000) > 10000 || !b.Endless || len(b.Series) == 0 || b.Events < 2000 {
		t.Errorf("%+v, want %v left", b, spent)
	}
	expectBurned(t, s.ledger, outage, now, spent)
	wait("the transition", func() bool {
		v, _ := s.loop.View("checkout")
		return v.State.Mode == "degraded"
	})

	// A correction gives the time back; who looks at the time before sees what was said then.
	before := time.Now().UTC()
	done, err := client.Correct(t.Context(), "checkout", api.CorrectionRequest{SLO: "availability", From: outage.Add(-5 * time.Minute), To: outage.Add(30 * time.Minute), Reason: "load test"})
	if err != nil || len(done.Events) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	corrected := budget(client, time.Time{})
	if b := corrected.Budgets[0]; math.Abs(b.Remaining-whole) > 0.01 || time.Duration(b.Excluded) != 35*time.Minute {
		t.Errorf("corrected: %+v", b)
	}
	if len(corrected.Corrections) != 1 || corrected.Corrections[0].By.Principal != "admin" || corrected.Corrections[0].Reason != "load test" {
		t.Errorf("corrections %+v", corrected.Corrections)
	}
	if b := budget(client, before).Budgets[0]; math.Abs(b.Remaining-spent) > 0.02 {
		t.Errorf("as it was known before: %+v", b)
	}
	all, err := client.Budgets(t.Context(), 0)
	if err != nil || len(all.Budgets) != 1 || math.Abs(all.Budgets[0].Remaining-whole) > 0.01 || all.Budgets[0].Series != nil {
		t.Errorf("%+v, %v", all, err)
	}
	text := get(t, http.DefaultClient, s.URL()+"/metrics", "").text
	if !strings.Contains(text, `modeshift_budget_remaining{scope="checkout",slo="availability"}`) || !strings.Contains(text, "modeshift_ledger_asked_ratio 1\n") {
		t.Error("the metrics do not show the budget")
	}

	for name, r := range map[string]api.CorrectionRequest{
		"no such SLO":   {SLO: "latency", To: now.Add(time.Hour), Reason: "why"},
		"no such cron":  {SLO: "availability", To: now.Add(time.Hour), Cron: "0 25 * * *", Duration: api.Duration(time.Hour), Reason: "why"},
		"it ends first": {SLO: "availability", From: now, To: now.Add(-time.Hour), Reason: "why"},
	} {
		_, err := client.Correct(t.Context(), "checkout", r)
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Status() != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = client.Withdraw(t.Context(), "checkout", "checkout-999", "why")
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Status() != http.StatusNotFound {
		t.Errorf("withdraw what is not there: %v", err)
	}
	if _, err := client.Correct(t.Context(), "checkout", api.CorrectionRequest{SLO: "availability", From: outage.Add(-day), To: now.Add(day),
		Cron: outage.Add(-5*time.Minute).Format("4 15") + " * * *", Duration: api.Duration(35 * time.Minute), Reason: "every day"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Withdraw(t.Context(), "checkout", corrected.Corrections[0].ID, "it was an outage"); err != nil {
		t.Fatal(err)
	}
	if b := budget(client, time.Time{}).Budgets[0]; math.Abs(b.Remaining-whole) > 0.02 || time.Duration(b.Excluded) < time.Hour {
		t.Errorf("with the recurrence: %+v", b)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	// The next server has the ledger from the store: it needs no Prometheus for it.
	p.Stop()
	s, _ = runServer(t, cfg, nil)
	client = dial(s)
	wait("the ledger of before", known)
	again := budget(client, time.Time{})
	if b := again.Budgets[0]; math.Abs(b.Remaining-whole) > 0.02 || len(again.Corrections) != 1 {
		t.Errorf("after a restart: %+v", again)
	}
	v, _ := s.loop.View("checkout")
	if v.State.Mode != engine.Mode("degraded") {
		t.Errorf("after a restart the mode is %s", v.State.Mode)
	}
}

const day = 24 * time.Hour

// expectBurned checks what a report is told of an outage of 25 minutes in which everything failed, at an objective of 99 %.
func expectBurned(t *testing.T, b *budgetBook, outage, now time.Time, spent float64) {
	t.Helper()
	q := api.BurnQuestion{Before: outage, After: now, From: outage.Add(-10*time.Minute - time.Second), To: outage.Add(40 * time.Minute), Steps: 120}
	list := b.Burned("checkout", q)
	if len(list) != 1 || list[0].After.Objective != "99" || math.Abs(list[0].After.Remaining-spent) > 0.02 || list[0].Before.Known {
		t.Fatalf("burned: %+v", list) // of the two days before the outage less than half is known
	}
	burn := list[0].After
	if time.Duration(burn.Step) != 5*time.Minute || len(burn.Series) != 11 || !burn.Series[0].At.Equal(outage.Add(-15*time.Minute)) {
		t.Errorf("%d steps of %v from %v", len(burn.Series), burn.Step, burn.Series[0].At)
	}
	for _, p := range burn.Series {
		want := 0.0
		if !p.At.Before(outage) && p.At.Before(outage.Add(25*time.Minute)) {
			want = 100
		}
		if p.Known < 0.99 || math.Abs(p.Burn-want) > 25 { // rate() spreads what is at an edge
			t.Errorf("at %v: %v, known %v; want %v", p.At, p.Burn, p.Known, want)
		}
	}
	q.Steps = 4
	if list = b.Burned("checkout", q); time.Duration(list[0].After.Step) != 15*time.Minute {
		t.Errorf("four steps of %v", list[0].After.Step)
	}
	// What is older than three days is in hours by then.
	q.From, q.To = now.Add(-75*time.Hour), now.Add(-74*time.Hour)
	if list = b.Burned("checkout", q); time.Duration(list[0].After.Step) != time.Hour || list[0].After.Series[0].Known != 0 {
		t.Errorf("long ago: %+v", list[0].After)
	}
	if got := b.Burned("nowhere", q); got != nil {
		t.Errorf("of no scope: %+v", got)
	}
}
