package ledger

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// How history is asked for.
const (
	// Late is how long after its end an hour is read once more: by then what came late has come.
	Late = time.Hour

	// A question covers at most a day at five minutes or five days at an hour: 288 and 120 points, of the 11,000 that a
	// Prometheus gives in one answer, and no more samples than a query over a day or over five days reads.
	finePiece   = oneDay
	coarsePiece = 5 * oneDay

	// A question that failed is asked again after retryFirst, then after twice as long, up to retryMost: retries times, which
	// takes about a day. Then it is left until the next start. The one for the newest buckets is never given up, and asked
	// again with each bucket at the latest; once it is answered after it had failed, the source is back, and all that
	// failed meanwhile is asked at once.
	retryFirst = time.Minute
	retryMost  = time.Hour
	retries    = 30
)

// piece names one question of a plan: a day, or five.
type piece struct {
	begin int64 // Unix seconds
	width time.Duration
}

// trouble is a question that failed.
type trouble struct {
	tries int
	wait  time.Duration
	next  time.Time
}

// waits reports whether it is too early to ask again. A clock that was set back puts nothing off.
func (t trouble) waits(now time.Time) bool { return now.Before(t.next) && t.next.Sub(now) <= t.wait }

// wish is what should be asked next: the buckets of a width that begin in a span.
type wish struct {
	from, to time.Time
	width    time.Duration
}

// plan says what of a ledger should be asked at an instant, the newest first, so that what decides today is known before
// what is long past: the last three days finely, everything before that, back to reach, in hours. One wish covers all holes
// of a piece of time. missing counts the buckets that were never asked, all those that were, as twelfths of hours.
func (l *Ledger) plan(now time.Time, reach time.Duration, troubles map[piece]trouble) (next wish, ok bool, missing, all int) {
	due := Due(now)
	oldest := hourOf(due.Add(-reach))
	fineFrom := max(oldest, hourOf(now.Add(-FineFor))) // hours before are coarse
	consider := func(p piece, w wish) {
		if ok || !w.from.Before(w.to) {
			return
		}
		if t, failed := troubles[p]; failed && (t.waits(now) || t.tries >= retries && w.to.Before(due)) {
			return
		}
		next, ok = w, true
	}
	for end := due; end.After(hourTime(fineFrom)); {
		begin := end.Add(-1).Truncate(finePiece)
		from := begin
		if h := hourTime(fineFrom); from.Before(h) {
			from = h
		}
		w := wish{width: Fine}
		for hour := hourOf(from); hourTime(hour).Before(end); hour++ {
			a, b, never := l.fineHole(hour, due, now)
			missing += never
			all += perHour
			if a < b {
				if w.from.IsZero() {
					w.from = hourTime(hour).Add(time.Duration(a) * Fine)
				}
				w.to = hourTime(hour).Add(time.Duration(b) * Fine)
			}
		}
		consider(piece{begin.Unix(), Fine}, w)
		end = begin
	}
	for end := fineFrom; end > oldest; {
		begin := floorDiv(end-1, int64(coarsePiece/Coarse)) * int64(coarsePiece/Coarse)
		w := wish{width: Coarse}
		for hour := max(begin, oldest); hour < end; hour++ {
			all += perHour
			hole, never := l.coarseHole(hour)
			if never {
				missing += perHour
			}
			if hole {
				if w.from.IsZero() {
					w.from = hourTime(hour)
				}
				w.to = hourTime(hour + 1)
			}
		}
		consider(piece{begin * 3600, Coarse}, w)
		end = begin
	}
	return next, ok, missing, all
}

// pieceOf names the question that a wish is.
func pieceOf(w wish) piece {
	if w.width == Fine {
		return piece{w.to.Add(-1).Truncate(finePiece).Unix(), Fine}
	}
	return piece{floorDiv(hourOf(w.to.Add(-1)), int64(coarsePiece/Coarse)) * int64(coarsePiece.Seconds()), Coarse}
}

// fineHole is the part of an hour, in buckets from a to b, that should be asked, and how many of them never were.
func (l *Ledger) fineHole(hour int64, due, now time.Time) (a, b, never int) {
	expected := min(perHour, int(due.Sub(hourTime(hour))/Fine))
	d := l.look(floorDiv(hour, 24))
	if d == nil {
		return 0, expected, expected
	}
	h := int(hour - floorDiv(hour, 24)*24)
	f := d.fineOf(h)
	switch {
	case f == nil && d.coarse(h):
		return 0, 0, 0 // it came from a clock that was ahead
	case f == nil:
		return 0, expected, expected
	case !d.settled[h] && !now.Before(hourTime(hour+1).Add(Late+Settle)):
		a, b = 0, perHour
	default:
		a = perHour
	}
	for i := range expected {
		if f.state[i].again() {
			a, b = min(a, i), max(b, i+1)
		}
		if f.state[i] == unasked {
			never++
		}
	}
	return a, b, never
}

// coarseHole reports whether an hour should be asked as a whole, and whether it never was.
func (l *Ledger) coarseHole(hour int64) (hole, never bool) {
	d := l.look(floorDiv(hour, 24))
	if d == nil {
		return true, true
	}
	h := hour - floorDiv(hour, 24)*24
	return d.rest[h].again(), d.rest[h] == unasked && d.known[h] == 0
}

// newest reports whether a wish is for the newest buckets there are.
func newest(w wish, now time.Time) bool { return w.width == Fine && !w.to.Before(Due(now)) }

// failed notes that a question failed at an instant.
func failed(troubles map[piece]trouble, w wish, now time.Time) {
	p := pieceOf(w)
	t := troubles[p]
	t.tries++
	most := retryMost
	if newest(w, now) {
		most = Fine
	}
	t.wait = min(max(retryFirst, 2*t.wait), most)
	t.next = now.Add(t.wait)
	troubles[p] = t
}

// answered takes over what was answered to a wish at an instant.
func (l *Ledger) answered(w wish, buckets []Bucket, now time.Time) {
	for _, b := range buckets {
		if b.Width == w.width && !b.Start.Before(w.from) && b.Start.Before(w.to) {
			l.Put(b)
		}
	}
	if w.width != Fine {
		return
	}
	for hour := hourOf(w.from); !hourTime(hour + 1).After(w.to); hour++ {
		if !hourTime(hour).Before(w.from) && !now.Before(hourTime(hour+1).Add(Late)) {
			l.settle(hour)
		}
	}
}

// refused takes over why nothing was answered.
func (l *Ledger) refused(w wish, why engine.Why) {
	for at := w.from; at.Before(w.to); at = at.Add(w.width) {
		l.Put(Bucket{Start: at, Width: w.width, Why: why})
	}
}

// holes counts the buckets of a wish that should still be asked.
func (l *Ledger) holes(w wish) (n int, any bool) {
	for hour := hourOf(w.from); hourTime(hour).Before(w.to); hour++ {
		if w.width == Coarse {
			if hole, _ := l.coarseHole(hour); hole {
				n++
			}
			continue
		}
		d := l.look(floorDiv(hour, 24))
		if d == nil {
			continue
		}
		f := d.fineOf(int(hour - floorDiv(hour, 24)*24))
		if f == nil {
			continue
		}
		for i, s := range f.state {
			if at := hourTime(hour).Add(time.Duration(i) * Fine); s.again() && !at.Before(w.from) && at.Before(w.to) {
				n++
			}
		}
	}
	return n, n > 0
}
