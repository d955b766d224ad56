package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Tool is whose files are read.
type Tool string

// The tools.
const (
	Sloth   Tool = "sloth"
	OpenSLO Tool = "openslo"
	Pyrra   Tool = "pyrra"
)

// Options say what the files leave to the command line of their tool. The zero value is that of each tool's own defaults.
type Options struct {
	// Period is that of Sloth's SLOs, which their files do not say. 0: 30 days.
	Period time.Duration
	// Windows are Sloth's AlertWindows. As with Sloth they replace the ones that are built in, of 28 and 30 days.
	Windows []rules.File
	// Dialect is how the queries of OpenSLO are meant; empty: as their shape tells, or an error.
	Dialect Dialect
	// Service is the one that SLOs of Pyrra belong to which name none; empty: each is a service of its own.
	Service string
	// Severities say what words of the files mean for us: page or ticket. They come before the words that are known anyway.
	Severities map[string]engine.Severity
}

// Kind is what a difference asks of people.
type Kind string

// The kinds of difference.
const (
	Changed Kind = "changed" // it behaves otherwise
	Dropped Kind = "dropped" // it is not carried over
	Decide  Kind = "decide"  // a person has to decide; the rule file says so too
)

// Difference is something that is not as it was.
type Difference struct {
	Kind Kind
	Code string // what it is about, the same word always: "period", "for", "labels"
	// File, Line and Column are where the source says it.
	File         string
	Line, Column int
	Service, SLO string // SLO is empty where it is of the whole file
	Message      string
	Hint         string // what can be done about it; may be empty
}

// Position is file:line:column.
func (d Difference) Position() string { return fmt.Sprintf("%s:%d:%d", d.File, d.Line, d.Column) }

// Service is a rule file.
type Service struct {
	Name string
	Text []byte
	SLOs int

	slos []*slo
}

// Result is what came of an import.
type Result struct {
	Services    []Service // by name
	Differences []Difference
}

// UsageError is a fault of the options, not of a file.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Import reads files of a tool. The error is rules.Diagnostics with every fault of every file, or a UsageError.
func Import(tool Tool, files []rules.File, opts Options) (*Result, error) {
	im := &importer{opts: opts, tops: map[rules.Node]string{}, remarks: map[string][]remark{}}
	im.opts.Period = cmp.Or(opts.Period, 30*day)
	var err error
	switch tool {
	case Sloth:
		err = im.sloth(files)
	case OpenSLO:
		im.openslo(files)
	case Pyrra:
		im.pyrra(files)
	default:
		err = usage("there is no tool %q: write sloth, openslo or pyrra", tool)
	}
	if err != nil {
		return nil, err
	}
	return im.result()
}

const day = 24 * time.Hour

// importer is one run of Import.
type importer struct {
	opts  Options
	files []*rules.Foreign
	// sources are the files as they were given, and tops the documents that are all of a service.
	sources []rules.File
	tops    map[rules.Node]string
	remarks map[string][]remark // of services
	slos    []*slo
	diffs   []Difference
	// labels are those of services, where a file has any; of a service in two files they are those of each SLO.
	labels map[string]map[string]string
	heads  map[string][]note // what a person has to decide of a whole service
	more   rules.Diagnostics // faults that are found when all has been read
}

// read reads a file, and hands on its documents; those of a Kubernetes List one by one.
func (im *importer) read(f rules.File, begins string, each func(rules.Node)) {
	foreign := rules.ReadForeign(f, begins)
	im.files = append(im.files, foreign)
	im.sources = append(im.sources, f)
	for _, doc := range foreign.Documents() {
		if !doc.IsMapping() {
			doc.Errorf(begins, "the file is %s, and a mapping is needed", doc.Is())
			continue
		}
		if items := doc.Get("items"); strings.HasSuffix(doc.Get("kind").Raw(), "List") && items.IsList() {
			for _, item := range items.Items() {
				each(item)
			}
			continue
		}
		each(doc)
	}
}

// differ notes a difference at a place. s is nil where it is of the whole document.
func (im *importer) differ(kind Kind, code string, at rules.Node, s *slo, hint, format string, args ...any) {
	p := at.Place()
	d := Difference{Kind: kind, Code: code, File: p.File, Line: p.Line, Column: p.Column, Message: fmt.Sprintf(format, args...), Hint: hint}
	if s != nil {
		d.Service, d.SLO = s.service, s.name
		if kind == Decide {
			s.notes = append(s.notes, note{d.Message, hint})
		}
	}
	im.diffs = append(im.diffs, d)
}

// decideAll notes what a person has to decide of a whole service.
func (im *importer) decideAll(code string, at rules.Node, service, hint, format string, args ...any) {
	im.differ(Decide, code, at, nil, hint, format, args...)
	if im.heads == nil {
		im.heads = map[string][]note{}
	}
	d := &im.diffs[len(im.diffs)-1]
	d.Service = service
	im.heads[service] = append(im.heads[service], note{d.Message, hint})
}

// unknown notes the keys that nobody knows: their tool ignores them, and somebody may rely on them.
func (im *importer) unknown(keys []rules.Node, what string, s *slo, known ...string) {
	for _, k := range keys {
		im.differ(Dropped, "unknown-key", k, s, k.Nearest(known...), "nobody knows the key %q of %s", k.Raw(), what)
	}
}

// dropped notes keys that are known, and have no place in a rule file.
func (im *importer) dropped(n rules.Node, what string, s *slo, why string, keys ...string) {
	for _, key := range keys {
		if n.Get(key).Exists() {
			im.differ(Dropped, "key", n.Key(key), s, "", "%q of %s is not carried over: %s", key, what, why)
		}
	}
}

// result makes rule files of what was read, and loads them.
func (im *importer) result() (*Result, error) {
	all := slices.Clone(im.more)
	for _, f := range im.files {
		all = append(all, f.Diagnostics()...)
	}
	im.unique(&all)
	im.some(&all)
	out := &Result{}
	if len(all.Errors()) == 0 {
		im.carry()
		for _, name := range im.names() {
			s := Service{Name: name}
			for _, one := range im.slos {
				if one.service == name {
					s.slos = append(s.slos, one)
				}
			}
			s.SLOs = len(s.slos)
			w := writeService(name, im.heads[name], im.labels[name], im.remarks[name], s.slos)
			s.Text = []byte(w.b.String())
			_, err := rules.Load([]rules.File{{Name: name + ".yaml", Data: s.Text}}, rules.Options{})
			var refused rules.Diagnostics
			if errors.As(err, &refused) {
				for _, d := range refused.Errors() {
					all = append(all, w.blame(d))
				}
			}
			out.Services = append(out.Services, s)
		}
	}
	if len(all.Errors()) > 0 {
		return nil, sorted(all.Errors())
	}
	for _, d := range all.Warnings() {
		im.diffs = append(im.diffs, Difference{Kind: Decide, Code: "doubt", File: d.File, Line: d.Line, Column: d.Column, Message: d.Message, Hint: d.Hint})
	}
	slices.SortStableFunc(im.diffs, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Code, b.Code))
	})
	out.Differences = im.diffs
	return out, nil
}

func sorted(ds rules.Diagnostics) rules.Diagnostics {
	slices.SortStableFunc(ds, func(a, b rules.Diagnostic) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(ds)
}

// names are those of all services, sorted.
func (im *importer) names() []string {
	var out []string
	for _, s := range im.slos {
		out = append(out, s.service)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// some refuses files that have no SLO at all: nothing would be written, and that would pass for an import.
func (im *importer) some(all *rules.Diagnostics) {
	if len(im.slos) > 0 || len(all.Errors()) > 0 {
		return
	}
	for _, f := range im.files {
		if docs := f.Documents(); len(docs) > 0 {
			d := docs[0].Place()
			d.Message, d.Hint = "there is no SLO in the files", "give the files that have them too"
			*all = append(*all, d)
			return
		}
	}
}

// unique refuses two SLOs of one name in one service.
func (im *importer) unique(all *rules.Diagnostics) {
	first := map[[2]string]*slo{}
	for _, s := range im.slos {
		if s.name == "" || s.service == "" {
			continue
		}
		key := [2]string{s.service, s.name}
		if other := first[key]; other != nil {
			d := s.at.Place()
			p := other.at.Place()
			d.Message = fmt.Sprintf("SLO %q of service %q is declared at %s already", s.name, s.service, p.Position())
			d.Hint = "give each a name of its own"
			*all = append(*all, d)
			continue
		}
		first[key] = s
	}
}

// annotations reads those of an alert.
func (im *importer) annotations(n rules.Node, s *slo) map[string]string {
	values := n.Items()
	for i, k := range n.Keys() { // a list has none, and is refused below
		if v := values[i]; strings.Contains(v.Raw(), "{{") {
			im.template(v, k.Raw(), s)
		}
	}
	return n.Labels("annotation")
}

// template notes an annotation in which Prometheus would fill in what stands in braces. Nobody does here.
func (im *importer) template(n rules.Node, name string, s *slo) {
	im.differ(Decide, "template", n, s, "say it in plain words: a notice names its service, SLO and burn rate anyway",
		"the annotation %q is shown as it stands: there is no Prometheus to fill in its {{…}}", name)
}
