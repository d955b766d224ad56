package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// Where readings come from: which Prometheus, how many of its replicas have to agree, raw series or recorded ones.

// agreeing is an `agree` whose source is known only when the whole document is.
type agreeing struct {
	node   *node
	n      int
	source *string // of the SLO or SLI; empty: the service's
}

// source reads the name of a Prometheus; empty when it is faulty.
func (d *draft) source(n *node) string {
	name, ok := d.r.text(n, "source")
	if !ok || d.opts.Sources == nil { // whoever knows them will check
		return name
	}
	if _, ok := d.opts.Sources[name]; !ok {
		d.r.as(CodeUnknownName).errorf(n, d.r.choose(name, slices.Sorted(maps.Keys(d.opts.Sources)), ""), "there is no source %q: modeshift.yaml lists them under prometheus", clip(name))
		return ""
	}
	return name
}

// agree reads how many replicas have to agree.
func (d *draft) agree(n *node, source *string) int {
	v := d.r.integer(n, "agree", 2, maxReplicas)
	if v > 0 {
		d.agreeing = append(d.agreeing, agreeing{n, v, source})
	}
	return v
}

// maxReplicas bounds what one query may be multiplied by.
const maxReplicas = 9

// evaluate reads from what an SLO is evaluated; said is false when that is faulty.
func (d *draft) evaluate(n *node) (recorded, said bool) {
	v, ok := d.r.oneOf(n, "evaluate", "raw", "recorded")
	return v == "recorded", ok
}

// defaults hands what the document says for all to those that say nothing themselves.
func (d *draft) defaults() {
	for _, i := range d.undecided {
		d.service.SLOs[i].Recorded = d.recorded
	}
	for _, s := range d.sourced {
		d.service.Selectors[s.index].Source = cmp.Or(*s.source, d.service.Source)
	}
	if d.opts.Sources == nil {
		return
	}
	for _, a := range d.agreeing {
		name := *a.source
		if name == "" {
			name = d.service.Source
		}
		if have, ok := d.opts.Sources[name]; ok && have < a.n {
			d.r.errorf(a.node, fmt.Sprintf("give %s as many `urls` in modeshift.yaml, or remove `agree`", name),
				"agree: %d asks for more replicas than the source %q has (%d)", a.n, name, have)
		}
	}
}

// RecordedQuery is the query for the error ratio over a window that Sloth's rules record, for an SLO that is evaluated so; false
// where none is recorded: they record the windows of the alerts, five minutes, and the period.
// Source: the names and labels Sloth gives its recording rules.
func (s *Service) RecordedQuery(slo *SLO, window time.Duration) (query string, ok bool) {
	if !slo.Recorded || window != slo.Period && window != 5*time.Minute && !slices.ContainsFunc(slo.Tiers, func(t Tier) bool {
		return slices.ContainsFunc(t.Windows, func(w Window) bool { return w.Short == window || w.Long == window })
	}) {
		return "", false
	}
	id := string(s.Policy.Scope) + "-" + slo.Name
	return "slo:sli_error:ratio_rate" + model.Duration(window).String() + "{sloth_id=" + strconv.Quote(id) + "}", true
}
