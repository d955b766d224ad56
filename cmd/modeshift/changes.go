package main

import (
	"context"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type cancelCmd struct {
	Change engine.ChangeID `arg:"" help:"The change under way, or a proposal."`
	Reason string          `required:"" short:"r" help:"Why; it is kept in the log."`
	DryRun bool            `help:"Say what would happen, and do nothing."`
}

// Help shows one real example.
func (cancelCmd) Help() string {
	return `Example:
  modeshift cancel checkout-45 --reason "wrong region"

Takes back what the change has done so far, the last step first. A proposal is withdrawn. A change that is done is taken back
with modeshift undo. --dry-run says what would be done.`
}

// Run implements the verb.
func (v *cancelCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		scope, err := scopeOf(ctx, client, "change", string(v.Change))
		if err != nil {
			return api.Outcome{}, err
		}
		return client.Cancel(ctx, scope, v.Change, api.ChangeRequest{Reason: v.Reason, DryRun: v.DryRun})
	})
}

type undoCmd struct {
	Change engine.ChangeID `arg:"" help:"The last change that is done in its scope."`
	Reason string          `required:"" short:"r" help:"Why; it is kept in the log."`
	DryRun bool            `help:"Say what would happen, and do nothing."`
}

// Help shows one real example.
func (undoCmd) Help() string {
	return `Example:
  modeshift undo checkout-45 --reason "the primary is back"

Takes back what the change did, the last step first, and settles the mode it had left. Of several changes the last one comes
first; modeshift history tells them. --dry-run says what would be done.`
}

// Run implements the verb.
func (v *undoCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		scope, err := scopeOf(ctx, client, "change", string(v.Change))
		if err != nil {
			return api.Outcome{}, err
		}
		return client.Undo(ctx, scope, v.Change, api.ChangeRequest{Reason: v.Reason, DryRun: v.DryRun})
	})
}

type settleCmd struct {
	Change engine.ChangeID  `arg:"" help:"The stuck change."`
	As     engine.SettledAs `required:"" enum:"done,undone" help:"What you found: done, or undone as if it never was."`
	Reason string           `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows one real example.
func (settleCmd) Help() string {
	return `Example:
  modeshift settle checkout-45 --as undone --reason "put DNS back by hand, checked with dig"

A change is stuck when nobody knows what the world is like: a destructive step without an answer, an undo that failed. Look
first; modeshift believes you.`
}

// Run implements the verb.
func (v *settleCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		scope, err := scopeOf(ctx, client, "change", string(v.Change))
		if err != nil {
			return api.Outcome{}, err
		}
		return client.Settle(ctx, scope, v.Change, api.SettleRequest{As: v.As, Reason: v.Reason})
	})
}

// scopeOf finds the scope of a change or a correction among those the server has. Its identity is its first event's: the
// scope, a hyphen, a number; a scope's name may have hyphens too.
func scopeOf(ctx context.Context, client *api.Client, what, id string) (engine.Scope, error) {
	at := strings.LastIndexByte(id, '-')
	if at < 1 {
		return "", exit(exitUsage, "%q is no %s: a %[2]s is called SCOPE-NUMBER, as modeshift status and history show it", id, what)
	}
	scope := engine.Scope(id[:at])
	list, err := client.Scopes(ctx)
	if err != nil {
		return "", err
	}
	names := make([]string, len(list))
	for i, sc := range list {
		names[i] = string(sc.Scope)
	}
	if !slices.Contains(names, string(scope)) {
		return "", exit(exitUsage, "%s is no %s of a scope this token may see: there are %s", id, what, strings.Join(names, ", "))
	}
	return scope, nil
}
