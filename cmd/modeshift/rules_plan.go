package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

type rulesPlanCmd struct {
	Paths          []string `arg:"" name:"new" help:"The rule files as they are to be: files, folders of them, globs. All of them, as the server would read them."`
	Against        string   `placeholder:"PATH" xor:"against" help:"Compare with these files, in place of what the server runs."`
	Git            string   `placeholder:"REV" xor:"against" help:"Compare with what the same paths held at this revision of their git repository."`
	AllowLoosening bool     `help:"Exit 0 though something is loosened: somebody has looked at it."`
}

// Help shows one real example.
func (rulesPlanCmd) Help() string {
	return `Example:
  modeshift rules plan rules/
  modeshift rules plan rules/ --git origin/main
  modeshift rules plan rules/ --against /etc/modeshift/rules --allow-loosening

It says what the new files mean that the old ones did not: services, SLOs, their tiers, SLIs, schedules, modes, transitions and
actions that are added, changed or removed, from what to what, and where that stands. Spaces, comments and the order of keys mean
nothing. What may be a secret in an action is left out. A transition with another name is the same one where it leads the same way
under a condition of the same form, so that what became of its gate and steps is told apart from the name.

What loosens something is marked with "!", with the reason: automation does more, fewer people are asked or told, less is looked at,
protection comes later or goes sooner, something destroys. What cannot be compared, since it says something else altogether, counts
as looser too. The mark is no verdict: it says what somebody has to have looked at, and --allow-loosening says that they have.

Against a folder or a revision both sides are compiled with the usual settings, and the digests are those of a server with these.
Against a server it says also what becomes of what is under way there ("="), and what a reload would refuse ("x"). The digests it
prints are those that the server shows after the reload. It knows the form of actions, and not which programs and addresses that
server allows. The token has to see all services; viewer is enough.

Exits 0 when nothing is loosened, or that is allowed; 1 when something is, or a reload would refuse something; 2 when the files are bad
or the call is; 3 when the server cannot be asked.`
}

// planned is what a plan came to.
type planned struct {
	OK       bool             `json:"ok"`
	Against  string           `json:"against"`
	Digest   fromTo           `json:"digest"`
	Services []plannedService `json:"services"`
	Refused  []fault          `json:"refused"`
	Changes  int              `json:"changes"`
	Loosens  int              `json:"loosens"`
	Allowed  bool             `json:"allowed"` // what is loosened is meant
}

type fromTo struct {
	From engine.Digest `json:"from,omitempty"`
	To   engine.Digest `json:"to,omitempty"`
}

// plannedService is a service that does not stay as it is.
type plannedService struct {
	Scope       engine.Scope         `json:"scope"`
	What        outline.What         `json:"what"`
	Digest      fromTo               `json:"digest"`
	Refused     bool                 `json:"refused"` // it stays on the rules it has; a new one has none
	Differences []outline.Difference `json:"differences"`
	Effects     []string             `json:"effects"` // on what is under way
}

// baseline is what new files are compared with.
type baseline struct {
	name string
	opts rules.Options // by which they are compiled
	last *rules.Set
	// outline is what the rules of a scope say, and effects what becomes of what is under way there.
	outline func(engine.Scope) *outline.Service
	effects func(scope engine.Scope, before, after *outline.Service) ([]string, error)
}

// Run implements the verb.
func (v *rulesPlanCmd) Run(s *streams, c *cli) error {
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if len(files) == 0 {
		return exit(exitUsage, "no rule files match %v: name files or folders with *.yaml in them", v.Paths)
	}
	base, wanted, err := v.baseline(c, files)
	if err != nil {
		return err
	}
	p, err := base.plan(files, wanted)
	if err != nil {
		return err
	}
	p.Allowed = v.AllowLoosening
	p.OK = len(p.Refused) == 0 && (p.Loosens == 0 || p.Allowed)
	if err := c.show(s, p, func() error { return p.print(s.out, len(files)) }); err != nil {
		return err
	}
	switch {
	case len(p.Refused) > 0:
		return exit(exitNo, "a reload would refuse %s: mend that first", count(len(p.Refused), "thing"))
	case !p.OK:
		return exit(exitNo, "%s loosening something; when somebody has looked at that: --allow-loosening", areOf(p.Loosens, p.Changes, "change"))
	}
	return nil
}

// load compiles the new files by themselves, as they are meant.
func load(files []rules.File, opts rules.Options) (*rules.Set, error) {
	opts.InForce, opts.Places = nil, true
	set, err := rules.Load(files, opts)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("the files would not load:\n\n%w", err)}
	}
	return set, nil
}

// plan compares files that load, and what they mean, with what they are to replace.
func (base *baseline) plan(files []rules.File, wanted *rules.Set) (*planned, error) {
	set, err := rules.Reload(base.last, files, base.opts)
	var refused rules.Diagnostics
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	p := &planned{Against: base.name, Digest: fromTo{base.last.Digest, set.Digest}, Services: []plannedService{}, Refused: faultsOf(refused.Errors())}
	for _, scope := range scopesOf(base.last, wanted) {
		was, is := base.last.Service(scope), wanted.Service(scope)
		decides := was == nil || is == nil || was.Digest != is.Digest
		if !decides && was.Remarks == is.Remarks {
			continue
		}
		one := plannedService{Scope: scope, What: outline.Changed, Effects: []string{}}
		var before, after *outline.Service
		if was == nil {
			one.What = outline.Added
		} else {
			one.Digest.From, before = was.Digest, base.outline(scope)
		}
		if is == nil {
			one.What = outline.Removed
		} else {
			one.Digest.To, after = is.Digest, is.Outline()
		}
		one.Differences = outline.Compare(before, after)
		// Of a service that would be refused the reviewer wants to see what it says all the same.
		if now := set.Service(scope); is != nil && (now == nil || now.Problem != "") {
			one.Refused = true
		} else if !decides {
			// What is under way goes on as it was.
		} else if one.Effects, err = base.effects(scope, before, after); err != nil {
			return nil, err
		}
		for _, d := range one.Differences {
			p.Changes++
			if len(d.Loosens) > 0 {
				p.Loosens++
			}
		}
		p.Services = append(p.Services, one)
	}
	return p, nil
}

// areOf says how many of some things there are.
func areOf(n, all int, word string) string {
	is := "are"
	if n == 1 {
		is = "is"
	}
	return fmt.Sprintf("%d of %s %s", n, count(all, word), is)
}

// scopesOf are the scopes of two sets, sorted.
func scopesOf(sets ...*rules.Set) (out []engine.Scope) {
	for _, set := range sets {
		for _, s := range set.Services {
			out = append(out, s.Policy.Scope)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// baseline finds what the new files are compared with, and compiles them as it was.
func (v *rulesPlanCmd) baseline(c *cli, files []rules.File) (*baseline, *rules.Set, error) {
	var old []rules.File
	var name string
	var err error
	switch {
	case v.Against != "":
		name = v.Against
		if old, err = rules.ReadFiles(v.Against); err != nil {
			return nil, nil, &exitError{exitUsage, fmt.Errorf("--against: %w", err)}
		}
	case v.Git != "":
		name = "git " + v.Git
		if old, err = filesAt(context.Background(), v.Git, v.Paths); err != nil {
			return nil, nil, err
		}
	default:
		return serverBaseline(c, files)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		return nil, nil, err
	}
	opts := rules.Options{Kinds: kinds, Places: true}
	wanted, err := load(files, opts)
	if err != nil {
		return nil, nil, err
	}
	last := &rules.Set{}
	if len(old) > 0 { // at that revision there may have been none
		if last, err = rules.Load(old, opts); err != nil {
			return nil, nil, &exitError{exitUsage, fmt.Errorf("the files of %s, which the new ones are compared with, do not load:\n\n%w", name, err)}
		}
	}
	return &baseline{
		name: name, opts: opts, last: last,
		outline: func(scope engine.Scope) *outline.Service { return last.Service(scope).Outline() },
		effects: func(engine.Scope, *outline.Service, *outline.Service) ([]string, error) { return []string{}, nil },
	}, wanted, nil
}

// serverBaseline is what the server runs.
func serverBaseline(c *cli, files []rules.File) (*baseline, *rules.Set, error) {
	client, err := c.dial()
	if err != nil {
		return nil, nil, err
	}
	inForce, err := patiently(client.Rules)
	if err != nil {
		return nil, nil, c.explain(err)
	}
	if inForce.Hidden > 0 {
		return nil, nil, exit(exitCannotTell, "%s cannot be seen with this token, so that it cannot be told what the server runs: use one that sees all scopes", count(inForce.Hidden, "service"))
	}
	opts, err := server.OptionsOf(inForce)
	if err != nil {
		return nil, nil, err
	}
	opts.Places = true
	wanted, err := load(files, opts)
	if err != nil {
		return nil, nil, err
	}
	known := map[engine.Scope]*outline.Service{}
	for _, s := range inForce.Services {
		if s.Digest == "" {
			continue // it is retired: nothing but its directive is left
		}
		// A service of the same digests has the same modes and flags, and nothing of it is compared.
		o := outline.Service{Scope: s.Scope, Digest: s.Digest, Remarks: s.Remarks}
		if is := wanted.Service(s.Scope); is == nil || is.Digest != s.Digest || is.Remarks != s.Remarks {
			if o, err = patiently(func(ctx context.Context) (outline.Service, error) { return client.ScopeRules(ctx, s.Scope) }); err != nil {
				return nil, nil, c.explain(err)
			}
			if o.Digest != s.Digest || o.Remarks != s.Remarks {
				return nil, nil, exit(exitCannotTell, "the server has just taken other rules into force: ask again")
			}
		}
		known[s.Scope] = &o
	}
	under := underWay{client: client}
	return &baseline{
		name: "server " + c.Server, opts: opts, last: rules.Recall(slices.Collect(maps.Values(known))),
		outline: func(scope engine.Scope) *outline.Service { return known[scope] },
		effects: func(scope engine.Scope, before, after *outline.Service) ([]string, error) {
			list, err := under.effects(scope, before, after)
			return list, c.explain(err)
		},
	}, wanted, nil
}

// print shows it to people: a line for each difference, and below it where it stands and what it loosens.
func (p *planned) print(w io.Writer, files int) error {
	var b strings.Builder
	for i := range p.Services {
		s := &p.Services[i]
		fmt.Fprintf(&b, "%s: %s", s.Scope, s.What)
		switch {
		case s.Refused && s.What == outline.Added:
			b.WriteString(", and refused: it does not come into force")
		case s.Refused:
			fmt.Fprintf(&b, ", and refused: it stays as it is (rules %s)", s.Digest.From.Short())
		case s.What == outline.Changed && s.Digest.From == s.Digest.To:
			fmt.Fprintf(&b, " in what is said for people alone (rules %s as before)", s.Digest.To.Short())
		case s.What == outline.Changed:
			fmt.Fprintf(&b, " (rules %s → %s)", s.Digest.From.Short(), s.Digest.To.Short())
		case s.What == outline.Added:
			fmt.Fprintf(&b, " (rules %s)", s.Digest.To.Short())
		}
		b.WriteString("\n")
		for _, d := range s.Differences {
			printDifference(&b, &d)
		}
		for _, e := range s.Effects {
			hanging(&b, "  = ", e)
		}
		b.WriteString("\n")
	}
	for _, f := range p.Refused {
		hanging(&b, "x ", fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message))
		if f.Hint != "" {
			hanging(&b, "  = ", f.Hint)
		}
	}
	if len(p.Refused) > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s against %s: %s, %d loosening\n", count(files, "file"), oneLine(p.Against), count(p.Changes, "change"), p.Loosens)
	switch {
	case p.Digest.From == p.Digest.To && p.Changes > 0:
		fmt.Fprintf(&b, "rules %s: nothing that decides changes\n", p.Digest.From.Short())
	case p.Digest.From == p.Digest.To:
		fmt.Fprintf(&b, "rules %s: nothing changes\n", p.Digest.From.Short())
	default:
		fmt.Fprintf(&b, "rules %s → %s\n", p.Digest.From.Short(), p.Digest.To.Short())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planWidth fits a terminal, and a phone that is turned.
const planWidth = 80

// printDifference writes it in words: what of what, from what to what, where, and what it loosens.
func printDifference(b *strings.Builder, d *outline.Difference) {
	sign := map[outline.What]string{outline.Added: "+", outline.Changed: "~", outline.Removed: "-"}[d.What]
	text := string(d.Kind) + " " + d.Name
	switch {
	case d.Kind == outline.KindService && d.What != outline.Changed:
		text = d.Old + d.New
	case d.Kind == outline.KindService:
		text = d.Field + " " + change(d)
	case d.Field != "":
		text += ": " + d.Field + " " + change(d)
	default:
		text += ": " + d.Old + d.New
	}
	hanging(b, "  "+sign+" ", text)
	if d.Position != "" {
		fmt.Fprintf(b, "      %s\n", oneLine(d.Position))
	}
	for _, m := range d.Loosens {
		hanging(b, "    ! ", m.Why+" ("+m.Code+")")
	}
}

func change(d *outline.Difference) string {
	switch {
	case d.Old == "":
		return "(none) → " + d.New
	case d.New == "":
		return d.Old + " → (none)"
	}
	return d.Old + " → " + d.New
}

// hanging writes text behind a head, wrapped, with what follows below it.
func hanging(b *strings.Builder, head, text string) {
	for i, line := range wrap(oneLine(text), planWidth-len(head)) {
		if i > 0 {
			head = strings.Repeat(" ", len(head))
		}
		b.WriteString(head + line + "\n")
	}
}

// patiently asks a server again that is busy: who asks for fifty services must not be told of the last one that others were asking too.
func patiently[T any](ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		out, err := ask(ctx)
		var busy *api.Error
		if !errors.As(err, &busy) || busy.Status() != http.StatusServiceUnavailable && busy.Status() != http.StatusTooManyRequests {
			return out, err
		}
		select {
		case <-time.After(max(busyPause, busy.RetryAfter)):
		case <-ctx.Done():
			return out, err
		}
	}
}
