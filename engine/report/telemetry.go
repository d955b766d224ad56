package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// telemetry answers whether what was measured bears the decision.
func (m *maker) telemetry() Answer {
	a := Answer{Question: askTelemetry}
	x, c := m.x, m.asked()
	version := m.past.events[m.chosen(x)].Version
	found := false
	for _, s := range x.Seen {
		if s.Version != version {
			continue
		}
		found = true
		unknown, oldest := []string{}, time.Duration(0)
		words := []string{}
		for _, r := range s.Readings {
			if r.Why != "" {
				unknown = append(unknown, fmt.Sprintf("%s (%s)", r.Signal, r.Why))
				continue
			}
			words = append(words, fmt.Sprintf("%s was %s", r.Signal, cmp.Or(r.Text, number(r.Value))))
			if !r.Sample.IsZero() {
				oldest = max(oldest, s.At.Sub(r.Sample))
			}
		}
		if len(words) > 0 {
			text := list(words)
			if oldest > 0 {
				text += fmt.Sprintf("; the oldest sample behind it was %s old", explain.Lasted(oldest))
			}
			a.say(Good, text, c.Event)
		}
		if len(unknown) > 0 {
			a.say(Bad, "Not known when it was decided: "+list(unknown), c.Event)
		}
	}
	if !found {
		switch {
		case byHand(x):
			a.say(Unclear, "A person chose: nothing that was measured is kept with it", c.Event)
		default:
			a.say("", "The decision needed no reading: it rests on time, a schedule or what people said", c.Event)
		}
	}
	for _, e := range m.story() {
		if f, ok := e.Fact.(engine.ApprovalGranted); ok && f.Blind {
			a.say(Bad, f.Person+" said yes to starting without sight", m.ref(e))
		}
	}
	m.blind(&a)
	unread := m.unread()
	if unread {
		a.say(Unclear, "Whether every source could be seen in all of this time was not read: the fleet has too many events")
	}
	for _, o := range m.r.Changes {
		if refs := m.kindOf(m.told[o.ID], "VerificationHeld"); len(refs) > 0 {
			a.say(Bad, fmt.Sprintf("%s could not be verified for a while", o.ID), refs...)
		}
	}
	switch {
	case byHand(x) && !found:
		a.Verdict, a.Short = CannotTell, "A person chose, and what that rested on is not in the log."
		a.Ask = "What did whoever chose it look at?"
	case a.has(Bad):
		a.Verdict, a.Short = InPart, "Some of what should have been seen was not."
	case unread:
		a.Verdict, a.Short = Yes, "Nothing that decided it was unknown. Whether all of the story was in sight was not read."
	case !found:
		a.Verdict, a.Short = Yes, "It needed no reading, and nothing was out of sight."
	default:
		a.Verdict, a.Short = Yes, "Everything that decided it was known, and nothing was out of sight in the story."
	}
	return a
}

// blind tells what could not be seen in the story, and when nobody evaluated.
func (m *maker) blind(a *Answer) {
	until := cmp.Or(m.r.Ended, m.r.Made)
	lost := map[string]engine.Event{}
	var order []string
	name := func(e engine.Event, subject string) string { return string(e.Stream) + " " + subject }
	told := append(m.fleet(), m.story()...)
	slices.SortStableFunc(told, func(a, b engine.Event) int { return a.At.Compare(b.At) })
	end := func(key string, at time.Time, by ...Ref) {
		e := lost[key]
		f := e.Fact.(engine.SightLost)
		what := f.Subject
		if e.Stream == engine.Fleet {
			what = "The source " + f.Subject
		}
		from := f.Since
		if from.Before(m.r.Began) {
			from = m.r.Began
		}
		a.say(Bad, fmt.Sprintf("%s could not be seen for %s of it: %s", what, between(from, at), explain.Why(e.Reason)), append([]Ref{m.ref(e)}, by...)...)
		delete(lost, key)
		order = slices.DeleteFunc(order, func(o string) bool { return o == key })
	}
	for _, e := range told {
		switch f := e.Fact.(type) {
		case engine.SightLost:
			key := name(e, f.Subject)
			if _, is := lost[key]; !is {
				lost[key], order = e, append(order, key)
			}
		case engine.SightRegained:
			if key := name(e, f.Subject); slices.Contains(order, key) {
				end(key, e.At, m.ref(e))
			}
		case engine.TimeLost:
			a.say(Bad, fmt.Sprintf("Nobody evaluated for %s: the server was down, or the clock jumped", between(f.From, f.To)), m.ref(e))
		case engine.LogRecovered:
			a.say(Bad, fmt.Sprintf("The log could not be written for %s", between(f.From, f.To)), m.ref(e))
		}
	}
	for _, key := range slices.Clone(order) {
		end(key, until)
	}
}

// weighed adds to the answers what the ledger says.
func (r *Report) weighed() {
	telemetry := slices.IndexFunc(r.Answers, func(a Answer) bool { return a.Question == askTelemetry })
	for i := range r.Budgets {
		b := &r.Budgets[i]
		if !r.Charted(b) {
			continue
		}
		known, all := 0.0, 0.0
		for _, p := range b.Burn {
			all += p.To.Sub(p.From).Seconds()
			known += p.Known * p.To.Sub(p.From).Seconds()
		}
		a := &r.Answers[telemetry]
		switch {
		case all == 0 || known == 0:
			a.say(Unclear, fmt.Sprintf("The ledger knows nothing of %s in this time, or not yet: the chart has only what decisions were made on", b.SLO))
		case known < 0.999*all:
			a.say(Unclear, fmt.Sprintf("The ledger knows %s of this time of %s", percent(known/all), b.SLO))
		default:
			a.say(Good, fmt.Sprintf("The ledger knows all of this time of %s", b.SLO))
		}
		switch {
		case !b.Before.Known || !b.After.Known:
		case b.Renewed:
			r.Answers[0].say("", fmt.Sprintf("A new period of the budget of %s began in between: %s was left before, and %s of the new one after", b.SLO, percent(b.Before.Remaining), percent(b.After.Remaining)))
		case b.After.At.Before(r.Began) || !b.After.At.After(b.Before.At):
			a.say(Unclear, fmt.Sprintf("What it cost of the budget of %s is not in the ledger yet: that goes up to %s", b.SLO, stamp(b.After.At)))
		default:
			r.Answers[0].say("", fmt.Sprintf("Of the budget of %s %s was left before, and %s after", b.SLO, percent(b.Before.Remaining), percent(b.After.Remaining)))
		}
	}
}
