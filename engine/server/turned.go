package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/suggest"
	"github.com/modeshift/modeshift/rules"
)

// Whoever turns automation on has to hear what it would have done these days: it is the last moment at which that helps.

// turns are the scopes whose automation was turned on of late.
type turns struct {
	mu   sync.Mutex // guards list
	list []turn
}

type turn struct {
	at   time.Time
	text string
}

// turnsKept is how long a reload's answer tells of what another one, by the watch of the files, was faster to take into force.
const turnsKept = time.Minute

// recent are the texts of those that are not older than turnsKept, one a line.
func (t *turns) recent(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, x := range t.list {
		if now.Sub(x.at) < turnsKept {
			b.WriteString(x.text + "\n")
		}
	}
	return b.String()
}

func (t *turns) add(x turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, x)
	t.list = t.list[max(0, len(t.list)-100):] // more than anybody reads
}

// turnedBetween are the scopes that only suggested by one set, and act by another.
func turnedBetween(from, to *rules.Set) (scopes []engine.Scope) {
	for _, s := range to.Services {
		before := from.Service(s.Policy.Scope)
		acts := s.Policy.Automation == "" || s.Policy.Automation == engine.AutomationOn
		if before != nil && before.Policy.Automation == engine.AutomationSuggest && acts {
			scopes = append(scopes, s.Policy.Scope)
		}
	}
	return scopes
}

// suggestedFor is how far back it is told what automation would have done.
const suggestedFor = 7 * 24 * time.Hour

// turnedOn says of each scope whose automation a reload turned on what it would have done in the days before: in the server's log, in
// the scope's, to those who hear of what is informational, and in the answer to whoever asked for the reload.
func (s *Server) turnedOn(ctx context.Context, from, to *rules.Set) {
	s.tellTurned(ctx, turnedBetween(from, to))
}

func (s *Server) tellTurned(ctx context.Context, scopes []engine.Scope) {
	severity := engine.Severity("")
	if s.opts.Config.Receivers.Info != nil {
		severity = engine.SeverityInfo
	}
	for _, scope := range scopes {
		v, ok := s.loop.View(scope)
		if !ok {
			continue
		}
		now := time.Now().UTC()
		due := engine.SuggestionsDue{From: now.Add(-suggestedFor), Instant: now, Severity: severity}
		r, err := suggest.Of(ctx, s.store.Read, v, due.From, now)
		if err == nil {
			due.Text = r.Text
			_, err = s.loop.Submit(ctx, scope, engine.Actor{}, &due)
		}
		text := fmt.Sprintf("%s: automation is on now; in the last 7 days it %s", scope, due.Text)
		if due.Text == "" {
			text = fmt.Sprintf("%s: automation is on now; what it would have done is not known: %v", scope, err)
		}
		s.turned.add(turn{now, text})
		if s.log.Info(text); err != nil {
			s.log.Warn("what automation would have done is not in the log", "scope", scope, "error", err)
		}
	}
}

// reload is Reload, with what there is to say of it.
func (s *Server) reload(ctx context.Context) (said string, err error) {
	err = s.Reload(ctx)
	return s.turned.recent(time.Now().UTC()), err
}
