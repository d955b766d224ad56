package rules

import (
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

// compares is what an expression compares with what; nil when it is not a call of ours on one side and a constant on the other.
func (k *compiler) compares(e ast.Expr) *Comparison {
	if e.Kind() != ast.CallKind || comparing[e.AsCall().FunctionName()] == "" {
		return nil
	}
	of, constant, op := e.AsCall().Args()[0], e.AsCall().Args()[1], e.AsCall().FunctionName()
	if k.calls[constant.ID()] != nil {
		of, constant, op = constant, of, flipped[op]
	}
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
