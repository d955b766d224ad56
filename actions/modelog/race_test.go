//go:build race

package modelog_test

// underRace is whether the race detector watches: it lets pools forget what they hold, so that allocations are not those of the program.
const underRace = true
