package engine

import (
	"fmt"
	"time"
)

// Escalation says when the incident of a tier is told to somebody further. That somebody has acknowledged it does not
// matter: that it burns on is what the others have to know.
type Escalation struct {
	Severity  Severity      // the next louder than the tier's
	Condition int           // index into Policy.Conditions, of no other use: the SLO burns above the factor
	For       time.Duration // how long that has to last while the incident is open; > 0
	Nobody    bool          // no receiver is configured for Severity: those who have the incident are told so
}

// waits reports whether the open incident i may yet be told further. Where nobody was there to be told it, somebody may have
// been configured since.
func (e *Escalation) waits(i Incident) bool { return i.Escalated == "" && (!i.Alone || !e.Nobody) }

// escalating reports whether condition i may tell an open incident to somebody further.
func (p *Policy) escalating(s State, i int) bool {
	for k := range p.Alerts {
		a := &p.Alerts[k]
		if e := a.Escalation; e != nil && e.Condition == i {
			if open, is := s.Incident(IncidentSLO, a.subject()); is && e.waits(open) {
				return true
			}
		}
	}
	return false
}

// escalate tells somebody further of a tier that burns on. The clock of its condition is the incident's: it begins with it,
// passes from mode to mode, and ends with it.
func (d *decision) escalate(o *Observed) {
	for k := range d.p.Alerts {
		a := &d.p.Alerts[k]
		e := a.Escalation
		i, open := d.s.Incident(IncidentSLO, a.subject())
		if e == nil || !open || !e.waits(i) {
			continue
		}
		cond := &d.p.Conditions[e.Condition]
		seen := &o.Conditions[e.Condition]
		next, news := d.s.clock(cond.Name).tick(seen.Truth, o.Instant, o.Prev, &d.p)
		if news {
			next.Digest, next.Incident = cond.Digest, i.ID
			d.emit(ConditionTurned{Clock: next}, CodeTruth, fmt.Sprintf("%s is %s", cond.Text, seen.Truth), seen.Readings)
		}
		held := d.s.clock(cond.Name).Held(o.Instant)
		if seen.Truth != True || held < e.For || d.pagedBy(a) {
			continue
		}
		why := fmt.Sprintf("%s was true for %v", cond.Text, held)
		f := IncidentEscalated{Incident: i.ID, From: i.Severity, To: e.Severity, Nobody: e.Nobody,
			Summary: fmt.Sprintf("%s: SLO %s goes on burning its error budget: %s", d.p.Scope, a.SLO, why),
			Details: Details{Scope: d.p.Scope, Mode: d.s.Target, Owner: d.p.Owner, Runbook: d.p.Runbook, Labels: a.Labels, Notes: a.Notes}}
		d.emit(f, CodeEscalated, why, seen.Readings)
	}
}

// pagedBy reports whether people were woken by the page tier of the SLO, so that a ticket that burns on is no news to them.
func (d *decision) pagedBy(a *Alert) bool { return a.Severity == SeverityTicket && d.louder(a) }

// escalated are the notices of an escalation: a beginning for those who hear of it first, a note for those who have it.
func escalated(id string, e Event, f IncidentEscalated) []Effect {
	note := fmt.Sprintf("%s; %s is told too", f.Summary, f.To)
	if f.Nobody {
		note = fmt.Sprintf("%s; it would go to %s, and no receiver is configured for that", f.Summary, f.To)
	}
	effects := []Effect{{ID: id, Key: string(f.Incident), Notice: &Notice{Action: NoticeUpdate, Incident: f.Incident, Severity: f.From,
		Summary: note, Details: Details{Scope: e.Stream}, Event: e}}}
	if f.Nobody {
		return effects
	}
	return append(effects, further(id, f.To, Notice{Action: NoticeTrigger, Incident: f.Incident, Severity: f.To, Summary: f.Summary, Details: f.Details, Event: e}))
}

// further makes the effect for those an incident was told to further. They are told in an order of their own: a receiver that
// does not answer keeps nothing from the other.
func further(id string, to Severity, n Notice) Effect {
	n.Severity = to
	return Effect{ID: id + "/" + string(to), Key: string(n.Incident) + "/" + string(to), Notice: &n}
}
