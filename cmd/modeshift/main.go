// Command modeshift moves services between operational modes by their error budgets. See modeshift --help.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	_ "time/tzdata" // schedules name time zones; a bare machine may know none

	"github.com/alecthomas/kong"
)

// The exit codes, the same for every verb.
const (
	exitYes        = 0 // done; the answer is yes
	exitNo         = 1 // the answer is no; refused; something is wrong with what was looked at
	exitUsage      = 2 // the call itself is wrong
	exitCannotTell = 3 // no server, or it could not answer
)

// exitError is an error with the exit code it calls for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// streams are where a verb reads and writes. Results go to out, everything said about them to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

type cli struct {
	Server    string `env:"MODESHIFT_SERVER" default:"http://127.0.0.1:8470" placeholder:"URL" help:"Where the server is."`
	TokenFile string `env:"MODESHIFT_TOKEN_FILE" placeholder:"FILE" help:"File with the token; by default the admin token a server in this folder wrote."`
	Output    string `short:"o" enum:"table,json,markdown,html,junit" default:"table" help:"table for people, json for programs; report and review know markdown, report html too."`

	Run       runCmd       `cmd:"" help:"Run the server."`
	Demo      demoCmd      `cmd:"" help:"Watch modeshift save a small shop, with nothing to install."`
	Rules     rulesCmd     `cmd:"" help:"Work on rule files."`
	Status    statusCmd    `cmd:"" help:"Show which mode every scope is in, and why."`
	Evaluate  evaluateCmd  `cmd:"" help:"Ask the sources how the conditions of a scope stand, and show each as a tree."`
	Budget    budgetCmd    `cmd:"" help:"Show how much of the error budgets is left, and correct them."`
	Gate      gateCmd      `cmd:"" help:"Say whether a deployment may go ahead, for pipelines."`
	Flags     flagsCmd     `cmd:"" help:"List feature flags: what instances are told, whose they are, and which nobody looks after."`
	Set       setCmd       `cmd:"" help:"Move a scope to a mode by hand, and pin it."`
	Unpin     unpinCmd     `cmd:"" help:"Give a pinned scope back to automation."`
	Approvals approvalsCmd `cmd:"" help:"Show what waits for a person's yes."`
	Approve   approveCmd   `cmd:"" help:"Say yes to a proposal."`
	Reject    rejectCmd    `cmd:"" help:"Say no to a proposal."`
	Cancel    cancelCmd    `cmd:"" help:"Take back a change under way, or withdraw a proposal."`
	Undo      undoCmd      `cmd:"" help:"Take back the last change."`
	Settle    settleCmd    `cmd:"" help:"Say what has become of a stuck change."`
	Freeze    freezeCmd    `cmd:"" help:"Stop automation from starting changes."`
	Unfreeze  unfreezeCmd  `cmd:"" help:"Let automation start changes again."`
	Recover   recoverCmd   `cmd:"" help:"Give a server that was led past a term of its own."`
	History   historyCmd   `cmd:"" help:"Show what happened in a scope."`
	Suggest   suggestCmd   `cmd:"" name:"suggestions" help:"Show what automation would have done where it only suggests."`
	Explain   explainCmd   `cmd:"" help:"Tell why a change came about, and what became of it."`
	Report    reportCmd    `cmd:"" help:"Draft the post-mortem of a change."`
	Review    reviewCmd    `cmd:"" help:"Sum up how modes, automations, approvals and SLOs went."`
	Agent     agentCmd     `cmd:"" help:"Follow the mode of a scope for a program that knows nothing of modeshift."`
	Audit     auditCmd     `cmd:"" help:"Check the log's hash chains."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

// Run implements the verb.
func (versionCmd) Run(s *streams) error {
	_, err := fmt.Fprintln(s.out, "modeshift", version())
	return err
}

// version is the module's version as the toolchain recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func main() {
	os.Exit(run(os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// helped ends a parse that printed help.
type helped struct{ code int }

// run parses the arguments, calls the verb and returns the exit code.
func run(args []string, s *streams) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case helped:
			code = r.code
		default:
			panic(r)
		}
	}()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("modeshift"),
		kong.Description("modeshift watches error budgets in Prometheus and shifts services between operational modes.\n\n"+
			"Exit codes: 0 yes, 1 no, 2 wrong use, 3 cannot tell (no server)."),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(helped{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Bind(s, &c),
	)
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	k, err := parser.Parse(args)
	if err != nil {
		return report(&exitError{exitUsage, fmt.Errorf("%w; %s", err, hintHelp(parser, args))}, s.err)
	}
	if err := c.checkForm(k); err != nil {
		return report(err, s.err)
	}
	return report(guarded(func() error { return k.Run() }), s.err)
}

// formed is a verb that writes other forms than a table and JSON. Where it has no table, none is what -o says by itself.
type formed interface{ forms() []string }

// checkForm refuses a form that the verb does not write.
func (c *cli) checkForm(k *kong.Context) error {
	forms := []string{"table", "json"}
	if node := k.Selected(); node != nil && node.Target.CanAddr() {
		if verb, ok := node.Target.Addr().Interface().(formed); ok {
			forms = append(verb.forms(), "table")
		}
	}
	if slices.Contains(forms, c.Output) {
		return nil
	}
	return exit(exitUsage, "-o %s: modeshift %s writes %s; see modeshift %[2]s --help", c.Output, k.Command(), strings.Join(forms, " or "))
}

// hintHelp names the help that fits what was typed.
func hintHelp(parser *kong.Kong, args []string) string {
	words, node := "modeshift", parser.Model.Node
	for _, a := range args {
		i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == a && n.Type == kong.CommandNode })
		if i < 0 {
			break
		}
		words, node = words+" "+a, node.Children[i]
	}
	return "see " + words + " --help"
}

// report prints an error and returns the exit code it calls for.
func report(err error, w io.Writer) int {
	if err == nil {
		return exitYes
	}
	if text := err.Error(); text != "" {
		// There is nowhere left to report to when standard error is gone.
		_, _ = fmt.Fprintln(w, "modeshift: "+text)
	}
	showStacks(w, err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitNo
}
