package convert

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// alerts reads the alert policies of an SLO of OpenSLO.
func (o *open) alerts(x *object, s *slo, osko bool) {
	im, n := o.im, x.spec
	magic := x.doc.Get("metadata").Get("annotations").Get("osko.dev/magicAlerting")
	policies := n.Get("alertPolicies")
	var names []string
	if policies.Exists() {
		for _, p := range policies.List("alertPolicies") {
			if name := o.policy(p, s); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if osko && magic.Raw() == "true" {
		o.magic(magic, s)
		names = append(names, s.name+"_alert")
	}
	for _, t := range []struct {
		severity engine.Severity
		tier     *tier
	}{{engine.SeverityPage, &s.alerting.page}, {engine.SeverityTicket, &s.alerting.ticket}} {
		if !slices.ContainsFunc(s.windows, func(w window) bool { return w.severity == t.severity }) {
			t.tier.disabled = true
		}
	}
	switch {
	case len(s.windows) == 0:
		im.differ(Changed, "alerts", s.at, s, "remove `disable: true` in the rule file to have the workbook's", "the SLO has no alert policy, so that it has no alerts here")
		return
	case len(names) == 1:
		s.alerting.name = names[0]
	default:
		s.alerting.name = s.name
		if len(names) > 1 {
			im.differ(Changed, "tiers", n.Key("alertPolicies"), s, "", "the alerts %s are windows of one page and one ticket called %s", strings.Join(names, ", "), s.name)
		}
	}
	im.differ(Changed, "one-tier", n.Key("objectives"), s, "", "while the page of an SLO burns its ticket is quiet")
}

// policy reads an alert policy, and returns its name.
func (o *open) policy(n rules.Node, s *slo) (name string) {
	im := o.im
	spec := rules.Node{}
	if ref := n.Get("alertPolicyRef"); ref.Exists() {
		x := o.refer(ref, "AlertPolicy")
		if x == nil {
			return ""
		}
		spec, name = x.spec, x.name
	} else {
		if _, ok := n.Mapping("an alert policy"); !ok {
			return ""
		}
		if n.Get("targetRef").Exists() {
			n.Key("targetRef").Errorf("write `alertPolicyRef`", "an SLO refers to an alert policy by alertPolicyRef")
			return ""
		}
		var ok bool
		if spec, ok = n.Need("spec", "an alert policy", "write `- alertPolicyRef: NAME`, or the policy itself"); !ok {
			return ""
		}
		name = n.Get("metadata").Get("name").Raw()
	}
	known := []string{"description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets"}
	unknown, ok := spec.Mapping("an alert policy", known...)
	if !ok {
		return name
	}
	im.unknown(unknown, "an alert policy", s, known...)
	im.dropped(spec, "an alert policy", s, "an incident says what burns", "description")
	if v := spec.Get("alertWhenNoData"); v.Raw() == "true" {
		im.differ(Changed, "no-data", v, s, "", "what cannot be seen is unknown, and that pages by itself once it lasts longer than the server's blind_after (5m)")
	}
	if v := spec.Get("alertWhenResolved"); v.Exists() && v.Raw() != "true" {
		im.differ(Changed, "resolved", v, s, "", "that an incident is over is always told")
	}
	for _, t := range spec.Get("notificationTargets").Items() {
		at, what := t.Get("targetRef"), ""
		switch {
		case at.Exists():
			what = at.Raw()
			if target := o.objects["AlertNotificationTarget/"+what]; target != nil {
				target.used = true
				what += " (" + target.spec.Get("target").Raw() + ")"
			}
		default:
			at = t
			what = t.Get("spec").Get("target").Raw()
		}
		im.differ(Dropped, "receiver", at, s, "say in modeshift.yaml who is paged, and where tickets go", "the notification target %s is not carried over", what)
	}
	if v := spec.Get("alertWhenBreaching"); v.Exists() && v.Raw() != "true" {
		im.differ(Dropped, "alerts", v, s, "", "the policy %s does not alert when it is breached, so that its condition is left out", name)
		return ""
	}
	list, ok := spec.Need("conditions", "an alert policy", "")
	if !ok {
		return name
	}
	conditions := list.List("conditions")
	if len(conditions) != 1 {
		if list.IsList() {
			list.Errorf("write a policy for each", "an alert policy has one condition, and there are %d", len(conditions))
		}
		return name
	}
	o.condition(conditions[0], s)
	return name
}

// condition reads a condition of a burn rate: one window, to which ours add a short one.
func (o *open) condition(n rules.Node, s *slo) {
	im := o.im
	spec := n.Get("spec")
	switch ref := n.Get("conditionRef"); {
	case ref.Exists():
		x := o.refer(ref, "AlertCondition")
		if x == nil {
			return
		}
		spec = x.spec
	case !spec.Exists():
		n.Errorf("write `- conditionRef: NAME`, or the condition itself", "a condition needs \"conditionRef\" or \"spec\"")
		return
	}
	unknown, ok := spec.Mapping("an alert condition", "description", "severity", "condition")
	if !ok {
		return
	}
	im.unknown(unknown, "an alert condition", s, "description", "severity", "condition")
	im.dropped(spec, "an alert condition", s, "an incident says what burns", "description")
	c, ok1 := spec.Need("condition", "an alert condition", "")
	word, ok2 := spec.Need("severity", "an alert condition", "")
	if !ok1 || !ok2 {
		return
	}
	severity, ok := im.severity(word)
	known := []string{"kind", "op", "threshold", "lookbackWindow", "alertAfter"}
	unknown, is := c.Mapping("condition", known...)
	if !ok || !is {
		return
	}
	im.unknown(unknown, "condition", s, known...)
	if kind := c.Get("kind"); kind.Exists() && kind.Raw() != "burnrate" {
		kind.Errorf("write `kind: burnrate`", "there is no kind of condition %q", kind.Raw())
		return
	}
	threshold, ok1 := c.Need("threshold", "condition", "write the burn rate: `threshold: 14.4`")
	look, ok2 := c.Need("lookbackWindow", "condition", "write `lookbackWindow: 1h`")
	if !ok1 || !ok2 {
		return
	}
	factor, ok1 := threshold.Decimal("the threshold")
	long, ok2 := openDuration(look, "lookbackWindow")
	if !ok1 || !ok2 {
		return
	}
	switch op := c.Get("op"); op.Raw() {
	case "gt", "":
	case "gte":
		im.differ(Changed, "op", op, s, "", "a burn rate has to be above the threshold; equal does not open an alert")
	case "lte", "lt":
		im.differ(Decide, "op", op, s, "see whether gt is meant, as in most files that say so", "the condition alerts while the burn rate is low, which nobody wants: it is read as gt")
	default:
		op.Errorf("write `op: gt`", "there is no op %q", op.Raw())
		return
	}
	after := time.Duration(0)
	if a := c.Get("alertAfter"); a.Exists() && a.Raw() != "0" && a.Raw() != "0m" {
		if after, ok = openDuration(a, "alertAfter"); !ok {
			return
		}
		im.differ(Changed, "for", a, s, "a transition may have a `for` of its own", "an alert opens at once, and does not wait for %s first", span(after))
	}
	if factor.Sign() == 0 {
		threshold.Errorf("write a burn rate such as 14.4", "the threshold must be above zero")
		return
	}
	short := max(time.Minute, (long / 12).Round(time.Minute))
	if short >= long {
		look.Errorf("take at least 2m", "a lookbackWindow of %s is too short", span(long))
		return
	}
	im.differ(Changed, "short-window", look, s, "", "a short window of %s is added, a twelfth: the alert opens when both burn, and ends soon after the errors do", span(short))
	s.windows = append(s.windows, window{severity: severity, long: long, short: short, factor: factor, note: "the short window is not in the source"})
	if s.objective == nil {
		return
	}
	b, _ := new(big.Rat).Sub(big.NewRat(1, 1), new(big.Rat).Quo(s.objective, big.NewRat(100, 1))).Float64()
	f, _ := factor.Float64()
	s.was.alerts = append(s.was.alerts, alert{severity: severity, name: s.name, after: after, pairs: []pair{{long: long, limit: f * b}}})
}

// magic are the alerts that osko makes by itself.
func (o *open) magic(at rules.Node, s *slo) {
	const after = 5 * time.Minute
	factors := []*big.Rat{big.NewRat(144, 10), big.NewRat(6, 1), big.NewRat(3, 1), big.NewRat(1, 1)}
	for i, u := range usual {
		s.windows = append(s.windows, window{severity: u.severity, long: u.long, short: u.short, factor: factors[i]})
		if s.objective != nil {
			ratio, _ := new(big.Rat).Quo(s.objective, big.NewRat(100, 1)).Float64()
			f, _ := factors[i].Float64()
			s.was.alerts = append(s.was.alerts, alert{severity: u.severity, name: s.name + "_alert", after: after, pairs: []pair{{u.long, u.short, f * (1 - ratio)}}})
		}
	}
	o.im.differ(Changed, "for", at, s, "a transition may have a `for` of its own", "alerts open at once; osko's wait for 5m first")
	o.im.differ(Changed, "tiers", at, s, "", "osko's four alerts, with its factors 14.4, 6, 3 and 1 unless its environment says others, are the windows of one page and one ticket")
}
