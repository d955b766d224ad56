package scenario

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

// Kind is a scenario by its name.
type Kind string

// The scenarios.
const (
	Quiet          Kind = "quiet"
	TotalOutage    Kind = "total-outage"
	PartialOutage  Kind = "partial-outage"
	SlowBurn       Kind = "slow-burn"
	SpikeTrain     Kind = "spike-train"
	CounterReset   Kind = "counter-reset"
	ScrapeGap      Kind = "scrape-gap"
	FirstError     Kind = "first-error"
	Restart        Kind = "restart"
	PrometheusAway Kind = "prometheus-away"
	NoTraffic      Kind = "no-traffic"
)

// About is what a scenario is, and how it goes where the parameters do not say.
type About struct {
	Kind  Kind
	Says  string
	For   time.Duration // 0: see Says
	Share float64       // of the requests that fail; 0: see Says
	Every time.Duration // from spike to spike
}

// Kinds are all scenarios.
var Kinds = []About{
	{Quiet, "requests come, and nothing happens", 0, 0, 0},
	{TotalOutage, "all requests fail for half an hour", 30 * time.Minute, 1, 0},
	{PartialOutage, "15 % of the requests fail for ten minutes", 10 * time.Minute, 0.15, 0},
	{SlowBurn, "twice as many requests fail as the objective allows, for as long as the longest window", 0, 0, 0},
	{SpikeTrain, "all requests fail for a minute, every ten minutes, for two hours", 2 * time.Hour, 1, 10 * time.Minute},
	{CounterReset, "all counters begin anew at once", 0, 0, 0},
	{ScrapeGap, "nothing is scraped for ten minutes", 10 * time.Minute, 0, 0},
	{FirstError, "there are no series of errors before the first one: 15 % of the requests fail for ten minutes", 10 * time.Minute, 0.15, 0},
	{Restart, "one instance after the other is gone for a minute, and its counters begin anew", time.Minute, 0, 0},
	{PrometheusAway, "Prometheus does not answer for ten minutes", 10 * time.Minute, 0, 0},
	{NoTraffic, "no requests come for an hour", time.Hour, 0, 0},
}

// Params say how a scenario goes. The zero value of each is good, but for At.
type Params struct {
	At     time.Time     // when it happens
	Before time.Duration // that there are samples for before it; 0: as far as the SLO looks back, so that its history is clean
	For    time.Duration // that it lasts; of a restart: that each instance is gone; 0: as Kinds says
	After  time.Duration // that there are samples for after its end; 0: for twice the longest short window
	Share  float64       // of the requests that fail meanwhile; 0: as Kinds says
	Every  time.Duration // from spike to spike; 0: as Kinds says
	Spike  time.Duration // that each lasts; 0: a tenth of Every
	// Background is the share of requests that fail at all other times.
	Background float64
	Rate       float64       // requests a second, of all instances together; 0: DefaultRate
	Scrape     time.Duration // between two samples; 0: 15 s
	Instances  []string      // their names; empty: one, and of a restart three
	// InstanceLabel is the label that bears them; empty: the one by which the SLO narrows to instances, or else instance.
	InstanceLabel string
}

// DefaultRate is how many requests come a second where the parameters do not say.
const DefaultRate = 20.0

// World is what a scenario comes to.
type World struct {
	Series []series.Series
	Away   []series.Span // in which the source does not answer; see series.NewAway
	// Span is that of the samples.
	series.Span
	// Burns are the times in which more requests fail than in the background.
	Burns []Burn
}

// Burn is a time in which a share of the requests fails.
type Burn struct {
	series.Span
	Share float64
}

// The bounds of what can be asked for.
const (
	maxSamples   = 20_000_000 // half a gigabyte
	maxInstances = 1000
	maxSpikes    = 10_000
)

// Draw draws a scenario for an SLO. The error says what cannot be drawn, why, and what to write instead; it is a *CannotDrawError
// where the SLO's queries are the reason.
func Draw(slo *rules.SLO, kind Kind, p Params) (*World, error) {
	if _, err := aboutOf(kind); err != nil {
		return nil, err
	}
	shape, err := NewAmong(slo).ShapeOf(slo)
	if err != nil {
		return nil, err
	}
	return shape.Draw(Scene{kind, p})
}

// windows are the longest short window and the longest of an SLO's alerts; of the workbook's where it has none.
func windows(slo *rules.SLO) (short, long time.Duration) {
	if len(slo.Tiers) == 0 {
		return 6 * time.Hour, 72 * time.Hour
	}
	for _, tier := range slo.Tiers {
		for _, w := range tier.Windows {
			short, long = max(short, w.Short), max(long, w.Long)
		}
	}
	return short, long
}

// Scene is a scenario with its parameters.
type Scene struct {
	Kind Kind
	Params
}

// Draw draws one world in which the scenarios happen, for the SLO, each at its time; where two go on at once the larger share fails.
// What is of the world rather than of a scenario, its rate and background, scrape and instances, and how far back it reaches, is
// said by one of them for all. Errors are those of the function Draw.
func (s *Shape) Draw(scenes ...Scene) (*World, error) {
	scenes = slices.Clone(scenes)
	if err := agree(scenes); err != nil {
		return nil, err
	}
	w := &World{}
	for i := range scenes {
		c := &scenes[i]
		about, err := aboutOf(c.Kind)
		if err != nil {
			return nil, err
		}
		if err := c.complete(s.slo, about, s); err != nil {
			return nil, err
		}
		if c.Kind == PrometheusAway {
			w.Away = append(w.Away, series.Span{From: c.At, To: c.At.Add(c.For)})
		}
		if c.Kind == FirstError && !slices.ContainsFunc(s.atoms, atom.onlyErrors) {
			return nil, &CannotDrawError{SLO: s.slo.Name, Why: "its errors have no series of their own that a first one could create"}
		}
	}
	k := sketch{scenes: scenes, atoms: s.atoms}
	k.plan()
	if n := int64(k.to.Sub(k.from)/scenes[0].Scrape) * int64(len(scenes[0].Instances)*len(s.atoms)); n > maxSamples {
		return nil, fmt.Errorf("%d samples are more than the %d that can be drawn: make it shorter, with a longer scrape or fewer instances", n, maxSamples)
	}
	w.Span, w.Burns = series.Span{From: k.from, To: k.to}, k.burns
	for i := range scenes[0].Instances {
		w.Series = append(w.Series, k.instance(i)...)
	}
	return w, nil
}

// agree gives all scenes of one world what one of them says of it, and refuses those that say different things.
func agree(scenes []Scene) error {
	restart := slices.ContainsFunc(scenes, func(c Scene) bool { return c.Kind == Restart })
	var all Params
	for _, c := range scenes {
		for _, v := range []struct {
			name      string
			have, say float64
		}{
			{"a rate", all.Rate, c.Rate}, {"a background", all.Background, c.Background}, {"a scrape", all.Scrape.Seconds(), c.Scrape.Seconds()},
		} {
			if v.have != 0 && v.say != 0 && v.have != v.say {
				return fmt.Errorf("%s of %v and of %v: scenarios of one SLO have one, as they are of the same requests", v.name, v.have, v.say)
			}
		}
		all.Rate, all.Background, all.Scrape = cmp.Or(all.Rate, c.Rate), cmp.Or(all.Background, c.Background), cmp.Or(all.Scrape, c.Scrape)
		all.InstanceLabel = cmp.Or(all.InstanceLabel, c.InstanceLabel)
		if all.Instances == nil {
			all.Instances = c.Instances
		}
	}
	if restart && len(all.Instances) == 0 {
		all.Instances = []string{"instance-1", "instance-2", "instance-3"}
	}
	for i := range scenes {
		c := &scenes[i]
		c.Rate, c.Background, c.Scrape, c.Instances, c.InstanceLabel = all.Rate, all.Background, all.Scrape, all.Instances, all.InstanceLabel
	}
	return nil
}

func aboutOf(kind Kind) (About, error) {
	if i := slices.IndexFunc(Kinds, func(a About) bool { return a.Kind == kind }); i >= 0 {
		return Kinds[i], nil
	}
	var names []string
	for _, a := range Kinds {
		names = append(names, string(a.Kind))
	}
	return About{}, fmt.Errorf("no scenario is called %q: there are %s", kind, strings.Join(names, ", "))
}

// of reports whether a series is the atom's, of some instance.
func (a atom) of(s labels.Labels) bool {
	n := 0
	for k, v := range a.labels {
		if s.Get(k) != v {
			return false
		}
		if v != "" {
			n++
		}
	}
	return n == s.Len() || n == s.Len()-1
}

// onlyErrors: it counts nothing as long as nothing fails.
func (a atom) onlyErrors() bool { return !a.gauge && a.good == 0 && a.bad > 0 }

// complete fills in what is not said, and refuses what cannot be.
func (p *Params) complete(slo *rules.SLO, about About, d *Shape) error {
	short, long := windows(slo)
	for _, v := range []struct {
		name string
		d    time.Duration
	}{{"before", p.Before}, {"for", p.For}, {"after", p.After}, {"every", p.Every}, {"spike", p.Spike}, {"scrape", p.Scrape}} {
		if v.d < 0 || v.d > 400*24*time.Hour {
			return fmt.Errorf("%s is %s: it has to be above zero and below 400 days", v.name, v.d)
		}
	}
	for _, v := range []struct {
		name string
		x    float64
	}{{"share", p.Share}, {"background", p.Background}} {
		if !(v.x >= 0 && v.x <= 1) {
			return fmt.Errorf("%s is %v: a share is between 0 and 1", v.name, v.x)
		}
	}
	if p.Rate < 0 || math.IsNaN(p.Rate) || p.Rate > 1e9 {
		return fmt.Errorf("a rate of %v requests a second cannot be drawn", p.Rate)
	}
	p.Before = cmp.Or(p.Before, long)
	p.After = cmp.Or(p.After, 2*short)
	p.Every = cmp.Or(p.Every, about.Every)
	p.Spike = cmp.Or(p.Spike, p.Every/10)
	p.Share = cmp.Or(p.Share, about.Share)
	p.For = cmp.Or(p.For, about.For)
	if about.Kind == SlowBurn {
		p.Share, p.For = cmp.Or(p.Share, min(1, 2*slo.Budget)), cmp.Or(p.For, long)
	}
	p.Rate = cmp.Or(p.Rate, DefaultRate)
	p.Scrape = cmp.Or(p.Scrape, 15*time.Second)
	p.InstanceLabel = cmp.Or(p.InstanceLabel, d.instance, "instance")
	if len(p.Instances) == 0 {
		p.Instances = []string{"instance-1"}
	}
	if slices.ContainsFunc(d.atoms, func(a atom) bool { return a.labels[p.InstanceLabel] != "" }) {
		p.Instances = p.Instances[:1] // the queries say which it is
	}
	switch {
	case p.At.IsZero():
		return fmt.Errorf("a scenario needs the time at which it happens")
	case p.Share > 0 && p.Share <= p.Background && about.Kind != Restart:
		return fmt.Errorf("share is %v and background %v: no more would fail meanwhile than at all other times", p.Share, p.Background)
	case p.Scrape < time.Second:
		return fmt.Errorf("scrape is %s: the shortest that can be drawn is a second", p.Scrape)
	case len(p.Instances) > maxInstances:
		return fmt.Errorf("%d instances are more than the %d that can be drawn", len(p.Instances), maxInstances)
	case about.Kind == SpikeTrain && p.Spike >= p.Every:
		return fmt.Errorf("a spike of %s every %s does not end: it is a partial-outage", p.Spike, p.Every)
	case about.Kind == SpikeTrain && p.For/p.Every > maxSpikes:
		return fmt.Errorf("%d spikes are more than the %d that can be drawn", p.For/p.Every, maxSpikes)
	}
	names := map[string]bool{}
	for _, name := range p.Instances {
		if name == "" || names[name] {
			return fmt.Errorf("the instance %q is there twice, or has no name", name)
		}
		names[name] = true
	}
	return nil
}

// sketch is scenarios on their way to a world.
type sketch struct {
	scenes   []Scene // with all that is not said filled in; what is of the world is the same in each
	atoms    []atom
	from, to time.Time
	burns    []Burn
	phases   []phase
}

// stretch is a time in which something goes on.
type stretch struct {
	series.Span
	share float64 // of the requests that fail; 0: as at all other times
	none  bool    // no requests come
}

// phase is a time in which everything is even. Its counts are those at its beginning, of one instance.
type phase struct {
	from      time.Time
	share     float64
	goods     float64 // a second, of one instance
	bads      float64 // a second, of one instance
	good, bad float64
}

// plan lays out the phases.
func (s *sketch) plan() {
	p := &s.scenes[0]
	rate := p.Rate / float64(len(p.Instances))
	var stretches []stretch
	for i := range s.scenes {
		c := &s.scenes[i]
		lasts := c.For
		if c.Kind == Restart {
			lasts *= time.Duration(len(c.Instances))
		}
		if from := c.At.Add(-c.Before); i == 0 || from.Before(s.from) {
			s.from = from
		}
		if to := c.At.Add(lasts).Add(c.After); to.After(s.to) {
			s.to = to
		}
		stretches = append(stretches, c.stretches()...)
	}
	times := []time.Time{s.from}
	for _, x := range stretches {
		times = append(times, x.From, x.To)
		if !x.none {
			s.burns = append(s.burns, Burn{x.Span, x.share})
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	slices.SortStableFunc(stretches, func(a, b stretch) int { return a.From.Compare(b.From) })
	var on []stretch // those that go on
	for _, from := range slices.CompactFunc(times, time.Time.Equal) {
		for len(stretches) > 0 && !from.Before(stretches[0].From) {
			on, stretches = append(on, stretches[0]), stretches[1:]
		}
		on = slices.DeleteFunc(on, func(x stretch) bool { return !from.Before(x.To) })
		next, comes := phase{from: from, share: p.Background}, rate
		for _, x := range on {
			if x.none {
				comes = 0
			} else {
				next.share = max(next.share, x.share)
			}
		}
		next.bads = even(comes * next.share)
		next.goods = even(comes) - next.bads
		if n := len(s.phases); n > 0 {
			next.good, next.bad = s.phases[n-1].at(from)
		}
		s.phases = append(s.phases, next)
	}
}

// stretches are the times in which requests fail as they do not otherwise, or none come.
func (c *Scene) stretches() []stretch {
	end := c.At.Add(c.For)
	switch c.Kind {
	case SpikeTrain:
		var list []stretch
		for at := c.At; at.Before(end); at = at.Add(c.Every) {
			list = append(list, stretch{Span: series.Span{From: at, To: at.Add(c.Spike)}, share: c.Share})
		}
		return list
	case NoTraffic:
		return []stretch{{Span: series.Span{From: c.At, To: end}, none: true}}
	case Restart:
		return nil
	}
	if c.Share > c.Background && c.For > 0 {
		return []stretch{{Span: series.Span{From: c.At, To: end}, share: c.Share}}
	}
	return nil
}

// at is what an instance has counted at a time in the phase.
func (p *phase) at(t time.Time) (good, bad float64) {
	d := t.Sub(p.from).Seconds()
	return p.good + p.goods*d, p.bad + p.bads*d
}

// even is a rate in whole parts of a second of which floating point makes no more: while nothing happens all counts are exact, up to
// tens of millions, and so are their differences. What comes evenly looks even then: its rate over a window is the same at each tick, to
// the last bit.
func even(rate float64) float64 {
	const parts = 1 << 28
	return math.Round(rate*parts) / parts
}

// instance draws the series of one instance.
func (s *sketch) instance(k int) []series.Series {
	p := &s.scenes[0]
	out := make([]series.Series, len(s.atoms))
	for i, a := range s.atoms {
		b := labels.NewBuilder(labels.FromMap(a.labels))
		if a.labels[p.InstanceLabel] == "" {
			b.Set(p.InstanceLabel, p.Instances[k])
		}
		out[i].Labels = b.Labels()
		out[i].Samples = make([]series.Sample, 0, int(s.to.Sub(s.from)/p.Scrape)+1)
	}
	var gone []series.Span // in which it is not scraped
	var resets []time.Time // from when on it counts anew
	first := false         // there are no series of errors before the first one
	for i := range s.scenes {
		switch c := &s.scenes[i]; c.Kind {
		case ScrapeGap:
			gone = append(gone, series.Span{From: c.At, To: c.At.Add(c.For)})
		case Restart:
			g := series.Span{From: c.At.Add(time.Duration(k) * c.For), To: c.At.Add(time.Duration(k+1) * c.For)}
			gone, resets = append(gone, g), append(resets, g.To)
		case CounterReset:
			resets = append(resets, c.At)
		case FirstError:
			first = true
		}
	}
	slices.SortFunc(resets, time.Time.Compare)
	var goodThen, badThen float64
	// What it counted before there were samples: rate() extends no counter to below zero, so that one that stood at 0 would count less
	// of its first increase than the others in one sum with it, and 1 - good/total would come out below 0.
	before := even(10 * 60 * p.Rate)
	last, now := true, 0
	for t := s.from.Add(p.Scrape * time.Duration(k) / time.Duration(len(p.Instances))); t.Before(s.to); t = t.Add(p.Scrape) {
		for now+1 < len(s.phases) && !t.Before(s.phases[now+1].from) {
			now++
		}
		phase := &s.phases[now]
		there := !slices.ContainsFunc(gone, func(g series.Span) bool { return !t.Before(g.From) && t.Before(g.To) })
		for len(resets) > 0 && !t.Before(resets[0]) {
			goodThen, badThen = s.counted(resets[0])
			resets, before = resets[1:], 0
		}
		good, bad := phase.at(t)
		good, bad = good-goodThen, bad-badThen
		for i, a := range s.atoms {
			sample := series.Sample{At: t.UnixMilli(), Value: a.good*good + a.bad*bad + before}
			switch {
			case !there && (!last || len(out[i].Samples) == 0):
				continue
			case !there:
				sample.Value = series.Stale
			case a.gauge:
				sample.Value = a.good*(1-phase.share) + a.bad*phase.share
			case first && a.onlyErrors() && bad == 0:
				continue
			case first && a.onlyErrors():
				sample.Value = a.bad * bad
			}
			out[i].Samples = append(out[i].Samples, sample)
		}
		last = there
	}
	return slices.DeleteFunc(out, func(s series.Series) bool { return len(s.Samples) == 0 })
}

// counted is what an instance has counted at a time.
func (s *sketch) counted(t time.Time) (good, bad float64) {
	now := &s.phases[0]
	for i := range s.phases {
		if !t.Before(s.phases[i].from) {
			now = &s.phases[i]
		}
	}
	return now.at(t)
}
