package server

import (
	"context"
	"fmt"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/suggest"
	"github.com/modeshift/modeshift/rules"
)

// Suggestions say when people are told what automation would have done in scopes where it only suggests.
type Suggestions struct {
	Cron     string `yaml:"cron"` // five fields; off: never
	Timezone string `yaml:"timezone"`
}

// never is the cron of who does not want to be told.
const never = "off"

// schedule is when people are told; nil: never.
func (c Suggestions) schedule() (*rules.Schedule, error) {
	if c.Cron == never {
		return nil, nil
	}
	return rules.NewRecurrence(c.Cron, time.Minute, c.Timezone)
}

func (c Suggestions) validate() error {
	if _, err := c.schedule(); err != nil {
		return fmt.Errorf("suggestions: %w; for example cron: \"0 9 * * MON\" with timezone: Europe/Berlin, or cron: %s", err, never)
	}
	return nil
}

// longestBetween is how far back instants of the schedule are looked for: a schedule that comes once a year has the last one there.
const longestBetween = 400 * 24 * time.Hour

// lastTwo are the last instant of the schedule that is not after now, and the one before it; false when there are none.
func lastTwo(s *rules.Schedule, now time.Time) (before, last time.Time, ok bool) {
	s.Windows(now.Add(-2*longestBetween), now.Add(1), func(opens, _ time.Time) bool {
		if last.IsZero() {
			last = opens
			return true
		}
		before = opens
		return false
	})
	return before, last, !before.IsZero()
}

// suggestionsEvery is how often it is looked whether an instant of the schedule has passed.
const suggestionsEvery = time.Minute

// tellSuggestions tells people once for each instant of the schedule what automation would have done since the one before. What was
// told is in the log of each scope; that a server was away, or another one told it, is found there.
func (s *Server) tellSuggestions(ctx context.Context) error {
	schedule, err := s.opts.Config.Suggestions.schedule()
	severity := s.suggestionsTo()
	if schedule == nil || err != nil || severity == "" {
		return err // Validate has seen to the error
	}
	w := weekly{server: s, schedule: schedule, severity: severity, quiet: map[engine.Scope]time.Time{}}
	look := time.NewTicker(suggestionsEvery)
	defer look.Stop()
	for {
		w.tell(ctx, time.Now().UTC())
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// suggestionsTo is who is told: whoever hears of what is informational, else who gets tickets; empty when there is neither.
func (s *Server) suggestionsTo() engine.Severity {
	known := s.opts.Config.Receivers.severities()
	for _, severity := range []engine.Severity{engine.SeverityInfo, engine.SeverityTicket} {
		if known[severity] {
			return severity
		}
	}
	return ""
}

// weekly looks through the scopes at each instant of the schedule.
type weekly struct {
	server   *Server
	schedule *rules.Schedule
	severity engine.Severity
	quiet    map[engine.Scope]time.Time // the instants for which there was nothing to tell: the log does not say so
}

// tell tells what is due at now and was not told. What cannot be told now is tried again at the next look.
func (w *weekly) tell(ctx context.Context, now time.Time) {
	from, due, ok := lastTwo(w.schedule, now)
	if !ok {
		return
	}
	for _, v := range w.server.loop.Views() {
		scope := v.State.Scope
		if v.Policy == nil || v.Policy.Automation != engine.AutomationSuggest || v.State.Retired || !due.After(v.State.SuggestionsTold) || w.quiet[scope].Equal(due) {
			continue
		}
		r, err := suggest.Of(ctx, w.server.store.Read, v, from, due)
		if err == nil && len(r.Suggestions) == 0 {
			w.quiet[scope] = due
			continue
		}
		if err == nil {
			_, err = w.server.loop.Submit(ctx, scope, engine.Actor{}, &engine.SuggestionsDue{From: from, Instant: due, Severity: w.severity, Text: r.Text})
		}
		if err != nil && ctx.Err() == nil {
			w.server.log.Warn("what automation would have done could not be told yet", "scope", scope, "error", err)
		}
	}
}
