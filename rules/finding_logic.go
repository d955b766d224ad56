package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// Whether two conditions can be true at once is a question about what they are made of: comparisons of quantities with numbers, and
// what is true or false by itself. A quantity matters only by which side of the numbers it is compared with it lies on, so that a few
// values of each are all there are, and a search over them finds values that make both conditions true, or that there are none.
// Quantities are taken to be independent of each other: what the search finds is possible, not necessarily likely.

// claim is a condition as the search sees it.
type claim struct {
	op    claimOp
	of    []claim
	name  string  // of the quantity
	than  float64 // what it is compared with
	word  string
	holds bool // of a constant
}

type claimOp int

const (
	claimConstant claimOp = iota
	claimAnd
	claimOr
	claimNot
	claimSame  // two claims are both true, or both false
	claimTruth // the quantity is a truth
	claimIs    // the quantity is a word, and this one
	claimLess
	claimAtMost
	claimEqual
)

// sketch is what findings need of a condition.
type sketch struct {
	claim    claim
	compared []compared
	windows  []mention
}

// compared is a signal that a condition compares with a number.
type compared struct {
	*Comparison
	at int // byte of the condition's text at which the number begins
}

// mention is a window that a condition names.
type mention struct {
	slo    string
	window time.Duration
	at     int
}

// bounds are the values a quantity can have.
type bounds struct{ low, high float64 }

// sketcher makes a sketch of one condition.
type sketcher struct {
	k   *compiler
	out sketch
}

func (k *compiler) sketch(e ast.Expr) *sketch {
	s := sketcher{k: k}
	s.out.claim = s.claim(e)
	return &s.out
}

func both(a, b claim) claim   { return claim{op: claimAnd, of: []claim{a, b}} }
func either(a, b claim) claim { return claim{op: claimOr, of: []claim{a, b}} }
func not(a claim) claim       { return claim{op: claimNot, of: []claim{a}} }
func same(a, b claim) claim   { return claim{op: claimSame, of: []claim{a, b}} }

func (s *sketcher) claim(e ast.Expr) claim {
	if e.Kind() == ast.LiteralKind {
		if v, ok := e.AsLiteral().(types.Bool); ok {
			return claim{op: claimConstant, holds: bool(v)}
		}
	}
	if e.Kind() != ast.CallKind {
		return s.opaque(e)
	}
	args := e.AsCall().Args()
	switch e.AsCall().FunctionName() {
	case operators.LogicalAnd:
		return both(s.claim(args[0]), s.claim(args[1]))
	case operators.LogicalOr:
		return either(s.claim(args[0]), s.claim(args[1]))
	case operators.LogicalNot:
		return not(s.claim(args[0]))
	case operators.Conditional:
		when := s.claim(args[0])
		return either(both(when, s.claim(args[1])), both(not(when), s.claim(args[2])))
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
		return s.comparison(e)
	}
	if c := s.k.calls[e.ID()]; c != nil && c.burn != nil {
		return s.burning(c.burn)
	}
	return s.opaque(e)
}

// opaque is a truth that nothing more is known of: the same text is the same truth.
func (s *sketcher) opaque(e ast.Expr) claim {
	return claim{op: claimTruth, name: s.k.written(e)}
}

func (s *sketcher) burning(x *burnExpr) claim {
	any := claim{op: claimConstant}
	for _, p := range x.pairs {
		pair := claim{op: claimConstant, holds: true}
		for _, signal := range []Signal{p.short, p.long} {
			name := rateName(signal.Name, signal.Window)
			pair = both(pair, not(claim{op: claimAtMost, name: name, than: p.factor}))
		}
		any = either(any, pair)
	}
	return any
}

func rateName(slo string, window time.Duration) string {
	return "burn_rate(" + strconv.Quote(slo) + ", " + strconv.Quote(model.Duration(window).String()) + ")"
}

func (s *sketcher) comparison(e ast.Expr) claim {
	left, right, op := sides(e.AsCall())
	if than, constant := literal(right); constant {
		if x := s.k.compares(e); x != nil {
			s.out.compared = append(s.out.compared, compared{x, s.k.place(right)})
		}
		name, scale := s.quantity(left)
		return compare(op, name, round(than*scale))
	}
	if right.Kind() == ast.LiteralKind && (op == operators.Equals || op == operators.NotEquals) {
		var is claim
		switch v := right.AsLiteral().(type) {
		case types.String:
			is = claim{op: claimIs, name: s.k.written(left), word: string(v)}
		case types.Bool:
			if is = s.claim(left); !bool(v) {
				is = not(is)
			}
		default:
			return s.opaque(e)
		}
		if op == operators.NotEquals {
			is = not(is)
		}
		return is
	}
	are := func(t *cel.Type) bool {
		return s.k.ast.GetType(left.ID()).IsExactType(t) && s.k.ast.GetType(right.ID()).IsExactType(t)
	}
	if are(cel.BoolType) {
		return truths(op, s.claim(left), s.claim(right))
	}
	a, b := s.k.written(left), s.k.written(right)
	for _, side := range []ast.Expr{left, right} {
		s.quantity(side) // it may name windows
	}
	if are(cel.StringType) && (op == operators.Equals || op == operators.NotEquals) {
		equal := claim{op: claimTruth, name: min(a, b) + " == " + max(a, b)}
		if op == operators.NotEquals {
			return not(equal)
		}
		return equal
	}
	if a > b {
		a, b, op = b, a, flipped[op]
	}
	return compare(op, a+" - "+b, 0)
}

// truths compares two truths, of which false is the lesser.
func truths(op string, a, b claim) claim {
	switch op {
	case operators.Less:
		return both(not(a), b)
	case operators.LessEquals:
		return either(not(a), b)
	case operators.Greater:
		return both(a, not(b))
	case operators.GreaterEquals:
		return either(a, not(b))
	case operators.Equals:
		return same(a, b)
	}
	return not(same(a, b))
}

func compare(op, name string, than float64) claim {
	switch op {
	case operators.Less:
		return claim{op: claimLess, name: name, than: than}
	case operators.LessEquals:
		return claim{op: claimAtMost, name: name, than: than}
	case operators.Greater:
		return not(claim{op: claimAtMost, name: name, than: than})
	case operators.GreaterEquals:
		return not(claim{op: claimLess, name: name, than: than})
	case operators.Equals:
		return claim{op: claimEqual, name: name, than: than}
	}
	return not(claim{op: claimEqual, name: name, than: than})
}

// round takes away the noise of having multiplied: error_ratio(…) > 0.0144 and burn_rate(…) > 14.4 are about the same number.
func round(f float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 12, 64), 64)
	if err != nil {
		return f
	}
	return v
}

// quantity names what stands on one side of a comparison, with what a number it is compared with has to be multiplied by: an error ratio
// is the burn rate of the same window times the budget.
func (s *sketcher) quantity(e ast.Expr) (name string, scale float64) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		c := s.k.calls[e.ID()]
		if c == nil || c.input.signal.Kind != SignalSLO || len(e.AsCall().Args()) != 2 {
			return
		}
		s.out.windows = append(s.out.windows, mention{c.input.signal.Name, c.input.signal.Window, s.k.place(e.AsCall().Args()[1]) + 1})
	}))
	var c *call
	if e.Kind() == ast.CallKind {
		c = s.k.calls[e.ID()]
	}
	if c == nil {
		return s.k.written(e), 1
	}
	signal := c.input.signal
	switch c.function {
	case "burn_rate":
		return rateName(signal.Name, signal.Window), 1
	case "error_ratio":
		if slo := s.k.d.service.SLO(signal.Name); slo != nil {
			return rateName(signal.Name, signal.Window), 1 / slo.Budget
		}
	}
	return s.k.written(e), 1
}

// apart is a claim whose quantities that are not the same for two conditions have names of their own: how long a mode has lasted, and
// which mode that is, are asked in different modes.
func (c claim) apart(side string, scope engine.Scope) claim {
	own := []string{"dwell()", fmt.Sprintf("mode(%q)", scope)}
	if c.mentions(own) {
		return c.renamed(own, " "+side)
	}
	return c
}

func (c *claim) mentions(names []string) bool {
	return slices.Contains(names, c.name) || slices.ContainsFunc(c.of, func(c claim) bool { return c.mentions(names) })
}

func (c claim) renamed(names []string, more string) claim {
	if slices.Contains(names, c.name) {
		c.name += more
	}
	of := make([]claim, len(c.of))
	for i := range c.of {
		of[i] = c.of[i].renamed(names, more)
	}
	c.of = of
	return c
}

// quantity is one that the search gives values to: of what is a truth 0 and 1.
type quantity struct {
	name   string
	values []float64
	words  []string // what is a word is one of these, or none
	truth  bool     // it is true or false by itself
}

// quantities are those of a claim, in order of first use.
func quantities(c claim, of map[string]bounds) []quantity {
	var out []quantity
	cuts := map[string]map[float64]bool{}
	var walk func(c claim)
	walk = func(c claim) {
		for _, sub := range c.of {
			walk(sub)
		}
		if c.op == claimConstant || c.name == "" {
			return
		}
		i := slices.IndexFunc(out, func(q quantity) bool { return q.name == c.name })
		if i < 0 {
			i = len(out)
			out = append(out, quantity{name: c.name})
			cuts[c.name] = map[float64]bool{}
		}
		switch c.op {
		case claimTruth:
			out[i].values, out[i].truth = []float64{0, 1}, true
		case claimIs:
			if !slices.Contains(out[i].words, c.word) {
				out[i].words = append(out[i].words, c.word)
			}
		default:
			cuts[c.name][c.than] = true
		}
	}
	walk(c)
	for i := range out {
		q := &out[i]
		if q.words != nil {
			for w := range len(q.words) + 1 {
				q.values = append(q.values, float64(w)) // the last one is none of them
			}
		}
		if q.values == nil {
			b, known := of[q.name]
			if !known {
				b = bounds{math.Inf(-1), math.Inf(1)}
			}
			q.values = between(slices.Sorted(maps.Keys(cuts[q.name])), b)
		}
	}
	return out
}

// between is a value of each piece into which numbers cut a range: below the first, each of them, and above it up to the next. Numbers
// outside of the range cut nothing.
func between(cuts []float64, b bounds) []float64 {
	cuts = slices.DeleteFunc(cuts, func(c float64) bool { return c < b.low || c > b.high })
	switch {
	case len(cuts) == 0 && !math.IsInf(b.low, -1):
		return []float64{b.low}
	case len(cuts) == 0:
		return []float64{min(b.high, 0)}
	}
	var out []float64
	if first := cuts[0]; math.IsInf(b.low, -1) {
		less := first - 1
		if less == first { // it is too large to tell one less from it
			less -= math.Abs(first) / 4
		}
		out = append(out, less)
	} else if b.low < first {
		out = append(out, b.low)
	}
	for i, cut := range cuts {
		out = append(out, cut)
		switch {
		case i+1 < len(cuts):
			out = append(out, cut+(cuts[i+1]-cut)/2)
		case cut < b.high: // a little more, so that what is shown is a number people could meet
			out = append(out, min(cut+max(1, math.Abs(cut)/4), cut+(b.high-cut)/4))
		}
	}
	return out
}

// mostSearched bounds the search; beyond it nothing is found.
const mostSearched = 50_000

// witness searches for values that make a claim true. sure is whether there are none, if it finds none: not where it gave up.
func witness(c claim, of map[string]bounds) (found []string, possible, sure bool) {
	all := quantities(c, of)
	s := search{all: all, formula: formulaOf(&c, all), values: make([]float64, len(all)), given: make([]bool, len(all))}
	for i := range all {
		all[i].values = s.formula.distinct(i, all[i].values)
	}
	if !s.from(0) {
		return nil, false, s.steps <= mostSearched
	}
	for i := range all { // leave out what does not matter
		if !s.given[i] {
			continue
		}
		if s.given[i] = false; s.truth() != engine.True {
			s.given[i] = true
		}
	}
	for i := range all {
		if s.given[i] {
			found = append(found, all[i].is(s.values[i]))
		}
	}
	return found, true, true
}

// search tries values of quantities in their order. Whole services wait for it, so it looks nothing up by name.
type search struct {
	all     []quantity
	formula formula
	values  []float64 // of each quantity that is given
	given   []bool
	open    []int // the quantities that the last truth, if it was unknown, depends on
	steps   int
}

// from gives values to the quantities from the i-th on, and reports whether the claim is true with them.
func (s *search) from(i int) bool {
	switch s.truth() {
	case engine.True:
		return true
	case engine.False:
		return false
	}
	first := i
	for ; i < len(s.all) && !slices.Contains(s.open, i); i++ {
		s.values[i], s.given[i] = s.all[i].values[0], true // nothing depends on it any more: one value is as good as another
	}
	if i < len(s.all) && s.steps <= mostSearched {
		for _, v := range s.all[i].values {
			s.values[i], s.given[i] = v, true
			if s.from(i + 1) {
				return true
			}
		}
		i++
	}
	clear(s.given[first:i])
	return false
}

func (s *search) truth() engine.Truth {
	s.steps++
	s.open = s.open[:0]
	return s.formula.truth(s)
}

// formula is a claim about quantities by their place among all.
type formula struct {
	op    claimOp // claimIs is a claimEqual with the word's place
	of    []formula
	about int // -1: not a leaf
	than  float64
	holds bool
}

func formulaOf(c *claim, all []quantity) formula {
	f := formula{op: c.op, than: c.than, holds: c.holds, about: slices.IndexFunc(all, func(q quantity) bool { return q.name == c.name })}
	if c.op == claimIs {
		f.op, f.than = claimEqual, float64(slices.Index(all[f.about].words, c.word))
	}
	for i := range c.of {
		f.of = append(f.of, formulaOf(&c.of[i], all))
	}
	return f
}

// is says in words that a quantity has a value.
func (q quantity) is(v float64) string {
	switch {
	case q.words != nil && int(v) == len(q.words):
		return fmt.Sprintf("%s is something else", q.name)
	case q.words != nil:
		return fmt.Sprintf("%s is %q", q.name, q.words[int(v)])
	case q.truth:
		return q.name + map[float64]string{0: " is false", 1: " is true"}[v]
	case strings.HasPrefix(q.name, "dwell()"):
		return q.name + " = " + time.Duration(v*float64(time.Second)).String()
	}
	return q.name + " = " + strconv.FormatFloat(v, 'g', 4, 64)
}

// distinct leaves out the values of a quantity for which each leaf about it says what it says of an earlier one.
func (f *formula) distinct(about int, values []float64) []float64 {
	out := values[:0:0]
	for _, v := range values {
		if !slices.ContainsFunc(out, func(earlier float64) bool { return f.alike(about, v, earlier) }) {
			out = append(out, v)
		}
	}
	return out
}

// alike reports whether each leaf about a quantity says the same of two values.
func (f *formula) alike(about int, v, w float64) bool {
	for i := range f.of {
		if !f.of[i].alike(about, v, w) {
			return false
		}
	}
	return f.about != about || f.holdsOf(v) == f.holdsOf(w)
}

// holdsOf is what a leaf says of a value.
func (f *formula) holdsOf(v float64) bool {
	switch f.op {
	case claimTruth:
		return v != 0
	case claimLess:
		return v < f.than
	case claimAtMost:
		return v <= f.than
	}
	return v == f.than
}

// truth is Kleene's: what has no value yet is unknown. Where the truth is unknown, what it depends on is noted as open.
func (f *formula) truth(s *search) engine.Truth {
	switch f.op {
	case claimConstant:
		return engine.TruthOf(f.holds)
	case claimAnd, claimOr:
		before := len(s.open)
		stop := engine.TruthOf(f.op == claimOr)
		out := engine.TruthOf(f.op == claimAnd)
		for i := range f.of {
			switch f.of[i].truth(s) {
			case stop:
				s.open = s.open[:before]
				return stop
			case engine.Unknown:
				out = engine.Unknown
			}
		}
		return out
	case claimNot:
		switch f.of[0].truth(s) {
		case engine.True:
			return engine.False
		case engine.False:
			return engine.True
		}
		return engine.Unknown
	case claimSame:
		a, b := f.of[0].truth(s), f.of[1].truth(s)
		if a == engine.Unknown || b == engine.Unknown {
			return engine.Unknown
		}
		return engine.TruthOf(a == b)
	}
	if !s.given[f.about] {
		s.open = append(s.open, f.about)
		return engine.Unknown
	}
	return engine.TruthOf(f.holdsOf(s.values[f.about]))
}
