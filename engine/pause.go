package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pause is time in which a mode paused an SLO: its tiers were quiet, and its error budget leaves the time out.
type Pause struct {
	SLO    string    `json:"slo"`
	Mode   Mode      `json:"mode"`
	Change ChangeID  `json:"change"` // that entered it: approved by people, or planned by a schedule
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"` // zero: it lasts
}

// PauseEnded says that SLOs count again although the mode that paused them is still in force. That its mode was left needs no
// event of its own.
type PauseEnded struct {
	SLOs []string `json:"slos"`
}

func (PauseEnded) fact() {}

// maxPauses bounds how many pauses are remembered. What is forgotten counts again, so a budget may be worse for it.
const maxPauses = 2000

// Paused finds the pause of an SLO that lasts.
func (s State) Paused(slo string) (Pause, bool) {
	for _, p := range s.Lasting() {
		if p.SLO == slo {
			return p, true
		}
	}
	return Pause{}, false
}

// Lasting are the pauses that are not over. They began together, with the mode in force, and so stand at the end.
func (s State) Lasting() []Pause {
	i := len(s.Pauses)
	for i > 0 && s.Pauses[i-1].To.IsZero() {
		i--
	}
	return s.Pauses[i:]
}

// pause begins the pauses of the mode that a change has entered at an instant. What no budget reaches back to is forgotten.
func (s State) pause(slos []string, c ChangeID, at time.Time) State {
	if len(slos) == 0 {
		return s
	}
	s.Pauses = slices.Clone(without(s.Pauses, func(p Pause) bool { return !p.To.IsZero() && at.Sub(p.To) >= MaxCorrection }))
	for _, slo := range slos {
		s.Pauses = append(s.Pauses, Pause{SLO: slo, Mode: s.Target, Change: c, From: at})
	}
	s.Pauses = s.Pauses[max(0, len(s.Pauses)-maxPauses):]
	return s
}

// count ends the pauses of SLOs at an instant; of all when none are named.
func (s State) count(at time.Time, slos ...string) State {
	ends := func(p Pause) bool { return p.To.IsZero() && (len(slos) == 0 || slices.Contains(slos, p.SLO)) }
	if !slices.ContainsFunc(s.Pauses, ends) {
		return s
	}
	list := slices.Clone(s.Pauses)
	for i := range list {
		if ends(list[i]) {
			list[i].To = at
		}
	}
	// Those that last stand at the end.
	slices.SortStableFunc(list, func(a, b Pause) int {
		switch over, after := !a.To.IsZero(), !b.To.IsZero(); {
		case over == after:
			return 0
		case over:
			return -1
		}
		return 1
	})
	s.Pauses = list
	return s
}

// pauses are the SLOs that a change pauses once it has published m. On the way back to where it came from these are what was paused
// there; but when a person goes back, or settles a change as undone, it is their wish alone, and nobody has approved that.
func (c *Change) pauses(m Mode) []string {
	switch {
	case !c.Undoing && m == c.To:
		return c.Plan.Into.Pause
	case c.Why == CodeRequest || c.Why == CodeSettled:
		return nil
	}
	return c.Plan.Back.Pause
}

// names are the SLOs of pauses.
func names(list []Pause) (slos []string) {
	for _, p := range list {
		slos = append(slos, p.SLO)
	}
	return slos
}

// earns reports whether a change by a transition may pause SLOs: people approved it, or automation makes it. Whoever loads rules sees to it that a
// transition into a mode that pauses an SLO has a gate, or asks for nothing but a schedule.
func earns(t *Transition, why Reason, p *Proposal) bool {
	return p != nil || t != nil && t.Gate == nil && why.Code == CodeCondition
}

// unearned says why a person may not take the scope to a mode that pauses SLOs by a request alone: else whoever likes could mend a
// budget.
func (d *decision) unearned(r *SetRequested, t *Transition) Reason {
	m, _ := d.p.Mode(r.Mode)
	if len(m.Pause) == 0 || t != nil && t.Gate != nil {
		return Reason{}
	}
	return Reason{CodePaused, fmt.Sprintf("%s pauses %s: it is entered by an approved transition or a schedule", m.Name, strings.Join(m.Pause, " and "))}
}

// breakInto marks for ever that somebody took the scope to a mode that pauses SLOs although nobody approved that, and pages the owner. The
// mode is what they may have needed; the pause is not, so the SLOs count on.
func (d *decision) breakInto(r *SetRequested, t *Transition) {
	way, subject := "", string(r.Mode)
	if t != nil {
		way, subject = t.Name, t.Name
	}
	person := d.in.By.String()
	d.emit(GlassBroken{Person: person, Transition: way}, CodeRequest, r.Reason, nil)
	d.open(Incident{Kind: IncidentGlass, Subject: subject, Severity: SeverityPage, Mode: r.Mode},
		fmt.Sprintf("%s: %s went to %s, which pauses SLOs, and nobody approved it: they count on: %s", d.p.Scope, person, r.Mode, r.Reason), way,
		Reason{CodeRequest, r.Reason}, nil)
}

// pausing reports whether an SLO is paused once transition chosen, if it is one, has started. A change that publishes last enters
// its mode later.
func (d *decision) pausing(slo string, chosen int) bool {
	if chosen >= 0 && !d.p.Transitions[chosen].Playbook.PublishLast {
		m, _ := d.p.Mode(d.p.Transitions[chosen].To)
		return slices.Contains(m.Pause, slo)
	}
	_, paused := d.s.Paused(slo)
	return paused
}

// endPauses lets the SLOs count again that the rules in force pause no longer in this mode. What they pause beyond that nobody
// approved when the mode was entered: it has to be entered again.
func (d *decision) endPauses() {
	m, _ := d.p.Mode(d.s.Target)
	gone := slices.DeleteFunc(names(d.s.Lasting()), func(slo string) bool { return slices.Contains(m.Pause, slo) })
	if len(gone) > 0 {
		d.emit(PauseEnded{gone}, CodeRules, fmt.Sprintf("the rules do not let %s pause it any more", d.s.Target), nil)
	}
}

// outlived says that the mode in force has had its time, or that its window is closed.
func (d *decision) outlived(o *Observed) Reason {
	m, _ := d.p.Mode(d.s.Target)
	if m.MaxDuration > 0 && d.s.Dwell(d.in.At) >= m.MaxDuration {
		return Reason{CodeTooLong, fmt.Sprintf("max_duration is %v", m.MaxDuration)}
	}
	if until := d.s.window(); until != "" && d.seen(o, until).Truth == True {
		return Reason{CodeUntil, d.conditionText(until) + " is true"}
	}
	return Reason{}
}

// window is the condition that closes the window of the mode in force, also while its change is under way or is taken back; empty when
// nothing does.
func (s State) window() string {
	switch c := s.Change; {
	case c != nil && c.To == s.Target:
		return c.Plan.Until
	case c == nil && len(s.Past) > 0 && s.Past[len(s.Past)-1].To == s.Target:
		return s.Past[len(s.Past)-1].Until
	}
	return ""
}

// outlast ends the pauses of a mode that has had its time and is in force still: for want of a way out, because somebody pinned it or
// a scope above asks for it, or because its change is not done. A pause that could be stretched like that would be nobody's decision.
func (d *decision) outlast(code Code, text string) {
	if lasts := names(d.s.Lasting()); len(lasts) > 0 {
		d.emit(PauseEnded{lasts}, code, text, nil)
	}
}

// quiet ends what is open of SLOs that are paused by now.
func (d *decision) quiet() {
	for _, p := range d.s.Lasting() {
		for k := range d.p.Alerts {
			a := &d.p.Alerts[k]
			if i, open := d.s.Incident(IncidentSLO, a.subject()); open && a.SLO == p.SLO {
				d.resolve(i, CodePaused, fmt.Sprintf("%s pauses it", p.Mode), nil)
			}
		}
	}
}
