package rules

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// function is what a condition can ask for.
type function struct {
	name   string
	usage  string
	params []string // what each argument names
	result *cel.Type
}

var functions = []function{
	{"burning", `burning("availability", "page")`, []string{"slo", "severity"}, cel.BoolType},
	{"burn_rate", `burn_rate("availability", "5m")`, []string{"slo", "window"}, cel.DoubleType},
	{"error_ratio", `error_ratio("availability", "5m")`, []string{"slo", "window"}, cel.DoubleType},
	{"budget_remaining", `budget_remaining("availability")`, []string{"slo"}, cel.DoubleType},
	{"sli", `sli("p99")`, []string{"sli"}, cel.DoubleType},
	{"alert", `alert("DiskFull")`, []string{"alert"}, cel.BoolType},
	{"schedule", `schedule("migration")`, []string{"schedule"}, cel.BoolType},
	{"mode", `mode("shop")`, []string{"scope"}, cel.StringType},
	{"dwell", `dwell()`, nil, cel.DurationType},
	{"divergence", `divergence()`, nil, cel.DoubleType},
}

func functionNamed(name string) *function {
	for i := range functions {
		if functions[i].name == name {
			return &functions[i]
		}
	}
	return nil
}

const (
	maxConditionBytes = 4 << 10
	maxCost           = 100_000 // of one evaluation, in CEL's units; about a millisecond
)

// arithmetic replaces CEL's operators on doubles, which follow IEEE 754: there 1.0/0.0 is infinite and above every limit, and
// 0.0/0.0 compares as false. Here such a number is an error, and so unknown.
var arithmetic = map[string]struct {
	name string
	do   func(a, b float64) float64
}{
	operators.Divide:   {"@divide", func(a, b float64) float64 { return a / b }},
	operators.Multiply: {"@multiply", func(a, b float64) float64 { return a * b }},
	operators.Add:      {"@add", func(a, b float64) float64 { return a + b }},
	operators.Subtract: {"@subtract", func(a, b float64) float64 { return a - b }},
}

var environment = sync.OnceValue(func() *cel.Env {
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true),
		cel.EnableMacroCallTracking(),
		cel.ParserRecursionLimit(100),
		cel.ParserExpressionSizeLimit(maxConditionBytes),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals()),
	}
	for _, f := range functions {
		args := make([]*cel.Type, len(f.params))
		for i := range args {
			args[i] = cel.StringType
		}
		options = append(options, cel.Function(f.name, cel.Overload(f.name, args, f.result)))
	}
	for _, op := range arithmetic {
		options = append(options, cel.Function(op.name, cel.Overload(op.name+"_double",
			[]*cel.Type{cel.DoubleType, cel.DoubleType}, cel.DoubleType, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				x, okX := a.(types.Double)
				y, okY := b.(types.Double)
				if !okX || !okY {
					return types.MaybeNoSuchOverloadErr(b)
				}
				v := op.do(float64(x), float64(y))
				if !finite(v) {
					return types.NewErr("%s gives a number that is not finite", op.name[1:])
				}
				return types.Double(v)
			}))))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		panic(fmt.Sprintf("the language of conditions: %v", err)) // it is a constant
	}
	return env
})
