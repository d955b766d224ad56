package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/exec"
	"github.com/modeshift/modeshift/actions/guard"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Actions say what the steps of changes may do.
type Actions struct {
	Concurrency int            `yaml:"concurrency"` // steps at the same time, all kinds together
	PerKind     int            `yaml:"per_kind"`    // steps at the same time of one kind
	Webhook     ActionsWebhook `yaml:"webhook"`
	Exec        ActionsExec    `yaml:"exec"`
}

// ActionsWebhook says what may be called. Public addresses may.
type ActionsWebhook struct {
	// Allow names what may be called beside: blocks (10.0.0.0/8), addresses, names of hosts.
	Allow []string `yaml:"allow"`
	// SecretsDir is the folder with the files that steps name for tokens and signatures; empty: they have none.
	SecretsDir string `yaml:"secrets_dir"`
}

// ActionsExec says what may be run. Without programs nothing may.
type ActionsExec struct {
	Programs    Programs `yaml:"programs"`
	Env         []string `yaml:"env"`          // names of variables that programs may have
	OutputLimit int      `yaml:"output_limit"` // of a program's output, in bytes; 0: 64 KiB
	Dir         string   `yaml:"dir"`          // that programs run in; empty: the root
}

// Programs are paths by the names that rule files use for them. In a file they are a mapping, or a list of paths, each of
// which is its own name.
type Programs map[string]string

// UnmarshalYAML reads either form.
func (p *Programs) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		var named map[string]string
		if err := n.Decode(&named); err != nil {
			return err
		}
		*p = named
		return nil
	}
	var paths []string
	if err := n.Decode(&paths); err != nil {
		return err
	}
	*p = Programs{}
	for _, path := range paths {
		(*p)[path] = path
	}
	return nil
}

// The limits of steps that nobody set.
const (
	defaultSteps   = 16
	defaultPerKind = 8
	maxSteps       = 1000
)

// under makes relative paths relative to dir.
func (a *Actions) under(dir string) {
	for _, p := range []*string{&a.Webhook.SecretsDir, &a.Exec.Dir} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	// A program is run by its path alone, so that path is whole whatever folder the server was started in.
	if abs, err := filepath.Abs(a.Exec.Dir); a.Exec.Dir != "" && err == nil {
		a.Exec.Dir = abs
	}
	if abs, err := filepath.Abs(a.Webhook.SecretsDir); a.Webhook.SecretsDir != "" && err == nil {
		a.Webhook.SecretsDir = abs
	}
}

// validate returns all faults.
func (a *Actions) validate() error {
	var faults []error
	if a.Concurrency < 1 || a.Concurrency > maxSteps {
		faults = append(faults, fmt.Errorf("actions.concurrency: %d is not between 1 and %d", a.Concurrency, maxSteps))
	}
	if a.PerKind < 1 || a.PerKind > maxSteps {
		faults = append(faults, fmt.Errorf("actions.per_kind: %d is not between 1 and %d", a.PerKind, maxSteps))
	}
	if _, err := a.kinds(""); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// kinds makes the kinds of action there are. They talk to nobody yet. source names this server in CloudEvents.
func (a *Actions) kinds(source string) (map[string]actions.Kind, error) {
	allow, err := guard.ParseAllow(a.Webhook.Allow)
	if err != nil {
		err = fmt.Errorf("actions.webhook.allow: %w", err)
	}
	run, bad := exec.New(exec.Options{Programs: a.Exec.Programs, Environment: a.Exec.Env, Dir: a.Exec.Dir, MaxOutput: a.Exec.OutputLimit})
	if bad != nil {
		bad = fmt.Errorf("actions.%w", bad) // it begins with exec
	}
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	return map[string]actions.Kind{
		"webhook": webhook.NewKind(webhook.KindOptions{Guard: guard.Options{Allow: allow}, SecretsDir: a.Webhook.SecretsDir, Source: source}),
		"exec":    run,
	}, nil
}

// FormKinds are the kinds of action by which rule files are checked where no server's configuration is known: their form is
// judged, and not which programs and addresses are allowed.
func FormKinds() (map[string]rules.Kind, error) {
	run, err := exec.New(exec.Options{FormOnly: true})
	if err != nil {
		return nil, err
	}
	return map[string]rules.Kind{"webhook": webhook.NewKind(webhook.KindOptions{FormOnly: true}), "exec": run}, nil
}

// ruleKinds are the server's kinds as far as rule files go.
func (s *Server) ruleKinds() map[string]rules.Kind {
	kinds := make(map[string]rules.Kind, len(s.kinds))
	for name, k := range s.kinds {
		kinds[name] = k
	}
	return kinds
}

// steps is how the runner carries out steps.
func (s *Server) steps() *runner.Steps {
	a := s.opts.Config.Actions
	return &runner.Steps{
		Kinds: s.kinds, Report: s.reportStep, Finder: s.finder(), Stale: s.stale, Concurrency: a.Concurrency, PerKind: a.PerKind,
		NoCheck: func(err error) bool { return errors.Is(err, webhook.ErrNoCheck) || errors.Is(err, exec.ErrNoCheck) },
	}
}

// reportStep tells the loop what came of an attempt. It returns nil once what follows from that is stored, which may be
// nothing: an outcome that was told before.
func (s *Server) reportStep(ctx context.Context, scope engine.Scope, what engine.Happening) error {
	_, err := s.loop.Submit(ctx, scope, engine.Actor{}, what)
	return err
}

// stale reports whether nobody waits for a step's outcome: the scope is past the event that asked for it, and waits for no
// such attempt. That is so when the report was stored and the process died before the job was closed. Without this the step
// would be carried out once more, perhaps behind its own undo.
func (s *Server) stale(job engine.Job) bool {
	view, known := s.loop.View(job.Step.Scope)
	_, version := cutLast(job.ID, '/')
	asked, err := strconv.ParseUint(version, 10, 64)
	if !known || err != nil || uint64(view.State.Version) < asked {
		return false
	}
	c := view.State.Change
	if c == nil || c.Running == nil {
		return true
	}
	r := c.Running
	return r.Change != job.Step.Change || r.Step.Name != job.Step.Step.Name || r.Undo != job.Step.Undo || r.Attempt != job.Step.Attempt || r.Finding != job.Step.Find
}

// cutLast cuts s around the last sep.
func cutLast(s string, sep byte) (before, after string) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}
