package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/rules"
)

// What a kind says of itself counts where the file says nothing.
func TestWhatRunsAProgramOrDeletesNeedsAGateUnlessItsFileSaysWhyNot(t *testing.T) {
	kinds, err := FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	const gate = "approval: {groups: [{role: oncall, count: 1}], within: 15m}"
	const exec, del, post = "exec: {program: fence}", "webhook: {url: 'https://dns.example/x', method: delete}", "webhook: {url: 'https://dns.example/x'}"
	for _, c := range []struct{ gate, action, want string }{
		{"", exec + ", irreversible: true", "is destructive, and nobody is asked"},
		{"", del + ", irreversible: true", "is destructive, and nobody is asked"},
		{"", post, ""},
		{"", post + ", undo: {" + del + "}", "is destructive, and nobody is asked"}, // what is taken back is not asked about again
		{gate, exec, "action \"act\" is destructive and has no undo"},
		{gate, exec + ", irreversible: true", ""},
		{gate, del + ", undo: {" + post + "}", ""},
		{"", exec + ", destructive: false", "exec is destructive, and action \"act\" says that it is not"},
		{"", del + ", destructive: false", "webhook is destructive, and action \"act\" says that it is not"},
		{"", exec + ", destructive: false, why: it only reads", ""},
		{"", del + ", destructive: false, why: the entry is made again by itself", ""},
	} {
		text := fmt.Sprintf(`version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    %s
    actions: [{name: act, %s}]
`, c.gate, c.action)
		_, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(text)}}, rules.Options{Kinds: kinds})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.gate, c.action, err, c.want)
		}
	}
}
