package rules

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// followed is a service whose modes reach instances in waves.
const followed = `version: modeshift/v1
service: checkout
lease: 10m
on_loss: degraded
instances: {min_applied: 99.5%, grace: 1m, page_above: 2 %}
slis:
  - {name: p99, query: max(latency)}
modes:
  - name: normal
  - name: degraded
  - name: maintenance
    unavailable: {message: "We are moving; back at 04:00", retry_after: 2m}
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: divergence() > 0.5
    rollout:
      waves: [5, 25, 100]
      pause: 30s
      verify: sli("p99") < 0.5
  - name: move
    from: [normal, degraded]
    to: maintenance
    when: alert("Move")
    verify: alert("Moved")
    rollout: {waves: [50, 100], pause: 0}
`

func TestInstancesAndWavesArePartOfAPolicy(t *testing.T) {
	p := mustLoad(t, Options{}, followed).Services[0].Policy
	if want := (engine.InstanceRules{MinApplied: 0.995, Grace: time.Minute, PageAbove: 0.02, Lease: 10 * time.Minute, OnLoss: "degraded"}); p.Instances != want {
		t.Errorf("%+v", p.Instances)
	}
	if u := p.Modes[2].Unavailable; u == nil || *u != (engine.Unavailable{Message: "We are moving; back at 04:00", RetryAfterSeconds: 120}) || p.Modes[1].Unavailable != nil {
		t.Errorf("%+v", p.Modes)
	}
	shed, move := p.Transitions[0].Rollout, p.Transitions[1].Rollout
	if shed == nil || !reflect.DeepEqual(shed.Waves, []engine.Percent{5, 25, 100}) || shed.Pause != 30*time.Second {
		t.Fatalf("%+v", shed)
	}
	if i, ok := shed.Verify.Index(); !ok || p.Conditions[i].Name != "shed.rollout" || p.Conditions[i].Text != `sli("p99") < 0.5` || p.Conditions[i].Digest == "" {
		t.Errorf("the waves are verified by %d of %+v", shed.Verify, p.Conditions)
	}
	if move == nil || !reflect.DeepEqual(*move, engine.Rollout{Waves: []engine.Percent{50, 100}}) {
		t.Errorf("%+v", move)
	}
	if i, ok := p.Transitions[1].Playbook.Verify.Index(); !ok || p.Conditions[i].Name != "move.verify" {
		t.Errorf("the change is verified by %d of %+v", p.Transitions[1].Playbook.Verify, p.Conditions)
	}
}

// How a directive reaches the instances is what people approve; what instances do without the server is not of one transition.
func TestADigestIsOfTheWavesAndOfTheInstances(t *testing.T) {
	digests := func(old, new string) (engine.Digest, engine.Digest) {
		t.Helper()
		if strings.Count(followed, old) != 1 {
			t.Fatalf("%q is in the file %d times", old, strings.Count(followed, old))
		}
		p := mustLoad(t, Options{}, strings.Replace(followed, old, new, 1)).Services[0].Policy
		return p.Digest, p.Transitions[0].Digest
	}
	base, baseShed := digests("service: checkout", "service: checkout")
	for old, new := range map[string]string{
		"waves: [5, 25, 100]":               "waves:\n        - 5\n        - 0x19\n        - 100",
		"pause: 30s":                        "pause: 30000ms",
		`verify: sli("p99") < 0.5`:          "verify: |\n        (sli('p99')   <   0.5)",
		"lease: 10m":                        "lease: 600s",
		"99.5%":                             "99.50 %",
		"instances: {min_applied":           "instances:\n  {min_applied",
		`"We are moving; back at 04:00"`:    "'We are moving; back at 04:00'",
		"rollout: {waves: [50, 100], pause": "rollout: {waves: [ 50,100 ], pause",
	} {
		if d, shed := digests(old, new); d != base || shed != baseShed {
			t.Errorf("a digest changes with %q for %q", new, old)
		}
	}
	for _, c := range []struct {
		old, new string
		shed     bool
	}{
		{"waves: [5, 25, 100]", "waves: [5, 26, 100]", true},
		{"pause: 30s", "pause: 31s", true},
		{`      verify: sli("p99") < 0.5` + "\n", "", true},
		{`verify: sli("p99") < 0.5`, `verify: sli("p99") < 0.6`, true},
		{"max(latency)", "min(latency)", true},
		{"lease: 10m", "lease: 11m", false},
		{"on_loss: degraded", "on_loss: maintenance", false},
		{"on_loss: degraded", "on_loss: hold", false},
		{"99.5%", "99.4%", false},
		{"grace: 1m", "grace: 2m", false},
		{"page_above: 2 %", "page_above: 3%", false},
		{"back at 04:00", "back at 05:00", false},
		{"retry_after: 2m", "retry_after: 3m", false},
	} {
		if d, shed := digests(c.old, c.new); d == base || (shed != baseShed) != c.shed {
			t.Errorf("%q for %q: the policy's digest changes: %v, that of the transition: %v", c.new, c.old, d != base, shed != baseShed)
		}
	}
}

// What says nothing but what holds anyhow is no other rule.
func TestDefaultsOfInstancesAreNoRules(t *testing.T) {
	const text = "version: modeshift/v1\nservice: checkout\nmodes: [{name: normal}, {name: degraded}]\n"
	base := mustLoad(t, Options{}, text).Digest
	for _, said := range []string{"instances: {min_applied: 99%, grace: 30s, page_above: 1%}\n", "on_loss: hold\n", "instances: {}\n"} {
		if d := mustLoad(t, Options{}, text+said).Digest; d != base {
			t.Errorf("the digest changes with %q", said)
		}
	}
	if d := mustLoad(t, Options{}, text+"lease: 10m\n").Digest; d == base {
		t.Error("a lease is not in the digest")
	}
}

func TestDoubtfulRulesOfInstancesAreWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"lease: 10s\non_loss: degraded\nmodes: [{name: normal}, {name: degraded}]\n":  "a.yaml:3:8: warning: with a lease of 10s every restart of the server moves the instances to degraded",
		"lease: 1m\non_loss: degraded\nmodes: [{name: normal}, {name: degraded}]\n":   "",
		"lease: 10s\non_loss: hold\nmodes: [{name: normal}, {name: degraded}]\n":      "",
		"instances: {grace: 1m}\nslis: [{name: a, query: up}]\nslos: []\nlease: 1m\n": "a.yaml:3:1: warning: instances says what instances do with modes, and there are none a.yaml:6:1: warning: lease says what instances do with modes, and there are none",
	} {
		var got []string
		for _, w := range mustLoad(t, Options{}, "version: modeshift/v1\nservice: checkout\n"+text).Warnings {
			got = append(got, w.Summary())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q warns %q, want %q", text, got, want)
		}
	}
}
