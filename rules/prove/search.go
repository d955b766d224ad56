package prove

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
)

// node is a world the search has met. Its world itself is kept only until what follows from it is known: it is made again from its path.
type node struct {
	parent int32
	step   step // that led there; its observations are left out
	modes  int32
	home   uint64 // the members that are in their first mode, settled
	calm   bool   // no change is under way
}

// edge leads from a node to another.
type edge struct {
	from, to int32
	people   bool
}

// search is one search of a group.
type search struct {
	g         *group
	opts      Options
	nodes     []node
	edges     []edge
	found     map[key]met
	byHand    int32    // the first node that is reached only because somebody went around the rules
	names     []string // modes of all members, by node.modes
	named     map[string]int32
	targets   [][]engine.Mode // by node.modes, of each member
	rests     map[key]rest    // the worlds in which nothing is under way, one of each kind
	restOrder []key
	decisions int64
	bound     string // that was reached; empty: none was
	stopped   bool   // whoever asked does not want to know any more
	faults    map[Property]fault
}

// met is a node by its key, and others of the same key in which other transitions rest elsewhere.
type met struct {
	node      int32
	elsewhere uint64
	others    []met
}

// known finds a node of a key in which no other transitions rest: what can become of it is all that can become of one in which more do.
func (s *search) known(k key, elsewhere uint64) int32 {
	had, is := s.found[k]
	if !is {
		return -1
	}
	if had.elsewhere&^elsewhere == 0 {
		return had.node
	}
	for _, o := range had.others {
		if o.elsewhere&^elsewhere == 0 {
			return o.node
		}
	}
	return -1
}

// rest is a world in which nothing is under way.
type rest struct {
	node  int32
	world *world
}

// fault is a step after which a property does not hold.
type fault struct {
	node int32
	step step
	text string
}

// successor is what follows from a world by a step.
type successor struct {
	step  step
	key   key
	world *world // nil when it was known already
	known int32
	wrong []violation

	elsewhere uint64
}

// expansion is all that follows from a node.
type expansion struct {
	successors []successor
	decisions  int
}

// evaluations are what an evaluation can find, and what becomes of the world: at the next instant or, where that changes nothing, at the
// next one at which it may. One call of Decide stands for all the evaluations until then: each of them finds the same, and changes
// nothing, because nothing the state waits for is due before. What would change something sooner may come about at that very instant too.
// With all, each part of what may be measured is followed by itself, and stays as it is.
func (g *group) evaluations(w *world, in within, all bool, buf *writer, give func(st step, of within, next *world, events [][]engine.Event, wrong []violation)) int {
	here, decisions := g.key(w, buf), 0
	soon := number(w.now.Add(g.members[0].policy.Interval))
	var quiet []within
	for _, c := range g.find(w, soon) {
		of, one := c.of.meet(in)
		if of == nil {
			continue
		}
		st := step{kind: stepObserve, at: soon, valuation: one, seen: c.seen, modes: c.modes}
		next, events, wrong := g.apply(w, &st)
		decisions++
		if len(wrong) > 0 || moves(events) || g.key(next, buf) != here {
			give(st, of, next, events, wrong)
		} else {
			quiet = append(quiet, of)
		}
	}
	due := g.due(w, buf)
	if quiet == nil || due <= soon {
		return decisions
	}
	var before *world // with all but what is due
	for _, c := range g.find(w, due) {
		found := false
		for _, still := range quiet {
			of, one := c.of.meet(still)
			if of == nil {
				continue
			}
			st := step{kind: stepObserve, at: due, valuation: one, seen: c.seen, modes: c.modes}
			next, events, wrong := g.apply(w, &st)
			decisions++
			give(st, of, next, events, wrong)
			if found = true; !all {
				break // whatever else comes to this, the same follows from it
			}
		}
		if found || all {
			continue
		}
		// What moves something by itself, and comes about in the very evaluation in which something is due.
		calm := step{kind: stepObserve, at: due - soon + number(w.now), valuation: quiet[0].one()}
		if before == nil {
			g.fill(w, &calm, false)
			before, _, _ = g.apply(w, &calm)
			decisions++
		}
		st := step{kind: stepObserve, at: due, valuation: c.valuation, seen: c.seen, modes: c.modes, before: calm.valuation}
		next, events, wrong := g.apply(before, &st)
		decisions++
		give(st, c.of, next, events, wrong)
	}
	return decisions
}

// moves reports whether events say that a mode was published.
func moves(events [][]engine.Event) bool {
	for _, list := range events {
		for _, e := range list {
			if _, is := e.Fact.(engine.DirectivePublished); is {
				return true
			}
		}
	}
	return false
}

// due is the first instant at which something the states wait for is over; 0 when there is none.
func (g *group) due(w *world, buf *writer) int64 {
	var first int64
	for i, m := range g.members {
		buf.timers = m.timers(&w.states[i], buf.timers[:0])
		for _, t := range buf.timers {
			if at := number(t.at); w.now.Before(t.at) && (first == 0 || at < first) {
				first = at
			}
		}
	}
	return first
}

// expand finds all that follows from a world.
func (s *search) expand(w *world, buf *writer) expansion {
	var x expansion
	add := func(st step, next *world, wrong []violation) {
		st.seen, st.modes = nil, nil
		n := successor{step: st, key: s.g.key(next, buf), elsewhere: buf.elsewhere, wrong: wrong}
		if n.known = s.known(n.key, n.elsewhere); n.known < 0 {
			n.world = next
		}
		x.successors = append(x.successors, n)
	}
	if !s.g.hurried(w) {
		x.decisions = s.g.evaluations(w, nil, false, buf, func(st step, _ within, next *world, _ [][]engine.Event, wrong []violation) { add(st, next, wrong) })
	}
	for _, st := range s.g.possible(w) {
		next, _, wrong := s.g.apply(w, &st)
		x.decisions++
		add(st, next, wrong)
	}
	return x
}

// meet notes a world, unless it is known.
func (s *search) meet(k key, elsewhere uint64, w *world, parent int32, st step) (int32, bool) {
	if i := s.known(k, elsewhere); i >= 0 {
		return i, false
	}
	i := int32(len(s.nodes))
	if had, is := s.found[k]; is {
		had.others = append(had.others, met{node: i, elsewhere: elsewhere})
		s.found[k] = had
	} else {
		s.found[k] = met{node: i, elsewhere: elsewhere}
	}
	n := node{parent: parent, step: st, calm: true}
	for k, m := range s.g.members {
		state := &w.states[k]
		if state.Change != nil {
			n.calm = false
		} else if state.Target == m.first() && state.Mode == m.first() {
			n.home |= 1 << k
		}
	}
	name := s.g.modes(w)
	modes, had := s.named[name]
	if !had {
		modes = int32(len(s.names))
		s.named[name] = modes
		s.names = append(s.names, name)
		var targets []engine.Mode
		for k := range s.g.members {
			targets = append(targets, w.states[k].Target)
		}
		s.targets = append(s.targets, targets)
	}
	n.modes = modes
	s.nodes = append(s.nodes, n)
	if n.calm {
		var buf writer
		if k := s.g.restKey(w, &buf); s.rests[k].world == nil {
			s.rests[k] = rest{i, w}
			s.restOrder = append(s.restOrder, k)
		}
	}
	return i, true
}

// restKey tells worlds apart by what does not pass with time: the modes, what is asked from above, and what an `until` takes back.
func (g *group) restKey(w *world, buf *writer) key {
	bare := &world{states: make([]engine.State, len(w.states)), now: w.now}
	for i, s := range w.states {
		bare.states[i] = engine.State{Mode: s.Mode, Target: s.Target, Own: s.Own, Imposed: s.Imposed, Past: s.Past, Entered: w.now}
	}
	return g.key(bare, buf)
}

// batch is how many nodes are looked at before what follows from them is put together: bounds are looked at in between.
const batch = 512

// run searches from a world on, breadth first, until nothing new is met or a bound is reached.
func (s *search) run(ctx context.Context, frontier map[int32]*world, from int32) {
	workers := max(1, min(runtime.GOMAXPROCS(0), 8))
	buffers := make([]writer, workers)
	for at := from; int(at) < len(s.nodes); {
		if s.bounded(ctx) {
			return
		}
		n := min(batch, len(s.nodes)-int(at))
		expansions, crashes := make([]expansion, n), make([]error, workers)
		var wait sync.WaitGroup
		for k := range workers {
			wait.Go(func() {
				crashes[k] = crash.Try(func() error {
					for i := k; i < n && ctx.Err() == nil; i += workers {
						expansions[i] = s.expand(frontier[at+int32(i)], &buffers[k])
					}
					return nil
				})
			})
		}
		wait.Wait()
		if err := errors.Join(crashes...); err != nil {
			panic(err) // on the goroutine of whoever looks at this group, and guards it
		}
		if ctx.Err() != nil { // some were not looked at
			s.bounded(ctx)
			return
		}
		for i := range expansions {
			id := at + int32(i)
			delete(frontier, id)
			s.decisions += int64(expansions[i].decisions)
			for k := range expansions[i].successors {
				next := &expansions[i].successors[k]
				to := next.known
				if to < 0 {
					var isNew bool
					if to, isNew = s.meet(next.key, next.elsewhere, next.world, id, next.step); isNew {
						frontier[to] = next.world
					}
				}
				if to != id {
					s.edges = append(s.edges, edge{id, to, next.step.kind.people()})
				}
				for _, v := range next.wrong {
					if _, had := s.faults[v.property]; !had {
						s.faults[v.property] = fault{id, next.step, v.text}
					}
				}
			}
		}
		at += int32(n)
		if s.opts.Progress != nil {
			s.opts.Progress(Progress{Scopes: s.g.scopes(), States: len(s.nodes), Waiting: len(s.nodes) - int(at), Decisions: s.decisions})
		}
	}
}

// bounded notes the bound that is reached, if one is.
func (s *search) bounded(ctx context.Context) bool {
	switch {
	case s.bound != "":
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.bound = "time"
	case ctx.Err() != nil:
		s.stopped, s.bound = true, fmt.Sprintf("stopped after %d states and %d decisions", len(s.nodes), s.decisions)
	case s.g.tooWide():
		s.bound = fmt.Sprintf("an evaluation can find more than %d things", maxChoices)
	case len(s.nodes) > s.opts.MaxStates:
		s.bound = "states"
	case s.opts.MaxBytes > 0 && inUse() > s.opts.MaxBytes:
		s.bound = "memory"
	}
	return s.bound != ""
}

// inUse is how many bytes the heap holds.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func emptySearch(g *group, opts Options) *search {
	return &search{g: g, opts: opts, found: map[key]met{}, named: map[string]int32{}, rests: map[key]rest{}, faults: map[Property]fault{}}
}

// newSearch searches all that may become of a group: from its first modes on, and from each mode that nothing declared leads to, once somebody
// has gone there by hand.
func newSearch(ctx context.Context, g *group, opts Options) *search {
	s := emptySearch(g, opts)
	var buf writer
	w := g.begin()
	s.meet(g.key(w, &buf), 0, w, -1, step{})
	s.run(ctx, map[int32]*world{0: w}, 0)
	s.byHand = int32(len(s.nodes))
	for i, m := range g.members {
		for k := range m.policy.Modes {
			mode := m.policy.Modes[k].Name
			if s.bound != "" || s.entered(i, mode) {
				continue
			}
			from := int32(len(s.nodes))
			frontier := map[int32]*world{}
			last, at := int32(0), w
			for _, st := range []step{{kind: stepSet, member: i, word: string(mode)}, {kind: stepUnpin, member: i}} {
				st.at = number(at.now)
				next, _, _ := g.apply(at, &st)
				id, isNew := s.meet(g.key(next, &buf), 0, next, last, st)
				if isNew {
					frontier[id] = next
				}
				last, at = id, next
			}
			s.run(ctx, frontier, from)
		}
	}
	return s
}

// entered reports whether a member has been met in a mode.
func (s *search) entered(member int, m engine.Mode) bool {
	for _, targets := range s.targets {
		if targets[member] == m {
			return true
		}
	}
	return false
}

func (g *group) scopes() []engine.Scope {
	list := make([]engine.Scope, len(g.members))
	for i, m := range g.members {
		list[i] = m.scope
	}
	return list
}

// path are the steps that lead to a node, and then others.
func (s *search) path(id int32, then ...step) []step {
	var list []step
	for ; s.nodes[id].parent >= 0; id = s.nodes[id].parent {
		list = append(list, s.nodes[id].step)
	}
	slices.Reverse(list)
	var whole []step
	for _, st := range append(list, then...) {
		if st.before != nil {
			whole = append(whole, step{kind: stepObserve, at: st.at - int64(s.g.members[0].policy.Interval), valuation: st.before})
			st.before = nil
		}
		whole = append(whole, st)
	}
	return whole
}

// fill gives an evaluation its observations again: as the search saw them or, for people, exactly.
func (g *group) fill(w *world, st *step, exactly bool) {
	if st.kind != stepObserve {
		return
	}
	for _, c := range g.find(w, st.at) {
		if c.of.holds(st.valuation) {
			if st.seen, st.modes = c.seen, c.modes; exactly {
				st.seen = g.exact(w, st.at, st.valuation)
			}
			return
		}
	}
	panic("prove: a valuation belongs to no choice")
}

// back are the nodes from which some node that is home for a member can be reached.
func (s *search) back(member int, people bool) []bool {
	heads := make([]int32, len(s.nodes)+1)
	var count int
	for i := range s.edges {
		if people || !s.edges[i].people {
			heads[s.edges[i].to+1]++
			count++
		}
	}
	for i := 1; i < len(heads); i++ {
		heads[i] += heads[i-1]
	}
	tails, fill := make([]int32, count), append([]int32(nil), heads...)
	for i := range s.edges {
		if e := &s.edges[i]; people || !e.people {
			tails[fill[e.to]] = e.from
			fill[e.to]++
		}
	}
	reached := make([]bool, len(s.nodes))
	var queue []int32
	for i := range s.nodes {
		if s.nodes[i].home>>member&1 == 1 {
			reached[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		to := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, from := range tails[heads[to]:heads[to+1]] {
			if !reached[from] {
				reached[from] = true
				queue = append(queue, from)
			}
		}
	}
	return reached
}

// since is how long a search has taken.
func since(began time.Time) time.Duration { return time.Since(began).Round(time.Millisecond) }
