package rules

import (
	"slices"
	"time"
)

// Burn is a burn that arithmetic can follow: after a clean history, longer than any window, a steady share of the requests fails.
type Burn struct {
	Share      float64       // of the requests that fail meanwhile, in [0, 1]
	Background float64       // of those that fail before and after; a tier that FiresAt it has neither a beginning nor an end
	Lasts      time.Duration // 0: it does not end
}

// Detection is when a burn-rate pair fires in a burn, by arithmetic alone: no scrapes, no ticks.
//
// With error ratio e, budget b, factor k, long window L and short window S it fires once e fills the long window above the limit,
// at k·b/e × L, which spends k·L/P of the budget whatever e is; and it is quiet again when the short window is half empty: S ×
// (1 − k·b/e) after the end. Source: Google SRE Workbook, ch. 5, "Alerting on SLOs".
type Detection struct {
	Fires bool
	After time.Duration // from the beginning of the burn
	Spent float64       // the share of the period's budget that the burn has spent by then
	// Reset is from the end of the burn until it is quiet; 0 for one that does not end.
	Reset time.Duration
}

// fill is the share of a window that a burn has to fill for its error ratio to exceed the pair's limit; 1 or more: it never does.
func (w *Window) fill(slo *SLO, b Burn) float64 {
	limit := w.Factor * slo.Budget
	switch {
	case b.Background > limit:
		return 0
	case b.Share <= limit:
		return 1
	}
	return (limit - b.Background) / (b.Share - b.Background)
}

// Detect is when the pair, which is one of slo's, fires.
func (w *Window) Detect(slo *SLO, b Burn) Detection {
	fill := w.fill(slo, b)
	after := time.Duration(fill * float64(w.Long))
	if fill >= 1 || b.Lasts > 0 && after >= b.Lasts {
		return Detection{}
	}
	d := Detection{Fires: true, After: after, Spent: b.Share / slo.Budget * float64(after) / float64(slo.Period)}
	if b.Lasts > 0 {
		d.Reset = time.Duration((1 - fill) * float64(w.Short))
	}
	return d
}

// Detect is when the first of the tier's pairs fires, and when the last of those that do is quiet again.
func (t *Tier) Detect(slo *SLO, b Burn) Detection {
	var out Detection
	for i := range t.Windows {
		d := t.Windows[i].Detect(slo, b)
		if !d.Fires {
			continue
		}
		reset := max(out.Reset, d.Reset)
		if !out.Fires || d.After < out.After {
			out = d
		}
		out.Reset = reset
	}
	return out
}

// FiresAt reports whether one of the tier's pairs fires for as long as a steady share of the requests fails.
func (t *Tier) FiresAt(slo *SLO, share float64) bool {
	return slices.ContainsFunc(t.Windows, func(w Window) bool { return share > w.Factor*slo.Budget })
}

// Sampling is what stands between arithmetic and what is seen.
type Sampling struct {
	Scrape time.Duration // between two samples of a series
	Offset time.Duration // that the queries of a tick look back by: prom.Options.QueryOffset
	Tick   time.Duration // between two evaluations
}

// Bounds are the first and the last instant at which something may be seen that arithmetic puts at one.
type Bounds struct{ Earliest, Latest time.Duration }

// Holds reports whether d is within the bounds.
func (b Bounds) Holds(d time.Duration) bool { return b.Earliest <= d && d <= b.Latest }

// Seen is when a tier is seen to fire, at the ticks.
type Seen struct {
	Surely, Perhaps bool   // whether it fires
	Fires           Bounds // from the beginning of the burn
	Resets          Bounds // from its end
}

// Seen is when ticks see the pair fire.
//
// rate() makes of a window W what the samples in it say: the increase between the first and the last one. That is a scrape less
// than W, so that as little as k·b/e × (W − scrape) is enough. On the other hand the last sample is up to a scrape old, and a
// counter that begins at 0, or with its first error, is not extended to the window's beginning: up to another scrape is missing.
// What the query sees the next tick sees, the query offset later; a pair with a cadence is decided at the multiples of it only.
func (w *Window) Seen(slo *SLO, b Burn, s Sampling) Seen {
	fill := w.fill(slo, b)
	if fill >= 1 {
		return Seen{}
	}
	part := func(d time.Duration) time.Duration { return time.Duration(fill * float64(d)) }
	step := max(s.Tick, w.Every)
	out := Seen{Surely: true, Perhaps: true,
		Fires: Bounds{max(0, part(w.Long-s.Scrape)+s.Offset), part(w.Long) + 2*s.Scrape + s.Offset + step}}
	if b.Lasts > 0 {
		reset := w.Short - part(w.Short)
		out.Resets = Bounds{max(0, reset-s.Scrape+s.Offset), reset + s.Scrape + s.Offset + step}
		out.Perhaps = part(w.Long-s.Scrape) <= b.Lasts
		// It has to be full before the end, and to stay so until a tick.
		out.Surely = part(w.Long)+2*s.Scrape <= b.Lasts && out.Fires.Latest <= b.Lasts+out.Resets.Earliest-s.Offset
	}
	return out
}

// Seen is when ticks see the tier fire: with the first of its pairs, until the last of those that fire is quiet. In a burn at the
// edge of what a pair notices that is as wide as both answers.
func (t *Tier) Seen(slo *SLO, b Burn, s Sampling) Seen {
	var out Seen
	for i := range t.Windows {
		one := t.Windows[i].Seen(slo, b, s)
		if !one.Perhaps {
			continue
		}
		if !out.Perhaps {
			out.Fires.Earliest = one.Fires.Earliest
			out.Fires.Latest, out.Resets.Earliest = one.Fires.Latest, 0
		}
		out.Fires.Earliest = min(out.Fires.Earliest, one.Fires.Earliest)
		switch {
		case one.Surely && !out.Surely:
			out.Fires.Latest, out.Resets.Earliest = one.Fires.Latest, one.Resets.Earliest
		case one.Surely:
			out.Fires.Latest, out.Resets.Earliest = min(out.Fires.Latest, one.Fires.Latest), max(out.Resets.Earliest, one.Resets.Earliest)
		case !out.Surely:
			out.Fires.Latest = max(out.Fires.Latest, one.Fires.Latest)
		}
		out.Resets.Latest = max(out.Resets.Latest, one.Resets.Latest)
		out.Perhaps, out.Surely = true, out.Surely || one.Surely
	}
	return out
}
