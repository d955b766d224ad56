package exec

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/actions/spec"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// program is what is run: a command with the facts in.
type program struct {
	name      string
	path      string
	args      []string // without the program itself
	env       []variable
	dir       string
	stdin     *string // nil: nothing to read
	maxOutput int
	secrets   []secret.Secret // what its output is not shown with
}

type variable struct {
	name, value string
	passed      bool // it is the server's own, and nobody's to see
}

// program puts the facts into a command of a step.
func (k *Kind) program(s *step, c *command, job engine.StepJob) (*program, error) {
	values := spec.ValuesOf(job)
	p := &program{name: c.name, path: c.path, maxOutput: k.opts.MaxOutput, dir: "/"}
	if k.opts.Dir != "" {
		p.dir = filepath.Join(k.opts.Dir, s.dir)
	}
	options := true // no -- yet
	for i, t := range c.args {
		args, err := fillArgument(t, values, job)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		for _, arg := range args {
			if strings.ContainsRune(arg, 0) {
				return nil, fmt.Errorf("argument %d: %q has NUL in it, which an argument cannot hold", i+1, arg)
			}
			// A fact that stands alone must not turn into an option: the file did not say it.
			if options && strings.HasPrefix(arg, "-") && !strings.HasPrefix(t.Prefix(), "-") {
				return nil, fmt.Errorf("argument %d: %q would be read as an option; put -- before it, or write --name={{.fact}}", i+1, arg)
			}
			if arg == "--" && t.Fixed() {
				options = false
			}
		}
		p.args = append(p.args, args...)
	}
	if c.stdin != nil {
		text, err := c.stdin.Fill(values)
		if err != nil {
			return nil, fmt.Errorf("stdin: %w", err)
		}
		p.stdin = &text
	}
	return p, k.environment(p, s, job, values)
}

// fillArgument is what an entry of args stands for: one argument, or where it is the targets and nothing else, one for each.
func fillArgument(t *spec.Template, values spec.Values, job engine.StepJob) ([]string, error) {
	if t.TargetsAlone() {
		return job.Targets, nil
	}
	arg, err := t.Fill(values)
	return []string{arg}, err
}

// environment gives a program its variables, sorted by name within each source.
func (k *Kind) environment(p *program, s *step, job engine.StepJob, values spec.Values) error {
	own := map[string]string{
		"KEY": job.Key, "SCOPE": string(job.Scope), "CHANGE": string(job.Change), "STEP": job.Step.Name, "ATTEMPT": strconv.Itoa(job.Attempt),
		"UNDO": strconv.FormatBool(job.Undo), "TRANSITION": job.Facts.Transition, "FROM": string(job.Facts.From), "TO": string(job.Facts.To),
		"REASON": job.Facts.Reason,
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		p.env = append(p.env, variable{name: ownPrefix + name, value: own[name]})
	}
	lookup := k.opts.Lookup
	if lookup == nil {
		lookup = os.LookupEnv
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(k.opts.Environment))) {
		if t := s.env[name]; t != nil {
			value, err := t.Fill(values)
			if err != nil {
				return fmt.Errorf("env: %s: %w", name, err)
			}
			p.env = append(p.env, variable{name: name, value: value})
		} else if value, ok := lookup(name); ok {
			p.env = append(p.env, variable{name, value, true})
			if !harmless(name) && len(value) >= 4 { // fewer bytes keep nothing secret
				p.secrets = append(p.secrets, secret.New(value))
			}
		}
	}
	for _, v := range p.env {
		if strings.ContainsRune(v.value, 0) {
			return fmt.Errorf("the value of %s has NUL in it, which a variable cannot hold", v.name)
		}
	}
	// The longest first, so that a whole goes before its part is looked for.
	slices.SortStableFunc(p.secrets, func(a, b secret.Secret) int { return len(b.Reveal()) - len(a.Reveal()) })
	return nil
}

// harmless reports whether a variable's value may stand in a program's output. Taking out "/root" or "C.UTF-8" would only
// make it unreadable.
func harmless(name string) bool {
	switch name {
	case "PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "PWD", "HOSTNAME":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// limited keeps the first bytes of what is written to it, and drops the rest, so that nobody waits.
type limited struct {
	max  int
	kept []byte
	more bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.max-len(l.kept))
	l.kept = append(l.kept, p[:n]...)
	l.more = l.more || n < len(p)
	return len(p), nil
}
