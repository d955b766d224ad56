package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// String names the actor as people know it.
func (a Actor) String() string {
	switch {
	case a.Person != "" && a.Person != a.Principal:
		return a.Person
	case a.Principal != "":
		return a.Principal
	}
	return "modeshift"
}

// set moves the scope by hand and pins it, or says why it cannot. A transition with a gate is proposed: the pin begins when
// people have said yes.
func (d *decision) set(r *SetRequested) {
	t, refusal := d.route(r)
	if refusal.Code == "" {
		refusal = d.deposed()
	}
	if refusal.Code == "" && r.Mode != d.s.Target {
		if refusal = d.mayStart(r, t); refusal.Code == "" && !r.Force {
			refusal = d.unearned(r, t)
		}
	}
	if refusal.Code != "" {
		d.refuse(refusal)
		return
	}
	if t != nil && t.Gate != nil && !r.Force {
		d.propose(t, t.Gate, r, Reason{CodeRequest, r.Reason}, nil)
		return
	}
	around := d.gatesAround(r, t)
	for _, g := range around {
		d.breakGlass(g, r)
	}
	forced := len(around) > 0
	if !forced && r.Mode != d.s.Target && d.unearned(r, t).Code != "" {
		forced = true
		d.breakInto(r, t)
	}
	d.emit(ModePinned{Mode: r.Mode, Until: d.in.At.Add(pinFor(r))}, CodeRequest, r.Reason, nil)
	if r.Mode != d.s.Target {
		d.begin(r.Mode, t, Reason{CodeRequest, r.Reason}, nil, nil, forced || d.beneath(r.Mode).Code != "")
	}
}

// gatesAround are the gated transitions a request goes around: the one it takes without asking, or, with a directive only,
// all that are declared from here to there. route and mayStart let through only what may do that.
func (d *decision) gatesAround(r *SetRequested, t *Transition) []*Transition {
	ways := []*Transition{t}
	if t == nil {
		ways = d.ways(r.Mode)
	}
	return slices.DeleteFunc(ways, func(t *Transition) bool { return t == nil || t.Gate == nil })
}

// ways are the transitions declared from here to m; none when this is m.
func (d *decision) ways(m Mode) []*Transition {
	var ways []*Transition
	for i := range d.p.Transitions {
		if t := &d.p.Transitions[i]; m != d.s.Target && t.To == m && t.leaves(d.s.Target) {
			ways = append(ways, t)
		}
	}
	return ways
}

// mayStart says why a person's request cannot be begun now.
func (d *decision) mayStart(r *SetRequested, t *Transition) Reason {
	if r.Force && !slices.Contains(r.Roles, RoleBreakGlass) {
		return Reason{CodeRole, "--force needs the role " + RoleBreakGlass}
	}
	if i, _ := d.floor(); !r.Force && d.beneath(r.Mode).Code != "" {
		return Reason{CodeImposed, fmt.Sprintf("%s is in %s, which asks for %s at least: set %s, or go around it with --force", i.Parent, i.In, i.Mode, i.Parent)}
	}
	if t != nil && t.Gate != nil && !r.Force {
		if p, waits := d.s.proposal(t.Name); waits {
			return Reason{CodeProposed, fmt.Sprintf("%s waits for %s already", p.ID, p.lack())}
		}
		if d.s.Change != nil && d.s.Change.Transition == t.Name {
			return d.underWay()
		}
		return Reason{}
	}
	c := d.s.Change
	if c == nil {
		return Reason{}
	}
	if by := (&Transition{To: r.Mode}); t != nil && d.overtakes(&Transition{To: t.To, Playbook: t.Playbook}) || t == nil && d.overtakes(by) {
		return Reason{}
	}
	why := d.underWay()
	if !c.Undoing && !c.Stuck {
		why.Text += "; cancel it first"
	}
	return why
}

// breakGlass marks for ever that somebody went around a gate, and pages the owner.
func (d *decision) breakGlass(t *Transition, r *SetRequested) {
	person := d.in.By.String()
	d.emit(GlassBroken{Person: person, Transition: t.Name, Groups: t.Gate.Groups}, CodeRequest, r.Reason, nil)
	d.open(Incident{Kind: IncidentGlass, Subject: t.Name, Severity: SeverityPage, Mode: t.To},
		fmt.Sprintf("%s: %s went around the gate of %s: %s", d.p.Scope, person, t.Name, r.Reason), t.Name, Reason{CodeRequest, r.Reason}, nil)
	if p, waits := d.s.proposal(t.Name); waits {
		d.withdraw(p, CodeRequest, person+" went around the gate")
	}
}

// route finds the transition a request goes by: nil for a directive only, or when the scope is there already.
func (d *decision) route(r *SetRequested) (*Transition, Reason) {
	if reason := needReason(r.Reason); reason.Code != "" {
		return nil, reason
	}
	if _, declared := d.p.Mode(r.Mode); !declared {
		return nil, Reason{CodeNoMode, fmt.Sprintf("%s has no mode %q; it has %s", d.p.Scope, r.Mode, d.modes())}
	}
	if r.For < 0 || r.For > MaxPin {
		return nil, Reason{CodeTooLongPin, fmt.Sprintf("a pin lasts more than 0 and at most %v", MaxPin)}
	}
	if r.Mode == d.s.Target {
		return nil, Reason{}
	}
	var names []string
	var found *Transition
	for _, t := range d.ways(r.Mode) {
		if r.Via == "" || r.Via == t.Name {
			found, names = t, append(names, t.Name)
		}
	}
	move := fmt.Sprintf("%s → %s", d.s.Target, r.Mode)
	switch {
	case r.DirectiveOnly && r.Via == "" && (found == nil || r.Force):
		return nil, Reason{}
	case r.DirectiveOnly && r.Via == "": // what is declared has a gate, actions and an undo for a reason
		return nil, Reason{CodeDeclared, fmt.Sprintf("%s declares %s for %s: leave --directive-only out, or go around it with --force",
			d.p.Scope, strings.Join(names, " and "), move)}
	case found == nil && r.Via != "":
		return nil, Reason{CodeNoTransition, fmt.Sprintf("%s has no transition %q that goes %s", d.p.Scope, r.Via, move)}
	case found == nil:
		return nil, Reason{CodeNoTransition, fmt.Sprintf("%s declares no transition %s; --directive-only publishes the mode without one", d.p.Scope, move)}
	case len(names) > 1:
		return nil, Reason{CodeManyRoutes, fmt.Sprintf("several transitions go %s: say --via %s", move, strings.Join(names, " or --via "))}
	}
	return found, Reason{}
}

func (d *decision) modes() string {
	if len(d.p.Modes) == 0 {
		return "none"
	}
	names := make([]string, len(d.p.Modes))
	for i := range d.p.Modes {
		names[i] = string(d.p.Modes[i].Name)
	}
	return strings.Join(names, ", ")
}

func (d *decision) unpin(r *UnpinRequested) {
	if d.s.Pin == nil {
		d.refuse(Reason{CodeNothingToDo, fmt.Sprintf("%s is not pinned", d.p.Scope)})
		return
	}
	d.emit(ModeUnpinned{}, CodeRequest, r.Reason, nil)
}

func (d *decision) freeze(r *FreezeRequested) {
	if reason := needReason(r.Reason); reason.Code != "" {
		d.refuse(reason)
		return
	}
	var until time.Time
	if r.For > 0 {
		until = d.in.At.Add(r.For)
	}
	d.emit(AutomationFrozen{Until: until}, CodeRequest, r.Reason, nil)
}

func (d *decision) unfreeze(r *UnfreezeRequested) {
	if d.s.Freeze == nil {
		d.refuse(Reason{CodeNothingToDo, fmt.Sprintf("%s is not frozen", d.p.Scope)})
		return
	}
	d.emit(AutomationReleased{}, CodeRequest, r.Reason, nil)
}

// needReason refuses a request without one: the log has to say why a person stepped in.
func needReason(given string) Reason {
	if strings.TrimSpace(given) == "" {
		return Reason{CodeNoReason, "say why: the reason is kept in the log"}
	}
	return Reason{}
}

func (d *decision) refuse(why Reason) { d.emit(RequestRefused{}, why.Code, why.Text, nil) }
