package rules

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Need is a signal that something rests on.
type Need struct {
	Signal     Signal
	Conditions []string // by name, in the order of the file
}

// Needs are the signals of sources that the service's transitions rest on, with the names of the conditions that do: a signal
// that cannot be seen is a transition that cannot start, or a change that cannot be verified. A budget rests on what its SLO
// measures of late; one that is narrowed to the instances of a wave, on the same of all instances.
func (s *Service) Needs() []Need {
	var needs []Need
	at := map[Signal]int{}
	add := func(sig Signal, condition string) {
		sig.Every, sig.Narrowed = 0, false
		switch sig.Kind {
		case SignalBudget:
			sig.Kind, sig.Window = SignalSLO, shortest
		case SignalSLO, SignalSLI, SignalAlert:
		default: // known without asking anybody
			return
		}
		i, there := at[sig]
		if !there {
			i = len(needs)
			at[sig] = i
			needs = append(needs, Need{Signal: sig})
		}
		if c := &needs[i].Conditions; len(*c) == 0 || (*c)[len(*c)-1] != condition {
			*c = append(*c, condition)
		}
	}
	rests := func(i int) {
		for _, sig := range s.Conditions[i].Signals() {
			add(sig, s.Conditions[i].Name)
		}
	}
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		rests(t.When)
		refs := []engine.ConditionRef{t.Until, t.Playbook.Verify}
		if t.Rollout != nil {
			refs = append(refs, t.Rollout.Verify)
		}
		for _, ref := range refs {
			if k, ok := ref.Index(); ok {
				rests(k)
			}
		}
	}
	return needs
}

// shortest is the window in which a budget's SLO is looked at.
const shortest = 5 * time.Minute
