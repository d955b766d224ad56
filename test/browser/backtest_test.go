package browser

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/report"
)

// week is a backtest of a week in which three services break at times, under two versions of their rules.
func week() *report.Backtest {
	from := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	b := &report.Backtest{From: from, To: from.Add(7 * 24 * time.Hour), Step: 60, Offset: 5, Queries: 314, Took: 12.5, Notes: []string{"Nobody answers proposals, so that nothing behind a gate happens."}}
	var labels []report.Label
	for v, name := range []string{"rules/payments/checkout-and-its-friends.yaml", "origin/main"} {
		version := report.BacktestVersion{Name: name, Digest: engine.Digest(strings.Repeat(fmt.Sprint(v), 64))}
		for i, scope := range []engine.Scope{"checkout", "search", "a-service-whose-name-is-longer-than-a-phone-is-wide"} {
			at := from.Add(time.Duration(i+1)*26*time.Hour + time.Duration(v)*7*time.Minute)
			end := at.Add(3 * time.Hour)
			s := report.BacktestService{Scope: scope, Digest: version.Digest, Flaps: i,
				Modes: []report.ModeTime{{Mode: "normal", Time: 594000}, {Mode: "degraded", Time: 10800, Entered: 1}},
				Stays: []report.Band{{Mode: "normal", From: from, To: at}, {Mode: "degraded", From: at, To: end, Change: "c-1"}, {Mode: "normal", From: end, To: b.To, Change: "c-2"}},
				Moves: []report.Move{{At: at, Change: "c-1", Transition: "shed", From: "normal", To: "degraded", By: "itself", Why: `burning("availability", "page") is true`, Outcome: "done", Ended: at}},
				Told: []report.Told{{ID: engine.IncidentID(scope) + "-3", Scope: scope, Kind: engine.IncidentSLO, Subject: "slo/availability/page", SLO: "availability", Severity: engine.SeverityPage, Opened: at, Resolved: end,
					Summary: string(scope) + ": SLO availability burns its error budget too fast"}},
				Proposals: []report.Asked{{At: at.Add(time.Hour), ID: "c-1", Transition: "fail-over", From: "degraded", To: "failover", Outcome: "expired", Ended: end}},
				Unknown:   report.UnknownTime{Time: 600, Blind: 600, Why: map[engine.Why]report.Seconds{engine.WhyAbsent: 600}}}
			e := report.BudgetEnd{SLO: "availability", Objective: "99.9", Period: "30d", Left: report.Left{Known: true, Remaining: 0.42, At: b.To}, Step: 3600}
			for h := from; h.Before(b.To); h = h.Add(time.Hour) {
				burn := report.Burn{From: h, To: h.Add(time.Hour), Known: 1, Rate: 0.2}
				if !h.Before(at) && h.Before(end) {
					burn.Rate = 120
				} else if h.Hour() == 4 {
					burn.Known = 0
				}
				e.Burn = append(e.Burn, burn)
			}
			s.Budgets = append(s.Budgets, e)
			version.Services = append(version.Services, s)
			if v == 0 {
				labels = append(labels, report.Label{Service: scope, Severity: engine.SeverityPage, Start: at.Add(-5 * time.Minute), End: end, Note: "the database was full; see the post-mortem"})
			}
		}
		b.Versions = append(b.Versions, version)
	}
	for i := range b.Versions {
		b.Versions[i].Score = b.Versions[i].Judge(labels[:2], b.From, b.To, 5*time.Minute)
	}
	b.Compare()
	return b
}

// The page of a backtest, of one version and of two, as anybody may open it.
func TestThePageOfABacktestIsReadableEverywhere(t *testing.T) {
	t.Parallel()
	b := open(t)
	two := week()
	one := *two
	one.Versions = one.Versions[:1]
	one.Compare()
	for name, r := range map[string]*report.Backtest{"one version": &one, "two versions": two} {
		file := filepath.Join(t.TempDir(), "backtest.html")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.HTML(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		b.examine(name, file, "Backtest of 7 d, from 2026-11-02")
	}
}
