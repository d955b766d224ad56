package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modeshift/modeshift/examples/shop"
)

// The steps of the story of an outage that several services share, beside those that others have too.
const (
	stepHalf     = "half"     // visitors of what was moved are well, those of what is withheld are not
	stepBelow    = "below"    // somebody contains the product; all services below follow before the next tick
	stepDeploy   = "deploy"   // a bad deploy of one of them, meanwhile
	stepReturned = "returned" // the product is let go; who may goes back, who still burns stays protected
)

// outage is the story, and what it remembers from step to step.
type outage struct {
	*product
	sick *service // has a bad deploy as well
}

func sharedOutage(ctx context.Context, s *stage, o Options) (*play, error) {
	p, err := startProduct(ctx, s, o, shop.ServiceRules, nil)
	if err != nil {
		return nil, err
	}
	u := &outage{product: p}
	return p.play(
		step{name: stepBroken, act: u.breakAll, seen: u.broken()},
		step{name: stepMoved, seen: p.moves},
		step{name: stepAsked, seen: p.asked},
		step{name: stepHalf, act: u.look, seen: u.half()},
		step{name: stepBelow, people: true, act: p.asks("Contain the product, and all services below are protected at once:", u.containing, u.contain), seen: u.contained()},
		step{name: stepDeploy, act: u.deploy, seen: u.deployed()},
		step{name: stepMended, act: u.mend, seen: u.mended},
		step{name: stepReturned, people: true, act: p.asks("The outage is over. Let the product go:", u.releasing, u.release), seen: u.returned()},
		step{name: stepRepaired, act: u.rollBack, seen: u.repaired()},
		step{name: stepResolved, seen: p.resolved},
	), nil
}

func (u *outage) breakAll(ctx context.Context, t *teller) error {
	t.say(bad, "! %-9s the recommendations break, which all services show: %.0f %% of all calls to them fail from now on", "", 100*brokenShare)
	return post(ctx, fmt.Sprintf("%s/break?share=%g", u.backend.URL(), brokenShare))
}

// meets counts the errors that the visitors of services met since it was first asked.
func meets() func(list ...*service) map[*service]uint64 {
	before := map[*service]uint64{}
	return func(list ...*service) map[*service]uint64 {
		met := map[*service]uint64{}
		for _, v := range list {
			n := v.load.Visits().Errors
			if _, seen := before[v]; !seen {
				before[v] = n
			}
			met[v] = n - before[v]
		}
		return met
	}
}

// broken: the visitors of every service meet errors.
func (u *outage) broken() func(context.Context) (sight, error) {
	met := meets()
	return func(context.Context) (sight, error) {
		var all uint64
		for v, n := range met(u.services...) {
			if n < 2 {
				return notYet("visitors of %s met %d errors", v.name, n)
			}
			all += n
		}
		return sight{ok: true, text: fmt.Sprintf("visitors of all %d services meet errors: %d so far", len(u.services), all), facts: map[string]any{"errors": all}}, nil
	}
}

func (u *outage) look(_ context.Context, t *teller) error {
	v := u.kept[0]
	t.block(
		"Is it true this time? The services say so themselves, and what they have in common does not answer:",
		fmt.Sprintf("  curl -s %s/metrics | grep ^http_requests_total", v.shops[0].URL()),
		fmt.Sprintf("  curl -si '%s/recommendations?product=lamp' | head -1", u.backend.URL()),
		"  "+u.as(u.command, u.people.operator, "approvals"),
	)
	return nil
}

// half: visitors of the services that were moved meet no error any more, since these do not ask for recommendations; those of the
// others do, for nobody has said yes yet.
func (u *outage) half() func(context.Context) (sight, error) {
	well, met := steady(func() []*service { return u.moved }), meets()
	return func(ctx context.Context) (sight, error) {
		if s, err := u.unmoved(ctx); err != nil || s.never {
			return s, err
		}
		var errors uint64
		for v, n := range met(u.kept...) {
			if n == 0 {
				return notYet("visitors of %s meet no errors", v.name)
			}
			errors += n
		}
		visitors, s := well()
		if visitors == 0 {
			return s, nil
		}
		return sight{
			ok: true,
			text: fmt.Sprintf("it is: %d visitors of %s met no error, as these leave the recommendations out; those of %s met %d meanwhile",
				visitors, names(u.moved), names(u.kept), errors),
			facts: map[string]any{"visitors": visitors, "errors_of_the_others": errors},
		}, nil
	}
}

const (
	whyContain = "the recommendations are down for all"
	whyLetGo   = "the recommendations are back"
)

func (u *outage) containing() []string {
	return []string{u.as(u.command, u.people.operator, fmt.Sprintf("set %s contained --directive-only --reason '%s'", shop.Product, whyContain))}
}

func (u *outage) contain(ctx context.Context) error {
	return u.setProduct(ctx, "contained", whyContain)
}

func (u *outage) setProduct(ctx context.Context, mode, why string) error {
	return u.api.post(ctx, u.people.operator, "/api/v1/scopes/"+shop.Product+"/set", map[string]any{"mode": mode, "reason": why, "directive_only": true})
}

// contained: the product is; by their logs all services that were not moved yet followed from what was said above them and not from
// a tick of their own; those that were are left alone. Nobody is asked any more, and for a while no visitor of any meets an error,
// though the recommendations are still broken.
func (u *outage) contained() func(context.Context) (sight, error) {
	well := steady(u.all)
	return func(ctx context.Context) (sight, error) {
		above, err := u.api.scopeMode(ctx, shop.Product)
		if err != nil || above != "contained" {
			return sight{text: fmt.Sprintf("modeshift says that %s is in mode %s", shop.Product, above)}, err
		}
		set, _, err := u.api.lastChange(ctx, shop.Product)
		if err != nil {
			return sight{}, err
		}
		var slowest time.Duration
		for _, v := range u.kept {
			e, c, err := u.api.lastChange(ctx, v.name)
			if err != nil { // its history has no change yet
				return sight{}, err
			}
			if c.Imposed != shop.Product || c.To != "degraded" {
				return sight{never: true, text: fmt.Sprintf("%s is moved by %q of %q, and not by what is above it", v.name, c.Transition, e.Cause.Principal)}, nil
			}
			if e.Cause.Input != "ancestor moved" {
				return sight{never: true, text: fmt.Sprintf("%s waited for its next tick: %s, %v later", v.name, e.Cause.Input, e.At.Sub(set.At))}, nil
			}
			slowest = max(slowest, e.At.Sub(set.At))
		}
		for _, v := range u.moved {
			if s, err := u.shed(ctx, v); err != nil || !s.ok {
				return s, err
			}
		}
		if s, ok, err := u.in(ctx, "degraded", u.services...); err != nil || !ok {
			return s, err
		}
		waiting, err := u.api.proposals(ctx)
		if err != nil || len(waiting) > 0 {
			return sight{text: fmt.Sprintf("%d proposals wait", len(waiting))}, err
		}
		visitors, s := well()
		if visitors == 0 {
			return s, nil
		}
		if u.answers(ctx, 2) == nil { // every second call fails
			return notYet("the recommendations are not broken")
		}
		return sight{
			ok: true,
			text: fmt.Sprintf("%s contains the product: %s follow %.0f ms later, without a tick or a yes of their own; %d visitors met no error, though the recommendations are still broken",
				set.Cause.Principal, names(u.kept), 1000*slowest.Seconds(), visitors),
			facts: map[string]any{"by": set.Cause.Principal, "followed": names(u.kept), "after_seconds": slowest.Seconds(), "visitors": visitors},
		}, nil
	}
}

func (u *outage) deploy(ctx context.Context, t *teller) error {
	u.sick = u.kept[0]
	t.say(bad, "! %-9s meanwhile a bad deploy of %s: %.0f %% of its pages fail in whatever mode", "", u.sick.name, 100*brokenShare)
	for _, one := range u.sick.shops {
		if err := post(ctx, fmt.Sprintf("%s/break?share=%g", one.URL(), brokenShare)); err != nil {
			return err
		}
	}
	return nil
}

// deployed: visitors of the service meet errors though it is degraded; Prometheus says that it burns its budget, by both windows, and
// a page about it is open.
func (u *outage) deployed() func(context.Context) (sight, error) {
	met := meets()
	return func(ctx context.Context) (sight, error) {
		if errors := met(u.sick)[u.sick]; errors < visiting {
			return notYet("visitors of %s met %d errors", u.sick.name, errors)
		}
		return u.burnsOn(ctx)
	}
}

func (u *outage) burnsOn(ctx context.Context) (sight, error) {
	var least float64
	for i, window := range []string{"12s", "4s"} {
		burn, err := u.prom.burnRate(ctx, u.sick.name, window)
		if err != nil || burn <= 10 {
			return sight{text: fmt.Sprintf("the burn rate of %s is %.1f over %s", u.sick.name, burn, window)}, err
		}
		if i == 0 || burn < least {
			least = burn
		}
	}
	if pages := u.pagesOf(u.sick); !pages[len(pages)-1].Resolved.IsZero() {
		return notYet("no page about %s is open", u.sick.name)
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("%s burns though it is degraded, at %.0f, and a page about it is open", u.sick.name, least),
		facts: map[string]any{"service": u.sick.name, "burn_rate": least},
	}, nil
}

func (u *outage) mend(ctx context.Context, t *teller) error {
	t.say(shift, "! %-9s the recommendations are mended", "")
	return post(ctx, u.backend.URL()+"/mend")
}

// mended: the recommendations answer, and of the outage nothing burns any more; nothing moves, for what is imposed holds.
func (u *outage) mended(ctx context.Context) (sight, error) {
	if err := u.answers(ctx, 10); err != nil {
		return sight{}, err
	}
	if _, most, err := u.burns(ctx, "12s", u.others()...); err != nil || most > 1 {
		return sight{text: fmt.Sprintf("a burn rate is %.1f over 12s", most)}, err
	}
	if s, ok, err := u.in(ctx, "degraded", u.services...); err != nil || !ok {
		return sight{never: err == nil, text: s.text + ", though the product is contained"}, err
	}
	return sight{ok: true, text: "the recommendations answer again; all services stay degraded while the product is contained", facts: map[string]any{"answers": 10}}, nil
}

// answers asks for recommendations n times, and returns the first error.
func (u *outage) answers(ctx context.Context, n int) error {
	for range n {
		if err := request(ctx, http.MethodGet, u.backend.URL()+"/recommendations?product="+shop.ProbeProduct); err != nil {
			return err
		}
	}
	return nil
}

func (u *outage) releasing() []string {
	return []string{
		u.as(u.command, u.people.operator, fmt.Sprintf("set %s normal --directive-only --reason '%s'", shop.Product, whyLetGo)),
		u.as(u.command, u.people.operator, fmt.Sprintf("unpin %s --reason '%s'", shop.Product, whyLetGo)),
	}
}

func (u *outage) release(ctx context.Context) error {
	if err := u.setProduct(ctx, "normal", whyLetGo); err != nil {
		return err
	}
	return u.api.post(ctx, u.people.operator, "/api/v1/scopes/"+shop.Product+"/unpin", map[string]any{"reason": whyLetGo})
}

// returned: those that only the product held go back to their own mode; the one whose own rules would have it degraded stays so;
// those that had moved by themselves recover by their own transition.
func (u *outage) returned() func(context.Context) (sight, error) {
	calm := steady(u.others)
	return func(ctx context.Context) (sight, error) {
		above, err := u.api.scopeMode(ctx, shop.Product)
		if err != nil || above != "normal" {
			return sight{text: fmt.Sprintf("modeshift says that %s is in mode %s", shop.Product, above)}, err
		}
		events, err := u.api.history(ctx, u.sick.name)
		if err != nil {
			return sight{}, err
		}
		why := ""
		for _, e := range events { // the newest first, down to what the product began
			if e.Kind == "ModeKept" {
				why = e.Reason.Text
			}
			if e.Kind != "ChangeStarted" {
				continue
			}
			c, err := fact[changeFact](e)
			if err != nil {
				return sight{}, err
			}
			if c.Imposed == "" {
				return sight{never: true, text: fmt.Sprintf("%s burns, and was moved to %s: %s", u.sick.name, c.To, e.Reason.Text)}, nil
			}
			break
		}
		if why == "" {
			return notYet("%s is still held by the product", u.sick.name)
		}
		back := []string{}
		for _, v := range u.kept {
			if v == u.sick {
				continue
			}
			e, c, err := u.api.lastChange(ctx, v.name)
			if err != nil || !c.Returns {
				return sight{text: v.name + " is still held by the product"}, err
			}
			if c.To != "normal" || e.Cause.Principal != "" {
				return sight{never: true, text: fmt.Sprintf("%s goes back to %s", v.name, c.To)}, nil
			}
			back = append(back, v.name)
		}
		if s, err := u.recovered(ctx, u.moved...); err != nil || !s.ok {
			return s, err
		}
		if s, ok, err := u.in(ctx, "normal", u.others()...); err != nil || !ok {
			return s, err
		}
		if s, ok, err := u.in(ctx, "degraded", u.sick); err != nil || !ok {
			return s, err
		}
		if visitors, s := calm(); visitors == 0 {
			return s, nil
		}
		return sight{
			ok: true,
			text: fmt.Sprintf("%s go back with the product, %s by their own rules; %s stays degraded, for it burns: %s",
				strings.Join(back, " and "), names(u.moved), u.sick.name, why),
			facts: map[string]any{"returned": strings.Join(back, ", "), "recovered": names(u.moved), "protected": u.sick.name, "reason": why},
		}, nil
	}
}

// others are all services but the one with the bad deploy.
func (u *outage) others() (list []*service) {
	for _, v := range u.services {
		if v != u.sick {
			list = append(list, v)
		}
	}
	return list
}

func (u *outage) rollBack(ctx context.Context, t *teller) error {
	t.say(shift, "! %-9s the deploy of %s is rolled back", "", u.sick.name)
	for _, one := range u.sick.shops {
		if err := post(ctx, one.URL()+"/mend"); err != nil {
			return err
		}
	}
	return nil
}

// repaired: the last service recovers by its own rules, and for a while no visitor of any met an error.
func (u *outage) repaired() func(context.Context) (sight, error) {
	well := steady(u.all)
	return func(ctx context.Context) (sight, error) {
		if s, err := u.recovered(ctx, u.sick); err != nil || !s.ok {
			return s, err
		}
		if s, ok, err := u.in(ctx, "normal", u.services...); err != nil || !ok {
			return s, err
		}
		visitors, s := well()
		if visitors == 0 {
			return s, nil
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%s recovers by itself; all services are in mode normal, and %d visitors met no error", u.sick.name, visitors),
			facts: map[string]any{"service": u.sick.name, "visitors": visitors},
		}, nil
	}
}
