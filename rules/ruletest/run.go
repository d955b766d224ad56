package ruletest

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

// Result is what came of a test.
type Result struct {
	Name     string        `json:"name"`
	Position string        `json:"position"` // file:line:column
	Passed   bool          `json:"passed"`
	Failures []Failure     `json:"failures,omitempty"`
	Error    string        `json:"error,omitempty"` // why it could not be run to its end
	Timeline []Moment      `json:"timeline,omitempty"`
	Span     time.Duration `json:"-"` // that was led through
	Took     time.Duration `json:"-"`
	// Crash is the panic that ended it, with its stack; nil: none did. Error says it too.
	Crash error `json:"-"`
}

// Failure is an expectation that does not hold, or a step that did not go as it has to.
type Failure struct {
	Position string        `json:"position"`
	At       time.Duration `json:"-"`
	When     string        `json:"at"`
	What     string        `json:"what"`
	Want     string        `json:"want,omitempty"`
	Got      string        `json:"got"`
	Why      []string      `json:"why,omitempty"` // why it was not so: what stands in the way, with its readings
}

// run is one test that is led through.
type run struct {
	test      *Test
	rehearsal *rehearse.Rehearsal
	evaluator *prom.Evaluator // of the rules
	asker     *prom.Evaluator // of what readings ask for; nil: there are none
	failures  []Failure
	ticked    time.Time // the last tick
	away      *series.Away
	book      *book    // nil: no budget is asked for
	seen      sighting // nil: nobody wants to know
	sums      []*sum
}

// patience is how long a query may take. The time of a test does not run out while it is answered, so this is against an endless one.
const patience = 10 * time.Minute

// Run runs a test. What it reaches is added to cov, where that is not nil. A panic ends the test alone, which fails.
func (t *Test) Run(ctx context.Context, cov *Coverage) Result {
	began := time.Now()
	res := Result{Name: t.Name, Position: t.Position, Span: t.until}
	r := &run{test: t}
	if cov != nil {
		r.seen = sighting{}
	}
	err := crash.Try(func() error {
		err := r.run(ctx)
		if cov != nil {
			if r.rehearsal != nil {
				r.seen.events(r.rehearsal.Events(), t.file.set)
			}
			cov.add(r.seen)
		}
		if (err != nil || len(r.failures) > 0) && r.rehearsal != nil {
			res.Timeline = r.timeline()
		}
		return err
	})
	if err != nil {
		res.Error = err.Error()
	}
	if crash.Of(err) != nil {
		res.Crash = err
	}
	res.Failures, res.Passed = r.failures, err == nil && len(r.failures) == 0
	res.Took = time.Since(began)
	return res
}

func (r *run) run(ctx context.Context) error {
	t := r.test
	var err error
	if r.away, err = t.source(); err != nil {
		return err
	}
	opts := prom.Options{QueryOffset: t.file.offset, QueryTimeout: patience, Budget: patience, Parallel: 1, Repeat: true}
	if r.book = t.newBook(); r.book != nil {
		opts.Remaining = r.remaining
	}
	if r.seen != nil {
		opts.Watch = r.seen.see
	}
	if opts.QueryOffset == 0 {
		opts.QueryOffset = -1
	}
	r.sums = t.sums(t.drawing())
	sources := t.file.sources(r.away)
	r.evaluator = prom.New(t.file.set, sources, opts)
	if t.expressions != nil {
		opts.Watch = nil
		r.asker = prom.New(t.file.asking(t.expressions), sources, opts)
	}
	r.rehearsal, err = rehearse.New(ctx, rehearse.Options{
		Rules: r.rules(), Interval: t.file.interval, BlindAfter: t.file.blindAfter, Start: t.file.start, Instances: t.instances,
		Brake:   engine.BrakeRule{Max: engine.DefaultBrakeMax, Share: engine.DefaultBrakeShare, Within: engine.DefaultBrakeWindow},
		Outcome: func(job engine.StepJob) rehearse.Outcome { return t.comesTo(job, r.now()) },
		Find:    func(job engine.StepJob) ([]string, error) { return t.find(job, r.now()) },
		OnTick:  r.tick,
	})
	if err != nil {
		return err
	}
	for _, p := range t.points() {
		if err := r.rehearsal.Until(ctx, t.file.start.Add(p.at)); err != nil {
			return err
		}
		if p.step != nil {
			problem, err := p.step.do(ctx, r.rehearsal)
			if err != nil {
				return fmt.Errorf("%s at %s: %w", p.step.text, clock(p.at), err)
			}
			if problem != "" {
				r.failures = append(r.failures, Failure{Position: p.position, At: p.at, When: clock(p.at), What: p.step.text, Got: problem})
			}
		}
		if p.check != nil && !p.check(r, ctx) {
			return ctx.Err()
		}
	}
	for _, s := range r.sums {
		if want, got := s.judge(r.rehearsal.Now()); want != "" {
			r.failures = append(r.failures, Failure{Position: s.position, At: t.until, When: clock(t.until), What: "arithmetic of " + string(s.scope) + "/" + s.name, Want: want, Got: got})
		}
	}
	return ctx.Err()
}

// tick notes what was seen at a tick.
func (r *run) tick(report loop.TickReport) {
	r.ticked = report.Instant
	for _, s := range r.sums {
		if v, ok := r.rehearsal.View(s.scope); ok && v.Observed != nil && v.Observed.Instant.Equal(report.Instant) {
			s.look(v.Observed)
		}
	}
}

// now is how far the test has come.
func (r *run) now() time.Duration {
	if r.rehearsal == nil {
		return 0
	}
	return r.rehearsal.Now().Sub(r.test.file.start)
}

// sources are the Prometheis that the rules name, with as many replicas as have to agree: all of them show the same.
func (f *File) sources(api v1.API) []prom.Source {
	replicas := 1
	names := []string{""}
	for _, s := range f.set.Services {
		names = append(names, s.Source)
		for i := range s.SLOs {
			names, replicas = append(names, s.SLOs[i].Source), max(replicas, s.SLOs[i].Agree)
		}
		for i := range s.SLIs {
			names, replicas = append(names, s.SLIs[i].Source), max(replicas, s.SLIs[i].Agree)
		}
	}
	slices.Sort(names)
	sources := []prom.Source{}
	for _, name := range slices.Compact(names) {
		if name == "" {
			name = "test"
		}
		sources = append(sources, prom.Source{Name: name, Replicas: slices.Repeat([]v1.API{api}, replicas)})
	}
	return sources
}

// asking is a set whose services have the conditions of readings in place of their own.
func (f *File) asking(expressions map[engine.Scope][]*rules.Condition) *rules.Set {
	set := &rules.Set{Digest: f.set.Digest}
	for _, s := range f.set.Services {
		other := *s
		other.Conditions = expressions[s.Policy.Scope]
		set.Services = append(set.Services, &other)
	}
	return set
}

// rules are what the loop runs on, as a server puts them together.
func (r *run) rules() loop.Rules {
	set := r.test.file.set
	out := loop.Rules{Digest: set.Digest, Whole: true}
	for _, s := range set.Services {
		out.Policies = append(out.Policies, s.Policy)
	}
	out.Missed = func(scope engine.Scope, from, to time.Time) []engine.Window {
		if s := set.Service(scope); s != nil {
			return s.Missed(from, to)
		}
		return nil
	}
	out.Evaluate = func(ctx context.Context, t loop.Tick) loop.Answer {
		r.away.Now(t.Instant)
		r.book.until(ctx, t.Instant)
		a := r.evaluator.Evaluate(ctx, prom.Tick{Instant: t.Instant, Questions: t.Questions,
			Modes: func(scope engine.Scope) (engine.Mode, bool) { m, ok := t.Modes[scope]; return m, ok }})
		return loop.Answer{Observations: a.Observations, SourceBlind: a.SourceBlind, Sources: a.Sources}
	}
	return out
}

// point is something to be done when the time has come.
type point struct {
	at       time.Duration
	position string
	step     *step
	check    func(*run, context.Context) bool // false: go no further
}

// points are what a test does and looks at, in the order of time; at one instant steps come first, then each in the order of the file.
func (t *Test) points() []point {
	var list []point
	for i := range t.steps {
		list = append(list, point{at: t.steps[i].at, position: t.steps[i].position, step: &t.steps[i]})
	}
	for i := range t.expect {
		list = append(list, t.expect[i].points(t.file.interval)...)
	}
	list = append(list, point{at: t.until})
	slices.SortStableFunc(list, func(a, b point) int {
		if a.at != b.at {
			return int(min(max(a.at-b.at, -1), 1))
		}
		return order(a) - order(b)
	})
	return list
}

func order(p point) int {
	if p.step != nil {
		return 0
	}
	return 1
}

// points are the instants at which an expectation is looked at.
func (e *expectation) points(interval time.Duration) []point {
	at := func(at time.Duration, check func(*run, context.Context) bool) point {
		return point{at: at, position: e.position, check: check}
	}
	switch e.form {
	case "at":
		return []point{at(e.to, func(r *run, ctx context.Context) bool { r.holds(ctx, e, e.to, ""); return true })}
	case "between":
		early := false
		return []point{
			at(e.from-1, func(r *run, ctx context.Context) bool { // right before the tick at the first time
				if e.from > 0 && r.all(ctx, e, e.from-1) {
					early = true
					r.fail(e, e.from, Failure{What: e.text(), Want: "not before " + clock(e.from), Got: "so already"})
				}
				return true
			}),
			at(e.to, func(r *run, ctx context.Context) bool {
				if !early {
					r.holds(ctx, e, e.to, "since "+clock(e.from)+", ")
				}
				return true
			}),
		}
	}
	// At each tick, and at both ends.
	var list []point
	told := false
	for d := e.from; ; d = min((d/interval+1)*interval, e.to) {
		list = append(list, at(d, func(r *run, ctx context.Context) bool {
			switch {
			case told:
			case e.form == "during":
				told = !r.holds(ctx, e, d, "")
			case r.all(ctx, e, d):
				told = true
				r.fail(e, d, Failure{What: e.text(), Want: fmt.Sprintf("never from %s to %s", clock(e.from), clock(e.to)), Got: "so"})
			}
			return true
		}))
		if d >= e.to {
			return list
		}
	}
}

// text is what the claims of an expectation say together.
func (e *expectation) text() string {
	text := ""
	for i, c := range e.claims {
		if i > 0 {
			text += ", "
		}
		text += c.what + " is " + c.want
	}
	return text
}

// all reports whether every claim of an expectation holds.
func (r *run) all(ctx context.Context, e *expectation, at time.Duration) bool {
	for i := range e.claims {
		if _, holds, _ := r.look(ctx, &e.claims[i], at); !holds {
			return false
		}
	}
	return true
}

// holds reports whether every claim of an expectation holds, and notes those that do not.
func (r *run) holds(ctx context.Context, e *expectation, at time.Duration, when string) bool {
	good := true
	for i := range e.claims {
		c := &e.claims[i]
		got, holds, why := r.look(ctx, c, at)
		if holds {
			continue
		}
		good = false
		if why == nil {
			why = r.why(ctx, c)
		}
		r.fail(e, at, Failure{What: c.what, Want: when + c.want, Got: got, Why: why})
	}
	return good
}

func (r *run) fail(e *expectation, at time.Duration, f Failure) {
	f.Position, f.At, f.When = e.position, at, clock(at)
	r.failures = append(r.failures, f)
}

// look says what a claim is about, whether it is as expected, and of a reading what it rests on.
func (r *run) look(ctx context.Context, c *claim, at time.Duration) (got string, holds bool, why []string) {
	if c.reading < 0 {
		got, holds = c.got(&moment{r, at})
		return got, holds, nil
	}
	x := r.explain(ctx, r.asker, c.scope, r.test.file.start.Add(max(at, 0)), []int{c.reading})
	if len(x.Conditions) == 0 {
		return "not evaluated", false, nil
	}
	one := &x.Conditions[0]
	return one.Truth.String(), one.Truth.String() == c.want, tree(one)
}

// explain evaluates conditions of a scope, and tells what they rest on.
func (r *run) explain(ctx context.Context, e *prom.Evaluator, scope engine.Scope, at time.Time, conditions []int) prom.Explanation {
	r.away.Now(at)
	r.book.until(ctx, at)
	v, _ := r.rehearsal.View(scope)
	q := engine.Question{Scope: scope, Dwell: v.State.Dwell(at), Known: len(r.test.instances[scope]), Conditions: conditions}
	return e.Explain(ctx, prom.Tick{Instant: at, Questions: []engine.Question{q}, Modes: func(other engine.Scope) (engine.Mode, bool) {
		v, ok := r.rehearsal.View(other)
		return v.State.Mode, ok && v.State.Mode != ""
	}})
}

// clock is a time of a test as its file writes it: 1h10m, 3d.
func clock(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Millisecond); {
	case d < 0:
		return "-" + clock(-d)
	case d >= day && d%day == 0: // and no weeks
		return fmt.Sprintf("%dd", d/day)
	}
	return model.Duration(d).String()
}
