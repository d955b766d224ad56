package ruletest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// why says what stands in the way of what a claim wants: of a mode the transitions that lead there from the mode in force, what
// withholds them, and their conditions with the readings behind them.
func (r *run) why(ctx context.Context, c *claim) []string {
	if c.mode == "" || r.ticked.IsZero() {
		return nil
	}
	v, _ := r.rehearsal.View(c.scope)
	if v.Policy == nil {
		return nil
	}
	var lines []string
	var conditions []int
	from := v.State.Target
	for i := range v.Policy.Transitions {
		t := &v.Policy.Transitions[i]
		if t.To != c.mode || !slices.Contains(t.From, from) {
			continue
		}
		conditions = append(conditions, t.When)
		for _, w := range v.State.Withheld {
			if w.Transition == t.Name {
				lines = append(lines, fmt.Sprintf("%s is ready and withheld (%s): %s", t.Name, w.Reason.Code, w.Reason.Text))
			}
		}
		for _, p := range v.State.Proposals {
			if p.Transition == t.Name {
				lines = append(lines, t.Name+" waits for people's yes")
			}
		}
		for _, clock := range v.State.Clocks {
			if clock.Condition == v.Policy.Conditions[t.When].Name && t.For > 0 && clock.Truth == engine.True {
				lines = append(lines, fmt.Sprintf("%s was true for %s of %s", clock.Condition, clock.Held(r.ticked), t.For))
			}
		}
	}
	if len(conditions) == 0 && from != c.mode {
		lines = append(lines, fmt.Sprintf("no transition leads from %s to %s", from, c.mode))
	}
	if ch := v.State.Change; ch != nil {
		lines = append(lines, fmt.Sprintf("a change from %s to %s is under way", ch.From, ch.To))
	}
	x := r.explain(ctx, r.evaluator, c.scope, r.ticked, conditions)
	for i := range x.Conditions {
		lines = append(lines, tree(&x.Conditions[i])...)
	}
	return lines
}

// tree is a condition with the parts that made it what it is, each with its readings.
func tree(c *prom.Explained) []string {
	lines := []string{fmt.Sprintf("%s is %s", c.Condition.Name, c.Truth)}
	return parts(lines, "  ", c.Tree, c)
}

func parts(lines []string, indent string, p rules.Part, c *prom.Explained) []string {
	text := fmt.Sprintf("%s%s is %s", indent, p.Text, p.Truth)
	if p.Open {
		text = fmt.Sprintf("%s%s was not needed", indent, p.Text)
	}
	var said []string
	for _, s := range p.Signals {
		m, asked := c.Signals[s]
		switch r := m.Reading; {
		case !asked:
		case r.Why != "":
			said = append(said, strings.TrimSuffix(fmt.Sprintf("%s is unknown: %s: %s", r.Signal, r.Why, r.Detail), ": "))
		case r.Text != "":
			said = append(said, fmt.Sprintf("%s is %s", r.Signal, r.Text))
		default:
			said = append(said, fmt.Sprintf("%s is %s", r.Signal, strconv.FormatFloat(r.Value, 'g', 6, 64)))
		}
	}
	if len(said) > 0 {
		text += " (" + strings.Join(said, "; ") + ")"
	}
	lines = append(lines, text)
	for _, sub := range p.Parts {
		lines = parts(lines, indent+"  ", sub, c)
	}
	return lines
}

// Moment is a line of a timeline.
type Moment struct {
	At    time.Duration `json:"-"`
	When  string        `json:"at"`
	Scope engine.Scope  `json:"scope"`
	What  string        `json:"what"`
	Why   string        `json:"why,omitempty"`
	Bad   bool          `json:"failed,omitempty"` // here an expectation did not hold
}

// around is how many events are told before a failure, and after it.
const around = 6

// timeline tells what happened around the first failure, or at the end where there is none.
func (r *run) timeline() []Moment {
	var list []Moment
	add := func(m Moment) { m.When = clock(m.At); list = append(list, m) }
	for _, e := range r.rehearsal.Events() {
		if e.Stream == engine.Fleet || quiet(e) {
			continue
		}
		why := e.Reason.Text
		if why == "" {
			why = string(e.Reason.Code)
		}
		add(Moment{At: e.At.Sub(r.test.file.start), Scope: e.Stream, What: explain.What(e), Why: why})
	}
	at := len(list)
	for _, f := range r.failures {
		m := Moment{At: f.At, When: f.When, Bad: true, What: fmt.Sprintf("%s: %s", f.What, f.Got)}
		i := len(list)
		for i > 0 && list[i-1].At > f.At {
			i--
		}
		list = slices.Insert(list, i, m)
		at = min(at, i)
	}
	list = list[max(0, at-around):min(len(list), at+len(r.failures)+around)]
	return slices.Concat(r.test.drawing().missing, list)
}

// quiet reports whether an event says nothing to whoever reads a timeline that the others do not.
func quiet(e engine.Event) bool {
	switch e.Fact.(type) {
	case engine.DirectivePublished, engine.ScopeAdded, engine.ChangeDone, engine.WithholdingEnded:
		return true
	}
	return false
}
