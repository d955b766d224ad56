package demo

import (
	"context"
	"fmt"
	"time"
)

// invite says what there is to play with in the main story. command is how people call the command line.
func (w *world) invite(command string) []string {
	server := fmt.Sprintf("--server %s --token-file %s", w.mode.URL(), w.people.admin.file)
	return []string{
		fmt.Sprintf("break something    curl -X POST '%s/break?share=%g'", w.backend.URL(), brokenShare),
		fmt.Sprintf("mend it            curl -X POST %s/mend", w.backend.URL()),
		fmt.Sprintf("kill the gateway   curl -X POST %s/kill", w.primary.URL()),
		fmt.Sprintf("revive it          curl -X POST %s/revive", w.primary.URL()),
		fmt.Sprintf("have one refuse    curl -X POST %s/refuse", w.shops[refuser].URL()),
		fmt.Sprintf("have it give in    curl -X POST %s/give-in", w.shops[refuser].URL()),
		fmt.Sprintf("make a relapse     curl -X POST '%s/break?share=%g&only=pages'   (which no probe sees)", w.backend.URL(), brokenShare),
		"who follows?       " + w.instancesCommand(command),
		"where is it?       " + command + " status " + server,
		"what is left?      " + command + " budget " + server,
		"why?               " + command + " history shop " + server,
		"do it by hand      " + command + " set shop degraded --reason 'to try it' " + server,
		"                   " + command + " unpin shop --reason 'enough' " + server,
		"visit the shop     " + w.shops[0].URL(),
		fmt.Sprintf("ask Prometheus     curl '%s/api/v1/query?query=http_requests_total'", w.promURL),
		"the rules          " + w.dir + "/rules/shop.rules.yaml   (edit them: they are read again)",
	}
}

// watch tells of each change of the scopes' modes, and of each proposal with how to answer it, until ctx ends. Pages and tickets
// are told of as they come anyhow.
func (s *stage) watch(ctx context.Context, t *teller, command string, scopes []string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, away := map[string]string{}, false
	asked := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		waiting, err := s.api.proposals(ctx)
		if ctx.Err() != nil {
			continue
		}
		if (err != nil) != away {
			away = err != nil
			if away {
				t.say(bad, "! %-9s %v", "", err)
			} else {
				t.say(good, "✓ %-9s modeshift answers again", "")
			}
		}
		for _, scope := range scopes {
			if mode, err := s.api.scopeMode(ctx, scope); err == nil && mode != last[scope] {
				if last[scope] != "" {
					s.tellMove(ctx, t, command, scope, last[scope], mode)
				}
				last[scope] = mode
			}
		}
		for _, p := range waiting {
			if !asked[p.ID] && len(p.Digest) >= 8 {
				t.block("Somebody is asked: "+p.Scope+" "+p.Transition, "  "+s.approveCommand(command, p), "  "+s.api.page(p))
			}
			asked[p.ID] = true
		}
	}
}

// tellMove tells of a scope that is in another mode now.
func (s *stage) tellMove(ctx context.Context, t *teller, command, scope, from, to string) {
	rate := "burn rate unknown"
	if burn, err := s.prom.burnRate(ctx, scope, "12s"); err == nil {
		rate = fmt.Sprintf("burn rate %.1f", burn)
	}
	t.say(shift, "→ %-9s %s was in mode %s; %s", to, scope, from, rate)
	if _, c, err := s.api.lastChange(ctx, scope); err == nil && c.To == "failover" && to == c.To {
		t.block("Take it back:", "  "+s.undoCommand(command, c.Change))
	}
}

// approveCommand is how a proposal is answered on the command line.
func (s *stage) approveCommand(command string, p proposal) string {
	who, why := s.people.oncall, "the primary is dead"
	if len(p.Missing) > 0 && p.Missing[0].Role == s.people.operator.role {
		who, why = s.people.operator, "looked, it is true"
	}
	return fmt.Sprintf("%s approve %s --digest %s --reason '%s' --server %s --token-file %s",
		command, p.ID, p.Digest[:8], why, s.mode.URL(), who.file)
}

// undoCommand is how a change is taken back on the command line.
func (s *stage) undoCommand(command, change string) string {
	return fmt.Sprintf("%s undo %s --reason 'the primary is back' --server %s --token-file %s", command, change, s.mode.URL(), s.people.operator.file)
}
