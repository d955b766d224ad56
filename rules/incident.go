package rules

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// Incident is one that people say there was: what `rules backtest` holds pages and tickets against. Services whose incidents
// nobody wrote down have to be left out of a comparison; that an incident is not in the file says that there was none.
type Incident struct {
	Service  engine.Scope
	SLO      string          // that should have told of it; empty: any of the service's
	Severity engine.Severity // SeverityPage or SeverityTicket: what should have told of it at least
	Start    time.Time
	End      time.Time // after Start
	Note     string
	Position string // file:line:column
}

// incidentKeys are what an incident may say, in the order in which a message lists them.
var incidentKeys = []string{"service", "start", "end", "slo", "severity", "note"}

const incidentsHint = "write a header `service,start,end` with a row for each incident (CSV), or a list of `{service: checkout, start: 2026-11-03T14:05:00Z, end: 2026-11-03T14:50:00Z}` (YAML)"

// ReadIncidents reads labelled incidents: CSV where the file's name ends in .csv, else YAML, a list or a mapping with the one
// key `incidents`. Whom they name has to be in one of the sets. The error is Diagnostics, and holds every fault of the file; the
// incidents come in the order of their starts.
func ReadIncidents(f File, sets ...*Set) ([]Incident, error) {
	l := labelling{r: &reader{src: newSource(f.Name, string(f.Data))}, sets: sets, seen: map[Incident]*node{}}
	switch {
	case strings.TrimSpace(strings.TrimPrefix(string(f.Data), "\uFEFF")) == "":
		l.r.whole("the file is empty", incidentsHint)
	case strings.EqualFold(filepath.Ext(f.Name), ".csv"):
		l.table(f)
	default:
		l.documents(f)
	}
	if l.r.faults > 0 {
		return nil, l.r.diags.sorted()
	}
	slices.SortStableFunc(l.found, func(a, b Incident) int { return a.Start.Compare(b.Start) })
	return l.found, nil
}

// labelling is one run of ReadIncidents.
type labelling struct {
	r     *reader
	sets  []*Set
	found []Incident
	seen  map[Incident]*node // without note and position
}

// documents reads YAML.
func (l *labelling) documents(f File) {
	for _, n := range l.r.parse(f) {
		if n.kind == yaml.MappingNode {
			l.r.mapping(n, "a file of incidents", need("incidents", func(n *node) { l.r.list(n, "incidents", l.incident) }))
			continue
		}
		l.r.list(n, "a file of incidents", l.incident)
	}
	if l.r.faults == 0 && len(l.found) == 0 {
		l.r.whole("the file names no incident", incidentsHint)
	}
}

// table reads CSV. Its rows become what a list of mappings in YAML is, so that there is one way to say what is wrong with them.
func (l *labelling) table(f File) {
	if !utf8.Valid(f.Data) {
		l.r.whole("the file is not UTF-8", "save it as UTF-8")
		return
	}
	in := csv.NewReader(bytes.NewReader(f.Data))
	in.TrimLeadingSpace, in.ReuseRecord, in.FieldsPerRecord = true, false, -1
	// place is where a field of the last record begins; the package counts columns in bytes.
	place := func(i int) (line, column int) {
		line, at := in.FieldPos(i)
		text := l.r.src.line(line)
		return line, utf8.RuneCountInString(text[:min(len(text), at-1)]) + 1
	}
	var header []*node
	for {
		record, err := in.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			if l.r.faults == 0 && len(l.found) == 0 {
				l.r.whole("the file names no incident", incidentsHint)
			}
			return
		case errors.As(err, &bad):
			l.r.as(CodeUnreadable).at(bad.Line, bad.Column, `a field that holds a quote or a comma stands in double quotes, and a quote in it is written twice: "said ""no"""`, "not CSV: %v", bad.Err)
			return
		case err != nil:
			l.r.whole(err.Error(), "")
			return
		}
		if header == nil {
			for i, name := range record {
				line, column := place(i)
				n := &node{kind: yaml.ScalarNode, tag: "!!str", line: line, column: column,
					value: strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\uFEFF")))}
				if slices.ContainsFunc(header, func(h *node) bool { return h.value == n.value }) {
					l.r.as(CodeDuplicateKey).errorf(n, "remove one of the two", "column %q is there twice", clip(n.value))
				}
				header = append(header, n)
			}
			if !slices.ContainsFunc(header, func(h *node) bool { return slices.Contains(incidentKeys, h.value) }) {
				l.r.errorf(header[0], incidentsHint, "the first line is no header: none of its columns is one of %s", strings.Join(incidentKeys, ", "))
				return
			}
			l.columns(header)
			if l.r.faults > 0 {
				return // each row would say it again
			}
			continue
		}
		line, column := place(0)
		row := &node{kind: yaml.MappingNode, line: line, column: column}
		if len(record) > len(header) {
			line, column := place(len(header))
			l.r.as(CodeInvalidValue).at(line, column, "a field that holds a comma stands in double quotes", "the row has %d fields, and the header names %d", len(record), len(header))
			continue
		}
		for i, text := range record {
			if text = strings.TrimSpace(text); text == "" {
				continue // left out
			}
			line, column := place(i)
			row.keys = append(row.keys, header[i])
			row.items = append(row.items, &node{kind: yaml.ScalarNode, tag: "!!str", value: text, line: line, column: column})
		}
		l.incident(row)
	}
}

// columns reports what is wrong with a header.
func (l *labelling) columns(header []*node) {
	row := &node{kind: yaml.MappingNode, line: header[0].line, column: header[0].column}
	for _, h := range header {
		row.keys, row.items = append(row.keys, h), append(row.items, h)
	}
	nothing := func(*node) {}
	l.r.mapping(row, "the header", need("service", nothing), need("start", nothing), need("end", nothing), may("slo", nothing), may("severity", nothing), may("note", nothing))
}

// incident reads one.
func (l *labelling) incident(n *node) {
	r := l.r
	before := r.faults
	i := Incident{Severity: engine.SeverityPage, Position: r.position(n)}
	var slo *node
	var services []*Service
	whole := r.mapping(n, "an incident",
		need("service", func(n *node) {
			name, ok := r.text(n, "the service")
			if !ok {
				return
			}
			i.Service = engine.Scope(name)
			var known []string
			for _, set := range l.sets {
				if s := set.Service(i.Service); s != nil {
					services = append(services, s)
				}
				for _, s := range set.Services {
					known = append(known, string(s.Policy.Scope))
				}
			}
			if len(services) == 0 {
				slices.Sort(known)
				r.as(CodeUnknownName).errorf(n, r.choose(name, slices.Compact(known), ""), "no rule file declares service %q", clip(name))
			}
		}),
		need("start", func(n *node) { i.Start = l.instant(n, "the start") }),
		need("end", func(n *node) { i.End = l.instant(n, "the end") }),
		may("slo", func(n *node) { i.SLO, _ = r.text(n, "the SLO"); slo = n }),
		may("severity", func(n *node) {
			word, _ := r.oneOf(n, "severity", string(engine.SeverityPage), string(engine.SeverityTicket))
			i.Severity = engine.Severity(word)
		}),
		may("note", r.setText(&i.Note, "the note")))
	if i.SLO != "" && len(services) > 0 && !slices.ContainsFunc(services, func(s *Service) bool { return s.SLO(i.SLO) != nil }) {
		var known []string
		for _, s := range services {
			for k := range s.SLOs {
				known = append(known, s.SLOs[k].Name)
			}
		}
		r.as(CodeUnknownName).errorf(slo, r.choose(i.SLO, known, "leave `slo` out: any page of the service counts then"), "%s has no SLO %q", i.Service, clip(i.SLO))
	}
	if !i.Start.IsZero() && !i.End.IsZero() && !i.Start.Before(i.End) {
		r.errorf(n.get("end"), "", "the incident ends at %s, which is not after its start", i.End.Format(time.RFC3339))
	}
	if !whole || r.faults > before {
		return
	}
	same := i
	same.Note, same.Position = "", ""
	if first := l.seen[same]; first != nil {
		r.errorf(n, "remove one of the two", "the same incident is on line %d already", first.line)
		return
	}
	l.seen[same] = n
	l.found = append(l.found, i)
}

// instant reads a time that says its zone: an hour's error would make every page look early or late.
func (l *labelling) instant(n *node, what string) time.Time {
	text, ok := l.r.text(n, what)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		l.r.errorf(n, fmt.Sprintf("write it with its zone, as %s or %s", "2026-11-03T14:05:00Z", "2026-11-03T15:05:00+01:00"), "%s is %q, which is not a time", what, clip(text))
		return time.Time{}
	}
	return t.UTC()
}
