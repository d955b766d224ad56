package engine

import "slices"

// View is a scope as the loop last left it, for whoever shows it. It is shared: nothing in it may be changed.
type View struct {
	Policy   *Policy
	State    State
	Observed *Observed // the last observation; nil before the first
	// RulesProblem says why the rule file on disk is not the one in force; empty when it is.
	RulesProblem string
}

// MoreRestrictive reports whether to protects more than from, for whoever judges a policy from outside. A mode beside the others
// protects neither more nor less.
func (p *Policy) MoreRestrictive(from, to Mode) bool { return p.moreRestrictive(from, to) }

// UsesBrake reports whether a transition, started by itself from some mode it leaves, uses the brake: then it may be withheld until
// people let it through.
func (p *Policy) UsesBrake(t *Transition) bool {
	return slices.ContainsFunc(t.From, func(m Mode) bool { return p.brakes(m, t) })
}
