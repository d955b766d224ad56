package rules

import (
	"fmt"
	"slices"
	"strings"
)

// strangers are files of other tools, by how their apiVersion begins, and what is done with each.
var strangers = []struct{ api, what, hint string }{
	{"sloth.slok.dev/", "a file of Sloth for Kubernetes", "write it as one of ours: modeshift rules import sloth %s"},
	{"openslo/", "a file of OpenSLO", "write it as one of ours: modeshift rules import openslo %s"},
	{"openslo.com/", "a file of OpenSLO", "write it as one of ours: modeshift rules import openslo %s"},
	{"pyrra.dev/", "a file of Pyrra", "write it as one of ours: modeshift rules import pyrra %s"},
	{"monitoring.coreos.com/", "a manifest of Prometheus's operator", alertsStay},
}

// alertsStay is what becomes of alerting rules: nobody has to move them.
const alertsStay = "alerts stay with Prometheus, and a condition asks for one: alert(\"NAME\"); the SLOs that they were generated of are imported: modeshift rules import sloth, openslo or pyrra"

// stranger says what a document is that does not say its version, and what its reader most likely wants to do with it.
func (r *reader) stranger(n *node) (at *node, message, hint string) {
	has := func(keys ...string) bool {
		return !slices.ContainsFunc(keys, func(k string) bool { return n.get(k) == nil })
	}
	switch api := n.get("apiVersion"); {
	case api != nil:
		for _, s := range strangers {
			if strings.HasPrefix(api.value, s.api) {
				hint = s.hint
				if strings.Contains(hint, "%s") {
					hint = fmt.Sprintf(hint, r.src.name)
				}
				return api, "this is " + s.what + ", and no rule file", hint
			}
		}
		return api, fmt.Sprintf("this is a manifest of Kubernetes (%s), and no rule file", clip(api.value)), "keep it in another folder"
	case has("rule_files", "tests") && !has("service"):
		return n.keyNode("tests"), "this is a file of tests, and no rule file", "modeshift rules test " + r.src.name + " runs it; keep tests in a folder of their own"
	case has("groups") && !has("service"):
		return n.keyNode("groups"), "this is a file of Prometheus's rules, and no rule file of ours", alertsStay
	}
	for _, k := range n.keys {
		if hint := r.didYouMean(strings.ToLower(k.value), []string{"version"}); hint != "" || strings.EqualFold(k.value, "version") {
			return k, fmt.Sprintf("unknown key %q of a rule file", clip(k.value)), `did you mean "version"?`
		}
	}
	return n, "the file does not say its version", "write `version: modeshift/v1`, or `version: prometheus/v1` for a Sloth file"
}
