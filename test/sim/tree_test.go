package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// drawScopes draws who lives in a world: at least two scopes, one or two of them with all that the rules know, and sometimes a tree of
// up to three levels above and below them.
func drawScopes(seed uint64) []member {
	r := chance(seed, "scopes")
	list := []member{{scope: "checkout"}, {scope: "search", small: r.IntN(3) > 0}}
	for _, name := range []engine.Scope{"shop", "global", "cart", "mail"}[:pick(r, 0, 0, 0, 1, 1, 2, 3, 4)] {
		list = append(list, member{scope: name, small: true})
	}
	// Parents come first, so that there is no cycle.
	order := []engine.Scope{"global", "shop", "checkout", "search", "cart", "mail"}
	slices.SortFunc(list, func(a, b member) int { return slices.Index(order, a.scope) - slices.Index(order, b.scope) })
	depth := map[engine.Scope]int{}
	for i := range list {
		m := &list[i]
		rules := chance(seed, fmt.Sprint("rules ", m.scope))
		base := drawPolicy(rules, m.scope, m.small)
		drawDefences(rules, &base)
		if i > 0 && r.IntN(5) > 0 {
			if above := list[r.IntN(i)].scope; depth[above] < 2 {
				base.Parent, depth[m.scope] = above, depth[above]+1
			}
		}
		for v := range variants {
			m.rules[v] = vary(base, v, chance(seed, fmt.Sprint("variant ", m.scope, v)))
		}
		if !m.small {
			m.instances = pick(r, 0, 0, 1, 2, 3, most)
		}
	}
	return list
}

// drawDefences draws what keeps automation from doing harm: how far it goes, when a scope flaps, what its modes impose on those below.
func drawDefences(r *rand.Rand, p *engine.Policy) {
	p.Automation = pick(r, "", "", "", "", engine.AutomationOn, engine.AutomationSuggest, engine.AutomationOff)
	if r.IntN(3) > 0 {
		p.Flap = engine.Flap{Changes: 2 + r.IntN(4), Within: pick(r, 2*time.Minute, 10*time.Minute, 30*time.Minute)}
	}
	planned := r.IntN(2) == 0
	for i := range p.Conditions {
		if c := &p.Conditions[i]; planned && (c.Name == "migrate.when" || c.Name == "migrate.until") {
			c.Scheduled = true
		}
	}
	drawQuiet(r, p)
	for i := range p.Modes[1:] {
		p.Modes[i+1].Imposes = pick[engine.Mode](r, "", "degraded", "read-only")
	}
}

// drawBrake draws how many scopes automation moves in a while; of so few as there are here it is a small number, or no matter.
func drawBrake(r *rand.Rand) engine.BrakeRule {
	if r.IntN(4) == 0 {
		return engine.BrakeRule{}
	}
	return engine.BrakeRule{Max: pick(r, 1, 1, 2, 3), Share: pick(r, 0, 0.05, 0.5), Within: pick(r, 2*time.Minute, 10*time.Minute, 30*time.Minute)}
}
