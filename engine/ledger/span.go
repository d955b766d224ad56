package ledger

import (
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Span is time from From on, up to To and without it.
type Span struct{ From, To time.Time }

// Correction takes time out of the budget of an SLO, for a reason that a person gave.
type Correction struct {
	ID        string
	SLO       string
	Recorded  time.Time
	Withdrawn time.Time // zero: it holds
	// Spans are those that overlap a span given.
	Spans func(from, to time.Time) []Span
}

// Once is the time between two instants.
func Once(from, to time.Time) func(from, to time.Time) []Span {
	return func(time.Time, time.Time) []Span { return []Span{{from, to}} }
}

// holds reports whether c was known and not withdrawn at an instant.
func (c Correction) holds(asOf time.Time) bool {
	return !c.Recorded.After(asOf) && (c.Withdrawn.IsZero() || c.Withdrawn.After(asOf))
}

// Excluded is the time in a span that the corrections of an SLO took out of its budget, as far as was known at an instant.
func Excluded(corrections []Correction, slo string, asOf, from, to time.Time) []Span {
	var spans []Span
	for _, c := range corrections {
		if c.SLO == slo && c.holds(asOf) {
			spans = append(spans, c.Spans(from, to)...)
		}
	}
	return Merge(spans, from, to)
}

// Paused is the time in which modes paused an SLO, up to an instant.
func Paused(pauses []engine.Pause, slo string, at time.Time) (spans []Span) {
	for _, p := range pauses {
		switch {
		case p.SLO != slo:
		case p.To.IsZero():
			spans = append(spans, Span{p.From, at})
		default:
			spans = append(spans, Span{p.From, p.To})
		}
	}
	return spans
}

// Merge cuts spans to what lies between two instants, and joins those that touch. The result is in order of time.
func Merge(spans []Span, from, to time.Time) []Span {
	var out []Span
	for _, s := range spans {
		if s.From.Before(from) {
			s.From = from
		}
		if s.To.After(to) {
			s.To = to
		}
		if s.From.Before(s.To) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Span) int { return a.From.Compare(b.From) })
	n := 0
	for _, s := range out {
		switch {
		case n > 0 && !s.From.After(out[n-1].To):
			if s.To.After(out[n-1].To) {
				out[n-1].To = s.To
			}
		default:
			out[n] = s
			n++
		}
	}
	return out[:n]
}

// gaps are what is left of a span when others, merged, are taken out.
func gaps(excluded []Span, from, to time.Time) func(yield func(Span) bool) {
	return func(yield func(Span) bool) {
		at := from
		for _, x := range excluded {
			if !x.To.After(at) {
				continue
			}
			if !x.From.Before(to) {
				break
			}
			if at.Before(x.From) && !yield(Span{at, x.From}) {
				return
			}
			at = x.To
		}
		if at.Before(to) {
			yield(Span{at, to})
		}
	}
}

// included is the length of a span without what is taken out.
func included(excluded []Span, from, to time.Time) (d time.Duration) {
	for s := range gaps(excluded, from, to) {
		d += s.To.Sub(s.From)
	}
	return d
}
