package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type gateCmd struct {
	Scope           engine.Scope  `arg:"" help:"The scope that is deployed to."`
	Allow           []engine.Mode `placeholder:"MODE,…" help:"Modes in which a deployment may go ahead; the first of the scope's unless said."`
	MinBudget       *share        `placeholder:"PERCENT" help:"Of every error budget at least this much has to be left: 10%."`
	IgnoreIncidents bool          `help:"An open page is no reason to wait: what is deployed is meant to end it."`
	Wait            span          `placeholder:"DURATION" help:"Ask again until the answer is yes, for so long at most."`
	Format          string        `enum:"text,github" default:"text" help:"github: annotations of a run of GitHub Actions."`
}

// Help shows real examples.
func (gateCmd) Help() string {
	return `Example:
  modeshift gate checkout
  modeshift gate checkout --min-budget 10% --wait 10m
  modeshift gate checkout --allow normal,degraded --ignore-incidents    # the hotfix

For pipelines: may a deployment go ahead? Not while the scope is in another mode than those of --allow or moves from or to one,
while it or everything is frozen, while it is pinned to another mode, while a page is open, or while less than --min-budget is left
of one of its error budgets. The role viewer is enough.

Exits 0 for yes, 1 for no, 2 when the call is wrong, and 3 when it cannot tell: no server answers, its log cannot be written, the
scope or its budget is out of sight, the last evaluation is longer ago than two intervals, or no rules are in force for the scope.
With --wait it ends as soon as the answer is yes, and else with the last one. examples/gate has GitHub Actions, GitLab CI and a
Makefile.`
}

// share is a part of a whole, as people write it: 10%.
type share float64

// UnmarshalText implements encoding.TextUnmarshaler, which the flags go by.
func (s *share) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !percent || err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("%q is not a share such as 10%%, from 0%% to 100%%", text)
	}
	*s = share(v / 100)
	return nil
}

// While it waits it asks again after firstPause, then ever more seldom, up to longestPause.
const (
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

// Run implements the verb.
func (v *gateCmd) Run(s *streams, c *cli) error {
	if v.Format == "github" && c.Output == "json" {
		return exit(exitUsage, "--format github and -o json are both there: choose one")
	}
	client, err := c.dial()
	if err != nil {
		return err
	}
	until := time.Now().Add(time.Duration(v.Wait))
	last := ""
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		answer, err := v.ask(c, client)
		left := time.Until(until)
		if left <= 0 || err == nil && answer.Answer == api.AnswerYes || isUsage(err) {
			return v.say(s, c, answer, err)
		}
		if why := whyNot(answer, err); why != last { // in the pipeline's log, but not with every question
			if _, err := fmt.Fprintf(s.err, "modeshift: waiting until %s: %s\n", until.Local().Format("15:04:05"), oneLine(why)); err != nil {
				return err
			}
			last = why
		}
		time.Sleep(min(pause, left))
	}
}

// ask asks once. What is not an answer of modeshift's is none: a proxy's page must not read as no, which could be waved through.
func (v *gateCmd) ask(c *cli, client *api.Client) (api.GateAnswer, error) {
	q := api.GateQuery{Allow: v.Allow, MinBudget: math.NaN(), IgnoreIncidents: v.IgnoreIncidents}
	if v.MinBudget != nil {
		q.MinBudget = float64(*v.MinBudget)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := client.Gate(ctx, v.Scope, q)
	var known *exitError
	if err = c.explain(err); err != nil && !errors.As(err, &known) {
		err = &exitError{exitCannotTell, err}
	}
	return answer, err
}

func isUsage(err error) bool {
	var e *exitError
	return errors.As(err, &e) && e.code == exitUsage
}

// whyNot says in a few words what keeps the answer from being yes.
func whyNot(answer api.GateAnswer, err error) string {
	if err != nil {
		return err.Error()
	}
	var reasons []string
	for _, k := range answer.Checks {
		if k.Answer != api.AnswerYes {
			reasons = append(reasons, k.Name+": "+k.Why)
		}
	}
	return strings.Join(reasons, "; ")
}

// say prints the last answer and gives it its exit code.
func (v *gateCmd) say(s *streams, c *cli, answer api.GateAnswer, failed error) error {
	if v.Format == "github" {
		if err := annotate(s.out, v.Scope, answer, failed); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	if v.Format != "github" {
		if err := c.show(s, answer, func() error { return printGate(s.out, answer) }); err != nil {
			return err
		}
	}
	var names []string
	for _, k := range answer.Checks {
		if k.Answer == answer.Answer {
			names = append(names, k.Name)
		}
	}
	because := oneLine(strings.Join(names, ", "))
	switch answer.Answer {
	case api.AnswerYes:
		return nil
	case api.AnswerNo:
		return exit(exitNo, "do not deploy to %s now: %s", oneLine(string(v.Scope)), because)
	}
	return exit(exitCannotTell, "whether %s may be deployed to cannot be told: %s", oneLine(string(v.Scope)), because)
}

func printGate(w io.Writer, answer api.GateAnswer) error {
	return table(w, "CHECK\tANSWER\tWHY", func(row func(...any)) {
		for _, k := range answer.Checks {
			row(k.Name, k.Answer, k.Why)
		}
	})
}

// annotate prints what GitHub Actions shows beside a run: a line for each reason.
func annotate(w io.Writer, scope engine.Scope, answer api.GateAnswer, failed error) error {
	var errs []error
	line := func(level, title, text string) {
		errs = append(errs, workflowCommand(w, level, oneLine(text), "title", oneLine(title)))
	}
	switch {
	case failed != nil:
		line("error", fmt.Sprintf("modeshift cannot tell of %s", scope), failed.Error())
	case answer.Answer == api.AnswerYes:
		line("notice", "modeshift", fmt.Sprintf("a deployment to %s may go ahead", scope))
	}
	for _, k := range answer.Checks {
		switch k.Answer {
		case api.AnswerNo:
			line("error", fmt.Sprintf("modeshift: no deployment to %s: %s", scope, k.Name), k.Why)
		case api.AnswerUnknown:
			line("error", fmt.Sprintf("modeshift cannot tell of %s: %s", scope, k.Name), k.Why)
		}
	}
	return errors.Join(errs...)
}
