package prom

import "sync"

// costs is what measuring each signal has cost, in samples the source read for it. It decides what is asked for first and never
// what comes out: what can still decide is asked for in the end, whatever it costs.
type costs struct {
	mu      sync.Mutex // guards samples
	samples map[key]int64
}

func newCosts() *costs { return &costs{samples: map[key]int64{}} }

// of is the cost of a signal; 0 while nobody knows it, so that it is asked for with the first.
func (c *costs) of(k key) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.samples[k]
}

func (c *costs) note(k key, samples int64) {
	if samples <= 0 { // the source does not say
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[k] = samples
}

// cost is what the queries of w have cost at this tick; of a request that stood for many its share.
func (t *tick) cost(w want) int64 {
	total := int64(0)
	seen := view{t, w.at}
	for _, p := range w.probe.parts {
		for _, q := range p.queries {
			a := seen.answer(q.query)
			total += a.samples / int64(max(1, a.among))
		}
	}
	return total
}
