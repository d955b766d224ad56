package demo

import (
	"context"
	"fmt"
	"time"
)

// invite says what there is to play with. command is how people call the command line.
func (w *world) invite(t *teller, command string) {
	server := fmt.Sprintf("--server %s --token-file %s", w.mode.URL(), w.mode.TokenFile())
	t.block(
		"It all stays up to play with; Ctrl-C ends it and leaves nothing behind.",
		"",
		fmt.Sprintf("break something    curl -X POST '%s/break?share=%g'", w.backend.URL(), brokenShare),
		fmt.Sprintf("mend it            curl -X POST %s/mend", w.backend.URL()),
		"where is it?       "+command+" status "+server,
		"why?               "+command+" history shop "+server,
		"do it by hand      "+command+" set shop degraded --reason 'to try it' "+server,
		"                   "+command+" unpin shop --reason 'enough' "+server,
		"visit the shop     "+w.shops[0].URL(),
		fmt.Sprintf("ask Prometheus     curl '%s/api/v1/query?query=http_requests_total'", w.promURL),
		"the rules          "+w.dir+"/rules/shop.rules.yaml   (edit them: they are read again)",
	)
}

// watch tells of each change of the shop's mode until ctx ends. Pages and tickets are told of as they come anyhow.
func (w *world) watch(ctx context.Context, t *teller) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, away := "normal", false
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
		}
	}
}
