package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// The states that the core can reach with one gate, every input tried in every one of them. What random histories only make
// likely is certain here, for as far as the model goes: one scope, a gated transition with a destructive step and its undo, two
// groups, four people, time in classes (the next evaluation; the gate's last instant; the end of its rest).

// modelKind is what a model has beside one gate. Each has a little of it, or there were no end of states.
type modelKind struct {
	targets   int              // the step acts on what it finds, so many at most: more is asked about again
	otherwise engine.Otherwise // what becomes of the gate when nobody answers
	glass     bool             // somebody may break the glass, and others try to go around the gate with a directive only
	reload    bool             // the rules change between two texts of the transition
}

// modelPolicy has one way there and one back. text tells one text of the rules from another.
func modelPolicy(kind modelKind, text string) engine.Policy {
	targets := kind.targets
	step := engine.Step{Name: "repoint", Kind: "webhook", Destructive: true, Undo: true, Attempts: 1}
	if targets > 0 {
		step.Targets = engine.Targets{Selector: "all", Max: targets}
	}
	gate := &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}, Within: 15 * time.Minute, Otherwise: kind.otherwise}
	if kind.otherwise == engine.OtherwiseEscalate {
		gate.To = []engine.Group{{Role: "commander", Count: 1}}
	}
	return engine.Policy{
		Digest: engine.Digest("model" + text), Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 10 * time.Minute,
		Modes:      []engine.ModeRule{{Name: "normal"}, {Name: "failover", Beside: true}},
		Conditions: []engine.Condition{{Name: "dead", Text: "dead", Digest: "dead"}, {Name: "well", Text: "well", Digest: "well"}},
		Transitions: []engine.Transition{
			{
				Name: "fail-over", From: []engine.Mode{"normal"}, To: "failover", When: 0, Digest: engine.Digest("fail-over" + text), Gate: gate,
				Playbook: engine.Playbook{Steps: []engine.Step{step}},
			},
			{Name: "fall-back", From: []engine.Mode{"failover"}, To: "normal", When: 1, Digest: "fall-back"},
		},
	}
}

// modelInput is one thing that may happen, with how far time moves before it.
type modelInput struct {
	name string
	of   func(s engine.State) engine.Happening
	wait time.Duration
	swap bool // under the other text of the rules
}

// modelInputs are all inputs of the model. With targets there are more states of a change, and less is done beside it: no freeze, no
// requests by hand, nobody who has both roles.
func modelInputs(kind modelKind) []modelInput {
	targets := kind.targets
	var inputs []modelInput
	add := func(name string, wait time.Duration, of func(engine.State) engine.Happening) {
		inputs = append(inputs, modelInput{name: name, of: of, wait: wait})
	}
	if kind.reload {
		inputs = append(inputs, modelInput{"the rules change", func(engine.State) engine.Happening { return &engine.TimePassed{} }, time.Second, true})
	}
	if kind.glass {
		for _, r := range []engine.SetRequested{
			{DirectiveOnly: true}, {DirectiveOnly: true, Roles: []string{engine.RoleBreakGlass}}, {DirectiveOnly: true, Force: true}, {Force: true},
			{Force: true, Roles: []string{engine.RoleBreakGlass}}, {DirectiveOnly: true, Force: true, Roles: []string{engine.RoleBreakGlass}},
		} {
			r.Mode, r.Reason, r.For = "failover", "nobody answers", time.Minute
			name := fmt.Sprintf("root sets failover directive-only=%v force=%v roles=%v", r.DirectiveOnly, r.Force, r.Roles)
			add(name, time.Second, func(engine.State) engine.Happening { return &r })
		}
	}
	for _, dead := range []engine.Truth{engine.False, engine.Unknown, engine.True} {
		seen := []engine.Observation{{Asked: true, Truth: dead, Blind: dead == engine.Unknown}, {Asked: true, Truth: engine.False}}
		add("dead is "+dead.String(), 15*time.Second, func(s engine.State) engine.Happening { return modelObserved(s, seen) })
	}
	add("well", 15*time.Second, func(s engine.State) engine.Happening {
		return modelObserved(s, []engine.Observation{{Asked: true, Truth: engine.False}, {Asked: true, Truth: engine.True}})
	})
	for _, who := range modelPeople {
		if who.person == "erin" && kind.otherwise != engine.OtherwiseEscalate {
			continue
		}
		for _, kind := range []string{"yes", "no", "yes to another digest", "blind yes"} {
			if kind == "blind yes" && who.person != "bob" || targets > 0 && who.person == "dave" {
				continue
			}
			add(who.person+" says "+kind, time.Second, func(s engine.State) engine.Happening { return modelReview(s, who.roles, kind) })
		}
	}
	for _, outcome := range []engine.Outcome{engine.OutcomeDone, engine.OutcomeFailed, engine.OutcomeUnknown} {
		add("the step is "+string(outcome), time.Second, func(s engine.State) engine.Happening {
			if s.Change == nil || s.Change.Running == nil {
				return &engine.StepReported{Step: "repoint", Outcome: outcome} // late, or forged
			}
			r := s.Change.Running
			return &engine.StepReported{Change: r.Change, Step: r.Step.Name, Undo: r.Undo, Attempt: r.Attempt, Outcome: outcome}
		})
	}
	for count := range targets * 4 { // none, as many as approved at first, more, and more than that
		add(fmt.Sprintf("%d targets are found", count), time.Second, func(s engine.State) engine.Happening {
			return modelTargets(s, count)
		})
	}
	add("the gate's time is over", 15*time.Minute, func(engine.State) engine.Happening { return &engine.TimePassed{} })
	add("the rest is over", time.Hour, func(engine.State) engine.Happening { return &engine.TimePassed{} })
	if kind == (modelKind{}) {
		add("bob freezes", time.Second, func(engine.State) engine.Happening { return &engine.FreezeRequested{Reason: "holiday"} })
		add("bob releases", time.Second, func(engine.State) engine.Happening { return &engine.UnfreezeRequested{Reason: "over"} })
		add("bob sets failover", time.Second, func(engine.State) engine.Happening {
			return &engine.SetRequested{Mode: "failover", Reason: "drill", For: time.Minute}
		})
	}
	add("bob cancels", time.Second, func(s engine.State) engine.Happening {
		switch {
		case s.Change != nil:
			return &engine.CancelRequested{Change: s.Change.ID, Reason: "no"}
		case len(s.Proposals) > 0:
			return &engine.CancelRequested{Change: s.Proposals[0].ID, Reason: "no"}
		}
		return &engine.CancelRequested{Change: "checkout-1", Reason: "no"}
	})
	for _, as := range []engine.SettledAs{engine.SettledDone, engine.SettledUndone} {
		add("bob settles it as "+string(as), time.Second, func(s engine.State) engine.Happening {
			if s.Change == nil {
				return &engine.SettleRequested{Change: "checkout-1", As: as, Reason: "looked"}
			}
			return &engine.SettleRequested{Change: s.Change.ID, As: as, Reason: "looked"}
		})
	}
	return inputs
}

// modelPeople are those who answer. Bob is who freezes and asks for modes too; mallory has every role the gate does not ask for.
var modelPeople = []struct {
	person string
	roles  []string
}{{"bob", []string{"oncall"}}, {"carol", []string{"lead"}}, {"dave", []string{"oncall", "lead"}}, {"mallory", []string{"viewer"}}, {"erin", []string{"commander"}}}

func modelObserved(s engine.State, seen []engine.Observation) engine.Happening {
	at := s.At.Add(15 * time.Second).Truncate(15 * time.Second)
	return &engine.Observed{Instant: at, Prev: at.Add(-15 * time.Second), Conditions: seen}
}

// modelTargets says what the selector finds.
func modelTargets(s engine.State, count int) engine.Happening {
	r := &engine.TargetsReported{Step: "repoint", Count: count, Names: []string{"a", "b", "c"}[:count]}
	if s.Change != nil && s.Change.Running != nil {
		r.Change, r.Attempt = s.Change.Running.Change, s.Change.Running.Attempt
	}
	return r
}

// modelReview answers the proposal that waits, or the last one that ended.
func modelReview(s engine.State, roles []string, kind string) engine.Happening {
	r := &engine.ReviewGiven{Proposal: "checkout-3", Yes: kind != "no", Blind: kind == "blind yes", Roles: roles, Reason: "looked", Digest: "0123456789"}
	switch {
	case len(s.Proposals) > 0:
		r.Proposal, r.Digest = s.Proposals[0].ID, s.Proposals[0].Digest
	case len(s.Resting) > 0:
		r.Proposal, r.Digest = s.Resting[0].ID, s.Resting[0].Digest
	}
	if kind == "yes to another digest" {
		r.Digest = "0123456789"
	}
	return r
}

// model is a state of the core with what its history has to be remembered for.
type model struct {
	state engine.State
	yes   map[string]string // to the proposal that waits as it is now: role by person
	asked string            // who asked for it by hand
	most  int               // targets they were asked about
	sight engine.Truth      // what was seen of the condition last
	blind bool              // somebody said yes to that it cannot be seen, and it could not be seen since
	wider bool              // further people were asked, who may answer instead
	glass bool              // the change under way is somebody's who broke the glass
	text  int               // of the rules
	dead  bool              // the last proposal was denied, expired or withdrawn, and none was made since
	path  []string
}

// key is what tells two models apart: everything but names of events and absolute times, which only grow.
func (m model) key() string {
	s := m.state
	at := s.At
	class := func(t time.Time) time.Duration {
		if t.IsZero() {
			return -1
		}
		// What is over is over; what is to come matters by the order of the classes of time.
		return min(max(t.Sub(at), -1), time.Hour).Truncate(15 * time.Second)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %v %s dead=%v %v %v %v %v %d", s.Mode, s.Target, m.yes, m.asked, m.dead, m.sight, m.blind, m.wider, m.glass, m.text)
	for _, p := range s.Proposals {
		fmt.Fprintf(&b, " P(%v %s blind=%s requested=%v held=%d %v)", p.Votes, class(p.Until), p.BlindBy, p.Requester != nil, p.Targets, p.Escalated)
	}
	for _, r := range s.Resting {
		fmt.Fprintf(&b, " R(%s %v %v %v %s)", r.Transition, r.Over, at.Sub(r.Since) >= r.Retry.After, r.Digest != "", r.Retry.Digest)
	}
	if c := s.Change; c != nil {
		fmt.Fprintf(&b, " C(%s %d %v %v %v %v %v)", c.Transition, c.Next, c.Running != nil, len(c.Did), c.Undoing, c.Stuck, c.Why)
		if c.Running != nil {
			fmt.Fprintf(&b, "%v%d%v%d", c.Running.Undo, c.Running.Attempt-c.Spared, c.Running.Finding, len(c.Running.Targets))
		}
		if c.Approved != nil && c.Next < len(c.Plan.Steps) {
			fmt.Fprintf(&b, " T(%v %v %d)", c.Asks, len(c.Approved.Votes), c.Plan.Steps[c.Next].Targets.Max)
		}
	}
	for _, c := range s.Clocks {
		fmt.Fprintf(&b, " %s=%v/%v", c.Condition, c.Truth, c.Truth == engine.False && at.Sub(c.Since) >= 30*time.Second)
	}
	fmt.Fprintf(&b, " pin=%v freeze=%v past=%d", s.Pin != nil, s.Freeze != nil, min(len(s.Past), 1))
	if n := len(s.Past); n > 0 {
		fmt.Fprintf(&b, "/%s/%d", s.Past[n-1].Transition, len(s.Past[n-1].Did))
	}
	return b.String()
}

// next is what follows from an input, judged: it fails the test when a destructive step starts that must not.
func (m model) next(t *testing.T, texts [2]engine.Policy, in modelInput) model {
	t.Helper()
	if in.swap {
		m.text = 1 - m.text
	}
	p := texts[m.text]
	what := in.of(m.state)
	at := m.state.At.Add(in.wait)
	if o, ok := what.(*engine.Observed); ok {
		at = o.Instant
	}
	who := "bob"
	if name, _, ok := strings.Cut(in.name, " says "); ok {
		who = name
	} else if strings.HasPrefix(in.name, "root ") {
		who = "root"
	}
	events := engine.Decide(p, m.state, engine.Input{At: at, By: engine.Actor{Principal: who, Person: who}, What: what})
	n := m
	n.path = append(slices.Clip(m.path), in.name)
	if o, ok := what.(*engine.Observed); ok {
		n.sight = o.Conditions[0].Truth
		n.blind = n.blind && n.sight == engine.Unknown
	}
	for _, e := range events {
		n.state = engine.Apply(n.state, e)
		switch f := e.Fact.(type) {
		case engine.ChangeProposed:
			n.yes, n.dead, n.blind, n.wider, n.asked, n.most = nil, false, false, false, "", f.Plan.Steps[0].Targets.Max
			if f.Proposal.Requester != nil {
				n.asked = f.Proposal.Requester.Person
			}
		case engine.ProposalRenewed:
			n.yes, n.blind = nil, false
			n.most = max(n.most, f.Targets)
		case engine.ApprovalGranted:
			if r, ok := what.(*engine.ReviewGiven); !ok || !r.Yes || r.Digest == "0123456789" || n.dead {
				t.Fatalf("a yes is recorded that nobody gave: %v", n.path)
			}
			n.blind = n.blind || f.Blind
			if f.Blind && (m.sight != engine.Unknown || m.asked != "") {
				t.Fatalf("a yes counts as blind, and the condition is %v: %v", m.sight, n.path)
			}
			yes := map[string]string{f.Person: f.Role}
			for person, role := range n.yes {
				yes[person] = role
			}
			n.yes = yes
		case engine.ProposalDenied, engine.ProposalExpired, engine.ProposalWithdrawn:
			n.yes, n.dead, n.blind = nil, true, false
		case engine.GateEscalated:
			n.wider = len(f.Groups) > 0
		case engine.ChangeStarted:
			n.glass = slices.ContainsFunc(events, func(e engine.Event) bool { return e.Kind() == "GlassBroken" })
			r, set := what.(*engine.SetRequested)
			if n.glass != f.Forced || n.glass && (!set || !r.Force || !slices.Contains(r.Roles, engine.RoleBreakGlass)) {
				t.Fatalf("a gate is gone around by who may not, or without a mark: %v", n.path)
			}
			if f.Transition == "" && !n.glass {
				t.Fatalf("a directive only goes around what is declared: %v", n.path)
			}
		case engine.TargetsFound:
			if len(f.Targets) > n.most || n.dead {
				t.Fatalf("a destructive step acts on %d, and people said yes to %d: %v", len(f.Targets), n.most, n.path)
			}
		case engine.StepStarted:
			if f.Undo || !f.Step.Destructive {
				continue
			}
			if n.glass {
				continue
			}
			if n.dead {
				t.Fatalf("a destructive step starts from what was denied, expired or withdrawn: %v", n.path)
			}
			if n.sight == engine.Unknown && !n.blind && n.asked == "" {
				t.Fatalf("a destructive step starts unseen, and nobody said yes to that: %v", n.path)
			}
			roles := map[string]bool{}
			for person, role := range n.yes {
				if person != n.asked {
					roles[role] = true
				}
			}
			if (!roles["oncall"] || !roles["lead"]) && (!n.wider || !roles["commander"]) {
				t.Fatalf("a destructive step starts with %v, asked for by %q: %v", n.yes, n.asked, n.path)
			}
		}
	}
	return n
}

func TestNoPathLeadsFromANoToActing(t *testing.T) {
	searchModel(t, modelKind{}, "frozen", "requested")
}

func TestNoPathLeadsAroundAGateButThroughTheGlass(t *testing.T) {
	searchModel(t, modelKind{glass: true}, "glass", "a directive only")
}

func TestNoPathLeadsFromANoToActingWhereAGateEscalates(t *testing.T) {
	searchModel(t, modelKind{otherwise: engine.OtherwiseEscalate}, "escalated")
}

func TestNoPathLeadsFromANoToActingWhereAGatePages(t *testing.T) {
	searchModel(t, modelKind{otherwise: engine.OtherwisePage}, "paged")
}

func TestNoPathLeadsFromANoToActingWhileTheRulesChange(t *testing.T) {
	searchModel(t, modelKind{reload: true}, "under other rules")
}

func TestNoPathLeadsFromANoToActingOnTargets(t *testing.T) {
	searchModel(t, modelKind{targets: 1}, "held", "held and approved in part", "finding")
}

// searchModel goes through all states. kinds are those that it has to meet, beside what every model has to.
func searchModel(t *testing.T, kind modelKind, kinds ...string) {
	if testing.Short() {
		t.Skip("hundreds of thousands of decisions: once is enough")
	}
	texts := [2]engine.Policy{modelPolicy(kind, ""), modelPolicy(kind, " 2")}
	inputs := modelInputs(kind)
	began := model{}
	for _, e := range engine.Decide(texts[0], engine.State{}, engine.Input{At: time.Unix(0, 0).UTC(), What: &engine.TimePassed{}}) {
		began.state = engine.Apply(began.state, e)
	}
	seen := map[string]bool{began.key(): true}
	met := map[string]int{} // that the model is worth something: how many of its states there are of each kind
	queue := []model{began}
	steps := 0
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		for _, in := range inputs {
			steps++
			n := m.next(t, texts, in)
			if k := n.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, n)
				n.count(met)
			}
		}
		if len(seen) > 1_000_000 {
			b, err := json.Marshal(m.state)
			t.Fatalf("the model does not end: %s %v\n%v", b, err, m.path)
		}
	}
	t.Logf("%d states, %d decisions: %v", len(seen), steps, met)
	for _, kind := range append(kinds, "dead", "approved in part", "acting", "undoing", "stuck", "done") {
		if met[kind] == 0 {
			t.Errorf("the model never meets a state that is %s", kind)
		}
	}
}

func (m model) count(met map[string]int) {
	c := m.state.Change
	for kind, is := range map[string]bool{
		"dead": m.dead, "approved in part": len(m.yes) == 1 && c == nil, "acting": c != nil && c.Running != nil && !c.Running.Undo && !c.Running.Finding,
		"undoing": c != nil && c.Undoing, "stuck": c != nil && c.Stuck, "done": m.state.Mode == "failover",
		"held": c != nil && c.Asks, "held and approved in part": c != nil && c.Asks && len(m.yes) == 1,
		"finding": c != nil && c.Running != nil && c.Running.Finding,
		"glass":   m.glass && c != nil, "a directive only": m.glass && c == nil && len(m.state.Past) > 0 && m.state.Past[len(m.state.Past)-1].Transition == "",
		"escalated": m.wider && len(m.yes) == 1, "under other rules": m.text == 1 && c != nil,
		"paged":  slices.ContainsFunc(m.state.Incidents, func(i engine.Incident) bool { return i.Kind == engine.IncidentGate }),
		"frozen": m.state.Freeze != nil, "requested": len(m.state.Proposals) > 0 && m.asked != "",
	} {
		if is {
			met[kind]++
		}
	}
}
