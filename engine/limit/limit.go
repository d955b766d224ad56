// Package limit bounds how often each of many clients may ask, in bounded memory.
//
// Each client has a bucket that fills steadily, up to a burst; a request takes one out. A bucket that is full again is
// forgotten: its client may come back as a new one. Where clients are too many for the memory they may take, new ones share a
// bucket, so that whoever makes up names, or has a network of addresses, is held by it together.
package limit

import (
	"math"
	"sync"
	"time"
)

// Buckets hold how much each client has left. They are safe for concurrent use; nil ones limit nobody.
type Buckets struct {
	rate  float64 // a second
	burst float64
	most  int

	mu      sync.Mutex // guards what follows
	buckets map[string]bucket
	swept   time.Time
}

type bucket struct {
	level float64
	at    time.Time
}

// New lets each client ask rate times a second, and burst times at once after a pause. It knows at most so many clients apart. Where
// the rate is not above 0 it returns nil, which is no limit.
func New(rate, burst float64, most int) *Buckets {
	if rate <= 0 {
		return nil
	}
	return &Buckets{rate: rate, burst: max(1, burst), most: most, buckets: map[string]bucket{}}
}

// Take returns 0 when a client may go ahead, else how long it has to wait. Whoever is refused has taken nothing out.
func (b *Buckets) Take(client string, now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	c, known := b.buckets[client]
	if !known {
		if len(b.buckets) >= b.most {
			client = ""
			c, known = b.buckets[client]
		}
		if !known {
			c = bucket{b.burst, now}
		}
	}
	c.level = min(b.burst, c.level+b.rate*max(0, now.Sub(c.at).Seconds()))
	c.at = now
	wait := time.Duration(0)
	if c.level >= 1 {
		c.level--
	} else {
		wait = time.Duration(math.Ceil((1 - c.level) / b.rate * float64(time.Second)))
	}
	b.buckets[client] = c
	return wait
}

// Len is how many clients are known apart now.
func (b *Buckets) Len() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.buckets)
}

// sweep forgets the buckets that are full again, every so often.
func (b *Buckets) sweep(now time.Time) {
	full := time.Duration(b.burst / b.rate * float64(time.Second))
	if now.Sub(b.swept) < full {
		return
	}
	b.swept = now
	for client, c := range b.buckets {
		if now.Sub(c.at) >= full {
			delete(b.buckets, client)
		}
	}
}
