package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// printInstances writes a line for each instance. Those of different versions are told apart by a column, and by a line for each
// version at the end: a mode that one version takes and another refuses is seen there.
func printInstances(w io.Writer, list api.InstanceTable, now time.Time) error {
	if len(list.Instances) == 0 {
		_, err := fmt.Fprintln(w, "no instance has connected; readers of feature flags are not listed: see Connect a service")
		return err
	}
	type tally struct{ all, applied int }
	versions, order := map[string]*tally{}, []string{}
	err := table(w, "INSTANCE\tSTANDING\tMODE\tHAS\tMEANT\tSINCE\tVERSION\tFROM\tNOTES", func(row func(...any)) {
		for _, i := range list.Instances {
			since, notes := "", i.Error
			switch {
			case !i.Left.IsZero():
				since = round(now.Sub(i.Left).Round(time.Second))
			case !i.Behind.IsZero():
				since = round(now.Sub(i.Behind).Round(time.Second))
			}
			if notes == "" && i.Origin != "" && i.Origin != engine.OriginServer {
				notes = "from " + string(i.Origin)
			}
			if i.Wave {
				notes = trimmed("in the wave; " + notes)
			}
			if i.Refused > 0 {
				notes = trimmed(fmt.Sprintf("%s; refused %d older directives", notes, i.Refused))
			}
			row(i.Name, i.Standing, i.Mode, position(i.Position), position(i.Meant), since, i.Version, i.From, notes)
			t := versions[i.Version]
			if t == nil {
				t = &tally{}
				versions[i.Version], order = t, append(order, i.Version)
			}
			if t.all++; i.Standing == "applied" {
				t.applied++
			}
		}
	})
	if err != nil || len(order) < 2 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, "VERSION\tINSTANCES\tAPPLIED", func(row func(...any)) {
		for _, v := range order {
			row(v, versions[v].all, versions[v].applied)
		}
	})
}

func trimmed(s string) string {
	for len(s) >= 2 && s[:2] == "; " {
		s = s[2:]
	}
	for len(s) >= 2 && s[len(s)-2:] == "; " {
		s = s[:len(s)-2]
	}
	return s
}

// position writes a directive's place: its term, if it is not the first, and its revision.
func position(p engine.Position) string {
	if p == (engine.Position{}) {
		return ""
	}
	return fmt.Sprintf("%d/%d", p.Term, p.Revision)
}

type recoverCmd struct {
	Term   uint64 `required:"" help:"The term this server is to have: higher than any that was heard of."`
	Reason string `required:"" short:"r" help:"Why; it is kept in the log."`
}

// Help shows one real example.
func (recoverCmd) Help() string {
	return `Example:
  modeshift recover --term 9 --reason "restored Monday's backup; the other server is gone"

A server that instances are ahead of comes from a backup, or another one has led since. It publishes nothing, because instances
would refuse it, or take a mode that was left long ago. Make sure that no other server leads, look at the modes with modeshift
status, and then give it a term higher than the one it heard of (modeshift status says it).`
}

// Run implements the verb.
func (v *recoverCmd) Run(s *streams, c *cli) error {
	return c.request(s, func(ctx context.Context, client *api.Client) (api.Outcome, error) {
		return client.Recover(ctx, api.RecoverRequest{Term: v.Term, Reason: v.Reason})
	})
}
