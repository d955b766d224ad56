package suggest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Suggestion is one stretch of time in which automation would have taken a transition, and only said so.
type Suggestion struct {
	Transition string         `json:"transition"`
	From       engine.Mode    `json:"from,omitempty"`
	To         engine.Mode    `json:"to"`
	Asks       bool           `json:"asks,omitempty" doc:"people would have been asked first, by the rules in force now"`
	Began      engine.Version `json:"began" doc:"the event that said so first"`
	Ended      engine.Version `json:"ended,omitempty" doc:"the event that said that it is not ready any more"`
	Since      time.Time      `json:"since"`
	Until      time.Time      `json:"until,omitzero" doc:"absent while it is ready"`
	Why        engine.Reason  `json:"why,omitzero" doc:"it is not ready any more"`
	Ready      float64        `json:"ready_seconds" doc:"how long, so far, without time in which nobody evaluated"`
	// Preceded are the pages of SLOs that were opened later, while it was ready.
	Preceded []engine.IncidentID `json:"preceded,omitempty" doc:"pages of SLOs that were opened later, while it was ready"`

	lost time.Duration
}

// Report is what automation would have done in a while.
type Report struct {
	Scope       engine.Scope      `json:"scope"`
	From        time.Time         `json:"from"`
	To          time.Time         `json:"to"`
	Automation  engine.Automation `json:"automation" enum:"on,suggest,off" doc:"how far it goes now"`
	Suggestions []Suggestion      `json:"suggestions" nullable:"false" doc:"that were ready in that time, oldest first"`
	Transitions []Tally           `json:"transitions" nullable:"false" doc:"the same, by transition, the most frequent first"`
	Pages       int               `json:"pages" doc:"of SLOs, opened in that time"`
	Preceded    int               `json:"preceded" doc:"of these, opened while a suggestion was ready that came before"`
	Text        string            `json:"text" doc:"all of it in one line"`
}

// Tally sums the suggestions of one transition up.
type Tally struct {
	Transition string      `json:"transition"`
	From       engine.Mode `json:"from,omitempty"`
	To         engine.Mode `json:"to"`
	Asks       bool        `json:"asks,omitempty" doc:"people would have been asked first"`
	Times      int         `json:"times"`
	Ready      float64     `json:"ready_seconds" doc:"all of them together"`
	Longest    float64     `json:"longest_seconds" doc:"one of them"`
	Still      bool        `json:"still,omitempty" doc:"it was ready at the end"`
	Preceded   int         `json:"preceded" doc:"pages that came later, while it was ready"`
}

// Teller follows the events of one scope. The zero value has seen none.
type Teller struct {
	target engine.Mode
	open   []int // indexes of those that are still ready
	all    []Suggestion
	pages  []page
}

type page struct {
	id engine.IncidentID
	at time.Time
}

// Add takes the next event of the scope's stream. What lies before the first one it is given is not known: a suggestion that
// began there is not told, and one that begins before the first directive has no From.
func (t *Teller) Add(e engine.Event) {
	switch f := e.Fact.(type) {
	case engine.ScopeAdded:
		t.target = f.Mode
	case engine.DirectivePublished:
		t.target = f.Directive.Mode
	case engine.ChangeStarted:
		t.target = f.From // until its directive is published; where the log was cut short this is the first to say so
	case engine.TransitionWithheld:
		ready := slices.IndexFunc(t.open, func(i int) bool { return t.all[i].Transition == f.Transition })
		switch suggests := e.Reason.Code == engine.CodeSuggest; {
		case suggests && ready < 0:
			t.open = append(t.open, len(t.all))
			t.all = append(t.all, Suggestion{Transition: f.Transition, From: t.target, To: f.To, Began: e.Version, Since: e.At})
		case !suggests && ready >= 0: // something else keeps it from starting now
			t.end(f.Transition, e)
		}
	case engine.WithholdingEnded:
		t.end(f.Transition, e)
	case engine.ScopeRetired:
		for _, i := range slices.Clone(t.open) {
			t.end(t.all[i].Transition, e)
		}
	case engine.TimeLost:
		for _, i := range t.open {
			s := &t.all[i]
			if from := later(f.From, s.Since); f.To.After(from) {
				s.lost += f.To.Sub(from)
			}
		}
	case engine.IncidentOpened:
		if i := f.Incident; i.Kind == engine.IncidentSLO && i.Severity == engine.SeverityPage {
			t.pages = append(t.pages, page{i.ID, e.At})
			for _, k := range t.open {
				if t.all[k].Since.Before(e.At) {
					t.all[k].Preceded = append(t.all[k].Preceded, i.ID)
				}
			}
		}
	}
}

func (t *Teller) end(transition string, e engine.Event) {
	t.open = slices.DeleteFunc(t.open, func(i int) bool {
		s := &t.all[i]
		if s.Transition != transition {
			return false
		}
		s.Ended, s.Until, s.Why = e.Version, e.At, e.Reason
		return true
	})
}

// Report sums up what was ready between two instants. The policy, which may be nil, says which transitions would have asked
// people first.
func (t *Teller) Report(scope engine.Scope, p *engine.Policy, from, to time.Time) Report {
	r := Report{Scope: scope, From: from, To: to, Automation: engine.AutomationOn, Suggestions: []Suggestion{}, Transitions: []Tally{}}
	gated := map[string]bool{}
	if p != nil {
		r.Automation = cmp.Or(p.Automation, engine.AutomationOn)
		for i := range p.Transitions {
			gated[p.Transitions[i].Name] = p.Transitions[i].Gate != nil
		}
	}
	in := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	preceded := map[engine.IncidentID]bool{}
	for _, s := range t.all {
		if !s.Since.Before(to) || !s.Until.IsZero() && !s.Until.After(from) {
			continue
		}
		if s.Until.After(to) { // at the report's end it was ready still
			s.Ended, s.Until, s.Why = 0, time.Time{}, engine.Reason{}
		}
		end := s.Until
		if end.IsZero() {
			end = to
		}
		s.Asks, s.Ready = gated[s.Transition], max(0, end.Sub(s.Since)-s.lost).Seconds()
		s.Preceded = slices.DeleteFunc(slices.Clone(s.Preceded), func(id engine.IncidentID) bool {
			return !slices.ContainsFunc(t.pages, func(p page) bool { return p.id == id && in(p.at) })
		})
		for _, id := range s.Preceded {
			preceded[id] = true
		}
		r.Suggestions = append(r.Suggestions, s)
		r.tally(s)
	}
	for _, p := range t.pages {
		if in(p.at) {
			r.Pages++
		}
	}
	r.Preceded = len(preceded)
	slices.SortStableFunc(r.Transitions, func(a, b Tally) int { return cmp.Compare(b.Times, a.Times) })
	r.Text = r.words()
	return r
}

func (r *Report) tally(s Suggestion) {
	i := slices.IndexFunc(r.Transitions, func(t Tally) bool { return t.Transition == s.Transition && t.From == s.From && t.To == s.To })
	if i < 0 {
		i = len(r.Transitions)
		r.Transitions = append(r.Transitions, Tally{Transition: s.Transition, From: s.From, To: s.To, Asks: s.Asks})
	}
	t := &r.Transitions[i]
	t.Times++
	t.Ready, t.Longest = t.Ready+s.Ready, max(t.Longest, s.Ready)
	t.Still = t.Still || s.Until.IsZero()
	t.Preceded += len(s.Preceded)
}

// words are the report in one line.
func (r *Report) words() string {
	if len(r.Suggestions) == 0 {
		return "would have done nothing"
	}
	moves, asks := 0, 0
	var each []string
	for _, t := range r.Transitions {
		if t.Asks {
			asks += t.Times
		} else {
			moves += t.Times
		}
		ready := "ready for " + Span(Seconds(t.Ready).Round(time.Second))
		if t.Times > 1 {
			ready += " in all"
		}
		if t.Still {
			ready += ", and still"
		}
		each = append(each, fmt.Sprintf("%s %s (%s)", Move(t.From, t.To, t.Transition), times(t.Times), ready))
	}
	var all []string
	if moves > 0 {
		all = append(all, "moved "+times(moves))
	}
	if asks > 0 {
		all = append(all, "asked people "+times(asks))
	}
	text := fmt.Sprintf("would have %s: %s", strings.Join(all, " and "), strings.Join(each, "; "))
	if r.Pages > 0 {
		text += fmt.Sprintf("; %d of %d pages came later than that", r.Preceded, r.Pages)
	}
	return text
}

// Seconds is a number of seconds as a length of time.
func Seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// Move writes a transition as people read it: normal → degraded (shed).
func Move(from, to engine.Mode, transition string) string {
	if from == "" {
		return fmt.Sprintf("to %s (%s)", to, transition)
	}
	return fmt.Sprintf("%s → %s (%s)", from, to, transition)
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// Span is a length of time without what nobody reads of it.
func Span(d time.Duration) string {
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= time.Minute:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	for _, long := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, long) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Read returns the events of a stream after a version, oldest first, at most limit.
type Read func(ctx context.Context, scope engine.Scope, after engine.Version, limit int) ([]engine.Event, error)

// pageSize is how many events are read at a time.
const pageSize = 1000

// Of reads the stream of a scope and reports what automation would have done there between two instants.
func Of(ctx context.Context, read Read, v engine.View, from, to time.Time) (Report, error) {
	var t Teller
	for after := engine.Version(0); ; {
		events, err := read(ctx, v.State.Scope, after, pageSize)
		if err != nil {
			return Report{}, fmt.Errorf("read what was suggested in %s: %w", v.State.Scope, err)
		}
		for _, e := range events {
			t.Add(e)
		}
		if len(events) == 0 {
			return t.Report(v.State.Scope, v.Policy, from, to), nil
		}
		after = events[len(events)-1].Version
	}
}
