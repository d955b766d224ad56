package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/outline"
)

// Outline is what the service's rules say, for whoever compares them with others. It shows no secrets: see shown. Where Options
// asked for Places it knows where everything stands.
func (s *Service) Outline() *outline.Service {
	o := outliner{s: s, out: &outline.Service{Scope: s.Policy.Scope, Digest: s.Digest, Remarks: s.Remarks, Entries: []outline.Entry{}}}
	o.service()
	for i := range s.SLOs {
		o.slo(&s.SLOs[i])
	}
	for i := range s.SLIs {
		o.sli(&s.SLIs[i])
	}
	for _, c := range s.Schedules {
		o.begin(outline.KindSchedule, c.Name, "schedules", c.Name)
		o.text("cron", c.Cron)
		o.span("duration", c.Duration)
		o.text("timezone", c.Timezone.String())
	}
	for i := range s.Policy.Modes {
		o.mode(&s.Policy.Modes[i])
	}
	for i := range s.Policy.Transitions {
		o.transition(&s.Policy.Transitions[i])
	}
	return o.out
}

// Recall makes of outlines what has to be known of rules that are in force elsewhere to Reload over them: which modes they have,
// and of which types their flags are. It decides nothing.
func Recall(services []*outline.Service) *Set {
	set := &Set{}
	for _, o := range services {
		s := &Service{Digest: o.Digest, Remarks: o.Remarks, Policy: engine.Policy{Scope: o.Scope, Digest: o.Digest}}
		for i := range o.Entries {
			e := &o.Entries[i]
			if e.Kind != outline.KindMode {
				continue
			}
			m := engine.ModeRule{Name: engine.Mode(e.Name), Flags: engine.Flags{}}
			for _, f := range e.Fields {
				var v any
				if name, is := strings.CutPrefix(f.Key, "flags."); is && json.Unmarshal([]byte(f.Text), &v) == nil {
					m.Flags[name] = v
				}
			}
			s.Policy.Modes = append(s.Policy.Modes, m)
		}
		set.Services = append(set.Services, s)
	}
	slices.SortFunc(set.Services, func(a, b *Service) int { return strings.Compare(string(a.Policy.Scope), string(b.Policy.Scope)) })
	set.Digest = setDigest(set.Services)
	return set
}

// outliner writes an outline, entry by entry and field by field.
type outliner struct {
	s   *Service
	out *outline.Service
	at  *node // what the entry stands in; nil where nobody knows
}

// begin is the next entry: the document itself, or what has a name in one of its lists.
func (o *outliner) begin(kind outline.Kind, name, list, item string) *outline.Entry {
	o.at = o.s.doc
	if list != "" {
		o.at = itemOf(o.s.doc.get(list), item)
	}
	e := outline.Entry{Kind: kind, Name: name, Position: o.place(o.at), Fields: []outline.Field{}}
	o.out.Entries = append(o.out.Entries, e)
	return &o.out.Entries[len(o.out.Entries)-1]
}

// itemOf finds what has a name in a list.
func itemOf(list *node, name string) *node {
	if list == nil {
		return nil
	}
	for _, n := range list.items {
		if v := n.get("name"); v != nil && v.value == name {
			return n
		}
	}
	return nil
}

func (o *outliner) place(n *node) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", o.s.File, n.line, n.column)
}

// add is the next field, at the place its key leads to.
func (o *outliner) add(f outline.Field) { o.addAt(f.Key, f) }

// addAt is add at another place than the one of its key.
func (o *outliner) addAt(path string, f outline.Field) {
	if n := o.at; n != nil {
		for word := range strings.SplitSeq(path, ".") {
			v := n.get(word)
			named := func(item *node) bool {
				is := item.get("role").or(item.get("code"))
				return is != nil && is.value == word
			}
			if i := slices.IndexFunc(n.items, named); i >= 0 {
				v = n.items[i]
			}
			if v == nil {
				break
			}
			n = v
		}
		if n != o.at {
			f.Position = o.place(n)
		}
	}
	e := &o.out.Entries[len(o.out.Entries)-1]
	e.Fields = append(e.Fields, f)
}

func (o *outliner) text(key, text string) {
	if text != "" {
		o.add(outline.Field{Key: key, Text: text})
	}
}

func (o *outliner) yes(key string, yes bool) {
	if yes {
		o.text(key, "yes")
	}
}

func (o *outliner) number(key, text string, v float64) {
	o.add(outline.Field{Key: key, Text: text, Number: &v})
}

func (o *outliner) count(key string, n int) { o.number(key, strconv.Itoa(n), float64(n)) }

// span is a duration; 0 is not said.
func (o *outliner) span(key string, d time.Duration) {
	if d > 0 {
		o.number(key, model.Duration(d).String(), d.Seconds())
	}
}

func (o *outliner) day(key string, t time.Time) {
	if !t.IsZero() {
		o.text(key, t.Format(day))
	}
}

func (o *outliner) share(key string, v float64) {
	o.number(key, strconv.FormatFloat(v*100, 'g', 6, 64)+" %", v)
}

func (o *outliner) list(key string, words []string) {
	if len(words) > 0 {
		o.add(outline.Field{Key: key, Text: strings.Join(words, ", "), List: words})
	}
}

func (o *outliner) order(key string, words []string) {
	if len(words) > 0 {
		o.add(outline.Field{Key: key, Text: strings.Join(words, ", "), List: words, Order: true})
	}
}

func (o *outliner) labels(key string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		o.text(key+"."+name, labels[name])
	}
}

func (o *outliner) condition(key string, i int) {
	c := o.s.Conditions[i]
	o.add(outline.Field{Key: key, Text: strings.Join(strings.Fields(c.Text), " "), Condition: &c.shape})
}

func (o *outliner) refers(key string, ref engine.ConditionRef) {
	if i, ok := ref.Index(); ok {
		o.condition(key, i)
	}
}

// query is PromQL, as it is written and as it means.
func (o *outliner) query(key string, t template) {
	if len(t.pieces) == 0 {
		return
	}
	text := t.fill(func(p place) string {
		if p.instances {
			return "{{." + instancesName + "}}"
		}
		return "{{." + windowName + "}}"
	})
	f := outline.Field{Key: key, Text: strings.Join(strings.Fields(text), " ")}
	if e, err := promQL.ParseExpr(t.on(probeWindow, probeInstances)); err == nil {
		f.Meaning = e.String()
	}
	o.add(f)
}

func (o *outliner) service() {
	p := &o.s.Policy
	o.begin(outline.KindService, string(p.Scope), "", "")
	o.text("owner", p.Owner)
	o.text("runbook", p.Runbook)
	o.text("parent", string(p.Parent))
	o.text("automation", string(cmp.Or(p.Automation, engine.AutomationOn)))
	o.labels("labels", o.s.Labels)
	if len(o.s.Alerts) > 0 { // those that conditions mention are asked for there; SLOs and SLIs say theirs
		o.text("source", cmp.Or(o.s.Source, "the first"))
	}
	for i := range o.s.Flags {
		o.flag(&o.s.Flags[i])
	}
	for _, code := range slices.Sorted(maps.Keys(o.s.lives)) {
		o.text("allow."+string(code), o.s.lives[code])
	}
	var modes, transitions []string
	for i := range p.Modes {
		if !p.Modes[i].Beside {
			modes = append(modes, string(p.Modes[i].Name))
		}
	}
	for i := range p.Transitions {
		transitions = append(transitions, p.Transitions[i].Name)
	}
	o.order("modes", modes)
	o.order("transitions", transitions)
	if p.Flap.Changes > 0 {
		o.count("flapping.changes", p.Flap.Changes)
		o.span("flapping.within", p.Flap.Within)
	}
	if len(p.Modes) == 0 {
		return
	}
	o.span("stuck_after", cmp.Or(p.StuckAfter, engine.DefaultStuckAfter))
	i := p.Instances
	o.share("instances.min_applied", cmp.Or(i.MinApplied, engine.DefaultMinApplied))
	o.span("instances.grace", cmp.Or(i.Grace, engine.DefaultGrace))
	o.share("instances.page_above", cmp.Or(i.PageAbove, engine.DefaultPageAbove))
	o.span("lease", i.Lease)
	o.text("on_loss", cmp.Or(string(i.OnLoss), hold))
}

// flag is what is said of one. That it is declared is a field of its own, or one of which nothing else is said were not there.
func (o *outliner) flag(f *Flag) {
	key := "flags." + f.Name
	o.yes(key, true)
	o.text(key+".description", f.Description)
	o.text(key+".owner", f.Owner)
	if f.Level > 0 {
		o.count(key+".level", f.Level)
	}
	o.day(key+".expires", f.Expires)
	o.day(key+".tested", f.Tested)
	o.text(key+".saves", f.Saves)
}

func (o *outliner) slo(s *SLO) {
	o.begin(outline.KindSLO, s.Name, "slos", s.Name).Digest = s.Measure
	o.text("description", s.Description)
	o.number("objective", s.Objective.String()+" %", s.Objective.Ratio())
	o.span("period", s.Period)
	if s.Calendar != "" {
		o.text("calendar", fmt.Sprintf("%s in %s", s.Calendar, s.Timezone))
	}
	if s.Events {
		o.query("sli.events.error_query", s.errors)
		o.query("sli.events.total_query", s.total)
	} else {
		o.query("sli.raw.error_ratio_query", s.errors)
	}
	if s.Recorded {
		o.text("evaluate", "recorded")
	}
	o.text("source", cmp.Or(s.Source, o.s.Source))
	if s.MinEvents > 0 {
		o.number("min_events", strconv.FormatFloat(s.MinEvents, 'g', -1, 64), s.MinEvents)
	}
	if s.NoTraffic != NoTrafficUnknown {
		o.text("no_traffic", string(s.NoTraffic))
	}
	o.span("max_age", s.MaxAge)
	if s.Agree > 1 {
		o.count("agree", s.Agree)
	}
	o.labels("labels", s.Labels)
	for i := range s.Tiers {
		o.tier(s, &s.Tiers[i])
	}
}

func (o *outliner) tier(s *SLO, t *Tier) {
	o.begin(outline.KindAlert, s.Name+"/"+string(t.Severity), "slos", s.Name)
	if o.at != nil { // what a tier says stands below its SLO
		if n := o.at.get("alerting"); n != nil {
			o.at = n
		}
		o.out.Entries[len(o.out.Entries)-1].Position = o.place(o.at)
	}
	o.text("name", t.Name)
	for i, w := range t.Windows {
		key := "windows." + strconv.Itoa(i+1)
		o.span(key+".long", w.Long)
		o.span(key+".short", w.Short)
		o.number(key+".factor", strconv.FormatFloat(w.Factor, 'g', 6, 64), w.Factor)
		o.span(key+".every", w.Every)
	}
	o.labels("labels", t.Labels)
	o.labels("annotations", t.Annotations)
	for i := range o.s.Policy.Alerts {
		a := &o.s.Policy.Alerts[i]
		if e := a.Escalation; e != nil && a.SLO == s.Name && a.Severity == t.Severity {
			o.text("escalation.severity", string(e.Severity))
			o.condition("escalation.when", e.Condition)
			o.span("escalation.for", e.For)
		}
	}
}

func (o *outliner) sli(s *SLI) {
	o.begin(outline.KindSLI, s.Name, "slis", s.Name)
	o.query("query", s.query)
	o.text("unit", s.Unit)
	o.text("source", cmp.Or(s.Source, o.s.Source))
	o.span("max_age", s.MaxAge)
	if s.Agree > 1 {
		o.count("agree", s.Agree)
	}
}

func (o *outliner) mode(m *engine.ModeRule) {
	o.begin(outline.KindMode, string(m.Name), "modes", string(m.Name))
	o.yes("beside", m.Beside)
	for _, name := range slices.Sorted(maps.Keys(m.Flags)) {
		o.text("flags."+name, encode(m.Flags[name]))
	}
	o.span("min_duration", m.MinDuration)
	o.span("max_duration", m.MaxDuration)
	if m.OnExpiry != "" {
		o.text("on_expiry", "propose "+m.OnExpiry)
	}
	o.span("stuck_after", m.StuckAfter)
	o.span("drill_every", o.s.Drills[m.Name])
	if u := m.Unavailable; u != nil {
		o.text("unavailable", encode(u))
	}
	o.text("imposes", string(m.Imposes))
	o.list("pauses", m.Pause)
	if q := m.Suppress; q != nil {
		var pairs []string
		for _, slo := range q.SLOs {
			for _, severity := range q.Severities {
				pairs = append(pairs, slo+"/"+string(severity))
			}
		}
		o.list("suppress", pairs)
	}
}

func (o *outliner) transition(t *engine.Transition) {
	o.begin(outline.KindTransition, t.Name, "transitions", t.Name).Digest = t.Digest
	from := make([]string, len(t.From))
	for i, m := range t.From {
		from[i] = string(m)
	}
	o.list("from", from)
	o.text("to", string(t.To))
	o.condition("when", t.When)
	o.span("for", t.For)
	o.text("severity", string(t.Severity))
	if g := t.Gate; g != nil {
		for _, group := range g.Groups {
			o.count("approval.groups."+group.Role, group.Count)
		}
		o.span("approval.within", g.Within)
		o.text("approval.otherwise", string(g.Otherwise))
		for _, group := range g.To {
			o.count("approval.to."+group.Role, group.Count)
		}
	}
	o.span("retry_after", cmp.Or(t.RetryAfter, engine.DefaultRetryAfter))
	o.refers("until", t.Until)
	if t.UndoEntry {
		o.text("undo", "entry")
	}
	if t.Playbook.PublishLast {
		o.text("publish", "last")
	}
	o.text("on_failure", string(t.Playbook.OnFailure))
	o.refers("verify", t.Playbook.Verify)
	if r := t.Rollout; r != nil {
		waves := make([]string, len(r.Waves))
		for i, w := range r.Waves {
			waves[i] = strconv.Itoa(int(w)) + "%"
		}
		o.list("rollout.waves", waves)
		o.span("rollout.pause", r.Pause)
		o.refers("rollout.verify", r.Verify)
	}
	var steps []string
	for i := range t.Playbook.Steps {
		steps = append(steps, t.Playbook.Steps[i].Name)
	}
	o.order("actions", steps)
	at := o.at
	for i := range t.Playbook.Steps {
		o.action(at.get("actions"), t, &t.Playbook.Steps[i])
	}
}

func (o *outliner) action(list *node, t *engine.Transition, a *engine.Step) {
	name := t.Name + "/" + a.Name
	e := o.begin(outline.KindAction, name, "", "")
	o.at = itemOf(list, a.Name)
	e.Position = o.place(o.at)
	o.addAt(a.Kind, outline.Field{Key: "does", Text: a.Kind + " " + shown(a.Spec)})
	if a.Undo {
		o.text("undo", a.Kind+" "+shown(a.UndoSpec))
	}
	o.yes("destructive", a.Destructive)
	o.text("why", o.s.whys[name])
	o.yes("irreversible", a.Irreversible)
	o.yes("keyed", a.Keyed)
	o.count("attempts", a.Attempts)
	if a.Targets.Selector != "" {
		var sel Selector
		text := a.Targets.Selector
		if json.Unmarshal([]byte(text), &sel) == nil {
			text = sel.String()
		}
		o.text("targets.query", text)
		o.count("targets.max", a.Targets.Max)
	}
}

// shown is a specification as it may be shown to whoever may see the service, on a phone and in a pipeline's log: what may be a
// secret is left out, and a digest of all of it tells whether it is the same. Rule files should hold no secrets, and some do.
func shown(spec string) string {
	if spec == "" {
		return ""
	}
	var v any
	if err := json.Unmarshal([]byte(spec), &v); err != nil {
		v = hidden
	}
	sum := sha256.Sum256([]byte(spec))
	return encode(veiled("", v)) + " #" + hex.EncodeToString(sum[:4])
}
