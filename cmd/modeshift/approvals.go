package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type approvalsCmd struct {
	ID engine.ChangeID `arg:"" optional:"" help:"One proposal, with all there is to know of it; those that wait when left out."`
}

// Help shows one real example.
func (approvalsCmd) Help() string {
	return `Example:
  modeshift approvals
  modeshift approvals checkout-41

The second shows what would be done, why, who said yes and how long the error budget lasts; also after it has ended.`
}

// Run implements the verb.
func (v *approvalsCmd) Run(s *streams, c *cli) error {
	return c.call(func(ctx context.Context, client *api.Client) error {
		if v.ID != "" {
			a, err := client.Approval(ctx, v.ID)
			if err != nil {
				return err
			}
			return c.show(s, a, func() error { return printApproval(s.out, a) })
		}
		list, err := client.Approvals(ctx)
		if err != nil {
			return err
		}
		return c.show(s, list, func() error {
			if len(list) == 0 {
				_, err := fmt.Fprintln(s.err, "nothing waits for a yes in the scopes this token may see")
				return err
			}
			return table(s.out, "ID\tWHAT\tTRANSITION\tMISSING\tLEFT", func(row func(...any)) {
				for _, a := range list {
					if a.Change != "" {
						a.Transition += " (held)"
					}
					row(a.ID, fmt.Sprintf("%s: %s → %s", a.Scope, a.From, a.To), a.Transition, lack(a), round(time.Duration(a.Left).Truncate(time.Second)))
				}
			})
		})
	})
}

// lack says who still has to say yes.
func lack(a api.ApprovalSummary) string {
	text := groups(a.Missing)
	if len(a.Instead) > 0 {
		text += " (or instead " + groups(a.Instead) + ")"
	}
	return text
}

// groups writes groups as rule files and events do: oncall:1, lead:2.
func groups(list []engine.Group) string {
	words := make([]string, len(list))
	for i, g := range list {
		words[i] = g.String()
	}
	return strings.Join(words, ", ")
}

type approveCmd struct {
	ID     engine.ChangeID `arg:"" help:"The proposal."`
	Reason string          `required:"" short:"r" help:"Why; it is kept in the log."`
	Digest engine.Digest   `placeholder:"DIGEST" help:"Of what you looked at; its first 8 characters will do. Left out: it is shown and you are asked."`
	Blind  bool            `help:"Start it also while its condition cannot be seen. Counts only while that is so: once it was seen again, it takes another yes."`
}

// Help shows one real example.
func (approveCmd) Help() string {
	return `Example:
  modeshift approve checkout-41 --reason "region is down, status page says so"
  modeshift approve checkout-41 --reason "region is down" --digest 827b7dfb

Without --digest the proposal is shown and you are asked. With it, the answer counts only if that is still what is proposed.
Exits 0 when your yes counted, 1 when it did not.`
}

// Run implements the verb.
func (v *approveCmd) Run(s *streams, c *cli) error {
	if v.Digest == "" {
		var seen api.Approval
		err := c.call(func(ctx context.Context, client *api.Client) (err error) {
			seen, err = client.Approval(ctx, v.ID)
			return err
		})
		if err != nil {
			return err
		}
		// On standard error: what comes of it is the result.
		if err := printApproval(s.err, seen); err != nil {
			return err
		}
		if seen.Ended != nil {
			return exit(exitNo, "%s has ended", v.ID)
		}
		if err := v.confirm(s, seen); err != nil {
			return err
		}
		v.Digest = seen.Digest
	}
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Review(ctx, v.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: v.Digest, Reason: v.Reason, Blind: v.Blind})
	})
}

// confirm asks whoever sits at a terminal. Where nobody does, what was shown was seen by nobody, so it only says how to go on.
func (v *approveCmd) confirm(s *streams, seen api.Approval) error {
	blind := ""
	if v.Blind {
		blind = " --blind"
	}
	again := fmt.Sprintf("modeshift approve %s --digest %s --reason %s%s", quote(string(v.ID)), seen.Digest.Short(), quote(v.Reason), blind)
	if !terminal(s.in) {
		return exit(exitUsage, "nobody is asked here, since this is no terminal; whoever has read the above approves it by\n  %s", again)
	}
	if _, err := fmt.Fprintf(s.err, "\nApprove %s: %s → %s? Type yes: ", oneLine(string(seen.Scope)), oneLine(string(seen.From)), oneLine(string(seen.To))); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(s.in, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return exit(exitNo, "not approved, and nothing was recorded; to end it: modeshift reject %s --reason …", quote(string(v.ID)))
	}
	return nil
}

// terminal reports whether somebody sits at a stream. The null device is one too, and nobody sits there.
func terminal(stream any) bool {
	if t, ok := stream.(interface{ Terminal() bool }); ok {
		return t.Terminal()
	}
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// quote writes a text as one word for a shell, so that what is printed can be copied.
func quote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(oneLine(text), "'", `'\''`) + "'"
}

type rejectCmd struct {
	ID     engine.ChangeID `arg:"" help:"The proposal."`
	Reason string          `required:"" short:"r" help:"Why; it is kept in the log."`
	Digest engine.Digest   `placeholder:"DIGEST" help:"Refuse it only if this is still what is proposed."`
}

// Help shows one real example.
func (rejectCmd) Help() string {
	return `Example:
  modeshift reject checkout-41 --reason "the region is coming back"

One no ends a proposal. It comes again only when its condition was false meanwhile, what it would do has changed, or an hour
(retry_after) has passed.`
}

// Run implements the verb.
func (v *rejectCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		digest := v.Digest
		if digest == "" { // a no does no harm, whatever is proposed by now
			seen, err := client.Approval(ctx, v.ID)
			if err != nil {
				return api.Outcome{}, err
			}
			digest = seen.Digest
		}
		return client.Review(ctx, v.ID, api.ReviewRequest{Verdict: api.VerdictNo, Digest: digest, Reason: v.Reason})
	})
}

func printApproval(w io.Writer, a api.Approval) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	line("proposal", "%s", a.ID)
	line("what", "%s: %s → %s (%s)", a.Scope, a.From, a.To, a.Transition)
	if e := a.Ended; e != nil {
		line("ended", "%s", ended(e))
	} else {
		line("left", "%s, until %s", round(time.Duration(a.Left).Truncate(time.Second)), a.Until.UTC().Format("2006-01-02 15:04:05 UTC"))
		missing := lack(a.ApprovalSummary)
		if missing == "" {
			missing = "nobody"
		}
		line("missing", "%s", missing)
	}
	if a.Change != "" {
		line("change", "%s has started, and one of its steps is held: it found more targets than were approved", a.Change)
	}
	if a.Withheld != "" {
		line("withheld", "%s", a.Withheld)
	}
	if a.Blind {
		line("blind", "its condition cannot be seen now: it starts only with a yes given --blind")
	}
	for _, v := range a.Votes {
		line("yes", "%s (%s): %s", v.Person, v.Role, v.Reason)
	}
	if a.Voided > 0 {
		line("void", "%d earlier yes: what would be done has changed since", a.Voided)
	}
	for _, x := range a.Budgets {
		line("budget", "%s", budget(x))
	}
	by := "automation"
	if a.Requester != "" {
		by = a.Requester
	}
	line("asked by", "%s: %s", by, a.Reason)
	if a.Condition != "" {
		line("rule", "%s: %s", a.Position, a.Condition)
	}
	if a.Owner != "" {
		line("owner", "%s", a.Owner)
	}
	if a.Runbook != "" {
		line("runbook", "%s", a.Runbook)
	}
	line("tells", "mode %s, %s", a.To, flagsText(a.Flags))
	for _, x := range a.First {
		line("first", "takes back %s of %s: %s%s", x.Name, x.Undoes, x.Does, x.Problem)
	}
	for i, x := range a.Steps {
		printStep(line, i+1, x)
	}
	line("on failure", "%s", a.OnFailure)
	if a.Verify != "" {
		line("verify", "%s", a.Verify)
	}
	if a.TakenBack != "" {
		line("until", "%s", a.TakenBack)
	}
	if len(a.Pauses) > 0 {
		line("pauses", "%s: no tier of it tells anybody, and the time does not count in its budget", strings.Join(a.Pauses, ", "))
	}
	if q := a.Suppress; q != nil {
		line("quiet", "%s", q)
	}
	for _, r := range a.Readings {
		line("now", "%s = %s", r.Signal, value(r))
	}
	for _, r := range a.Evidence {
		line("then", "%s = %s", r.Signal, value(r))
	}
	line("digest", "%s", a.Digest)
	_, err := io.WriteString(w, b.String())
	return err
}

func printStep(line func(name, format string, args ...any), n int, x api.ApprovalStep) {
	marks := ""
	if x.Destructive {
		marks += ", destructive"
	}
	if x.Irreversible {
		marks += ", CANNOT BE UNDONE"
	}
	if x.Held {
		marks += ", HELD"
	}
	line(fmt.Sprintf("step %d", n), "%s (%s%s)", x.Name, x.Kind, marks)
	if x.Targets != nil {
		for i, l := range targetLines(x.Targets) {
			line([]string{"targets", ""}[min(i, 1)], "  %s", l)
		}
	}
	if x.Problem != "" {
		line("", "  %s", x.Problem)
	}
	for _, text := range []struct{ label, text string }{{"", x.Does}, {"undo: ", x.Undo}} {
		for i, l := range strings.Split(strings.TrimRight(text.text, "\n"), "\n") {
			if i == 0 {
				l = text.label + l
			}
			if text.text != "" {
				line("", "  %s", l)
			}
		}
	}
}

// targetLines say what a step would act on now, how it is found, and how many it may be.
func targetLines(t *api.StepTargets) []string {
	lines := []string{fmt.Sprintf("at most %d: %s", t.Max, t.Selector)}
	switch more := t.Found - len(t.Names); {
	case t.Unknown != "":
		return append(lines, "cannot tell what that is now: "+t.Unknown)
	case t.Found == 0:
		return append(lines, "now none")
	case more > 0:
		lines = append(lines, fmt.Sprintf("now %d: %s and %d more", t.Found, strings.Join(t.Names, ", "), more))
	default:
		lines = append(lines, fmt.Sprintf("now %d: %s", t.Found, strings.Join(t.Names, ", ")))
	}
	if t.Found > t.Max {
		lines = append(lines, "these are MORE than it may have: it would be held, and you would be asked again")
	}
	return lines
}

func ended(e *api.ApprovalEnd) string {
	text := string(e.How)
	if e.Change != "" {
		text = strings.TrimSuffix(fmt.Sprintf("started as %s, %s", e.Change, e.State), ", ")
	}
	if e.By != "" {
		text += " by " + e.By
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func budget(b api.ApprovalBudget) string {
	switch {
	case b.Unknown != "":
		return fmt.Sprintf("%s: cannot tell: %s", b.SLO, b.Unknown)
	case b.Remaining <= 0:
		return fmt.Sprintf("%s: spent (%.1f %%), burning %.3g times as fast as it may", b.SLO, 100*b.Remaining, b.Burn)
	case b.Burn <= 0:
		return fmt.Sprintf("%s: %.1f %% left, not being spent now", b.SLO, 100*b.Remaining)
	}
	return fmt.Sprintf("%s: lasts %s; %.1f %% left, burning %.3g times as fast as it may", b.SLO, round(time.Duration(b.Lasts)), 100*b.Remaining, b.Burn)
}

func value(r engine.Reading) string {
	switch {
	case r.Why != "":
		return strings.TrimSuffix(fmt.Sprintf("unknown: %s: %s", r.Why, r.Detail), ": ")
	case r.Text != "":
		return r.Text
	}
	return fmt.Sprintf("%.6g", r.Value)
}
