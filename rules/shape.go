package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine/outline"
)

// shaper takes a condition apart into its shape and its numbers, so that two versions of it can be compared. Of each number it
// knows whether the condition is true sooner or later when it is raised, where that can be told from the operators around it alone.
type shaper struct {
	b       strings.Builder
	numbers []outline.Constant
	whole   bool // false: there is something in it that has no shape here
}

// shapeOf is the shape of a checked expression, which is only read. What cannot be taken apart has itself for a shape.
func shapeOf(e ast.Expr, canonical string) outline.Form {
	s := shaper{whole: true}
	s.expr(e, 1)
	if !s.whole {
		return outline.Form{Shape: canonical}
	}
	return outline.Form{Shape: s.b.String(), Numbers: s.numbers}
}

func (s *shaper) constant(text string, value float64, easier int) {
	s.b.WriteByte('#')
	s.numbers = append(s.numbers, outline.Constant{Text: text, Value: value, Easier: easier})
}

// expr writes an expression. easier says what becomes of the condition when the expression rises, or turns true.
func (s *shaper) expr(e ast.Expr, easier int) {
	switch e.Kind() {
	case ast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Double:
			s.constant(strconv.FormatFloat(float64(v), 'g', -1, 64), float64(v), easier)
		case types.Int:
			s.constant(strconv.FormatInt(int64(v), 10), float64(v), easier)
		case types.Uint:
			s.constant(strconv.FormatUint(uint64(v), 10), float64(v), easier)
		case types.String:
			s.b.WriteString(strconv.Quote(string(v)))
		default:
			fmt.Fprintf(&s.b, "%s(%v)", e.AsLiteral().Type().TypeName(), e.AsLiteral().Value())
		}
	case ast.IdentKind:
		s.b.WriteString(e.AsIdent())
	case ast.CallKind:
		s.call(e.AsCall(), easier)
	default:
		s.whole = false
	}
}

func (s *shaper) call(c ast.CallExpr, easier int) {
	name, args := c.FunctionName(), c.Args()
	s.b.WriteString(name)
	s.b.WriteByte('(')
	defer s.b.WriteByte(')')
	if c.IsMemberFunction() {
		s.expr(c.Target(), 0)
		s.b.WriteByte(';')
	}
	if text, ok := spanOf(name, args); ok {
		s.span(name, text, args, easier)
		return
	}
	for i, a := range args {
		if i > 0 {
			s.b.WriteByte(',')
		}
		s.expr(a, easier*sign(name, i == 0))
	}
}

// sign says how a call goes with its argument: 1 as it does, -1 the other way, 0 nobody can tell.
func sign(name string, first bool) int {
	switch name {
	case operators.LogicalAnd, operators.LogicalOr, operators.Add:
		return 1
	case operators.LogicalNot, operators.Negate:
		return -1
	case operators.Conditional:
		if first {
			return 0
		}
		return 1
	case operators.Greater, operators.GreaterEquals, operators.Subtract:
		if first {
			return 1
		}
		return -1
	case operators.Less, operators.LessEquals:
		if first {
			return -1
		}
		return 1
	}
	return 0
}

// spanOf is the text of the span of time that a call is given last: a window, or the argument of duration().
func spanOf(name string, args []ast.Expr) (string, bool) {
	if len(args) == 0 || name != "duration" && name != "burn_rate" && name != "error_ratio" {
		return "", false
	}
	last := args[len(args)-1]
	if last.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := last.AsLiteral().(types.String)
	return string(text), ok
}

func (s *shaper) span(name, text string, args []ast.Expr, easier int) {
	for _, a := range args[:len(args)-1] {
		s.expr(a, 0)
		s.b.WriteByte(',')
	}
	if name == "duration" {
		d, err := time.ParseDuration(text)
		s.whole = s.whole && err == nil
		s.constant(text, d.Seconds(), easier)
		return
	}
	d, err := model.ParseDuration(text)
	s.whole = s.whole && err == nil
	s.constant(text, time.Duration(d).Seconds(), 0)
	s.numbers[len(s.numbers)-1].Window = true
}
