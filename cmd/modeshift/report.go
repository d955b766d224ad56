package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/explain"
)

type reportCmd struct {
	Change engine.ChangeID `arg:"" help:"The change, or the proposal, as history names it: checkout-12."`
	File   string          `placeholder:"FILE" help:"Write it there instead of to standard output; .md, .html or .json say in which form, unless -o does."`
}

// Help shows real examples.
func (reportCmd) Help() string {
	return `Example:
  modeshift report checkout-12 > post-mortem.md
  modeshift report checkout-12 --file post-mortem.html    # one file, with charts, to open, send or print
  modeshift report checkout-12 -o json

Drafts the post-mortem of the stay that the change belongs to: from the first sign until the scope was back in the mode that it had
left. Timeline, who did what, error budgets, and five questions, each answered from the log with the events that the answer rests on:
was the decision correct and timely, did telemetry support it, were runbooks followed, how long did each transition take, what
automation succeeded or failed. What no log can tell is marked for a person to write. -o is markdown (the default), html or json.`
}

// forms implements formed.
func (reportCmd) forms() []string { return []string{"markdown", "html", "json"} }

// Run implements the verb.
func (v *reportCmd) Run(s *streams, c *cli) error {
	scope, ok := explain.ScopeOf(v.Change)
	if !ok {
		return exit(exitUsage, "%q is no change: its name is the scope and a number, such as checkout-12; modeshift history SCOPE shows them", v.Change)
	}
	form := c.Output
	if form == "table" {
		form = "markdown"
		switch filepath.Ext(v.File) {
		case ".html", ".htm":
			form = "html"
		case ".json":
			form = "json"
		}
	}
	var r api.PostMortem
	if err := c.call(func(ctx context.Context, client *api.Client) (err error) {
		r, err = client.Report(ctx, scope, v.Change)
		return err
	}); err != nil {
		return err
	}
	out := *s
	var file bytes.Buffer
	if v.File != "" {
		out.out = &file
	}
	var err error
	switch form {
	case "json":
		err = (&cli{Output: form}).show(&out, r, nil)
	case "html":
		err = r.HTML(out.out)
	default:
		err = r.Markdown(out.out)
	}
	if err != nil || v.File == "" {
		return err
	}
	// Written when it is whole, so that no half of a report passes for one.
	if err := os.WriteFile(v.File, file.Bytes(), 0o644); err != nil {
		return exit(exitNo, "%w", err)
	}
	_, err = fmt.Fprintf(s.err, "modeshift: %s is written; what a person has to write is marked in it\n", v.File)
	return err
}
