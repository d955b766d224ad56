package rules

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// pairs are the workbook's: a tier fires when that share of the period's budget is being spent within the long range. The
// factor follows from the period: share × period ÷ long, which is 14.4, 6, 3 and 1 for 30 days.
// Source: Google SRE Workbook, ch. 5, table 5-8 and its code sample.
var pairs = []struct {
	severity    engine.Severity
	percent     int64
	long, short time.Duration
}{
	{engine.SeverityPage, 2, time.Hour, 5 * time.Minute},
	{engine.SeverityPage, 5, 6 * time.Hour, 30 * time.Minute},
	{engine.SeverityTicket, 10, 24 * time.Hour, 2 * time.Hour},
	{engine.SeverityTicket, 10, 72 * time.Hour, 6 * time.Hour},
}

// maxPeriod leaves room for a year of 366 days, and keeps share × period within an int64.
const maxPeriod = 400 * 24 * time.Hour

// pair is a window as read, its factor still exact.
type pair struct {
	severity    engine.Severity
	long, short time.Duration
	factor      *big.Rat
	node        *node // where it is written; nil for the workbook's
}

// sized is a pair beside the budget of an SLO.
type sized struct {
	pair
	burns float64 // the factor, rounded
	limit limit   // factor × budget
	never bool    // all events failing are not enough
}

func (p pair) beside(budget *big.Rat) sized {
	ratio := new(big.Rat).Mul(p.factor, budget)
	s := sized{pair: p, limit: limitOf(ratio), never: ratio.Cmp(one) >= 0}
	s.burns, _ = p.factor.Float64()
	return s
}

// usual is what the workbook's pairs come to for an objective over a period. Most SLOs of a file have the same.
type usual struct {
	objective Objective
	period    time.Duration
}

// sized are the pairs of an SLO beside its budget: its own, or else the workbook's.
func (d *draft) sized(s *sloDraft) []sized {
	key := usual{s.Objective, s.Period}
	if known := d.usual[key]; known != nil && s.windows == nil {
		return known
	}
	budget := s.Objective.budget()
	var out []sized
	if s.windows != nil {
		for _, p := range s.pairs {
			out = append(out, p.beside(budget))
		}
		return out
	}
	for _, p := range pairs {
		factor := big.NewRat(p.percent*int64(s.Period), 100*int64(p.long))
		out = append(out, pair{severity: p.severity, long: p.long, short: p.short, factor: factor}.beside(budget))
	}
	d.usual[key] = out
	return out
}

// decimalShape keeps the exact arithmetic small; nobody has a budget with more digits.
var decimalShape = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,12})?$`)

// decimal reads a number exactly as it is written; such is an example of one.
func (r *reader) decimal(n *node, what, such string) (*big.Rat, bool) {
	if n.kind != yaml.ScalarNode || n.tag != "!!int" && n.tag != "!!float" {
		hint := "write a plain number such as " + such + ", without quotes"
		// 99.9% and 99,9 say which number is meant, and so does a number in quotes.
		if meant := strings.TrimSpace(strings.Replace(strings.TrimSuffix(n.value, "%"), ",", ".", 1)); n.kind == yaml.ScalarNode && decimalShape.MatchString(meant) {
			if hint = "write " + meant; n.value == meant {
				hint += ", without quotes"
			}
		}
		r.errorf(n, hint, "%s must be a number, not %s", what, n.is())
		return nil, false
	}
	if !decimalShape.MatchString(n.value) {
		if strings.HasPrefix(n.value, "-") {
			r.errorf(n, "write a number such as "+such, "%s must be above zero, and it is %s", what, clip(n.value))
		} else {
			r.errorf(n, "write a decimal such as "+such, "%s is %s, which is not a plain decimal number", what, clip(n.value))
		}
		return nil, false
	}
	d, ok := new(big.Rat).SetString(n.value)
	return d, ok
}

// objective reads a percentage above 0 and below 100.
func (r *reader) objective(n *node) (Objective, bool) {
	d, ok := r.decimal(n, "the objective", "99.9")
	switch {
	case !ok:
		return Objective{}, false
	case d.Sign() <= 0:
		r.errorf(n, "write the percentage of good events, such as 99.9", "an objective of %s asks for nothing", n.value)
		return Objective{}, false
	case d.Cmp(big.NewRat(100, 1)) == 0:
		r.errorf(n, "write what users really need, such as 99.9 or 99.99", "an objective of 100 leaves no error budget: any burn rate would be infinite")
		return Objective{}, false
	case d.Cmp(big.NewRat(100, 1)) > 0:
		r.errorf(n, "write the percentage of good events, such as 99.9", "an objective of %s is above 100 %%", n.value)
		return Objective{}, false
	case d.Cmp(big.NewRat(1, 1)) < 0:
		r.as(CodeObjectiveAsRatio).warnf(n, "write the percentage, such as 99.9 for 0.999", "the objective is %s %%: is it meant as a ratio?", n.value)
	}
	text := n.value
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	text = strings.TrimLeft(text, "0")
	if text == "" || text[0] == '.' {
		text = "0" + text
	}
	return Objective{text}, true
}

// sloDraft is what an SLO's keys said, before what depends on several of them is checked.
type sloDraft struct {
	SLO
	node, objective, minEvents, windows *node
	period, calendar, timezone          *node
	errors, total                       *query
	pairs                               []pair // that it names itself
	alerting                            alerting
	saysHow                             bool // it says itself how it is evaluated
}

type alerting struct {
	node                *node
	name                string
	labels, annotations map[string]string
	page, ticket        tierDraft
}

type tierDraft struct {
	disabled            bool
	labels, annotations map[string]string
}

// slo reads one SLO. The keys that Sloth does not know are ignored in a Sloth file, as Sloth does, and warned about.
func (d *draft) slo(n *node) {
	r := d.r
	s := sloDraft{node: n, SLO: SLO{Period: d.opts.SLOPeriod, MaxAge: d.opts.MaxAge, NoTraffic: NoTrafficUnknown, Position: r.position(n)}}
	fields := []field{
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of an SLO"); ok && r.unique(d.sloNames, n, "SLO", name) {
				s.Name = name
			}
		}),
		need("objective", func(n *node) {
			s.objective = n
			s.Objective, _ = r.objective(n)
		}),
		may("description", r.setText(&s.Description, "the description")),
		may("labels", r.setLabels(&s.Labels, "label")),
		need("sli", func(n *node) { d.sli(n, &s) }),
		may("alerting", func(n *node) { d.alerting(n, &s.alerting) }),
	}
	extended := []field{
		may("period", func(n *node) {
			switch v, ok := r.duration(n, "the period"); {
			case !ok:
			case v > maxPeriod:
				r.errorf(n, "", "the period may be at most %s", model.Duration(maxPeriod))
			default:
				s.Period, s.period = v, n
			}
		}),
		may("calendar", func(n *node) { d.calendar(n, &s) }),
		may("timezone", func(n *node) {
			s.timezone = n
			if place, ok := r.timezone(n); ok {
				s.Timezone = place
			}
		}),
		may("max_age", r.setDuration(&s.MaxAge, "max_age")),
		may("source", func(n *node) { s.Source = d.source(n) }),
		may("agree", func(n *node) { s.Agree = d.agree(n, &s.Source) }),
		may("evaluate", func(n *node) { s.Recorded, s.saysHow = d.evaluate(n) }),
		may("windows", func(n *node) {
			s.windows = n
			r.list(n, "windows", func(n *node) { d.window(n, &s) })
		}),
		may("escalation", d.escalation(&s.escalations)),
		may("min_events", func(n *node) {
			s.minEvents = n
			if v, ok := r.number(n, "min_events"); ok && v <= 0 {
				r.errorf(n, "leave it out if any number will do", "min_events must be above zero")
			} else {
				s.MinEvents = v
			}
		}),
		may("no_traffic", func(n *node) {
			v, ok := r.text(n, "no_traffic")
			switch s.NoTraffic = NoTraffic(v); {
			case !ok || s.NoTraffic == NoTrafficGood || s.NoTraffic == NoTrafficUnknown:
			default:
				r.errorf(n, "write `unknown` (nobody can tell; the default) or `good` (an error ratio of 0)", "no_traffic cannot be %q", clip(v))
			}
		}),
	}
	if r.lenient {
		for _, f := range extended {
			if k := n.keyNode(f.key); k != nil {
				r.as(CodeUnknownKey).warnf(k, "write `version: modeshift/v1` to use it", "%q of an SLO is ignored in a prometheus/v1 file", f.key)
				n = n.without(f.key)
			}
		}
	} else {
		fields = append(fields, extended...)
	}
	before := r.faults
	if !r.mapping(n, "an SLO", fields...) || s.Objective == (Objective{}) {
		return
	}
	s.checkCalendar(r)
	if s.alerting.node == nil {
		r.as(CodeMissingKey).errorf(n, "write `alerting: {name: …}`, or disable both: `alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}`",
			"an SLO needs \"alerting\"")
	}
	d.finishSLO(&s)
	if r.faults == before {
		d.queries[s.Name] = s.queries()
	}
	if s.Events && s.errors != nil && s.total != nil {
		s.Absence = absenceOf(s.errors.expr, s.total.expr)
	}
	var all *query
	if s.Absence.Zero {
		all = s.total
	}
	d.selectors(s.errors, all, &s.Source)
	d.selectors(s.total, nil, &s.Source)
	if s.Name != "" {
		if !s.saysHow {
			d.undecided = append(d.undecided, len(d.service.SLOs))
		}
		d.service.SLOs = append(d.service.SLOs, s.SLO)
	}
}

// queries is what the SLO measures, in canonical form.
func (s *sloDraft) queries() []string {
	out := []string{s.errors.canonical}
	if s.total != nil {
		out = append(out, s.total.canonical)
	}
	return out
}

// sli reads how an SLO is measured.
func (d *draft) sli(n *node, s *sloDraft) {
	r := d.r
	names := []string{windowName, instancesName}
	if r.lenient { // Sloth knows the one only
		names = names[:1]
	}
	var events, raw *node
	if !r.mapping(n, "sli", may("events", func(n *node) { events = n }), may("raw", func(n *node) { raw = n })) {
		return
	}
	switch {
	case events != nil && raw != nil:
		r.errorf(n.keyNode("raw"), "remove one of the two", "an SLI is measured by `events` or by `raw`, not by both")
	case events != nil:
		s.Events = true
		r.mapping(events, "events",
			need("error_query", func(n *node) { s.errors = r.query(n, "error_query", names...) }),
			need("total_query", func(n *node) { s.total = r.query(n, "total_query", names...) }))
		if s.errors != nil && s.total != nil && s.errors.canonical == s.total.canonical {
			r.as(CodeBadQuery).errorf(s.total.node, "error_query counts the bad events, total_query all of them", "total_query is the same as error_query")
		}
	case raw != nil:
		r.mapping(raw, "raw",
			need("error_ratio_query", func(n *node) { s.errors = r.query(n, "error_ratio_query", names...) }))
	case n.get("plugin") == nil:
		r.as(CodeMissingKey).errorf(n, "write `events: {error_query: …, total_query: …}` or `raw: {error_ratio_query: …}`", "an SLI needs `events` or `raw`")
	}
	d.narrowing(s)
	s.Complement = s.complement()
	if s.errors != nil {
		s.SLO.errors = s.errors.template
	}
	if s.total != nil {
		s.SLO.total, s.unit = s.total.template, unitOf(s.total.expr)
	}
}

// complement: see SLO.Complement. That the sign is right shows in the shape: all events stand first.
func (s *sloDraft) complement() bool {
	if s.errors == nil || s.Events && s.total == nil {
		return false
	}
	less, is := unwrapped(s.errors.expr).(*parser.BinaryExpr)
	if !is || less.Op != parser.SUB {
		return false
	}
	all := unwrapped(less.LHS)
	if s.Events {
		return all.String() == unwrapped(s.total.expr).String()
	}
	one, is := all.(*parser.NumberLiteral)
	return is && one.Val == 1
}

// unwrapped is an expression without parentheses around it.
func unwrapped(e parser.Expr) parser.Expr {
	for {
		p, is := e.(*parser.ParenExpr)
		if !is {
			return e
		}
		e = p.Expr
	}
}

// narrowing refuses an SLO of which a part is measured on some instances and the rest on all: a few errors of many events are a
// good ratio whatever the few are.
func (d *draft) narrowing(s *sloDraft) {
	if s.errors == nil || s.Events && s.total == nil {
		return
	}
	queries := []struct {
		what string
		*query
	}{{"error_query", s.errors}, {"total_query", s.total}}
	if !s.Events {
		queries = queries[:1]
		queries[0].what = "error_ratio_query"
	}
	narrows := false
	for _, q := range queries {
		narrows = narrows || q.template.narrows()
	}
	for _, q := range queries {
		if narrows && (!q.template.narrows() || q.open) {
			d.r.as(CodeBadQuery).errorf(q.node, `add it to each selector of the SLO: {instance=~"{{.instances}}"}`, "a selector of %s lacks {{.instances}}, and another one of this SLO has it", q.what)
		}
	}
}

func (d *draft) alerting(n *node, a *alerting) {
	r := d.r
	a.node = n
	tier := func(t *tierDraft, what string) func(*node) {
		return func(n *node) {
			if n.null() {
				return
			}
			r.mapping(n, what,
				may("disable", func(n *node) { t.disabled, _ = r.boolean(n, "disable") }),
				may("labels", func(n *node) { t.labels = r.labels(d.disableTrap(n, what), "label") }),
				may("annotations", r.setLabels(&t.annotations, "annotation")))
		}
	}
	r.mapping(n, "alerting",
		may("name", r.setText(&a.name, "the alert's name")),
		may("labels", r.setLabels(&a.labels, "label")),
		may("annotations", r.setLabels(&a.annotations, "annotation")),
		may("page_alert", tier(&a.page, "page_alert")),
		may("ticket_alert", tier(&a.ticket, "ticket_alert")))
}

// disableTrap warns of a label called disable: Sloth's own documentation shows `labels: {disable: true}`, which disables
// nothing. It returns the labels without it.
func (d *draft) disableTrap(n *node, what string) *node {
	if k := n.keyNode("disable"); k != nil {
		d.r.as(CodeDisabledByLabel).warnf(k, fmt.Sprintf("write `%s: {disable: true}`", what), "a label called `disable` does not disable the alert")
		return n.without("disable")
	}
	return n
}

func (d *draft) window(n *node, s *sloDraft) {
	r := d.r
	p := pair{node: n}
	before := r.faults
	r.mapping(n, "a window",
		need("severity", func(n *node) {
			v, ok := r.text(n, "severity")
			switch p.severity = engine.Severity(v); {
			case !ok || p.severity == engine.SeverityPage || p.severity == engine.SeverityTicket:
			default:
				r.errorf(n, "write `page` or `ticket`", "the severity of a window cannot be %q", clip(v))
			}
		}),
		need("long", r.setDuration(&p.long, "long")),
		need("short", r.setDuration(&p.short, "short")),
		need("factor", func(n *node) {
			f, ok := r.decimal(n, "factor", "14.4")
			if ok && f.Sign() == 0 {
				r.errorf(n, "write a burn rate such as 14.4", "factor must be above zero")
			}
			p.factor = f
		}))
	if r.faults > before || n.kind != yaml.MappingNode {
		return
	}
	if p.short >= p.long {
		r.errorf(n.get("short"), "the short window shows that it still burns; the workbook takes a twelfth of the long one",
			"short (%s) must be shorter than long (%s)", model.Duration(p.short), model.Duration(p.long))
		return
	}
	s.pairs = append(s.pairs, p)
}

// finishSLO checks what depends on several keys and makes the tiers.
func (d *draft) finishSLO(s *sloDraft) {
	r := d.r
	s.Budget = s.Objective.Budget()
	if s.minEvents != nil && s.MinEvents > 0 {
		switch {
		case s.Events && s.total != nil && s.unit == unitOther:
			r.errorf(s.total.node, "write it with rate(…) or increase(…): sum(rate(requests_total[{{.window}}])), or remove min_events",
				"min_events cannot be checked: total_query does not tell how many events it stands for")
		case !s.Events && s.errors != nil:
			r.errorf(s.minEvents, "write the SLI as `events`, or remove min_events", "min_events cannot be checked: a `raw` SLI does not tell how many events there were")
		}
	}
	all := d.sized(s)
	var never []string
	for i := range all {
		p := &all[i]
		if p.long > s.Period {
			if p.node != nil {
				r.errorf(p.node.get("long"), fmt.Sprintf("write at most %s, or give the SLO a longer `period`", model.Duration(s.Period)), "long (%s) is longer than the SLO's period (%s)", model.Duration(p.long), model.Duration(s.Period))
			} else {
				r.errorf(s.calendar.or(s.period).or(s.node), "give `windows: [{severity: page, long: …, short: …, factor: …}]`",
					"a period of %s is shorter than the usual windows (up to 3d)", model.Duration(s.Period))
			}
			return
		}
		if p.never {
			never = append(never, fmt.Sprintf("%s over %s", trimFloat(p.burns), model.Duration(p.long)))
		}
	}
	if len(never) > 0 {
		r.as(CodeUnreachableFactor).warnf(s.objective, "give `windows` with smaller factors", "with an objective of %s %% a burn rate of %s cannot be reached: it would take more than all events failing",
			s.Objective, strings.Join(never, " or of "))
	}
	a := &s.alerting
	if a.node == nil || a.node.kind != yaml.MappingNode {
		return
	}
	if silent := a.page.disabled && a.ticket.disabled; a.name == "" && !silent && a.node.get("name") == nil {
		r.as(CodeMissingKey).errorf(a.node, "give it, or disable both: `page_alert: {disable: true}`, `ticket_alert: {disable: true}`", "alerting needs a \"name\"")
	}
	for _, t := range []struct {
		severity engine.Severity
		draft    *tierDraft
	}{{engine.SeverityPage, &a.page}, {engine.SeverityTicket, &a.ticket}} {
		if t.draft.disabled {
			continue
		}
		tier := Tier{Severity: t.severity, Name: a.name,
			Labels:      merged(d.service.Labels, s.Labels, a.labels, t.draft.labels),
			Annotations: merged(a.annotations, t.draft.annotations)}
		for i := range all {
			if p := &all[i]; p.severity == t.severity {
				tier.Windows = append(tier.Windows, Window{Long: p.long, Short: p.short, Factor: p.burns,
					Every: everySixtieth(p.severity, p.short, d.opts.Interval), limit: p.limit})
			}
		}
		if len(tier.Windows) > 0 {
			s.Tiers = append(s.Tiers, tier)
		}
	}
}

// merged lays maps over one another; nil when there is nothing in them. Where only one of them holds anything it is that one.
func merged(layers ...map[string]string) map[string]string {
	layers = slices.DeleteFunc(layers, func(l map[string]string) bool { return len(l) == 0 })
	switch len(layers) {
	case 0:
		return nil
	case 1:
		return layers[0]
	}
	out := map[string]string{}
	for _, l := range layers {
		maps.Copy(out, l)
	}
	return out
}

func trimFloat(f float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.4f", f), "0"), ".")
}
