package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

// quietPolicy has modes that pause and keep quiet in each way that a file may say: ended by a schedule, by max_duration, behind a gate.
func quietPolicy() engine.Policy {
	names := []string{"a/page", "a/ticket", "b/page", "window", "closed", "broken", "attack", "calm", "night", "day"}
	index := func(name string) int { return slices.Index(names, name) }
	p := engine.Policy{
		Scope: "checkout", Digest: "rules-1", Interval: time.Minute, BlindAfter: 5 * time.Minute,
		Modes: []engine.ModeRule{
			{Name: "normal"},
			{Name: "maintenance", Pause: []string{"a"}, Suppress: &engine.Suppress{SLOs: []string{"b"}, Severities: []engine.Severity{engine.SeverityPage}}},
			{Name: "repair", MaxDuration: 10 * time.Minute, Pause: []string{"b"}, Suppress: &engine.Suppress{SLOs: []string{"a"}, Severities: []engine.Severity{engine.SeverityTicket}}},
			{Name: "contained"},
			{Name: "cost", Beside: true, Suppress: &engine.Suppress{SLOs: []string{"a", "b"}, Severities: []engine.Severity{engine.SeverityPage, engine.SeverityTicket}}},
		},
		Alerts: []engine.Alert{
			{SLO: "a", Severity: engine.SeverityPage, Condition: index("a/page")},
			{SLO: "a", Severity: engine.SeverityTicket, Condition: index("a/ticket")},
			{SLO: "b", Severity: engine.SeverityPage, Condition: index("b/page")},
		},
	}
	for _, name := range names {
		p.Conditions = append(p.Conditions, engine.Condition{Name: name, Text: name, Digest: engine.Digest(name)})
	}
	until := func(name string) engine.ConditionRef { return engine.ConditionRef(index(name) + 1) }
	p.Transitions = []engine.Transition{
		{Name: "maintain", From: []engine.Mode{"normal", "cost"}, To: "maintenance", When: index("window"), Until: until("closed"), Digest: "1"},
		{Name: "save", From: []engine.Mode{"normal"}, To: "cost", When: index("night"), Until: until("day"), Digest: "2"},
		{Name: "mend", From: []engine.Mode{"normal", "maintenance"}, To: "repair", When: index("broken"), Digest: "3",
			Gate: &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}}, Within: time.Hour}},
		{Name: "contain", From: []engine.Mode{"normal", "maintenance", "repair", "cost"}, To: "contained", When: index("attack"), Until: until("calm"),
			Severity: engine.SeverityPage, Alerts: []int{0, 2}, Digest: "4"},
		{Name: "finish", From: []engine.Mode{"repair"}, To: "normal", When: index("calm"), Digest: "5"},
	}
	return p
}

// quietWatch follows a log and knows, by rules of its own, who may be quiet about what.
type quietWatch struct {
	policy engine.Policy
	state  engine.State
	truth  map[int]engine.Truth // of tiers, as last known
	prev   time.Time
	earned map[engine.ChangeID]bool // changes that people approved, or that automation made
	// approved says that the last decision started what people had said yes to, after it had judged the tiers: they are judged by its mode
	// at the next evaluation.
	approved bool
}

func (w *quietWatch) decide(t *rapid.T, at time.Time, what engine.Happening, by string) {
	before := w.state
	w.approved = false
	for _, e := range engine.Decide(w.policy, w.state, engine.Input{At: at, What: what, By: engine.Actor{Principal: by}}) {
		w.state = engine.Apply(w.state, e)
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			w.earned[f.Change] = f.Proposal != "" || !f.Forced && e.Reason.Code == engine.CodeCondition
			w.approved = f.Proposal != ""
		case engine.UndoStarted:
			w.earned[f.Change] = w.earned[f.Change] && f.Person == ""
		case engine.IncidentSuppressed:
			w.mayBeQuiet(t, f.Suppressed, what)
		}
	}
	for _, p := range w.state.Lasting() {
		if p.Mode != w.state.Target || !w.earned[p.Change] {
			t.Fatalf("%+v lasts in %s: nobody approved or planned it", p, w.state.Target)
		}
		if m, _ := w.policy.Mode(p.Mode); m.MaxDuration > 0 && w.observed(what) && w.state.Dwell(at) > m.MaxDuration {
			t.Fatalf("%+v outlasts %v", p, m.MaxDuration)
		}
	}
	for _, i := range before.Incidents { // what was told is told until it is over, or paused
		still := slices.ContainsFunc(w.state.Incidents, func(o engine.Incident) bool { return o.ID == i.ID })
		quiet := slices.ContainsFunc(w.state.Suppressed, func(q engine.Suppressed) bool { return q.Subject == i.Subject })
		if !still && quiet && i.Kind == engine.IncidentSLO {
			t.Fatalf("%+v was told, and is kept quiet now", i)
		}
	}
}

func (w *quietWatch) observed(what engine.Happening) bool {
	_, ok := what.(*engine.Observed)
	return ok
}

// mayBeQuiet checks that a mode keeps quiet what it declares, and is bound to end.
func (w *quietWatch) mayBeQuiet(t *rapid.T, q engine.Suppressed, what engine.Happening) {
	m, _ := w.policy.Mode(q.Mode)
	declared := m.Suppress != nil && slices.ContainsFunc(w.policy.Alerts, func(a engine.Alert) bool {
		return "slo/"+a.SLO+"/"+string(a.Severity) == q.Subject && slices.Contains(m.Suppress.SLOs, a.SLO) && slices.Contains(m.Suppress.Severities, a.Severity)
	})
	if !declared || !w.observed(what) {
		t.Fatalf("%+v: %s declares %+v", q, q.Mode, m.Suppress)
	}
}

// told checks, after an evaluation, that each tier that is known to fire is told, or for a reason that holds is not.
func (w *quietWatch) told(t *rapid.T, at time.Time) {
	open := func(slo string, severity engine.Severity) bool {
		_, open := w.state.Incident(engine.IncidentSLO, fmt.Sprintf("slo/%s/%s", slo, severity))
		return open
	}
	for k, a := range w.policy.Alerts {
		_, paused := w.state.Paused(a.SLO)
		fires := w.truth[k] == engine.True
		quiet := slices.ContainsFunc(w.state.Suppressed, func(q engine.Suppressed) bool {
			if q.Subject == fmt.Sprintf("slo/%s/page", a.SLO) && a.Severity == engine.SeverityTicket {
				return true // the louder tier is recorded for both
			}
			return q.Subject == fmt.Sprintf("slo/%s/%s", a.SLO, a.Severity)
		})
		switch {
		case !fires && open(a.SLO, a.Severity) && w.truth[k] == engine.False:
			t.Fatalf("%s/%s is over, and open", a.SLO, a.Severity)
		case paused && open(a.SLO, a.Severity):
			t.Fatalf("%s is paused, and its %s is open", a.SLO, a.Severity)
		case !fires || open(a.SLO, a.Severity) || paused || a.Severity == engine.SeverityTicket && open(a.SLO, engine.SeverityPage):
		case !quiet:
			t.Fatalf("%s/%s fires in %s, and nobody is told: %+v", a.SLO, a.Severity, w.state.Target, w.state)
		default:
			m, _ := w.policy.Mode(w.state.Target)
			entered := m.MaxDuration > 0 && w.state.Dwell(at) < m.MaxDuration
			if c := w.state.Change; m.MaxDuration == 0 {
				entered = c != nil && c.Plan.Until != "" || c == nil && len(w.state.Past) > 0 && w.state.Past[len(w.state.Past)-1].Until != ""
			}
			if m.Suppress == nil || !entered {
				t.Fatalf("%s/%s is kept quiet in %s, which does not end", a.SLO, a.Severity, w.state.Target)
			}
		}
	}
}

// Whatever happens, in whatever order: a pause was approved or planned and ends with its mode or its time; what is kept quiet is declared,
// and bound to end; and a tier that fires is told, or paused, or kept quiet. Between the three nothing falls through.
func TestNobodyIsQuietWithoutAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &quietWatch{policy: quietPolicy(), truth: map[int]engine.Truth{}, earned: map[engine.ChangeID]bool{}}
		at := start
		w.decide(t, at, &engine.TimePassed{}, "")
		truths := []engine.Truth{engine.True, engine.False, engine.Unknown}
		now := make([]engine.Truth, len(w.policy.Conditions))
		modes := []engine.Mode{"normal", "maintenance", "repair", "contained", "cost"}
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 12).Draw(t, "step"); step {
			case 0:
				w.decide(t, at, &engine.SetRequested{Mode: rapid.SampledFrom(modes).Draw(t, "mode"), Reason: "why",
					DirectiveOnly: rapid.Bool().Draw(t, "directive"), Force: rapid.Bool().Draw(t, "force"), Roles: []string{engine.RoleBreakGlass}}, "alice")
			case 1:
				w.decide(t, at, &engine.UnpinRequested{Reason: "why"}, "alice")
			case 2:
				if p := w.state.Proposals; len(p) > 0 {
					w.decide(t, at, &engine.ReviewGiven{Proposal: p[0].ID, Digest: p[0].Digest, Yes: true, Roles: []string{"oncall"}, Reason: "why"}, "bob")
				}
			case 3:
				if p := w.state.Past; len(p) > 0 {
					w.decide(t, at, &engine.UndoRequested{Change: p[len(p)-1].ID, Reason: "why"}, "alice")
				}
			default:
				for i := range now { // what holds mostly goes on
					if now[i] == engine.Unknown || rapid.IntRange(0, 3).Draw(t, "turns") == 0 {
						now[i] = rapid.SampledFrom(truths).Draw(t, w.policy.Conditions[i].Name)
					}
				}
				at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 1, 1, 12}).Draw(t, "minutes")) * time.Minute)
				o := &engine.Observed{Instant: at, Prev: w.prev, Conditions: make([]engine.Observation, len(now))}
				for i := range now {
					o.Conditions[i] = engine.Observation{Asked: true, Truth: now[i]}
				}
				for k, a := range w.policy.Alerts {
					if now[a.Condition] != engine.Unknown {
						w.truth[k] = now[a.Condition]
					} else {
						w.truth[k] = engine.Unknown
					}
				}
				w.decide(t, at, o, "")
				w.prev = at
				if !w.approved {
					w.told(t, at)
				}
			}
		}
	})
}
