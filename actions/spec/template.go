package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/modeshift/modeshift/engine"
)

// maxFilled is how much a template may give, in bytes.
const maxFilled = 64 << 10

// errTooLong is what a template says that gives more.
var errTooLong = fmt.Errorf("the template gives more than %d bytes", maxFilled)

// Values are the facts by the names that templates know them by.
type Values map[string]any

// Targets are what a step acts on, as a fact: in a text they are a list in JSON, whatever their names hold.
type Targets []string

func (t Targets) String() string {
	b, err := Marshal(append([]string{}, t...))
	if err != nil {
		panic("spec: write a list of texts: " + err.Error()) // it cannot be
	}
	return string(b)
}

// targets is the name of that fact.
const targets = "targets"

// Targets are the targets among the facts; never nil.
func (v Values) Targets() Targets {
	t, _ := v[targets].(Targets)
	return append(Targets{}, t...)
}

// ValuesOf are the facts of a job.
func ValuesOf(job engine.StepJob) Values {
	f := job.Facts
	return Values{
		"scope": string(f.Scope), "change": string(f.Change), "transition": f.Transition, "from": string(f.From), "to": string(f.To),
		"reason": f.Reason, "key": job.Key, "attempt": job.Attempt, targets: Targets(job.Targets),
	}
}

// The facts that a template is tried with when a file is loaded: a full set, and one with all that may be missing.
var samples = []Values{
	ValuesOf(engine.StepJob{Key: "checkout-17/repoint", Attempt: 1, Targets: []string{"10.0.0.7:9090"}, Facts: engine.Facts{
		Scope: "checkout", Change: "checkout-17", Transition: "fail-over", From: "degraded", To: "failover", Reason: "burning"}}),
	ValuesOf(engine.StepJob{Key: "checkout-17/repoint", Attempt: 1, Facts: engine.Facts{
		Scope: "checkout", Change: "checkout-17", From: "degraded", To: "failover"}}),
}

// names are what a template may say after a dot.
var names = slices.Sorted(maps.Keys(samples[0]))

// functions are those a template may call. Nothing here reads a file or the environment, or takes longer than its text is
// long; "call" is missing, since what it would call is not ours.
var functions = map[string]bool{
	"and": true, "or": true, "not": true, "eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
	"len": true, "print": true, "printf": true, "println": true,
	"json": true, "urlquery": true, "html": true,
}

// escapers are added by contexts; a template cannot name them.
var escapers = template.FuncMap{
	"json":   encode,
	"_path":  func(v any) string { return url.PathEscape(fmt.Sprint(v)) },
	"_query": func(v any) string { return url.QueryEscape(fmt.Sprint(v)) },
}

// encode writes v as JSON, for texts that are JSON in part.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// Template is a text with places for facts.
type Template struct {
	text   string
	prefix string          // of the result, whatever the facts are
	fixed  bool            // the result is the text
	names  map[string]bool // of the facts it asks for
	alone  string          // the fact that is all of it; empty: there is more
	tmpl   *template.Template
}

// TemplateError is a fault of a template, with what would be right.
type TemplateError struct{ Message, Hint string }

func (e *TemplateError) Error() string { return e.Message }

// ParseTemplate reads a template whose facts arrive as they are: for places where nothing is special, such as one argument
// of a program or a text that is encoded as a whole. Its error is a *TemplateError.
func ParseTemplate(text string) (*Template, error) { return parseTemplate(text, false) }

// ParseURL reads the template of an http or https URL. Facts are escaped for the path or the query that they stand in, and
// can stand nowhere else: scheme, host and port are fixed. Its error is a *TemplateError.
func ParseURL(text string) (*Template, error) { return parseTemplate(text, true) }

func parseTemplate(text string, isURL bool) (*Template, error) {
	t := &Template{text: text, names: map[string]bool{}}
	tmpl, err := template.New("").Option("missingkey=error").Funcs(escapers).Parse(text)
	if err != nil {
		return nil, fault(err)
	}
	if n := len(tmpl.Templates()); n > 1 || n == 1 && tmpl.Tree == nil {
		return nil, &TemplateError{"a template cannot define others", "write the text where it is used"}
	}
	t.tmpl, t.fixed = tmpl, true
	if tmpl.Tree != nil {
		if err := t.check(tmpl.Root, isURL); err != nil {
			return nil, err
		}
		for i, n := range tmpl.Root.Nodes {
			if n.Type() != parse.NodeText {
				t.fixed = false
			} else if i == 0 {
				t.prefix = n.String()
			}
		}
		if len(tmpl.Root.Nodes) == 1 {
			t.alone = factAlone(tmpl.Root.Nodes[0])
		}
	}
	if isURL {
		if err := t.inURL(); err != nil {
			return nil, err
		}
	}
	for _, values := range samples {
		got, err := t.Fill(values)
		if err != nil {
			return nil, fault(err)
		}
		if isURL {
			if err := checkURL(got); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// Prefix is what the result begins with whatever the facts are.
func (t *Template) Prefix() string { return t.prefix }

// Fixed reports whether the result is the same whatever the facts are.
func (t *Template) Fixed() bool { return t.fixed }

// OfTargets reports whether the template asks for the targets of its step.
func (t *Template) OfTargets() bool { return t.names[targets] }

// TargetsAlone reports whether the template is the targets and nothing else. Then its place may take them one by one.
func (t *Template) TargetsAlone() bool { return t.alone == targets }

// factAlone is the fact that a node prints as it is; empty when it prints anything else.
func factAlone(node parse.Node) string {
	a, ok := node.(*parse.ActionNode)
	if !ok || len(a.Pipe.Decl) > 0 || len(a.Pipe.Cmds) != 1 || len(a.Pipe.Cmds[0].Args) != 1 {
		return ""
	}
	if f, ok := a.Pipe.Cmds[0].Args[0].(*parse.FieldNode); ok && len(f.Ident) == 1 {
		return f.Ident[0]
	}
	return ""
}

// Fill puts the facts in.
func (t *Template) Fill(values Values) (string, error) {
	var out limited
	if err := t.tmpl.Execute(&out, map[string]any(values)); err != nil {
		if errors.Is(err, errTooLong) {
			return "", errTooLong
		}
		return "", err
	}
	return out.b.String(), nil
}

// limited is a text that does not grow beyond maxFilled.
type limited struct{ b strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > maxFilled {
		return 0, errTooLong
	}
	return l.b.Write(p)
}

// check refuses what a template is not for.
func (t *Template) check(node parse.Node, isURL bool) error {
	each := func(nodes ...parse.Node) error {
		for _, n := range nodes {
			if err := t.check(n, isURL); err != nil {
				return err
			}
		}
		return nil
	}
	branch := func(b *parse.BranchNode) error {
		if isURL {
			return &TemplateError{"a URL can hold facts, and no if or with", "write two steps, or leave the choice to the target"}
		}
		if b.ElseList == nil {
			return each(b.Pipe, b.List)
		}
		return each(b.Pipe, b.List, b.ElseList)
	}
	switch n := node.(type) {
	case *parse.ListNode:
		return each(n.Nodes...)
	case *parse.ActionNode:
		return each(n.Pipe)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			if err := each(c.Args...); err != nil {
				return err
			}
		}
	case *parse.ChainNode:
		return each(n.Node)
	case *parse.FieldNode:
		return t.checkName(n.Ident[0])
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return t.checkName(n.Ident[1])
		}
	case *parse.IdentifierNode:
		if !functions[n.Ident] {
			return &TemplateError{fmt.Sprintf("a template here has no function %s", n.Ident), Suggest(n.Ident, slices.Sorted(maps.Keys(functions)))}
		}
		switch n.Ident {
		case "json", "urlquery", "html":
			if isURL {
				return &TemplateError{n.Ident + " is not needed: facts in a URL are escaped for their place", "leave it out"}
			}
		}
	case *parse.TextNode, *parse.CommentNode, *parse.DotNode, *parse.NilNode, *parse.BoolNode, *parse.NumberNode, *parse.StringNode:
	default: // range, template, break, continue, and what later versions of Go may bring
		word, _, _ := strings.Cut(strings.Trim(node.String(), "{} "), " ")
		return &TemplateError{fmt.Sprintf("a template here cannot say %s", word), "it can print facts, and choose with if and with"}
	}
	return nil
}

func (t *Template) checkName(name string) error {
	t.names[name] = true
	if slices.Contains(names, name) {
		return nil
	}
	return &TemplateError{fmt.Sprintf("there is no fact %s", name), Suggest(name, names)}
}

// inURL makes sure that facts stand behind the host, and escapes them for where they stand.
func (t *Template) inURL() error {
	const hint = "such as https://dns.internal/repoint/{{.scope}}?to={{.to}}"
	_, rest, ok := strings.Cut(t.prefix, "://")
	if !ok || t.prefix[0] != 'h' { // checkURL judges the scheme
		return &TemplateError{"this is not an http or https URL", hint}
	}
	if !t.fixed && !strings.ContainsAny(rest, "/?") {
		return &TemplateError{"scheme, host and port of a URL are fixed: a fact cannot choose who is called", hint}
	}
	escape := "_path"
	for _, node := range t.tmpl.Root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			if strings.Contains(n.String(), "?") {
				escape = "_query"
			}
		case *parse.ActionNode:
			if len(n.Pipe.Decl) > 0 {
				return &TemplateError{"a URL can hold facts, and no variables", hint}
			}
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos,
				Args: []parse.Node{parse.NewIdentifier(escape).SetTree(nil).SetPos(n.Pos)}})
		}
	}
	return nil
}

// checkURL judges a URL when its facts are in.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil: // its message repeats the URL
		return &TemplateError{"this is not a URL", "such as https://dns.internal/repoint"}
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return &TemplateError{"this is not an http or https URL with a host", "such as https://dns.internal/repoint"}
	case u.User != nil:
		return &TemplateError{"a URL here holds no user or password: everybody who may read the rules reads it", "use bearer_file"}
	case strings.Contains(text, "#"):
		return &TemplateError{"what follows # in a URL is never sent", "leave it out"}
	}
	return CheckPath(u)
}

// CheckPath refuses a path with . or .. for a segment: servers and proxies take such a segment, escaped or not, for a step to
// another place.
func CheckPath(u *url.URL) error {
	for segment := range strings.SplitSeq(u.Path, "/") { // unescaped: %2e%2e too, and a/.. inside of one value
		if segment == "." || segment == ".." {
			return &TemplateError{"the path of the URL has " + segment + " for a segment", "name the place itself"}
		}
	}
	return nil
}

// fault makes a TemplateError of what text/template says, without the name of the template.
func fault(err error) *TemplateError {
	text := err.Error()
	text = strings.TrimPrefix(text, "template: :")
	text = strings.TrimPrefix(text, "template: ")
	if i := strings.Index(text, ">: "); i >= 0 {
		text = text[i+3:]
	}
	return &TemplateError{Message: "this template cannot be used: " + text, Hint: "such as {{.scope}}"}
}
