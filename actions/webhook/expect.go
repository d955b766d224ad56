package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/modeshift/modeshift/actions/spec"
)

// What an expression may cost, in CEL's units (about one a step), and how long its text may be, in bytes.
const (
	maxCost       = 200_000
	maxExpression = 4 << 10
)

// expectation says which answers mean that it has happened.
type expectation struct {
	statuses []statusRange // empty: 2xx
	text     string        // of the expression; empty: the status is enough
	program  cel.Program
}

// statusRange is one status or a hundred of them.
type statusRange struct{ from, to int }

func (r statusRange) String() string {
	if r.from == r.to {
		return strconv.Itoa(r.from)
	}
	return strconv.Itoa(r.from/100) + "xx"
}

// answered is what a target said.
type answered struct {
	status  int
	headers http.Header
	body    []byte
}

// status reports whether a status is an expected one.
func (e *expectation) status(code int) bool {
	if len(e.statuses) == 0 {
		return code/100 == 2
	}
	for _, r := range e.statuses {
		if r.from <= code && code <= r.to {
			return true
		}
	}
	return false
}

// holds evaluates the expression. An error says that the answer cannot be judged: it is not JSON, it lacks a member.
func (e *expectation) holds(ctx context.Context, a answered) (bool, error) {
	if e.program == nil {
		return true, nil
	}
	headers := make(map[string]string, len(a.headers))
	for name, values := range a.headers {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	in := map[string]any{"status": a.status, "headers": headers, "body": string(a.body)}
	var doc any
	if json.Unmarshal(a.body, &doc) == nil { // else the expression fails if it asks for json
		in["json"] = doc
	}
	out, _, err := e.program.ContextEval(ctx, in)
	if err != nil {
		if _, ok := in["json"]; !ok && strings.Contains(err.Error(), "attribute") {
			err = errors.New("the answer is not JSON")
		}
		return false, fmt.Errorf("%s: %w", e.text, err)
	}
	yes, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("%s is neither true nor false, but %s", e.text, out.Type().TypeName())
	}
	return bool(yes), nil
}

func (e *expectation) String() string {
	var s string
	for i, r := range e.statuses {
		if i > 0 {
			s += ", "
		}
		s += r.String()
	}
	if s == "" {
		s = "2xx"
	}
	if e.text != "" {
		s += " and " + e.text
	}
	return s
}

// readExpectation reads {status, cel}.
func (k *Kind) readExpectation(f *spec.Form, o spec.Object) expectation {
	var e expectation
	const hint = `such as 204, "2xx" or [200, 404]`
	list := o.List("status")
	if o.Has("status") && len(list) == 0 {
		f.Fault(o.At("status"), "no status is expected at all", hint)
	}
	for i, v := range list {
		at := o.At("status")
		if _, many := o.Value("status").([]any); many {
			at = append(at, strconv.Itoa(i))
		}
		text := fmt.Sprint(v)
		n, err := strconv.Atoi(text)
		switch {
		case len(text) == 3 && strings.HasSuffix(strings.ToLower(text), "xx") && text[0] >= '2' && text[0] <= '5':
			n = int(text[0]-'0') * 100
			e.statuses = append(e.statuses, statusRange{n, n + 99})
		case err == nil && n >= 200 && n <= 599:
			e.statuses = append(e.statuses, statusRange{n, n})
		default:
			f.Fault(at, strconv.Quote(text)+" is not a status", hint)
		}
	}
	if e.text = o.Text("cel"); e.text == "" {
		return e
	}
	var problems []string
	if e.program, problems = k.compile(e.text); len(problems) > 0 {
		for _, p := range problems {
			f.Fault(o.At("cel"), p, "it may use status, headers[\"retry-after\"], body and json, such as json.state == \"done\"")
		}
	}
	return e
}

// programs keeps compiled expressions by their text. There are as many as the rule files have; a text that changes with
// every reload must not fill the memory, so a full cache begins anew.
type programs struct {
	mu   sync.Mutex
	kept map[string]cel.Program // guarded by mu
}

const maxPrograms = 512

// compile returns the program of an expression, or what is wrong with it.
func (k *Kind) compile(text string) (cel.Program, []string) {
	k.programs.mu.Lock()
	defer k.programs.mu.Unlock()
	if p, ok := k.programs.kept[text]; ok {
		return p, nil
	}
	ast, issues := language().Compile(text)
	if issues.Err() != nil {
		var out []string
		for _, e := range issues.Errors() {
			out = append(out, fmt.Sprintf("column %d: %s", e.Location.Column()+1, e.Message))
		}
		return nil, out
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, []string{"this is a " + t.String() + ", and has to be true or false"}
	}
	p, err := language().Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, []string{err.Error()}
	}
	if k.programs.kept == nil || len(k.programs.kept) >= maxPrograms {
		k.programs.kept = map[string]cel.Program{}
	}
	k.programs.kept[text] = p
	return p, nil
}

var language = sync.OnceValue(func() *cel.Env {
	env, err := cel.NewEnv(
		cel.Variable("status", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)), // names in lower case
		cel.Variable("body", cel.StringType),
		cel.Variable("json", cel.DynType),
		cel.CrossTypeNumericComparisons(true), // JSON knows no integers
		cel.ParserRecursionLimit(100),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
	if err != nil {
		panic("webhook: the language of expressions: " + err.Error()) // it is a constant
	}
	return env
})
