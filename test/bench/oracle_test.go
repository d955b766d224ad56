package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// result is what a server answered to an instant query.
type result struct {
	values  map[string]float64 // by the label job; a single value without it has ""
	samples int64              // all that could be queried, by the server's own count, where it was asked for
}

// reply is the API's form of it.
type reply struct {
	Error string
	Data  struct {
		Result json.RawMessage
		Stats  struct {
			Samples struct{ TotalQueryableSamples int64 }
		}
	}
}

// ask sends an instant query, past everything that is measured.
func ask(server, query string, at time.Time, stats bool) (out result, err error) {
	form := url.Values{"query": {query}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	if stats {
		form.Set("stats", "all")
	}
	resp, err := http.PostForm(server+"/api/v1/query", form)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	var r reply
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return out, err
	}
	if r.Error != "" {
		return out, fmt.Errorf("%s: %s", query, r.Error)
	}
	var vector []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(r.Data.Result, &vector); err != nil {
		return out, fmt.Errorf("%s: %w", query, err)
	}
	out.values, out.samples = map[string]float64{}, r.Data.Stats.Samples.TotalQueryableSamples
	for _, x := range vector {
		text, _ := x.Value[1].(string)
		if out.values[x.Metric["job"]], err = strconv.ParseFloat(text, 64); err != nil {
			return out, err
		}
	}
	return out, nil
}

// track is a value over time, by the label job and the instant in Unix milliseconds.
type track map[string]map[int64]float64

// askRange sends a range query: at each of its instants Prometheus computes what an instant query for it gives, and reads the
// samples that several of them need once.
func askRange(server, query string, from, to time.Time, every time.Duration) (track, error) {
	seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	resp, err := http.PostForm(server+"/api/v1/query_range", url.Values{"query": {query}, "start": {seconds(from)}, "end": {seconds(to)},
		"step": {strconv.FormatFloat(every.Seconds(), 'f', 3, 64)}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var r struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, fmt.Errorf("%s: %s", query, r.Error)
	}
	out := track{}
	for _, x := range r.Data.Result {
		values := map[int64]float64{}
		for _, v := range x.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if values[int64(math.Round(at*1000))], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, err
			}
		}
		out[x.Metric["job"]] = values
	}
	return out, nil
}

// parallel is how many of the bench's own queries are under way at once.
const parallel = 2

// oracle says what Sloth's alerts say. It asks the server in two ways that share nothing but the data: each service's own
// expressions, word by word but for the recorded series; and the ratio of a window for all services at once.
type oracle struct {
	server string
	pairs  map[string][]pair // by service; the same windows and limits for all, at the same indexes
	single bool              // ask each service's expressions too, and hold both ways against each other

	asked  int                     // decisions of single pairs
	fired  []int                   // of those, by pair, true ones
	ratios map[time.Duration]track // by window
	firing []map[string]track      // by pair and service; the label job is not there any more
	now    int64                   // the instant of the last decision
}

// read asks for everything at the instants of ticks from one to another: for the pairs of pages each, for those of tickets the
// multiples of two minutes.
func (o *oracle) read(w *world, first, last time.Time) error {
	pairs := o.pairs[w.services[0].name]
	o.ratios, o.firing, o.fired = map[time.Duration]track{}, make([]map[string]track, len(pairs)), make([]int, len(pairs))
	ask := func(query string, every time.Duration) (track, error) {
		from := first.Truncate(every)
		if from.Before(first) {
			from = from.Add(every)
		}
		return askRange(o.server, query, from.Add(-prom.DefaultQueryOffset), last.Add(-prom.DefaultQueryOffset), every)
	}
	for i := range pairs { // those of pages first, which share a window with the others
		every := interval
		if pairs[i].severity == engine.SeverityTicket {
			every = pairs[2].every()
		}
		var err error
		for _, window := range []time.Duration{pairs[i].short, pairs[i].long} {
			if o.ratios[window] == nil {
				q := fmt.Sprintf(`sum by (job) (rate(http_requests_total{code=~"5.."}[%[1]s])) / sum by (job) (rate(http_requests_total[%[1]s]))`, model.Duration(window))
				if o.ratios[window], err = ask(q, every); err != nil {
					return err
				}
			}
		}
		if !o.single {
			continue
		}
		tracks := make([]track, len(w.services))
		var all errgroup.Group
		all.SetLimit(parallel)
		for n, s := range w.services {
			all.Go(func() (err error) {
				tracks[n], err = ask(o.pairs[s.name][i].expr, every)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
		o.firing[i] = map[string]track{}
		for n, s := range w.services {
			o.firing[i][s.name] = tracks[n]
		}
	}
	return o.instant(w, last)
}

// instant asks each service's expressions once more by instant queries, at the last tick.
func (o *oracle) instant(w *world, last time.Time) error {
	at := last.Add(-prom.DefaultQueryOffset)
	var all errgroup.Group
	all.SetLimit(parallel)
	for i := range o.firing {
		if o.firing[i] == nil || !multiple(last, o.pairs[w.services[0].name][i].every()) {
			continue
		}
		for _, s := range w.services {
			all.Go(func() error {
				r, err := ask(o.server, o.pairs[s.name][i].expr, at, false)
				_, ranged := o.firing[i][s.name][""][at.UnixMilli()]
				if err == nil && ranged != (len(r.values) > 0) {
					err = fmt.Errorf("%s, %s: a range query gives %t at its last instant, an instant query %t", s.name, &o.pairs[s.name][i], ranged, !ranged)
				}
				return err
			})
		}
	}
	return all.Wait()
}

// fires says for each service whether a pair fires at the instant of a query.
func (o *oracle) fires(w *world, index int, at time.Time) (map[string]bool, error) {
	o.now = at.UnixMilli()
	p := &o.pairs[w.services[0].name][index]
	out := map[string]bool{}
	for _, s := range w.services {
		short, long := o.ratios[p.short][s.name][o.now], o.ratios[p.long][s.name][o.now]
		out[s.name] = short > p.limit && long > p.limit
		if o.single {
			if _, firing := o.firing[index][s.name][""][o.now]; firing != out[s.name] {
				return nil, fmt.Errorf("%s (%s), %s, at %s: the alert's expression gives %t, the ratios %v and %v over %v give %t",
					s.name, s.kind, p, at.Format(time.RFC3339), firing, short, long, p.limit, out[s.name])
			}
		}
		o.asked++
		if out[s.name] {
			o.fired[index]++
		}
	}
	return out, nil
}

// decided is what modeshift decided at a tick.
type decided struct {
	instant time.Time
	prom.Answer
}

// comparison is what came of holding modeshift's decisions against the oracle's.
type comparison struct {
	pages, tickets int // decisions compared
	byPair         int // decisions of single pairs, as far as the evidence tells them
	turns          int // decisions that differ from the one before
	differences    []string
}

// compare holds the decisions of ticks, each set.Services' own, against the oracle: pages at every tick, tickets at every
// instant of their cadence. A tier is what its pairs make of it, and each pair is compared at its own cadence as well, as far
// as the readings in evidence decide it.
//
// Between two instants of its cadence a pair keeps its truth. So the tier of a ticket is expected to be, at the multiples of two
// minutes, what the quick pair is now or the slow one was at the last multiple of six.
func compare(w *world, o *oracle, set *rules.Set, ticks []decided) (c comparison, err error) {
	pairs := o.pairs[w.services[0].name]
	from := ticks[0].instant.Truncate(pairs[3].every())
	if err := o.read(w, from, ticks[len(ticks)-1].instant); err != nil {
		return c, err
	}
	slow, err := o.fires(w, 3, from.Add(-prom.DefaultQueryOffset)) // the slow ticket pair, as it was at the last instant of its cadence
	if err != nil {
		return c, err
	}
	last := map[string]engine.Truth{}
	for _, t := range ticks {
		at := t.instant.Add(-prom.DefaultQueryOffset)
		fires := make([]map[string]bool, len(pairs))
		for i := range pairs {
			due := multiple(t.instant, pairs[i].every())
			if !due {
				continue
			}
			if fires[i], err = o.fires(w, i, at); err != nil {
				return c, err
			}
			if i == 3 && due {
				slow = fires[i]
			}
		}
		for _, s := range w.services {
			service := set.Service(engine.Scope(s.name))
			seen := t.Observations[engine.Scope(s.name)]
			for _, tier := range []struct {
				severity engine.Severity
				pairs    []int
			}{{engine.SeverityPage, []int{0, 1}}, {engine.SeverityTicket, []int{2, 3}}} {
				if fires[tier.pairs[0]] == nil {
					continue // not at this instant
				}
				i := slices.IndexFunc(service.Conditions, func(c *rules.Condition) bool { return c.Name == "slo/availability/"+string(tier.severity) })
				obs := seen[i]
				want := truth(fires[tier.pairs[0]][s.name] || fires[tier.pairs[1]][s.name])
				if tier.severity == engine.SeverityTicket {
					c.tickets++
					want = truth(fires[2][s.name] || slow[s.name])
				} else {
					c.pages++
				}
				key := s.name + string(tier.severity)
				if before, ok := last[key]; ok && before != obs.Truth {
					c.turns++
				}
				last[key] = obs.Truth
				differs := func(what string, want bool) {
					c.differences = append(c.differences, fmt.Sprintf("%s (%s), %s, at the tick of %s: modeshift says %s, Sloth's rules say %t; %s; evidence: %s",
						s.name, s.kind, what, t.instant.UTC().Format(time.RFC3339), spoken(obs), want, o.told(s.name, &pairs[tier.pairs[0]], &pairs[tier.pairs[1]]), evidence(obs)))
				}
				if !obs.Asked || obs.Truth != want {
					differs("the "+string(tier.severity), want == engine.True)
					continue
				}
				for _, n := range tier.pairs {
					p := &pairs[n]
					if got, known := p.decided(obs); known && multiple(t.instant, p.every()) {
						if c.byPair++; got != fires[n][s.name] {
							differs(p.String(), fires[n][s.name])
						}
					}
				}
			}
		}
	}
	return c, nil
}

// told says what the windows of pairs are by the oracle.
func (o *oracle) told(service string, pairs ...*pair) string {
	var out []string
	for _, p := range pairs {
		for _, d := range []time.Duration{p.short, p.long} {
			if r, ok := o.ratios[d][service][o.now]; ok {
				out = append(out, fmt.Sprintf("%s %.6g of %.6g", model.Duration(d), r, p.limit))
			}
		}
	}
	return strings.Join(out, ", ")
}

func spoken(o engine.Observation) string {
	if !o.Asked {
		return "nothing"
	}
	return o.Truth.String()
}

func evidence(o engine.Observation) string {
	var out []string
	for _, r := range o.Readings {
		if r.Why != "" {
			out = append(out, fmt.Sprintf("%s %s: %s", r.Signal, r.Why, r.Detail))
		} else {
			out = append(out, fmt.Sprintf("%s %.6g", r.Signal, r.Value))
		}
	}
	return strings.Join(out, ", ")
}

// decided is what the evidence of a tier says of a pair; false when it does not tell.
func (p *pair) decided(o engine.Observation) (fires, known bool) {
	above := func(window time.Duration) (bool, bool) {
		signal := fmt.Sprintf("error_ratio(%q, %q)", "availability", model.Duration(window))
		for _, r := range o.Readings {
			if r.Signal == signal && r.Why == "" {
				return r.Value > p.limit, true
			}
		}
		return false, false
	}
	short, shortKnown := above(p.short)
	long, longKnown := above(p.long)
	switch {
	case shortKnown && !short, longKnown && !long:
		return false, true
	}
	return true, shortKnown && longKnown
}

func truth(b bool) engine.Truth {
	if b {
		return engine.True
	}
	return engine.False
}

func multiple(t time.Time, every time.Duration) bool { return t.Truncate(every).Equal(t) }

// percentile is the value below which that share of the values lies, the next one up.
func percentile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[max(0, min(len(v)-1, int(math.Ceil(share*float64(len(v))))-1))]
}
