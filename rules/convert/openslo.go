package convert

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/rules"
)

const openBegins = "a file of OpenSLO begins with `apiVersion: openslo/v1` and `kind: SLO`"

// object is a document of OpenSLO.
type object struct {
	doc, spec rules.Node
	name      string
	used      bool
}

// open is the reading of OpenSLO's files: objects refer to one another across documents and files.
type open struct {
	im      *importer
	objects map[string]*object // by kind and name
	order   []*object
	osko    bool // the SLO that is read is one of osko's, by its apiVersion or by the options
}

// kinds are those of OpenSLO v1, and what becomes of one that no SLO refers to.
var openKinds = []string{"Service", "SLI", "SLO", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"}

// openslo reads the manifests of OpenSLO.
func (im *importer) openslo(files []rules.File) {
	o := &open{im: im, objects: map[string]*object{}}
	for _, f := range files {
		im.read(f, openBegins, o.document)
	}
	for _, x := range o.order {
		switch {
		case x.doc.Get("kind").Raw() != "SLO":
		case x.doc.Get("apiVersion").Raw() == "openslo/v1alpha":
			o.alpha(x)
		default:
			o.slo(x)
		}
	}
	for _, x := range o.order {
		switch kind := x.doc.Get("kind").Raw(); {
		case kind == "SLO" || x.used:
		case kind == "Service":
			im.differ(Dropped, "object", x.doc.Key("metadata"), nil, "", "of the Service %q nothing but its name is carried over", x.name)
		default:
			im.differ(Dropped, "object", x.doc.Key("metadata"), nil, "", "no SLO of these files refers to the %s %q", kind, x.name)
		}
	}
}

// document notes an object, so that others can refer to it.
func (o *open) document(doc rules.Node) {
	api, kind := doc.Get("apiVersion"), doc.Get("kind")
	switch api.Raw() {
	case "openslo/v1", "openslo.com/v1", "openslo/v1alpha":
	case "openslo.com/v2alpha", "openslo/v2alpha":
		api.Errorf("write it as openslo/v1: `sli` is `indicator`, `sliRef` is `indicatorRef`, and a metric has a `metricSource` with type and spec",
			"%q is a draft of OpenSLO that may still change, and is not read", api.Raw())
		return
	case "":
		doc.Errorf(openBegins, "the document does not say its apiVersion")
		return
	default:
		api.Errorf(openBegins, "%q is no version of OpenSLO", api.Raw())
		return
	}
	if !slices.Contains(openKinds, kind.Raw()) {
		at := kind
		if !at.Exists() {
			at = doc
		}
		hint := at.Nearest(openKinds...)
		if hint == "" {
			hint = "there is: " + strings.Join(openKinds, ", ")
		}
		at.Errorf(hint, "OpenSLO has no kind %q", kind.Raw())
		return
	}
	top := []string{"apiVersion", "kind", "metadata", "spec", "status"}
	unknown, _ := doc.Mapping("an object", top...)
	o.im.unknown(unknown, "an object", nil, top...)
	metadata, ok := doc.Need("metadata", "an object", "")
	if !ok {
		return
	}
	if _, ok := metadata.Mapping("metadata"); !ok {
		return
	}
	name, ok := metadata.Need("name", "metadata", "")
	if !ok {
		return
	}
	x := &object{doc: doc, spec: doc.Get("spec")}
	if x.name, ok = name.Name("the name of an object"); !ok {
		return
	}
	if !x.spec.Exists() {
		doc.Need("spec", "an object", "")
		return
	}
	if _, ok := x.spec.Mapping("spec"); !ok {
		return
	}
	key := kind.Raw() + "/" + x.name
	if first := o.objects[key]; first != nil {
		p := first.doc.Place()
		name.Errorf("give each a name of its own", "there is a %s %q at %s already", kind.Raw(), x.name, p.Position())
		return
	}
	o.objects[key] = x
	o.order = append(o.order, x)
}

// refer finds the object that a reference names.
func (o *open) refer(n rules.Node, kind string) *object {
	name, ok := n.Text("a reference")
	if !ok {
		return nil
	}
	x := o.objects[kind+"/"+name]
	if x == nil {
		n.Errorf("give the file that has it too: modeshift rules import openslo FILE FILE", "no file has the %s %q", kind, name)
		return nil
	}
	x.used = true
	return x
}

// one finds what is written in place or referred to by name: its spec.
func (o *open) one(n rules.Node, key, kind, what string) rules.Node {
	inline, ref := n.Get(key), n.Get(key+"Ref")
	switch {
	case inline.Exists() && ref.Exists():
		n.Key(key+"Ref").Errorf("keep one of the two", "%s has both %q and %q", what, key, key+"Ref")
	case ref.Exists():
		if x := o.refer(ref, kind); x != nil {
			return x.spec
		}
	case inline.Exists():
		if _, ok := inline.Mapping(key); !ok {
			return rules.Node{}
		}
		o.im.dropped(inline, key, nil, "what is written in place needs no name", "metadata")
		if spec, ok := inline.Need("spec", key, ""); ok {
			return spec
		}
	default:
		n.Errorf("", "%s needs %q or %q", what, key, key+"Ref")
	}
	return rules.Node{}
}

// slo reads an SLO of OpenSLO v1. Each objective becomes an SLO of ours.
func (o *open) slo(x *object) {
	im, n := o.im, x.spec
	base := &slo{at: x.doc.Get("metadata").Get("name"), root: x.doc, name: x.name}
	service, ok := n.Need("service", "an SLO", "")
	if ok {
		base.service, _ = service.Name("the name of a service")
	}
	if s := o.objects["Service/"+base.service]; s != nil {
		s.used = false // but for its name, which is told
	}
	known := []string{"description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies"}
	unknown, _ := n.Mapping("spec", known...)
	im.unknown(unknown, "spec", base, known...)
	if d := n.Get("description"); d.Exists() && strings.TrimSpace(d.Raw()) != "" {
		base.description, _ = d.Text("the description")
	}
	osko := x.doc.Get("apiVersion").Raw() == "openslo.com/v1" || im.opts.Dialect == DialectOsko
	o.osko = osko
	o.metadata(x, base, osko)
	o.timeWindow(n, base)
	method, _ := n.Need("budgetingMethod", "an SLO", "write `budgetingMethod: Occurrences`, or Timeslices or RatioTimeslices")
	if method.Exists() && !slices.Contains([]string{"Occurrences", "Timeslices", "RatioTimeslices"}, method.Raw()) {
		method.Errorf("write Occurrences, Timeslices or RatioTimeslices", "there is no budgetingMethod %q", method.Raw())
		return
	}
	list, ok := n.Need("objectives", "an SLO", "")
	if !ok {
		return
	}
	objectives := list.List("objectives")
	if len(objectives) == 0 && list.IsList() {
		list.Errorf("", "an SLO needs at least one objective")
	}
	if len(objectives) > 1 {
		im.differ(Changed, "objectives", n.Key("objectives"), base, "", "each of the %d objectives is an SLO of its own", len(objectives))
	}
	for i, objective := range objectives {
		s := *base
		s.labels, s.alerting.annotations = base.labels, base.alerting.annotations
		s.notes = slices.Clone(base.notes)
		if len(objectives) > 1 {
			s.name = base.name + "-" + strconv.Itoa(i)
		}
		o.objective(objective, n, method, &s)
		im.slos = append(im.slos, &s)
		o.alerts(x, &s, osko)
		im.fit(&s)
	}
	at := n.Key("objectives")
	im.differ(Changed, "no-data", at, base, "`no_traffic: good` of an SLO says that no traffic is no error",
		"without traffic or without samples an SLO is unknown, which opens nothing and ends nothing, and lost sight pages")
}

// metadata reads labels and annotations.
func (o *open) metadata(x *object, s *slo, osko bool) {
	im, n := o.im, x.doc.Get("metadata")
	for _, k := range n.Keys() {
		switch k.Raw() {
		case "name", "labels", "annotations":
		default:
			im.differ(Dropped, "key", k, s, "", "%q of metadata is not carried over", k.Raw())
		}
	}
	values := n.Get("labels")
	if values.Exists() {
		if _, ok := values.Mapping("labels"); !ok {
			return
		}
	}
	for i, k := range values.Keys() {
		name, v := k.Raw(), values.Items()[i]
		if osko {
			var mine bool
			if name, mine = strings.CutPrefix(name, "label.osko.dev/"); !mine {
				im.differ(Dropped, "labels", k, s, "", "the label %q is not carried over: osko hands on those of label.osko.dev/ alone", name)
				continue
			}
		}
		text := v.Raw()
		if v.IsList() {
			var words []string
			for _, item := range v.Items() {
				words = append(words, item.Raw())
			}
			text = strings.Join(words, ",")
			im.differ(Changed, "labels", k, s, "", "a label has one value: the list of %q is %q", name, text)
		} else if !v.IsText() {
			v.Errorf("put it in quotes", "label %q must be a string, not %s", name, v.Is())
			continue
		}
		if s.labels == nil {
			s.labels = map[string]string{}
		}
		s.labels[name] = text
	}
	for _, k := range n.Get("annotations").Keys() {
		if !strings.HasPrefix(k.Raw(), "osko.dev/") {
			im.differ(Dropped, "annotations", k, s, "", "the annotation %q is not carried over", k.Raw())
			continue
		}
		switch k.Raw() {
		case "osko.dev/magicAlerting": // decides which alerts there are
		default:
			im.differ(Dropped, "annotations", k, s, "", "the annotation %q is not carried over: it tells osko how to run its rules", k.Raw())
		}
	}
}

// openUnits are the units of OpenSLO's durations. Longer ones than a week are what its tools take for them; a calendar has them
// as they are.
var openUnits = map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': day, 'w': 7 * day, 'M': 30 * day, 'Q': 90 * day, 'Y': 365 * day}

// openDuration reads a duration such as 28d.
func openDuration(n rules.Node, what string) (time.Duration, bool) {
	text := n.Raw()
	if len(text) > 1 && !n.IsMapping() && !n.IsList() {
		unit, known := openUnits[text[len(text)-1]]
		// 585Y is more than a time.Duration holds, and would be 21 days.
		if count, err := strconv.ParseUint(text[:len(text)-1], 10, 16); known && err == nil && count > 0 && count <= uint64(math.MaxInt64/unit) {
			return time.Duration(count) * unit, true
		}
	}
	n.Errorf("write a whole number and one of m, h, d, w, M, Q, Y: `28d`", "%s is %s, which is not a duration of OpenSLO", what, n.Is())
	return 0, false
}

// timeWindow reads what an error budget is for.
func (o *open) timeWindow(spec rules.Node, s *slo) {
	im := o.im
	list, ok := spec.Need("timeWindow", "an SLO", "write `timeWindow: [{duration: 28d, isRolling: true}]`")
	if !ok {
		return
	}
	windows := list.List("timeWindow")
	if len(windows) != 1 {
		if list.IsList() {
			list.Errorf("keep one: a budget is for one period", "timeWindow has %d entries", len(windows))
		}
		return
	}
	n := windows[0]
	known := []string{"duration", "isRolling", "calendar"}
	unknown, ok := n.Mapping("a time window", known...)
	if !ok {
		return
	}
	im.unknown(unknown, "a time window", s, known...)
	d, ok := n.Need("duration", "a time window", "")
	if !ok {
		return
	}
	if s.period, ok = openDuration(d, "the duration"); !ok {
		return
	}
	rolling, calendar := true, n.Get("calendar")
	if r := n.Get("isRolling"); r.Exists() {
		rolling, _ = r.Bool("isRolling")
	}
	switch {
	case rolling && calendar.Exists():
		n.Key("calendar").Errorf("remove it, or write `isRolling: false`", "a window that rolls has no calendar")
	case rolling:
		if unit := d.Raw()[len(d.Raw())-1]; strings.IndexByte("MQY", unit) >= 0 {
			im.differ(Changed, "period", d, s, "", "%s that roll are %s, as OpenSLO's tools take them", d.Raw(), span(s.period))
		}
	case !calendar.Exists():
		n.Errorf("write `calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}`, or `isRolling: true`", "a window that does not roll needs a \"calendar\"")
	default:
		o.calendar(calendar, d, s)
	}
}

// calendar reads a piece of the calendar. Ours begin where they do for everybody: on Monday, on the first.
func (o *open) calendar(n, d rules.Node, s *slo) {
	im := o.im
	unknown, ok := n.Mapping("calendar", "startTime", "timeZone")
	if !ok {
		return
	}
	im.unknown(unknown, "calendar", s, "startTime", "timeZone")
	place := time.UTC
	if z := n.Get("timeZone"); z.Exists() {
		var err error
		if place, err = time.LoadLocation(z.Raw()); err != nil || z.Raw() == "Local" {
			z.Errorf("write an IANA name such as Europe/Berlin, or UTC", "there is no timezone %q", z.Raw())
			return
		}
		s.timezone = place.String()
	}
	start, ok := n.Need("startTime", "calendar", "write `startTime: 2026-01-01 00:00:00`")
	if !ok {
		return
	}
	begins, err := time.ParseInLocation("2006-01-02 15:04:05", start.Raw(), place)
	if err != nil {
		start.Errorf("write it as 2026-01-01 00:00:00", "startTime is %s, which is no time of OpenSLO", start.Is())
		return
	}
	first := begins.Day() == 1
	midnight := begins.Hour() == 0 && begins.Minute() == 0 && begins.Second() == 0
	natural := false
	switch d.Raw() {
	case "1d":
		s.calendar, natural = "day", midnight
	case "1w", "7d":
		s.calendar, natural = "week", midnight && begins.Weekday() == time.Monday
	case "1M":
		s.calendar, natural = "month", midnight && first
	case "1Q", "3M":
		s.calendar, natural = "quarter", midnight && first && begins.Month()%3 == 1
	case "1Y", "12M":
		s.calendar, natural = "year", midnight && first && begins.Month() == time.January
	default:
		s.timezone = ""
		im.differ(Decide, "calendar", d, s, "take `calendar: month` or another piece of the calendar, or let it roll",
			"there is no piece of the calendar of %s: the period rolls instead", d.Raw())
		return
	}
	if !natural {
		im.differ(Decide, "calendar", start, s, "see whether that matters; the budget begins anew at another time",
			"the period begins at %s, and a %s begins at midnight of its first day here", start.Raw(), s.calendar)
	}
}

// target reads what an objective asks for, in percent.
func target(n rules.Node) *big.Rat {
	ratio, percent := n.Get("target"), n.Get("targetPercent")
	switch {
	case ratio.Exists() && percent.Exists():
		n.Key("targetPercent").Errorf("keep one of the two", "an objective has both target and targetPercent")
	case percent.Exists():
		return percentage(percent)
	case ratio.Exists():
		d, ok := ratio.Decimal("the target")
		switch {
		case !ok:
		case d.Cmp(big.NewRat(1, 1)) >= 0:
			ratio.Errorf("write the share of good events, such as 0.999, or `targetPercent: 99.9`", "a target of %s leaves no error budget", ratio.Raw())
		case d.Sign() == 0:
			ratio.Errorf("write the share of good events, such as 0.999", "a target of 0 asks for nothing")
		default:
			return d.Mul(d, big.NewRat(100, 1))
		}
	default:
		n.Errorf("write `target: 0.999` or `targetPercent: 99.9`", "an objective needs a target")
	}
	return nil
}

// objective reads one objective, and how it is measured.
func (o *open) objective(n, spec, method rules.Node, s *slo) {
	im := o.im
	known := []string{"displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow", "indicator", "indicatorRef", "compositeWeight"}
	unknown, ok := n.Mapping("an objective", known...)
	if !ok {
		return
	}
	im.unknown(unknown, "an objective", s, known...)
	if d := n.Get("displayName"); d.Exists() && s.description == "" {
		s.description, _ = d.Text("the displayName")
	} else {
		im.dropped(n, "an objective", s, "the SLO has a description", "displayName")
	}
	s.objective = target(n)
	from := spec
	if n.Get("indicator").Exists() || n.Get("indicatorRef").Exists() {
		from = n
		im.differ(Decide, "composite", n, s, "write one SLI of all of it if its budget matters as a whole",
			"the objective is a part of a composite SLO: it is an SLO of its own, and the composite itself is not carried over")
	}
	sli := o.one(from, "indicator", "SLI", "an SLO")
	if !sli.Exists() {
		return
	}
	m, ok := o.measure(sli, n, s)
	if !ok {
		return
	}
	im.measured(m, n, method, s)
}

// alpha reads an SLO of openslo/v1alpha as Sloth does.
func (o *open) alpha(x *object) {
	im, n := o.im, x.spec
	base := slo{at: x.doc.Get("metadata").Get("name")}
	known := []string{"service", "description", "budgetingMethod", "objectives", "timeWindows"}
	unknown, _ := n.Mapping("spec", known...)
	if service, ok := n.Need("service", "an SLO", ""); ok {
		base.service, _ = service.Name("the name of a service")
	}
	base.name = x.name
	im.unknown(unknown, "spec", &base, known...)
	if d := n.Get("description"); d.Exists() && strings.TrimSpace(d.Raw()) != "" {
		base.description, _ = d.Text("the description")
	}
	for _, k := range x.doc.Get("metadata").Keys() {
		if k.Raw() != "name" {
			im.differ(Dropped, "key", k, &base, "", "%q of metadata is not carried over, as Sloth reads v1alpha", k.Raw())
		}
	}
	im.dropped(n, "spec", &base, "Sloth takes every SLO of v1alpha by occurrences", "budgetingMethod")
	if windows, ok := n.Need("timeWindows", "an SLO", "write `timeWindows: [{unit: Day, count: 30}]`"); ok {
		list := windows.List("timeWindows")
		if len(list) != 1 {
			if windows.IsList() {
				windows.Errorf("keep one", "timeWindows has %d entries", len(list))
			}
			return
		}
		known := []string{"unit", "count", "isRolling", "calendar"}
		unknown, ok := list[0].Mapping("a time window", known...)
		if !ok {
			return
		}
		im.unknown(unknown, "a time window", &base, known...)
		if rolls := list[0].Get("isRolling"); rolls.Exists() && rolls.Raw() != "true" {
			im.dropped(list[0], "a time window", &base, "Sloth lets every window roll", "isRolling")
		}
		im.dropped(list[0], "a time window", &base, "Sloth lets every window roll", "calendar")
		unit, count := list[0].Get("unit"), list[0].Get("count")
		days, err := strconv.ParseUint(count.Raw(), 10, 16)
		if !strings.EqualFold(unit.Raw(), "day") || err != nil || days == 0 {
			list[0].Errorf("write `{unit: Day, count: 30}`", "Sloth reads time windows of days alone")
			return
		}
		base.period = time.Duration(days) * day
	}
	list, ok := n.Need("objectives", "an SLO", "")
	if !ok {
		return
	}
	objectives := list.List("objectives")
	if len(objectives) == 0 && list.IsList() {
		list.Errorf("", "an SLO needs at least one objective")
	}
	for i, objective := range objectives {
		s := base
		s.name = fmt.Sprintf("%s-%d", x.name, i)
		s.alerting.page.disabled, s.alerting.ticket.disabled = true, true
		known := []string{"ratioMetrics", "target", "displayName", "timeSliceTarget", "value"}
		unknown, ok := objective.Mapping("an objective", known...)
		if !ok {
			continue
		}
		im.unknown(unknown, "an objective", &s, known...)
		im.dropped(objective, "an objective", &s, "Sloth does not heed it", "displayName", "timeSliceTarget", "value")
		s.objective = target(objective)
		ratio, ok := objective.Need("ratioMetrics", "an objective", "Sloth reads ratioMetrics alone: `ratioMetrics: {good: {…}, total: {…}}`")
		if !ok {
			continue
		}
		unknown, ok = ratio.Mapping("ratioMetrics", "good", "total", "incremental", "counter")
		if !ok {
			continue
		}
		im.unknown(unknown, "ratioMetrics", &s, "good", "total")
		im.dropped(ratio, "ratioMetrics", &s, "Sloth does not heed it", "incremental", "counter")
		good, ok1 := o.alphaQuery(ratio, "good", &s)
		total, ok2 := o.alphaQuery(ratio, "total", &s)
		if !ok1 || !ok2 {
			continue
		}
		s.total = total
		good, total = closed(good), closed(total)
		s.errors = "(" + total + ") - (" + good + ")"
		s.was.mean = true
		s.was.ratio = func(w time.Duration) string { return windowed("1 - (("+good+") / ("+total+"))", w) }
		im.slos = append(im.slos, &s)
		im.fit(&s)
		im.differ(Changed, "period", ratio, &s, "",
			"the error ratio of the period is weighted by traffic; Sloth takes the mean of the ratios of five minutes, in which a quiet night counts as much as a busy day")
	}
}

func (o *open) alphaQuery(ratio rules.Node, part string, s *slo) (string, bool) {
	n, ok := ratio.Need(part, "ratioMetrics", "")
	if !ok {
		return "", false
	}
	known := []string{"source", "queryType", "query"}
	unknown, ok := n.Mapping(part, known...)
	if !ok {
		return "", false
	}
	o.im.unknown(unknown, part, s, known...)
	if source := strings.ToLower(n.Get("source").Raw()); source != "prometheus" && source != "sloth" {
		n.Errorf("write `source: prometheus`", "the source of %s is %s, and Sloth asks prometheus alone", part, n.Get("source").Is())
		return "", false
	}
	if !strings.EqualFold(n.Get("queryType").Raw(), "promql") {
		n.Errorf("write `queryType: promql`", "the queryType of %s is %s, and Sloth asks promql alone", part, n.Get("queryType").Is())
		return "", false
	}
	q, ok := n.Need("query", part, "")
	if !ok {
		return "", false
	}
	text, expr, ok := q.Query("the query", true)
	if ok && !single(expr) {
		o.im.addUp(q, part, s)
		text = "sum(" + closed(text) + ")"
	}
	return text, ok
}

// fit gives an SLO windows that fit into a short period. A rule file has those of the workbook otherwise.
func (im *importer) fit(s *slo) {
	period := s.period
	if s.calendar == "day" {
		period = day
	}
	if period == 0 || period >= longest || len(s.windows) > 0 {
		return
	}
	silent := s.alerting.page.disabled && s.alerting.ticket.disabled
	for _, u := range usual {
		if u.long <= period && (!silent || len(s.windows) == 0) {
			text, _ := decimal(share(big.NewRat(u.percent, 1), period, u.long))
			factor, _ := new(big.Rat).SetString(text)
			s.windows = append(s.windows, window{severity: u.severity, long: u.long, short: u.short, factor: factor})
		}
	}
	if len(s.windows) == 0 {
		s.at.Errorf("take at least 1h", "the period of %s is too short for any window", span(period))
	}
}
