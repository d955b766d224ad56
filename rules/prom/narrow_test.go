package prom

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

// hostile are names that would say something else if they were taken for a part of a query, a string or a pattern.
var hostile = []string{
	`a`, `aa`, `.`, `a.b`, `axb`, `a|b`, `b`, `.*`, `a"b`, `a'b`, "a`b", `a\b`, `a\`, `\d`, "a\nb", "a\tb", "a\x00b", `a"} or vector(0) #`, `(a`, `[a`, `a{1}`, `^a$`,
	`{{.window}}`, `$1`, `größe`, "日本", `a:9090`, ` a `, `a/b`, `%7C`, `(?i)A`, `*`, `+`, "\u2028",
}

// waved is a store of instances, of which each has its own latency and its own errors.
func waved(t testing.TB, names []string, label string) *funcAPI {
	store := teststorage.New(t)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	app := store.Appender(t.Context())
	for i, name := range names {
		for before := 20 * time.Minute; before >= 0; before -= 30 * time.Second {
			since := (20*time.Minute - before).Minutes()
			at := noon.Add(-before).UnixMilli()
			for metric, value := range map[string]float64{"latency": float64(i + 1), "requests_total": since * 100, "errors_total": since * float64(i)} {
				if metric == "errors_total" && i == 0 {
					continue // it never failed
				}
				if _, err := app.Append(0, labels.FromStrings("__name__", metric, label, name), at, value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return engineAPI(t, store)
}

// ask answers the verification of shed's waves.
func (x *waves) ask(t testing.TB, instances []string) engine.Observation {
	t.Helper()
	q := engine.Question{Scope: "shop", Instances: instances}
	for i, c := range x.set.Service("shop").Conditions {
		if c.Name == "shed.rollout" {
			q.Conditions = []int{i}
		}
	}
	return x.e.Evaluate(t.Context(), Tick{Instant: noon, Questions: []engine.Question{q}}).Observations["shop"][q.Conditions[0]]
}

type waves struct {
	set *rules.Set
	e   *Evaluator
}

func wavesOf(t testing.TB, api *funcAPI, text string) *waves {
	set := load(t, "a.yaml", text)
	return &waves{set, New(set, only(api), Options{QueryOffset: -1})}
}

const narrowedSLI = `version: modeshift/v1
service: shop
slis: [{name: latency, query: %s}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("latency") > 1000, rollout: {waves: [5, 100], verify: 'sli("latency") > 0.0'}}
`

// However a file writes the string, and whatever the names hold: what is measured is the instances of these names.
func TestNamesOfInstancesArePlainData(t *testing.T) {
	for how, query := range map[string]string{
		"in double quotes": `'sum(latency{instance=~"{{.instances}}"})'`,
		"in single quotes": `"sum(latency{instance=~'{{ .instances }}'})"`,
		"raw":              "'sum(latency{instance=~`{{.instances}}`})'",
		"among others":     `'sum(latency{instance=~"(x|y)?{{.instances}}()"})'`,
	} {
		x := wavesOf(t, waved(t, hostile, "instance"), fmt.Sprintf(narrowedSLI, query))
		for i, name := range hostile {
			o := x.ask(t, []string{name})
			if o.Truth != engine.True || o.Readings[0].Value != float64(i+1) {
				t.Errorf("%s: %q: %+v", how, name, o.Readings)
			}
		}
		all := float64(len(hostile)*(len(hostile)+1)) / 2
		if o := x.ask(t, hostile); o.Truth != engine.True || o.Readings[0].Value != all {
			t.Errorf("%s: all of them: %+v, want %v", how, o.Readings, all)
		}
		without := slices.Delete(slices.Clone(hostile), 5, 6)
		if o := x.ask(t, append(without, "", "nobody")); o.Readings[0].Value != all-6 {
			t.Errorf("%s: all but one: %+v, want %v", how, o.Readings, all-6)
		}
	}
}

func TestAnInstanceMayBeAPartOfALabel(t *testing.T) {
	x := wavesOf(t, waved(t, []string{"a:9090", "b:9090", "ab:9090"}, "instance"), fmt.Sprintf(narrowedSLI, `'sum(latency{instance=~"{{.instances}}:9090"})'`))
	if o := x.ask(t, []string{"a", "b"}); o.Truth != engine.True || o.Readings[0].Value != 3 {
		t.Errorf("%+v", o)
	}
}

// Nobody has seen a wave without instances, and nobody can narrow to more than a query holds: neither is good.
func TestWhatCannotBeNarrowedIsUnknown(t *testing.T) {
	api := waved(t, []string{"a", "b"}, "instance")
	x := wavesOf(t, api, fmt.Sprintf(narrowedSLI, `'sum(latency{instance=~"{{.instances}}"})'`))
	for _, c := range []struct {
		instances []string
		why       engine.Why
		detail    string
	}{
		{nil, engine.WhyNoInstances, "no wave of instances is under way"},
		{[]string{}, engine.WhyNoInstances, "the waves have reached no instance"},
		{[]string{""}, engine.WhyNoInstances, "the waves have reached no instance"},
	} {
		o := x.ask(t, c.instances)
		if o.Truth != engine.Unknown || o.Blind || o.Readings[0].Why != c.why || o.Readings[0].Detail != c.detail || len(api.queried()) > 0 {
			t.Errorf("%q: %+v", c.instances, o)
		}
	}
	if o := x.ask(t, []string{"c"}); o.Truth != engine.Unknown || !o.Blind || o.Readings[0].Why != engine.WhyAbsent {
		t.Errorf("an instance that shows nothing: %+v", o)
	}
	api.queried()

	// Whoever waits for this wave has to hear of it, and the source is not to blame.
	q := engine.Question{Scope: "shop", Instances: numbered(12_000, 100), Conditions: []int{1}}
	a := x.e.Evaluate(t.Context(), Tick{Instant: noon, Questions: []engine.Question{q}})
	o := a.Observations["shop"][1]
	if o.Truth != engine.Unknown || !o.Blind || a.SourceBlind["shop"] || a.Sources[0].Blind || len(api.queried()) > 0 ||
		!strings.Contains(o.Readings[0].Detail, "names 12000 instances has ") {
		t.Errorf("%+v, %+v", o, a.Sources)
	}
}

// numbered are n names of so many letters.
func numbered(n, letters int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s%07d", strings.Repeat("x", letters-7), i))
	}
	return names
}

// A wave of a large service is measured whole, and its names do not fill the log.
func TestAWaveOfTenThousandInstancesIsMeasured(t *testing.T) {
	names := numbered(10_000, 30)
	x := wavesOf(t, waved(t, []string{names[0], names[9_999], "other"}, "instance"), fmt.Sprintf(narrowedSLI, `'sum(latency{instance=~"{{.instances}}"})'`))
	began := time.Now()
	o := x.ask(t, names)
	t.Logf("asked in %v", time.Since(began))
	if o.Truth != engine.True || o.Readings[0].Value != 3 {
		t.Errorf("%v %v %s", o.Truth, o.Readings[0].Value, o.Readings[0].Why)
	}
	if n := len(o.Readings[0].Query); n > 2*maxShown || !strings.HasSuffix(o.Readings[0].Query, "…") {
		t.Errorf("the reading's query has %d bytes", n)
	}
	q := engine.Question{Scope: "shop", Instances: names, Conditions: []int{1}}
	for _, m := range x.e.Explain(t.Context(), Tick{Instant: noon, Questions: []engine.Question{q}}).Conditions[0].Signals {
		if len(m.Queries) != 1 || m.Reading.Value != 3 || len(m.Queries[0].Query) > 2*maxShown || m.Queries[0].Own != m.Queries[0].Query {
			t.Errorf("explained by %d queries: %v", len(m.Queries), m.Reading.Value)
		}
	}
}

// A real server reads what is sent: the names over HTTP, and ten thousand of them within the time that a query may take.
func TestARealPrometheusReadsTheNames(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	names := slices.DeleteFunc(slices.Clone(hostile), func(name string) bool { return strings.Contains(name, "\x00") }) // not over the wire
	many := numbered(10_000, 30)
	var data []promtest.Series
	for i, name := range append(slices.Clone(names), many...) {
		data = append(data, promtest.Series{Metric: "latency{instance=" + strconv.Quote(name) + "}", Samples: []promtest.Sample{{At: noon.Add(-time.Minute), Value: float64(i + 1)}}})
	}
	prometheus.Push(data...)
	set := load(t, "a.yaml", fmt.Sprintf(narrowedSLI, `'sum(latency{instance=~"{{.instances}}"})'`))
	x := &waves{set, New(set, dial(t, prometheus.URL), Options{QueryOffset: -1})}
	for i, name := range names {
		if o := x.ask(t, []string{name}); o.Truth != engine.True || o.Readings[0].Value != float64(i+1) {
			t.Errorf("%q: %+v", name, o.Readings)
		}
	}
	n, m := float64(len(names)), float64(len(many))
	began := time.Now()
	o := x.ask(t, many)
	t.Logf("ten thousand took %v", time.Since(began))
	if o.Truth != engine.True || o.Readings[0].Value != n*m+m*(m+1)/2 {
		t.Errorf("ten thousand: %v %v %s %s", o.Truth, o.Readings[0].Value, o.Readings[0].Why, o.Readings[0].Detail)
	}
}

const narrowedSLO = `version: modeshift/v1
service: shop
evaluate: recorded
slos:
  - name: availability
    objective: 90
    sli:
      events:
        error_query: sum(rate(errors_total{pod=~"{{.instances}}"}[{{.window}}]))
        total_query: sum(rate(requests_total{pod=~"{{.instances}}"}[{{.window}}]))
    min_events: 700
    alerting: {name: A, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: error_ratio("availability", "10m") > 0.015
    rollout: {waves: [5, 100], verify: 'error_ratio("availability", "10m") < 0.015'}
`

// The same SLO is measured on all instances by the rules' other conditions, and on the wave by the verification: with its own
// min_events, from the raw series, and with no errors where the wave has none.
func TestTheWaveAndTheWholeAreMeasuredApart(t *testing.T) {
	text := strings.Replace(narrowedSLO, "evaluate: recorded\n", "", 1)
	api := waved(t, []string{"a", "b", "c", "d"}, "pod") // with 0, 1, 2 and 3 errors in 100 requests a minute
	x := wavesOf(t, api, text)
	service := x.set.Service("shop")
	q := engine.Question{Scope: "shop", Instances: []string{"a", "b"}}
	for i := range service.Conditions {
		q.Conditions = append(q.Conditions, i)
	}
	a := x.e.Evaluate(t.Context(), Tick{Instant: noon, Questions: []engine.Question{q}})
	if o := condition(t, x.set, a, "shop", "shed.when"); o.Truth != engine.False || !near(o.Readings[0].Value, 0.015) {
		t.Errorf("of all: %+v", o)
	}
	if o := condition(t, x.set, a, "shop", "shed.rollout"); o.Truth != engine.True || !near(o.Readings[0].Value, 0.005) || !strings.Contains(o.Readings[0].Query, `pod=~"a|b"`) {
		t.Errorf("of the wave: %+v", o)
	}
	if o := x.ask(t, []string{"d"}); o.Truth != engine.False || !near(o.Readings[0].Value, 0.03) {
		t.Errorf("of the worst: %+v", o)
	}
	if o := x.ask(t, []string{"a"}); o.Truth != engine.True || o.Readings[0].Value != 0 {
		t.Errorf("of the one that never failed: %+v", o)
	}
	few := wavesOf(t, api, strings.Replace(text, "min_events: 700", "min_events: 1700", 1))
	if o := few.ask(t, []string{"a"}); o.Truth != engine.Unknown || o.Blind || o.Readings[0].Why != engine.WhyFewEvents {
		t.Errorf("of few events: %+v", o)
	}
	if o := few.ask(t, []string{"a", "b"}); o.Truth != engine.True {
		t.Errorf("of enough events: %+v", o)
	}

	// What Sloth's rules record knows no instances.
	recorded := wavesOf(t, api, narrowedSLO)
	api.queried()
	if o := recorded.ask(t, []string{"a"}); o.Truth != engine.True {
		t.Errorf("%+v", o)
	}
	for _, sent := range api.queried() {
		if strings.Contains(sent, "slo:sli_error") {
			t.Errorf("it asked %s", sent)
		}
	}
}

// Each replica is asked for the same instances, and they have to agree on the wave too.
func TestReplicasAgreeOnAWave(t *testing.T) {
	one, other := waved(t, []string{"a", "b"}, "instance"), waved(t, []string{"b", "a"}, "instance")
	text := fmt.Sprintf(strings.Replace(narrowedSLI, "query: %s", "agree: 2, query: %s", 1), `'sum(latency{instance=~"{{.instances}}"})'`)
	set := load(t, "a.yaml", strings.Replace(text, `sli("latency") > 0.0`, `sli("latency") > 1.5`, 1))
	x := &waves{set, New(set, []Source{{Name: "main", Replicas: []v1.API{one, other}}}, Options{QueryOffset: -1})}
	if o := x.ask(t, []string{"a"}); o.Truth != engine.Unknown || !o.Blind || o.Readings[0].Why != engine.WhyDisagree {
		t.Errorf("1 and 2 against 1.5: %+v", o)
	}
	if o := x.ask(t, []string{"a", "b"}); o.Truth != engine.True || o.Readings[0].Value != 3 {
		t.Errorf("3 and 3 against 1.5: %+v", o)
	}
}

// Two services whose queries are one but for the job, in a wave of instances of the same names: each is asked for itself, and
// nothing is kept of what was asked.
func TestWhatIsNarrowedIsAskedAlone(t *testing.T) {
	const text = `version: modeshift/v1
service: %[1]s
slis: [{name: latency, query: 'sum(latency{job="%[1]s",instance=~"{{.instances}}"})'}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("latency") > 1.0, rollout: {waves: [5, 100], verify: sli("latency") < 1.0}}
`
	set := load(t, "a.yaml", fmt.Sprintf(text, "a"), "b.yaml", fmt.Sprintf(text, "b"))
	api := waved(t, []string{"x"}, "instance")
	e := New(set, only(api), Options{QueryOffset: -1})
	tick := everything(set, noon)
	for i := range tick.Questions {
		tick.Questions[i].Instances = []string{"x", "y"}
	}
	e.Evaluate(t.Context(), tick)
	sent := api.queried()
	slices.Sort(sent)
	want := []string{`sum by (job) (latency{instance=~".*",job=~"a|b"})`, `sum(latency{job="a",instance=~"x|y"})`, `sum(latency{job="b",instance=~"x|y"})`}
	if !slices.Equal(sent, want) {
		t.Errorf("sent %q", sent)
	}
	for kept := range e.fusion.known {
		if strings.Contains(kept, "x|y") {
			t.Errorf("it keeps %s", kept)
		}
	}
	for c := range e.fusion.read {
		if strings.Contains(c.text, "x|y") {
			t.Errorf("it keeps what %s read", c.text)
		}
	}
	if groups := Fusion(set); len(groups) != 1 || groups[0].Queries != 2 {
		t.Errorf("%+v", groups)
	}
}
