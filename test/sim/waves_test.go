package sim

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// wave is a condition that is true and false by turns, as long each time.
type wave struct {
	from   time.Time
	period time.Duration // ≥ the interval
	on     time.Duration // of it, the first part
	first  bool          // the truth in that part
}

// at is the truth at an instant.
func (v wave) at(now time.Time) bool {
	return now.Sub(v.from)%v.period < v.on == v.first
}

// storm is everything red at once: because a Prometheus lies, or because what all rest on is gone.
type storm struct {
	from, until time.Time
	lie         bool
}

// strikes is the truth of a condition in the storm; empty when it leaves it alone. A lie strikes all at one instant. A true outage reaches
// some later than others and some not at all.
func (w *world) strikes(scope engine.Scope, c *engine.Condition, now time.Time) string {
	s := w.storm
	if c.Scheduled || !now.Before(s.until) {
		return ""
	}
	if !s.lie {
		if w.dice(4, "spared %s %v", scope, s.from) == 0 || now.Sub(s.from) < time.Duration(w.dice(int(40*time.Second), "reached %s %v", scope, s.from)) {
			return ""
		}
	}
	switch {
	case enters(c.Name):
		return "true"
	case exits(c.Name):
		return "false"
	}
	return ""
}

// enters reports whether a condition, by its name, is one that gives protection, and exits whether it is one that takes it away.
func enters(name string) bool {
	switch name {
	case "burns", "shed.when", "lock.when", "fail-over.when":
		return true
	}
	return false
}

func exits(name string) bool {
	switch name {
	case "recover.when", "unlock.when", "fall-back.when":
		return true
	}
	return false
}

// truth is how a condition stands now. The caller holds w.mu.
func (w *world) truth(scope engine.Scope, c *engine.Condition) string {
	now := time.Now()
	if struck := w.strikes(scope, c, now); struck != "" {
		return struck
	}
	if v, waves := w.waves[scope][c.Name]; waves {
		if v.at(now) {
			return "true"
		}
		return "false"
	}
	return w.truths[scope][c.Name]
}

// swing makes a condition a square wave that begins as "name=truth" says, for n per cent of each period.
func (w *world) swing(scope engine.Scope, what string, period time.Duration, n int) {
	name, truth, _ := strings.Cut(what, "=")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waves[scope][name] = wave{time.Now(), period, period * time.Duration(n) / 100, truth == "true"}
}

// drawWeather draws how the conditions of a scope stand from when on. In one scope of three what leads in and what leads out swing against
// each other for a while, at any period an evaluation can see; schedules always do.
func drawWeather(r *rand.Rand, p engine.Policy, length time.Duration, add func(thing)) {
	from, until, period := length, length, time.Duration(0)
	if r.IntN(3) == 0 {
		from = time.Duration(r.Int64N(int64(length)))
		until = min(length, from+5*time.Minute+time.Duration(r.Int64N(int64(50*time.Minute))))
		period = pick(r, interval, 2*interval, 3*interval, interval+time.Duration(r.Int64N(int64(time.Minute))),
			interval+time.Duration(r.Int64N(int64(5*time.Minute))), interval+time.Duration(r.Int64N(int64(30*time.Minute))))
	}
	duty := pick(r, 10, 50, 50, 90)
	window, open := pick(r, 10*time.Minute, 25*time.Minute, 40*time.Minute), pick(r, 20, 50)
	for _, c := range p.Conditions {
		if c.Scheduled {
			first := "true"
			if strings.HasSuffix(c.Name, ".until") {
				first = "false"
			}
			add(thing{kind: "wave", scope: p.Scope, what: c.Name + "=" + first, span: window, n: open})
			continue
		}
		swings := from < until && (enters(c.Name) || exits(c.Name))
		drawTruths(r, p.Scope, c.Name, length, func(t thing) {
			if !swings || t.at < from || t.at >= until {
				add(t)
			}
		})
		if !swings {
			continue
		}
		first := "true"
		if exits(c.Name) {
			first = "false"
		}
		add(thing{at: from, kind: "wave", scope: p.Scope, what: c.Name + "=" + first, span: period, n: duty})
		add(thing{at: until, kind: "truth", scope: p.Scope, what: c.Name + "=false"})
	}
}
