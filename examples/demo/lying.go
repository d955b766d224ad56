package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
)

// The steps of the story of a Prometheus that lies, beside those that others have too.
const (
	stepLying    = "lying"    // Prometheus stores answers as errors; no visitor meets one
	stepLooked   = "looked"   // somebody compares what the services count themselves
	stepFrozen   = "frozen"   // they freeze automation
	stepDenied   = "denied"   // they say no to what is proposed; nothing moves
	stepReleased = "released" // the lie is mended, and automation released
)

// lie is a mistake in how Prometheus relabels what it scrapes: good answers are stored as bad ones.
var lie = []prometheus.Relabel{{Label: "code", Match: "200", Value: "503"}}

// liar is the story, and what it remembers from step to step.
type liar struct {
	*product
	counted map[string]float64 // errors by instance, as counted when the lie began
}

func lyingPrometheus(ctx context.Context, s *stage, o Options) (*play, error) {
	if o.Prometheus != nil {
		return nil, errors.New("only the embedded Prometheus can be made to lie")
	}
	p, err := startProduct(ctx, s, o, shop.ServiceRules, nil)
	if err != nil {
		return nil, err
	}
	l := &liar{product: p}
	return p.play(
		step{name: stepLying, act: l.begin, seen: l.lies()},
		step{name: stepMoved, seen: p.moves},
		step{name: stepAsked, seen: p.asked},
		step{name: stepLooked, act: l.look, seen: l.looked()},
		step{name: stepFrozen, people: true, act: p.asks("First of all, nothing more shall move by itself:", l.freezing, l.freeze), seen: l.frozen},
		step{name: stepDenied, people: true, act: p.asks("Say no, and why:", l.refusing, l.refuse), seen: l.denied},
		step{name: stepMended, act: l.end, seen: l.mended},
		step{name: stepReleased, people: true, act: p.asks("Prometheus can be believed again:", l.releasing, l.release), seen: l.released},
		step{name: stepRecovered, seen: l.recovered},
		step{name: stepResolved, seen: l.resolved},
	), nil
}

// relabel reloads Prometheus with these rules for all services.
func (l *liar) relabel(rules []prometheus.Relabel) error {
	jobs := slices.Clone(l.jobs)
	for i := range jobs {
		jobs[i].Relabel = rules
	}
	return l.scraper.Reload(jobs)
}

func (l *liar) begin(_ context.Context, t *teller) error {
	t.say(bad, "! %-9s a mistake in Prometheus's relabelling: from now on every answer with code 200 is stored as one with 503", "")
	return l.relabel(lie)
}

// count takes down how many errors the instances have counted themselves, once.
func (l *liar) count(ctx context.Context) error {
	if l.counted != nil {
		return nil
	}
	counted := map[string]float64{}
	for _, v := range l.services {
		for _, one := range v.shops {
			n, err := countedErrors(ctx, one)
			if err != nil {
				return err // it is looked at again
			}
			counted[one.Name()] = n
		}
	}
	l.counted = counted
	return nil
}

// lies: Prometheus says that every service burns its budget, and no visitor of any meets an error.
func (l *liar) lies() func(context.Context) (sight, error) {
	well := steady(l.all)
	return func(ctx context.Context) (sight, error) {
		if err := l.count(ctx); err != nil {
			return sight{}, err
		}
		visitors, s := well()
		least, _, err := l.burns(ctx, "12s", l.services...)
		if err != nil || least <= 10 {
			return sight{text: fmt.Sprintf("the least burn rate is %.1f over 12s", least)}, err
		}
		if visitors == 0 {
			return s, nil
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("Prometheus says that all %d services burn, the least at %.0f; of %d visitors none met an error", len(l.services), least, visitors),
			facts: map[string]any{"burn_rate": least, "visitors": visitors, "errors": 0},
		}, nil
	}
}

func (l *liar) look(_ context.Context, t *teller) error {
	v := l.kept[0]
	t.block(
		"All of them at once, and no deploy anywhere: is it true? What is measured, and what the service says of itself:",
		"  "+l.as(l.command, l.people.operator, "status"),
		"  "+l.as(l.command, l.people.operator, "evaluate "+v.name),
		fmt.Sprintf("  curl -s '%s/api/v1/query?query=http_requests_total{job=\"%s\"}'", l.promURL, v.name),
		fmt.Sprintf("  curl -s %s/metrics | grep ^http_requests_total", v.shops[0].URL()),
		fmt.Sprintf("  curl -si %s/product/1 | head -1", v.shops[0].URL()),
	)
	return nil
}

// looked: while Prometheus still says that they burn, the instances themselves have counted no error since it began, and no
// visitor meets one. Meanwhile nothing else has moved.
func (l *liar) looked() func(context.Context) (sight, error) {
	well := steady(l.all)
	return func(ctx context.Context) (sight, error) {
		if s, err := l.unmoved(ctx); err != nil || s.never {
			return s, err
		}
		visitors, s := well()
		if visitors == 0 {
			return s, nil
		}
		instances := 0
		for _, v := range l.services {
			for _, one := range v.shops {
				n, err := countedErrors(ctx, one)
				if err != nil {
					return sight{}, err
				}
				if more := n - l.counted[one.Name()]; more > 0 {
					return sight{never: true, text: fmt.Sprintf("%s counts %g errors itself: it is no lie", one.Name(), more)}, nil
				}
				instances++
			}
		}
		least, _, err := l.burns(ctx, "4s", l.services...)
		if err != nil || least <= 10 {
			return sight{text: fmt.Sprintf("the least burn rate is %.1f over 4s", least)}, err
		}
		return sight{
			ok: true,
			text: fmt.Sprintf("it is not: Prometheus says a burn rate of %.0f, all %d instances count no error themselves, and %d visitors met none",
				least, instances, visitors),
			facts: map[string]any{"burn_rate": least, "instances": instances, "visitors": visitors, "errors": 0},
		}, nil
	}
}

const (
	whyFreeze  = "Prometheus stores 200 as 503"
	whyNo      = "it is not true: the services count no errors themselves"
	whyRelease = "the relabelling is mended"
)

func (l *liar) freezing() []string {
	return []string{l.as(l.command, l.people.operator, fmt.Sprintf("freeze --reason '%s' --for 1h", whyFreeze))}
}

func (l *liar) freeze(ctx context.Context) error {
	return l.api.post(ctx, l.people.operator, "/api/v1/scopes/fleet/freeze", map[string]any{"reason": whyFreeze, "for": "1h"})
}

// frozen: automation is, everywhere.
func (l *liar) frozen(ctx context.Context) (sight, error) {
	all, err := l.api.scopes(ctx)
	if err != nil {
		return sight{}, err
	}
	for _, v := range l.services {
		if !all[v.name].Frozen {
			return notYet("%s is not frozen", v.name)
		}
	}
	return sight{ok: true, text: "automation is frozen everywhere", facts: map[string]any{"services": len(l.services)}}, nil
}

func (l *liar) refusing() (lines []string) {
	for _, v := range l.kept {
		lines = append(lines, l.as(l.command, l.people.operator, fmt.Sprintf("reject %s --reason '%s'", l.proposals[v.name].ID, whyNo)))
	}
	return lines
}

func (l *liar) refuse(ctx context.Context) error {
	for _, v := range l.kept {
		w := l.proposals[v.name]
		if err := l.api.post(ctx, l.people.operator, "/api/v1/approvals/"+w.ID+"/review", map[string]any{"verdict": "no", "digest": w.Digest[:8], "reason": whyNo}); err != nil {
			return err
		}
	}
	return nil
}

// denied: by the log somebody said no to each proposal, and why; for a while none waits any more and nothing has moved, though
// Prometheus says what it said.
func (l *liar) denied(ctx context.Context) (sight, error) {
	least, _, err := l.burns(ctx, "4s", l.services...)
	if err != nil || least <= 10 {
		return sight{text: fmt.Sprintf("the least burn rate is %.1f over 4s", least)}, err
	}
	if s, err := l.unmoved(ctx); err != nil || s.never {
		return s, err
	}
	why, last := "", time.Time{}
	for _, v := range l.kept {
		e, ended, err := l.answer(ctx, v)
		switch {
		case err != nil:
			return sight{}, err
		case !ended:
			return notYet("%s waits", l.proposals[v.name].ID)
		case e.Kind != "ProposalDenied" || e.Cause.Principal == "":
			return sight{never: true, text: fmt.Sprintf("%s was not denied by anybody: %s: %s", l.proposals[v.name].ID, e.Kind, e.Reason.Text)}, nil
		}
		why = e.Reason.Text
		if e.At.After(last) {
			last = e.At
		}
	}
	if held := time.Since(last); held < calm {
		return notYet("nothing has moved for %v", held.Round(100*time.Millisecond))
	}
	waiting, err := l.api.proposals(ctx)
	if err != nil || len(waiting) > 0 {
		return sight{text: fmt.Sprintf("%d proposals wait", len(waiting))}, err
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("%s says no to all %d: %s; nothing has moved", l.people.operator.name, len(l.kept), why),
		facts: map[string]any{"denied": len(l.kept), "reason": why},
	}, nil
}

// answer is the event that ended the proposal about a service.
func (p *product) answer(ctx context.Context, v *service) (e event, ended bool, err error) {
	events, err := p.api.history(ctx, v.name)
	if err != nil {
		return event{}, false, err
	}
	for _, e := range events {
		switch e.Kind {
		case "ApprovalGranted", "ProposalDenied", "ProposalExpired", "ProposalWithdrawn":
		default:
			continue
		}
		a, err := fact[answerFact](e)
		if err != nil || a.Proposal == p.proposals[v.name].ID {
			return e, err == nil, err
		}
	}
	return event{}, false, nil
}

func (l *liar) end(_ context.Context, t *teller) error {
	t.say(shift, "! %-9s the relabelling is mended", "")
	return l.relabel(nil)
}

// mended: Prometheus says that nothing burns.
func (l *liar) mended(ctx context.Context) (sight, error) {
	if s, err := l.unmoved(ctx); err != nil || s.never {
		return s, err
	}
	_, most, err := l.burns(ctx, "12s", l.services...)
	if err != nil || most > 0 {
		return sight{text: fmt.Sprintf("a burn rate is %.1f over 12s", most)}, err
	}
	return sight{ok: true, text: "Prometheus says what the services say: nothing burns", facts: map[string]any{"burn_rate": most}}, nil
}

func (l *liar) releasing() []string {
	return []string{l.as(l.command, l.people.operator, fmt.Sprintf("unfreeze --reason '%s'", whyRelease))}
}

func (l *liar) release(ctx context.Context) error {
	return l.api.post(ctx, l.people.operator, "/api/v1/scopes/fleet/unfreeze", map[string]any{"reason": whyRelease})
}

func (l *liar) released(ctx context.Context) (sight, error) {
	all, err := l.api.scopes(ctx)
	if err != nil {
		return sight{}, err
	}
	for _, v := range l.services {
		if all[v.name].Frozen {
			return notYet("%s is frozen", v.name)
		}
	}
	return sight{ok: true, text: "automation goes on", facts: map[string]any{"services": len(l.services)}}, nil
}

// recovered: the services that had moved went back by themselves; the others never moved.
func (l *liar) recovered(ctx context.Context) (sight, error) {
	if s, err := l.unmoved(ctx); err != nil || s.never {
		return s, err
	}
	if s, err := l.product.recovered(ctx, l.moved...); err != nil || !s.ok {
		return s, err
	}
	if s, ok, err := l.in(ctx, "normal", l.services...); err != nil || !ok {
		return s, err
	}
	return sight{
		ok: true,
		text: fmt.Sprintf("%s go back to normal by themselves (transition recover); %s never left it: of %d services %d were degraded for nothing",
			names(l.moved), names(l.kept), len(l.services), len(l.moved)),
		facts: map[string]any{"recovered": names(l.moved), "never_moved": names(l.kept)},
	}, nil
}
