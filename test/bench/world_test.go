package bench

import (
	"fmt"
	"math"
	"time"
)

// step is the time between two scrapes of an instance.
const step = 30 * time.Second

// world is what the services do that are measured: pure arithmetic, so that a sample can be computed on its own, written into a
// block or pushed, and is the same at each run.
type world struct {
	services []*service
	begin    time.Time // of the oldest samples
	end      time.Time // of those in blocks
}

// service has three instances with a counter for each of five codes.
type service struct {
	name   string
	kind   string // what it is like, for a person who reads of a difference
	series []*series
}

// series is the counter of one instance and code.
type series struct {
	job, instance, code string
	offset              time.Duration // of the instance's scrapes
	seed                uint64
	noise               float64 // events by which a value may be early, less than any piece's rate so that no counter falls
	pieces              []piece
	resets              []int64 // steps at which it begins at 0 again, ascending
	gaps                [][2]int64
}

// piece is a stretch of time with one rate, from a step on.
type piece struct {
	from int64
	base float64 // events before it
	rate float64 // per step
}

// phase is a stretch of a service's life: from that long before the end on, this share of its requests fail. A negative time
// lies after the end.
type phase struct {
	before time.Duration
	errors float64
}

// A healthy service spends between a tenth and three tenths of its budget; for each fifty there is one of these instead. None
// of them burns.
var oddities = []struct {
	kind   string
	phases []phase
}{
	{"restarts", nil},
	{"one instance vanishes", nil},
	{"nothing is scraped for a while", nil},
	{"nearly spends its budget", []phase{{forever, 0.00095}}},
	{"failed for ten minutes", []phase{{forever, 0.0002}, {50 * time.Minute, 0.02}, {40 * time.Minute, 0.0002}}},
	{"fails for the first minutes", []phase{{forever, 0.0002}, {11 * time.Minute, 0.02}}},
}

// The services that burn are of these kinds in turn. Together they make each of the four pairs of windows fire, alone and with
// others, begin and end within the last minutes, and come close to its factor from both sides.
var burning = []struct {
	kind   string
	phases []phase
}{
	{"fails hard", []phase{{forever, 0.0002}, {50 * time.Minute, 0.1}}},
	{"begins to fail", []phase{{forever, 0.0002}, {7 * time.Minute, 1}}},
	{"fails for a day and a half", []phase{{forever, 0.0002}, {36 * time.Hour, 0.004}}},
	{"fails slowly", []phase{{forever, 0.0002}, {96 * time.Hour, 0.0015}}},
	{"recovers", []phase{{forever, 0.0002}, {65 * time.Minute, 0.025}, {8 * time.Minute, 0.0002}}},
	{"fails for two days", []phase{{forever, 0.0001}, {48 * time.Hour, 0.008}}},
	{"just above 14.4", []phase{{forever, 0.0002}, {2 * time.Hour, 0.0145}}},
	{"just below 14.4", []phase{{forever, 0.0002}, {2 * time.Hour, 0.0143}}},
	{"just above 6", []phase{{forever, 0.0002}, {12 * time.Hour, 0.0061}}},
	{"just below 6", []phase{{forever, 0.0002}, {12 * time.Hour, 0.0059}}},
	{"just above 3", []phase{{forever, 0.0002}, {48 * time.Hour, 0.0031}}},
	{"just below 3", []phase{{forever, 0.0002}, {48 * time.Hour, 0.0029}}},
	{"just above 1", []phase{{forever, 0.0002}, {96 * time.Hour, 0.00102}}},
	{"just below 1", []phase{{forever, 0.0002}, {96 * time.Hour, 0.00098}}},
	{"fails hard and restarts", []phase{{forever, 0.0003}, {55 * time.Minute, 0.1}}},
	{"fails slowly with a gap", []phase{{forever, 0.0002}, {80 * time.Hour, 0.002}}},
	{"failed wholly, and recovered", []phase{{forever, 0.0002}, {30 * time.Minute, 1}, {20 * time.Minute, 0.0002}}},
	{"begins to fail a little", []phase{{forever, 0.0002}, {9 * time.Minute, 0.15}}},
	{"fails by turns", []phase{{forever, 0.0002}, {3 * time.Hour, 0.03}, {100 * time.Minute, 0}, {70 * time.Minute, 0.03}, {2 * time.Minute, 0}}},
	{"passes 1 at the end", []phase{{forever, 0.0002}, {72 * time.Hour, 0.00098}, {12 * time.Minute, 0.05}}},
}

const forever = 1000 * time.Hour

// failsLater is a healthy service that may be made to fail after the world's end.
const failsLater = "fails later"

var codes = []struct {
	code  string
	share float64 // of the requests that do not fail
}{{"200", 0.8}, {"204", 0.08}, {"302", 0.07}, {"404", 0.05}, {"500", 0}}

// newWorld makes so many services, of which some burn, with samples of the time before end.
func newWorld(services, burn int, length time.Duration, end time.Time) *world {
	w := &world{begin: end.Add(-length), end: end}
	burns := map[int]int{} // index of a service to which of those that burn it is
	for n := range burn {
		burns[n*services/burn] = n
	}
	for i := range services {
		s := &service{name: fmt.Sprintf("service-%04d", i), kind: "healthy"}
		phases := []phase{{forever, 0.0001 + 0.0002*random(uint64(i), 1)}}
		if o := i%50 - 25; o >= 0 && o%2 == 0 && o/2 < len(oddities) {
			s.kind = oddities[o/2].kind
			if oddities[o/2].phases != nil {
				phases = oddities[o/2].phases
			}
		}
		if i%50 == 40 {
			s.kind = failsLater
		}
		if n, ok := burns[i]; ok {
			s.kind, phases = burning[n%len(burning)].kind, burning[n%len(burning)].phases
		}
		w.add(s, i, phases)
		w.services = append(w.services, s)
	}
	return w
}

// add gives a service its series.
func (w *world) add(s *service, i int, phases []phase) {
	perStep := (5 + 45*random(uint64(i), 2)) * step.Seconds()
	for n := range 3 {
		offset := time.Duration(random(uint64(i), 3, uint64(n))*float64(step/time.Millisecond)) * time.Millisecond
		for c := range codes {
			x := &series{job: s.name, instance: fmt.Sprintf("10.%d.%d.%d:8080", i/250, i%250, n+1), code: codes[c].code, offset: offset,
				seed: uint64(i)<<16 | uint64(n)<<8 | uint64(c)}
			for _, p := range phases {
				rate := perStep * codes[c].share * (1 - p.errors)
				if codes[c].code == "500" {
					rate = perStep * p.errors
				}
				x.turn(w.step(-p.before), rate)
			}
			x.noise = math.Inf(1)
			for _, p := range x.pieces {
				x.noise = min(x.noise, 0.9*p.rate)
			}
			switch s.kind {
			case failsLater:
				x.noise = 0
			case "restarts", "fails hard and restarts":
				for _, before := range []time.Duration{70 * time.Hour, 20 * time.Hour, 5 * time.Hour, 47 * time.Minute, 21 * time.Minute, 9 * time.Minute} {
					x.resets = append(x.resets, w.step(-before-time.Duration(n)*time.Minute))
				}
			case "one instance vanishes", "fails slowly with a gap":
				if n == 1 {
					x.gaps = append(x.gaps, [2]int64{w.step(-14 * time.Minute), w.step(-4 * time.Minute)})
				}
			case "nothing is scraped for a while":
				x.gaps = append(x.gaps, [2]int64{w.step(-4 * time.Hour), w.step(-220 * time.Minute)})
			}
			s.series = append(s.series, x)
		}
	}
}

// fail makes a service of the kind failsLater fail wholly from an instant on that lies after all samples written so far.
func (w *world) fail(s *service, at time.Time) {
	all := map[string]float64{} // requests per step by instance
	for _, x := range s.series {
		all[x.instance] += x.pieces[len(x.pieces)-1].rate
	}
	for _, x := range s.series {
		rate := 0.0
		if x.code == "500" {
			rate = all[x.instance]
		}
		x.turn(w.step(at.Sub(w.end)), rate)
	}
}

// step is the number of the step at a time after the end.
func (w *world) step(after time.Duration) int64 {
	return int64((w.end.Sub(w.begin) + after) / step)
}

// turn gives the series another rate from a step on; before the first step is all the time.
func (x *series) turn(from int64, rate float64) {
	if from = max(from, 0); len(x.pieces) > 0 {
		last := x.pieces[len(x.pieces)-1]
		x.pieces = append(x.pieces, piece{from, last.base + last.rate*float64(from-last.from), rate})
		return
	}
	x.pieces = append(x.pieces, piece{0, 0, rate})
}

// at is the sample of a step; false when there is none.
func (x *series) at(w *world, k int64) (ms int64, v float64, ok bool) {
	for _, g := range x.gaps {
		if k >= g[0] && k < g[1] {
			return 0, 0, false
		}
	}
	v = x.count(k)
	for i := len(x.resets) - 1; i >= 0; i-- {
		if k >= x.resets[i] {
			v -= x.count(x.resets[i])
			break
		}
	}
	return w.begin.UnixMilli() + k*step.Milliseconds() + x.offset.Milliseconds(), v, true
}

// count is how many events there were up to a step.
func (x *series) count(k int64) float64 {
	i := len(x.pieces) - 1
	for x.pieces[i].from > k {
		i--
	}
	p := &x.pieces[i]
	return math.Floor(p.base + p.rate*float64(k-p.from) + x.noise*random(x.seed, uint64(k)))
}

// random is a number in [0, 1) that depends on nothing but its arguments (splitmix64).
func random(of ...uint64) float64 {
	var h uint64
	for _, n := range of {
		h += n + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return float64(h>>11) / (1 << 53)
}
