package rules

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

func TestTargetsAreAPartOfAStepAndOfItsDigest(t *testing.T) {
	load := func(targets string) engine.Transition {
		t.Helper()
		text := `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: contained}]
transitions:
  - name: contain
    from: [normal]
    to: contained
    when: alert("Compromised")
    approval: {groups: [{role: oncall, count: 1}], within: 15m}
    actions:
      - name: isolate
        ` + targets + `
        webhook: {url: "https://hooks.example.com/isolate", json: {hosts: "{{.targets}}"}}
        destructive: true
        undo: {webhook: {url: "https://hooks.example.com/release", json: {hosts: "{{.targets}}"}}}
`
		return mustLoad(t, Options{Kinds: kinds}, text).Services[0].Policy.Transitions[0]
	}
	base := load(`targets: {query: 'up{job="checkout",zone="a"} == 1', max: 10}`)
	got := base.Playbook.Steps[0].Targets
	var s Selector
	if err := json.Unmarshal([]byte(got.Selector), &s); err != nil || got.Max != 10 || s.Label != "instance" || s.Query != `up{job="checkout",zone="a"} == 1` {
		t.Errorf("targets %+v, %v", got, err)
	}
	if want := `the values of instance in up{job="checkout",zone="a"} == 1`; s.String() != want {
		t.Errorf("in words: %s", s)
	}
	for targets, same := range map[string]bool{
		"targets:\n          max: 10\n          label: instance\n          query: |\n            up{job=\"checkout\", zone=\"a\"}  == 1 # those that answer": true,
		`targets: {query: 'up{job="checkout",zone="a"} == 1', max: 11}`:                                                                                      false,
		`targets: {query: 'up{job="checkout",zone="b"} == 1', max: 10}`:                                                                                      false,
		`targets: {query: 'up{job="checkout",zone="a"} == 1', label: pod, max: 10}`:                                                                          false,
	} {
		if other := load(targets); (other.Digest == base.Digest) != same {
			t.Errorf("%s\nhas the same digest: %v; %+v", targets, !same, other.Playbook.Steps[0].Targets)
		}
	}
}

func TestAQueryThatKeepsTheLabelFindsTargets(t *testing.T) {
	for query, want := range map[string]string{
		`up`:                           "",
		`sum by (instance) (up)`:       "",
		`sum by (job, instance) (up)`:  "",
		`max without (job) (up)`:       "",
		`topk(3, up)`:                  "",
		`sum by (instance) (up) > 3`:   "",
		`up and on (job) absent(down)`: "", // nobody can be sure
		`label_replace(sum(up), "instance", "x", "", "")`: "",
		`count_values("instance", up)`:                    "",
		`sum(up)`:                                         "write `sum by (instance)`",
		`(count by (job) (up))`:                           "write `count by (instance)`",
		`max without (instance) (up) > 1`:                 "write `max by (instance)`",
		`topk(3, sum(up))`:                                "write `sum by (instance)`",
	} {
		text := `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: alert("Hot")
    actions:
      - name: drain
        targets:
          query: '` + query + `'
          max: 10
        webhook: {url: "https://hooks.example.com/drain", json: {hosts: "{{.targets}}"}}
`
		_, err := load(t, Options{Kinds: kinds}, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(fmt.Sprint(err), want)) {
			t.Errorf("%s gives %v; want %q", query, err, want)
		}
	}
}
