package readiness

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

func TestAGateThatOnePersonWouldHaveToAnswerTwiceIsShort(t *testing.T) {
	for _, c := range []struct {
		name    string
		groups  []engine.Group
		holders map[string][]string
		short   string
	}{
		{"nobody is asked", nil, nil, ""},
		{"one of one", []engine.Group{{Role: "a", Count: 1}}, map[string][]string{"a": {"ann"}}, ""},
		{"two of one", []engine.Group{{Role: "a", Count: 2}}, map[string][]string{"a": {"ann"}}, "a"},
		{"one person in both", []engine.Group{{Role: "a", Count: 1}, {Role: "b", Count: 1}}, map[string][]string{"a": {"ann"}, "b": {"ann"}}, "b"},
		{"whoever was taken first makes room", []engine.Group{{Role: "a", Count: 1}, {Role: "b", Count: 1}}, map[string][]string{"a": {"ann", "bob"}, "b": {"ann"}}, ""},
		{"three in a row make room", []engine.Group{{Role: "a", Count: 1}, {Role: "b", Count: 1}, {Role: "c", Count: 1}},
			map[string][]string{"a": {"ann", "bob"}, "b": {"bob", "cid"}, "c": {"ann"}}, ""},
	} {
		if got := Short(c.groups, c.holders); got != c.short {
			t.Errorf("%s: %q, want %q", c.name, got, c.short)
		}
	}
}

// Trying everybody in every place is slow and plainly right.
func TestShortSaysWhatTryingEverybodySays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := []string{"ann", "bob", "cid", "dan"}
		holders := map[string][]string{}
		var groups []engine.Group
		var places []string
		for i := range rapid.IntRange(1, 3).Draw(t, "groups") {
			g := engine.Group{Role: fmt.Sprint("role", i), Count: rapid.IntRange(1, 2).Draw(t, "count")}
			groups = append(groups, g)
			holders[g.Role] = rapid.SliceOfDistinct(rapid.SampledFrom(people), rapid.ID[string]).Draw(t, "holders")
			places = append(places, slices.Repeat([]string{g.Role}, g.Count)...)
		}
		var fits func(at int, free map[string]bool) bool
		fits = func(at int, free map[string]bool) bool {
			if at == len(places) {
				return true
			}
			return slices.ContainsFunc(holders[places[at]], func(p string) bool {
				if !free[p] {
					return false
				}
				rest := maps.Clone(free)
				delete(rest, p)
				return fits(at+1, rest)
			})
		}
		free := map[string]bool{}
		for _, p := range people {
			free[p] = true
		}
		if got, want := Short(groups, holders) == "", fits(0, free); got != want {
			t.Fatalf("%v of %v: %v, want %v", groups, holders, got, want)
		}
	})
}
