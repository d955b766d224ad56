package outline

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// Kind is what an entry is about, in the word that rule files have for it.
type Kind string

// The kinds of entry.
const (
	KindService    Kind = "service"
	KindSLO        Kind = "slo"
	KindAlert      Kind = "alert" // a tier of an SLO: availability/page
	KindSLI        Kind = "sli"
	KindSchedule   Kind = "schedule"
	KindMode       Kind = "mode"
	KindTransition Kind = "transition"
	KindAction     Kind = "action" // of a transition: fail-over/repoint
)

// Service is the rules of one scope.
type Service struct {
	Scope   engine.Scope  `json:"scope"`
	Digest  engine.Digest `json:"digest" doc:"of the rules: equal digests decide the same"`
	Remarks engine.Digest `json:"remarks,omitempty" doc:"of what is said for people and decides nothing; absent: nothing is"`
	Entries []Entry       `json:"entries" nullable:"false" doc:"in file order"`
}

// Entry is one thing that is declared.
type Entry struct {
	Kind     Kind          `json:"kind"`
	Name     string        `json:"name"`
	Position string        `json:"position,omitempty" doc:"file:line:column"`
	Digest   engine.Digest `json:"digest,omitempty" doc:"of a transition, what approvals are bound to; of an SLO, what it measures"`
	Fields   []Field       `json:"fields" nullable:"false"`
}

// Field is one thing that is said of it.
type Field struct {
	Key      string `json:"key" doc:"as in the file, with dots between: approval.within"`
	Text     string `json:"text" doc:"for people"`
	Position string `json:"position,omitempty" doc:"file:line:column"`
	// What of the text counts, where that is not the text itself.
	Number    *float64 `json:"number,omitempty" doc:"a duration in seconds, a count, a share"`
	List      []string `json:"list,omitempty"`
	Order     bool     `json:"order,omitempty" doc:"of the list nothing but the order counts: what is in it has entries of its own"`
	Meaning   string   `json:"meaning,omitempty" doc:"equal for equal meanings"`
	Condition *Form    `json:"condition,omitempty"`
}

// Form is a condition with its numbers apart: two of one shape can be compared.
type Form struct {
	Shape   string     `json:"shape" doc:"the expression with # in place of each number"`
	Numbers []Constant `json:"numbers,omitempty"`
}

// Constant is a number in a condition.
type Constant struct {
	Text   string  `json:"text"`
	Value  float64 `json:"value"`
	Window bool    `json:"window,omitempty" doc:"it is a window, in seconds"`
	Easier int     `json:"easier,omitempty" doc:"1: raised, it makes the condition true sooner; -1: later; 0: nobody can tell"`
}

// Key is where an entry is looked for.
func (e *Entry) Key() string { return string(e.Kind) + " " + e.Name }

func (e *Entry) fields() []Field {
	if e == nil {
		return nil
	}
	return e.Fields
}

// Field finds a field; nil when there is none.
func (e *Entry) Field(key string) *Field {
	if e == nil {
		return nil
	}
	for i := range e.Fields {
		if e.Fields[i].Key == key {
			return &e.Fields[i]
		}
	}
	return nil
}

// Text is that of a field; empty when there is none.
func (e *Entry) Text(key string) string {
	if f := e.Field(key); f != nil {
		return f.Text
	}
	return ""
}

// List is that of a field.
func (e *Entry) List(key string) []string {
	if f := e.Field(key); f != nil {
		return f.List
	}
	return nil
}

// Words says all of an entry in one line.
func (e *Entry) Words() string {
	words := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		words[i] = f.Key + " " + f.Text
	}
	return strings.Join(words, ", ")
}

// Entry finds an entry; nil when there is none.
func (s *Service) Entry(kind Kind, name string) *Entry {
	if s == nil {
		return nil
	}
	for i := range s.Entries {
		if s.Entries[i].Kind == kind && s.Entries[i].Name == name {
			return &s.Entries[i]
		}
	}
	return nil
}

// of are the entries of a kind.
func (s *Service) of(kind Kind) (out []*Entry) {
	for i := range s.Entries {
		if s.Entries[i].Kind == kind {
			out = append(out, &s.Entries[i])
		}
	}
	return out
}

// hasModes reports whether the scope may be in a mode at all: one of SLOs and alerts alone is in none.
func (s *Service) hasModes() bool { return len(s.of(KindMode)) > 0 }

// rank is the place of a mode among those that have one; -1 for a mode beside the others.
func (s *Service) rank(mode string) int {
	for i, m := range s.of(KindMode) {
		if m.Name == mode && m.Field("beside") == nil {
			return i
		}
	}
	return -1
}

// course is which way a transition leads. One that starts from several modes may lead both ways.
type course struct{ protects, recovers, aside bool }

func (s *Service) course(t *Entry) (c course) {
	to := s.rank(t.Text("to"))
	for _, from := range t.List("from") {
		switch f := s.rank(from); {
		case f < 0 || to < 0:
			c.aside = true
		case to > f:
			c.protects = true
		default:
			c.recovers = true
		}
	}
	return c
}

// destructive reports whether a transition has an action that is.
func (s *Service) destructive(t *Entry) bool {
	return slices.ContainsFunc(s.of(KindAction), func(a *Entry) bool {
		return strings.HasPrefix(a.Name, t.Name+"/") && a.Field("destructive") != nil
	})
}

// mentioning are the transitions whose condition mentions what has a name, through one of some functions.
func (s *Service) mentioning(name string, functions ...string) []*Entry {
	return slices.DeleteFunc(s.of(KindTransition), func(t *Entry) bool {
		when := t.Field("when")
		return when == nil || when.Condition == nil || !slices.ContainsFunc(functions, func(f string) bool {
			return strings.Contains(when.Condition.Shape, f+"("+strconv.Quote(name))
		})
	})
}

// strikesBy reports whether something moves aside or destroys under such a condition.
func (s *Service) strikesBy(name string, functions ...string) bool {
	return slices.ContainsFunc(s.mentioning(name, functions...), func(t *Entry) bool { return s.course(t).aside || s.destructive(t) })
}

// quiets reports whether a mode takes something out of the night.
func (s *Service) quiets(mode string) bool {
	m := s.Entry(KindMode, mode)
	return m.Field("pauses") != nil || m.Field("suppress") != nil
}
