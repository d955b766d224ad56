package ruletest

import (
	"strings"

	"github.com/modeshift/modeshift/rules"
)

// promtoolKeys are those that files for promtool test rules have, and ours do not, with what says the same here.
var promtoolKeys = []struct{ key, here string }{
	{"evaluation_interval", "`evaluation: {interval: 1m}`"},
	{"group_eval_order", ""},
	{"alert_rule_test", "`expect: [{at: 10m, incidents: [page slo availability]}]`"},
	{"promql_expr_test", "`expect: [{at: 10m, readings: {'error_ratio(\"availability\", \"5m\") > 0.1': true}}]`"},
	{"external_labels", ""},
	{"external_url", ""},
}

// stranger reports whether a document is no file of tests but something that people have beside one, and says what to do with it: a
// list of all its keys that are unknown here would not.
func (p *reading) stranger(n rules.Node) bool {
	if !n.IsMapping() {
		return false
	}
	if !n.Has("tests") {
		switch {
		case n.Has("version") && n.Has("service"):
			p.Errorf(n.Key("version"), "modeshift rules check "+p.file.Name+" reads it; a file of tests names it under rule_files", "this is a rule file, and no file of tests")
			return true
		case n.Has("groups"):
			p.Errorf(n.Key("groups"), "modeshift rules import reads what such files are generated of; "+begins, "this is a file of Prometheus's rules, and no file of tests")
			return true
		}
	}
	var first rules.Node
	var here []string
	for _, k := range promtoolKeys {
		for _, one := range append([]rules.Node{n}, n.Get("tests").Items()...) {
			if !one.IsMapping() || !one.Has(k.key) {
				continue
			}
			if first == (rules.Node{}) {
				first = one.Key(k.key)
			}
			if k.here != "" {
				here = append(here, k.key+" is "+k.here+" here")
			}
			break
		}
	}
	if first == (rules.Node{}) {
		return false
	}
	p.Errorf(first, strings.Join(append([]string{"rule_files name ours, each test has a name, and input_series stay as they are"}, here...), "; "),
		"this is a file for promtool test rules, which tests Prometheus's own rules")
	return true
}
