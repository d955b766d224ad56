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

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

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

// draft is one document of a file on its way to a Service.
type draft struct {
	r       *reader
	opts    Options
	node    *node // the document; once it has been read its place alone
	end     int   // the line on which the next one of the file begins
	scope   *node // the value of `service`
	bad     bool
	service *Service

	modeNames map[string]*node
	flagTypes map[string]flagType
	modes     *node
	parent    *node
	circled   bool // it stands below itself, or too far down
	lenient   bool // a Sloth file
	allows    []allowed
	found     Diagnostics // findings, which are said if the document turns out to have no errors
	patterns  *patterns   // of the load
	texts     *texts      // likewise

	workings
}

// workings are what only a document itself is read and looked at with. A draft lets go of them before the next file is read: what
// they hold on to, above all the YAML of the file, is more than what comes of it.
type workings struct {
	sloNames, sliNames, scheduleNames, transitionNames map[string]*node
	queries                                            map[string][]string // of each SLO and SLI that is whole, canonical
	meanings                                           map[string]inJSON   // of each SLO, made once
	usual                                              map[usual][]sized   // made once
	declared                                           *node               // flags
	recorded                                           bool                // SLOs that do not say otherwise are read from what Sloth's rules record
	undecided                                          []int               // indexes of SLOs that do not say how they are evaluated
	agreeing                                           []agreeing
	sourced                                            []sourced
	transitions                                        []transitionDraft
	expiries                                           []wayOut
	escalations                                        escalations // of SLOs that say nothing of them
	pausings                                           []*pausing
	hushings                                           []*hushing
	ranges                                             map[string]bounds // made once
	short                                              []mention         // windows that have been found too short
}

// forget lets go of the workings.
func (d *draft) forget() {
	d.workings = workings{}
	d.node = d.node.bare()
	d.modes = d.modes.bare()
	for _, c := range d.service.Conditions {
		c.sketch = nil
	}
}

func (d *draft) name() engine.Scope { return d.service.Policy.Scope }

const (
	versionOwn   = "modeshift/v1"
	versionSloth = "prometheus/v1"
)

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

// survive is the reader's, of what is looked at when all files have been read.
func (d *draft) survive(read func()) {
	before := d.r.faults
	d.r.survive(d.scope.or(d.node), read)
	d.bad = d.bad || d.r.faults > before
}

// problem is the first error between two lines, of a document of the file; of the whole file where none is there.
func (r *reader) problem(from, to int) string {
	errs := r.diags.Errors()
	i := slices.IndexFunc(errs, func(d Diagnostic) bool { return d.Line >= from && d.Line < to })
	return errs[max(0, i)].Summary()
}

// draft makes the draft of a document, empty.
func (l *loader) draft(r *reader, n *node) *draft {
	return &draft{r: r, opts: l.opts, node: n, service: &Service{File: r.src.name}, patterns: &l.patterns, texts: &l.texts,
		modeNames: map[string]*node{}, flagTypes: map[string]flagType{},
		workings: workings{sloNames: map[string]*node{}, sliNames: map[string]*node{}, scheduleNames: map[string]*node{},
			transitionNames: map[string]*node{}, queries: map[string][]string{}, meanings: map[string]inJSON{},
			usual: map[usual][]sized{}}}
}

// document reads one document; false when it is not a rule file at all.
func (l *loader) document(d *draft) bool {
	r, n := d.r, d.node
	if n.keys == nil {
		r.errorf(n, "a rule file begins with `version: modeshift/v1` and `service: NAME`", "a rule file is a mapping, not %s", n.is())
		return false
	}
	version := n.get("version")
	switch {
	case version == nil:
		at, message, hint := r.stranger(n)
		r.as(CodeUnknownVersion).errorf(at, hint, "%s", message)
		return false
	case version.value != versionOwn && version.value != versionSloth:
		r.as(CodeUnknownVersion).errorf(version, "write `modeshift/v1`, or `prometheus/v1` for a Sloth file", "unknown version %q", clip(version.value))
		return false
	}
	s := d.service
	s.Policy = engine.Policy{Interval: l.opts.Interval, BlindAfter: l.opts.BlindAfter}
	if l.opts.Places {
		s.doc = n
	}
	var lease, onLoss *node
	fields := []field{
		need("version", func(*node) {}),
		need("service", d.serviceName),
		may("labels", r.setLabels(&s.Labels, "label")),
	}
	r.lenient = version.value == versionSloth
	d.lenient = r.lenient
	if r.lenient {
		fields = append(fields, need("slos", d.slos))
	} else {
		fields = append(fields,
			may("owner", r.setText(&s.Policy.Owner, "the owner")),
			may("runbook", d.runbook),
			may("parent", d.parentName),
			may("automation", d.automation),
			may("flapping", d.flapping),
			may("escalation", d.escalation(&d.escalations)),
			may("stuck_after", d.stuckAfter(&s.Policy.StuckAfter)),
			may("source", func(n *node) { s.Source = d.source(n) }),
			may("evaluate", func(n *node) { d.recorded, _ = d.evaluate(n) }),
			may("slos", d.slos),
			may("slis", func(n *node) { r.list(n, "slis", d.value) }),
			may("schedules", func(n *node) { r.list(n, "schedules", d.schedule) }),
			may("modes", func(n *node) {
				d.modes = n
				r.list(n, "modes", d.mode)
				if n.kind == yaml.SequenceNode && len(n.items) == 1 {
					r.errorf(n, "declare at least two, or leave `modes` out", "a single mode cannot be shifted")
				}
			}),
			may("transitions", func(n *node) { r.list(n, "transitions", d.transition) }),
			may("flags", d.declarations),
			may("allow", d.allow),
			may("instances", d.instances),
			may("lease", func(n *node) { lease = n }),
			may("on_loss", func(n *node) { onLoss = n }))
	}
	r.mapping(n, "a rule file", fields...)
	d.defaults()
	s.Policy.Informs = l.opts.Receivers[engine.SeverityInfo]
	d.loss(lease, onLoss)
	d.untold(n)
	d.flagDoubts()
	d.conditions()
	d.waysOut()
	d.govern()
	d.hush()
	if r.faults == 0 && n.get("slos") == nil && n.get("modes") == nil {
		r.as(CodeNothingDeclared).warnf(d.scope.or(n), "declare `slos:`, or `modes:` and `transitions:`", "the file declares nothing: the service has no SLOs and no modes")
	}
	return true
}

func (d *draft) slos(n *node) {
	d.r.list(n, "slos", d.slo)
	if d.r.lenient && len(n.items) == 0 {
		d.r.errorf(n, "declare one: `slos: [{name: …, objective: …, sli: …, alerting: …}]`", "a Sloth file needs at least one SLO")
	}
}

func (d *draft) serviceName(n *node) {
	d.scope = n
	name, ok := d.r.name(n, "the name of a service")
	if !ok {
		return
	}
	if name == string(engine.Fleet) {
		d.r.errorf(n, "choose another name; a scope above all others is usually called global", "%q is reserved: modeshift uses it for what spans services", name)
		return
	}
	d.service.Policy.Scope = engine.Scope(name)
}

// automation reads how far automation goes.
func (d *draft) automation(n *node) {
	how := engine.Automation(n.value)
	switch {
	case n.kind == yaml.ScalarNode && slices.Contains([]engine.Automation{engine.AutomationSuggest, engine.AutomationOff}, how):
		d.service.Policy.Automation = how
	case n.kind == yaml.ScalarNode && how == engine.AutomationOn: // as when it is left out
	default:
		d.r.errorf(n, "write `on`, `suggest` (it says what it would do, and starts nothing) or `off`", "automation cannot be %s", n.is())
	}
}

// maxFlapping bounds how far back changes are counted.
const maxFlapping = 7 * 24 * time.Hour

// flapping reads how many changes in a while are too many.
func (d *draft) flapping(n *node) {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `flapping: {changes: 6, within: 1h}`", "flapping must be a mapping, not %s", n.is())
		return
	}
	f := &d.service.Policy.Flap
	r.mapping(n, "flapping",
		need("changes", func(n *node) { f.Changes = r.integer(n, "the number of changes", 2, engine.MaxFlap) }),
		need("within", func(n *node) {
			if f.Within, _ = r.duration(n, "within"); f.Within > maxFlapping {
				r.errorf(n, "", "within may be at most %s", model.Duration(maxFlapping))
			}
		}))
}

// maxStuckAfter bounds how long a mode may stay that nobody needs: beyond that it says nobody is to hear of it.
const maxStuckAfter = 7 * 24 * time.Hour

// stuckAfter returns a reader of how long a mode's way out may stand open before somebody is told.
func (d *draft) stuckAfter(into *time.Duration) func(*node) {
	return func(n *node) {
		v, ok := d.r.duration(n, "stuck_after")
		if ok && v > maxStuckAfter {
			d.r.errorf(n, "leave it out for "+model.Duration(engine.DefaultStuckAfter).String(), "stuck_after may be at most %s", model.Duration(maxStuckAfter))
			return
		}
		*into = v
	}
}

func (d *draft) runbook(n *node) {
	text, ok := d.r.text(n, "the runbook")
	if !ok {
		return
	}
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") || strings.ContainsAny(text, " \t\n") {
		d.r.errorf(n, "write an address that can be opened from a page: https://…", "the runbook is %q, which is not a URL", clip(text))
		return
	}
	d.service.Policy.Runbook = text
}

// value reads an SLI without an objective.
func (d *draft) value(n *node) {
	r := d.r
	s := SLI{MaxAge: d.opts.MaxAge}
	var q *query
	before := r.faults
	r.mapping(n, "an SLI",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of an SLI"); ok && r.unique(d.sliNames, n, "SLI", name) {
				s.Name = name
			}
		}),
		need("query", func(n *node) {
			if q = r.query(n, "the query", instancesName); q != nil {
				s.query, s.Query = q.template, strings.TrimSpace(q.template.render(0))
			}
		}),
		may("unit", r.setText(&s.Unit, "the unit")),
		may("max_age", r.setDuration(&s.MaxAge, "max_age")),
		may("source", func(n *node) { s.Source = d.source(n) }),
		may("agree", func(n *node) { s.Agree = d.agree(n, &s.Source) }))
	if s.Name == "" {
		return
	}
	if r.faults == before {
		d.queries["sli/"+s.Name] = []string{q.canonical}
		d.selectors(q, nil, &s.Source)
	}
	d.service.SLIs = append(d.service.SLIs, s)
}

// refuse reports a fault found after the documents were read.
func (d *draft) refuse(code Code, n *node, hint, format string, args ...any) {
	d.bad = true
	d.r.as(code).errorf(n, hint, format, args...)
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

// reference is the mention of another scope in a condition.
type reference struct {
	scope engine.Scope
	mode  string // the mode it is compared with; empty for the mention itself
	node  *node  // the condition's text
	at    int    // in it
}

// references refuses what refers to a scope that does not load, until nothing new is refused.
func (l *loader) references() {
	known := map[engine.Scope]*draft{}
	var names []string
	for _, d := range l.drafts {
		if d.name() != "" {
			known[d.name()] = d
			names = append(names, string(d.name()))
		}
	}
	l.circles(known)
	told := map[reference]bool{}
	suggested := 0 // each costs a look at all names
	choose := func(d *draft, name string) string {
		if suggested++; suggested > maxDiagnostics {
			return ""
		}
		return d.r.choose(name, names, "")
	}
	refer := func(d *draft) {
		for _, ref := range d.service.references {
			other := known[ref.scope]
			whole := other != nil && (other == d || !other.bad) && other.modes != nil
			if told[ref] || d.circled && ref.node == d.parent || whole != (ref.mode != "") || ref.mode != "" && other.modeNames[ref.mode] != nil {
				continue
			}
			told[ref], d.bad = true, true
			say := func(code Code, hint, format string, args ...any) {
				d.r.as(code).within(ref.node, ref.at, hint, format, args...)
			}
			switch {
			case ref.mode != "":
				say(CodeUnknownName, d.r.choose(ref.mode, keys(other.modeNames), ""), "service %q has no mode %q", ref.scope, clip(ref.mode))
			case other == nil && len(l.unread) > 0:
				say(CodeBadReference, "mend the files that cannot be read first", "no file that can be read declares a service %q", ref.scope)
			case other == nil:
				say(CodeUnknownName, choose(d, string(ref.scope)), "no file declares a service %q", ref.scope)
			case other.bad:
				say(CodeBadReference, "mend that one first: what refers to a service loads together with it", "service %q does not load (%s)", ref.scope, other.service.File)
			default:
				say(CodeUnknownName, "", "service %q has no modes", ref.scope)
			}
		}
		if !d.bad && d.parent != nil {
			l.above(d, known)
		}
	}
	referring := map[*draft][]*draft{} // who refers to it
	for _, d := range l.drafts {
		for _, ref := range d.service.references {
			if other := known[ref.scope]; other != nil && other != d {
				referring[other] = append(referring[other], d)
			}
		}
	}
	for todo := slices.Clone(l.drafts); len(todo) > 0; {
		var next []*draft
		for _, d := range todo {
			was := d.bad
			d.survive(func() { refer(d) })
			if d.bad && !was {
				next = append(next, referring[d]...)
			}
		}
		todo = next
	}
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
