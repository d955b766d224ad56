package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func TestAFileSaysHowManyChangesAreTooMany(t *testing.T) {
	const file = `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: degraded}]
`
	without, with := mustLoad(t, Options{}, file).Services[0].Policy, mustLoad(t, Options{}, file+"flapping: {changes: 6, within: 1h}\n").Services[0].Policy
	if without.Flap != (engine.Flap{}) || with.Flap != (engine.Flap{Changes: 6, Within: time.Hour}) || with.Digest == without.Digest {
		t.Errorf("%+v, %+v", without.Flap, with.Flap)
	}
	for line, want := range map[string]string{
		"flapping: 6":                           "flapping must be a mapping",
		"flapping: {changes: 1, within: 1h}":    "number of changes",
		"flapping: {changes: 6}":                "within",
		"flapping: {changes: 6, within: 30d}":   "at most 1w",
		"flapping: {changes: 600, within: 1h}":  "number of changes",
		"flapping: {changes: 6, within: never}": "never",
	} {
		if _, faults := load(t, Options{}, file+line+"\n"); !strings.Contains(faults.Error(), want) {
			t.Errorf("%s: %v", line, faults)
		}
	}
}

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

func TestAFileSaysHowLongAWayOutMayStandOpen(t *testing.T) {
	const file = `version: modeshift/v1
service: checkout
TOP
modes: [{name: normal}, {name: degraded, MODE}]
`
	policy := func(top, mode string) engine.Policy {
		t.Helper()
		return mustLoad(t, Options{}, strings.NewReplacer("TOP", top, "MODE", mode).Replace(file)).Services[0].Policy
	}
	none, all, one := policy("", "flags: {}"), policy("stuck_after: 2h", "flags: {}"), policy("", "stuck_after: 2h")
	if none.StuckAfter != 0 || all.StuckAfter != 2*time.Hour || all.Modes[1].StuckAfter != 0 || one.StuckAfter != 0 || one.Modes[1].StuckAfter != 2*time.Hour {
		t.Errorf("%v, %v, %v", none, all, one)
	}
	if none.Digest == all.Digest || all.Digest == one.Digest || none.Digest == one.Digest {
		t.Error("the digest does not tell")
	}
	for value, want := range map[string]string{
		"0s": "f:3:14: stuck_after must be longer than zero", "8d": "f:3:14: stuck_after may be at most 1w", "never": `f:3:14: stuck_after is "never", which is not a duration`,
	} {
		if _, faults := load(t, Options{}, strings.NewReplacer("TOP", "stuck_after: "+value, "MODE", "flags: {}").Replace(file)); !strings.Contains(faults.Error(), strings.TrimPrefix(want, "f")) {
			t.Errorf("%s: %v", value, faults)
		}
	}
}
