package engine_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

// oracle decides naively when a transition starts and when a mode lasts too long: it keeps every evaluation since the target
// was entered and sums anew each time, straight from the sentences of the design.
type oracle struct {
	p       engine.Policy
	target  engine.Mode
	entered time.Time
	seen    []evaluation // since the target was entered
	lost    []lostSpan
	tooLong bool // people were told, and are until the mode is left
}

type evaluation struct {
	instant time.Time
	truths  []engine.Truth
}

type lostSpan struct{ from, to time.Time }

// held is the sum of a `for`: the spans between consecutive true evaluations no more than two intervals apart; a false
// resets it, and so does a gap longer than blind_after.
func (o *oracle) held(condition int) time.Duration {
	var sum time.Duration
	var last time.Time
	for _, e := range o.seen {
		switch e.truths[condition] {
		case engine.False:
			sum, last = 0, time.Time{}
		case engine.True:
			if !last.IsZero() {
				switch span := e.instant.Sub(last); {
				case span <= 2*o.p.Interval:
					sum += span
				case span > o.p.BlindAfter:
					sum = 0
				}
			}
			last = e.instant
		}
	}
	return sum
}

// dwell is the time since the target was entered, without what nobody evaluated.
func (o *oracle) dwell(at time.Time) time.Duration {
	d := at.Sub(o.entered)
	for _, l := range o.lost {
		if l.from.Before(o.entered) {
			l.from = o.entered
		}
		if l.to.After(l.from) {
			d -= l.to.Sub(l.from)
		}
	}
	return max(0, d)
}

func (o *oracle) mode(m engine.Mode) int {
	return slices.IndexFunc(o.p.Modes, func(r engine.ModeRule) bool { return r.Name == m })
}

// observe returns the name of the transition that starts, or "", and whether the present mode lasts too long afterwards.
func (o *oracle) observe(at time.Time, frozen string, in *engine.Observed) (string, bool) {
	if in.Instant.Sub(in.Prev) > 2*o.p.Interval {
		o.lost = append(o.lost, lostSpan{in.Prev, in.Instant})
	}
	e := evaluation{instant: in.Instant}
	for _, c := range in.Conditions {
		e.truths = append(e.truths, c.Truth)
	}
	o.seen = append(o.seen, e)
	here := o.p.Modes[o.mode(o.target)]
	best := -1
	for i, t := range o.p.Transitions {
		there := o.p.Modes[o.mode(t.To)]
		safer := !here.Beside && !there.Beside && o.mode(t.To) > o.mode(o.target)
		switch {
		case !slices.Contains(t.From, o.target), e.truths[t.When] != engine.True, t.For > 0 && o.held(t.When) < t.For,
			frozen != "", !safer && o.dwell(at) < here.MinDuration:
			continue
		}
		rank := func(m engine.ModeRule) int {
			if m.Beside {
				return -1
			}
			return o.mode(m.Name)
		}
		if best < 0 || rank(there) > rank(o.p.Modes[o.mode(o.p.Transitions[best].To)]) {
			best = i
		}
	}
	started := ""
	if best >= 0 {
		started = o.p.Transitions[best].Name
		o.target, o.entered, o.seen, o.lost, o.tooLong = o.p.Transitions[best].To, at, nil, nil, false
		here = o.p.Modes[o.mode(o.target)]
	}
	o.tooLong = o.tooLong || here.MaxDuration > 0 && o.dwell(at) >= here.MaxDuration
	return started, o.tooLong
}

func TestTransitionsStartWhenTheNaiveSumSaysSo(t *testing.T) {
	started := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		modes := drawModes(t)
		for len(modes) < 2 {
			modes = append(modes, engine.ModeRule{Name: engine.Mode([]string{"one", "two"}[len(modes)])})
		}
		p := drawPolicy(t, modes)
		p.Automation, p.Flap = "", engine.Flap{} // what is not started for those is the laws' matter too
		for i := range p.Transitions {           // what a change does and who says yes to it is the laws' matter
			tr := &p.Transitions[i]
			tr.Gate, tr.Playbook, tr.Until, tr.UndoEntry = nil, engine.Playbook{}, 0, false
		}
		var live engine.State
		for _, e := range engine.Decide(p, live, engine.Input{At: start, Term: 1, What: &engine.TimePassed{}}) {
			live = engine.Apply(live, e)
		}
		o := &oracle{p: p, target: p.Modes[0].Name, entered: start}
		prev := start
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			in := drawObserved(t, p, prev)
			if in.Instant.Before(prev) {
				in.Instant = prev // what a clock that was set back means is the transcripts' matter
			}
			at := in.Instant.Add(rapid.SampledFrom([]time.Duration{0, 0, time.Second, 20 * time.Second}).Draw(t, "delay"))
			if at.Before(live.At) {
				at = live.At
			}
			frozen := drawFrozen(t)
			want, tooLong := o.observe(at, frozen, in)
			got := ""
			for _, e := range engine.Decide(p, live, engine.Input{At: at, Term: 1, Frozen: frozen, What: in}) {
				if c, ok := e.Fact.(engine.ChangeStarted); ok {
					got = c.Transition
				}
				live = engine.Apply(live, e)
			}
			if got != want {
				t.Fatalf("at %v: %q starts, the naive sum says %q", at.Sub(start), got, want)
			}
			if _, open := live.Incident(engine.IncidentTooLong, string(live.Target)); open != tooLong {
				t.Fatalf("at %v: the mode %s lasts too long: %v, naively %v", at.Sub(start), live.Target, open, tooLong)
			}
			started[got != ""]++
			prev = in.Instant
		}
	})
	if started[true] == 0 || started[false] == 0 {
		t.Errorf("the histories did not reach both answers: %v", started)
	}
}
