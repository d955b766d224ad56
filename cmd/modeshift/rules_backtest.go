package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/crash"
	reports "github.com/modeshift/modeshift/engine/report"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

type rulesBacktestCmd struct {
	Paths []string `arg:"" help:"Rule files, folders of them, globs."`

	Prometheus sourceURL `required:"" placeholder:"URL" help:"The Prometheus whose past it is."`
	From       instant   `required:"" placeholder:"TIME" help:"When the time begins: 2026-11-01T00:00:00Z, 2026-11-01, or 30d for 30 days before --to."`
	To         instant   `default:"now" placeholder:"TIME" help:"When it ends: as --from, or now."`
	Step       span      `placeholder:"DURATION" help:"Between two ticks: 15s, or 1m if not said for more than three days."`
	Incidents  string    `placeholder:"FILE" help:"Incidents there were (CSV or YAML): says what would have been detected, missed and false."`
	Tolerance  span      `default:"5m" placeholder:"DURATION" help:"How long after an incident's end what is told is still of it."`
	Against    string    `placeholder:"PATH" xor:"other" help:"Other rules (a file, a folder, a glob), led through the same answers side by side."`
	Git        string    `placeholder:"REV" xor:"other" help:"The same files in another revision, side by side."`
	Approve    *span     `placeholder:"DURATION" help:"People say yes to each proposal after so long; if not said, nobody answers."`
	HTML       string    `name:"html" placeholder:"FILE" help:"Write a page with charts too: one file that fetches nothing."`
	EveryTick  bool      `help:"Ask for everything at each tick, also while nothing is near a limit: several times the work."`
	Parallel   int       `default:"4" help:"How many queries may be under way at the Prometheus."`
}

// Help shows real examples.
func (rulesBacktestCmd) Help() string {
	return `Example:
  modeshift rules backtest rules/ --prometheus http://prometheus:9090 --from 30d --html backtest.html
  modeshift rules backtest rules/ --prometheus http://prometheus:9090 --from 30d --incidents incidents.csv
  modeshift rules backtest rules/ --prometheus http://prometheus:9090 --from 7d --git main

Leads the rules through a past of a Prometheus, by what evaluates and decides in production, and says what they would have done: each
change of mode, page, ticket and proposal, the time in each mode, flaps, what was unknown, and the budgets at the end. With --against
or --git two versions go through the same answers, and the differences are told.

--incidents says what there was: service,start,end and, where it is known, slo,severity,note. A page or ticket is of an incident that is
of its service (and SLO) when it was opened from the incident's start up to its end and --tolerance, or was open at its start already.
The first one detects it; for severity page, the usual one, only a page does. Precision is: incidents with a page ÷ (these + pages of
no incident), recall: incidents detected ÷ all. Services whose incidents nobody wrote down do not belong in such a run.

While an SLO's windows are far from every limit they are looked at every half of their length, and at each tick as soon as they
come near one, so that a quiet month costs little. --every-tick looks at each tick all the time.

The server is asked for at most 11,000 points a query and --parallel queries at a time. When it turns queries away they are sent again,
and when it cannot answer one the run ends and says which: no hole passes for a quiet night.

Exits 0 when it is done, 1 when the rules or incidents have faults, 2 for wrong use, 3 when the Prometheus cannot tell.`
}

// instant is a time, or how long ago: whoever looks back counts from now.
type instant struct {
	at  time.Time
	ago time.Duration // where at is zero
}

// UnmarshalText implements encoding.TextUnmarshaler, which the flags go by.
func (i *instant) UnmarshalText(text []byte) error {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(form, string(text)); err == nil {
			i.at = t.UTC()
			return nil
		}
	}
	if string(text) == "now" {
		return nil
	}
	ago, err := api.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no time: write 2026-11-01T00:00:00Z, 2026-11-01 (which begins in UTC), now, or 30d for 30 days before", text)
	}
	i.ago = time.Duration(ago)
	return nil
}

// from is the instant, before another one where it says only how long.
func (i instant) from(other time.Time) time.Time {
	if !i.at.IsZero() {
		return i.at
	}
	return other.Add(-i.ago)
}

// sourceURL is where a Prometheus is.
type sourceURL string

// UnmarshalText implements encoding.TextUnmarshaler, which the flags go by.
func (s *sourceURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the URL of a Prometheus: write http://HOST:PORT or https://HOST", text)
	}
	*s = sourceURL(text)
	return nil
}

// Run implements the verb.
func (v *rulesBacktestCmd) Run(s *streams, c *cli) error {
	o := server.BacktestOptions{Prometheus: string(v.Prometheus), Step: time.Duration(v.Step), Tolerance: time.Duration(v.Tolerance), Approve: v.approve(), Parallel: v.Parallel, EveryTick: v.EveryTick}
	if err := v.span(&o, time.Now()); err != nil {
		return err
	}
	if err := v.load(&o); err != nil {
		return err
	}
	if err := v.incidents(&o); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	// It lives for a minute and makes much that is gone at once: to collect that less often costs some memory and saves a quarter of the time.
	debug.SetGCPercent(400)
	progress := newProgress(s.err)
	o.Progress = progress.share
	b, err := server.Backtest(ctx, o)
	progress.clear()
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted("%s of the time was led through, and nothing is told of a part", progress.far())
	case err != nil && b == nil && crash.Of(err) != nil:
		return &exitError{exitCannotTell, err}
	case err != nil && b == nil:
		return exit(exitCannotTell, "%w; is the URL right, may this machine reach it, and does it keep so much of the past?", err)
	}
	if v.HTML != "" {
		// Written when it is whole, so that no half of a page passes for one.
		var page bytes.Buffer
		if err := b.HTML(&page); err != nil {
			return err
		}
		if err := os.WriteFile(v.HTML, page.Bytes(), 0o644); err != nil {
			return exit(exitUsage, "--html: %w", err)
		}
		if _, err := fmt.Fprintf(s.err, "modeshift: %s is written\n", v.HTML); err != nil {
			return err
		}
	}
	if shown := c.show(s, b, func() error { return printBacktest(s, b) }); shown != nil {
		return shown
	}
	if err != nil {
		return crashed(exitCannotTell, err, "not all services are in it: a note says which, and why")
	}
	return nil
}

// approve is how long people take to say yes: 0s is at once, and left out it is never.
func (v *rulesBacktestCmd) approve() time.Duration {
	if v.Approve == nil {
		return -1
	}
	return time.Duration(*v.Approve)
}

// span says which time is led through.
func (v *rulesBacktestCmd) span(o *server.BacktestOptions, now time.Time) error {
	o.To = v.To.from(now)
	o.From = v.From.from(o.To)
	if o.Step == 0 {
		o.Step = server.DefaultBacktestStep(o.To.Sub(o.From))
	}
	if o.Step < time.Second || o.Step > server.MaxBacktestStep || o.Step%time.Second != 0 {
		return exit(exitUsage, "--step: %s is not between 1s and %s, in whole seconds", api.Duration(o.Step), api.Duration(server.MaxBacktestStep))
	}
	if o.Parallel < 1 {
		return exit(exitUsage, "--parallel: %d is not 1 or more", o.Parallel)
	}
	// Ticks stand where a server's do: at multiples.
	o.From, o.To = o.From.Truncate(o.Step).UTC(), o.To.Truncate(o.Step).UTC()
	switch {
	case !o.From.Before(o.To):
		return exit(exitUsage, "--from %s is not before --to %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	case o.To.After(now):
		return exit(exitUsage, "--to %s is not past yet", o.To.Format(time.RFC3339))
	}
	return nil
}

// load reads the rules, one version or two.
func (v *rulesBacktestCmd) load(o *server.BacktestOptions) error {
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if err := v.version(o, strings.Join(v.Paths, " "), files); err != nil {
		return err
	}
	var other []rules.File
	switch {
	case v.Against != "":
		if other, err = rules.ReadFiles(v.Against); err != nil {
			return exit(exitUsage, "--against: %w", err)
		}
	case v.Git != "":
		if other, err = filesAt(context.Background(), v.Git, v.Paths); err != nil {
			return err
		}
		if len(other) == 0 {
			return exit(exitUsage, "--git: revision %q has no rule files at %s", v.Git, strings.Join(v.Paths, " "))
		}
	default:
		return nil
	}
	return v.version(o, v.Against+v.Git, other)
}

func (v *rulesBacktestCmd) version(o *server.BacktestOptions, name string, files []rules.File) error {
	kinds, err := server.FormKinds()
	if err != nil {
		return err
	}
	set, err := rules.Load(files, rules.Options{Kinds: kinds})
	if err != nil {
		return &exitError{exitNo, err}
	}
	if len(o.Versions) > 0 && o.Versions[0].Name == name {
		name += " (other)"
	}
	o.Versions = append(o.Versions, server.BacktestRules{Name: name, Set: set})
	return nil
}

// incidents reads what there was.
func (v *rulesBacktestCmd) incidents(o *server.BacktestOptions) error {
	if v.Incidents == "" {
		return nil
	}
	text, err := os.ReadFile(v.Incidents)
	if err != nil {
		return exit(exitUsage, "--incidents: %w", err)
	}
	sets := make([]*rules.Set, len(o.Versions))
	for i := range o.Versions {
		sets[i] = o.Versions[i].Set
	}
	found, err := rules.ReadIncidents(rules.File{Name: v.Incidents, Data: text}, sets...)
	if err != nil {
		return &exitError{exitNo, err}
	}
	o.Labels = []reports.Label{}
	for _, i := range found {
		o.Labels = append(o.Labels, reports.Label(i))
	}
	return nil
}

// printBacktest prints it for people.
func printBacktest(s *streams, b *reports.Backtest) error {
	p := &paper{w: s.out}
	p.line("%s, a tick every %s: %s in %s", b.Title(), api.Duration(b.Step.Duration()), plural(b.Queries, "query", "queries"), round(b.Took.Duration()))
	for _, n := range b.Notes {
		p.line("note: %s", n)
	}
	p.parts(b.Sections())
	for i := range b.Versions {
		if score := b.Versions[i].Score; score != nil {
			name := ""
			if len(b.Versions) > 1 {
				name = b.Versions[i].Name + ": "
			}
			p.line("")
			p.line("%s%s", name, score.Summary())
		}
	}
	return p.err
}
