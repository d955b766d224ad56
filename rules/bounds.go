package rules

import (
	"fmt"
	"regexp/syntax"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/modeshift/modeshift/engine/crash"
)

// What is read at once is bounded, so that neither a mistake (a folder of something else, a generator that ran wild) nor a hostile
// pull request costs more than seconds and a few hundred megabytes. A thousand services with ten SLOs each are 6 MB.
const (
	maxFiles    = 10_000
	maxAllBytes = 64 << 20 // of all files together
	// maxAllDiagnostics are shown of all files together.
	maxAllDiagnostics = 5000
)

// Limits of a file beside those of its YAML, for what costs more than its length.
const (
	maxDocuments = 1000
	maxEntries   = 1000 // of one list: SLOs, modes, transitions
	// maxConditionsBytes bounds all conditions of a file: to type-check and plan them takes some microseconds a byte.
	maxConditionsBytes = 128 << 10
	// maxNested is how deep comprehensions (all, exists, map) may stand in one another: the type checker's time grows faster
	// than their number.
	maxNested = 3
	// maxPatternSteps bounds what the repetitions and character classes of all regular expressions of a file come to: ten bytes
	// of them can stand for a thousand steps of 40 bytes each.
	maxPatternSteps = 50_000
	longPattern     = 1 << 10
)

// Limits of queries that are longer than shortQuery. PromQL's parser and printer take time with the square of how deep an
// expression is, and in `a + b + c` each operator is a level.
const (
	shortQuery    = 256
	maxQueryWords = 2000
	maxQueryDepth = 100         // of parentheses, braces and brackets
	maxQueryWork  = 100_000_000 // of all of a file: the sum of the squares of their words; about half a second
)

// simple refuses a query that would take long to read.
func (r *reader) simple(q *query, what, text string) bool {
	if len(text) <= shortQuery && !heavy(text) {
		return true
	}
	refuse := func(item parser.Item, hint, format string, args ...any) bool {
		r.as(CodeBadQuery).within(q.node, q.source(int(item.Pos)), hint, format, args...)
		return false
	}
	const record = "record part of it as a series, and query that"
	words, depth := 0, 0
	var last parser.ItemType
	for item := range lexed(text) {
		words++
		switch item.Typ {
		case parser.LEFT_PAREN, parser.LEFT_BRACE, parser.LEFT_BRACKET:
			if depth++; depth > maxQueryDepth {
				return refuse(item, record, "%s nests deeper than %d levels", what, maxQueryDepth)
			}
		case parser.RIGHT_PAREN, parser.RIGHT_BRACE, parser.RIGHT_BRACKET:
			depth--
		case parser.STRING:
			pattern, err := strutil.Unquote(item.Val)
			if (last == parser.EQL_REGEX || last == parser.NEQ_REGEX) && err == nil && !r.affords(pattern) {
				return refuse(item, patternHint, "a pattern of %s is too large: %s", what, tooManySteps)
			}
		}
		if words > maxQueryWords {
			return refuse(item, record, "%s has more than %d names, numbers and operators", what, maxQueryWords)
		}
		last = item.Typ
	}
	if r.words += words * words; r.words > maxQueryWork {
		r.as(CodeBadQuery).errorf(q.node, record, "the long queries of this file are too many: this one has %d names, numbers and operators", words)
		return false
	}
	return true
}

const patternHint = "write fewer repetitions: [0-9]+ in place of [0-9]{1,100}"

var tooManySteps = fmt.Sprintf("with repetitions written out it, and those before it in the file, come to more than %d steps", maxPatternSteps)

// lexed yields the words of a query, up to the first that is none.
func lexed(text string) func(yield func(parser.Item) bool) {
	return func(yield func(parser.Item) bool) {
		lexer := parser.Lex(text)
		for {
			var item parser.Item
			lexer.NextItem(&item)
			if item.Typ == parser.EOF || item.Typ == parser.ERROR || !yield(item) {
				return
			}
		}
	}
}

// heavy reports whether a text may have what makes a regular expression much larger than itself: a repetition, a class of
// Unicode.
func heavy(text string) bool {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; text[i-1] {
		case '{':
			if '0' <= c && c <= '9' {
				return true
			}
		case '\\':
			if c == 'p' || c == 'P' {
				return true
			}
		}
	}
	return false
}

// simple refuses a condition that would take long to type-check, or to evaluate.
func (k *compiler) simple() bool {
	ok := true
	refuse := func(e ast.Expr, hint, format string, args ...any) {
		if ok {
			k.d.r.as(CodeBadCondition).within(k.node, k.place(e), hint, format, args...)
		}
		ok = false
	}
	if k.plain() {
		return true
	}
	root := ast.NavigateAST(k.ast)
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind)) {
		depth := 0
		for up, in := e, true; in; up, in = up.Parent() {
			if up.Kind() == ast.ComprehensionKind {
				depth++
			}
		}
		if depth > maxNested {
			refuse(e, "write them out, or record part of it as a series", "more than %d macros (all, exists, map, filter) stand in one another", maxNested)
		}
	}
	for _, e := range ast.MatchDescendants(root, ast.FunctionMatcher("matches")) {
		for _, a := range e.AsCall().Args() {
			if a.Kind() != ast.LiteralKind {
				continue
			}
			if s, isText := a.AsLiteral().(types.String); isText && !k.d.r.affords(string(s)) {
				refuse(a, patternHint, "the pattern is too large: %s", tooManySteps)
			}
		}
	}
	return ok
}

// plain reports whether there are neither macros nor regular expressions in a condition.
func (k *compiler) plain() bool {
	plain := true
	ast.PreOrderVisit(k.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		plain = plain && e.Kind() != ast.ComprehensionKind && (e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "matches")
	}))
	return plain
}

// affords counts a regular expression and reports whether the file may still have it. One that does not parse costs nothing.
func (r *reader) affords(pattern string) bool {
	if r.steps > maxPatternSteps {
		return false
	}
	if len(pattern) > longPattern {
		r.steps += len(pattern) / 3 // the matcher keeps up to 256 variants of it
	}
	if !heavy(pattern) {
		return r.steps <= maxPatternSteps
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return true
	}
	r.steps += stepsOf(re)
	return r.steps <= maxPatternSteps
}

// stepsOf is about how many instructions a regular expression compiles to. The parser has seen to it that repetitions in one
// another multiply to a thousand at most.
func stepsOf(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += stepsOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// survive calls read and turns a panic in it into a fault at n: what went wrong with one service keeps neither the others from
// loading nor the program from running.
func (r *reader) survive(n *node, read func()) {
	defer func() {
		if p := recover(); p != nil {
			r.as(CodeOurFault).errorf(n, "nothing in the file has to be wrong; report it with the file and this line: "+crash.Origin(),
				"modeshift failed to read this, which is a fault of its own: %s", clipTo(200, fmt.Sprint(p)))
		}
	}()
	read()
}

// cut leaves out what is more than anybody reads; of each file that does not load its first fault stays, so that what is in the
// list still says which those are.
func (ds Diagnostics) cut() Diagnostics {
	if len(ds) <= maxAllDiagnostics {
		return ds
	}
	out := slices.Clone(ds[:maxAllDiagnostics])
	told := map[string]bool{}
	for _, d := range out {
		if d.Level == LevelError {
			told[d.File] = true
		}
	}
	for _, d := range ds[maxAllDiagnostics:] {
		if d.Level == LevelError && !told[d.File] {
			told[d.File] = true
			out = append(out, d)
		}
	}
	level := LevelWarning
	if len(told) > 0 {
		level = LevelError
	}
	return append(out, Diagnostic{Level: level, Code: CodeTooManyFaults, File: "rules",
		Message: fmt.Sprintf("%d faults and warnings; %d of them are not shown", len(ds), len(ds)-len(out))})
}
