package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/engine/store"
)

type explainCmd struct {
	Change engine.ChangeID `arg:"" help:"The change, or the proposal, as history names it: checkout-12."`
	Data   string          `placeholder:"DIR" help:"Read this data folder instead of asking the server."`
}

// Help shows one real example.
func (explainCmd) Help() string {
	return `Example:
  modeshift explain checkout-12
  modeshift explain checkout-12 --data modeshift-data     # without a server, or beside a running one

Tells from the log what was seen, which rule it was, why not another, who said what, and what each step
came to; and makes the decisions again. Exits 1 when one of them does not come out as the log says.`
}

// Run implements the verb.
func (v *explainCmd) Run(s *streams, c *cli) error {
	scope, ok := explain.ScopeOf(v.Change)
	if !ok {
		return exit(exitUsage, "%q is no change: its name is the scope and a number, such as checkout-12; modeshift history SCOPE shows them", v.Change)
	}
	var x explain.Explanation
	var err error
	if v.Data != "" {
		x, err = explainFrom(v.Data, scope, v.Change)
	} else {
		err = c.call(func(ctx context.Context, client *api.Client) error {
			answer, err := client.Explain(ctx, scope, v.Change)
			x = answer.Explanation
			return err
		})
	}
	if err != nil {
		return err
	}
	if err := c.show(s, x, func() error { return printExplanation(s.out, x) }); err != nil {
		return err
	}
	if x.Replay.Difference != nil {
		return exit(exitNo, "%s", oneLine(x.Replay.String()))
	}
	return nil
}

// explainFrom explains a change out of a data folder.
func explainFrom(dir string, scope engine.Scope, id engine.ChangeID) (x explain.Explanation, err error) {
	path := filepath.Join(dir, server.LogFile)
	if _, err := os.Stat(path); err != nil {
		return x, exit(exitUsage, "no log at %s: name a server's data folder: --data DIR", path)
	}
	ctx := context.Background()
	log, err := store.OpenReadOnly(ctx, path)
	if err != nil {
		return x, &exitError{exitCannotTell, err}
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	events, err := log.Read(ctx, scope, 0, 0)
	if err != nil {
		return x, &exitError{exitCannotTell, err}
	}
	if len(events) > 0 && events[0].Version != 1 {
		return x, exit(exitCannotTell, "the history of %s before %d was archived: without it nothing can be decided again", scope, events[0].Version)
	}
	x, err = explain.Change(events, id, server.KeptPolicies(filepath.Join(dir, server.PoliciesFile)))
	if errors.Is(err, explain.ErrUnknown) {
		return x, exit(exitUsage, "%s has had no change or proposal %s; modeshift history %s shows those there were", scope, id, scope)
	}
	return x, err
}

// printExplanation tells it to people: the answer first, what it rests on after it.
func printExplanation(w io.Writer, x explain.Explanation) error {
	p := &paper{w: w}
	id := x.Change
	if id == "" {
		id = x.Proposal
	}
	p.line("%s  %s: %s → %s%s  %s", id, x.Scope, x.From, x.To, bracketed(x.Transition), x.Outcome)
	p.line("")
	p.line("why      %s", because(x.Why))
	by := "automation"
	if x.By != (engine.Actor{}) {
		by = x.By.String()
	}
	p.line("by       %s, at %s%s", by, stamp(x.Began), lengths(x))
	r := x.Rule
	switch {
	case x.Transition == "":
		p.line("rule     none: a directive only")
	case r.Kept:
		p.line("rule     %s of %s", r.Position, r.Digest.Short())
		when := "         when " + r.Condition
		if r.For > 0 {
			when += ", for " + round(r.For.Duration())
		}
		p.line("%s", when)
	default:
		p.line("rule     %s of %s, whose text was not kept", r.Position, r.Digest.Short())
	}
	for _, g := range r.Gate {
		p.line("gate     %s", g)
	}
	for _, s := range x.Seen {
		p.section(fmt.Sprintf("SEEN at %s, for %s", stamp(s.At), s.Event), "SIGNAL\tVALUE\tSAMPLE\tSOURCE\tQUERY", func(row func(...any)) {
			for _, r := range s.Readings {
				value := any(r.Value)
				switch {
				case r.Why != "":
					value = "unknown: " + string(r.Why)
				case r.Text != "":
					value = r.Text
				}
				sample := ""
				if !r.Sample.IsZero() {
					sample = stamp(r.Sample)
				}
				row(r.Signal, value, sample, r.Source, r.Query)
			}
		})
	}
	if len(x.Others) > 0 {
		p.section("WHY NOT ANOTHER", "TRANSITION\tTO\tBECAUSE IT", func(row func(...any)) {
			for _, o := range x.Others {
				row(o.Transition, o.To, o.Why)
			}
		})
	}
	if len(x.People) > 0 {
		p.section("PEOPLE", "TIME\tWHO\tAS\tSAID\tREASON", func(row func(...any)) {
			for _, v := range x.People {
				row(stamp(v.At), v.Person, v.Role, v.Said, v.Reason)
			}
		})
	}
	if len(x.Steps) > 0 {
		p.section("STEPS", "STEP\tATTEMPT\tSTARTED\tTOOK\tOUTCOME\tANSWER", func(row func(...any)) {
			for _, s := range x.Steps {
				name := s.Step
				if s.Undo {
					name = "undo of " + name
				}
				for _, a := range s.Attempts {
					outcome, took := string(a.Outcome), round(a.Took.Duration())
					if outcome == "" {
						outcome, took = "awaited", ""
					}
					answer := a.Answer
					if len(a.Targets) > 0 {
						answer = strings.TrimSuffix("on "+explain.Targets(a.Targets)+"; "+answer, "; ")
					}
					row(name, a.Number, stamp(a.Started), took, outcome, answer)
				}
			}
		})
	}
	p.section("TIMELINE", "AFTER\tEVENT\tWHAT\tWHY\tBY", func(row func(...any)) {
		for _, m := range x.Timeline {
			row(round(m.After.Duration()), fmt.Sprintf("%s/%d", x.Scope, m.Version), m.What, m.Why, m.By)
		}
	})
	p.line("")
	p.line("%s", x.Replay)
	return p.err
}

// lengths says how long it waited and took.
func lengths(x explain.Explanation) string {
	text := ""
	if x.Waited > 0 {
		text += "; waited " + round(x.Waited.Duration()) + " for people"
	}
	if !x.Started.IsZero() && !x.Ended.IsZero() {
		text += "; took " + round(x.Took.Duration())
	}
	return text
}

func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
