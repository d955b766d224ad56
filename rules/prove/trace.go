package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// Trace is a counter-example: what happens, step by step, and what the core makes of it. It names neither events nor digests, so that it can
// be tried again on rules that were changed since.
type Trace struct {
	Version  string         `json:"version"` // TraceVersion
	Scopes   []engine.Scope `json:"scopes"`
	Property Property       `json:"property"`
	Says     string         `json:"says"`
	Steps    []Step         `json:"steps"`
	// Loop is the step, from 1, that comes again after the last one; 0: none does.
	Loop int `json:"loop,omitempty"`
}

// TraceVersion is the form of a Trace.
const TraceVersion = "modeshift/prove/v1"

// Step is one thing that happens. Exactly one of the pointers and maps is set.
type Step struct {
	At    time.Time    `json:"at"`
	Scope engine.Scope `json:"scope,omitempty"` // it happens to; of an evaluation: all
	// Observed is what an evaluation finds, by scope and condition; what is not there is not asked. It found the same at every evaluation
	// since the one before.
	Observed map[engine.Scope]map[string]engine.Truth `json:"observed,omitempty"`
	Modes    map[engine.Scope]engine.Mode             `json:"modes,omitempty"` // with Observed: of scopes outside

	Review    *Review `json:"review,omitempty"`
	Outcome   string  `json:"outcome,omitempty"`   // of the step that runs: done, failed, unknown
	Targets   *int    `json:"targets,omitempty"`   // so many are found
	Instances string  `json:"instances,omitempty"` // say of the newest directive: applied, failed
	Settle    string  `json:"settle,omitempty"`    // somebody settles the change as: done, undone
	Set       string  `json:"set,omitempty"`       // somebody sets the mode by hand, around the rules
	Unpin     bool    `json:"unpin,omitempty"`
	Undo      bool    `json:"undo,omitempty"` // somebody takes the last change back

	Then []string `json:"then"` // what came of it; empty: only time passed
}

// Review is somebody's answer to a proposal.
type Review struct {
	Transition string `json:"transition"`
	Role       string `json:"role"`
	Yes        bool   `json:"yes"`
	Blind      bool   `json:"blind,omitempty"`
	Late       bool   `json:"late,omitempty"` // the proposal has ended
}

// trace carries steps out again, from the beginning, and writes down what comes of each. What is shown of unknown moves things that only
// unknown does: elsewhere false is written where it is as good.
func (s *search) trace(p Property, steps []step) *Trace {
	t := &Trace{Version: TraceVersion, Scopes: s.g.scopes()}
	w := s.g.begin()
	for _, st := range steps {
		s.g.fill(w, &st, p != Unknown)
		next, events, _ := s.g.apply(w, &st)
		t.Steps = append(t.Steps, s.g.step(w, &st, events))
		w = next
	}
	return t
}

// step writes a step as people and programs read it.
func (g *group) step(w *world, st *step, events [][]engine.Event) Step {
	of := Step{At: instant(st.at), Then: []string{}}
	if st.kind != stepObserve {
		of.Scope = g.members[st.member].scope
	}
	switch st.kind {
	case stepObserve:
		of.Observed, of.Modes = map[engine.Scope]map[string]engine.Truth{}, st.modes
		for i, m := range g.members {
			of.Observed[m.scope] = map[string]engine.Truth{}
			for k, o := range st.seen[i] {
				if o.Asked {
					of.Observed[m.scope][m.policy.Conditions[k].Name] = o.Truth
				}
			}
		}
	case stepYes, stepBlindYes, stepNo, stepLateYes:
		of.Review = &Review{Transition: st.word, Role: st.role, Yes: st.kind != stepNo, Blind: st.kind == stepBlindYes, Late: st.kind == stepLateYes}
	case stepOutcome:
		of.Outcome = st.word
	case stepFound:
		n := st.count
		of.Targets = &n
	case stepInstances:
		of.Instances = st.word
	case stepSettle:
		of.Settle = st.word
	case stepSet:
		of.Set = st.word
	case stepUnpin:
		of.Unpin = true
	case stepUndo:
		of.Undo = true
	}
	for i, m := range g.members {
		of.Then = append(of.Then, m.tell(&w.states[i], events[i])...)
	}
	return of
}

// tell says of events what matters to modes, gates and actions.
func (m *member) tell(before *engine.State, events []engine.Event) []string {
	var list []string
	target := before.Target
	say := func(format string, args ...any) {
		list = append(list, fmt.Sprintf("%s: ", m.scope)+fmt.Sprintf(format, args...))
	}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.DirectivePublished:
			if f.Directive.Mode != target {
				say("%s → %s", target, f.Directive.Mode)
				target = f.Directive.Mode
			}
		case engine.ChangeProposed:
			say("%s is proposed", f.Proposal.Transition)
		case engine.ApprovalGranted:
			say("%s says yes", f.Person)
		case engine.ApprovalRefused:
			say("the answer does not count: %s", e.Reason.Text)
		case engine.ProposalDenied:
			say("denied by %s", f.Person)
		case engine.ProposalExpired:
			say("expired: %s", e.Reason.Text)
		case engine.ProposalWithdrawn:
			say("withdrawn: %s", e.Reason.Text)
		case engine.GateEscalated:
			say("the gate's time is over: more people are asked")
		case engine.ChangeStarted:
			if f.Transition != "" {
				say("%s starts", f.Transition)
			}
		case engine.StepStarted:
			if f.Undo {
				say("%s is taken back", f.Step.Name)
			} else {
				say("%s runs", f.Step.Name)
			}
		case engine.StepHeld:
			say("%s is held: %s", f.Step, e.Reason.Text)
		case engine.StepFailed:
			say("%s failed", f.Step)
		case engine.StepUnknown:
			say("nobody knows what came of %s", f.Step)
		case engine.ChangeFailed:
			say("the change fails: %s", e.Reason.Text)
		case engine.ChangeHeld:
			say("the change is held")
		case engine.ChangeStuck:
			say("the change is stuck")
		case engine.UndoStarted:
			say("the change is taken back: %s", cause(e.Reason))
		case engine.ChangeDone:
			say("in %s, settled", target)
		case engine.ChangeUndone:
			say("in %s again, settled", target)
		case engine.ModeImposed:
			say("%s in %s asks for %s", f.Parent, f.In, f.Mode)
		case engine.ImpositionEnded:
			say("%s asks for nothing any more", f.Parent)
		}
	}
	return list
}

func cause(r engine.Reason) string {
	if r.Text == "" {
		return string(r.Code)
	}
	return r.Text
}

// What is a step in words.
func (s *Step) What() string {
	switch {
	case s.Review != nil:
		word := "no"
		if s.Review.Yes {
			word = "yes"
		}
		if s.Review.Blind {
			word += ", also while it cannot be seen,"
		}
		if s.Review.Late {
			word = "a late yes"
		}
		return fmt.Sprintf("%s says %s to %s", s.Review.Role, word, s.Review.Transition)
	case s.Outcome != "":
		return "the outcome is " + s.Outcome
	case s.Targets != nil:
		return fmt.Sprintf("targets found: %d", *s.Targets)
	case s.Instances != "":
		return "instances say " + s.Instances
	case s.Settle != "":
		return "somebody settles it as " + s.Settle
	case s.Set != "":
		return "somebody sets " + s.Set + " by hand"
	case s.Unpin:
		return "somebody unpins it"
	case s.Undo:
		return "somebody takes the last change back"
	}
	by := map[engine.Truth][]string{}
	for _, scope := range sortedScopes(s.Observed) {
		for _, name := range sortedKeys(s.Observed[scope]) {
			word := name
			if len(s.Observed) > 1 {
				word = string(scope) + "/" + name
			}
			truth := s.Observed[scope][name]
			by[truth] = append(by[truth], word)
		}
	}
	var parts []string
	for _, truth := range []engine.Truth{engine.True, engine.Unknown, engine.False} {
		if len(by[truth]) > 0 {
			parts = append(parts, truth.String()+": "+strings.Join(by[truth], ", "))
		}
	}
	for _, scope := range sortedScopes(s.Modes) {
		parts = append(parts, fmt.Sprintf("%s is in %s", scope, s.Modes[scope]))
	}
	if len(parts) == 0 {
		return "time passes"
	}
	return strings.Join(parts, "; ")
}

// round names the modes that come round.
func (t *Trace) round() string {
	var moves []string
	for _, s := range t.Steps[t.Loop-1:] {
		for _, then := range s.Then {
			if strings.Contains(then, " → ") {
				moves = append(moves, then)
			}
		}
	}
	return strings.Join(moves, ", ")
}

// Replayed is what came of a trace.
type Replayed struct {
	Stands bool   `json:"stands"` // it goes as the trace says
	Detail string `json:"detail"`
	Steps  []Step `json:"steps"` // as they went this time
}

// Replay carries a trace out again, through engine.Decide, with the policies as they are in force, automation on. It stands where it goes as
// before, and what was wrong at its end is so still: of a way back that is searched for, within the bounds of opts.
func Replay(ctx context.Context, set *rules.Set, t *Trace, opts Options) (Replayed, error) {
	if t.Version != TraceVersion {
		return Replayed{}, fmt.Errorf("the trace is of version %q, and this program reads %q", t.Version, TraceVersion)
	}
	if !slices.Contains(properties, t.Property) {
		return Replayed{}, fmt.Errorf("the trace is of the property %q, and this program proves %v", t.Property, properties)
	}
	var services []*rules.Service
	for _, scope := range t.Scopes {
		s := set.Service(scope)
		if s == nil || len(s.Policy.Modes) == 0 {
			return Replayed{}, fmt.Errorf("no file declares the modes of %q", scope)
		}
		services = append(services, s)
	}
	g, err := newGroup(set, services)
	if err != nil {
		return Replayed{}, err
	}
	for _, m := range g.members {
		m.policy = m.service.Policy
		m.policy.Automation, m.policy.Flap = engine.AutomationOn, engine.Flap{}
	}
	var r Replayed
	var still within
	w := g.begin()
	modes := []string{g.modes(w)}
	for i := range t.Steps {
		st, err := g.read(&t.Steps[i])
		if err != nil {
			return Replayed{}, fmt.Errorf("step %d: %w", i+1, err)
		}
		if st.kind == stepObserve {
			can := g.agreeing(w, st.at, st.seen, st.modes)
			if round := t.Loop > 0 && i >= t.Loop-1; round && still != nil && can != nil {
				still, _ = can.meet(still)
				can = still
			} else if round {
				still = can
			}
			if can == nil {
				r.Detail = fmt.Sprintf("step %d: the conditions can no longer stand so", i+1)
				return r, nil
			}
		}
		next, events, wrong := g.apply(w, &st)
		now := g.step(w, &st, events)
		r.Steps = append(r.Steps, now)
		modes = append(modes, g.modes(next))
		w = next
		if !slices.Equal(now.Then, t.Steps[i].Then) {
			r.Detail = fmt.Sprintf("step %d goes another way now", i+1)
			return r, nil
		}
		for _, v := range wrong {
			if v.property == t.Property {
				r.Stands, r.Detail = true, v.text
				return r, nil
			}
		}
	}
	r.Stands, r.Detail = true, t.Says
	switch t.Property {
	case Gate, AfterNo, Unknown:
		r.Stands, r.Detail = false, "it goes as before, and nothing of it is wrong now"
	case Livelock:
		if t.Loop < 1 || t.Loop > len(t.Steps) || modes[t.Loop-1] != modes[len(modes)-1] {
			r.Stands, r.Detail = false, "it does not come round"
		}
	case Wait:
		targets := make([]engine.Mode, len(g.members))
		for i := range g.members {
			targets[i] = w.states[i].Target
		}
		if !g.waits(targets) {
			r.Stands, r.Detail = false, "they do not wait for each other now"
		}
	case WayBack:
		switch back, bound, err := wayBack(ctx, set, services, w, opts); {
		case err != nil:
			return Replayed{}, err
		case back:
			r.Stands, r.Detail = false, "there is a way back now"
		case bound != "":
			r.Detail = "it goes as before; whether there is a way back now cannot be told: a bound was reached: " + bound
		}
	}
	return r, nil
}

// wayBack reports whether from a world on each scope can reach its first mode, as far as the bound lets it be seen that was reached.
func wayBack(ctx context.Context, set *rules.Set, services []*rules.Service, w *world, opts Options) (back bool, bound string, err error) {
	g, err := newGroup(set, services)
	if err != nil {
		return false, "", err
	}
	s := emptySearch(g, opts.complete())
	var buf writer
	s.meet(g.key(w, &buf), 0, w, -1, step{})
	s.run(ctx, map[int32]*world{0: w}, 0)
	for i := range g.members {
		if !s.back(i, true)[0] {
			return false, s.bound, nil
		}
	}
	return true, "", nil
}

// read makes a step of what a trace says.
func (g *group) read(s *Step) (step, error) {
	st := step{at: number(s.At), modes: s.Modes}
	if s.Scope != "" {
		i, ours := g.at[s.Scope]
		if !ours {
			return st, fmt.Errorf("%q is not one of its scopes", s.Scope)
		}
		st.member = i
	}
	switch {
	case s.Review != nil:
		st.word, st.role = s.Review.Transition, s.Review.Role
		switch {
		case s.Review.Late:
			st.kind = stepLateYes
		case s.Review.Blind:
			st.kind = stepBlindYes
		case s.Review.Yes:
			st.kind = stepYes
		default:
			st.kind = stepNo
		}
	case s.Outcome != "":
		st.kind, st.word = stepOutcome, s.Outcome
		if !slices.Contains([]engine.Outcome{engine.OutcomeDone, engine.OutcomeFailed, engine.OutcomeUnknown}, engine.Outcome(s.Outcome)) {
			return st, fmt.Errorf("there is no outcome %q: it is done, failed or unknown", s.Outcome)
		}
	case s.Targets != nil:
		st.kind, st.count = stepFound, *s.Targets
	case s.Instances != "":
		st.kind, st.word = stepInstances, s.Instances
	case s.Settle != "":
		st.kind, st.word = stepSettle, s.Settle
	case s.Set != "":
		st.kind, st.word = stepSet, s.Set
	case s.Unpin:
		st.kind = stepUnpin
	case s.Undo:
		st.kind = stepUndo
	default:
		st.kind = stepObserve
		st.seen = make([][]engine.Observation, len(g.members))
		for i, m := range g.members {
			st.seen[i] = make([]engine.Observation, len(m.policy.Conditions))
			for name, truth := range s.Observed[m.scope] {
				k := slices.IndexFunc(m.policy.Conditions, func(c engine.Condition) bool { return c.Name == name })
				if k < 0 {
					return st, fmt.Errorf("%s has no condition %q any more", m.scope, name)
				}
				st.seen[i][k] = engine.Observation{Asked: true, Truth: truth}
			}
		}
	}
	return st, nil
}

// After is the time of a step from the beginning of its trace on.
func After(at time.Time) time.Duration { return at.Sub(epoch) }
