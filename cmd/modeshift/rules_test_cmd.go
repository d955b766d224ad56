package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/ruletest"
)

type rulesTestCmd struct {
	Paths []string `arg:"" help:"Test files, folders of them, globs."`
	Only  string   `name:"run" placeholder:"TEXT" help:"Run only the tests whose name contains this."`

	Coverage bool `help:"List the transitions, tiers and operands of conditions that no test reached."`

	Mutate     bool `help:"Change the rules in one place at a time, and list the changes that no test noticed."`
	Mutants    int  `default:"300" placeholder:"N" help:"Try so many changes at most, spread over all there are; 0: all (300 when left out)."`
	Boundaries bool `help:"Try those changes too that only a value exactly at its limit shows, such as < for <=."`
}

// Help shows one real example.
func (rulesTestCmd) Help() string {
	return `Example:
  modeshift rules test tests/
  modeshift rules test tests/checkout.yaml --run outage
  modeshift rules test tests/ --coverage --mutate

A test file names its rule files, says what Prometheus shows and what people do, and what has to come of it:

  rule_files: [../rules/checkout.yaml]
  tests:
    - name: an outage sheds load, and recovers by itself
      input_series:
        - {series: 'http_requests_total{job="checkout",code="200"}', values: 0+1500x40 60000x40 60000+1500x400}
        - {series: 'http_requests_total{job="checkout",code="500"}', values: 0x40 0+1500x40 60000x400}
      steps:
        - {at: 25m, approve: fail-over, by: ann, role: oncall}
        - {action: repoint, fails: 1}
      expect:
        - {between: [10m, 12m], mode: degraded, incidents: [page slo availability]}
        - {at: 90m, mode: normal, incidents: []}

Series are in promtool's notation, one sample for each interval (of the test, or of the file; 15s). All of it runs on the real
PromQL engine, and on the evaluator, the loop and the core of the server. Times count from 0s, which is start (a Monday).

In place of series a scenario draws those of an SLO from its queries, with a clean history: {name: total-outage, slo: availability, at: 10m}.

  name          quiet, total-outage, partial-outage, slow-burn, spike-train,
                counter-reset, scrape-gap, first-error, restart,
                prometheus-away, no-traffic
  for, share    how long it lasts, and the share of requests that fail
  background    the share that fails at all other times
  before        how far back there are samples
  after, every, spike, rate, scrape

Several of one SLO happen in one world, one after the other or at once. SLOs that count the same requests (an availability and a latency of
one histogram, all routes and one of them) see the same traffic: it stops for all of them, and what fails fails for each that counts it.

budget_remaining is what the server's ledger would know at that tick: five minutes at a time, 65s after their end, and nothing while
less than half of the period is known. A scenario reaches back a whole period where the budget of its SLO is asked for; series that are
written down begin with the test.

Steps are what people do, and what comes of actions:

  approve, reject: TRANSITION       at, by, role, reason; approve: blind
  cancel, undo, settle: TRANSITION  at, by, reason; settle: as, which is
                                    done or undone
  set: MODE                         at, by, role, reason, for, via,
                                    directive_only, force
  unpin, freeze, unfreeze: SCOPE    at, by, reason; freeze: for
  action: NAME                      what its attempts come to: fails: N,
                                    unknown: N, takes: D, never: true;
                                    undo: true is about its undo
  targets: NAME                     found: [...] is what it finds

Where the answer to a person has to be no: refused: true, or the CODE of the reason. An expectation says when, and what:

  at: T             at that time
  between: [A, B]   it comes true in that span
  during: [A, B]    at each tick of it
  never: [A, B]     at none

  mode, reason, flags
  incidents         all that are open: severity, kind, subject
  proposals         all that wait for people
  withheld          {TRANSITION: CODE}
  notices           {page: 1}: how many were sent so far
  readings          {EXPRESSION: true, false or unknown}

Where the rules have several services, each by its scope: mode: {checkout: degraded}.

--coverage lists what no test reached, with its place: transitions that never started, pairs of burn rates that never fired, and
operands of conditions that were never true, or never false: whether they are there makes no difference to any test.

--mutate runs the tests against rules that differ from these in one place (a factor, a window, a matcher, an operator, a mode) and lists
the places at which no test noticed. What Prometheus shows stays as it is drawn for the rules themselves.

Exits 0 when every test passes, 1 when one does not, 2 when a file is wrong or there is nothing to run, 3 when it was interrupted. What --coverage and
--mutate list changes no exit code.`
}

// forms implements formed: pipelines read JUnit's XML.
func (rulesTestCmd) forms() []string { return []string{"json", "junit"} }

// Run implements the verb.
func (v *rulesTestCmd) Run(s *streams, c *cli) error {
	began := time.Now()
	// Each of many ticks leaves small things behind, and little is kept: to collect them less often costs some memory, and saves a good
	// tenth of the time. Whoever sets GOGC knows better.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	files, err := v.files()
	var wrong rules.Diagnostics
	switch {
	case errors.As(err, &wrong):
		return cmp.Or(c.show(s, map[string]any{"ok": false, "faults": faultsOf(wrong)}, func() error {
			_, err := fmt.Fprintln(s.out, wrong.Error())
			return err
		}), exit(exitUsage, "%s in test files or the rule files they name: nothing was run", count(len(wrong), "fault")))
	case err != nil:
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	return v.test(ctx, s, c, files, began)
}

// test runs the tests of files, and tells what came of them.
func (v *rulesTestCmd) test(ctx context.Context, s *streams, c *cli, files []*ruletest.File, began time.Time) error {
	var err error
	var cov *ruletest.Coverage
	if v.Coverage {
		cov = ruletest.NewCoverage(files)
	}
	results, ended := runTests(ctx, s, files, cov)
	if ctx.Err() != nil {
		return interrupted("%d of %s run, and %d of them passed", ended.run, count(len(results), "test"), ended.passed)
	}
	told := testsTold{Files: len(files), Tests: results}
	var crashes error
	for i := range results {
		if results[i].Crash != nil {
			crashes = errors.Join(crashes, results[i].Crash)
		}
		if results[i].Passed {
			told.Passed++
		} else {
			told.Failed++
		}
	}
	told.OK = told.Failed == 0
	told.untried = v.Mutate && !told.OK
	if cov != nil {
		told.Coverage = &testsReached{}
		told.Coverage.Counts, told.Coverage.Gaps = cov.Report()
	}
	if v.Mutate && told.OK {
		progress := newProgress(s.err)
		said, tried, all := progress.count("mutants tried"), 0, 0
		opts := ruletest.MutateOptions{Most: v.Mutants, Boundaries: v.Boundaries, Told: func(done, of int) {
			tried, all = done, of
			said(done, of)
		}}
		told.Mutants, err = ruletest.Mutate(ctx, files, results, opts)
		progress.clear()
		switch {
		case err != nil && ctx.Err() != nil:
			return interrupted("all %s passed, and %d of %s tried", count(len(results), "test"), tried, count(all, "mutant"))
		case err != nil:
			return exit(exitNo, "mutants: %w", err)
		}
		crashes = told.Mutants.Crash
		told.OK = crashes == nil
	}
	if c.Output == "junit" {
		err = ruletest.WriteJUnit(s.out, results)
	} else {
		err = c.show(s, told, func() error { return told.print(s.out, time.Since(began)) })
	}
	if err == nil && !told.OK {
		return crashed(exitNo, crashes, "")
	}
	return err
}

// testsEnded counts the tests that were run to their end.
type testsEnded struct{ run, passed int }

// runTests runs the tests of files, and tells whoever waits how many have run.
func runTests(ctx context.Context, s *streams, files []*ruletest.File, cov *ruletest.Coverage) ([]ruletest.Result, testsEnded) {
	progress := newProgress(s.err)
	defer progress.clear()
	all, n := 0, testsEnded{}
	for _, f := range files {
		all += len(f.Tests)
	}
	told := progress.count("tests run")
	results := ruletest.RunAll(ctx, files, cov, func(r ruletest.Result) {
		if ctx.Err() != nil {
			return // it was cut short, or may have been
		}
		n.run++
		if r.Passed {
			n.passed++
		}
		told(n.run, all)
	})
	return results, n
}

// files reads the test files, and leaves the tests in them that are to be run.
func (v *rulesTestCmd) files() ([]*ruletest.File, error) {
	read, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	kinds, err := server.FormKinds()
	if err != nil {
		return nil, err
	}
	var files []*ruletest.File
	var faults rules.Diagnostics
	left := 0
	for _, f := range read {
		file, err := ruletest.Parse(f, ruletest.Options{Kinds: kinds})
		var wrong rules.Diagnostics
		switch {
		case errors.As(err, &wrong):
			faults = append(faults, wrong...)
			continue
		case crash.Of(err) != nil:
			return nil, &exitError{exitCannotTell, err}
		case err != nil:
			return nil, &exitError{exitUsage, err}
		}
		file.Only(v.Only)
		left += len(file.Tests)
		files = append(files, file)
	}
	switch {
	case len(faults) > 0:
		return nil, faults
	case left == 0:
		return nil, exit(exitUsage, "no test's name contains %q", v.Only)
	}
	return files, nil
}

// testsTold is what came of a run, as programs read it.
type testsTold struct {
	OK     bool              `json:"ok"`
	Files  int               `json:"files"`
	Passed int               `json:"passed"`
	Failed int               `json:"failed"`
	Tests  []ruletest.Result `json:"tests"`

	Coverage *testsReached      `json:"coverage,omitempty"`
	Mutants  *ruletest.Mutation `json:"mutants,omitempty"`
	untried  bool               // mutants were asked for, and a test fails without one
}

// printMutation tells which mutants no test noticed.
func printMutation(b *strings.Builder, m *ruletest.Mutation) {
	if len(m.Survived) > 0 {
		b.WriteString("No test noticed:\n")
	}
	for _, s := range m.Survived {
		fmt.Fprintf(b, "  %s\n", oneLine(s.String()))
	}
	if len(m.Failed) > 0 {
		b.WriteString("Of these nobody knows:\n")
	}
	for _, text := range m.Failed {
		fmt.Fprintf(b, "  %s\n", oneLine(text))
	}
	fmt.Fprintf(b, "mutants: %d of %d were noticed", m.Noticed, m.Tried)
	if m.Tried < m.Of {
		fmt.Fprintf(b, " (of %d there are; --mutants 0 tries all)", m.Of)
	}
	b.WriteString("\n")
}

// testsReached is what tests reached of the rules, as programs read it.
type testsReached struct {
	Counts []ruletest.Covered `json:"counts"`
	Gaps   []ruletest.Gap     `json:"gaps"`
}

func (r *testsReached) print(b *strings.Builder) {
	if len(r.Gaps) > 0 {
		b.WriteString("No test reached:\n")
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(b, "  %s\n", oneLine(g.String()))
	}
	parts := make([]string, len(r.Counts))
	for i, n := range r.Counts {
		parts[i] = fmt.Sprintf("%d of %s", n.Reached, plural(n.Of, n.Kind, map[string]string{"transition": "transitions", "tier": "outcomes of tiers", "branch": "branches"}[n.Kind]))
	}
	fmt.Fprintf(b, "reached: %s\n", strings.Join(parts, ", "))
}

func (t *testsTold) print(w io.Writer, took time.Duration) error {
	var b strings.Builder
	for i := range t.Tests {
		printTest(&b, &t.Tests[i])
	}
	if t.Coverage != nil {
		t.Coverage.print(&b)
	}
	if t.Mutants != nil {
		printMutation(&b, t.Mutants)
	}
	if t.untried {
		b.WriteString("mutants: none was tried, as all tests have to pass without one\n")
	}
	fmt.Fprintf(&b, "%s, %s: %d passed, %d failed (%s)\n", count(t.Files, "file"), count(len(t.Tests), "test"), t.Passed, t.Failed, took.Round(time.Millisecond))
	_, err := io.WriteString(w, b.String())
	return err
}

// printTest tells what came of a test: a line where it passed; else what was expected, what was so and why, and what happened around.
func printTest(b *strings.Builder, r *ruletest.Result) {
	if r.Passed {
		fmt.Fprintf(b, "ok    %s\n", oneLine(r.Name))
		return
	}
	fmt.Fprintf(b, "FAIL  %s\n", oneLine(r.Name))
	if r.Error != "" {
		fmt.Fprintf(b, "  %s: it could not be run to its end: %s\n", r.Position, oneLine(r.Error))
	}
	for _, f := range r.Failures {
		fmt.Fprintf(b, "  %s: at %s, %s\n", f.Position, f.When, oneLine(f.What))
		if f.Want != "" {
			fmt.Fprintf(b, "    - %s\n    + %s\n", oneLine(f.Want), oneLine(f.Got))
		} else {
			fmt.Fprintf(b, "    %s\n", oneLine(f.Got))
		}
		for _, line := range f.Why {
			fmt.Fprintf(b, "      %s\n", oneLine(line))
		}
	}
	if len(r.Timeline) > 0 {
		b.WriteString("  What happened:\n")
	}
	for _, m := range r.Timeline {
		mark := " "
		if m.Bad {
			mark = ">"
		}
		text := m.What
		if m.Scope != "" {
			text = string(m.Scope) + ": " + text
		}
		if m.Why != "" {
			text += " (" + m.Why + ")"
		}
		fmt.Fprintf(b, "  %s %8s  %s\n", mark, m.When, oneLine(text))
	}
}
