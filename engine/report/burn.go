package report

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Span is the time that the charts show, and so the time of which Weigh needs to know how the budgets burned: the story and a little
// before and after it, as far as that is past.
func (r *Report) Span() (from, to time.Time) {
	to = r.end()
	margin := min(max(to.Sub(r.Began)/8, 5*time.Second), 6*time.Hour)
	from, to = r.Began.Add(-margin), to.Add(margin)
	if to.After(r.Made) {
		to = r.Made
	}
	return from.UTC(), to.UTC()
}

// end is when the story ended, with what people had been told of it where that was over soon after; while it is open the time at
// which the report was made.
func (r *Report) end() time.Time {
	to := r.Ended
	if r.Open || to.IsZero() {
		to = r.Made
	}
	last := to
	for _, i := range r.Incidents {
		if i.Resolved.After(last) && i.Resolved.Sub(to) < to.Sub(r.Began) {
			last = i.Resolved
		}
	}
	return last
}

// reading is a burn rate, or an error ratio, in the evidence of an event.
type reading struct {
	at     time.Time
	slo    string
	window string
	ratio  bool
	value  float64
	why    string
	ref    Ref
}

// burns finds the signals that say how a budget burns. Names are quoted as in Go.
var burns = regexp.MustCompile(`^(burn_rate|error_ratio)\(("(?:[^"\\]|\\.)*"), "([^"]+)"\)$`)

// readings are those in the evidence of all events of the time that charts show, each once: a decision's events share theirs.
func (m *maker) readings() {
	from, to := m.r.Span()
	type key struct {
		at     time.Time
		signal string
	}
	seen := map[key]bool{}
	for _, e := range m.past.events {
		if e.At.Before(from) || e.At.After(to) {
			continue
		}
		for _, x := range e.Evidence {
			found := burns.FindStringSubmatch(x.Signal)
			if found == nil {
				continue
			}
			slo, err := strconv.Unquote(found[2])
			if err != nil {
				continue // no SLO is called so
			}
			at := e.Cause.Instant
			for _, better := range []time.Time{x.At, x.Sample} {
				if !better.IsZero() {
					at = better
				}
			}
			if at.IsZero() {
				at = e.At
			}
			if k := (key{at, x.Signal}); seen[k] {
				continue
			} else {
				seen[k] = true
			}
			m.r.readings = append(m.r.readings, reading{at.UTC(), slo, found[3], found[1] == "error_ratio", x.Value, string(x.Why), m.ref(e)})
		}
	}
}

// Weigh adds the error budgets: before, after, and how they burned in the report's Span, as the ledger has it. To these come the
// readings that decisions were made on. A budget whose SLO the ledger does not know any more has readings of burn rates alone.
func (r *Report) Weigh(budgets []Budget) {
	var strange []string
	for _, x := range r.readings {
		if !slices.ContainsFunc(budgets, func(b Budget) bool { return b.SLO == x.slo }) && !slices.Contains(strange, x.slo) {
			strange = append(strange, x.slo)
			budgets = append(budgets, Budget{SLO: x.slo, Before: Left{Unknown: "no rule declares this SLO now"}, After: Left{Unknown: "no rule declares this SLO now"}})
		}
	}
	r.Budgets = make([]Budget, 0, len(budgets))
	for _, b := range budgets {
		b.Seen = []Seen{}
		if b.Burn == nil {
			b.Burn = []Burn{}
		}
		allowed := 0.0
		if objective, err := strconv.ParseFloat(b.Objective, 64); err == nil {
			allowed = 1 - objective/100
		}
		lost := 0
		for _, x := range r.readings {
			if x.slo != b.SLO {
				continue
			}
			s := Seen{At: x.at, Window: x.window, Rate: x.value, Unknown: x.why, Event: x.ref}
			if x.ratio && x.why == "" {
				if allowed <= 0 {
					lost++
					continue
				}
				s.Rate = x.value / allowed
			}
			b.Seen = append(b.Seen, s)
		}
		if lost > 0 {
			r.LeftOut = append(r.LeftOut, plural(lost, "reading")+" of "+b.SLO+" are error ratios: without its objective they tell no burn rate")
		}
		slices.SortStableFunc(b.Seen, func(a, b Seen) int { return a.At.Compare(b.At) })
		r.Budgets = append(r.Budgets, b)
	}
	r.weighed()
}

// Charted reports whether there is something of the story to draw: what one of its decisions was made on, or a piece of time in which
// the budget burned at all. What was read a little before it or after it alone is another story's.
func (r *Report) Charted(b *Budget) bool {
	from, to := r.Began, r.end()
	return slices.ContainsFunc(b.Burn, func(p Burn) bool { return p.Known > 0 && p.Rate > 0 && p.To.After(from) && p.From.Before(to) }) ||
		slices.ContainsFunc(b.Seen, func(s Seen) bool {
			return slices.ContainsFunc(r.Timeline, func(m Moment) bool { return m.Event == s.Event })
		})
}

// modeAt is the mode in force at an instant; empty where nobody knows.
func (r *Report) modeAt(at time.Time) engine.Mode {
	for _, b := range slices.Backward(r.Modes) {
		if !at.Before(b.From) && (at.Before(b.To) || at.Equal(b.To)) {
			return b.Mode
		}
	}
	return ""
}
