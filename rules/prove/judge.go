package prove

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// Property is something that is proved.
type Property string

// The properties, in the order in which they are reported.
const (
	WayBack  Property = "way-back"
	Gate     Property = "gate"
	Livelock Property = "livelock"
	Wait     Property = "wait"
	AfterNo  Property = "after-no"
	Unknown  Property = "unknown"
)

// Says is the property in words.
func (p Property) Says() string {
	return map[Property]string{
		WayBack:  "from each mode the first can be reached without force",
		Gate:     "no destructive action starts without its gate",
		Livelock: "no steady input changes modes for ever",
		Wait:     "no two scopes wait for each other",
		AfterNo:  "after denied or expired nothing acts",
		Unknown:  "unknown alone moves nothing",
	}[p]
}

// properties are all of them.
var properties = []Property{WayBack, Gate, Livelock, Wait, AfterNo, Unknown}

// violation is that a property does not hold.
type violation struct {
	property Property
	text     string
}

// judge folds events into a state, and says what must not have followed. What it relies on is Apply, and what the rules declare; of Decide
// it believes nothing.
func (m *member) judge(s engine.State, in *engine.Input, events []engine.Event) (engine.State, []violation) {
	var wrong []violation
	fault := func(p Property, format string, args ...any) {
		wrong = append(wrong, violation{p, fmt.Sprintf("%s: ", m.scope) + fmt.Sprintf(format, args...)})
	}
	observed, _ := in.What.(*engine.Observed)
	seen := func(name string) engine.Truth {
		i := slices.IndexFunc(m.policy.Conditions, func(c engine.Condition) bool { return c.Name == name })
		if observed == nil || i < 0 {
			return engine.Unknown
		}
		return observed.Conditions[i].Truth
	}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.ApprovalGranted:
			r, review := in.What.(*engine.ReviewGiven)
			p, waits := waiting(&s, f.Proposal)
			switch {
			case !waits:
				fault(AfterNo, "a yes counts to %s, which does not wait", f.Proposal)
				return s, wrong // Apply would not know what to do with it
			case !review || !r.Yes || r.Proposal != f.Proposal || r.Digest == "" || !strings.HasPrefix(string(p.Digest), string(r.Digest)) || !slices.Contains(r.Roles, f.Role):
				fault(Gate, "a yes of %s counts that nobody gave", f.Person)
			}
		case engine.ChangeStarted:
			m.judgeStart(&s, &f, e.Reason, seen, fault)
		case engine.UndoStarted:
			if n := len(s.Past); e.Reason.Code == engine.CodeUntil && n > 0 && seen(s.Past[n-1].Until) != engine.True {
				fault(Unknown, "%s is taken back, and %s is %s", f.Change, s.Past[n-1].Until, seen(s.Past[n-1].Until))
			}
		case engine.ChangeFailed:
			if c := s.Change; e.Reason.Code == engine.CodeVerify && c != nil {
				name := c.Verify
				if name == "" && c.Plan.Rollout != nil {
					name = c.Plan.Rollout.Verify
				}
				if seen(name) != engine.False {
					fault(Unknown, "%s fails, and %s is %s", f.Change, name, seen(name))
				}
			}
		case engine.StepStarted:
			if !f.Undo {
				m.judgeStep(&s, f.Change, f.Step, fault)
			}
		case engine.TargetsFound:
			m.judgeStep(&s, f.Change, f.Step, fault)
		case engine.DirectivePublished:
			if f.Directive.Mode != s.Target && (s.Change == nil || f.Change != s.Change.ID) {
				fault(Unknown, "%s → %s, and no change is under way that leads there", s.Target, f.Directive.Mode)
			}
		}
		s = engine.Apply(s, e)
	}
	return s, wrong
}

// judgeStart says what is wrong with a change that starts.
func (m *member) judgeStart(s *engine.State, f *engine.ChangeStarted, why engine.Reason, seen func(string) engine.Truth, fault func(Property, string, ...any)) {
	t := m.by[f.Transition]
	if t == nil || f.Forced {
		return
	}
	condition := m.policy.Conditions[t.When].Name
	p, waits := waiting(s, f.Proposal)
	switch {
	case t.Gate == nil:
		for _, of := range t.Playbook.Steps {
			if of.Destructive && f.Proposal == "" {
				fault(Gate, "%s starts, %s is destructive, and nobody is asked", t.Name, of.Name)
			}
		}
	case f.Proposal == "":
		fault(Gate, "%s starts, and nobody was asked", t.Name)
	case !waits && slices.ContainsFunc(s.Resting, func(r engine.Rest) bool { return r.ID == f.Proposal }):
		fault(AfterNo, "%s starts by %s, which has ended", t.Name, f.Proposal)
	case !waits:
		fault(Gate, "%s starts by %s, which does not wait", t.Name, f.Proposal)
	case !satisfied(t.Gate, p):
		fault(Gate, "%s starts, and not all have said yes whom its gate asks", t.Name)
	case p.Requester == nil && !p.Expiry && p.BlindBy == "" && m.truth(s, p) != engine.True:
		fault(Unknown, "%s starts, and %s is %s", t.Name, condition, m.truth(s, p))
	}
	if why.Code == engine.CodeCondition && seen(condition) != engine.True {
		fault(Unknown, "%s starts, and %s is %s", t.Name, condition, seen(condition))
	}
}

// judgeStep says what is wrong with a step that starts, or goes out with what it acts on.
func (m *member) judgeStep(s *engine.State, change engine.ChangeID, of engine.Step, fault func(Property, string, ...any)) {
	c := s.Change
	if c != nil && c.Asks {
		i := slices.IndexFunc(s.Proposals, func(p engine.Proposal) bool { return p.Change == c.ID })
		switch {
		case i < 0:
			fault(AfterNo, "%s goes on, and the yes it waited for did not come", of.Name)
		case !satisfied(&s.Proposals[i].Gate, &s.Proposals[i]):
			fault(Gate, "%s goes on, and not all have said yes to as many targets", of.Name)
		}
	}
	if of.Destructive && (c == nil || c.ID != change || !c.Gated) {
		fault(Gate, "%s is destructive and starts, and no gate let its change through", of.Name)
	}
}

func waiting(s *engine.State, id engine.ChangeID) (*engine.Proposal, bool) {
	for i := range s.Proposals {
		if s.Proposals[i].ID == id {
			return &s.Proposals[i], true
		}
	}
	return nil, false
}
