package readiness

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Answer is a row's, or that of all of them.
type Answer string

// The answers.
const (
	Yes        Answer = "yes"
	No         Answer = "no"
	CannotTell Answer = "cannot tell"
)

// Facts are what a server knows of a scope and its rule file does not say. They name no person and hold no secret.
type Facts struct {
	Scope engine.Scope `json:"scope"`
	At    time.Time    `json:"at" doc:"when they were so"`
	Mode  engine.Mode  `json:"mode,omitempty" doc:"in force"`
	Below int          `json:"below,omitempty" doc:"so many scopes name this one as their parent"`
	// Conditions tell whether what the server sees is seen for the rules in question.
	Conditions map[string]engine.Digest `json:"conditions" doc:"of the rules in force, by name"`

	Modes []Record  `json:"modes" nullable:"false" doc:"how the declared modes were left, as far back as the log was read"`
	Since time.Time `json:"since,omitzero" doc:"the log was read back to this instant"`
	Whole bool      `json:"whole" doc:"the log was read to its beginning"`

	Receivers []Receiver `json:"receivers" nullable:"false" doc:"who is told, by severity"`
	Roles     []Holders  `json:"roles" nullable:"false" doc:"of the tokens that are good for this scope"`
	Gates     []Asked    `json:"gates" nullable:"false" doc:"who is asked by the rules in force"`
	Instances Following  `json:"instances" doc:"how they follow, in sum"`
	Telemetry Telemetry  `json:"telemetry" doc:"what the sources show of the rules in force"`
}

// Record is how a mode was left.
type Record struct {
	Mode  engine.Mode `json:"mode"`
	Last  *Stay       `json:"last,omitempty" doc:"the last stay that is over"`
	Drill *Stay       `json:"drill,omitempty" doc:"the last one that ended by the mode's own way back"`
}

// Stay is a time in a mode, from when a change settled there until another one settled elsewhere.
type Stay struct {
	Entered time.Time   `json:"entered,omitzero"`
	Left    time.Time   `json:"left"`
	To      engine.Mode `json:"to"`
	In      string      `json:"in,omitempty" doc:"the transition that led here; absent where none did"`
	Out     string      `json:"out,omitempty" doc:"the transition that led away; absent where none did"`
	Ended   Ended       `json:"ended" enum:"done,until,undone,settled,directive only,from above"`
}

// Ended says how a stay ended.
type Ended string

// How a stay ends.
const (
	EndedDone      Ended = "done"           // a declared transition was carried out
	EndedUntil     Ended = "until"          // the transition that entered took itself back, as it declares
	EndedUndone    Ended = "undone"         // a person took the entry back
	EndedSettled   Ended = "settled"        // the change was stuck, and a person said what it had come to
	EndedDirective Ended = "directive only" // by hand, past what is declared
	EndedAbove     Ended = "from above"     // a scope above asked for another mode, or no longer for this one
)

// Receiver is who is told of what has a severity.
type Receiver struct {
	Severity engine.Severity `json:"severity"`
	Kind     string          `json:"kind" doc:"pagerduty, webhook"`
}

// Holders is how many people hold a role.
type Holders struct {
	Role   string `json:"role"`
	People int    `json:"people" doc:"different ones: two tokens of one person count once"`
}

// Asked is a list of groups that have to be satisfied together, by people of whom each counts once.
type Asked struct {
	Transition string         `json:"transition"`
	Groups     []engine.Group `json:"groups" nullable:"false"`
	Short      string         `json:"short,omitempty" doc:"the role for which nobody is left when all the others have said yes"`
}

// Following says how the instances follow.
type Following struct {
	Known   int `json:"known"`
	Applied int `json:"applied" doc:"of the known: those that say that they have what they were told"`
	Failed  int `json:"failed" doc:"of the known: those that say that they could not"`
	Behind  int `json:"behind" doc:"of the known: those that have not had it for longer than the grace time"`
}

// Telemetry is what the sources show.
type Telemetry struct {
	Signals []Sighting `json:"signals" nullable:"false" doc:"what the transitions rest on"`
	Bears   Answer     `json:"bears" enum:"yes,no,cannot tell" doc:"the metrics of some instance tell the scope's mode"`
	Why     string     `json:"why,omitempty" doc:"nobody could be asked: why not"`
}

// Sighting is what the sources show of a signal.
type Sighting struct {
	Signal string `json:"signal" doc:"as a condition writes it"`
	Seen   Answer `json:"seen" enum:"yes,no,cannot tell"`
	Why    string `json:"why,omitempty" doc:"why it is not seen, or cannot be told"`
	// Traffic is there only for an SLO whose events can be counted.
	Traffic *Traffic `json:"traffic,omitempty" doc:"whether there are events enough"`
}

// Traffic is how often an SLO has events enough to be known.
type Traffic struct {
	Window string  `json:"window" doc:"the shortest that something rests on"`
	Least  float64 `json:"least" doc:"so many events in it are enough"`
	Share  float64 `json:"share" doc:"of the last day in which there were"`
	Why    string  `json:"why,omitempty" doc:"why that could not be asked; share then says nothing"`
}
