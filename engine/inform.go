package engine

import "fmt"

// informs is what those who are told of informational changes need to know of one by t; nil when they are not told: nobody is
// configured, t is louder, or a person asked for it, who knows.
func (d *decision) informs(t *Transition, why Code) *Details {
	if t == nil || loud(t) || !d.p.Informs || why == CodeRequest {
		return nil
	}
	return &Details{Scope: d.p.Scope, Mode: d.s.Target, Owner: d.p.Owner, Runbook: d.p.Runbook, Transition: t.Name}
}

// informs reports whether a fact tells those who are told of what is only informational.
func informs(f Fact) bool {
	switch f.(type) {
	case ChangeStarted, UndoStarted, SuggestionsTold:
		return true
	}
	return false
}

// informed is the notice of an informational change: of its beginning or, with `until`, of its end. Each is an incident of its own,
// that nobody has to close: the end may be told to people who did not hear of the beginning, because a person asked for it.
func informed(e Event, from, to Mode, about *Details) Notice {
	return Notice{Action: NoticeTrigger, Incident: IncidentID(identity(e.Stream, e.Version)), Severity: SeverityInfo, Details: *about,
		Summary: fmt.Sprintf("%s: %s → %s (%s): %s", e.Stream, from, to, about.Transition, e.Reason.Text)}
}
