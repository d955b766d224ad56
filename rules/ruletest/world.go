package ruletest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/scenario"
	"github.com/modeshift/modeshift/rules/series"
)

// scene is a scenario that happens to an SLO.
type scene struct {
	position string
	kind     scenario.Kind
	scope    engine.Scope
	slo      *rules.SLO
	at       time.Duration
	params   scenario.Params
}

// scene reads one scenario.
func (p *reading) scene(t *Test, n rules.Node) {
	s := scene{position: p.Position(n)}
	before := p.Wrong()
	var kinds []string
	for _, k := range scenario.Kinds {
		kinds = append(kinds, string(k.Kind))
	}
	number := func(into *float64, what string) func(rules.Node) {
		return func(n rules.Node) { *into, _ = p.Number(n, what) }
	}
	ok := p.Mapping(n, "a scenario",
		rules.Required("name", func(n rules.Node) {
			name, ok := p.Text(n, "the name of a scenario")
			if ok && !slices.Contains(kinds, name) {
				p.Errorf(n, p.Choose(name, kinds, ""), "no scenario is called %q", name)
			}
			s.kind = scenario.Kind(name)
		}),
		rules.Required("slo", func(n rules.Node) { s.scope, s.slo = p.slo(n) }),
		rules.Optional("at", p.setDuration(&s.at, "at")),
		rules.Optional("for", p.setPositive(&s.params.For, "for")),
		rules.Optional("before", p.setPositive(&s.params.Before, "before")),
		rules.Optional("after", p.setPositive(&s.params.After, "after")),
		rules.Optional("share", number(&s.params.Share, "the share")),
		rules.Optional("background", number(&s.params.Background, "the background")),
		rules.Optional("every", p.setPositive(&s.params.Every, "every")),
		rules.Optional("spike", p.setPositive(&s.params.Spike, "the spike")),
		rules.Optional("rate", number(&s.params.Rate, "the rate")),
		rules.Optional("scrape", p.setPositive(&s.params.Scrape, "scrape")))
	if !ok || p.Wrong() > before {
		return
	}
	// What cannot be drawn is the file's fault: it is tried with as few samples as may be.
	if !p.mutant {
		if err := p.tryOut(t, s); err != nil {
			p.Errorf(n, "", "%v", err)
			return
		}
	}
	t.scenarios = append(t.scenarios, s)
}

// tryOut draws a scenario, beside those of the test that are about the same SLO.
func (p *reading) tryOut(t *Test, s scene) error {
	shape, err := p.file.shape(s.slo)
	if err != nil {
		return err
	}
	var scenes []scenario.Scene
	for _, one := range append(slices.Clone(t.scenarios), s) {
		if one.slo == s.slo {
			few := one.params
			few.At, few.Before, few.After = p.file.start.Add(one.at), time.Minute, time.Minute
			scenes = append(scenes, scenario.Scene{Kind: one.kind, Params: few})
		}
	}
	_, err = shape.Draw(scenes...)
	return err
}

// slo reads the name of an SLO: SCOPE/SLO, or the SLO alone where only one scope can be meant.
func (p *reading) slo(n rules.Node) (engine.Scope, *rules.SLO) {
	text, ok := p.Text(n, "the SLO")
	if !ok {
		return "", nil
	}
	var known []string
	var found []*rules.Service
	_, name, full := strings.Cut(text, "/")
	if !full {
		name = text
	}
	for _, s := range p.file.set.Services {
		for i := range s.SLOs {
			called := s.SLOs[i].Name
			if full {
				called = string(s.Policy.Scope) + "/" + called
			}
			known = append(known, called)
			if called == text {
				found = append(found, s)
			}
		}
	}
	switch len(found) {
	case 0:
		p.Errorf(n, p.Choose(text, known, "the rule files declare none"), "there is no SLO %q", text)
		return "", nil
	case 1:
		return found[0].Policy.Scope, found[0].SLO(name)
	}
	p.Errorf(n, "write "+string(found[0].Policy.Scope)+"/"+text, "several services have an SLO %q", text)
	return "", nil
}

// drawing is what Prometheus shows in a test, drawn once.
type drawing struct {
	once  sync.Once
	store *series.Store
	away  []series.Span
	burns [][]scenario.Burn // the times in which more requests fail, by scenario
	alone []bool            // nothing else happens to what the SLO of a scenario measures
	err   error
	// missing says of each SLO that cannot be drawn, and of which nothing is written down, why it is out of sight.
	missing []Moment
}

// drawing is what Prometheus shows in the test; in that of a mutant what it shows in the test of the rules as they are.
func (t *Test) drawing() *drawing {
	if t.origin != nil {
		t = t.origin
	}
	t.drawn.once.Do(func() { t.drawn.err = crash.Try(func() error { return t.draw(&t.drawn) }) })
	return &t.drawn
}

// forget lets go of what was drawn, megabytes for days of samples: whoever comes back to the test has it drawn again. Nobody may be
// running it.
func (t *Test) forget() { t.drawn = drawing{} }

// source is what the conditions of a test are asked of, for one run. It has to be told the time.
func (t *Test) source() (*series.Away, error) {
	d := t.drawing()
	if d.err != nil {
		return nil, d.err
	}
	return series.NewAway(prom.NewAhead(d.store.API(), prom.AheadOptions{Until: t.file.start.Add(t.until)}), d.away...), nil
}

// up is the target that every Prometheus has, for rules that ask for alerts: where a server shows neither targets nor alerts, that one
// does not fire means nothing. nil: nobody asks.
func (t *Test) up() *series.Series {
	if !slices.ContainsFunc(t.file.set.Services, func(s *rules.Service) bool { return len(s.Alerts) > 0 }) {
		return nil
	}
	up := &series.Series{Labels: labels.FromStrings(model.MetricNameLabel, "up", "job", "prometheus")}
	for at := -time.Minute; at <= t.until; at += time.Minute {
		up.Samples = append(up.Samples, series.Sample{At: t.file.start.Add(at).UnixMilli(), Value: 1})
	}
	return up
}
