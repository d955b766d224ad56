package explain

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// ErrUnknown says that the events hold no change and no proposal of that name.
var ErrUnknown = errors.New("no such change or proposal")

// Outcome says what became of a change or a proposal.
type Outcome string

// What may have become of a change, or of a proposal that no change came of.
const (
	UnderWay  Outcome = "under way"
	Done      Outcome = "done"
	Undoing   Outcome = "being undone"
	Undone    Outcome = "undone"
	Stuck     Outcome = "stuck"
	Overtaken Outcome = "overtaken"
	Retired   Outcome = "retired" // its scope was, while it was under way

	Waiting   Outcome = "waiting"
	Denied    Outcome = "denied"
	Expired   Outcome = "expired"
	Withdrawn Outcome = "withdrawn"
)

// Explanation is why a change came about and what became of it.
type Explanation struct {
	Scope      engine.Scope    `json:"scope"`
	Change     engine.ChangeID `json:"change,omitempty"`   // empty: the proposal did not lead to one
	Proposal   engine.ChangeID `json:"proposal,omitempty"` // empty: nobody had to say yes
	Transition string          `json:"transition,omitempty"`
	From       engine.Mode     `json:"from"`
	To         engine.Mode     `json:"to"`
	Outcome    Outcome         `json:"outcome"`
	Forced     bool            `json:"forced,omitempty"` // somebody went around the gate
	Began      time.Time       `json:"began"`            // was proposed, else started
	Started    time.Time       `json:"started,omitzero"`
	Ended      time.Time       `json:"ended,omitzero"` // came to its outcome, when that is one that lasts
	Waited     Seconds         `json:"waited_seconds"` // for people, from Began to Started
	Took       Seconds         `json:"took_seconds"`   // from Started to Ended
	Why        engine.Reason   `json:"why"`
	By         engine.Actor    `json:"by"` // zero: automation

	Rule     Rule     `json:"rule"`
	Seen     []Seen   `json:"seen"`
	Others   []Other  `json:"others"`
	People   []Voice  `json:"people"`
	Steps    []Step   `json:"steps"`
	Timeline []Moment `json:"timeline"`
	Replay   Replay   `json:"replay"`
}

// Seconds is a length of time, written as a number of seconds.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration is the length of time.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Rule is what the change went by, under the digest in force then.
type Rule struct {
	Digest    engine.Digest   `json:"digest"`
	Kept      bool            `json:"kept"`               // the rules of that digest are known: what is below stands in them
	Position  string          `json:"position,omitempty"` // file:line:column
	Condition string          `json:"condition,omitempty"`
	For       Seconds         `json:"for_seconds,omitempty"`
	Gate      []engine.Group  `json:"gate,omitempty"`
	Severity  engine.Severity `json:"severity,omitempty"`
	Steps     []engine.Step   `json:"steps,omitempty"` // the plan that was stored
	Verify    string          `json:"verify,omitempty"`
	Until     string          `json:"until,omitempty"`
}

// Seen is what a decision was made on.
type Seen struct {
	Version  engine.Version   `json:"version"`
	At       time.Time        `json:"at"`
	Event    string           `json:"event"`
	Readings []engine.Reading `json:"readings"`
}

// Other is a transition that was not taken at that time, and why.
type Other struct {
	Transition string      `json:"transition"`
	To         engine.Mode `json:"to"`
	Why        string      `json:"why"`
}

// Voice is what one person said to it.
type Voice struct {
	At     time.Time `json:"at"`
	Person string    `json:"person"`
	Role   string    `json:"role,omitempty"`
	Said   string    `json:"said"` // "asked for it", "yes", "no", …
	Reason string    `json:"reason,omitempty"`
}

// Step is one step of the change, or its undo, with all its attempts.
type Step struct {
	Change   engine.ChangeID `json:"change"` // whose step it is: that of another when its entry is undone
	Step     string          `json:"step"`
	Kind     string          `json:"kind,omitempty"`
	Undo     bool            `json:"undo,omitempty"`
	Attempts []Attempt       `json:"attempts"`
	Took     Seconds         `json:"took_seconds"` // from the first attempt's start to the last answer
}

// Attempt is one attempt of a step.
type Attempt struct {
	Number  int            `json:"number"`
	Started time.Time      `json:"started"`
	Ended   time.Time      `json:"ended,omitzero"`
	Took    Seconds        `json:"took_seconds"`
	Outcome engine.Outcome `json:"outcome,omitempty"` // empty: awaited; or Held
	Answer  string         `json:"answer,omitempty"`
	Targets []string       `json:"targets,omitempty"` // it went out with, where the step has a selector
}

// Held is the outcome of an attempt that did nothing, because it had more targets than people said yes to.
const Held engine.Outcome = "held"

// Moment is one event of the change's life.
type Moment struct {
	Version engine.Version `json:"version"`
	At      time.Time      `json:"at"`
	After   Seconds        `json:"after_seconds"` // since Began
	Event   string         `json:"event"`
	What    string         `json:"what"`
	Why     string         `json:"why,omitempty"`
	By      engine.Actor   `json:"by"`
}

// ScopeOf is the scope of a change or proposal, which its name begins with; false for what is no such name.
func ScopeOf(id engine.ChangeID) (engine.Scope, bool) {
	i := strings.LastIndexByte(string(id), '-')
	if i <= 0 || i == len(id)-1 || strings.Trim(string(id[i+1:]), "0123456789") != "" {
		return "", false
	}
	return engine.Scope(id[:i]), true
}

// Number takes the name of a change or proposal apart: its scope, and the version of the event that it began with.
func Number(id engine.ChangeID) (engine.Scope, engine.Version, bool) {
	scope, ok := ScopeOf(id)
	if !ok {
		return "", 0, false
	}
	v, err := strconv.ParseUint(string(id[len(scope)+1:]), 10, 64)
	return scope, engine.Version(v), err == nil
}

// Change explains a change, or a proposal, out of the events of its scope's stream. Where they begin later than the stream, and at
// the latest with what the change began with, the replay says that nothing could be decided again.
func Change(events []engine.Event, id engine.ChangeID, policies Policies) (Explanation, error) {
	l, err := find(events, id)
	if err != nil {
		return Explanation{}, err
	}
	x := &l.x
	f := Begin(events)
	for _, decision := range split(events) {
		before, mine := f.State, false
		for i, e := range decision {
			if l.concerns(f.State, decision, e) {
				mine = true
				l.tell(e)
			}
			if e.Version == l.chosen {
				l.choice(f.State, decision, decision[i], policies)
			}
			f.Apply(e)
		}
		switch {
		case mine && f.Cut:
			x.Replay.miss(fmt.Sprintf("what %s was before %d was not read", x.Scope, events[0].Version))
		case mine && x.Replay.Difference == nil:
			x.Replay.run(before, decision, policies)
		}
	}
	if !x.Started.IsZero() {
		x.Waited = seconds(x.Started.Sub(x.Began))
		if !x.Ended.IsZero() {
			x.Took = seconds(x.Ended.Sub(x.Started))
		}
	}
	return *x, nil
}

// life is an explanation under way.
type life struct {
	x         Explanation
	chosen    engine.Version // of the event in which it was chosen: its proposal, else its start
	started   engine.Version // 0: it did not
	withheld  engine.Version // of the event that said what kept it from starting; 0: nothing did
	incidents map[engine.IncidentID]bool
}

// find looks for the events that began it.
func find(events []engine.Event, id engine.ChangeID) (*life, error) {
	l := &life{incidents: map[engine.IncidentID]bool{}}
	x := &l.x
	var proposed, started *engine.Event
	for i := range events {
		switch f := events[i].Fact.(type) {
		case engine.ChangeStarted:
			if f.Change == id || id != "" && f.Proposal == id {
				started = &events[i]
			}
		case engine.ChangeProposed:
			if f.Proposal.ID == id {
				proposed = &events[i]
			}
		}
	}
	if started != nil {
		f := started.Fact.(engine.ChangeStarted)
		for i := range events {
			if p, ok := events[i].Fact.(engine.ChangeProposed); ok && p.Proposal.ID == f.Proposal {
				proposed = &events[i]
			}
		}
	}
	if proposed != nil {
		f := proposed.Fact.(engine.ChangeProposed)
		x.Proposal, x.Transition, x.From, x.To, x.Outcome = f.Proposal.ID, f.Proposal.Transition, f.Proposal.From, f.Proposal.To, Waiting
		x.begin(*proposed, f.Plan)
		x.Rule.Severity = f.Severity
		l.chosen = proposed.Version
		l.incidents[f.Incident] = true
	}
	if started != nil {
		f := started.Fact.(engine.ChangeStarted)
		x.Change, x.Transition, x.From, x.To, x.Forced, x.Outcome = f.Change, f.Transition, f.From, f.To, f.Forced, UnderWay
		x.Started, l.started = started.At, started.Version
		if proposed == nil {
			x.begin(*started, f.Plan)
			l.chosen = started.Version
		}
		x.Rule.Steps, x.Rule.Position, x.Rule.Severity = f.Plan.Steps, f.Position, f.Severity
		l.incidents[f.Incident] = true
	}
	if l.chosen == 0 {
		return nil, fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	delete(l.incidents, "")
	l.obstacle(events)
	return l, nil
}

func (x *Explanation) begin(e engine.Event, plan engine.Plan) {
	x.Scope, x.Began, x.Why, x.By = e.Stream, e.At, e.Reason, e.Cause.Actor
	x.Rule.Digest, x.Rule.Steps, x.Rule.Verify, x.Rule.Until = e.Rules, plan.Steps, plan.Verify, plan.Until
	x.Seen, x.Others, x.People, x.Steps, x.Timeline = []Seen{}, []Other{}, []Voice{}, []Step{}, []Moment{}
}

// obstacle finds what kept the transition from starting until it was chosen.
func (l *life) obstacle(events []engine.Event) {
	for _, e := range events {
		if e.Version >= l.chosen {
			return
		}
		switch f := e.Fact.(type) {
		case engine.TransitionWithheld:
			if f.Transition == l.x.Transition && l.x.Transition != "" {
				l.withheld = e.Version
			}
		case engine.WithholdingEnded: // unless the same decision began it
			if f.Transition == l.x.Transition {
				l.withheld = 0
			}
		}
	}
}

// choice tells why this transition was chosen and not another, from the state and the decision it was chosen in.
func (l *life) choice(before engine.State, decision []engine.Event, e engine.Event, policies Policies) {
	texts := policies(e.Stream, e.Rules)
	if len(texts) == 0 {
		for _, w := range before.Withheld { // the log alone knows these
			if w.Transition != l.x.Transition {
				l.x.Others = append(l.x.Others, Other{w.Transition, w.To, "was withheld: " + Why(w.Reason)})
			}
		}
		return
	}
	p := texts[0]
	// Of several texts of one meaning it is the one whose position the log bears.
	if l.x.Rule.Position != "" {
		if i := slices.IndexFunc(texts, func(p engine.Policy) bool {
			return slices.ContainsFunc(p.Transitions, func(t engine.Transition) bool {
				return t.Name == l.x.Transition && t.Position == l.x.Rule.Position
			})
		}); i >= 0 {
			p = texts[i]
		}
	}
	r := &l.x.Rule
	r.Kept = true
	for _, name := range []*string{&r.Verify, &r.Until} {
		if i := slices.IndexFunc(p.Conditions, func(c engine.Condition) bool { return c.Name == *name }); i >= 0 {
			*name = p.Conditions[i].Text
		}
	}
	mine := slices.IndexFunc(p.Transitions, func(t engine.Transition) bool { return t.Name == l.x.Transition })
	if mine >= 0 {
		t := &p.Transitions[mine]
		r.Position, r.Condition, r.For = t.Position, p.Conditions[t.When].Text, seconds(t.For)
		if t.Gate != nil {
			r.Gate = t.Gate.Groups
		}
	}
	in, err := engine.InputOf(decision)
	if err != nil {
		in = engine.Input{}
	}
	observed, _ := in.What.(*engine.Observed)
	for i := range p.Transitions {
		if i != mine && before.Target != "" { // else nobody knows what the state was
			t := &p.Transitions[i]
			l.x.Others = append(l.x.Others, Other{t.Name, t.To, l.against(before, &p, t, observed)})
		}
	}
}

// against says why t was not the one.
func (l *life) against(s engine.State, p *engine.Policy, t *engine.Transition, o *engine.Observed) string {
	for _, w := range s.Withheld {
		if w.Transition == t.Name {
			return "was withheld: " + Why(w.Reason)
		}
	}
	for _, w := range s.Proposals {
		if w.Transition == t.Name {
			return fmt.Sprintf("waited for people as %s", w.ID)
		}
	}
	if !slices.Contains(t.From, s.Target) {
		return fmt.Sprintf("does not leave %s", s.Target)
	}
	if o == nil {
		return "nobody asked: a person chose"
	}
	if t.When >= len(o.Conditions) {
		return "its condition was not kept"
	}
	cond := &p.Conditions[t.When]
	seen := o.Conditions[t.When]
	if !seen.Asked {
		return cond.Text + " was not asked then"
	}
	if seen.Truth != engine.True {
		return fmt.Sprintf("%s was %s", cond.Text, seen.Truth)
	}
	if t.For > 0 {
		var held time.Duration
		for _, c := range s.Clocks {
			if c.Condition == cond.Name {
				held = c.Held(o.Instant)
			}
		}
		if held < t.For {
			return fmt.Sprintf("%s was true for %v of %v", cond.Text, held, t.For)
		}
	}
	for _, r := range s.Resting {
		if r.Transition == t.Name && !r.Over {
			return fmt.Sprintf("rested: %s %s", r.ID, r.End)
		}
	}
	return fmt.Sprintf("was ready too: the most restrictive target wins, then the first in the file; it leads to %s", t.To)
}
