package rules

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// Reader reads YAML files that stand beside rule files, such as their tests, as strictly as rule files are read: every fault has its
// place, and a key that nobody knows is one.
type Reader struct{ r *reader }

// NewReader reads a file of one document. There is none where the file is not YAML, or empty.
func NewReader(f File, begins string) (*Reader, Node) {
	r := &reader{src: newSource(f.Name, string(f.Data)), begins: begins}
	docs := r.parse(f)
	if len(docs) == 0 {
		return &Reader{r}, Node{}
	}
	if len(docs) > 1 {
		r.errorf(docs[1], "put it into a file of its own", "this is a second document")
	}
	return &Reader{r}, Node{r, docs[0]}
}

// Faults are what is wrong, by position.
func (r *Reader) Faults() Diagnostics { return slices.Clone(r.r.diags).sorted() }

// Wrong counts the faults so far.
func (r *Reader) Wrong() int { return r.r.faults }

// Watch shows each mapping that is read from now on: what it is, and its keys, each with whether it has to be there. nil: nobody looks.
func (r *Reader) Watch(see func(what string, keys map[string]bool)) {
	if see == nil {
		r.r.seen = nil
		return
	}
	r.r.seen = func(what string, _ bool, fields []field) {
		keys := map[string]bool{}
		for _, f := range fields {
			keys[f.key] = f.required
		}
		see(what, keys)
	}
}

// Field is a key that a mapping may have.
type Field struct {
	key      string
	required bool
	read     func(Node)
}

// Required is a key that has to be there.
func Required(key string, read func(Node)) Field { return Field{key, true, read} }

// Optional is a key that need not be there.
func Optional(key string, read func(Node)) Field { return Field{key, false, read} }

// Mapping reads a mapping's keys in the order of fields, and reports those nobody knows. what names it: "a step".
func (r *Reader) Mapping(n Node, what string, fields ...Field) bool {
	known := make([]field, len(fields))
	for i, f := range fields {
		read := func(n *node) { f.read(Node{r.r, n}) }
		if f.required {
			known[i] = need(f.key, read)
		} else {
			known[i] = may(f.key, read)
		}
	}
	return r.r.mapping(n.n, what, known...)
}

// List reads each entry of a list.
func (r *Reader) List(n Node, what string, each func(Node)) {
	r.r.list(n.n, what, func(n *node) { each(Node{r.r, n}) })
}

// Text reads a string that is not empty.
func (r *Reader) Text(n Node, what string) (string, bool) { return r.r.text(n.n, what) }

// Boolean reads true or false.
func (r *Reader) Boolean(n Node, what string) (value, ok bool) { return r.r.boolean(n.n, what) }

// Number reads a finite number.
func (r *Reader) Number(n Node, what string) (float64, bool) { return r.r.number(n.n, what) }

// Integer reads a whole number between two bounds; 0 when it is not one.
func (r *Reader) Integer(n Node, what string, least, most int) int {
	return r.r.integer(n.n, what, least, most)
}

// JSON reads a value as JSON has it: a boolean, a number, a string, a list or a mapping.
func (r *Reader) JSON(n Node, what string) (any, bool) {
	v, _, ok := r.r.json(n.n, what)
	return v, ok
}

// OneOf reads one of a few words.
func (r *Reader) OneOf(n Node, what string, words ...string) (string, bool) {
	return r.r.oneOf(n.n, what, words...)
}

// Duration reads a Prometheus duration; 0 is one.
func (r *Reader) Duration(n Node, what string) (time.Duration, bool) {
	if n.n.kind == yaml.ScalarNode && n.n.value == "0" {
		return 0, true
	}
	if n.n.kind == yaml.ScalarNode && strings.TrimLeft(n.n.value, "0") == "s" {
		return 0, true
	}
	return r.r.duration(n.n, what)
}

// Errorf reports a fault at a value.
func (r *Reader) Errorf(n Node, hint, format string, args ...any) {
	r.r.errorf(n.n, hint, format, args...)
}

// Choose is a hint: the known word that is nearest to s, or else all there are; none where there is none.
func (r *Reader) Choose(s string, known []string, none string) string {
	return r.r.choose(s, known, none)
}

// Condition compiles an expression over the signals of a service that has been loaded, as its own conditions are.
func (r *Reader) Condition(set *Set, s *Service, n Node, name string) (*Condition, bool) {
	d := &draft{r: r.r, node: n.n, service: s, workings: workings{sloNames: map[string]*node{}, sliNames: map[string]*node{}, scheduleNames: map[string]*node{}}}
	for i := range s.SLOs {
		d.sloNames[s.SLOs[i].Name] = n.n
	}
	for i := range s.SLIs {
		d.sliNames[s.SLIs[i].Name] = n.n
	}
	for _, c := range s.Schedules {
		d.scheduleNames[c.Name] = n.n
	}
	c, ok := d.compile(n.n, "a reading", name, false)
	if !ok {
		return nil, false
	}
	var names []string
	for _, other := range set.Services {
		names = append(names, string(other.Policy.Scope))
	}
	for _, ref := range c.references {
		line, column := r.r.src.within(ref.node, ref.at)
		other := set.Service(ref.scope)
		switch {
		case other == nil && ref.mode != "": // the mention of the scope says it
		case other == nil:
			r.r.as(CodeUnknownName).at(line, column, r.r.choose(string(ref.scope), names, ""), "no rule file declares a service %q", ref.scope)
			return nil, false
		case ref.mode != "":
			if _, declared := other.Policy.Mode(engine.Mode(ref.mode)); !declared {
				r.r.as(CodeUnknownName).at(line, column, "", "service %q has no mode %q", ref.scope, clip(ref.mode))
				return nil, false
			}
		}
	}
	return c, true
}

// Has reports whether a mapping has a key.
func (n Node) Has(key string) bool {
	return slices.ContainsFunc(n.n.keys, func(k *node) bool { return k.value == key })
}

// Value is a scalar as it was read, without its quotes.
func (n Node) Value() string { return n.n.value }

// Tag is YAML's short tag of a scalar: !!str, !!bool, !!int, !!float, !!null.
func (n Node) Tag() string { return n.n.tag }

// Position is file:line:column of a value.
func (r *Reader) Position(n Node) string { return r.r.position(n.n) }
