package ruletest

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

// Options are what a test file leaves to whoever runs it.
type Options struct {
	// Kinds are the kinds of action that rule files may have.
	Kinds map[string]rules.Kind

	seen func(what string, keys map[string]bool) // see rules.Reader.Watch; nil outside of tests
}

// File is a test file with the rules it tests.
type File struct {
	Name  string
	Tests []*Test

	text        rules.File
	rules       []rules.File
	kinds       map[string]rules.Kind
	set         *rules.Set
	interval    time.Duration // between ticks
	offset      time.Duration // of queries
	blindAfter  time.Duration
	start       time.Time
	declared    []engine.Scope // all scopes
	withModes   []engine.Scope
	drawnShapes drawnShapes
}

// Test is one test: what happens, and what has to come of it.
type Test struct {
	Name     string
	Position string // file:line:column
	file     *File

	scrape    time.Duration // of input_series
	series    []series.Series
	scenarios []scene
	instances map[engine.Scope][]string
	steps     []step
	outcomes  []*outcome
	finds     []*found
	expect    []expectation
	until     time.Duration
	// origin is the test of the rules as they are, in a run against a mutant of them; nil: this is it.
	origin *Test
	drawn  drawing
	// expressions are what readings ask for, of each scope.
	expressions map[engine.Scope][]*rules.Condition
}

// begins is what a test file looks like, for whoever has an empty one.
const begins = "a test file begins with `rule_files: [FILE]` and `tests:`"

// DefaultStart is the time that 0m stands for in a file that says nothing: the beginning of a Monday.
var DefaultStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// Parse reads a test file and the rule files that it names. The error is rules.Diagnostics where the files are at fault.
func Parse(f rules.File, opts Options) (*File, error) {
	var file *File
	err := crash.Try(func() (err error) {
		file, err = parse(f, opts, nil)
		return err
	})
	if crash.Of(err) != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	return file, err
}

// parse reads a test file; against given rule files where there are some, which were read before.
func parse(f rules.File, opts Options, given []rules.File) (*File, error) {
	file := &File{Name: f.Name, text: f, rules: given, kinds: opts.Kinds, start: DefaultStart, interval: 15 * time.Second, offset: 5 * time.Second, blindAfter: 5 * time.Minute}
	r, n := rules.NewReader(f, begins)
	if n == (rules.Node{}) {
		return nil, r.Faults()
	}
	r.Watch(opts.seen)
	p := &reading{Reader: r, file: file, mutant: given != nil}
	if p.stranger(n) {
		return nil, r.Faults()
	}
	scrape := time.Duration(0)
	var faults rules.Diagnostics // of the rule files
	names := map[string]bool{}
	// A mapping is read in the order of its fields: the rules come before what is read against them.
	r.Mapping(n, "a test file",
		rules.Required("rule_files", func(n rules.Node) {
			if given == nil {
				p.ruleFiles(n)
			}
		}),
		rules.Optional("evaluation", func(n rules.Node) {
			r.Mapping(n, "evaluation",
				rules.Optional("interval", p.setPositive(&file.interval, "the interval")),
				rules.Optional("query_offset", p.setDuration(&file.offset, "query_offset")),
				rules.Optional("blind_after", p.setPositive(&file.blindAfter, "blind_after")))
		}),
		rules.Optional("interval", p.setPositive(&scrape, "the interval")),
		rules.Optional("start", p.start),
		rules.Required("tests", func(n rules.Node) {
			if file.set, faults = file.load(file.rules); file.set == nil {
				return
			}
			file.scopes()
			r.List(n, "tests", func(n rules.Node) {
				t := p.test(n, cmp.Or(scrape, file.interval))
				if names[t.Name] {
					r.Errorf(n, "give each test a name of its own", "there are two tests called %q", t.Name)
				}
				names[t.Name] = true
				file.Tests = append(file.Tests, t)
			})
			if len(n.Items()) == 0 {
				r.Errorf(n, "begin each test with `- name: …`", "there are no tests")
			}
		}))
	if faults = append(faults, r.Faults().Errors()...); len(faults) > 0 {
		return nil, faults
	}
	return file, nil
}

// load compiles rule files as a server with the file's evaluation does; nil when they have faults.
func (f *File) load(files []rules.File) (*rules.Set, rules.Diagnostics) {
	if len(files) == 0 {
		return nil, nil // that was said
	}
	set, err := rules.Load(files, f.loading())
	var faults rules.Diagnostics
	if errors.As(err, &faults) {
		return nil, faults.Errors()
	}
	return set, nil
}

// loading are the options by which the file's rules are loaded.
func (f *File) loading() rules.Options {
	return rules.Options{Interval: f.interval, BlindAfter: f.blindAfter, Kinds: f.kinds}
}

// scopes notes which there are.
func (f *File) scopes() {
	for _, s := range f.set.Services {
		f.declared = append(f.declared, s.Policy.Scope)
		if len(s.Policy.Modes) > 0 {
			f.withModes = append(f.withModes, s.Policy.Scope)
		}
	}
}

// reading is the reading of one test file.
type reading struct {
	*rules.Reader
	file   *File
	mutant bool // scenarios are drawn for the rules as they are, and not for these
}

// ruleFiles reads the files that are tested, whose paths are relative to the test file.
func (p *reading) ruleFiles(n rules.Node) {
	p.List(n, "rule_files", func(n rules.Node) {
		path, ok := p.Text(n, "a rule file")
		if !ok {
			return
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(p.file.Name), path)
		}
		files, err := rules.ReadFiles(path)
		if err != nil {
			p.Errorf(n, "paths are relative to the test file; a folder stands for its *.yaml", "%s", strings.TrimPrefix(err.Error(), "read rules: "))
			return
		}
		p.file.rules = append(p.file.rules, files...)
	})
	if len(n.Items()) == 0 {
		p.Errorf(n, "", "rule_files is empty")
	}
}

// start reads what 0m stands for.
func (p *reading) start(n rules.Node) {
	at, err := time.Parse(time.RFC3339, n.Value())
	if err != nil {
		p.Errorf(n, "write it as "+DefaultStart.Format(time.RFC3339), "the start must be an instant, not %s", n.Is())
		return
	}
	p.file.start = at.UTC()
}

func (p *reading) setDuration(into *time.Duration, what string) func(rules.Node) {
	return func(n rules.Node) { *into, _ = p.Duration(n, what) }
}

func (p *reading) setPositive(into *time.Duration, what string) func(rules.Node) {
	return func(n rules.Node) {
		d, ok := p.Duration(n, what)
		if ok && d == 0 {
			p.Errorf(n, "", "%s must be longer than zero", what)
			return
		}
		*into = d
	}
}

// maxSpan bounds how long a test may last: beyond that somebody wrote one digit too many.
const maxSpan = 90 * 24 * time.Hour

// test reads one test.
func (p *reading) test(n rules.Node, scrape time.Duration) *Test {
	t := &Test{file: p.file, Position: p.Position(n), scrape: scrape, instances: map[engine.Scope][]string{}}
	p.Mapping(n, "a test",
		rules.Required("name", func(n rules.Node) { t.Name, _ = p.Text(n, "the name of a test") }),
		rules.Optional("interval", p.setPositive(&t.scrape, "the interval")),
		rules.Optional("input_series", func(n rules.Node) {
			p.List(n, "input_series", func(n rules.Node) { p.input(t, n) })
		}),
		rules.Optional("scenarios", func(n rules.Node) {
			p.List(n, "scenarios", func(n rules.Node) { p.scene(t, n) })
		}),
		rules.Optional("instances", func(n rules.Node) {
			p.perScope(n, "instances", func(scope engine.Scope, n rules.Node) {
				p.List(n, "the instances of "+string(scope), func(n rules.Node) {
					if name, ok := p.Text(n, "the name of an instance"); ok {
						t.instances[scope] = append(t.instances[scope], name)
					}
				})
			})
		}),
		rules.Optional("steps", func(n rules.Node) {
			p.List(n, "steps", func(n rules.Node) { p.step(t, n) })
		}),
		rules.Required("expect", func(n rules.Node) {
			p.List(n, "expect", func(n rules.Node) { p.expectation(t, n) })
			if len(n.Items()) == 0 {
				p.Errorf(n, "write for example `expect: [{at: 7m, mode: degraded}]`", "a test that expects nothing cannot fail")
			}
		}),
		rules.Optional("until", p.setDuration(&t.until, "until")))
	for _, s := range t.steps {
		t.until = max(t.until, s.at)
	}
	for _, e := range t.expect {
		t.until = max(t.until, e.to)
	}
	if t.until > maxSpan {
		p.Errorf(n, "", "the test lasts %s, and may last at most %s", model.Duration(t.until), model.Duration(maxSpan))
	}
	return t
}

// input reads a series in promtool's notation.
func (p *reading) input(t *Test, n rules.Node) {
	var metric string
	p.Mapping(n, "a series",
		rules.Required("series", func(n rules.Node) {
			text, ok := p.Text(n, "a series")
			if !ok {
				return
			}
			if _, err := series.Parse(text, "1", p.file.start, t.scrape); err != nil {
				p.Errorf(n, "", "%v", err)
				return
			}
			metric = text
		}),
		rules.Required("values", func(n rules.Node) {
			values := n.Value() // a single number is a value too
			if n.IsList() || n.IsMapping() || metric == "" {
				if metric != "" {
					p.Errorf(n, "", "the values must be a string, not %s", n.Is())
				}
				return
			}
			s, err := series.Parse(metric, values, p.file.start, t.scrape)
			if err != nil {
				p.Errorf(n, "write them as for promtool: 0+10x40 counts up by 10 forty times, _x4 is four scrapes that found nothing, stale is the end", "%v", err)
				return
			}
			t.series = append(t.series, s)
		}))
}

// perScope reads something of scopes: a mapping by scope, or, where only one scope can be meant, the thing itself.
func (p *reading) perScope(n rules.Node, what string, each func(engine.Scope, rules.Node)) {
	named := n.IsMapping() && slices.ContainsFunc(n.Keys(), func(k rules.Node) bool { return slices.Contains(p.file.declared, engine.Scope(k.Value())) })
	if named {
		items := n.Items()
		for i, k := range n.Keys() {
			if scope, ok := p.scope(k); ok {
				each(scope, items[i])
			}
		}
		return
	}
	if scope, ok := p.only(n, what); ok {
		each(scope, n)
	}
}

// scope reads the name of a scope.
func (p *reading) scope(n rules.Node) (engine.Scope, bool) {
	scope := engine.Scope(n.Value())
	if !slices.Contains(p.file.declared, scope) {
		p.Errorf(n, p.Choose(string(scope), names(p.file.declared), ""), "no rule file declares a service %q", scope)
		return "", false
	}
	return scope, true
}

// only is the one scope that can be meant where none is named.
func (p *reading) only(n rules.Node, what string) (engine.Scope, bool) {
	for _, list := range [][]engine.Scope{p.file.declared, p.file.withModes} {
		if len(list) == 1 {
			return list[0], true
		}
	}
	p.Errorf(n, fmt.Sprintf("write `%s: {%s: …}`; there is: %s", what, p.file.declared[0], strings.Join(names(p.file.declared), ", ")), "say of which service")
	return "", false
}

func names[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
