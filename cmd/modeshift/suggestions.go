package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/suggest"
)

type suggestCmd struct {
	Scope engine.Scope `arg:"" help:"The scope."`
	Since string       `default:"7d" placeholder:"SPAN" help:"How far back: 12h, 7d, 4w."`
}

// Help shows one real example.
func (suggestCmd) Help() string {
	return `Example:
  modeshift suggestions checkout
  modeshift suggestions checkout --since 4w -o json

With automation: suggest in its rule file a scope moves nowhere by itself, and the log says when it would have. READY is for how
long the transition stayed ready: how long its mode would have lasted nobody knows. PAGES are those of SLOs that were opened only
after it was ready. The server sends the same once a week (suggestions: in modeshift.yaml).

Exits 0; what automation would have done is no fault.`
}

// Run implements the verb.
func (v *suggestCmd) Run(s *streams, c *cli) error {
	since, err := api.ParseDuration(v.Since)
	if err != nil || since <= 0 {
		return exit(exitUsage, "--since: %q is not a length of time: write 12h, 7d or 4w", v.Since)
	}
	return c.call(func(ctx context.Context, client *api.Client) error {
		now := time.Now()
		r, err := client.Suggestions(ctx, v.Scope, now.Add(-time.Duration(since)), now)
		if err != nil {
			return err
		}
		return c.show(s, r, func() error { return printSuggestions(s.out, r.Report) })
	})
}

func printSuggestions(w io.Writer, r suggest.Report) error {
	if _, err := fmt.Fprintln(w, oneLine(fmt.Sprintf("%s since %s: automation (now %s) %s", r.Scope, r.From.Local().Format("2006-01-02 15:04"), r.Automation, r.Text))); err != nil || len(r.Suggestions) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, "SINCE\tUNTIL\tREADY\tWOULD HAVE\tPAGES\tENDED BY", func(row func(...any)) {
		for _, s := range r.Suggestions {
			until, pages := "still ready", ""
			if !s.Until.IsZero() {
				until = s.Until.Local().Format("2006-01-02 15:04:05")
			}
			if len(s.Preceded) > 0 {
				pages = fmt.Sprint(len(s.Preceded))
			}
			row(s.Since.Local().Format("2006-01-02 15:04:05"), until, round(suggest.Seconds(s.Ready).Round(time.Second)), deed(s)+" "+suggest.Move(s.From, s.To, s.Transition), pages, because(s.Why))
		}
	})
}

// deed is what automation would have done.
func deed(s suggest.Suggestion) string {
	if s.Asks {
		return "asked about"
	}
	return "moved"
}

// wouldHave says what an event begins to suggest, and what one ends.
func wouldHave(s suggest.Suggestion) (begins, ends string) {
	move := fmt.Sprintf("would have %s %s", deed(s), suggest.Move(s.From, s.To, s.Transition))
	ready := round(suggest.Seconds(s.Ready).Round(time.Second))
	if s.Until.IsZero() {
		return fmt.Sprintf("%s; ready since then, %s", move, ready), ""
	}
	return fmt.Sprintf("%s; ready until %s, %s", move, s.Until.Local().Format("15:04:05"), ready),
		fmt.Sprintf("%s; it was ready since %s, %s", move, s.Since.Local().Format("15:04:05"), ready)
}
