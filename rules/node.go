package rules

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of a file. They are far above what people write and keep what is not written by people from costing much.
const (
	maxFileBytes   = 1 << 20
	maxNodes       = 100_000 // after aliases have been expanded
	maxExpanded    = 4 << 20 // bytes of all values, likewise
	maxDepth       = 40
	maxDiagnostics = 100 // shown of one file
)

// node is a YAML value with its place. Aliases and merge keys have been expanded.
type node struct {
	kind         yaml.Kind // scalar, mapping or sequence
	tag          string    // of a scalar, short: !!str
	value        string    // of a scalar
	line, column int
	keys         []*node // of a mapping, beside items
	items        []*node // of a mapping or sequence
}

// get finds a key's value; nil when it is not there.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i, k := range n.keys {
		if k.value == key {
			return n.items[i]
		}
	}
	return nil
}

// is names what a value is, for people.
func (n *node) is() string {
	switch n.kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.tag {
	case "!!null":
		return "empty"
	case "!!bool":
		return "the boolean " + clip(n.value)
	case "!!int", "!!float":
		return "the number " + clip(n.value)
	case "!!str", "!!timestamp":
		return "the string " + strconv.Quote(clip(n.value))
	}
	return clip(n.tag) + " " + clip(n.value)
}

func (n *node) null() bool { return n.kind == yaml.ScalarNode && n.tag == "!!null" }

// clip shortens what a message repeats of a file.
func clip(s string) string { return clipTo(60, s) }

func clipTo(most int, s string) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// parse reads a file's documents. A fault of syntax ends the file, and so does what goes beyond the limits: there is at most one, and
// then no document counts. A key that is there twice is a fault of its document alone.
func (r *reader) parse(f File) []*node {
	if len(f.Data) > maxFileBytes {
		r.whole(fmt.Sprintf("the file is larger than %d bytes, the most that a rule file may have", maxFileBytes), "is it a rule file? split it: one service a file")
		return nil
	}
	if s := string(f.Data); strings.HasPrefix(s, "\xff\xfe") || strings.HasPrefix(s, "\xfe\xff") {
		r.whole("the file is UTF-16, and rule files are UTF-8", "save it as UTF-8")
		return nil
	}
	if !utf8.Valid(f.Data) {
		at := 0
		for at < len(r.src.text) {
			c, size := utf8.DecodeRuneInString(r.src.text[at:])
			if c == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		line, column := r.src.place(at)
		r.as(CodeUnreadable).at(line, column, "save the file as UTF-8", "byte 0x%02x is not UTF-8", r.src.text[min(at, len(r.src.text)-1)])
		return nil
	}
	if i := invisibleBreak(r.src.text); i >= 0 {
		line, column := r.src.place(i)
		c, _ := utf8.DecodeRuneInString(r.src.text[i:])
		r.as(CodeUnreadable).at(line, column, fmt.Sprintf(`write it as "\u%04x" in double quotes, or remove it`, c), "%U is a line break to YAML and invisible to people", c)
		return nil
	}
	if strings.TrimSpace(r.src.text) == "" {
		r.whole("the file is empty", r.beginning())
		return nil
	}
	var docs []*node
	dec := yaml.NewDecoder(strings.NewReader(r.src.text))
	x := expander{r: r, open: map[*yaml.Node]bool{}}
	for count := 1; ; count++ {
		var y yaml.Node
		err := dec.Decode(&y)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.syntax(err)
			return nil
		}
		if count > maxDocuments {
			r.as(CodeUnreadable).at(max(1, y.Line), max(1, y.Column), "split the file", "the file holds more than %d documents", maxDocuments)
			return nil
		}
		if len(y.Content) == 0 || y.Content[0].Kind == yaml.ScalarNode && y.Content[0].Tag == "!!null" {
			continue // nothing but comments
		}
		before := r.faults
		n := x.expand(y.Content[0], 0)
		if x.refused {
			return nil
		}
		if r.faults > before {
			if r.broken == nil {
				r.broken = map[*node]bool{}
			}
			r.broken[n] = true
		}
		docs = append(docs, n)
	}
	if len(docs) == 0 {
		r.whole("the file holds nothing but comments", r.beginning())
	}
	return docs
}

// invisibleBreak is the first byte of the first line break that only YAML takes for one; -1 where there is none.
func invisibleBreak(text string) int {
	first := -1
	for _, c := range []string{"\u0085", "\u2028", "\u2029"} { // each is looked for by bytes, which IndexAny does not do
		if i := strings.Index(text, c); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// expander copies a YAML tree with its aliases and merge keys expanded. It gives up where that grows beyond bounds.
type expander struct {
	r       *reader
	count   int
	bytes   int
	open    map[*yaml.Node]bool // those with an anchor that are being expanded
	aliases bool                // there was one
	refused bool
}

func (x *expander) refuse(y *yaml.Node, hint, format string, args ...any) *node {
	if !x.refused {
		x.refused = true
		x.r.as(CodeUnreadable).at(y.Line, y.Column, hint, format, args...)
	}
	return &node{kind: yaml.ScalarNode, tag: "!!null", line: y.Line, column: y.Column}
}

func (x *expander) expand(y *yaml.Node, depth int) *node {
	if x.count++; x.count > maxNodes {
		if !x.aliases {
			return x.refuse(y, "split it: one service a file", "the file holds more than %d values", maxNodes)
		}
		return x.refuse(y, "write fewer aliases", "the file holds more than %d values once its aliases are expanded", maxNodes)
	}
	if x.bytes += len(y.Value); x.bytes > maxExpanded {
		return x.refuse(y, "write fewer aliases", "the file holds more than %d bytes once its aliases are expanded", maxExpanded)
	}
	if depth > maxDepth {
		return x.refuse(y, "no rule is nested as deep: look at the brackets or the indentation before it", "nested deeper than %d levels", maxDepth)
	}
	if x.refused {
		return &node{kind: yaml.ScalarNode, tag: "!!null", line: y.Line, column: y.Column}
	}
	if y.Kind == yaml.AliasNode {
		x.aliases = true
		if x.open[y.Alias] {
			return x.refuse(y, "an alias repeats all of its anchor, and so cannot stand inside it: write out what is meant", "*%s contains itself", clip(y.Value))
		}
		return x.expand(y.Alias, depth+1)
	}
	if y.Anchor != "" { // nothing else can be expanded again inside itself
		x.open[y] = true
		defer delete(x.open, y)
	}
	n := &node{kind: y.Kind, line: y.Line, column: y.Column}
	switch y.Kind {
	case yaml.ScalarNode:
		n.tag, n.value = y.ShortTag(), y.Value
	case yaml.SequenceNode:
		for _, c := range y.Content {
			n.items = append(n.items, x.expand(c, depth+1))
		}
	case yaml.MappingNode:
		x.mapping(n, y, depth)
	}
	return n
}

// mapping fills n. A key written here comes before one that is merged in, wherever the merge key stands.
func (x *expander) mapping(n *node, y *yaml.Node, depth int) {
	seen := map[string]*node{}
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := x.expand(y.Content[i], depth+1)
		if x.refused {
			return
		}
		if k.kind == yaml.ScalarNode && k.tag == "!!merge" {
			m := x.expand(y.Content[i+1], depth+1)
			switch m.kind {
			case yaml.MappingNode:
				merged = append(merged, m)
			case yaml.SequenceNode:
				merged = append(merged, m.items...)
			default:
				x.r.errorf(k, "write `<<: *anchor`", "<< merges mappings, and this is %s", m.is())
			}
			continue
		}
		if k.kind != yaml.ScalarNode {
			x.r.errorf(k, "write `key: value`, and quote a value that begins with { or [", "a key must be a word, and this is %s", k.is())
			continue
		}
		if first := seen[k.value]; first != nil {
			x.r.as(CodeDuplicateKey).errorf(k, "remove one of the two", "duplicate key %q: it is on line %d already", clip(k.value), first.line)
			continue
		}
		seen[k.value] = k
		n.keys, n.items = append(n.keys, k), append(n.items, x.expand(y.Content[i+1], depth+1))
	}
	for _, m := range merged {
		if m.kind != yaml.MappingNode {
			x.r.errorf(m, "write `<<: *anchor`", "<< merges mappings, and this is %s", m.is())
			continue
		}
		for i, k := range m.keys {
			if seen[k.value] == nil {
				seen[k.value] = k
				n.keys, n.items = append(n.keys, k), append(n.items, m.items[i])
			}
		}
	}
}

// quotedStart is a key whose value begins with a quote and goes on behind the next one.
var quotedStart = regexp.MustCompile(`^[ -]*[\w-]+: *"[^"]*" *[^\s#]`)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxHints say what usually is behind an error of the YAML parser.
var syntaxHints = []struct{ part, hint string }{
	{"mapping values are not allowed", "quote a value that contains ': ', and see that the keys of a mapping stand in one column"},
	{"did not find expected key", "the keys of one mapping stand in one column; a value that begins with a quote has to end with it"},
	{"could not find expected ':'", "a key is followed by ': '; a long text goes on in lines that are indented further"},
	{"did not find expected '-' indicator", "the entries of one list begin with '- ' in one column"},
	{"did not find expected ',' or ']'", "a list that begins with [ ends with ]"},
	{"did not find expected ',' or '}'", "a mapping that begins with { ends with }; quote a value that contains braces"},
	{"unexpected end of stream", "a quote or bracket that was opened has to be closed"},
	{"unknown escape character", `in double quotes a backslash begins an escape: write it twice, or use single quotes`},
	{"block sequence entries are not allowed", "a list begins on a line of its own, below its key"},
	{"mapping keys are not allowed", "quote a value that begins with ?"},
	{"tab character", "YAML is indented with spaces"},
	{"expected whitespace or line break", "a value that begins with !, & or * is put in quotes: '!alert(…)'"},
	{"unknown anchor", "an anchor (&name) comes before its alias (*name)"},
	{"found unexpected document indicator", "a quote or bracket that was opened has to be closed"},
	{"did not find expected <document start>", "each document of a file begins with a line `---`"},
}

// syntax reports an error of the YAML parser. The parser names lines only, and often the one where the surrounding mapping
// began: the first line that it cannot get past is the better place, and halving finds it, since what comes after an error
// does not change it.
func (r *reader) syntax(err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		m = []string{"", "", strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	message, line := m[2], 1
	if n, err := strconv.Atoi(m[1]); err == nil {
		line = min(max(1, n), len(r.src.starts))
	}
	if !strings.Contains(message, "end of stream") && !strings.Contains(message, "unknown anchor") {
		low, high := 1, len(r.src.starts)
		for low < high {
			mid := (low + high) / 2
			if r.failsBy(mid, message) {
				high = mid
			} else {
				low = mid + 1
			}
		}
		line = low
	}
	text := r.src.line(line)
	column := len(text) - len(strings.TrimLeft(text, " ")) + 1
	hint := ""
	for _, h := range syntaxHints {
		if strings.Contains(message, h.part) {
			hint = h.hint
			break
		}
	}
	switch {
	case strings.Contains(message, "did not find expected key") && quotedStart.MatchString(text):
		hint = "a value that begins with a quote ends with it: put all of it in single quotes, '…'"
	case conflictMark.MatchString(text):
		message, hint = "a conflict of git was left in the file", "keep one of its two sides, and remove the lines with <<<<<<<, ======= and >>>>>>>"
	case strings.Contains(message, "control characters"):
		if i := strings.IndexFunc(r.src.text, func(c rune) bool { return c < ' ' && c != '\t' && c != '\n' || c == 0x7f }); i >= 0 {
			line, column = r.src.place(i)
			hint = fmt.Sprintf("remove it: it is %U, which no editor shows", r.src.text[i])
		}
	case strings.Contains(message, "cannot start any token") && column <= len(text) && text[column-1] == '\t':
		message, hint = "a tab in the indentation", "YAML is indented with spaces"
	case strings.Contains(message, "cannot start any token"):
		if i := strings.IndexAny(text, "@`%\t"); i >= 0 {
			column = utf8.RuneCountInString(text[:i]) + 1
		}
		hint = "quote a value that begins with @, ` or %"
	case strings.Contains(message, "mapping values are not allowed"):
		if first := strings.Index(text, ": "); first >= 0 {
			if second := strings.Index(text[first+2:], ": "); second >= 0 {
				column = utf8.RuneCountInString(text[:first+2+second]) + 1
			}
		}
	case strings.Contains(message, "unknown escape character"):
		for i := 0; i+1 < len(text); i++ {
			if text[i] != '\\' {
				continue
			}
			if i++; escapes[text[i]] == "" && !strings.ContainsRune("xuU", rune(text[i])) {
				column = utf8.RuneCountInString(text[:i]) // of the backslash
				break
			}
		}
	case strings.Contains(message, "unknown anchor"):
		// The parser does not say where the alias is; its name is in the message.
		if parts := strings.Split(message, "'"); len(parts) > 1 {
			if i := strings.Index(r.src.text, "*"+parts[1]); i >= 0 {
				line, column = r.src.place(i)
			}
		}
	}
	r.as(CodeNotYAML).at(line, column, hint, "not YAML: %s", clip(message))
}

// conflictMark is what git leaves in a file that two people changed.
var conflictMark = regexp.MustCompile(`^(<{7}|={7}|>{7})( |$)`)

// failsBy reports whether the first n lines alone fail with the same message.
func (r *reader) failsBy(n int, message string) bool {
	text := r.src.text
	if n < len(r.src.starts) {
		text = text[:r.src.starts[n]]
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var y yaml.Node
		err := dec.Decode(&y)
		if err == nil {
			continue
		}
		m := yamlLine.FindStringSubmatch(err.Error())
		return m != nil && m[2] == message
	}
}

// keyNode finds the key itself.
func (n *node) keyNode(key string) *node {
	for _, k := range n.keys {
		if k.value == key {
			return k
		}
	}
	return nil
}

// without is the mapping less some keys.
func (n *node) without(keys ...string) *node {
	c := *n
	c.keys, c.items = nil, nil
	for i, k := range n.keys {
		if !slices.Contains(keys, k.value) {
			c.keys, c.items = append(c.keys, k), append(c.items, n.items[i])
		}
	}
	if n.kind != yaml.MappingNode {
		c.items = n.items
	}
	return &c
}

// bare is n without what it holds; nil when there is no n.
func (n *node) bare() *node {
	if n == nil {
		return nil
	}
	return &node{kind: n.kind, line: n.line, column: n.column}
}

// or is n, or another node where there is none.
func (n *node) or(other *node) *node {
	if n == nil {
		return other
	}
	return n
}
