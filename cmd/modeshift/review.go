package main

import (
	"context"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type reviewCmd struct {
	Scope engine.Scope `arg:"" optional:"" help:"One scope; all of them when left out."`
	Since span         `default:"30d" placeholder:"DURATION" help:"How far back to look: 7d, 30d."`
}

// Help shows real examples.
func (reviewCmd) Help() string {
	return `Example:
  modeshift review --since 7d
  modeshift review checkout
  modeshift review --since 30d -o markdown > review.md

Sums up how things went. MODES: which are in force, which were used, which are stale (declared, and entered before that time only) and
which never were. FLAGS: those past their date, or seen by nobody for 90 days. AUTOMATIONS: how each transition came about (by itself,
approved, by hand, around its gate), what it came to, and how often it was ready and withheld, and why. APPROVALS: how long people took
to say yes or no. SLOS: how often each tier fired; one that never does, or always does, tells nobody anything.`
}

// forms implements formed.
func (reviewCmd) forms() []string { return []string{"json", "markdown"} }

// Run implements the verb.
func (v *reviewCmd) Run(s *streams, c *cli) error {
	if d := time.Duration(v.Since); d <= 0 || d > api.MaxReview {
		return exit(exitUsage, "--since: %s is not how far back to look: write 7d or 30d, at most %s", api.Duration(d), api.Duration(api.MaxReview))
	}
	return c.call(func(ctx context.Context, client *api.Client) error {
		r, err := client.LookBack(ctx, api.Duration(v.Since))
		if v.Scope != "" {
			r, err = client.ScopeLookBack(ctx, v.Scope, api.Duration(v.Since))
		}
		if err != nil {
			return err
		}
		if c.Output == "markdown" {
			return r.Markdown(s.out)
		}
		return c.show(s, r, func() error {
			p := &paper{w: s.out}
			p.line("%s", r.Title())
			for _, n := range r.LeftOut {
				p.line("left out: %s", n)
			}
			p.parts(r.Sections())
			return p.err
		})
	})
}
