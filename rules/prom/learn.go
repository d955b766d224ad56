package prom

import (
	"time"
)

// learn takes note of how a request went. If it is to be sent again in parts it returns them.
func (u *fusion) learn(f *fetcher, sent *fetch, a answer) []fetch {
	if sent.passing {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := f.now
	if w := sent.of; w != nil {
		w.open--
		if a.remedy == apart {
			w.offenders++
		}
		if w.open == 0 && w.offenders == 0 {
			u.sizes[w.course] = size{values: max(1, w.values/2), since: now} // its parts are well: it was too much at once
		}
	}
	course, n := sent.course(), len(sent.values)
	if a.samples > 0 {
		u.read[course] = float64(a.samples) / float64(max(1, sent.queries()))
	}
	switch {
	case a.remedy == apart && sent.shape == nil:
		u.alone[offender{sent.text, sent.lane()}] = now
	case a.remedy == apart:
		parts := sent.cut((n + 1) / 2)
		if f.again+len(parts) > maxAgain {
			u.sizes[course] = size{values: max(1, n/2), search: true} // the next tick goes on from here
			return nil
		}
		f.again += len(parts)
		w := &split{course: course, values: n, open: len(parts)}
		for i := range parts {
			parts[i].of = w
		}
		f.metrics.halved(f.sources[sent.source].Name)
		return parts
	case a.remedy == smaller && sent.shape != nil:
		u.sizes[course] = size{values: max(n/2, min(n, leastValues)), since: now}
	}
	return nil
}

// isAlone reports whether q made a request for many fail not long ago. The caller holds mu.
func (u *fusion) isAlone(q query, now time.Time) bool {
	k := offender{q.text, q.lane()}
	since, ok := u.alone[k]
	if !ok {
		return false
	}
	if age := now.Sub(since); age < 0 || age >= aloneFor {
		delete(u.alone, k)
		return false
	}
	return true
}

// bound is how many values of a course one request may ask for by what earlier ones have shown. The caller holds mu.
func (u *fusion) bound(c course, now time.Time) int {
	s, ok := u.sizes[c]
	switch {
	case !ok:
		return maxValues
	case s.search && s.tried: // a tick was well: whose fault it was is known
		delete(u.sizes, c)
		return maxValues
	case s.search:
		s.tried = true
		u.sizes[c] = s
		return s.values
	}
	for range min(10, max(0, int(now.Sub(s.since)/growAfter))) {
		s.values *= 2
	}
	if s.values >= maxValues {
		delete(u.sizes, c)
	}
	return s.values
}
