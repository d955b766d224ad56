package main

import (
	"fmt"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// describeQuiet is describe for what modes pause and keep quiet; empty for other events.
func describeQuiet(e engine.Event) string {
	switch f := e.Fact.(type) {
	case engine.PauseEnded:
		return strings.Join(f.SLOs, ", ") + ": not paused any more"
	case engine.IncidentSuppressed:
		return fmt.Sprintf("KEPT QUIET, a %s: %s", f.Suppressed.Severity, f.Summary)
	case engine.SuppressionEnded:
		return fmt.Sprintf("%s %s: nothing is left to be told", f.Severity, f.Subject)
	case engine.WindowMissed:
		return fmt.Sprintf("window of %s missed: %s to %s", f.Transition, f.Opens.Local().Format("2006-01-02 15:04"), f.Closes.Local().Format("2006-01-02 15:04"))
	case engine.GlassBroken:
		if len(f.Groups) == 0 { // no gate was gone around: a mode that pauses SLOs was entered without anybody's yes
			return fmt.Sprintf("BREAK-GLASS: %s went on alone; nothing is paused", f.Person)
		}
	}
	return ""
}

// pausedNotes says which SLOs a scope's mode pauses, in a word or two.
func pausedNotes(slos []string) string {
	if len(slos) == 0 {
		return ""
	}
	return strings.Join(slos, ", ") + " paused"
}

// pausedBudget says since when an SLO is paused, and by what.
func pausedBudget(b api.Budget) string {
	return fmt.Sprintf("%s/%s is paused by %s (%s) since %s: the time does not count", b.Scope, b.SLO, b.Paused.Mode, b.Paused.Change,
		b.Paused.Since.Local().Format("2006-01-02 15:04"))
}
