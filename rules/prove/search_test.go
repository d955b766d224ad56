package prove

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// searched searches the only group of a set of files.
func searched(t testing.TB, paths ...string) *search {
	t.Helper()
	set := load(t, paths...)
	g, err := newGroup(set, groups(set)[0])
	if err != nil {
		t.Fatal(err)
	}
	s := newSearch(t.Context(), g, Options{MaxStates: DefaultMaxStates, MaxBytes: DefaultMaxBytes})
	if s.bound != "" {
		t.Fatalf("a bound was reached: %s", s.bound)
	}
	return s
}

// One call of Decide stands for all evaluations until something is due: with each of them carried out, what comes of a path is the same.
func TestEvaluationsThatAreLeftOutChangeNothing(t *testing.T) {
	for _, path := range []string{filepath.Join("..", "..", "examples", "windows", "rules"), filepath.Join("..", "..", "examples", "shop", "shop.rules.yaml"),
		filepath.Join("..", "testdata", "good", "gateway.yaml")} {
		if testing.Short() && filepath.Base(path) == "gateway.yaml" {
			continue // thousands of states: once is enough
		}
		s := searched(t, path)
		g := s.g
		var buf writer
		left := 0
		for id := 0; id < len(s.nodes); id += 1 + len(s.nodes)/200 {
			short, long := g.begin(), g.begin()
			for _, st := range s.path(int32(id)) {
				g.fill(short, &st, false)
				for st.kind == stepObserve {
					tick := st
					tick.at = number(long.now.Add(g.members[0].policy.Interval))
					if tick.at >= st.at {
						break
					}
					tick.seen = g.exact(long, tick.at, st.valuation)
					next, events, _ := g.apply(long, &tick)
					if told := g.members[0].tell(&long.states[0], events[0]); len(told) > 0 {
						t.Fatalf("%s: after %s an evaluation that was left out does something: %v", path, After(long.now), told)
					}
					left, long = left+1, next
				}
				next, events, _ := g.apply(short, &st)
				longer, also, _ := g.apply(long, &st)
				if a, b := g.members[0].tell(&short.states[0], events[0]), g.members[0].tell(&long.states[0], also[0]); !slices.Equal(a, b) {
					t.Fatalf("%s: %v, and with all evaluations %v", path, a, b)
				}
				short, long = next, longer
			}
			if g.key(short, &buf) != g.key(long, &buf) {
				t.Fatalf("%s: state %d is another one with all evaluations", path, id)
			}
		}
		if left == 0 {
			t.Errorf("%s: no evaluation was left out: nothing was compared", path)
		}
	}
}

func TestASearchFindsTheSameEachTime(t *testing.T) {
	path := filepath.Join("..", "..", "examples", "shop", "shop.rules.yaml")
	a, b := searched(t, path), searched(t, path)
	if len(a.nodes) != len(b.nodes) || a.decisions != b.decisions || !reflect.DeepEqual(a.nodes, b.nodes) || !slices.Equal(a.edges, b.edges) {
		t.Errorf("%d states and %d decisions, and then %d and %d", len(a.nodes), a.decisions, len(b.nodes), b.decisions)
	}
}

// What a search meets is worth something only when it meets what matters.
// What rests in one scope is not what rests in another, and no transition stands for one of the same place modulo the bits there are.
func TestWhatRestsElsewhereIsToldApart(t *testing.T) {
	many := wellApart
	for i := range 70 {
		many += fmt.Sprintf("  - {name: recover-%d, from: [degraded], to: normal, when: sli(\"load\") < 0.1}\n", i)
	}
	look := func(other string) string {
		return strings.Replace(many, "> 0.9", `> 0.9 && mode("`+other+`") == "normal"`, 1)
	}
	set := compile(t, service("cart", look("checkout")), service("checkout", look("cart")))
	g, err := newGroup(set, groups(set)[0])
	if err != nil || len(g.members) != 2 {
		t.Fatalf("%v: %v", g, err)
	}
	var buf writer
	type seen struct {
		key       key
		elsewhere uint64
	}
	had := map[seen]string{}
	for i, m := range g.members {
		for k := range m.policy.Transitions {
			if leaves(&m.policy.Transitions[k], m.first()) {
				continue
			}
			w := g.begin()
			w.states[i].Resting = []engine.Rest{{Transition: m.policy.Transitions[k].Name, Since: w.now, Retry: engine.RetryRules{After: time.Hour}}}
			as := seen{g.key(w, &buf), buf.elsewhere}
			name := string(m.scope) + "/" + m.policy.Transitions[k].Name
			if other, is := had[as]; is {
				t.Fatalf("where %s rests is taken for where %s does", name, other)
			}
			had[as] = name
		}
	}
}

// What is kept of an evaluation is given again only where all that it rests on is the same: also how long the mode has lasted, where a
// transition out of another mode rests until its condition is false.
func TestAnEvaluationIsNotTakenForOneAtAnotherAgeOfTheMode(t *testing.T) {
	set := compile(t, service("checkout", wellApart[:strings.Index(wellApart, "transitions:")]+`transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: 'sli("load") < 0.5 && dwell() > duration("10m")'}
`))
	find := func(ages ...time.Duration) (choices []choice) {
		g, err := newGroup(set, groups(set)[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, age := range ages {
			w := g.begin()
			w.states[0].Resting = []engine.Rest{{Transition: "recover", Since: w.now, Retry: engine.RetryRules{After: time.Hour}}}
			w.now = w.now.Add(age)
			choices = g.find(w, number(w.now))
		}
		return choices
	}
	for _, ages := range [][2]time.Duration{{time.Minute, 20 * time.Minute}, {20 * time.Minute, time.Minute}} {
		if alone, after := find(ages[1]), find(ages[0], ages[1]); !reflect.DeepEqual(alone, after) {
			t.Errorf("after %v it finds %d things, %+v; and after %v too %d, %+v", ages[1], len(alone), alone, ages[0], len(after), after)
		}
	}
}

func TestAWalkEndsWithItsContext(t *testing.T) {
	body := "modes: [{name: normal}, {name: degraded}]\ntransitions:\n  - {name: recover, from: [degraded], to: normal, when: 'sli(\"load\") < 0.5 && sli(\"load\") > 0.5'}\n"
	for i := range 5 { // each true, false or unknown by itself
		body += fmt.Sprintf("  - {name: shed-%d, from: [normal], to: degraded, when: 'burn_rate(\"availability\", \"%dm\") > 2.0', for: 1m}\n", i, 5*(i+1))
	}
	set := compile(t, service("checkout", body))
	g, err := newGroup(set, groups(set)[0])
	if err != nil {
		t.Fatal(err)
	}
	s, w := emptySearch(g, Options{}.complete()), g.begin()
	s.meet(g.key(w, new(writer)), 0, w, -1, step{})
	ctx, cancel := context.WithCancel(t.Context())
	decided := 0
	s.g.decide = func(p engine.Policy, was engine.State, in engine.Input) []engine.Event {
		if decided++; decided == 3 {
			cancel()
		}
		return engine.Decide(p, was, in)
	}
	if c := s.steady(ctx); c != nil || !s.stopped || decided > 300 { // those of one evaluation, 3^5
		t.Errorf("%v after %d decisions, and the bound %q: want the walk to end with its context", c, decided, s.bound)
	}
}

func TestASearchMeetsWhatMatters(t *testing.T) {
	s := searched(t, filepath.Join("..", "..", "examples", "shop", "shop.rules.yaml"))
	met := map[string]bool{}
	for id := range s.nodes {
		w := s.g.begin()
		for _, st := range s.path(int32(id)) {
			s.g.fill(w, &st, false)
			w, _, _ = s.g.apply(w, &st)
		}
		state := &w.states[0]
		c := state.Change
		for what, is := range map[string]bool{
			"approved in part or asked": len(state.Proposals) > 0, "acting": c != nil && c.Running != nil && !c.Running.Undo,
			"taking back": c != nil && c.Undoing && c.Running != nil, "stuck": c != nil && c.Stuck, "a wave": c != nil && c.Waved > 0 && !c.Rolled,
			"a wave that is held": c != nil && c.Stopped != nil, "verifying": c != nil && c.Verify != "", "failover": state.Mode == "failover",
			"resting": slices.ContainsFunc(state.Resting, func(r engine.Rest) bool { return rests(state, &r) }),
			"long":    w.now.Sub(epoch) > 10*time.Minute,
		} {
			met[what] = met[what] || is
		}
	}
	for what, is := range met {
		if !is {
			t.Errorf("the search meets no state that is %s", what)
		}
	}
}

// What moves a scope may come about in the very evaluation in which something else is due: here the last wave of a way back is over, its
// step begins, and the service is shed again.
func TestWhatTurnsInTheEvaluationInWhichSomethingIsDueIsMet(t *testing.T) {
	set := compile(t, service("shop", `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - name: recover
    from: [degraded]
    to: normal
    when: sli("load") < 0.5
    actions: [{name: warm, webhook: {url: "https://x.example.com/warm"}}]
    rollout: {waves: [50, 100], pause: 2m}
`))
	g, err := newGroup(set, groups(set)[0])
	if err != nil {
		t.Fatal(err)
	}
	s := newSearch(t.Context(), g, Options{MaxStates: DefaultMaxStates})
	for id := range s.nodes {
		w := g.begin()
		for _, st := range s.path(int32(id)) {
			g.fill(w, &st, false)
			next, events, _ := g.apply(w, &st)
			told := strings.Join(g.members[0].tell(&w.states[0], events[0]), "; ")
			if w = next; strings.Contains(told, "warm runs") && strings.Contains(told, "shed starts") {
				return
			}
		}
	}
	t.Errorf("in none of %d states has the step begun in the evaluation in which the service was shed", len(s.nodes))
}
