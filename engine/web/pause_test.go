package web_test

import (
	"testing"

	"github.com/modeshift/modeshift/engine"
)

// A yes to a mode that mends a budget and keeps the night quiet is given knowing that.
func TestThePageSaysWhatTheModePausesAndKeepsQuiet(t *testing.T) {
	s := open(t, nil)
	s.world.Change(t, func(p *engine.Policy) {
		p.Modes[2].Pause = []string{"availability"}
		p.Modes[2].Suppress = &engine.Suppress{SLOs: []string{"latency"}, Severities: []engine.Severity{engine.SeverityPage, engine.SeverityTicket}}
	})
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(p))
	b.shows("<strong>availability is paused meanwhile</strong>", "Kept quiet meanwhile: page, ticket of latency")
}
