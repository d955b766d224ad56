package main

import (
	"context"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type historyCmd struct {
	Scope  engine.Scope   `arg:"" help:"The scope; fleet for what spans scopes."`
	Limit  int            `short:"n" default:"50" help:"How many events, the newest first."`
	Before engine.Version `help:"Only events before this version: the next page."`
}

// Help shows one real example.
func (historyCmd) Help() string {
	return `Example:
  modeshift history checkout -n 20
  modeshift history checkout -o json     # with the evidence of each event`
}

// Run implements the verb.
func (v *historyCmd) Run(s *streams, c *cli) error {
	if v.Limit < 1 {
		return exit(exitUsage, "--limit: %d is not a number of events", v.Limit)
	}
	return c.call(func(ctx context.Context, client *api.Client) error {
		page, err := client.History(ctx, v.Scope, v.Before, v.Limit)
		if err != nil {
			return err
		}
		return c.show(s, page, func() error { return printHistory(s.out, page) })
	})
}
