package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

const (
	versionOwn   = "modeshift/v1"
	versionSloth = "prometheus/v1"
)

// document reads one document; false when it is not a rule file at all.
func (l *loader) document(d *draft) bool {
	r, n := d.r, d.node
	if n.keys == nil {
		r.errorf(n, "a rule file begins with `version: modeshift/v1` and `service: NAME`", "a rule file is a mapping, not %s", n.is())
		return false
	}
	version := n.get("version")
	switch {
	case version == nil:
		at, message, hint := r.stranger(n)
		r.as(CodeUnknownVersion).errorf(at, hint, "%s", message)
		return false
	case version.value != versionOwn && version.value != versionSloth:
		r.as(CodeUnknownVersion).errorf(version, "write `modeshift/v1`, or `prometheus/v1` for a Sloth file", "unknown version %q", clip(version.value))
		return false
	}
	s := d.service
	s.Policy = engine.Policy{Interval: l.opts.Interval, BlindAfter: l.opts.BlindAfter}
	if l.opts.Places {
		s.doc = n
	}
	var lease, onLoss *node
	fields := []field{
		need("version", func(*node) {}),
		need("service", d.serviceName),
		may("labels", r.setLabels(&s.Labels, "label")),
	}
	r.lenient = version.value == versionSloth
	d.lenient = r.lenient
	if r.lenient {
		fields = append(fields, need("slos", d.slos))
	} else {
		fields = append(fields,
			may("owner", r.setText(&s.Policy.Owner, "the owner")),
			may("runbook", d.runbook),
			may("parent", d.parentName),
			may("automation", d.automation),
			may("flapping", d.flapping),
			may("escalation", d.escalation(&d.escalations)),
			may("stuck_after", d.stuckAfter(&s.Policy.StuckAfter)),
			may("source", func(n *node) { s.Source = d.source(n) }),
			may("evaluate", func(n *node) { d.recorded, _ = d.evaluate(n) }),
			may("slos", d.slos),
			may("slis", func(n *node) { r.list(n, "slis", d.value) }),
			may("schedules", func(n *node) { r.list(n, "schedules", d.schedule) }),
			may("modes", func(n *node) {
				d.modes = n
				r.list(n, "modes", d.mode)
				if n.kind == yaml.SequenceNode && len(n.items) == 1 {
					r.errorf(n, "declare at least two, or leave `modes` out", "a single mode cannot be shifted")
				}
			}),
			may("transitions", func(n *node) { r.list(n, "transitions", d.transition) }),
			may("flags", d.declarations),
			may("allow", d.allow),
			may("instances", d.instances),
			may("lease", func(n *node) { lease = n }),
			may("on_loss", func(n *node) { onLoss = n }))
	}
	r.mapping(n, "a rule file", fields...)
	d.defaults()
	s.Policy.Informs = l.opts.Receivers[engine.SeverityInfo]
	d.loss(lease, onLoss)
	d.untold(n)
	d.flagDoubts()
	d.conditions()
	d.waysOut()
	d.govern()
	d.hush()
	if r.faults == 0 && n.get("slos") == nil && n.get("modes") == nil {
		r.as(CodeNothingDeclared).warnf(d.scope.or(n), "declare `slos:`, or `modes:` and `transitions:`", "the file declares nothing: the service has no SLOs and no modes")
	}
	return true
}

func (d *draft) slos(n *node) {
	d.r.list(n, "slos", d.slo)
	if d.r.lenient && len(n.items) == 0 {
		d.r.errorf(n, "declare one: `slos: [{name: …, objective: …, sli: …, alerting: …}]`", "a Sloth file needs at least one SLO")
	}
}

func (d *draft) serviceName(n *node) {
	d.scope = n
	name, ok := d.r.name(n, "the name of a service")
	if !ok {
		return
	}
	if name == string(engine.Fleet) {
		d.r.errorf(n, "choose another name; a scope above all others is usually called global", "%q is reserved: modeshift uses it for what spans services", name)
		return
	}
	d.service.Policy.Scope = engine.Scope(name)
}

// automation reads how far automation goes.
func (d *draft) automation(n *node) {
	how := engine.Automation(n.value)
	switch {
	case n.kind == yaml.ScalarNode && slices.Contains([]engine.Automation{engine.AutomationSuggest, engine.AutomationOff}, how):
		d.service.Policy.Automation = how
	case n.kind == yaml.ScalarNode && how == engine.AutomationOn: // as when it is left out
	default:
		d.r.errorf(n, "write `on`, `suggest` (it says what it would do, and starts nothing) or `off`", "automation cannot be %s", n.is())
	}
}

// maxFlapping bounds how far back changes are counted.
const maxFlapping = 7 * 24 * time.Hour

// flapping reads how many changes in a while are too many.
func (d *draft) flapping(n *node) {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `flapping: {changes: 6, within: 1h}`", "flapping must be a mapping, not %s", n.is())
		return
	}
	f := &d.service.Policy.Flap
	r.mapping(n, "flapping",
		need("changes", func(n *node) { f.Changes = r.integer(n, "the number of changes", 2, engine.MaxFlap) }),
		need("within", func(n *node) {
			if f.Within, _ = r.duration(n, "within"); f.Within > maxFlapping {
				r.errorf(n, "", "within may be at most %s", model.Duration(maxFlapping))
			}
		}))
}

// maxStuckAfter bounds how long a mode may stay that nobody needs: beyond that it says nobody is to hear of it.
const maxStuckAfter = 7 * 24 * time.Hour

// stuckAfter returns a reader of how long a mode's way out may stand open before somebody is told.
func (d *draft) stuckAfter(into *time.Duration) func(*node) {
	return func(n *node) {
		v, ok := d.r.duration(n, "stuck_after")
		if ok && v > maxStuckAfter {
			d.r.errorf(n, "leave it out for "+model.Duration(engine.DefaultStuckAfter).String(), "stuck_after may be at most %s", model.Duration(maxStuckAfter))
			return
		}
		*into = v
	}
}

func (d *draft) runbook(n *node) {
	text, ok := d.r.text(n, "the runbook")
	if !ok {
		return
	}
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") || strings.ContainsAny(text, " \t\n") {
		d.r.errorf(n, "write an address that can be opened from a page: https://…", "the runbook is %q, which is not a URL", clip(text))
		return
	}
	d.service.Policy.Runbook = text
}

// value reads an SLI without an objective.
func (d *draft) value(n *node) {
	r := d.r
	s := SLI{MaxAge: d.opts.MaxAge}
	var q *query
	before := r.faults
	r.mapping(n, "an SLI",
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of an SLI"); ok && r.unique(d.sliNames, n, "SLI", name) {
				s.Name = name
			}
		}),
		need("query", func(n *node) {
			if q = r.query(n, "the query", instancesName); q != nil {
				s.query, s.Query = q.template, strings.TrimSpace(q.template.render(0))
			}
		}),
		may("unit", r.setText(&s.Unit, "the unit")),
		may("max_age", r.setDuration(&s.MaxAge, "max_age")),
		may("source", func(n *node) { s.Source = d.source(n) }),
		may("agree", func(n *node) { s.Agree = d.agree(n, &s.Source) }))
	if s.Name == "" {
		return
	}
	if r.faults == before {
		d.queries["sli/"+s.Name] = []string{q.canonical}
		d.selectors(q, nil, &s.Source)
	}
	d.service.SLIs = append(d.service.SLIs, s)
}
