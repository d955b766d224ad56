package rules

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/test/inputs"
)

// fuzzed loads what is fuzzed and holds it to what holds of any file: nothing panics, the same is said twice, each fault has a place
// that lies in the file, and there is a service or a reason. With -quiet it takes at most a second and 200 MB too.
func fuzzed(t *testing.T, data []byte) (*Set, Diagnostics) {
	t.Helper()
	files := []File{{Name: "f.yaml", Data: data}}
	var before, after runtime.MemStats
	if *quiet {
		runtime.ReadMemStats(&before)
	}
	began := time.Now()
	set, err := Load(files, Options{Kinds: kinds})
	if took := time.Since(began); *quiet && took > time.Second {
		t.Fatalf("it takes %v", took)
	}
	if *quiet {
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 200<<20 {
			t.Fatalf("it allocates %d MB", (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
	if !inputs.Bulk() || len(data)%8 == 0 { // of a million an eighth says as much
		again, err2 := Load(files, Options{Kinds: kinds})
		if fmt.Sprint(err) != fmt.Sprint(err2) || set.Digest != again.Digest {
			t.Fatalf("not the same twice:\n%v\n%v", err, err2)
		}
	}
	var diags Diagnostics
	if err != nil && !errors.As(err, &diags) || (err != nil) != (len(diags.Errors()) > 0) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if err == nil {
		diags = set.Warnings
		if len(set.Services) == 0 {
			t.Fatal("no service and no reason")
		}
	}
	lines := strings.Split(newSource("f.yaml", string(data)).text, "\n")
	for _, d := range diags {
		if fault := misplaced(d, lines); fault != "" {
			t.Fatalf("%s\n%#v", fault, d)
		}
	}
	return set, diags
}

// misplaced says what is wrong with a diagnostic itself; empty when nothing is.
func misplaced(d Diagnostic, lines []string) string {
	whole := d.Code == CodeUnreadable || d.Code == CodeTooManyFaults
	switch {
	case d.Code == CodeOurFault:
		return "a panic"
	case d.File != "f.yaml" || d.Message == "" || d.Code == "":
		return "it does not say what"
	case d.Line == 0 && !whole:
		return "it has no place"
	case d.Line == 0 && (d.Column != 0 || d.Excerpt != ""):
		return "it has a column and no line"
	case d.Line < 0 || d.Line > len(lines):
		return "its line is not in the file"
	case d.Line > 0 && (d.Column < 1 || d.Column > utf8.RuneCountInString(lines[d.Line-1])+1):
		return "its column is not in the line"
	case d.End != 0 && (d.End <= d.Column || d.End > utf8.RuneCountInString(lines[d.Line-1])+1):
		return "its end is not in the line"
	case !utf8.ValidString(d.Error()) || strings.ContainsFunc(d.Summary()+d.Hint, unprintable):
		return "a terminal would not show it"
	case len(d.Message)+len(d.Hint) > 3000:
		return "nobody reads as much"
	}
	return ""
}

// use does with a loaded service what a server does.
func use(t *testing.T, s *Service) {
	t.Helper()
	checkChanges(t, s)
	for _, c := range s.Conditions {
		lazily(t, c)
	}
	at := time.Unix(1e9, 0)
	for _, c := range s.Schedules {
		c.Active(at)
	}
	s.Missed(at.Add(-24*time.Hour), at)
	for i := range s.SLOs {
		queriesParse(t, &s.SLOs[i])
	}
	for i := range s.Selectors {
		if fault := s.Selectors[i].Fault(LevelWarning, CodeNoSuchSeries, "", "none"); fault.Line < 1 {
			t.Fatalf("selector %s is nowhere", s.Selectors[i].Text)
		}
	}
}

// lazily answers what a condition asks for, one signal at a time, and expects that it asks for nothing twice and comes to what it
// comes to when everything is known from the start.
func lazily(t *testing.T, c *Condition) {
	t.Helper()
	answer := func(s Signal) Value {
		v := counts(float64(len(s.Name)), 7)
		v.Reading.Value, v.Reading.Text = 0.5, "normal"
		return v
	}
	known := world{}
	v := c.Eval(known.lookup)
	if len(v.Used) > 0 {
		t.Fatalf("%s used what was not there", c.Text)
	}
	for range c.Signals() {
		if len(v.Missing) == 0 {
			break
		}
		for _, s := range v.Missing[:1] {
			if _, twice := known[s]; twice || !slices.Contains(c.Signals(), s) {
				t.Fatalf("%s asks for %s", c.Text, s)
			}
			known[s] = answer(s)
		}
		v = c.Eval(known.lookup)
	}
	all := c.Eval(func(s Signal) (Value, bool) { return answer(s), true })
	if len(v.Missing) > 0 || v.Truth != all.Truth {
		t.Fatalf("%s is %v when asked lazily (missing %v), and %v at once", c.Text, v.Truth, v.Missing, all.Truth)
	}
}

// queriesParse expects PromQL of an SLO over any window and of any instances.
func queriesParse(t *testing.T, s *SLO) {
	t.Helper()
	for _, window := range []time.Duration{time.Millisecond, 5 * time.Minute, 30 * 24 * time.Hour} {
		texts := make([]string, 0, 4)
		errs, total := s.Queries(window)
		texts = append(texts, errs, total)
		errs, total = s.QueriesOn(window, []string{`a`, `b"{}\n`, "`"})
		for _, text := range append(texts, errs, total) {
			if text == "" {
				continue
			}
			if _, err := promQL.ParseExpr(text); err != nil {
				t.Fatalf("over %s: %s: %v", model.Duration(window), text, err)
			}
		}
	}
}

// corpus are the files of testdata, and pairs of them as two documents of one.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, pattern := range []string{"testdata/good/*", "testdata/bad/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, data)
		}
	}
	for i, n := 0, len(all); i+1 < n; i += 7 {
		all = append(all, slices.Concat(all[i], []byte("\n---\n"), all[i+1]))
	}
	return all
}

// FuzzLoad: whatever a file holds, Load keeps what fuzzed and use say. A file that loads means the same with the line ends of
// another system.
func FuzzLoad(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = loads(t, data) })
}

func TestManyFilesLoadOrAreExplained(t *testing.T) {
	t.Parallel()
	var texts [][]string
	for _, data := range corpus(t) {
		texts = append(texts, []string{string(data)})
	}
	inputs.Each(t, texts, func(t *testing.T, _ *rand.Rand, in []string) string { return said(loads(t, []byte(in[0]))) })
}

// said is what was said of a file, but for what is of this file alone.
func said(diags Diagnostics) string {
	var b strings.Builder
	for _, d := range diags[:min(3, len(diags))] {
		b.WriteString(string(d.Code) + " " + its.ReplaceAllString(d.Message, "") + "\n")
	}
	return b.String()
}

var its = regexp.MustCompile(`"[^"]*"|` + "`[^`]*`" + `|\d+`)

func loads(t *testing.T, data []byte) Diagnostics {
	t.Helper()
	set, diags := fuzzed(t, data)
	for _, s := range set.Services {
		use(t, s)
	}
	if len(diags.Errors()) > 0 || strings.Contains(string(data), "\r") || len(data) > maxFileBytes/2 {
		return diags
	}
	other, err := Load([]File{{Name: "f.yaml", Data: []byte("\uFEFF" + strings.ReplaceAll(string(data), "\n", "\r\n"))}}, Options{Kinds: kinds})
	if err != nil || other.Digest != set.Digest {
		t.Fatalf("with other line ends: %v", err)
	}
	return diags
}

// quoted writes a text as YAML does, so that each byte of it arrives.
func quoted(text string) string {
	return strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`, "\x7f", `\x7f`, "\ufeff", `\ufeff`).Replace(strconv.Quote(strings.ToValidUTF8(text, "")))
}

// FuzzCondition: any text as a condition. What loads evaluates lazily as it does at once, and is the same condition when it is
// written the way CEL writes it.
func FuzzCondition(f *testing.F) {
	for _, text := range conditionTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { _ = conditionLoads(t, text) })
}

func TestManyConditionsLoadOrAreExplained(t *testing.T) {
	t.Parallel()
	inputs.Each(t, each(conditionTexts), func(t *testing.T, _ *rand.Rand, in []string) string { return said(conditionLoads(t, in[0])) })
}

// each makes an input of each text.
func each(texts []string) (out [][]string) {
	for _, text := range texts {
		out = append(out, []string{text})
	}
	return out
}

var conditionTexts = []string{
	`burning("a", "page") && sli("x") > 0.5`, `!burning("a", "ticket") || burn_rate("b", "5m") < 1.0`, `mode("s") == "normal" ? alert("x") : schedule("night")`,
	`dwell() > duration("10m") && divergence() < 0.01`, `[1, 2].all(x, sli("x") > double(x))`, `mode("s").matches("^no.{1,3}$")`, `error_ratio("b", "1h") * 2.0 >= 0.1 / 3.0`,
	`budget_remaining("a") < -1.0`, `"x" in ["x", mode("s")]`, `true`, `1 + `, `sli('x') > 1 && `, `burning("nobody", "page")`, `dyn(1) == 1`, `alert("x") && alert("x")`,
	`sli("x") > 1e308 * 10.0`, `sli("x") == sli("y")`, `has({"a": 1}.a)`, `size(mode("s")) > 3`, `timestamp("2026-01-01T00:00:00Z") < timestamp("2027-01-01T00:00:00Z")`,
}

func conditionLoads(t *testing.T, text string) Diagnostics {
	t.Helper()
	file := func(text string) []byte {
		return fmt.Appendf(nil, strings.Replace(evalFile, "|\n      %s", "%s", 1), quoted(text))
	}
	set, diags := fuzzed(t, file(text))
	for _, s := range set.Services {
		use(t, s)
		c := s.Conditions[len(s.Conditions)-1]
		again, faults := load(t, Options{}, string(file(c.canonical)))
		if len(faults.Errors()) > 0 {
			t.Fatalf("%s is written %s:\n%v", text, c.canonical, faults)
		}
		if again.Digest != s.setDigest() {
			t.Fatalf("%s is written %s, and that means something else", text, c.canonical)
		}
	}
	return diags
}

// setDigest is the digest of a set that has nothing but this service.
func (s *Service) setDigest() engine.Digest { return setDigest([]*Service{s}) }

// FuzzQuery: any text as the two queries of an SLO and as that of an SLI. What loads gives PromQL over any window and of any
// instances.
func FuzzQuery(f *testing.F) {
	for _, q := range queryTexts {
		f.Add(q, q, q)
	}
	f.Fuzz(func(t *testing.T, errs, total, sli string) { _ = queryLoads(t, errs, total, sli) })
}

func TestManyQueriesLoadOrAreExplained(t *testing.T) {
	t.Parallel()
	var texts [][]string
	for _, q := range queryTexts {
		texts = append(texts, []string{q, q, q}, []string{queryTexts[0], q, queryTexts[1]})
	}
	inputs.Each(t, texts, func(t *testing.T, _ *rand.Rand, in []string) string { return said(queryLoads(t, in[0], in[1], in[2])) })
}

var queryTexts = []string{
	`sum(rate(x{code=~"5.."}[{{.window}}]))`, `sum(rate(x{instance=~"{{.instances}}"}[{{.window}}])) or vector(0)`, "max(x{i=~`{{.instances}}:9090`})",
	`x{a="{{.window}}"}[{{.window}}]`, `sum(increase(x[{{ .window }}] offset 5m)) / 2 # {{/* no */}}`, `{{if .window}}x{{end}}`, `max_over_time(x[1h:{{.window}}])`,
	`histogram_quantile(0.99, sum by (le) (rate(b{i=~"a|{{.instances}}"}[5m])))`, `{__name__=~"{{.instances}}"}`, `x{a=~"(a{1,100}){1,9}"}`, `1`, `x[5m]`, `{{`, `)`,
	`x{a=~"\\{{.instances}}"}`, `count_values("{{.window}}", x)`, `sum(rate({{.window}}[{{.window}}]))`, `x @ end()`,
}

func queryLoads(t *testing.T, errs, total, sli string) Diagnostics {
	t.Helper()
	set, diags := fuzzed(t, fmt.Appendf(nil, `version: modeshift/v1
service: s
slos:
  - name: a
    objective: 99.9
    sli: {events: {error_query: %s, total_query: %s}}
    alerting: {name: A}
slis: [{name: x, query: %s}]
`, quoted(errs), quoted(total), quoted(sli)))
	for _, s := range set.Services {
		use(t, s)
		for i := range s.SLIs {
			for _, text := range []string{s.SLIs[i].Query, s.SLIs[i].QueryOn([]string{"a", "b+c"})} {
				if _, err := promQL.ParseExpr(text); err != nil && text != "" {
					t.Fatalf("%s: %v", text, err)
				}
			}
		}
	}
	return diags
}

// FuzzSchedule: any cron, duration and zone. A window that is open is one of the Windows, and those that were missed lie between
// the two ends.
func FuzzSchedule(f *testing.F) {
	for _, c := range scheduleTexts {
		f.Add(c[0], c[1], c[2], int64(1774746000), uint16(3000))
	}
	f.Fuzz(func(t *testing.T, cron, duration, zone string, at int64, minutes uint16) {
		_ = scheduleLoads(t, cron, duration, zone, at, minutes)
	})
}

func TestManySchedulesLoadOrAreExplained(t *testing.T) {
	t.Parallel()
	inputs.Each(t, scheduleTexts, func(t *testing.T, r *rand.Rand, in []string) string {
		return said(scheduleLoads(t, in[0], in[1], in[2], r.Int64N(1<<33), uint16(r.Uint32())))
	})
}

var scheduleTexts = [][]string{
	{"0 2 * * SUN", "2h", "Europe/Berlin"}, {"*/5 * * * *", "1m", "UTC"}, {"30 2 29 2 *", "1d", "Pacific/Apia"}, {"@daily", "8h", "America/Havana"},
	{"0 0 31 1-12/2 ?", "30d", "Australia/Lord_Howe"}, {"TZ=UTC 0 0 * * *", "1h", ""}, {"@every 5m", "1m", "Local"}, {"0 0 30 2 *", "1h", "UTC"},
	{"59 23 * 12 MON-FRI", "1y", "Asia/Kathmandu"}, {"0 0 1,15 * 1", "12h", "EST5EDT"},
}

func scheduleLoads(t *testing.T, cron, duration, zone string, at int64, minutes uint16) Diagnostics {
	t.Helper()
	set, diags := fuzzed(t, fmt.Appendf(nil, `version: modeshift/v1
service: s
schedules: [{name: a, cron: %s, duration: %s, timezone: %s}]
modes: [{name: normal}, {name: degraded}]
transitions: [{name: t, from: [normal], to: degraded, when: schedule("a"), until: '!schedule("a")'}]
`, quoted(cron), quoted(duration), quoted(zone)))
	to := time.Unix(at%(1<<33), 0)
	from := to.Add(-time.Duration(minutes) * time.Minute)
	for _, s := range set.Services {
		c := s.Schedules[0]
		covers := func(at time.Time) bool {
			found := false
			c.Windows(at.Add(-time.Minute), at.Add(time.Second), func(opens, closes time.Time) bool {
				found = !opens.After(at) && at.Before(closes)
				return !found && closes.After(at)
			})
			return found
		}
		for _, at := range []time.Time{from, to, from.Add(to.Sub(from) / 2)} {
			if open := c.Active(at); open != covers(at) {
				t.Fatalf("%s for %s in %s: open at %s is %v, and its windows say otherwise", cron, duration, zone, at.UTC(), open)
			}
		}
		n, last := 0, time.Time{}
		c.Windows(from, to, func(opens, closes time.Time) bool {
			if !closes.After(opens) || !closes.After(from) || !opens.Before(to) || n > 0 && !opens.Before(last) {
				t.Fatalf("%s for %s in %s: a window from %s to %s", cron, duration, zone, opens, closes)
			}
			if !c.Active(opens) {
				t.Fatalf("%s for %s in %s: closed when it opens at %s", cron, duration, zone, opens)
			}
			n, last = n+1, opens
			return n < 100
		})
		for _, w := range s.Missed(from, to) {
			if w.Transition != "t" || !w.Opens.After(from) || w.Closes.After(to) {
				t.Fatalf("missed from %s to %s: %+v", from, to, w)
			}
		}
	}
	return diags
}
