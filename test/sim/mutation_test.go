package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// mutated is the rules as a core with a fault would take them.
func mutated(p engine.Policy, mutation string) engine.Policy {
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
var mutants = []struct{ name, words string }{
	{"a forgotten digest", "never said yes to"},
	{"lease taken early", "its target knows no key, and it is attempted 2 times"},
	{"a lost undo", "was not taken back"},
	{"unknown is false", "was taken for false"},
	{"for over a gap", "and has to be for"},
	{"denied and proposed again", "its condition was not false since"},
	{"more targets than approved", "nothing like that was found"},
	{"said done, not done", "is said to have happened once, and it has 0 times"},
	{"a second key for the second attempt", "has happened 2 times"},
	{"failed after unknown", "is said not to have happened, and it has"},
}

func TestTheSimulationCatchesEveryMutant(t *testing.T) {
	const within = 200 // seeds
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= within; seed++ {
				s := prepare(seed)
				s.mutation = m.name
				o := play(t, s)
				if i := slices.IndexFunc(o.broken, func(b string) bool { return strings.Contains(b, m.words) }); i >= 0 {
					t.Logf("caught by seed %d: %s", seed, o.broken[i])
					return
				}
			}
			t.Errorf("%d seeds, and none of them says that something %q", within, m.words)
		})
	}
}
