package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// compiler turns the text of one condition into a Condition.
type compiler struct {
	d    *draft
	node *node
	text string
	c    *Condition
	// narrows: what can be is measured on the instances of a roll-out's waves alone.
	narrows bool
	ast     *ast.AST
	// calls are the calls of our functions by expression id.
	calls map[int64]*call
	// said are the places of faults already, so that the type checker does not say the same again.
	said map[int]bool
}

// call is a call of one of our functions, checked.
type call struct {
	function string
	input    input
	burn     *burnExpr
}

// compile reads the condition under a key. What it says is wrong is noted at its place inside the YAML string. narrows: it
// verifies the waves of a roll-out.
func (d *draft) compile(n *node, key, name string, narrows bool) (*Condition, bool) {
	text, ok := d.r.text(n, key)
	if !ok {
		return nil, false
	}
	if len(text) > maxConditionBytes {
		d.r.as(CodeBadCondition).errorf(n, "split it into several transitions, or record part of it as a series", "the condition has %d bytes, and may have at most %d", len(text), maxConditionBytes)
		return nil, false
	}
	if d.r.texts += len(text); d.r.texts > maxConditionsBytes {
		d.r.as(CodeBadCondition).errorf(n, "split the file: one service each", "the conditions of this file have more than %d bytes together", maxConditionsBytes)
		return nil, false
	}
	k := compiler{d: d, node: n, text: text, narrows: narrows, calls: map[int64]*call{}, said: map[int]bool{},
		c: &Condition{Name: name, Text: strings.TrimSpace(text), Position: d.r.position(n)}}
	before := d.r.faults
	known := d.texts.of(text)
	env := environment()
	var parsed *cel.Ast
	if known != nil {
		k.ast = ast.Copy(known.ast)
	} else {
		var issues *cel.Issues
		// Not by Err: it writes out all errors with all of the text, hundreds of megabytes for a page of semicolons.
		if parsed, issues = env.Parse(text); len(issues.Errors()) > 0 {
			k.syntax(issues)
			return nil, false
		}
		k.ast = parsed.NativeRep()
	}
	if !k.simple() {
		return nil, false
	}
	whole := true // whether all that is named is whole itself
	ast.PreOrderVisit(k.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.CallKind && !e.AsCall().IsMemberFunction() {
			whole = k.call(e) && whole
			k.comparison(e)
		}
	}))
	if known == nil {
		checked, issues := env.Check(parsed)
		if len(issues.Errors()) > 0 {
			for _, e := range issues.Errors() {
				k.problem(e)
			}
		}
		if d.r.faults > before || !whole {
			return nil, false
		}
		if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
			d.r.as(CodeBadCondition).within(n, 0, "compare it with something: "+clip(k.c.Text)+" > …", "a condition must be true or false, and this is a %s", t)
			return nil, false
		}
		k.ast = checked.NativeRep()
		canonical, _ := cel.AstToString(checked) // cannot fail: the text was parsed
		known = d.texts.add(text, k.ast, canonical)
	} else if d.r.faults > before || !whole {
		return nil, false
	}
	k.c.canonical = known.canonical
	if d.opts.Findings { // before build changes the expression
		k.c.sketch = k.sketch(k.ast.Expr())
	}
	k.c.shape = shapeOf(k.ast.Expr(), k.c.canonical)
	root, err := k.build(k.ast.Expr())
	if err != nil {
		d.r.as(CodeBadCondition).errorf(n, "", "the condition cannot be evaluated: %v", err)
		return nil, false
	}
	k.c.root = root
	if len(k.c.signals) == 0 {
		d.r.as(CodeConstantCondition).warnf(n, "ask for a signal: burning(…), sli(…), schedule(…)", "the condition depends on nothing: it never changes")
	}
	return k.c, true
}

// texts are conditions that have been parsed and found to be of the right types, for the files of a load: what one service shifts by,
// many do, but for what its names stand for. A nil one knows none.
type texts struct {
	mu sync.Mutex
	by map[string]*checkedText // guarded by mu
}

// checkedText is the tree of a condition, which nobody changes, and its canonical form.
type checkedText struct {
	ast       *ast.AST
	canonical string
}

// mostTexts bounds how many are kept: they are some kilobytes each.
const mostTexts = 1000

// of is what is known of a text; nil when that is nothing.
func (t *texts) of(text string) *checkedText {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[text]
}

// add notes a tree, of which it takes a copy.
func (t *texts) add(text string, tree *ast.AST, canonical string) *checkedText {
	c := &checkedText{canonical: canonical}
	if t == nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.by) < mostTexts {
		c.ast = ast.Copy(tree)
		t.by[text] = c
	}
	return c
}

// offset is the byte of the text at a CEL location.
func (k *compiler) offset(l common.Location) int {
	off := lineOffset(k.text, l.Line())
	for range l.Column() {
		if off >= len(k.text) {
			break
		}
		_, size := utf8.DecodeRuneInString(k.text[off:])
		off += size
	}
	return off
}

// place is the byte at which an expression begins. CEL puts a call at its parenthesis; the name is the better place.
func (k *compiler) place(e ast.Expr) int {
	off := k.offset(k.ast.SourceInfo().GetStartLocation(e.ID()))
	if e.Kind() == ast.CallKind {
		off = k.nameBefore(off, e.AsCall().FunctionName())
	}
	return off
}

func (k *compiler) nameBefore(off int, name string) int {
	if off < len(k.text) && k.text[off] == '(' && strings.HasSuffix(k.text[:off], name) {
		return off - len(name)
	}
	return off
}

var (
	undeclared   = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	expecting    = regexp.MustCompile(` expecting \{.*\}$`)
	expectedType = regexp.MustCompile(`^expected type '([^']*)' but found '([^']*)'$`)
	decimalComma = regexp.MustCompile(`^,[0-9]`)
	// unitAfter is the unit of a duration without quotes, which a number stands before.
	unitAfter = regexp.MustCompile(`^(ms|s|m|h|d|w|y)\b`)
	// rangeSelector is PromQL: [5m].
	rangeSelector = regexp.MustCompile(`\[[0-9]+[smhdwy]`)
	wordAndOr     = regexp.MustCompile(`(?i)\b(and|or|not)\b`)
	operatorSym   = regexp.MustCompile(`^_?([^_a-z]+)_$`)
)

// syntax shows the first syntax error; what comes after it follows from it.
func (k *compiler) syntax(issues *cel.Issues) {
	first := issues.Errors()[0]
	message := expecting.ReplaceAllString(strings.TrimPrefix(first.Message, "Syntax error: "), "")
	message = strings.NewReplacer("mismatched input '<EOF>'", "it ends too early", "'<EOF>'", "the end", "<EOF>", "the end").Replace(message)
	off := k.offset(first.Location)
	hint := ""
	before, rest := k.text[:min(off, len(k.text))], k.text[min(off, len(k.text)):]
	switch {
	case strings.HasPrefix(rest, "="):
		hint = "compare with =="
	case strings.HasSuffix(strings.TrimRight(before, " "), "%"):
		hint = "write a percentage as a share: 0.05 for 5 %"
	case decimalComma.MatchString(rest):
		hint = "write a decimal point: 14.4"
	case strings.HasPrefix(rest, "“") || strings.HasPrefix(rest, "”") || strings.HasPrefix(rest, "„") || strings.HasPrefix(rest, "‘") || strings.HasPrefix(rest, "’"):
		hint = `write straight quotes: "`
	case rangeSelector.MatchString(k.text):
		hint = "a condition asks for signals and holds no PromQL: declare the query under `slis:`, and write sli(NAME)"
	case unitAfter.MatchString(rest) && strings.TrimRight(before, "0123456789") != before:
		hint = `a duration is put in quotes: "5m", or duration("10m") where it is compared with dwell()`
	case strings.HasPrefix(rest, ")"):
		hint = "remove it, or open one before it"
	case strings.Contains(message, "at the end") || strings.Contains(message, "ends too early"):
		hint = "something is missing at the end: a closing parenthesis or an operand"
	case strings.HasPrefix(rest, "&") || strings.HasPrefix(rest, "|"):
		hint = "write && and ||"
	case wordAndOr.MatchString(k.text):
		hint = "write && for and, || for or, ! for not"
	case first.Location.Line() < 1:
		off = 0
	}
	k.d.r.as(CodeBadCondition).within(k.node, off, hint, "the condition is not CEL: %s", clipTo(200, message))
}

// problem shows an error of CEL's type checker, in the words of the rule language where it has some.
func (k *compiler) problem(e *cel.Error) {
	off, message, hint := k.offset(e.Location), e.Message, ""
	if m := undeclared.FindStringSubmatch(message); m != nil {
		name := strings.TrimPrefix(m[1], ".")
		off = k.nameBefore(off, name)
		if k.said[off] {
			return
		}
		called := strings.HasPrefix(strings.TrimSpace(k.text[min(off+len(name), len(k.text)):]), "(")
		var names []string
		for _, f := range functions {
			names = append(names, f.name)
		}
		switch {
		case called:
			message, hint = fmt.Sprintf("there is no function %s()", clip(name)), k.d.r.choose(name, names, "")
		case functionNamed(name) != nil:
			message, hint = fmt.Sprintf("%s is a function", name), "write "+functionNamed(name).usage
		default:
			message, hint = fmt.Sprintf("there is no value called %s", clip(name)), "put a name in quotes; a signal is asked for by a function, such as "+functions[0].usage
		}
	} else if m := noOverload.FindStringSubmatch(message); m != nil {
		if f := functionNamed(m[1]); f != nil {
			off = k.nameBefore(off, f.name)
			message, hint = fmt.Sprintf("%s cannot be called with %s", f.name, clip(m[2])), "write "+f.usage
		} else {
			name := m[1]
			if s := operatorSym.FindStringSubmatch(name); s != nil {
				name = s[1]
			}
			message = fmt.Sprintf("%s does not go with %s", name, clip(m[2]))
			switch {
			case name == "!":
				hint = "! turns what stands right after it: put a comparison in parentheses, !(… > 1.0)"
			case strings.Contains(m[2], "double") && strings.Contains(m[2], "string"):
				hint = "a number has no quotes: 5.0"
			case strings.Contains(m[2], "double") && strings.Contains(m[2], "int"):
				hint = "write numbers with a decimal point: 2.0"
			case strings.Contains(m[2], "duration"):
				hint = `a duration is compared with a duration: dwell() > duration("10m")`
			}
		}
	} else if m := expectedType.FindStringSubmatch(message); m != nil {
		message = fmt.Sprintf("this is %s, and %s is needed here", article(m[2]), article(m[1]))
		switch {
		case m[1] == "bool":
			hint = "compare it with something: … > 1.0"
		case m[1]+m[2] == "intdouble" || m[1]+m[2] == "doubleint":
			hint = "write numbers with a decimal point: 2.0"
		}
	} else if message == "invalid matches argument" {
		message, hint = "matches() is given what is no regular expression", "the syntax is RE2's: no more than 1000 repetitions, nothing that looks ahead or back"
	} else if strings.Contains(message, "duration") {
		hint = `CEL's durations have h, m and s: duration("24h"), duration("1h30m")`
	}
	k.d.r.as(CodeBadCondition).within(k.node, off, hint, "%s", clipTo(200, message))
}

// call checks a call of one of our functions and notes what it stands for. It is false when what it names is broken itself,
// which has been said where that is.
func (k *compiler) call(e ast.Expr) bool {
	name, dotted := strings.CutPrefix(e.AsCall().FunctionName(), ".")
	if dotted && name != "dyn" { // CEL looks such a name up from its root, and finds the same function
		k.d.r.as(CodeBadCondition).within(k.node, k.nameBefore(k.place(e), name), "write "+clip(name)+"(…)", "the name of a function begins with a dot")
		return false
	}
	if name == "dyn" {
		// It would turn type checking off, and with it the arithmetic that notices infinity.
		k.d.r.as(CodeBadCondition).within(k.node, k.place(e), "remove it: everything in a condition has a type", "dyn() is not available in conditions")
		return false
	}
	f := functionNamed(name)
	if f == nil || len(e.AsCall().Args()) != len(f.params) {
		return true // CEL's type checker will say so
	}
	args, offs := make([]string, len(f.params)), make([]int, len(f.params))
	for i, a := range e.AsCall().Args() {
		offs[i] = k.place(a)
		if a.Kind() != ast.LiteralKind {
			k.said[offs[i]] = true
			k.d.r.as(CodeBadCondition).within(k.node, offs[i], "write "+f.usage, "the %s has to be written out in quotes, so that it can be checked", f.params[i])
			return false
		}
		s, ok := a.AsLiteral().(types.String)
		if !ok {
			return true // CEL's type checker will say so
		}
		args[i] = string(s)
		offs[i]++ // after the quote
	}
	c := &call{function: f.name}
	k.calls[e.ID()] = c
	bad := func(i int, hint, format string, a ...any) bool {
		k.d.r.as(CodeBadCondition).within(k.node, offs[i], hint, format, a...)
		return false
	}
	s := k.d.service
	switch f.name {
	case "burning", "burn_rate", "error_ratio", "budget_remaining":
		slo := s.SLO(args[0])
		if slo == nil && k.d.sloNames[args[0]] != nil {
			return false
		}
		if slo == nil {
			hint := k.d.r.choose(args[0], keys(k.d.sloNames), "declare `slos:`")
			if len(args) > 1 && k.d.sloNames[args[1]] != nil {
				hint = fmt.Sprintf("the SLO comes first: %s(%q, %q)", f.name, args[1], clip(args[0]))
			}
			return bad(0, hint, "there is no SLO %q", clip(args[0]))
		}
		if f.name == "burning" {
			return k.burning(c, slo, args[1], bad)
		}
		if f.name == "budget_remaining" {
			c.input = input{signal: Signal{Kind: SignalBudget, Name: slo.Name}, value: number}
			break
		}
		window, err := model.ParseDuration(args[1])
		switch {
		case err != nil || window <= 0:
			return bad(1, durationHint, "%q is not a window", clip(args[1]))
		case time.Duration(window) > slo.Period:
			return bad(1, fmt.Sprintf("write at most %s, or give the SLO a longer `period`", model.Duration(slo.Period)), "the window %s is longer than the SLO's period (%s)", window, model.Duration(slo.Period))
		}
		c.input.signal = Signal{Kind: SignalSLO, Name: slo.Name, Window: time.Duration(window), Narrowed: k.narrows && slo.Narrows()}
		c.input.value = number
		if f.name == "burn_rate" {
			c.input.value = burnRate(slo.Objective.budget())
		}
	case "sli":
		if s.SLI(args[0]) == nil {
			hint := k.d.r.choose(args[0], keys(k.d.sliNames), "declare `slis:`")
			if s.SLO(args[0]) != nil {
				hint = fmt.Sprintf("%s is an SLO: write error_ratio(%q, \"5m\")", args[0], args[0])
			}
			return bad(0, hint, "there is no SLI %q", clip(args[0]))
		}
		c.input = input{signal: Signal{Kind: SignalSLI, Name: args[0], Narrowed: k.narrows && s.SLI(args[0]).Narrows()}, value: number}
	case "alert":
		if strings.TrimSpace(args[0]) == "" || len(args[0]) > maxName {
			return bad(0, `write the alert's name, as in Prometheus: alert("DiskFull")`, "%q cannot be the name of an alert", clip(args[0]))
		}
		c.input = input{signal: Signal{Kind: SignalAlert, Name: args[0]}, value: truth}
	case "schedule":
		if s.Schedule(args[0]) == nil {
			return bad(0, k.d.r.choose(args[0], keys(k.d.scheduleNames), "declare `schedules:`"), "there is no schedule %q", clip(args[0]))
		}
		c.input = input{signal: Signal{Kind: SignalSchedule, Name: args[0]}, value: truth}
	case "mode":
		if !nameShape.MatchString(args[0]) {
			return bad(0, "", "%q cannot be the name of a service", clip(args[0]))
		}
		c.input = input{signal: Signal{Kind: SignalMode, Name: args[0]}, value: word}
		k.c.references = append(k.c.references, reference{scope: engine.Scope(args[0]), node: k.node, at: offs[0]})
	case "dwell":
		c.input = input{signal: Signal{Kind: SignalDwell}, value: span}
	case "divergence":
		c.input = input{signal: Signal{Kind: SignalDivergence}, value: number}
	}
	k.c.signals = appendNew(k.c.signals, c.input.signal)
	return true
}

// comparison notes the name of another scope's mode in mode("shop") == "sale": with a typing error it would never be true,
// and nobody would hear of it.
func (k *compiler) comparison(e ast.Expr) {
	c := e.AsCall()
	if name := c.FunctionName(); name != operators.Equals && name != operators.NotEquals {
		return
	}
	for i, a := range c.Args() {
		b := c.Args()[1-i]
		if a.Kind() != ast.CallKind || a.AsCall().FunctionName() != "mode" || len(a.AsCall().Args()) != 1 || b.Kind() != ast.LiteralKind {
			continue
		}
		scope := a.AsCall().Args()[0]
		if scope.Kind() != ast.LiteralKind {
			continue
		}
		name, ok := scope.AsLiteral().(types.String)
		mode, isText := b.AsLiteral().(types.String)
		if ok && isText {
			k.c.references = append(k.c.references, reference{scope: engine.Scope(name), mode: string(mode), node: k.node, at: k.place(b) + 1})
		}
	}
}

func (k *compiler) burning(c *call, slo *SLO, severity string, bad func(int, string, string, ...any) bool) bool {
	sev := engine.Severity(severity)
	if sev != engine.SeverityPage && sev != engine.SeverityTicket {
		return bad(1, k.d.r.choose(severity, []string{"page", "ticket"}, ""), "there is no severity %q", clip(severity))
	}
	tier := slo.Tier(sev)
	if tier == nil {
		return bad(1, fmt.Sprintf("enable it under `alerting:`, or write burn_rate(%q, \"5m\") > 14.4", slo.Name),
			"SLO %q has no %s alert: it is disabled or has no windows", slo.Name, severity)
	}
	x := newBurn(slo, tier, false, k.narrows && slo.Narrows())
	c.burn, c.input.burn = &x, &x
	k.c.signals = x.signals(k.c.signals)
	if r := (burningRef{slo.Name, sev}); !slices.Contains(k.c.burning, r) {
		k.c.burning = append(k.c.burning, r)
	}
	return true
}

// build makes the tree: and, or, not and ?: of truths are ours, the rest is CEL's.
func (k *compiler) build(e ast.Expr) (expr, error) {
	if e.Kind() == ast.CallKind {
		args := e.AsCall().Args()
		parts := func() ([]expr, error) {
			out := make([]expr, len(args))
			for i, a := range args {
				x, err := k.build(a)
				if err != nil {
					return nil, err
				}
				out[i] = x
			}
			return out, nil
		}
		if c := k.calls[e.ID()]; c != nil {
			switch c.function {
			case "burning":
				return *c.burn, nil
			case "alert", "schedule":
				return switchExpr{c.input.signal, k.written(e)}, nil
			}
		}
		var join func(x []expr) expr
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd:
			join = func(x []expr) expr { return andExpr{x[0], x[1]} }
		case operators.LogicalOr:
			join = func(x []expr) expr { return orExpr{x[0], x[1]} }
		case operators.LogicalNot:
			join = func(x []expr) expr { return notExpr{x[0]} }
		case operators.Conditional:
			join = func(x []expr) expr { return ifExpr{x[0], x[1], x[2]} }
		}
		if join != nil {
			x, err := parts()
			if err != nil {
				return nil, err
			}
			return join(x), nil
		}
	}
	return k.atom(e)
}

// written is an expression as CEL writes it. It cannot fail on what was parsed, and it is for people only.
func (k *compiler) written(e ast.Expr) string {
	text, err := cel.ExprToString(e, k.ast.SourceInfo())
	if err != nil {
		return k.c.Text
	}
	return text
}

// atom plans an expression for CEL, with each call of ours replaced by a variable.
func (k *compiler) atom(e ast.Expr) (expr, error) {
	x := &atomExpr{strict: true, text: k.written(e), compares: k.compares(e)}
	bounded := true
	fac := ast.NewExprFactory()
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			x.strict, bounded = false, false
		case ast.CallKind:
			name := e.AsCall().FunctionName()
			if c := k.calls[e.ID()]; c != nil {
				variable := "@" + strconv.Itoa(len(x.inputs))
				x.inputs = append(x.inputs, c.input)
				e.SetKindCase(fac.NewIdent(e.ID(), variable))
				k.ast.SetReference(e.ID(), ast.NewIdentReference(variable, nil))
				return
			}
			switch name {
			case operators.LogicalAnd, operators.LogicalOr, operators.Conditional:
				x.strict = false
			}
			if op, ok := arithmetic[name]; ok && k.ast.GetType(e.ID()).IsExactType(cel.DoubleType) {
				e.SetKindCase(fac.NewCall(e.ID(), op.name, e.AsCall().Args()...))
				k.ast.SetReference(e.ID(), ast.NewFunctionReference(op.name+"_double"))
			}
		}
	}))
	var options []cel.ProgramOption
	if !bounded { // only a comprehension can take longer than its text is long
		options = append(options, cel.CostLimit(maxCost))
	}
	sub := ast.NewCheckedAST(ast.NewAST(e, k.ast.SourceInfo()), k.ast.TypeMap(), k.ast.ReferenceMap())
	program, err := environment().PlanProgram(sub, options...)
	if err != nil {
		return nil, err
	}
	x.program = program
	return x, nil
}
