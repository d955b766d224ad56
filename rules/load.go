package rules

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
)

// File is a rule file as it was read.
type File struct {
	Name string // as positions give it
	Data []byte
}

// Options are what the rule files leave to the server.
type Options struct {
	Interval   time.Duration // between two evaluations; 0: 15 s
	BlindAfter time.Duration // how long sight may be lost before somebody is paged; 0: 5 min
	SLOPeriod  time.Duration // of SLOs that name none; 0: 30 days
	MaxAge     time.Duration // of the samples of SLIs and SLOs that name none; 0: 5 min
	// InForce is the mode each scope is in. A file that does not declare it any more is refused.
	InForce map[engine.Scope]engine.Mode
	// Sources are the Prometheis there are: the number of replicas of each, by name. Nil: they are not known, and not checked.
	Sources map[string]int
	// Kinds are the kinds of action there are, by the key they have in a file. Without any, no file may have actions.
	Kinds map[string]Kind
	// Receivers are the severities that somebody is configured to be told. Nil: that is not known, and not checked.
	Receivers map[engine.Severity]bool
	// Places keeps where everything stands, for Service.Outline. It takes as much memory as the files.
	Places bool
	// Now is the time by which flags are past their date, or untested for long. Zero: nothing is said of that.
	Now time.Time
	// Findings: look for what loads and is most likely not what was meant. It takes time, and a server has no use for it.
	Findings bool
	// Scrape tells findings how far apart samples are; it may be asked by many goroutines at once. Nil, or where it does not know: 15 s.
	Scrape Scrape

	seen func(what string, lenient bool, fields []field) // is told of each mapping that is read; nil outside of tests
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, 15*time.Second)
	o.BlindAfter = cmp.Or(o.BlindAfter, 5*time.Minute)
	o.SLOPeriod = cmp.Or(o.SLOPeriod, 30*24*time.Hour)
	o.MaxAge = cmp.Or(o.MaxAge, 5*time.Minute)
	return o
}

// Load compiles rule files. The set, never nil, holds the services that are whole. The error is Diagnostics, and holds every
// fault of every file; warnings alone are no error, and are in Set.Warnings.
func Load(files []File, opts Options) (*Set, error) { return Reload(nil, files, opts) }

// Reload compiles rule files over the set in force. A service whose file is bad, or which refers to one whose file is, stays
// on the rules it has in last, with Problem saying why; the others reload. A mode that is in force does not vanish, and a flag
// does not change its type: a file that says so counts as bad. A service that no file declares any more is gone, unless a file that cannot be
// read may be the one that declares it.
//
// The set is never nil. The error is Diagnostics.
func Reload(last *Set, files []File, opts Options) (*Set, error) {
	opts = opts.withDefaults()
	l := loader{opts: opts, last: last, unread: map[string]string{}, names: map[string]bool{},
		patterns: patterns{by: map[pattern]*labels.Matcher{}}, texts: texts{by: map[string]*checkedText{}}}
	l.read(files)
	if len(files) == 0 {
		l.diags = append(l.diags, Diagnostic{Level: LevelError, Code: CodeNoFiles, File: "rules", Message: "there are no rule files",
			Hint: "give files, folders (their *.yaml and *.yml are read) or globs"})
	}
	l.sameService()
	for _, d := range l.drafts {
		d.survive(func() {
			l.inForce(d)
			l.flagTypes(d)
		})
	}
	l.references()
	l.findings()
	return l.set()
}

// loader is one run of Load.
type loader struct {
	opts    Options
	last    *Set
	readers []*reader
	drafts  []*draft
	diags   Diagnostics
	// unread are files with a document that has a fault and does not tell, or not surely, which service it is of.
	unread map[string]string // name to the first fault
	names  map[string]bool   // of all files
	// What is the same in many files is there once.
	patterns patterns
	texts    texts
}

// read reads all files, as many at a time as there are processors, since nothing in one depends on another.
func (l *loader) read(files []File) {
	contents := make([]content, len(files))
	var workers sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
				contents[i] = l.file(files[i])
			}
		})
	}
	workers.Wait()
	for i := range contents {
		c := &contents[i]
		l.names[files[i].Name] = true
		l.readers = append(l.readers, c.r)
		l.drafts = append(l.drafts, c.drafts...)
		if c.unread != "" {
			l.unread[files[i].Name] = c.unread
		}
	}
}

// content is what a file holds.
type content struct {
	r      *reader
	drafts []*draft
	unread string // the first fault of a document that has one and does not tell, or not surely, which service it is of
}

// file reads one file. It is safe for concurrent use.
func (l *loader) file(f File) (c content) {
	r := &reader{src: newSource(f.Name, ""), seen: l.opts.seen}
	if len(f.Data) <= maxFileBytes {
		r.src = newSource(f.Name, string(f.Data))
	}
	c.r = r
	var docs []*node
	r.survive(&node{line: 1, column: 1}, func() { docs = r.parse(f) })
	if r.faults > 0 && len(docs) == 0 {
		c.unread = r.problem(0, math.MaxInt)
	}
	for i, n := range docs {
		end := math.MaxInt
		if i+1 < len(docs) {
			end = docs[i+1].line
		}
		before := r.faults
		d := l.draft(r, n)
		known := false
		r.survive(n, func() { known = l.document(d) })
		if r.faults == before && known {
			r.survive(n, d.digests)
		}
		if r.faults == before && !r.broken[n] && d.name() != "" && l.opts.Findings {
			r.survive(n, d.look)
		}
		d.forget()
		d.end, d.bad = end, r.broken[n] || r.faults > before
		// Of a broken one nobody knows which of two names is meant, or what a merge would have brought.
		if d.bad && (d.name() == "" || r.broken[n]) {
			c.unread = r.problem(n.line, end)
		}
		if known || d.name() != "" {
			c.drafts = append(c.drafts, d)
		}
	}
	return c
}

// problem is the first error between two lines, of a document of the file; of the whole file where none is there.
func (r *reader) problem(from, to int) string {
	errs := r.diags.Errors()
	i := slices.IndexFunc(errs, func(d Diagnostic) bool { return d.Line >= from && d.Line < to })
	return errs[max(0, i)].Summary()
}

// sameService refuses all files that declare one service.
func (l *loader) sameService() {
	by := map[engine.Scope][]*draft{}
	for _, d := range l.drafts {
		if d.name() != "" {
			by[d.name()] = append(by[d.name()], d)
		}
	}
	for _, d := range l.drafts {
		same := by[d.name()]
		if d.name() == "" || len(same) < 2 {
			continue
		}
		const most = 3
		var others []string
		for _, o := range same {
			if o == d {
				continue
			}
			if len(others) == most {
				others = append(others, fmt.Sprintf("%d more", len(same)-1-most))
				break
			}
			others = append(others, o.r.position(o.scope))
		}
		d.refuse(CodeDuplicateName, d.scope, "declare a service once", "service %q is declared by %s too", d.name(), strings.Join(others, " and by "))
	}
}

// inForce refuses a file that does not declare the mode its scope is in.
func (l *loader) inForce(d *draft) {
	mode := l.opts.InForce[d.name()]
	if mode == "" || d.name() == "" || d.modeNames[string(mode)] != nil {
		return
	}
	d.refuse(CodeModeInForce, d.modes.or(d.scope), fmt.Sprintf("declare it again, shift the service (modeshift set %s MODE --reason …), then remove it", d.name()),
		"mode %q is in force in %s and would vanish", mode, d.name())
}

// set puts together what is whole and what stays.
func (l *loader) set() (*Set, error) {
	set := &Set{}
	diags := l.diags
	for _, r := range l.readers {
		diags = append(diags, r.diags...)
	}
	diags = diags.sorted().cut()
	declared := map[engine.Scope]string{} // to why it does not load
	for _, d := range l.drafts {
		if d.name() == "" {
			continue
		}
		declared[d.name()] = ""
		if d.bad {
			declared[d.name()] = d.r.problem(d.node.line, d.end)
		} else {
			set.Services = append(set.Services, d.service)
		}
	}
	if l.last != nil {
		for _, s := range l.last.Services {
			problem, found := declared[s.Policy.Scope]
			if !found {
				problem, found = l.mayDeclare(s)
			}
			if found && problem != "" {
				kept := *s
				kept.Problem = problem
				set.Services = append(set.Services, &kept)
			}
		}
	}
	slices.SortFunc(set.Services, func(a, b *Service) int { return strings.Compare(string(a.Policy.Scope), string(b.Policy.Scope)) })
	set.Digest = setDigest(set.Services)
	set.Warnings = slices.DeleteFunc(slices.Clone(diags), func(d Diagnostic) bool { return d.Level == LevelError })
	if len(diags.Errors()) > 0 {
		return set, diags
	}
	return set, nil
}

// mayDeclare finds an unreadable file that may be the one that declares s: the one it came from, or any if that is gone.
func (l *loader) mayDeclare(s *Service) (problem string, found bool) {
	if problem, found = l.unread[s.File]; found || l.names[s.File] {
		return problem, found
	}
	for _, d := range l.readers {
		if problem, found = l.unread[d.src.name]; found {
			return problem, true
		}
	}
	return "", false
}
