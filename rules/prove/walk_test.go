package prove

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/rules"
)

var (
	walkSeeds = flag.Int("walk.seeds", 12, "how many rules are drawn, to be searched and lived in")
	walkSize  = flag.Int("walk.states", 3000, "up to how many states a search may have for that")
	walkFrom  = flag.Uint64("walk.from", 1, "the first seed")
)

// coarse is what a world is to people: the modes, who is asked and has answered, and how far a change is. What has to pass is left out.
func (g *group) coarse(w *world) string {
	var b strings.Builder
	for i := range w.states {
		s := &w.states[i]
		fmt.Fprintf(&b, "%s: %s>%s own %q imposed %v pin %v;", g.members[i].scope, s.Mode, s.Target, s.Own, len(s.Imposed) > 0, s.Pin != nil)
		for k := range s.Proposals {
			p := &s.Proposals[k]
			roles := []string{}
			for _, v := range p.Votes {
				roles = append(roles, v.Role)
			}
			slices.Sort(roles)
			fmt.Fprintf(&b, " asks %s %v escalated %v expiry %v of a change %v;", p.Transition, roles, p.Escalated, p.Expiry, p.Change != "")
		}
		if c := s.Change; c != nil {
			fmt.Fprintf(&b, " change %s %s>%s next %d published %v rolled %v wave %d undoing %v stuck %v did %d", c.Transition, c.From, c.To, c.Next,
				c.Published, c.Rolled, c.Wave, c.Undoing, c.Stuck, len(c.Did))
			if r := c.Running; r != nil {
				fmt.Fprintf(&b, " running %s undo %v finding %v", r.Step.Name, r.Undo, r.Finding)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// live lets things happen at random, evaluation by evaluation and with no regard to what is due, for some lives. It returns how many kinds
// of world were met, and, where the search has none of a kind, what had happened by then. A life ends where that is because two spans ended
// in one evaluation: it is what the search leaves out.
func (s *search) live(r *rand.Rand, lives int) (kinds int, missing string) {
	g := s.g
	met := map[string]bool{}
	for id := range s.nodes {
		w := g.begin()
		for _, st := range s.path(int32(id)) {
			g.fill(w, &st, false)
			w, _, _ = g.apply(w, &st)
		}
		met[g.coarse(w)] = true
	}
	seen := map[string]bool{}
	for range lives {
		w, over := g.begin(), false
		var trail []string
		note := func(format string, args ...any) {
			trail = append(trail[max(0, len(trail)-8):], fmt.Sprint(After(w.now))+" "+fmt.Sprintf(format, args...))
		}
		for turn := 0; turn < 100 && !over; turn++ {
			// Something is measured for a while, and meanwhile people and targets do what they may.
			valuation := make([]int32, len(g.blocks))
			for i, b := range g.blocks {
				valuation[i] = int32(r.IntN(len(b.valuations)))
			}
			for ticks := 1 + r.IntN(1<<r.IntN(9)); ticks > 0 && !over; ticks-- {
				st := step{kind: stepObserve, at: number(w.now.Add(g.members[0].policy.Interval)), valuation: valuation}
				g.fill(w, &st, true)
				for {
					ends := g.ending(w, st.at)
					w, _, _ = g.apply(w, &st)
					c := g.coarse(w)
					note("step %d %s %s %v:\n%s", st.kind, st.word, st.role, st.valuation, c)
					switch {
					case met[c]:
						seen[c] = true
					case ends > 1:
						over = true
					default:
						return len(seen), c + "after\n" + strings.Join(trail, "")
					}
					if over {
						break
					}
					list := g.possible(w)
					if len(list) == 0 || st.kind != stepObserve || r.IntN(4) > 0 {
						break
					}
					st = list[r.IntN(len(list))]
				}
			}
		}
	}
	return len(seen), ""
}

// ending is how many spans end at an instant that is to come.
func (g *group) ending(w *world, at int64) (n int) {
	for i, m := range g.members {
		for _, t := range m.timers(&w.states[i], nil) {
			if number(t.at) == at && at > number(w.now) {
				n++
			}
		}
	}
	return n
}

// Whatever happens comes to nothing that the search has not met.
func TestWhateverHappensIsAmongWhatASearchMeets(t *testing.T) {
	for _, path := range []string{filepath.Join("..", "..", "examples", "shop", "shop.rules.yaml"), filepath.Join("..", "..", "examples", "windows", "rules")} {
		s := searched(t, path)
		kinds, missing := s.live(rand.New(rand.NewPCG(1, 1)), 10)
		if missing != "" {
			t.Errorf("%s: the search meets no\n%s", path, missing)
		}
		if kinds < 4 {
			t.Errorf("%s: %d kinds of world, which is no life", path, kinds)
		}
	}
}

func TestWhateverHappensUnderDrawnRulesIsAmongWhatASearchMeets(t *testing.T) {
	lived, kinds := 0, 0
	for i := range *walkSeeds {
		seed := *walkFrom + uint64(i)
		r := rand.New(rand.NewPCG(seed, 2))
		text := drawnRules(r)
		set, err := rules.Load([]rules.File{{Name: "drawn.yaml", Data: []byte(text)}}, rules.Options{Kinds: formKinds(t)})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		for _, services := range groups(set) {
			g, err := newGroup(set, services)
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, text)
			}
			s := newSearch(t.Context(), g, Options{MaxStates: *walkSize})
			if s.bound != "" {
				continue
			}
			n, missing := s.live(r, 3)
			if missing != "" {
				t.Fatalf("seed %d: the search meets no\n%s\n%s", seed, missing, text)
			}
			lived, kinds = lived+1, kinds+n
		}
	}
	t.Logf("%d groups were lived in, with %d kinds of world", lived, kinds)
	if lived < *walkSeeds/2 {
		t.Errorf("of %d files %d groups were small enough", *walkSeeds, lived)
	}
}

// drawnRules are rules of one to three services, of which one may look at another, with all that a rule can say.
func drawnRules(r *rand.Rand) string {
	names := []string{"shop", "checkout", "search"}[:1+r.IntN(3)]
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString("---\n")
		}
		d := drawing{Rand: r, names: names, name: name}
		b.WriteString(d.service())
	}
	return b.String()
}

type drawing struct {
	*rand.Rand
	names []string
	name  string
	modes []string
}

func (d *drawing) oneOf(list ...string) string { return list[d.IntN(len(list))] }

func (d *drawing) chance(n int) bool { return d.IntN(n) == 0 }

func (d *drawing) service() string {
	head := string(service(d.name, "").Data)
	var b strings.Builder
	b.WriteString(head)
	d.modes = []string{"normal", "degraded", "closed", "aside"}[:2+d.IntN(3)]
	top := d.names[0]
	if d.name != top && d.chance(2) {
		fmt.Fprintf(&b, "parent: %s\n", top)
	}
	b.WriteString("modes:\n")
	for i, m := range d.modes {
		fmt.Fprintf(&b, "  - name: %s\n", m)
		switch {
		case m == "aside":
			b.WriteString("    beside: true\n")
		case i > 0 && d.chance(2):
			fmt.Fprintf(&b, "    min_duration: %s\n", d.oneOf("30s", "2m"))
		}
		if d.name == top && i > 0 && m != "aside" && d.chance(3) {
			b.WriteString("    imposes: degraded\n")
		}
		if i > 0 && d.chance(4) {
			b.WriteString("    max_duration: 10m\n")
		}
	}
	b.WriteString("transitions:\n")
	for i := range 2 + d.IntN(3) {
		from := d.IntN(len(d.modes))
		if i < 2 {
			from = i // out of the first mode, and back
		}
		to := (from + 1 + d.IntN(len(d.modes)-1)) % len(d.modes)
		b.WriteString(d.transition(fmt.Sprintf("t%d", i), d.modes[from], d.modes[to]))
	}
	return b.String()
}

func (d *drawing) condition() string {
	one := func() string {
		return d.oneOf(`sli("load") > 0.9`, `sli("load") < 0.5`, `sli("load") > 0.2`, `burning("availability", "page")`, `!burning("availability", "page")`,
			`schedule("night")`, `!schedule("night")`, `alert("Down")`, `dwell() > duration("3m")`, fmt.Sprintf("mode(%q) == %q", d.oneOf(d.names...), d.oneOf("normal", "degraded")))
	}
	switch d.IntN(4) {
	case 0:
		return one() + " && " + one()
	case 1:
		return one() + " || " + one()
	}
	return one()
}

func (d *drawing) transition(name, from, to string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %s\n    from: [%s]\n    to: %s\n    when: '%s'\n", name, from, to, d.condition())
	if d.chance(2) {
		fmt.Fprintf(&b, "    for: %s\n", d.oneOf("30s", "2m"))
	}
	gated := d.chance(3)
	if gated {
		fmt.Fprintf(&b, "    approval: {groups: [%s], within: %s%s}\n", d.oneOf("{role: a}", "{role: a, count: 2}", "{role: a}, {role: b}"), d.oneOf("1m", "5m"),
			d.oneOf("", ", otherwise: page", ", otherwise: escalate, to: [{role: c}]"))
	}
	acts := d.chance(3)
	if acts {
		b.WriteString("    actions:\n")
		for i := range 1 + d.IntN(2) {
			fmt.Fprintf(&b, "      - name: act%d\n        webhook: {url: \"https://x.example.com/do\"}\n", i)
			switch destructive := gated && d.chance(2); {
			case d.chance(2):
				b.WriteString("        undo: {webhook: {url: \"https://x.example.com/undo\"}}\n")
				if destructive {
					b.WriteString("        destructive: true\n")
				}
			case destructive:
				b.WriteString("        destructive: true\n        irreversible: true\n")
			}
			if d.chance(3) {
				b.WriteString("        attempts: 2\n")
			}
		}
		if d.chance(3) {
			b.WriteString("    publish: last\n")
		}
	}
	if d.chance(4) {
		fmt.Fprintf(&b, "    verify: '%s'\n", d.condition())
	}
	if d.chance(4) {
		fmt.Fprintf(&b, "    on_failure: %s\n", d.oneOf("hold", "undo"))
	}
	switch d.IntN(5) {
	case 0:
		fmt.Fprintf(&b, "    until: '%s'\n", d.condition())
	case 1:
		b.WriteString("    undo: entry\n")
	case 2:
		b.WriteString("    rollout: {waves: [50, 100], pause: 30s}\n")
	}
	if d.chance(2) {
		fmt.Fprintf(&b, "    retry_after: %s\n", d.oneOf("1m", "10m"))
	}
	return b.String()
}
