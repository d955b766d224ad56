package engine

import "time"

// Policy is what the rule files say of one scope, compiled: plain data, no text left to parse. Whoever shares a Policy must
// not change it any more.
type Policy struct {
	Digest Digest // of all below, and of the queries behind the conditions
	Scope  Scope

	Interval   time.Duration // between two evaluations; > 0
	BlindAfter time.Duration // how long sight may be lost before somebody is paged; > 0

	Owner   string
	Runbook string // URL, or empty

	Informs bool // somebody is told of informational changes

	Automation Automation    // how far it goes; empty: AutomationOn
	Parent     Scope         // the scope above it in the tree; empty: none
	StuckAfter time.Duration // how long a mode's way out may stand open before somebody is told; 0: DefaultStuckAfter
	Flap       Flap          // when a scope that moves to and fro is kept where it protects; zero: never

	Modes       []ModeRule   // the first is where a scope starts; empty: SLO alerts only
	Conditions  []Condition  // everything that can be observed; Observed.Conditions stands at the same indexes
	Transitions []Transition // in file order
	Alerts      []Alert      // the tiers of the SLOs, the louder before the quieter of the same SLO

	Instances InstanceRules

	Brake BrakeRule // of the fleet
}

// Automation says how far automation goes in a scope. SLOs are watched, and people may set modes, in any case.
type Automation string

// How far automation may go.
const (
	AutomationOn      Automation = "on"
	AutomationSuggest Automation = "suggest" // it says what it would do, and starts nothing
	AutomationOff     Automation = "off"     // it judges no transition
)

// MaxFlap is how many changes are remembered, and so the most that Flap.Changes may be.
const MaxFlap = 50

// Flap says how often a scope may change its mode in a while before what would take protection away is withheld.
type Flap struct {
	Changes int           // that are too many; 0: none are
	Within  time.Duration // > 0
}

// ModeRule is one mode as declared. Modes that are not Beside rank by their place: least restrictive first.
type ModeRule struct {
	Name        Mode          `json:"name"`
	Beside      bool          `json:"beside,omitempty"`       // has no rank
	Flags       Flags         `json:"flags,omitempty"`        // what instances are told while it is in force
	MinDuration time.Duration `json:"min_duration,omitempty"` // no automatic move to something less restrictive sooner; 0: none
	MaxDuration time.Duration `json:"max_duration,omitempty"` // a page when it lasts longer; 0: none
	OnExpiry    string        `json:"on_expiry,omitempty"`    // the gated transition that is proposed then, in place of the page
	StuckAfter  time.Duration `json:"stuck_after,omitempty"`  // in place of the policy's; 0: that
	Unavailable *Unavailable  `json:"unavailable,omitempty"`  // the service does not answer in it
	Imposes     Mode          `json:"imposes,omitempty"`      // the least that the scopes below are in meanwhile; empty: whatever they like
	Pause       []string      `json:"pause,omitempty"`        // the SLOs it pauses, sorted: see pause.go
	Suppress    *Suppress     `json:"suppress,omitempty"`     // what it keeps quiet; nil: nothing
}

// Flags are a mode's feature flags: name to a JSON value (bool, float64, string, or a map of such).
type Flags map[string]any

// Condition is something that is true, false or unknown of a scope. The compiled expression lives with the evaluator; the
// core needs to know its name and whether its meaning changed.
type Condition struct {
	Name   string        // "shed.when", "slo/availability/page": unique in a policy
	Text   string        // as written
	Every  time.Duration // of an alert's only: asked when this much has passed, at aligned instants; 0: at every tick, as all others
	Digest Digest        // of its text and the queries behind it
	// Scheduled says that it rests on declared schedules and the time spent in the mode alone: nothing measured can make it true.
	Scheduled bool
}

// Transition is the rule from some modes to another.
type Transition struct {
	Name     string
	From     []Mode // matched against the target, what is published
	To       Mode
	When     int           // index into Policy.Conditions
	For      time.Duration // how long When must have been true; 0: at once
	Severity Severity
	Alerts   []int  // indexes into Policy.Alerts: the tiers its condition mentions, whose incident it joins
	Digest   Digest // of its text
	Position string // file:line:column

	Gate       *Gate    // who has to say yes first; nil: nobody
	Rollout    *Rollout // how the directive reaches the instances; nil: all at once
	Playbook   Playbook
	Until      ConditionRef  // once true, the change is taken back while its mode still holds
	RetryAfter time.Duration // after a proposal or change came to nothing; 0: DefaultRetryAfter
	UndoEntry  bool          // leaving takes back what the change that entered did
}

// ConditionRef is an index into Policy.Conditions plus one; 0 refers to none.
type ConditionRef int

// Index is the index into Policy.Conditions, and whether there is one.
func (r ConditionRef) Index() (int, bool) { return int(r) - 1, r > 0 }

// DefaultRetryAfter is how long a transition rests after it came to nothing while its condition stays true.
const DefaultRetryAfter = time.Hour

// Gate says who has to say yes, how many, by when, and what then. It never says "go ahead" by itself.
type Gate struct {
	Groups    []Group       `json:"groups"` // all of them have to be satisfied
	Within    time.Duration `json:"within"` // > 0
	Otherwise Otherwise     `json:"otherwise,omitempty"`
	To        []Group       `json:"to,omitempty"` // for OtherwiseEscalate
}

// Group is a number of people with a role.
type Group struct {
	Role  string `json:"role"`
	Count int    `json:"count"` // ≥ 1
}

// Otherwise is what happens when a gate's time is over.
type Otherwise string

// What a gate does when its time is over.
const (
	OtherwiseDeny     Otherwise = "deny"     // the default
	OtherwisePage     Otherwise = "page"     // somebody is woken, and there is as much time again
	OtherwiseEscalate Otherwise = "escalate" // further people are asked in place of those who did not answer
)

// Playbook is the ordered steps of a change, as declared.
type Playbook struct {
	Steps       []Step       `json:"steps,omitempty"`
	PublishLast bool         `json:"publish_last,omitempty"` // the directive follows the steps
	OnFailure   OnFailure    `json:"on_failure,omitempty"`
	Verify      ConditionRef `json:"-"` // has to be true at the end
}

// OnFailure says what becomes of a change that fails.
type OnFailure string

// What becomes of a change that fails. Left out: an ungated move to a more restrictive mode is held, all else undone.
const (
	OnFailureHold OnFailure = "hold"
	OnFailureUndo OnFailure = "undo"
)

// Step is one action of a playbook with its undo.
type Step struct {
	Name         string `json:"step"`
	Kind         string `json:"kind,omitempty"` // of action: webhook, exec, …
	Destructive  bool   `json:"destructive,omitempty"`
	Undo         bool   `json:"undo,omitempty"`         // it has one
	Irreversible bool   `json:"irreversible,omitempty"` // it is destructive and has none
	Keyed        bool   `json:"keyed,omitempty"`        // its target knows a key, or can say that it did this already
	Attempts     int    `json:"attempts,omitempty"`     // how often it is tried; 0: once
	Spec         string `json:"spec,omitempty"`         // what is done, in the kind's own form (JSON)
	UndoSpec     string `json:"undo_spec,omitempty"`
	// Targets are found anew when the step begins. Left out: the specification names what it acts on.
	Targets Targets `json:"targets,omitzero"`
}

// Targets says what a step acts on: how they are found, and how many of them it may be. Its undo acts on those it acted on.
type Targets struct {
	Selector string `json:"selector"` // in the form of whoever finds them
	Max      int    `json:"max"`      // ≥ 1
}

// Alert is one tier of an SLO.
type Alert struct {
	SLO       string
	Severity  Severity // SeverityPage or SeverityTicket
	Name      string   // the alert's name, as users know it from Prometheus
	Condition int      // index into Policy.Conditions
	Labels    map[string]string
	Notes     map[string]string // Prometheus calls them annotations

	Escalation *Escalation // when its incident is told to somebody further; nil: never
}

func (a Alert) subject() string { return "slo/" + a.SLO + "/" + string(a.Severity) }

// Mode returns the declaration of m, and whether there is one.
func (p *Policy) Mode(m Mode) (ModeRule, bool) {
	for i := range p.Modes {
		if p.Modes[i].Name == m {
			return p.Modes[i], true
		}
	}
	return ModeRule{}, false
}

// transition returns the declaration of a transition; nil when there is none.
func (p *Policy) transition(name string) *Transition {
	for i := range p.Transitions {
		if p.Transitions[i].Name == name {
			return &p.Transitions[i]
		}
	}
	return nil
}

// rank is the place of m among the modes that have one, or -1.
func (p *Policy) rank(m Mode) int {
	for i := range p.Modes {
		if p.Modes[i].Name == m {
			if p.Modes[i].Beside {
				return -1
			}
			return i
		}
	}
	return -1
}

// moreRestrictive reports whether to protects more than from. A mode beside the others is neither more nor less.
func (p *Policy) moreRestrictive(from, to Mode) bool {
	f, t := p.rank(from), p.rank(to)
	return f >= 0 && t >= 0 && t > f
}

// leaves reports whether t starts from mode m.
func (t *Transition) leaves(m Mode) bool {
	for _, f := range t.From {
		if f == m {
			return true
		}
	}
	return false
}

// Relevant reports whether condition i can matter to a scope in state s: it is an SLO's tier, may tell an open incident to
// somebody further, or is the condition of a transition that leaves the present target. What is not relevant need not be asked.
func (p *Policy) Relevant(s State, i int) bool {
	for k := range p.Alerts {
		if p.Alerts[k].Condition == i {
			return true
		}
	}
	if p.escalating(s, i) {
		return true
	}
	for k := range p.Transitions {
		if t := &p.Transitions[k]; t.When == i {
			if t.leaves(s.Target) || s.Own != "" && t.leaves(s.Own) || s.resting(t.Name) || s.mayAsk(t.Name) {
				return true
			}
		}
	}
	name := p.Conditions[i].Name
	if c := s.Change; c != nil && c.Plan.Rollout != nil && !c.Rolled && c.Plan.Rollout.Verify == name {
		return true
	}
	if n := len(s.Past); n > 0 && s.Past[n-1].Until != "" && (s.Past[n-1].Until == name || s.Past[n-1].Retry.Condition == name) {
		return true // its end, and whether what it was for is over by then
	}
	if m, _ := p.Mode(s.Target); s.Change != nil && s.window() == name && (m.Suppress != nil || len(s.Lasting()) > 0) {
		return true // nobody may be quiet beyond it, whatever becomes of the change
	}
	return s.Change != nil && s.Change.Verify == name
}
