package prove

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// service is a rule file with a few signals to ask for.
func service(name, body string) rules.File {
	return rules.File{Name: name + ".yaml", Data: []byte("version: modeshift/v1\nservice: " + name + `
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: 'sum(rate(e[{{.window}}]))', total_query: 'sum(rate(t[{{.window}}]))'}}
    alerting: {name: Availability}
slis: [{name: load, query: load}]
schedules: [{name: night, cron: "@daily", duration: 8h}]
` + body)}
}

// shed and recover, well apart.
const wellApart = `
modes: [{name: normal}, {name: degraded, min_duration: 5m}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5, for: 10m}
`

// gated has a destructive step behind two keys, and a way back.
const gated = `
modes: [{name: normal}, {name: failover, beside: true}]
transitions:
  - name: fail-over
    from: [normal]
    to: failover
    when: sli("load") > 0.9
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 1}], within: 15m}
    actions:
      - name: repoint
        webhook: {url: "https://dns.internal.example.com/repoint", json: {to: eu-2}}
        destructive: true
        undo: {webhook: {url: "https://dns.internal.example.com/repoint", json: {to: eu-1}}}
  - {name: fail-back, from: [failover], to: normal, when: sli("load") < 0.5, undo: entry}
`

// counter runs a proof that has to find a counter-example, and carries that out again.
func counter(t *testing.T, set *rules.Set, p Property, says string) *Trace {
	t.Helper()
	f := find(t, Run(t.Context(), set, nil, Options{}), p)
	if f.Answer != CounterExample || !strings.Contains(f.Detail, says) {
		t.Fatalf("%s: %s: %q, want a counter-example that says %q", f.Says, f.Answer, f.Detail, says)
	}
	r, err := Replay(t.Context(), set, f.Trace, Options{})
	if err != nil || !r.Stands {
		t.Fatalf("it does not stand when it is carried out again: %v, %+v", err, r)
	}
	return f.Trace
}

// proved runs a proof in which all has to hold.
func proved(t *testing.T, set *rules.Set) []Report {
	t.Helper()
	reports := Run(t.Context(), set, nil, Options{})
	for _, r := range reports {
		for _, f := range r.Findings {
			if f.Answer != Proved {
				t.Errorf("%v: %s: %s: %s", r.Scopes, f.Says, f.Answer, f.Detail)
			}
		}
	}
	return reports
}

// then are all that came of a trace.
func then(t *Trace) (list []string) {
	for _, s := range t.Steps {
		list = append(list, s.Then...)
	}
	return list
}

func TestAllHoldsOfAServiceThatShedsAndRecovers(t *testing.T) {
	r := proved(t, compile(t, service("checkout", wellApart)))
	if want := (ModeBack{"checkout", "degraded", BackAlone}); !slices.Contains(r[0].Modes, want) {
		t.Errorf("the ways back are %v, want %v", r[0].Modes, want)
	}
}

func TestAllHoldsOfAGate(t *testing.T) {
	proved(t, compile(t, service("checkout", gated)))
}

func TestAModeWithoutAWayOutIsFound(t *testing.T) {
	trace := counter(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded}, {name: closed}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5}
  - {name: close, from: [degraded], to: closed, when: 'burning("availability", "page")'}
`)), WayBack, "checkout: from closed nothing that is declared leads back to normal")
	if n := len(trace.Steps); n != 2 {
		t.Errorf("the shortest way there has 2 steps, not %d: %v", n, then(trace))
	}
}

// Rules that are mended elsewhere than on the way to the counter-example go the same way, and nothing is wrong at its end.
func TestACounterExampleDoesNotStandOnceItsRulesAreMended(t *testing.T) {
	closes := `
modes: [{name: normal}, {name: degraded}, {name: closed}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5}
  - {name: close, from: [degraded], to: closed, when: 'burning("availability", "page")'}
`
	waits := func(other string) *rules.Set {
		back := func(other string) string {
			return `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: 'sli("load") < 0.5 && mode("` + other + `'}
`
		}
		return compile(t, service("cart", back(`checkout") == "normal"`)), service("checkout", back(other)))
	}
	ungated := func(destructive bool) *rules.Set {
		set := compile(t, service("checkout", gated))
		set.Services[0].Policy.Transitions[0].Gate = nil
		set.Services[0].Policy.Transitions[0].Playbook.Steps[0].Destructive = destructive
		return set
	}
	for _, c := range []struct {
		property     Property
		says         string
		before, then *rules.Set
		why          string
	}{
		{WayBack, "from closed", compile(t, service("checkout", closes)),
			compile(t, service("checkout", closes+"  - {name: open, from: [closed], to: normal, when: '!burning(\"availability\", \"page\")'}\n")), "there is a way back now"},
		{Wait, "waits for", waits(`cart") == "normal"`), waits(`cart") != "normal"`), "they do not wait for each other now"},
		{Gate, "nobody is asked", ungated(true), ungated(false), "nothing of it is wrong now"},
	} {
		trace := counter(t, c.before, c.property, c.says)
		if r, err := Replay(t.Context(), c.then, trace, Options{}); err != nil || r.Stands || !strings.Contains(r.Detail, c.why) {
			t.Errorf("%s: %+v, %v; want it not to stand: %s", c.property, r, err, c.why)
		}
	}
	trace := counter(t, compile(t, service("checkout", closes)), WayBack, "from closed")
	if r, err := Replay(t.Context(), compile(t, service("checkout", closes)), trace, Options{MaxBytes: 1}); err != nil || !r.Stands || !strings.Contains(r.Detail, "a bound was reached: memory") {
		t.Errorf("%+v, %v; want the bound to be said", r, err)
	}
	trace.Property = "frobnication"
	if _, err := Replay(t.Context(), compile(t, service("checkout", closes)), trace, Options{}); err == nil {
		t.Error("nobody knows what is wrong with a trace of no property")
	}
}

func TestAWayOutThatNothingMeasuredCanOpenIsNone(t *testing.T) {
	for _, never := range []string{
		`burn_rate("availability", "5m") < 1.0 && burn_rate("availability", "5m") > 14.4`,
		`burning("availability", "page") && error_ratio("availability", "5m") < 0.006`, // either pair needs one above: 14.4 × 0.001, or 6 × 0.001 over 30m
		`burn_rate("availability", "5m") > 1000.0`,                                     // no more than all can fail
		`budget_remaining("availability") > 1.0`,
		`divergence() < 0.0`,
		`schedule("night") && !schedule("night")`,
		`mode("checkout") == "normal"`,
	} {
		set := compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: '`+never+`'}
`))
		want := CounterExample
		if strings.Contains(never, "error_ratio") {
			want = Proved // the pair over 6h and 30m can fire while 5m is calm
		}
		if f := find(t, Run(t.Context(), set, nil, Options{}), WayBack); f.Answer != want {
			t.Errorf("%s: %s, want %s", never, f.Answer, want)
		}
	}
}

func TestAModeThatIsEnteredByHandAloneIsLeftByHand(t *testing.T) {
	r := proved(t, compile(t, service("checkout", "modes: [{name: normal}, {name: closed}]\n")))
	if want := (ModeBack{"checkout", "closed", BackHand}); !slices.Contains(r[0].Modes, want) {
		t.Errorf("the ways back are %v, want %v", r[0].Modes, want)
	}
}

// The loader refuses such rules, and the core would ask: the checker has to see it all the same.
func TestADestructiveActionWithoutAGateIsFound(t *testing.T) {
	set := compile(t, service("checkout", gated))
	set.Services[0].Policy.Transitions[0].Gate = nil
	counter(t, set, Gate, "fail-over starts, repoint is destructive, and nobody is asked")
}

func TestAGateThatOpensWithOneOfTwoKeysIsFound(t *testing.T) {
	oneKey := func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		p.Transitions = slices.Clone(p.Transitions)
		gate := *p.Transitions[0].Gate
		gate.Groups = gate.Groups[:1]
		p.Transitions[0].Gate = &gate
		return engine.Decide(p, s, in)
	}
	f := find(t, Run(t.Context(), compile(t, service("checkout", gated)), nil, Options{decide: oneKey}), Gate)
	if f.Answer != CounterExample || !strings.Contains(f.Detail, "fail-over starts, and not all have said yes whom its gate asks") {
		t.Errorf("%s: %s", f.Answer, f.Detail)
	}
}

func TestEntryAndExitThatAreTrueTogetherAreFound(t *testing.T) {
	trace := counter(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded, min_duration: 5m}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.5, for: 2m}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.9, for: 10m}
`)), Livelock, "checkout: normal → degraded, checkout: degraded → normal")
	if trace.Loop == 0 {
		t.Error("it does not say where it comes round")
	}
}

func TestAWhenAndItsUntilThatAreTrueTogetherComeRoundByTheHour(t *testing.T) {
	counter(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.5, until: sli("load") < 0.9}
`)), Livelock, "normal → degraded")
	proved(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9, until: sli("load") < 0.5}
`)))
}

// That a change fails and is tried again after retry_after was declared so: it is no livelock.
func TestAChangeThatIsTriedAgainByTheHourIsNotALivelock(t *testing.T) {
	proved(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5, verify: 'burn_rate("availability", "5m") < 1.0'}
`)))
}

func TestTwoScopesThatWaitForEachOtherAreFound(t *testing.T) {
	back := func(other string) string {
		return `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: 'sli("load") < 0.5` + other + `'}
`
	}
	set := compile(t, service("cart", back(` && mode("checkout") == "normal"`)), service("checkout", back(` && mode("cart") == "normal"`)))
	trace := counter(t, set, Wait, "cart in degraded waits for checkout, checkout in degraded waits for cart")
	if len(trace.Steps) != 1 {
		t.Errorf("both are there after one evaluation, not %d steps", len(trace.Steps))
	}
	counter(t, set, WayBack, "nothing that is declared leads back")
	// Where one of them does not wait, both get back.
	proved(t, compile(t, service("cart", back(` && mode("checkout") == "normal"`)), service("checkout", back(""))))
	proved(t, compile(t, service("cart", back(` && mode("checkout") != "normal"`)), service("checkout", back(""))))
}

func TestAParentThatWaitsForTheChildItHoldsIsFound(t *testing.T) {
	parent := func(recover string) rules.File {
		return service("shop", `
modes: [{name: normal}, {name: contained, imposes: degraded}]
transitions:
  - {name: contain, from: [normal], to: contained, when: 'burning("availability", "page")'}
  - {name: release, from: [contained], to: normal, when: '`+recover+`'}
`)
	}
	child := service("cart", "parent: shop\n"+wellApart)
	counter(t, compile(t, parent(`mode("cart") == "normal"`), child), Wait, "cart in degraded waits for shop, shop in contained waits for cart")
	proved(t, compile(t, parent(`mode("cart") == "degraded" && !burning("availability", "page")`), child))
}

// Nothing that rules can say makes the core go on after a no; a core that does is seen to.
func TestActingOnAYesThatCameTooLateIsFound(t *testing.T) {
	late := func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		r, review := in.What.(*engine.ReviewGiven)
		i := slices.IndexFunc(s.Resting, func(rest engine.Rest) bool { return review && rest.ID == r.Proposal })
		if i < 0 || !r.Yes || s.Change != nil {
			return engine.Decide(p, s, in)
		}
		t := &p.Transitions[0]
		return []engine.Event{{Stream: s.Scope, Version: s.Version + 1, At: in.At, Reason: engine.Reason{Code: engine.CodeApproved},
			Fact: engine.ChangeStarted{Change: "late", Transition: t.Name, From: s.Target, To: t.To, Proposal: r.Proposal}}}
	}
	f := find(t, Run(t.Context(), compile(t, service("checkout", gated)), nil, Options{decide: late}), AfterNo)
	if f.Answer != CounterExample || !strings.Contains(f.Detail, "which has ended") {
		t.Fatalf("%s: %s", f.Answer, f.Detail)
	}
	if last := f.Trace.Steps[len(f.Trace.Steps)-1]; last.Review == nil || !last.Review.Late {
		t.Errorf("the last step is %s", last.What())
	}
}

// Nor does anything make it take unknown for true.
func TestMovingOnWhatIsUnknownIsFound(t *testing.T) {
	credulous := func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		if o, is := in.What.(*engine.Observed); is {
			seen := *o
			seen.Conditions = slices.Clone(o.Conditions)
			for i := range seen.Conditions {
				if c := &seen.Conditions[i]; c.Asked && c.Truth == engine.Unknown {
					c.Truth = engine.True
				}
			}
			in.What = &seen
		}
		return engine.Decide(p, s, in)
	}
	for body, want := range map[string]string{
		wellApart: "shed starts, and shed.when is unknown",
		gated:     "fail-back starts, and fail-back.when is unknown",
		`
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: schedule("night"), until: sli("load") < 0.5}
`: "is taken back, and shed.until is unknown",
	} {
		f := find(t, Run(t.Context(), compile(t, service("checkout", body)), nil, Options{decide: credulous}), Unknown)
		if f.Answer != CounterExample || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %q, want %q", f.Answer, f.Detail, want)
		}
	}
}

// A schedule is known when nothing else is.
func TestASchedulesMoveIsNotMadeByTheUnknown(t *testing.T) {
	proved(t, compile(t, service("checkout", `
modes: [{name: normal}, {name: saving, beside: true}]
transitions:
  - {name: save, from: [normal], to: saving, when: 'schedule("night") || sli("load") < 0.1', until: '!schedule("night") && sli("load") > 0.2'}
`)))
}

func TestABoundIsNoProof(t *testing.T) {
	set := compile(t, service("checkout", wellApart))
	whole := Run(t.Context(), set, nil, Options{})[0]
	for _, o := range []Options{{MaxStates: 1}, {MaxBytes: 1}} {
		for _, f := range Run(t.Context(), set, nil, o)[0].Findings {
			if f.Answer != CannotTell {
				t.Errorf("%+v: %s: %s", o, f.Says, f.Answer)
			}
		}
	}
	// A context that ends while the last states are looked at leaves no proof either.
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	late := func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		if calls.Add(1) == 10 {
			cancel()
		}
		return engine.Decide(p, s, in)
	}
	for _, f := range Run(ctx, set, nil, Options{decide: late})[0].Findings {
		if f.Answer != CannotTell {
			t.Errorf("after ten decisions: %s: %s", f.Says, f.Answer)
		}
	}
	// As many states as there are are enough.
	if r := Run(t.Context(), set, nil, Options{MaxStates: whole.States})[0]; r.Answer() != Proved {
		t.Errorf("%d states are not enough for %d", whole.States, r.States)
	}
}

// What one condition measures says nothing of what another does: a dozen of them are no more to keep than a dozen times one.
func TestManyConditionsThatShareNothingAreNoBound(t *testing.T) {
	body := "modes: [{name: normal}, {name: degraded}, {name: closed}]\ntransitions:\n"
	for i := range 14 {
		name := string(rune('a' + i))
		if i%2 == 0 {
			body += "  - {name: " + name + `, from: [normal], to: degraded, when: 'alert("` + name + `")'}` + "\n"
		} else {
			body += "  - {name: " + name + `, from: [degraded], to: closed, when: 'alert("` + name + `")'}` + "\n"
		}
	}
	body += "  - {name: back, from: [degraded], to: normal, when: sli(\"load\") < 0.5, for: 10m}\n  - {name: open, from: [closed], to: normal, when: sli(\"load\") < 0.5}\n"
	set := compile(t, service("checkout", body))
	if f := find(t, Run(t.Context(), set, nil, Options{}), WayBack); f.Answer != Proved {
		t.Errorf("%s: %s", f.Answer, f.Detail)
	}
	f := find(t, Run(t.Context(), set, nil, Options{}), Livelock)
	if f.Answer != CounterExample {
		t.Errorf("shedding and going back are true together: %s: %s", f.Answer, f.Detail)
	}
}
