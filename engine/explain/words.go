package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/modeshift/modeshift/engine"
)

// What says in a few words what an event is about, for somebody who reads it in the story of a change.
func What(e engine.Event) string {
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		return fmt.Sprintf("%s → %s was proposed; %s have to say yes until %s", f.Proposal.From, f.Proposal.To, groups(f.Proposal.Gate.Groups), clock(f.Proposal.Until))
	case engine.ProposalRenewed:
		if f.Change != "" {
			return fmt.Sprintf("people are asked again, for %d targets of %s, until %s; %d votes before do not count", f.Targets, f.Step, clock(f.Until), f.Voided)
		}
		return fmt.Sprintf("what would be done changed; %d votes before do not count", f.Voided)
	case engine.ApprovalGranted:
		yes := "yes"
		switch {
		case f.Blind:
			yes = "yes, without sight,"
		case f.Plain:
			yes = "yes (without sight, which was there)"
		}
		if len(f.Missing) > 0 {
			return fmt.Sprintf("%s said %s for %s; %s is missing", f.Person, yes, f.Role, groups(f.Missing))
		}
		return fmt.Sprintf("%s said %s for %s; nothing is missing", f.Person, yes, f.Role)
	case engine.ApprovalRefused:
		return f.Person + "'s answer does not count"
	case engine.GateEscalated:
		if len(f.Groups) == 0 {
			return "nobody answered in time; until " + clock(f.Until) + " now"
		}
		return fmt.Sprintf("nobody answered in time; %s are asked, until %s", groups(f.Groups), clock(f.Until))
	case engine.DeadlineMoved:
		return "people have until " + clock(f.Until)
	case engine.ProposalDenied:
		return f.Person + " said no"
	case engine.ProposalExpired:
		return "the proposal expired"
	case engine.ProposalWithdrawn:
		return "the proposal was withdrawn"
	case engine.GlassBroken:
		if len(f.Groups) == 0 {
			return f.Person + " went on although nobody had approved it; nothing is paused"
		}
		return f.Person + " went around the gate"
	case engine.ChangeStarted:
		via := f.Transition
		if via == "" {
			via = Via(f)
		}
		text := fmt.Sprintf("%s started: %s → %s (%s)", f.Change, f.From, f.To, via)
		if len(f.Plan.Into.Pause) > 0 {
			text += ", which pauses " + strings.Join(f.Plan.Into.Pause, ", ")
		}
		return text
	case engine.DirectivePublished:
		return fmt.Sprintf("directive %d: instances are told %s", f.Directive.Revision, f.Directive.Mode)
	case engine.StepStarted:
		if f.Finds() {
			return fmt.Sprintf("%s began, attempt %d: its targets are found", f.Step.Name, f.Attempt)
		}
		return fmt.Sprintf("%s began, attempt %d", step(f.Step.Name, f.Undo), f.Attempt)
	case engine.TargetsFound:
		return fmt.Sprintf("%s acts on %s", f.Step.Name, Targets(f.Targets))
	case engine.StepHeld:
		return fmt.Sprintf("%s is held: it found %d targets, and people said yes to %d; nothing was done", f.Step, f.Targets, f.Max)
	case engine.StepDone:
		return step(f.Step, f.Undo) + " is done"
	case engine.StepFailed:
		return fmt.Sprintf("%s failed, attempt %d", step(f.Step, f.Undo), f.Attempt)
	case engine.StepUnknown:
		return fmt.Sprintf("nobody knows what came of %s, attempt %d", step(f.Step, f.Undo), f.Attempt)
	case engine.WavePublished:
		return fmt.Sprintf("wave %d: %d %% of the instances, which are %d, are told", f.Wave, f.Share, f.Instances)
	case engine.WaveHeld:
		if f.Wave == 0 {
			return "the instances hold it up"
		}
		return fmt.Sprintf("wave %d is held", f.Wave)
	case engine.WaveResumed:
		if f.Wave == 0 {
			return "the instances do not hold it up any more"
		}
		return fmt.Sprintf("wave %d goes on", f.Wave)
	case engine.DirectiveApplied:
		return fmt.Sprintf("directive %d is in force at %d of %d instances", f.Revision, f.Acked, f.Instances)
	case engine.RolloutDone:
		return "all waves have passed"
	case engine.DivergenceFound:
		return fmt.Sprintf("%d of %d instances do not follow, since %s", f.Instances, f.Of, clock(f.Since))
	case engine.DivergenceEnded:
		return "enough instances follow again"
	case engine.VerificationStarted:
		return "it is verified from here on"
	case engine.VerificationHeld:
		return "it cannot be verified now"
	case engine.ChangeHeld:
		return fmt.Sprintf("it holds what it has done; %s is tried again at %s", f.Step, clock(f.Until))
	case engine.ChangeFailed:
		return "it failed"
	case engine.UndoStarted:
		return "it is taken back"
	case engine.ChangeUndone:
		return "it is undone"
	case engine.ChangeStuck:
		return step(f.Step, f.Undo) + " is stuck: a person has to look"
	case engine.ChangeSettled:
		return fmt.Sprintf("%s settled it as %s", f.Person, f.As)
	case engine.ChangeOvertaken:
		return fmt.Sprintf("%s overtook %s", f.By, f.Change)
	case engine.ChangeDone:
		return "it is done: the mode is settled"
	case engine.TransitionWithheld:
		return f.Transition + " was ready and withheld"
	case engine.WithholdingEnded:
		return f.Transition + " was not withheld any more"
	case engine.ModePinned:
		return fmt.Sprintf("%s is pinned until %s", f.Mode, clock(f.Until))
	case engine.IncidentOpened:
		return fmt.Sprintf("people were told (%s %s): %s", f.Incident.Severity, f.Incident.ID, f.Summary)
	case engine.IncidentUpdated:
		return fmt.Sprintf("people were told (%s %s): %s", f.Severity, f.Incident, f.Note)
	case engine.IncidentEscalated:
		if f.Nobody {
			return fmt.Sprintf("%s %s burns on, and nobody is configured for %s", f.From, f.Incident, f.To)
		}
		return fmt.Sprintf("%s %s burns on: %s was told too", f.From, f.Incident, f.To)
	case engine.IncidentSuppressed:
		return fmt.Sprintf("nobody was told (%s): %s", f.Suppressed.Severity, f.Summary)
	case engine.SuppressionEnded:
		return fmt.Sprintf("%s %s was kept quiet, and is over", f.Severity, f.Subject)
	case engine.PauseEnded:
		return strings.Join(f.SLOs, ", ") + " counted again"
	case engine.IncidentResolved:
		return fmt.Sprintf("%s %s was resolved", f.Severity, f.Incident)
	case engine.RequestRefused:
		return e.Cause.Input + ", and refused"
	case engine.WindowMissed:
		return fmt.Sprintf("the window of %s passed unseen", f.Transition)
	case engine.TimeLost:
		return fmt.Sprintf("nobody evaluated for %v", f.To.Sub(f.From))
	case engine.ScopeRetired:
		return "the scope was retired"
	}
	if text := around(e); text != "" {
		return text
	}
	return e.Kind()
}

// Via says by what a change went that no transition declares.
func Via(f engine.ChangeStarted) string {
	switch {
	case f.Imposed != "":
		return "asked for by " + string(f.Imposed)
	case f.Returns:
		return "back to its own"
	}
	return "directive only"
}

// around is What for what belongs to no change and happens around one; empty for other events.
func around(e engine.Event) string {
	switch f := e.Fact.(type) {
	case engine.ScopeAdded:
		if f.Mode == "" {
			return "the scope is watched from here on"
		}
		return fmt.Sprintf("the scope begins, in %s", f.Mode)
	case engine.RulesChanged:
		return fmt.Sprintf("other rules are in force: %s", f.To.Short())
	case engine.ConditionTurned:
		return fmt.Sprintf("%s turned %s", f.Clock.Condition, f.Clock.Truth)
	case engine.ModeUnpinned:
		return "the pin ended"
	case engine.AutomationFrozen:
		if f.Until.IsZero() {
			return "automation was frozen"
		}
		return "automation was frozen until " + clock(f.Until)
	case engine.AutomationReleased:
		return "the freeze ended"
	case engine.SightLost:
		return f.Subject + " is out of sight"
	case engine.SightRegained:
		return f.Subject + " is in sight again"
	case engine.ModeImposed:
		return fmt.Sprintf("%s, in %s, asks for %s at least", f.Parent, f.In, f.Mode)
	case engine.ImpositionEnded:
		return fmt.Sprintf("%s asks for nothing any more", f.Parent)
	case engine.ModeKept:
		return fmt.Sprintf("%s is its own mode now", f.Mode)
	case engine.BrakePermitted:
		return fmt.Sprintf("%s may move by itself (%s): %d of %d scopes in the window", f.Scope, f.Change, f.Used, f.Of)
	case engine.BudgetCorrected:
		return "time was taken out of the error budget of " + f.SLO
	case engine.BudgetCorrectionWithdrawn:
		return fmt.Sprintf("%s was withdrawn: its time counts again", f.Correction)
	case engine.LogRecovered:
		return fmt.Sprintf("the log could not be written for %v", f.To.Sub(f.From).Round(time.Second))
	case engine.TermExceeded:
		return fmt.Sprintf("somebody else has led since, in term %d", f.Term)
	case engine.TermRecovered:
		return fmt.Sprintf("%s gave the server term %d", f.Person, f.Term)
	}
	return ""
}

// OneLine keeps text from outside from breaking a line, a table or a terminal, or from looking like other text than it is: line
// ends and other control characters (also those of C1, which terminals obey as well) become spaces, marks of direction and
// characters without width go. Bytes that are no text become U+FFFD.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp):
			return ' '
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
}

// Targets names what a step acts on, and not all of it where that is a lot.
func Targets(names []string) string {
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("%d: %s", len(names), text)
}

func step(name string, undo bool) string {
	if undo {
		return "the undo of " + name
	}
	return name
}

func groups(list []engine.Group) string {
	words := make([]string, len(list))
	for i, g := range list {
		words[i] = g.String()
	}
	return strings.Join(words, ", ")
}

// clock is an instant as a line of text shows it: in UTC, because who reads it may sit anywhere.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// unit is one in which people say how long something lasted.
type unit struct {
	size time.Duration
	name string
}

var units = []unit{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}

// Lasted writes a length of time as people say it, by its two largest units: 1 h 20 min, 35 s, 120 ms.
func Lasted(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Lasted(-d)
	case d == 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	}
	d = d.Round(time.Second)
	i := slices.IndexFunc(units, func(u unit) bool { return d >= u.size })
	text := fmt.Sprintf("%d %s", d/units[i].size, units[i].name)
	if i+1 < len(units) {
		if rest := d % units[i].size / units[i+1].size; rest > 0 {
			text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
		}
	}
	return text
}
