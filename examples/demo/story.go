package demo

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/modeshift/modeshift/examples/shop"
)

// The steps of the story, as programs see them.
const (
	stepTraffic   = "traffic"   // good traffic, every instance in mode normal
	stepBroken    = "broken"    // the recommendations break; visitors meet errors
	stepBurning   = "burning"   // the error budget burns too fast
	stepDegraded  = "degraded"  // modeshift shifts the shop, by itself
	stepPaged     = "paged"     // one page arrives
	stepContained = "contained" // the errors stop, because the instances took the mode
	stepMended    = "mended"    // the recommendations answer again
	stepRecovered = "recovered" // modeshift shifts the shop back, and the instances show recommendations again
	stepResolved  = "resolved"  // the page is resolved

	stepGateway  = "gateway"  // the primary payment gateway dies; customers cannot pay
	stepAsked    = "asked"    // modeshift would fail over, which is destructive, and asks
	stepApproved = "approved" // somebody on call says yes; nothing was done before
	stepFailover = "failover" // both steps are carried out, once, and verified
	stepPaid     = "paid"     // customers pay through the backup, though the primary is still dead
	stepRevived  = "revived"  // the primary answers again
	stepUndone   = "undone"   // somebody asks for the undo, and it is carried out, once
	stepHome     = "home"     // customers pay through the primary again; the page is resolved

	stepRefused  = "refused"  // the recommendations break again; the shop is degraded, and one instance of twenty refuses
	stepDiverged = "diverged" // a page about that instance arrives after the grace time
	stepWithheld = "withheld" // all is mended, and the shop does not recover: it is not known who would follow
	stepGaveIn   = "gave-in"  // the instance gives in; its page is resolved
	stepRelapsed = "relapsed" // a recovery meets a fault that no probe sees: it ends at its first wave, and is undone
	stepRepaired = "repaired" // the fault is mended
	stepWaves    = "waves"    // the shop recovers, wave by wave
	stepQuiet    = "quiet"    // all pages are resolved
)

func (w *world) story(o Options) []step {
	f := &failover{world: w, once: o.Once, command: o.Command}
	first := []step{
		{name: stepTraffic, seen: w.traffic()},
		{name: stepBroken, act: w.breakBackend, seen: w.broken()},
		{name: stepBurning, seen: w.burning},
		{name: stepDegraded, seen: w.shifted("degraded", "shed")},
		{name: stepPaged, seen: w.paged},
		{name: stepContained, seen: w.contained()},
		{name: stepMended, act: w.mendBackend, seen: w.mended},
		{name: stepRecovered, seen: w.recovered()},
		{name: stepResolved, seen: w.resolved},
	}
	second := []step{
		{name: stepGateway, act: f.kill, seen: f.dead()},
		{name: stepAsked, seen: f.asked},
		{name: stepApproved, people: true, act: f.ask, seen: f.approved()},
		{name: stepFailover, seen: f.failedOver},
		{name: stepPaid, seen: f.paid()},
		{name: stepRevived, act: f.revive, seen: f.revived},
		{name: stepUndone, people: true, act: f.takeBack, seen: f.undone},
		{name: stepHome, seen: f.home()},
	}
	r := &rollout{world: w, command: o.Command, table: o.Instances}
	third := []step{
		{name: stepRefused, act: r.refuse, seen: r.refused},
		{name: stepDiverged, seen: r.diverged},
		{name: stepWithheld, act: r.mend, seen: r.withheld()},
		{name: stepGaveIn, act: r.giveIn, seen: r.gaveIn},
		{name: stepRelapsed, seen: r.relapsed},
		{name: stepRepaired, act: r.repair, seen: w.mended},
		{name: stepWaves, seen: r.recovered()},
		{name: stepQuiet, seen: r.quiet},
	}
	switch o.act {
	case 1:
		return first
	case 2:
		return append(first[:1], second...)
	case 3:
		return append(first[:1], third...)
	}
	return slices.Concat(first, second, third)
}

// traffic: for a while visitors got answers and no errors, Prometheus says so too, and every instance took mode normal.
func (w *world) traffic() func(context.Context) (sight, error) {
	var since shop.Visits // when the last error was met, such as one of a machine too busy to start quickly
	return func(ctx context.Context) (sight, error) {
		v := w.load.Visits()
		if v.Errors > since.Errors {
			since = v
		}
		if s, ok := w.all("normal"); !ok {
			return s, nil
		}
		mode, err := w.api.scopeMode(ctx, scope)
		if err != nil || mode != "normal" {
			return sight{text: "modeshift says mode " + mode}, err
		}
		rate, err := w.prom.value(ctx, `sum(rate(http_requests_total{job="shop"}[4s]))`)
		if err != nil {
			return sight{}, err
		}
		burn, err := w.prom.burnRate(ctx, scope, "4s")
		if err != nil {
			return sight{}, err
		}
		visitors := v.Answers - since.Answers
		if visitors < 4*perSecond || rate < 0.6*perSecond || burn > 0 {
			return notYet("%d visitors so far, %.0f a second, burn rate %.1f", visitors, rate, burn)
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%d visitors, %.0f a second, no errors; all instances are in mode normal", visitors, rate),
			facts: map[string]any{"visitors": visitors, "per_second": rate, "mode": mode},
		}, nil
	}
}

func (w *world) breakBackend(ctx context.Context, t *teller) error {
	t.say(bad, "! %-9s the recommendations break: %.0f %% of all calls to them fail from now on", "", 100*brokenShare)
	return post(ctx, fmt.Sprintf("%s/break?share=%g", w.backend.URL(), brokenShare))
}

// broken: visitors meet errors.
func (w *world) broken() func(context.Context) (sight, error) {
	var before *shop.Visits
	return func(context.Context) (sight, error) {
		v := w.load.Visits()
		if before == nil {
			before = &v
		}
		met := v.Errors - before.Errors
		if met < 5 {
			return notYet("%d errors", met)
		}
		return sight{ok: true, text: fmt.Sprintf("visitors meet errors: %d so far", met), facts: map[string]any{"errors": met}}, nil
	}
}

// burning: Prometheus says that the budget burns faster than the shop's rules allow.
func (w *world) burning(ctx context.Context) (sight, error) {
	const limit = 10
	burn, err := w.prom.burnRate(ctx, scope, "12s")
	if err != nil {
		return sight{}, err
	}
	if burn <= limit {
		return notYet("the burn rate is %.1f over 12s", burn)
	}
	lasts, _ := budgetClock(burn)
	return sight{
		ok:    true,
		text:  fmt.Sprintf("burn rate %.1f over 12 s: an error budget for 30 days lasts %.0f hours", burn, lasts.Hours()),
		facts: map[string]any{"burn_rate": burn, "window": "12s"},
	}, nil
}

// shifted: modeshift says that the shop is in a mode, and its log that nobody asked for it.
func (w *world) shifted(mode, transition string) func(context.Context) (sight, error) {
	return func(ctx context.Context) (sight, error) {
		now, err := w.api.scopeMode(ctx, scope)
		if err != nil || now != mode {
			return sight{text: "modeshift says mode " + now}, err
		}
		e, change, err := w.api.lastChange(ctx, scope)
		if err != nil {
			return sight{}, err
		}
		if change.To != mode || change.Transition != transition || e.Cause.Principal != "" {
			return sight{never: true, text: fmt.Sprintf("the shop is in mode %s, by %q of %q and not by transition %s alone", now, change.Transition, e.Cause.Principal, transition)}, nil
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("modeshift shifts the shop from %s to %s by itself (transition %s)", change.From, change.To, change.Transition),
			facts: map[string]any{"mode": now, "transition": change.Transition, "reason": e.Reason.Text, "decided": e.At.Format(time.RFC3339Nano)},
		}, nil
	}
}

// paged: one page has arrived. A second one for the same trouble would be a fault.
func (w *world) paged(context.Context) (sight, error) {
	switch pages := w.pages(); {
	case len(pages) == 0:
		return notYet("no page has arrived")
	case len(pages) > 1:
		return tooMany(pages), nil
	default:
		return sight{
			ok:    true,
			text:  fmt.Sprintf("one page, at severity %s", pages[0].Severity),
			facts: map[string]any{"key": pages[0].Key, "summary": pages[0].Summary, "severity": pages[0].Severity},
		}, nil
	}
}

// contained: for two seconds no visitor met an error, though the recommendations are still broken, and that is because every
// instance took the mode and no page calls them any more.
func (w *world) contained() func(context.Context) (sight, error) {
	const calm = 2 * time.Second
	type mark struct {
		at      time.Time
		visits  shop.Visits
		served  uint64
		skipped []uint64
	}
	var since *mark
	return func(ctx context.Context) (sight, error) {
		if pages := w.pages(); len(pages) > 1 {
			return tooMany(pages), nil
		}
		if s, ok := w.all("degraded"); !ok {
			since = nil
			return s, nil
		}
		now := &mark{at: time.Now(), visits: w.load.Visits(), served: w.backend.Served()}
		for _, s := range w.shops {
			now.skipped = append(now.skipped, s.Counts().Skipped)
		}
		switch {
		case since == nil || now.visits.Errors > since.visits.Errors || now.served > since.served:
			since = now
			return notYet("%d errors so far, %d calls to the recommendations", now.visits.Errors, now.served)
		case now.at.Sub(since.at) < calm || now.visits.Answers-since.visits.Answers < perSecond:
			return notYet("no errors for %v", now.at.Sub(since.at).Round(100*time.Millisecond))
		}
		for i := range now.skipped {
			if now.skipped[i] == since.skipped[i] {
				return notYet("instance %s has not left the recommendations out yet", w.shops[i].Name())
			}
		}
		if err := w.recommendation(ctx, 4); err == nil {
			return notYet("the recommendations are not broken")
		}
		answers := now.visits.Answers - since.visits.Answers
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%d visitors without an error, though the recommendations are still broken: all %d instances leave them out", answers, len(w.shops)),
			facts: map[string]any{"visitors": answers, "errors": 0, "instances": len(w.shops)},
		}, nil
	}
}

func (w *world) mendBackend(ctx context.Context, t *teller) error {
	t.say(shift, "! %-9s the recommendations are mended", "")
	return post(ctx, w.backend.URL()+"/mend")
}

// mended: the recommendations answer, ten times of ten.
func (w *world) mended(ctx context.Context) (sight, error) {
	if err := w.recommendation(ctx, 10); err != nil {
		return sight{}, err
	}
	return sight{ok: true, text: "the recommendations answer again", facts: map[string]any{"answers": 10}}, nil
}

// recovered: modeshift says normal, by its own transition; each instance took it and shows recommendations again; nobody
// meets an error.
func (w *world) recovered() func(context.Context) (sight, error) {
	shifted := w.shifted("normal", "recover")
	var shown []uint64
	return func(ctx context.Context) (sight, error) {
		if s, err := shifted(ctx); err != nil || !s.ok {
			return s, err
		}
		if s, ok := w.all("normal"); !ok {
			return s, nil
		}
		var now []uint64
		for _, s := range w.shops {
			now = append(now, s.Counts().Shown)
		}
		if shown == nil {
			shown = now
		}
		for i := range now {
			if now[i] < shown[i]+2 {
				return notYet("instance %s has not shown recommendations again yet", w.shops[i].Name())
			}
		}
		burn, err := w.prom.burnRate(ctx, scope, "4s")
		if err != nil || burn > 0 {
			return sight{text: fmt.Sprintf("the burn rate is %.1f", burn)}, err
		}
		s, err := shifted(ctx)
		s.text += "; recommendations are back"
		return s, err
	}
}

// resolved: the page is resolved, and there was no other.
func (w *world) resolved(context.Context) (sight, error) {
	pages := w.pages()
	if len(pages) != 1 {
		return tooMany(pages), nil
	}
	if pages[0].Resolved.IsZero() {
		return notYet("the page is still open")
	}
	lasted := pages[0].Resolved.Sub(pages[0].Opened)
	return sight{
		ok:    true,
		text:  fmt.Sprintf("the page is resolved, %.0f s after it came", lasted.Seconds()),
		facts: map[string]any{"key": pages[0].Key, "open_seconds": lasted.Seconds()},
	}, nil
}

// all reports whether every instance took a mode; the sight says who did not.
func (w *world) all(mode string) (sight, bool) {
	for _, s := range w.shops {
		if m := s.Mode(); m != mode {
			return sight{text: fmt.Sprintf("instance %s is in mode %s", s.Name(), cmp.Or(m, "unknown"))}, false
		}
	}
	return sight{}, true
}

// recommendation asks the backend n times, and returns the first error.
func (w *world) recommendation(ctx context.Context, n int) error {
	for range n {
		if err := request(ctx, http.MethodGet, w.backend.URL()+"/recommendations?product="+shop.ProbeProduct); err != nil {
			return err
		}
	}
	return nil
}
