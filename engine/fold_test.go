package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// The laws of the core, for random rules and random histories. A history is decided as the loop would: every decision is
// stored, read back and folded.

// drawModes draws what must not change under a scope while it runs: the names and ranks of its modes.
func drawModes(t *rapid.T) []engine.ModeRule {
	names := []engine.Mode{"normal", "degraded", "read-only", "failover"}[:pick(t, []int{4, 4, 3, 3, 2, 1, 0}, "modes")]
	var modes []engine.ModeRule
	for i, n := range names {
		modes = append(modes, engine.ModeRule{Name: n, Beside: i > 0 && between(t, 0, 3, "beside") == 0})
	}
	return modes
}

var spans = []time.Duration{0, time.Second, 15 * time.Second, 30 * time.Second, 45 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}

// drawPolicy draws rules over the modes. The digest is of their text, so equal rules have equal digests.
func drawPolicy(t *rapid.T, modes []engine.ModeRule) engine.Policy {
	span := choice[time.Duration](spans)
	p := engine.Policy{Scope: "checkout", Interval: 15 * time.Second, BlindAfter: pick(t, spans[3:], "blind_after")}
	for _, m := range modes {
		m.MinDuration, m.MaxDuration = often(t, span.Draw(t, "min"), "no min"), often(t, span.Draw(t, "max"), "no max")
		if rapid.Bool().Draw(t, "flagged") {
			m.Flags = engine.Flags{"banner": pick(t, []any{true, "on", 1.5}, "flag")}
		}
		p.Modes = append(p.Modes, m)
	}
	for i := range between(t, 1, 5, "conditions") {
		name := fmt.Sprintf("c%d", i)
		p.Conditions = append(p.Conditions, engine.Condition{Name: name, Text: name, Digest: engine.Digest(pick(t, []string{"x", "y"}, "digest"))})
	}
	condition := within{0, len(p.Conditions) - 1}
	for i := range between(t, 0, 2, "SLOs") {
		for _, s := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
			if rapid.Bool().Draw(t, "tier") {
				p.Alerts = append(p.Alerts, engine.Alert{SLO: fmt.Sprintf("slo%d", i), Severity: s, Condition: condition.Draw(t, "condition")})
			}
		}
	}
	for i := range p.Alerts {
		to := map[engine.Severity]engine.Severity{engine.SeverityPage: engine.SeverityExec, engine.SeverityTicket: engine.SeverityPage}[p.Alerts[i].Severity]
		if rapid.Bool().Draw(t, "escalates") {
			name := fmt.Sprintf("hot%d", i)
			p.Alerts[i].Escalation = &engine.Escalation{Severity: to, Condition: len(p.Conditions), For: pick(t, spans[1:], "burns for"), Nobody: between(t, 0, 3, "nobody") == 0}
			p.Conditions = append(p.Conditions, engine.Condition{Name: name, Text: name, Digest: engine.Digest(pick(t, []string{"x", "y"}, "digest"))})
		}
	}
	if len(modes) > 1 {
		mode := within{0, len(modes) - 1}
		for i := range between(t, 0, 7, "transitions") {
			from, to := mode.Draw(t, "from"), mode.Draw(t, "to")
			if from == to {
				continue
			}
			leaves := []engine.Mode{modes[from].Name}
			for _, m := range modes {
				if m.Name != leaves[0] && m.Name != modes[to].Name && rapid.Bool().Draw(t, "leaves "+string(m.Name)) {
					leaves = append(leaves, m.Name)
				}
			}
			tr := engine.Transition{Name: fmt.Sprintf("t%d", i), From: leaves, To: modes[to].Name, When: condition.Draw(t, "when"),
				For: often(t, span.Draw(t, "for"), "at once"), Severity: pick(t, []engine.Severity{"", engine.SeverityInfo, engine.SeverityTicket, engine.SeverityPage}, "severity")}
			if len(p.Alerts) > 0 && rapid.Bool().Draw(t, "joins") {
				tr.Alerts = []int{between(t, 0, len(p.Alerts)-1, "alert")}
			}
			drawChange(t, &tr, len(p.Conditions))
			p.Transitions = append(p.Transitions, tr)
		}
	}
	p.Informs = rapid.Bool().Draw(t, "informs")
	p.Flap = pick(t, []engine.Flap{{}, {}, {Changes: 2, Within: time.Minute}, {Changes: 3, Within: 10 * time.Minute}}, "flap")
	p.Automation = pick(t, []engine.Automation{"", "", "", "", "", engine.AutomationOn, engine.AutomationSuggest, engine.AutomationOff}, "automation")
	for i := range p.Modes {
		for _, tr := range p.Transitions {
			if tr.Gate != nil && slices.Contains(tr.From, p.Modes[i].Name) && p.Modes[i].MaxDuration > 0 && between(t, 0, 1, "way out") == 0 {
				p.Modes[i].OnExpiry = tr.Name
			}
		}
	}
	text, err := explain.EncodePolicy(p)
	if err != nil {
		t.Fatal(err)
	}
	p.Digest = engine.Digest(fmt.Sprintf("%x", sha256.Sum256(text)))
	return p
}

// drawObserved draws an evaluation: most come an interval after the one before, some late, some after a long time, some
// from a clock that was set back.
func drawObserved(t *rapid.T, p engine.Policy, prev time.Time) *engine.Observed {
	step := pick(t, []time.Duration{15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 30, 30, 31, 60, 300, 301, 900, 0, -15, -120}, "step") * time.Second
	o := &engine.Observed{Instant: prev.Add(step), Prev: prev, SourceBlind: between(t, 0, 5, "source blind") == 0}
	dark := between(t, 0, 9, "dark") == 0
	for _, c := range p.Conditions {
		word := pick(t, []string{"true", "true", "true", "true", "true", "false", "false", "unknown", "no-traffic", ""}, c.Name)
		if dark && word != "" {
			word = "unknown"
		}
		if word == "" {
			o.Conditions = append(o.Conditions, engine.Observation{})
			continue
		}
		o.Conditions = append(o.Conditions, observation(c.Name, word, o.Instant))
	}
	return o
}

// drawFrozen draws whether the whole fleet is frozen.
func drawFrozen(t *rapid.T) string {
	if between(t, 0, 29, "frozen") == 0 {
		return "game day"
	}
	return ""
}

func drawHappening(t *rapid.T, p engine.Policy, s engine.State, prev time.Time) engine.Happening {
	if between(t, 0, 2, "answered") == 0 {
		return drawAnswer(t, s)
	}
	reason := pick(t, []string{"why", ""}, "reason")
	span := pick(t, []time.Duration{0, 20 * time.Second, 2 * time.Minute, 25 * time.Hour, -time.Second}, "span")
	switch between(t, 0, 50, "happening") {
	case 42, 43, 44, 45, 46, 47, 48, 49, 50:
		return &engine.InstancesReported{}
	case 40:
		at := prev.Add(pick(t, []time.Duration{-time.Hour, time.Hour, -500 * 24 * time.Hour, 500 * 24 * time.Hour}, "from"))
		return &engine.CorrectionRequested{SLO: "availability", From: pick(t, []time.Time{{}, at}, "begins"), To: at.Add(span), Reason: reason,
			Cron: pick(t, []string{"", "0 2 * * *"}, "cron"), Duration: pick(t, []time.Duration{0, time.Hour}, "duration")}
	case 41:
		id := engine.CorrectionID("checkout-1")
		if len(s.Corrections) > 0 {
			id = s.Corrections[0].ID
		}
		return &engine.WithdrawalRequested{Correction: id, Reason: reason}
	case 0, 1:
		return &engine.SetRequested{Mode: pick(t, []engine.Mode{"normal", "degraded", "failover", "nowhere"}, "mode"), Reason: reason,
			For: span, Via: pick(t, []string{"", "", "t0"}, "via"), DirectiveOnly: between(t, 0, 2, "directive only") == 0,
			Force: between(t, 0, 3, "force") == 0, Roles: []string{pick(t, []string{"oncall", engine.RoleBreakGlass}, "role")}}
	case 2, 3, 4:
		return &engine.UnpinRequested{Reason: reason}
	case 5:
		return &engine.FreezeRequested{Reason: reason, For: max(0, span)}
	case 6, 7:
		return &engine.UnfreezeRequested{Reason: reason}
	case 8:
		return &engine.TimePassed{}
	case 9:
		if between(t, 0, 5, "really") == 0 {
			return &engine.ScopeRemoved{}
		}
	case 10, 11:
		return &engine.TimePassed{Prev: pick(t, []time.Time{{}, prev, prev.Add(-time.Minute)}, "answered last")}
	}
	return drawObserved(t, p, prev)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// history is a stream as a server sees it: its live state, and what a restart would make of the stored events.
type history struct {
	live, folded engine.State
	stored       []engine.Event
	past         []keptState
}

type keptState struct {
	state engine.State
	text  []byte
}

// decide decides what follows from in, stores and folds it, and checks the laws that hold for every stream.
func (h *history) decide(t *rapid.T, p engine.Policy, in engine.Input) []engine.Event {
	before := mustJSON([]any{p, h.live, in})
	events := engine.Decide(p, h.live, in)
	if again := engine.Decide(p, h.live, in); !reflect.DeepEqual(events, again) {
		t.Fatalf("two decisions from equal arguments differ:\n%s\n%s", mustJSON(events), mustJSON(again))
	}
	if after := mustJSON([]any{p, h.live, in}); !bytes.Equal(before, after) {
		t.Fatalf("Decide changed its arguments:\n%s\n%s", before, after)
	}
	if restarted := engine.Decide(p, h.folded, in); !bytes.Equal(mustJSON(events), mustJSON(restarted)) {
		t.Fatalf("after a restart another decision is made:\n%s\n%s", mustJSON(events), mustJSON(restarted))
	}
	for _, e := range events {
		if e.At.Before(h.live.At) || e.Version != h.live.Version+1 {
			t.Fatalf("%s/%d at %v does not follow %d at %v", e.Stream, e.Version, e.At, h.live.Version, h.live.At)
		}
		h.live = engine.Apply(h.live, e)
		stored := encode(t, e)
		read, err := engine.Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		if twice := encode(t, read); !bytes.Equal(stored, twice) {
			t.Fatalf("encoded again an event differs:\n%s\n%s", stored, twice)
		}
		if a, b := mustJSON(engine.Effects(e)), mustJSON(engine.Effects(read)); !bytes.Equal(a, b) {
			t.Fatalf("a stored event owes something else:\n%s\n%s", a, b)
		}
		h.folded = engine.Apply(h.folded, read)
		h.stored = append(h.stored, read)
	}
	if a, b := mustJSON(h.live), mustJSON(h.folded); !bytes.Equal(a, b) {
		t.Fatalf("the fold of the stored events is not the live state:\n%s\n%s", a, b)
	}
	h.past = append(h.past, keptState{h.live, mustJSON(h.live)})
	return events
}

// unchanged checks that states somebody kept are what they were: they share memory with those that followed.
func (h *history) unchanged(t *rapid.T) {
	for _, k := range h.past {
		if !bytes.Equal(mustJSON(k.state), k.text) {
			t.Fatalf("a state that was kept changed:\n%s\n%s", k.text, mustJSON(k.state))
		}
	}
}

// replayed checks that the stored inputs give the stored events again, and that every change can be explained.
func (h *history) replayed(t *rapid.T, policies []engine.Policy) {
	slices.SortFunc(policies, func(a, b engine.Policy) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	policies = slices.CompactFunc(policies, func(a, b engine.Policy) bool { return a.Digest == b.Digest })
	if r := explain.Run(h.stored, replayable(policies)); r.Difference != nil || r.NotKept > 0 {
		t.Fatalf("%s\n%s", r, mustJSON(r.Difference))
	}
	if err := explainAll(h.stored, replayable(policies)); err != nil {
		t.Fatal(err)
	}
}

func TestTheLawsOfTheCore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		modes := drawModes(t)
		p := drawPolicy(t, modes)
		var policies []engine.Policy
		laws := newChangeLaws()
		var h history
		prev := start
		var above []engine.Above
		for range between(t, 1, 60, "steps") {
			if between(t, 0, 9, "above moves") == 0 {
				above = drawAbove(t, modes)
			}
			if between(t, 0, 19, "reload") == 0 {
				p = drawPolicy(t, modes)
			}
			what := drawHappening(t, p, h.live, prev)
			at := prev
			if o, ok := what.(*engine.Observed); ok {
				prev, at = o.Instant, o.Instant
			}
			at = at.Add(pick(t, []time.Duration{0, time.Second, 20 * time.Second}, "delay"))
			if at.Before(h.live.At) {
				at = h.live.At
			}
			was := h.live
			who := pick(t, []string{"alice", "bob", "carol"}, "by")
			in := engine.Input{At: at, Term: uint64(between(t, 1, 3, "term")), Frozen: drawFrozen(t), What: what,
				By: engine.Actor{Principal: who + pick(t, []string{"", "-laptop"}, "token"), Person: who}}
			in.Instances = drawInstances(t, h.live, at)
			in.Above = above
			in.Brake = pick(t, []engine.Brake{{}, {Used: 0, Of: 1}, {Used: 1, Of: 1}, {Used: 1, Of: 3}, {Used: 5, Of: 3}}, "brake")
			if between(t, 0, 29, "deposed") == 0 && h.live.Directive.Revision > 0 {
				in.Deposed = "term 7 was heard of"
			}
			in.Recovered = pick(t, []uint64{0, 0, 0, 2, 5}, "recovered")
			events := h.decide(t, p, in)
			for _, e := range events {
				t.Logf("%s %d %s %s (%s: %s)", e.Cause.Input, e.Version, e.Kind(), mustJSON(e.Fact), e.Reason.Code, e.Reason.Text)
			}
			obey(t, p, was, h.live, in, events)
			obeyAbove(t, p, h.live, in, events)
			laws.see(t, p, was, in, events)
			policies = append(policies, p)
		}
		h.unchanged(t)
		h.replayed(t, policies)
	})
}

// drawAbove draws what the scopes above ask for; of the further one nobody may know.
func drawAbove(t *rapid.T, modes []engine.ModeRule) (list []engine.Above) {
	for _, name := range []engine.Scope{"shop", "global"}[:between(t, 0, 2, "ancestors")] {
		a := engine.Above{Scope: name, Mode: pick(t, []engine.Mode{"", "normal", "contained"}, "its mode")}
		switch between(t, 0, 3, "asks") {
		case 0:
			if len(modes) > 0 {
				a.Imposes = pick(t, modes, "imposed").Name // one without a rank too, though files cannot say that
			}
		case 1:
			a.Unsure = true
			return append(list, a)
		}
		list = append(list, a)
	}
	return list
}

// obeyAbove checks what holds of every decision under scopes that ask for something, and under a brake.
func obeyAbove(t *rapid.T, p engine.Policy, now engine.State, in engine.Input, events []engine.Event) {
	rank := func(m engine.Mode) int {
		return slices.IndexFunc(p.Modes, func(r engine.ModeRule) bool { return r.Name == m && !r.Beside })
	}
	floor := -1
	for _, i := range now.Imposed {
		floor = max(floor, rank(i.Mode))
	}
	free := now.Pin == nil && now.Change == nil && !now.Retired && in.Deposed == ""
	if r := rank(now.Target); free && r >= 0 && r < floor {
		t.Fatalf("%s is beneath %v, and nothing keeps it there", now.Target, now.Imposed)
	}
	if own := rank(now.Own); now.Own != "" && free && own >= 0 && own > rank(now.Target) && rank(now.Target) >= 0 {
		t.Fatalf("its own mode is %s, and it is held down in %s, which is less", now.Own, now.Target)
	}
	if in.Brake.Of > 0 && in.Brake.Used >= in.Brake.Of && engine.PermitOf(p, in, events) != nil {
		t.Fatalf("%d of %d moves are used, and another began", in.Brake.Used, in.Brake.Of)
	}
	for _, e := range events {
		f, moves := e.Fact.(engine.ChangeStarted)
		if moves && f.Imposed != "" && !slices.ContainsFunc(now.Imposed, func(i engine.Imposition) bool { return i.Parent == f.Imposed }) {
			t.Fatalf("%s asks for nothing, and moved the scope", f.Imposed)
		}
	}
}

func TestTheLawsHoldForTheFleet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := engine.Policy{Scope: engine.Fleet, Digest: "rules", Interval: 15 * time.Second, BlindAfter: time.Minute}
		var h history
		prev := start
		for range between(t, 1, 40, "steps") {
			o := &engine.SourcesObserved{Prev: prev, Instant: prev.Add(pick(t, []time.Duration{15, 15, 15, 30, 31, 300, -15}, "step") * time.Second)}
			for _, name := range []string{"main", "other"}[:between(t, 0, 2, "sources")] {
				asked := between(t, 0, 3, "asked") > 0
				o.Sources = append(o.Sources, engine.Sight{Source: name, Asked: asked, Blind: asked && between(t, 0, 2, "blind") > 0})
			}
			var what engine.Happening = o
			switch between(t, 0, 11, "happening") {
			case 10:
				what = &engine.TermHeard{Term: uint64(between(t, 0, 5, "heard")), Detail: pick(t, []string{"", "it has more"}, "detail")}
			case 11:
				what = &engine.RecoverRequested{Term: uint64(between(t, 0, 6, "recovered")), Reason: pick(t, []string{"why", ""}, "reason")}
			case 0:
				what = &engine.HeadsObserved{Heads: []engine.Head{{Stream: "checkout", Version: 3, Hash: "abc"}}}
			case 1:
				what = &engine.LogFaulted{From: prev, Detail: "no space left"}
			case 2:
				what = &engine.FreezeRequested{Reason: "why", For: pick(t, []time.Duration{0, time.Minute}, "for")}
			case 3:
				what = &engine.UnfreezeRequested{Reason: "why"}
			default:
				prev = o.Instant
			}
			at := prev
			if at.Before(h.live.At) {
				at = h.live.At
			}
			h.decide(t, p, engine.Input{At: at, Term: 1, What: what})
			for _, i := range h.live.Incidents {
				if i.Kind == engine.IncidentTerm {
					if h.live.Exceeded == nil {
						t.Fatalf("%s is open and this server leads", i.Kind)
					}
					continue
				}
				if !slices.ContainsFunc(h.live.Blind, func(b engine.Blind) bool { return b.Subject == i.Subject }) {
					t.Fatalf("%s %s is open and not so any more", i.Kind, i.Subject)
				}
			}
		}
		h.unchanged(t)
	})
}

func encode(t *rapid.T, e engine.Event) []byte {
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// obey checks what has to be true of every decision.
func obey(t *rapid.T, p engine.Policy, was, now engine.State, in engine.Input, events []engine.Event) {
	started := 0
	open, further := map[engine.IncidentID]bool{}, map[engine.IncidentID]engine.Severity{}
	for _, i := range was.Incidents {
		open[i.ID], further[i.ID] = true, i.Escalated
	}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			started++
			byPerson := e.Reason.Code == engine.CodeRequest || slices.ContainsFunc(was.Proposals, func(p engine.Proposal) bool { return p.ID == f.Proposal && p.Requester != nil })
			fromAbove := f.Imposed != "" || f.Returns
			if (p.Automation == engine.AutomationSuggest || p.Automation == engine.AutomationOff) && !byPerson && !fromAbove {
				t.Fatalf("automation is %s, and %s started", p.Automation, f.Transition)
			}
		case engine.ChangeProposed:
			if f.Proposal.Requester == nil && (p.Automation == engine.AutomationSuggest || p.Automation == engine.AutomationOff) {
				t.Fatalf("automation is %s, and %s was proposed", p.Automation, f.Proposal.Transition)
			}
		case engine.IncidentOpened:
			if open[f.Incident.ID] {
				t.Fatalf("%s was opened twice", f.Incident.ID)
			}
			open[f.Incident.ID] = true
		case engine.IncidentUpdated:
			if !open[f.Incident] {
				t.Fatalf("%s is not open and gets a note", f.Incident)
			}
		case engine.IncidentEscalated:
			if !open[f.Incident] || further[f.Incident] != "" {
				t.Fatalf("%s is not open, or was told further before", f.Incident)
			}
			if f.From == f.To {
				t.Fatalf("%s is told to %s, who have it", f.Incident, f.To)
			}
			if !f.Nobody {
				further[f.Incident] = f.To
			}
		case engine.IncidentResolved:
			if !open[f.Incident] {
				t.Fatalf("%s is not open and is resolved", f.Incident)
			}
			if f.Escalated != further[f.Incident] {
				t.Fatalf("%s was told to %q further, and its end to %q", f.Incident, further[f.Incident], f.Escalated)
			}
			delete(open, f.Incident)
		}
		if e.Reason.Code == "" || e.Stream != "checkout" || e.Cause.Input == "" {
			t.Fatalf("an event does not say why or whose: %s", encode(t, e))
		}
	}
	if started > 1 {
		t.Fatalf("%d changes started in one decision", started)
	}
	subjects := map[string]bool{}
	for _, i := range now.Incidents {
		key := fmt.Sprintf("%s %s %s", i.Kind, i.Subject, i.Mode) // a transition of that name may have led elsewhere once
		if subjects[key] {
			t.Fatalf("two incidents are open about one thing: %s", key)
		}
		subjects[key] = true
	}
	for _, i := range now.Incidents {
		about := false
		switch i.Kind {
		case engine.IncidentSLO:
			about = slices.ContainsFunc(p.Alerts, func(a engine.Alert) bool { return "slo/"+a.SLO+"/"+string(a.Severity) == i.Subject })
		case engine.IncidentTransition:
			about = i.Mode == now.Target || now.Change != nil && (now.Change.To == i.Mode || leavesInWaves(now.Change, i.Mode))
		case engine.IncidentTooLong:
			about = engine.Mode(i.Subject) == now.Target || leavesInWaves(now.Change, engine.Mode(i.Subject))
		case engine.IncidentWithheld:
			about = slices.ContainsFunc(now.Withheld, func(w engine.Withheld) bool { return w.Transition == i.Subject }) ||
				slices.ContainsFunc(now.Proposals, func(p engine.Proposal) bool { return p.Transition == i.Subject })
		case engine.IncidentGate:
			about = slices.ContainsFunc(now.Proposals, func(p engine.Proposal) bool { return p.Transition == i.Subject })
		case engine.IncidentGlass:
			about = i.Mode == now.Target || now.Change != nil && (now.Change.To == i.Mode || leavesInWaves(now.Change, i.Mode))
		case engine.IncidentChange: // told until a change is done, or a person has settled it
			about = true
		case engine.IncidentBlind:
			about = len(now.Blind) > 0
		case engine.IncidentFlapping:
			about = slices.ContainsFunc(now.Withheld, func(w engine.Withheld) bool { return w.Reason.Code == engine.CodeFlapping })
			if n := len(now.Past); n > 0 && p.Flap.Changes > 0 && now.Past[n-1].Until != "" && now.Past[n-1].To == now.Target {
				about = true // an `until` waits too
			}
		case engine.IncidentDivergence:
			about = p.Instances.Diverges(in.Instances.Behind, in.Instances.Known)
		case engine.IncidentImposed: // while this server may not lead nothing is moved, and nothing said of it
			about = now.Pin != nil && len(now.Imposed) > 0 || in.Deposed != ""
		}
		if !about {
			t.Fatalf("%s %s is open and not so any more", i.Kind, i.Subject)
		}
	}
	for _, w := range now.Withheld {
		if !slices.ContainsFunc(p.Transitions, func(tr engine.Transition) bool { return tr.Name == w.Transition }) {
			t.Fatalf("%s is withheld and not declared", w.Transition)
		}
	}
	if !now.Retired && (now.Pin != nil && !now.Pin.Until.After(now.At) || now.Freeze != nil && !now.Freeze.Until.IsZero() && !now.Freeze.Until.After(now.At)) {
		t.Fatal("a pin or freeze holds after its time")
	}
	if now.Change == nil && now.Mode != now.Target && !now.Retired {
		t.Fatalf("no change is under way: %s → %s", now.Mode, now.Target)
	}
	if d := now.Directive; now.Target != "" && d.Mode != now.Target {
		t.Fatalf("the target is %s, the directive says %s", now.Target, d.Mode)
	}
	if now.Directive.Revision < was.Directive.Revision || now.Directive.Term < was.Directive.Term {
		t.Fatalf("the directive went back from %d/%d to %d/%d", was.Directive.Term, was.Directive.Revision, now.Directive.Term, now.Directive.Revision)
	}
	o, observed := in.What.(*engine.Observed)
	if !observed {
		return
	}
	sees := false
	for _, c := range o.Conditions {
		sees = sees || c.Asked && c.Truth != engine.Unknown
	}
	if !sees && was.Version > 0 && !was.Retired {
		unknownMoves(t, was, events)
	}
	if !sees && was.Rules == p.Digest {
		for _, e := range events {
			switch f := e.Fact.(type) {
			case engine.IncidentOpened:
				if f.Incident.Kind == engine.IncidentSLO || f.Incident.Kind == engine.IncidentTransition && started == 0 || f.Incident.Kind == engine.IncidentWithheld {
					t.Fatalf("unknown opened %s %s", f.Incident.Kind, f.Incident.Subject)
				}
			case engine.IncidentResolved:
				for _, i := range was.Incidents {
					if i.ID == f.Incident && i.Kind == engine.IncidentSLO {
						t.Fatalf("unknown resolved %s", i.Subject)
					}
				}
			}
		}
	}
}

func TestAnEventOfAnUnknownKindChangesOnlyThePosition(t *testing.T) {
	var s engine.State
	p := engine.Policy{Scope: "checkout", Digest: "rules", Interval: 15 * time.Second, BlindAfter: time.Minute, Modes: []engine.ModeRule{{Name: "normal"}}}
	for _, e := range engine.Decide(p, s, engine.Input{At: start, Term: 1, What: &engine.TimePassed{}}) {
		s = engine.Apply(s, e)
	}
	stored := fmt.Sprintf(`{"stream":"checkout","version":%d,"at":"2026-03-02T09:00:15Z","kind":"MoonRisen","cause":{"input":"tide"},"reason":{"code":"night"},"fact":{"phase":"full","of":[1,2]}}`,
		s.Version+1)
	e, err := engine.Decode([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind() != "MoonRisen" {
		t.Errorf("its kind is %s", e.Kind())
	}
	if b, err := e.Encode(); err != nil || string(b) != stored {
		t.Errorf("a newer program's event does not survive an older one, %v:\n%s\n%s", err, stored, b)
	}
	if owed := engine.Effects(e); owed != nil {
		t.Errorf("it owes %v", owed)
	}
	want := s
	want.Version, want.At = e.Version, e.At
	if got := engine.Apply(s, e); !reflect.DeepEqual(got, want) {
		t.Errorf("it changed the state from %s to %s", mustJSON(s), mustJSON(got))
	}
}

// FuzzDecode checks that whatever decodes has one canonical form, and that nothing makes the decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"stream":"checkout","version":3,"at":"2026-03-02T09:00:15Z","kind":"ChangeStarted","cause":{"input":"observed"},"reason":{"code":"condition"},"fact":{"change":"checkout-3","from":"normal","to":"degraded"}}`))
	f.Add([]byte(`{"stream":"checkout","version":3,"at":"2026-03-02T09:00:15.5+02:00","kind":"DirectivePublished","evidence":[{"signal":"p99","value":1e300,"why":"<stale>"}],"fact":{"directive":{"term":1,"flags":{"b":[1,{"a":null}]}}}}`))
	f.Add([]byte(`{"kind":"ConditionTurned","fact":{"clock":{"truth":"perhaps","sum":-1}}}`))
	f.Add([]byte(`{"kind":"Unheard","fact":{"a":"é<>&"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := engine.Decode(b)
		if err != nil {
			return
		}
		first, err := e.Encode()
		if err != nil {
			return // an instant JSON cannot say, such as one of the year 10000
		}
		again, err := engine.Decode(first)
		if err != nil {
			t.Fatalf("the canonical form does not decode: %v\n%s", err, first)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("there are two canonical forms, %v:\n%s\n%s", err, first, second)
		}
	})
}
