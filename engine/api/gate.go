package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// May a deployment go ahead? A pipeline asks with every run, and nobody looks at the answer while it is yes: so it is yes only
// where everything that was asked for is known to be well. What is known to be wrong makes it no, whatever else cannot be told.

// Answer is yes, no, or that it cannot be told.
type Answer string

// The answers to a pipeline.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown"
)

// GateAnswer is the answer to a pipeline.
type GateAnswer struct {
	Scope  engine.Scope  `json:"scope"`
	At     time.Time     `json:"at"`
	Answer Answer        `json:"answer" enum:"yes,no,unknown" doc:"no if one of the checks is, else unknown if one of them is"`
	Mode   engine.Mode   `json:"mode,omitempty" doc:"the last settled mode"`
	Target engine.Mode   `json:"target,omitempty" doc:"the published mode"`
	Allow  []engine.Mode `json:"allow" nullable:"false" doc:"the modes in which a deployment may go ahead"`
	Checks []GateCheck   `json:"checks" nullable:"false" doc:"everything that was looked at"`
}

// GateCheck is one thing a pipeline's answer rests on.
type GateCheck struct {
	Name   string `json:"name" doc:"mode, change, imposed, freeze, pin, incidents, budget/NAME, sight, evaluation, …"`
	Answer Answer `json:"answer" enum:"yes,no,unknown"`
	Why    string `json:"why" doc:"in words"`
}

// GateQuery is what a pipeline asks for.
type GateQuery struct {
	Allow           []engine.Mode // modes in which a deployment may go ahead; none: the first one
	MinBudget       float64       // of each error budget, at least this share has to be left; NaN: they do not matter
	IgnoreIncidents bool          // an open page is no reason to wait: what is deployed is meant to end it
}

type gateInput struct {
	Scope           string        `path:"scope" maxLength:"200" doc:"a scope's name"`
	Allow           []engine.Mode `query:"allow" maxItems:"50" doc:"modes in which a deployment may go ahead; the first of the scope's, if not said"`
	MinBudget       string        `query:"min_budget" maxLength:"20" doc:"the share of each error budget that has to be left, from 0 to 1; budgets do not matter, if not said"`
	IgnoreIncidents bool          `query:"ignore_incidents" doc:"an open page is no reason to wait"`
}

func (a *API) registerGate(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "get-gate", Method: http.MethodGet, Path: "/scopes/{scope}/gate", Summary: "Say whether a deployment may go ahead",
		Description: "Looks at the mode and where it is moving, freezes, pins, open pages and, if asked, what is left of the error budgets. " +
			"The answer is unknown where the scope, its budget or the server itself cannot be relied on.",
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable},
	}, a.getGate)
}

func (a *API) getGate(ctx context.Context, in *gateInput) (*body[GateAnswer], error) {
	if engine.Scope(in.Scope) == engine.Fleet {
		return nil, problem(http.StatusBadRequest, CodeInvalid, "the fleet has no mode and nothing is deployed to it: name a scope")
	}
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	g := gateView{View: v, allow: in.Allow, minBudget: math.NaN(), ignoreIncidents: in.IgnoreIncidents, now: time.Now().UTC()}
	if in.MinBudget != "" {
		g.minBudget, err = strconv.ParseFloat(in.MinBudget, 64)
		if err != nil || !(g.minBudget >= 0 && g.minBudget <= 1) {
			return nil, problem(http.StatusBadRequest, CodeInvalid, fmt.Sprintf("min_budget: %q is not a share from 0 to 1; 0.1 is 10 %%", in.MinBudget))
		}
	}
	fleet, _ := a.opts.Loop.View(engine.Fleet) // without events: nothing is frozen
	g.fleet = fleet.State
	if err := g.modes(); err != nil {
		return nil, err
	}
	if a.opts.Doubts != nil {
		g.doubts = a.opts.Doubts(v.State.Scope)
	}
	if !math.IsNaN(g.minBudget) && a.opts.Budgets != nil {
		if g.budgets, err = a.opts.Budgets.Budgets(ctx, v.State.Scope, g.now, 0); err != nil {
			return nil, err
		}
	}
	return &body[GateAnswer]{g.judge()}, nil
}

// gateView is all that the answer to a pipeline rests on.
type gateView struct {
	engine.View
	fleet           engine.State
	doubts          []Check // what keeps the server itself from being sure
	budgets         []Budget
	now             time.Time
	allow           []engine.Mode
	minBudget       float64 // NaN: not asked
	ignoreIncidents bool
}

// modes fills in the modes that are allowed, and refuses those that the scope has not: a mode that was renamed would else hold
// every deployment up, and say that it is the service's fault.
func (g *gateView) modes() error {
	if g.Policy == nil {
		return nil
	}
	var declared []string
	for _, m := range g.Policy.Modes {
		declared = append(declared, string(m.Name))
	}
	for _, m := range g.allow {
		switch {
		case len(declared) == 0:
			return problem(http.StatusBadRequest, CodeInvalid, fmt.Sprintf("allow: %s declares no modes: leave it out", g.State.Scope))
		case !slices.Contains(declared, string(m)):
			return problem(http.StatusBadRequest, CodeInvalid, fmt.Sprintf("allow: %s has no mode %q; it has %s", g.State.Scope, m, strings.Join(declared, ", ")))
		}
	}
	if len(g.allow) == 0 && len(declared) > 0 {
		g.allow = []engine.Mode{g.Policy.Modes[0].Name}
	}
	return nil
}

// judge answers.
func (g *gateView) judge() GateAnswer {
	out := GateAnswer{Scope: g.State.Scope, At: g.now, Answer: AnswerYes, Mode: g.State.Mode, Target: g.State.Target, Allow: list(g.allow)}
	out.Checks = slices.Concat(g.mode(), g.imposed(), g.freeze(), g.pin(), g.incidents(), g.budget(), g.sight(), g.evaluation())
	for _, d := range g.doubts {
		if !d.OK {
			out.Checks = append(out.Checks, GateCheck{d.Name, AnswerUnknown, d.Detail})
		}
	}
	for _, c := range out.Checks {
		if c.Answer == AnswerNo || c.Answer == AnswerUnknown && out.Answer == AnswerYes {
			out.Answer = c.Answer
		}
	}
	return out
}

func said(name string, answer Answer, format string, args ...any) GateCheck {
	return GateCheck{name, answer, fmt.Sprintf(format, args...)}
}

// stamp is an instant in a reason.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (g *gateView) allowed(m engine.Mode) bool { return slices.Contains(g.allow, m) }

func (g *gateView) mode() []GateCheck {
	s := g.State
	words := make([]string, len(g.allow))
	for i, m := range g.allow {
		words[i] = string(m)
	}
	allowed := strings.Join(words, ", ")
	switch {
	case s.Retired:
		return []GateCheck{said("rules", AnswerUnknown, "no rule file declares the scope any more: nobody watches it")}
	case g.Policy == nil:
		return []GateCheck{said("rules", AnswerUnknown, "no rules are in force for the scope: nobody watches it")}
	case s.Target == "" && len(g.Policy.Modes) == 0:
		return nil // a scope of SLO alerts only
	case s.Target == "":
		return []GateCheck{said("mode", AnswerUnknown, "it has no mode yet")}
	}
	at := said("mode", AnswerYes, "it is in %s", s.Mode)
	if !g.allowed(s.Mode) {
		at = said("mode", AnswerNo, "it is in %s, and a deployment may go ahead in %s", s.Mode, allowed)
	}
	checks := []GateCheck{at}
	from, to, change := s.Mode, s.Target, "a change"
	if c := s.Change; c != nil {
		from, to, change = c.From, c.To, string(c.ID)
	}
	switch { // a change that is being undone goes back to where it came from: both ends count, whichever way it is going
	case s.Change == nil && from == to:
	case g.allowed(from) && g.allowed(to) && g.allowed(s.Target):
		checks = append(checks, said("change", AnswerYes, "%s from %s to %s is under way, and both are allowed", change, from, to))
	default:
		checks = append(checks, said("change", AnswerNo, "%s from %s to %s is under way, and a deployment may go ahead in %s", change, from, to, allowed))
	}
	return checks
}

// imposed says what the scopes above ask for beyond the mode the scope is in: it is laid over one that stands beside the others, and
// kept out by a pin. What is asked for otherwise is the mode by now, or a change on the way there.
func (g *gateView) imposed() (checks []GateCheck) {
	if g.Policy == nil {
		return nil
	}
	place := func(m engine.Mode) int {
		return slices.IndexFunc(g.Policy.Modes, func(r engine.ModeRule) bool { return r.Name == m && !r.Beside })
	}
	for _, i := range g.State.Imposed {
		if place(i.Mode) > place(g.State.Target) && !g.allowed(i.Mode) { // beside the others there is no place
			checks = append(checks, said("imposed", AnswerNo, "%s is in %s, which asks for %s at least", i.Parent, i.In, i.Mode))
		}
	}
	return checks
}

func (g *gateView) freeze() (checks []GateCheck) {
	for _, f := range []struct {
		*engine.Freeze
		what string
	}{{g.State.Freeze, "automation is frozen here"}, {g.fleet.Freeze, "all automation is frozen"}} {
		if f.Freeze == nil {
			continue
		}
		until := "until it is released"
		if !f.Until.IsZero() {
			until = "until " + stamp(f.Until)
		}
		checks = append(checks, said("freeze", AnswerNo, "%s %s, by %s: %s", f.what, until, f.By, f.Reason))
	}
	return checks
}

func (g *gateView) pin() []GateCheck {
	p := g.State.Pin
	switch {
	case p == nil:
		return nil
	case g.allowed(p.Mode):
		return []GateCheck{said("pin", AnswerYes, "it is pinned to %s until %s, by %s: %s", p.Mode, stamp(p.Until), p.By, p.Reason)}
	}
	return []GateCheck{said("pin", AnswerNo, "it is pinned to %s until %s, by %s: %s", p.Mode, stamp(p.Until), p.By, p.Reason)}
}

func (g *gateView) incidents() (checks []GateCheck) {
	for _, i := range g.State.Incidents {
		if slices.Contains([]engine.Severity{engine.SeverityTicket, engine.SeverityInfo, ""}, i.Loudest()) {
			continue // whatever is louder woke somebody
		}
		c := said("incidents", AnswerNo, "somebody was paged at %s: %s (%s)", stamp(i.Opened), i.Subject, i.ID)
		if g.ignoreIncidents {
			c.Answer, c.Why = AnswerYes, "ignored: "+c.Why
		}
		checks = append(checks, c)
	}
	for _, q := range g.State.Suppressed { // nobody was woken, and the service burns all the same
		if q.Severity != engine.SeverityPage {
			continue
		}
		c := said("incidents", AnswerNo, "%s keeps a page quiet since %s: %s", q.Mode, stamp(q.Since), q.Subject)
		if g.ignoreIncidents {
			c.Answer, c.Why = AnswerYes, "ignored: "+c.Why
		}
		checks = append(checks, c)
	}
	if checks == nil {
		checks = append(checks, said("incidents", AnswerYes, "no page is open"))
	}
	return checks
}

func (g *gateView) budget() (checks []GateCheck) {
	if math.IsNaN(g.minBudget) {
		return nil
	}
	if len(g.budgets) == 0 {
		return []GateCheck{said("budget", AnswerUnknown, "no error budget of the scope is known")}
	}
	percent := func(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + " %" }
	for _, b := range g.budgets {
		name, least := "budget/"+b.SLO, strconv.FormatFloat(100*g.minBudget, 'f', -1, 64)+" %"
		switch {
		case !b.Known:
			checks = append(checks, said(name, AnswerUnknown, "what is left is not known: %s", b.Unknown))
		case b.Remaining < g.minBudget:
			checks = append(checks, said(name, AnswerNo, "%s is left, and %s is wanted", percent(b.Remaining), least))
		default:
			checks = append(checks, said(name, AnswerYes, "%s is left, and %s is wanted", percent(b.Remaining), least))
		}
	}
	return checks
}

// sight says what cannot be seen. One answer that did not come is enough: whoever waits asks again, and what is deployed meanwhile
// could not be judged.
func (g *gateView) sight() (checks []GateCheck) {
	blind := map[string]bool{}
	for _, b := range g.State.Blind {
		blind[b.Subject] = true
		checks = append(checks, said("sight", AnswerUnknown, "%s cannot be seen since %s", b.Subject, stamp(b.Since)))
	}
	if g.Policy == nil {
		return checks
	}
	for i, c := range g.Policy.Conditions { // where it is the source that is blind, the scope keeps no account of it
		if o := observation(g.Observed, i); o.Asked && o.Blind && !blind[c.Name] {
			checks = append(checks, said("sight", AnswerUnknown, "%s could not be seen at the last evaluation", c.Name))
		}
	}
	return checks
}

// evaluation says whether what is known of the scope is of now.
func (g *gateView) evaluation() []GateCheck {
	if g.Policy == nil || len(g.Policy.Conditions) == 0 || g.State.Retired {
		return nil
	}
	if g.Observed == nil {
		return []GateCheck{said("evaluation", AnswerUnknown, "it was not evaluated since the server started")}
	}
	age := g.now.Sub(g.Observed.Instant)
	if age > 2*g.Policy.Interval {
		return []GateCheck{said("evaluation", AnswerUnknown, "the last one was at %s, longer ago than two intervals (%s)", stamp(g.Observed.Instant), 2*g.Policy.Interval)}
	}
	return []GateCheck{said("evaluation", AnswerYes, "the last one was at %s", stamp(g.Observed.Instant))}
}

// Gate asks whether a deployment may go ahead.
func (c *Client) Gate(ctx context.Context, scope engine.Scope, q GateQuery) (out GateAnswer, err error) {
	query := url.Values{}
	if len(q.Allow) > 0 {
		words := make([]string, len(q.Allow))
		for i, m := range q.Allow {
			words[i] = string(m)
		}
		query.Set("allow", strings.Join(words, ","))
	}
	if !math.IsNaN(q.MinBudget) {
		query.Set("min_budget", strconv.FormatFloat(q.MinBudget, 'g', -1, 64))
	}
	if q.IgnoreIncidents {
		query.Set("ignore_incidents", "true")
	}
	return out, c.get(ctx, scopePath(scope, "/gate"), query, &out)
}
