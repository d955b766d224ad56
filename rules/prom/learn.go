package prom

import (
	"time"
)

// learn takes note of how a request went. If it is to be sent again in parts it returns them.
func (u *fusion) learn(f *fetcher, sent *fetch, a answer) []fetch {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := f.now
	if w := sent.of; w != nil {
		w.open--
		if a.remedy == apart {
			w.offenders++
		}
		if w.open == 0 && w.offenders == 0 {
			u.shrink(w.course, w.values/2, now) // all of its parts are well: it was too much at once
		}
	}
	course, n := course{sent.lane(), sent.shape}, len(sent.values)
	switch {
	case a.remedy == apart && sent.shape == nil:
		u.alone[offender{sent.text, sent.lane()}] = now
	case a.remedy == apart:
		parts := sent.cut((n + 1) / 2)
		if f.again+len(parts) > maxAgain {
			u.shrink(course, n/2, now) // goes on from here at the next tick
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
		u.shrink(course, max(n/2, min(n, leastValues)), now)
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

// shrink makes the next requests of a course smaller. The caller holds mu.
func (u *fusion) shrink(c course, values int, now time.Time) {
	u.sizes[c] = size{max(1, values), now}
}
