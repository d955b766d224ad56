package engine

import (
	"fmt"
	"time"
)

// open opens an incident. transition names what automation does about it, or would.
func (d *decision) open(i Incident, summary, transition string, why Reason, evidence []Reading) IncidentID {
	i.ID, i.Opened = IncidentID(d.next()), d.in.At
	subject := ""
	if i.Kind == IncidentSLO {
		subject = i.Subject
	}
	details := d.details(subject, transition)
	if i.Severity == SeverityPage {
		details.Checkpoint = d.in.Checkpoint
	}
	d.emit(IncidentOpened{Incident: i, Summary: summary, Details: details}, why.Code, why.Text, evidence)
	if details.Checkpoint != "" {
		d.events[0].Cause.Given.Checkpoint = details.Checkpoint
	}
	return i.ID
}

// details are what an incident carries; tier is the subject of the SLO's tier it is about, if it is about one.
func (d *decision) details(tier, transition string) Details {
	details := Details{Scope: d.p.Scope, Mode: d.s.Target, Owner: d.p.Owner, Runbook: d.p.Runbook, Transition: transition}
	if p, waits := d.s.proposal(transition); waits {
		details.Proposal = p.ID
	}
	for k := range d.p.Alerts {
		if a := &d.p.Alerts[k]; a.subject() == tier {
			details.Labels, details.Notes = a.Labels, a.Notes
		}
	}
	return details
}

func (d *decision) resolve(i Incident, code Code, text string, evidence []Reading) {
	d.emit(IncidentResolved{Incident: i.ID, Severity: i.Severity, Subject: i.Subject, Escalated: i.Escalated}, code, text, evidence)
}

// joined finds the open incident in which people hear of t, once: that of a tier its condition mentions, or the one that
// told them that it is withheld. It is at least as loud as has to be: what pages is not said in a ticket.
func (d *decision) joined(t *Transition, loud Severity) (Incident, bool) {
	for _, k := range t.Alerts {
		if i, open := d.s.Incident(IncidentSLO, d.p.Alerts[k].subject()); open && (i.Severity == SeverityPage || loud != SeverityPage) {
			return i, true
		}
	}
	if i, open := d.s.Incident(IncidentWithheld, t.Name); open && (i.Severity == SeverityPage || loud != SeverityPage) {
		return i, true
	}
	return Incident{}, false
}

// alerts opens and resolves the incidents of the SLOs' tiers. While a louder tier of an SLO is open, the quieter ones are
// not opened.
func (d *decision) alerts(o *Observed, chosen int) {
	keeps, mode := d.suppressing(o, chosen)
	for k := range d.p.Alerts {
		a := &d.p.Alerts[k]
		seen := &o.Conditions[a.Condition]
		if !seen.Asked || seen.Truth == Unknown {
			continue
		}
		i, open := d.s.Incident(IncidentSLO, a.subject())
		kept, quiet := d.s.suppressed(a.subject())
		text := d.p.Conditions[a.Condition].Text
		switch {
		case open && seen.Truth == False:
			d.resolve(i, CodeRecovered, text+" is false", seen.Readings)
		case quiet && seen.Truth == False:
			d.unsuppress(kept, CodeRecovered, text+" is false", seen.Readings)
		case open || seen.Truth == False:
		case d.pausing(a.SLO, chosen):
			if quiet {
				d.unsuppress(kept, CodePaused, "the SLO is paused", nil)
			}
		case d.louder(a):
			if quiet {
				d.unsuppress(kept, CodeBurning, "the page of the same SLO tells of it", nil)
			}
		case keeps.covers(a):
			if _, page := d.s.suppressed(Alert{SLO: a.SLO, Severity: SeverityPage}.subject()); !quiet && !page {
				d.suppress(a, mode, d.burns(a), Reason{Text: text + " is true"}, seen.Readings)
			}
		default:
			by := ""
			summary := d.burns(a)
			why := Reason{CodeBurning, text + " is true"}
			if quiet {
				summary += fmt.Sprintf("; %s kept it quiet for %v", kept.Mode, d.in.At.Sub(kept.Since))
				why.Text += fmt.Sprintf("; it was kept quiet since %s", kept.Since.UTC().Format(time.RFC3339))
			}
			if chosen >= 0 && mentions(&d.p.Transitions[chosen], k) {
				t := &d.p.Transitions[chosen]
				by = t.Name
				summary += fmt.Sprintf("; %s → %s (%s)", d.s.Target, t.To, t.Name)
			}
			d.open(Incident{Kind: IncidentSLO, Subject: a.subject(), Severity: a.Severity}, summary, by, why, seen.Readings)
		}
	}
}

// burns is what people are told of a tier that fires.
func (d *decision) burns(a *Alert) string {
	return fmt.Sprintf("%s: SLO %s burns its error budget too fast", d.p.Scope, a.SLO)
}

// louder reports whether a louder tier of the same SLO is open.
func (d *decision) louder(a *Alert) bool {
	if a.Severity == SeverityPage {
		return false
	}
	_, open := d.s.Incident(IncidentSLO, Alert{SLO: a.SLO, Severity: SeverityPage}.subject())
	return open
}

func mentions(t *Transition, alert int) bool {
	for _, k := range t.Alerts {
		if k == alert {
			return true
		}
	}
	return false
}

// watch keeps account of the conditions that cannot be seen. Want of sight that everybody suffers is the source's incident:
// the scope's own account begins anew when the source answers others again.
func (d *decision) watch(o *Observed) {
	for i := range o.Conditions {
		seen := &o.Conditions[i]
		if !seen.Asked {
			continue
		}
		name := d.p.Conditions[i].Name
		lost := d.s.isBlind(name)
		switch {
		case seen.Truth == Unknown && seen.Blind && !o.SourceBlind && (!lost || d.s.blind(name).After(o.Instant)):
			d.emit(SightLost{Subject: name, Since: o.Instant}, CodeSight, d.p.Conditions[i].Text+" cannot be seen", seen.Readings)
		case lost && (seen.Truth != Unknown || !seen.Blind):
			d.regain(name, "")
		}
	}
	_, told := d.s.Incident(IncidentBlind, string(d.p.Scope))
	for _, b := range d.s.Blind {
		switch i := d.condition(b.Subject); {
		case !o.Conditions[i].Asked && !d.p.Relevant(d.s, i):
			d.regain(b.Subject, "it does not matter in this mode")
		case o.SourceBlind && !told:
			d.regain(b.Subject, "now everybody is blind: it is the source's incident")
		}
	}
	if !o.SourceBlind {
		d.pageBlind(o)
	}
}

// condition returns the index of the condition called name; adopt saw to it that there is one.
func (d *decision) condition(name string) int {
	for i := range d.p.Conditions {
		if d.p.Conditions[i].Name == name {
			return i
		}
	}
	panic(fmt.Sprintf("engine: %s has no condition %q", d.p.Scope, name))
}

// regain ends the want of sight of a subject, and the incident when it was the last one.
func (d *decision) regain(subject, text string) {
	d.emit(SightRegained{Subject: subject}, CodeSight, text, nil)
	if d.p.Scope == Fleet {
		if i, open := d.s.Incident(IncidentBlind, subject); open {
			d.resolve(i, CodeSight, "sight is back", nil)
		}
		return
	}
	if i, open := d.s.Incident(IncidentBlind, string(d.p.Scope)); open && len(d.s.Blind) == 0 {
		d.resolve(i, CodeSight, "sight is back", nil)
	}
}

// pageBlind opens the scope's incident once one of its conditions has been out of sight for blind_after.
func (d *decision) pageBlind(o *Observed) {
	if _, open := d.s.Incident(IncidentBlind, string(d.p.Scope)); open {
		return
	}
	for _, b := range d.s.Blind {
		// Paged is only what was looked for again, and in vain: one that is asked for rarely may be in sight by now.
		i := d.condition(b.Subject)
		if since := o.Instant.Sub(b.Since); since >= d.p.BlindAfter && o.Conditions[i].Asked {
			d.openBlind(string(d.p.Scope), fmt.Sprintf("%s: %s cannot be seen for %v; the mode holds", d.p.Scope, d.p.Conditions[i].Text, since), b, o.Conditions[i].Readings)
			return
		}
	}
}

func (d *decision) openBlind(subject, summary string, b Blind, evidence []Reading) {
	why := Reason{CodeBlind, "out of sight since " + b.Since.UTC().Format(time.RFC3339)}
	d.open(Incident{Kind: IncidentBlind, Subject: subject, Severity: SeverityPage}, summary, "", why, evidence)
}

// observeSources judges what the sources showed, in the fleet's stream.
func (d *decision) observeSources(o *SourcesObserved) {
	d.gap(o.Instant, o.Prev)
	for _, src := range o.Sources {
		lost := d.s.isBlind(src.Source)
		switch {
		case src.Asked && src.Blind && (!lost || d.s.blind(src.Source).After(o.Instant)):
			d.emit(SightLost{Subject: src.Source, Since: o.Instant}, CodeSight, src.Detail, nil)
		case src.Asked && !src.Blind && lost:
			d.regain(src.Source, "")
		}
	}
	for _, b := range d.s.Blind {
		detail, configured := "", false
		for _, src := range o.Sources {
			if src.Source == b.Subject {
				detail, configured = src.Detail, true
			}
		}
		if !configured {
			d.regain(b.Subject, "the source is not configured any more")
			continue
		}
		since := o.Instant.Sub(b.Since)
		if _, open := d.s.Incident(IncidentBlind, b.Subject); !open && since >= d.p.BlindAfter {
			d.openBlind(b.Subject, fmt.Sprintf("source %s cannot be seen for %v; every mode that rests on it holds: %s", b.Subject, since, detail), b, nil)
		}
	}
}
