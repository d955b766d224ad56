package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type flagsCmd struct {
	Scope engine.Scope `arg:"" optional:"" help:"One scope; all of them when left out."`
	Check bool         `help:"Exit 1 when a declared flag is past its day, or nobody has seen it work for 90 days."`
}

// Help shows one real example.
func (flagsCmd) Help() string {
	return `Example:
  modeshift flags
  modeshift flags checkout
  modeshift flags --check -o json

VALUE is what instances are told now. LEVEL 1 is most critical, 5 least. What is declared under flags: in a rule file says the
rest; a flag that is only set by modes says nothing of itself.

Exits 0; with --check, 1 when nobody looks after a declared flag.`
}

// Run implements the verb.
func (v *flagsCmd) Run(s *streams, c *cli) error {
	var list api.FlagList
	err := c.call(func(ctx context.Context, client *api.Client) (err error) {
		if v.Scope == "" {
			list, err = client.Flags(ctx)
		} else {
			list, err = client.ScopeFlags(ctx, v.Scope)
		}
		if err != nil {
			return err
		}
		return c.show(s, list, func() error { return printFlags(s.out, list.Flags) })
	})
	if err != nil || !v.Check {
		return err
	}
	var doubtful []string
	for _, f := range list.Flags {
		if f.Expired || f.Untested {
			doubtful = append(doubtful, string(f.Scope)+"/"+f.Name)
		}
	}
	if len(doubtful) > 0 {
		return exit(exitNo, "nobody looks after %s", oneLine(strings.Join(doubtful, ", ")))
	}
	return nil
}

func printFlags(w io.Writer, flags []api.Flag) error {
	if len(flags) == 0 {
		_, err := fmt.Fprintln(w, "no flag is set or declared")
		return err
	}
	return table(w, "SCOPE\tFLAG\tVALUE\tLEVEL\tOWNER\tEXPIRES\tTESTED\tSAVES\tNOTE", func(row func(...any)) {
		for _, f := range flags {
			level := ""
			if f.Level > 0 {
				level = strconv.Itoa(f.Level)
			}
			row(f.Scope, f.Name, flagValue(f), level, f.Owner, f.Expires, f.Tested, f.Saves, flagNote(f))
		}
	})
}

// flagValue is what instances are told of a flag, as JSON.
func flagValue(f api.Flag) string {
	if !f.Set {
		return ""
	}
	text, err := json.Marshal(f.Value)
	if err != nil {
		return fmt.Sprint(f.Value) // it came as JSON
	}
	return string(text)
}

// flagsText is what instances are told beside the mode.
func flagsText(flags engine.Flags) string {
	if len(flags) == 0 {
		return "no flags"
	}
	text, err := json.Marshal(flags)
	if err != nil {
		return fmt.Sprint("flags ", map[string]any(flags)) // it came as JSON
	}
	return "flags " + string(text)
}

// flagNote says what is doubtful about a flag.
func flagNote(f api.Flag) string {
	var notes []string
	if f.Expired {
		notes = append(notes, "PAST ITS DAY")
	}
	if f.Untested {
		notes = append(notes, "UNTESTED")
	}
	if !f.Declared {
		notes = append(notes, "not declared")
	}
	if f.Type == "" {
		notes = append(notes, "no mode sets it")
	}
	return strings.Join(notes, ", ")
}
