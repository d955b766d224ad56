package rules

import (
	"slices"
	"sync"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/outline"
)

// Condition is a compiled expression over signals. It may be evaluated by many goroutines at once.
type Condition struct {
	Name     string // as in engine.Policy: "shed.when", "slo/availability/page"
	Text     string // as written
	Position string // file:line:column

	root       expr
	signals    []Signal
	canonical  string // the expression without spaces and comments that do not matter
	shape      outline.Form
	burning    []burningRef
	references []reference
	sketch     *sketch // where findings are asked for
}

// burningRef is an SLO's tier that a condition asks for.
type burningRef struct {
	slo      string
	severity engine.Severity
}

// Signals are all the condition may ask for, each once, in order of first use.
func (c *Condition) Signals() []Signal { return c.signals }

// scheduled reports whether it rests on declared schedules, and how long the mode has lasted, alone.
func (c *Condition) scheduled() bool {
	scheduled := false
	for _, s := range c.signals {
		if s.Kind != SignalSchedule && s.Kind != SignalDwell {
			return false
		}
		scheduled = scheduled || s.Kind == SignalSchedule
	}
	return scheduled
}

// Eval says what the condition comes to with what is known. Unknown is contagious as in Kleene's logic: `false && unknown` is
// false, `true || unknown` is true. It asks lookup only for what can still decide, and for each signal once.
func (c *Condition) Eval(lookup Lookup) Verdict {
	e := evaluations.Get().(*evaluation)
	e.lookup = lookup
	o := c.root.eval(e)
	v := Verdict{Truth: o.truth}
	if o.truth == engine.Unknown {
		c.root.collect(e, o.canTrue, o.canFalse)
		v.Missing = e.missing
	}
	v.Used, v.Disagree = e.used(), e.disagree
	clear(e.answers)
	clear(e.frame.values)
	*e = evaluation{answers: e.answers[:0], frame: frame{e.frame.values[:0]}, open: e.open[:0]}
	evaluations.Put(e)
	return v
}

// evaluations are used again: at each tick there are several of each condition, and the values in one are a kilobyte.
var evaluations = sync.Pool{New: func() any { return &evaluation{} }}

// Deciding are the signals without which the condition cannot be decided: given what lookup knows, each of the others could be
// anything and it would not matter. Unlike Verdict.Missing it puts no order into them.
func (c *Condition) Deciding(lookup Lookup) []Signal {
	e := evaluation{lookup: lookup, both: true}
	if o := c.root.eval(&e); o.truth == engine.Unknown {
		c.root.collect(&e, o.canTrue, o.canFalse)
	}
	return e.missing
}

// alertCondition is the condition of an SLO's tier: it burns.
func alertCondition(s *SLO, t *Tier) *Condition {
	root := newBurn(s, t, true, false)
	return &Condition{
		Name:      "slo/" + s.Name + "/" + string(t.Severity),
		Text:      root.text,
		Position:  s.Position,
		root:      root,
		signals:   root.signals(nil),
		canonical: "burning",
		burning:   []burningRef{{s.Name, t.Severity}},
	}
}

// appendNew adds a signal that is not in the list yet.
func appendNew(list []Signal, s Signal) []Signal {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
