package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
)

// The steps that stories of the product have in common.
const (
	stepMoved = "moved" // automation moves as many services as the brake lets it, and no more
	stepAudit = "audit" // the log is whole
)

const (
	perService = 2  // instances
	visiting   = 10 // visitors of a service in a second: enough for min_events in the shortest window
	mayMove    = 3  // services by themselves, by the brake that is there without a word
)

// service is one of the product's.
type service struct {
	name  string
	shops []*shop.Shop
	load  *shop.Load
}

// product is six services that need the same recommendations, and what the story remembers of them from step to step.
type product struct {
	*stage
	once     bool   // nobody sits at the terminal: the demo answers by itself
	command  string // how people call the command line
	verify   func(ctx context.Context, folder string) (string, error)
	backend  *shop.Backend
	services []*service
	jobs     []prometheus.Job

	moved, kept []*service // by themselves; the others
	proposals   map[string]proposal
}

// startProduct starts the services, each with its rules, and all that is around them. Of the past Prometheus knows what it is told.
func startProduct(ctx context.Context, s *stage, o Options, rulesOf func(name string) []byte, past []prometheus.Past) (*product, error) {
	p := &product{stage: s, once: o.Once, command: o.Command, verify: o.Verify}
	var err error
	if p.backend, err = shop.StartBackend(""); err != nil {
		return nil, err
	}
	p.finally(p.backend.Stop)
	rules := map[string][]byte{shop.Product: shop.ProductRules()}
	var visitors []func(context.Context)
	for _, name := range shop.Services {
		v := &service{name: name}
		job := prometheus.Job{Name: name}
		var urls []string
		for i := range perService {
			one, err := shop.Start(shop.Options{
				Service: name, Name: fmt.Sprintf("%s-%02d", name, i+1), Version: "1.4.2", StateDir: filepath.Join(p.dir, "instances"),
				// A busy machine is no outage.
				Backend: p.backend.URL(), Timeout: 3 * time.Second, Probe: 500 * time.Millisecond,
			})
			if err != nil {
				return nil, err
			}
			p.finally(one.Stop)
			v.shops = append(v.shops, one)
			job.Targets, job.Names, urls = append(job.Targets, one.Address()), append(job.Names, one.Name()), append(urls, one.URL())
		}
		v.load = shop.NewLoad(urls...)
		visitors = append(visitors, func(ctx context.Context) { v.load.Run(ctx, visiting) })
		p.services, p.jobs, rules[name] = append(p.services, v), append(p.jobs, job), rulesOf(name)
	}
	if err := p.measure(o, p.jobs, past); err != nil {
		return nil, err
	}
	p.visit(ctx, visitors...)
	// Who freezes automation has to be an operator of everything.
	if err := p.people.write(p.dir, []string{"*"}, shop.Services); err != nil {
		return nil, err
	}
	if err := p.lead(ctx, o, rules); err != nil {
		return nil, err
	}
	for _, v := range p.services {
		if err := p.follow(v.shops); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// play is a story of the product, with the steps that all of them begin and end with.
func (p *product) play(steps ...step) *play {
	all := append([]step{{name: stepTraffic, seen: p.traffic()}}, steps...)
	if p.verify != nil {
		all = append(all, step{name: stepAudit, act: p.audit, seen: p.whole})
	}
	return &play{
		opening: fmt.Sprintf("%d services of one product, %d instances and %d visitors a second each; all show the same recommendations",
			len(p.services), perService, visiting),
		steps: all, scopes: append([]string{shop.Product}, shop.Services...), invite: p.invite,
	}
}

// as is how somebody calls the command line.
func (s *stage) as(command string, who person, words string) string {
	return fmt.Sprintf("%s %s --server %s --token-file %s", command, words, s.mode.URL(), who.file)
}

func (p *product) invite() []string {
	see := func(words string) string { return p.as(p.command, p.people.admin, words) }
	do := func(words string) string { return p.as(p.command, p.people.operator, words) }
	return []string{
		fmt.Sprintf("break them all     curl -X POST '%s/break?share=%g'", p.backend.URL(), brokenShare),
		fmt.Sprintf("mend them          curl -X POST %s/mend", p.backend.URL()),
		fmt.Sprintf("a bad deploy       curl -X POST '%s/break?share=%g'", p.services[0].shops[0].URL(), brokenShare),
		fmt.Sprintf("roll it back       curl -X POST %s/mend", p.services[0].shops[0].URL()),
		"where are they?    " + see("status"),
		"why?               " + see("history "+p.services[0].name),
		"who is asked?      " + see("approvals"),
		"contain them       " + do("set shop contained --directive-only --reason 'to try it'"),
		"let them go        " + do("set shop normal --directive-only --reason 'enough'"),
		"the rules          " + p.dir + "/rules/",
	}
}

// asks tells whoever sits at the terminal what to type; where nobody does, somebody of the story does it.
func (p *product) asks(what string, commands func() []string, do func(context.Context) error) func(context.Context, *teller) error {
	return func(ctx context.Context, t *teller) error {
		lines := []string{what}
		for _, c := range commands() {
			lines = append(lines, "  "+c)
		}
		t.block(lines...)
		if !p.once {
			return nil
		}
		t.say(shift, "! %-9s %s, an operator, does it", "", p.people.operator.name)
		return do(ctx)
	}
}

func names(list []*service) string {
	var n []string
	for _, v := range list {
		n = append(n, v.name)
	}
	return strings.Join(n, ", ")
}

// in reports whether services are settled in a mode and all their instances took it; the sight says which is not.
func (p *product) in(ctx context.Context, mode string, list ...*service) (sight, bool, error) {
	all, err := p.api.scopes(ctx)
	if err != nil {
		return sight{}, false, err
	}
	for _, v := range list {
		if s := all[v.name]; s.Mode != mode || s.Target != mode {
			return sight{text: fmt.Sprintf("modeshift says that %s is in mode %s", v.name, s.Mode)}, false, nil
		}
		for _, one := range v.shops {
			if m := one.Mode(); m != mode {
				return sight{text: fmt.Sprintf("instance %s is in mode %q", one.Name(), m)}, false, nil
			}
		}
	}
	return sight{}, true, nil
}

// steady says how many visitors services had since the last one of them met an error; 0 while that is not long ago, and the sight
// says so.
func steady(list func() []*service) func() (visitors uint64, s sight) {
	var since time.Time
	var marks []shop.Visits
	return func() (uint64, sight) {
		var now []shop.Visits
		for _, v := range list() {
			now = append(now, v.load.Visits())
		}
		errors := func(v []shop.Visits) (n uint64) {
			for _, one := range v {
				n += one.Errors
			}
			return n
		}
		if len(marks) != len(now) || errors(now) > errors(marks) {
			since, marks = time.Now(), now
		}
		var visitors uint64
		for i, v := range list() {
			came := now[i].Answers - marks[i].Answers
			if came < visiting {
				return 0, sight{text: fmt.Sprintf("%d visitors of %s without an error", came, v.name)}
			}
			visitors += came
		}
		if time.Since(since) < calm {
			return 0, sight{text: fmt.Sprintf("no visitor met an error for %v", time.Since(since).Round(100*time.Millisecond))}
		}
		return visitors, sight{}
	}
}

func (p *product) all() []*service { return p.services }

// burns says how fast each of some services burns its budget, by Prometheus over a window, the slowest and the fastest.
func (p *product) burns(ctx context.Context, window string, list ...*service) (least, most float64, err error) {
	for i, v := range list {
		burn, err := p.prom.burnRate(ctx, v.name, window)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", v.name, err)
		}
		if i == 0 {
			least, most = burn, burn
		}
		least, most = min(least, burn), max(most, burn)
	}
	return least, most, nil
}

// traffic: for a while the visitors of all services got answers and no errors, Prometheus says so too, and every instance took mode
// normal.
func (p *product) traffic() func(context.Context) (sight, error) {
	well := steady(p.all)
	return func(ctx context.Context) (sight, error) {
		visitors, s := well()
		if visitors == 0 {
			return s, nil
		}
		if s, ok, err := p.in(ctx, "normal", p.services...); err != nil || !ok {
			return s, err
		}
		_, most, err := p.burns(ctx, "12s", p.services...)
		if err != nil || most > 0 {
			return sight{text: fmt.Sprintf("a burn rate is %.1f", most)}, err
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%d visitors of %s, no errors; all instances are in mode normal", visitors, names(p.services)),
			facts: map[string]any{"visitors": visitors, "services": len(p.services)},
		}, nil
	}
}

// moves: automation moves as many services as the brake lets it, by their own transition and nobody's wish, and no other; their
// instances took it.
func (p *product) moves(ctx context.Context) (sight, error) {
	all, err := p.api.scopes(ctx)
	if err != nil {
		return sight{}, err
	}
	p.moved, p.kept = nil, nil
	for _, v := range p.services {
		if all[v.name].Target == "degraded" {
			p.moved = append(p.moved, v)
		} else {
			p.kept = append(p.kept, v)
		}
	}
	switch n := len(p.moved); {
	case n > mayMove:
		return sight{never: true, text: fmt.Sprintf("%d services have moved, and the brake lets %d: %s", n, mayMove, names(p.moved))}, nil
	case n < mayMove:
		return notYet("%d services have moved", n)
	}
	for _, v := range p.moved {
		if s, err := p.shed(ctx, v); err != nil || !s.ok {
			return s, err
		}
	}
	if s, ok, err := p.in(ctx, "degraded", p.moved...); err != nil || !ok {
		return s, err
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("modeshift shifts %s to degraded by itself (transition shed), and stops there: %d in ten minutes are all that automation may", names(p.moved), mayMove),
		facts: map[string]any{"moved": names(p.moved), "not_moved": names(p.kept)},
	}, nil
}

// shed: a service was moved by its transition, and nobody asked for that.
func (p *product) shed(ctx context.Context, v *service) (sight, error) {
	e, c, err := p.api.lastChange(ctx, v.name)
	if err != nil {
		return sight{}, err
	}
	if c.Transition != "shed" || c.To != "degraded" || e.Cause.Principal != "" {
		return sight{never: true, text: fmt.Sprintf("%s is moved by %q of %q, and not by transition shed alone", v.name, c.Transition, e.Cause.Principal)}, nil
	}
	return sight{ok: true}, nil
}

// asked: for each of the others a proposal waits for an operator, and one page tells of it and leads to it. None of them has moved.
func (p *product) asked(ctx context.Context) (sight, error) {
	if s, err := p.unmoved(ctx); err != nil || s.never {
		return s, err
	}
	waiting, err := p.api.proposals(ctx)
	if err != nil {
		return sight{}, err
	}
	p.proposals = map[string]proposal{}
	for _, w := range waiting {
		p.proposals[w.Scope] = w
	}
	for _, v := range p.kept {
		w, asked := p.proposals[v.name]
		if !asked {
			return notYet("nobody is asked about %s", v.name)
		}
		if w.Transition != "shed" || len(w.Digest) < 8 || len(w.Missing) != 1 || w.Missing[0].Role != p.people.operator.role || w.Missing[0].Count != 1 {
			return sight{never: true, text: fmt.Sprintf("%s asks for %s and waits for %v", w.ID, w.Transition, w.Missing)}, nil
		}
	}
	if len(waiting) != len(p.kept) {
		return sight{never: true, text: fmt.Sprintf("%d proposals wait, and %d services are withheld", len(waiting), len(p.kept))}, nil
	}
	for _, v := range p.services {
		pages := p.pagesOf(v)
		switch {
		case len(pages) == 0:
			return notYet("no page has arrived about %s", v.name)
		case len(pages) > 1:
			return tooMany(pages), nil
		}
		if w, withheld := p.proposals[v.name]; withheld && !slices.Contains(pages[0].Links, p.api.page(w)) {
			return notYet("the page about %s has no link to the proposal", v.name)
		}
	}
	return sight{
		ok: true,
		text: fmt.Sprintf("one page for each of the %d services; those about %s say that the move is withheld, and lead to a proposal that an operator has to answer",
			len(p.services), names(p.kept)),
		facts: map[string]any{"withheld": names(p.kept), "proposals": len(waiting), "pages": len(p.pages())},
	}, nil
}

// unmoved: of those that the brake withholds none was moved so far.
func (p *product) unmoved(ctx context.Context) (sight, error) {
	for _, v := range p.kept {
		events, err := p.api.history(ctx, v.name)
		if err != nil {
			return sight{}, err
		}
		for _, e := range events {
			if e.Kind == "ChangeStarted" {
				return sight{never: true, text: fmt.Sprintf("%s was moved, and nobody said yes: %s", v.name, e.Reason.Text)}, nil
			}
		}
	}
	return sight{ok: true}, nil
}

// pagesOf are the pages about a service so far.
func (p *product) pagesOf(v *service) []receiver.Alert {
	return slices.DeleteFunc(p.pages(), func(a receiver.Alert) bool { return a.Source != v.name })
}

// recovered: services went back to normal by their own transition, nobody's wish, and all their instances with them.
func (p *product) recovered(ctx context.Context, list ...*service) (sight, error) {
	if s, ok, err := p.in(ctx, "normal", list...); err != nil || !ok {
		return s, err
	}
	for _, v := range list {
		e, c, err := p.api.lastChange(ctx, v.name)
		if err != nil {
			return sight{}, err
		}
		if c.Transition != "recover" || e.Cause.Principal != "" {
			return sight{never: true, text: fmt.Sprintf("%s went back by %q of %q, and not by transition recover alone", v.name, c.Transition, e.Cause.Principal)}, nil
		}
	}
	return sight{ok: true}, nil
}

// resolved: every page is resolved.
func (p *product) resolved(context.Context) (sight, error) {
	pages := p.pages()
	for _, a := range pages {
		if a.Resolved.IsZero() {
			return notYet("a page is still open: %s", a.Summary)
		}
	}
	return sight{ok: true, text: fmt.Sprintf("all %d pages are resolved", len(pages)), facts: map[string]any{"pages": len(pages)}}, nil
}

func (p *product) audit(_ context.Context, t *teller) error {
	t.block("$ " + p.command + " audit verify " + p.data())
	return nil
}

// data is modeshift's folder.
func (s *stage) data() string { return filepath.Join(s.dir, "data") }

// whole: the log is, with all that people and automation did.
func (p *product) whole(ctx context.Context) (sight, error) {
	said, err := p.verify(ctx, p.data())
	if err != nil {
		return sight{never: true, text: err.Error()}, nil
	}
	return sight{ok: true, text: said, facts: map[string]any{"said": said}}, nil
}

var ownErrors = regexp.MustCompile(`(?m)^http_requests_total\{code="5\d\d"\} (\S+)$`)

// countedErrors is how many pages an instance itself has answered with an error, by its own metrics.
func countedErrors(ctx context.Context, one *shop.Shop) (n float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, one.URL()+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // what matters has been read
	if err != nil {
		return 0, err
	}
	found := ownErrors.FindAllSubmatch(text, -1)
	if found == nil {
		return 0, fmt.Errorf("the metrics of %s do not count its errors", one.Name())
	}
	for _, m := range found {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return 0, err
		}
		n += v
	}
	return n, nil
}
