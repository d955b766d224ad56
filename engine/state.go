package engine

import (
	"slices"
	"time"
)

// State is what is known of one stream: the fold of its events. The zero value is a stream without events. States share
// memory; whoever holds one must not change what its slices and maps hold.
type State struct {
	Scope   Scope     `json:"scope"`
	Version Version   `json:"version"`
	At      time.Time `json:"at"` // of the last event
	Rules   Digest    `json:"rules,omitempty"`
	Retired bool      `json:"retired,omitempty"`

	Mode      Mode          `json:"mode,omitempty"`   // the last settled one
	Target    Mode          `json:"target,omitempty"` // what is published
	Entered   time.Time     `json:"entered,omitzero"` // when the target was published
	Lost      time.Duration `json:"lost,omitempty"`   // of the time since then
	EnteredBy Version       `json:"entered_by,omitempty"`
	Directive Directive     `json:"directive,omitzero"`
	Change    *Change       `json:"change,omitempty"` // under way

	Imposed []Imposition `json:"imposed,omitempty"` // by the scopes above
	Own     Mode         `json:"own,omitempty"`     // the mode it was in before it was moved from above; empty: it was not

	Proposals []Proposal  `json:"proposals,omitempty"` // that wait, oldest first
	Resting   []Rest      `json:"resting,omitempty"`   // transitions that came to nothing, by transition
	Past      []Past      `json:"past,omitempty"`      // changes that are done; the last one entered the present mode
	Moves     []time.Time `json:"moves,omitempty"`     // when the target changed, as far back as flapping is counted, oldest first
	Clocks    []Clock     `json:"clocks,omitempty"`    // of conditions whose duration matters, by name
	Withheld  []Withheld  `json:"withheld,omitempty"`  // by transition
	Incidents []Incident  `json:"incidents,omitempty"` // open ones, oldest first
	Pin       *Pin        `json:"pin,omitempty"`
	Freeze    *Freeze     `json:"freeze,omitempty"`
	Blind     []Blind     `json:"blind,omitempty"` // what cannot be seen

	Permits []Permit `json:"permits,omitempty"` // of the fleet: to move by itself, oldest first

	Checkpoint Version `json:"checkpoint,omitempty"` // of the fleet: the event that named the heads last

	Term     uint64    `json:"term,omitempty"`     // of the fleet: the one a person gave this server
	Exceeded *Exceeded `json:"exceeded,omitempty"` // of the fleet: a later one was heard of

	Corrections []Correction `json:"corrections,omitempty"` // of error budgets, that hold, oldest first

	SuggestionsTold time.Time    `json:"suggestions_told,omitzero"` // up to when people know what automation would have done
	Pauses          []Pause      `json:"pauses,omitempty"`          // of SLOs, as far as budgets reach back; those that last at the end
	Suppressed      []Suppressed `json:"suppressed,omitempty"`      // what would be open, and the mode keeps quiet, oldest first
}

// Directive is what instances are told. A newer one has a higher term, or the same term and a higher revision.
type Directive struct {
	Term     uint64  `json:"term"`     // of whoever led when it was published
	Revision Version `json:"revision"` // of the scope, rising by one with each directive
	Mode     Mode    `json:"mode"`
	Flags    Flags   `json:"flags,omitempty"`

	Unavailable *Unavailable `json:"unavailable,omitempty"`
}

// Clock sums how long a condition has been true: the spans between consecutive true evaluations that are no more than two
// intervals apart.
type Clock struct {
	Condition string        `json:"condition"`
	Digest    Digest        `json:"digest,omitempty"` // of the condition it was counted for: another meaning starts at nothing
	Truth     Truth         `json:"truth"`
	Since     time.Time     `json:"since"`              // the first instant of the present truth
	Sum       time.Duration `json:"sum"`                // before Since
	LastTrue  time.Time     `json:"last_true,omitzero"` // while Truth is Unknown: the last true evaluation

	LastFalse time.Time `json:"last_false,omitzero"` // while Truth is Unknown: since when it was false before

	Incident IncidentID `json:"incident,omitempty"` // it is counted for, and ends with; empty: for the present mode
}

// Held is how long the condition has been true by an instant at which it is still true.
func (c Clock) Held(at time.Time) time.Duration {
	if c.Truth != True {
		return c.Sum
	}
	return c.Sum + max(0, at.Sub(c.Since))
}

// Withheld is a transition that is ready and does not start.
type Withheld struct {
	Transition string     `json:"transition"`
	To         Mode       `json:"to"`
	Reason     Reason     `json:"reason"`
	Since      time.Time  `json:"since"`
	Incident   IncidentID `json:"incident,omitempty"`
}

// IncidentKind says what an incident is about.
type IncidentKind string

// The kinds of incident.
const (
	IncidentSLO        IncidentKind = "slo"        // a tier of an SLO fires
	IncidentTransition IncidentKind = "transition" // a transition nobody's tier told of
	IncidentWithheld   IncidentKind = "withheld"   // protection a person keeps automation from giving
	IncidentTooLong    IncidentKind = "too long"   // a mode lasts longer than its max_duration
	IncidentBlind      IncidentKind = "blind"      // a scope or a source cannot be seen
	IncidentChange     IncidentKind = "change"     // a change is held, failed or stuck
	IncidentGate       IncidentKind = "gate"       // nobody answers
	IncidentGlass      IncidentKind = "break-glass"
	IncidentFlapping   IncidentKind = "flapping"   // the mode changes too often
	IncidentStuckMode  IncidentKind = "stuck mode" // the mode could be left for long, and is not
	IncidentDivergence IncidentKind = "divergence" // instances do not follow
	IncidentImposed    IncidentKind = "imposed"    // a pin keeps out what a scope above asks for
	IncidentTerm       IncidentKind = "term"       // of the fleet: somebody else has led since
)

// Incident is something people were told of and that is not over.
type Incident struct {
	ID       IncidentID   `json:"id"` // also the deduplication key of its pages
	Kind     IncidentKind `json:"kind"`
	Subject  string       `json:"subject"` // slo/availability/page, a transition's name, a mode, a source
	Severity Severity     `json:"severity"`
	Mode     Mode         `json:"mode,omitempty"` // for a transition: it is over when this is left
	Opened   time.Time    `json:"opened"`

	Escalated Severity `json:"escalated,omitempty"` // it was told to further
	Alone     bool     `json:"alone,omitempty"`     // it was to be told further, and nobody was configured for that
}

// Loudest is the severity of those who were told of the incident last.
func (i Incident) Loudest() Severity {
	if i.Escalated != "" {
		return i.Escalated
	}
	return i.Severity
}

// Pin is a person's choice of mode.
type Pin struct {
	Mode   Mode      `json:"mode"`
	Until  time.Time `json:"until"`
	By     Actor     `json:"by"`
	Reason string    `json:"reason"`
}

// Freeze stops automation from starting changes.
type Freeze struct {
	Until  time.Time `json:"until,omitzero"` // zero: until released
	By     Actor     `json:"by"`
	Reason string    `json:"reason"`
}

// Blind is a want of sight and since when, lost time not counted.
type Blind struct {
	Subject string    `json:"subject"` // a condition; in the fleet's stream a source
	Since   time.Time `json:"since"`
}

// Dwell is how long the target has been published at an instant, lost time not counted.
func (s State) Dwell(at time.Time) time.Duration {
	if s.Entered.IsZero() {
		return 0
	}
	return max(0, at.Sub(s.Entered)-s.Lost)
}

// Incident finds the open incident about a subject.
func (s State) Incident(k IncidentKind, subject string) (Incident, bool) {
	for i := range s.Incidents {
		if s.Incidents[i].Kind == k && s.Incidents[i].Subject == subject {
			return s.Incidents[i], true
		}
	}
	return Incident{}, false
}

// entering finds the open incident that told of t leading where it leads now.
func (s State) entering(t *Transition) (Incident, bool) {
	for _, i := range s.Incidents {
		if i.Kind == IncidentTransition && i.Subject == t.Name && i.Mode == t.To && i.Severity == t.Severity {
			return i, true
		}
	}
	return Incident{}, false
}

// clock finds the clock of a condition; one at which nothing was counted when there is none.
func (s State) clock(condition string) Clock {
	for i := range s.Clocks {
		if s.Clocks[i].Condition == condition {
			return s.Clocks[i]
		}
	}
	return Clock{Condition: condition}
}

func (s State) resting(transition string) bool {
	_, rests := s.rest(transition)
	return rests
}

func (s State) rest(transition string) (Rest, bool) {
	for i := range s.Resting {
		if s.Resting[i].Transition == transition {
			return s.Resting[i], true
		}
	}
	return Rest{}, false
}

// mayAsk reports whether the change under way is of this transition, and people may have to be asked again about one of its steps:
// what its condition is like matters on.
func (s State) mayAsk(transition string) bool {
	return s.Change != nil && s.Change.Approved != nil && s.Change.Transition == transition && !s.Change.Undoing
}

// ended are the proposals and changes that came to nothing, as far as they are remembered.
func (s State) ended() []Rest {
	var list []Rest
	for _, r := range s.Resting {
		if r.Last != nil {
			list = append(list, *r.Last)
		}
		list = append(list, r)
	}
	return list
}

func (s State) proposal(transition string) (Proposal, bool) {
	for i := range s.Proposals {
		if s.Proposals[i].Transition == transition {
			return s.Proposals[i], true
		}
	}
	return Proposal{}, false
}

func (s State) withheld(transition string) (Withheld, bool) {
	for i := range s.Withheld {
		if s.Withheld[i].Transition == transition {
			return s.Withheld[i], true
		}
	}
	return Withheld{}, false
}

// blind is since when a subject cannot be seen; zero when it can. A clock that was set back puts it into the future.
func (s State) blind(subject string) time.Time {
	for i := range s.Blind {
		if s.Blind[i].Subject == subject {
			return s.Blind[i].Since
		}
	}
	return time.Time{}
}

func (s State) isBlind(subject string) bool { return !s.blind(subject).IsZero() }

// without returns a copy of list less those for which gone holds; list itself when there is none.
func without[T any](list []T, gone func(T) bool) []T {
	if !slices.ContainsFunc(list, gone) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), gone)
}

// with returns a copy of list with e added at its end.
func with[T any](list []T, e T) []T { return append(slices.Clip(list), e) }
