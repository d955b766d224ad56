package ledger

import (
	"math"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// The widths of buckets, and how long they stay fine.
const (
	Fine    = 5 * time.Minute
	Coarse  = time.Hour
	FineFor = 72 * time.Hour

	perHour = int(Coarse / Fine)
	oneDay  = 24 * time.Hour
)

// Key names a ledger. Another query is another ledger: what was measured otherwise is not continued.
type Key struct {
	Scope  engine.Scope
	SLO    string
	Digest engine.Digest // of the SLO's queries
}

// Bucket is what was measured in the span that begins at Start.
type Bucket struct {
	Start         time.Time     // a multiple of Width
	Width         time.Duration // Fine or Coarse
	Errors, Total float64       // mean something only while Why is empty; both 0: nothing happened
	Why           engine.Why    // why they are unknown; empty when they are known
}

// most is what a bucket can hold so that no sum of buckets is infinite.
const most = 1e300

// checked is b, unknown if its numbers cannot be: whatever the reader let through, one bucket is all it costs.
func (b Bucket) checked() Bucket {
	switch {
	case b.Why != "":
	case !(math.Abs(b.Errors) <= most && math.Abs(b.Total) <= most): // NaN is not
		b.Why = engine.WhyNotFinite
	case b.Errors < 0 || b.Total < 0 || b.Errors > b.Total:
		b.Why = engine.WhyInvalid
	}
	if b.Why != "" {
		b.Errors, b.Total = 0, 0
	}
	return b
}

// state is what is known of a bucket, in a byte. The numbers are written to disk: they are only ever added to.
type state uint8

const (
	unasked state = 0 // nobody has asked yet
	known   state = 1
)

// reasons are the states of buckets that are unknown.
var reasons = map[engine.Why]state{
	engine.WhyFailed: 2, engine.WhyTimeout: 3, engine.WhyPartial: 4, engine.WhyAbsent: 5, engine.WhyStale: 6,
	engine.WhyNotFinite: 7, engine.WhyInvalid: 8, engine.WhyDisagree: 9,
}

func stateOf(why engine.Why) state {
	if why == "" {
		return known
	}
	if s, ok := reasons[why]; ok {
		return s
	}
	return reasons[engine.WhyFailed]
}

// whys are the reasons by state, for reading them back.
var whys = func() (list [10]engine.Why) {
	for why, s := range reasons {
		list[s] = why
	}
	return list
}()

// again reports whether a bucket in this state may become known by asking again: nobody asked, or nobody could answer.
func (s state) again() bool {
	return s == unasked || s == reasons[engine.WhyFailed] || s == reasons[engine.WhyTimeout] || s == reasons[engine.WhyPartial]
}
