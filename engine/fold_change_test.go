package engine_test

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

// Random gates, playbooks and answers to them, and the laws of changes.

// between draws a number from lo to hi, each about as often. What rapid draws as a number is mostly small, and histories of
// small numbers hardly get anywhere: this draws bits. All of them zero is lo, so that a failing history still shrinks.
func between(t *rapid.T, lo, hi int, label string) int {
	return lo + rapid.Custom(func(t *rapid.T) int {
		n := 0
		for range bits.Len(uint(hi-lo)) + 2 {
			n <<= 1
			if rapid.Bool().Draw(t, "bit") {
				n++
			}
		}
		return n % (hi - lo + 1)
	}).Draw(t, label)
}

// pick draws one of a list, each as often.
func pick[T any](t *rapid.T, list []T, label string) T {
	return list[between(t, 0, len(list)-1, label)]
}

// often makes nothing of a span, three times out of four: what waits for it would hardly ever happen.
func often(t *rapid.T, d time.Duration, label string) time.Duration {
	if between(t, 0, 3, label) > 0 {
		return 0
	}
	return d
}

// choice is a list to pick from, more than once.
type choice[T any] []T

// Draw picks one.
func (c choice[T]) Draw(t *rapid.T, label string) T { return pick(t, c, label) }

// within is a span of numbers to draw from, more than once.
type within struct{ lo, hi int }

// Draw draws one.
func (w within) Draw(t *rapid.T, label string) int { return between(t, w.lo, w.hi, label) }

var roles = []string{"oncall", "lead", "commander"}

func drawGroups(t *rapid.T, label string) []engine.Group {
	var groups []engine.Group
	first := between(t, 0, len(roles)-1, label)
	for i := range between(t, 1, 2, label+" groups") {
		groups = append(groups, engine.Group{Role: roles[(first+i)%len(roles)], Count: pick(t, []int{1, 1, 1, 2}, label+" count")})
	}
	return groups
}

// drawChange gives a transition its gate and its playbook. What a rule file may not say is not drawn: a destructive step needs
// a gate, and one that cannot be undone says so.
func drawChange(t *rapid.T, tr *engine.Transition, conditions int) {
	span := choice[time.Duration](spans)
	ref := within{0, conditions}
	if rapid.Bool().Draw(t, "gated") {
		g := engine.Gate{Groups: drawGroups(t, "gate"), Within: span.Draw(t, "within") + time.Minute}
		switch g.Otherwise = pick(t, []engine.Otherwise{"", engine.OtherwiseDeny, engine.OtherwisePage, engine.OtherwiseEscalate}, "otherwise"); g.Otherwise {
		case engine.OtherwiseEscalate:
			g.To = drawGroups(t, "escalate to")
		}
		tr.Gate = &g
	}
	for i := range pick(t, []int{0, 0, 1, 2, 3}, "steps") {
		s := engine.Step{Name: fmt.Sprintf("s%d", i), Kind: "webhook", Undo: rapid.Bool().Draw(t, "undo"), Keyed: rapid.Bool().Draw(t, "keyed"),
			Attempts: between(t, 0, 3, "attempts"), Spec: pick(t, []string{"", "x"}, "spec")}
		s.Destructive = tr.Gate != nil && rapid.Bool().Draw(t, "destructive")
		s.Irreversible = s.Destructive && !s.Undo
		if between(t, 0, 2, "selects") == 0 {
			s.Targets = engine.Targets{Selector: "all", Max: between(t, 1, 3, "max")}
		}
		tr.Playbook.Steps = append(tr.Playbook.Steps, s)
	}
	tr.Playbook.PublishLast = between(t, 0, 3, "publish last") == 0
	tr.Playbook.OnFailure = pick(t, []engine.OnFailure{"", "", engine.OnFailureHold, engine.OnFailureUndo}, "on_failure")
	if between(t, 0, 2, "verified") == 0 {
		tr.Playbook.Verify = engine.ConditionRef(ref.Draw(t, "verify"))
	}
	if between(t, 0, 3, "ends") == 0 {
		tr.Until = engine.ConditionRef(ref.Draw(t, "until"))
	}
	if conditions > 0 {
		tr.Rollout = drawRollout(t, conditions)
	}
	tr.RetryAfter = span.Draw(t, "retry_after")
	tr.UndoEntry = between(t, 0, 3, "undo entry") == 0
	tr.Position = "checkout.yaml:1:1"
	tr.Digest = engine.Digest(fmt.Sprintf("%x-%d", mustJSON(*tr), tr.Playbook.Verify))
}

// drawAnswer draws what comes from people and targets about the changes of a state: mostly what fits, sometimes what does not.
func drawAnswer(t *rapid.T, s engine.State) engine.Happening {
	reason := pick(t, []string{"why", "why", "why", ""}, "reason")
	changes := []engine.ChangeID{"", "checkout-1"}
	for _, p := range s.Past {
		changes = append(changes, p.ID)
	}
	if s.Change != nil {
		changes = append(changes, s.Change.ID, s.Change.ID, s.Change.ID)
	}
	var proposals []engine.ChangeID
	for _, p := range s.Proposals {
		proposals = append(proposals, p.ID)
	}
	change := pick(t, changes, "change")
	review := func() engine.Happening {
		r := &engine.ReviewGiven{Yes: between(t, 0, 5, "yes") > 0, Blind: between(t, 0, 4, "blind") == 0, Reason: reason,
			Roles: []string{pick(t, roles, "role"), pick(t, append(roles, "nobody"), "other role")}}
		r.Digest = "0123456789"
		if len(s.Proposals) > 0 {
			p := pick(t, s.Proposals, "proposal")
			r.Proposal, r.Digest = p.ID, p.Digest[:pick(t, []int{64, 12, 8, 7, 0}, "of the digest")]
		} else if len(s.Resting) > 0 {
			over := pick(t, s.Resting, "ended")
			r.Proposal, r.Digest = over.ID, over.Digest
		}
		if between(t, 0, 3, "unnamed") == 0 {
			r.Proposal = ""
		}
		return r
	}
	report := func() engine.Happening {
		r := &engine.StepReported{Step: "s0", Outcome: pick(t, []engine.Outcome{engine.OutcomeDone, engine.OutcomeDone, engine.OutcomeFailed,
			engine.OutcomeFailed, engine.OutcomeUnknown}, "outcome"), Detail: "said", Asked: between(t, 0, 3, "asked") == 0}
		if s.Change != nil && s.Change.Running != nil && between(t, 0, 9, "stray") > 0 {
			run := s.Change.Running
			r.Step, r.Undo = run.Step.Name, run.Undo
			if rapid.Bool().Draw(t, "exact") {
				r.Change, r.Attempt = run.Change, run.Attempt
			}
		}
		return r
	}
	found := func() engine.Happening {
		r := &engine.TargetsReported{Step: "s0", Count: between(t, 0, 5, "targets")}
		for i := range r.Count {
			r.Names = append(r.Names, fmt.Sprintf("t%d", i))
		}
		if between(t, 0, 4, "problem") == 0 {
			r.Problem = "connection refused"
		}
		if s.Change != nil && s.Change.Running != nil && between(t, 0, 9, "stray") > 0 {
			r.Step = s.Change.Running.Step.Name
			if rapid.Bool().Draw(t, "exact") {
				r.Change, r.Attempt = s.Change.Running.Change, s.Change.Running.Attempt
			}
		}
		return r
	}
	choices := []func() engine.Happening{
		review, report, found,
		func() engine.Happening {
			return &engine.CancelRequested{Change: pick(t, append(changes, proposals...), "what"), Reason: reason}
		},
		func() engine.Happening { return &engine.UndoRequested{Change: change, Reason: reason} },
		func() engine.Happening {
			return &engine.SettleRequested{Change: change, As: pick(t, []engine.SettledAs{engine.SettledDone, engine.SettledUndone, "?"}, "as"), Reason: reason}
		},
	}
	settle := choices[len(choices)-1]
	switch { // what the state waits for comes more often
	case s.Change != nil && s.Change.Running != nil && s.Change.Running.Finding:
		choices = append(choices, found, found, found, found, found, found)
	case s.Change != nil && s.Change.Running != nil:
		choices = append(choices, report, report, report, report, report, report)
	case s.Change != nil && s.Change.Stuck:
		choices = append(choices, settle, settle, settle)
	}
	if len(s.Proposals) > 0 {
		choices = append(choices, review, review, review, review, review)
	}
	return pick(t, choices, "answer")()
}

// changeLaws follows a stream from event to event and knows of each change what it must not forget.
type changeLaws struct {
	proposals map[engine.ChangeID]*proposalLaw
	changes   map[engine.ChangeID]*changeLaw
	done      map[string]int // how often an event of this kind was seen: laws nobody tests hold always
}

type proposalLaw struct {
	gate      engine.Gate
	digest    engine.Digest
	yes       map[string]string // the role each person's yes counts for
	requester string
	escalated bool
	over      bool
	targets   int // people are asked about, when a step is held
}

type changeLaw struct {
	free    bool                // it needs nobody's yes, or has it
	ask     engine.ChangeID     // the proposal it has it by
	held    string              // the step that people have to say yes to again
	most    map[string]int      // targets a step may have, as people last said
	targets map[string][]string // it went out with, by step
	from    engine.Directive
	own     engine.Mode // the scope's own before it, while it was held in another from above
	plan    engine.Plan
	doubt   map[string]bool // steps of which nobody knows what came of an attempt
	unknown map[string]bool // steps of which nobody knows what came of them, and that are not to run again
}

func newChangeLaws() *changeLaws {
	return &changeLaws{map[engine.ChangeID]*proposalLaw{}, map[engine.ChangeID]*changeLaw{}, map[string]int{}}
}

// enough reports, by a count of its own, whether people have said yes.
func (p *proposalLaw) enough() bool {
	has := func(groups []engine.Group) bool {
		for _, g := range groups {
			n := 0
			for _, role := range p.yes {
				if role == g.Role {
					n++
				}
			}
			if n < g.Count {
				return false
			}
		}
		return true
	}
	return has(p.gate.Groups) || p.escalated && len(p.gate.To) > 0 && has(p.gate.To)
}

// see checks one decision, event by event.
func (l *changeLaws) see(t *rapid.T, p engine.Policy, s engine.State, in engine.Input, events []engine.Event) {
	transition := func(name string) *engine.Transition {
		for i := range p.Transitions {
			if p.Transitions[i].Name == name {
				return &p.Transitions[i]
			}
		}
		return nil
	}
	for _, e := range events {
		l.done[e.Kind()]++
		fail := func(format string, args ...any) {
			t.Fatalf("%s/%d %s: %s\n%s\nbefore: %s", e.Stream, e.Version, e.Kind(), fmt.Sprintf(format, args...), encode(t, e), mustJSON(s))
		}
		under := func(id engine.ChangeID) {
			if s.Change == nil || s.Change.ID != id {
				fail("%s is not under way", id)
			}
		}
		running := func(change engine.ChangeID, step string, undo bool, attempt int) {
			if s.Change == nil || s.Change.Running == nil {
				fail("nothing runs")
			}
			if r := s.Change.Running; r.Change != change || r.Step.Name != step || r.Undo != undo || r.Attempt != attempt {
				fail("what runs is %+v", r)
			}
		}
		seeRollout(fail, p, s, in, e)
		switch f := e.Fact.(type) {
		case engine.ChangeProposed:
			tr := transition(f.Proposal.Transition)
			if tr == nil || (tr.Gate == nil) != f.Proposal.Braked || !slices.Contains(tr.From, s.Target) {
				fail("it is not a gated transition from %s, nor one that the brake withholds", s.Target)
			}
			if f.Proposal.Braked && (in.Brake.Of == 0 || in.Brake.Used < in.Brake.Of) {
				fail("the brake does not withhold it: %+v", in.Brake)
			}
			if slices.ContainsFunc(s.Proposals, func(o engine.Proposal) bool { return o.Transition == f.Proposal.Transition }) {
				fail("it waits already")
			}
			law := &proposalLaw{gate: f.Proposal.Gate, digest: f.Proposal.Digest, yes: map[string]string{}}
			if f.Proposal.Requester != nil {
				law.requester = f.Proposal.Requester.String()
			}
			l.proposals[f.Proposal.ID] = law
		case engine.ProposalRenewed:
			law := l.proposals[f.Proposal]
			if f.Change != "" {
				under(f.Change)
				if !law.over || l.changes[f.Change].held != f.Step || l.changes[f.Change].ask != f.Proposal || f.Digest == law.digest {
					fail("it asks again of a step that is not held: %+v", *law)
				}
				law.over, law.escalated, law.targets = false, false, f.Targets
			}
			law.gate, law.digest, law.yes = f.Gate, f.Digest, map[string]string{}
		case engine.ApprovalGranted:
			law := l.proposals[f.Proposal]
			if law.over || f.Digest != law.digest || f.Person == law.requester || e.Reason.Text == "" {
				fail("this yes does not count: %+v", *law)
			}
			if _, twice := law.yes[f.Person]; !twice {
				law.yes[f.Person] = f.Role
			}
			if (len(f.Missing) == 0) != law.enough() {
				fail("missing %v, and enough is %v of %+v", f.Missing, law.enough(), *law)
			}
		case engine.GateEscalated:
			if law := l.proposals[f.Proposal]; law.escalated || law.over {
				fail("it escalates twice, or after its end")
			} else {
				law.escalated = true
			}
		case engine.ProposalDenied:
			l.proposals[f.Proposal].over = true
		case engine.ProposalExpired:
			l.proposals[f.Proposal].over = true
		case engine.ProposalWithdrawn:
			l.proposals[f.Proposal].over = true
		case engine.ChangeStarted:
			if s.Change != nil && (f.Overtakes != s.Change.ID || s.Change.Undoing || s.Change.Stuck) || s.Change == nil && f.Overtakes != "" {
				fail("it overtakes %q while %+v is under way", f.Overtakes, s.Change)
			}
			law := &changeLaw{from: s.Directive, own: s.Own, plan: f.Plan, unknown: map[string]bool{}, doubt: map[string]bool{}, ask: f.Proposal, most: map[string]int{}, targets: map[string][]string{}}
			for _, step := range f.Plan.Steps {
				law.most[step.Name] = step.Targets.Max
			}
			tr := transition(f.Transition)
			switch {
			case f.Transition != "" && tr == nil:
				fail("its transition is not declared")
			case f.Proposal == "" && (tr == nil || tr.Gate == nil):
				law.free = true
			case f.Forced:
				r, ok := in.What.(*engine.SetRequested)
				law.free = ok && r.Force && slices.Contains(r.Roles, engine.RoleBreakGlass) &&
					slices.ContainsFunc(events, func(e engine.Event) bool { return e.Kind() == "GlassBroken" })
			case f.Proposal != "":
				ask := l.proposals[f.Proposal]
				law.free = ask != nil && !ask.over && ask.enough()
				if ask != nil {
					ask.over = true
				}
			}
			if !law.free {
				fail("nobody said yes to it")
			}
			if f.Plan.Back.Name != s.Target || !slices.Contains([]engine.Mode{f.To}, f.Plan.Into.Name) {
				fail("it leads from %s to %s, its plan from %s to %s", s.Target, f.To, f.Plan.Back.Name, f.Plan.Into.Name)
			}
			l.changes[f.Change] = law
		case engine.StepStarted:
			if s.Change == nil || s.Change.Running != nil || s.Change.Stuck {
				fail("no step may begin now")
			}
			law := l.changes[f.Change]
			if law == nil || !law.free {
				fail("its change never began with a yes")
			}
			if law.held != "" && !f.Undo {
				ask := l.proposals[law.ask]
				if f.Step.Name != law.held || ask.over || !ask.enough() {
					fail("%s is held, and nobody said yes to it again", law.held)
				}
				law.most[law.held], law.held, ask.over = ask.targets, "", true
			}
			if !f.Undo && !slices.ContainsFunc(law.plan.Steps, func(o engine.Step) bool {
				if o.Targets.Max > 0 {
					o.Targets.Max = law.most[o.Name]
				}
				return o == f.Step
			}) {
				fail("it is not in the plan that was stored, but for what people said since: %v", law.most)
			}
			if sent, known := law.targets[f.Step.Name]; (known || f.Undo) && !slices.Equal(sent, f.Targets) || !known && len(f.Targets) > 0 {
				fail("it went out with %v before", sent)
			}
			if f.Undo && !f.Step.Undo {
				fail("it has no undo")
			}
			// One of which nobody knows what came of it is sent again under its key, to learn it, also while it is undone.
			if e.Reason.Code != engine.CodeRetry && f.Undo == (f.Change == s.Change.ID) && f.Undo != s.Change.Undoing {
				fail("undoing is %v", s.Change.Undoing)
			}
			if law.unknown[fmt.Sprint(f.Step.Name, f.Undo)] {
				fail("nobody knows what came of it, and it begins again")
			}
		case engine.TargetsFound:
			running(f.Change, f.Step.Name, false, f.Attempt)
			law := l.changes[f.Change]
			if _, twice := law.targets[f.Step.Name]; twice || !s.Change.Running.Finding || s.Change.Undoing || s.Change.ID != f.Change {
				fail("nobody waits for targets")
			}
			if n := len(f.Targets); n == 0 || n > law.most[f.Step.Name] {
				fail("they are %d, and may be %d", n, law.most[f.Step.Name])
			}
			law.targets[f.Step.Name] = f.Targets
		case engine.StepHeld:
			running(f.Change, f.Step, false, f.Attempt)
			law := l.changes[f.Change]
			if law.ask == "" || law.held != "" || f.Targets <= law.most[f.Step] {
				fail("nothing holds it: %+v", *law)
			}
			law.held = f.Step
		case engine.StepDone:
			running(f.Change, f.Step, f.Undo, f.Attempt)
			if r, told := in.What.(*engine.TargetsReported); s.Change.Running.Finding && (!told || r.Count > 0 || r.Problem != "") {
				fail("its targets were not found")
			}
		case engine.StepFailed:
			running(f.Change, f.Step, f.Undo, f.Attempt)
			r, told := in.What.(*engine.StepReported)
			if told && l.changes[f.Change].doubt[f.Step] && s.Change.Running.Step.Destructive && !f.Undo && !r.Asked {
				fail("it may have happened in an attempt before")
			}
		case engine.StepUnknown:
			running(f.Change, f.Step, f.Undo, f.Attempt)
			if s.Change.Running.Finding {
				fail("nothing was done yet")
			}
			if !f.Undo {
				l.changes[f.Change].doubt[f.Step] = true
			}
			if r := s.Change.Running; r.Step.Destructive && !r.Step.Keyed {
				l.changes[f.Change].unknown[fmt.Sprint(f.Step, f.Undo)] = true
			}
		case engine.DirectivePublished:
			if f.Change != "" {
				under(f.Change)
			}
		case engine.ChangeDone:
			under(f.Change)
			if s.Change.Running != nil {
				fail("a step runs")
			}
		case engine.ChangeFailed:
			under(f.Change)
		case engine.ChangeHeld:
			under(f.Change)
		case engine.ChangeStuck:
			under(f.Change)
		case engine.ChangeSettled:
			under(f.Change)
			if !s.Change.Stuck {
				fail("it is not stuck")
			}
		case engine.VerificationStarted:
			under(f.Change)
		case engine.VerificationHeld:
			under(f.Change)
		case engine.UndoStarted:
			if s.Change != nil {
				under(f.Change)
			} else if n := len(s.Past); n == 0 || s.Past[n-1].ID != f.Change {
				fail("it is not the last that is done")
			}
		case engine.ChangeUndone:
			under(f.Change)
			law := l.changes[f.Change]
			if s.Directive.Mode != law.from.Mode || s.Target != law.from.Mode {
				fail("%s is in force, and %s was before", s.Directive.Mode, law.from.Mode)
			}
			// Where the mode before is in force already, other rules may have given it other flags meanwhile.
			if r, _ := p.Mode(s.Target); !sameFlags(s.Directive.Flags, law.plan.Back.Flags) && !sameFlags(s.Directive.Flags, r.Flags) {
				fail("its flags are %v, and were %v before", s.Directive.Flags, law.plan.Back.Flags)
			}
			want := law.own
			if s.Change.Imposed != "" || s.Change.Returns { // what follows from above is not tried again at every turn
				want = ""
			}
			if own := engine.Apply(s, e).Own; own != want {
				fail("the scope's own mode is %q now, and not %q", own, want)
			}
			if s.Change.Why != engine.CodeSettled && (len(s.Change.Did) > 0 || s.Change.Running != nil) {
				fail("%+v is not taken back", s.Change.Did)
			}
		}
		s = engine.Apply(s, e)
		if len(s.Past) > 10 {
			fail("%d changes are remembered", len(s.Past))
		}
		if s.Change == nil && s.Mode != s.Target && s.Target != "" && !s.Retired && e.Kind() != "DirectivePublished" {
			fail("no change is under way from %s to %s", s.Mode, s.Target)
		}
	}
}

// sameFlags compares flags as an instance sees them: absent and empty are the same.
func sameFlags(a, b engine.Flags) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// unknownMoves checks that an evaluation that saw nothing started and ended nothing: but for what a person asked for, or said
// yes to without sight or as the way out of a mode that lasts too long, and had to wait for something else. What a scope above
// asks for rests on nothing that could be seen here.
func unknownMoves(t *rapid.T, was engine.State, events []engine.Event) {
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			i := slices.IndexFunc(was.Proposals, func(p engine.Proposal) bool { return p.ID == f.Proposal })
			if f.Imposed == "" && !f.Returns && (i < 0 || was.Proposals[i].Requester == nil && was.Proposals[i].BlindBy == "" && !was.Proposals[i].Expiry) {
				t.Fatalf("unknown started a change: %s", encode(t, e))
			}
		case engine.ChangeDone: // one that waited only for this server to lead again has seen all it had to
			if e.Reason.Code == engine.CodeVerify {
				t.Fatalf("unknown verified a change: %s", encode(t, e))
			}
		case engine.UndoStarted, engine.ChangeFailed:
			answered := was.Change != nil && !was.Change.Rolled && e.Reason.Code != engine.CodeVerify // its instances have
			if !answered && !slices.ContainsFunc(events, func(e engine.Event) bool { return e.Kind() == "ChangeStarted" }) {
				t.Fatalf("unknown ended a change: %s", encode(t, e))
			}
		}
	}
}
