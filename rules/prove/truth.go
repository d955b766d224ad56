package prove

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// tree is a condition with the leaves that are decided taken out of it. Two valuations that leave the same trees of all conditions are
// the same to the core.
type tree struct {
	op    op
	truth engine.Truth // of a constant
	leaf  *leaf        // of a leaf
	parts []*tree
	text  string // two trees of one text are equal
}

type op byte

const (
	opConstant op = iota
	opLeaf
	opAnd
	opOr
	opNot
	opIf
)

// leaf is a part of conditions that has one truth wherever it stands. Leaves of one source are judged together.
type leaf struct {
	text    string
	source  string // what it is measured by
	inside  *rules.Comparison
	compare *rules.Comparison // nil: it may be anything
	budget  float64           // of its SLO
	always  bool              // it is never unknown
}

// holds reports what a comparison comes to where its signal has a value.
func holds(c *rules.Comparison, number float64, word string) bool {
	if c.Signal.Kind == rules.SignalMode {
		return (word == c.Text) == (c.Op == "==")
	}
	switch c.Op {
	case "==":
		return number == c.Number
	case "!=":
		return number != c.Number
	case "<":
		return number < c.Number
	case "<=":
		return number <= c.Number
	case ">":
		return number > c.Number
	default:
		return number >= c.Number
	}
}

// planter makes trees of the conditions of a group's services.
type planter struct {
	inside map[engine.Scope]bool // whose modes the search itself knows
	leaves map[string]*leaf
	by     map[string][]*leaf // by source
}

func constant(t engine.Truth) *tree { return &tree{op: opConstant, truth: t, text: t.String()} }

// plant makes the tree of a condition of a service.
func (p *planter) plant(s *rules.Service, part rules.Part) *tree {
	var parts []*tree
	for _, of := range part.Parts {
		parts = append(parts, p.plant(s, of))
	}
	switch part.Op {
	case rules.OpAnd, rules.OpPair:
		return join(opAnd, parts)
	case rules.OpOr, rules.OpBurn:
		return join(opOr, parts)
	case rules.OpNot:
		return join(opNot, parts)
	case rules.OpIf:
		return join(opIf, parts)
	}
	if part.Truth != engine.Unknown {
		return constant(part.Truth) // it rests on nothing
	}
	l := p.leaf(s, &part)
	return &tree{op: opLeaf, leaf: l, text: l.name()}
}

// name is the leaf in the text of trees.
func (l *leaf) name() string { return "<" + l.source + " " + l.text + ">" }

// leaf finds or makes the leaf of a part without parts of its own.
func (p *planter) leaf(s *rules.Service, part *rules.Part) *leaf {
	scope := string(s.Policy.Scope)
	l := &leaf{text: part.Text, compare: part.Compares, source: scope + ": " + part.Text}
	if c := l.compare; c != nil && c.Signal.Kind == rules.SignalMode && c.Op != "==" && c.Op != "!=" {
		l.compare = nil // the alphabet of modes is no order
	}
	if c := l.compare; c != nil {
		switch c.Signal.Kind {
		case rules.SignalMode:
			l.source, l.always = "mode of "+c.Signal.Name, true
			if p.inside[engine.Scope(c.Signal.Name)] {
				l.inside = c
			}
		case rules.SignalDwell:
			l.source, l.inside = scope+": dwell", c
		case rules.SignalSLO:
			l.source, l.budget = scope+": "+source(c.Signal), s.SLO(c.Signal.Name).Budget
		default:
			l.source = scope + ": " + source(c.Signal)
		}
	} else if len(part.Signals) == 1 && len(part.Parts) == 0 {
		if sig := part.Signals[0]; sig.Kind == rules.SignalSchedule || sig.Kind == rules.SignalAlert {
			l.source, l.always = scope+": "+sig.String(), sig.Kind == rules.SignalSchedule
		}
	}
	key := l.source + "\n" + l.text
	if had := p.leaves[key]; had != nil {
		return had
	}
	p.leaves[key] = l
	if l.inside == nil {
		p.by[l.source] = append(p.by[l.source], l)
	}
	return l
}

// source tells signals apart: one of a wave's instances alone is another one.
func source(s rules.Signal) string {
	if s.Narrowed {
		return s.String() + " of the wave"
	}
	return s.String()
}

// join makes a tree of parts, as simple as what is decided of them lets it be. Kleene's logic: what is unknown stays so until another part
// decides.
func join(o op, parts []*tree) *tree {
	switch o {
	case opNot:
		if of := parts[0]; of.op == opConstant {
			switch of.truth {
			case engine.True:
				return constant(engine.False)
			case engine.False:
				return constant(engine.True)
			}
			return of
		}
	case opIf:
		if when := parts[0]; when.op == opConstant {
			switch when.truth {
			case engine.True:
				return parts[1]
			case engine.False:
				return parts[2]
			}
			return when
		}
	default:
		ends, passes := engine.False, engine.True
		if o == opOr {
			ends, passes = engine.True, engine.False
		}
		var kept []*tree
		for _, t := range parts {
			if t.op == opConstant && t.truth == ends {
				return t
			}
			if t.op != opConstant || t.truth != passes {
				kept = append(kept, t)
			}
		}
		switch len(kept) {
		case 0:
			return constant(passes)
		case 1:
			return kept[0]
		}
		parts = kept
	}
	words := make([]string, len(parts))
	for i, t := range parts {
		words[i] = t.text
	}
	return &tree{op: o, parts: parts, text: string("cl&|!?"[o]) + "(" + strings.Join(words, ",") + ")"}
}

// with is the tree once some leaves are decided.
func (t *tree) with(truth func(*leaf) (engine.Truth, bool)) *tree {
	switch t.op {
	case opConstant:
		return t
	case opLeaf:
		if v, decided := truth(t.leaf); decided {
			return constant(v)
		}
		return t
	}
	parts := make([]*tree, len(t.parts))
	same := true
	for i, of := range t.parts {
		parts[i] = of.with(truth)
		same = same && parts[i] == of
	}
	if same {
		return t
	}
	return join(t.op, parts)
}

// valuation is what all that a block measures comes to, as far as it makes a difference: the trees of its conditions, of which only what the
// states themselves know is open, and the modes of scopes outside.
type valuation struct {
	trees []*tree // of the block's conditions
	modes map[engine.Scope]engine.Mode
}

// class is a value, or a span of values, that a source may have: the truths of its leaves.
type class struct {
	truths []engine.Truth
	mode   engine.Mode
}

// classes are all that leaves of one source can come to. Between and beyond the constants they are compared with, each value is as good
// as another.
func classes(leaves []*leaf, modes []engine.Mode) []class {
	var list []class
	add := func(c class) {
		if modes == nil && slices.ContainsFunc(list, func(o class) bool { return slices.Equal(o.truths, c.truths) }) {
			return
		}
		list = append(list, c)
	}
	if modes != nil {
		for _, m := range modes {
			c := class{mode: m}
			for _, l := range leaves {
				c.truths = append(c.truths, engine.TruthOf(holds(l.compare, 0, string(m))))
			}
			add(c)
		}
		return list
	}
	all := func(v engine.Truth) class { return class{truths: slices.Repeat([]engine.Truth{v}, len(leaves))} }
	if leaves[0].compare == nil {
		add(all(engine.False))
		add(all(engine.True))
	} else {
		for _, v := range values(leaves) {
			var c class
			for _, l := range leaves {
				c.truths = append(c.truths, engine.TruthOf(holds(l.compare, l.inUnit(v), "")))
			}
			add(c)
		}
	}
	if !leaves[0].always {
		add(all(engine.Unknown))
	}
	return list
}

// inUnit turns a burn rate into what the leaf's function gives for it.
func (l *leaf) inUnit(v float64) float64 {
	if l.compare.Function == "error_ratio" {
		return round(v * l.budget)
	}
	return v
}

// round keeps a constant that was divided by a budget and multiplied again what it was.
func round(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// values are one value of each kind that a source may have: the constants it is compared with, one between any two of them, and one
// beyond either end, as far as the signal goes.
func values(leaves []*leaf) []float64 {
	least, most := math.Inf(-1), math.Inf(1)
	switch c := leaves[0].compare; c.Signal.Kind {
	case rules.SignalSLO: // as a burn rate: no more than all events are errors
		least, most = 0, round(1/leaves[0].budget)
	case rules.SignalBudget:
		most = 1
	case rules.SignalDivergence:
		least, most = 0, 1
	}
	var constants []float64
	for _, l := range leaves {
		v := l.compare.Number
		if l.compare.Function == "error_ratio" {
			v = round(v / l.budget)
		}
		constants = append(constants, v)
	}
	slices.Sort(constants)
	constants = slices.Compact(constants)
	list := []float64{constants[0] - 1, least, most}
	for i, v := range constants {
		list = append(list, v)
		if i+1 < len(constants) {
			list = append(list, v+(constants[i+1]-v)/2)
		} else {
			list = append(list, v+math.Abs(v)+1, v+(most-v)/2)
		}
	}
	list = append(list, least+(constants[0]-least)/2)
	list = slices.DeleteFunc(list, func(v float64) bool { return math.IsInf(v, 0) || math.IsNaN(v) || v < least || v > most })
	slices.Sort(list)
	return slices.Compact(list)
}

// valuations are all that the conditions of a block can come to, one of each kind. It is nil when there are more than most.
func (p *planter) valuations(b *block, outside map[engine.Scope][]engine.Mode, most int) []valuation {
	list := []valuation{{trees: b.trees}}
	for _, source := range b.sources {
		leaves := p.by[source]
		scope, isMode := strings.CutPrefix(source, "mode of ")
		var modes []engine.Mode
		if isMode {
			modes = outside[engine.Scope(scope)]
		}
		at := map[*leaf]int{}
		for i, l := range leaves {
			at[l] = i
		}
		seen := map[string]bool{}
		var next []valuation
		for _, c := range classes(leaves, modes) {
			for _, v := range list {
				n := v.with(func(l *leaf) (engine.Truth, bool) {
					i, decided := at[l]
					if !decided {
						return engine.Unknown, false
					}
					return c.truths[i], true
				})
				if isMode {
					n.modes = map[engine.Scope]engine.Mode{engine.Scope(scope): c.mode}
					for k, m := range v.modes {
						n.modes[k] = m
					}
				}
				if key := n.key(); !seen[key] {
					seen[key] = true
					next = append(next, n)
				}
			}
			if len(next) > most {
				return nil
			}
		}
		list = next
	}
	return list
}

// with is the valuation once some leaves are decided.
func (v valuation) with(truth func(*leaf) (engine.Truth, bool)) valuation {
	n := valuation{trees: make([]*tree, len(v.trees)), modes: v.modes}
	for k, t := range v.trees {
		n.trees[k] = t.with(truth)
	}
	return n
}

func (v valuation) key() string {
	var b strings.Builder
	for _, t := range v.trees {
		b.WriteString(t.text)
		b.WriteByte(';')
	}
	for _, scope := range sortedScopes(v.modes) {
		fmt.Fprintf(&b, "%s=%s;", scope, v.modes[scope])
	}
	return b.String()
}

// sources are what the leaves of a tree are measured by, less what the states know.
func (t *tree) sources(list []string) []string {
	if t.op == opLeaf && t.leaf.inside == nil && !slices.Contains(list, t.leaf.source) {
		list = append(list, t.leaf.source)
	}
	for _, of := range t.parts {
		list = of.sources(list)
	}
	return list
}

func sortedScopes[T any](m map[engine.Scope]T) []engine.Scope {
	list := make([]engine.Scope, 0, len(m))
	for s := range m {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b engine.Scope) int { return cmp.Compare(a, b) })
	return list
}
