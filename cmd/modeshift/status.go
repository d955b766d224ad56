package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type statusCmd struct {
	Scope     engine.Scope `arg:"" optional:"" help:"One scope, with the evidence; all of them when left out."`
	Instances bool         `help:"Show the scope's instances: what each is told, and what it says that it has."`
}

// Help shows one real example.
func (statusCmd) Help() string {
	return `Example:
  modeshift status
  modeshift status checkout
  modeshift status checkout --instances

Exits 0 when the server is ready (and the scope known), 1 when it is not ready, 3 when no server answers.`
}

// Run implements the verb.
func (v *statusCmd) Run(s *streams, c *cli) error {
	if v.Instances {
		if v.Scope == "" {
			return exit(exitUsage, "--instances shows those of one scope: name it")
		}
		return c.call(func(ctx context.Context, client *api.Client) error {
			list, err := client.Instances(ctx, v.Scope)
			if err != nil {
				return err
			}
			return c.show(s, list, func() error { return printInstances(s.out, list, time.Now()) })
		})
	}
	if v.Scope != "" {
		return c.call(func(ctx context.Context, client *api.Client) error {
			scope, err := client.Scope(ctx, v.Scope)
			if err != nil {
				return err
			}
			would, err := would(ctx, client, scope)
			if err != nil {
				return err
			}
			return c.show(s, scope, func() error { return printScope(s.out, scope, would) })
		})
	}
	ready := true
	err := c.call(func(ctx context.Context, client *api.Client) error {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		scopes, err := client.Scopes(ctx)
		if err != nil {
			return err
		}
		ready = status.Ready
		both := struct {
			Status api.Status    `json:"status"`
			Scopes []api.Summary `json:"scopes"`
		}{status, scopes}
		return c.show(s, both, func() error { return printStatus(s.out, status, scopes) })
	})
	if err == nil && !ready {
		return exit(exitNo, "the server is not ready")
	}
	return err
}

func printStatus(w io.Writer, st api.Status, scopes []api.Summary) error {
	var failed error
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintln(w, manyLines(fmt.Sprintf(format, args...))); err != nil && failed == nil {
			failed = err
		}
	}
	for _, check := range st.Checks {
		if !check.OK {
			say("NOT READY  %s: %s", check.Name, check.Detail)
		}
	}
	if st.Deposed != "" {
		say("LED PAST   %s: nothing is published; look, then modeshift recover --term", st.Deposed)
	}
	if st.Freeze != nil {
		say("FROZEN     all automation, by %s: %s", st.Freeze.By, st.Freeze.Reason)
	}
	for _, src := range st.Sources {
		if src.Blind {
			say("BLIND      source %s since %s: %s", src.Source, ago(src.Since), src.Detail)
		}
	}
	for _, p := range st.RulesProblems {
		say("RULES      %s", indent(p.Problem, "           "))
	}
	if st.Jobs != nil && st.Jobs.Failed > 0 {
		say("NOTICES    %d were given up: see the server's log", st.Jobs.Failed)
	}
	if failed != nil {
		return failed
	}
	if len(scopes) == 0 {
		say("no scope is declared")
		return failed
	}
	return table(w, "SCOPE\tMODE\tFOR\tINCIDENTS\tNOTES", func(row func(...any)) {
		for _, sc := range scopes {
			since := ""
			if !sc.Since.IsZero() {
				since = round(time.Since(sc.Since).Round(time.Second))
			}
			mode := string(sc.Mode)
			if sc.Target != sc.Mode {
				mode += " → " + string(sc.Target)
			}
			if mode == "" {
				mode = "(alerts only)"
			}
			row(sc.Scope, mode, since, sc.Incidents, notes(sc))
		}
	})
}

// notes are what is out of the ordinary about a scope.
func notes(sc api.Summary) string {
	var list []string
	for _, n := range []struct {
		holds bool
		text  string
	}{
		{sc.Retired, "retired"}, {sc.Automation == engine.AutomationSuggest, "only suggests"}, {sc.Automation == engine.AutomationOff && sc.Target != "" && !sc.Retired, "automation off"}, {sc.Imposed != "", "held by " + string(sc.Imposed)}, {sc.Pinned, "pinned"}, {sc.Frozen, "frozen"}, {sc.Blind, "blind"}, {len(sc.Paused) > 0, pausedNotes(sc.Paused)}, {sc.Suppressed > 0, fmt.Sprintf("%d kept quiet", sc.Suppressed)},
		{sc.Proposals > 0, fmt.Sprintf("%d to approve", sc.Proposals)}, {sc.Withheld > 0, fmt.Sprintf("%d withheld", sc.Withheld)}, {sc.RulesProblem != "", "rules on disk not in force"},
	} {
		if n.holds {
			list = append(list, n.text)
		}
	}
	return strings.Join(list, ", ")
}

// would says what automation would have done these days, where it only suggests, or did until it was turned on; empty elsewhere.
func would(ctx context.Context, client *api.Client, sc api.Scope) (string, error) {
	const days = 7 * 24 * time.Hour
	only := sc.Automation == engine.AutomationSuggest
	if only && sc.Target == "" || !only && time.Since(sc.Suggested) > days {
		return "", nil
	}
	r, err := client.Suggestions(ctx, sc.Scope, time.Time{}, time.Time{})
	return "in the last 7 days it " + r.Text, err
}

func printScope(w io.Writer, sc api.Scope, would string) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	line("scope", "%s", sc.Scope)
	if sc.Mode != "" {
		line("mode", "%s for %s", sc.Mode, round(time.Since(sc.Since).Round(time.Second)))
	}
	for _, i := range sc.Imposed {
		line("imposed", "%s, in %s, asks for %s at least", i.Parent, i.In, i.Mode)
	}
	if sc.Own != "" {
		line("own mode", "%s: it goes back to that when less is asked for", sc.Own)
	}
	if sc.Parent != "" {
		line("parent", "%s", sc.Parent)
	}
	if b := sc.Brake; b != nil {
		line("brake", "%d of %d scopes have moved by themselves in %s", b.Used, b.Of, round(b.Within))
	}
	if sc.Directive != nil {
		line("directive", "term %d, revision %d, %s", sc.Directive.Term, sc.Directive.Revision, flagsText(sc.Directive.Flags))
	}
	if sc.Rules != "" {
		line("rules", "%s", sc.Rules.Short())
	}
	if sc.Owner != "" {
		line("owner", "%s", sc.Owner)
	}
	if sc.Runbook != "" {
		line("runbook", "%s", sc.Runbook)
	}
	if how := string(sc.Automation); sc.Target != "" && (sc.Automation != engine.AutomationOn || would != "") {
		if sc.Automation == engine.AutomationSuggest {
			how = "only suggests"
		}
		if would != "" {
			how += "; " + would
		}
		line("automation", "%s", how)
	}
	if sc.Pin != nil {
		line("pinned", "to %s until %s by %s: %s", sc.Pin.Mode, sc.Pin.Until.Local().Format("15:04:05"), sc.Pin.By, sc.Pin.Reason)
	}
	for _, f := range []*engine.Freeze{sc.Freeze, sc.FleetFreeze} {
		if f != nil {
			line("frozen", "by %s: %s", f.By, f.Reason)
		}
	}
	for _, p := range sc.Pauses {
		line("paused", "%s by %s (%s) since %s", p.SLO, p.Mode, p.Change, p.From.Local().Format("2006-01-02 15:04:05"))
	}
	if in := sc.Instances; in.Known > 0 {
		text := fmt.Sprintf("%d, of which %d of %d have revision %d", in.Known, in.Applied, in.Told, in.Revision)
		if in.Failed > 0 {
			text += fmt.Sprintf(", %d could not take it", in.Failed)
		}
		if in.Behind > 0 {
			text += fmt.Sprintf(", %d DO NOT FOLLOW since %s", in.Behind, ago(in.Since))
		}
		line("instances", "%s", text)
	}
	if c := sc.Change; c != nil {
		line("change", "%s: %s → %s, %s", c.ID, c.From, c.To, stage(c))
	}
	for _, id := range sc.Proposals {
		line("proposal", "%s waits for a yes: modeshift approvals %[1]s", id)
	}
	for _, i := range sc.Incidents {
		severity, alone := string(i.Severity), ""
		if i.Escalated != "" {
			severity += " → " + string(i.Escalated)
		}
		if i.Alone {
			alone = ", BURNS ON: nobody is configured to be told further"
		}
		line("incident", "%s %s: %s, %s%s", severity, i.ID, i.Subject, ago(i.Opened), alone)
	}
	for _, q := range sc.Suppressed {
		line("quiet", "%s %s, kept by %s, %s", q.Severity, q.Subject, q.Mode, ago(q.Since))
	}
	for _, h := range sc.Withheld {
		line("withheld", "%s to %s: %s", h.Transition, h.To, because(h.Reason))
	}
	for _, x := range sc.Blind {
		line("blind", "%s, since %s", x.Subject, ago(x.Since))
	}
	if sc.RulesProblem != "" {
		fmt.Fprintf(&b, "%-10s %s\n", "rules", indent(sc.RulesProblem, "           "))
	}
	if _, err := io.WriteString(w, b.String()+"\n"); err != nil {
		return err
	}
	return table(w, "CONDITION\tTRUTH\tREADING\tVALUE\tQUERY", func(row func(...any)) {
		for _, cond := range sc.Conditions {
			truth := cond.Truth.String()
			if !cond.Asked {
				truth = "(not asked)"
			}
			row(cond.Name, truth, cond.Text, "", "")
			for _, r := range cond.Readings {
				value := fmt.Sprintf("%.6g", r.Value)
				if r.Text != "" {
					value = r.Text
				}
				if r.Why != "" {
					value = strings.TrimSuffix(fmt.Sprintf("unknown: %s: %s", r.Why, r.Detail), ": ")
				}
				row("", "", "  "+r.Signal, value, r.Query)
			}
		}
	})
}

// stage says how far a change under way is.
func stage(c *engine.Change) string {
	switch {
	case c.Stuck:
		return fmt.Sprintf("STUCK: look, then modeshift settle %s --as done|undone", c.ID)
	case c.Asks:
		return c.Plan.Steps[c.Next].Name + " is held: it found more targets than were approved"
	case c.Running != nil && c.Running.Undo:
		return "takes back " + c.Running.Step.Name
	case c.Undoing:
		return "is being undone"
	case c.Published && !c.Rolled && c.Stopped != nil:
		return fmt.Sprintf("%s is held: %s", waveOf(c), because(c.Stopped.Reason))
	case c.Published && !c.Rolled && c.Applied != nil:
		return fmt.Sprintf("%s is in force at %d of %d instances, and has to prove itself", waveOf(c), c.Applied.Done, c.Applied.Of)
	case c.Published && !c.Rolled:
		return waveOf(c) + " is told to the instances"
	case c.Running != nil:
		return "at " + c.Running.Step.Name
	case !c.Held.IsZero():
		return fmt.Sprintf("held, tried again at %s", c.Held.Local().Format("15:04:05"))
	case c.Verify != "":
		return "is being verified"
	}
	return "under way"
}

// waveOf says which part of the instances a change is at.
func waveOf(c *engine.Change) string {
	if c.Plan.Rollout == nil || c.Wave == 0 {
		return "the mode"
	}
	return fmt.Sprintf("wave %d of %d (%d instances)", c.Wave, len(c.Plan.Rollout.Waves), c.Waved)
}

// indent puts text under its first line.
func indent(text, by string) string { return strings.ReplaceAll(manyLines(text), "\n", "\n"+by) }
