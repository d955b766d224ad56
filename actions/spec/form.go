package spec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// maxSpec is how long a specification may be, in bytes.
const maxSpec = 256 << 10

// Form reads one specification and gathers its faults.
type Form struct {
	Problems []engine.SpecProblem
	// Targets says that some template of it asks for the targets of its step.
	Targets bool
	root    any
}

// Read decodes a specification. What is not JSON, or too long, is its only fault.
func Read(data []byte) *Form {
	f := &Form{}
	if len(data) > maxSpec {
		f.Fault(nil, fmt.Sprintf("the specification is longer than %d bytes", maxSpec), "")
		return f
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // what stands in a document to be sent is sent as it was written
	if err := dec.Decode(&f.root); err != nil {
		f.Fault(nil, "the specification is not JSON: "+err.Error(), "")
		return f
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		f.Fault(nil, "something follows the specification", "")
	}
	return f
}

// Fault notes a fault. path is copied.
func (f *Form) Fault(path []string, message, hint string) {
	f.Problems = append(f.Problems, engine.SpecProblem{Path: slices.Clone(path), Message: message, Hint: hint})
}

// FaultOf notes an error; a *TemplateError brings its own hint.
func (f *Form) FaultOf(path []string, err error) {
	var t *TemplateError
	if errors.As(err, &t) {
		f.Fault(path, t.Message, t.Hint)
		return
	}
	f.Fault(path, err.Error(), "")
}

// Canonical is the specification with sorted keys and without white space; nil when it has faults.
func (f *Form) Canonical() []byte {
	if len(f.Problems) > 0 {
		return nil
	}
	b, err := Marshal(f.root)
	if err != nil {
		panic("spec: write what was read: " + err.Error())
	}
	return b
}

// Marshal writes a value as JSON: keys sorted, <, > and & as they are.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// Object is a mapping of a specification. What is read from one that is not there is not there either, so that a fault is
// noted once.
type Object struct {
	form    *Form
	path    []string
	members map[string]any
}

// Root is the specification itself, which has these keys and no others.
func (f *Form) Root(keys ...string) Object {
	if len(f.Problems) > 0 {
		return Object{form: f}
	}
	return f.object(nil, f.root, keys)
}

func (f *Form) object(path []string, v any, keys []string) Object {
	m, ok := v.(map[string]any)
	if !ok {
		f.Fault(path, "this has to be a mapping, and is "+kind(v), "with "+strings.Join(keys, ", "))
		return Object{form: f, path: path}
	}
	o := Object{f, path, m}
	if keys != nil {
		for _, key := range o.Keys() {
			if !slices.Contains(keys, key) {
				f.Fault(o.At(key), "there is no "+key+" here", Suggest(key, keys))
			}
		}
	}
	return o
}

// At is the path of what stands in o, for faults.
func (o Object) At(keys ...string) []string { return slices.Concat(o.path, keys) }

// Keys are the keys that are there, sorted.
func (o Object) Keys() []string { return slices.Sorted(maps.Keys(o.members)) }

// Has reports whether a key is there. null is not there.
func (o Object) Has(key string) bool { return o.members[key] != nil }

// Value is what stands under a key; nil when nothing does.
func (o Object) Value(key string) any { return o.members[key] }

// Object is the mapping under a key, which has these keys and no others; nil: any.
func (o Object) Object(key string, keys ...string) Object {
	if !o.Has(key) {
		return Object{form: o.form, path: o.At(key)}
	}
	return o.form.object(o.At(key), o.members[key], keys)
}

// Text is the text under a key; empty when it is not there. An empty text is a fault.
func (o Object) Text(key string) string {
	v, ok := o.text(key)
	if ok && v == "" {
		o.form.Fault(o.At(key), key+" is empty", "leave it out, or say what it is")
	}
	return v
}

func (o Object) text(key string) (string, bool) {
	v := o.members[key]
	if v == nil {
		return "", false
	}
	s, ok := v.(string)
	if !ok {
		o.form.Fault(o.At(key), "this has to be a text, and is "+kind(v), "put it into quotes")
	}
	return s, ok
}

// Required notes a fault when a key is not there.
func (o Object) Required(key, hint string) {
	if o.members != nil && !o.Has(key) {
		o.form.Fault(o.path, key+" is missing", hint)
	}
}

// Parse is the template of a text; nil when it has a fault, which is noted.
func (f *Form) Parse(at []string, text string) *Template { return f.parse(at, text, ParseTemplate) }

func (f *Form) parse(at []string, text string, how func(string) (*Template, error)) *Template {
	t, err := how(text)
	if err != nil {
		f.FaultOf(at, err)
		return nil
	}
	f.Targets = f.Targets || t.OfTargets()
	return t
}

// Template is the template under a key; nil when it is not there or has a fault.
func (o Object) Template(key string) *Template {
	s, ok := o.text(key)
	if !ok {
		return nil
	}
	return o.form.Parse(o.At(key), s)
}

// URL is the template of a URL under a key; nil when it is not there or has a fault.
func (o Object) URL(key string) *Template {
	s, ok := o.text(key)
	if !ok {
		return nil
	}
	return o.form.parse(o.At(key), s, ParseURL)
}

// Templates are the templates of a mapping from names to texts.
func (o Object) Templates(key string) map[string]*Template {
	m := o.Object(key)
	if len(m.members) == 0 {
		return nil
	}
	out := map[string]*Template{}
	for _, name := range m.Keys() {
		if n, ok := m.members[name].(json.Number); ok { // a number is as good as its text
			m.members[name] = n.String()
		}
		if t := m.Template(name); t != nil {
			out[name] = t
		} else if m.members[name] == nil {
			o.form.Fault(m.At(name), name+" has no value", `write "" for an empty one`)
		}
	}
	return out
}

// List are the entries of a sequence; one entry alone may stand without it.
func (o Object) List(key string) []any {
	switch v := o.members[key].(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

// Bool is true or false under a key; without one it is what it is otherwise.
func (o Object) Bool(key string, otherwise bool) bool {
	v := o.members[key]
	if v == nil {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		o.form.Fault(o.At(key), "this has to be true or false, and is "+kind(v), "")
		return otherwise
	}
	return b
}

// Duration is the duration under a key, above 0 and at most max; without one it is what it is otherwise.
func (o Object) Duration(key string, otherwise, max time.Duration) time.Duration {
	s, ok := o.text(key)
	if !ok {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		o.form.Fault(o.At(key), strconv.Quote(s)+" is not a duration", "such as 30s or 2m")
		return otherwise
	}
	if d <= 0 || d > max {
		o.form.Fault(o.At(key), key+" has to be above 0 and at most "+max.String(), "")
		return otherwise
	}
	return d
}

// kind names what a value is, as people who write YAML say it.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return "a text"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return "the number " + v.String()
	case []any:
		return "a list"
	}
	return "a mapping"
}

// Suggest is the hint for a word that is not one of these: the one that was meant, or all of them.
func Suggest(word string, words []string) string {
	if len(words) == 0 {
		return ""
	}
	lower := strings.ToLower(word)
	near := func(w string) int { return distance(lower, strings.ToLower(w)) }
	best := slices.MinFunc(words, func(a, b string) int { return cmp.Compare(near(a), near(b)) })
	if near(best) <= max(1, len(word)/3) {
		return "did you mean " + best + "?"
	}
	return "one of " + strings.Join(words, ", ")
}

// distance is how many letters have to be changed, put in, left out or swapped with their neighbour to make b of a.
// Source: the optimal string alignment distance.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
