package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/modeshift/modeshift/engine"
)

const (
	interval   = 15 * time.Second
	blindAfter = 2 * time.Minute
	variants   = 3 // of the rules of a scope; the first is in force at the start
)

// member is a scope of a world.
type member struct {
	scope     engine.Scope
	rules     [variants]engine.Policy
	small     bool // few rules and no instances: what it shows, it shows as one of many
	instances int  // it begins with
}

// chance is a generator that only one thing draws from, so that drawing more of another changes nothing here.
func chance(seed uint64, what string) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, what))
	return rand.New(rand.NewPCG(seed, uint64(sum[0])|uint64(sum[1])<<8|uint64(sum[2])<<16|uint64(sum[3])<<24))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// move is where a transition may lead, and whether it does harm.
var moves = []struct {
	name string
	from []engine.Mode
	to   engine.Mode
}{
	{"shed", []engine.Mode{"normal"}, "degraded"},
	{"lock", []engine.Mode{"normal", "degraded"}, "read-only"},
	{"fail-over", []engine.Mode{"normal", "degraded"}, "failover"},
	{"recover", []engine.Mode{"degraded"}, "normal"},
	{"unlock", []engine.Mode{"read-only"}, "normal"},
	{"fall-back", []engine.Mode{"failover"}, "normal"},
	{"migrate", []engine.Mode{"normal"}, "read-only"},
}

func drawPolicy(r *rand.Rand, scope engine.Scope, small bool) engine.Policy {
	p := engine.Policy{Scope: scope, Interval: interval, BlindAfter: blindAfter, Owner: "team", Modes: []engine.ModeRule{
		{Name: "normal"}, {Name: "degraded", Flags: engine.Flags{"recommendations": false}}, {Name: "read-only"}, {Name: "failover", Beside: true},
	}}
	for i := range p.Modes {
		p.Modes[i].MinDuration = pick(r, 0, 0, time.Minute, 5*time.Minute)
		p.Modes[i].MaxDuration = pick(r, 0, 0, 20*time.Minute)
	}
	condition := func(name string) int {
		p.Conditions = append(p.Conditions, engine.Condition{Name: name, Text: name, Digest: engine.Digest(name)})
		return len(p.Conditions) - 1
	}
	burns := condition("burns")
	p.Conditions[burns].Every = pick(r, 0, 0, 0, time.Minute) // what transitions wait for has no cadence of its own
	p.Alerts = []engine.Alert{{SLO: "availability", Severity: engine.SeverityPage, Name: "Availability", Condition: burns}}
	for _, m := range moves {
		if r.IntN(5) == 0 {
			continue
		}
		t := engine.Transition{
			Name: m.name, From: m.from, To: m.to, For: pick(r, 0, 0, 30*time.Second, time.Minute, 3*time.Minute),
			Severity:   pick(r, engine.SeverityPage, engine.SeverityTicket, engine.SeverityInfo),
			RetryAfter: pick(r, 0, 0, 5*time.Minute, 20*time.Minute), UndoEntry: r.IntN(3) == 0,
		}
		t.When = burns
		if m.name != "shed" || r.IntN(2) == 0 {
			t.When = condition(m.name + ".when")
		} else {
			t.Alerts = []int{0}
		}
		if r.IntN(2) == 0 && (!small || r.IntN(3) == 0) || m.name == "fail-over" && r.IntN(4) > 0 {
			t.Gate = drawGate(r)
		}
		steps := r.IntN(4)
		if small {
			steps = r.IntN(4) / 3
		}
		for i := range steps {
			t.Playbook.Steps = append(t.Playbook.Steps, drawStep(r, i, t.Gate != nil))
		}
		t.Playbook.PublishLast = r.IntN(4) == 0
		t.Playbook.OnFailure = pick(r, "", "", engine.OnFailureHold, engine.OnFailureUndo)
		if r.IntN(3) == 0 {
			t.Playbook.Verify = engine.ConditionRef(condition(m.name+".verify") + 1)
		}
		if m.name == "migrate" || r.IntN(6) == 0 {
			t.Until = engine.ConditionRef(condition(m.name+".until") + 1)
		}
		if r.IntN(3) == 0 && !small {
			t.Rollout = &engine.Rollout{Waves: pick(r, []engine.Percent{50, 100}, []engine.Percent{10, 40, 100}), Pause: pick(r, 0, 0, 30*time.Second)}
			if r.IntN(3) > 0 {
				t.Rollout.Verify = engine.ConditionRef(condition(m.name+".rollout") + 1)
			}
		}
		p.Transitions = append(p.Transitions, t)
	}
	if r.IntN(2) == 0 {
		p.Alerts[0].Escalation = &engine.Escalation{Severity: engine.SeverityExec, For: pick(r, 30*time.Second, time.Minute, 3*time.Minute), Nobody: r.IntN(4) == 0,
			Condition: condition("burns.on")}
	}
	p.Informs = r.IntN(2) == 0
	return p
}

func drawGate(r *rand.Rand) *engine.Gate {
	g := &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1 + r.IntN(2)}}, Within: pick(r, 3*time.Minute, 10*time.Minute, 15*time.Minute)}
	if r.IntN(2) == 0 {
		g.Groups = append(g.Groups, engine.Group{Role: "lead", Count: 1})
	}
	switch g.Otherwise = pick(r, "", engine.OtherwisePage, engine.OtherwiseEscalate); g.Otherwise {
	case engine.OtherwiseEscalate:
		g.To = []engine.Group{{Role: "commander", Count: 1}}
	}
	return g
}

// drawStep draws a step. The rule language lets only gated transitions destroy.
func drawStep(r *rand.Rand, i int, gated bool) engine.Step {
	s := engine.Step{
		Name: fmt.Sprintf("step%d", i+1), Kind: pick(r, "sim", "sim", "sim", askable), Destructive: gated && r.IntN(4) > 0, Undo: r.IntN(4) > 0, Keyed: r.IntN(2) == 0,
		Attempts: pick(r, 0, 1, 2, 3), Spec: `{}`,
	}
	s.Irreversible = s.Destructive && !s.Undo
	if r.IntN(3) == 0 {
		most := 1 + r.IntN(3)
		s.Targets = engine.Targets{Selector: strconv.Itoa(most), Max: most}
	}
	return s
}

// vary makes the v-th variant of the rules: other texts, other steps, other gates, the same modes and conditions.
func vary(p engine.Policy, v int, r *rand.Rand) engine.Policy {
	base := p.Transitions
	if v > 0 && r.IntN(4) == 0 {
		p.Automation = pick(r, "", engine.AutomationSuggest, engine.AutomationOff)
	}
	if v > 0 && r.IntN(4) == 0 {
		p.Modes = slices.Clone(p.Modes)
		p.Modes[1+r.IntN(2)].Imposes = pick[engine.Mode](r, "", "degraded", "read-only")
	}
	p.Transitions = nil
	for _, t := range base {
		if v > 0 && r.IntN(3) == 0 {
			switch r.IntN(4) {
			case 0:
				continue // the transition is not declared any more
			case 1:
				t.For += time.Minute
			case 2:
				t.Playbook.Steps = []engine.Step{drawStep(r, 7, t.Gate != nil)}
			case 3:
				if t.Gate != nil {
					t.Gate = drawGate(r)
				}
			}
		}
		t.Digest = digest(t)
		p.Transitions = append(p.Transitions, t)
	}
	if v > 0 && r.IntN(4) == 0 {
		p.Modes = slices.Clone(p.Modes)
		for i := range p.Modes {
			p.Modes[i].Pause = nil
		}
	}
	p.Digest = digest(p)
	return p
}

func digest(v any) engine.Digest {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return engine.Digest(hex.EncodeToString(sum[:]))
}
