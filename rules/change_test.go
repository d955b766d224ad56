package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// gatewayText is testdata/good/gateway.yaml, which has every key of a change.
func gatewayText(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/good/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func transitionOf(t *testing.T, p *engine.Policy, name string) engine.Transition {
	t.Helper()
	for _, tr := range p.Transitions {
		if tr.Name == name {
			return tr
		}
	}
	t.Fatalf("no transition %s", name)
	return engine.Transition{}
}

// checkChanges is what holds of the changes in every policy that loads, however odd its file.
func checkChanges(t *testing.T, s *Service) {
	t.Helper()
	p := &s.Policy
	for _, tr := range p.Transitions {
		for name, ref := range map[string]engine.ConditionRef{".until": tr.Until, ".verify": tr.Playbook.Verify, ".when": engine.ConditionRef(tr.When + 1)} {
			if i, ok := ref.Index(); ok && (p.Conditions[i].Name != tr.Name+name || s.Conditions[i].Name != tr.Name+name) {
				t.Errorf("%s%s refers to %s and %s", tr.Name, name, p.Conditions[i].Name, s.Conditions[i].Name)
			}
		}
		if g := tr.Gate; g != nil {
			if len(g.Groups) == 0 || g.Within <= 0 || g.Within > maxWithin || (g.Otherwise == engine.OtherwiseEscalate) != (len(g.To) > 0) {
				t.Errorf("%s has the gate %+v", tr.Name, *g)
			}
			for _, group := range append(g.Groups[:len(g.Groups):len(g.Groups)], g.To...) {
				if group.Count < 1 || group.Role == "" {
					t.Errorf("%s asks %+v", tr.Name, group)
				}
			}
		}
		names := map[string]bool{}
		for _, step := range tr.Playbook.Steps {
			if step.Destructive && tr.Gate == nil {
				t.Errorf("%s: %s is destructive and nobody is asked", tr.Name, step.Name)
			}
			if step.Irreversible != (step.Destructive && !step.Undo) || step.Undo != (step.UndoSpec != "") || step.Attempts < 1 || names[step.Name] {
				t.Errorf("%s: %+v", tr.Name, step)
			}
			names[step.Name] = true
			for _, spec := range []string{step.Spec, step.UndoSpec} {
				var o struct{ Timeout string }
				if spec == "" && !step.Undo {
					continue
				}
				if err := json.Unmarshal([]byte(spec), &o); err != nil {
					t.Errorf("%s: %s: %v", tr.Name, spec, err)
				}
			}
		}
	}
}

func TestGatesAndActionsBecomeAPolicy(t *testing.T) {
	s := mustLoad(t, Options{Kinds: kinds}, gatewayText(t)).Services[0]
	p := &s.Policy
	checkChanges(t, s)
	failOver := transitionOf(t, p, "fail-over")
	wantGate := engine.Gate{
		Groups: []engine.Group{{Role: "oncall-payments", Count: 1}, {Role: "payments-lead", Count: 1}}, Within: 15 * time.Minute,
		Otherwise: engine.OtherwiseEscalate, To: []engine.Group{{Role: "incident-commander", Count: 1}},
	}
	if failOver.Gate == nil || !reflect.DeepEqual(*failOver.Gate, wantGate) {
		t.Errorf("gate %+v", failOver.Gate)
	}
	wantSteps := []engine.Step{
		{Name: "repoint", Kind: "webhook", Destructive: true, Undo: true, Attempts: 1,
			Spec:     `{"json":{"to":"eu-2"},"method":"POST","timeout":"30s","url":"https://dns.internal/repoint"}`,
			UndoSpec: `{"json":{"to":"eu-1"},"method":"POST","timeout":"30s","url":"https://dns.internal/repoint"}`},
		{Name: "fence", Kind: "exec", Destructive: true, Irreversible: true, Attempts: 1, Spec: `{"args":["eu-1"],"program":"fence","timeout":"30s"}`},
	}
	if !reflect.DeepEqual(failOver.Playbook.Steps, wantSteps) {
		t.Errorf("steps\n%+v", failOver.Playbook.Steps)
	}
	if failOver.RetryAfter != 2*time.Hour || failOver.UndoEntry || failOver.Playbook.PublishLast || failOver.Playbook.OnFailure != "" || failOver.Until != 0 {
		t.Errorf("%+v", failOver)
	}
	var names []string
	for i, c := range p.Conditions {
		names = append(names, c.Name)
		if s.Conditions[i].Name != c.Name || s.Conditions[i].Text != c.Text || c.Digest == "" || c.Every != 0 && !strings.HasPrefix(c.Name, "slo/") {
			t.Errorf("condition %d is %+v and %+v", i, c, s.Conditions[i])
		}
	}
	if got, want := fmt.Sprint(names), "[slo/availability/page slo/availability/ticket shed.when recover.when migrate.when migrate.until fail-over.when fail-over.verify fail-back.when]"; got != want {
		t.Errorf("conditions %s", got)
	}
	if i, ok := failOver.Playbook.Verify.Index(); !ok || p.Conditions[i].Text != `sli("p99") < 0.5` {
		t.Errorf("verify is condition %d", i)
	}
	migrate := transitionOf(t, p, "migrate")
	if i, ok := migrate.Until.Index(); !ok || p.Conditions[i].Text != `!schedule("migration")` {
		t.Errorf("until is condition %d", i)
	}
	if step := migrate.Playbook.Steps[0]; step.Destructive || !strings.Contains(step.Spec, `"timeout":"5m"`) || !migrate.Playbook.PublishLast {
		t.Errorf("%+v", migrate.Playbook)
	}
	shed, back := transitionOf(t, p, "shed"), transitionOf(t, p, "fail-back")
	if shed.Playbook.OnFailure != engine.OnFailureUndo || shed.Playbook.Steps[0].Attempts != 3 || shed.Gate != nil {
		t.Errorf("%+v", shed)
	}
	if !back.UndoEntry || back.Playbook.OnFailure != engine.OnFailureHold || back.Gate.Otherwise != engine.OtherwisePage || back.Gate.Groups[0].Count != 1 || back.Gate.Within != 24*time.Hour {
		t.Errorf("%+v", back)
	}
	if m, _ := p.Mode("failover"); !m.Beside {
		t.Error("failover has a rank")
	}
	if recover := transitionOf(t, p, "recover"); recover.Gate != nil || recover.Playbook.Steps != nil || !recover.UndoEntry || recover.RetryAfter != 0 {
		t.Errorf("%+v", recover)
	}
}

// The core takes what the file says: the fail-over waits for two people, and only then its first step is owed.
func TestTheCoreKeepsTheGateOfAFile(t *testing.T) {
	text := strings.Replace(gatewayText(t), `    when: burn_rate("availability", "5m") > 14.4 && dwell() > duration("10m")`, `    when: alert("GatewayDown")`, 1)
	text = strings.Replace(text, "    from: [degraded]\n    to: failover", "    from: [normal]\n    to: failover", 1)
	p := mustLoad(t, Options{Kinds: kinds}, text).Services[0].Policy
	failOver := transitionOf(t, &p, "fail-over")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var state engine.State
	var events []engine.Event
	input := func(by string, what engine.Happening) []engine.Event {
		at = at.Add(p.Interval)
		in := engine.Input{At: at, Term: 1, What: what}
		if by != "" {
			in.By = engine.Actor{Principal: by, Person: by}
		}
		decided := engine.Decide(p, state, in)
		for _, e := range decided {
			state = engine.Apply(state, e)
		}
		events = append(events, decided...)
		return decided
	}
	started := func(events []engine.Event) (n int) {
		for _, e := range events {
			for _, effect := range engine.Effects(e) {
				if effect.Step != nil {
					n++
				}
			}
		}
		return n
	}
	input("", &engine.TimePassed{})
	seen := make([]engine.Observation, len(p.Conditions))
	for i := range seen {
		seen[i].Truth = engine.False
	}
	seen[failOver.When].Truth = engine.True
	input("", &engine.Observed{Instant: at, Conditions: seen})
	if len(state.Proposals) != 1 || state.Target != "normal" || started(events) != 0 {
		t.Fatalf("%d proposals, target %s, %d steps", len(state.Proposals), state.Target, started(events))
	}
	digest := state.Proposals[0].Digest
	input("ann", &engine.ReviewGiven{Digest: digest, Yes: true, Roles: []string{"oncall-payments"}, Reason: "the gateway is gone"})
	if started(events) != 0 {
		t.Fatal("one yes of two was enough")
	}
	decided := input("bob", &engine.ReviewGiven{Digest: digest, Yes: true, Roles: []string{"payments-lead"}, Reason: "go"})
	if state.Target != "failover" || started(decided) != 1 {
		t.Fatalf("target %s, %d steps", state.Target, started(decided))
	}
	if run := state.Change.Running; run == nil || run.Step.Name != "repoint" || run.Step.Spec != failOver.Playbook.Steps[0].Spec {
		t.Errorf("running %+v", run)
	}
}

const playbookHead = `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: degraded}, {name: closed}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: alert("Down")
`

func playbook(rest string) string { return playbookHead + rest }

func TestWithoutKindsNoActionLoads(t *testing.T) {
	text := playbook("    actions:\n      - name: tell\n        webhook: {url: \"https://chat.example.com\"}\n      - {name: again, exec: {program: restart}}\n")
	set, diags := load(t, Options{}, text)
	if len(diags) != 2 || len(set.Services) != 0 {
		t.Fatalf("\n%v", diags)
	}
	for i, want := range []string{"a.yaml:10:15", "a.yaml:12:16"} {
		if d := diags[i]; d.Position() != want || d.Message != "no action can be carried out: no kind of action is configured" || d.Hint == "" {
			t.Errorf("%v", d)
		}
	}
	// A transition without actions needs none.
	mustLoad(t, Options{}, playbook("    approval: {groups: [{role: oncall}], within: 15m}\n    until: alert(\"Up\")\n"))
}

func TestWhatIsDestructiveIsSaidByTheKindOrTheFile(t *testing.T) {
	const (
		gate   = "    approval: {groups: [{role: oncall}], within: 15m}\n"
		mild   = "webhook: {url: 'https://x.example.com'}"
		keyed  = "webhook: {url: 'https://x.example.com', idempotency_key: Key}"
		harsh  = "webhook: {url: 'https://x.example.com', method: DELETE}"
		reason = "why: nobody uses it, destructive: false"
	)
	for _, c := range []struct {
		name, action string
		want         engine.Step
	}{
		{"a kind that does no harm", mild, engine.Step{}},
		{"the file says that it does", mild + ", destructive: true, irreversible: true", engine.Step{Destructive: true, Irreversible: true}},
		{"the kind says that it does", harsh + ", irreversible: true", engine.Step{Destructive: true, Irreversible: true}},
		{"the file says why it does not", harsh + ", " + reason, engine.Step{}},
		{"the file says no where the kind says no", mild + ", destructive: false", engine.Step{}},
		{"its undo does", mild + ", undo: {" + harsh + "}", engine.Step{Destructive: true, Undo: true}},
		{"its undo does not, the file says", mild + ", undo: {" + harsh + "}, " + reason, engine.Step{Undo: true}},
		{"a target that knows a key", keyed, engine.Step{Keyed: true}},
		{"a target that knows a key both ways", keyed + ", undo: {" + keyed + "}", engine.Step{Keyed: true, Undo: true}},
		{"a target that knows no key on the way back", keyed + ", undo: {" + mild + "}", engine.Step{Undo: true}},
		{"a target that knows a key on the way back only", mild + ", undo: {" + keyed + "}", engine.Step{Undo: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := playbook(gate + "    actions: [{name: x, " + c.action + "}]\n")
			got := mustLoad(t, Options{Kinds: kinds}, text).Services[0].Policy.Transitions[0].Playbook.Steps[0]
			got.Name, got.Kind, got.Attempts, got.Spec, got.UndoSpec = "", "", 0, "", ""
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			// The same without the gate loads only where nothing does harm.
			_, diags := load(t, Options{Kinds: kinds}, strings.Replace(text, gate, "", 1))
			if refused := len(diags.Errors()) > 0; refused != c.want.Destructive {
				t.Errorf("without a gate:\n%v", diags)
			}
		})
	}
}

func TestStringsReachTheKindAsTheyWereWritten(t *testing.T) {
	p := mustLoad(t, Options{Kinds: kinds}, playbook(`    actions:
      - name: tell
        timeout: 90s
        webhook:
          url: https://x.example.com/?a=<b>&c={{.Scope}}
          json:
            literal: |
              one
                two
            "1": 2001-01-01
            yes: [no, "no", 0x10, 1.50, null, ~, 1e3, 'it''s']
            empty: {}
`)).Services[0].Policy
	want := `{"json":{"1":"2001-01-01","empty":{},"literal":"one\n  two\n","yes":["no","no",16,1.5,null,null,1000,"it's"]},"method":"POST","timeout":"1m30s","url":"https://x.example.com/?a=<b>&c={{.Scope}}"}`
	if got := p.Transitions[0].Playbook.Steps[0].Spec; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestATimeoutOfTheKindCountsUnlessTheActionSaysOtherwise(t *testing.T) {
	for action, want := range map[string]string{
		"":               `"timeout":"30s"`,
		", timeout: 5s":  `"timeout":"5s"`,
		", timeout: 10m": `"timeout":"10m"`,
		", timeout: 1ms": `"timeout":"1ms"`,
	} {
		text := playbook("    actions: [{name: x, webhook: {url: 'https://x.example.com'}, undo: {webhook: {url: 'https://x.example.com'}}" + action + "}]\n")
		step := mustLoad(t, Options{Kinds: kinds}, text).Services[0].Policy.Transitions[0].Playbook.Steps[0]
		if !strings.Contains(step.Spec, want) || !strings.Contains(step.UndoSpec, want) {
			t.Errorf("%s: %s and %s", action, step.Spec, step.UndoSpec)
		}
	}
	text := playbook("    actions: [{name: x, exec: {program: restart, timeout: 7s}, destructive: false, why: nothing is lost}]\n")
	if spec := mustLoad(t, Options{Kinds: kinds}, text).Services[0].Policy.Transitions[0].Playbook.Steps[0].Spec; !strings.Contains(spec, `"timeout":"7s"`) {
		t.Errorf("%s", spec)
	}
}

// What an action says of its time is the kind's business too.
func TestATimeoutThatTheKindRefusesIsShownWhereItWasGiven(t *testing.T) {
	for text, want := range map[string][]string{
		"{name: x, timeout: 11m, webhook: {url: 'https://x.example.com'}}":                                                     {"a.yaml:9:34"},
		"{name: x, webhook: {url: 'https://x.example.com', timeout: 11m}}":                                                     {"a.yaml:9:74"},
		"{name: x, webhook: {url: 'https://x.example.com'}, undo: {webhook: {url: 'https://x.example.com'}}, timeout: 10m1ms}": {"a.yaml:9:124"},
	} {
		_, diags := load(t, Options{Kinds: kinds}, playbook("    actions: ["+text+"]\n"))
		var got []string
		for _, d := range diags {
			got = append(got, d.Position())
			if d.Message != "a webhook takes at most 10m" {
				t.Errorf("%v", d)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v\n%v", text, got, want, diags)
		}
	}
}

// A key that should not be there is shown itself; a value that is wrong is.
func TestAKeyThatAKindDoesNotKnowIsShownItself(t *testing.T) {
	for message, column := range map[string]int{`unknown key "b"`: 37, "there is no b here": 37, "there is no key b": 40, "b is wrong": 40} {
		kind := odd{problems: []engine.SpecProblem{{Path: []string{"b"}, Message: message}}}
		_, diags := load(t, Options{Kinds: map[string]Kind{"odd": kind}}, playbook("    actions: [{name: x, odd: {a: 1, b: [2]}}]\n"))
		if len(diags) != 1 || diags[0].Column != column {
			t.Errorf("%v", diags)
		}
	}
}

// A kind knows its part of the file as JSON; what it says is wrong is shown at the very value, however that is written.
func TestAKindsFaultsAreShownWhereTheyAre(t *testing.T) {
	_, diags := load(t, Options{Kinds: map[string]Kind{"echo": echoKind{}}}, playbook(`    actions:
      - name: a
        echo: &base
          plain: word
          "quoted key": "double"
          list: [first, {inner: 'second'}, [third, fourth]]
          block:
            - deep:
                - fifth
          0: sixth
          number: 7
      - name: b
        echo: {<<: *base, plain: own, "": nameless}
        undo:
          echo:
            back: there
`))
	got := map[string]bool{}
	for _, d := range diags {
		if d.Message == "" || d.Level != LevelError {
			t.Fatalf("%v", d)
		}
		line, caret, _ := strings.Cut(d.Excerpt, "\n")
		at := strings.TrimLeft(line[strings.Index(caret, "^"):], `'"`)
		if !strings.HasPrefix(at, d.Message) {
			t.Errorf("%q is shown at %q", d.Message, at)
		}
		got[d.Message] = true
	}
	for _, want := range []string{"word", "double", "first", "second", "third", "fourth", "fifth", "sixth", "7", "own", "nameless", "there"} {
		if !got[want] {
			t.Errorf("%s is not found fault with:\n%v", want, diags)
		}
	}
}

// odd answers with what no kind should.
type odd struct {
	canonical string
	problems  []engine.SpecProblem
}

func (o odd) Check([]byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return []byte(o.canonical), engine.Traits{}, o.problems
}

func TestAnOddAnswerOfAKindIsAFaultAndNotAPanic(t *testing.T) {
	for _, canonical := range []string{"", "null", "[]", "7", "{", `{"a":1} x`} {
		_, diags := load(t, Options{Kinds: map[string]Kind{"odd": odd{canonical: canonical}}}, playbook("    actions: [{name: x, odd: {a: 1}}]\n"))
		if len(diags) != 1 || diags[0].Position() != "a.yaml:9:30" || diags[0].Message != "odd gives no canonical form of this" {
			t.Errorf("%q:\n%v", canonical, diags)
		}
	}
	for path, column := range map[string]int{"": 30, "a": 34, "b": 37 + 3, "b.0": 41, "b.1": 40, "b.-1": 40, "b.x": 40, "b.0.c": 41, "c": 30, "a.b": 34} {
		var words []string
		if path != "" {
			words = strings.Split(path, ".")
		}
		kind := odd{problems: []engine.SpecProblem{{Path: words, Message: strings.Repeat("long ", 1000)}}}
		_, diags := load(t, Options{Kinds: map[string]Kind{"odd": kind}}, playbook("    actions: [{name: x, odd: {a: 1, b: [2]}}]\n"))
		if len(diags) != 1 || diags[0].Line != 9 || diags[0].Column != column || len(diags[0].Message) > 400 {
			t.Errorf("%q:\n%v", path, diags)
		}
	}
}

func TestWhatIsProbablyNotMeantIsAWarning(t *testing.T) {
	undoable := "    actions: [{name: x, webhook: {url: 'https://x.example.com'}, undo: {webhook: {url: 'https://x.example.com'}}}]\n"
	back := func(rest string) string {
		return "  - {name: back, from: [degraded, closed], to: normal, when: '!alert(\"Down\")'" + rest + "}\n"
	}
	const page, entry = "the page of a transition into the first mode stays open until that mode is left",
		"undo: entry takes nothing back: no transition enters degraded or closed with an action that has an undo"
	for _, c := range []struct{ name, text, want string }{
		{"a page into a later mode", playbook("    severity: page\n"), ""},
		{"a page into the first mode", playbook(back(", severity: page")), page},
		{"a ticket into the first mode", playbook(back(", severity: ticket")), ""},
		{"an entry without actions", playbook(back(", undo: entry")), entry},
		{"an entry with an action that has an undo", playbook(undoable + back(", undo: entry")), ""},
		{"an entry with an action that has none", playbook(strings.Replace(undoable, ", undo: {webhook: {url: 'https://x.example.com'}}", "", 1) + back(", undo: entry")), entry},
		{"directive last without actions", playbook("    publish: last\n"), "publish: last puts the actions first, and there are none"},
		{"directive last with actions", playbook("    publish: last\n" + undoable), ""},
		{"a verification that depends on nothing", playbook("    verify: 'true'\n"), "the condition depends on nothing: it never changes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := mustLoad(t, Options{Kinds: kinds}, c.text)
			var got []string
			for _, w := range set.Warnings {
				got = append(got, w.Message)
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("\n%v", set.Warnings)
			}
		})
	}
}

// until and verify name other scopes, alerts and SLIs as `when` does, and are held to the same.
func TestWhatEndsAChangeIsCheckedAsWhatStartsIt(t *testing.T) {
	text := playbook("    until: mode(\"shop\") == \"sael\"\n    verify: alert(\"Quiet\")\n")
	shop := "version: modeshift/v1\nservice: shop\nmodes: [{name: normal}, {name: sale}]\n"
	_, diags := load(t, Options{Kinds: kinds}, text, shop)
	if len(diags) != 1 || diags[0].Message != `service "shop" has no mode "sael"` || diags[0].Position() != "a.yaml:9:29" || diags[0].Hint != `did you mean "sale"?` {
		t.Errorf("\n%v", diags)
	}
	set := mustLoad(t, Options{Kinds: kinds}, strings.Replace(text, "sael", "sale", 1), shop)
	if s := set.Service("checkout"); fmt.Sprint(s.Alerts) != "[Down Quiet]" {
		t.Errorf("alerts %v", s.Alerts)
	}
	// What a change mentions is not what its incident joins: only `when` says why it happened.
	slo := serviceText + "    until: burning(\"availability\", \"ticket\")\n"
	if tr := mustLoad(t, Options{}, slo).Services[0].Policy.Transitions[1]; tr.Alerts != nil || tr.Until == 0 {
		t.Errorf("%+v", tr)
	}
}

// A gate's silence is never a yes: escalating has to ask for more than was asked before.
func TestEscalatingAsksForMore(t *testing.T) {
	for to, ok := range map[string]bool{
		"[{role: commander, count: 1}]":                      true,
		"[{role: lead, count: 2}]":                           true,
		"[{role: lead, count: 1}, {role: commander}]":        true,
		"[{role: lead, count: 1}]":                           false,
		"[{role: oncall, count: 1}]":                         false,
		"[{role: oncall, count: 2}, {role: lead, count: 1}]": false,
		"[{role: oncall, count: 3}, {role: lead, count: 1}]": true,
	} {
		text := playbook("    approval: {groups: [{role: oncall, count: 2}, {role: lead}], within: 15m, otherwise: escalate, to: " + to + "}\n")
		_, diags := load(t, Options{}, text)
		if (len(diags) == 0) != ok {
			t.Errorf("to: %s:\n%v", to, diags)
		}
	}
}

func TestAGateWaitsAtMostADay(t *testing.T) {
	for within, ok := range map[string]bool{"1ms": true, "24h": true, "1d": true, "24h1ms": false, "0s": false, "1d1s": false} {
		_, diags := load(t, Options{}, playbook("    approval: {groups: [{role: oncall}], within: "+within+"}\n"))
		if (len(diags) == 0) != ok {
			t.Errorf("within: %s:\n%v", within, diags)
		}
	}
}

func TestAttemptsAndTimeoutsHaveBounds(t *testing.T) {
	for keys, ok := range map[string]bool{
		"attempts: 1": true, "attempts: 20": true, "attempts: 0": false, "attempts: 21": false, "attempts: -1": false, "attempts: 1.0": false,
		"timeout: 1ms": true, "timeout: 1h": true, "timeout: 1h1ms": false, "timeout: 0": false,
	} {
		_, diags := load(t, Options{Kinds: kinds}, playbook("    actions: [{name: x, exec: {program: restart}, destructive: false, why: nothing is lost, "+keys+"}]\n"))
		if (len(diags) == 0) != ok {
			t.Errorf("%s:\n%v", keys, diags)
		}
	}
	var many strings.Builder
	for i := range maxActions {
		fmt.Fprintf(&many, "      - {name: a%d, webhook: {url: 'https://x.example.com'}}\n", i)
	}
	mustLoad(t, Options{Kinds: kinds}, playbook("    actions:\n"+many.String()))
	long := func(n int) string {
		return playbook("    actions: [{name: x, webhook: {url: 'https://" + strings.Repeat("x", n) + "'}}]\n")
	}
	const around = len(`{"url":"https://"}`)
	mustLoad(t, Options{Kinds: kinds}, long(maxSpecBytes-around))
	if _, diags := load(t, Options{Kinds: kinds}, long(maxSpecBytes-around+1)); len(diags) != 1 || !strings.Contains(diags[0].Message, "bytes") {
		t.Errorf("%d faults", len(diags))
	}
}
