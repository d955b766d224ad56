package demo

import (
	"context"
	"fmt"
	"time"
)

// invite says what there is to play with. command is how people call the command line.
func (w *world) invite(t *teller, command string) {
	server := fmt.Sprintf("--server %s --token-file %s", w.mode.URL(), w.people.admin.file)
	t.block(
		"It all stays up to play with; Ctrl-C ends it and leaves nothing behind.",
		"",
		fmt.Sprintf("break something    curl -X POST '%s/break?share=%g'", w.backend.URL(), brokenShare),
		fmt.Sprintf("mend it            curl -X POST %s/mend", w.backend.URL()),
		fmt.Sprintf("kill the gateway   curl -X POST %s/kill", w.primary.URL()),
		fmt.Sprintf("revive it          curl -X POST %s/revive", w.primary.URL()),
		fmt.Sprintf("have one refuse    curl -X POST %s/refuse", w.shops[refuser].URL()),
		fmt.Sprintf("have it give in    curl -X POST %s/give-in", w.shops[refuser].URL()),
		fmt.Sprintf("make a relapse     curl -X POST '%s/break?share=%g&only=pages'   (which no probe sees)", w.backend.URL(), brokenShare),
		"who follows?       "+w.instancesCommand(command),
		"where is it?       "+command+" status "+server,
		"what is left?      "+command+" budget "+server,
		"why?               "+command+" history shop "+server,
		"do it by hand      "+command+" set shop degraded --reason 'to try it' "+server,
		"                   "+command+" unpin shop --reason 'enough' "+server,
		"visit the shop     "+w.shops[0].URL(),
		fmt.Sprintf("ask Prometheus     curl '%s/api/v1/query?query=http_requests_total'", w.promURL),
		"the rules          "+w.dir+"/rules/shop.rules.yaml   (edit them: they are read again)",
	)
}

// watch tells of each change of the shop's mode, and of each proposal with how to answer it, until ctx ends. Pages and tickets
// are told of as they come anyhow.
func (w *world) watch(ctx context.Context, t *teller, command string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, away := "normal", false
	asked := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		mode, err := w.api.shopMode(ctx)
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
		if err == nil && mode != last {
			burn, err := w.prom.burnRate(ctx, "12s")
			rate := fmt.Sprintf("burn rate %.1f", burn)
			if err != nil {
				rate = "burn rate unknown"
			}
			t.say(shift, "→ %-9s the shop was in mode %s; %s", mode, last, rate)
			last = mode
			if _, c, err := w.api.lastChange(ctx); err == nil && c.To == "failover" && mode == c.To {
				t.block("Take it back:", "  "+w.undoCommand(command, c.Change))
			}
		}
		waiting, err := w.api.proposals(ctx)
		if err != nil {
			continue // told of above
		}
		for _, p := range waiting {
			if !asked[p.ID] && len(p.Digest) >= 8 {
				t.block("Somebody is asked: "+p.Transition, "  "+w.approveCommand(command, p), "  "+w.api.page(p))
			}
			asked[p.ID] = true
		}
	}
}
