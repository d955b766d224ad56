package convert

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// comparedAlert is an alert of theirs.
type comparedAlert struct {
	alert
	every   []time.Duration              // of each pair: it is looked at when ours is, and stands in between
	burning []map[model.Fingerprint]bool // of each pair: the groups it was true for
	since   map[model.Fingerprint]time.Time
}

// burning says which groups of theirs a pair is true for.
func (c *comparison) burning(p pair) map[model.Fingerprint]bool {
	over := func(v model.Vector) map[model.Fingerprint]bool {
		out := map[model.Fingerprint]bool{}
		for _, s := range v {
			if float64(s.Value) > p.limit { // NaN is not
				out[s.Metric.Fingerprint()] = true
			}
		}
		return out
	}
	long := over(c.of(p.long).theirs)
	if p.short == 0 {
		return long
	}
	short := over(c.of(p.short).theirs)
	for group := range long {
		if !short[group] {
			delete(long, group)
		}
	}
	return long
}

// fires says whether an alert fires at an instant, and whether it waits to.
func (c *comparison) fires(a *comparedAlert, t time.Time) (fires, waits bool) {
	burning := map[model.Fingerprint]bool{}
	for i, p := range a.pairs {
		if t.Truncate(a.every[i]).Equal(t) {
			a.burning[i] = c.burning(p)
		}
		for group := range a.burning[i] {
			burning[group] = true
		}
	}
	for group := range a.since {
		if !burning[group] {
			delete(a.since, group)
		}
	}
	for group := range burning {
		if _, ok := a.since[group]; !ok {
			a.since[group] = t
		}
		if t.Sub(a.since[group]) >= a.after {
			fires = true
		} else {
			waits = true
		}
	}
	return fires, waits
}

// fire compares the alerts of a severity at an instant.
func (c *comparison) fire(t time.Time, severity engine.Severity, truth engine.Truth) {
	i := slices.IndexFunc(c.tiers, func(v *TierVerified) bool { return v.Severity == severity })
	tier := c.tiers[i]
	theirs, waits := false, false
	for _, a := range c.alerts {
		if a.severity == severity {
			fires, waiting := c.fires(a, t)
			theirs, waits = theirs || fires, waits || waiting
		}
	}
	switch truth {
	case engine.True:
		c.open[severity] = true
	case engine.False:
		c.open[severity] = false
	default: // it stays as it was
		tier.Unknown += verifyStep
	}
	ours := c.open[severity]
	if theirs == ours {
		if ours {
			tier.Both += verifyStep
		}
		return
	}
	cause := Cause("")
	switch {
	case truth == engine.Unknown && slices.ContainsFunc(c.windows, func(w *comparedWindow) bool { return len(w.errors) > 1 || len(w.total) > 1 }):
		cause = CauseGroups
	case truth == engine.Unknown:
		cause = CauseUnknown
	case ours && waits:
		cause = CauseFor
	case theirs:
		cause = c.goesOn(severity)
	default:
		cause = c.scattered(severity)
	}
	if tier.First.IsZero() || cause == "" && tier.Unexplained == 0 {
		tier.First, tier.Series = t, c.burns(severity)
	}
	if ours {
		tier.OnlyOurs += verifyStep
	} else {
		tier.OnlyTheirs += verifyStep
	}
	if cause == "" {
		tier.Unexplained += verifyStep
	} else {
		tier.Because[cause] += verifyStep
	}
}

// goesOn says why theirs may fire alone: each pair of theirs that is true has no short window while ours, which has one, is quiet over
// it; or is true for one of several groups, and not for all of them together. Empty: because they differ.
func (c *comparison) goesOn(severity engine.Severity) (cause Cause) {
	for _, a := range c.alerts {
		if a.severity != severity {
			continue
		}
		for i, p := range a.pairs {
			if len(a.burning[i]) == 0 {
				continue
			}
			switch {
			case c.quiet(p.long, p.limit, true), p.short > 0 && c.quiet(p.short, p.limit, true):
				cause = CauseGroups
			case p.short == 0 && c.quiet(c.shortOf(severity, p.long), p.limit, false):
				cause = cmp.Or(cause, CauseShort)
			default:
				return ""
			}
		}
	}
	return cause
}

// quiet reports whether ours is not above a limit of theirs over a window. grouped: though one of their groups is, and because ours is
// all of them together.
func (c *comparison) quiet(window time.Duration, limit float64, grouped bool) bool {
	w := c.of(window)
	if w.window == 0 || grouped && !w.grouped {
		return false
	}
	errors, total, known := w.ours(c.slo)
	return !known && !grouped || known && errors/total <= limit
}

// shortOf is the short window that ours has beside a long one; 0 where it has none.
func (c *comparison) shortOf(severity engine.Severity, long time.Duration) time.Duration {
	if tier := c.slo.Tier(severity); tier != nil {
		for _, w := range tier.Windows {
			if w.Long == long {
				return w.Short
			}
		}
	}
	return 0
}

// scattered says why ours may fire alone: a pair is true over both windows for other groups over each, and so for none of theirs.
func (c *comparison) scattered(severity engine.Severity) Cause {
	over := func(window time.Duration, limit float64) bool {
		w := c.of(window)
		highest := w.ratio()
		return w.grouped && highest != nil && float64(highest.Value) > limit
	}
	for _, a := range c.alerts {
		if a.severity == severity && slices.ContainsFunc(a.pairs, func(p pair) bool { return p.short > 0 && over(p.long, p.limit) && over(p.short, p.limit) }) {
			return CauseGroups
		}
	}
	return ""
}

// burns names a series of theirs that an alert is true for, where there are several.
func (c *comparison) burns(severity engine.Severity) string {
	for _, a := range c.alerts {
		if a.severity != severity {
			continue
		}
		for i, p := range a.pairs {
			w := c.of(p.long)
			for _, s := range w.theirs {
				if len(w.theirs) > 1 && a.burning[i][s.Metric.Fingerprint()] {
					return named(s.Metric)
				}
			}
		}
	}
	return ""
}
