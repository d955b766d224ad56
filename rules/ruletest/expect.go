package ruletest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// expectation is what has to hold, and when.
type expectation struct {
	position string
	form     string // at, between, during, never
	from, to time.Duration
	claims   []claim
}

// claim is one thing that has to be so.
type claim struct {
	what  string // "mode of checkout"
	scope engine.Scope
	want  string
	// got says what is so, and whether that is what is wanted.
	got func(*moment) (got string, holds bool)
	// mode is what is expected, of a claim about the mode; reading is the index of an expression among those of its scope.
	mode    engine.Mode
	reading int
}

// moment is what can be said at an instant of a rehearsal.
type moment struct {
	run *run
	at  time.Duration
}

func (m *moment) state(scope engine.Scope) engine.State {
	v, _ := m.run.rehearsal.View(scope)
	return v.State
}

// expectation reads one expectation.
func (p *reading) expectation(t *Test, n rules.Node) {
	e := expectation{position: p.Position(n)}
	before := p.Wrong()
	span := func(form string) func(rules.Node) {
		return func(n rules.Node) {
			items := n.Items()
			if e.form != "" || !n.IsList() || len(items) != 2 {
				if e.form != "" {
					p.Errorf(n, "write one expectation for each", "an expectation has one of at, between, during and never")
				} else {
					p.Errorf(n, fmt.Sprintf("write `%s: [5m, 7m]`", form), "%s must be two times, not %s", form, n.Is())
				}
				return
			}
			e.form = form
			from, first := p.Duration(items[0], "the first time")
			to, second := p.Duration(items[1], "the second time")
			if e.from, e.to = from, to; first && second && from >= to {
				p.Errorf(n, "", "%s goes from %s to an earlier time", form, items[0].Value())
			}
		}
	}
	claims := func(key string, read func(engine.Scope, rules.Node) []claim) rules.Field {
		return rules.Optional(key, func(n rules.Node) {
			p.perScope(n, key, func(scope engine.Scope, n rules.Node) { e.claims = append(e.claims, read(scope, n)...) })
		})
	}
	ok := p.Mapping(n, "an expectation",
		rules.Optional("at", func(n rules.Node) {
			e.form = "at"
			e.from, _ = p.Duration(n, "at")
			e.to = e.from
		}),
		rules.Optional("between", span("between")), rules.Optional("during", span("during")), rules.Optional("never", span("never")),
		claims("mode", p.mode), claims("incidents", p.incidents), claims("proposals", p.proposals), claims("withheld", p.withheld),
		claims("reason", p.reason), claims("flags", p.flags), claims("notices", p.notices),
		claims("readings", func(scope engine.Scope, n rules.Node) []claim { return p.readings(t, scope, n) }))
	switch {
	case !ok || p.Wrong() > before:
	case e.form == "":
		p.Errorf(n, "write `at: 7m`; `between: [A, B]` where it comes true in a span, `during: [A, B]` where it holds all the time, `never: [A, B]` where it must not",
			"the expectation does not say when")
	case len(e.claims) == 0:
		p.Errorf(n, "write for example `mode: degraded`", "the expectation does not say what")
	}
	t.expect = append(t.expect, e)
}

// about makes a claim.
func about(what string, scope engine.Scope, want string, got func(*moment) (string, bool)) claim {
	return claim{what: what + " of " + string(scope), scope: scope, want: want, got: got, reading: -1}
}

func (p *reading) mode(scope engine.Scope, n rules.Node) []claim {
	want, ok := p.Text(n, "a mode")
	list := modesOf(p.file.set.Service(scope))
	if ok && !slices.Contains(list, want) {
		p.Errorf(n, p.Choose(want, list, "it declares none"), "%s has no mode %q", scope, want)
	}
	c := about("mode", scope, want, func(m *moment) (string, bool) {
		s := m.state(scope)
		got := string(s.Mode)
		if s.Target != s.Mode {
			got += ", on the way to " + string(s.Target)
		}
		return got, s.Mode == engine.Mode(want)
	})
	c.mode = engine.Mode(want)
	return []claim{c}
}

// set makes a claim about a set of words: exactly these.
func (p *reading) set(what string, scope engine.Scope, n rules.Node, known []string, got func(*moment) []string) []claim {
	want := []string{}
	p.List(n, what, func(n rules.Node) {
		word, ok := p.Text(n, what)
		if ok && known != nil && !slices.Contains(known, word) {
			p.Errorf(n, p.Choose(word, known, "there are none"), "%s cannot have %q", scope, word)
		}
		want = append(want, word)
	})
	slices.Sort(want)
	return []claim{about(what, scope, words(want), func(m *moment) (string, bool) {
		list := got(m)
		slices.Sort(list)
		return words(list), slices.Equal(list, want)
	})}
}

func words(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// incidentKinds are the kinds of incidents of a scope.
var incidentKinds = []engine.IncidentKind{engine.IncidentSLO, engine.IncidentTransition, engine.IncidentWithheld, engine.IncidentTooLong,
	engine.IncidentBlind, engine.IncidentChange, engine.IncidentGate, engine.IncidentGlass, engine.IncidentFlapping, engine.IncidentStuckMode,
	engine.IncidentDivergence, engine.IncidentImposed}

// named is an incident as a test names it: "page slo availability", "page transition shed", "page too long degraded".
func named(i engine.Incident) string {
	subject := i.Subject
	if i.Kind == engine.IncidentSLO {
		subject = strings.TrimSuffix(strings.TrimPrefix(subject, "slo/"), "/"+string(i.Severity))
	}
	return fmt.Sprintf("%s %s %s", i.Severity, i.Kind, subject)
}

func (p *reading) incidents(scope engine.Scope, n rules.Node) []claim {
	for _, n := range n.Items() {
		if n.Tag() != "!!str" {
			continue // List says so
		}
		_, rest, _ := strings.Cut(n.Value(), " ")
		severity := strings.TrimSuffix(n.Value(), " "+rest)
		kind := slices.IndexFunc(incidentKinds, func(k engine.IncidentKind) bool { return strings.HasPrefix(rest, string(k)+" ") })
		if (severity != "page" && severity != "ticket") || kind < 0 {
			p.Errorf(n, "write severity, kind and what it is about: `page slo availability`, `page transition shed`, `page too long degraded`; the kinds are: "+
				strings.Join(names(incidentKinds), ", "), "%q does not name an incident", n.Value())
			continue
		}
		p.subject(scope, n, engine.Severity(severity), incidentKinds[kind], strings.TrimPrefix(rest, string(incidentKinds[kind])+" "))
	}
	return p.set("incidents", scope, n, nil, func(m *moment) (list []string) {
		for _, i := range m.state(scope).Incidents {
			list = append(list, named(i))
		}
		return list
	})
}

// subject refuses an incident about something that is not declared: that there is never one would hold of any rules. Of a change that
// somebody asks for, and of a source, the names are not known.
func (p *reading) subject(scope engine.Scope, n rules.Node, severity engine.Severity, kind engine.IncidentKind, name string) {
	service := p.file.set.Service(scope)
	var known []string
	switch kind {
	case engine.IncidentSLO:
		alerts := false // of a mutant the tiers may be others
		for _, a := range service.Policy.Alerts {
			known = append(known, a.SLO)
			alerts = alerts || a.SLO == name && (a.Severity == severity || p.mutant)
		}
		if slices.Contains(known, name) && !alerts {
			p.Errorf(n, "", "the SLO %s of %s has no alert of severity %s", name, scope, severity)
		}
	case engine.IncidentTransition, engine.IncidentWithheld, engine.IncidentGate:
		known = transitionsOf(service)
	case engine.IncidentTooLong, engine.IncidentStuckMode:
		known = modesOf(service)
	case engine.IncidentFlapping, engine.IncidentImposed, engine.IncidentDivergence:
		known = []string{string(scope)}
	default:
		return
	}
	if !slices.Contains(known, name) {
		slices.Sort(known)
		p.Errorf(n, p.Choose(name, slices.Compact(known), "there are none"), "%s can have no incident of kind %s about %q", scope, kind, name)
	}
}

func (p *reading) proposals(scope engine.Scope, n rules.Node) []claim {
	return p.set("proposals", scope, n, transitionsOf(p.file.set.Service(scope)), func(m *moment) (list []string) {
		for _, one := range m.state(scope).Proposals {
			list = append(list, one.Transition)
		}
		return list
	})
}

// withheld is which transitions are ready and do not start, each with the code of what keeps it.
func (p *reading) withheld(scope engine.Scope, n rules.Node) []claim {
	if !n.IsMapping() {
		p.Errorf(n, "write `withheld: {recover: min_duration}`; `withheld: {}` where nothing is", "withheld must be a mapping, not %s", n.Is())
		return nil
	}
	want := []string{}
	items := n.Items()
	for i, k := range n.Keys() {
		p.transition(k, scope, k.Value())
		code, _ := p.Text(items[i], "why")
		want = append(want, k.Value()+": "+code)
	}
	slices.Sort(want)
	return []claim{about("withheld", scope, words(want), func(m *moment) (string, bool) {
		var list []string
		for _, w := range m.state(scope).Withheld {
			list = append(list, fmt.Sprintf("%s: %s", w.Transition, w.Reason.Code))
		}
		slices.Sort(list)
		return words(list), slices.Equal(list, want)
	})}
}

// reason is why the scope is in its mode: the code of the reason of the last move, or part of its text.
func (p *reading) reason(scope engine.Scope, n rules.Node) []claim {
	want, _ := p.Text(n, "the reason")
	return []claim{about("reason", scope, want, func(m *moment) (string, bool) {
		for _, e := range slices.Backward(m.run.rehearsal.Events()) {
			if e.Stream != scope {
				continue
			}
			switch e.Fact.(type) {
			case engine.ChangeStarted, engine.UndoStarted, engine.ScopeAdded:
				return fmt.Sprintf("%s (%s)", e.Reason.Code, e.Reason.Text), string(e.Reason.Code) == want || strings.Contains(e.Reason.Text, want)
			}
		}
		return "nothing has happened", false
	})}
}

// asJSON is a flag's value as its file writes it: "false" is not false.
func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value) // it came as JSON
	}
	return string(text)
}

// flags are what instances are told of some flags.
func (p *reading) flags(scope engine.Scope, n rules.Node) []claim {
	if !n.IsMapping() {
		p.Errorf(n, "write `flags: {recommendations: false}`", "flags must be a mapping, not %s", n.Is())
		return nil
	}
	var claims []claim
	var known []string
	for _, s := range p.file.set.Services {
		for _, mode := range s.Policy.Modes {
			for name := range mode.Flags {
				known = append(known, name)
			}
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	items := n.Items()
	for i, k := range n.Keys() {
		name := k.Value()
		want, ok := p.JSON(items[i], "flag "+name)
		if !ok {
			continue
		}
		if !p.mutant && !slices.Contains(known, name) {
			p.Errorf(k, p.Choose(name, known, "no mode sets flags"), "no mode sets a flag %q", name)
			continue
		}
		claims = append(claims, about("flag "+name, scope, asJSON(want), func(m *moment) (string, bool) {
			got, told := m.state(scope).Directive.Flags[name]
			if !told {
				return "nothing is told", false
			}
			return asJSON(got), reflect.DeepEqual(got, want)
		}))
	}
	return claims
}

// noticeSeverities are those of which notices can be counted, and maxNotices how far.
var noticeSeverities = []engine.Severity{engine.SeverityPage, engine.SeverityTicket, engine.SeverityExec, engine.SeverityAsk, engine.SeverityInfo}

const maxNotices = 1_000_000

// notices count what people would have been sent so far: each page, ticket and question once, whatever was added to it.
func (p *reading) notices(scope engine.Scope, n rules.Node) []claim {
	var claims []claim
	var fields []rules.Field
	for _, severity := range noticeSeverities {
		fields = append(fields, rules.Optional(string(severity), func(n rules.Node) {
			want := p.Integer(n, "how many", 0, maxNotices)
			claims = append(claims, about("number of notices ("+string(severity)+")", scope, strconv.Itoa(want), func(m *moment) (string, bool) {
				got := 0
				for _, sent := range m.run.rehearsal.Notices() {
					if sent.Event.Stream == scope && sent.Severity == severity && sent.Action == engine.NoticeTrigger {
						got++
					}
				}
				return strconv.Itoa(got), got == want
			}))
		}))
	}
	p.Mapping(n, "notices", fields...)
	return claims
}

// readings are expressions over signals, in the language of conditions, and what they come to.
func (p *reading) readings(t *Test, scope engine.Scope, n rules.Node) []claim {
	var claims []claim
	one := func(n rules.Node, want engine.Truth) {
		name := fmt.Sprintf("reading %d", len(t.expressions[scope])+1)
		c, ok := p.Condition(p.file.set, p.file.set.Service(scope), n, name)
		if !ok {
			return
		}
		if t.expressions == nil {
			t.expressions = map[engine.Scope][]*rules.Condition{}
		}
		claims = append(claims, claim{what: fmt.Sprintf("%s in %s", c.Text, scope), scope: scope, want: want.String(), reading: len(t.expressions[scope])})
		t.expressions[scope] = append(t.expressions[scope], c)
	}
	switch {
	case n.IsList():
		p.List(n, "readings", func(n rules.Node) { one(n, engine.True) })
	case n.IsMapping():
		items := n.Items()
		for i, k := range n.Keys() {
			if word, ok := p.OneOf(items[i], "a reading", "true", "false", "unknown"); ok {
				one(k, map[string]engine.Truth{"true": engine.True, "false": engine.False, "unknown": engine.Unknown}[word])
			}
		}
	default:
		p.Errorf(n, `write `+"`"+`readings: {'sli("p99") < 0.5': true}`+"`", "readings must be a mapping of expressions to true, false or unknown, not %s", n.Is())
	}
	return claims
}
