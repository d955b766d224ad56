package sim

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// mutated is the rules as a core with a fault would take them.
func mutated(p engine.Policy, mutation string) engine.Policy {
	switch mutation {
	case "automation that is always on":
		p.Automation = ""
	case "nothing is damped":
		p.Flap = engine.Flap{}
	case "nothing is imposed":
		p.Modes = slices.Clone(p.Modes)
		for i := range p.Modes {
			p.Modes[i].Imposes = ""
		}
	}
	if mutation != "a lost undo" && mutation != "denied and proposed again" {
		return p
	}
	p.Transitions = slices.Clone(p.Transitions)
	for i := range p.Transitions {
		t := &p.Transitions[i]
		if mutation == "denied and proposed again" {
			t.RetryAfter = time.Nanosecond
			continue
		}
		t.Playbook.Steps = slices.Clone(t.Playbook.Steps)
		for k := range t.Playbook.Steps {
			t.Playbook.Steps[k].Undo = false
		}
	}
	return p
}

// mutants are faults that the simulation has to catch, with the words by which it must: what a change of the core, of the
// store or of the runner could break without anybody noticing.
var mutants = []struct {
	name, words string
	from        uint64 // the seed at which to begin, near one that catches what few do
}{
	{"a forgotten digest", "never said yes to", 1},
	{"lease taken early", "its target knows no key, and it is attempted 2 times", 570},
	{"a lost undo", "was not taken back", 1},
	{"unknown is false", "was taken for false", 1},
	{"for over a gap", "and has to be for", 1},
	{"denied and proposed again", "its condition was not false since", 1},
	{"more targets than approved", "nothing like that was found", 1},
	{"said done, not done", "is said to have happened once, and it has 0 times", 1},
	{"a second key for the second attempt", "has happened 2 times", 1},
	{"failed after unknown", "is said not to have happened, and it has", 1},
	{"automation that is always on", "it starts by itself, and automation is", 1},
	{"nothing is damped", "it takes protection away after", 1},
	{"nothing is imposed", "is asked for from above", 1},
	{"a brake that lets one more through", "scopes moved by themselves within", 1},
	{"a page that gets lost", "the pager never had", 1},
}

func TestTheSimulationCatchesEveryMutant(t *testing.T) {
	within := uint64(200) // seeds
	if testing.Short() {
		within = 2 // to run the faults too, under the race detector: most need more to be caught
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := m.from; seed < m.from+within; seed++ {
				s := prepare(seed)
				s.mutation = m.name
				o := play(t, s)
				if i := slices.IndexFunc(o.broken, func(b string) bool { return strings.Contains(b, m.words) }); i >= 0 {
					t.Logf("caught by seed %d: %s", seed, o.broken[i])
					return
				}
			}
			if testing.Short() {
				t.Skipf("%d seeds are not enough", within)
			}
			t.Errorf("%d seeds, and none of them says that something %q", within, m.words)
		})
	}
}

func TestAFailingSeedIsToldShorterAndIsRepeatedByItsCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("plays one story a hundred times")
	}
	s := prepare(1)
	s.mutation = "a lost undo"
	const words = "was not taken back"
	o := play(t, s)
	for ; !strings.Contains(strings.Join(o.broken, " "), words); o = play(t, s) {
		if s.seed == 50 {
			t.Fatal("no seed fails")
		}
		s = prepare(s.seed + 1)
		s.mutation = "a lost undo"
	}
	small, least := shrink(t, s, o)
	if len(small.story) > len(s.story)/4 || len(small.story) == 0 {
		t.Errorf("of a story of %d things %d are left", len(s.story), len(small.story))
	}
	for _, th := range small.story {
		if !slices.Contains(s.story, th) {
			t.Errorf("%s was not in the story", th)
		}
	}
	if again := play(t, small); len(again.broken) == 0 || kindOf(again) != kindOf(o) || again.trace != least.trace {
		t.Errorf("the shrunk story says %q, and the whole one %q", again.broken, o.broken)
	}
	told := account(s, o, small, least)
	_, command, _ := strings.Cut(told, "repeat: go test ./test/sim -count=1 -v ")
	command, story, _ := strings.Cut(command, "\n")
	if n := strings.Count(story, "\n  "); n < len(small.story) || !strings.Contains(story, least.broken[0]) {
		t.Errorf("of %d things %d are told:\n%s", len(small.story), n, told)
	}
	// As a shell would part it; the program is this one, which go test has built.
	name, fault, _ := strings.Cut(command, " -sim.mutation ")
	args := append(strings.Fields(strings.Replace(name, "-run", "-test.run", 1)), "-test.v", "-sim.mutation", strings.Trim(fault, "'"))
	out, err := exec.CommandContext(t.Context(), os.Args[0], args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), o.broken[0]) || !strings.Contains(string(out), "repeat: go test") {
		t.Errorf("%q: %v\n%s", args, err, out[:min(len(out), 3000)])
	}
}
