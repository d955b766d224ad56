package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/suggest"
)

// The shapes of answers and requests, the same for the server and for Client.

// Summary is a scope in a list.
type Summary struct {
	Scope        engine.Scope      `json:"scope"`
	Mode         engine.Mode       `json:"mode,omitempty" doc:"the last settled mode; empty for a scope with SLO alerts only"`
	Target       engine.Mode       `json:"target,omitempty" doc:"the published mode; differs from mode while a change is under way"`
	Since        time.Time         `json:"since,omitzero" doc:"when the target was published"`
	Revision     uint64            `json:"revision,omitempty" doc:"of the directive"`
	Change       string            `json:"change,omitempty" doc:"the change under way"`
	Pinned       bool              `json:"pinned"`
	Automation   engine.Automation `json:"automation" enum:"on,suggest,off" doc:"how far it goes"`
	Frozen       bool              `json:"frozen" doc:"automation is frozen, in this scope or everywhere"`
	Blind        bool              `json:"blind" doc:"what has to be seen of this scope cannot be seen"`
	Retired      bool              `json:"retired" doc:"no rule file declares it any more; instances keep its last directive"`
	Incidents    int               `json:"incidents" doc:"open ones"`
	Proposals    int               `json:"proposals" doc:"that wait for people"`
	Withheld     int               `json:"withheld" doc:"transitions that are ready and do not start"`
	Imposed      engine.Scope      `json:"imposed,omitempty" doc:"the scope above that holds it in its mode"`
	Paused       []string          `json:"paused,omitempty" doc:"the SLOs that its mode pauses"`
	Suppressed   int               `json:"suppressed,omitempty" doc:"incidents that its mode keeps quiet"`
	RulesProblem string            `json:"rules_problem,omitempty" doc:"why the rule file on disk is not the one in force"`
}

// Scope is all that is known of a scope now.
type Scope struct {
	Scope        engine.Scope        `json:"scope"`
	Version      engine.Version      `json:"version" doc:"of its stream: the number of its events"`
	At           time.Time           `json:"at,omitzero" doc:"of its last event"`
	Owner        string              `json:"owner,omitempty"`
	Runbook      string              `json:"runbook,omitempty"`
	Retired      bool                `json:"retired"`
	Automation   engine.Automation   `json:"automation" enum:"on,suggest,off" doc:"how far it goes: suggest says what it would do and starts nothing, off judges no transition"`
	Mode         engine.Mode         `json:"mode,omitempty" doc:"the last settled mode"`
	Target       engine.Mode         `json:"target,omitempty" doc:"the published mode"`
	Since        time.Time           `json:"since,omitzero" doc:"when the target was published"`
	Parent       engine.Scope        `json:"parent,omitempty" doc:"the scope above it"`
	Imposed      []engine.Imposition `json:"imposed" nullable:"false" doc:"the least that the scopes above let it be in"`
	Own          engine.Mode         `json:"own,omitempty" doc:"the mode it goes back to when nothing is imposed any more; absent: it was not moved from above"`
	Brake        *engine.Brake       `json:"brake,omitempty" doc:"of the fleet: how many scopes have moved by themselves, of how many in a window"`
	Modes        []Mode              `json:"modes" nullable:"false" doc:"from the least to the most restrictive"`
	Change       *engine.Change      `json:"change,omitempty" doc:"under way"`
	Instances    engine.Instances    `json:"instances" doc:"how they follow, in sum"`
	Directive    *engine.Directive   `json:"directive,omitempty" doc:"what instances are told"`
	Pin          *engine.Pin         `json:"pin,omitempty"`
	Freeze       *engine.Freeze      `json:"freeze,omitempty" doc:"of this scope"`
	FleetFreeze  *engine.Freeze      `json:"fleet_freeze,omitempty" doc:"of all automation"`
	Proposals    []engine.ChangeID   `json:"proposals" nullable:"false" doc:"that wait for people: see /approvals"`
	Withheld     []engine.Withheld   `json:"withheld" nullable:"false" doc:"transitions that are ready and do not start, and why"`
	Incidents    []engine.Incident   `json:"incidents" nullable:"false" doc:"open ones, oldest first"`
	Suppressed   []engine.Suppressed `json:"suppressed" nullable:"false" doc:"what nobody is told, because the mode in force keeps it quiet until it ends"`
	Pauses       []engine.Pause      `json:"pauses" nullable:"false" doc:"of SLOs, by the mode in force: their tiers are quiet and their budgets leave the time out"`
	Blind        []engine.Blind      `json:"blind" nullable:"false" doc:"which conditions cannot be seen, and since when; of the fleet: which sources"`
	Observed     time.Time           `json:"observed,omitzero" doc:"the instant of the last evaluation"`
	Conditions   []Condition         `json:"conditions" nullable:"false" doc:"everything the rules look at, as last evaluated"`
	Transitions  []Transition        `json:"transitions" nullable:"false" doc:"in file order"`
	Rules        engine.Digest       `json:"rules,omitempty" doc:"digest of the rules in force"`
	RulesProblem string              `json:"rules_problem,omitempty" doc:"why the rule file on disk is not the one in force"`

	Suggested time.Time `json:"suggestions_told,omitzero" doc:"up to when people were told what automation would have done; absent: never"`
}

// Mode is a declared mode.
type Mode struct {
	Name        engine.Mode  `json:"name"`
	Beside      bool         `json:"beside,omitempty" doc:"has no rank among the others"`
	Flags       engine.Flags `json:"flags,omitempty"`
	MinDuration Duration     `json:"min_duration,omitzero"`
	MaxDuration Duration     `json:"max_duration,omitzero"`
	OnExpiry    string       `json:"on_expiry,omitempty" doc:"the transition that is proposed after max_duration; empty: a page"`
	StuckAfter  Duration     `json:"stuck_after,omitzero" doc:"how long a way out may stand open before somebody is told; absent: as the service has it"`

	Unavailable *engine.Unavailable `json:"unavailable,omitempty" doc:"the service does not answer in it"`
	Imposes     engine.Mode         `json:"imposes,omitempty" doc:"the least that the scopes below are in meanwhile"`
	Pause       []string            `json:"pause,omitempty" doc:"the SLOs it pauses, when it is entered by an approved transition or a schedule"`
	Suppress    *engine.Suppress    `json:"suppress,omitempty" doc:"the incidents it keeps quiet"`
}

// Condition is a condition as it was last evaluated, with its evidence.
type Condition struct {
	Name     string           `json:"name" doc:"shed.when, slo/availability/page"`
	Text     string           `json:"text" doc:"as the rule file has it"`
	Asked    bool             `json:"asked" doc:"false: the last evaluation did not need it; truth then says nothing"`
	Truth    engine.Truth     `json:"truth" enum:"true,false,unknown"`
	Blind    bool             `json:"blind,omitempty" doc:"unknown for want of sight, not for want of traffic"`
	Readings []engine.Reading `json:"readings" nullable:"false" doc:"what its truth rests on"`
}

// Transition is a rule from some modes to another.
type Transition struct {
	Name      string           `json:"name"`
	From      []engine.Mode    `json:"from" nullable:"false"`
	To        engine.Mode      `json:"to"`
	Condition string           `json:"condition" doc:"the name of its condition"`
	For       Duration         `json:"for,omitzero" doc:"how long its condition has to be true"`
	Held      Duration         `json:"held,omitzero" doc:"how much of that is done"`
	Severity  engine.Severity  `json:"severity,omitempty"`
	Position  string           `json:"position,omitempty" doc:"file:line:column"`
	Waves     []engine.Percent `json:"waves,omitempty" doc:"of the instances, told one after the other"`
}

// Scopes is a list of scopes, sorted by name.
type Scopes struct {
	Scopes []Summary `json:"scopes" nullable:"false"`
}

// History is one page of a scope's events.
type History struct {
	Events []Event        `json:"events" nullable:"false" doc:"newest first"`
	Before engine.Version `json:"before,omitempty" doc:"ask with this for the next page; absent on the last one"`

	Suggestions []suggest.Suggestion `json:"suggestions,omitempty" doc:"what automation would have done, of which an event here tells the beginning or the end"`
}

// Outcome is what a request led to. It is in the log.
type Outcome struct {
	Events []Event `json:"events" nullable:"false"`
	DryRun bool    `json:"dry_run,omitempty" doc:"nothing was stored or done: these are the events there would be"`
	Would  []Would `json:"would,omitempty" doc:"of a dry run: what would be done, in order: what is taken back, and then each step"`
}

// Would is a step of a dry run.
type Would struct {
	Step    string          `json:"step"`
	Undoes  engine.ChangeID `json:"undoes,omitempty" doc:"it takes back this step of that change"`
	Do      string          `json:"do" doc:"in full, without secrets"`
	Undo    string          `json:"undo,omitempty"`
	Targets *StepTargets    `json:"targets,omitempty" doc:"what it would act on; absent: do names it"`
}

// SetRequest asks for a mode by hand.
type SetRequest struct {
	Mode          engine.Mode `json:"mode" minLength:"1" maxLength:"200" doc:"a mode the scope's rules declare"`
	Reason        string      `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
	For           Duration    `json:"for,omitzero" doc:"how long automation keeps off; 1h if not said, at most 24h (1d)"`
	Via           string      `json:"via,omitempty" maxLength:"200" doc:"the transition to go by, where several lead there"`
	DirectiveOnly bool        `json:"directive_only,omitempty" doc:"publish the mode although no transition leads there; where one does it is refused, or with force marked as going around its gate"`
	Force         bool        `json:"force,omitempty" doc:"break-glass: go around the transition's gate; its owner is paged"`
	DryRun        bool        `json:"dry_run,omitempty" doc:"say what would happen, and do nothing"`
}

// ReasonRequest is a request that needs nothing but a reason.
type ReasonRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
}

// ChangeRequest is a request about a change that needs nothing but a reason.
type ChangeRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
	DryRun bool   `json:"dry_run,omitempty" doc:"say what would happen, and do nothing"`
}

// FreezeRequest stops automation from starting changes.
type FreezeRequest struct {
	Reason string   `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
	For    Duration `json:"for,omitzero" doc:"until released, if not said"`
}

// Status is the server itself.
type Status struct {
	Version       string         `json:"version" doc:"of the program"`
	Ready         bool           `json:"ready"`
	Checks        []Check        `json:"checks" nullable:"false"`
	Scopes        int            `json:"scopes" doc:"that are not retired"`
	Incidents     int            `json:"incidents" doc:"open ones"`
	Freeze        *engine.Freeze `json:"freeze,omitempty" doc:"of all automation"`
	Term          uint64         `json:"term" doc:"this server leads in"`
	Deposed       string         `json:"deposed,omitempty" doc:"why it publishes nothing: instances are ahead of it"`
	Position      int64          `json:"position" doc:"of the last event in the log"`
	Sources       []Source       `json:"sources" nullable:"false" doc:"what the sources showed last"`
	RulesProblems []RulesProblem `json:"rules_problems" nullable:"false" doc:"why rule files on disk are not the ones in force"`
	Jobs          *JobCounts     `json:"jobs,omitempty" doc:"pages, tickets and steps that are owed"`
}

// Source is the sight of one Prometheus.
type Source struct {
	engine.Sight
	Since time.Time `json:"since,omitzero" doc:"blind since"`
}

// RulesProblem says why a rule file is not in force.
type RulesProblem struct {
	Scope   engine.Scope `json:"scope,omitempty" doc:"of the rules it would replace; empty when it never loaded"`
	Problem string       `json:"problem" doc:"file, line, column, what is wrong and what would be right"`
}

// Event is an event in the log's canonical form.
type Event struct{ engine.Event }

// Schema describes the canonical form, which engine.Event writes by a method and not by its fields.
func (Event) Schema(r huma.Registry) *huma.Schema {
	const name = "Event"
	if _, there := r.Map()[name]; !there {
		text, object := huma.TypeString, huma.TypeObject
		s := &huma.Schema{
			Type:        object,
			Description: "One fact in the log. Its form is canonical: the hash chain is over these bytes.",
			Properties: map[string]*huma.Schema{
				"stream":  {Type: text, Description: "the scope, or fleet"},
				"version": {Type: huma.TypeInteger, Format: "int64", Minimum: ptr(1.0), Description: "counts the events of the stream"},
				"at":      {Type: text, Format: "date-time"},
				"rules":   {Type: text, Description: "digest of the rules in force"},
				"kind":    {Type: text, Description: "what happened, past tense", Examples: []any{"ChangeStarted"}},
				"cause": {Type: object, Description: "who or what brought it about", Properties: map[string]*huma.Schema{
					"input": {Type: text}, "principal": {Type: text}, "person": {Type: text},
					"instant": {Type: text, Format: "date-time"}, "prev": {Type: text, Format: "date-time"},
				}},
				"reason": {Type: object, Properties: map[string]*huma.Schema{
					"code": {Type: text, Description: "for programs"}, "text": {Type: text, Description: "for people"},
				}},
				"evidence": {Type: huma.TypeArray, Items: r.Schema(typeOf[engine.Reading](), true, "Reading"),
					Description: "the readings it was decided on"},
				"fact": {Type: object, AdditionalProperties: true, Description: "by kind"},
			},
			Required: []string{"stream", "version", "at", "kind", "cause", "reason", "fact"},
		}
		s.PrecomputeMessages()
		r.Map()[name] = s
	}
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}
