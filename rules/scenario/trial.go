package scenario

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/rules/series"
)

// trial finds out by trying which atoms have to count.
type trial struct {
	errors, total string // total is empty where errors is the ratio
	metrics       []*metric
	tries         int
	found         []atom
}

// choice is some atoms of each metric, a bit for each.
type choice []uint64

// search fills found; false where nothing does.
func (t *trial) search() bool {
	var counters, gauges []*metric
	for _, m := range t.metrics {
		if m.counter {
			counters = append(counters, m)
		} else {
			gauges = append(gauges, m)
		}
	}
	for _, most := range []int{1, 2} { // two of a metric: a bucket of a histogram, and that of all
		for _, g := range choices(gauges, 1) {
			for turned := range uint64(1) << len(gauges) {
				if fixed, ok := fix(gauges, g, turned); ok && t.count(counters, most, fixed) {
					return true
				}
			}
		}
	}
	return false
}

// fix is gauges of a choice with what they are for good and for bad: 1 and 0, or turned; false where a turned one was not chosen.
func fix(gauges []*metric, c choice, turned uint64) (fixed []atom, ok bool) {
	for i, m := range gauges {
		is := turned>>i&1 == 1
		if is && c[i] == 0 {
			return nil, false
		}
		for k, a := range m.atoms {
			if c[i]>>k&1 == 1 {
				a.good, a.bad = 1, 0
				if is {
					a.good, a.bad = 0, 1
				}
				fixed = append(fixed, a)
			}
		}
	}
	return fixed, true
}

// count finds the counters that a good and a bad request add to, beside gauges that are fixed.
func (t *trial) count(counters []*metric, most int, fixed []atom) bool {
	all := choices(counters, most)
	var good, bad []choice
	for _, c := range all {
		// The others are there and stand still: a sum with a part that is missing is no sum.
		with := func(share float64) (float64, bool) { return t.ratio(t.world(counters, c, c, fixed, true), share) }
		if r, ok := with(0); ok && near(r, 0) {
			good = append(good, c)
		}
		if r, ok := with(1); ok && near(r, 1) {
			bad = append(bad, c)
		}
		if t.tries > maxTries {
			return false
		}
	}
	for _, rest := range []bool{false, true} {
		for _, g := range good {
			for _, b := range bad {
				atoms := t.world(counters, g, b, fixed, rest)
				fits := len(atoms) > 0
				for _, share := range []float64{0, 0.15, 1} {
					r, ok := t.ratio(atoms, share)
					fits = fits && ok && near(r, share)
				}
				if fits {
					t.found = atoms
					return true
				}
				if t.tries > 2*maxTries {
					return false
				}
			}
		}
	}
	return false
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// choices are all choices of at most so many atoms of each metric, those of few atoms first; nil where there are too many.
func choices(metrics []*metric, most int) []choice {
	out := []choice{{}}
	for _, m := range metrics {
		var next []choice
		for _, c := range out {
			for _, some := range subsets(len(m.atoms), most) {
				next = append(next, append(slices.Clone(c), some))
			}
		}
		if out = next; len(out) > maxTries {
			return nil
		}
	}
	size := func(c choice) (n int) {
		for _, some := range c {
			n += bits.OnesCount64(some)
		}
		return n
	}
	slices.SortStableFunc(out, func(a, b choice) int { return cmp.Compare(size(a), size(b)) })
	return out
}

// subsets are those of n things with at most one or two in them.
func subsets(n, most int) []uint64 {
	out := []uint64{0}
	for a := range n {
		out = append(out, 1<<a)
		for b := a + 1; most > 1 && b < n; b++ {
			out = append(out, 1<<a|1<<b)
		}
	}
	return out
}

// world is the atoms that a choice for good requests and one for bad ones come to; with rest those too that stand still.
func (t *trial) world(counters []*metric, good, bad choice, fixed []atom, rest bool) []atom {
	out := slices.Clone(fixed)
	for i, m := range counters {
		for k, a := range m.atoms {
			if good[i]>>k&1 == 1 {
				a.good = 1
			}
			if bad[i]>>k&1 == 1 {
				a.bad = 1
			}
			if a.good+a.bad > 0 || rest {
				out = append(out, a)
			}
		}
	}
	return out
}

// ratio is the error ratio of the SLO while a share of requests fails; false where there is none.
func (t *trial) ratio(atoms []atom, share float64) (float64, bool) {
	t.tries++
	const (
		n    = 41
		step = 15_000
	)
	list := make([]series.Series, len(atoms))
	for i, a := range atoms {
		list[i].Labels = labels.FromMap(a.labels)
		each := a.good*(1-share) + a.bad*share
		for k := range n {
			v := each
			if !a.gauge {
				v = each * float64(k) * 1000
			}
			list[i].Samples = append(list[i].Samples, series.Sample{At: int64(k) * step, Value: v})
		}
	}
	store, err := series.New(list...)
	if err != nil {
		return 0, false
	}
	api, end := store.API(), time.UnixMilli((n-1)*step)
	number := func(text string) (float64, bool) {
		v, warnings, _, err := api.Query(context.Background(), text, end)
		if err != nil || len(warnings) > 0 {
			return 0, false
		}
		switch v := v.(type) {
		case *model.Scalar:
			return float64(v.Value), true
		case model.Vector:
			if len(v) == 1 {
				return float64(v[0].Value), true
			}
		}
		return 0, false
	}
	errors, ok := number(t.errors)
	if !ok || t.total == "" {
		return errors, ok && !math.IsNaN(errors)
	}
	total, ok := number(t.total)
	return errors / total, ok && total > 0
}
