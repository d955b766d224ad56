package convert

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

const five = 5 * time.Minute // the window whose mean is Sloth's period

// comparison is one SLO being compared.
type comparison struct {
	was     *slo
	slo     *rules.SLO
	windows []*comparedWindow
	alerts  []*comparedAlert
	tiers   []*TierVerified
	open    map[engine.Severity]bool // ours
	out     Verified

	means, ratios  float64 // of five minutes, theirs
	errors, totals float64 // ours
}

// comparedWindow is a window of an SLO, with what was answered last.
type comparedWindow struct {
	window, every         time.Duration
	theirs, errors, total model.Vector
	out                   WindowVerified

	parts                   bool // what follows is asked
	theirErrors, theirTotal model.Vector
	grouped                 bool // the last difference is none but that theirs looks at groups
}

func newComparison(service string, was *slo, s *rules.Service) *comparison {
	c := &comparison{was: was, slo: s.SLO(was.name), open: map[engine.Severity]bool{}, out: Verified{Service: service, SLO: was.name}}
	every := map[time.Duration]time.Duration{}
	note := func(w, step time.Duration) {
		if have, ok := every[w]; w > 0 && (!ok || step < have) {
			every[w] = step
		}
	}
	for i := range c.slo.Tiers {
		tier := &c.slo.Tiers[i]
		c.tiers = append(c.tiers, &TierVerified{Severity: tier.Severity, Because: map[Cause]time.Duration{}})
		for _, w := range tier.Windows {
			step := max(verifyStep, w.Every.Truncate(verifyStep))
			note(w.Short, step)
			note(w.Long, step)
		}
	}
	for _, a := range was.was.alerts {
		one := &comparedAlert{alert: a, burning: make([]map[model.Fingerprint]bool, len(a.pairs)), since: map[model.Fingerprint]time.Time{}}
		c.alerts = append(c.alerts, one)
		for _, p := range a.pairs {
			one.every = append(one.every, c.every(a.severity, p))
			if every[p.long] == 0 {
				note(p.long, verifyStep)
			}
			if every[p.short] == 0 {
				note(p.short, verifyStep)
			}
		}
	}
	if was.was.mean && was.total != "" {
		note(five, five)
	}
	if len(every) == 0 {
		note(five, verifyStep)
		note(time.Hour, verifyStep)
	}
	for w, step := range every {
		c.windows = append(c.windows, &comparedWindow{window: w, every: step, parts: was.was.parts != nil, out: WindowVerified{Window: w}})
	}
	slices.SortFunc(c.windows, func(a, b *comparedWindow) int { return cmp.Compare(a.window, b.window) })
	return c
}

// every is how often ours looks at a pair.
func (c *comparison) every(severity engine.Severity, p pair) time.Duration {
	if tier := c.slo.Tier(severity); tier != nil {
		for _, w := range tier.Windows {
			if w.Long == p.long && (w.Short == p.short || p.short == 0) {
				return max(verifyStep, w.Every.Truncate(verifyStep))
			}
		}
	}
	return verifyStep
}

// of finds a window.
func (c *comparison) of(w time.Duration) *comparedWindow {
	for _, x := range c.windows {
		if x.window == w {
			return x
		}
	}
	return &comparedWindow{}
}

// ratio is theirs, the highest of all groups; nil where there is none.
func (w *comparedWindow) ratio() (highest *model.Sample) {
	for _, s := range w.theirs {
		if f := float64(s.Value); !math.IsNaN(f) && (highest == nil || f > float64(highest.Value)) {
			highest = s
		}
	}
	return highest
}

// allTogether names what all series of theirs make.
const allTogether = "all together"

// series names one of theirs, where there are several.
func (w *comparedWindow) series(s *model.Sample) string {
	if len(w.theirs) < 2 {
		return ""
	}
	return named(s.Metric)
}

func named(m model.Metric) string {
	m = m.Clone()
	delete(m, model.MetricNameLabel)
	return m.String()
}

// together reports whether ours is what theirs makes of all groups together: the sum of their parts or, where these are not known,
// something between the least and the greatest of them. A ratio of our own that has groups too is unknown.
func (w *comparedWindow) together(s *rules.SLO) bool {
	if len(w.theirs) < 2 {
		return false
	}
	errors, total, known := w.ours(s)
	if !known {
		return len(w.errors) > 1 || len(w.total) > 1
	}
	ours := errors / total
	if w.parts {
		if all, of, ok := quotient(w.theirErrors, w.theirTotal, s.Absence.Zero); ok {
			return math.Abs(all/of-ours) <= sameRatio
		}
		return false
	}
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, x := range w.theirs {
		if f := float64(x.Value); !math.IsNaN(f) {
			least, greatest = min(least, f), max(greatest, f)
		}
	}
	return ours >= least-sameRatio && ours <= greatest+sameRatio
}

// ours is errors, total and what they make; false where that is nothing.
func (w *comparedWindow) ours(s *rules.SLO) (errors, total float64, ok bool) {
	if !s.Events {
		errors, ok = one(w.errors)
		return errors, 1, ok
	}
	return quotient(w.errors, w.total, s.Absence.Zero)
}

// one is the value of a series that is alone.
func one(v model.Vector) (float64, bool) {
	if len(v) != 1 || math.IsNaN(float64(v[0].Value)) {
		return 0, false
	}
	return float64(v[0].Value), true
}

// quotient is errors and total where they make a ratio. zero: no series of errors is no errors.
func quotient(e, of model.Vector, zero bool) (errors, total float64, ok bool) {
	if total, ok = one(of); !ok || total == 0 {
		return 0, 0, false
	}
	if errors, ok = one(e); !ok && len(e) == 0 && zero {
		return 0, total, true
	}
	return errors, total, ok
}

// compare compares the windows at an instant.
func (c *comparison) compare(t time.Time) {
	for _, w := range c.windows {
		if !t.Truncate(w.every).Equal(t) {
			continue
		}
		theirs, highest := 0.0, w.ratio()
		errors, total, ok2 := w.ours(c.slo)
		ok1 := highest != nil
		if ok1 {
			theirs = float64(highest.Value)
		}
		w.out.Groups = max(w.out.Groups, len(w.theirs))
		w.grouped = w.together(c.slo)
		switch {
		case ok1 && ok2:
			w.out.Compared++
			series := w.series(highest)
			if all, of, ok := quotient(w.theirErrors, w.theirTotal, c.slo.Absence.Zero); ok && series != "" && !w.grouped {
				theirs, series = all/of, allTogether // that is what ours should be; one of them it may be by chance
			}
			w.out.differ(t, series, theirs, errors/total, w.grouped)
		case ok1 && !(theirs == 0 && len(w.errors) == 0):
			w.out.OnlyTheirs++
			if w.grouped && w.out.Greatest <= sameRatio {
				w.out.Because = CauseGroups
			}
			w.out.unexplained(t, !w.grouped)
		case ok2 && errors > 0: // without errors theirs often has no series to divide, and ours are none
			w.out.OnlyOurs++
			w.out.unexplained(t, true)
		}
		if w.window == five && t.Truncate(five).Equal(t) {
			if ok1 {
				c.means, c.ratios = c.means+theirs, c.ratios+1
			}
			if ok2 {
				c.errors, c.totals = c.errors+errors, c.totals+total
			}
		}
	}
}

// differ notes how two values differ at an instant.
func (w *WindowVerified) differ(t time.Time, series string, theirs, ours float64, grouped bool) {
	d, cause := math.Abs(theirs-ours), Cause("")
	if d > sameRatio && grouped {
		cause = CauseGroups
	}
	intended := func(d float64, c Cause) bool { return d <= sameRatio || c != "" }
	sooner := intended(w.Greatest, w.Because) && !intended(d, cause)
	if later := !intended(w.Greatest, w.Because) && intended(d, cause); sooner || !later && d > w.Greatest || w.Compared == 1 {
		w.Greatest, w.At, w.Theirs, w.Ours, w.Series, w.Because = d, t, theirs, ours, series, cause
	}
	w.unexplained(t, !intended(d, cause))
}

func (w *WindowVerified) unexplained(t time.Time, is bool) {
	if !is {
		return
	}
	if w.Unexplained == 0 {
		w.First = t
	}
	w.Unexplained++
}

// end sums up.
func (c *comparison) end() Verified {
	for _, w := range c.windows {
		if w.out.Groups < 2 {
			w.out.Groups = 0
		}
		c.out.Windows = append(c.out.Windows, w.out)
	}
	for _, t := range c.tiers {
		c.out.Tiers = append(c.out.Tiers, *t)
	}
	if c.was.was.mean && c.was.total != "" && c.ratios > 0 && c.totals > 0 {
		c.out.Span = &SpanVerified{Mean: c.means / c.ratios, Weighted: c.errors / c.totals}
	}
	return c.out
}
