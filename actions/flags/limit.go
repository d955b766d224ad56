package flags

import (
	"math"
	"sync"
	"time"
)

// limiter bounds how often one client asks. Each has a bucket that fills steadily; a request takes one out.
type limiter struct {
	rate  float64 // a second
	burst float64

	mu      sync.Mutex // guards what follows
	buckets map[string]bucket
	swept   time.Time
}

type bucket struct {
	level float64
	at    time.Time
}

// maxBuckets bounds the memory that clients can take by being many. Beyond it all new ones share a bucket.
const maxBuckets = 100_000

// newLimiter returns nil when there is no limit.
func newLimiter(rate float64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: rate, burst: max(10, 2*rate), buckets: map[string]bucket{}}
}

// take returns 0 when a client may go ahead, else how long it has to wait.
func (l *limiter) take(client string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	b, known := l.buckets[client]
	if !known {
		if len(l.buckets) >= maxBuckets {
			client = ""
			b, known = l.buckets[client]
		}
		if !known {
			b = bucket{l.burst, now}
		}
	}
	b.level = min(l.burst, b.level+l.rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	wait := time.Duration(0)
	if b.level >= 1 {
		b.level--
	} else {
		wait = time.Duration(math.Ceil((1 - b.level) / l.rate * float64(time.Second)))
	}
	l.buckets[client] = b
	return wait
}

// sweep forgets the buckets that are full again, every so often: their clients may come back as new ones.
func (l *limiter) sweep(now time.Time) {
	full := time.Duration(l.burst / l.rate * float64(time.Second))
	if now.Sub(l.swept) < full {
		return
	}
	l.swept = now
	for client, b := range l.buckets {
		if now.Sub(b.at) >= full {
			delete(l.buckets, client)
		}
	}
}
