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

// mirrored are the operators with their sides exchanged; those of comparisons, and no others.
var mirrored = map[string]string{
	operators.Equals: "==", operators.NotEquals: "!=", operators.Less: ">", operators.LessEquals: ">=",
	operators.Greater: "<", operators.GreaterEquals: "<=",
}

var upright = map[string]string{
	operators.Equals: "==", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=",
	operators.Greater: ">", operators.GreaterEquals: ">=",
}

// compares is what an expression compares with what, if it is a call of ours on one side and a constant on the other.
func (k *compiler) compares(e ast.Expr) *Comparison {
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
		return nil
	}
	args, ops := e.AsCall().Args(), upright
	if args[1].Kind() == ast.CallKind && k.calls[args[1].ID()] != nil {
		args, ops = []ast.Expr{args[1], args[0]}, mirrored
	}
	op, compares := ops[e.AsCall().FunctionName()]
	c := k.calls[args[0].ID()]
	if !compares || c == nil || c.burn != nil || args[0].Kind() != ast.CallKind {
		return nil
	}
	of := &Comparison{Signal: c.input.signal, Function: c.function, Op: op}
	if !of.constant(args[1]) {
		return nil
	}
	return of
}

// constant reads what a signal is compared with.
func (c *Comparison) constant(e ast.Expr) bool {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "duration" && len(e.AsCall().Args()) == 1 {
		arg := e.AsCall().Args()[0]
		if arg.Kind() != ast.LiteralKind {
			return false
		}
		text, ok := arg.AsLiteral().(types.String)
		if !ok {
			return false
		}
		d, err := time.ParseDuration(string(text)) // as CEL does
		c.Number = d.Seconds()
		return err == nil
	}
	if e.Kind() != ast.LiteralKind {
		return false
	}
	switch v := e.AsLiteral().(type) {
	case types.Double:
		c.Number = float64(v)
	case types.Int:
		c.Number = float64(v)
	case types.Uint:
		c.Number = float64(v)
	case types.String:
		c.Text = string(v)
	default:
		return false
	}
	return true
}
