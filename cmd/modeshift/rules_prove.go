package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prove"
)

type rulesProveCmd struct {
	Paths []string `arg:"" help:"Rule files, folders of them, globs."`

	Scope     []string `placeholder:"SCOPE" help:"Prove only this scope, and those it waits for that wait for it."`
	MaxStates int      `placeholder:"N" default:"1000000" help:"Give up a scope after so many states (${default})."`
	Timeout   span     `placeholder:"DURATION" default:"1m" help:"Give up after so long (${default})."`
	Replay    string   `placeholder:"FILE" help:"Carry out the counter-examples in FILE again, which -o json wrote, in place of a search."`
}

// Help shows one real example.
func (rulesProveCmd) Help() string {
	return `Example:
  modeshift rules prove rules/
  modeshift rules prove rules/ --scope checkout -o json > proof.json
  modeshift rules prove rules/ --replay proof.json

It tries, in every state that the engine can come to under these rules, everything that may happen next: each way the conditions
may stand together, also unknown; each answer at a gate, and none; each outcome of an action; and time, to whatever is due next.
Proved is that

  from each mode the first can be reached without force, by what is declared
  no destructive action starts without its gate
  no steady input changes modes for ever
  no two scopes wait for each other
  after denied or expired nothing acts
  unknown alone moves nothing: only what is seen, or a declared schedule

Scopes that look at one another with mode(), or whose parent imposes modes, are searched together; of any other scope each mode may be
in force at any time. It is judged as if automation were on in all scopes, and nobody pins, freezes or forces anything.

A counter-example is the shortest there is. --replay carries it out again, through the engine, on the rules as they are now.

Exits 0 when all is proved (or a replayed counter-example does not stand any more), 1 with a counter-example, 2 when there is
nothing to prove, 3 when a bound was reached or it was interrupted: what was proved by then is told.`
}

// Run implements the verb.
func (v *rulesProveCmd) Run(s *streams, c *cli) error {
	set, err := v.load()
	if err != nil {
		return err
	}
	if v.MaxStates < 1 || v.Timeout <= 0 {
		return exit(exitUsage, "--max-states and --timeout are more than 0")
	}
	ctx, stop := interruptible()
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(v.Timeout))
	defer cancel()
	if v.Replay != "" {
		return v.replay(ctx, s, c, set)
	}
	return v.prove(ctx, s, c, set)
}

// prove searches what is asked for, and tells what was found.
func (v *rulesProveCmd) prove(ctx context.Context, s *streams, c *cli, set *rules.Set) error {
	var scopes []engine.Scope
	for _, name := range v.Scope {
		of := set.Service(engine.Scope(name))
		if of == nil || len(of.Policy.Modes) == 0 {
			return exit(exitUsage, "no file declares modes of a service %q", name)
		}
		scopes = append(scopes, of.Policy.Scope)
	}
	progress := newProgress(s.err)
	reports := prove.Run(ctx, set, scopes, prove.Options{MaxStates: v.MaxStates, Progress: func(p prove.Progress) {
		progress.say(func(time.Duration) string {
			return fmt.Sprintf("%v: %d states, %d of them waiting, %d decisions", p.Scopes, p.States, p.Waiting, p.Decisions)
		})
	}})
	progress.clear()
	if len(reports) == 0 {
		return exit(exitUsage, "none of the files declares modes: there is nothing to prove")
	}
	answer := prove.Proved
	var crashes error
	failed, stopped, begun := 0, 0, 0
	for i := range reports {
		r := &reports[i]
		if r.Crash != nil {
			crashes, failed = errors.Join(crashes, r.Crash), failed+1
		}
		if r.Stopped {
			stopped++
		}
		if r.Stopped && r.States > 0 {
			begun = r.States
		}
		switch reports[i].Answer() {
		case prove.CounterExample:
			answer = prove.CounterExample
		case prove.CannotTell:
			if answer == prove.Proved {
				answer = prove.CannotTell
			}
		}
	}
	err := c.show(s, map[string]any{"ok": answer == prove.Proved, "answer": answer, "groups": reports}, func() error {
		for i := range reports {
			if reports[i].Stopped && reports[i].States == 0 {
				continue // it was not begun
			}
			if err := printProof(s.out, &reports[i]); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(s.out, "%s: %s\n", count(len(reports), "group"), answer)
		return err
	})
	switch {
	case err != nil:
		return err
	case answer == prove.CounterExample:
		return crashed(exitNo, crashes, "")
	case stopped > 0:
		far := fmt.Sprintf("%d of %s looked at", len(reports)-stopped, count(len(reports), "group"))
		if begun > 0 {
			far += ", and " + count(begun, "state") + " of the next one"
		}
		return interrupted("%s; nothing is proved of the rest", far)
	case crashes != nil:
		return crashed(exitCannotTell, crashes, "modeshift failed on %d of %s, which is a fault of its own; nothing is proved of what it failed on", failed, count(len(reports), "group"))
	case answer == prove.CannotTell:
		return exit(exitCannotTell, "a bound was reached before all was seen; give more with --timeout or --max-states, or less with --scope")
	}
	return nil
}

// load reads the rules. What does not load cannot be proved.
func (v *rulesProveCmd) load() (*rules.Set, error) {
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if len(files) == 0 {
		return nil, exit(exitUsage, "no rule files match %v: name files or folders with *.yaml in them", v.Paths)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		return nil, err
	}
	return load(files, rules.Options{Kinds: kinds})
}

// replay carries counter-examples out again.
func (v *rulesProveCmd) replay(ctx context.Context, s *streams, c *cli, set *rules.Set) error {
	b, err := os.ReadFile(v.Replay)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	var proof struct {
		Groups []prove.Report `json:"groups"`
		prove.Trace
	}
	if err := json.Unmarshal(b, &proof); err != nil {
		return exit(exitUsage, "%s is not what modeshift rules prove -o json writes: %w", v.Replay, err)
	}
	var traces []*prove.Trace
	if proof.Version != "" {
		traces = append(traces, &proof.Trace)
	}
	for i := range proof.Groups {
		for _, f := range proof.Groups[i].Findings {
			if f.Trace != nil {
				traces = append(traces, f.Trace)
			}
		}
	}
	if len(traces) == 0 {
		return exit(exitUsage, "%s holds no counter-example: it is what -o json writes where there is one", v.Replay)
	}
	stands := false
	again := []prove.Replayed{}
	for _, t := range traces {
		r, err := prove.Replay(ctx, set, t, prove.Options{MaxStates: v.MaxStates})
		if errors.Is(ctx.Err(), context.Canceled) {
			return interrupted("%d of %s carried out again", len(again), count(len(traces), "counter-example"))
		}
		if err != nil {
			return exit(exitUsage, "%s: %w", v.Replay, err)
		}
		stands = stands || r.Stands
		again = append(again, r)
	}
	err = c.show(s, map[string]any{"ok": !stands, "replayed": again}, func() error {
		for i, r := range again {
			if err := printSteps(s.out, r.Steps, traces[i].Loop); err != nil {
				return err
			}
			word := "it does not stand any more"
			if r.Stands {
				word = "it stands"
			}
			if _, err := fmt.Fprintf(s.out, "\n%s: %s\n", word, oneLine(r.Detail)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && stands {
		return &exitError{exitNo, errors.New("")}
	}
	return err
}

// printProof prints what was found of a group.
func printProof(w io.Writer, r *prove.Report) error {
	names := make([]string, len(r.Scopes))
	for i, s := range r.Scopes {
		names[i] = string(s)
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s, %.1f s\n", strings.Join(names, " and "), count(r.States, "state"), count(int(r.Decisions), "decision"), r.Seconds); err != nil {
		return err
	}
	err := table(w, "", func(row func(...any)) {
		for _, f := range r.Findings {
			row("  "+f.Says, f.Answer)
		}
	})
	if err != nil {
		return err
	}
	if len(r.Modes) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		err := table(w, "  FROM\tBACK TO THE FIRST MODE", func(row func(...any)) {
			for _, m := range r.Modes {
				name := string(m.Mode)
				if len(r.Scopes) > 1 {
					name += " of " + string(m.Scope)
				}
				row("  "+name, m.Back)
			}
		})
		if err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		if f.Trace == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", oneLine(f.Detail)); err != nil {
			return err
		}
		if err := printSteps(w, f.Trace.Steps, f.Trace.Loop); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w)
	return err
}

// printSteps prints a counter-example with the time from its beginning on.
func printSteps(w io.Writer, steps []prove.Step, loop int) error {
	return table(w, "  STEP\tAFTER\tWHAT HAPPENS\tWHAT FOLLOWS", func(row func(...any)) {
		for i := range steps {
			s := &steps[i]
			what := s.What()
			if s.Scope != "" {
				what = string(s.Scope) + ": " + what
			}
			row(fmt.Sprintf("  %d", i+1), prove.After(s.At), what, strings.Join(s.Then, "; "))
		}
		if loop > 0 {
			row("  …", "", fmt.Sprintf("and so on from step %d", loop), "")
		}
	})
}
