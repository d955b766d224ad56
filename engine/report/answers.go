package report

import (
	"slices"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// The questions. Their order is that of the answers.
const (
	askDecision  = "Was the decision correct and timely?"
	askTelemetry = "Did telemetry support it?"
	askRunbooks  = "Were runbooks followed?"
	askTimes     = "How long did each transition take?"
	askOutcomes  = "What automation succeeded or failed?"
)

// say adds a finding.
func (a *Answer) say(mark Mark, text string, events ...Ref) {
	a.Says = append(a.Says, Finding{mark, text, append([]Ref{}, events...)})
}

// has reports whether some finding bears a mark.
func (a *Answer) has(mark Mark) bool {
	return slices.ContainsFunc(a.Says, func(f Finding) bool { return f.Mark == mark })
}

func (m *maker) answers() []Answer {
	return []Answer{m.decision(), m.telemetry(), m.runbooks(), m.times(), m.outcomes()}
}

// asked is the change the report is about.
func (m *maker) asked() *Change {
	i := slices.IndexFunc(m.r.Changes, func(c Change) bool { return c.Asked })
	return &m.r.Changes[i]
}

// byHand reports whether a person chose, and not a condition.
func byHand(x explain.Explanation) bool { return x.By != (engine.Actor{}) }
