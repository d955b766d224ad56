package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Suppress is what a mode keeps quiet while it is in force: the incidents of these SLOs that are of these severities, and nothing
// else. What tells of a transition, of withheld protection, of break-glass, of a gate, of a change that is held or stuck, of want of
// sight or of instances that do not follow is never kept quiet.
type Suppress struct {
	SLOs       []string   `json:"slos"`       // sorted
	Severities []Severity `json:"severities"` // sorted
}

// String says it in words: page, ticket of availability.
func (s *Suppress) String() string {
	words := make([]string, len(s.Severities))
	for i, v := range s.Severities {
		words[i] = string(v)
	}
	return strings.Join(words, ", ") + " of " + strings.Join(s.SLOs, ", ")
}

func (s *Suppress) covers(a *Alert) bool {
	return s != nil && slices.Contains(s.SLOs, a.SLO) && slices.Contains(s.Severities, a.Severity)
}

// Suppressed is an incident that a mode keeps quiet.
type Suppressed struct {
	Subject  string    `json:"subject"` // slo/availability/page
	Severity Severity  `json:"severity"`
	Mode     Mode      `json:"mode"` // that keeps it quiet
	Since    time.Time `json:"since"`
}

// The facts of what is kept quiet.
type (
	// IncidentSuppressed says that nobody was told, and what they would have been told. The mode's end tells them, if it is still so.
	IncidentSuppressed struct {
		Suppressed Suppressed `json:"suppressed"`
		Summary    string     `json:"summary"`
		Details    Details    `json:"details"`
	}
	// SuppressionEnded says that there is nothing left to be told. That it was told after all needs no event of its own.
	SuppressionEnded struct {
		Subject  string   `json:"subject"`
		Severity Severity `json:"severity"`
	}
)

func (IncidentSuppressed) fact() {}
func (SuppressionEnded) fact()   {}

// applySuppression folds what is kept quiet.
func applySuppression(s State, e Event) State {
	switch f := e.Fact.(type) {
	case IncidentSuppressed:
		s.Suppressed = with(s.Suppressed, f.Suppressed)
	case SuppressionEnded:
		s.Suppressed = unsuppressed(s.Suppressed, f.Subject)
	}
	return s
}

// unsuppressed is a list without a subject; nil rather than empty.
func unsuppressed(list []Suppressed, subject string) []Suppressed {
	if list = without(list, func(q Suppressed) bool { return q.Subject == subject }); len(list) == 0 {
		return nil
	}
	return list
}

// suppressed finds what is kept quiet about a subject.
func (s State) suppressed(subject string) (Suppressed, bool) {
	for _, q := range s.Suppressed {
		if q.Subject == subject {
			return q, true
		}
	}
	return Suppressed{}, false
}

// suppressing is what is kept quiet from here on, and the mode that does: the one transition chosen leads to, if it is one and publishes at
// once. So what fires when the mode is left is told then, and a transition to more protection joins its page.
//
// Nothing is kept quiet for ever: not beyond the mode's max_duration, and in a mode without one only by a change that goes back with its
// `until`, as long as that is not true.
func (d *decision) suppressing(o *Observed, chosen int) (*Suppress, Mode) {
	if chosen >= 0 && !d.p.Transitions[chosen].Playbook.PublishLast {
		t := &d.p.Transitions[chosen]
		if m, _ := d.p.Mode(t.To); m.MaxDuration > 0 || t.Until != 0 {
			return m.Suppress, m.Name
		}
		return nil, ""
	}
	m, _ := d.p.Mode(d.s.Target)
	if m.MaxDuration > 0 {
		if d.s.Dwell(d.in.At) >= m.MaxDuration {
			return nil, ""
		}
		return m.Suppress, m.Name
	}
	until := d.s.window()
	if c := d.s.Change; until == "" || c != nil && c.Undoing || d.seen(o, until).Truth == True {
		return nil, ""
	}
	return m.Suppress, m.Name
}

// suppress records that a tier fires and that nobody is told.
func (d *decision) suppress(a *Alert, by Mode, summary string, why Reason, evidence []Reading) {
	q := Suppressed{Subject: a.subject(), Severity: a.Severity, Mode: by, Since: d.in.At}
	why.Text += fmt.Sprintf("; %s keeps it quiet", by)
	d.emit(IncidentSuppressed{Suppressed: q, Summary: summary, Details: d.details(a.subject(), "")}, CodeSuppressed, why.Text, evidence)
}

// unsuppress ends what was kept quiet, for there is nothing left to be told.
func (d *decision) unsuppress(q Suppressed, code Code, text string, evidence []Reading) {
	d.emit(SuppressionEnded{Subject: q.Subject, Severity: q.Severity}, code, text, evidence)
}
