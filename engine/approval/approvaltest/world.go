// Package approvaltest is a world with a gate, for tests of what stands at the desk: a loop and a log in memory, in which the
// core decides everything and a test moves the clock.
//
// Its one service, checkout, is degraded. The transition fail-over leads on to failover when its condition holds, needs a yes of
// oncall and one of lead within 15 minutes, and has two steps, of which the second cannot be undone.
package approvaltest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// Start is when the world begins.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Interval is between two evaluations.
const Interval = 15 * time.Second

// Refused is the error of a request the core refused, as the loop returns it.
type Refused struct{ code, text string }

func (e Refused) Error() string { return e.text }

// Code is one of the codes of package api.
func (e Refused) Code() string { return e.code }

// World implements the loop and the log of the API and of the desk. It is safe for concurrent use.
type World struct {
	mu       sync.Mutex // guards what follows
	now      time.Time
	policies map[engine.Scope]engine.Policy
	states   map[engine.Scope]engine.State
	observed map[engine.Scope]*engine.Observed
	log      []api.Stored
	changed  chan struct{}
	fault    error
}

// Policy is what the service's rules say.
func Policy() engine.Policy {
	return engine.Policy{
		Digest: "r1", Scope: "checkout", Interval: Interval, BlindAfter: 5 * time.Minute,
		Owner: "team-payments", Runbook: "https://runbooks.example.com/checkout",
		Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "failover", Beside: true, Flags: engine.Flags{"region": "eu-2"}}},
		Conditions: []engine.Condition{
			{Name: "fail-over.when", Text: `burn_rate("availability", "5m") > 14.4`, Digest: "c1"},
		},
		Transitions: []engine.Transition{
			{
				Name: "fail-over", From: []engine.Mode{"degraded"}, To: "failover", Severity: engine.SeverityPage, Digest: "t1", Position: "checkout.yaml:41:5",
				Gate: &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}, Within: 15 * time.Minute},
				Playbook: engine.Playbook{Steps: []engine.Step{
					{Name: "repoint", Kind: "webhook", Destructive: true, Undo: true, Keyed: true, Spec: "POST https://dns.internal/repoint to=eu-2", UndoSpec: "POST https://dns.internal/repoint to=eu-1"},
					{Name: "drain", Kind: "webhook", Destructive: true, Irreversible: true, Keyed: true, Spec: "POST https://queue.internal/drain"},
				}},
			},
			{Name: "recover", From: []engine.Mode{"failover"}, To: "degraded", When: 0, Digest: "t2", Position: "checkout.yaml:55:5"},
		},
	}
}

// Describe is the words of the world's kinds of step.
func Describe(job engine.StepJob) (string, error) {
	if job.Undo {
		return job.Step.UndoSpec, nil
	}
	return job.Step.Spec + " key=" + job.Key, nil
}

// New makes a world in which nothing is proposed yet.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{
		now: Start, changed: make(chan struct{}),
		policies: map[engine.Scope]engine.Policy{"checkout": Policy(), engine.Fleet: {Digest: "fleet", Scope: engine.Fleet, Interval: Interval}},
		states:   map[engine.Scope]engine.State{}, observed: map[engine.Scope]*engine.Observed{},
	}
	w.Do(t, engine.Actor{}, &engine.TimePassed{})
	w.Do(t, engine.Actor{Principal: "test"}, &engine.SetRequested{Mode: "degraded", Reason: "the story begins here", DirectiveOnly: true})
	w.Do(t, engine.Actor{Principal: "test"}, &engine.UnpinRequested{})
	return w
}

// Propose lets the condition hold, and returns the proposal.
func (w *World) Propose(t testing.TB) engine.Proposal {
	t.Helper()
	w.Observe(t, engine.True)
	v, _ := w.View("checkout")
	if len(v.State.Proposals) != 1 {
		t.Fatalf("proposals: %+v", v.State.Proposals)
	}
	return v.State.Proposals[0]
}

// Observe evaluates the service one interval later.
func (w *World) Observe(t testing.TB, truth engine.Truth) {
	t.Helper()
	w.Advance(Interval)
	w.mu.Lock()
	at := w.now
	w.mu.Unlock()
	r := engine.Reading{Signal: `burn_rate("availability", "5m")`, Value: 21.5, Sample: at, Query: "sum(errors)", Source: "eu"}
	if truth == engine.Unknown {
		r.Why, r.Detail = engine.WhyTimeout, "no answer"
	}
	w.Do(t, engine.Actor{}, &engine.Observed{Instant: at, Prev: at.Add(-Interval), Conditions: []engine.Observation{
		{Asked: true, Truth: truth, Blind: truth == engine.Unknown, Readings: []engine.Reading{r}}}})
}

// Advance moves the clock.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Now is the world's time.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Change puts other rules into force.
func (w *World) Change(t testing.TB, change func(*engine.Policy)) {
	t.Helper()
	w.mu.Lock()
	p := w.policies["checkout"]
	p.Transitions = slices.Clone(p.Transitions)
	change(&p)
	p.Digest += "+"
	w.policies["checkout"] = p
	w.mu.Unlock()
	w.Do(t, engine.Actor{}, &engine.TimePassed{})
}

// Do lets the core judge an input to the service.
func (w *World) Do(t testing.TB, by engine.Actor, what engine.Happening) []engine.Event {
	t.Helper()
	events, err := w.Submit(t.Context(), "checkout", by, what)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// Fail makes every request fail with err; nil ends that.
func (w *World) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = err
}

// Submit implements the loop.
func (w *World) Submit(_ context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return nil, w.fault
	}
	p, known := w.policies[scope]
	if !known {
		return nil, Refused{api.CodeUnknownScope, fmt.Sprintf("no scope %q", scope)}
	}
	if o, is := what.(*engine.Observed); is {
		w.observed[scope] = o
	}
	events := engine.Decide(p, w.states[scope], engine.Input{At: w.now, Term: 1, By: by, What: what})
	for _, e := range events {
		w.states[scope] = engine.Apply(w.states[scope], e)
		w.log = append(w.log, api.Stored{Position: int64(len(w.log)) + 1, Event: e})
	}
	if len(events) > 0 {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	for _, e := range events {
		if _, refused := e.Fact.(engine.RequestRefused); refused {
			return events, Refused{api.CodeRefused, e.Reason.Text}
		}
	}
	return events, nil
}

// Unavailable is the error of a request that could not be stored.
func Unavailable(text string) error { return Refused{api.CodeUnavailable, text} }

func (w *World) view(scope engine.Scope) engine.View {
	p := w.policies[scope]
	return engine.View{Policy: &p, State: w.states[scope], Observed: w.observed[scope]}
}

// Views implements the loop.
func (w *World) Views() (views []engine.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, scope := range slices.Sorted(maps.Keys(w.states)) {
		if scope != engine.Fleet {
			views = append(views, w.view(scope))
		}
	}
	return views
}

// View implements the loop.
func (w *World) View(scope engine.Scope) (engine.View, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view(scope), w.states[scope].Version > 0
}

// Changed implements the loop.
func (w *World) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Read implements the log.
func (w *World) Read(_ context.Context, stream engine.Scope, after engine.Version, limit int) (events []engine.Event, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.log {
		if s.Event.Stream == stream && s.Event.Version > after && (limit == 0 || len(events) < limit) {
			events = append(events, s.Event)
		}
	}
	return events, nil
}

// Since implements the log.
func (w *World) Since(_ context.Context, position int64, limit int) ([]api.Stored, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.log[min(position, int64(len(w.log))):]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

// Last implements the log.
func (w *World) Last(context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.log)), nil
}

// Kinds are the kinds of the service's events after a version, in one line.
func (w *World) Kinds(after engine.Version) string {
	var kinds []string
	events, _ := w.Read(context.Background(), "checkout", after, 0) // in memory: it cannot fail
	for _, e := range events {
		kinds = append(kinds, e.Kind())
	}
	return strings.Join(kinds, " ")
}

// Version is how many events the service has.
func (w *World) Version() engine.Version {
	v, _ := w.View("checkout") // without events it is 0
	return v.State.Version
}
