package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

const evalFile = `version: modeshift/v1
service: s
slos:
  - name: a
    objective: 99.9
    sli: {raw: {error_ratio_query: "avg_over_time(a[{{.window}}])"}}
    alerting: {name: A}
  - name: b
    objective: 99
    sli: {events: {error_query: "increase(b_bad[{{.window}}])", total_query: "increase(b[{{.window}}])"}}
    alerting: {name: B}
slis: [{name: x, query: x}, {name: y, query: y}]
schedules: [{name: night, cron: "0 22 * * *", duration: 8h}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: t
    from: [normal]
    to: degraded
    when: |
      %s
`

// condition compiles one expression.
func condition(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) *Condition {
	t.Helper()
	set, err := Load([]File{{Name: "f", Data: fmt.Appendf(nil, evalFile, text)}}, Options{})
	if err != nil {
		t.Fatalf("%s:\n%v", text, err)
	}
	conditions := set.Services[0].Conditions
	return conditions[len(conditions)-1]
}

// world is what is known: readings by signal. What is not there has not been asked for.
type world map[Signal]Value

func (w world) lookup(s Signal) (Value, bool) {
	v, ok := w[s]
	return v, ok
}

func reading(v float64) Value { return Value{Reading: engine.Reading{Value: v}} }
func counts(errors, total float64) Value {
	return Value{Reading: engine.Reading{Value: errors / total}, Errors: errors, Total: total}
}

var unknown = Value{Reading: engine.Reading{Why: engine.WhyAbsent}}

var (
	alertP, alertQ = Signal{Kind: SignalAlert, Name: "p"}, Signal{Kind: SignalAlert, Name: "q"}
	sliX, sliY     = Signal{Kind: SignalSLI, Name: "x"}, Signal{Kind: SignalSLI, Name: "y"}
	dwell          = Signal{Kind: SignalDwell}
)

func sloWindow(name string, w time.Duration) Signal {
	return Signal{Kind: SignalSLO, Name: name, Window: w}
}

func TestKleenesTable(t *testing.T) {
	states := map[string]*Value{"T": ptr(reading(1)), "F": ptr(reading(0)), "U": &unknown, "M": nil}
	for _, c := range []struct {
		text, p, q string
		want       engine.Truth
		missing    string
	}{
		{"&&", "F", "M", engine.False, ""}, {"&&", "M", "F", engine.False, ""}, {"&&", "T", "M", engine.Unknown, "q"},
		{"&&", "U", "M", engine.Unknown, "q"}, {"&&", "M", "U", engine.Unknown, "p"}, {"&&", "M", "M", engine.Unknown, "p q"},
		{"&&", "U", "U", engine.Unknown, ""}, {"&&", "U", "F", engine.False, ""}, {"&&", "T", "U", engine.Unknown, ""}, {"&&", "T", "T", engine.True, ""},
		{"||", "T", "M", engine.True, ""}, {"||", "M", "T", engine.True, ""}, {"||", "F", "M", engine.Unknown, "q"},
		{"||", "U", "M", engine.Unknown, "q"}, {"||", "U", "T", engine.True, ""}, {"||", "F", "F", engine.False, ""},
		{"||", "F", "U", engine.Unknown, ""}, {"||", "M", "M", engine.Unknown, "p q"},
	} {
		w := world{}
		if v := states[c.p]; v != nil {
			w[alertP] = *v
		}
		if v := states[c.q]; v != nil {
			w[alertQ] = *v
		}
		got := condition(t, `alert("p") `+c.text+` alert("q")`).Eval(w.lookup)
		var missing []string
		for _, s := range got.Missing {
			missing = append(missing, s.Name)
		}
		if got.Truth != c.want || strings.Join(missing, " ") != c.missing {
			t.Errorf("%s %s %s is %v, missing %v; want %v, missing %s", c.p, c.text, c.q, got.Truth, missing, c.want, c.missing)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestWhatCannotDecideIsNotMissing(t *testing.T) {
	for _, c := range []struct {
		text string
		w    world
		want []Signal
	}{
		{`(alert("p") && alert("q")) || sli("x") > 1`, world{alertP: unknown, sliX: unknown}, nil},
		{`(alert("p") && alert("q")) || sli("x") > 1`, world{sliX: unknown}, []Signal{alertP, alertQ}},
		{`sli("x") > sli("y")`, world{sliX: unknown}, nil},
		{`sli("x") > sli("y")`, world{sliY: unknown}, nil},
		{`sli("x") > sli("y")`, world{}, []Signal{sliX, sliY}},
		{`alert("p") ? sli("x") > 1 : sli("y") > 1`, world{}, []Signal{alertP}},
		{`alert("p") ? sli("x") > 1 : sli("y") > 1`, world{alertP: reading(0)}, []Signal{sliY}},
		{`alert("p") ? sli("x") > 1 : sli("y") > 1`, world{alertP: unknown}, nil},
		{`(alert("p") ? sli("x") : 2.0) > 1`, world{alertP: reading(0)}, nil},
		{`(alert("p") ? sli("x") : 2.0) > 1`, world{alertP: reading(1)}, []Signal{sliX}},
		{`[sli("x"), sli("y")].exists(v, v > 1)`, world{sliX: reading(0)}, []Signal{sliY}},
		{`false && sli("x") > 1`, world{}, nil},
	} {
		got := condition(t, c.text).Eval(c.w.lookup)
		if !slices.Equal(got.Missing, c.want) {
			t.Errorf("%s with %v misses %v, want %v", c.text, c.w, got.Missing, c.want)
		}
	}
}

func TestBurningAsksForTheLongWindowOnlyWhenTheShortOneBurns(t *testing.T) {
	c := condition(t, `burning("b", "page")`)
	m5, h1, m30, h6 := sloWindow("b", 5*time.Minute), sloWindow("b", time.Hour), sloWindow("b", 30*time.Minute), sloWindow("b", 6*time.Hour)
	burns, quiet := counts(200, 1000), counts(0, 1000)
	for _, s := range []struct {
		w       world
		truth   engine.Truth
		missing []Signal
	}{
		{world{}, engine.Unknown, []Signal{m5, m30}},
		{world{m5: quiet}, engine.Unknown, []Signal{m30}},
		{world{m5: quiet, m30: quiet}, engine.False, nil},
		{world{m5: burns, m30: quiet}, engine.Unknown, []Signal{h1}},
		{world{m5: burns, h1: burns}, engine.True, nil},
		{world{m5: burns, h1: quiet, m30: burns}, engine.Unknown, []Signal{h6}},
		{world{m5: burns, h1: quiet, m30: burns, h6: burns}, engine.True, nil},
		{world{m5: unknown, m30: quiet}, engine.Unknown, []Signal{h1}},
		{world{m5: unknown, m30: quiet, h1: quiet}, engine.False, nil},
		{world{m5: unknown, m30: quiet, h1: burns}, engine.Unknown, nil},
		{world{h1: quiet, h6: quiet}, engine.False, nil},
	} {
		got := c.Eval(s.w.lookup)
		if got.Truth != s.truth || !slices.Equal(got.Missing, s.missing) {
			t.Errorf("with %v: %v, missing %v; want %v, missing %v", s.w, got.Truth, got.Missing, s.truth, s.missing)
		}
	}
}

func TestEqualIsNotAbove(t *testing.T) {
	page, m5, h1 := condition(t, `burning("a", "page")`), sloWindow("a", 5*time.Minute), sloWindow("a", time.Hour)
	m30, h6 := sloWindow("a", 30*time.Minute), sloWindow("a", 6*time.Hour)
	above := condition(t, `burn_rate("a", "5m") > 14.4`)
	for _, c := range []struct {
		errors, total float64
		want          engine.Truth
	}{
		{144, 10_000, engine.False},
		{145, 10_000, engine.True},
		{143, 10_000, engine.False},
		{9, 625, engine.False},
		{9_000_000_000, 625_000_000_000, engine.False},
		{9_000_000_001, 625_000_000_000, engine.True},
		{0, 0, engine.False},
		{0.0144, 1, engine.False}, // the float64 nearest to 0.0144 lies below it
		{math.Nextafter(0.0144, 1), 1, engine.True},
	} {
		v := counts(c.errors, c.total)
		if c.total == 0 {
			v.Reading.Value = 0
		}
		w := world{m5: v, h1: v, m30: counts(0, 1), h6: counts(0, 1)}
		if got := page.Eval(w.lookup).Truth; got != c.want {
			t.Errorf("burning with %v of %v: %v, want %v", c.errors, c.total, got, c.want)
		}
		if c.total == 1 {
			continue // burn_rate is a quotient, and rounded once
		}
		if got := above.Eval(w.lookup).Truth; got != c.want {
			t.Errorf("burn_rate > 14.4 with %v of %v: %v, want %v", c.errors, c.total, got, c.want)
		}
	}
}

func TestWhatCannotBeComputedIsUnknown(t *testing.T) {
	for _, text := range []string{
		`sli("x") / sli("y") > 1.0`, `sli("x") / sli("y") < 1.0`, `sli("y") / sli("y") == sli("y")`,
		`1 / int(sli("y")) > 0`, `sli("x") * 1e308 * 1e308 > 1.0`, `int(sli("x") * 1e300) > 0`,
		`[1, 2][int(sli("x")) + 7] == 1`, `duration(string(sli("x"))) > dwell()`,
	} {
		got := condition(t, text).Eval(world{sliX: reading(5), sliY: reading(0), dwell: reading(1)}.lookup)
		if got.Truth != engine.Unknown || len(got.Missing) > 0 {
			t.Errorf("%s is %v, missing %v", text, got.Truth, got.Missing)
		}
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, text := range []string{`sli("x") > 1.0`, `!(sli("x") > 1.0)`, `alert("p")`, `dwell() > duration("1s")`} {
			got := condition(t, text).Eval(world{sliX: reading(bad), alertP: reading(bad), dwell: reading(bad)}.lookup)
			if got.Truth != engine.Unknown {
				t.Errorf("%s with %v is %v", text, bad, got.Truth)
			}
		}
		v := Value{Errors: bad, Total: 1}
		m5, m30 := sloWindow("a", 5*time.Minute), sloWindow("a", 30*time.Minute)
		h1, h6 := sloWindow("a", time.Hour), sloWindow("a", 6*time.Hour)
		got := condition(t, `burning("a", "page")`).Eval(world{m5: v, m30: v, h1: v, h6: v}.lookup)
		if got.Truth != engine.Unknown {
			t.Errorf("burning with %v errors is %v", bad, got.Truth)
		}
	}
}

func TestALongComprehensionIsCutShort(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 90), ",") + "]"
	text := fmt.Sprintf(`%s.all(a, %s.all(b, %s.all(c, a + b + c > 0))) && sli("x") > 0.0`, list, list, list)
	got := condition(t, text).Eval(world{sliX: reading(1)}.lookup)
	if got.Truth != engine.Unknown { // carried out to its end it would be true
		t.Errorf("it is %v", got.Truth)
	}
}

func TestEachFunctionReadsItsSignal(t *testing.T) {
	w := world{
		sliX: reading(0.4), alertP: reading(1), dwell: reading(601),
		{Kind: SignalSchedule, Name: "night"}: reading(1),
		{Kind: SignalMode, Name: "s"}:         {Reading: engine.Reading{Text: "normal"}},
		sloWindow("b", 5*time.Minute):         counts(20, 1000),
		{Kind: SignalDivergence}:              reading(0.05),
	}
	for text, want := range map[string]engine.Truth{
		`sli("x") < 1`: engine.True, `sli("x") > 0.4`: engine.False, `alert("p")`: engine.True, `!schedule("night")`: engine.False,
		`mode("s") == "normal"`: engine.True, `mode("s") in ["degraded", "off"]`: engine.False, `dwell() > duration("10m")`: engine.True,
		`dwell() >= duration("10m2s")`: engine.False, `error_ratio("b", "5m") == 0.02`: engine.True, `burn_rate("b", "5m") == 2.0`: engine.True,
		`burn_rate("b", "5m") > 1 && sli("x") + 0.1 >= 0.5`: engine.True, `alert("p") == schedule("night")`: engine.True,
		`divergence() > 0.05`: engine.False, `divergence() >= 0.05 && divergence() < 1`: engine.True,
	} {
		c := condition(t, text)
		got := c.Eval(w.lookup)
		if got.Truth != want || len(got.Missing) > 0 || !slices.Equal(got.Used, c.Signals()) {
			t.Errorf("%s is %v, missing %v, used %v of %v", text, got.Truth, got.Missing, got.Used, c.Signals())
		}
	}
}

// tree is a random condition that can be evaluated in the obvious way.
type tree struct {
	op          string // and, or, not, if, eq, or empty for a leaf
	text        string // of a leaf
	parts       []*tree
	short, long []Signal // of a burning leaf
	limits      []float64
	signals     []Signal // of another leaf, all of which it needs
	holds       func(v []float64) bool
}

func (x *tree) String() string {
	switch x.op {
	case "and":
		return fmt.Sprintf("(%v && %v)", x.parts[0], x.parts[1])
	case "or":
		return fmt.Sprintf("(%v || %v)", x.parts[0], x.parts[1])
	case "not":
		return fmt.Sprintf("!(%v)", x.parts[0])
	case "eq":
		return fmt.Sprintf("(%v == %v)", x.parts[0], x.parts[1])
	case "if":
		return fmt.Sprintf("(%v ? %v : %v)", x.parts[0], x.parts[1], x.parts[2])
	}
	return x.text
}

// naive is Kleene's logic, everything looked at.
func (x *tree) naive(w world) engine.Truth {
	and := func(a, b engine.Truth) engine.Truth {
		switch {
		case a == engine.False || b == engine.False:
			return engine.False
		case a == engine.True && b == engine.True:
			return engine.True
		}
		return engine.Unknown
	}
	not := func(a engine.Truth) engine.Truth {
		return map[engine.Truth]engine.Truth{engine.True: engine.False, engine.False: engine.True}[a]
	}
	or := func(a, b engine.Truth) engine.Truth { return not(and(not(a), not(b))) }
	switch x.op {
	case "and":
		return and(x.parts[0].naive(w), x.parts[1].naive(w))
	case "or":
		return or(x.parts[0].naive(w), x.parts[1].naive(w))
	case "not":
		return not(x.parts[0].naive(w))
	case "eq":
		a, b := x.parts[0].naive(w), x.parts[1].naive(w)
		if a == engine.Unknown || b == engine.Unknown {
			return engine.Unknown
		}
		return engine.TruthOf(a == b)
	case "if":
		switch x.parts[0].naive(w) {
		case engine.True:
			return x.parts[1].naive(w)
		case engine.False:
			return x.parts[2].naive(w)
		}
		return engine.Unknown
	}
	if x.short != nil {
		t := engine.False
		for i := range x.short {
			over := func(s Signal) engine.Truth {
				v, ok := w[s]
				if !ok || v.Reading.Why != "" {
					return engine.Unknown
				}
				return engine.TruthOf(v.Errors > x.limits[i]*v.Total)
			}
			t = or(t, and(over(x.short[i]), over(x.long[i])))
		}
		return t
	}
	var values []float64
	for _, s := range x.signals {
		v, ok := w[s]
		if !ok || v.Reading.Why != "" {
			return engine.Unknown
		}
		values = append(values, v.Reading.Value)
	}
	return engine.TruthOf(x.holds(values))
}

var leaves = []*tree{
	{text: `alert("p")`, signals: []Signal{alertP}, holds: func(v []float64) bool { return v[0] != 0 }},
	{text: `alert("q")`, signals: []Signal{alertQ}, holds: func(v []float64) bool { return v[0] != 0 }},
	{text: `schedule("night")`, signals: []Signal{{Kind: SignalSchedule, Name: "night"}}, holds: func(v []float64) bool { return v[0] != 0 }},
	{text: `sli("x") > 0.5`, signals: []Signal{sliX}, holds: func(v []float64) bool { return v[0] > 0.5 }},
	{text: `sli("x") < sli("y")`, signals: []Signal{sliX, sliY}, holds: func(v []float64) bool { return v[0] < v[1] }},
	{text: `dwell() > duration("500ms")`, signals: []Signal{dwell}, holds: func(v []float64) bool { return v[0] > 0.5 }},
	{text: `error_ratio("b", "5m") > 0.5`, signals: []Signal{sloWindow("b", 5*time.Minute)}, holds: func(v []float64) bool { return v[0] > 0.5 }},
	{text: `burning("b", "page")`, limits: []float64{0.144, 0.06},
		short: []Signal{sloWindow("b", 5*time.Minute), sloWindow("b", 30*time.Minute)},
		long:  []Signal{sloWindow("b", time.Hour), sloWindow("b", 6*time.Hour)}},
	{text: `burning("b", "ticket")`, limits: []float64{0.03, 0.01},
		short: []Signal{sloWindow("b", 2*time.Hour), sloWindow("b", 6*time.Hour)},
		long:  []Signal{sloWindow("b", 24*time.Hour), sloWindow("b", 72*time.Hour)}},
	{op: "eq", parts: []*tree{
		{text: `burning("b", "page")`, limits: []float64{0.144, 0.06},
			short: []Signal{sloWindow("b", 5*time.Minute), sloWindow("b", 30*time.Minute)},
			long:  []Signal{sloWindow("b", time.Hour), sloWindow("b", 6*time.Hour)}},
		{text: `alert("p")`, signals: []Signal{alertP}, holds: func(v []float64) bool { return v[0] != 0 }},
	}},
	{text: `true`, holds: func([]float64) bool { return true }},
	{text: `false`, holds: func([]float64) bool { return false }},
}

func randomTree(t *rapid.T, depth int) *tree {
	op := "leaf"
	if depth > 0 {
		op = rapid.SampledFrom([]string{"and", "or", "not", "if", "and", "or", "leaf"}).Draw(t, "op")
	}
	n := map[string]int{"and": 2, "or": 2, "not": 1, "if": 3}[op]
	if n == 0 {
		return rapid.SampledFrom(leaves).Draw(t, "leaf")
	}
	x := &tree{op: op}
	for range n {
		x.parts = append(x.parts, randomTree(t, depth-1))
	}
	return x
}

// Asking only for what is missing, until nothing is, gives the same truth as knowing everything from the start; and no
// truth is given on less than it needs.
func TestLazyEvaluationAgreesWithKleene(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := randomTree(t, 4)
		c := condition(t, x.String())
		full := world{}
		for _, s := range c.Signals() {
			switch v := rapid.IntRange(0, 2).Draw(t, "value"); v {
			case 2:
				full[s] = unknown
			default:
				full[s] = counts(float64(v), 1)
			}
		}
		want := x.naive(full)
		if got := c.Eval(full.lookup); got.Truth != want || len(got.Missing) > 0 {
			t.Fatalf("%v with %v is %v, missing %v; want %v", x, full, got.Truth, got.Missing, want)
		}
		some := world{}
		for _, s := range c.Signals() { // others have asked for some already
			if rapid.Bool().Draw(t, "known") && rapid.Bool().Draw(t, "known too") {
				some[s] = full[s]
			}
		}
		for range len(full) + 1 {
			got := c.Eval(some.lookup)
			if naive := x.naive(some); got.Truth != naive {
				t.Fatalf("%v with %v is %v, want %v", x, some, got.Truth, naive)
			}
			for i, s := range got.Used {
				if _, ok := some[s]; !ok || slices.Contains(got.Used[:i], s) {
					t.Fatalf("%v uses %v", x, got.Used)
				}
			}
			if len(got.Missing) == 0 {
				if got.Truth != want {
					t.Fatalf("%v with %v stops at %v, want %v (with all of %v)", x, some, got.Truth, want, full)
				}
				return
			}
			if got.Truth != engine.Unknown {
				t.Fatalf("%v is %v and misses %v", x, got.Truth, got.Missing)
			}
			for _, s := range got.Missing {
				if _, ok := some[s]; ok {
					t.Fatalf("%v misses %v, which was given", x, s)
				}
			}
			// Any one of them will do: they are asked one after the other or all at once.
			if rapid.Bool().Draw(t, "one") {
				got.Missing = got.Missing[:1]
			}
			for _, s := range got.Missing {
				some[s] = full[s]
			}
		}
		t.Fatalf("%v is never content", x)
	})
}

func TestConditionsAreEvaluatedByManyAtOnce(t *testing.T) {
	c := condition(t, `(sli("x") / 2.0 > 1.0 || burning("b", "page")) && dwell() > duration("1s")`)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			w := world{sliX: reading(float64(i)), dwell: reading(2)}
			for _, d := range []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour} {
				w[sloWindow("b", d)] = counts(0, 1)
			}
			for range 200 {
				if got := c.Eval(w.lookup).Truth; got != engine.TruthOf(i > 2) {
					t.Errorf("%d: %v", i, got)
					return
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkEval(b *testing.B) {
	set, err := Load([]File{{Name: "f", Data: fmt.Appendf(nil, evalFile, `!burning("b", "page") && burn_rate("b", "5m") < 1.0`)}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	c := set.Services[0].Conditions[4]
	w := world{sloWindow("b", 5*time.Minute): counts(0, 10), sloWindow("b", 30*time.Minute): counts(0, 10)}
	b.ReportAllocs()
	for b.Loop() {
		if c.Eval(w.lookup).Truth != engine.True {
			b.Fatal("not true")
		}
	}
}
