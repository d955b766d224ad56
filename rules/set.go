package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Set is what the rule files say, compiled. Whoever shares it must not change it any more.
type Set struct {
	Digest   engine.Digest // of all services
	Services []*Service    // by scope
	// Warnings are what the files say that is legal and most likely not what was meant; with Options.Findings also what is only
	// worth knowing.
	Warnings Diagnostics
}

// Service finds a scope's rules; nil when no file declares it.
func (s *Set) Service(scope engine.Scope) *Service {
	if s == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(s.Services, scope, func(v *Service, scope engine.Scope) int {
		return strings.Compare(string(v.Policy.Scope), string(scope))
	})
	if !ok {
		return nil
	}
	return s.Services[i]
}

// Service is the rules of one scope.
type Service struct {
	File   string // as it was given to Load
	Digest engine.Digest
	// Remarks is a digest of what the file says for people and for rules check, by which nothing is decided and which Digest leaves
	// out: an approval counts on when somebody mends a description. Empty when it says nothing of the kind.
	Remarks engine.Digest
	// Problem says why the file on disk is not in force, and these, older rules are; empty when it is.
	Problem string

	Source     string // the Prometheus to ask where an SLO or SLI names none; empty: the first there is
	Policy     engine.Policy
	Labels     map[string]string
	SLOs       []SLO
	SLIs       []SLI
	Schedules  []*Schedule
	Flags      []Flag                        // those that are declared, in file order; Remarks covers them
	Drills     map[engine.Mode]time.Duration // how often a mode's way back has to be used, where the file says so; Remarks covers it
	Alerts     []string                      // the names of Prometheus alerts that conditions mention, sorted
	Conditions []*Condition                  // at the indexes of Policy.Conditions
	Selectors  []SeriesSelector              // of the queries of SLOs and SLIs
	Allowed    map[Code]bool                 // findings that the file says it lives with; Remarks covers them

	references []reference       // to other scopes
	whys       map[string]string // why actions are said not to be destructive: fail-over/repoint
	lives      map[Code]string   // why the file lives with a finding
	doc        *node             // what the file says, where Options asked for Places; nil: not kept
}

// SLO finds an SLO by name; nil when there is none.
func (s *Service) SLO(name string) *SLO {
	for i := range s.SLOs {
		if s.SLOs[i].Name == name {
			return &s.SLOs[i]
		}
	}
	return nil
}

// SLI finds an SLI by name; nil when there is none.
func (s *Service) SLI(name string) *SLI {
	for i := range s.SLIs {
		if s.SLIs[i].Name == name {
			return &s.SLIs[i]
		}
	}
	return nil
}

// Schedule finds a schedule by name; nil when there is none.
func (s *Service) Schedule(name string) *Schedule {
	for _, c := range s.Schedules {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// NoTraffic says what an SLO without traffic in a window is.
type NoTraffic string

// The meanings of no traffic.
const (
	NoTrafficUnknown NoTraffic = "unknown" // nobody can tell; the default
	NoTrafficGood    NoTraffic = "good"    // an error ratio of 0
)

// Calendar is a piece of the calendar that an error budget is for.
type Calendar string

// The calendars of a budget. A week begins on Monday.
const (
	CalendarDay     Calendar = "day"
	CalendarWeek    Calendar = "week"
	CalendarMonth   Calendar = "month"
	CalendarQuarter Calendar = "quarter"
	CalendarYear    Calendar = "year"
)

// calendars are all of them with their usual lengths, by which burn rates over windows go: the tiers of a February are those
// of a March.
var calendars = []struct {
	name   Calendar
	period time.Duration
}{
	{CalendarDay, 24 * time.Hour}, {CalendarWeek, 7 * 24 * time.Hour}, {CalendarMonth, 30 * 24 * time.Hour},
	{CalendarQuarter, 90 * 24 * time.Hour}, {CalendarYear, 365 * 24 * time.Hour},
}

// SLO is an objective and how to measure it.
type SLO struct {
	Name        string
	Description string
	Objective   Objective
	Budget      float64        // 1 − objective, in (0, 1), correctly rounded from the decimal
	Period      time.Duration  // that the budget is for; of a calendar period its usual length
	Calendar    Calendar       // the budget is for this piece of the calendar; empty: for the last Period
	Timezone    *time.Location // of the calendar; UTC without one
	MaxAge      time.Duration  // a sample older than this is stale
	MinEvents   float64        // with fewer in a window the SLO is unknown there; 0: no such bound
	NoTraffic   NoTraffic
	Events      bool // measured as errors and total; false: as a ratio
	// Complement: its errors are all events without the good ones (total - good, or 1 - a ratio of good ones). Counters are read one after
	// the other, and their rates extrapolated each by itself, so that they may come out a little below none.
	Complement bool
	// Recorded: the windows of the tiers, five minutes and the period are read from the series that Sloth's rules record.
	Recorded bool
	Source   string // the Prometheus to ask; empty: the service's
	Agree    int    // how many replicas of the source have to come to the same truth in each comparison; up to 1: the freshest counts
	Absence  Absence
	Labels   map[string]string
	Tiers    []Tier // page before ticket; a disabled one is not there
	Position string // file:line:column
	// Measure is the digest of what it measures: its queries, as they mean, and whom they are asked; nothing else.
	Measure engine.Digest

	errors, total template // for a ratio, total is empty
	unit          unit     // of the total query
	escalations   escalations
}

// Queries returns the PromQL of the SLO over a window, of all instances. For one measured as a ratio errors is the ratio and
// total is empty.
func (s *SLO) Queries(window time.Duration) (errors, total string) {
	return s.errors.render(window), s.total.render(window)
}

// EventsPerUnit is how many events in the window a total of 1 stands for: 1 where the total query counts, the window's
// seconds where it gives a rate, 0 where its shape does not tell. It is never 0 where MinEvents is set.
func (s *SLO) EventsPerUnit(window time.Duration) float64 {
	switch s.unit {
	case unitCount:
		return 1
	case unitPerSecond:
		return window.Seconds()
	default:
		return 0
	}
}

// Tier finds the tier of a severity; nil when it is disabled.
func (s *SLO) Tier(sev engine.Severity) *Tier {
	for i := range s.Tiers {
		if s.Tiers[i].Severity == sev {
			return &s.Tiers[i]
		}
	}
	return nil
}

// Tier is one loudness of an SLO's alerts.
type Tier struct {
	Severity    engine.Severity // SeverityPage or SeverityTicket
	Name        string          // of the alert
	Windows     []Window        // it fires when any of them does
	Labels      map[string]string
	Annotations map[string]string
}

// Window is one burn-rate pair: it fires when both ranges exceed Factor at the same instant.
// Source: Google SRE Workbook, ch. 5, "Multiwindow, Multi-Burn-Rate Alerts".
type Window struct {
	Long, Short time.Duration // ranges ending at the instant; 0 < Short < Long
	Factor      float64       // burn rate, > 0; equal does not exceed
	// Every is how often the pair is decided for the SLO's own alert, at multiples of it; 0: at every tick. A transition that
	// mentions the tier decides it at every tick all the same.
	Every time.Duration

	limit limit // Factor × budget, exactly
}

// SLI is a value without an objective.
type SLI struct {
	Name   string
	Query  string // of all instances
	Unit   string
	MaxAge time.Duration // a sample older than this is stale
	Source string        // the Prometheus to ask; empty: the service's
	Agree  int           // as of an SLO

	query template
}
