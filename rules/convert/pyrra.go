package convert

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

const (
	pyrraBegins = "a file of Pyrra begins with `apiVersion: pyrra.dev/v1alpha1` and `kind: ServiceLevelObjective`"
	pyrraPrefix = "pyrra.dev/" // of the labels and annotations that Pyrra hands on
)

// pyrraTiers are Pyrra's four alerts for a window of 28 days. All of a tier's durations scale with the window and are rounded to
// a minute; the factors stay.
var pyrraTiers = []struct {
	key, severity    string
	after            time.Duration
	long, short      time.Duration
	factor           int64
	severityByItself engine.Severity
}{
	{"fastBurn", "critical", 2 * time.Minute, time.Hour, 5 * time.Minute, 14, engine.SeverityPage},
	{"mediumBurn", "critical", 15 * time.Minute, 6 * time.Hour, 30 * time.Minute, 7, engine.SeverityPage},
	{"slowBurn", "warning", time.Hour, day, 2 * time.Hour, 2, engine.SeverityTicket},
	{"longTermBurn", "warning", 3 * time.Hour, 4 * day, 6 * time.Hour, 1, engine.SeverityTicket},
}

// scaled is a duration of a window of 28 days in another window, as Pyrra computes it: whole divisions, then minutes.
func scaled(d, window time.Duration) time.Duration {
	return (window / (28 * day / d)).Round(time.Minute)
}

// pyrra reads the manifests of Pyrra.
func (im *importer) pyrra(files []rules.File) {
	for _, f := range files {
		im.read(f, pyrraBegins, im.pyrraDocument)
	}
}

func (im *importer) pyrraDocument(doc rules.Node) {
	api, kind := doc.Get("apiVersion"), doc.Get("kind")
	if api.Raw() != "pyrra.dev/v1alpha1" || kind.Raw() != "ServiceLevelObjective" {
		at := doc
		switch {
		case api.Exists() && api.Raw() != "pyrra.dev/v1alpha1":
			at = api
		case kind.Exists():
			at = kind
		}
		at.Errorf(pyrraBegins, "this is no ServiceLevelObjective of Pyrra")
		return
	}
	s := &slo{at: doc, root: doc}
	top := []string{"apiVersion", "kind", "metadata", "spec", "status"}
	unknown, _ := doc.Mapping("a ServiceLevelObjective", top...)
	metadata, ok := doc.Need("metadata", "a ServiceLevelObjective", "")
	if !ok || !im.pyrraMetadata(metadata, s) {
		return
	}
	im.unknown(unknown, "a ServiceLevelObjective", s, top...)
	spec, ok := doc.Need("spec", "a ServiceLevelObjective", "")
	if !ok {
		return
	}
	im.slos = append(im.slos, s)
	im.pyrraSpec(spec, s)
}

func (im *importer) pyrraMetadata(n rules.Node, s *slo) bool {
	if _, ok := n.Mapping("metadata"); !ok {
		return false
	}
	name, ok := n.Need("name", "metadata", "")
	if !ok {
		return false
	}
	s.at = name
	if s.name, ok = name.Name("the name of an SLO"); !ok {
		return false
	}
	for _, part := range []struct {
		key, what string
		into      *map[string]string
	}{{"labels", "label", &s.labels}, {"annotations", "annotation", &s.alerting.annotations}} {
		values := n.Get(part.key)
		if !values.Exists() {
			continue
		}
		all := values.Labels(part.what)
		for i, k := range values.Keys() {
			short, mine := strings.CutPrefix(k.Raw(), pyrraPrefix)
			if !mine {
				im.differ(Dropped, part.key, k, s, "", "the %s %q is not carried over: it is about the object in Kubernetes, not handed on by Pyrra", part.what, k.Raw())
				continue
			}
			if *part.into == nil {
				*part.into = map[string]string{}
			}
			(*part.into)[short] = all[k.Raw()]
			if part.key == "annotations" && strings.Contains(all[k.Raw()], "{{") {
				im.template(values.Items()[i], short, s)
			}
		}
	}
	switch own := s.labels["service"]; {
	case own != "":
		if s.service, ok = n.Get("labels").Get(pyrraPrefix + "service").Name("the name of a service"); !ok {
			return false
		}
	case im.opts.Service != "":
		s.service = im.opts.Service
	default:
		s.service = s.name
	}
	for i := range im.diffs { // of the labels, which were read before the service was known
		if d := &im.diffs[i]; d.SLO == s.name && d.Service == "" {
			d.Service = s.service
		}
	}
	if s.labels["service"] == "" && im.opts.Service == "" {
		im.differ(Changed, "service", name, s, "--service NAME puts several into one; a label pyrra.dev/service says whose an SLO is",
			"Pyrra knows no services: this SLO is a service of its own")
	}
	for _, k := range n.Keys() {
		switch k.Raw() {
		case "name", "labels", "annotations":
		default:
			im.differ(Dropped, "key", k, s, "", "%q of metadata is not carried over: it is about the object in Kubernetes", k.Raw())
		}
	}
	return true
}

func (im *importer) pyrraSpec(n rules.Node, s *slo) {
	known := []string{"description", "target", "window", "indicator", "alerting", "partial_response_strategy", "performanceOverAccuracy", "ruleOutput"}
	unknown, ok := n.Mapping("spec", known...)
	if !ok {
		return
	}
	im.unknown(unknown, "spec", s, known...)
	if d := n.Get("description"); d.Exists() && strings.TrimSpace(d.Raw()) != "" {
		s.description, _ = d.Text("the description")
	}
	if t, ok := n.Need("target", "spec", "write the percentage of good events: `target: \"99.9\"`"); ok {
		if s.objective = percentage(t); s.objective != nil && s.objective.Cmp(big.NewRat(1, 1)) < 0 {
			im.differ(Decide, "doubt", t, s, "write the percentage, such as 99.9 for 0.999", "the target is %s %%: is it meant as a ratio?", t.Raw())
		}
	}
	if w, ok := n.Need("window", "spec", "write `window: 28d`"); ok {
		if s.period, ok = w.Duration("the window"); ok && scaled(5*time.Minute, s.period) == 0 {
			w.Errorf("take at least 3d", "a window of %s is too short: Pyrra's windows scale with it, and the shortest is rounded to no minute at all", span(s.period))
			s.period = 0
		}
	}
	if i, ok := n.Need("indicator", "spec", ""); ok {
		im.pyrraIndicator(i, s)
	}
	im.pyrraAlerting(n.Get("alerting"), n.Key("window"), s)
	if p := n.Get("partial_response_strategy"); p.Raw() == "warn" {
		im.differ(Changed, "partial", p, s, "", "an answer with a warning of missing data is unknown; with `warn` Thanos goes on with what it has")
	}
	if p := n.Get("performanceOverAccuracy"); p.Raw() == "true" {
		im.differ(Changed, "period", n.Key("performanceOverAccuracy"), s, "", "the budget is kept in a ledger, exactly; Pyrra estimates it from increases of five minutes then")
	}
	im.dropped(n, "spec", s, "no rules are recorded in Prometheus", "ruleOutput")
	at := n.Key("indicator")
	if !at.Exists() {
		return
	}
	im.differ(Dropped, "recordings", at, s, "keep Pyrra's rules as long as dashboards read them",
		"no rules are recorded in Prometheus: the series …:burnrate…, …:increase… and pyrra_… are Pyrra's")
	im.differ(Changed, "no-data", at, s, "`no_traffic: good` of an SLO says that no traffic is no error",
		"without traffic or without samples an SLO is unknown, which opens nothing and ends nothing, and lost sight pages; an alert of Pyrra's ends then")
}

// pyrraIndicator reads how an SLO is measured.
func (im *importer) pyrraIndicator(n rules.Node, s *slo) {
	known := []string{"ratio", "latency", "latencyNative", "bool_gauge"}
	unknown, ok := n.Mapping("indicator", known...)
	if !ok {
		return
	}
	im.unknown(unknown, "indicator", s, known...)
	var kind string
	for _, k := range known {
		switch {
		case !n.Get(k).Exists():
		case kind != "":
			n.Key(k).Errorf("keep one of them: Pyrra takes the first of ratio, latency, latencyNative and bool_gauge, and says nothing of the others",
				"an SLO is measured in one way, and there is %q too", kind)
			return
		default:
			kind = k
		}
	}
	if kind == "" {
		n.Errorf("write `ratio: {errors: {metric: …}, total: {metric: …}}`, or latency, latencyNative or bool_gauge", "an indicator needs a way to measure")
		return
	}
	at := n.Get(kind)
	parts := map[string][]string{"ratio": {"errors", "total"}, "latency": {"success", "total"}, "latencyNative": {"total"}}[kind]
	keys := append(slices.Clone(parts), "grouping")
	switch kind {
	case "latencyNative":
		keys = append(keys, "latency")
	case "bool_gauge":
		keys = append(keys, "metric")
	}
	if unknown, ok = at.Mapping(kind, keys...); !ok {
		return
	}
	im.unknown(unknown, kind, s, keys...)
	by := im.pyrraGroups(at, s)
	sum := func(group, of string) string { return "sum" + group + "(" + of + ")" }
	both := func(make func(group string) (errors, total, ratio string)) {
		s.errors, s.total, _ = make("")
		errors, total, ratio := make(by)
		s.was.ratio = func(w time.Duration) string { return windowed(ratio, w) }
		if by != "" {
			s.was.parts = func(w time.Duration) (string, string) {
				return sum("", windowed(errors, w)), sum("", windowed(total, w))
			}
		}
	}
	switch kind {
	case "ratio":
		errors, ok1 := pyrraMetric(at, "errors", kind)
		total, ok2 := pyrraMetric(at, "total", kind)
		if !ok1 || !ok2 {
			return
		}
		if errors.String() == total.String() {
			at.Get("errors").Get("metric").Errorf("errors are a part of the total", "the metric of errors is that of the total")
			return
		}
		both(func(group string) (string, string, string) {
			e, t := sum(group, rate(errors)), sum(group, rate(total))
			return e, t, e + " / " + t
		})
	case "latency":
		success, ok1 := pyrraMetric(at, "success", kind)
		total, ok2 := pyrraMetric(at, "total", kind)
		if !ok1 || !ok2 || !pyrraBucket(at.Get("success").Get("metric"), success) {
			return
		}
		both(func(group string) (string, string, string) {
			t := sum(group, rate(total))
			e := t + " - " + sum(group, rate(success))
			return e, t, "(" + e + ") / " + t
		})
	case "latencyNative":
		total, ok1 := pyrraMetric(at, "total", kind)
		limit, ok2 := at.Need("latency", kind, "write how long a request may take: `latency: 200ms`")
		if !ok1 || !ok2 {
			return
		}
		d, ok := limit.Duration("the latency")
		if !ok {
			return
		}
		both(func(group string) (string, string, string) {
			h := sum(group, rate(total))
			ratio := fmt.Sprintf("1 - histogram_fraction(0, %s, %s)", strconv.FormatFloat(d.Seconds(), 'f', -1, 64), h)
			return "(" + ratio + ") * histogram_count(" + h + ")", "histogram_count(" + h + ")", ratio
		})
		im.differ(Changed, "period", limit, s, "", "errors and total are the counts of the histogram, so that the budget is weighted by traffic; their quotient is Pyrra's ratio")
	case "bool_gauge":
		gauge, ok := pyrraMetric(rules.Node{}, "", kind, at)
		if !ok {
			return
		}
		both(func(group string) (string, string, string) {
			t := sum(group, "count_over_time("+gauge.String()+"[{{.window}}])")
			e := t + " - " + sum(group, "sum_over_time("+gauge.String()+"[{{.window}}])")
			return e, t, "(" + e + ") / " + t
		})
	}
}

func rate(v *parser.VectorSelector) string { return "rate(" + v.String() + "[{{.window}}])" }

// pyrraGroups says what becomes of a grouping, and returns it as Pyrra writes it.
func (im *importer) pyrraGroups(n rules.Node, s *slo) string {
	g := n.Get("grouping")
	if !g.Exists() {
		return " "
	}
	var names []string
	for _, item := range g.List("grouping") {
		if name, ok := item.Text("a label"); ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return " "
	}
	slices.Sort(names)
	names = slices.Compact(names)
	im.differ(Changed, "groups", n.Key("grouping"), s, "write an SLO for each group that matters, with a matcher for its label",
		"Pyrra has a budget and alerts for each %s; here all of them are one SLO, so that a small one hides behind the others", strings.Join(names, " and "))
	return " by (" + strings.Join(names, ", ") + ") "
}

// pyrraMetric reads a selector: of a part of an indicator, or of the indicator itself.
func pyrraMetric(n rules.Node, part, kind string, itself ...rules.Node) (*parser.VectorSelector, bool) {
	at, what := rules.Node{}, kind
	if len(itself) > 0 {
		at = itself[0]
	} else {
		var ok bool
		if at, ok = n.Need(part, kind, fmt.Sprintf("write `%s: {metric: …}`", part)); !ok {
			return nil, false
		}
		what = part
		if _, ok := at.Mapping(what, "metric"); !ok {
			return nil, false
		}
	}
	m, ok := at.Need("metric", what, "")
	if !ok {
		return nil, false
	}
	_, expr, ok := m.Query("the metric", false)
	if !ok {
		return nil, false
	}
	v, ok := expr.(*parser.VectorSelector)
	switch {
	case !ok:
		m.Errorf(`write a selector such as http_requests_total{job="api"}: Pyrra adds rate() and sum() itself`, "the metric must be a selector, and this is more")
		return nil, false
	case v.OriginalOffset != 0 || v.Timestamp != nil || v.StartOrEnd != 0:
		m.Errorf("remove it", "the metric has an offset or a time, which Pyrra does not heed")
		return nil, false
	}
	return v, true
}

// pyrraBucket makes the bucket of a latency mean the same in Prometheus 2 and 3, as Pyrra does: le="1" is le="1.0" there.
func pyrraBucket(n rules.Node, v *parser.VectorSelector) bool {
	for i, m := range v.LabelMatchers {
		if m.Name != labels.BucketLabel || m.Type != labels.MatchEqual {
			continue
		}
		if _, err := strconv.ParseFloat(m.Value, 64); err != nil {
			n.Errorf(`write the bound of a bucket that the histogram has: le="0.5"`, "le is %q, which is not a number", m.Value)
			return false
		}
		if _, err := strconv.ParseInt(m.Value, 10, 64); err == nil {
			v.LabelMatchers[i] = labels.MustNewMatcher(labels.MatchRegexp, m.Name, regexp.QuoteMeta(m.Value)+`(\.0)?`)
		}
		return true
	}
	n.Errorf(`name the bucket within which a request is good: {le="0.5"}`, "the metric of success has no matcher for le")
	return false
}

// pyrraAlerting reads what alerts there are. n may not be there.
func (im *importer) pyrraAlerting(n, window rules.Node, s *slo) {
	burn, absent := true, true
	a := &s.alerting
	a.name = "ErrorBudgetBurn"
	absentName, severities := "SLOMetricAbsent", rules.Node{}
	if n.Exists() {
		known := []string{"disabled", "burnrates", "absent", "name", "absentName", "severities"}
		unknown, ok := n.Mapping("alerting", known...)
		if !ok {
			return
		}
		im.unknown(unknown, "alerting", s, known...)
		if d := n.Get("disabled"); d.Exists() {
			off, _ := d.Bool("disabled")
			burn = !off
		}
		if d := n.Get("burnrates"); d.Exists() {
			on, _ := d.Bool("burnrates")
			burn = burn && on
		}
		if d := n.Get("absent"); d.Exists() {
			absent, _ = d.Bool("absent")
		}
		if d := n.Get("name"); d.Exists() {
			a.name, _ = d.Text("the alert's name")
		}
		if d := n.Get("absentName"); d.Exists() {
			absentName, _ = d.Text("the alert's name")
		}
		severities = n.Get("severities")
	}
	at := n.Key("absent")
	if !at.Exists() {
		at = s.at
	}
	if absent {
		im.differ(Changed, "absent", at, s, "", "there is no alert %s: what cannot be seen is unknown, and that pages by itself once it lasts longer than the server's blind_after (5m)", absentName)
	} else {
		im.differ(Changed, "absent", at, s, "", "what cannot be seen pages once it lasts longer than the server's blind_after (5m), though Pyrra says nothing of it here")
	}
	if !burn {
		a.name = ""
		a.page.disabled, a.ticket.disabled = true, true
		if s.period >= longest || s.period == 0 {
			return
		}
	}
	if s.period == 0 || s.objective == nil {
		return
	}
	im.pyrraTiers(severities, window, burn, s)
}

func (im *importer) pyrraTiers(severities, at rules.Node, burn bool, s *slo) {
	if severities.Exists() {
		known := []string{"absent", "fastBurn", "mediumBurn", "slowBurn", "longTermBurn"}
		unknown, ok := severities.Mapping("severities", known...)
		if !ok {
			return
		}
		im.unknown(unknown, "severities", s, known...)
		im.dropped(severities, "severities", s, "what cannot be seen is a page", "absent")
	}
	target, _ := new(big.Rat).Quo(s.objective, big.NewRat(100, 1)).Float64()
	var after, scaledTo []string
	for _, t := range pyrraTiers {
		w := window{severity: t.severityByItself, long: scaled(t.long, s.period), short: scaled(t.short, s.period), factor: big.NewRat(t.factor, 1)}
		if n := severities.Get(t.key); n.Exists() {
			var ok bool
			if w.severity, ok = im.severity(n); !ok {
				continue
			}
		}
		w.note = "Pyrra's " + t.key
		hold := scaled(t.after, s.period)
		s.windows = append(s.windows, w)
		after = append(after, span(hold))
		scaledTo = append(scaledTo, model.Duration(w.short).String()+"/"+model.Duration(w.long).String())
		if burn {
			s.was.alerts = append(s.was.alerts, alert{severity: w.severity, name: s.alerting.name, after: hold,
				pairs: []pair{{w.long, w.short, float64(t.factor) * (1 - target)}}})
		}
		if burn && w.short < 2*time.Minute {
			im.differ(Decide, "short-window", at, s, "scrape at least every 15 s, or take a longer short window",
				"the short window of %s is %s: a rate needs two scrapes in it, and is noise with fewer than four", t.key, span(w.short))
		}
	}
	if !burn {
		return
	}
	for _, t := range []struct {
		severity engine.Severity
		tier     *tier
	}{{engine.SeverityPage, &s.alerting.page}, {engine.SeverityTicket, &s.alerting.ticket}} {
		if !slices.ContainsFunc(s.windows, func(w window) bool { return w.severity == t.severity }) {
			t.tier.disabled = true
		}
	}
	im.differ(Changed, "for", at, s, "a transition may have a `for` of its own",
		"an alert opens at once; Pyrra's four wait for %s first", strings.Join(after, ", "))
	im.differ(Changed, "tiers", at, s, "",
		"Pyrra's four alerts over %s are the windows of one page and one ticket, and while the page burns the ticket is quiet", strings.Join(scaledTo, ", "))
	im.differ(Dropped, "labels", at, s, "", "notices bear no labels slo, short, long, exhaustion and severity, and none of the metric's matchers; no annotation pyrra_url")
}
