package rules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// load compiles texts as files a.yaml, b.yaml, …
func load(t *testing.T, opts Options, texts ...string) (*Set, Diagnostics) {
	t.Helper()
	return reload(t, nil, opts, texts...)
}

func reload(t *testing.T, last *Set, opts Options, texts ...string) (*Set, Diagnostics) {
	t.Helper()
	set, err := Reload(last, filesOf(texts...), opts)
	var diags Diagnostics
	if err != nil && !errors.As(err, &diags) {
		t.Fatalf("the error is a %T", err)
	}
	return set, diags
}

func filesOf(texts ...string) []File {
	var files []File
	for i, text := range texts {
		files = append(files, File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(text)})
	}
	return files
}

func mustLoad(t *testing.T, opts Options, texts ...string) *Set {
	t.Helper()
	set, diags := load(t, opts, texts...)
	if diags != nil {
		t.Fatalf("\n%v", diags)
	}
	return set
}

const serviceText = `version: modeshift/v1
service: checkout
owner: payments
labels: {team: pay}
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(errors_total{job="a",code="500"}[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: A, labels: {x: y}}
    min_events: 100
slis:
  - {name: p99, query: max(latency), unit: seconds}
schedules:
  - {name: night, cron: "0 22 * * *", duration: 8h}
modes:
  - name: normal
  - name: degraded
    flags: {recommendations: false}
    min_duration: 5m
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("availability", "page") && sli("p99") > 0.5
    for: 60s
    severity: page
  - name: recover
    from: [degraded]
    to: normal
    when: '!schedule("night") && burn_rate("availability", "5m") < 1.0'
`

func TestAServiceBecomesAPolicy(t *testing.T) {
	set := mustLoad(t, Options{}, serviceText)
	s := set.Service("checkout")
	p := s.Policy
	if p.Scope != "checkout" || p.Interval != 15*time.Second || p.BlindAfter != 5*time.Minute || p.Owner != "payments" || p.Digest != s.Digest || s.Digest == "" {
		t.Errorf("%+v", p)
	}
	var names []string
	for i, c := range p.Conditions {
		names = append(names, c.Name)
		if s.Conditions[i].Name != c.Name || s.Conditions[i].Text != c.Text || c.Digest == "" {
			t.Errorf("condition %d is %+v and %+v", i, c, s.Conditions[i])
		}
	}
	if got, want := fmt.Sprint(names), "[slo/availability/page slo/availability/ticket shed.when recover.when]"; got != want {
		t.Errorf("conditions %s", got)
	}
	if p.Conditions[0].Every != 0 || p.Conditions[1].Every != 2*time.Minute || p.Conditions[2].Every != 0 {
		t.Errorf("cadences %v %v %v", p.Conditions[0].Every, p.Conditions[1].Every, p.Conditions[2].Every)
	}
	shed := p.Transitions[0]
	if shed.When != 2 || shed.For != time.Minute || shed.Severity != engine.SeverityPage || fmt.Sprint(shed.Alerts) != "[0]" ||
		shed.Position != "a.yaml:24:5" || shed.To != "degraded" || fmt.Sprint(shed.From) != "[normal]" {
		t.Errorf("%+v", shed)
	}
	if r := p.Transitions[1]; r.When != 3 || r.Severity != engine.SeverityInfo || r.Alerts != nil {
		t.Errorf("%+v", r)
	}
	if a := p.Alerts[0]; a.SLO != "availability" || a.Name != "A" || a.Condition != 0 || a.Labels["x"] != "y" || a.Labels["team"] != "pay" {
		t.Errorf("%+v", a)
	}
	if m := p.Modes[1]; m.Flags["recommendations"] != false || m.MinDuration != 5*time.Minute {
		t.Errorf("%+v", m)
	}
	slo := s.SLO("availability")
	if slo.Budget != 0.001 || slo.Objective.String() != "99.9" || slo.Objective.Ratio() != 0.999 || slo.EventsPerUnit(time.Hour) != 3600 || slo.MinEvents != 100 {
		t.Errorf("%+v", slo)
	}
	errs, total := slo.Queries(28 * 24 * time.Hour)
	if errs != `sum(rate(errors_total{job="a",code="500"}[4w]))` || total != `sum(rate(requests_total[4w]))` {
		t.Errorf("queries %s and %s", errs, total)
	}
	if set.Service("nobody") != nil || (*Set)(nil).Service("x") != nil {
		t.Error("a service nobody declared")
	}
}

// What does not change the meaning does not change the digest, and what does, does.
func TestADigestIsOfTheMeaning(t *testing.T) {
	digest := func(old, new string) engine.Digest {
		t.Helper()
		if !strings.Contains(serviceText, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return mustLoad(t, Options{}, strings.Replace(serviceText, old, new, 1)).Services[0].Digest
	}
	base := digest("x", "x")
	for old, new := range map[string]string{
		"owner: payments":                               "# who\nowner: \"payments\"\n\n",
		`sum(rate(requests_total[{{.window}}]))`:        `sum( rate( requests_total[{{ .window }}] ) ) # all`,
		`burning("availability", "page") && sli("p99")`: "\n      burning('availability', 'page')\n      &&   (sli('p99'))",
		"for: 60s":                 "for: 1m",
		"objective: 99.9":          "objective: 99.900",
		"{job=\"a\",code=\"500\"}": "{code=\"500\",job=\"a\"}",
		"{name: p99, query: max(latency), unit: seconds}": "{unit: seconds, query: 'max(latency)', max_age: 300s, name: p99}",
	} {
		if digest(old, new) != base && old != "{job=\"a\",code=\"500\"}" {
			t.Errorf("the digest changes with %q for %q", new, old)
		}
	}
	for old, new := range map[string]string{
		"owner: payments":             "owner: shop",
		"code=\"500\"":                "code=\"503\"",
		"for: 60s":                    "for: 61s",
		"objective: 99.9":             "objective: 99.91",
		"min_events: 100":             "min_events: 101",
		"max(latency)":                "min(latency)",
		"> 0.5":                       ">= 0.5",
		"unit: seconds":               "unit: ms",
		"0 22 * * *":                  "0 23 * * *",
		"recommendations: false":      "recommendations: true",
		"min_duration: 5m":            "min_duration: 6m",
		"severity: page":              "severity: ticket",
		"labels: {x: y}":              "labels: {x: z}",
		"requests_total[{{.window}}]": "requests_total[{{.window}}] offset 1m",
	} {
		if digest(old, new) == base {
			t.Errorf("the digest does not change with %q for %q", new, old)
		}
		named(t, Options{}, serviceText, old, new)
	}
	conditions := func(old, new string) []engine.Condition {
		return mustLoad(t, Options{}, strings.Replace(serviceText, old, new, 1)).Services[0].Policy.Conditions
	}
	was, is := conditions("x", "x"), conditions("max(latency)", "min(latency)")
	for i := range was {
		if changed := was[i].Digest != is[i].Digest; changed != (was[i].Name == "shed.when") {
			t.Errorf("%s changed: %v", was[i].Name, changed)
		}
	}
	if mustLoad(t, Options{}, serviceText).Digest == mustLoad(t, Options{Interval: time.Minute}, serviceText).Digest {
		t.Error("the interval is not in the digest")
	}
}

func TestATicketIsDecidedEverySixtiethOfItsShortWindow(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		15 * time.Second: 2 * time.Minute, 50 * time.Second: 100 * time.Second, time.Minute: 2 * time.Minute, 119 * time.Second: 0,
		2 * time.Minute: 0, 121 * time.Second: 0, time.Hour: 0,
	} {
		p := mustLoad(t, Options{Interval: interval}, serviceText).Services[0].Policy
		if p.Conditions[0].Every != 0 || p.Conditions[1].Every != want {
			t.Errorf("at an interval of %v: %v and %v, want 0 and %v", interval, p.Conditions[0].Every, p.Conditions[1].Every, want)
		}
	}
}

func TestFactorsFollowThePeriod(t *testing.T) {
	for period, want := range map[string]string{
		"30d": "[14.4 6] [3 1]", "28d": "[13.44 5.6] [2.8 0.9333333333333333]", "90d": "[43.2 18] [9 3]", "7d": "[3.36 1.4] [0.7 0.23333333333333334]",
	} {
		s := mustLoad(t, Options{}, strings.Replace(serviceText, "    min_events: 100", "    period: "+period, 1)).Services[0].SLOs[0]
		var got []string
		for _, tier := range s.Tiers {
			var factors []float64
			for _, w := range tier.Windows {
				factors = append(factors, w.Factor)
			}
			got = append(got, fmt.Sprint(factors))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", period, got, want)
		}
	}
}

func TestObjectivesAreDecimals(t *testing.T) {
	for text, want := range map[string]struct {
		shown  string
		budget float64
	}{
		"99.9": {"99.9", 0.001}, "99.90": {"99.9", 0.001}, "99": {"99", 0.01}, "99.99": {"99.99", 0.0001}, "99.999": {"99.999", 0.00001},
		"95.5": {"95.5", 0.045}, "90": {"90", 0.1}, "50": {"50", 0.5},
	} {
		s := mustLoad(t, Options{}, strings.Replace(serviceText, "99.9", text, 1)).Services[0].SLOs[0]
		if s.Objective.String() != want.shown || s.Budget != want.budget {
			t.Errorf("%s is %s with a budget of %v", text, s.Objective, s.Budget)
		}
	}
}

func TestTheTotalQueryTellsHowManyEventsItStandsFor(t *testing.T) {
	for query, want := range map[string]float64{
		`sum(rate(x[{{.window}}]))`:                                 600,
		`sum by () (irate(x[{{.window}}]))`:                         600,
		`sum(increase(x[{{.window}}]))`:                             1,
		`sum(count_over_time(x[{{.window}}]))`:                      1,
		`(sum(sum_over_time(x[{{.window}}]))) or vector(0)`:         1,
		`sum(rate(x[{{.window}}])) + sum(rate(y[{{.window}}]))`:     600,
		`histogram_count(sum(rate(x[{{.window}}])))`:                600,
		`sum(rate(x[{{.window}}])) + sum(increase(y[{{.window}}]))`: 0,
		`avg(rate(x[{{.window}}]))`:                                 0,
		`sum(rate(x[{{$.window}}])) or (0 * vector(1))`:             0,
		`sum(rate(x[{{.window}}])) / 2`:                             0,
		`sum(delta(x[{{.window}}]))`:                                0,
	} {
		text := strings.Replace(serviceText, "sum(rate(requests_total[{{.window}}]))", query, 1)
		set, diags := load(t, Options{}, text)
		if want == 0 {
			if len(diags.Errors()) != 1 || !strings.Contains(diags[0].Message, "min_events cannot be checked") {
				t.Errorf("%s:\n%v", query, diags)
			}
			set, diags = load(t, Options{}, strings.Replace(text, "    min_events: 100\n", "", 1))
		}
		if diags != nil {
			t.Fatalf("%s:\n%v", query, diags)
		}
		if got := set.Services[0].SLOs[0].EventsPerUnit(10 * time.Minute); got != want {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func service(name, when string) string {
	return fmt.Sprintf("version: modeshift/v1\nservice: %s\nmodes: [{name: normal}, {name: degraded}]\ntransitions:\n  - {name: t, from: [normal], to: degraded, when: '%s'}\n", name, when)
}

const broken = "version: modeshift/v1\nservice: b\nowner: [\n"

func TestABadFileKeepsItsServiceAndWhatRefersToIt(t *testing.T) {
	a, b, c := service("a", `mode("b") == "normal"`), service("b", `alert("x")`), service("c", `alert("x")`)
	d := service("d", `mode("a") == "normal"`)
	last := mustLoad(t, Options{}, a, b, c, d)
	badB := strings.Replace(service("b", `alert("y")`), "to: degraded", "to: degrade", 1)
	a2, c2 := service("a", `mode("b") == "degraded"`), service("c", `alert("y")`)
	set, diags := reload(t, last, Options{}, a2, badB, c2, d)
	if len(diags) == 0 {
		t.Fatal("no diagnostics")
	}
	for scope, kept := range map[engine.Scope]bool{"a": true, "b": true, "c": false, "d": true} {
		s := set.Service(scope)
		if s == nil {
			t.Fatalf("%s is gone", scope)
		}
		if same := s.Digest == last.Service(scope).Digest; same != (kept || scope == "d") {
			t.Errorf("%s kept: %v", scope, same)
		}
		if (s.Problem != "") != kept {
			t.Errorf("%s: problem %q", scope, s.Problem)
		}
	}
	if !strings.Contains(set.Service("b").Problem, `b.yaml:5:35: there is no mode "degrade"`) {
		t.Errorf("problem %q", set.Service("b").Problem)
	}
	if last.Service("b").Problem != "" {
		t.Error("the set in force was changed")
	}
	// A reload after the mend takes everything.
	set, diags = reload(t, set, Options{}, a2, b, c2, d)
	if diags != nil || set.Service("a").Problem != "" || set.Service("a").Digest == last.Service("a").Digest {
		t.Errorf("%v", diags)
	}
	// Without rules to stay on they are not there at all.
	set, _ = load(t, Options{}, a2, badB, c2, d)
	if len(set.Services) != 1 || set.Service("c") == nil {
		t.Errorf("%d services are whole", len(set.Services))
	}
}

func TestAFileThatCannotBeReadKeepsItsService(t *testing.T) {
	a, b := service("a", `alert("x")`), service("b", `alert("x")`)
	last := mustLoad(t, Options{}, a, b)
	for _, bad := range []string{broken, "", "# nothing\n", "service: b\n", "- b\n", "version: modeshift/v1\nservice: 7\n"} {
		set, diags := reload(t, last, Options{}, a, bad)
		if len(diags) == 0 || set.Service("b") == nil || !strings.HasPrefix(set.Service("b").Problem, "b.yaml") || set.Service("a").Problem != "" {
			t.Errorf("%q: %+v", bad, set.Service("b"))
		}
	}
	// Renamed and broken at once: it may be the one.
	set, err := Reload(last, []File{{"a.yaml", []byte(a)}, {"renamed.yaml", []byte(broken)}}, Options{})
	if err == nil || set.Service("b") == nil {
		t.Errorf("a renamed file: %v", err)
	}
	// Really gone.
	set, diags := reload(t, last, Options{}, a)
	if diags != nil || set.Service("b") != nil {
		t.Errorf("a removed file: %v", diags)
	}
	set, diags = reload(t, last, Options{})
	if len(diags) != 1 || len(set.Services) != 0 {
		t.Errorf("no files: %v", diags)
	}
}

func TestAModeInForceDoesNotVanish(t *testing.T) {
	a := service("a", `alert("x")`)
	last := mustLoad(t, Options{}, a)
	opts := Options{InForce: map[engine.Scope]engine.Mode{"a": "degraded"}}
	if _, diags := reload(t, last, opts, a); diags != nil {
		t.Fatalf("\n%v", diags)
	}
	set, diags := reload(t, last, opts, strings.ReplaceAll(a, "degraded", "reduced"))
	if len(diags) != 1 || diags[0].Message != `mode "degraded" is in force in a and would vanish` || !strings.Contains(diags[0].Hint, "modeshift set a") {
		t.Fatalf("\n%v", diags)
	}
	if s := set.Service("a"); s.Digest != last.Service("a").Digest || s.Problem == "" {
		t.Errorf("%+v", s)
	}
	if _, diags := reload(t, last, opts, "version: modeshift/v1\nservice: a\n"); len(diags.Errors()) != 1 {
		t.Errorf("\n%v", diags)
	}
}

func TestTwoFilesOfOneServiceNameEachOther(t *testing.T) {
	a := service("a", `alert("x")`)
	set, diags := load(t, Options{}, a, a, service("c", `alert("x")`))
	if len(diags) != 2 || !strings.Contains(diags[0].Message, "b.yaml:2:10") || !strings.Contains(diags[1].Message, "a.yaml:2:10") {
		t.Errorf("\n%v", diags)
	}
	if len(set.Services) != 1 {
		t.Errorf("%d services", len(set.Services))
	}
}

func TestReferencesToOthersAreChecked(t *testing.T) {
	for _, c := range []struct{ name, other, want string }{
		{"unknown", "", `no file declares a service "b"`},
		{"without modes", "version: modeshift/v1\nservice: b\n", `service "b" has no modes`},
		{"without that mode", service("b", `alert("x")`), `service "b" has no mode "nomral"`},
		{"broken", strings.Replace(service("b", "alert(\"x\")"), "to:", "two:", 1), `service "b" does not load (b.yaml)`},
		{"unreadable", broken, `no file that can be read declares a service "b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := []string{service("a", `mode("b") == "normal"`)}
			if c.name == "without that mode" {
				texts = []string{service("a", `alert("x") || mode("b") != "nomral"`)}
			}
			if c.other != "" {
				texts = append(texts, c.other)
			}
			_, diags := load(t, Options{}, texts...)
			if len(diags) == 0 || diags[0].Message != c.want || diags[0].File != "a.yaml" || diags[0].Line != 5 {
				t.Errorf("\n%v", diags)
			}
		})
	}
	// What is refused reaches back through a chain.
	set, diags := load(t, Options{}, service("a", `mode("b") == "normal"`), service("b", `mode("c") == "normal"`),
		strings.Replace(service("c", `alert("x")`), "to:", "two:", 1), service("d", `alert("x")`))
	if len(set.Services) != 1 || set.Service("d") == nil {
		t.Errorf("\n%v", diags)
	}
	// Two that refer to each other load together.
	mustLoad(t, Options{}, service("a", `mode("b") == "normal"`), service("b", `mode("a") == "normal"`))
	mustLoad(t, Options{}, service("a", `mode("a") == "normal"`))
}

func TestAllFaultsOfAllFilesComeSorted(t *testing.T) {
	bad := "version: modeshift/v1\nservice: %s\nowner: 1\nrunbook: x\nbogus: 1\n"
	_, diags := load(t, Options{}, fmt.Sprintf(bad, "a"), fmt.Sprintf(bad, "b"))
	var got []string
	for _, d := range diags {
		got = append(got, d.Position())
	}
	if want := "[a.yaml:3:8 a.yaml:4:10 a.yaml:5:1 b.yaml:3:8 b.yaml:4:10 b.yaml:5:1]"; fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
	if n := strings.Count(diags.Error(), "\n\n"); n != 5 {
		t.Errorf("%d empty lines", n)
	}
}

func TestFaultsWithoutEndAreCutShort(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: modeshift/v1\nservice: a\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, diags := load(t, Options{}, b.String())
	if len(diags) != maxDiagnostics+1 || !strings.Contains(diags[0].Message, "not shown") {
		t.Errorf("%d diagnostics, first %v", len(diags), diags[0])
	}
	_, diags = load(t, Options{}, "version: modeshift/v1\n#"+strings.Repeat("x", maxFileBytes))
	if len(diags) != 1 || !strings.Contains(diags[0].Message, "bytes") {
		t.Errorf("%d diagnostics", len(diags))
	}
}

func TestFilesAreFoundByNameFolderAndGlob(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "notes.txt", ".hidden.yaml", "..data.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "notes.txt"), filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ paths, want []string }{
		{[]string{dir}, []string{"a.yml", "b.yaml", "link.yaml"}},
		{[]string{dir + "/b.yaml", dir + "/./b.yaml", dir}, []string{"a.yml", "b.yaml", "link.yaml"}},
		{[]string{dir + "/*.yml"}, []string{"a.yml"}},
		{[]string{dir + "/notes.txt"}, []string{"notes.txt"}},
	} {
		files, err := ReadFiles(c.paths...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			got = append(got, filepath.Base(f.Name))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.paths, got, c.want)
		}
	}
	empty := t.TempDir()
	for _, p := range []string{empty, filepath.Join(dir, "absent.yaml"), dir + "/*.json"} {
		if _, err := ReadFiles(p); err == nil {
			t.Errorf("%s is no error", p)
		}
	}
}

func BenchmarkLoad1000Services(b *testing.B) {
	var files []File
	slo := serviceText[strings.Index(serviceText, "  - name: availability"):strings.Index(serviceText, "slis:")]
	for i := range 1000 {
		text := strings.Replace(serviceText, "service: checkout", fmt.Sprintf("service: s%d", i), 1)
		text = strings.Replace(text, "slis:", strings.Replace(slo, "availability", "second", 1)+strings.Replace(slo, "availability", "third", 1)+"slis:", 1)
		files = append(files, File{Name: fmt.Sprintf("s%d.yaml", i), Data: []byte(text)})
	}
	b.ReportAllocs()
	for b.Loop() {
		set, err := Load(files, Options{})
		if err != nil || len(set.Services) != 1000 {
			b.Fatal(err)
		}
	}
}
