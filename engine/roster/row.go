package roster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Standing says in a word how an instance follows.
type Standing string

// How an instance may follow.
const (
	Applied Standing = "applied" // it has what is meant for it
	Waiting Standing = "waiting" // it was told, and is within the grace time
	Failed  Standing = "failed"  // it says that it could not take what is meant for it
	Stale   Standing = "stale"   // it does not have what is meant for it, for longer than the grace time
	Missing Standing = "missing" // it fell silent, and may still run
	Gone    Standing = "gone"    // its connection was closed
)

// Standings are all of them.
var Standings = []Standing{Applied, Waiting, Failed, Stale, Missing, Gone}

// Row is an instance as people are shown it.
type Row struct {
	Name     string          `json:"name"`
	Standing Standing        `json:"standing" enum:"applied,waiting,failed,stale,missing,gone"`
	Mode     engine.Mode     `json:"mode,omitempty" doc:"in force there, as it says"`
	Position engine.Position `json:"position" doc:"of the directive it speaks of"`
	Meant    engine.Position `json:"meant" doc:"of the one meant for it"`
	MeantFor engine.Mode     `json:"meant_mode,omitempty" doc:"the mode meant for it"`
	Error    string          `json:"error,omitempty" doc:"why it could not take it"`
	Origin   engine.Origin   `json:"origin,omitempty" doc:"where its mode came from"`
	Version  string          `json:"version,omitempty" doc:"of the program"`
	From     string          `json:"from,omitempty" doc:"the address it connects from"`
	Seen     time.Time       `json:"seen" doc:"first"`
	Reported time.Time       `json:"reported,omitzero" doc:"last"`
	Left     time.Time       `json:"left,omitzero" doc:"when its connection ended"`
	Behind   time.Time       `json:"behind,omitzero" doc:"since when it does not have what is meant for it"`
	Refused  uint64          `json:"refused,omitempty" doc:"directives it did not accept, because they were older than what it had"`
	Wave     bool            `json:"wave,omitempty" doc:"it is in a wave that was told, while others wait"`
}

// Rows returns the instances of a scope as they are at an instant, by name.
func (r *Roster) Rows(scope engine.Scope, at time.Time) []Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil {
		return nil
	}
	rows := make([]Row, 0, len(c.members))
	for _, name := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[name]
		row := Row{Name: name, Standing: c.standing(m, at), Mode: m.Report.Mode, Position: m.Report.Position, Error: m.Report.Error, Origin: m.Report.Origin,
			Version: m.Version, From: m.From, Seen: m.Seen, Reported: m.Reported, Left: m.Left, Behind: m.Behind, Refused: m.Report.Refused}
		if t := c.meant(name); t != nil {
			row.Meant, row.MeantFor = t.told.Position(), t.told.Mode
			row.Wave = c.before != nil && t == c.now
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *crew) standing(m *member, at time.Time) Standing {
	t := c.meant(m.Name)
	switch {
	case !m.Connected() && m.Silent:
		return Missing
	case !m.Connected():
		return Gone
	case m.has(t):
		return Applied
	case m.Report.Outcome == engine.OutcomeFailed && m.Report.Position == t.told.Position():
		return Failed
	case at.Sub(m.Behind) >= cmp.Or(c.rules.Grace, engine.DefaultGrace):
		return Stale
	}
	return Waiting
}

// Size is how many instances are known of a scope, whatever they do.
func (r *Roster) Size(scope engine.Scope) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.scopes[scope]; c != nil {
		return len(c.members)
	}
	return 0
}

// Counts says of every scope how many instances stand how.
func (r *Roster) Counts(at time.Time) map[engine.Scope]map[Standing]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[engine.Scope]map[Standing]int{}
	for scope, c := range r.scopes {
		if len(c.members) == 0 {
			continue
		}
		counts[scope] = map[Standing]int{}
		for _, m := range c.members {
			counts[scope][c.standing(m, at)]++
		}
	}
	return counts
}
