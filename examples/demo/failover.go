package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
)

// failover is the second act, and what it remembers from step to step.
type failover struct {
	*world
	once    bool   // nobody sits at the terminal: the demo answers by itself
	command string // how people call the command line

	proposal proposal
	since    time.Time // somebody was asked then
	change   string
	before   int    // pages that came earlier
	paidHome uint64 // payments the primary had taken when it was used again
}

const (
	transition = "fail-over"
	// thinking is how long the demo, when it answers by itself, leaves a proposal waiting. Nothing may happen meanwhile.
	thinking = 5 * time.Second
	// calm is for how long nothing may fail before the story believes it.
	calm = 2 * time.Second
)

func (f *failover) kill(ctx context.Context, t *teller) error {
	f.before = len(f.pages())
	t.say(bad, "! %-9s the primary payment gateway dies: %d customers a second cannot pay", "", paying)
	return post(ctx, f.primary.URL()+"/kill")
}

// dead: customers cannot pay, and the primary gives no answer.
func (f *failover) dead() func(context.Context) (sight, error) {
	var before *shop.Visits
	return func(ctx context.Context) (sight, error) {
		p := f.load.Payments()
		if before == nil {
			before = &p
		}
		failed := p.Errors - before.Errors
		if failed < 5 {
			return notYet("%d payments failed", failed)
		}
		if err := post(ctx, f.primary.URL()+"/charges"); err == nil {
			return notYet("the primary gateway answers")
		}
		return sight{ok: true, text: fmt.Sprintf("customers cannot pay: %d payments failed so far", failed), facts: map[string]any{"failed": failed}}, nil
	}
}

// asked: a proposal to fail over waits for somebody on call; it shows both steps, that one of them is destructive and how it
// is taken back. One page told of it and leads to it. Nothing was done.
func (f *failover) asked(ctx context.Context) (sight, error) {
	// In this order: what was done before the mode is read is not the answer to what is read after it.
	if calls := f.router.Record().Calls; len(calls) > 0 {
		return sight{never: true, text: fmt.Sprintf("nobody was asked, and the router was told: %s %s", calls[0].Do, calls[0].Gateway)}, nil
	}
	mode, err := f.api.scopeMode(ctx, scope)
	if err != nil {
		return sight{}, err
	}
	if mode == "failover" {
		return sight{never: true, text: "the shop is in mode failover, and nobody was asked"}, nil
	}
	waiting, err := f.api.proposals(ctx)
	if err != nil {
		return sight{}, err
	}
	if len(waiting) != 1 || waiting[0].Transition != transition || waiting[0].To != "failover" {
		return notYet("%d proposals wait", len(waiting))
	}
	p, err := f.api.proposal(ctx, waiting[0].ID)
	if err != nil {
		return sight{}, err
	}
	if fault := incompleteProposal(p, f.router.URL()); fault != "" {
		return sight{never: true, text: "the proposal does not say all that has to be known: " + fault}, nil
	}
	if err := f.api.readPage(ctx, f.people.oncall, p); err != nil {
		return sight{}, err
	}
	switch pages := f.newPages(); {
	case len(pages) == 0:
		return notYet("no page has arrived")
	case len(pages) > 1:
		return tooMany(pages), nil
	case !slices.Contains(pages[0].Links, f.api.page(p)):
		return notYet("the page has no link to the proposal")
	}
	burn, err := f.prom.paymentsBurnRate(ctx, "12s")
	if err != nil {
		return sight{}, err
	}
	if burn <= 10 {
		return notYet("the burn rate of payments is %.1f", burn)
	}
	left, told := p.budget("payments")
	switch {
	case !told || left.Unknown != "":
		return sight{never: true, text: "the proposal does not say how long the budget of payments lasts: " + left.Unknown}, nil
	case left.Burn <= 10:
		return notYet("the proposal says that payments burn their budget at %.1f", left.Burn)
	case f.month && left.Lasts == "" || left.Lasts == "" && left.Remaining > 0:
		return sight{never: true, text: fmt.Sprintf("the proposal says that %g of the budget of payments is left, and not how long that lasts", left.Remaining)}, nil
	}
	f.proposal, f.since = p, time.Now()
	return sight{
		ok:   true,
		text: "failing over is destructive and waits for somebody on call; " + left.clock(),
		facts: map[string]any{"proposal": p.ID, "digest": p.Digest, "page": f.api.page(p), "burn_rate": burn,
			"budget": left.SLO, "remaining": left.Remaining, "lasts": left.Lasts},
	}, nil
}

// incompleteProposal says what a proposal lacks; empty when it is as the rules have it.
func incompleteProposal(p proposal, router string) string {
	switch {
	case len(p.Digest) < 8:
		return "it has no digest"
	case len(p.Missing) != 1 || p.Missing[0].Role != "oncall" || p.Missing[0].Count != 1:
		return fmt.Sprintf("it waits for %v", p.Missing)
	case len(p.Steps) != 2 || p.Steps[0].Name != "warm" || p.Steps[1].Name != "repoint":
		return fmt.Sprintf("its steps are %v", p.Steps)
	case !p.Destructive || p.Irreversible || p.Steps[0].Destructive || !p.Steps[1].Destructive:
		return "its destructive step is not marked"
	case !strings.Contains(p.Steps[1].Does, router+"/repoint") || !strings.Contains(p.Steps[1].Undo, router+"/repoint"):
		return "it does not show what would be called"
	}
	return ""
}

// ask tells whoever sits at the terminal how to answer.
func (f *failover) ask(_ context.Context, t *teller) error {
	lines := []string{
		"Approve it from the command line:",
		"  " + f.approveCommand(f.command, f.proposal),
		"or on the page, where one signs in with the token in " + f.people.oncall.file + ":",
		"  " + f.api.page(f.proposal),
	}
	if f.once {
		lines = append(lines, fmt.Sprintf("Nobody is waited for: %s, who is on call, says yes in %v.", f.people.oncall.name, thinking))
	}
	t.block(lines...)
	return nil
}

// approved: somebody on call said yes, by the log, and until then nothing was done.
func (f *failover) approved() func(context.Context) (sight, error) {
	said := false
	return func(ctx context.Context) (sight, error) {
		// The router's record first: what it holds already was done by then.
		calls := f.router.Record().Calls
		events, err := f.api.history(ctx, scope)
		if err != nil {
			return sight{}, err
		}
		for _, e := range events {
			switch e.Kind {
			case "ApprovalGranted", "ProposalDenied", "ProposalExpired", "ProposalWithdrawn":
			default:
				continue
			}
			a, err := fact[answerFact](e)
			if err != nil {
				return sight{}, err
			}
			switch {
			case a.Proposal != f.proposal.ID:
			case e.Kind != "ApprovalGranted":
				return sight{never: true, text: fmt.Sprintf("%s is no more: %s: %s", a.Proposal, e.Kind, e.Reason.Text)}, nil
			case a.Person != f.people.oncall.name || a.Role != f.people.oncall.role:
				return sight{never: true, text: fmt.Sprintf("the yes of %s as %s counted, who is not on call", a.Person, a.Role)}, nil
			default:
				return sight{
					ok:    true,
					text:  fmt.Sprintf("%s, who is %s, said yes: %s", a.Person, a.Role, e.Reason.Text),
					facts: map[string]any{"person": a.Person, "role": a.Role, "waited_seconds": time.Since(f.since).Seconds()},
				}, nil
			}
		}
		if len(calls) > 0 {
			return sight{never: true, text: fmt.Sprintf("nobody said yes, and the router was told: %s %s", calls[0].Do, calls[0].Gateway)}, nil
		}
		if f.once && time.Since(f.since) >= thinking && !said {
			err := f.api.post(ctx, f.people.oncall, "/api/v1/approvals/"+f.proposal.ID+"/review",
				map[string]any{"verdict": "yes", "digest": f.proposal.Digest[:8], "reason": "the primary is dead"})
			if err != nil {
				return sight{}, err
			}
			said = true
			return notYet("the yes was sent")
		}
		p, err := f.api.proposal(ctx, f.proposal.ID)
		if err != nil {
			return sight{}, err
		}
		left, err := time.ParseDuration(p.Left)
		if err != nil {
			return sight{}, err
		}
		b, _ := p.budget("payments")
		return notYet("nothing is done without a yes; %s left for it; %s", left.Truncate(10*time.Second), b.clock())
	}
}

// failedOver: the mode is settled, by the approved proposal; the log has each step done once and the verification true; the
// router was told each thing once, under a key of its own.
func (f *failover) failedOver(ctx context.Context) (sight, error) {
	if s, ok := f.told("warm backup", "repoint backup"); !ok {
		return s, nil
	}
	mode, err := f.api.scopeMode(ctx, scope)
	if err != nil || mode != "failover" {
		return sight{text: "modeshift says mode " + mode}, err
	}
	_, started, err := f.api.lastChange(ctx, scope)
	if err != nil {
		return sight{}, err
	}
	if started.Transition != transition || started.To != "failover" || started.Proposal != f.proposal.ID {
		return sight{never: true, text: fmt.Sprintf("the shop failed over by %s of %q, and not by %s", started.Change, started.Proposal, f.proposal.ID)}, nil
	}
	done, verified, err := f.did(ctx, started.Change, false)
	if err != nil {
		return sight{}, err
	}
	if got := strings.Join(done, ", "); got != "warm, repoint" || verified == "" {
		return notYet("of %s the log says done: %s; verified: %t", started.Change, got, verified != "")
	}
	if s, ok := f.all("failover"); !ok {
		return s, nil
	}
	f.change = started.Change
	return sight{
		ok:    true,
		text:  fmt.Sprintf("%s: the backup is warm, payments are repointed, once each, and that helped: %s", f.change, verified),
		facts: map[string]any{"change": f.change, "steps": done, "verified": verified, "calls": len(f.router.Record().Calls)},
	}, nil
}

// did are the steps of a change that the log says were carried out, or taken back, in order; verified is what ended it.
func (f *failover) did(ctx context.Context, change string, undo bool) (steps []string, verified string, err error) {
	events, err := f.api.history(ctx, scope)
	if err != nil {
		return nil, "", err
	}
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.Kind != "StepDone" && e.Kind != "ChangeDone" {
			continue
		}
		s, err := fact[stepFact](e)
		switch {
		case err != nil:
			return nil, "", err
		case s.Change != change:
		case e.Kind == "ChangeDone" && e.Reason.Code == "verify":
			verified = e.Reason.Text
		case e.Kind == "StepDone" && s.Undo == undo:
			steps = append(steps, s.Step)
		}
	}
	return steps, verified, nil
}

// told reports whether the router was told exactly this, each thing once and under a key of its own. Nothing crashed in this
// story, so even a repetition that the key makes harmless is a fault.
func (f *failover) told(want ...string) (sight, bool) {
	r := f.router.Record()
	var got []string
	keys := map[string]bool{}
	for _, c := range r.Calls {
		got = append(got, c.Do+" "+c.Gateway)
		if c.Requests != 1 || keys[c.Key] {
			return sight{never: true, text: fmt.Sprintf("the router was told %d times under the key %s: %s %s", c.Requests, c.Key, c.Do, c.Gateway)}, false
		}
		if !c.OK {
			return sight{text: fmt.Sprintf("the router tries: %s %s", c.Do, c.Gateway)}, false
		}
		keys[c.Key] = true
	}
	text := "the router was told: " + strings.Join(got, ", ")
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return sight{never: true, text: text + "; wanted: " + strings.Join(want, ", ")}, false
		}
	}
	return sight{text: text}, len(got) == len(want)
}

// paid: for a while no payment failed and the backup took them, though the primary is still dead.
func (f *failover) paid() func(context.Context) (sight, error) {
	steady := f.steady(f.backup)
	return func(ctx context.Context) (sight, error) {
		if s, ok := f.told("warm backup", "repoint backup"); !ok {
			return s, nil
		}
		payments, s := steady()
		if payments == 0 {
			return s, nil
		}
		if err := post(ctx, f.primary.URL()+"/charges"); err == nil {
			return notYet("the primary gateway is not dead")
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%d payments through the backup without a failure, though the primary is still dead", payments),
			facts: map[string]any{"payments": payments, "failed": 0},
		}, nil
	}
}

// steady counts the payments that a gateway took since the last one failed anywhere; 0 while that is not long ago, and the
// sight says so.
func (f *failover) steady(g *shop.Gateway) func() (payments uint64, s sight) {
	type mark struct {
		at    time.Time
		paid  shop.Visits
		taken uint64
	}
	var since *mark
	return func() (uint64, sight) {
		now := &mark{time.Now(), f.load.Payments(), g.Charges()}
		if since == nil || now.paid.Errors > since.paid.Errors {
			since = now
		}
		taken := now.taken - since.taken
		if now.at.Sub(since.at) < calm || taken < paying {
			return 0, sight{text: fmt.Sprintf("%d payments, none failed for %v", taken, now.at.Sub(since.at).Round(100*time.Millisecond))}
		}
		return taken, sight{}
	}
}

func (f *failover) revive(ctx context.Context, t *teller) error {
	t.say(shift, "! %-9s the primary gateway is mended", "")
	return post(ctx, f.primary.URL()+"/revive")
}

// revived: the primary answers, ten times of ten; nobody uses it yet, since nobody asked for that.
func (f *failover) revived(ctx context.Context) (sight, error) {
	for range 10 {
		if err := post(ctx, f.primary.URL()+"/charges"); err != nil {
			return sight{}, err
		}
	}
	if s, ok := f.told("warm backup", "repoint backup"); !ok {
		return s, nil
	}
	f.paidHome = f.primary.Charges()
	return sight{ok: true, text: "the primary answers again; payments stay with the backup until somebody says otherwise", facts: map[string]any{"answers": 10}}, nil
}

// takeBack asks for the undo, or says how that is done.
func (f *failover) takeBack(ctx context.Context, t *teller) error {
	t.block("Take the fail-over back:", "  "+f.undoCommand(f.command, f.change))
	if !f.once {
		return nil
	}
	t.say(shift, "! %-9s %s, an operator, asks for the undo", "", f.people.operator.name)
	return f.api.post(ctx, f.people.operator, "/api/v1/scopes/"+scope+"/changes/"+f.change+"/undo", map[string]any{"reason": "the primary is back"})
}

// undone: somebody asked for it, by the log; the step that can be taken back was, once; the mode before is settled, and each
// instance took it.
func (f *failover) undone(ctx context.Context) (sight, error) {
	if s, ok := f.told("warm backup", "repoint backup", "repoint primary"); !ok {
		return s, nil
	}
	events, err := f.api.history(ctx, scope)
	if err != nil {
		return sight{}, err
	}
	by, back := "", ""
	for _, e := range events {
		if e.Kind != "UndoStarted" && e.Kind != "ChangeUndone" {
			continue
		}
		switch s, err := fact[stepFact](e); {
		case err != nil:
			return sight{}, err
		case s.Change != f.change:
		case e.Kind == "UndoStarted":
			by = e.Cause.Principal
		default:
			back = e.Reason.Text
		}
	}
	if by == "" || back == "" {
		return notYet("the undo of %s: asked for by %q, over: %t", f.change, by, back != "")
	}
	taken, _, err := f.did(ctx, f.change, true)
	if err != nil {
		return sight{}, err
	}
	if got := strings.Join(taken, ", "); got != "repoint" {
		return notYet("of %s the log says taken back: %s", f.change, got)
	}
	mode, err := f.api.scopeMode(ctx, scope)
	if err != nil || mode != "normal" {
		return sight{text: "modeshift says mode " + mode}, err
	}
	if s, ok := f.all("normal"); !ok {
		return s, nil
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("%s asked for it: %s is undone, once; %s", by, f.change, back),
		facts: map[string]any{"change": f.change, "by": by, "mode": mode, "calls": len(f.router.Record().Calls)},
	}, nil
}

// home: for a while no payment failed and the primary took them; the one page is resolved; nothing else was done.
func (f *failover) home() func(context.Context) (sight, error) {
	steady := f.steady(f.primary)
	return func(ctx context.Context) (sight, error) {
		if s, ok := f.told("warm backup", "repoint backup", "repoint primary"); !ok {
			return s, nil
		}
		payments, s := steady()
		if payments == 0 {
			return s, nil
		}
		if taken := f.primary.Charges() - f.paidHome; taken < payments {
			return notYet("the primary took %d payments", taken)
		}
		burn, err := f.prom.paymentsBurnRate(ctx, "4s")
		if err != nil || burn > 0 {
			return sight{text: fmt.Sprintf("the burn rate of payments is %.1f", burn)}, err
		}
		pages := f.newPages()
		if len(pages) != 1 {
			return tooMany(pages), nil
		}
		if pages[0].Resolved.IsZero() {
			return notYet("the page is still open")
		}
		if s, ok := f.all("normal"); !ok {
			return s, nil
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%d payments through the primary without a failure; the page is resolved", payments),
			facts: map[string]any{"payments": payments, "failed": 0, "key": pages[0].Key},
		}, nil
	}
}

// newPages are the pages of the second act.
func (f *failover) newPages() []receiver.Alert { return f.pages()[f.before:] }
