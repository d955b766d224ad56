package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type budgetCmd struct {
	Show        budgetShowCmd        `cmd:"" default:"withargs" help:"Show how much of the error budgets is left (the default)."`
	Correct     budgetCorrectCmd     `cmd:"" help:"Take time out of an error budget."`
	Corrections budgetCorrectionsCmd `cmd:"" help:"Show what was taken out of a scope's error budgets."`
	Withdraw    budgetWithdrawCmd    `cmd:"" help:"Let time count again that was taken out."`
}

// Help shows real examples.
func (budgetCmd) Help() string {
	return `Example:
  modeshift budget
  modeshift budget checkout
  modeshift budget correct checkout availability --from 2026-03-01T02:00:00Z --to 2026-03-01T02:30:00Z --reason "load test"

Budgets come from the ledger, in which the server keeps what every SLO measured: nothing is asked of Prometheus. OUTAGE LEFT is
the time of full outage that would spend what is left. KNOWN is the share of the period that was measured; below half of it what
is left is unknown. The last column is the burn rate over the period, on the same scale for all: ▁ nothing, ▄ up to 1 (the budget
lasts exactly), ▇ up to 14.4 (gone in two days of thirty), █ more; · is not known, and a blank was taken out.

Exits 0 when something is left of every budget, 1 when one is spent, 3 when one is not known or no server answers.`
}

// sparkSteps is how many characters a sparkline has.
const sparkSteps = 30

type budgetShowCmd struct {
	Scope engine.Scope `arg:"" optional:"" help:"One scope; all of them when left out."`
	At    time.Time    `placeholder:"TIME" help:"How a scope's budgets stood then, with the corrections known then: 2026-03-01T12:00:00Z."`
}

// Help shows one real example.
func (budgetShowCmd) Help() string { return budgetCmd{}.Help() }

// Run implements the verb.
func (v *budgetShowCmd) Run(s *streams, c *cli) error {
	if v.Scope == "" && !v.At.IsZero() {
		return exit(exitUsage, "--at: name a scope")
	}
	var budgets []api.Budget
	err := c.call(func(ctx context.Context, client *api.Client) error {
		if v.Scope == "" {
			all, err := client.Budgets(ctx, sparkSteps)
			if err != nil {
				return err
			}
			budgets = all.Budgets
			return c.show(s, all, func() error { return printBudgets(s.out, budgets) })
		}
		one, err := client.Budget(ctx, v.Scope, v.At, sparkSteps)
		if err != nil {
			return err
		}
		budgets = one.Budgets
		return c.show(s, one, func() error {
			if err := printBudgets(s.out, budgets); err != nil || len(one.Corrections) == 0 {
				return err
			}
			if _, err := fmt.Fprintln(s.out); err != nil {
				return err
			}
			return printCorrections(s.out, one.Corrections)
		})
	})
	if err != nil {
		return err
	}
	return budgetAnswer(budgets)
}

// budgetAnswer is the exit code that budgets call for.
func budgetAnswer(budgets []api.Budget) error {
	var unknown []string
	for _, b := range budgets {
		name := string(b.Scope) + "/" + b.SLO
		switch {
		case !b.Known:
			unknown = append(unknown, name)
		case b.Remaining <= 0:
			return exit(exitNo, "nothing is left of the budget of %s", oneLine(name))
		}
	}
	if len(unknown) > 0 {
		return exit(exitCannotTell, "what is left is not known of %s", oneLine(strings.Join(unknown, ", ")))
	}
	return nil
}

func printBudgets(w io.Writer, budgets []api.Budget) error {
	if len(budgets) == 0 {
		_, err := fmt.Fprintln(w, "no SLO is declared")
		return err
	}
	err := table(w, "SCOPE\tSLO\tOBJECTIVE\tPERIOD\tLEFT\tOUTAGE LEFT\tEVENTS LEFT\tBURN\tLASTS\tKNOWN\tBURN OVER THE PERIOD", func(row func(...any)) {
		for _, b := range budgets {
			left, outage, events, burn := "unknown", "", "", "unknown"
			if b.Known {
				left, outage = percent(b.Remaining), "0s"
				if b.Remaining > 0 {
					outage = round(time.Duration(b.Time))
				}
				if b.Counted {
					events = thousands(b.Events)
				}
			}
			if b.BurnKnown {
				burn = strconv.FormatFloat(b.Burn, 'g', 3, 64)
			}
			row(b.Scope, b.SLO, b.Objective+" %", b.Period, left, outage, events, burn, lastsText(b), percent(b.Coverage), sparkline(b.Series))
		}
	})
	if err != nil {
		return err
	}
	for _, b := range budgets {
		if b.Paused != nil {
			if _, err := fmt.Fprintln(w, oneLine(pausedBudget(b))); err != nil {
				return err
			}
		}
		if !b.Known {
			if _, err := fmt.Fprintf(w, "%s\n", oneLine(fmt.Sprintf("%s/%s is unknown: %s", b.Scope, b.SLO, b.Unknown))); err != nil {
				return err
			}
		}
	}
	return nil
}

func lastsText(b api.Budget) string {
	switch {
	case !b.Known || !b.BurnKnown:
		return "unknown"
	case b.Endless:
		return "does not run out"
	case b.Remaining <= 0:
		return "spent"
	}
	return "until " + b.Until.Local().Format("2006-01-02 15:04")
}

// percent is a share as people read it. What is left of a budget may be a little or very negative.
func percent(share float64) string {
	digits := 1
	if math.Abs(share) >= 10 {
		digits = 0
	}
	text := strconv.FormatFloat(100*share, 'f', digits, 64)
	if share < 1 && text == "100.0" {
		text = "99.9" // all of it is what it is not
	}
	return text + " %"
}

// thousands is a number of events as people read it.
func thousands(n float64) string {
	if math.Abs(n) >= 1e15 {
		return strconv.FormatFloat(n, 'g', 3, 64)
	}
	digits := strconv.FormatInt(int64(math.Floor(math.Abs(n))), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n <= -1 {
		digits = "-" + digits
	}
	return digits
}

// sparkLevels are the burn rates up to which a step of a sparkline has the next higher block.
var sparkLevels = []float64{0, 0.25, 0.5, 1, 3, 6, 14.4}

// sparkline draws a series.
func sparkline(series []api.Burnt) string {
	var b strings.Builder
	for _, p := range series {
		if p.Known == 0 {
			b.WriteRune('·')
			continue
		}
		level := len(sparkLevels)
		for i, most := range sparkLevels {
			if p.Burn <= most {
				level = i
				break
			}
		}
		b.WriteRune('▁' + rune(level))
	}
	return b.String()
}

type budgetCorrectCmd struct {
	Scope    engine.Scope `arg:"" help:"The scope."`
	SLO      string       `arg:"" name:"slo" help:"The SLO whose budget it is about."`
	From     time.Time    `placeholder:"TIME" help:"When the time that does not count begins: 2026-03-01T02:00:00Z; now, if not said."`
	To       time.Time    `placeholder:"TIME" help:"When it ends."`
	Cron     string       `placeholder:"CRON" help:"For time that comes again: minute, hour, day of the month, month, day of the week at which each begins."`
	Duration span         `placeholder:"DURATION" help:"With --cron: how long each lasts."`
	Timezone string       `placeholder:"ZONE" help:"With --cron: such as Europe/Berlin; UTC, if not said."`
	Until    time.Time    `placeholder:"TIME" help:"With --cron: when it ends for good."`
	Reason   string       `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows real examples.
func (budgetCorrectCmd) Help() string {
	return `Example:
  modeshift budget correct checkout availability --from 2026-03-01T02:00:00Z --to 2026-03-01T02:30:00Z --reason "load test"
  modeshift budget correct checkout availability --cron "0 2 * * SUN" --duration 1h --timezone Europe/Berlin --until 2026-12-31T00:00:00Z --reason "weekly restore"

The time does not count in the error budget: neither what failed in it nor what did not. What was measured, burn rates and alerts
stay what they are. Who took out what, when and why is an event in the log; modeshift budget withdraw takes it back.`
}

// Run implements the verb.
func (v *budgetCorrectCmd) Run(s *streams, c *cli) error {
	r := api.CorrectionRequest{SLO: v.SLO, From: v.From, To: v.To, Cron: v.Cron, Duration: api.Duration(v.Duration), Timezone: v.Timezone, Reason: v.Reason}
	switch {
	case v.Cron != "" && (v.Duration == 0 || v.Until.IsZero() || !v.To.IsZero()):
		return exit(exitUsage, "--cron: say --duration and --until, and not --to")
	case v.Cron != "":
		r.To = v.Until
	case v.Duration != 0 || v.Timezone != "" || !v.Until.IsZero():
		return exit(exitUsage, "--duration, --timezone and --until go with --cron; a single span is --from and --to")
	case v.To.IsZero():
		return exit(exitUsage, "--to: say when it ends")
	}
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Correct(ctx, v.Scope, r)
	})
}

type budgetCorrectionsCmd struct {
	Scope engine.Scope `arg:"" help:"The scope."`
}

// Help shows one real example.
func (budgetCorrectionsCmd) Help() string {
	return `Example:
  modeshift budget corrections checkout

Shows those that hold. What was withdrawn is in modeshift history.`
}

// Run implements the verb.
func (v *budgetCorrectionsCmd) Run(s *streams, c *cli) error {
	return c.call(func(ctx context.Context, client *api.Client) error {
		b, err := client.Budget(ctx, v.Scope, time.Time{}, 0)
		if err != nil {
			return err
		}
		return c.show(s, b.Corrections, func() error {
			if len(b.Corrections) == 0 {
				_, err := fmt.Fprintln(s.out, "nothing was taken out")
				return err
			}
			return printCorrections(s.out, b.Corrections)
		})
	})
}

func printCorrections(w io.Writer, list []engine.Correction) error {
	return table(w, "CORRECTION\tSLO\tLEFT OUT\tBY\tRECORDED\tWHY", func(row func(...any)) {
		for _, x := range list {
			row(x.ID, x.SLO, correctedSpan(x.From, x.To, x.Cron, x.Duration, x.Timezone), x.By, x.Recorded.Local().Format("2006-01-02 15:04"), x.Reason)
		}
	})
}

// correctedSpan says which time a correction takes out.
func correctedSpan(from, to time.Time, cron string, each time.Duration, zone string) string {
	text := from.Local().Format("2006-01-02 15:04") + " to " + to.Local().Format("2006-01-02 15:04")
	if cron == "" {
		return text
	}
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("%s from %q in %s, %s", model.Duration(each), cron, zone, text)
}

type budgetWithdrawCmd struct {
	Correction engine.CorrectionID `arg:"" help:"The correction, as modeshift budget corrections names it."`
	Reason     string              `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows one real example.
func (budgetWithdrawCmd) Help() string {
	return `Example:
  modeshift budget withdraw checkout-17 --reason "it was an outage after all"`
}

// Run implements the verb.
func (v *budgetWithdrawCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		scope, err := scopeOf(ctx, client, "correction", string(v.Correction))
		if err != nil {
			return api.Outcome{}, err
		}
		return client.Withdraw(ctx, scope, v.Correction, v.Reason)
	})
}
