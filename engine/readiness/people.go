package readiness

import "github.com/modeshift/modeshift/engine"

// Short is the role of a gate for which nobody is left once as many as can be have said yes for the others; empty when the gate can be
// satisfied. One person counts once, whatever roles they hold: enough people for each group are not enough if they are the same ones.
// holders are the people by role.
func Short(groups []engine.Group, holders map[string][]string) string {
	var places []string       // to be filled, by role
	taken := map[string]int{} // by person: the place
	// fill finds somebody for a place, asking those who have one to take another (Kuhn's algorithm for a matching).
	var fill func(place int, tried map[string]bool) bool
	fill = func(place int, tried map[string]bool) bool {
		for _, person := range holders[places[place]] {
			if tried[person] {
				continue
			}
			tried[person] = true
			if other, has := taken[person]; !has || fill(other, tried) {
				taken[person] = place
				return true
			}
		}
		return false
	}
	for _, g := range groups {
		for range g.Count {
			places = append(places, g.Role)
			if !fill(len(places)-1, map[string]bool{}) {
				return g.Role
			}
		}
	}
	return ""
}
