package roster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// sortWave names those that are told something else than the rest.
func (c *crew) sortWave(moved bool) {
	switch {
	case c.before == nil:
		c.wave = nil
	case moved || c.wave == nil:
		c.wave = []string{}
		for name, rank := range c.ranks {
			if c.ranked() && rank < c.state.Change.Waved {
				c.wave = append(c.wave, name)
			}
		}
		slices.Sort(c.wave)
	}
}

// Wave names those that are told the newest directive while others are not; nil when all are told the same. It is another slice
// when they, or what they are told, are others.
func (r *Roster) Wave(scope engine.Scope) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil {
		return nil
	}
	return c.wave
}

// waveOf is what distinguishes who is told what within one revision.
func waveOf(s engine.State) int {
	if s.Change == nil || s.Change.Before == nil {
		return 0
	}
	return s.Change.Wave
}

// ranks are the places of the instances in the change under way; nil when it has no waves, or they are known already.
func (r *Roster) ranks(ctx context.Context, v engine.View) (map[string]int, error) {
	ch := v.State.Change
	if ch == nil || ch.Before == nil {
		return nil, nil
	}
	scope := v.State.Scope
	r.mu.Lock()
	c := r.crew(scope)
	known := c.ranked()
	if c.change == ch.ID && c.state.Change == nil { // not followed yet
		known = c.ranks != nil
	}
	var names []string
	for name, m := range c.members {
		if m.counts(c.rules, r.opts.Now().UTC()) {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	if known {
		return nil, nil
	}
	kept, err := r.store.Ranks(ctx, scope, ch.ID)
	if err == nil && kept == nil {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(bytes.Compare(hash(scope, a), hash(scope, b)), strings.Compare(a, b))
		})
		kept, err = names, r.store.SaveRanks(ctx, scope, ch.ID, names)
	}
	if err != nil {
		return nil, err
	}
	ranks := make(map[string]int, len(kept))
	for i, name := range kept {
		ranks[name] = i
	}
	return ranks, nil
}

// ranked reports whether the order of the change under way is kept.
func (c *crew) ranked() bool {
	return c.state.Change != nil && c.change == c.state.Change.ID && c.ranks != nil
}

// hash places an instance among the others of its scope, each time the same.
func hash(scope engine.Scope, name string) []byte {
	sum := sha256.Sum256([]byte(string(scope) + "\x00" + name))
	return sum[:]
}

// Members names the instances that are told the newest directive while a change goes by waves, sorted; nil when none does.
func (r *Roster) Members(scope engine.Scope) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil || c.state.Change == nil || c.state.Change.Wave == 0 || c.state.Change.Rolled {
		return nil
	}
	names := []string{}
	for name, m := range c.members {
		if c.meant(name) == c.now && (m.Connected() || m.counts(c.rules, r.opts.Now())) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
