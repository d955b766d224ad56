package rules

import (
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

func TestAFileSaysHowFarAutomationGoes(t *testing.T) {
	const file = `version: modeshift/v1
service: checkout
AUTOMATION
modes:
  - name: normal
  - name: degraded
    max_duration: 4h
    on_expiry: {propose: recover}
transitions:
  - name: recover
    from: [degraded]
    to: normal
    when: dwell() > duration("5h")
    approval: {groups: [{role: oncall, count: 1}], within: 1h}
`
	digests := map[engine.Digest]string{}
	for line, want := range map[string]engine.Automation{"": "", "automation: on": "", "automation: suggest": engine.AutomationSuggest, "automation: off": engine.AutomationOff} {
		p := mustLoad(t, Options{}, strings.Replace(file, "AUTOMATION", line, 1)).Services[0].Policy
		if p.Automation != want || p.Modes[1].OnExpiry != "recover" {
			t.Errorf("%q: automation %q, on_expiry %q", line, p.Automation, p.Modes[1].OnExpiry)
		}
		if other, same := digests[p.Digest]; same && (want != "" || other != "") {
			t.Errorf("%q has the digest of %q", want, other)
		}
		digests[p.Digest] = string(want)
	}
}
