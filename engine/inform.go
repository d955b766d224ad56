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

// informed is the notice of an informational change: of its beginning or, with `until`, of its end.
func informed(e Event, action NoticeAction, change ChangeID, from, to Mode, about *Details) Notice {
	return Notice{Action: action, Incident: IncidentID(change), Severity: SeverityInfo, Details: *about,
		Summary: fmt.Sprintf("%s: %s → %s (%s): %s", e.Stream, from, to, about.Transition, e.Reason.Text)}
}
