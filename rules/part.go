package rules

import (
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// Op says how a part of a condition is made of its own parts.
type Op string

// The ops. A part without one is a leaf: a comparison, an alert, a schedule.
const (
	OpAnd  Op = "and"
	OpOr   Op = "or"
	OpNot  Op = "not"
	OpIf   Op = "if"   // when, then, otherwise
	OpBurn Op = "burn" // an SLO's tier: one of its pairs
	OpPair Op = "pair" // a burn-rate pair: its short window, then its long one
)

// Part is a part of a condition with what it comes to. The tree of parts is the condition as people read it.
type Part struct {
	Op    Op
	Text  string // as written, in CEL's own spacing; of a window of a tier, as it could be written
	Truth engine.Truth
	// Open: it is unknown only because something was not asked for. While the whole is decided it does not have to be.
	Open    bool
	Signals []Signal // of a leaf: what it rests on
	// Compares is set where a leaf compares one signal with a constant.
	Compares *Comparison
	Parts    []Part
}

// Parts evaluates the condition part by part, with what is known.
func (c *Condition) Parts(lookup Lookup) Part {
	e := &evaluation{lookup: lookup}
	return c.root.part(e)
}

// whole is a part as it comes out.
func whole(op Op, text string, o outcome, parts ...Part) Part {
	return Part{Op: op, Text: text, Truth: o.truth, Open: o.truth == engine.Unknown && (o.canTrue || o.canFalse), Parts: parts}
}

func (x notExpr) part(e *evaluation) Part {
	of := x.of.part(e)
	return whole(OpNot, "!("+of.Text+")", x.eval(e), of)
}

func (x andExpr) part(e *evaluation) Part {
	return joined(OpAnd, " && ", x.eval(e), x.left.part(e), x.right.part(e))
}
func (x orExpr) part(e *evaluation) Part {
	return joined(OpOr, " || ", x.eval(e), x.left.part(e), x.right.part(e))
}

// joined makes one list of `a && b && c`, which is a tree of two twos.
func joined(op Op, word string, o outcome, left, right Part) Part {
	var parts []Part
	for _, p := range []Part{left, right} {
		if p.Op == op {
			parts = append(parts, p.Parts...)
		} else {
			parts = append(parts, p)
		}
	}
	text := ""
	for i, p := range parts {
		if i > 0 {
			text += word
		}
		if p.Op == OpAnd || p.Op == OpOr || p.Op == OpIf {
			text += "(" + p.Text + ")"
		} else {
			text += p.Text
		}
	}
	return whole(op, text, o, parts...)
}

func (x ifExpr) part(e *evaluation) Part {
	w, t, o := x.when.part(e), x.then.part(e), x.otherwise.part(e)
	return whole(OpIf, w.Text+" ? "+t.Text+" : "+o.Text, x.eval(e), w, t, o)
}

func (x switchExpr) part(e *evaluation) Part {
	p := whole("", x.text, x.eval(e))
	p.Signals = []Signal{x.signal}
	return p
}

func (x burnExpr) part(e *evaluation) Part {
	var pairs []Part
	for _, p := range x.pairs {
		var windows []Part
		for _, s := range []Signal{p.short, p.long} {
			w := whole("", p.text(s), p.exceeds(e, s))
			w.Signals = []Signal{s}
			w.Compares = &Comparison{Signal: s, Function: "burn_rate", Op: ">", Number: p.factor}
			windows = append(windows, w)
		}
		pairs = append(pairs, whole(OpPair, windows[0].Text+" && "+windows[1].Text, p.eval(e), windows...))
	}
	return whole(OpBurn, x.text, x.eval(e), pairs...)
}

func (x *atomExpr) part(e *evaluation) Part {
	p := whole("", x.text, x.eval(e))
	p.Compares = x.compares
	for i := range x.inputs {
		if b := x.inputs[i].burn; b != nil {
			p.Parts = append(p.Parts, b.part(e))
		} else if s := x.inputs[i].signal; !slices.Contains(p.Signals, s) {
			p.Signals = append(p.Signals, s)
		}
	}
	return p
}
