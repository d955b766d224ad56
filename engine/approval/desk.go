package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Loop is what the desk needs of the loop.
type Loop interface {
	// Views returns all scopes, sorted by name, without the fleet. What they hold is shared and must not be changed.
	Views() []engine.View
	View(engine.Scope) (engine.View, bool)
	// Submit hands a request to the core and returns the events it led to, stored by then.
	Submit(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error)
	// Changed returns a channel that is closed at the next commit. Whoever waits takes it first and looks then.
	Changed() <-chan struct{}
}

// Log is what the desk reads of the event log: at most limit events of a stream after a version, oldest first.
type Log interface {
	Read(ctx context.Context, stream engine.Scope, after engine.Version, limit int) ([]engine.Event, error)
}

// Options say where the desk looks. Loop and Log are needed.
type Options struct {
	Loop Loop
	Log  Log
	// Describe says in full what a step would do, without doing it and without secrets. nil: no kind of step is known.
	Describe func(engine.StepJob) (string, error)
	// Budget says how long the error budgets of a scope last at the present burn, by the context's deadline. nil: nothing is
	// said of budgets.
	Budget func(context.Context, engine.Scope) []Budget
	// Targets says what a step would act on if it began now, by the context's deadline. nil: nobody can tell.
	Targets func(context.Context, engine.Scope, engine.Targets) Targets
	Now     func() time.Time // nil: time.Now
}

// Desk is where people are asked. It is safe for concurrent use.
type Desk struct{ opts Options }

// New opens the desk.
func New(opts Options) *Desk {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Desk{opts}
}

// In a description the identity of the change and the people who said yes are not known yet, and now and then not what a step
// acts on; these words stand for them.
const (
	unknownChange  = engine.ChangeID("CHANGE")
	unknownReason  = "APPROVERS"
	unknownTargets = "TARGETS"
)

// behindTime bounds how long a reader waits for the loop to show what the log holds already.
const behindTime = 2 * time.Second

// budgetTime bounds how long somebody waits for the budgets: with a Prometheus that hangs they are unknown, and the rest of
// what has to be known is shown all the same.
const budgetTime = 3 * time.Second

// errBehind says that the log is ahead of the loop's view for an instant.
var errBehind = errors.New("the proposal is being decided at this moment: ask again")

// List returns the proposals that wait in the scopes for which sees holds, the one whose time is over first at the front.
func (d *Desk) List(sees func(engine.Scope) bool) []Approval {
	list := []Approval{}
	for _, v := range d.opts.Loop.Views() {
		if !sees(v.State.Scope) {
			continue
		}
		for i := range v.State.Proposals {
			list = append(list, d.outline(v, &v.State.Proposals[i]))
		}
	}
	slices.SortStableFunc(list, func(a, b Approval) int { return a.Until.Compare(b.Until) })
	return list
}

// Parse takes a proposal's identity apart: the stream and the version of the event that began it.
func Parse(id engine.ChangeID) (engine.Scope, engine.Version, bool) {
	at := strings.LastIndexByte(string(id), '-')
	if at < 1 {
		return "", 0, false
	}
	version, err := strconv.ParseUint(string(id[at+1:]), 10, 63)
	if err != nil || version == 0 || strconv.FormatUint(version, 10) != string(id[at+1:]) {
		return "", 0, false // one proposal has one name
	}
	return engine.Scope(id[:at]), engine.Version(version), true
}

// Get returns one proposal with all there is to know of it, waiting or ended. The error is ErrNotFound, or why the log cannot
// be read.
func (d *Desk) Get(ctx context.Context, id engine.ChangeID) (Approval, error) {
	patience, cancel := context.WithTimeout(ctx, behindTime)
	defer cancel()
	for {
		changed := d.opts.Loop.Changed()
		a, err := d.look(ctx, id)
		if !errors.Is(err, errBehind) {
			return a, err
		}
		select {
		case <-changed:
		case <-patience.Done():
			return Approval{}, unavailable(err)
		}
	}
}

func (d *Desk) look(ctx context.Context, id engine.ChangeID) (Approval, error) {
	scope, version, ok := Parse(id)
	if !ok {
		return Approval{}, notFound(id)
	}
	v, known := d.opts.Loop.View(scope)
	if !known {
		return Approval{}, notFound(id)
	}
	s, err := d.story(ctx, v, id, version)
	if err != nil {
		return Approval{}, err
	}
	at := slices.IndexFunc(v.State.Proposals, func(p engine.Proposal) bool { return p.ID == id })
	if at < 0 && s.ended == nil {
		return Approval{}, errBehind
	}
	if at >= 0 {
		s.proposal, s.ended = v.State.Proposals[at], nil
	}
	a := d.outline(v, &s.proposal)
	a.Proposed, a.Reason, a.Evidence = s.first.At, s.first.Reason.Text, s.first.Evidence
	a.Votes, a.Voided, a.Ended = s.votes, s.voided, s.ended
	if a.Ended != nil {
		a.Left, a.Missing, a.Instead, a.Blind, a.Withheld = 0, nil, nil, false, ""
		a.Ended.State = fate(v.State, a.Ended.Change)
	}
	bounded, done := context.WithTimeout(ctx, budgetTime)
	defer done()
	var all sync.WaitGroup
	if d.opts.Budget != nil {
		all.Go(func() { a.Budgets = d.opts.Budget(bounded, scope) })
	}
	steps, first := d.plan(bounded, &a, v, s.plan)
	all.Wait()
	a.Steps, a.First = steps, first
	return a, nil
}

// Targets says what a step would act on if it began now; nil when it has no selector.
func (d *Desk) Targets(ctx context.Context, scope engine.Scope, t engine.Targets) *Targets {
	if t.Max == 0 {
		return nil
	}
	if d.opts.Targets == nil {
		return &Targets{Selector: t.Selector, Max: t.Max, Unknown: "this server can find no targets"}
	}
	ctx, cancel := context.WithTimeout(ctx, budgetTime)
	defer cancel()
	shown := d.opts.Targets(ctx, scope, t)
	return &shown
}

// Described are the targets as the description of a step has them: those that are named, and a word for the rest.
func (t *Targets) Described() []string {
	switch {
	case t == nil:
		return nil
	case t.Unknown != "" || t.Found == 0:
		return []string{unknownTargets}
	case t.More() > 0:
		return append(slices.Clip(t.Names), fmt.Sprintf("AND %d MORE", t.More()))
	}
	return t.Names
}

// fate says what has become of a change.
func fate(s engine.State, id engine.ChangeID) string {
	switch c := s.Change; {
	case id == "" || c == nil || c.ID != id:
	case c.Stuck:
		return "stuck"
	case c.Undoing:
		return "being undone"
	default:
		return "under way"
	}
	if id != "" && slices.ContainsFunc(s.Past, func(p engine.Past) bool { return p.ID == id }) {
		return "done"
	}
	return ""
}

// outline is what the view of a scope says of a proposal.
func (d *Desk) outline(v engine.View, p *engine.Proposal) Approval {
	a := Approval{
		ID: p.ID, Scope: v.State.Scope, Transition: p.Transition, From: p.From, To: p.To, Digest: p.Digest, Requester: p.Requester,
		Reason: p.Reason, Until: p.Until, Left: max(0, p.Until.Sub(d.opts.Now())), Otherwise: p.Gate.Otherwise, Escalated: p.Escalated,
		Groups: p.Gate.Groups, BlindBy: p.BlindBy, Change: p.Change,
	}
	a.Missing, a.Instead = missing(p)
	if p.Escalated {
		a.Further = p.Gate.To
	}
	for _, vote := range p.Votes {
		a.Votes = append(a.Votes, Vote{Person: vote.Person, Role: vote.Role})
	}
	for _, w := range v.State.Withheld {
		if w.Transition == p.Transition {
			a.Withheld = w.Reason.Text
		}
	}
	a.Blind = p.Change != "" && p.Requester == nil // of a transition that the rules do not declare any more nothing can be seen
	if v.Policy == nil {
		return a
	}
	a.Owner, a.Runbook = v.Policy.Owner, v.Policy.Runbook
	i := slices.IndexFunc(v.Policy.Transitions, func(t engine.Transition) bool { return t.Name == p.Transition })
	if i < 0 {
		return a
	}
	t := &v.Policy.Transitions[i]
	c := v.Policy.Conditions[t.When]
	a.Position, a.Condition, a.For = t.Position, c.Text, t.For
	if v.Observed != nil && t.When < len(v.Observed.Conditions) {
		o := v.Observed.Conditions[t.When]
		a.Observed, a.Truth, a.Readings = v.Observed.Instant, o.Truth, o.Readings
	}
	if p.Requester == nil {
		// As the core sees it: by the condition's clock, which is there while a proposal waits.
		k := slices.IndexFunc(v.State.Clocks, func(k engine.Clock) bool { return k.Condition == c.Name })
		a.Blind = k < 0 || v.State.Clocks[k].Truth == engine.Unknown
	}
	return a
}

// missing is what a proposal still lacks, counted as the core counts it: once escalated, the further groups do instead.
func missing(p *engine.Proposal) (lack, instead []engine.Group) {
	lack = lacking(p.Gate.Groups, p.Votes)
	if !p.Escalated || len(p.Gate.To) == 0 || len(lack) == 0 {
		return lack, nil
	}
	if instead = lacking(p.Gate.To, p.Votes); len(instead) == 0 {
		return nil, nil
	}
	return lack, instead
}

func lacking(groups []engine.Group, votes []engine.Vote) (lack []engine.Group) {
	for _, g := range groups {
		for _, v := range votes {
			if v.Role == g.Role {
				g.Count--
			}
		}
		if g.Count > 0 {
			lack = append(lack, g)
		}
	}
	return lack
}

// plan puts what would be done into words: the steps, and what is taken back before them.
func (d *Desk) plan(ctx context.Context, a *Approval, v engine.View, plan engine.Plan) (steps, first []Step) {
	a.Flags, a.PublishLast = plan.Into.Flags, plan.PublishLast
	a.Verify, a.TakenBack = conditionText(v, plan.Verify), conditionText(v, plan.Until)
	a.Pauses, a.Suppress = plan.Into.Pause, plan.Into.Suppress
	a.OnFailure = "what was done is taken back, the last step first"
	if plan.OnFailure == engine.OnFailureHold {
		a.OnFailure = "what was done is held, and the failed step is tried again"
	}
	facts := engine.Facts{Scope: a.Scope, Change: unknownChange, Transition: a.Transition, From: a.From, To: a.To, Reason: unknownReason}
	if a.Change != "" {
		facts.Change = a.Change
	}
	for i, s := range plan.Steps {
		var found *Targets
		if a.Ended == nil {
			found = d.Targets(ctx, a.Scope, s.Targets)
		}
		step := d.step(s, facts, found)
		step.Held = a.Change != "" && v.State.Change != nil && i == v.State.Change.Next
		steps = append(steps, step)
	}
	if a.Ended != nil || a.Change != "" {
		return steps, nil
	}
	return steps, d.TakenBack(facts, Entry(v, a.Transition))
}

// Entry is what going by a transition takes back before its own steps: what the change into the present mode did, where the
// transition says so.
func Entry(v engine.View, transition string) []engine.Done {
	if v.Policy == nil || len(v.State.Past) == 0 {
		return nil
	}
	i := slices.IndexFunc(v.Policy.Transitions, func(t engine.Transition) bool { return t.Name == transition })
	if i < 0 || !v.Policy.Transitions[i].UndoEntry {
		return nil
	}
	return v.State.Past[len(v.State.Past)-1].Did
}

// TakenBack puts into words how steps that were done are taken back, in the order in which they are: the last one first. facts
// are those of the change that does it, except that each step goes under the name of the change that did it.
func (d *Desk) TakenBack(facts engine.Facts, did []engine.Done) (steps []Step) {
	for _, done := range slices.Backward(did) {
		facts.Change = done.Change
		step := Step{Name: done.Step.Name, Kind: done.Step.Kind, Undoes: done.Change}
		step.Does, step.Problem = d.describe(done.Step, facts, true, done.Targets)
		steps = append(steps, step)
	}
	return steps
}

func (d *Desk) step(s engine.Step, facts engine.Facts, found *Targets) Step {
	out := Step{Name: s.Name, Kind: s.Kind, Destructive: s.Destructive, Irreversible: s.Irreversible, Targets: found}
	names := found.Described()
	if found == nil && s.Targets.Max > 0 {
		names = []string{unknownTargets}
	}
	out.Does, out.Problem = d.describe(s, facts, false, names)
	if s.Undo {
		var problem string
		if out.Undo, problem = d.describe(s, facts, true, names); problem != "" {
			out.Undo = "there is one, and it " + problem
		}
	}
	return out
}

// describe asks a kind what a step would do.
func (d *Desk) describe(s engine.Step, facts engine.Facts, undo bool, targets []string) (text, problem string) {
	if d.opts.Describe == nil {
		return "", "cannot be described: this server knows no kinds of step"
	}
	key := fmt.Sprintf("%s/%s", facts.Change, s.Name)
	if undo {
		key += "/undo"
	}
	text, err := d.opts.Describe(engine.StepJob{Key: key, Scope: facts.Scope, Change: facts.Change, Step: s, Undo: undo, Attempt: 1, Facts: facts, Targets: targets})
	if err != nil {
		return "", "cannot be described: " + err.Error()
	}
	return text, ""
}

// conditionText is a condition as the rule file has it; its name when the rules have it no more.
func conditionText(v engine.View, name string) string {
	if v.Policy != nil {
		for _, c := range v.Policy.Conditions {
			if c.Name == name {
				return c.Text
			}
		}
	}
	return name
}
