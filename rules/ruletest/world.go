package ruletest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
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
	if _, err := scenario.Draw(s.slo, s.kind, few); err != nil {
		p.Errorf(n, "", "%v", err)
		return
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

// world is what the conditions of a test are asked of.
type world struct {
	api  v1.API
	away *series.Away // the same, to be told the time
	// burns are the times in which more requests fail, by scenario.
	burns [][]scenario.Burn
}

// world draws what Prometheus shows in a test. Where there are scenarios, the SLOs that none of them is about, and of which no series
// is written down, are quiet: what is out of sight would be a page of its own.
func (t *Test) world() (*world, error) {
	w := &world{}
	list := slices.Clone(t.series)
	var drawn []*scenario.World
	about := map[*rules.SLO]bool{}
	draw := func(s scene) error {
		p := s.params
		if p.After == 0 {
			p.After = max(t.until-s.at, time.Minute)
		}
		if p.Instances == nil {
			p.Instances = t.instances[s.scope]
		}
		one, err := scenario.Draw(s.slo, s.kind, p)
		if err != nil {
			return err
		}
		drawn = append(drawn, one)
		return nil
	}
	for _, s := range t.scenarios {
		about[s.slo] = true
		if err := draw(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.position, err)
		}
		w.burns = append(w.burns, drawn[len(drawn)-1].Burns)
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
	have := map[string]bool{}
	for _, s := range list {
		have[s.Labels.String()] = true
	}
	for _, s := range all.Series {
		if !have[s.Labels.String()] {
			list = append(list, s)
		}
	}
	if up := t.up(); up != nil && !slices.ContainsFunc(list, func(s series.Series) bool { return s.Labels.Get(model.MetricNameLabel) == "up" }) {
		list = append(list, *up)
	}
	store, err := series.New(list...)
	if err != nil {
		return nil, err
	}
	w.away = series.NewAway(prom.NewAhead(store.API(), prom.AheadOptions{Until: t.file.start.Add(t.until)}), all.Away...)
	w.api = w.away
	return w, nil
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
