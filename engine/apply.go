package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Apply folds a stored event into s. An event of an unknown kind changes only the position. Events come in the order of
// their versions and without holes; anything else is a broken store, and Apply panics with the facts.
func Apply(s State, e Event) State {
	if e.Version != s.Version+1 || (s.Version > 0 && e.Stream != s.Scope) {
		panic(fmt.Sprintf("engine: apply %s/%d to a state of %s/%d", e.Stream, e.Version, s.Scope, s.Version))
	}
	s.Scope, s.Version, s.At = e.Stream, e.Version, e.At
	switch f := e.Fact.(type) {
	case ScopeAdded:
		s.Rules, s.Retired = e.Rules, false
		if f.Mode != s.Target {
			s = s.enter(f.Mode, e)
		}
		s.Mode = f.Mode
	case RulesChanged:
		s.Rules = f.To
		s.Clocks = without(s.Clocks, func(c Clock) bool { return slices.Contains(f.Clocks, c.Condition) })
	case ScopeRetired:
		s = s.count(e.At)
		s.Retired, s.Clocks, s.Withheld, s.Blind, s.Pin, s.Change, s.Resting = true, nil, nil, nil, nil, nil, nil
		s.Imposed, s.Own, s.Suppressed = nil, "", nil
	case TimeLost:
		s = s.lose(f.From, f.To)
	case ConditionTurned:
		s.Clocks = turn(s.Clocks, f.Clock)
		s.Proposals = sighted(s.Proposals, f.Clock)
		if f.Clock.Truth == False {
			s.Resting = wake(s.Resting, f.Clock.Condition)
		}
	case DirectivePublished:
		before := s.Directive
		s.Directive = f.Directive
		if f.Directive.Mode != s.Target {
			s = s.enter(f.Directive.Mode, e)
		}
		if s.Change != nil && f.Change == s.Change.ID {
			if s.EnteredBy == e.Version {
				s = s.pause(s.Change.pauses(f.Directive.Mode), f.Change, e.At)
			}
			s.Change = s.Change.published(before)
		}
	case TransitionWithheld:
		w := Withheld{Transition: f.Transition, To: f.To, Reason: e.Reason, Since: e.At, Incident: f.Incident}
		s.Withheld = with(without(s.Withheld, func(o Withheld) bool { return o.Transition == f.Transition }), w)
	case WithholdingEnded:
		s.Withheld = without(s.Withheld, func(o Withheld) bool { return o.Transition == f.Transition })
	case PauseEnded:
		s = s.count(e.At, f.SLOs...)
	case ModePinned:
		s.Pin = &Pin{Mode: f.Mode, Until: f.Until, By: e.Cause.Actor, Reason: e.Reason.Text}
	case ModeUnpinned:
		s.Pin = nil
	case AutomationFrozen:
		s.Freeze = &Freeze{Until: f.Until, By: e.Cause.Actor, Reason: e.Reason.Text}
	case AutomationReleased:
		s.Freeze = nil
	case IncidentOpened:
		s.Incidents = with(s.Incidents, f.Incident)
		if f.Incident.Kind == IncidentSLO {
			s.Suppressed = unsuppressed(s.Suppressed, f.Incident.Subject)
		}
	case IncidentResolved:
		s.Incidents = without(s.Incidents, func(i Incident) bool { return i.ID == f.Incident })
		s.Clocks = withoutClocks(s.Clocks, f.Incident)
	case IncidentEscalated:
		s.Incidents = escalateIncident(s.Incidents, f)
		s.Clocks = withoutClocks(s.Clocks, f.Incident)
	case CheckpointMade:
		s.Checkpoint = e.Version
	case SuggestionsTold:
		s.SuggestionsTold = f.To
	case TermExceeded:
		s.Exceeded = &Exceeded{Term: f.Term, Own: f.Own}
	case TermRecovered:
		s.Term, s.Exceeded = f.Term, nil
	case SightLost:
		s.Blind = with(without(s.Blind, func(b Blind) bool { return b.Subject == f.Subject }), Blind(f))
	case SightRegained:
		s.Blind = without(s.Blind, func(b Blind) bool { return b.Subject == f.Subject })
	default:
		s = applyProposal(s, e)
		s = applyChange(s, e)
		s = applyCorrection(s, e)
		s = applyAbove(s, e)
		s = applyBrake(s, e)
		s = applySuppression(s, e)
	}
	return s
}

// enter makes m the target from e on. Sums of `for` belong to the target they were counted in, or to an incident; what is known
// of the conditions of proposals stays known, also while their change is under way and may ask again.
func (s State) enter(m Mode, e Event) State {
	if s.Target != "" {
		s.Moves = with(s.Moves, e.At)
		s.Moves = s.Moves[max(0, len(s.Moves)-MaxFlap):]
	}
	s = s.count(e.At)
	s.Target, s.Entered, s.Lost, s.EnteredBy = m, e.At, 0, e.Version
	s.Clocks = without(s.Clocks, func(c Clock) bool {
		asks := s.Change != nil && s.Change.Approved != nil && s.Change.Retry.Condition == c.Condition
		return c.Incident == "" && !asks && !slices.ContainsFunc(s.Proposals, func(p Proposal) bool { return p.Retry.Condition == c.Condition })
	})
	if len(s.Clocks) == 0 {
		s.Clocks = nil
	}
	return s
}

// lose takes a span nobody evaluated out of everything that counts time.
func (s State) lose(from, to time.Time) State {
	if !s.Entered.IsZero() {
		s.Lost += max(0, to.Sub(later(from, s.Entered)))
	}
	if len(s.Blind) > 0 {
		s.Blind = slices.Clone(s.Blind)
		for i, b := range s.Blind {
			s.Blind[i].Since = b.Since.Add(max(0, to.Sub(later(from, b.Since))))
		}
	}
	for i, c := range s.Clocks {
		if c.Truth != True {
			continue
		}
		last := later(from, c.Since) // the last true evaluation
		s.Clocks = slices.Clone(s.Clocks)
		s.Clocks[i].Truth, s.Clocks[i].Sum, s.Clocks[i].Since, s.Clocks[i].LastTrue = Unknown, c.Sum+last.Sub(c.Since), to, last
	}
	return s
}

// turn puts c into clocks, which stay sorted by condition.
func turn(clocks []Clock, c Clock) []Clock {
	i, found := slices.BinarySearchFunc(clocks, c, func(a, b Clock) int { return strings.Compare(a.Condition, b.Condition) })
	if found {
		clocks = slices.Clone(clocks)
		clocks[i] = c
		return clocks
	}
	return slices.Insert(slices.Clip(clocks), i, c)
}

// sighted ends what people said to starting blind once the condition can be seen: when sight is lost again, it is another matter.
func sighted(proposals []Proposal, c Clock) []Proposal {
	for i, p := range proposals {
		if c.Truth != Unknown && p.Retry.Condition == c.Condition && p.BlindBy != "" {
			proposals = slices.Clone(proposals)
			proposals[i].BlindBy = ""
		}
	}
	return proposals
}

// wake ends the rest of the transitions whose condition was false.
func wake(resting []Rest, condition string) []Rest {
	for i, r := range resting {
		if r.Retry.Condition == condition && !r.Over {
			resting = slices.Clone(resting)
			resting[i].Over = true
		}
	}
	return resting
}

// withoutClocks ends what was counted for an incident.
func withoutClocks(clocks []Clock, i IncidentID) []Clock {
	if clocks = without(clocks, func(c Clock) bool { return c.Incident == i }); len(clocks) == 0 {
		return nil
	}
	return clocks
}

// escalateIncident notes whom an incident was told to further.
func escalateIncident(list []Incident, f IncidentEscalated) []Incident {
	list = slices.Clone(list)
	for i := range list {
		if list[i].ID == f.Incident && f.Nobody {
			list[i].Alone = true
		} else if list[i].ID == f.Incident {
			list[i].Escalated = f.To
		}
	}
	return list
}

// turnIncident makes the incident that told of a withheld transition the incident of the transition itself, once it starts:
// people were paged for it already.
func turnIncident(list []Incident, f ChangeStarted) []Incident {
	i := slices.IndexFunc(list, func(i Incident) bool { return i.ID == f.Incident && i.Kind == IncidentWithheld })
	if i < 0 {
		return list
	}
	list = slices.Clone(list)
	list[i].Kind, list[i].Mode = IncidentTransition, f.To
	return list
}
