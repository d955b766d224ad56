package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/engine"
)

// findOptions are those under which the page of findings is told.
var findOptions = Options{Findings: true, Kinds: kinds, Now: time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC),
	Receivers: map[engine.Severity]bool{engine.SeverityPage: true, engine.SeverityTicket: true}}

const preamble = "version: modeshift/v1\nservice: checkout\nowner: team-payments\nrunbook: https://runbooks.example.com/checkout\n"

// find loads a document and returns its findings.
func find(t *testing.T, opts Options, text string) Diagnostics {
	t.Helper()
	if !strings.HasPrefix(text, "version:") {
		text = preamble + text
	}
	return mustLoad(t, opts, text).Warnings
}

func codesOf(diags Diagnostics) []Code {
	var out []Code
	for _, d := range diags {
		if !slices.Contains(out, d.Code) {
			out = append(out, d.Code)
		}
	}
	return out
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Each finding has its section, whose first example gets exactly that finding, at the level it says, and whose second gets none.
func TestThePageOfFindingsIsTrue(t *testing.T) {
	var headings []Code
	for _, s := range Explanations() {
		code, level := s.Code, s.Severity
		headings = append(headings, code)
		t.Run(string(code), func(t *testing.T) {
			blocks := yamlBlock.FindAllStringSubmatch(s.Text, -1)
			if len(blocks) != 2 || len(s.Summary) < 20 || len(s.Summary) > 200 {
				t.Fatalf("%d examples; %q", len(blocks), s.Summary)
			}
			bad := find(t, findOptions, blocks[0][1])
			if level == LevelError { // a Prometheus is needed: rules/prom tests it
				if len(bad) > 0 || code != CodeNoSuchSeries && code != CodeNoSuchLabel {
					t.Errorf("without a Prometheus:\n%v", bad)
				}
			} else if fmt.Sprint(codesOf(bad)) != fmt.Sprint([]Code{code}) || bad[0].Level != level {
				t.Errorf("the bad example gets %v\n%v", codesOf(bad), bad)
			}
			if good := find(t, findOptions, blocks[1][1]); len(good) > 0 {
				t.Errorf("the good example gets\n%v", good)
			}
		})
	}
	if fmt.Sprint(headings) != fmt.Sprint(Findings()) {
		t.Errorf("sections %v\nfindings %v", headings, Findings())
	}
}

// shifting is a service that shifts by two conditions, with quantities of all sorts to ask for.
func shifting(in, out string) string {
	return fmt.Sprintf(`slos:
  - name: availability
    objective: 99.9
    min_events: 200
    sli:
      events:
        error_query: sum(rate(errors_total[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: A}
slis: [{name: p99, query: max(latency)}, {name: p50, query: min(latency)}]
schedules: [{name: night, cron: "0 22 * * *", duration: 8h}]
modes: [{name: normal}, {name: degraded, max_duration: 4h}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: '%s'
  - name: recover
    from: [degraded]
    to: normal
    when: '%s'
`, in, out)
}

func TestEntryAndExitAreTrueTogetherOnlyWhereTheyCanBe(t *testing.T) {
	for _, c := range []struct{ in, out, with string }{
		{`burning("availability", "page")`, `!burning("availability", "page")`, ""},
		{`burning("availability", "page")`, `!burning("availability", "page") && burn_rate("availability", "5m") < 1.0`, ""},
		{`burning("availability", "page")`, `burn_rate("availability", "5m") < 1.0`, // six hours burn, five minutes do not
			`burn_rate("availability", "5m") = 0, burn_rate("availability", "30m") = 7.5, burn_rate("availability", "6h") = 7.5`},
		{`burning("availability", "page")`, `burn_rate("availability", "5m") < 1.0 && burn_rate("availability", "30m") < 1.0`, ""},
		{`burn_rate("availability", "1h") > 14.4`, `error_ratio("availability", "1h") <= 0.0144`, ""}, // the same number, and the other side
		{`burn_rate("availability", "1h") >= 14.4`, `error_ratio("availability", "1h") <= 0.0144`, `burn_rate("availability", "1h") = 14.4`},
		{`sli("p99") > 0.5`, `sli("p99") < 0.5`, ""},
		{`sli("p99") > 0.5`, `0.6 > sli("p99")`, `sli("p99") = 0.55`},
		{`sli("p99") > 0.5`, `sli("p50") < 0.5`, `sli("p99") = 1.5, sli("p50") = -0.5`},
		{`sli("p99") > sli("p50")`, `sli("p50") > sli("p99")`, ""},
		{`sli("p99") / sli("p50") > 2.0`, `sli("p99") / sli("p50") < 1.5`, ""},
		{`alert("X") || schedule("night")`, `!alert("X")`, `alert("X") is false, schedule("night") is true`},
		{`alert("X") ? sli("p99") > 1.0 : false`, `!alert("X") || sli("p99") < 1.0`, ""},
		{`alert("X") == true`, `alert("X") != true`, ""},
		{`alert("X") != alert("Y")`, `!alert("X")`, `alert("X") is false, alert("Y") is true`},
		{`alert("X") == alert("Y")`, `alert("X") != alert("Y")`, ""},
		{`alert("X") != schedule("night")`, `(alert("X") ? 1 : 0) == 0`, `alert("X") is false, schedule("night") is true, alert("X") ? 1 : 0 = 0`},
		{`alert("X") == (sli("p99") < 3.0)`, `sli("p99") < 3.0`, `alert("X") is true, sli("p99") = 2`},
		{`alert("X") > alert("Y")`, `alert("X") <= alert("Y")`, ""},
		{`alert("X") >= alert("Y")`, `alert("X") < alert("Y")`, ""},
		{`string(sli("p99")) == string(sli("p50"))`, `string(sli("p50")) != string(sli("p99"))`, ""},
		{`string(sli("p99")) != string(sli("p50"))`, `alert("X")`, `string(sli("p50")) == string(sli("p99")) is false, alert("X") is true`},
		{`mode("checkout") == "normal"`, `mode("checkout") == "degraded"`, `mode("checkout") in normal is "normal", mode("checkout") in degraded is "degraded"`},
		{`alert("X")`, `dwell() > duration("10m")`, `alert("X") is true, dwell() in degraded = 12m30s`},
		{`budget_remaining("availability") < 0.1`, `budget_remaining("availability") > 0.5`, ""},
		{`divergence() > 0.5`, `divergence() > 0.9`, `divergence() = 0.925`},
	} {
		diags := find(t, findOptions, shifting(c.in, c.out))
		got := ""
		for _, d := range diags {
			if d.Code == CodeTogether {
				_, got, _ = strings.Cut(d.Message, ": with ")
				if d.Line != 25 {
					t.Errorf("%s, %s: %s", c.in, c.out, d.Position())
				}
			} else {
				t.Errorf("%s, %s: also %s", c.in, c.out, d.Summary())
			}
		}
		if got != c.with {
			t.Errorf("%s, %s: with %q, want %q", c.in, c.out, got, c.with)
		}
	}
}

func TestAGateOrAnotherEffectDecidesWhetherTransitionsCompete(t *testing.T) {
	base := `modes: [{name: normal}, {name: degraded, max_duration: 4h}, {name: a, beside: true}, {name: b, beside: true}]
transitions:
  - {name: one, from: [normal], to: %s, when: alert("X")%s}
  - {name: two, from: [normal], to: %s, when: %s%s}
  - {name: back, from: [degraded, a, b], to: normal, when: '!alert("X") && !alert("Y")'}
  - {name: others, from: [normal], to: a, when: alert("X") && alert("Z"), approval: {groups: [{role: oncall}], within: 1h}}
`
	gate := ", approval: {groups: [{role: oncall}], within: 1h}"
	waves := ", rollout: {waves: [5, 100]}"
	for _, c := range []struct {
		name                        string
		to, with, to2, when2, with2 string
		competes                    bool
	}{
		{"the same twice", "degraded", "", "degraded", `alert("Y")`, "", false},
		{"another way to the same mode", "degraded", "", "degraded", `alert("Y")`, waves, true},
		{"louder is no other way", "degraded", "", "degraded", `alert("Y")`, ", severity: page", false},
		{"never at once", "degraded", "", "degraded", `'!alert("X") && alert("Y")'`, waves, false},
		{"one waits for people", "degraded", "", "degraded", `alert("Y")`, waves + gate, false},
		{"two without a rank", "a", "", "b", `alert("Y")`, "", true},
		{"a rank decides", "degraded", "", "b", `alert("Y")`, "", false},
	} {
		diags := find(t, findOptions, fmt.Sprintf(base, c.to, c.with, c.to2, c.when2, c.with2))
		if got := slices.Contains(codesOf(diags), CodeCompeting); got != c.competes {
			t.Errorf("%s: %v\n%v", c.name, got, diags)
		}
	}
}

// Source: docs of the numbers, FORMATS §5: 1 > factor × budget × events.
func TestTheTrafficBelowWhichOneErrorPagesIsExact(t *testing.T) {
	for objective, want := range map[string][]int64{
		"99": {6, 16, 33, 99}, "99.5": {13, 33, 66, 199}, "99.9": {69, 166, 333, 999}, "99.95": {138, 333, 666, 1999}, "99.99": {694, 1666, 3333, 9999},
	} {
		s := mustLoad(t, Options{}, strings.Replace(serviceText, "99.9", objective, 1)).Services[0].SLOs[0]
		var got []int64
		for _, tier := range s.Tiers {
			for _, w := range tier.Windows {
				n := oneErrorBelow(w)
				got = append(got, n)
				if !w.limit.exceeded(1, float64(n)) || w.limit.exceeded(1, float64(n+1)) {
					t.Errorf("%s %%, %v: one of %d, and one of %d", objective, w.Long, n, n+1)
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s %%: %v, want %v", objective, got, want)
		}
	}
}

func TestAModeThatAScopeAboveImposesIsReached(t *testing.T) {
	shop := "version: modeshift/v1\nservice: shop\nowner: a\nmodes: [{name: open}, {name: sale, imposes: degraded}]\n"
	below := strings.Replace(preamble, "service: checkout\n", "service: checkout\nparent: shop\n", 1) +
		"modes: [{name: normal}, {name: degraded}, {name: read-only, max_duration: 1h}]\ntransitions:\n" +
		"  - {name: x, from: [degraded], to: read-only, when: alert(\"X\")}\n  - {name: y, from: [read-only], to: normal, when: '!alert(\"X\")'}\n"
	if diags := mustLoad(t, findOptions, shop, below).Warnings; len(diags) > 0 {
		t.Errorf("\n%v", diags)
	}
	if diags := mustLoad(t, findOptions, strings.Replace(shop, ", imposes: degraded", "", 1), below).Warnings; fmt.Sprint(codesOf(diags)) != "[unreachable-mode]" || len(diags) != 2 {
		t.Errorf("\n%v", diags)
	}
}

func TestAFileMayLiveWithAFindingForAReason(t *testing.T) {
	text := shifting(`sli("p99") > 0.5`, `sli("p99") < 0.8`)
	if got := codesOf(find(t, findOptions, text)); fmt.Sprint(got) != "[entry-and-exit-together]" {
		t.Fatal(got)
	}
	allow := "allow:\n  - {code: entry-and-exit-together, why: flapping is set}\n"
	if diags := find(t, findOptions, text+allow); len(diags) > 0 {
		t.Errorf("\n%v", diags)
	}
	// In another document of the same file it is found all the same.
	other := preamble + text + allow + "---\n" + strings.Replace(preamble, "checkout", "cart", 1) + text
	if diags := mustLoad(t, findOptions, other).Warnings; len(diags) != 1 || diags[0].Line < 32 {
		t.Errorf("\n%v", diags)
	}
	// What is decided, and so approved, does not depend on it.
	if a, b := mustLoad(t, findOptions, preamble+text), mustLoad(t, findOptions, preamble+text+allow); a.Digest != b.Digest {
		t.Error("the digest changes with what is allowed")
	}
	// A server does not look for findings, and says none of an unused permission.
	if set := mustLoad(t, Options{Kinds: kinds}, preamble+text+allow); len(set.Warnings) > 0 {
		t.Errorf("\n%v", set.Warnings)
	}
	if d := codesOf(find(t, findOptions, "slos: []\nallow: [{code: short-window, why: we scrape often}]\n")); len(d) > 0 {
		t.Errorf("what depends on whom one asks: %v", d)
	}
}

func TestAWindowHoldsFourScrapesOfTheSlowestTarget(t *testing.T) {
	opts := findOptions
	for each, want := range map[time.Duration]int{75 * time.Second: 0, 76 * time.Second: 1, 8 * time.Minute: 2} {
		opts.Scrape = func(_ string, m []*labels.Matcher) time.Duration {
			if m[len(m)-1].Value == "requests_total" {
				return each
			}
			return 5 * time.Second
		}
		diags := find(t, opts, shifting(`burning("availability", "page")`, `!burning("availability", "page") && burn_rate("availability", "5m") < 1.0`))
		if len(diags) != want {
			t.Errorf("every %v: %d findings\n%v", each, len(diags), diags)
		}
	}
	opts.Scrape = func(string, []*labels.Matcher) time.Duration { return 0 }
	if d := find(t, opts, shifting(`burn_rate("availability", "1m") > 9.0`, `burn_rate("availability", "59s") < 1.0`)); len(d) != 2 || d[0].Code != CodeTogether || d[1].Code != CodeShortWindow {
		t.Errorf("\n%v", d)
	}
}

// Forty pairs of alerts stand together in 2^40 ways, of which the first one that is looked at will do.
func TestAWitnessIsFoundAmongManyWays(t *testing.T) {
	var in, out []string
	for i := range 40 {
		in = append(in, fmt.Sprintf(`(alert("a%d") != alert("b%[1]d"))`, i))
		out = append(out, fmt.Sprintf(`(alert("a%d") == alert("b%[1]d") || alert("c%[1]d"))`, i))
	}
	if found := find(t, findOptions, shifting(strings.Join(in, " && "), strings.Join(out, " && "))); !slices.ContainsFunc(found, func(d Diagnostic) bool { return d.Code == CodeTogether }) {
		t.Errorf("no witness: %v", found)
	}
}

// A number outside of what a quantity can be cuts nothing, and what it is compared with is always so, or never.
func TestNumbersOutOfRangeAreAlwaysOrNeverExceeded(t *testing.T) {
	for when, never := range map[string]bool{
		`divergence() >= -1.0`: false, `divergence() < -1.0`: true, `divergence() <= 1.0 && divergence() >= 1.0`: false,
		`budget_remaining("availability") < 0.5 && budget_remaining("availability") > 0.9`:   true,
		`budget_remaining("availability") > -3.0 && budget_remaining("availability") < -2.0`: false,
		`burn_rate("availability", "5m") < 0.0`:                                              true, `burn_rate("availability", "5m") <= 0.0`: false,
		`dwell() < duration("0s")`: true, `sli("p99") > 5.0 && sli("p99") < 5.0`: true, `alert("X") && !alert("X")`: true,
	} {
		diags := find(t, findOptions, shifting(when, `alert("Y") && !(`+when+`)`))
		got := slices.ContainsFunc(diags, func(d Diagnostic) bool { return d.Code == CodeNeverTrue && d.Line == 25-4 })
		if got != never {
			t.Errorf("%s is never true: %v, want %v\n%v", when, got, never, diags)
		}
	}
}

// A document is looked at before the others have been read. What was found in it is not said if one of them shows it to be wrong.
func TestNothingIsFoundInADocumentThatAnotherOneMakesWrong(t *testing.T) {
	below := strings.Replace(preamble, "checkout", "cart", 1) + "parent: checkout\n" + shifting(`sli("p99") > 0.5`, `sli("p99") < 0.8`)
	set, diags := load(t, findOptions, below)
	if got := codesOf(append(diags, set.Warnings...)); fmt.Sprint(got) != "[unknown-name]" {
		t.Errorf("without its parent: %v\n%v", got, diags)
	}
	set = mustLoad(t, findOptions, below, preamble+"modes: [{name: normal}, {name: degraded}]\n")
	if got := codesOf(set.Warnings); fmt.Sprint(got) != "[entry-and-exit-together]" {
		t.Errorf("with its parent: %v\n%v", got, set.Warnings)
	}
}

// A panic in what looks for findings is a fault of the service that is looked at.
func TestAPanicInAFindingIsAFaultOfOneService(t *testing.T) {
	opts := findOptions
	opts.Scrape = func(_ string, m []*labels.Matcher) time.Duration {
		if m[len(m)-1].Value == "cursed" {
			panic("nobody scrapes this")
		}
		return 0
	}
	text := func(service, metric string) string {
		return strings.Replace(preamble, "checkout", service, 1) + "slis: [{name: x, query: \"max(" + metric + ")\"}]\n"
	}
	set, diags := load(t, opts, text("a", "blessed"), text("b", "cursed"))
	if errs := diags.Errors(); len(errs) != 1 || errs[0].Code != CodeOurFault || errs[0].File != "b.yaml" {
		t.Errorf("\n%v", diags)
	}
	if set.Service("a") == nil || set.Service("b") != nil {
		t.Errorf("%v", set.Services)
	}
}
