package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// treeOf writes a tree of parts as indented lines.
func treeOf(p Part, depth int) string {
	truth := p.Truth.String()
	if p.Open {
		truth = "open"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %s: %s\n", strings.Repeat("  ", depth), p.Op, p.Text, truth)
	for _, of := range p.Parts {
		b.WriteString(treeOf(of, depth+1))
	}
	return b.String()
}

func TestAConditionIsToldPartByPart(t *testing.T) {
	c := condition(t, `!(burning("a","page") || alert( "p" )) && burn_rate("a", "5m") < 1.0 && (dwell() > duration("10m") ? schedule("night") : true)`)
	known := world{sloWindow("a", 5*time.Minute): counts(1, 10_000), sloWindow("a", 30*time.Minute): unknown, alertP: reading(0)}
	got := treeOf(c.Parts(known.lookup), 0)
	want := `and !(burning("a", "page") || alert("p")) && burn_rate("a", "5m") < 1.0 && (dwell() > duration("10m") ? schedule("night") : true): open
  not !(burning("a", "page") || alert("p")): open
    or burning("a", "page") || alert("p"): open
      burn burning("a", "page"): open
        pair burn_rate("a", "5m") > 14.4 && burn_rate("a", "1h") > 14.4: false
           burn_rate("a", "5m") > 14.4: false
           burn_rate("a", "1h") > 14.4: open
        pair burn_rate("a", "30m") > 6 && burn_rate("a", "6h") > 6: open
           burn_rate("a", "30m") > 6: unknown
           burn_rate("a", "6h") > 6: open
       alert("p"): false
   burn_rate("a", "5m") < 1.0: true
  if dwell() > duration("10m") ? schedule("night") : true: open
     dwell() > duration("10m"): open
     schedule("night"): open
     true: true
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
