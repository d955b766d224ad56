package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// thing is something that happens in a story. The fields a kind does not need are zero.
type thing struct {
	at    time.Duration // since the story's beginning
	kind  string
	scope engine.Scope
	who   int // index into people
	what  string
	n     int
	span  time.Duration
	yes   bool
	twice bool
}

func (t thing) String() string {
	words := []string{fmt.Sprintf("%12s  %-9s", t.at.Round(time.Millisecond), t.kind)}
	if t.scope != "" {
		words = append(words, string(t.scope))
	}
	if t.who > 0 {
		words = append(words, "by "+people[t.who].Principal)
	}
	if t.what != "" {
		words = append(words, t.what)
	}
	if t.n != 0 {
		words = append(words, fmt.Sprint("n=", t.n))
	}
	if t.span != 0 {
		words = append(words, t.span.String())
	}
	if t.yes {
		words = append(words, "yes")
	}
	if t.twice {
		words = append(words, "twice")
	}
	return strings.Join(words, " ")
}

// person is somebody with a token.
type person struct {
	engine.Actor
	roles []string
}

// people holds everybody; the first is nobody, so that a thing's zero who is not a person. Two of them are one person.
var people = []person{
	{},
	{engine.Actor{Principal: "alice", Person: "alice"}, []string{"oncall"}},
	{engine.Actor{Principal: "bob", Person: "bob"}, []string{"oncall"}},
	{engine.Actor{Principal: "carol", Person: "carol"}, []string{"lead", "oncall"}},
	{engine.Actor{Principal: "dave", Person: "dave"}, []string{"commander", engine.RoleOperator}},
	{engine.Actor{Principal: "alice-phone", Person: "alice"}, []string{"lead", "oncall"}},
	{engine.Actor{Principal: "eve", Person: "eve"}, []string{"viewer"}},
	{engine.Actor{Principal: "root", Person: "root"}, []string{engine.RoleBreakGlass}},
}

// drawStory draws what happens within length.
func drawStory(seed uint64, scopes []member, length time.Duration) []thing {
	var story []thing
	for _, m := range scopes {
		story = append(story, drawLife(chance(seed, "story of "+string(m.scope)), m, length)...)
	}
	story = append(story, drawTimes(chance(seed, "story"), length)...)
	slices.SortStableFunc(story, func(a, b thing) int { return int(a.at - b.at) })
	return story
}

// drawLife draws what happens to one scope.
func drawLife(r *rand.Rand, m member, length time.Duration) []thing {
	var story []thing
	add := func(t thing) {
		// No two things at one instant, and none at an instant at which something else is due.
		t.at += time.Duration(1+r.IntN(999_999)) * time.Nanosecond
		story = append(story, t)
	}
	at := func() time.Duration { return time.Duration(r.Int64N(int64(length))) }
	drawWeather(r, m.rules[0], length, add)
	// People answer in bursts: several at about the same time, as they do when they were paged.
	bursts, asks := 28, 8
	if m.small {
		bursts, asks = 4, 5
	}
	for range bursts {
		when := at()
		for range 1 + r.IntN(4) {
			when += time.Duration(r.IntN(20_000)) * time.Millisecond
			add(thing{at: when, kind: "review", scope: m.scope, who: 1 + r.IntN(len(people)-1), n: r.IntN(3), yes: r.IntN(8) > 0,
				twice: r.IntN(5) == 0, what: pick(r, "", "", "", "", "", "wrong", "stale", "short", "blind", "blind", "mute")})
		}
	}
	for range asks {
		mode := pick(r, "normal", "degraded", "read-only", "failover")
		t := thing{at: at(), scope: m.scope, who: 1 + r.IntN(len(people)-1), what: mode}
		switch t.kind = pick(r, "set", "set", "directive", "directive", "force", "bypass", "unpin", "freeze", "unfreeze", "cancel", "cancel", "undo", "undo", "settle", "settle"); t.kind {
		case "set", "directive", "force", "bypass", "freeze":
			t.span = pick(r, time.Minute, 5*time.Minute, 20*time.Minute)
		case "settle":
			t.what = pick(r, "done", "undone")
		}
		add(t)
	}
	add(thing{at: at(), kind: "rules", scope: m.scope, n: r.IntN(variants)})
	if r.IntN(2) == 0 {
		add(thing{at: at(), kind: "rules", scope: m.scope, n: r.IntN(variants)})
	}
	if m.small {
		return story
	}
	for range 2 {
		drawBlindness(r, m.rules[0], at(), add)
	}
	if m.instances == 0 && r.IntN(4) > 0 {
		return story
	}
	for range 3 + r.IntN(6) {
		add(thing{at: at(), kind: "instance", scope: m.scope, n: r.IntN(2 * most), span: pick(r, 20*time.Second, 2*time.Minute, 10*time.Minute),
			what: pick(r, "refuses", "refuses", "hangs", "cut", "cut", "joins", "leaves", "replaced", "all leave")})
	}
	return story
}

// drawTimes draws what happens to all.
func drawTimes(r *rand.Rand, length time.Duration) []thing {
	var story []thing
	add := func(t thing) {
		t.at += time.Duration(1+r.IntN(999_999)) * time.Nanosecond
		story = append(story, t)
	}
	at := func() time.Duration { return time.Duration(r.Int64N(int64(length))) }
	for range 1 + r.IntN(2) {
		add(thing{at: at(), kind: "storm", what: pick(r, "lie", "outage"), span: pick(r, 30*time.Second, 3*time.Minute, 15*time.Minute)})
	}
	for range 2 {
		add(thing{at: at(), kind: pick(r, "freeze", "unfreeze"), scope: engine.Fleet, who: 1, span: pick(r, time.Minute, 10*time.Minute)})
		add(thing{at: at(), kind: pick(r, "blind", "hang"), span: pick(r, 20*time.Second, time.Minute, 4*time.Minute)})
		add(thing{at: at(), kind: "target", what: pick(r, "fails", "unknown", "lost", "slow", "refuses", "shaky", "mixed"), span: pick(r, time.Minute, 5*time.Minute, 15*time.Minute)})
		add(thing{at: at(), kind: "pager", span: pick(r, time.Minute, 10*time.Minute)})
		add(thing{at: at(), kind: "log", what: pick(r, "before", "after", "both"), n: pick(r, 5, 30, 100), span: pick(r, 10*time.Second, time.Minute, 3*time.Minute)})
	}
	if r.IntN(2) == 0 {
		add(thing{at: at(), kind: "target", what: "shaky", span: 30 * time.Minute})
	}
	for range r.IntN(4) {
		add(thing{at: at(), kind: "crash", span: pick(r, 100*time.Millisecond, 5*time.Second, 40*time.Second, 6*time.Minute)})
	}
	for range r.IntN(6) {
		add(thing{at: at(), kind: "die", what: pick(r, "act", "act", "act", "act", "act", "append", "append", "mark", "done", "begin", "begin", "lease", "snapshot", "load") + pick(r, " before", " after"),
			n: 1 + r.IntN(4), span: pick(r, 100*time.Millisecond, 5*time.Second, time.Minute)})
	}
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			add(thing{at: at(), kind: "jump", span: pick(r, -time.Hour, -2*time.Minute, -20*time.Second, 20*time.Second, 2*time.Minute, 30*time.Minute)})
		}
	}
	if r.IntN(2) == 0 {
		add(thing{at: at(), kind: "rate", n: 50 + r.IntN(151)})
	}
	return story
}

// drawBlindness draws what chance seldom brings about: somebody says yes to what cannot be seen, it is seen for a moment, and is out
// of sight again when the others say yes.
func drawBlindness(r *rand.Rand, p engine.Policy, at time.Duration, add func(thing)) {
	for _, t := range p.Transitions {
		if t.Gate == nil || r.IntN(3) > 0 {
			continue
		}
		for _, truth := range []string{"true", "unknown", "true", "unknown"} {
			add(thing{at: at, kind: "truth", scope: p.Scope, what: p.Conditions[t.When].Name + "=" + truth})
			at += 40 * time.Second
			if truth == "true" {
				at += t.For
				continue
			}
			who := []int{1} // alice
			if t.For = 0; r.IntN(2) == 0 {
				who = []int{2, 3, 4, 5}
			}
			for _, w := range who {
				add(thing{at: at, kind: "review", scope: p.Scope, who: w, n: r.IntN(3), yes: true, what: pick(r, "", "blind")})
				at += time.Second
			}
		}
		return
	}
}

// drawTruths draws how a condition stands from when on. True and false last for minutes, unknown comes in between.
func drawTruths(r *rand.Rand, scope engine.Scope, name string, length time.Duration, add func(thing)) {
	usual := pick(r, "false", "false", "true")
	if strings.HasSuffix(name, ".verify") || strings.HasSuffix(name, ".rollout") {
		usual = "true"
	}
	for at := time.Duration(0); at < length; {
		what := pick(r, usual, usual, "true", "false", "unknown", "no-traffic")
		add(thing{at: at, kind: "truth", scope: scope, what: name + "=" + what})
		at += time.Duration(10+r.IntN(60*(1+r.IntN(10)))) * time.Second
	}
}
