package ledger

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Page is an hour of a ledger in the form in which it is stored.
type Page struct {
	Hour time.Time // full, UTC
	Body []byte
}

// The first byte of a page.
const (
	pageCoarse  = 1 << 0 // one bucket, not twelve
	pageSettled = 1 << 1
	pageVersion = 1 << 4
	versionMask = 0xf0
)

// A bucket in a page is its state, and what follows from that: errors and total of one that is known; only the total where
// there were no errors, which is what nearly all are.
const clean state = 0x80

func appendBucket(b []byte, s state, errors, total float64) []byte {
	switch {
	case s != known:
		return append(b, byte(s))
	case errors == 0:
		return binary.LittleEndian.AppendUint64(append(b, byte(clean)), math.Float64bits(total))
	default:
		b = binary.LittleEndian.AppendUint64(append(b, byte(known)), math.Float64bits(errors))
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(total))
	}
}

func readBucket(b []byte) (s state, errors, total float64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, 0, nil, fmt.Errorf("it ends too soon")
	}
	s, b = state(b[0]), b[1:]
	number := func() (f float64) {
		if len(b) < 8 {
			err = fmt.Errorf("it ends too soon")
			return 0
		}
		f = math.Float64frombits(binary.LittleEndian.Uint64(b))
		b = b[8:]
		if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			err = fmt.Errorf("it holds the number %v", f)
		}
		return f
	}
	switch {
	case s == clean:
		s, total = known, number()
	case s == known:
		errors, total = number(), number()
	case int(s) >= len(whys):
		err = fmt.Errorf("it holds a bucket of an unknown kind %d", s)
	}
	return s, errors, total, b, err
}

// page writes an hour.
func (d *day) page(h int) []byte {
	head := byte(pageVersion)
	if d.settled[h] {
		head |= pageSettled
	}
	f := d.fineOf(h)
	if f == nil {
		b := append(make([]byte, 0, 20), head|pageCoarse, d.known[h], byte(d.rest[h]))
		return appendBucket(b, known, d.errors[h], d.total[h])
	}
	b := append(make([]byte, 0, 1+17*perHour), head)
	for i := range f.state {
		b = appendBucket(b, f.state[i], f.errors[i], f.total[i])
	}
	return b
}

// Restore takes a stored page over. A page that cannot be read is left out: its hour is asked for again.
func (l *Ledger) Restore(p Page) error {
	hour := hourOf(p.Hour)
	fail := func(err error) error {
		return fmt.Errorf("the page of %s: %w", hourTime(hour).Format(time.RFC3339), err)
	}
	b := p.Body
	if len(b) == 0 || b[0]&versionMask != pageVersion {
		return fail(fmt.Errorf("it is of another version"))
	}
	head := b[0]
	b = b[1:]
	var one day
	if head&pageCoarse != 0 {
		if len(b) < 2 || int(b[0]) > perHour || int(b[1]) >= len(whys) {
			return fail(fmt.Errorf("it is damaged"))
		}
		one.known[0], one.rest[0] = b[0], state(b[1])
		var err error
		if _, one.errors[0], one.total[0], b, err = readBucket(b[2:]); err != nil {
			return fail(err)
		}
	} else {
		f := one.makeFine(0)
		for i := range f.state {
			var err error
			if f.state[i], f.errors[i], f.total[i], b, err = readBucket(b); err != nil {
				return fail(err)
			}
		}
		one.sumFine(0)
	}
	if len(b) > 0 {
		return fail(fmt.Errorf("it is too long"))
	}
	d := l.day(floorDiv(hour, 24))
	if d == nil {
		return fail(fmt.Errorf("it is too far from the others"))
	}
	h := int(hour - floorDiv(hour, 24)*24)
	d.errors[h], d.total[h], d.known[h], d.rest[h], d.settled[h] = one.errors[0], one.total[0], one.known[0], one.rest[0], head&pageSettled != 0
	if f := one.fineOf(0); f != nil {
		*d.makeFine(h) = *f
	} else if d.fine != nil {
		d.fine[h] = nil
	}
	d.addUp()
	return nil
}

// pages writes the hours that changed since they were last written, at most limit, in order of time; 0: all.
func (l *Ledger) pages(limit int) (pages []Page) {
	for i, d := range l.days {
		if d == nil {
			continue
		}
		for h := range 24 {
			hour := (l.first+int64(i))*24 + int64(h)
			if l.dirty[hour] {
				pages = append(pages, Page{hourTime(hour), d.page(h)})
				if len(pages) == limit {
					return pages
				}
			}
		}
	}
	return pages
}

// written notes that pages are stored.
func (l *Ledger) written(pages []Page) {
	for _, p := range pages {
		delete(l.dirty, hourOf(p.Hour))
	}
}
