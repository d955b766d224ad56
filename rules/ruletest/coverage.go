package ruletest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Coverage is what tests reached of rules: which transitions started, which tiers fired, and which operands of conditions were seen
// true and seen false. An operand that never was one of the two could be left out, or turned, and no test would notice.
type Coverage struct {
	mu    sync.Mutex // guards the rest
	items map[string]*covered
}

// covered is one thing that tests can reach.
type covered struct {
	gap  Gap
	seen bits // what was seen
	want bits // what has to be
}

type bits uint8

const (
	sawTrue bits = 1 << iota
	sawFalse
	sawReached
	sawProposed
)

// Gap is something that no test reached.
type Gap struct {
	Position string       `json:"position"` // file:line:column
	Kind     string       `json:"kind"`     // transition, tier, branch
	Scope    engine.Scope `json:"scope"`
	What     string       `json:"what"`
}

// NewCoverage begins to count what the tests of files reach.
func NewCoverage(files []*File) *Coverage {
	c := &Coverage{items: map[string]*covered{}}
	for _, f := range files {
		for _, s := range f.set.Services {
			c.declare(s)
		}
	}
	return c
}

// declare notes what there is to be reached of a service.
func (c *Coverage) declare(s *rules.Service) {
	add := func(key, position, kind, what string, want bits) {
		if c.items[key] == nil {
			c.items[key] = &covered{Gap{position, kind, s.Policy.Scope, what}, 0, want}
		}
	}
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		add(transitionKey(s.Policy.Scope, t), t.Position, "transition", t.Name, sawReached)
	}
	for _, cond := range s.Conditions {
		for _, o := range operands(cond.Parts(nothing)) {
			kind := "branch"
			if tier(cond) {
				kind = "tier"
			}
			add(operandKey(s.Policy.Scope, cond, o), cond.Position, kind, cond.Name+": "+o.text, sawTrue|sawFalse)
		}
	}
}

// Things are told apart by their places too: of two test files each may have rules of its own in which a service has the same name.
func transitionKey(scope engine.Scope, t *engine.Transition) string {
	return fmt.Sprintf("%s %s transition %s", scope, t.Position, t.Name)
}

func operandKey(scope engine.Scope, c *rules.Condition, o operand) string {
	return fmt.Sprintf("%s %s condition %s %d", scope, c.Position, c.Name, o.index)
}

// nothing is known of any signal.
func nothing(rules.Signal) (rules.Value, bool) { return rules.Value{}, false }

// tier reports whether a condition is that of an SLO's tier.
func tier(c *rules.Condition) bool { return strings.HasPrefix(c.Name, "slo/") }

// operand is a part of a condition that can be true and false by itself.
type operand struct {
	index int // among all parts, the whole before its parts
	text  string
	truth engine.Truth
}

// operands are the comparisons and switches of a condition, and of a tier its pairs. A tier that is one operand among others is not
// taken apart: that is the tier's own condition's.
func operands(whole rules.Part) []operand {
	var list []operand
	index := -1
	var walk func(p rules.Part, root bool)
	walk = func(p rules.Part, root bool) {
		index++
		switch {
		case p.Op == rules.OpBurn && root:
			for _, pair := range p.Parts {
				walk(pair, false)
			}
		case p.Op == "" || p.Op == rules.OpBurn || p.Op == rules.OpPair:
			list = append(list, operand{index, p.Text, p.Truth})
		default:
			for _, sub := range p.Parts {
				walk(sub, false)
			}
		}
	}
	walk(whole, true)
	return list
}

// sighting is what one test reached. It is for the goroutine of that test.
type sighting map[string]bits

// see notes how a condition stood.
func (s sighting) see(scope engine.Scope, c *rules.Condition, known rules.Lookup) {
	for _, o := range operands(c.Parts(known)) {
		switch key := operandKey(scope, c, o); o.truth {
		case engine.True:
			s[key] |= sawTrue
		case engine.False:
			s[key] |= sawFalse
		}
	}
}

// events notes what became of the transitions of rules.
func (s sighting) events(list []engine.Event, set *rules.Set) {
	for _, e := range list {
		name, saw := "", sawReached
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			name = f.Transition
		case engine.ChangeProposed:
			name, saw = f.Proposal.Transition, sawProposed
		}
		service := set.Service(e.Stream)
		if name == "" || service == nil {
			continue
		}
		for i := range service.Policy.Transitions {
			if t := &service.Policy.Transitions[i]; t.Name == name {
				s[transitionKey(e.Stream, t)] |= saw
			}
		}
	}
}

// add takes what a test reached.
func (c *Coverage) add(s sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, seen := range s {
		if item := c.items[key]; item != nil {
			item.seen |= seen
		}
	}
}

// Covered counts what was reached of what there is, of one kind: a transition is one thing, an operand or a pair two.
type Covered struct {
	Kind    string `json:"kind"`
	Reached int    `json:"reached"`
	Of      int    `json:"of"`
}

// Report gives what was reached, and what was not, by its place.
func (c *Coverage) Report() (counts []Covered, gaps []Gap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts = []Covered{{Kind: "transition"}, {Kind: "tier"}, {Kind: "branch"}}
	gaps = []Gap{}
	for _, item := range c.items {
		i := slices.IndexFunc(counts, func(n Covered) bool { return n.Kind == item.gap.Kind })
		for _, b := range []bits{sawTrue, sawFalse, sawReached} {
			if item.want&b != 0 {
				counts[i].Of++
				if item.seen&b != 0 {
					counts[i].Reached++
				}
			}
		}
		if missing := item.missing(); missing != "" {
			gap := item.gap
			gap.What += " " + missing
			gaps = append(gaps, gap)
		}
	}
	slices.SortFunc(gaps, func(a, b Gap) int {
		return cmp.Or(comparePositions(a.Position, b.Position), strings.Compare(a.What, b.What))
	})
	return counts, gaps
}

// missing says what was not seen; empty when all was.
func (c *covered) missing() string {
	switch lacks := c.want &^ c.seen; {
	case lacks == 0:
		return ""
	case lacks&sawReached != 0 && c.seen&sawProposed != 0:
		return "was proposed, and never carried out"
	case lacks&sawReached != 0:
		return "never started"
	case lacks == sawTrue|sawFalse:
		return "was never true, and never false"
	case lacks == sawTrue && c.gap.Kind == "tier":
		return "never fired"
	case lacks == sawTrue:
		return "was never true"
	default:
		return "was never false"
	}
}

// comparePositions orders file:line:column by its numbers.
func comparePositions(a, b string) int {
	x, y := strings.Split(a, ":"), strings.Split(b, ":")
	for i := range min(len(x), len(y)) {
		m, errA := strconv.Atoi(x[i])
		n, errB := strconv.Atoi(y[i])
		c := strings.Compare(x[i], y[i])
		if errA == nil && errB == nil {
			c = cmp.Compare(m, n)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// String is one line for people.
func (g Gap) String() string { return fmt.Sprintf("%s: %s %s", g.Position, g.Kind, g.What) }
