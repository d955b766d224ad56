package rules

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// Foreign is a YAML file of another tool. It is read as carefully as a rule file: within the same bounds, and with each fault at
// its place, so that whoever moves from that tool is told as much as whoever stays here.
type Foreign struct {
	r    *reader
	docs []Node
}

// Node is a value in such a file. Its zero is one that is not there.
type Node struct {
	r *reader
	n *node
}

// ReadForeign reads a file. begins says how files of its tool begin, for whoever gives an empty one. What is wrong is in
// Diagnostics.
func ReadForeign(f File, begins string) *Foreign {
	r := &reader{src: newSource(f.Name, string(f.Data)), begins: begins}
	out := &Foreign{r: r}
	for _, n := range r.parse(f) {
		out.docs = append(out.docs, Node{r, n})
	}
	return out
}

// Documents are those of the file; none when it cannot be read.
func (f *Foreign) Documents() []Node { return f.docs }

// Diagnostics are what was found wrong so far, by place. Like those of Load they may hold warnings alone.
func (f *Foreign) Diagnostics() Diagnostics { return f.r.diags.sorted() }

// Exists reports whether the value is there and not null.
func (v Node) Exists() bool { return v.n != nil && !v.n.null() }

// IsMapping and IsList report what kind of value it is; a scalar is neither.
func (v Node) IsMapping() bool { return v.n != nil && v.n.kind == yaml.MappingNode }

// IsList is explained above.
func (v Node) IsList() bool { return v.n != nil && v.n.kind == yaml.SequenceNode }

// IsText reports whether it is a scalar that YAML takes for a string.
func (v Node) IsText() bool { return v.n != nil && v.n.kind == yaml.ScalarNode && v.n.tag == "!!str" }

// Get finds the value of a mapping's key.
func (v Node) Get(key string) Node { return Node{v.r, v.n.get(key)} }

// Key finds the key itself, for its place.
func (v Node) Key(key string) Node {
	if v.n == nil {
		return Node{}
	}
	return Node{v.r, v.n.keyNode(key)}
}

// Keys are those of a mapping, in the order of the file.
func (v Node) Keys() []Node {
	var out []Node
	if v.n != nil {
		for _, k := range v.n.keys {
			out = append(out, Node{v.r, k})
		}
	}
	return out
}

// Items are the entries of a list, and the values of a mapping in the order of Keys.
func (v Node) Items() []Node {
	var out []Node
	if v.n != nil {
		for _, item := range v.n.items {
			out = append(out, Node{v.r, item})
		}
	}
	return out
}

// Raw is what a scalar holds, whatever it is.
func (v Node) Raw() string {
	if v.n == nil {
		return ""
	}
	return v.n.value
}

// Is names what the value is, for people.
func (v Node) Is() string {
	if v.n == nil {
		return "not there"
	}
	return v.n.is()
}

// Place is where it is written, as a diagnostic says it, without a message.
func (v Node) Place() Diagnostic {
	if v.n == nil {
		return Diagnostic{}
	}
	return v.r.src.diagnostic(LevelError, v.n.line, v.n.column, "", "")
}

// Errorf says what is wrong with the value, and in hint what would be right.
func (v Node) Errorf(hint, format string, args ...any) { v.r.errorf(v.n, hint, format, args...) }

// Mapping reports whether the value is a mapping, and says so if it is none. It returns the keys that are not known.
func (v Node) Mapping(what string, known ...string) (unknown []Node, ok bool) {
	if v.n.kind != yaml.MappingNode {
		v.Errorf("", "%s must be a mapping, not %s", what, v.n.is())
		return nil, false
	}
	for _, k := range v.Keys() {
		if !slices.Contains(known, k.Raw()) {
			unknown = append(unknown, k)
		}
	}
	return unknown, true
}

// Nearest is a hint with the known word that is nearest to what a key or scalar says; empty when none is near.
func (v Node) Nearest(known ...string) string { return v.r.didYouMean(v.Raw(), known) }

// Need finds a key that has to be there, and says so if it is not.
func (v Node) Need(key, what, hint string) (Node, bool) {
	found := v.Get(key)
	if !found.Exists() {
		at := v
		if found.n != nil {
			at = found
		}
		at.Errorf(hint, "%s needs %q", what, key)
		return Node{}, false
	}
	return found, true
}

// List returns the entries of a list, and says so if it is none.
func (v Node) List(what string) []Node {
	if v.n.kind != yaml.SequenceNode {
		v.Errorf("begin each entry with '- '", "%s must be a list, not %s", what, v.n.is())
		return nil
	}
	return v.Items()
}

// Text reads a string that may not be empty.
func (v Node) Text(what string) (string, bool) { return v.r.text(v.n, what) }

// Name reads an identifier as rule files have them.
func (v Node) Name(what string) (string, bool) { return v.r.name(v.n, what) }

// Bool reads true or false.
func (v Node) Bool(what string) (value, ok bool) { return v.r.boolean(v.n, what) }

// Duration reads a Prometheus duration longer than zero.
func (v Node) Duration(what string) (time.Duration, bool) { return v.r.duration(v.n, what) }

// Labels reads names with string values.
func (v Node) Labels(what string) map[string]string { return v.r.labels(v.n, what) }

// Decimal reads a number exactly as it is written. Some tools write it in quotes.
func (v Node) Decimal(what string) (*big.Rat, bool) {
	n := *v.n
	if n.kind == yaml.ScalarNode && n.tag == "!!str" && decimalShape.MatchString(strings.TrimSpace(n.value)) {
		n.tag, n.value = "!!float", strings.TrimSpace(n.value)
	}
	return v.r.decimal(&n, what, "99.9")
}

// Query reads PromQL that leaves the window open as {{.window}}, or, if windowed is false, PromQL as it stands. The text is
// without the space around it; in the expression some window stands for the one left open. Faults are at their places within
// the YAML string.
func (v Node) Query(what string, windowed bool) (text string, expr parser.Expr, ok bool) {
	var names []string
	if windowed {
		names = []string{windowName}
	}
	q := v.r.query(v.n, what, names...)
	if q == nil {
		return "", nil, false
	}
	return strings.TrimSpace(v.n.value), q.expr, true
}
