package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Options say what steps may run.
type Options struct {
	// Programs are those that may run, by the name that files use: {"fail-over": "/usr/local/bin/fail-over"}. A path may
	// stand for itself.
	Programs map[string]string
	// Environment names the variables that programs may have. Each has the value that the step gives it, else the server's
	// own; no other variable of the server reaches a program.
	Environment []string
	// Dir is the folder that programs run in; a step's dir is inside of it. Empty: the root, and steps cannot choose.
	Dir string
	// MaxOutput is how much of a program's output is kept, of each of stdout and stderr, in bytes; 0: 64 KiB. What goes
	// beyond is read and dropped.
	MaxOutput int
	// Lookup returns the server's own variables; nil: os.LookupEnv.
	Lookup func(name string) (string, bool)
	// FormOnly makes a kind that checks specifications without knowing a server's configuration, and carries nothing out.
	FormOnly bool
}

// Kind runs programs. It is an actions.Kind and an actions.Checker, and is safe for concurrent use.
type Kind struct{ opts Options }

var (
	_ actions.Kind    = (*Kind)(nil)
	_ actions.Checker = (*Kind)(nil)
)

// maxAnswer is how much of what a program says is given back, in bytes.
const maxAnswer = 1 << 10

// ErrNoCheck says that a step has no way to find out whether it happened.
var ErrNoCheck = errors.New("the step has no done check")

// New checks the options.
func New(opts Options) (*Kind, error) {
	for _, name := range slices.Sorted(maps.Keys(opts.Programs)) {
		if path := opts.Programs[name]; !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return nil, fmt.Errorf("exec: program %s: %q is not an absolute path in its shortest form", name, path)
		}
	}
	for _, name := range opts.Environment {
		if !isVariable(name) || strings.HasPrefix(name, ownPrefix) {
			return nil, fmt.Errorf("exec: %q cannot be passed on: it is not the name of a variable, or modeshift's own", name)
		}
	}
	if opts.Dir != "" && !filepath.IsAbs(opts.Dir) {
		return nil, fmt.Errorf("exec: folder %q is not an absolute path", opts.Dir)
	}
	if opts.MaxOutput < 0 {
		return nil, errors.New("exec: the limit of output is below 0")
	}
	if !supported && !opts.FormOnly && len(opts.Programs) > 0 {
		return nil, errors.New("exec: programs run on Linux only: elsewhere they could outlive the server")
	}
	opts.MaxOutput = cmp.Or(opts.MaxOutput, 64<<10)
	return &Kind{opts}, nil
}

// Check reads a specification. A program may do anything, so each is taken to destroy unless its file says why not. It is keyed
// only when the file says so, or says how to find out.
func (k *Kind) Check(data []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	s, f := k.read(data)
	if len(f.Problems) > 0 {
		return nil, engine.Traits{}, f.Problems
	}
	return f.Canonical(), engine.Traits{Destructive: true, Keyed: s.keyed || s.done != nil, Targets: f.Targets}, nil
}

// of understands a stored step. Its faults are old ones: the file was checked when it was loaded.
func (k *Kind) of(job engine.StepJob) (*step, error) {
	text := job.Step.Spec
	if job.Undo {
		text = job.Step.UndoSpec
	}
	s, f := k.read([]byte(text))
	for _, p := range f.Problems {
		return nil, fmt.Errorf("%s: %s", strings.Join(p.Path, "."), p.Message)
	}
	return s, nil
}

// Do runs the program once.
func (k *Kind) Do(ctx context.Context, job engine.StepJob) (string, error) {
	if k.opts.FormOnly {
		return "", &actions.Error{Err: errors.New("exec: this kind only checks"), Final: true}
	}
	s, err := k.of(job)
	if err != nil {
		return "", &actions.Error{Err: err, Final: true}
	}
	p, err := k.program(s, &s.command, job)
	if err != nil {
		return "", &actions.Error{Err: err, Final: true}
	}
	end := p.run(ctx, s.timeout)
	said := p.said(end)
	switch {
	case end.err != nil:
		return "", &actions.Error{Err: end.err}
	case end.killed != nil:
		return "", &actions.Error{Err: fmt.Errorf("%s was killed: %w%s", p.name, end.killed, after(said)), Unknown: true}
	case end.signal != 0:
		return "", &actions.Error{Err: fmt.Errorf("%s was ended by signal %d (%s)%s", p.name, end.signal, end.signal, after(said)), Unknown: true}
	}
	if why := s.expect.fails(end); why != "" {
		return "", &actions.Error{Err: fmt.Errorf("%s: %s%s", p.name, why, after(said))}
	}
	return notice.Cut(fmt.Sprintf("exit %d%s", end.exit, after(said)), maxAnswer), nil
}

// Done runs the check: true for what it expects, false for another end of 0 or 1. Programs use other statuses to say that
// they could not find out, and those leave it open.
func (k *Kind) Done(ctx context.Context, job engine.StepJob) (bool, error) {
	if k.opts.FormOnly {
		return false, errors.New("exec: this kind only checks")
	}
	s, err := k.of(job)
	if err != nil {
		return false, err
	}
	if s.done == nil {
		return false, ErrNoCheck
	}
	p, err := k.program(s, s.done, job)
	if err != nil {
		return false, err
	}
	end := p.run(ctx, s.timeout)
	switch {
	case end.err != nil:
		return false, end.err
	case end.killed != nil:
		return false, fmt.Errorf("%s was killed: %w%s", p.name, end.killed, after(p.said(end)))
	case end.signal != 0:
		return false, fmt.Errorf("%s was ended by signal %d (%s)%s", p.name, end.signal, end.signal, after(p.said(end)))
	case s.done.expect.fails(end) == "":
		return true, nil
	case end.exit == 0 || end.exit == 1 || s.done.expect.exits(end.exit):
		return false, nil
	}
	return false, fmt.Errorf("%s ended with exit status %d, which says neither yes nor no%s", p.name, end.exit, after(p.said(end)))
}

// end is how a program ended.
type end struct {
	err            error          // it was not started
	killed         error          // why it was killed from here; nil: it was not
	signal         syscall.Signal // that ended it; 0: none
	exit           int
	stdout, stderr []byte
	more           bool // there was more output than is kept
}

// said is what a program said, in one line and without secrets: its errors, or else its output.
func (p *program) said(e end) string {
	text := notice.Line(secret.Scrub(string(e.stderr), p.secrets...), maxAnswer/2)
	if text == "" {
		text = notice.Line(secret.Scrub(string(e.stdout), p.secrets...), maxAnswer/2)
	}
	if e.more {
		text += " (and more than " + strconv.Itoa(p.maxOutput) + " bytes)"
	}
	return text
}

func after(said string) string {
	if said == "" {
		return ""
	}
	return ": " + said
}

// Describe says what Do would run, to the letter, and what it would take for success.
func (k *Kind) Describe(job engine.StepJob) (string, error) {
	s, err := k.of(job)
	if err != nil {
		return "", err
	}
	p, err := k.program(s, &s.command, job)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("run " + p.commandLine() + "\n")
	fmt.Fprintf(&b, "in %s\n", p.dir)
	for _, v := range p.env {
		value := strconv.Quote(v.value)
		if v.passed {
			value = secret.Shown
		}
		fmt.Fprintf(&b, "with %s=%s\n", v.name, value)
	}
	if p.stdin != nil {
		fmt.Fprintf(&b, "reading %s\n", strconv.Quote(*p.stdin))
	}
	fmt.Fprintf(&b, "it has happened when it ends with %s within %s", &s.expect, s.timeout)
	if s.done != nil {
		d, err := k.program(s, s.done, job)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\nwhether it happened already is asked by running %s\nit happened already when that ends with %s", d.commandLine(), &s.done.expect)
	}
	return b.String(), nil
}

// commandLine shows path and arguments, each in quotes: nobody has to guess where one ends.
func (p *program) commandLine() string {
	words := []string{p.path}
	for _, a := range p.args {
		words = append(words, strconv.Quote(a))
	}
	return strings.Join(words, " ")
}

// within is the time a program has.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("it did not end within %s", d))
}
