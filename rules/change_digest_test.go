package rules

import (
	"reflect"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

// What does not change the meaning of a change does not change its digest, and what does, does: people approve by it.
func TestADigestIsOfAllThatAChangeDoes(t *testing.T) {
	text := gatewayText(t)
	digests := func(old, new string) (engine.Digest, map[string]engine.Digest) {
		t.Helper()
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is in the file %d times", old, strings.Count(text, old))
		}
		p := mustLoad(t, Options{Kinds: kinds}, strings.Replace(text, old, new, 1)).Services[0].Policy
		by := map[string]engine.Digest{}
		for _, tr := range p.Transitions {
			by[tr.Name] = tr.Digest
		}
		return p.Digest, by
	}
	const any = "owner: team-payments"
	base, baseBy := digests(any, any)
	for old, new := range map[string]string{
		`webhook: {url: "https://dns.internal/repoint", json: {to: "eu-2"}}`: "# there\n        webhook:\n          json:\n            'to': eu-2\n          method: POST\n          url: >-\n            https://dns.internal/repoint\n",
		"groups: [{role: oncall-payments, count: 1}, {":                      "groups: [{count: 1, role: 'oncall-payments'}, {",
		"groups: [{role: oncall-payments}]":                                  "groups:\n        - role: oncall-payments\n          count: 1",
		"within: 15m":                                                        "within: 900s",
		"retry_after: 2h":                                                    "retry_after: 1h60m",
		`until: '!schedule("migration")'`:                                    `until: "! schedule('migration')"`,
		`verify: sli("p99") < 0.5`:                                           "verify: |\n      (sli('p99')   <   0.5)",
		"timeout: 5m":                                                        "timeout: 300s",
		"    on_failure: undo\n":                                             "    on_failure: 'undo'\n    publish: first\n",
		"    undo: entry\n    on_failure":                                    "    undo: \"entry\"\n    retry_after: 1h\n    on_failure",
		"        attempts: 3\n":                                              "        attempts: 0x3\n        timeout: 30s\n",
		"name: fence\n":                                                      "name: fence\n        attempts: 1\n",
		"exec: {program: fence, args: [eu-1]}":                               "exec:\n          args:\n            - 'eu-1'\n          program: \"fence\"",
		"    beside: true\n":                                                 "    beside: True\n",
		"        destructive: true\n        irreversible: true\n":            "        irreversible: true\n",
	} {
		d, by := digests(old, new)
		if d != base || !reflect.DeepEqual(by, baseBy) {
			t.Errorf("the digest changes with %q for %q", new, old)
		}
	}
	for _, c := range []struct{ transition, old, new string }{
		{"fail-over", `{to: "eu-2"}`, `{to: "eu-3"}`},
		{"fail-over", `{to: "eu-1"}`, `{to: "eu-0"}`},
		{"fail-over", `{to: "eu-2"}`, `{to: ["eu-2"]}`},
		{"fail-over", `{to: "eu-2"}`, `{to: null}`},
		{"fail-over", "within: 15m", "within: 16m"},
		{"fail-over", "{role: payments-lead, count: 1}", "{role: payments-lead, count: 2}"},
		{"fail-over", "{role: payments-lead, count: 1}", "{role: payments-boss, count: 1}"},
		{"fail-over", ", {role: payments-lead, count: 1}]", "]"},
		{"fail-over", "role: incident-commander", "role: commander"},
		{"fail-over", "      otherwise: escalate\n      to: [{role: incident-commander, count: 1}]\n", ""},
		{"fail-over", "name: repoint", "name: redirect"},
		{"fail-over", "name: fence\n", "name: fence\n        attempts: 2\n"},
		{"fail-over", "irreversible: true", "undo: {exec: {program: restart}}"},
		{"fail-over", "args: [eu-1]", "args: [eu-1, --hard]"},
		{"fail-over", `verify: sli("p99") < 0.5`, `verify: sli("p99") < 0.6`},
		{"fail-over", "    verify: sli(\"p99\") < 0.5\n", ""},
		{"fail-over", "retry_after: 2h", "retry_after: 3h"},
		{"fail-over", "retry_after: 2h", "publish: last"},
		{"fail-over", "retry_after: 2h", "retry_after: 2h\n    on_failure: hold"},
		{"fail-over", "retry_after: 2h", "retry_after: 2h\n    until: alert(\"Over\")"},
		{"fail-over", "{url: \"https://dns.internal/repoint\", json: {to: \"eu-2\"}}", "{url: \"https://dns.internal/repoint\", json: {to: \"eu-2\"}, idempotency_key: Key}"},
		{"migrate", "why: it waits", "why: she waits"},
		{"migrate", "timeout: 5m", "timeout: 6m"},
		{"migrate", `until: '!schedule("migration")'`, `until: '!schedule("migration") && dwell() > duration("1h")'`},
		{"migrate", "    publish: last\n", ""},
		{"shed", "on_failure: undo", "on_failure: hold"},
		{"shed", "    on_failure: undo\n", ""},
		{"shed", "attempts: 3", "attempts: 4"},
		{"shed", "attempts: 3", "destructive: false"},
		{"fail-back", "otherwise: page", "otherwise: deny"},
		{"fail-back", "    undo: entry\n    on_failure: hold\n", "    on_failure: hold\n"},
		{"fail-back", "within: 1d", "within: 23h"},
	} {
		d, by := digests(c.old, c.new)
		if d == base {
			t.Errorf("the policy's digest does not change with %q for %q", c.new, c.old)
		}
		named(t, Options{Kinds: kinds}, text, c.old, c.new)
		for name := range baseBy {
			if changed := by[name] != baseBy[name]; changed != (name == c.transition) {
				t.Errorf("%q for %q: %s changed: %v", c.new, c.old, name, changed)
			}
		}
	}
	if d, by := digests("    beside: true\n", ""); d == base || !reflect.DeepEqual(by, baseBy) {
		t.Error("beside is not in the policy's digest, or is in a transition's")
	}
	// What stands behind the conditions that a change refers to counts too.
	if _, by := digests(`histogram_quantile(0.99`, `histogram_quantile(0.95`); by["fail-over"] == baseBy["fail-over"] || by["shed"] != baseBy["shed"] {
		t.Error("another query behind verify leaves the digest as it was")
	}
	if _, by := digests(`"0 2 * * SUN"`, `"0 3 * * SUN"`); by["migrate"] == baseBy["migrate"] {
		t.Error("another schedule behind until leaves the digest as it was")
	}
}
