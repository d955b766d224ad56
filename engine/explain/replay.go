package explain

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"

	"github.com/modeshift/modeshift/engine"
)

// Policies finds the rules of a scope that were in force under a digest, all texts of them, the newest first; none when they
// were not kept.
type Policies func(scope engine.Scope, digest engine.Digest) []engine.Policy

// Replay is what running decisions again has come to.
type Replay struct {
	Decisions int `json:"decisions"` // run again, and the same
	// Difference is the first decision that came out otherwise, after which nothing is run again.
	Difference *Difference `json:"difference,omitempty"`
	// NotKept counts the decisions that cannot be run again, because their input or their rules were not kept; Why says so of
	// the first.
	NotKept int    `json:"not_kept,omitempty"`
	Why     string `json:"why,omitempty"`
}

// Difference is a decision that Decide makes otherwise than the log says.
type Difference struct {
	Version engine.Version `json:"version"` // of the decision's first event
	Input   string         `json:"input"`
	Logged  []engine.Event `json:"logged"`
	Replay  []engine.Event `json:"replayed"`
	What    string         `json:"what"`
}

// String says it in one line.
func (r Replay) String() string {
	text := ""
	switch {
	case r.Difference != nil:
		return fmt.Sprintf("replayed: the decision of %d differs: %s", r.Difference.Version, r.Difference.What)
	case r.Decisions == 0 && r.NotKept > 0:
		return "not replayed: " + r.Why
	case r.Decisions == 1:
		text = "replayed: 1 decision, the same"
	default:
		text = fmt.Sprintf("replayed: %d decisions, all the same", r.Decisions)
	}
	if r.NotKept > 0 {
		text += fmt.Sprintf("; %d more cannot be: %s", r.NotKept, r.Why)
	}
	return text
}

// Run runs all decisions of a stream again, from its first event on.
func Run(events []engine.Event, policies Policies) Replay {
	var r Replay
	var s engine.State
	for _, d := range split(events) {
		if r.Difference == nil {
			r.run(s, d, policies)
		}
		for _, e := range d {
			s = engine.Apply(s, e)
		}
	}
	return r
}

// split cuts events into decisions. What was written before inputs were kept counts as a decision an event.
func split(events []engine.Event) [][]engine.Event {
	var list [][]engine.Event
	known := false // the last decision's input was kept, so that what follows without one belongs to it
	for i, e := range events {
		if e.Cause.Given != nil || !known {
			list = append(list, events[i:i+1:i+1])
			known = e.Cause.Given != nil
			continue
		}
		last := len(list) - 1
		start := i - len(list[last])
		list[last] = events[start : i+1 : i+1]
	}
	return list
}

// run makes one decision again, in the state before it.
func (r *Replay) run(before engine.State, decision []engine.Event, policies Policies) {
	first := decision[0]
	in, err := engine.InputOf(decision)
	if err != nil {
		r.miss(fmt.Sprintf("of %s/%d %v", first.Stream, first.Version, err))
		return
	}
	texts := policies(first.Stream, first.Rules)
	if _, removed := in.What.(*engine.ScopeRemoved); removed {
		texts = []engine.Policy{{Scope: first.Stream, Digest: first.Rules}} // no rules are left to decide by
	}
	if len(texts) == 0 {
		r.miss(fmt.Sprintf("the rules %s of %s were not kept", first.Rules.Short(), first.Stream))
		return
	}
	var differs *Difference
	for _, p := range texts {
		again, what := decide(p, before, in)
		if what == "" {
			what = compare(decision, again)
		}
		if what == "" {
			r.Decisions++
			return
		}
		if differs == nil {
			differs = &Difference{Version: first.Version, Input: first.Cause.Input, Logged: decision, Replay: again, What: what}
		}
	}
	r.Difference = differs
}

func (r *Replay) miss(why string) {
	if r.NotKept == 0 {
		r.Why = why
	}
	r.NotKept++
}

// decide runs the core. In place of the readings, which are lost, each condition bears its index: so that it shows which
// condition's readings an event has for evidence. A panic, as of rules that do not fit the state, is no event.
func decide(p engine.Policy, s engine.State, in engine.Input) (events []engine.Event, what string) {
	defer func() {
		if r := recover(); r != nil {
			events, what = nil, fmt.Sprintf("it cannot be made again: %v", r)
		}
	}()
	if o, ok := in.What.(*engine.Observed); ok {
		marked := *o
		marked.Conditions = make([]engine.Observation, len(o.Conditions))
		for i, c := range o.Conditions {
			c.Readings = []engine.Reading{{Signal: strconv.Itoa(i)}}
			marked.Conditions[i] = c
		}
		in.What = &marked
	}
	return engine.Decide(p, s, in), ""
}

// compare says in what the events of the log are not those that were decided again; empty when they are the same.
func compare(logged, again []engine.Event) string {
	evidence := map[string][]engine.Reading{}
	for i := range min(len(logged), len(again)) {
		l, a := logged[i], again[i]
		if mark := a.Evidence; len(mark) == 0 && len(l.Evidence) > 0 {
			return fmt.Sprintf("%s/%d has evidence that it was not decided on", l.Stream, l.Version)
		} else if len(mark) > 0 {
			if had, seen := evidence[mark[0].Signal]; seen && !reflect.DeepEqual(had, l.Evidence) {
				return fmt.Sprintf("%s/%d has other evidence than an event before it that was decided on the same condition", l.Stream, l.Version)
			}
			evidence[mark[0].Signal] = l.Evidence
		}
		l.Evidence, a.Evidence = nil, nil
		in, err := l.Encode()
		if err != nil {
			return err.Error()
		}
		out, err := a.Encode()
		if err != nil {
			return err.Error()
		}
		if !bytes.Equal(in, out) {
			return fmt.Sprintf("%s/%d is %s (%s) in the log and %s (%s) when it is decided again", l.Stream, l.Version,
				l.Kind(), Why(l.Reason), a.Kind(), Why(a.Reason))
		}
	}
	switch l, a := len(logged), len(again); {
	case l > a:
		return fmt.Sprintf("%s of %s/%d does not follow", logged[a].Kind(), logged[a].Stream, logged[a].Version)
	case a > l:
		return fmt.Sprintf("%s is missing after %s/%d", again[l].Kind(), logged[l-1].Stream, logged[l-1].Version)
	}
	return ""
}

// Why is a reason for people: its text, or the code where there is none.
func Why(r engine.Reason) string {
	if r.Text == "" {
		return string(r.Code)
	}
	return r.Text
}
