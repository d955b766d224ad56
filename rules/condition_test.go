package rules

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A condition that an earlier file has too is not parsed again. It means the same, and what its names stand for is its own.
func TestAConditionThatIsKnownMeansWhatItMeansAlone(t *testing.T) {
	when := `burning("availability", "page") && (sli("p99") > 0.5 || dwell() > duration("10m")) ? [1.0, 2.0].exists(x, sli("p50") > x * 2.0) : "a".matches("[a-z]")`
	text := preamble + shifting(when, when)
	alone := mustLoad(t, findOptions, strings.Replace(text, when, "true", 1)) // the second one is the first of its kind
	cart := strings.Replace(text, "checkout", "cart", 1)
	set := mustLoad(t, findOptions, text, cart)
	want := alone.Services[0].Conditions
	var known []*Condition // four: at least two of them are made of what was kept
	for _, s := range set.Services {
		known = append(known, s.Conditions[len(s.Conditions)-2:]...)
	}
	for _, c := range known {
		w := want[len(want)-1]
		if c.canonical != w.canonical || !reflect.DeepEqual(c.shape, w.shape) || !reflect.DeepEqual(c.signals, w.signals) || !reflect.DeepEqual(c.burning, w.burning) {
			t.Errorf("%s:\n%+v\nalone:\n%+v", c.Name, c, w)
		}
		for _, v := range []float64{0, 1, 3} {
			lookup := func(s Signal) (Value, bool) { return counts(v, 1), true }
			if got, want := fmt.Sprint(c.Eval(lookup)), fmt.Sprint(w.Eval(lookup)); got != want {
				t.Errorf("%s with %v: %s, alone: %s", c.Name, v, got, want)
			}
		}
	}
	_, diags := load(t, findOptions, text, strings.Replace(cart, "name: p50", "name: p90", 1))
	errs := diags.Errors()
	if len(errs) != 2 || errs[0].File != "b.yaml" || errs[0].Message != `there is no SLI "p50"` || errs[0].Position() == errs[1].Position() {
		t.Errorf("\n%v", diags)
	}
}
