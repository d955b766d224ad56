package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// what says in a few words what an event of a change's life is about.
func what(e engine.Event) string {
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
		return f.Person + " went around the gate"
	case engine.ChangeStarted:
		via := f.Transition
		if via == "" {
			via = "directive only"
		}
		return fmt.Sprintf("%s started: %s → %s (%s)", f.Change, f.From, f.To, via)
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
	case engine.IncidentResolved:
		return fmt.Sprintf("%s %s was resolved", f.Severity, f.Incident)
	case engine.RequestRefused:
		return e.Cause.Input + ", and refused"
	case engine.TimeLost:
		return fmt.Sprintf("nobody evaluated for %v", f.To.Sub(f.From))
	case engine.ScopeRetired:
		return "the scope was retired"
	}
	return e.Kind()
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
