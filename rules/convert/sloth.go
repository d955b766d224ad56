package convert

import (
	"maps"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

const slothBegins = "a Sloth file begins with `version: prometheus/v1` and `service: NAME`"

// windowPlace is where a query leaves its window open.
var windowPlace = regexp.MustCompile(`\{\{-?\s*\.window\s*-?\}\}`)

// sloth reads Sloth's files and the manifests of its Kubernetes operator.
func (im *importer) sloth(files []rules.File) error {
	windows, err := im.catalogue()
	if err != nil {
		return err
	}
	for _, f := range files {
		im.read(f, slothBegins, func(doc rules.Node) { im.slothDocument(doc, windows) })
	}
	return nil
}

// slothReader is one document of Sloth's. In a manifest the keys are in camel case.
type slothReader struct {
	im      *importer
	camel   bool
	windows []window
	labels  map[string]string
	service string
	whole   rules.Node // the document, with what is around the SLOs in a manifest
}

// key is a key as the document's form writes it.
func (r *slothReader) key(snake string) string {
	if !r.camel {
		return snake
	}
	head, tail, more := strings.Cut(snake, "_")
	for more {
		var word string
		word, tail, more = strings.Cut(tail, "_")
		head += strings.ToUpper(word[:1]) + word[1:]
	}
	return head
}

func (r *slothReader) keys(snake ...string) []string {
	out := make([]string, len(snake))
	for i, s := range snake {
		out[i] = r.key(s)
	}
	return out
}

func (im *importer) slothDocument(doc rules.Node, windows []window) {
	version, api := doc.Get("version"), doc.Get("apiVersion")
	r := &slothReader{im: im, windows: windows, whole: doc}
	switch {
	case version.Raw() == "prometheus/v1":
	case version.Exists():
		version.Errorf("write `version: prometheus/v1`", "Sloth reads no version %q", version.Raw())
		return
	case api.Raw() == "sloth.slok.dev/v1" && doc.Get("kind").Raw() == "PrometheusServiceLevel":
		r.camel = true
		spec, ok := doc.Need("spec", "a PrometheusServiceLevel", "")
		if !ok {
			return
		}
		unknown, _ := doc.Mapping("a PrometheusServiceLevel", "apiVersion", "kind", "metadata", "spec", "status")
		im.unknown(unknown, "a PrometheusServiceLevel", nil, "spec")
		im.dropped(doc, "a PrometheusServiceLevel", nil, "it is about the object in Kubernetes, not about the SLOs", "metadata")
		doc = spec
	case api.Raw() == "sloth.slok.dev/v1" && doc.Get("kind").Raw() == "AlertWindows":
		api.Errorf("give it as --windows FILE beside the files of SLOs", "AlertWindows are no SLOs")
		return
	case strings.HasPrefix(api.Raw(), "openslo"):
		api.Errorf("modeshift rules import openslo FILE", "%q is a manifest of OpenSLO", api.Raw())
		return
	case strings.HasPrefix(api.Raw(), "pyrra.dev/"):
		api.Errorf("modeshift rules import pyrra FILE", "%q is a manifest of Pyrra", api.Raw())
		return
	case doc.Get("groups").Exists():
		doc.Key("groups").Errorf("give the file that Sloth made it from", "these are rules of Prometheus, which Sloth writes and does not read")
		return
	default:
		doc.Errorf(slothBegins, "the document does not say its version")
		return
	}
	r.read(doc)
}

func (r *slothReader) read(doc rules.Node) {
	im := r.im
	top := append(r.keys("service", "labels", "slo_plugins", "slos"), "version")
	unknown, ok := doc.Mapping("a Sloth file", top...)
	if !ok {
		return
	}
	im.unknown(unknown, "a Sloth file", nil, top...)
	service, ok := doc.Need("service", "a Sloth file", "")
	if !ok {
		return
	}
	if r.service, ok = service.Name("the name of a service"); !ok {
		return
	}
	im.tops[doc], im.tops[r.whole] = r.service, r.service
	if labels := doc.Get("labels"); labels.Exists() {
		r.labels = labels.Labels("label")
	}
	r.plugins(doc, r.key("slo_plugins"), nil)
	slos, ok := doc.Need("slos", "a Sloth file", "")
	if !ok {
		return
	}
	list := slos.List("slos")
	if len(list) == 0 && slos.IsList() {
		slos.Errorf("", "a Sloth file needs at least one SLO")
	}
	before := len(im.slos)
	for _, n := range list {
		r.slo(n)
	}
	r.share(im.slos[before:])
	r.differences(doc.Key("slos"), im.slos[before:])
}

// share makes the labels of a document those of the service, unless another document says others of it: then they are those of
// each SLO, as they were.
func (r *slothReader) share(mine []*slo) {
	im := r.im
	if im.labels == nil {
		im.labels = map[string]map[string]string{}
	}
	theirs, known := im.labels[r.service]
	switch {
	case !known:
		im.labels[r.service] = r.labels
	case !maps.Equal(theirs, r.labels):
		im.labels[r.service] = nil
		for _, s := range im.slos[:len(im.slos)-len(mine)] {
			if s.service == r.service {
				s.labels = over(theirs, s.labels)
			}
		}
		for _, s := range mine {
			s.labels = over(r.labels, s.labels)
		}
	}
}

// over lays b over a.
func over(a, b map[string]string) map[string]string {
	if len(a) == 0 {
		return b
	}
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// differences are those that hold for all of Sloth's SLOs.
func (r *slothReader) differences(at rules.Node, mine []*slo) {
	im := r.im
	events, alerts := false, false
	for _, s := range mine {
		events = events || s.total != ""
		alerts = alerts || len(s.was.alerts) > 0
	}
	if events {
		im.differ(Changed, "period", at, nil, "",
			"the error ratio of the period is weighted by traffic; Sloth takes the mean of the ratios of five minutes, in which a quiet night counts as much as a busy day")
	}
	im.differ(Dropped, "recordings", at, nil, "keep Sloth's rules as long as dashboards read them; `evaluate: recorded` reads them too",
		"no rules are recorded in Prometheus: the series slo:sli_error:ratio_rate…, slo:… and sloth_slo_info are Sloth's")
	if !alerts {
		return
	}
	im.differ(Changed, "no-data", at, nil, "`no_traffic: good` of an SLO says that no traffic is no error",
		"without traffic or without samples an SLO is unknown, which opens nothing and ends nothing, and lost sight pages; an alert of Sloth's ends then")
	im.differ(Changed, "one-tier", at, nil, "", "while the page of an SLO burns its ticket is quiet; Sloth fires both")
	im.differ(Changed, "cadence", at, nil, "",
		"pages are decided every 15 s and tickets every sixtieth of their short window, without Alertmanager's group_wait; Sloth's alerts stand at the rule interval")
	im.differ(Dropped, "labels", at, nil, "route by the labels of the file; severity tells page from ticket",
		"notices bear no sloth_id, sloth_service, sloth_slo and sloth_severity, and no annotations title and summary")
}

// plugins notes plugins of rules. They may change what is measured, and only Sloth can run them.
func (r *slothReader) plugins(n rules.Node, key string, s *slo) {
	plugins := n.Get(key)
	if !plugins.Exists() {
		return
	}
	decide := func(at rules.Node, hint, format string, args ...any) {
		if s == nil {
			r.im.decideAll("plugin", at, r.service, hint, format, args...)
		} else {
			r.im.differ(Decide, "plugin", at, s, hint, format, args...)
		}
	}
	chain := plugins.Get("chain")
	if !chain.IsList() || len(chain.Items()) == 0 {
		decide(n.Key(key), "", "%q is not carried over: only Sloth runs plugins", key)
		return
	}
	for _, p := range chain.Items() {
		id := p.Get("id")
		if !id.Exists() {
			p.Errorf("write `id: NAME`", "a plugin needs an \"id\"")
			continue
		}
		decide(id, "see whether it changed what is measured or when it fires, and say that in the queries and windows",
			"the plugin %q is not run: only Sloth can", id.Raw())
	}
}

func (r *slothReader) slo(n rules.Node) {
	im := r.im
	known := r.keys("name", "description", "objective", "labels", "plugins", "sli", "alerting")
	unknown, ok := n.Mapping("an SLO", known...)
	if !ok {
		return
	}
	s := &slo{at: n, root: n, service: r.service, period: im.opts.Period}
	if name, ok := n.Need("name", "an SLO", ""); ok {
		s.at = name
		s.name, _ = name.Name("the name of an SLO")
	}
	im.unknown(unknown, "an SLO", s, known...)
	if d := n.Get("description"); d.Exists() {
		s.description, _ = d.Text("the description")
	}
	if o, ok := n.Need("objective", "an SLO", "write the percentage of good events: `objective: 99.9`"); ok {
		s.objective = percentage(o)
	}
	if l := n.Get("labels"); l.Exists() {
		s.labels = l.Labels("label")
	}
	r.plugins(n, "plugins", s)
	if sli, ok := n.Need("sli", "an SLO", ""); ok {
		r.sli(sli, s)
	}
	if alerting := n.Get("alerting"); alerting.Exists() {
		r.alerting(alerting, s)
	} else {
		n.Errorf("write `alerting: {name: …}`, or disable both alerts", "an SLO needs \"alerting\"")
	}
	im.slos = append(im.slos, s)
	if s.objective == nil {
		return
	}
	s.windows = r.windows
	if sameWindows(r.windows, usualWindows(s.period)) {
		s.windows = nil
	}
	o, _ := s.objective.Float64()
	s.was.alerts = tiersOf(s.alerting.name, r.windows, (100-o)/100, func(v engine.Severity) bool {
		return v == engine.SeverityPage && s.alerting.page.disabled || v == engine.SeverityTicket && s.alerting.ticket.disabled
	})
}

// percentage reads an objective in percent, as rule files have it.
func percentage(n rules.Node) *big.Rat {
	d, ok := n.Decimal("the objective")
	switch {
	case !ok:
		return nil
	case d.Cmp(big.NewRat(100, 1)) >= 0:
		n.Errorf("write what users really need, such as 99.9 or 99.99", "an objective of %s leaves no error budget: any burn rate would be infinite", n.Raw())
		return nil
	case d.Sign() == 0:
		n.Errorf("write the percentage of good events, such as 99.9", "an objective of 0 asks for nothing")
		return nil
	}
	return d
}

func (r *slothReader) sli(n rules.Node, s *slo) {
	im := r.im
	unknown, ok := n.Mapping("sli", "events", "raw", "plugin")
	if !ok {
		return
	}
	im.unknown(unknown, "sli", s, "events", "raw", "plugin")
	events, raw, plugin := n.Get("events"), n.Get("raw"), n.Get("plugin")
	switch {
	case plugin.Exists():
		at := plugin.Get("id")
		if !at.Exists() {
			at = plugin
		}
		at.Errorf("run `sloth generate`, take the `expr` of slo:sli_error:ratio_rate5m, write {{.window}} for each 5m, and give it as `raw: {error_ratio_query: …}`",
			"the SLI is made by a plugin of Sloth's, which cannot be run here")
	case events.Exists() && raw.Exists():
		n.Key("raw").Errorf("remove one of the two", "an SLI is measured by `events` or by `raw`, not by both")
	case events.Exists():
		keys := r.keys("error_query", "total_query")
		unknown, ok := events.Mapping("events", keys...)
		if !ok {
			return
		}
		im.unknown(unknown, "events", s, keys...)
		var lone [2]bool
		s.errors, lone[0] = r.counted(events, keys[0], s)
		s.total, lone[1] = r.counted(events, keys[1], s)
		if s.errors != "" && s.errors == s.total {
			events.Get(keys[1]).Errorf("the one counts the bad events, the other all of them", "%s is the same as %s", keys[1], keys[0])
		}
		// What Sloth asks is what the file says, whatever we have to lay around it.
		errors, total := strings.TrimSpace(events.Get(keys[0]).Raw()), strings.TrimSpace(events.Get(keys[1]).Raw())
		s.was.mean = true
		s.was.ratio = func(w time.Duration) string {
			return "(" + closed(windowed(errors, w)) + ")\n/\n(" + closed(windowed(total, w)) + ")"
		}
		if !lone[0] || !lone[1] {
			s.was.parts = func(w time.Duration) (string, string) {
				return "sum(" + closed(windowed(errors, w)) + ")", "sum(" + closed(windowed(total, w)) + ")"
			}
		}
	case raw.Exists():
		keys := r.keys("error_ratio_query")
		unknown, ok := raw.Mapping("raw", keys...)
		if !ok {
			return
		}
		im.unknown(unknown, "raw", s, keys...)
		q, ok := raw.Need(keys[0], "raw", "")
		if !ok {
			return
		}
		text, expr, ok := q.Query(keys[0], true)
		if !ok {
			return
		}
		if !single(expr) {
			im.differ(Decide, "groups", q, s, "aggregate it to one series, or write an SLO for each group",
				"the ratio may have a series for each of several labels: Sloth alerts for each, and here an SLO with more than one is unknown")
		}
		s.errors = text
		s.was.mean = true
		s.was.ratio = func(w time.Duration) string { return "(" + closed(windowed(text, w)) + ")" }
	default:
		n.Errorf("write `events: {error_query: …, total_query: …}` or `raw: {error_ratio_query: …}`", "an SLI needs `events` or `raw`")
	}
}

// counted reads a query that counts events, and adds up what it counts apart; lone where it does not.
func (r *slothReader) counted(events rules.Node, key string, s *slo) (text string, lone bool) {
	q, ok := events.Need(key, "events", "")
	if !ok {
		return "", true
	}
	text, expr, ok := q.Query(key, true)
	if !ok {
		return "", true
	}
	if single(expr) {
		return text, true
	}
	r.im.addUp(q, key, s)
	return "sum(" + closed(text) + ")", false
}

func (r *slothReader) alerting(n rules.Node, s *slo) {
	im, a := r.im, &s.alerting
	keys := r.keys("name", "labels", "annotations", "page_alert", "ticket_alert")
	unknown, ok := n.Mapping("alerting", keys...)
	if !ok {
		return
	}
	im.unknown(unknown, "alerting", s, keys...)
	if l := n.Get("labels"); l.Exists() {
		a.labels = l.Labels("label")
	}
	if l := n.Get("annotations"); l.Exists() {
		a.annotations = im.annotations(l, s)
	}
	r.tier(n, keys[3], &a.page, s)
	r.tier(n, keys[4], &a.ticket, s)
	switch name := n.Get("name"); {
	case name.Exists():
		a.name, _ = name.Text("the alert's name")
	case !a.page.disabled || !a.ticket.disabled:
		n.Errorf("give it, or disable both alerts", "alerting needs a \"name\"")
	}
}

func (r *slothReader) tier(alerting rules.Node, key string, t *tier, s *slo) {
	n := alerting.Get(key)
	if !n.Exists() {
		return
	}
	unknown, ok := n.Mapping(key, "disable", "labels", "annotations")
	if !ok {
		return
	}
	r.im.unknown(unknown, key, s, "disable", "labels", "annotations")
	if d := n.Get("disable"); d.Exists() {
		t.disabled, _ = d.Bool("disable")
	}
	if l := n.Get("labels"); l.Exists() {
		if k := l.Key("disable"); k.Exists() {
			k.Errorf("write `"+key+": {disable: true}`, or remove the label", "a label called `disable` does not disable the alert")
			return
		}
		t.labels = l.Labels("label")
	}
	if l := n.Get("annotations"); l.Exists() {
		t.annotations = r.im.annotations(l, s)
	}
}
