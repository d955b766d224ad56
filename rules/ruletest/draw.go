package ruletest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/scenario"
	"github.com/modeshift/modeshift/rules/series"
)

// drawnShapes are what requests look like to the SLOs of a file, each found out once.
type drawnShapes struct {
	mu    sync.Mutex // guards what follows
	among *scenario.Among
	of    map[*rules.SLO]*scenario.Shape
	bad   map[*rules.SLO]error
}

// shape is what requests look like to an SLO, beside all others of the file.
func (f *File) shape(slo *rules.SLO) (*scenario.Shape, error) {
	s := &f.drawnShapes
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.among == nil {
		var all []*rules.SLO
		for _, service := range f.set.Services {
			for i := range service.SLOs {
				all = append(all, &service.SLOs[i])
			}
		}
		s.among, s.of, s.bad = scenario.NewAmong(all...), map[*rules.SLO]*scenario.Shape{}, map[*rules.SLO]error{}
	}
	if s.of[slo] == nil && s.bad[slo] == nil {
		s.of[slo], s.bad[slo] = s.among.ShapeOf(slo)
	}
	return s.of[slo], s.bad[slo]
}

// party is an SLO whose series are drawn, and what happens to them.
type party struct {
	slo    *rules.SLO
	scope  engine.Scope
	shape  *scenario.Shape
	mine   []int // the scenarios of the test that are about it; none: it is quiet, as far as that of its neighbour lets it be
	scenes []scenario.Scene
	with   *party // of a quiet one: whose requests it counts too
	early  bool   // a scenario says how far back there are samples
	world  *scenario.World
}

// draw draws what Prometheus shows in a test. Where there are scenarios, the SLOs that none of them is about, and of which no series
// is written down, are quiet: what is out of sight would be a page of its own. SLOs that count the same requests see the same
// things happen to them: an availability and a latency of one histogram have one traffic, which stops for both.
func (t *Test) draw(d *drawing) error {
	parties, err := t.parties()
	if err != nil {
		return err
	}
	groups := group(parties)
	for _, far := range []bool{true, false} {
		if err = t.drawAll(groups, far); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	list := slices.Clone(t.series)
	owners := make([]*party, len(list)) // of each series; nil: it is written down
	have := map[string]int{}
	for i, s := range list {
		have[s.Labels.String()] = i
	}
	disturbed := map[*party]bool{}
	for _, p := range parties {
		d.away = append(d.away, p.world.Away...)
		for _, s := range p.world.Series {
			key := s.Labels.String()
			i, there := have[key]
			switch {
			case !there:
				have[key] = len(list)
				list, owners = append(list, s), append(owners, p)
			case owners[i] == nil:
				disturbed[p] = true
			case p.before(owners[i], s.Labels):
				list[i], owners[i] = s, p
			}
		}
	}
	d.burns, d.alone = make([][]scenario.Burn, len(t.scenarios)), make([]bool, len(t.scenarios))
	for _, p := range parties {
		for i, s := range list {
			if o := owners[i]; len(p.mine) > 0 && p.shape.Reads(s.Labels) && o != p && (o == nil || o.with != p) {
				disturbed[p] = true
			}
		}
		for _, i := range p.mine {
			d.burns[i], d.alone[i] = p.world.Burns, len(p.scenes) == 1 && !disturbed[p] && len(d.away) == 0
		}
	}
	if up := t.up(); up != nil && !slices.ContainsFunc(list, func(s series.Series) bool { return s.Labels.Get(model.MetricNameLabel) == "up" }) {
		list = append(list, *up)
	}
	d.store, err = series.New(list...)
	return err
}

// before reports whether of a series that both draw it is this one's that counts: who tells good requests from bad ones knows more of
// it than who counts them all, and who has a scenario more than who is quiet.
func (p *party) before(other *party, series labels.Labels) bool {
	if a, b := p.shape.Tells(series), other.shape.Tells(series); a != b {
		return a
	}
	return len(p.mine) > 0 && len(other.mine) == 0
}

// parties are the SLOs of a test with scenarios, those that these are about first.
func (t *Test) parties() ([]*party, error) {
	var parties []*party
	by := map[*rules.SLO]*party{}
	for i, s := range t.scenarios {
		p := by[s.slo]
		if p == nil {
			shape, err := t.file.shape(s.slo)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.position, err)
			}
			p = &party{slo: s.slo, scope: s.scope, shape: shape}
			by[s.slo], parties = p, append(parties, p)
		}
		p.mine, p.early = append(p.mine, i), p.early || s.params.Before > 0
		p.scenes = append(p.scenes, t.happens(s))
	}
	named := slices.Clone(parties)
	if len(named) == 0 {
		return nil, nil
	}
	// Two that tell the same good requests from the same bad ones cannot fare differently.
	own := map[*party][]scenario.Scene{}
	for _, p := range named {
		own[p] = p.scenes
	}
	for _, p := range named {
		for _, q := range named {
			if q != p && p.shape.Same(q.shape) {
				p.scenes = slices.Concat(p.scenes, own[q])
			}
		}
	}
	for _, service := range t.file.set.Services {
		for i := range service.SLOs {
			slo := &service.SLOs[i]
			if by[slo] != nil {
				continue
			}
			shape, err := t.file.shape(slo)
			if err != nil { // it is as out of sight as its series, unless they are written down
				if !slices.ContainsFunc(t.series, func(s series.Series) bool { return t.file.drawnShapes.among.Reads(slo, s.Labels) }) {
					t.drawn.missing = append(t.drawn.missing, Moment{When: clock(0), Scope: service.Policy.Scope, What: err.Error()})
				}
				continue
			}
			p := &party{slo: slo, scope: service.Policy.Scope, shape: shape}
			p.follow(named)
			if p.with == nil {
				p.scenes = []scenario.Scene{t.happens(scene{kind: scenario.Quiet, scope: p.scope})}
			}
			parties = append(parties, p)
		}
	}
	return parties, nil
}

// happens is a scenario as it is drawn in the test.
func (t *Test) happens(s scene) scenario.Scene {
	p := s.params
	p.At = t.file.start.Add(s.at)
	if p.After == 0 {
		p.After = max(t.until-s.at, time.Minute)
	}
	if p.Instances == nil {
		p.Instances = t.instances[s.scope]
	}
	return scenario.Scene{Kind: s.kind, Params: p}
}

// follow lets a quiet SLO see of the scenarios of those named what happens to the requests that it counts too: all of it where it looks
// at the same faults, else that no requests come, or that they are not scraped.
func (p *party) follow(named []*party) {
	for _, q := range named {
		fails := q.shape.Fails(p.shape)
		if !fails && !p.shape.Shares(q.shape) {
			continue
		}
		p.with, p.early = q, q.early
		for _, s := range q.scenes {
			switch {
			case fails && s.Kind == scenario.FirstError:
				s.Kind = scenario.PartialOutage // its own errors may have been there
			case fails && s.Kind == scenario.SlowBurn:
				s.Share, s.For = cmp.Or(s.Share, min(1, 2*q.slo.Budget)), cmp.Or(s.For, q.shape.LooksBack())
			case fails:
			default:
				s.Share, s.Background = 0, 0
				switch s.Kind {
				case scenario.NoTraffic, scenario.ScrapeGap, scenario.CounterReset, scenario.Restart:
				default:
					s.Kind = scenario.Quiet
				}
			}
			p.scenes = append(p.scenes, s)
		}
		return
	}
}

// group gathers the parties that have series in common.
func group(parties []*party) [][]*party {
	of := map[string]int{} // series → group
	var groups [][]*party
	for _, p := range parties {
		mine := []*party{p}
		var keys []string
		for _, s := range p.shape.Series() {
			keys = append(keys, s.String())
			if g, ok := of[keys[len(keys)-1]]; ok && groups[g] != nil {
				mine, groups[g] = append(groups[g], mine...), nil
			}
		}
		groups = append(groups, mine)
		for key, g := range of {
			if groups[g] == nil {
				of[key] = len(groups) - 1
			}
		}
		for _, key := range keys {
			of[key] = len(groups) - 1
		}
	}
	return slices.DeleteFunc(groups, func(g []*party) bool { return g == nil })
}

// drawAll draws the world of each party. Where the budget of an SLO is asked for, and nothing is said of the time before, its history
// reaches as far back as the budget looks with far, so that it is known; what is drawn of one Prometheus reaches back equally far, or
// the older part of one series would have nothing to be compared with.
func (t *Test) drawAll(groups [][]*party, far bool) error {
	budgets := t.budgets()
	for _, g := range groups {
		var from time.Time
		said := slices.ContainsFunc(g, func(p *party) bool { return p.early })
		for _, p := range g {
			for _, s := range p.scenes {
				before := s.Before
				switch {
				case said && before == 0:
					continue
				case said:
				case far && budgets[p.slo] != "":
					before = prom.LedgerPeriod(p.slo).Reach() + s.At.Sub(t.file.start) // no window is longer than its period
				default:
					before = p.shape.LooksBack()
				}
				if at := s.At.Add(-before); from.IsZero() || at.Before(from) {
					from = at
				}
			}
		}
		for _, p := range g {
			scenes := slices.Clone(p.scenes)
			for i := range scenes {
				scenes[i].Before = scenes[i].At.Sub(from)
			}
			w, err := p.shape.Draw(scenes...)
			switch {
			case err != nil && len(p.mine) > 0:
				return fmt.Errorf("%s: %w", t.scenarios[p.mine[0]].position, err)
			case err != nil && far:
				return err
			case err != nil:
				w = &scenario.World{} // as out of sight as its series
			}
			p.world = w
		}
	}
	return nil
}
