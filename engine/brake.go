package engine

import (
	"fmt"
	"time"
)

// BrakeRule bounds how many scopes automation moves in a while. A Prometheus that lies makes everything red at once: then people
// have to look before more than a few services have moved. The zero value is no brake.
type BrakeRule struct {
	Max    int           // scopes in a window; the larger of it and the share counts
	Share  float64       // of all scopes, in [0, 1]
	Within time.Duration // the window, up to MaxBrakeWindow
	Scopes int           // that have modes, the fleet's stream not among them
}

// The brake of whoever says nothing, and the bound of what may be said.
const (
	DefaultBrakeMax    = 3
	DefaultBrakeShare  = 0.05
	DefaultBrakeWindow = 10 * time.Minute
	MaxBrakeWindow     = 24 * time.Hour
)

// RoleOperator is the role of whoever lets through what the brake withholds.
const RoleOperator = "operator"

// brakeGate asks for the yes to what the brake withholds.
func brakeGate() *Gate {
	return &Gate{Groups: []Group{{Role: RoleOperator, Count: 1}}, Within: 15 * time.Minute}
}

// limit is how many scopes may move in a window; 0 is no brake.
func (r BrakeRule) limit() int {
	if r.Within <= 0 {
		return 0
	}
	// A share of a whole number that floats write as a little less is that number: 0.29 of 100 scopes are 29.
	return max(r.Max, int(r.Share*float64(r.Scopes)+1e-9), 1)
}

// Brake says how far the brake of the fleet is used up for a scope. The zero value is no brake.
type Brake struct {
	Used   int           `json:"used"` // by other scopes, in the window that ends now
	Of     int           `json:"of"`
	Within time.Duration `json:"within"`
}

// Permit is a scope's leave to move by itself.
type Permit struct {
	Scope  Scope     `json:"scope"`
	Change ChangeID  `json:"change"`
	At     time.Time `json:"at"`
}

// Brake says how far the brake of the fleet's policy p is used up for a scope. s is the fleet's state.
func (s State) Brake(p *Policy, scope Scope, at time.Time) Brake {
	b := Brake{Of: p.Brake.limit(), Within: p.Brake.Within}
	if b.Of == 0 {
		return Brake{}
	}
	others := map[Scope]bool{}
	for _, permit := range s.Permits {
		if permit.Scope != scope && at.Sub(permit.At) < b.Within {
			others[permit.Scope] = true
		}
	}
	b.Used = len(others)
	return b
}

// PermitRequested says that automation moves a scope, in the very append that this goes to the fleet's stream with.
type PermitRequested struct {
	Scope  Scope    `json:"scope"`
	Change ChangeID `json:"change"`
	Brake  Brake    `json:"brake"`
	Reason Reason   `json:"reason"` // of the change
}

// BrakePermitted lets automation move one more scope in this window.
type BrakePermitted struct {
	Scope  Scope    `json:"scope"`
	Change ChangeID `json:"change"`
	Used   int      `json:"used"` // this one among them
	Of     int      `json:"of"`
}

func (*PermitRequested) name() string { return "permit requested" }
func (BrakePermitted) fact()          {}

// CodeBrake says that so many scopes have moved by themselves that people have to look first.
const CodeBrake Code = "brake"

// PermitOf returns what the events that Decide gave for p and in have to be stored together with: the request for a permit, which
// goes to the fleet's stream; nil when they need none.
func PermitOf(p Policy, in Input, events []Event) *PermitRequested {
	if in.Brake.Of == 0 {
		return nil
	}
	for _, e := range events {
		f, starts := e.Fact.(ChangeStarted)
		if !starts || e.Reason.Code != CodeCondition {
			continue
		}
		if t := p.transition(f.Transition); t != nil && p.brakes(f.From, t) {
			return &PermitRequested{Scope: p.Scope, Change: f.Change, Brake: in.Brake, Reason: e.Reason}
		}
	}
	return nil
}

// brakes reports whether t, started by itself, uses the brake: it gives protection, or leads to a mode without a rank. A recovery
// may happen everywhere at once, and a declared schedule is no measurement that could lie.
func (p *Policy) brakes(from Mode, t *Transition) bool {
	if t.Gate != nil || p.Conditions[t.When].Scheduled {
		return false
	}
	f, to := p.rank(from), p.rank(t.To)
	return to < 0 || to > f && to > 0
}

// braked says that the brake keeps t from starting by itself.
func (d *decision) braked(t *Transition) Reason {
	b := d.in.Brake
	if b.Of == 0 || b.Used < b.Of || !d.p.brakes(d.s.Target, t) {
		return Reason{}
	}
	return Reason{CodeBrake, fmt.Sprintf("%d of %d moves in %v are used", b.Used, b.Of, b.Within)}
}

// permit is the fleet's half of a move.
func (d *decision) permit(r *PermitRequested) {
	d.emit(BrakePermitted{Scope: r.Scope, Change: r.Change, Used: r.Brake.Used + 1, Of: r.Brake.Of}, r.Reason.Code, r.Reason.Text, nil)
}

// released ends the question whether t may go in spite of the brake, now that it starts without anybody's yes.
func (d *decision) released(t *Transition) {
	p, waits := d.s.proposal(t.Name)
	if !waits {
		return
	}
	if w, was := d.s.withheld(t.Name); was {
		d.emit(WithholdingEnded{Transition: w.Transition}, CodeStarted, "", nil)
	}
	// What was told of it goes on as the incident of the move, where people hear of that at all.
	d.emit(ProposalWithdrawn{Proposal: p.ID, Asked: p.asked(), Summary: d.summary(&p) + " was withdrawn"}, CodeStarted, "it needs nobody's yes any more", nil)
}

// applyBrake folds what the brake let through. Permits older than any window are forgotten.
func applyBrake(s State, e Event) State {
	if f, ok := e.Fact.(BrakePermitted); ok {
		s.Permits = with(without(s.Permits, func(p Permit) bool { return e.At.Sub(p.At) >= MaxBrakeWindow }), Permit{f.Scope, f.Change, e.At})
	}
	return s
}
