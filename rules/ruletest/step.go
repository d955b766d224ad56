package ruletest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
	"github.com/modeshift/modeshift/rules"
)

// step is what somebody does at an instant.
type step struct {
	at       time.Duration
	position string
	verb     string // approve, set, …
	about    string // the transition, the mode, the scope
	text     string // as people say it
	scope    engine.Scope
	by       string
	// refused: the core has to say no; with the code of its reason, where that is given.
	refused bool
	code    engine.Code
	what    func(engine.View) (engine.Happening, error)
}

// outcome is what the attempts of an action come to.
type outcome struct {
	action  string
	scope   engine.Scope // empty: of any
	undo    bool
	from    time.Duration
	fails   int // attempts that fail, from the first on
	unknown int // attempts after these of which nobody knows what came of them
	takes   time.Duration
	never   bool
}

// maxAttempts bounds how many attempts a test speaks of.
const maxAttempts = 1000

// found is what a step's selector finds.
type found struct {
	action string
	from   time.Duration
	names  []string
}

// verbs are what a step may do: the key that says so, and what its value names.
var verbs = []string{"approve", "reject", "set", "unpin", "freeze", "unfreeze", "cancel", "undo", "settle", "action", "targets"}

// stepShape is what a step is called, by its verb.
func stepShape(verb string) string { return "a step that says " + verb }

// step reads one step.
func (p *reading) step(t *Test, n rules.Node) {
	if !n.IsMapping() {
		p.Errorf(n, "write for example `{at: 6m, approve: fail-over, by: ann}`", "a step must be a mapping, not %s", n.Is())
		return
	}
	verb := ""
	for _, v := range verbs { // an action, which may say undo, comes last
		if n.Has(v) {
			verb = v
		}
	}
	switch verb {
	case "":
		hint := "a step has one of: " + strings.Join(verbs, ", ")
		for _, k := range n.Keys() {
			if near := k.Nearest(verbs...); near != "" {
				hint = near
			}
		}
		p.Errorf(n, hint, "the step does not say what is done")
	case "action":
		p.action(t, n)
	case "targets":
		p.targets(t, n)
	default:
		p.request(t, n, verb)
	}
}

// request reads what a person asks for.
func (p *reading) request(t *Test, n rules.Node, verb string) {
	s := step{verb: verb, by: "somebody", position: p.Position(n)}
	var about rules.Node
	var (
		reason              = "a test"
		lasts               time.Duration
		via, as             string
		directive, force    bool
		blind, hasScope, ok bool
		role                []string
	)
	fields := []rules.Field{
		rules.Required("at", p.setDuration(&s.at, "at")),
		rules.Required(verb, func(n rules.Node) { about = n; s.about, _ = p.Text(n, verb) }),
		rules.Optional("by", func(n rules.Node) { s.by, _ = p.Text(n, "by") }),
		rules.Optional("reason", func(n rules.Node) { reason, _ = p.Text(n, "the reason") }),
		rules.Optional("refused", func(n rules.Node) {
			if n.Tag() == "!!bool" {
				s.refused, _ = p.Boolean(n, "refused")
				return
			}
			code, _ := p.Text(n, "refused")
			s.refused, s.code = true, engine.Code(code)
		}),
	}
	scoped := verb != "unpin" && verb != "freeze" && verb != "unfreeze"
	if scoped {
		fields = append(fields, rules.Optional("scope", func(n rules.Node) { s.scope, hasScope = p.scope(n) }))
	}
	roles := rules.Optional("role", func(n rules.Node) {
		if n.IsList() {
			p.List(n, "role", func(n rules.Node) {
				if r, ok := p.Text(n, "a role"); ok {
					role = append(role, r)
				}
			})
			return
		}
		if r, ok := p.Text(n, "the role"); ok {
			role = []string{r}
		}
	})
	switch verb {
	case "approve":
		fields = append(fields, roles, rules.Optional("blind", func(n rules.Node) { blind, _ = p.Boolean(n, "blind") }))
	case "reject":
		fields = append(fields, roles)
	case "set":
		fields = append(fields, roles,
			rules.Optional("for", p.setPositive(&lasts, "for")),
			rules.Optional("via", func(n rules.Node) { via, _ = p.Text(n, "via") }),
			rules.Optional("directive_only", func(n rules.Node) { directive, _ = p.Boolean(n, "directive_only") }),
			rules.Optional("force", func(n rules.Node) { force, _ = p.Boolean(n, "force") }))
	case "freeze":
		fields = append(fields, rules.Optional("for", p.setPositive(&lasts, "for")))
	case "settle":
		fields = append(fields, rules.Required("as", func(n rules.Node) { as, _ = p.OneOf(n, "as", "done", "undone") }))
	}
	if !p.Mapping(n, stepShape(verb), fields...) || s.about == "" {
		return
	}
	if !scoped {
		if s.scope = engine.Scope(s.about); s.about == string(engine.Fleet) && verb != "unpin" {
			ok = true
		} else {
			_, ok = p.scope(about)
		}
	} else if s.scope, ok = p.scopeOf(about, verb, s.scope, hasScope); ok && via != "" {
		ok = p.transition(about, s.scope, via)
	}
	if !ok {
		return
	}
	s.text = fmt.Sprintf("%s %s", verb, s.about)
	s.what = func(v engine.View) (engine.Happening, error) {
		switch verb {
		case "approve", "reject":
			i := slices.IndexFunc(v.State.Proposals, func(p engine.Proposal) bool { return p.Transition == s.about })
			if i < 0 {
				return nil, fmt.Errorf("%s does not wait for anybody's yes", s.about)
			}
			p := v.State.Proposals[i]
			as := role
			if as == nil {
				as = asked(p)
			}
			return &engine.ReviewGiven{Proposal: p.ID, Digest: p.Digest, Yes: verb == "approve", Blind: blind, Roles: as, Reason: reason}, nil
		case "set":
			return &engine.SetRequested{Mode: engine.Mode(s.about), Reason: reason, For: lasts, Via: via, DirectiveOnly: directive, Force: force, Roles: role}, nil
		case "unpin":
			return &engine.UnpinRequested{Reason: reason}, nil
		case "freeze":
			return &engine.FreezeRequested{Reason: reason, For: lasts}, nil
		case "unfreeze":
			return &engine.UnfreezeRequested{Reason: reason}, nil
		case "settle", "cancel":
			id := underWay(v.State, s.about)
			if id == "" {
				return nil, fmt.Errorf("no change of %s is under way", s.about)
			}
			if verb == "settle" {
				return &engine.SettleRequested{Change: id, As: engine.SettledAs(as), Reason: reason}, nil
			}
			return &engine.CancelRequested{Change: id, Reason: reason}, nil
		default:
			past := v.State.Past
			i := len(past) - 1
			for i >= 0 && past[i].Transition != s.about {
				i--
			}
			if i < 0 {
				return nil, fmt.Errorf("%s has not been carried out", s.about)
			}
			return &engine.UndoRequested{Change: past[i].ID, Reason: reason}, nil
		}
	}
	t.steps = append(t.steps, s)
}

// asked are the roles that a proposal may be answered in.
func asked(p engine.Proposal) (roles []string) {
	for _, g := range append(p.Gate.Groups[:len(p.Gate.Groups):len(p.Gate.Groups)], p.Gate.To...) {
		roles = append(roles, g.Role)
	}
	return roles
}

// underWay is the change, or else the proposal, of a transition.
func underWay(s engine.State, transition string) engine.ChangeID {
	if s.Change != nil && s.Change.Transition == transition {
		return s.Change.ID
	}
	for _, p := range s.Proposals {
		if p.Transition == transition {
			return p.ID
		}
	}
	return ""
}

// scopeOf finds the scope that a step is about, and checks that it declares what the step names: a mode for `set`, else a transition.
func (p *reading) scopeOf(n rules.Node, verb string, scope engine.Scope, given bool) (engine.Scope, bool) {
	what, about := "transition", n.Value()
	if verb == "set" {
		what = "mode"
	}
	var known, having []string
	for _, s := range p.file.set.Services {
		if given && s.Policy.Scope != scope {
			continue
		}
		list := modesOf(s)
		if what == "transition" {
			list = transitionsOf(s)
		}
		known = append(known, list...)
		if slices.Contains(list, about) {
			having = append(having, string(s.Policy.Scope))
		}
	}
	switch len(having) {
	case 0:
		p.Errorf(n, p.Choose(about, known, ""), "there is no %s %q", what, about)
		return "", false
	case 1:
		return engine.Scope(having[0]), true
	}
	p.Errorf(n, "add `scope: "+having[0]+"`", "%s have a %s %q: say which is meant", strings.Join(having, " and "), what, about)
	return "", false
}

func (p *reading) transition(n rules.Node, scope engine.Scope, name string) bool {
	list := transitionsOf(p.file.set.Service(scope))
	if !slices.Contains(list, name) {
		p.Errorf(n, p.Choose(name, list, ""), "%s has no transition %q", scope, name)
		return false
	}
	return true
}

func modesOf(s *rules.Service) (list []string) {
	for i := range s.Policy.Modes {
		list = append(list, string(s.Policy.Modes[i].Name))
	}
	return list
}

func transitionsOf(s *rules.Service) (list []string) {
	for i := range s.Policy.Transitions {
		list = append(list, s.Policy.Transitions[i].Name)
	}
	return list
}

// action reads what the attempts of an action come to.
func (p *reading) action(t *Test, n rules.Node) {
	o := &outcome{}
	p.Mapping(n, stepShape("action"),
		rules.Required("action", func(n rules.Node) { o.action = p.actionName(n) }),
		rules.Optional("at", p.setDuration(&o.from, "at")),
		rules.Optional("scope", func(n rules.Node) { o.scope, _ = p.scope(n) }),
		rules.Optional("undo", func(n rules.Node) { o.undo, _ = p.Boolean(n, "undo") }),
		rules.Optional("fails", func(n rules.Node) { o.fails = p.Integer(n, "fails", 1, maxAttempts) }),
		rules.Optional("unknown", func(n rules.Node) { o.unknown = p.Integer(n, "unknown", 1, maxAttempts) }),
		rules.Optional("takes", p.setDuration(&o.takes, "takes")),
		rules.Optional("never", func(n rules.Node) { o.never, _ = p.Boolean(n, "never") }))
	t.outcomes = append(t.outcomes, o)
}

// targets reads what a step's selector finds.
func (p *reading) targets(t *Test, n rules.Node) {
	f := &found{}
	p.Mapping(n, stepShape("targets"),
		rules.Required("targets", func(n rules.Node) { f.action = p.actionName(n) }),
		rules.Optional("at", p.setDuration(&f.from, "at")),
		rules.Required("found", func(n rules.Node) {
			p.List(n, "found", func(n rules.Node) {
				if name, ok := p.Text(n, "a target"); ok {
					f.names = append(f.names, name)
				}
			})
		}))
	t.finds = append(t.finds, f)
}

// actionName reads the name of an action that some transition has.
func (p *reading) actionName(n rules.Node) string {
	name, ok := p.Text(n, "the name of an action")
	if !ok {
		return ""
	}
	var known []string
	for _, s := range p.file.set.Services {
		for i := range s.Policy.Transitions {
			for _, step := range s.Policy.Transitions[i].Playbook.Steps {
				known = append(known, step.Name)
			}
		}
	}
	if !slices.Contains(known, name) {
		p.Errorf(n, p.Choose(name, slices.Compact(known), "no transition of these rules has actions"), "no transition has an action %q", name)
		return ""
	}
	return name
}

// comesTo is what an attempt comes to by what the test says of its action: the last word said by then counts. What nothing is said
// of is done at once.
func (t *Test) comesTo(job engine.StepJob, now time.Duration) rehearse.Outcome {
	var o *outcome
	for _, one := range t.outcomes {
		if one.action == job.Step.Name && one.undo == job.Undo && one.from <= now && (one.scope == "" || one.scope == job.Scope) && (o == nil || one.from >= o.from) {
			o = one
		}
	}
	switch {
	case o == nil:
		return rehearse.Outcome{}
	case o.never:
		return rehearse.Outcome{Never: true}
	case job.Attempt <= o.fails:
		return rehearse.Outcome{Outcome: engine.OutcomeFailed, Detail: "the test says so", After: o.takes}
	case job.Attempt <= o.fails+o.unknown:
		return rehearse.Outcome{Outcome: engine.OutcomeUnknown, Detail: "the test says so", After: o.takes}
	}
	return rehearse.Outcome{After: o.takes}
}

// find is what a step's selector finds by what the test says.
func (t *Test) find(job engine.StepJob, now time.Duration) ([]string, error) {
	var f *found
	for _, one := range t.finds {
		if one.action == job.Step.Name && one.from <= now && (f == nil || one.from >= f.from) {
			f = one
		}
	}
	if f == nil {
		return nil, fmt.Errorf("the test does not say which targets %s has: add to its steps `{targets: %[1]s, found: [NAME, …]}`", job.Step.Name)
	}
	return f.names, nil
}

// do carries out a step. It returns what is wrong with what came of it; empty when nothing is.
func (s *step) do(ctx context.Context, r *rehearse.Rehearsal) (problem string, err error) {
	v, _ := r.View(s.scope)
	what, err := s.what(v)
	if err != nil {
		return err.Error(), nil
	}
	events, err := r.Do(ctx, s.scope, engine.Actor{Principal: s.by, Person: s.by}, what)
	var refusal engine.Reason
	var refused *loop.Error
	switch {
	case errors.As(err, &refused) && refused.Code() == "refused":
		refusal = refused.Reason
	case err != nil:
		return "", err
	}
	for _, e := range events {
		if _, no := e.Fact.(engine.ApprovalRefused); no {
			refusal = e.Reason
		}
	}
	switch {
	case refusal.Code == "" && s.refused:
		return "was not refused", nil
	case refusal.Code != "" && !s.refused:
		return fmt.Sprintf("was refused (%s): %s", refusal.Code, refusal.Text), nil
	case s.code != "" && refusal.Code != s.code:
		return fmt.Sprintf("was refused for another reason (%s): %s", refusal.Code, refusal.Text), nil
	}
	return "", nil
}
