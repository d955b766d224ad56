package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	tmpl "text/template/parse"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// template is a query with the window left open: the text between the places where it goes. A template of one piece has
// no window.
type template []string

func (t template) render(window time.Duration) string {
	return strings.Join(t, model.Duration(window).String())
}

// query is a query as a file writes it.
type query struct {
	node     *node
	template template
	starts   []int // of each piece in the scalar's value
	expr     parser.Expr
}

// canonical is the same for queries that mean the same: spaces, comments and the order of matchers do not matter.
func (q *query) canonical() string {
	return fmt.Sprintf("%d %s", len(q.template), q.expr)
}

const maxQueryBytes = 64 << 10

// probeWindow stands for the window while a query is checked. Nobody writes it in a query.
const probeWindow = 2*time.Hour + 16*time.Minute + 31*time.Second

var promQL = parser.NewParser(parser.Options{})

// query reads a PromQL expression that gives one number or a vector; with window, one that leaves the window open. It is nil
// when that is faulty.
func (r *reader) query(n *node, what string, window bool) *query {
	text, ok := r.text(n, what)
	if !ok {
		return nil
	}
	if len(text) > maxQueryBytes {
		r.errorf(n, "record it as a series, and query that", "%s has %d bytes, and may have at most %d", what, len(text), maxQueryBytes)
		return nil
	}
	q := &query{node: n, template: template{text}, starts: []int{0}}
	if window {
		if ok := r.window(q, what); !ok {
			return nil
		}
	}
	expr, err := promQL.ParseExpr(q.template.render(probeWindow))
	if err != nil {
		r.promQLErrors(q, what, err)
		return nil
	}
	switch expr.Type() {
	case parser.ValueTypeVector, parser.ValueTypeScalar:
	case parser.ValueTypeMatrix:
		r.within(n, q.source(int(expr.PositionRange().Start)), "make one value of it: rate(…), increase(…), avg_over_time(…)",
			"%s gives a range vector, and a single value is needed", what)
		return nil
	default:
		r.errorf(n, "", "%s gives a %s, and a number is needed", what, expr.Type())
		return nil
	}
	q.expr = expr
	return q
}

var templateError = regexp.MustCompile(`^template: query:(\d+): (.*)$`)

// window cuts the text at each {{.window}}. The text is a Go template, as Sloth has it, with this one variable; the rest of
// the template language (loops, conditions) is refused, so that rendering always ends.
func (r *reader) window(q *query, what string) bool {
	text := q.node.value
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
		r.within(q.node, off, "write {{.window}}", "%s is not a template: %s", what, message)
		return false
	}
	q.template, q.starts = template{""}, []int{0}
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
			q.template[len(q.template)-1] += string(n.Text)
			fresh = false
			continue
		case *tmpl.CommentNode:
			continue
		case *tmpl.ActionNode:
			if name := variable(n.Pipe); name == "window" {
				q.template, q.starts, fresh = append(q.template, ""), append(q.starts, at), true
				continue
			} else if name != "" {
				r.within(q.node, at, "write {{.window}}", "%s has {{.%s}}, and {{.window}} is all there is", what, clip(name))
				return false
			}
		}
		r.within(q.node, at, "write {{.window}}", "%s has a template action other than {{.window}}: %s", what, clip(n.String()))
		return false
	}
	if len(q.template) == 1 {
		r.errorf(q.node, "write the range as [{{.window}}]", "%s does not contain {{.window}}", what)
		return false
	}
	return true
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

// source is the byte of the scalar's value that a byte of the query rendered with probeWindow comes from.
func (q *query) source(rendered int) int {
	width := len(model.Duration(probeWindow).String())
	for i, piece := range q.template {
		if rendered < len(piece) || i == len(q.template)-1 {
			return min(q.starts[i]+max(0, rendered), len(q.node.value))
		}
		rendered -= len(piece)
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
		r.errorf(q.node, "", "%s is not PromQL: %v", what, err)
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
		case strings.Contains(q.node.value, "{{"):
			if len(q.template) == 1 {
				hint = "an SLI's query has no {{.window}}: write the range, such as [5m]"
			}
		case strings.Contains(message, "unclosed left parenthesis"):
			hint = "close it with )"
		}
		r.within(q.node, q.source(int(list[i].PositionRange.Start)), hint, "%s is not PromQL: %s", what, clipTo(200, message))
	}
}

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
