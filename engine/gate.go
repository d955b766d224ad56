package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// minDigest is how much of a digest has to be given to say which proposal was looked at.
const minDigest = 8

// RoleBreakGlass is the role of whoever may go around a gate.
const RoleBreakGlass = "break-glass"

// String writes a group as files and people do: oncall:1.
func (g Group) String() string { return fmt.Sprintf("%s:%d", g.Role, g.Count) }

// list writes things between commas.
func list[T fmt.Stringer](things []T) string {
	words := make([]string, len(things))
	for i, t := range things {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

// move names what a proposal or change is about: checkout: degraded → failover (fail-over).
func (d *decision) move(from, to Mode, transition string) string {
	text := fmt.Sprintf("%s: %s → %s", d.p.Scope, from, to)
	if transition != "" {
		text += " (" + transition + ")"
	}
	return text
}

// summary is what people are asked about.
func (d *decision) summary(p *Proposal) string { return d.move(p.From, p.To, p.Transition) }

// propose asks people for their yes to t. A person who asks for the move brings their request, automation none.
func (d *decision) propose(t *Transition, g *Gate, r *SetRequested, why Reason, evidence []Reading) {
	plan := d.plan(t, t.To)
	p := Proposal{
		ID: ChangeID(d.next()), Transition: t.Name, From: d.s.Target, To: t.To, Digest: digestOf(t, d.s, plan),
		Gate: *g, Until: d.in.At.Add(g.Within), Retry: d.retry(t), Braked: t.Gate == nil,
	}
	p.Expiry = r == nil && why.Code == CodeTooLong
	if r != nil {
		by := d.in.By
		p.Requester, p.Reason, p.Pin = &by, r.Reason, pinFor(r)
	}
	proposed := ChangeProposed{Proposal: p, Plan: plan, Severity: t.Severity}
	if o, ok := d.in.What.(*Observed); ok && t.For == 0 {
		cond := &d.p.Conditions[t.When]
		proposed.Clock = &Clock{Condition: cond.Name, Digest: cond.Digest, Truth: o.Conditions[t.When].Truth, Since: o.Instant}
	}
	inc, told := d.joined(t, t.Severity)
	if told = told && loud(t) && !p.Braked; told { // what the brake withholds is told by whoever withholds it
		proposed.Incident = inc.ID
	}
	d.emit(proposed, why.Code, why.Text, evidence)
	if told {
		waits := "waits for " + list(p.Gate.Groups)
		d.emit(IncidentUpdated{Incident: inc.ID, Severity: inc.Severity, Note: d.summary(&p) + " " + waits, Proposal: p.ID}, CodeGate, waits, nil)
	}
}

// proposeReady asks people about every gated transition that is ready, not asked about yet, and kept from it by nothing.
func (d *decision) proposeReady(o *Observed) {
	for i := range d.p.Transitions {
		t := &d.p.Transitions[i]
		if t.Gate == nil || !d.ready(o, t) || d.obstacle(t).Code != "" {
			continue
		}
		if _, waits := d.s.proposal(t.Name); waits {
			continue
		}
		if w, was := d.s.withheld(t.Name); was {
			d.emit(WithholdingEnded{Transition: w.Transition}, CodeProposed, "", nil)
		}
		d.propose(t, t.Gate, nil, Reason{CodeCondition, d.held(o, t)}, o.Conditions[t.When].Readings)
	}
}

// withdrawFalse withdraws what nobody needs any more: a condition that was false for two intervals.
func (d *decision) withdrawFalse(o *Observed) {
	for _, p := range d.s.Proposals {
		t := d.p.transition(p.Transition)
		if p.Requester != nil || p.Expiry || d.moot(&p) || o.Conditions[t.When].Truth != False {
			continue
		}
		cond := &d.p.Conditions[t.When]
		if c := d.s.clock(cond.Name); c.Truth == False && o.Instant.Sub(c.Since) >= 2*d.p.Interval {
			text := fmt.Sprintf("%s was false for %v", cond.Text, o.Instant.Sub(c.Since))
			d.withdraw(p, CodeNotReady, text)
			if p.Change != "" {
				d.abandon(p, Reason{CodeNotReady, text}, "")
			}
		}
	}
}

func (d *decision) withdraw(p Proposal, code Code, text string) {
	d.emit(ProposalWithdrawn{Proposal: p.ID, Asked: p.asked(), Summary: d.summary(&p) + " was withdrawn"}, code, text, nil)
	d.ended(p, code, fmt.Sprintf("%s was withdrawn", p.ID))
}

// ended ends what only made sense while p waited.
func (d *decision) ended(p Proposal, code Code, text string) {
	if w, was := d.s.withheld(p.Transition); was {
		d.emit(WithholdingEnded{Transition: w.Transition}, code, text, nil)
	}
	for _, k := range []IncidentKind{IncidentGate, IncidentWithheld} {
		if i, open := d.s.Incident(k, p.Transition); open {
			d.resolve(i, code, text, nil)
		}
	}
}

// timeOver is what happens at a gate's last instant. It never says "go ahead".
func (d *decision) timeOver(p Proposal) {
	lack := "approved, and did not start in time"
	if len(p.missing()) > 0 {
		lack = "missing " + p.lack()
	}
	text := fmt.Sprintf("%s after %v", lack, p.Gate.Within)
	if !p.Escalated && (p.Gate.Otherwise == OtherwisePage || p.Gate.Otherwise == OtherwiseEscalate) {
		d.emit(GateEscalated{Proposal: p.ID, Groups: p.Gate.To, Until: p.Until.Add(p.Gate.Within), Summary: d.summary(&p)}, CodeExpired, text, nil)
		if p.Gate.Otherwise == OtherwisePage {
			d.open(Incident{Kind: IncidentGate, Subject: p.Transition, Severity: SeverityPage},
				d.summary(&p)+" waits for "+p.lack(), p.Transition, Reason{CodeExpired, text}, nil)
		}
		return
	}
	d.emit(ProposalExpired{Proposal: p.ID, Asked: p.asked(), Summary: d.summary(&p) + " expired"}, CodeExpired, text, nil)
	d.ended(p, CodeExpired, fmt.Sprintf("%s expired", p.ID))
	if p.Change != "" {
		d.abandon(p, Reason{CodeExpired, text}, "")
	}
}

// renew looks at every proposal again after the rules or the mode changed: what leads nowhere any more is withdrawn, and
// people who said yes to something else are asked again.
func (d *decision) renew(code Code) {
	for _, p := range d.s.Proposals {
		t := d.p.transition(p.Transition)
		switch {
		case p.Change != "":
			continue // its change finishes by the plan it was stored with
		case t == nil || (t.Gate == nil) != p.Braked:
			d.withdraw(p, CodeRules, "the rules do not ask for it any more")
			continue
		case !t.leaves(d.s.Target):
			d.withdraw(p, CodeLeft, fmt.Sprintf("%s was left for %s", p.From, d.s.Target))
			continue
		}
		plan := d.plan(t, t.To)
		digest := digestOf(t, d.s, plan)
		if digest == p.Digest {
			continue
		}
		gate := &p.Gate
		if t.Gate != nil {
			gate = t.Gate
		}
		r := ProposalRenewed{
			Proposal: p.ID, Transition: t.Name, Digest: digest, Gate: *gate, Voided: len(p.Votes), Plan: plan, From: d.s.Target, To: t.To,
			Retry: d.retry(t),
		}
		text := "the transition's text and the plan changed"
		if p.From != d.s.Target {
			text = fmt.Sprintf("the mode it leaves is %s now", d.s.Target)
		} else if code == CodeLeft {
			text = fmt.Sprintf("%s was entered again", d.s.Target)
		}
		d.emit(r, CodeDigest, text, nil)
	}
}

// asked are all groups that were asked.
func (p *Proposal) asked() []Group {
	if p.Escalated {
		return slices.Concat(p.Gate.Groups, p.Gate.To)
	}
	return p.Gate.Groups
}

// review takes one person's answer. It is recorded and effective, or refused with a reason.
func (d *decision) review(r *ReviewGiven) {
	p, refusal := d.proposalOf(r)
	person := d.in.By.String()
	role := ""
	if refusal.Code == "" {
		role, refusal = d.mayReview(p, r, person)
	} else if len(r.Roles) > 0 {
		role = r.Roles[0]
	}
	if refusal.Code != "" {
		id := r.Proposal
		if p != nil {
			id = p.ID
		}
		d.emit(ApprovalRefused{Proposal: id, Person: person, Role: role}, refusal.Code, refusal.Text, nil)
		return
	}
	if !r.Yes {
		d.emit(ProposalDenied{Proposal: p.ID, Person: person, Role: role, Asked: p.asked(), Summary: d.summary(p) + " was denied by " + person}, CodeRejected, r.Reason, nil)
		d.ended(*p, CodeRejected, fmt.Sprintf("%s was denied by %s", p.ID, person))
		if p.Change != "" {
			d.abandon(*p, Reason{CodeRejected, r.Reason}, person)
		}
		return
	}
	granted := ApprovalGranted{Proposal: p.ID, Person: person, Role: role, Digest: p.Digest, Blind: r.Blind && d.unseen(p), Plain: r.Blind && !d.unseen(p)}
	after := *p
	if !p.voted(person) {
		after.Votes = with(p.Votes, Vote{person, role})
	}
	if granted.Missing = after.missing(); len(granted.Missing) == 0 {
		granted.Asked = p.asked()
	}
	d.emit(granted, CodeRequest, r.Reason, nil)
	d.startApproved()
}

// proposalOf finds the proposal a review is for.
func (d *decision) proposalOf(r *ReviewGiven) (*Proposal, Reason) {
	if r.Proposal == "" {
		switch len(d.s.Proposals) {
		case 0:
			for _, rest := range slices.Backward(d.s.ended()) {
				if rest.Digest != "" && strings.HasPrefix(string(rest.Digest), string(r.Digest)) && r.Digest != "" {
					return &Proposal{ID: rest.ID}, Reason{CodeOver, fmt.Sprintf("%s %s", rest.ID, rest.End)}
				}
			}
			return nil, Reason{CodeNoProposal, fmt.Sprintf("nothing waits for a yes in %s", d.p.Scope)}
		case 1:
			p := d.s.Proposals[0]
			return &p, Reason{}
		}
		names := make([]string, len(d.s.Proposals))
		for i, p := range d.s.Proposals {
			names[i] = string(p.ID)
		}
		return nil, Reason{CodeWhich, strings.Join(names, " and ") + " wait: name one"}
	}
	for _, p := range d.s.Proposals {
		if p.ID == r.Proposal {
			return &p, Reason{}
		}
	}
	for _, rest := range d.s.ended() {
		if rest.ID == r.Proposal {
			return nil, Reason{CodeOver, fmt.Sprintf("%s %s", rest.ID, rest.End)}
		}
	}
	return nil, Reason{CodeNoProposal, fmt.Sprintf("%s has no proposal %s that waits", d.p.Scope, r.Proposal)}
}

// mayReview says for which role a person's answer counts, or why it does not.
func (d *decision) mayReview(p *Proposal, r *ReviewGiven, person string) (string, Reason) {
	role := ""
	if len(r.Roles) > 0 {
		role = r.Roles[0]
	}
	if reason := needReason(r.Reason); reason.Code != "" {
		return role, reason
	}
	asked := p.asked()
	lacking := p.missing()
	if p.Escalated {
		lacking = slices.Concat(lacking, p.Gate.To)
	}
	fits := func(groups []Group) string {
		for _, name := range r.Roles {
			if slices.ContainsFunc(groups, func(g Group) bool { return g.Role == name }) {
				return name
			}
		}
		return ""
	}
	switch {
	case len(r.Digest) < minDigest || !strings.HasPrefix(string(p.Digest), string(r.Digest)):
		return role, Reason{CodeDigest, "the proposal is another one now: look at it again"}
	case fits(asked) == "":
		names := make([]string, len(asked))
		for i, g := range asked {
			names[i] = g.Role
		}
		return role, Reason{CodeRole, "the gate asks " + strings.Join(names, " or ")}
	case r.Yes && p.Requester != nil && p.Requester.String() == person:
		return role, Reason{CodeOwnRequest, person + " asked for it"}
	case r.Yes && p.voted(person) && (!r.Blind || !d.unseen(p)):
		return role, Reason{CodeSamePerson, person + " has said yes already"}
	}
	if name := fits(lacking); name != "" {
		return name, Reason{}
	}
	return fits(asked), Reason{}
}

// voted reports whether a person has said yes.
func (p *Proposal) voted(person string) bool {
	return slices.ContainsFunc(p.Votes, func(v Vote) bool { return v.Person == person })
}

// unseen reports whether p needs sight that is not there now. What a person asked for by hand needs none.
func (d *decision) unseen(p *Proposal) bool { return p.Requester == nil && d.truth(p) == Unknown }

// unseenReason is why an approved proposal does not start while that is so.
func (d *decision) unseenReason(p *Proposal) Reason {
	name := "the condition of " + p.Transition
	if t := d.p.transition(p.Transition); t != nil {
		name = d.p.Conditions[t.When].Text
	}
	return Reason{CodeUnknown, name + " cannot be seen: it starts when it can, or with a yes given --blind"}
}

// keep records what keeps an approved proposal from starting.
func (d *decision) keep(p *Proposal, why Reason) {
	if was, held := d.s.withheld(p.Transition); (!held || was.Reason != why) && d.p.transition(p.Transition) != nil {
		d.emit(TransitionWithheld{Transition: p.Transition, To: p.To}, why.Code, why.Text, nil)
	}
}

// voices names who said yes.
func (p *Proposal) voices() string {
	words := make([]string, len(p.Votes))
	for i, v := range p.Votes {
		words[i] = fmt.Sprintf("%s (%s)", v.Person, v.Role)
	}
	if p.BlindBy != "" {
		words = append(words, p.BlindBy+" blind")
	}
	return strings.Join(words, ", ")
}

// startApproved starts the first proposal that has every yes and that nothing keeps; of the others it records what does.
func (d *decision) startApproved() {
	for _, p := range d.s.Proposals {
		if len(p.missing()) > 0 {
			continue
		}
		if p.Change != "" {
			if d.resume(p) {
				return
			}
			continue
		}
		t := d.p.transition(p.Transition)
		if !t.leaves(d.s.Target) || p.Digest != digestOf(t, d.s, d.plan(t, t.To)) {
			continue // this very decision has left the mode they said yes to leaving: renew asks them again at its end
		}
		truth := d.truth(&p)
		why := d.hindrance(t, p.Requester != nil)
		switch {
		case why.Code != "" || p.Requester != nil || p.Expiry:
		case truth == False:
			continue // it starts when it is true again, or is withdrawn
		case truth == Unknown && p.BlindBy == "":
			why = d.unseenReason(&p)
		}
		if why.Code != "" {
			d.keep(&p, why)
			continue
		}
		if _, held := d.s.withheld(t.Name); held {
			d.emit(WithholdingEnded{Transition: t.Name}, CodeStarted, "", nil)
		}
		if p.Requester != nil {
			d.emit(ModePinned{Mode: p.To, Until: d.in.At.Add(p.Pin)}, CodeRequest, p.Reason, nil)
		}
		d.start(t.To, t, Reason{CodeApproved, p.voices()}, nil, &p)
		return // the others are judged anew: the mode they leave may be another one
	}
}

func pinFor(r *SetRequested) time.Duration {
	if r.For == 0 {
		return DefaultPin
	}
	return r.For
}
