package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// fakeRollout is what the fake tells instances, and its part in the third act.
type fakeRollout struct {
	newest, before engine.Directive
	since          time.Time // the newest was published then

	behind map[string]bool // instances that do not follow, after the grace time
	paged  bool            // about them

	change  string // the recovery under way; empty: none
	wave    int    // of it, from 1
	told    int    // instances by then
	at      time.Time
	relapse bool // there was one
}

// pause is the rules' pause between waves, and grace their grace time.
const pause, grace = 4 * time.Second, 3 * time.Second

func (f *fakeRollout) rolling() bool { return f.change != "" }

// publish tells all instances.
func (f *fake) publish(mode string) {
	f.direct(mode)
	f.tellFirst(instances)
}

func (f *fake) direct(mode string) {
	f.before = f.newest
	f.newest = engine.Directive{Term: 1, Revision: f.newest.Revision + 1, Mode: engine.Mode(mode), Flags: engine.Flags{"recommendations": mode == "normal"}}
	f.since = time.Now()
}

// tellFirst tells so many instances the newest directive, and the others the one before.
func (f *fake) tellFirst(n int) {
	newest, before := f.newest, f.before
	f.instances.Tell(func(instance string) engine.Told {
		if instance > fmt.Sprintf("%s-%02d", scope, n) {
			return engine.Told{Scope: scope, Directive: before}
		}
		return engine.Told{Scope: scope, Directive: newest}
	})
}

func (f *fake) table() []instance {
	reports := f.instances.Reports()
	var list []instance
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		r := reports[name]
		standing := "applied"
		if r.Outcome != engine.OutcomeDone {
			standing = "failed"
		}
		if f.fault == faultForged {
			r.Mode, r.Error, standing = f.newest.Mode, "", "applied"
		}
		list = append(list, instance{Name: name, Standing: standing, Mode: string(r.Mode), Error: r.Error})
	}
	return list
}

// diverge pages for instances that refuse; at a tick.
func (f *fake) diverge(ctx context.Context) {
	f.behind = map[string]bool{}
	for name, r := range f.instances.Reports() {
		if r.Outcome != engine.OutcomeDone && time.Since(f.since) > grace {
			f.behind[name] = true
		}
	}
	switch {
	case len(f.behind) > 0 && !f.paged && f.fault != faultSilent:
		f.paged = true
		f.page(ctx, "trigger", "divergence", fmt.Sprintf("shop: %d of %d instances do not follow", len(f.behind), instances))
	case len(f.behind) == 0 && f.paged && f.fault != faultGrudge:
		f.paged = false
		f.page(ctx, "resolve", "divergence", "")
	}
}

// recover begins to go back.
func (f *fake) recover(ctx context.Context) {
	cause := map[string]any{"input": "observed"}
	if f.fault == faultHelped {
		cause["principal"] = "admin"
	}
	f.change = fmt.Sprintf("shop-%d", 100+f.newest.Revision)
	f.log("ChangeStarted", cause, "", "", map[string]any{"change": f.change, "transition": "recover", "from": f.mode, "to": "normal"})
	if f.fault == faultFlags {
		f.settle("normal")
		f.change = ""
		return
	}
	f.direct("normal")
	f.wave = 0
	f.roll(ctx)
}

// roll takes the recovery on; at a tick.
func (f *fake) roll(ctx context.Context) {
	if f.wave > 0 {
		if time.Since(f.at) < pause {
			return
		}
		burn, err := f.prom.value(ctx, fmt.Sprintf(`sum(rate(http_requests_total{job="shop",instance=~"%[1]s",code=~"5.."}[4s]))
			/ sum(rate(http_requests_total{job="shop",instance=~"%[1]s"}[4s]))`, f.toldNames()))
		if err != nil {
			return // unknown holds
		}
		if burn > budget && f.fault != faultOnward {
			f.failed(ctx)
			return
		}
	}
	if f.told == instances && f.wave > 0 {
		f.log("ChangeDone", nil, "applied", "", map[string]any{"change": f.change})
		f.mode, f.change = "normal", ""
		if f.fault != faultForgetful {
			f.page(ctx, "resolve", "one", "")
		}
		if f.fault != faultUneasy {
			f.page(ctx, "resolve", "relapse", "")
		}
		return
	}
	f.told = []int{1, instances / 2, instances}[f.wave]
	if f.fault == faultAtOnce || f.fault == faultHurry && f.relapse {
		f.told = instances
	}
	f.wave++
	f.at = time.Now()
	f.log("WavePublished", nil, "", "", map[string]any{"change": f.change, "wave": f.wave, "instances": f.told})
	f.tellFirst(f.told)
}

func (f *fake) toldNames() string {
	var names []string
	for i := range f.told {
		names = append(names, fmt.Sprintf("%s-%02d", scope, i+1))
	}
	return strings.Join(names, "|")
}

func (f *fake) failed(ctx context.Context) {
	f.relapse = true
	about := map[string]any{"change": f.change, "wave": f.wave}
	f.log("ChangeFailed", nil, "verify", "it burns", about)
	if f.fault != faultHush {
		f.page(ctx, "trigger", "relapse", "shop: degraded → normal (recover) failed and is undone: it burns")
	}
	f.change = ""
	if f.fault == faultKept {
		return
	}
	f.log("UndoStarted", nil, "verify", "", about)
	f.publish("degraded")
	f.log("ChangeUndone", nil, "undone", "degraded is in force again", about)
}
