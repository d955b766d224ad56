package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// span is a duration as Prometheus writes it: 90s, 1h30m, 1d.
type span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler, which the flags go by.
func (d *span) UnmarshalText(text []byte) error {
	v, err := model.ParseDuration(string(text))
	if err != nil { // or as Go writes them: 1.5h
		other, also := time.ParseDuration(string(text))
		if also != nil || other <= 0 {
			return fmt.Errorf("%q is not a duration such as 30m, 2h or 1d", text)
		}
		v = model.Duration(other)
	}
	*d = span(v)
	return nil
}

type setCmd struct {
	Scope         engine.Scope `arg:"" help:"The scope to move."`
	Mode          engine.Mode  `arg:"" help:"The mode to move it to."`
	Reason        string       `required:"" short:"r" help:"Why; it is kept in the log."`
	For           span         `placeholder:"DURATION" help:"How long automation keeps off: 1h unless said, at most 24h."`
	Via           string       `placeholder:"TRANSITION" help:"The transition to go by, where several lead there."`
	DirectiveOnly bool         `help:"Publish the mode although no transition leads there; refused where one does."`
	Force         bool         `help:"Break-glass: go around the transition's gate. Needs the role break-glass; the owner is paged."`
	DryRun        bool         `help:"Say what would happen, and do nothing."`
}

// Help shows one real example.
func (setCmd) Help() string {
	return `Example:
  modeshift set checkout degraded --reason "bad deploy, rolling back" --for 30m

Goes by the declared transition. While the pin lasts, automation shows what it would do and pages if it withholds protection;
modeshift unpin ends it sooner, and --dry-run only says what would happen. Setting the mode a scope is in already pins it there. A transition with a gate is proposed, and
starts when others have said yes (modeshift approvals); --force goes around the gate, and that is marked for ever.`
}

// Run implements the verb.
func (v *setCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Set(ctx, v.Scope, api.SetRequest{Mode: v.Mode, Reason: v.Reason, For: api.Duration(v.For), Via: v.Via, DirectiveOnly: v.DirectiveOnly, Force: v.Force, DryRun: v.DryRun})
	})
}

type unpinCmd struct {
	Scope  engine.Scope `arg:"" help:"The pinned scope."`
	Reason string       `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows one real example.
func (unpinCmd) Help() string {
	return `Example:
  modeshift unpin checkout --reason "rolled back"`
}

// Run implements the verb.
func (v *unpinCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Unpin(ctx, v.Scope, v.Reason)
	})
}

type freezeCmd struct {
	Scope  engine.Scope `arg:"" optional:"" help:"One scope; all of them when left out."`
	Reason string       `required:"" short:"r" help:"Why; it is kept in the log."`
	For    span         `placeholder:"DURATION" help:"When it ends by itself; until unfreeze if not said."`
}

// Help shows one real example.
func (freezeCmd) Help() string {
	return `Example:
  modeshift freeze --reason "load test" --for 2h
  modeshift freeze checkout --reason "migration"

Automation starts no change while frozen. People still can. What is withheld is shown, and paged if it is protection.`
}

// Run implements the verb.
func (v *freezeCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Freeze(ctx, everywhere(v.Scope), v.Reason, time.Duration(v.For))
	})
}

type unfreezeCmd struct {
	Scope  engine.Scope `arg:"" optional:"" help:"One scope; the freeze of all of them when left out."`
	Reason string       `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows one real example.
func (unfreezeCmd) Help() string {
	return `Example:
  modeshift unfreeze --reason "load test over"`
}

// Run implements the verb.
func (v *unfreezeCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Unfreeze(ctx, everywhere(v.Scope), v.Reason)
	})
}

func everywhere(scope engine.Scope) engine.Scope {
	if scope == "" {
		return engine.Fleet
	}
	return scope
}

// request carries out what a person asks for and shows the events it led to.
func (c *cli) request(s *streams, f func(context.Context, *api.Client) (api.Outcome, error)) error {
	return c.call(func(ctx context.Context, client *api.Client) error {
		done, err := f(ctx, client)
		if err != nil {
			return err
		}
		if err := c.show(s, done, func() error { return printOutcome(s.out, done) }); err != nil || done.DryRun {
			return err
		}
		for _, e := range done.Events {
			if f, ok := e.Fact.(engine.ChangeProposed); ok {
				_, err = fmt.Fprintf(s.err, "%s waits for %s: modeshift approve %[1]s --reason …\n", oneLine(string(f.Proposal.ID)), oneLine(groups(f.Proposal.Gate.Groups)))
			}
		}
		return err
	})
}

// printOutcome prints what a request led to, or would lead to.
func printOutcome(w io.Writer, done api.Outcome) error {
	if done.DryRun {
		if _, err := fmt.Fprintln(w, "nothing was done; this is what would happen:"); err != nil {
			return err
		}
	}
	if err := printEvents(w, done.Events); err != nil {
		return err
	}
	for _, step := range done.Would {
		text := "\nstep " + oneLine(step.Step) + "\n"
		if step.Undoes != "" {
			text = "\nundo of step " + oneLine(step.Step) + " of " + oneLine(string(step.Undoes)) + "\n"
		}
		if step.Targets != nil {
			text += "targets\n"
			for _, line := range targetLines(step.Targets) { // a name may hold anything: each stays on its line
				text += "  " + oneLine(line) + "\n"
			}
		}
		text += indented(step.Do)
		if step.Undo != "" {
			text += "undo\n" + indented(step.Undo)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// indented puts a block of text under its heading.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + oneLine(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}
