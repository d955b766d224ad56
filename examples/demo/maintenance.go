package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
)

// The steps of the story of a planned maintenance, beside those that others have too.
const (
	stepAnnounced = "announced" // somebody writes the window into the rule files
	stepWindow    = "window"    // it opens; the services go to maintenance, and their SLO is paused
	stepHushed    = "hushed"    // they burn, and nobody is paged; another service that burns is a page
	stepEmergency = "emergency" // it gets worse than was announced: one of them is contained, and that is a page
	stepOver      = "over"      // the window ends, and with it the maintenance
	stepBudget    = "budget"    // it did not cost any budget
)

const (
	// The window is long enough for what happens in it also on a busy machine, and opens at a full minute, as cron has it.
	windowLasts = 45 * time.Second
	// announcedBefore is how long before the window it is announced, at least: the rule files have to be read by then.
	announcedBefore = 8 * time.Second
)

// maintenance is the story, and what it remembers from step to step.
type maintenance struct {
	*product
	planned []*service // are migrated in the window
	hurt    *service   // the one of them that meets an emergency
	other   *service   // burns as well, and is not migrated
	opens   time.Time
	before  map[*service]planBudget // the window
}

func plannedMaintenance(ctx context.Context, s *stage, o Options) (*play, error) {
	far := time.Now().Add(12 * time.Hour)
	planned := shop.Services[:2]
	var month []prometheus.Past
	for _, name := range shop.Services {
		month = append(month, prometheus.Past{
			Labels: map[string]string{"__name__": "http_requests_total", "job": name, "instance": "of last month", "code": "200"}, PerSecond: visiting})
	}
	p, err := startProduct(ctx, s, o, func(name string) []byte {
		if slices.Contains(planned, name) {
			return shop.MaintenanceRules(name, far, windowLasts)
		}
		return shop.ServiceRules(name)
	}, month)
	if err != nil {
		return nil, err
	}
	m := &maintenance{product: p, planned: p.services[:2], hurt: p.services[0], other: p.services[2]}
	return p.play(
		step{name: stepAnnounced, act: m.announce, seen: m.announced},
		step{name: stepWindow, seen: m.entered},
		step{name: stepHushed, act: m.migrate, seen: m.hushed()},
		step{name: stepEmergency, act: m.worsen, seen: m.contained},
		step{name: stepMended, act: m.mend, seen: m.mended},
		step{name: stepOver, seen: m.over},
		step{name: stepBudget, act: m.reckon, seen: m.unspent},
		step{name: stepResolved, seen: p.resolved},
	), nil
}

// planBudget is what the story looks at in a budget.
type planBudget struct {
	SLO       string  `json:"slo"`
	Known     bool    `json:"known"`
	Unknown   string  `json:"unknown"`
	Remaining float64 `json:"remaining"`
	Excluded  string  `json:"excluded"` // time that is left out
	Paused    *struct {
		Since  time.Time `json:"since"`
		Mode   string    `json:"mode"`
		Change string    `json:"change"`
	} `json:"paused"`
}

// excluded is how much time is left out.
func (b planBudget) excluded() (time.Duration, error) {
	if b.Excluded == "" {
		return 0, nil
	}
	d, err := model.ParseDuration(b.Excluded)
	return time.Duration(d), err
}

// budgetAt is a service's budget as it stands at an instant.
func (p *product) budgetAt(ctx context.Context, v *service, at time.Time) (planBudget, error) {
	var list struct {
		Budgets []planBudget `json:"budgets"`
	}
	if err := p.api.get(ctx, "/api/v1/scopes/"+v.name+"/budget?at="+at.UTC().Format(time.RFC3339Nano), &list); err != nil {
		return planBudget{}, err
	}
	for _, b := range list.Budgets {
		if b.SLO == "availability" {
			return b, nil
		}
	}
	return planBudget{}, fmt.Errorf("%s has no budget of availability", v.name)
}

// announce writes the window into the rule files, as somebody does who plans a migration.
func (m *maintenance) announce(_ context.Context, t *teller) error {
	m.opens = time.Now().Add(announcedBefore + time.Minute).Truncate(time.Minute).UTC()
	for _, v := range m.planned {
		file := filepath.Join(m.dir, "rules", v.name+".rules.yaml")
		// Whoever reads it reads the old one or the new one, and nothing between.
		if err := os.WriteFile(file+".new", shop.MaintenanceRules(v.name, m.opens, windowLasts), 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	t.say(shift, "! %-9s a migration of %s is planned for %s UTC, and written into their rule files", "", names(m.planned), m.opens.Format(time.TimeOnly))
	t.block(
		"The window, what it leads to, and what its mode pauses:",
		"  grep -A2 -e schedules -e 'name: maintenance' "+filepath.Join(m.dir, "rules", m.hurt.name+".rules.yaml"),
		"What there is of the budget before:",
		"  "+m.as(m.command, m.people.operator, "budget"),
	)
	return nil
}

// announced: the new rules are in force, by the logs; what is left of the budgets is noted.
func (m *maintenance) announced(ctx context.Context) (sight, error) {
	m.before = map[*service]planBudget{}
	least := 1.0
	for _, v := range m.planned {
		events, err := m.api.history(ctx, v.name)
		if err != nil {
			return sight{}, err
		}
		if !slices.ContainsFunc(events, func(e event) bool { return e.Kind == "RulesChanged" }) {
			return notYet("the rules of %s are not read again yet", v.name)
		}
		b, err := m.budgetAt(ctx, v, time.Now())
		if err != nil {
			return sight{}, err
		}
		if m.month && !b.Known {
			return notYet("the budget of %s is not known: %s", v.name, b.Unknown)
		}
		m.before[v] = b
		least = min(least, b.Remaining)
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("the new rules are in force; at least %.2f %% of the budgets is left", 100*least),
		facts: map[string]any{"opens": m.opens.Format(time.RFC3339), "seconds": windowLasts.Seconds(), "remaining": least},
	}, nil
}

// roughly is a time that is waited for, so that it is not told anew each second.
func roughly(left time.Duration) string {
	const step = 10 * time.Second
	return "less than " + model.Duration((left + step).Truncate(step)).String()
}

// entered: the window is open, and the services are in maintenance by it alone; what they measure is paused.
func (m *maintenance) entered(ctx context.Context) (sight, error) {
	if left := time.Until(m.opens); left > 0 {
		if all, err := m.api.scopes(ctx); err != nil || all[m.hurt.name].Target != "normal" {
			return sight{never: err == nil, text: m.hurt.name + " is not in mode normal, and the window is not open"}, err
		}
		return notYet("the window opens in %s", roughly(left))
	}
	if s, ok, err := m.in(ctx, "maintenance", m.planned...); err != nil || !ok {
		return s, err
	}
	for _, v := range m.planned {
		e, c, err := m.api.lastChange(ctx, v.name)
		if err != nil {
			return sight{}, err
		}
		if c.Transition != "migrate" || e.Cause.Principal != "" {
			return sight{never: true, text: fmt.Sprintf("%s is in maintenance by %q of %q", v.name, c.Transition, e.Cause.Principal)}, nil
		}
		b, err := m.budgetAt(ctx, v, time.Now())
		if err != nil {
			return sight{}, err
		}
		if b.Paused == nil || b.Paused.Mode != "maintenance" || b.Paused.Change != c.Change {
			return sight{never: true, text: fmt.Sprintf("%s is in maintenance, and nothing says that its SLO is paused", v.name)}, nil
		}
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("the window opens: %s are in maintenance by their schedule, and their SLO is paused", names(m.planned)),
		facts: map[string]any{"services": names(m.planned), "mode": "maintenance"},
	}, nil
}

// fail makes a share of the pages of services fail from now on, in whatever mode.
func (m *maintenance) fail(ctx context.Context, share float64, list ...*service) error {
	for _, v := range list {
		for _, one := range v.shops {
			if err := post(ctx, fmt.Sprintf("%s/break?share=%g", one.URL(), share)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *maintenance) migrate(ctx context.Context, t *teller) error {
	t.say(bad, "! %-9s the migration fails %.0f %% of their pages, as was announced; a bad deploy does the same to %s, of which nothing was said", "", 100*brokenShare, m.other.name)
	return m.fail(ctx, brokenShare, append(slices.Clone(m.planned), m.other)...)
}

// hushed: all three burn by Prometheus, for longer than a tier and an evaluation need; a page tells of the one that nobody announced,
// and none of the others, though these fire too.
func (m *maintenance) hushed() func(context.Context) (sight, error) {
	met := meets()
	var since time.Time // when the other one was paged
	return func(ctx context.Context) (sight, error) {
		if s := m.quiet(m.planned...); s.never {
			return s, nil
		}
		errors := met(m.planned...)
		for _, window := range []string{"12s", "4s"} {
			least, _, err := m.burns(ctx, window, m.planned...)
			if err != nil || least <= 10 {
				since = time.Time{}
				return sight{text: fmt.Sprintf("the least burn rate is %.1f over %s", least, window)}, err
			}
		}
		if len(m.pagesOf(m.other)) == 0 {
			return notYet("no page has arrived about %s", m.other.name)
		}
		if since.IsZero() {
			since = time.Now()
		}
		if held := time.Since(since); held < calm {
			return notYet("nobody is paged about %s for %v", names(m.planned), held.Round(100*time.Millisecond))
		}
		if s, ok, err := m.in(ctx, "maintenance", m.planned...); err != nil || !ok {
			return s, err
		}
		var n uint64
		for _, one := range errors {
			n += one
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("visitors of %s met %d errors, and nobody is paged about that; about %s somebody is", names(m.planned), n, m.other.name),
			facts: map[string]any{"errors": n, "quiet": names(m.planned), "paged": m.other.name},
		}, nil
	}
}

// quiet: no page has arrived about services.
func (m *maintenance) quiet(list ...*service) sight {
	for _, v := range list {
		if pages := m.pagesOf(v); len(pages) > 0 {
			return sight{never: true, text: "a page came out of an announced maintenance: " + pages[0].Summary}
		}
	}
	return sight{ok: true}
}

func (m *maintenance) worsen(ctx context.Context, t *teller) error {
	t.say(bad, "! %-9s worse than was announced: every page of %s fails", "", m.hurt.name)
	return m.fail(ctx, 1, m.hurt)
}

// contained: the service was moved on by its own transition, in the middle of the window, and one page tells of that; the other one
// stays in maintenance, and quiet.
func (m *maintenance) contained(ctx context.Context) (sight, error) {
	rest := slices.DeleteFunc(slices.Clone(m.planned), func(v *service) bool { return v == m.hurt })
	if s := m.quiet(rest...); s.never {
		return s, nil
	}
	if s, ok, err := m.in(ctx, "contained", m.hurt); err != nil || !ok {
		return s, err
	}
	e, c, err := m.api.lastChange(ctx, m.hurt.name)
	if err != nil {
		return sight{}, err
	}
	if c.Transition != "contain" || c.From != "maintenance" || e.Cause.Principal != "" {
		return sight{never: true, text: fmt.Sprintf("%s is contained by %q of %q, from %s", m.hurt.name, c.Transition, e.Cause.Principal, c.From)}, nil
	}
	if e.At.Before(m.opens) || !e.At.Before(m.opens.Add(windowLasts)) {
		return sight{never: true, text: fmt.Sprintf("%s is contained at %s, and not in the window", m.hurt.name, e.At.Format(time.TimeOnly))}, nil
	}
	pages := m.pagesOf(m.hurt)
	switch {
	case len(pages) == 0:
		return notYet("no page has arrived about %s", m.hurt.name)
	case len(pages) > 1:
		return tooMany(pages), nil
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("an emergency is no maintenance: %s goes on to contained, %.0f s before the window ends, and a page says so: %s", m.hurt.name, m.opens.Add(windowLasts).Sub(e.At).Seconds(), pages[0].Summary),
		facts: map[string]any{"service": m.hurt.name, "from": c.From, "to": c.To, "summary": pages[0].Summary},
	}, nil
}

func (m *maintenance) mend(ctx context.Context, t *teller) error {
	t.say(shift, "! %-9s the migration is through; the deploy of %s is rolled back", "", m.other.name)
	return m.fail(ctx, 0, append(slices.Clone(m.planned), m.other)...)
}

// mended: nothing fails any more.
func (m *maintenance) mended(ctx context.Context) (sight, error) {
	_, most, err := m.burns(ctx, "4s", m.services...)
	if err != nil || most > 0 {
		return sight{text: fmt.Sprintf("a burn rate is %.1f over 4s", most)}, err
	}
	return sight{ok: true, text: "nothing fails any more", facts: map[string]any{"burn_rate": most}}, nil
}

// over: the window has ended and took back what it did; all services are in mode normal, and nobody had to say so.
func (m *maintenance) over(ctx context.Context) (sight, error) {
	ends := m.opens.Add(windowLasts)
	if left := time.Until(ends); left > 0 {
		return notYet("the window ends in %s", roughly(left))
	}
	if s, ok, err := m.in(ctx, "normal", m.services...); err != nil || !ok {
		return s, err
	}
	for _, v := range m.planned {
		if v == m.hurt {
			continue
		}
		events, err := m.api.history(ctx, v.name)
		if err != nil {
			return sight{}, err
		}
		i := slices.IndexFunc(events, func(e event) bool { return e.Kind == "UndoStarted" })
		if i < 0 || events[i].Reason.Code != "until" || events[i].At.Before(ends) {
			return sight{never: true, text: fmt.Sprintf("%s left the maintenance, and not because the window was over", v.name)}, nil
		}
	}
	return sight{ok: true, text: "the window is over, and with it the maintenance; all services are in mode normal", facts: map[string]any{"ended": ends.Format(time.RFC3339)}}, nil
}

func (m *maintenance) reckon(_ context.Context, t *teller) error {
	t.block("What there is of the budget now, and what happened meanwhile:", "  "+m.as(m.command, m.people.operator, "budget"),
		"  "+m.as(m.command, m.people.operator, "history "+m.hurt.name))
	return nil
}

// unspent: as much is left of the budgets as before, and of what is past as soon as the ledger knows it, the time in maintenance is
// left out. The ledger keeps buckets of five minutes: what is asked is how it will stand then.
func (m *maintenance) unspent(ctx context.Context) (sight, error) {
	var out time.Duration
	for _, v := range m.planned {
		now, err := m.budgetAt(ctx, v, time.Now())
		if err != nil {
			return sight{}, err
		}
		if now.Paused != nil || now.Known != m.before[v].Known || now.Remaining < m.before[v].Remaining {
			return sight{never: true, text: fmt.Sprintf("of the budget of %s %.4f %% is left after the window, and was %.4f %%; paused: %t",
				v.name, 100*now.Remaining, 100*m.before[v].Remaining, now.Paused != nil)}, nil
		}
		then, err := m.budgetAt(ctx, v, time.Now().Add(10*time.Minute))
		if err != nil {
			return sight{}, err
		}
		left, err := then.excluded()
		if err != nil {
			return sight{}, err
		}
		in, err := m.stayed(ctx, v)
		if err != nil {
			return sight{}, err
		}
		if d := (left - in).Abs(); in == 0 || d > time.Second {
			return sight{never: true, text: fmt.Sprintf("%s was in maintenance for %v, and its budget leaves %v out", v.name, in, left)}, nil
		}
		out += left
	}
	return sight{
		ok: true,
		text: fmt.Sprintf("of the budgets as much is left as before: of %s they leave %.0f s out, all that these were in maintenance",
			names(m.planned), out.Seconds()),
		facts: map[string]any{"left_out_seconds": out.Seconds(), "services": names(m.planned)},
	}, nil
}

// stayed is how long a service was told to be in maintenance, by its log.
func (m *maintenance) stayed(ctx context.Context, v *service) (sum time.Duration, err error) {
	events, err := m.api.history(ctx, v.name)
	if err != nil {
		return 0, err
	}
	var since time.Time
	for _, e := range slices.Backward(events) { // the oldest first
		if e.Kind != "DirectivePublished" {
			continue
		}
		d, err := fact[struct {
			Directive struct{ Mode string }
		}](e)
		if err != nil {
			return 0, err
		}
		if !since.IsZero() {
			sum, since = sum+e.At.Sub(since), time.Time{}
		}
		if d.Directive.Mode == "maintenance" {
			since = e.At
		}
	}
	return sum, nil
}
