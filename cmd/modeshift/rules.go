package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

type rulesCmd struct {
	Check    rulesCheckCmd    `cmd:"" help:"Check rule files and say everything that is wrong with them."`
	Test     rulesTestCmd     `cmd:"" help:"Run the tests of rule files."`
	Prove    rulesProveCmd    `cmd:"" help:"Search everything that can happen under rule files, and prove what must hold or show how it does not."`
	Plan     rulesPlanCmd     `cmd:"" help:"Say what edited rule files mean beside those in force, and what that loosens."`
	Backtest rulesBacktestCmd `cmd:"" help:"Lead rules through the past of a Prometheus, and say what they would have done."`
	Import   rulesImportCmd   `cmd:"" help:"Make rule files of the files of Sloth, OpenSLO or Pyrra."`
	Schema   rulesSchemaCmd   `cmd:"" help:"Print the JSON Schema of rule files, or of their tests, for editors."`
	Findings rulesFindingsCmd `cmd:"" help:"List what rules check finds in files that load, and explain it."`
}

type rulesCheckCmd struct {
	Paths   []string `arg:"" help:"Rule files, folders of them, globs."`
	Verbose bool     `short:"v" help:"Say too what is only worth knowing, and which queries are asked for many services at once."`
	Format  string   `enum:"text,github" default:"text" help:"github: annotations of a run of GitHub Actions."`

	Prometheus sourceURL `placeholder:"URL" help:"Ask this Prometheus whether there are series for what the files select."`
	Source     string    `placeholder:"NAME" help:"Which of the files' sources that Prometheus is; the default when left out."`
	Cost       bool      `help:"Ask that Prometheus each query once, and say how many samples it reads for it."`
	Readiness  bool      `help:"Judge row by row whether each service is ready for automation, and say how to get to yes."`
}

// Help shows one real example.
func (rulesCheckCmd) Help() string {
	return `Example:
  modeshift rules check rules/
  modeshift rules check rules/ --prometheus http://prometheus:9090
  modeshift rules check rules/ --readiness
  modeshift rules check 'rules/*.yaml' --format github    # annotations in the files of a pull request

Everything that is wrong with all files comes in one run, by file and line. -o json is for editors: each fault with its file, line, column,
end, severity, code, message, hint and docs.

With --prometheus it says of each selector that never had a series in the last 30 days where it stands and, as far as one
matcher is to blame, which: what rests on it would be unknown. How often it scrapes says which windows are too short. With --cost it asks
each query once that a server may ask, and says how many samples the Prometheus reads for it, the most expensive first: those of conditions
and alerts, of what shows that samples are young, of budgets and of the targets of actions. A server asks far less at a time.

What loads and is most likely not what was meant is a warning with a code, such as a mode without a way out, or an entry and an exit that
can be true together; what is only worth knowing is a note (-v). modeshift rules findings CODE explains it, and allow: in a file silences
it with a reason. Warnings and notes do not change the exit code.

With --readiness it judges each service that has transitions. Of the server (--server) it asks how modes were left last, who is
told and who may say yes, whether instances follow, and what the sources show; the latter of --prometheus first, where that is
given. What nobody could be asked "cannot tell", and is no yes. A mode's drill_every says how often its way back has to be used.

With -v it shows how Prometheus will be asked: queries that differ only in the value of one label go out as one request.

Exits 0 when every file would load and all series are there (and every row is yes), 1 when not, 2 when there is nothing to check,
3 when the Prometheus cannot be asked (or no row is no and some cannot tell).`
}

// Run implements the verb.
func (v *rulesCheckCmd) Run(s *streams, c *cli) error {
	if v.Format == "github" && c.Output == "json" {
		return exit(exitUsage, "--format github and -o json are both there: choose one")
	}
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if len(files) == 0 {
		return exit(exitUsage, "no rule files match %v: name files or folders with *.yaml in them", v.Paths)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		return err
	}
	// It lives for a second or two, and nearly all that it makes is gone as soon as a file has been read. To collect that less often saves a
	// seventh of the time; of a thousand services with ten SLOs it takes 370 MB in place of 270.
	debug.SetGCPercent(300)
	opts := rules.Options{Kinds: kinds, Now: time.Now(), Findings: true}
	var source *server.RuleSource
	if v.Prometheus != "" {
		if source, err = server.DialRuleSource(v.Source, string(v.Prometheus)); err != nil {
			return exit(exitCannotTell, "%w; is the URL right, and may this machine reach it?", err)
		}
		opts.Scrape = source.Scrapes(context.Background())
	} else if v.Cost {
		return exit(exitUsage, "--cost asks a Prometheus: add --prometheus URL")
	} else if v.Source != "" {
		return exit(exitUsage, "--source says which of the files' sources a Prometheus is: add --prometheus URL")
	}
	set, err := rules.Load(files, opts)
	var all rules.Diagnostics
	if err != nil && !errors.As(err, &all) {
		return err
	}
	bad := len(all.Errors())
	if set != nil && bad == 0 {
		all = set.Warnings
	}
	if source != nil && set != nil {
		missing, err := source.MissingSeries(context.Background(), set)
		if err != nil {
			return exit(exitCannotTell, "%w; is the URL right, and may this machine reach it?", err)
		}
		all = append(slices.Clone(all), missing...)
		bad += len(missing)
	}
	warned := len(all.Warnings())
	services := 0
	if set != nil {
		services = len(set.Services)
	}
	said := map[string]any{"ok": bad == 0, "files": len(files), "services": services, "faults": faultsOf(all)}
	var ready *judged
	if v.Readiness && set != nil {
		if ready, err = v.judge(c, set); err != nil {
			return err
		}
		said["readiness"] = ready.reports
		said["ok"] = bad == 0 && ready.answer() == readiness.Yes
	}
	var queries []queryGroup
	if v.Verbose && set != nil && bad == 0 {
		queries = queryGroups(set)
		said["queries"] = queries
	}
	var costs []server.QueryCost
	if v.Cost && set != nil && bad == 0 {
		if costs, err = source.Costs(context.Background(), set); err != nil {
			return exit(exitCannotTell, "ask what the queries cost: %w", err)
		}
		said["costs"] = costs
	}
	err = c.show(s, said, func() error {
		print := printFaults
		if v.Format == "github" {
			print = annotateFaults
		}
		if err := print(s.out, all, v.Verbose); err != nil {
			return err
		}
		if err := showQueries(s.out, queries); err != nil {
			return err
		}
		if err := showCosts(s.out, costs); err != nil {
			return err
		}
		if ready != nil {
			if err := ready.print(s.out); err != nil {
				return err
			}
		}
		notes := ""
		if n := len(all.Notes()); n > 0 && !v.Verbose {
			notes = ", " + count(n, "note") + " (-v shows them)"
		} else if n > 0 {
			notes = ", " + count(n, "note")
		}
		_, err := fmt.Fprintf(s.out, "%s, %s: %s, %s%s\n", count(len(files), "file"), count(services, "service"), count(bad, "error"), count(warned, "warning"), notes)
		return err
	})
	switch {
	case err != nil:
		return err
	case bad > 0:
		return &exitError{exitNo, errors.New("")}
	case ready != nil:
		return ready.exit()
	}
	return nil
}

// queryGroup says as programs read it how queries are asked.
type queryGroup struct {
	Label    string         `json:"label,omitempty"`
	Query    string         `json:"query"`
	Why      string         `json:"why_alone,omitempty"`
	Services []engine.Scope `json:"services"`
	Queries  int            `json:"queries"`
	Requests int            `json:"requests"`
}

func queryGroups(set *rules.Set) []queryGroup {
	groups := []queryGroup{}
	for _, g := range server.Fusion(set) {
		groups = append(groups, queryGroup{g.Label, g.Shape, g.Why, g.Services, g.Queries, g.Requests})
	}
	return groups
}

// showQueries prints those asked for many services at once, and then the others with the reason.
func showQueries(w io.Writer, groups []queryGroup) error {
	var together, alone []queryGroup
	for _, g := range groups {
		if g.Label != "" {
			together = append(together, g)
		} else {
			alone = append(alone, g)
		}
	}
	if len(together) > 0 {
		err := table(w, "TOGETHER BY\tSERVICES\tQUERIES\tREQUESTS\tQUERY", func(row func(cells ...any)) {
			for _, g := range together {
				row(g.Label, len(g.Services), g.Queries, g.Requests, g.Query)
			}
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if len(alone) > 0 {
		err := table(w, "EACH ALONE\tSERVICES\tBECAUSE\tQUERY", func(row func(cells ...any)) {
			for _, g := range alone {
				row(g.Queries, len(g.Services), g.Why, g.Query)
			}
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// count puts a number before a word.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
