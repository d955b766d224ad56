package ruletest

import (
	"fmt"
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
	s.params.At = p.file.start.Add(s.at)
	// What cannot be drawn is the file's fault: it is tried with as few samples as may be.
	few := s.params
	few.Before, few.After = time.Minute, time.Minute
	if !p.mutant {
		if _, err := scenario.Draw(s.slo, s.kind, few); err != nil {
			p.Errorf(n, "", "%v", err)
			return
		}
	}
	t.scenarios = append(t.scenarios, s)
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
	alone []bool            // nothing else happens to the series of a scenario
	err   error
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

// draw draws what Prometheus shows in a test. Where there are scenarios, the SLOs that none of them is about, and of which no series
// is written down, are quiet: what is out of sight would be a page of its own.
func (t *Test) draw(d *drawing) (err error) {
	list := slices.Clone(t.series)
	var drawn []*scenario.World
	about, budgets := map[*rules.SLO]bool{}, t.budgets()
	draw := func(s scene) error {
		p := s.params
		if p.After == 0 {
			p.After = max(t.until-s.at, time.Minute)
		}
		if p.Instances == nil {
			p.Instances = t.instances[s.scope]
		}
		one, err := t.drawOne(s, p, budgets[s.slo] != "")
		if err != nil {
			return err
		}
		drawn = append(drawn, one)
		return nil
	}
	for _, s := range t.scenarios {
		about[s.slo] = true
		if err := draw(s); err != nil {
			return fmt.Errorf("%s: %w", s.position, err)
		}
		d.burns = append(d.burns, drawn[len(drawn)-1].Burns)
	}
	if len(drawn) > 0 {
		for _, service := range t.file.set.Services {
			for i := range service.SLOs {
				if slo := &service.SLOs[i]; !about[slo] {
					// One that cannot be drawn is as out of sight as its series.
					_ = draw(scene{kind: scenario.Quiet, scope: service.Policy.Scope, slo: slo, params: scenario.Params{At: t.file.start}})
				}
			}
		}
	}
	all := scenario.Merge(drawn...)
	have := map[string]int{}
	for _, s := range list {
		have[s.Labels.String()] = -1
	}
	d.alone = slices.Repeat([]bool{len(all.Away) == 0}, len(t.scenarios))
	for i, one := range drawn {
		for _, s := range one.Series {
			key := s.Labels.String()
			first, there := have[key]
			if there && i < len(t.scenarios) {
				d.alone[i] = false
				if first >= 0 {
					d.alone[first] = false
				}
			}
			if !there {
				have[key] = i
				list = append(list, s)
			}
		}
	}
	if up := t.up(); up != nil && !slices.ContainsFunc(list, func(s series.Series) bool { return s.Labels.Get(model.MetricNameLabel) == "up" }) {
		list = append(list, *up)
	}
	d.away = all.Away
	d.store, err = series.New(list...)
	return err
}

// drawOne draws one scenario. Where the budget of its SLO is asked for, and nothing is said of the time before, its history reaches as
// far back as the budget looks, so that it is known; as far as the others look where that is more than can be drawn.
func (t *Test) drawOne(s scene, p scenario.Params, budget bool) (*scenario.World, error) {
	if budget && p.Before == 0 {
		far := p
		far.Before = prom.LedgerPeriod(s.slo).Reach() + p.At.Sub(t.file.start) // no window is longer than its period
		if w, err := scenario.Draw(s.slo, s.kind, far); err == nil {
			return w, nil
		}
	}
	return scenario.Draw(s.slo, s.kind, p)
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
