package prove

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// key is a state as far as the search tells states apart.
type key [16]byte

// writer puts a state's parts one after the other, each with an end of its own, so that no two states read alike.
type writer struct {
	b      []byte
	timers []timer
	// elsewhere are the transitions that rest and lead out of another mode than the one in force; they are not written.
	elsewhere uint64
}

func (w *writer) word(s string) { w.b = append(append(w.b, s...), 0) }

func (w *writer) number(n int) { w.b = append(strconv.AppendInt(w.b, int64(n), 10), 1) }

func (w *writer) bits(list ...bool) {
	for _, v := range list {
		if v {
			w.b = append(w.b, '1')
		} else {
			w.b = append(w.b, '0')
		}
	}
}

// key of a world. Names of events, versions and instants are not in it: of time it holds what is over, and what is due next.
func (g *group) key(w *world, buf *writer) key {
	buf.b, buf.elsewhere = buf.b[:0], 0
	for i, m := range g.members {
		m.write(&w.states[i], w.now, buf)
		buf.b = append(buf.b, 2)
	}
	// Of several scopes it is all their timers together that tell what comes next.
	if len(g.members) > 1 {
		buf.timers = buf.timers[:0]
		for i, m := range g.members {
			buf.timers = m.timers(&w.states[i], buf.timers)
		}
		buf.order(w.now)
	}
	sum := sha256.Sum256(buf.b)
	return key(sum[:16])
}

// order writes which timers are over, and which are due next.
func (w *writer) order(now time.Time) {
	var due time.Time
	for _, t := range w.timers {
		if !now.Before(t.at) {
			w.b = append(w.b, byte(t.kind))
			w.word(t.of)
		} else if due.IsZero() || t.at.Before(due) {
			due = t.at
		}
	}
	w.b = append(w.b, 3)
	for _, t := range w.timers {
		if t.at.Equal(due) {
			w.b = append(w.b, byte(t.kind))
			w.word(t.of)
		}
	}
}

func (m *member) write(s *engine.State, now time.Time, w *writer) {
	w.word(string(s.Mode))
	w.word(string(s.Target))
	w.word(string(s.Own))
	for _, i := range s.Imposed {
		w.word(string(i.Parent))
		w.word(string(i.Mode))
	}
	w.timers = m.timers(s, w.timers[:0])
	w.order(now)
	for i := range s.Clocks {
		c := &s.Clocks[i]
		t, counts := m.counts(s, c)
		if !counts {
			continue
		}
		w.word(c.Condition)
		w.bits(c.Truth == engine.True, c.Truth == engine.False)
		if t.For > 0 && leaves(t, s.Target) {
			w.bits(c.Sum > 0 && c.Truth != engine.True, c.Sum >= t.For && c.Truth != engine.True)
		}
		if _, waits := proposal(s, t.Name); waits {
			w.bits(!c.LastFalse.IsZero())
		}
	}
	for i := range s.Proposals {
		m.writeProposal(&s.Proposals[i], w)
	}
	for i := range s.Resting {
		r := &s.Resting[i]
		if !rests(s, r) {
			continue
		}
		if m.elsewhere(s, r) {
			w.elsewhere |= 1 << m.bits[r.Transition]
			continue
		}
		w.word(r.Transition)
		w.bits(r.Held, r.Digest == "")
	}
	if c := s.Change; c != nil {
		m.writeChange(c, w)
	}
	w.b = append(w.b, 4)
	for k := len(s.Past) - 1; k >= 0; k-- {
		p := &s.Past[k]
		if p.Until == "" && (len(p.Did) == 0 || !m.undoes) || k == len(s.Past)-1 && m.buried(s, p) {
			break
		}
		m.writePast(p, w)
		if p.Until == "" { // nothing takes it back by itself: what is below it does not come up again
			break
		}
	}
	w.bits(s.Pin != nil)
	for _, p := range s.Lasting() {
		w.word(p.SLO)
	}
}

// buried reports whether the last change that is done matters no more: its mode was left, and nothing that is under way leads back to it
// but by another change. What is asked from above moves a scope without one.
func (m *member) buried(s *engine.State, p *engine.Past) bool {
	c := s.Change
	return m.policy.Parent == "" && p.To != s.Target && (c == nil || p.To != c.Plan.Back.Name)
}

func (m *member) writeProposal(p *engine.Proposal, w *writer) {
	w.word(p.Transition)
	w.word(string(p.From))
	w.bits(p.Escalated, p.Requester != nil, p.Expiry, p.Braked, p.BlindBy != "", p.Change != "")
	w.number(p.Targets)
	roles := make([]string, len(p.Votes))
	for i, v := range p.Votes {
		roles[i] = v.Role
	}
	slices.Sort(roles)
	for _, r := range roles {
		w.word(r)
	}
}

func (m *member) writePast(p *engine.Past, w *writer) {
	w.word(p.Transition)
	w.word(string(p.To))
	w.word(string(p.Back.Name))
	w.word(p.Until)
	w.word(string(p.Own))
	w.done(p.Did)
}

func (w *writer) done(list []engine.Done) {
	for i := range list {
		w.word(list[i].Step.Name)
	}
	w.b = append(w.b, 5)
}

// attempts beyond which it makes no difference how many there were.
const manyAttempts = 6

func (m *member) writeChange(c *engine.Change, w *writer) {
	w.word(c.Transition)
	w.word(string(c.From))
	w.word(string(c.To))
	w.word(string(c.Plan.Back.Name))
	w.word(c.Plan.Until)
	w.word(string(c.Own))
	w.word(c.Verify)
	w.word(string(c.Why))
	w.bits(c.Gated, c.Published, c.Rolled, c.Applied != nil, c.Stopped != nil, c.Doubt, c.Asks, c.Approved != nil, c.Undoing, c.Stuck, c.Returns, c.Over,
		c.Imposed != "", !c.Held.IsZero(), len(c.Found) > 0)
	w.number(c.Next)
	w.number(c.Wave)
	most := manyAttempts
	for i := range c.Plan.Steps {
		most = max(most, c.Plan.Steps[i].Attempts+1)
		if c.Plan.Steps[i].Targets.Max > 0 {
			w.number(c.Plan.Steps[i].Targets.Max)
		}
	}
	w.number(min(c.Attempts-c.Spared, most))
	if r := c.Running; r != nil {
		w.word(r.Step.Name)
		w.bits(r.Undo, r.Finding, len(r.Targets) > 0, r.Change == c.ID)
		w.number(min(r.Attempt-c.Spared, most))
	}
	w.b = append(w.b, 6)
	w.done(c.Did)
	w.done(c.Entry)
	if o := c.Overtook; o != nil {
		m.writePast(o, w)
	}
	w.b = append(w.b, 7)
}

func sortedKeys[T any](m map[string]T) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.SortFunc(list, cmp.Compare[string])
	return list
}
