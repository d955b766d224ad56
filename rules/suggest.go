package rules

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean is a hint with the known word that is nearest to s; empty when none is near.
func (r *reader) didYouMean(s string, known []string) string {
	if r.full() {
		return ""
	}
	if w, ok := nearest(s, known); ok {
		return fmt.Sprintf("did you mean %q?", w)
	}
	return ""
}

// choose is a hint: the nearest known word, or else all there are.
func (r *reader) choose(s string, known []string, none string) string {
	if len(known) == 0 || r.full() {
		return none
	}
	if h := r.didYouMean(s, known); h != "" {
		return h
	}
	const most = 12
	list := slices.Clone(known)
	slices.Sort(list)
	if len(list) > most {
		list = append(list[:most], "…")
	}
	return "there is: " + strings.Join(list, ", ")
}

// Nearest finds the known word that s was most likely meant to be; false when none is near.
func Nearest(s string, known []string) (string, bool) { return nearest(s, known) }

// nearest finds the known word with the fewest edits to s: at most one, or a third of its length.
func nearest(s string, known []string) (string, bool) {
	if len(s) > 2*maxName {
		return "", false
	}
	best, least := "", max(2, len([]rune(s))/3+1)
	for _, k := range known {
		if d := edits(strings.ToLower(s), strings.ToLower(k)); d < least || d == least && best != "" && k < best {
			best, least = k, d
		}
	}
	return best, best != ""
}

// edits is the number of letters to insert, remove, replace or swap with a neighbour to get from a to b.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
