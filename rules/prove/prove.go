package prove

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
)

// Options bound a proof.
type Options struct {
	MaxStates int    // of a group; 0: DefaultMaxStates
	MaxBytes  uint64 // of the heap; 0: DefaultMaxBytes
	Progress  func(Progress)

	decide func(engine.Policy, engine.State, engine.Input) []engine.Event // in place of engine.Decide, in tests
}

// The bounds of whoever says nothing.
const (
	DefaultMaxStates = 1_000_000
	DefaultMaxBytes  = 2 << 30
)

func (o Options) complete() Options {
	o.MaxStates, o.MaxBytes = cmp.Or(o.MaxStates, DefaultMaxStates), cmp.Or(o.MaxBytes, DefaultMaxBytes)
	return o
}

// Progress is how far a search is.
type Progress struct {
	Scopes    []engine.Scope
	States    int
	Waiting   int // of the states, what follows from them is not known yet
	Decisions int64
}

// Answer is what became of a property.
type Answer string

// The answers.
const (
	Proved         Answer = "proved"
	CounterExample Answer = "counter-example"
	CannotTell     Answer = "cannot tell" // a bound was reached, it was stopped, or modeshift failed
)

// Finding is a property with its answer.
type Finding struct {
	Property Property `json:"property"`
	Says     string   `json:"says"`
	Answer   Answer   `json:"answer"`
	Detail   string   `json:"detail,omitempty"`
	Trace    *Trace   `json:"trace,omitempty"` // of a counter-example
}

// Back is how the first mode is reached from another.
type Back string

// The ways back, the easiest first. A mode has the one that all of its states have in which no change is under way.
const (
	BackAlone  Back = "by itself"
	BackPeople Back = "with somebody's yes"
	BackHand   Back = "by hand" // it is entered by hand alone, and so left
	BackNever  Back = "never"
)

// ModeBack is the way back from a mode.
type ModeBack struct {
	Scope engine.Scope `json:"scope"`
	Mode  engine.Mode  `json:"mode"`
	Back  Back         `json:"back"`
}

// Report is what was found of a group of scopes.
type Report struct {
	Scopes    []engine.Scope `json:"scopes"`
	Outside   []engine.Scope `json:"outside,omitempty"` // scopes they look at, each in any mode at any time
	States    int            `json:"states"`
	Decisions int64          `json:"decisions"`
	Seconds   float64        `json:"seconds"`
	Bound     string         `json:"bound,omitempty"`   // that was reached
	Stopped   bool           `json:"stopped,omitempty"` // it was not looked at wholly, because whoever asked went away
	Crash     error          `json:"-"`                 // the panic that ended it, with its stack; nil: none did
	Findings  []Finding      `json:"findings"`
	Modes     []ModeBack     `json:"modes,omitempty"`
}

// Answer is that of all findings: a counter-example is one whatever else could not be told.
func (r *Report) Answer() Answer {
	all := Proved
	for _, f := range r.Findings {
		if f.Answer == CounterExample {
			return CounterExample
		}
		if f.Answer == CannotTell {
			all = CannotTell
		}
	}
	return all
}

// Run proves what can be proved of the rules, group by group. With scopes it looks only at the groups of these. When ctx is cancelled the
// rest is Stopped: there is a report on each group all the same. A panic about one group is its own, and the others go on.
func Run(ctx context.Context, set *rules.Set, scopes []engine.Scope, opts Options) []Report {
	opts = opts.complete()
	var reports []Report
	for _, services := range groups(set) {
		if wanted(services, scopes) {
			r := Report{Scopes: scopesOf(services)}
			err := crash.Try(func() error {
				return r.prove(ctx, set, services, opts)
			})
			if err != nil {
				r = Report{Scopes: r.Scopes}
				r.cannot(err.Error())
			}
			if crash.Of(err) != nil {
				r.Crash = fmt.Errorf("%s: %w", scopesText(r.Scopes), err)
			}
			reports = append(reports, r)
		}
	}
	return reports
}

// cannot says why nothing is known of any property.
func (r *Report) cannot(why string) {
	for _, p := range properties {
		r.Findings = append(r.Findings, Finding{Property: p, Says: p.Says(), Answer: CannotTell, Detail: why})
	}
}

func scopesOf(services []*rules.Service) []engine.Scope {
	list := make([]engine.Scope, len(services))
	for i, s := range services {
		list[i] = s.Policy.Scope
	}
	return list
}

// scopesText names scopes in a sentence.
func scopesText(scopes []engine.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, " and ")
}

func wanted(services []*rules.Service, scopes []engine.Scope) bool {
	if len(scopes) == 0 {
		return true
	}
	for _, s := range services {
		for _, scope := range scopes {
			if s.Policy.Scope == scope {
				return true
			}
		}
	}
	return false
}

// prove looks at one group.
func (r *Report) prove(ctx context.Context, set *rules.Set, services []*rules.Service, opts Options) error {
	began := time.Now()
	if errors.Is(ctx.Err(), context.Canceled) {
		r.Stopped, r.Bound = true, "stopped before it was looked at"
		r.cannot(r.Bound)
		return nil
	}
	g, err := newGroup(set, services)
	if err != nil {
		r.Bound = err.Error()
		r.cannot(r.Bound)
		return nil
	}
	if opts.decide != nil {
		g.decide = opts.decide
	}
	r.Outside = sortedScopes(g.outside)
	s := newSearch(ctx, g, opts)
	for _, p := range properties {
		r.Findings = append(r.Findings, s.finding(ctx, p, r))
	}
	r.States, r.Decisions, r.Seconds, r.Bound, r.Stopped = len(s.nodes), s.decisions, since(began).Seconds(), s.bound, s.stopped
	return nil
}

// finding is the answer to one property.
func (s *search) finding(ctx context.Context, p Property, r *Report) Finding {
	f := Finding{Property: p, Says: p.Says(), Answer: Proved}
	counter := func(text string, t *Trace) Finding {
		t.Property, t.Says = p, text
		f.Answer, f.Detail, f.Trace = CounterExample, text, t
		return f
	}
	if wrong, is := s.faults[p]; is {
		return counter(wrong.text, s.trace(p, s.path(wrong.node, wrong.step)))
	}
	switch p {
	case Livelock:
		if c := s.steady(ctx); c != nil {
			path := s.path(c.node)
			t := s.trace(p, append(path, c.steps...))
			t.Loop = len(path) + c.loop + 1
			return counter(fmt.Sprintf("the modes change for ever while nothing that is measured changes: %s", t.round()), t)
		}
	case WayBack:
		if s.bound == "" {
			if text, t := s.ways(r); t != nil {
				return counter(text, t)
			}
		}
	case Wait:
		if text, t := s.waits(); t != nil {
			return counter(text, t)
		}
	}
	switch {
	case s.stopped:
		f.Answer, f.Detail = CannotTell, s.bound
	case s.bound != "":
		f.Answer, f.Detail = CannotTell, "a bound was reached: "+s.bound
	}
	return f
}

// ways says how the first mode is reached from each mode, and finds a state from which it is not.
func (s *search) ways(r *Report) (string, *Trace) {
	text, first := "", int32(-1)
	for i, m := range s.g.members {
		alone, people := s.back(i, false), s.back(i, true)
		back := map[engine.Mode]Back{}
		worse := func(mode engine.Mode, b Back) {
			order := map[Back]int{"": 0, BackAlone: 1, BackPeople: 2, BackHand: 3, BackNever: 4}
			if order[b] > order[back[mode]] {
				back[mode] = b
			}
		}
		for id := range s.nodes {
			mode, calm := s.targets[s.nodes[id].modes][i], s.nodes[id].calm
			switch {
			case !calm && (people[id] || int32(id) >= s.byHand): // a change that is stuck says nothing of its mode
			case alone[id]:
				worse(mode, BackAlone)
			case people[id]:
				worse(mode, BackPeople)
			case int32(id) >= s.byHand:
				worse(mode, BackHand)
			default:
				worse(mode, BackNever)
				if first < 0 || s.nodes[id].calm && !s.nodes[first].calm {
					first = int32(id)
					text = fmt.Sprintf("%s: from %s nothing that is declared leads back to %s", m.scope, mode, m.first())
				}
			}
		}
		for k := range m.policy.Modes {
			mode := m.policy.Modes[k].Name
			if mode != m.first() && back[mode] != "" {
				r.Modes = append(r.Modes, ModeBack{m.scope, mode, back[mode]})
			}
		}
	}
	if first < 0 {
		return "", nil
	}
	return text, s.trace(WayBack, s.path(first))
}
