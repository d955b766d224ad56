package report

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/explain"
)

// plural is a number of things: 1 step, 2 steps.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func between(from, to time.Time) string { return explain.Lasted(to.Sub(from)) }

// percent writes a share of 1.
func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %"
}

// number writes a burn rate by what matters of it.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	case math.Abs(v) < 0.01:
		return strconv.FormatFloat(v, 'g', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// left says what is left of a budget.
func (l Left) String() string {
	switch {
	case !l.Known && l.Unknown == "":
		return "not known"
	case !l.Known:
		return "not known: " + l.Unknown
	}
	return percent(l.Remaining)
}

// list joins words: a, b and c.
func list(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
