package rules

import (
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Comparison is a leaf that compares one signal with a constant. Of such leaves it can be told which may be true together; of any
// other leaf only its text is known.
type Comparison struct {
	Signal   Signal
	Function string // by which the condition asks for it: burn_rate and error_ratio ask for one signal in two units
	Op       string // == != < <= > >=, the signal on the left
	// Number is the constant: in the function's unit, for dwell in seconds. Text is that of a signal whose value is a word.
	Number float64
	Text   string
}

// comparing are the operators as a Comparison writes them.
var comparing = map[string]string{
	operators.Equals: "==", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=",
	operators.Greater: ">", operators.GreaterEquals: ">=",
}

// flipped is an operator with its sides exchanged.
var flipped = map[string]string{
	operators.Less: operators.Greater, operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less,
	operators.GreaterEquals: operators.LessEquals, operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals,
}

// sides are the two sides of a comparison, a constant on the right if there is one, and the operator as it then is.
func sides(c ast.CallExpr) (left, right ast.Expr, op string) {
	left, right, op = c.Args()[0], c.Args()[1], c.FunctionName()
	if _, number := literal(left); number || left.Kind() == ast.LiteralKind {
		return right, left, flipped[op]
	}
	return left, right, op
}

// literal reads a number, or a duration in seconds, that is written out.
func literal(e ast.Expr) (float64, bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Double:
			return float64(v), true
		case types.Int:
			return float64(v), true
		case types.Uint:
			return float64(v), true
		}
	case ast.CallKind:
		name, args := e.AsCall().FunctionName(), e.AsCall().Args()
		if name == operators.Negate {
			v, ok := literal(args[0])
			return -v, ok
		}
		if text, ok := spanOf(name, args); ok && name == "duration" {
			d, err := time.ParseDuration(text)
			return d.Seconds(), err == nil
		}
	}
	return 0, false
}

// compares is what an expression compares with what; nil when it is not a call of ours on one side and a constant on the other.
func (k *compiler) compares(e ast.Expr) *Comparison {
	if e.Kind() != ast.CallKind || comparing[e.AsCall().FunctionName()] == "" {
		return nil
	}
	of, constant, op := sides(e.AsCall())
	c := k.calls[of.ID()]
	if c == nil || c.burn != nil {
		return nil
	}
	is := &Comparison{Signal: c.input.signal, Function: c.function, Op: comparing[op]}
	if v, ok := literal(constant); ok {
		is.Number = v
		return is
	}
	if constant.Kind() != ast.LiteralKind {
		return nil
	}
	text, ok := constant.AsLiteral().(types.String)
	is.Text = string(text)
	if !ok {
		return nil
	}
	return is
}
