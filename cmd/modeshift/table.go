package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/suggest"
)

// table prints rows in columns that line up.
func table(w io.Writer, header string, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	var failed error
	line := func(text string) {
		if _, err := fmt.Fprintln(t, text); err != nil && failed == nil {
			failed = err
		}
	}
	if header != "" {
		line(header)
	}
	rows(func(cells ...any) {
		words := make([]string, len(cells))
		for i, c := range cells {
			if words[i] = oneLine(fmt.Sprint(c)); words[i] == "" {
				words[i] = "-"
			}
		}
		line(strings.TrimRight(strings.Join(words, "\t"), "\t "))
	})
	if err := t.Flush(); err != nil {
		return err
	}
	return failed
}

// oneLine keeps text from outside from breaking the table or the terminal.
func oneLine(s string) string { return explain.OneLine(s) }

// manyLines does the same for text of several lines.
func manyLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return strings.Join(lines, "\n")
}

// printEvents prints events, one a line.
func printEvents(w io.Writer, events []api.Event) error {
	return printHistory(w, api.History{Events: events})
}

// printHistory prints events, one a line. What automation would have done is told from when to when.
func printHistory(w io.Writer, page api.History) error {
	would := map[engine.Version]string{}
	for _, s := range page.Suggestions {
		begins, ends := wouldHave(s)
		would[s.Began], would[s.Ended] = begins, ends
	}
	return table(w, "TIME\tEVENT\tWHAT\tWHY\tBY", func(row func(...any)) {
		for _, e := range page.Events {
			row(e.At.Local().Format("2006-01-02 15:04:05"), fmt.Sprintf("%s/%d", e.Stream, e.Version), cmp.Or(would[e.Version], describe(e.Event)), because(e.Reason), e.Cause.Actor)
		}
	})
}

func because(r engine.Reason) string {
	if r.Text == "" {
		return string(r.Code)
	}
	return r.Text
}

// describe says what an event is about in a few words.
func describe(e engine.Event) string {
	switch f := e.Fact.(type) {
	case engine.ScopeAdded:
		return strings.TrimSpace("scope added " + string(f.Mode))
	case engine.RulesChanged:
		return "rules changed to " + f.To.Short()
	case engine.ScopeRetired:
		return "scope retired"
	case engine.TimeLost:
		return "time lost: " + round(f.To.Sub(f.From))
	case engine.ConditionTurned:
		return f.Clock.Condition + " turned " + f.Clock.Truth.String()
	case engine.ChangeStarted:
		via := f.Transition
		if via == "" {
			via = explain.Via(f)
		}
		text := fmt.Sprintf("change %s started: %s → %s (%s)", f.Change, f.From, f.To, via)
		if len(f.Plan.Into.Pause) > 0 {
			text += ", which pauses " + strings.Join(f.Plan.Into.Pause, ", ")
		}
		return text
	case engine.DirectivePublished:
		return fmt.Sprintf("directive %d published: %s", f.Directive.Revision, f.Directive.Mode)
	case engine.ChangeDone:
		return fmt.Sprintf("change %s done", f.Change)
	case engine.TransitionWithheld:
		return fmt.Sprintf("%s to %s withheld", f.Transition, f.To)
	case engine.WithholdingEnded:
		return f.Transition + " not withheld any more"
	case engine.ModePinned:
		return fmt.Sprintf("%s pinned until %s", f.Mode, f.Until.Local().Format("15:04:05"))
	case engine.ModeUnpinned:
		return "unpinned"
	case engine.AutomationFrozen:
		if f.Until.IsZero() {
			return "automation frozen"
		}
		return "automation frozen until " + f.Until.Local().Format("15:04:05")
	case engine.AutomationReleased:
		return "automation released"
	case engine.RequestRefused:
		return "request refused"
	case engine.BudgetCorrected:
		return "budget of " + f.SLO + " corrected: " + correctedSpan(f.From, f.To, f.Cron, f.Duration, f.Timezone)
	case engine.BudgetCorrectionWithdrawn:
		return fmt.Sprintf("correction %s of the budget of %s withdrawn", f.Correction, f.SLO)
	}
	if text := cmp.Or(describeQuiet(e), describeGate(e)); text != "" {
		return text
	}
	if text := cmp.Or(describeStep(e), describeRollout(e)); text != "" {
		return text
	}
	switch f := e.Fact.(type) {
	case engine.IncidentOpened:
		return fmt.Sprintf("%s %s opened: %s", f.Incident.Severity, f.Incident.ID, f.Summary)
	case engine.IncidentUpdated:
		return fmt.Sprintf("%s %s: %s", f.Severity, f.Incident, f.Note)
	case engine.SuggestionsTold:
		return "people were told (" + string(f.Severity) + "): " + f.Summary
	case engine.IncidentEscalated:
		if f.Nobody {
			return fmt.Sprintf("%s %s burns on: nobody is configured for %s", f.From, f.Incident, f.To)
		}
		return fmt.Sprintf("%s %s burns on: %s is told too", f.From, f.Incident, f.To)
	case engine.IncidentResolved:
		return fmt.Sprintf("%s %s resolved: %s", f.Severity, f.Incident, f.Subject)
	case engine.SightLost:
		return f.Subject + " out of sight"
	case engine.SightRegained:
		return f.Subject + " in sight again"
	case engine.CheckpointMade:
		return fmt.Sprintf("checkpoint of %d streams", len(f.Heads))
	case engine.LogRecovered:
		return "the log could not be written for " + round(f.To.Sub(f.From))
	}
	return cmp.Or(explain.What(e), e.Kind())
}

// describeGate is describe for what happens at gates; empty for other events.
func describeGate(e engine.Event) string {
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		return fmt.Sprintf("%s proposed: %s → %s (%s), waits for %s", f.Proposal.ID, f.Proposal.From, f.Proposal.To, f.Proposal.Transition, groups(f.Proposal.Gate.Groups))
	case engine.ProposalRenewed:
		if f.Change != "" {
			return fmt.Sprintf("%s asks again, for %d targets of %s: waits for %s; %d yes do not count any more", f.Proposal, f.Targets, f.Step, groups(f.Gate.Groups), f.Voided)
		}
		return fmt.Sprintf("%s is another proposal now; %d yes do not count any more", f.Proposal, f.Voided)
	case engine.ApprovalGranted:
		text := fmt.Sprintf("%s: yes of %s (%s)", f.Proposal, f.Person, f.Role)
		switch {
		case f.Blind:
			text += ", also to starting without sight"
		case f.Plain:
			text += ", like any other: nothing is out of sight, so --blind says nothing"
		}
		if len(f.Missing) > 0 {
			text += ", missing " + groups(f.Missing)
		}
		return text
	case engine.ApprovalRefused:
		return fmt.Sprintf("%s: answer of %s does not count", f.Proposal, f.Person)
	case engine.GateEscalated:
		return fmt.Sprintf("%s: time is over, goes on until %s", f.Proposal, f.Until.Local().Format("15:04:05"))
	case engine.DeadlineMoved:
		return fmt.Sprintf("%s: time until %s", f.Proposal, f.Until.Local().Format("15:04:05"))
	case engine.ProposalDenied:
		return fmt.Sprintf("%s denied by %s (%s)", f.Proposal, f.Person, f.Role)
	case engine.ProposalExpired:
		return fmt.Sprintf("%s expired", f.Proposal)
	case engine.ProposalWithdrawn:
		return fmt.Sprintf("%s withdrawn", f.Proposal)
	case engine.GlassBroken:
		return fmt.Sprintf("BREAK-GLASS: %s went around the gate of %s (%s)", f.Person, f.Transition, groups(f.Groups))
	}
	return ""
}

// describeStep is describe for steps and for what becomes of a change; empty for other events.
func describeStep(e engine.Event) string {
	step := func(change engine.ChangeID, name string, undo bool, attempt int, what string) string {
		if undo {
			name = "undo of " + name
		}
		text := fmt.Sprintf("%s: %s %s", change, name, what)
		if attempt > 1 {
			text += fmt.Sprintf(" (attempt %d)", attempt)
		}
		return text
	}
	switch f := e.Fact.(type) {
	case engine.StepStarted:
		what := "started"
		if f.Finds() {
			what = "looks for its targets"
		}
		return step(f.Change, f.Step.Name, f.Undo, f.Attempt, what)
	case engine.TargetsFound:
		return step(f.Change, f.Step.Name, false, f.Attempt, "acts on "+explain.Targets(f.Targets))
	case engine.StepHeld:
		return step(f.Change, f.Step, false, f.Attempt, fmt.Sprintf("HELD: it found %d targets, and people said yes to %d", f.Targets, f.Max))
	case engine.StepDone:
		return step(f.Change, f.Step, f.Undo, f.Attempt, "done")
	case engine.StepFailed:
		return step(f.Change, f.Step, f.Undo, f.Attempt, "failed")
	case engine.StepUnknown:
		return step(f.Change, f.Step, f.Undo, f.Attempt, "may have happened")
	case engine.VerificationStarted:
		return fmt.Sprintf("%s: verifying %s", f.Change, f.Condition)
	case engine.VerificationHeld:
		return fmt.Sprintf("%s: its verification cannot be seen", f.Change)
	case engine.ChangeHeld:
		return fmt.Sprintf("%s held at %s, tried again at %s", f.Change, f.Step, f.Until.Local().Format("15:04:05"))
	case engine.ChangeFailed:
		return fmt.Sprintf("%s failed", f.Change)
	case engine.UndoStarted:
		return fmt.Sprintf("%s is being undone", f.Change)
	case engine.ChangeUndone:
		return fmt.Sprintf("%s undone", f.Change)
	case engine.ChangeStuck:
		return fmt.Sprintf("%s STUCK: look, then modeshift settle %[1]s --as done|undone", f.Change)
	case engine.ChangeSettled:
		return fmt.Sprintf("%s settled as %s by %s", f.Change, f.As, f.Person)
	case engine.ChangeOvertaken:
		return fmt.Sprintf("%s overtaken by %s", f.Change, f.By)
	}
	return ""
}

// describeRollout is describe for how a directive reaches the instances, and for who leads; empty for other events.
func describeRollout(e engine.Event) string {
	wave := func(change engine.ChangeID, n int) string {
		if n == 0 {
			return string(change)
		}
		return fmt.Sprintf("%s: wave %d", change, n)
	}
	switch f := e.Fact.(type) {
	case engine.WavePublished:
		return fmt.Sprintf("%s: %d %%, %d instances", wave(f.Change, f.Wave), f.Share, f.Instances)
	case engine.WaveHeld:
		return wave(f.Change, f.Wave) + " HELD"
	case engine.WaveResumed:
		return wave(f.Change, f.Wave) + " goes on"
	case engine.DirectiveApplied:
		return fmt.Sprintf("%s: revision %d in force at %d of %d instances", f.Change, f.Revision, f.Acked, f.Instances)
	case engine.RolloutDone:
		return fmt.Sprintf("%s: all waves have passed", f.Change)
	case engine.DivergenceFound:
		return fmt.Sprintf("DIVERGENCE: %d of %d instances do not follow revision %d since %s", f.Instances, f.Of, f.Revision, f.Since.Local().Format("15:04:05"))
	case engine.DivergenceEnded:
		return "enough instances follow again"
	case engine.TermExceeded:
		return fmt.Sprintf("LED PAST: term %d was heard of, this server has %d; look, then modeshift recover --term", f.Term, f.Own)
	case engine.TermRecovered:
		return fmt.Sprintf("term %d given by %s", f.Term, f.Person)
	}
	return ""
}

// round drops what nobody reads of a duration.
func round(d time.Duration) string { return suggest.Span(d) }

// ago says how long ago something was.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return round(time.Since(t).Round(time.Second)) + " ago"
}
