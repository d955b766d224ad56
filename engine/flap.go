package engine

import "fmt"

// flapsBack says that the scope has changed too often for `until` to take its last change back now, where that would take protection away.
// A declared schedule ends when it says: it does not flap.
func (d *decision) flapsBack() Reason {
	if len(d.s.Past) == 0 {
		return Reason{}
	}
	last := &d.s.Past[len(d.s.Past)-1]
	if last.Until == "" || last.To != d.s.Target {
		return Reason{}
	}
	for i := range d.p.Conditions {
		if c := &d.p.Conditions[i]; c.Name == last.Until && c.Scheduled {
			return Reason{}
		}
	}
	return d.flaps(&Transition{To: last.Back.Name})
}

// flapping opens the ticket that says where a scope stays because it flaps, once.
func (d *decision) flapping(why Reason, transition string) IncidentID {
	if i, open := d.s.Incident(IncidentFlapping, string(d.p.Scope)); open {
		return i.ID
	}
	return d.open(Incident{Kind: IncidentFlapping, Subject: string(d.p.Scope), Severity: SeverityTicket},
		fmt.Sprintf("%s: %s; it stays in %s", d.p.Scope, why.Text, d.s.Target), transition, why, nil)
}
