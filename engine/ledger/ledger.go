package ledger

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Ledger is the buckets of one SLO. The zero value is an empty one.
type Ledger struct {
	first int64  // number of the first day, counted from 1970
	days  []*day // from first on, without holes; nil: nothing is known of that day
	dirty map[int64]bool
}

// day is 24 hours, UTC, and their sum.
type day struct {
	sum     tally
	errors  [24]float64
	total   [24]float64
	known   [24]uint8 // twelfths of each hour
	rest    [24]state // what is the matter with the other twelfths; known: there are none
	settled [24]bool  // nothing more is expected of this hour
	fine    *[24]*fine
}

// fine is an hour that still has its fine buckets.
type fine struct {
	errors, total [perHour]float64
	state         [perHour]state
}

// tally is a sum of buckets.
type tally struct {
	errors, total float64
	known         float64 // seconds
}

func (t *tally) add(o tally, share float64) {
	t.errors += o.errors * share
	t.total += o.total * share
	t.known += o.known * share
}

// hourOf and dayOf number hours and days from 1970 on.
func hourOf(t time.Time) int64 { return floorDiv(t.Unix(), 3600) }
func dayOf(t time.Time) int64  { return floorDiv(t.Unix(), 86400) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// maxDays bounds the days a ledger spans, whatever time a clock shows: the longest period, and a lot.
const maxDays = 3 * 366

// day returns a day, and makes it if it is not there; nil when it is too far from the others.
func (l *Ledger) day(n int64) *day {
	if len(l.days) == 0 {
		l.first = n
	}
	switch {
	case n < l.first:
		if l.first-n+int64(len(l.days)) > maxDays {
			return nil
		}
		l.days = append(make([]*day, l.first-n), l.days...)
		l.first = n
	case n-l.first >= maxDays:
		return nil
	case n-l.first >= int64(len(l.days)):
		l.days = append(l.days, make([]*day, n-l.first-int64(len(l.days))+1)...)
	}
	d := &l.days[n-l.first]
	if *d == nil {
		*d = &day{}
	}
	return *d
}

// look returns a day, or nil.
func (l *Ledger) look(n int64) *day {
	if i := n - l.first; i >= 0 && i < int64(len(l.days)) {
		return l.days[i]
	}
	return nil
}

// Put takes a bucket over. What is known is not replaced by what is not, and the fine buckets of an hour that is coarse by
// now come too late. It reports whether anything changed.
func (l *Ledger) Put(b Bucket) bool {
	b = b.checked()
	hour := hourOf(b.Start)
	d := l.day(floorDiv(hour, 24))
	if d == nil {
		return false
	}
	h := int(hour - floorDiv(hour, 24)*24)
	changed := false
	switch f := d.fineOf(h); {
	case b.Width == Coarse:
		changed = d.putCoarse(h, b)
	case f == nil && d.coarse(h):
		return false
	default:
		if f == nil {
			f = d.makeFine(h)
		}
		changed = f.put(int(b.Start.Sub(hourTime(hour))/Fine), b)
		d.sumFine(h)
	}
	if changed {
		d.addUp()
		l.touch(hour)
	}
	return changed
}

// coarse reports whether an hour that is not in buckets is known, or known to be nothing, as a whole. One that nobody could answer
// is not: should the clock have been set back over it, it may be read in buckets.
func (d *day) coarse(h int) bool { return d.known[h] > 0 || !d.rest[h].again() }

func (d *day) fineOf(h int) *fine {
	if d.fine == nil {
		return nil
	}
	return d.fine[h]
}

func (d *day) makeFine(h int) *fine {
	if d.fine == nil {
		d.fine = new([24]*fine)
	}
	d.fine[h] = &fine{}
	return d.fine[h]
}

func (f *fine) put(i int, b Bucket) bool {
	s := stateOf(b.Why)
	if s != known && f.state[i] == known || f.state[i] == s && f.errors[i] == b.Errors && f.total[i] == b.Total {
		return false
	}
	f.state[i], f.errors[i], f.total[i] = s, b.Errors, b.Total
	return true
}

// putCoarse replaces an hour as a whole. An hour of which a part is known is replaced by one that is known entirely only.
func (d *day) putCoarse(h int, b Bucket) bool {
	s := stateOf(b.Why)
	if s != known {
		if d.rest[h] == known || d.rest[h] == s { // nothing is learned
			return false
		}
		d.rest[h] = s
		return true
	}
	if f := d.fineOf(h); f != nil && d.rest[h] == known {
		return false // its parts say more
	}
	if d.rest[h] == known && d.errors[h] == b.Errors && d.total[h] == b.Total {
		return false
	}
	d.errors[h], d.total[h], d.known[h], d.rest[h] = b.Errors, b.Total, uint8(perHour), known
	if d.fine != nil {
		d.fine[h] = nil
	}
	return true
}

// sumFine makes an hour of its fine buckets.
func (d *day) sumFine(h int) {
	f := d.fine[h]
	d.errors[h], d.total[h], d.known[h], d.rest[h] = 0, 0, 0, known
	for i, s := range f.state {
		if s == known {
			d.errors[h] += f.errors[i]
			d.total[h] += f.total[i]
			d.known[h]++
		} else if d.rest[h] == known || s.again() {
			d.rest[h] = s // one that is worth another question says more than one that is not
		}
	}
}

func (d *day) hour(h int) tally {
	return tally{d.errors[h], d.total[h], float64(d.known[h]) * Fine.Seconds()}
}

// addUp makes a day's sum of its hours. To add them again costs little and never drifts.
func (d *day) addUp() {
	d.sum = tally{}
	for h := range d.errors {
		d.sum.add(d.hour(h), 1)
	}
}

func (l *Ledger) touch(hour int64) {
	if l.dirty == nil {
		l.dirty = map[int64]bool{}
	}
	l.dirty[hour] = true
}

// settle notes that nothing more is expected of an hour, if all of it was asked for.
func (l *Ledger) settle(hour int64) {
	if d := l.look(floorDiv(hour, 24)); d != nil {
		if h := hour - floorDiv(hour, 24)*24; !d.settled[h] {
			d.settled[h] = true
			l.touch(hour)
		}
	}
}

// Compact makes hours of the fine buckets that are older than FineFor, at full hours. To do it again changes nothing.
func (l *Ledger) Compact(now time.Time) {
	before := hourOf(now.Add(-FineFor))
	for i, d := range l.days {
		if d == nil || d.fine == nil {
			continue
		}
		left := false
		for h := range d.fine {
			if d.fine[h] == nil {
				continue
			}
			hour := (l.first+int64(i))*24 + int64(h)
			if hour >= before {
				left = true
				continue
			}
			d.fine[h] = nil // its sums stay
			l.touch(hour)
		}
		if !left {
			d.fine = nil
		}
	}
}

// Cut forgets the days that end before an instant.
func (l *Ledger) Cut(before time.Time) {
	n := min(max(0, dayOf(before)-l.first), int64(len(l.days)))
	for hour := range l.dirty {
		if hour < (l.first+n)*24 {
			delete(l.dirty, hour)
		}
	}
	l.days = append([]*day(nil), l.days[n:]...)
	l.first += n
}

// Sum is what was measured in a span.
type Sum struct {
	Errors, Total float64
	Known         time.Duration // of the span
}

// Sum adds up what is known of a span.
func (l *Ledger) Sum(from, to time.Time) Sum {
	t := l.sum(from, to)
	return Sum{t.errors, t.total, time.Duration(t.known * float64(time.Second))}
}

// sum walks a span: whole days, whole hours, and what is left of buckets at both ends.
func (l *Ledger) sum(from, to time.Time) (t tally) {
	if len(l.days) == 0 {
		return tally{}
	}
	first := time.Unix(l.first*86400, 0)
	if from.Before(first) {
		from = first
	}
	if end := first.Add(time.Duration(len(l.days)) * oneDay); to.After(end) {
		to = end
	}
	// In nanoseconds since the first day, which cannot overflow: there are at most maxDays.
	const hourNS, dayNS = int64(Coarse), int64(oneDay)
	at, end := int64(from.Sub(first)), int64(to.Sub(first))
	for at < end {
		d := l.days[at/dayNS]
		next := (at/dayNS + 1) * dayNS
		switch {
		case d == nil:
		case at%dayNS == 0 && next <= end:
			t.add(d.sum, 1)
		default:
			next = (at/hourNS + 1) * hourNS
			h := int(at % dayNS / hourNS)
			if at%hourNS == 0 && next <= end {
				t.add(d.hour(h), 1)
			} else {
				d.part(&t, h, at%hourNS, min(next, end)-at/hourNS*hourNS)
			}
		}
		at = next
	}
	return t
}

// part adds the part of an hour that lies between two offsets from its beginning.
func (d *day) part(t *tally, h int, from, to int64) {
	f := d.fineOf(h)
	if f == nil {
		t.add(d.hour(h), float64(to-from)/float64(Coarse))
		return
	}
	for i := int(from / int64(Fine)); i < perHour && int64(i)*int64(Fine) < to; i++ {
		if f.state[i] != known {
			continue
		}
		begin, end := max(from, int64(i)*int64(Fine)), min(to, int64(i+1)*int64(Fine))
		t.add(tally{f.errors[i], f.total[i], Fine.Seconds()}, float64(end-begin)/float64(Fine))
	}
}

// why is the commonest reason for which time of a span is unknown; absent when nobody asked yet.
func (l *Ledger) why(from, to time.Time) (engine.Why, bool) {
	var count [len(whys)]int
	for hour := hourOf(from); hour <= hourOf(to.Add(-1)); hour++ {
		d := l.look(floorDiv(hour, 24))
		if d == nil {
			count[unasked] += perHour
			continue
		}
		h := hour - floorDiv(hour, 24)*24
		count[d.rest[h]] += perHour - int(d.known[h])
	}
	best := unasked
	for s, n := range count {
		if state(s) != known && n > count[best] {
			best = state(s)
		}
	}
	if count[best] == 0 {
		return "", false
	}
	return whys[best], true
}
