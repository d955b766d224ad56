package rules

import (
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// mostMissed bounds how many windows of one transition are said to have been missed: the last ones. After a week without a server
// nobody reads a line for each hour.
const mostMissed = 10

// Missed names the windows that opened after from and closed by to, of the schedules that a transition waits for and for nothing
// else; in file order, and the windows of one in their own. What was open at either end was seen, or will be.
func (s *Service) Missed(from, to time.Time) []engine.Window {
	var missed []engine.Window
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		x, planned := s.Conditions[t.When].root.(switchExpr)
		if !planned || x.signal.Kind != SignalSchedule {
			continue
		}
		n := len(missed)
		s.Schedule(x.signal.Name).Windows(from, to, func(opens, closes time.Time) bool {
			if opens.After(from) && !closes.After(to) {
				missed = append(missed, engine.Window{Transition: t.Name, Opens: opens, Closes: closes})
			}
			return len(missed)-n < mostMissed
		})
		slices.Reverse(missed[n:])
	}
	return missed
}
