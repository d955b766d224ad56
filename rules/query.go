package rules

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	tmpl "text/template/parse"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// query is a query as a file writes it.
type query struct {
	node     *node
	template template
	starts   []int       // of each piece in the scalar's value
	expr     parser.Expr // of all instances; its positions are those in the query filled with probes
	labelled parser.Expr // the same, of what bears the label that tells instances apart
	open     bool        // it narrows to instances, and a selector of it does not
	// canonical is the same for queries that mean the same: spaces, comments and the order of matchers do not matter.
	canonical string
}

const maxQueryBytes = 64 << 10

// probeWindow stands for the window while a query is checked. Nobody writes it in a query.
const probeWindow = 2*time.Hour + 16*time.Minute + 31*time.Second

var promQL = parser.NewParser(parser.Options{})

// query reads a PromQL expression that gives one number or a vector. names are what it may leave open: an SLO's has to leave
// the window open. It is nil when it is faulty.
func (r *reader) query(n *node, what string, names ...string) *query {
	text, ok := r.text(n, what)
	if !ok {
		return nil
	}
	if len(text) > maxQueryBytes {
		r.as(CodeBadQuery).errorf(n, "record it as a series, and query that", "%s has %d bytes, and may have at most %d", what, len(text), maxQueryBytes)
		return nil
	}
	q := &query{node: n, template: template{pieces: []string{text}}, starts: []int{0}}
	if slices.Contains(names, windowName) || len(names) > 0 && mentionsInstances.MatchString(text) {
		if ok := r.template(q, what, names); !ok {
			return nil
		}
	}
	if !r.uncomment(q, what) {
		return nil
	}
	filled := q.template.fill(q.template.probe)
	if !r.simple(q, what, filled) {
		return nil
	}
	expr, err := promQL.ParseExpr(filled)
	if err != nil {
		r.promQLErrors(q, what, err)
		return nil
	}
	switch expr.Type() {
	case parser.ValueTypeVector, parser.ValueTypeScalar:
	case parser.ValueTypeMatrix:
		r.as(CodeBadQuery).within(n, q.source(int(expr.PositionRange().Start)), "make one value of it: rate(…), increase(…), avg_over_time(…)",
			"%s gives a range vector, and a single value is needed", what)
		return nil
	default:
		r.as(CodeBadQuery).errorf(n, "", "%s gives a %s, and a number is needed", what, expr.Type())
		return nil
	}
	q.canonical = strconv.Itoa(len(q.template.pieces)) + " " + expr.String()
	q.expr, q.labelled = expr, expr
	if q.template.narrows() {
		if !r.fitInstances(q, what, expr) {
			return nil
		}
		if _, err := promQL.ParseExpr(q.template.render(probeWindow)); err != nil { // {pod=~".*"} is everything there is
			r.as(CodeBadQuery).errorf(n, "name the metric too", "%s cannot be asked of all instances: its selector has nothing but {{.instances}}", what)
			return nil
		}
		q.expr, q.labelled = q.of(allInstances), q.of(anyInstance)
	}
	return q
}

// uncomment takes the comments out of a query: it is put into others, in which the rest of the line would be one too, and a window in a
// comment is none. Blanks stand in their places, so that positions stay.
func (r *reader) uncomment(q *query, what string) bool {
	if !strings.Contains(q.node.value, "#") {
		return true
	}
	text := q.template.fill(q.template.probe)
	blank := []byte(text)
	inside := make([]bool, len(text)+1)
	found := false
	for item := range lexed(text) {
		if item.Typ == parser.COMMENT {
			for i := range len(item.Val) {
				blank[int(item.Pos)+i], inside[int(item.Pos)+i], found = ' ', true, true
			}
		}
	}
	if !found {
		return true
	}
	var places []place
	pieces, starts, at := []string{""}, q.starts[:1:1], 0
	for i, piece := range q.template.pieces {
		pieces[len(pieces)-1] += string(blank[at : at+len(piece)])
		at += len(piece)
		if i == len(q.template.places) {
			break
		}
		if inside[at] { // as wide as it is in the file
			pieces[len(pieces)-1] += strings.Repeat(" ", max(0, q.starts[i+1]-q.starts[i]-len(piece)))
		} else {
			pieces, places, starts = append(pieces, ""), append(places, q.template.places[i]), append(starts, q.starts[i+1])
		}
		at += len(q.template.probe(q.template.places[i]))
	}
	pieces[len(pieces)-1] = strings.TrimRight(pieces[len(pieces)-1], " ")
	windows := func(p place) bool { return !p.instances }
	if slices.ContainsFunc(q.template.places, windows) && !slices.ContainsFunc(places, windows) {
		r.as(CodeBadQuery).errorf(q.node, "write the range as [{{.window}}]", "%s contains {{.window}} in a comment alone", what)
		return false
	}
	q.template, q.starts = template{pieces: pieces, places: places}, starts
	return true
}

var templateError = regexp.MustCompile(`^template: query:(\d+): (.*)$`)

// template cuts the text at each {{.window}} and {{.instances}}. The text is a Go template, as Sloth has it, with no other
// variables than names; the rest of the template language (loops, conditions) is refused, so that rendering always ends.
func (r *reader) template(q *query, what string, names []string) bool {
	if t, starts, plain := cut(q.node.value, names); plain {
		q.template, q.starts = t, starts
		return r.ranged(q, what, names)
	}
	return r.parsed(q, what, names)
}

// cut cuts a text at its actions where each of them is a name alone, as nearly always; plain is false where it takes a template's parser
// to tell. The pieces, and where they begin, are the parser's.
func cut(text string, names []string) (t template, starts []int, plain bool) {
	t, starts = template{pieces: []string{""}}, []int{0}
	for at := 0; at < len(text); {
		action := strings.Index(text[at:], "{{")
		if action < 0 {
			action = len(text) - at
		}
		if action > 0 {
			t.pieces[len(t.pieces)-1], starts[len(starts)-1] = text[at:at+action], at
			at += action
			continue
		}
		i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(text[at:], "{{."+name+"}}") })
		if i < 0 {
			return template{}, nil, false
		}
		t.pieces, t.places, starts = append(t.pieces, ""), append(t.places, place{instances: names[i] == instancesName}), append(starts, at)
		at += len("{{." + names[i] + "}}")
	}
	return t, starts, true
}

// ranged refuses a query that may have a window, and has none.
func (r *reader) ranged(q *query, what string, names []string) bool {
	if slices.Contains(names, windowName) && !slices.ContainsFunc(q.template.places, func(p place) bool { return !p.instances }) {
		r.as(CodeBadQuery).errorf(q.node, "write the range as [{{.window}}]", "%s does not contain {{.window}}", what)
		return false
	}
	return true
}

// parsed is template, by a template's own parser.
func (r *reader) parsed(q *query, what string, names []string) bool {
	text := q.node.value
	usage := "write {{." + names[0] + "}}"
	all, are := "{{."+strings.Join(names, "}} and {{.")+"}}", "is"
	if len(names) > 1 {
		are = "are"
	}
	tree := tmpl.New("query")
	tree.Mode = tmpl.SkipFuncCheck
	if _, err := tree.Parse(text, "{{", "}}", map[string]*tmpl.Tree{}); err != nil {
		message, off := err.Error(), max(0, strings.Index(text, "{{"))
		if m := templateError.FindStringSubmatch(message); m != nil {
			message = m[2]
			if line, err := strconv.Atoi(m[1]); err == nil && line > 1 {
				off = lineOffset(text, line)
				off += max(0, strings.Index(text[off:], "{{"))
			}
		}
		r.as(CodeBadQuery).within(q.node, off, usage, "%s is not a template: %s", what, message)
		return false
	}
	t := template{pieces: []string{""}}
	q.starts = []int{0}
	if tree.Root == nil {
		return true
	}
	fresh := true // the last piece has no text yet
	for _, n := range tree.Root.Nodes {
		at := int(n.Position())
		if n.Type() != tmpl.NodeText {
			at = max(0, strings.LastIndex(text[:min(at, len(text))], "{{")) // where the action begins
		}
		switch n := n.(type) {
		case *tmpl.TextNode:
			if fresh {
				q.starts[len(q.starts)-1] = at
			}
			t.pieces[len(t.pieces)-1] += string(n.Text)
			fresh = false
			continue
		case *tmpl.CommentNode:
			continue
		case *tmpl.ActionNode:
			if name := variable(n.Pipe); slices.Contains(names, name) {
				t.pieces, t.places = append(t.pieces, ""), append(t.places, place{instances: name == instancesName})
				q.starts, fresh = append(q.starts, at), true
				continue
			} else if name == windowName {
				r.as(CodeBadQuery).within(q.node, at, "write the range, such as [5m]", "%s has no {{.window}}", what)
				return false
			} else if name != "" {
				hint := usage
				if near, ok := nearest(name, names); ok {
					hint = "write {{." + near + "}}"
				}
				r.as(CodeBadQuery).within(q.node, at, hint, "%s has {{.%s}}, and %s %s all there is", what, clip(name), all, are)
				return false
			}
		}
		r.as(CodeBadQuery).within(q.node, at, usage, "%s has a template action other than %s: %s", what, all, clip(n.String()))
		return false
	}
	q.template = t
	return r.ranged(q, what, names)
}

// variable is x for the pipeline .x, else empty.
func variable(p *tmpl.PipeNode) string {
	if p == nil || len(p.Decl) > 0 || len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return ""
	}
	switch f := p.Cmds[0].Args[0].(type) {
	case *tmpl.FieldNode:
		return strings.Join(f.Ident, ".")
	case *tmpl.VariableNode:
		if len(f.Ident) > 1 && f.Ident[0] == "$" {
			return strings.Join(f.Ident[1:], ".")
		}
	}
	return ""
}

// source is the byte of the scalar's value that a byte of the query filled with probes comes from.
func (q *query) source(rendered int) int {
	for i, piece := range q.template.pieces {
		if rendered < len(piece) || i == len(q.template.places) {
			return min(q.starts[i]+max(0, rendered), len(q.node.value))
		}
		rendered -= len(piece)
		width := len(q.template.probe(q.template.places[i]))
		if rendered < width {
			return q.starts[i] + len(piece)
		}
		rendered -= width
	}
	return 0
}

// promQLErrors shows each error of the PromQL parser at its place.
func (r *reader) promQLErrors(q *query, what string, err error) {
	var list parser.ParseErrors
	if !errors.As(err, &list) {
		r.as(CodeBadQuery).errorf(q.node, "", "%s is not PromQL: %v", what, err)
		return
	}
	if i := slices.IndexFunc(list, func(e parser.ParseErr) bool { return strings.Contains(e.Err.Error(), "unclosed left parenthesis") }); i >= 0 {
		list = list[i : i+1] // the others follow from it
	}
	const most = 3 // what comes later follows from the first
	for i := range list[:min(most, len(list))] {
		hint := ""
		message := list[i].Err.Error()
		switch {
		case strings.Contains(message, "expected type range vector"):
			hint = "add a range such as [5m] to the selector"
		case strings.Contains(message, "got range vector"):
			hint = "make one value of it: rate(…), increase(…), avg_over_time(…)"
		case strings.Contains(message, "unclosed left parenthesis"):
			hint = "close it with )"
		case strings.Contains(message, "end of input inside braces"):
			hint = "close them with }"
		case strings.ContainsAny(message, "“”„‘’"):
			hint = `write straight quotes: "`
		case strings.Contains(message, "in subquery or range"), strings.Contains(message, "unclosed left bracket"):
			hint = "close it with ]"
		case strings.Contains(message, "in grouping opts"):
			hint = "the labels stand in parentheses: sum by (job) (…)"
		case strings.Contains(q.node.value, "$__"), strings.Contains(q.node.value, "[$"):
			hint = "variables of Grafana mean nothing here: write the range, such as [5m]"
		case strings.Contains(message, "ranges only allowed"):
			hint = "the range stands right behind the metric: rate(x[5m])"
		case strings.Contains(message, "bad number or duration"):
			hint = "durations are written 30s, 5m, 1h or 1d"
		case strings.Contains(message, "parsing regexp"):
			hint = "the value of =~ and !~ is a regular expression, in RE2's syntax"
		case strings.Contains(message, "unexpected identifier") && strings.Contains(message, "in label matching"):
			hint = `a value stands in quotes: {job="checkout"}`
		case unknownFunction.MatchString(message):
			hint = r.didYouMean(unknownFunction.FindStringSubmatch(message)[1], promQLNames())
		case strings.Contains(message, "unexpected identifier"):
			hint = "an operator or a comma is missing before it"
		case strings.Contains(q.node.value, "{{") && len(q.template.places) == 0:
			hint = "an SLI's query has no {{.window}}: write the range, such as [5m]"
		}
		message = operatorWord.ReplaceAllString(message, `"$1"`)
		r.as(CodeBadQuery).within(q.node, q.source(int(list[i].PositionRange.Start)), hint, "%s is not PromQL: %s", what, clipTo(200, message))
	}
}

var (
	unknownFunction = regexp.MustCompile(`^unknown function with name "([^"]*)"`)
	operatorWord    = regexp.MustCompile(`<op:([^>]*)>`)
)

// promQLNames are the functions and the aggregations of PromQL.
var promQLNames = sync.OnceValue(func() []string {
	names := slices.Collect(maps.Keys(parser.Functions))
	for item, word := range parser.ItemTypeStr {
		if item.IsAggregator() {
			names = append(names, word)
		}
	}
	return names
})

// lineOffset is the byte at which line n of s begins, counted from 1.
func lineOffset(s string, n int) int {
	off := 0
	for ; n > 1; n-- {
		i := strings.IndexByte(s[off:], '\n')
		if i < 0 {
			return off
		}
		off += i + 1
	}
	return off
}

// unit is what a total query counts in.
type unit int

const (
	unitOther unit = iota
	unitCount
	unitPerSecond
)

// unitOf finds out whether an expression counts events or gives events per second, from the functions it is made of. Only
// shapes that keep the unit are looked through: an average or a quotient is no count.
func unitOf(e parser.Expr) unit {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return unitOf(e.Expr)
	case *parser.StepInvariantExpr:
		return unitOf(e.Expr)
	case *parser.AggregateExpr:
		if e.Op == parser.SUM {
			return unitOf(e.Expr)
		}
	case *parser.BinaryExpr:
		left, right := unitOf(e.LHS), unitOf(e.RHS)
		switch e.Op {
		case parser.ADD, parser.SUB:
			if left == right {
				return left
			}
		case parser.LOR: // `… or vector(0)` stands for no events, in any unit
			if left == right || zero(e.RHS) {
				return left
			}
		case parser.LAND, parser.LUNLESS:
			return left
		}
	case *parser.Call:
		switch e.Func.Name {
		case "rate", "irate":
			return unitPerSecond
		case "increase", "count_over_time", "sum_over_time":
			return unitCount
		case "label_replace", "label_join", "histogram_count", "sort", "sort_desc", "scalar":
			return unitOf(e.Args[0])
		}
	}
	return unitOther
}

func zero(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return zero(e.Expr)
	case *parser.NumberLiteral:
		return e.Val == 0
	case *parser.Call:
		return e.Func.Name == "vector" && zero(e.Args[0])
	}
	return false
}
