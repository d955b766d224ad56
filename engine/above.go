package engine

import (
	"fmt"
	"slices"
	"time"
)

// Above is an ancestor of a scope, and the least that its mode lets the scope be in.
type Above struct {
	Scope Scope `json:"scope"`
	Mode  Mode  `json:"mode,omitempty"` // it is in; empty: there is no such scope
	// Imposes is what that mode asks for; empty: nothing.
	Imposes Mode `json:"imposes,omitempty"`
	// Unsure says that nobody can tell what it asks for: its rules are not in force. What it asked for before goes on.
	Unsure bool `json:"unsure,omitempty"`
}

// Imposition is the least that an ancestor lets a scope be in.
type Imposition struct {
	Parent Scope `json:"parent"`
	In     Mode  `json:"in"` // the mode the parent is in
	Mode   Mode  `json:"mode"`
}

// reason is why, as events and people have it.
func (i Imposition) reason() Reason {
	return Reason{CodeImposed, fmt.Sprintf("%s is in %s", i.Parent, i.In)}
}

// The facts of the tree of scopes.
type (
	// ModeImposed says that an ancestor's mode is a floor under this scope's.
	ModeImposed struct {
		Parent Scope `json:"parent"`
		In     Mode  `json:"in"` // the mode the parent is in
		Mode   Mode  `json:"mode"`
	}
	// ImpositionEnded ends that.
	ImpositionEnded struct {
		Parent Scope `json:"parent"`
	}
	// ModeKept says that the mode a scope was moved to by an ancestor is its own now: its rules would lead there again.
	ModeKept struct {
		Mode Mode `json:"mode"`
	}
)

func (ModeImposed) fact()     {}
func (ImpositionEnded) fact() {}
func (ModeKept) fact()        {}

// AncestorMoved says that an ancestor's mode, or its rules, changed. What they are by now stands in Input.Above. Prev is as that of
// TimePassed.
type AncestorMoved struct {
	Prev   time.Time
	Missed []Window // as for Observed
}

func (*AncestorMoved) name() string { return "ancestor moved" }

// CodeImposed says that an ancestor's mode asks for it.
const CodeImposed Code = "imposed"

// maxAncestors bounds a tree's depth; files with a cycle do not load.
const maxAncestors = 32

// Ancestry says what the scopes above one with the policy p ask of it, the nearest first. find gives the state and the policy of a
// scope; the policy is nil while no rules are in force for it.
//
// Both the mode an ancestor is in and the one it goes to count, so that its children are protected as soon as it says so, and until
// it has settled in something less.
func Ancestry(p *Policy, find func(Scope) (State, *Policy)) []Above {
	var list []Above
	for next := p.Parent; next != "" && len(list) < maxAncestors; {
		s, rules := find(next)
		a := Above{Scope: next}
		switch {
		case s.Version == 0 || s.Retired:
			return append(list, a)
		case rules == nil:
			a.Mode, a.Unsure = s.Target, true
			return append(list, a)
		}
		a.Mode = s.Target
		for _, m := range []Mode{s.Target, s.Mode} {
			if rule, _ := rules.Mode(m); rule.Imposes != "" && p.rank(rule.Imposes) > p.rank(a.Imposes) {
				a.Mode, a.Imposes = m, rule.Imposes
			}
		}
		list = append(list, a)
		next = rules.Parent
	}
	return list
}

// above takes note of what the scopes above ask for by now.
func (d *decision) above() {
	if d.s.Retired || d.s.Version == 0 || len(d.p.Modes) == 0 {
		return
	}
	unsure := false
	for _, a := range d.in.Above {
		unsure = unsure || a.Unsure
	}
	for _, i := range d.s.Imposed {
		k := slices.IndexFunc(d.in.Above, func(a Above) bool { return a.Scope == i.Parent })
		switch {
		case k < 0 && unsure: // it stands above one of which nobody knows what is above it
		case k < 0:
			d.floorMoves(ImpositionEnded{Parent: i.Parent}, Reason{CodeRules, fmt.Sprintf("%s is not above it any more", i.Parent)})
		case d.in.Above[k].Imposes == "" && !d.in.Above[k].Unsure:
			why := Reason{CodeLeft, fmt.Sprintf("%s is in %s", i.Parent, d.in.Above[k].Mode)}
			if d.in.Above[k].Mode == "" {
				why = Reason{CodeRetired, fmt.Sprintf("there is no %s any more", i.Parent)}
			}
			d.floorMoves(ImpositionEnded{Parent: i.Parent}, why)
		}
	}
	for _, a := range d.in.Above {
		next := Imposition{Parent: a.Scope, In: a.Mode, Mode: a.Imposes}
		if a.Imposes != "" && d.p.rank(a.Imposes) >= 0 && !slices.Contains(d.s.Imposed, next) {
			d.floorMoves(ModeImposed(next), next.reason())
		}
	}
}

// floorMoves records that what is asked from above has changed, and remembers why for the flags that change with it.
func (d *decision) floorMoves(f Fact, why Reason) {
	d.emit(f, why.Code, why.Text, nil)
	d.floored = why
}

// floor is the most restrictive of what is asked from above; of equal ones that of the nearest ancestor.
func (d *decision) floor() (Imposition, bool) {
	best, found := Imposition{}, false
	for _, a := range d.s.Imposed {
		if r := d.p.rank(a.Mode); r >= 0 && (!found || r > d.p.rank(best.Mode)) {
			best, found = a, true
		}
	}
	return best, found
}

// beneath says that m is less than what is asked from above. A mode beside the others is not: what is asked is laid over it.
func (d *decision) beneath(m Mode) Reason {
	i, imposed := d.floor()
	if r := d.p.rank(m); !imposed || r < 0 || r >= d.p.rank(i.Mode) {
		return Reason{}
	}
	return i.reason()
}

// impose moves the scope to the least that is asked from above. A person's pin holds, as it does against the scope's own rules, and
// people are paged for what it withholds.
func (d *decision) impose() {
	if d.s.Retired || d.in.Deposed != "" {
		return
	}
	i, _ := d.floor()
	why := d.beneath(d.s.Target)
	told, open := d.s.Incident(IncidentImposed, string(d.p.Scope))
	switch {
	case why.Code != "" && d.s.Pin != nil && !open:
		d.open(Incident{Kind: IncidentImposed, Subject: string(d.p.Scope), Severity: SeverityPage},
			fmt.Sprintf("%s: %s → %s, which %s in %s asks for, is withheld: %s pinned %s: %s", d.p.Scope, d.s.Target, i.Mode, i.Parent, i.In,
				d.s.Pin.By, d.s.Pin.Mode, d.s.Pin.Reason), "", Reason{CodeWithheld, why.Text}, nil)
	case open && why.Code == "":
		d.resolve(told, CodeLeft, "it is not asked for any more", nil)
	case open && d.s.Pin == nil:
		d.resolve(told, CodeStarted, "it is not withheld any more", nil)
	}
	if why.Code == "" || d.s.Pin != nil || d.s.Change != nil && !d.overtakes(&Transition{To: i.Mode}) {
		return
	}
	d.lay(i.Mode, ChangeStarted{Imposed: i.Parent}, why)
}

// giveBack leaves the mode that was asked for from above, once less is asked for: for the scope's own, or for what its own rules
// would lead to from there at once. While nobody can see whether they would, nothing is given back.
func (d *decision) giveBack(o *Observed) {
	if d.s.Own == "" || d.s.Change != nil || d.s.Pin != nil || d.in.Deposed != "" {
		return
	}
	i, imposed := d.floor()
	if imposed && d.p.rank(i.Mode) > d.p.rank(d.s.Own) {
		if d.p.moreRestrictive(i.Mode, d.s.Target) {
			d.lay(i.Mode, ChangeStarted{Imposed: i.Parent}, i.reason())
		}
		return
	}
	left := Reason{CodeLeft, "no more than its own mode is asked for"}
	if d.floored.Code == CodeLeft || d.floored.Code == CodeRetired {
		left = d.floored
	}
	to, why, goesOn := d.s.Own, left, false
	if d.p.Automation == "" || d.p.Automation == AutomationOn {
		for k := range d.p.Transitions {
			t := &d.p.Transitions[k]
			if t.Gate != nil || !t.leaves(d.s.Own) || !d.p.moreRestrictive(to, t.To) {
				continue
			}
			switch seen := &o.Conditions[t.When]; seen.Truth {
			case Unknown:
				return
			case True:
				to, why, goesOn = t.To, Reason{CodeCondition, d.p.Conditions[t.When].Text + " is true"}, t.leaves(d.s.Target)
			}
		}
	}
	if d.p.moreRestrictive(d.s.Target, to) {
		if goesOn {
			return // by a rule that leads there from here too, or nowhere if it does not start after all
		}
		to, why = d.s.Own, left // no rule leads there from here: it starts from its own mode, at the next evaluation
	}
	if !d.p.moreRestrictive(to, d.s.Target) {
		d.emit(ModeKept{Mode: d.s.Target}, why.Code, why.Text, nil)
		return
	}
	d.lay(to, ChangeStarted{Returns: true}, why)
}

// lay publishes a mode that was asked for from above, or leaves it: a directive, and nothing else.
func (d *decision) lay(to Mode, c ChangeStarted, why Reason) {
	if asked, held := d.asks(); held {
		d.withdraw(asked, CodeOvertaken, fmt.Sprintf("%s is overtaken", asked.Change))
	}
	c.Change, c.From, c.To, c.Plan, c.Instances = ChangeID(d.next()), d.s.Target, to, d.plan(nil, to), d.in.Instances.Known
	if d.s.Change != nil {
		c.Overtakes = d.s.Change.ID
	}
	d.emit(c, why.Code, why.Text, nil)
	if c.Overtakes != "" {
		d.emit(ChangeOvertaken{Change: c.Overtakes, By: c.Change}, CodeOvertaken, "", nil)
	}
	d.advance()
}

// laid is m with what is asked from above laid on top: only a mode beside the others is not left for it.
func (d *decision) laid(m ModeRule) ModeRule {
	i, imposed := d.floor()
	top, declared := d.p.Mode(i.Mode)
	if !m.Beside || !imposed || !declared {
		return m
	}
	var flags Flags // nil when there are none
	if n := len(m.Flags) + len(top.Flags); n > 0 {
		flags = make(Flags, n)
	}
	for name, v := range m.Flags {
		flags[name] = v
	}
	for name, v := range top.Flags {
		flags[name] = v
	}
	m.Flags = flags
	if top.Unavailable != nil {
		m.Unavailable = top.Unavailable
	}
	return m
}

// applyAbove folds what is asked from above.
func applyAbove(s State, e Event) State {
	from := func(p Scope) func(Imposition) bool { return func(i Imposition) bool { return i.Parent == p } }
	switch f := e.Fact.(type) {
	case ModeImposed:
		next := Imposition(f)
		if i := slices.IndexFunc(s.Imposed, from(f.Parent)); i >= 0 {
			s.Imposed = slices.Clone(s.Imposed)
			s.Imposed[i] = next
			return s
		}
		s.Imposed = with(s.Imposed, next)
	case ImpositionEnded:
		s.Imposed = without(s.Imposed, from(f.Parent))
	case ModeKept:
		s.Own = ""
	}
	return s
}

// owns notes which mode is the scope's own when a change starts: the one it was in before it was moved from above.
func (s State) owns(f ChangeStarted) Mode {
	switch {
	case f.Imposed == "":
		return ""
	case s.Own == "":
		return f.From
	}
	return s.Own
}
