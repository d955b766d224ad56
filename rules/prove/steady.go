package prove

import (
	"context"

	"github.com/modeshift/modeshift/engine"
)

// cycle is a way that goes round for ever while all that is measured stays as it is.
type cycle struct {
	node  int32 // it begins at
	steps []step
	loop  int // the index of the step that begins the round
}

// walk follows what is steady from a world on: all that is measured stays the same, targets do what they are asked, nobody answers a gate. There is
// one way on for each thing that can be measured, and each ends where nothing changes any more, or goes round.
type walk struct {
	s         *search
	ctx       context.Context // of one call of steady
	buf       writer
	steps     []step
	keys      []key
	moved     []bool // whether the step from keys[i] published another mode
	failed    []bool // whether something failed in it: it is tried again after retry_after, as declared
	found     *cycle
	decisions int
}

// maxWalk bounds a walk; far above what rules lead to.
const maxWalk = 2000

// steady looks for a way that goes round, from each kind of world in which nothing is under way.
func (s *search) steady(ctx context.Context) *cycle {
	w := &walk{s: s, ctx: ctx}
	for _, k := range s.restOrder {
		r := s.rests[k]
		if s.bounded(ctx) {
			return nil
		}
		w.steps, w.keys, w.moved, w.failed = nil, nil, nil, nil
		w.from(r.world, nil)
		s.decisions += int64(w.decisions)
		w.decisions = 0
		if w.found != nil {
			w.found.node = r.node
			return w.found
		}
	}
	return nil
}

func (w *walk) from(at *world, in within) {
	k := w.s.g.key(at, &w.buf)
	for i, had := range w.keys {
		if had != k {
			continue
		}
		moved, failed := false, false
		for n := i; n < len(w.keys); n++ {
			moved, failed = moved || w.moved[n], failed || w.failed[n]
		}
		if moved && !failed {
			w.found = &cycle{steps: append([]step(nil), w.steps...), loop: i}
		}
		return
	}
	if w.ctx.Err() != nil && w.s.bounded(w.ctx) { // what may be measured can be thousands of things, each with a way on of its own
		return
	}
	if len(w.keys) > maxWalk {
		w.s.bound = "a steady input that settles late"
		return
	}
	w.keys = append(w.keys, k)
	defer func() { w.keys = w.keys[:len(w.keys)-1] }()
	follow := func(st step, next *world, events [][]engine.Event, of within) {
		if w.found != nil || w.s.bound != "" {
			return
		}
		st.seen, st.modes = nil, nil
		w.steps, w.moved, w.failed = append(w.steps, st), append(w.moved, shifts(at, next)), append(w.failed, fails(events))
		w.from(next, of)
		n := len(w.steps) - 1
		w.steps, w.moved, w.failed = w.steps[:n], w.moved[:n], w.failed[:n]
	}
	for i, m := range w.s.g.members {
		if st, has := m.answer(&at.states[i], at, i); has {
			next, events, _ := w.s.g.apply(at, &st)
			w.decisions++
			follow(st, next, events, in)
			return
		}
	}
	w.decisions += w.s.g.evaluations(at, in, true, &w.buf, func(st step, of within, next *world, events [][]engine.Event, _ []violation) {
		follow(st, next, events, of)
	})
}

// answer is what targets and instances say when all goes well.
func (m *member) answer(s *engine.State, w *world, i int) (step, bool) {
	c := s.Change
	st := step{member: i, at: number(w.now)}
	switch {
	case c == nil || c.Stuck:
		return st, false
	case m.waves && c.Published && !c.Rolled && c.Applied == nil && c.Stopped == nil:
		st.kind, st.word = stepInstances, "applied"
	case c.Running != nil && c.Running.Finding:
		st.kind, st.word, st.count = stepFound, c.Running.Step.Name, 1
	case c.Running != nil:
		st.kind, st.word = stepOutcome, string(engine.OutcomeDone)
	default:
		return st, false
	}
	return st, true
}

// shifts reports whether some target is another one after a step.
func shifts(before, after *world) bool {
	for i := range before.states {
		if before.states[i].Target != after.states[i].Target {
			return true
		}
	}
	return false
}

func fails(events [][]engine.Event) bool {
	for _, list := range events {
		for _, e := range list {
			if _, is := e.Fact.(engine.ChangeFailed); is {
				return true
			}
		}
	}
	return false
}
